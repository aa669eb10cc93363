/* SPDX-License-Identifier: MIT */
/* struct task: what Linux keeps per thread for the memory manager's purposes. */
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
enum { RLIMIT_DATA_ = 2, RLIMIT_STACK_ = 3, RLIMIT_MEMLOCK_ = 8, RLIMIT_AS_ = 9, NR_RLIMITS = 16 };
#define RLIM_INFINITY_ (~(u64)0)

struct rlimit_pair {
    u64 cur, max;
};

/* With a copy of its range: a VMA that is not the wanted one is not read. */
struct vmacache_entry {
    va_t start, end; /* end 0: empty */
    struct vm_area_struct *vma;
};

struct task {
    s32 pid;  /* thread id */
    s32 tgid; /* process id */
    u32 flags;
    s32 cpu; /* the CPU it last ran on, -1: none yet */
    struct mm *mm;
    bool oom_victim; /* tsk_is_oom_victim(): may use the reserves partly */
    bool cap_ipc_lock;
    struct rlimit_pair rlim[NR_RLIMITS];
    char comm[16];
    struct list_head tasks;  /* m->vm: all tasks */
    struct list_head thread; /* mm->threads */
    /* vmacache: the last VMAs this thread looked up, valid while seqnum equals the mm's */
    u64 vmacache_seqnum;
    struct vmacache_entry vmacache[4];
};

static inline u64 rlimit(const struct task *t, unsigned int limit)
{
    return t->rlim[limit].cur;
}

#endif
