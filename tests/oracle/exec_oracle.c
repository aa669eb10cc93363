/* SPDX-License-Identifier: MIT */
/*
 * Programs executed by the kernel that runs this test and by a machine: see exec_oracle.h.
 *
 *   fixed addresses     the seeds' cases: everything seen at the first instruction is the same, byte for byte
 *   random addresses    many runs of plain programs: see exec_random.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/oracle/exec_cases.h"
#include "tests/oracle/exec_random.h"

static const char usage[] = "usage: exec_oracle [--seed N] [--cases N] [--samples N] [--keep]\n"
                            "Executes programs on this kernel and on a machine; both must find the same.\n"
                            "  --seed N     the first case's (default 1)\n"
                            "  --cases N    with fixed addresses (default 500)\n"
                            "  --samples N  native runs of each plain program with random addresses (default 200)\n"
                            "  --keep       leave the last image behind\n";

/* -- fixed addresses ------------------------------------------------------------------------------------------------- */

/* What is random even so: 16 bytes on the stack. */
static void hide_random(struct seen *s)
{
    for (u32 i = 0; i + 2 <= AT_VECTOR_SIZE; i += 2)
        if (s->auxv[i] == 25 && s->auxv[i + 1] >= s->sp && s->auxv[i + 1] + 16 <= s->sp + s->stack_bytes)
            memset(s->stack + (s->auxv[i + 1] - s->sp), 0, 16);
}

static void print_seen(const char *who, const struct seen *s)
{
    printf("%s: errno %d, signal %d, ip %#lx, sp %#lx\n  stat", who, s->err, s->signo, (unsigned long)s->ip,
           (unsigned long)s->sp);
    for (u32 i = 0; i < NR_SEEN_STATS; i++)
        printf(" %#lx", (unsigned long)s->stat[i]);
    printf("\n  sizes");
    for (u32 i = 0; i < NR_SEEN_SIZES; i++)
        printf(" %lu", (unsigned long)s->sizes[i]);
    printf("\n  auxv");
    for (u32 i = 0; i < AT_VECTOR_SIZE && s->auxv[i]; i += 2)
        printf(" %lu=%#lx", (unsigned long)s->auxv[i], (unsigned long)s->auxv[i + 1]);
    printf("\n");
    for (u32 i = 0; i < s->nr; i++) {
        const struct seen_vma *v = &s->vma[i];

        printf("  %lx-%lx %c%c%c %lx inode %lu object %u flags %#lx\n", (unsigned long)v->start, (unsigned long)v->end,
               v->perms & 1 ? 'r' : '-', v->perms & 2 ? 'w' : '-', v->perms & 4 ? 'x' : '-', (unsigned long)v->offset,
               (unsigned long)v->ino, v->object, (unsigned long)v->flags);
    }
}

static const char *compare(const struct seen *a, const struct seen *b)
{
    if (a->err != b->err || a->signo != b->signo)
        return "the end";
    if (a->err || a->signo)
        return NULL;
    if (a->nr != b->nr)
        return "the number of mappings";
    for (u32 i = 0; i < a->nr; i++)
        if (memcmp(&a->vma[i], &b->vma[i], sizeof(a->vma[i])))
            return "a mapping";
    if (memcmp(a->stat, b->stat, sizeof(a->stat)))
        return "a number in /proc/PID/stat";
    if (memcmp(a->sizes, b->sizes, sizeof(a->sizes)))
        return "a size in /proc/PID/status";
    if (memcmp(a->auxv, b->auxv, sizeof(a->auxv)))
        return "the auxiliary vector";
    if (a->sp != b->sp || a->ip != b->ip)
        return "a register";
    return memcmp(a->stack, b->stack, sizeof(a->stack)) ? "the stack's bytes" : NULL;
}

struct tally {
    u32 started, refused, killed;
};

/* False: they differ, and what was found is printed. */
static bool run_case(struct exec_model *v, const struct exec_case *c, struct tally *t)
{
    static struct seen native, model;
    const char *differs;

    if (!exec_native(c, &native)) {
        printf("exec_oracle: skipped: this process may not trace its children\n");
        exit(77);
    }
    exec_model_run(v, c, &model);
    hide_random(&native);
    hide_random(&model);
    t->started += !native.err && !native.signo;
    t->refused += native.err != 0;
    t->killed += native.signo != 0;
    differs = compare(&native, &model);
    if (!differs)
        return true;
    printf("exec_oracle: %s: %s differs:\n", c->name, differs);
    exec_case_print(c, stdout);
    print_seen("kernel", &native);
    print_seen("model", &model);
    return false;
}

/* Programs of the distribution, with its interpreter. */
static u32 run_real(struct exec_model *v, struct tally *t)
{
    static const char *const paths[] = {"/bin/sh", "/bin/cat", "/usr/bin/env", "/usr/bin/python3", "/sbin/ldconfig"};
    static const u64 stacks[] = {8ul << 20, 1ul << 30, RLIM_INFINITY_};
    u32 failures = 0;

    for (u32 i = 0; i < ARRAY_SIZE(paths) * ARRAY_SIZE(stacks); i++) {
        struct exec_case c = {.name = "a real program", .argv = {"one", "two"}, .envp = {"HOME=/"}};

        snprintf(c.path, sizeof(c.path), "%s", paths[i / ARRAY_SIZE(stacks)]);
        c.stack_limit = stacks[i % ARRAY_SIZE(stacks)];
        c.personality = ADDR_NO_RANDOMIZE;
        if (elf_is_program(c.path))
            failures += !run_case(v, &c, t);
    }
    return failures;
}

static u32 run_fixed(const char *dir, u64 seed, u32 cases)
{
    struct tally t = {0};
    struct exec_model v;
    u32 failures;

    exec_model_boot(&v, 2, 1);
    failures = run_real(&v, &t);
    for (u32 i = 0; i < cases && !failures; i++) {
        struct exec_random r = {(seed + i) * 0x9e3779b97f4a7c15ull | 1};
        struct exec_case c;

        exec_pick(&r, 2);
        exec_case_make(&r, dir, &c);
        failures = !run_case(&v, &c, &t);
        if (failures)
            printf("exec_oracle: --seed %lu --cases 1 runs it again\n", (unsigned long)(seed + i));
    }
    exec_model_end(&v);
    if (!failures)
        printf("exec_oracle: %u programs started alike, %u refused, %u killed on the way\n", t.started, t.refused,
               t.killed);
    return failures;
}

/* -------------------------------------------------------------------------------------------------------------------- */

static bool kernel_is_new_enough(void)
{
    struct utsname u;
    u32 major, minor;

    return !uname(&u) && sscanf(u.release, "%u.%u", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 18));
}

static u64 number(const char *text)
{
    char *end;
    u64 n = text ? strtoull(text, &end, 0) : 0;

    if (!text || !*text || *end) {
        fputs(usage, stderr);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    u64 seed = 1, cases = 500, samples = 200;
    char dir[] = "exec_oracle.XXXXXX", path[64];
    bool keep = false;
    u32 failures;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            return 0;
        }
        if (!strcmp(argv[i], "--keep"))
            keep = true;
        else if (!strcmp(argv[i], "--seed"))
            seed = number(argv[++i]);
        else if (!strcmp(argv[i], "--cases"))
            cases = number(argv[++i]);
        else if (!strcmp(argv[i], "--samples"))
            samples = number(argv[++i]);
        else
            number(NULL);
    }
    if (!kernel_is_new_enough()) {
        printf("exec_oracle: skipped: the library answers as Linux 6.18\n");
        return 77;
    }
    if (!mkdtemp(dir)) {
        perror(dir);
        return 2;
    }
    failures = cases ? run_fixed(dir, seed, (u32)cases) : 0;
    if (!failures && samples)
        failures = exec_random_run(dir, (u32)samples);
    for (u32 i = 0; i < 2 && !keep; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, i ? "interp" : "exe");
        unlink(path);
    }
    rmdir(dir);
    return failures ? 1 : 0;
}
