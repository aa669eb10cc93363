/* SPDX-License-Identifier: MIT */
/* System calls by what they mean, for any guest: the table is call_table.h. */
#ifndef QUIRE_FRONTEND_CALLS_H
#define QUIRE_FRONTEND_CALLS_H

#include "call_table.h"
#include "session.h"

enum sys_id {
    SYS_unknown,
#define S(name, x86, generic, class, ...) SYS_##name,
    SYSCALLS(S)
#undef S
        NR_SYS
};

enum sys_class { WAIT, QUICK, MEM, FORK, EXEC, EXIT, KILL, FREAD, FWRITE };

enum buf_len { LEN_NONE, LEN_FIX, LEN_ARG, LEN_RET, LEN_RETN, LEN_ARGN, LEN_STR, LEN_IOV, LEN_MSG };

struct sys_buf {
    u8 len;   /* enum buf_len */
    u8 arg;   /* which argument is the address */
    u8 write; /* the kernel writes it */
    u8 count; /* argument with the number */
    u16 size; /* bytes, or of one element */
};

struct sys_entry {
    s16 x86, generic; /* number, or NONE */
    u8 class;         /* enum sys_class */
    struct sys_buf buf[3];
};

extern const struct sys_entry sys_table[NR_SYS];

enum sys_id sys_id(enum guest_arch arch, s64 nr);
const char *sys_name(enum sys_id id);
/* Of clone, fork or vfork. */
u64 sys_clone_flags(enum sys_id id, const u64 arg[6]);

#endif
