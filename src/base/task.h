/* SPDX-License-Identifier: MIT */
/*
 * struct task: what Linux keeps per thread for the memory manager's purposes; struct signal_struct: what the threads of
 * a process share. fork copies the latter, a thread (CLONE_THREAD) shares its creator's, execve keeps it.
 *
 * Field keys: c constant after creation · v vm->lock · o the task itself · w one word at a time, by READ_ONCE and
 * WRITE_ONCE (another process may set limits: prlimit(2)).
 */
#ifndef QUIRE_BASE_TASK_H
#define QUIRE_BASE_TASK_H

#include "base/list.h"
#include "base/types.h"

struct mm;

/* Task flags, values as in /proc/PID/stat. */
#define PF_EXITING 0x00000004u
#define PF_MEMALLOC 0x00000800u
#define PF_MEMALLOC_NOFS 0x00040000u
#define PF_MEMALLOC_NOIO 0x00080000u
#define PF_KSWAPD 0x00020000u
#define PF_MEMALLOC_PIN 0x10000000u

/* Resource limits, setrlimit(2): indices of the generic ABI. */
enum {
    RLIMIT_FSIZE_ = 1,
    RLIMIT_DATA_ = 2,
    RLIMIT_STACK_ = 3,
    RLIMIT_RSS_ = 5, /* shown only */
    RLIMIT_NOFILE_ = 7,
    RLIMIT_MEMLOCK_ = 8,
    RLIMIT_AS_ = 9,
    NR_RLIMITS = 16
};
#define RLIM_INFINITY_ (~(u64)0)

/* Bits of cap_effective, numbers of capabilities(7): those that the memory calls ask for. */
enum {
    CAP_IPC_LOCK_ = 14,
    CAP_IPC_OWNER_ = 15,
    CAP_SYS_RAWIO_ = 17,
    CAP_SYS_PTRACE_ = 19,
    CAP_SYS_ADMIN_ = 21,
    CAP_SYS_NICE_ = 23,
    CAP_SYS_RESOURCE_ = 24,
    CAP_CHECKPOINT_RESTORE_ = 40,
};
#define CAP_FULL_SET (((u64)1 << 41) - 1)

/* Bits of task->personality: personality(2). */
#define ADDR_NO_RANDOMIZE_ 0x0040000u
#define ADDR_COMPAT_LAYOUT_ 0x0200000u
#define READ_IMPLIES_EXEC_ 0x0400000u
#define ADDR_LIMIT_3GB_ 0x8000000u

struct rlimit_pair {
    u64 cur, max;
};

/* With a copy of its range: a VMA that is not the wanted one is not read. */
struct vmacache_entry {
    va_t start, end; /* end 0: empty */
    struct vm_area_struct *vma;
};

struct signal_struct {
    u32 nr_threads;                      /* v: tasks that point here */
    u32 found;                           /* scratch of vm_check() */
    u64 cap_effective;                   /* w: 1 << CAP_* */
    u32 uid, gid;                        /* w: effective user and group */
    struct rlimit_pair rlim[NR_RLIMITS]; /* w */
};

struct task {
    s32 pid;  /* thread id */
    s32 tgid; /* process id */
    u32 flags;
    s32 cpu; /* the CPU it last ran on, -1: none yet */
    struct mm *mm;
    bool oom_victim;              /* tsk_is_oom_victim(): may use the reserves partly */
    u32 pkru;                     /* o: x86 PKRU: bits 2n access, 2n + 1 write disabled for key n */
    u32 personality;              /* o */
    struct signal_struct *signal; /* c */
    char comm[16];
    struct list_head tasks;  /* m->vm: all tasks */
    struct list_head thread; /* mm->threads */
    /* vmacache: the last VMAs this thread looked up, valid while seqnum equals the mm's */
    u64 vmacache_seqnum;
    struct vmacache_entry vmacache[4];
};

static inline u64 rlimit(const struct task *t, unsigned int limit)
{
    return READ_ONCE(t->signal->rlim[limit].cur);
}

static inline u64 rlimit_max(const struct task *t, unsigned int limit)
{
    return READ_ONCE(t->signal->rlim[limit].max);
}

static inline void task_set_rlimit(struct task *t, unsigned int limit, u64 cur, u64 max)
{
    WRITE_ONCE(t->signal->rlim[limit].cur, cur);
    WRITE_ONCE(t->signal->rlim[limit].max, max);
}

static inline u32 task_uid(const struct task *t)
{
    return READ_ONCE(t->signal->uid);
}

static inline u32 task_gid(const struct task *t)
{
    return READ_ONCE(t->signal->gid);
}

static inline void task_set_ids(struct task *t, u32 uid, u32 gid)
{
    WRITE_ONCE(t->signal->uid, uid);
    WRITE_ONCE(t->signal->gid, gid);
}

static inline u64 task_caps(const struct task *t)
{
    return READ_ONCE(t->signal->cap_effective);
}

static inline void task_set_caps(struct task *t, u64 cap_effective)
{
    WRITE_ONCE(t->signal->cap_effective, cap_effective);
}

static inline bool task_capable(const struct task *t, u32 cap)
{
    return task_caps(t) >> cap & 1;
}

#endif
