/* SPDX-License-Identifier: MIT */
/* The table of system calls: see calls.h. */
#include "calls.h"

#include "follow.h"

#define R_FIX(n, b)                                                                                                    \
    {                                                                                                                  \
        LEN_FIX, n, 0, 0, b                                                                                            \
    }
#define W_FIX(n, b)                                                                                                    \
    {                                                                                                                  \
        LEN_FIX, n, 1, 0, b                                                                                            \
    }
#define R_ARG(n, k)                                                                                                    \
    {                                                                                                                  \
        LEN_ARG, n, 0, k, 1                                                                                            \
    }
#define R_RET(n)                                                                                                       \
    {                                                                                                                  \
        LEN_RET, n, 0, 0, 1                                                                                            \
    }
#define W_RET(n)                                                                                                       \
    {                                                                                                                  \
        LEN_RET, n, 1, 0, 1                                                                                            \
    }
#define W_RETN(n, b)                                                                                                   \
    {                                                                                                                  \
        LEN_RETN, n, 1, 0, b                                                                                           \
    }
#define W_NEW(n, k, b)                                                                                                 \
    {                                                                                                                  \
        LEN_ARGN, n, 1, k, b                                                                                           \
    }
#define R_STR(n)                                                                                                       \
    {                                                                                                                  \
        LEN_STR, n, 0, 0, 1                                                                                            \
    }
#define R_IOV(n)                                                                                                       \
    {                                                                                                                  \
        LEN_IOV, n, 0, 0, 1                                                                                            \
    }
#define W_IOV(n)                                                                                                       \
    {                                                                                                                  \
        LEN_IOV, n, 1, 0, 1                                                                                            \
    }
#define R_MSG(n)                                                                                                       \
    {                                                                                                                  \
        LEN_MSG, n, 0, 0, 1                                                                                            \
    }
#define W_MSG(n)                                                                                                       \
    {                                                                                                                  \
        LEN_MSG, n, 1, 0, 1                                                                                            \
    }

const struct sys_entry sys_table[NR_SYS] = {[SYS_unknown] = {NONE, NONE, WAIT, {{0}}},
#define S(name, x86, generic, class, ...) [SYS_##name] = {x86, generic, class, {__VA_ARGS__}},
                                            SYSCALLS(S)
#undef S
};

static u8 sys_of_nr[NR_GUEST_ARCHS][SESSION_SYSCALLS];

void syscall_init(void)
{
    for (u32 id = 0; id < NR_SYS; id++)
        for (u32 arch = 0; arch < NR_GUEST_ARCHS; arch++) {
            s16 nr = arch == GUEST_X86_64 ? sys_table[id].x86 : sys_table[id].generic;

            if (nr >= 0)
                sys_of_nr[arch][nr] = (u8)id;
        }
}

enum sys_id sys_id(enum guest_arch arch, s64 nr)
{
    return nr >= 0 && nr < SESSION_SYSCALLS ? (enum sys_id)sys_of_nr[arch][nr] : SYS_unknown;
}

const char *sys_name(enum sys_id id)
{
    static const char *const name[NR_SYS] = {[SYS_unknown] = "?",
#define S(name, x86, generic, class, ...) [SYS_##name] = #name,
                                             SYSCALLS(S)
#undef S
    };

    return name[id];
}

u64 sys_clone_flags(enum sys_id id, const u64 arg[6])
{
    if (id == SYS_fork)
        return 0;
    if (id == SYS_vfork)
        return CLONE_VM_ | CLONE_VFORK_;
    return arg[0];
}
