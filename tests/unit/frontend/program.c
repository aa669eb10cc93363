/* SPDX-License-Identifier: MIT */
/* What execve makes of a file, and the command line that runs it under qemu:
 * scripts, ELF headers, PATH, environment. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "program.h"

static char folder[] = "/tmp/quire-test-XXXXXX";

static const char *make_file(const char *name, const void *content, size_t size, mode_t mode)
{
    static char path[4][256];
    static unsigned int next;
    char *p = path[next++ % 4];
    FILE *f;

    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    f = fopen(p, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, size, f), size);
    fclose(f);
    assert_int_equal(chmod(p, mode), 0);
    return p;
}

static const char *make_text(const char *name, const char *text)
{
    return make_file(name, text, strlen(text), 0755);
}

struct test_elf {
    Elf64_Ehdr eh;
    Elf64_Phdr ph[2];
};

static struct test_elf good_elf(uint16_t machine)
{
    struct test_elf e = {.eh = {.e_type = ET_DYN,
                                .e_machine = machine,
                                .e_entry = 0x1234,
                                .e_phoff = sizeof(Elf64_Ehdr),
                                .e_phentsize = sizeof(Elf64_Phdr),
                                .e_phnum = 2}};

    memcpy(e.eh.e_ident, ELFMAG, SELFMAG);
    e.eh.e_ident[EI_CLASS] = ELFCLASS64;
    e.eh.e_ident[EI_DATA] = ELFDATA2LSB;
    e.ph[0] =
        (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x1000, .p_memsz = 0x500, .p_filesz = 0x500};
    e.ph[1] = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_W,
                           .p_vaddr = 0x3000,
                           .p_offset = 0x500,
                           .p_memsz = 0x900,
                           .p_filesz = 0x100};
    return e;
}

static enum program_error resolve(const char *path, struct program *p)
{
    return program_resolve(path, "", p);
}

static void test_elf_headers(void **state)
{
    static const struct {
        const char *name;
        uint16_t machine;
        enum guest_arch arch;
    } good[] = {
        {"x86", EM_X86_64, GUEST_X86_64}, {"arm", EM_AARCH64, GUEST_AARCH64}, {"riscv", EM_RISCV, GUEST_RISCV64}};
    static struct program p;

    for (size_t i = 0; i < 3; i++) {
        struct test_elf e = good_elf(good[i].machine);

        assert_int_equal(resolve(make_file(good[i].name, &e, sizeof(e), 0755), &p), PROGRAM_OK);
        assert_int_equal(p.arch, good[i].arch);
        assert_true(p.elf.dyn);
        assert_int_equal(p.elf.entry, 0x1234);
        assert_int_equal(p.elf.nr_loads, 2);
        assert_int_equal(p.elf.load[0].prot, 5);
        assert_int_equal(p.elf.load[1].memsz, 0x900);
        assert_int_equal(p.nr_prefix, 0);
    }
}

static void test_elf_refused(void **state)
{
    static struct program p;
    struct test_elf e = good_elf(EM_PPC64);

    assert_int_equal(resolve(make_file("ppc", &e, sizeof(e), 0755), &p), PROGRAM_FOREIGN);
    assert_int_equal(p.e_machine, EM_PPC64);
    e = good_elf(EM_X86_64);
    e.eh.e_ident[EI_CLASS] = ELFCLASS32;
    assert_int_equal(resolve(make_file("x32", &e, sizeof(e), 0755), &p), PROGRAM_FOREIGN);
    e = good_elf(EM_X86_64);
    e.eh.e_type = ET_REL;
    assert_int_equal(resolve(make_file("object", &e, sizeof(e), 0755), &p), PROGRAM_BAD_ELF);
    e = good_elf(EM_X86_64);
    e.ph[1].p_filesz = 0x1000;
    assert_int_equal(resolve(make_file("more-file-than-memory", &e, sizeof(e), 0755), &p), PROGRAM_BAD_ELF);
    e = good_elf(EM_X86_64);
    for (size_t size = 4; size < sizeof(e); size += 7)
        assert_int_not_equal(resolve(make_file("cut", &e, size, 0755), &p), PROGRAM_OK);
    e.ph[1] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = 0, .p_filesz = 5000};
    assert_int_equal(resolve(make_file("long-interp", &e, sizeof(e), 0755), &p), PROGRAM_BAD_ELF);
}

static void test_files_refused(void **state)
{
    static struct program p;

    assert_int_equal(resolve("/nonexistent/x", &p), PROGRAM_NOT_FOUND);
    assert_int_equal(p.err, ENOENT);
    assert_int_equal(resolve(folder, &p), PROGRAM_NOT_EXECUTABLE);
    assert_int_equal(resolve(make_file("plain", "x", 1, 0644), &p), PROGRAM_NOT_EXECUTABLE);
    assert_int_equal(resolve(make_text("empty", ""), &p), PROGRAM_NO_FORMAT);
    assert_int_equal(resolve(make_text("text", "hello"), &p), PROGRAM_NO_FORMAT);
    assert_int_equal(resolve(make_text("bare", "#!\n"), &p), PROGRAM_NO_FORMAT);
    assert_int_equal(resolve(make_text("blank", "#!  \t \n"), &p), PROGRAM_NO_FORMAT);
    assert_int_equal(resolve(make_text("orphan", "#!/nonexistent/i\n"), &p), PROGRAM_NO_INTERPRETER);
    assert_string_equal(p.missing, "/nonexistent/i");
}

/* argv of a script: interpreter, at most one argument, script. */
static void test_script_lines(void **state)
{
    static const struct {
        const char *line, *interp, *arg;
    } cases[] = {
        {"#!/bin/sh\n", "/bin/sh", NULL},       {"#! /bin/sh\n", "/bin/sh", NULL},
        {"#!/bin/sh -e\n", "/bin/sh", "-e"},    {"#!/bin/sh  -e -x \t\n", "/bin/sh", "-e -x"},
        {"#!\t/bin/sh\t-e\n", "/bin/sh", "-e"}, {"#!/bin/sh", "/bin/sh", NULL},
        {"#!/bin/sh \n", "/bin/sh", NULL},
    };
    static struct program p;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *path = make_text("script", cases[i].line);
        uint32_t n = cases[i].arg ? 3 : 2;

        assert_int_equal(resolve(path, &p), PROGRAM_OK);
        assert_string_equal(p.path, "/bin/sh");
        assert_int_equal(p.nr_prefix, n);
        assert_string_equal(p.prefix[0], cases[i].interp);
        if (cases[i].arg)
            assert_string_equal(p.prefix[1], cases[i].arg);
        assert_string_equal(p.prefix[n - 1], path);
    }
}

static void test_nested_scripts(void **state)
{
    static struct program p;
    char line[2048], names[6][256];

    snprintf(names[0], sizeof(names[0]), "%s", make_text("s0", "#!/bin/sh -a\n"));
    for (int i = 1; i <= 5; i++) {
        char name[8];

        snprintf(line, sizeof(line), "#!%s -%d\n", names[i - 1], i);
        snprintf(name, sizeof(name), "s%d", i);
        snprintf(names[i], sizeof(names[i]), "%s", make_text(name, line));
    }
    assert_int_equal(resolve(names[1], &p), PROGRAM_OK);
    /* s1 is run by s0 with -1; s0 by sh with -a */
    assert_int_equal(p.nr_prefix, 5);
    assert_string_equal(p.prefix[0], "/bin/sh");
    assert_string_equal(p.prefix[1], "-a");
    assert_string_equal(p.prefix[2], names[0]);
    assert_string_equal(p.prefix[3], "-1");
    assert_string_equal(p.prefix[4], names[1]);
    assert_int_equal(resolve(names[3], &p), PROGRAM_OK);
    assert_int_equal(p.nr_prefix, 9);
    assert_int_equal(resolve(names[4], &p), PROGRAM_TOO_DEEP);
}

static void test_path_search(void **state)
{
    char out[SESSION_PATH], expected[SESSION_PATH];

    make_text("tool", "#!/bin/sh\n");
    make_file("data", "x", 1, 0644);
    snprintf(expected, sizeof(expected), "/nonexistent:%s:/bin", folder);
    setenv("PATH", expected, 1);
    assert_true(program_find("tool", out));
    snprintf(expected, sizeof(expected), "%s/tool", folder);
    assert_string_equal(out, expected);
    assert_false(program_find("data", out));
    assert_string_equal(out, "data");
    assert_true(program_find("./tool", out));
    assert_string_equal(out, "./tool");
}

/* qemu reverses its environment; names that act on qemu are veiled, and unveiled in the program. */
static void test_command(void **state)
{
    static struct program p;
    static struct session s;
    char *argv[] = {"zero", "one", NULL};
    char *envp[] = {"A=1,2", "LD_PRELOAD=x,y", "B=2", "QEMU_LOG=z", "GLIBC_TUNABLES=g", "MALLOC_X=1", "LDX=1", NULL};
    struct command c;

    strcpy(s.plugin, "/a,b/lib.so");
    strcpy(s.qemu[GUEST_X86_64], "/usr/bin/qemu-x86_64");
    s.launcher = 12;
    s.fd = 3;
    strcpy(p.path, "-odd");
    p.arch = GUEST_X86_64;
    assert_int_equal(command_build(&c, &s, &p, 7, argv, envp), 0);
    assert_string_equal(c.argv[0], "/usr/bin/qemu-x86_64");
    assert_string_equal(c.argv[1], "-plugin");
    assert_string_equal(c.argv[2], "/a,,b/lib.so,session=12.3,slot=7");
    assert_string_equal(c.argv[3], "-0");
    assert_string_equal(c.argv[4], "zero");
    assert_string_equal(c.argv[5], "./-odd");
    assert_string_equal(c.argv[6], "one");
    assert_null(c.argv[7]);
    for (int i = 0; i < 7; i++) {
        char copy[64];

        snprintf(copy, sizeof(copy), "%s", c.envp[6 - i]);
        command_unveil(copy);
        assert_string_equal(copy, envp[i]);
        assert_int_equal(c.envp[6 - i] != envp[i], i == 1 || (i >= 3 && i <= 5));
        if (c.envp[6 - i] != envp[i])
            assert_in_range(c.envp[6 - i][0], 1, 4);
    }
    assert_null(c.envp[7]);
    command_set_mask(&c, 1ull << 63 | 2);
    assert_string_equal(c.argv[2], "/a,,b/lib.so,session=12.3,slot=7,mask=8000000000000002");
    command_free(&c);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    char command[300];

    setenv("PATH", "/usr/bin:/bin", 1);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf_headers),    cmocka_unit_test(test_elf_refused),
        cmocka_unit_test(test_files_refused),  cmocka_unit_test(test_script_lines),
        cmocka_unit_test(test_nested_scripts), cmocka_unit_test(test_path_search),
        cmocka_unit_test(test_command),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
