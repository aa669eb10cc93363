/* SPDX-License-Identifier: MIT */
/*
 * What a native recording holds: the memory calls, signals, programs and processes of one run, in the order in which
 * they took effect. The recorder writes these events, `quire verify` reads them; both on the same kind of machine, so
 * that a payload is the struct itself followed by its parts.
 *
 *   event    struct native_head, then what its type says; parts at the end where the struct has nr_parts
 *   part     struct native_part, `len` bytes, padding to 8
 *
 * Order. `seq` counts the recorder's steps. Calls of threads that share an address space do not overlap: the recorder
 * lets one of them in at a time (tracer.c), so the order of their `seq` is the order in which they happened. Where one
 * would have waited too long for another it is let go, and both carry NATIVE_OVERLAPPED; enter_seq tells by how much.
 */
#ifndef QUIRE_FRONTEND_NATIVE_EVENT_H
#define QUIRE_FRONTEND_NATIVE_EVENT_H

#include "abi/calls.h"
#include "base/types.h"

/* Values are what traces store: append only. */
enum native_type {
    NATIVE_HOST = 1, /* struct native_host: first */
    NATIVE_EXEC,     /* struct native_exec: a new program, or the first one */
    NATIVE_CLONE,    /* struct native_clone: fork, vfork, clone, clone3 */
    NATIVE_CALL,     /* struct native_call */
    NATIVE_SIGNAL,   /* struct native_signal */
    NATIVE_MAPS,     /* struct native_maps */
    NATIVE_EXIT,     /* struct native_exit: a thread ended */
    NATIVE_NOTICE,   /* struct native_head, then text */
    NR_NATIVE_TYPES
};

struct native_head {
    u64 seq;
    s32 tid, tgid;
};

enum native_part_kind {
    NATIVE_IN = 1,  /* bytes the kernel read behind argument `arg` */
    NATIVE_OUT,     /* bytes it wrote there */
    NATIVE_FILE,    /* struct native_file, then its name: behind the descriptor in `arg` (6: of the result) */
    NATIVE_TARGET,  /* s32: process behind the pid or pidfd in `arg`; 0: none, -1: a pidfd of one that was reaped */
    NATIVE_PRESENT, /* mincore: one byte a page, bit 0: mapped by the page tables, bit 1: file page or shared */
    NATIVE_SEGMENT, /* struct native_segment */
    NATIVE_MAPS_TEXT,
    NATIVE_AUXV,
    NATIVE_MAPPED, /* struct native_file of one line of the maps, in their order; ino 0: not known */
};

struct native_part {
    u16 kind;
    u16 arg;
    u32 len;
};

#define NATIVE_PART_BYTES(len) (sizeof(struct native_part) + (((u64)(len) + 7) & ~7ull))

/* An open file at the moment of a call. */
struct native_file {
    u64 dev, ino, size;
    u64 rdev;
    u32 mode;        /* st_mode */
    u32 open_flags;  /* O_* */
    u32 fs_magic;    /* statfs f_type */
    u32 mount_flags; /* statfs f_flags: ST_NOEXEC */
    s32 seals;       /* -1: cannot be sealed */
    u32 uid;         /* owner */
};

/* A System V segment, as IPC_STAT gives it. */
struct native_segment {
    s32 id; /* -1: there is none */
    s32 key;
    u64 size;
    u32 mode, uid, gid, cuid;
    u64 nattch;
};

struct native_host {
    struct native_head h;
    u64 totalram_bytes;
    u32 page_size;
    u32 maps_all; /* --maps=all */
    u32 len;      /* of the text behind: a machine file */
    u32 pad;
};

/* The state right after execve, before the program's first instruction. */
struct native_exec {
    struct native_head h;
    u64 start_code, end_code, start_data, end_data, start_brk, start_stack;
    u64 arg_start, arg_end, env_start, env_end;
    u64 sp;
    u64 cap_effective;
    u64 limit[16][2]; /* cur, max */
    u32 personality;
    u32 uid, euid;
    s32 former_tid; /* the thread that called it; the process's first: 0 */
    u32 nr_parts;   /* NATIVE_MAPS_TEXT, NATIVE_AUXV, NATIVE_FILE (the program), NATIVE_MAPPED... */
    char comm[20];
};

struct native_clone {
    struct native_head h; /* the parent */
    u64 enter_seq;
    u64 flags;
    s32 child;      /* its tid; 0: failed */
    s32 child_tgid; /* as the recorder numbers them: the child's tid, unless CLONE_THREAD */
    s32 err;        /* -errno */
    u32 event;      /* PTRACE_EVENT_FORK, _VFORK, _CLONE, failed: 0; and NATIVE_BY_* */
};

#define NATIVE_BY_CLONE 0x100u  /* clone, fork, vfork */
#define NATIVE_BY_CLONE3 0x200u /* failed: struct native_clone_args is behind it */

struct native_clone_args {
    u64 size;    /* of the caller's structure */
    u64 known;   /* bytes of it that could be read: the first of arg */
    u64 arg[11]; /* struct clone_args, clone3(2) */
};

/* The calls that matter beside src/abi's: recorded as "not modelled" with what they answered. */
#define NATIVE_EXTRA_CALLS(X)                                                                                          \
    X(mbind, 237, 235)                                                                                                 \
    X(set_mempolicy, 238, 237)                                                                                         \
    X(set_mempolicy_home_node, 450, 450)                                                                               \
    X(migrate_pages, 256, 238)                                                                                         \
    X(move_pages, 279, 239)                                                                                            \
    X(userfaultfd, 323, 282)                                                                                           \
    X(map_shadow_stack, 453, 453)                                                                                      \
    X(memfd_secret, 447, 447)                                                                                          \
    X(process_mrelease, 448, 448)                                                                                      \
    X(personality, 135, 92)                                                                                            \
    X(io_setup, 206, 0)                                                                                                \
    X(io_destroy, 207, 1)                                                                                              \
    X(capset, 126, 91)                                                                                                 \
    X(setuid, 105, 146)                                                                                                \
    X(setreuid, 113, 145)                                                                                              \
    X(setresuid, 117, 147)                                                                                             \
    X(ptrace, 101, 117)

/* native_call.nr: enum abi_nr below NATIVE_EXTRA, these from there. */
#define NATIVE_EXTRA 256
enum native_extra {
    NATIVE_EXTRA_FIRST = NATIVE_EXTRA - 1,
#define X(name, x86_64, generic) NATIVE_##name,
    NATIVE_EXTRA_CALLS(X)
#undef X
        NATIVE_EXTRA_END
};
#define NR_NATIVE_EXTRA (NATIVE_EXTRA_END - NATIVE_EXTRA)

/* native_call.flags */
#define NATIVE_OVERLAPPED 1u  /* another call in the same address space was under way at the same time */
#define NATIVE_UNFINISHED 2u  /* the thread was killed in it: no result */
#define NATIVE_INTERRUPTED 4u /* a signal came first: nothing happened, the call is made again or fails with EINTR */

struct native_call {
    struct native_head h; /* seq: when it was done */
    u64 enter_seq;
    u64 arg[6];
    s64 ret;
    u64 sp;
    u64 cap_effective; /* credential calls: after it */
    u16 nr;
    u16 flags;
    u32 nr_parts;
};

struct native_signal {
    struct native_head h;
    s32 signo, code;
    u64 addr; /* si_addr: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP */
    u64 ip, sp;
    u64 file_size; /* SIGBUS: of the file mapped there; ~0: none */
};

/* /proc/PID/maps as it differs from the last one of this address space: the same head, other bytes, the same tail. */
struct native_maps {
    struct native_head h;
    u64 prefix, suffix; /* bytes kept */
    u32 len;            /* bytes behind, between them */
    u32 whole;          /* the text is new: prefix = suffix = 0 */
};

struct native_exit {
    struct native_head h;
    s32 wait_status; /* as waitpid(2) gives it */
    u32 last;        /* of its process */
};

#endif
