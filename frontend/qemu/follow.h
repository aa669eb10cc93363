/* SPDX-License-Identifier: MIT */
/*
 * What the plugin's files share: the followed process and its vCPUs.
 *
 *   what the program does, and what the host says       how the machines follow: in a replay, too
 *   plugin.c    install, callbacks of qemu               vcpu.c         a guest thread: its task and CPU on each machine
 *   access.c    what recent.h does not decide of them    discover.c     mappings nobody told us about
 *   image.c     what execve mapped                       image_map.c    execve
 *   maps.c      /proc/self/maps, files                   tasks.c        tasks of processes and threads
 *   process.c   fork, threads, exec, exit, kill
 *   syscall.c   system calls; calls.c: their table       follow_call.c  system calls
 *
 * State of a vCPU (struct vcpu.state):
 *
 *   NONE ─ vcpu_init ─▶ NEW ─ first block ─▶ USER ◀── syscall, ret ──▶ SYSCALL ─ exit ─▶ NONE
 *
 * RETURNING stands between SYSCALL and the next block, where CPUs are taken, after the call that made the first thread: qemu
 * then stops all threads ("exclusive section"), and the new one, which waits for a CPU in its first block, would not stop.
 * From each state to NONE when the run has ended and the program left processes behind [thread_leave()]: they go on unfollowed.
 *
 * Invariants
 *   F1  in USER the thread owns one CPU of every live machine, in state CPU_USER, with its task current.
 *   F2  nobody waits (system call, mutex, gate, another CPU) while owning a CPU, but for the moments in a fault, and but for
 *       qemu's exclusive sections, which wait until all threads of the process have left their blocks. So who waits for a
 *       CPU in a block, and finds that a thread of this process sleeps on one, goes on without (F1) until its next block.
 *   F3  the order in which memory calls of one process reach the machines is the order in which the host did them: they
 *       hold the process's `order` mutex from before the call until its result was followed.
 *   F4  every access that a callback reports has happened: if a machine says SIGSEGV, the
 *       machine is told less or wrong.
 */
#ifndef QUIRE_FRONTEND_FOLLOW_H
#define QUIRE_FRONTEND_FOLLOW_H

#include <pthread.h>

#include "machine/mmu.h"
#include "program.h"
#include "session.h"

#define MAX_VCPUS 4096

enum baton { BATON_NONE, BATON_STANDS_IN, BATON_OWNED }; /* record.h */

enum vcpu_state { VCPU_NONE, VCPU_NEW, VCPU_USER, VCPU_SYSCALL, VCPU_RETURNING };

#define RECENT_WAYS 4
#define RECENT_CLASSES 32 /* at most; TLBs may have more sets */

/* The pages touched last, by class, latest first: recent.h. */
struct recent {
    u64 page[RECENT_WAYS][RECENT_CLASSES]; /* page, | TLB_W (data only); NOT_RECENT: none */
    u8 dirty[RECENT_CLASSES]; /* its highest bit: the last position that changed since the sets were written back */
};

/* What the callbacks of every access and block use; almost all of them use nothing else. */
struct vcpu_hot {
    u64 accesses, blocks; /* since the last publish */
    struct vcpu *vcpu;
    const _Atomic u32 *work[SESSION_MACHINES]; /* of its CPUs */
    struct recent data, code;
} __attribute__((aligned(4096))); /* indexed by a shift */

/* A regular file or a shared segment as the host has it. */
#define DEV_SHMEM (1ull << 63)     /* in dev: on tmpfs, a memfd, a segment: its pages are shared memory */
#define SEGMENT_NAME "SYSV%08x %o" /* name of a SysV segment (dev is DEV_SHMEM alone, ino its id): key, permissions */
#define SIZE_GONE (~0ull)          /* has no name and is closed, or was removed: goes with its last mapping */
struct host_file {
    bool there;
    u64 dev, ino, size;
    char name[128]; /* "": told before */
};

struct vcpu {
    enum vcpu_state state;
    u32 index;
    u32 tid;
    struct session_thread *thread;
    struct cpu *cpu[SESSION_MACHINES];
    struct mmu *mmu[SESSION_MACHINES];
    /* the system call under way */
    s64 nr;
    u64 arg[6];
    bool in_block;                       /* qemu may wait until it has left the block: F2 */
    bool lacks_cpu;                      /* in USER, and went on without one: asks again at every block */
    bool ordered;                        /* holds process.order */
    struct host_file file;               /* what its descriptor stands for, as far as that matters */
    u64 file_pos;                        /* position before a read or write of a regular file, NO_POS: not one */
    struct session_proc *child;          /* fork under way */
    struct session_thread *child_thread; /* thread creation or fork under way */
    struct vcpu *child_vcpu;             /* of a thread creation under way, once it is made */
    bool killing;                        /* froze somebody for a kill */
    enum baton baton;
    u32 stands_for; /* host thread that owns the baton */
    u32 stopped;    /* host thread that had the turn: the same, or who stood in for it */
};

#define NOT_RECENT 8ul /* differs from every page and block */
#define NO_POS (~0ul)

struct process {
    struct session *s;
    struct session_proc *slot;
    u32 slot_index;
    enum guest_arch arch;
    u32 nr_machines;
    struct machine *machine[SESSION_MACHINES];
    pthread_mutex_t order; /* F3 */
    _Atomic u32 nr_threads;
    u64 data_mask, code_mask; /* of a page number: its class in recent.h */
    u32 recent_ways;          /* positions in use there */
    u32 vcpu_top;             /* no vCPU at or above was ever used */
    _Atomic bool parallel;    /* there was a second thread */
    _Atomic u32 nr_in_turn;   /* threads that wait for the baton (record.h) */
    _Atomic u64 turn;         /* host thread that owns the baton, and << 32 who runs guest code with it (record.h) */
    s32 pid;
    bool loaded; /* the program's image is in the machines */
    bool recording;
    /* Hooks, NULL: none. */
    void (*on_publish)(struct vcpu *v);     /* counts are about to go to the session */
    bool (*before_acquire)(struct vcpu *v); /* sees to it that CPUs are free; false: go on without */
    void (*after_acquire)(struct vcpu *v);
    void (*on_abandon)(struct vcpu *v); /* it is about to be followed no more */
    void (*resched)(struct vcpu *v);    /* instead of release and acquire at the end of a time slice */
    char exe[SESSION_PATH];
};

extern struct process process;
extern struct vcpu vcpus[MAX_VCPUS];
extern struct vcpu_hot hot[MAX_VCPUS]; /* by vCPU index, as vcpus[] */

static inline struct vcpu_hot *vcpu_hot(const struct vcpu *v)
{
    return &hot[v - vcpus];
}

/* vcpu.c */
void vcpu_geometry(void);          /* that suits all machines: once they are known, before any vCPU */
void vcpu_abandon(struct vcpu *v); /* its process has ended, by another thread: it is followed no more */
void vcpu_forget(struct vcpu *v);  /* its recent pages: before anything that may look at or change its TLBs */
void vcpu_clear(struct vcpu *v);
void vcpu_set_hot(struct vcpu *v); /* after anything that may have changed its CPUs or address space */
void vcpu_acquire(struct vcpu *v); /* a CPU of each live machine, CPU_USER */
bool thread_sleeps(u32 host_tid);  /* of this process */
bool vcpu_must_go_on(const struct vcpu *v, const struct machine *m); /* without a CPU of m: F2 */
void vcpu_release(struct vcpu *v);
void vcpu_publish(struct vcpu *v); /* counts to the session, time to the CPUs */
void vcpu_poll(struct vcpu *v);    /* work posted to its CPUs */
void vcpu_machine_dead(struct vcpu *v, u32 i);
/* One access of [va, va + size), on machine `i` or on all: everything but the fast path. */
void vcpu_access_slow(struct vcpu *v, u32 i, va_t va, u32 size, enum mmu_access_kind kind);
void vcpu_touch(struct vcpu *v, va_t va, u64 len, enum mmu_access_kind kind);
/* Run `body` with each live machine's CPU in the kernel. Inside: `i` and `cpu`. */
#define for_each_machine_in_core(v, i, cpu)                                                                            \
    for (u32 i = vcpu_core_begin(v, 0); i < process.nr_machines; i = vcpu_core_next(v, i))                             \
        for (struct cpu *cpu = (v)->cpu[i]; cpu; cpu = NULL)
u32 vcpu_core_begin(struct vcpu *v, u32 i);
u32 vcpu_core_next(struct vcpu *v, u32 i);

/* discover.c: tell machine i what is at va in the host; true if that may have helped. */
bool discover(struct vcpu *v, u32 i, va_t va, enum mmu_access_kind kind);

/* image.c: the address space that execve made, at the first block. */
void image_load(struct vcpu *v, va_t first_block);

/* image_map.c: the machines map it. No loads in exe: it is not known, the machines can follow no more. */
struct image_part {
    u32 nr_loads;
    struct elf_load load[ELF_MAX_LOADS];
    u64 bias;
    struct host_file file;
};
struct image {
    struct image_part exe, interp; /* interp without loads: static */
    va_t stack_top, sp;
    u64 auxv[AT_VECTOR_SIZE]; /* what the kernel, or qemu, tells the program; AT_NULL at the end is among them */
    u32 nr_auxv;              /* words */
};
void image_follow(struct vcpu *v, const struct image *im, const char *comm);

/* tasks.c */
void fork_prepare(struct vcpu *v, u64 clone_flags); /* tasks for a child: v->child, v->child_thread */
struct session_thread *tasks_first(struct vcpu *v); /* the program's first: the launcher has made the slot */
void tasks_set_ids(struct session_thread *t, s32 tid, s32 pid);

/* maps.c */
struct host_map {
    va_t start, end;
    u32 prot; /* PROT_* */
    bool shared;
    u64 offset, dev, ino;
    char path[256];
};
/* Until visit() says true: that is then the result. */
bool host_maps_each(bool (*visit)(const struct host_map *m, void *arg), void *arg);
/* The mapping of this process that contains `va`. */
bool host_map_find(va_t va, struct host_map *out);
/* What fd stands for: f->there, the result, says that it is a regular file. */
bool host_file(struct host_file *f, int fd);
/* fd is shared memory with at most so many names, one of which, or the descriptor, goes: *f says that it is gone. */
bool host_file_vanishes(struct host_file *f, int fd, u64 names);
/* Shared memory without a name that only this process has open: it goes when the process does (or, only_cloexec, execve). */
void host_nameless_each(bool only_cloexec, void (*visit)(void *arg, const struct host_file *f), void *arg);
/* The file behind a mapping. */
bool host_map_file(struct host_file *f, const struct host_map *m);

/* process.c */
void fork_before(struct vcpu *v, u64 clone_flags);
void fork_after(struct vcpu *v, s64 ret);
void thread_started(struct vcpu *parent, struct vcpu *child); /* vcpu_init */
void thread_first_block(struct vcpu *v);
void thread_returns(struct vcpu *v); /* to RETURNING */
void thread_goes_on(struct vcpu *v); /* from RETURNING, in a block */
void thread_exit(struct vcpu *v);
bool thread_leave(struct vcpu *v); /* true: the run has ended, and nothing of this thread is followed any more */
void process_exit(struct vcpu *v);
void exec_before(struct vcpu *v, u64 path, u64 argv, u64 envp); /* returns if qemu is to go on */
void execat_before(struct vcpu *v, const u64 arg[6]);           /* likewise */
void kill_before(struct vcpu *v, s64 target, int sig);
void kill_after(struct vcpu *v, s64 target, int sig, s64 ret);
void order_lock(struct vcpu *v);
void order_unlock(struct vcpu *v);

/* follow_call.c: what the machines are told of a call; v->nr, arg and file say which. */
void follow_return(struct vcpu *v, s64 ret); /* it has come back: CPUs again, time */
void follow_address_space(struct vcpu *v, s64 ret);
void follow_file_io(struct vcpu *v, const struct host_file *f, u64 pos, u64 len, enum mmu_access_kind kind);
void follow_file_size(struct vcpu *v, const struct host_file *f);
void follow_done(struct vcpu *v);
/* The machine's file; NULL: it is none; ERR_PTR(-ENOMEM). Counted reference. */
struct file *follow_file(struct cpu *cpu, const struct host_file *f);
/* Machine i cannot go on as the host did. */
void follow_out_of_memory(u32 i, const char *what, u64 where);

/* calls.c: fill in the numbers of all architectures; before any call. */
void syscall_init(void);

/* syscall.c */
void syscall_before(struct vcpu *v, s64 nr, const u64 arg[6]);
void syscall_after(struct vcpu *v, s64 nr, s64 ret);
void syscall_left(struct vcpu *v, s64 nr, const u64 arg[6]); /* the run has ended: qemu is to answer, but for execve */

/* Guest memory, unless the address is bad: bytes copied, or -1. */
s64 guest_read(void *dst, u64 src, u64 len);

#endif
