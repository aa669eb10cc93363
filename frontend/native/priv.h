/* SPDX-License-Identifier: MIT */
/*
 * Between the recorder's files. One recorder a process: its state is one struct tracer.
 *
 * A thread (struct thread.state):
 *
 *   EARLY ──▶ NEW ──▶ RUNS ◀──▶ QUEUED ──▶ IN_CALL ──▶ RUNS ... ──▶ gone
 *
 *   EARLY    it stopped before its parent's stop told about it: kept stopped
 *   NEW      its parent told about it, it has not stopped yet
 *   RUNS     in user mode, or in a call that does not matter
 *   QUEUED   stopped before a call (or its end), because another thread is in one behind the same gate
 *   IN_CALL  in a call that matters
 *
 * Invariants
 *   R1  who holds a gate is IN_CALL, or waits at the next gate; any other IN_CALL thread of it is overlapped.
 *   R2  QUEUED threads are in the queue of one gate, in order of arrival.
 *   R3  no event of a thread is written before the NATIVE_CLONE that made it.
 *   R4  maps are taken when no thread of their address space is IN_CALL.
 */
#ifndef QUIRE_FRONTEND_NATIVE_PRIV_H
#define QUIRE_FRONTEND_NATIVE_PRIV_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/list.h"
#include "native.h"

#define CALL_CLONE 1000 /* clone, clone3, fork, vfork: what the filter says in place of native_call.nr */
#define CALL_CLONE3 1001
#define CALL_FORK 1002
#define CALL_VFORK 1003

enum thread_state { THREAD_EARLY, THREAD_NEW, THREAD_RUNS, THREAD_QUEUED, THREAD_IN_CALL };

/* One event under construction. */
struct buffer {
    char *p;
    size_t len, room;
    u32 nr_parts;
};

/* Lets one thread at a time through: gate.c. */
struct gate {
    struct thread *holder;  /* NULL: open */
    struct list_head queue; /* thread->waiting */
};

/* An address space. */
struct nmm {
    u32 users;      /* threads */
    u32 nr_in_call; /* of them */
    struct gate gate;
    bool has_segments; /* shmat(2) succeeded in it, or in the one that it is a copy of */
    u64 calls;         /* since its maps were recorded */
    char *maps;        /* last recorded text */
    size_t maps_len, maps_room;
};

struct proc {
    s32 tgid;
    u32 nr_threads;
};

struct thread {
    struct list_head hash;
    struct list_head waiting; /* in the queue of a gate */
    u32 passed;               /* gates that it went through */
    bool ends;                /* what it waits to do is to end */
    bool told_to_die;
    enum thread_state state;
    s32 tid;
    struct proc *proc; /* NULL: EARLY */
    struct nmm *mm;
    int early_status;
    int pidfd; /* -1: not open */
    /* the call */
    u32 nr; /* native_call.nr or CALL_* */
    u64 arg[6];
    u64 sp;
    u64 enter_seq;
    u32 flags;    /* NATIVE_OVERLAPPED */
    bool in_call; /* counted in mm->nr_in_call */
    u64 queued_ns;
    u64 clone_flags;
    struct buffer call; /* its event, from entry on */
};

#define THREAD_HASH 4096

struct tracer {
    const struct native_options *o;
    struct native_result *r;
    struct list_head hash[THREAD_HASH];
    u64 seq;
    struct gate ipc; /* calls on segments, in any address space */
    u32 nr_queued;
    bool timer;
    double kill_at;      /* 0: nobody wants the run to stop */
    s32 root;            /* pid of the program */
    struct buffer other; /* events that are put together at once */
};

/* filter.c: 0 or -errno. In the child. */
int filter_install(void);

/* gate.c */
void gate_init(struct gate *g);
/* True: it may go on; false: it waits, and tracer_let_in() is called when its turn comes. */
bool gates_pass(struct tracer *tr, struct thread *t);
void gates_release(struct tracer *tr, struct thread *t); /* and out of the queue, if it waits */
void gates_overdue(struct tracer *tr);                   /* lets in who has waited too long */
void tracer_let_in(struct tracer *tr, struct thread *t); /* tracer.c */

/* launch.c: the program's process, seized and waiting; -1 and why. Writing to *go lets it start. */
struct launch {
    s32 pid;
    int go;     /* write end */
    int failed; /* read end: errno of exec */
};
int launch(const struct native_options *o, struct launch *l, char *why, size_t why_size);
int launch_go(struct launch *l, char *why, size_t why_size);

/* tracee.c */
s64 tracee_read(const struct thread *t, u64 addr, void *dst, size_t len); /* bytes, may be short; -1: none */
s64 tracee_write(const struct thread *t, u64 addr, const void *src, size_t len);
s64 tracee_string(const struct thread *t, u64 addr, char *dst, size_t room); /* length without the end, or -1 */
bool tracee_fd(struct thread *t, int fd, struct native_file *f, char *name, size_t room);
bool tracee_mapped_file(s32 pid, u64 start, u64 end, struct native_file *f);
s64 tracee_text(s32 pid, const char *file, char **text, size_t *room); /* a whole /proc/PID file */
s32 tracee_pidfd_target(s32 pid, int fd);
void tracee_present(const struct thread *t, u64 addr, u64 pages, u8 *out);

/* collect.c */
void collect_enter(struct tracer *tr, struct thread *t, struct buffer *b);
void collect_leave(struct tracer *tr, struct thread *t, s64 ret, struct buffer *b);

/* emit.c */
void buffer_reset(struct buffer *b);
void *buffer_add(struct buffer *b, size_t len);
void *buffer_part(struct buffer *b, enum native_part_kind kind, u32 arg, size_t len); /* zeroed */
void buffer_part_trim(struct buffer *b, void *part, size_t len);
void emit(struct tracer *tr, enum native_type type, const struct buffer *b);
struct native_head head_of(struct tracer *tr, const struct thread *t);
void emit_host(struct tracer *tr);
void emit_exec(struct tracer *tr, struct thread *t, s32 former_tid);
void emit_maps(struct tracer *tr, struct thread *t);
void emit_notice(struct tracer *tr, const struct thread *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
u64 cap_effective(s32 tid);

#endif
