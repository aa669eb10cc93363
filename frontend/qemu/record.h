/* SPDX-License-Identifier: MIT */
/*
 * Recording in the plugin: whatever the machines are told goes to the trace, too (docs/trace-format.md). With machines
 * and without: what is written is the same.
 *
 * One order. Who runs guest code or changes a machine holds the baton. It is passed on when a thread waits in a system
 * call, ends, or has run for SLICE_BLOCKS blocks while another wants it. So the trace's tickets, taken with the baton in
 * hand, are the order in which everything happened, and a replay of it is exact, for parallel threads too.
 *
 * Accesses are recorded by page, as words of 16 bits (access.h has the layout). Left out is what cannot change a machine:
 *   data   on the page of the data word before it, unless that was a read and this is a write
 *   block  in the page of the latest fetch
 * but a machine that has been in its kernel meanwhile may have dropped the translation. So the next word's mark says what
 * was left out before it: after a data word blocks, or blocks and then data; after a fetch data, or data and then blocks.
 *
 * The end. Who ends a process that has other threads freezes its gate with the baton in hand. From then on none of them
 * records what it will not live to do: who gets the baton is followed no more, or waits at the gate where the process is
 * to be replaced.
 *
 * Standing in. qemu stops all vCPUs for what must be alone (exclusive sections: a fork beside threads, some atomics): the
 * owner of the baton then sleeps between two blocks, or before such a section of its own, until we have left the block in
 * which we wait for the baton. `process.turn` names the owner while it is in guest code. If it is seen to sleep there,
 * one of those who wait stands in for it until its next block, and is stood in for in the same way when it is stopped itself.
 * Each takes a ticket, and so does the owner afterwards: a thread whose last ticket is not the last one given takes another.
 * Who finds no CPU free, either, goes on without one until its next block: the machines do not see those accesses, nor does
 * a replay (no ACQUIRE).
 *
 * Out of turn. Should a wait in a block last TAKE_IN_BLOCK_MS, the thread goes on all the same, and asks for the baton again
 * after 1, 2, 4 ... blocks. The order is then no longer exact, and the report says so.
 *
 * Death. The baton is a robust mutex: who takes it after an owner that was killed cuts off what that had written of a block
 * (stream_repair()); the launcher writes the block, from the dead one's stream.
 *
 * Invariants
 *   K1  the thread that writes events or words holds the baton, but for threads that are out of turn: what the threads of
 *       a process share (packer, files told, known mappings) is therefore used under `record_lock`;
 *   K2  a block begins with a ticket taken after everything that lies before it in time was recorded.
 */
#ifndef QUIRE_FRONTEND_RECORD_H
#define QUIRE_FRONTEND_RECORD_H

#include "follow.h"
#include "frontend/trace/access.h"
#include "stream.h"

#define SLICE_BLOCKS 4096u

struct recorder {
    struct stream *st;
    u64 data;      /* page of the last data word | 1: it was a write; NO_PAGE: none */
    u64 code;      /* page of the latest fetch */
    u32 turn;      /* blocks until the baton is offered, or asked for by who has none */
    u32 late;      /* of such turns the last one's length; 0: it has the baton */
    bool released; /* it has no CPU, says the trace */
    u32 marks;     /* what was left out since the last word */
    u32 expect;    /* what would change them */
    u64 defined;   /* the page of the latest define word */
    u64 words;     /* not yet in the session's count */
    struct trace_buf event;
    u64 page[ACCESS_SLOTS];
};

#define NO_PAGE 2ul

/* By vCPU index; NULL: not recorded. */
extern struct recorder *recorders[MAX_VCPUS];

/* record.c */
/* What the threads share: K1. The lock is recursive. */
void record_lock(void);
void record_unlock(void);
/* At install: recording goes on in this process. */
void record_attach(void);
/* The baton; nothing happens unless the session records. */
void baton_take(struct vcpu *v);
void baton_drop(struct vcpu *v);
/* As baton_take(), but not while the process is about to be replaced. It has ended: v is followed no more. */
void baton_take_back(struct vcpu *v);
/* Around what of a callback may sleep: who waits for the baton can tell that its owner does not. */
void turn_in_callback(struct vcpu *v); /* who stood in stands in no more */
void turn_in_guest(struct vcpu *v);
/* In a callback outside all blocks: it waits until it owns the baton. False: v is followed no more. */
bool baton_settle(struct vcpu *v);
bool process_has_ended(void); /* by another thread, and this one has not been told yet */
/* In user mode: let somebody else go first, if anybody waits. */
void baton_yield(struct vcpu *v);
/* A CPU is free on each machine where v has none; false: v must go on without (F2). */
bool record_wait_for_cpus(struct vcpu *v);
bool record_ticket(struct vcpu *v); /* what follows comes after what others did; false: nobody was in between */
void record_put(struct recorder *r, enum trace_type type); /* the event in r->event */
void record_forget(struct recorder *r);                    /* the next accesses are recorded */
struct recorder *recorder_start(struct vcpu *v, bool goes_on);
void record_flush(struct vcpu *v); /* its block is written */
void record_stop(struct vcpu *v);  /* that, and the recorder is given back */
void record_leave(struct vcpu *v); /* the recording has ended: the recorder and the baton are given back */
/* The process's threads but `t` are gone: what they recorded is written. */
void record_execed(const struct session_thread *t);
void record_child(void); /* in the child of a fork: what belongs to the parent's threads is let go */

/* record_events.c: with the baton; nothing happens unless v is recorded. */
enum record_task { TASK_FIRST, TASK_FORKED, TASK_THREAD, TASK_EXECED };
void record_task(struct vcpu *v,
                 enum record_task how); /* takes the baton; its stream begins, or goes on after execve */
enum record_cpus { CPUS_KEPT, CPUS_RELEASED };
void record_enter(struct vcpu *v, enum record_cpus cpus);
void record_call(struct vcpu *v, s64 ret);
void record_count(struct vcpu *v);
void record_touch(struct vcpu *v, va_t va, u64 len, enum mmu_access_kind kind);
void record_file_io(struct vcpu *v, const struct host_file *f, u64 pos, u64 len, enum mmu_access_kind kind);
void record_file_size(struct vcpu *v, const struct host_file *f);
void record_image(struct vcpu *v, const struct image *im, const char *comm);
void record_simple(struct vcpu *v, enum trace_type type);
void record_unknown(struct vcpu *v, va_t va); /* va is about to be accessed */

/* Words. */
void record_data_word(struct vcpu *v, struct recorder *r, u64 page_and_store);
void record_fetch_word(struct vcpu *v, struct recorder *r, u64 page);

static inline void record_left_out(struct recorder *r, u32 what)
{
    if (r->expect != what)
        return;
    r->marks++;
    r->expect = r->marks == 2 ? ACCESS_NOTHING : what ^ (ACCESS_DATA ^ ACCESS_BLOCK);
}

static inline void record_data(struct vcpu *v, struct recorder *r, va_t va, u64 store)
{
    u64 want = (va & PAGE_MASK) | store;

    if ((r->data ^ want) & (~1ul | store))
        record_data_word(v, r, want);
    else
        record_left_out(r, ACCESS_DATA);
}

/* A block of one page. */
static inline void record_block(struct vcpu *v, struct recorder *r, u64 page)
{
    if (r->code != page)
        record_fetch_word(v, r, page);
    else
        record_left_out(r, ACCESS_BLOCK);
}

#endif
