/* SPDX-License-Identifier: MIT */
/* ELF files and what this kernel gives to each program: see elf_image.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/proc.h"
#include "tests/oracle/elf_image.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#define AT_RSEQ_ALIGN 28
#endif

#define SOFT_DIRTY 27 /* bit of VM_SOFTDIRTY: not every kernel has it */

__attribute__((noreturn)) static void fail(const char *what, const char *path)
{
    fprintf(stderr, "elf_image: %s %s\n", what, path);
    exit(2);
}

static u32 flags_of(u32 prot)
{
    return (prot & PROT_READ_ ? PF_R : 0) | (prot & PROT_WRITE_ ? PF_W : 0) | (prot & PROT_EXEC_ ? PF_X : 0);
}

static u32 prot_of(u32 flags)
{
    return (flags & PF_R ? PROT_READ_ : 0) | (flags & PF_W ? PROT_WRITE_ : 0) | (flags & PF_X ? PROT_EXEC_ : 0);
}

void elf_write(const char *path, const struct elf_spec *spec)
{
    struct {
        Elf64_Ehdr eh;
        Elf64_Phdr ph[ELF_LOADS + 2];
        char interp[256];
    } f = {0};
    u64 size = sizeof(f);
    u32 n = 0;
    int fd;

    memcpy(f.eh.e_ident, ELFMAG "\x02\x01\x01", 7);
    f.eh.e_type = spec->dyn ? ET_DYN : ET_EXEC;
    f.eh.e_machine = EM_X86_64;
    f.eh.e_version = 1;
    f.eh.e_entry = spec->entry;
    f.eh.e_phoff = sizeof(f.eh);
    f.eh.e_ehsize = sizeof(f.eh);
    f.eh.e_phentsize = sizeof(f.ph[0]);
    if (*spec->interp) {
        strcpy(f.interp, spec->interp);
        f.ph[n++] = (Elf64_Phdr){.p_type = PT_INTERP,
                                 .p_offset = (u64)((char *)f.interp - (char *)&f),
                                 .p_filesz = strlen(f.interp) + 1,
                                 .p_memsz = strlen(f.interp) + 1};
    }
    if (spec->stack != ELF_STACK_UNSAID)
        f.ph[n++] =
            (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W | (spec->stack == ELF_STACK_EXEC ? PF_X : 0)};
    for (u32 i = 0; i < spec->nr_loads; i++) {
        const struct exec_segment *s = &spec->load[i];

        f.ph[n++] = (Elf64_Phdr){.p_type = PT_LOAD,
                                 .p_flags = flags_of(s->prot),
                                 .p_vaddr = s->vaddr,
                                 .p_filesz = s->filesz,
                                 .p_memsz = s->memsz,
                                 .p_offset = s->offset,
                                 .p_align = s->align};
        size = MAX(size, s->offset + s->filesz);
    }
    f.eh.e_phnum = (u16)n;
    unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
    if (fd < 0 || write(fd, &f, sizeof(f)) != (ssize_t)sizeof(f) || ftruncate(fd, (off_t)size) || close(fd))
        fail("cannot write", path);
}

void elf_read(const char *path, struct elf_read *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    Elf64_Ehdr eh;

    *out = (struct elf_read){0};
    if (fd < 0 || fstat(fd, &st) || read(fd, &eh, sizeof(eh)) != (ssize_t)sizeof(eh))
        fail("cannot read", path);
    out->dev = (u64)(st.st_dev >> 8 & 0xfff) << 8 | (st.st_dev & 0xff);
    out->ino = st.st_ino;
    out->size = (u64)st.st_size;
    out->program = (struct exec_program){
        .dyn = eh.e_type == ET_DYN, .entry = eh.e_entry, .phoff = eh.e_phoff, .phnum = eh.e_phnum, .load = out->load};
    for (u32 i = 0; i < eh.e_phnum; i++) {
        Elf64_Phdr ph;

        if (pread(fd, &ph, sizeof(ph), (off_t)(eh.e_phoff + i * sizeof(ph))) != (ssize_t)sizeof(ph))
            fail("cannot read", path);
        if (ph.p_type == PT_INTERP && pread(fd, out->interp, ph.p_filesz, (off_t)ph.p_offset) < 0)
            fail("cannot read", path);
        if (ph.p_type == PT_GNU_STACK)
            out->exec_stack = ph.p_flags & PF_X;
        if (ph.p_type != PT_LOAD)
            continue;
        if (out->program.nr_loads == ELF_LOADS)
            fail("too many segments:", path);
        out->load[out->program.nr_loads++] = (struct exec_segment){.vaddr = ph.p_vaddr,
                                                                   .filesz = ph.p_filesz,
                                                                   .memsz = ph.p_memsz,
                                                                   .offset = ph.p_offset,
                                                                   .align = ph.p_align,
                                                                   .prot = prot_of(ph.p_flags)};
    }
    close(fd);
}

bool elf_is_program(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    Elf64_Ehdr eh = {0};
    bool yes = fd >= 0 && read(fd, &eh, sizeof(eh)) == (ssize_t)sizeof(eh) && !memcmp(eh.e_ident, ELFMAG "\x02", 5) &&
               eh.e_machine == EM_X86_64;

    if (fd >= 0)
        close(fd);
    return yes;
}

vm_flags_t elf_parse_flags(const char *p)
{
    vm_flags_t flags = 0;

    for (; p[0] && p[0] != '\n'; p++)
        for (u32 bit = 0; bit < 64; bit++) {
            const char *name = proc_flag_name(bit);

            if (*name && bit != SOFT_DIRTY && p[0] == name[0] && p[1] == name[1] && p[-1] == ' ' && p[2] <= ' ')
                flags |= 1ul << bit;
        }
    return flags;
}

/* vvar, vvar_vclock, vdso: those of this process, in address order. */
static void read_special(struct elf_platform *p)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    bool special = false;

    while (f && fgets(line, sizeof(line), f)) {
        unsigned long start, end;
        char name[64] = "";

        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %63s", &start, &end, name) >= 2) {
            special = !strncmp(name, "[vvar", 5) || !strncmp(name, "[vdso", 5);
            if (!special)
                continue;
            if (!strcmp(name, "[vdso]"))
                p->platform.vdso = p->platform.nr_special;
            p->special[p->platform.nr_special].bytes = end - start;
        } else if (special && !strncmp(line, "VmFlags:", 8)) {
            p->special[p->platform.nr_special++].flags = elf_parse_flags(line + 9);
        }
    }
    if (!f)
        fail("cannot open", "/proc/self/smaps");
    fclose(f);
}

/* Not getauxval(3): the C library has its own AT_HWCAP. */
static u64 own_aux(u64 key)
{
    FILE *f = fopen("/proc/self/auxv", "r");
    u64 word[2], value = 0;

    while (f && fread(word, sizeof(word), 1, f) == 1 && word[0])
        if (word[0] == key)
            value = word[1];
    if (f)
        fclose(f);
    return value;
}

void elf_platform_of_host(struct elf_platform *p)
{
    const char *name = (const char *)(uintptr_t)own_aux(AT_PLATFORM);

    *p = (struct elf_platform){0};
    snprintf(p->name, sizeof(p->name), "%s", name ? name : "");
    p->platform = (struct exec_platform){
        .special = p->special,
        .vdso = 8,
        .name = name ? p->name : NULL,
        .minsigstksz = own_aux(AT_MINSIGSTKSZ),
        .hwcap = own_aux(AT_HWCAP),
        .hwcap2 = own_aux(AT_HWCAP2),
        .clktck = own_aux(AT_CLKTCK),
        .rseq_feature_size = own_aux(AT_RSEQ_FEATURE_SIZE),
        .rseq_align = own_aux(AT_RSEQ_ALIGN),
    };
    read_special(p);
}
