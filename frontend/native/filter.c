/* SPDX-License-Identifier: MIT */
/*
 * The seccomp filter: a call that concerns memory stops (SECCOMP_RET_TRACE, its data says which), all others go through
 * at full speed; the kernel knows that from the filter itself and does not even run it for them (its action cache).
 *
 *   [arch] [x32?] { == nr ? ── the argument matters? ── RET_TRACE | which }... [RET_ALLOW]
 *
 * Calls of the 32-bit interface are let through: they are not recorded.
 * Follows seccomp(2), Documentation/userspace-api/seccomp_filter.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "priv.h"

#ifdef __x86_64__
#define NR(x86_64, generic) (x86_64)
#define THIS_ARCH AUDIT_ARCH_X86_64
#else
#define NR(x86_64, generic) (generic)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

#define X32_BIT 0x40000000u
#define MAX_VALUES 12
#define FILTER_ROOM 400

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* Calls with many other uses: stopped only if argument `arg` has one of these values. */
static const struct narrow {
    u16 call;
    u16 arg;
    u32 nr_values;
    u32 value[MAX_VALUES];
} narrow[] = {
    {ABI_prctl,
     0,
     8,
     {PR_SET_MM, PR_SET_VMA, PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_SET_MEMORY_MERGE, PR_SET_MEMORY_MERGE + 1,
      PR_SET_DUMPABLE, PR_GET_DUMPABLE}},
    {ABI_fcntl, 1, 2, {F_ADD_SEALS, F_GET_SEALS}},
    {ABI_getrlimit, 0, 5, {RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_MEMLOCK, RLIMIT_FSIZE}},
    {ABI_setrlimit, 0, 5, {RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_MEMLOCK, RLIMIT_FSIZE}},
    {ABI_prlimit64, 1, 5, {RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_MEMLOCK, RLIMIT_FSIZE}},
};

static const struct stop {
    s32 nr;
    u16 call;
} stops[] = {
#define X(name, x86_64, generic) {NR(x86_64, generic), ABI_##name},
    ABI_CALLS(X)
#undef X
#define X(name, x86_64, generic) {NR(x86_64, generic), NATIVE_##name},
        NATIVE_EXTRA_CALLS(X)
#undef X
            {NR(56, 220), CALL_CLONE},
    {NR(435, 435), CALL_CLONE3},
    {NR(57, -1), CALL_FORK},
    {NR(58, -1), CALL_VFORK},
};

struct program_text {
    struct sock_filter insn[FILTER_ROOM];
    u16 n;
};

static void add(struct program_text *p, struct sock_filter insn)
{
    if (p->n < FILTER_ROOM)
        p->insn[p->n++] = insn;
}

static const struct narrow *narrow_of(u32 call)
{
    for (size_t i = 0; i < ARRAY_SIZE(narrow); i++)
        if (narrow[i].call == call)
            return &narrow[i];
    return NULL;
}

static void add_stop(struct program_text *p, const struct stop *s)
{
    const struct narrow *w = narrow_of(s->call);
    u8 behind = (u8)(w ? w->nr_values + 3 : 1);
    struct sock_filter trace = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | s->call);
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

    if (s->nr < 0)
        return;
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u32)s->nr, 0, behind));
    if (w) {
        u32 at = (u32)(offsetof(struct seccomp_data, args) + w->arg * sizeof(u64));

        add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at));
        for (u32 i = 0; i < w->nr_values; i++) /* to the RET_TRACE, over those to come and the RET_ALLOW */
            add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, w->value[i], (u8)(w->nr_values - i), 0));
        add(p, allow);
    }
    add(p, trace);
}

static void build(struct program_text *p)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0));
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1));
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
        add_stop(p, &stops[i]);
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

/*
 * Who may (CAP_SYS_ADMIN) installs it without NO_NEW_PRIVS, so that programs which gain privileges by execve still do;
 * others cannot, and say so by errno EPERM, before they try with it.
 */
int filter_install(void)
{
    struct program_text p = {.n = 0};
    struct sock_fprog prog = {.filter = p.insn};

    build(&p);
    if (p.n == FILTER_ROOM)
        return -E2BIG;
    prog.len = p.n;
    if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
        return 0;
    if (errno != EACCES && errno != EPERM)
        return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
        return -errno;
    return 0;
}
