/* SPDX-License-Identifier: MIT */
/*
 * Gates: one thread at a time in a call, so that the order of calls is known.
 *
 *   its address space's gate ──▶ the gate of segments, for calls on them ──▶ the call ──▶ both open again
 *
 * The second is for what processes share beyond their address spaces: System V segments, which fork and the end of a
 * process attach and detach, too.
 *
 * Calls that wait for another thread (memory behind userfaultfd, a FUSE file) would deadlock: who has waited WAIT_MS is
 * let in, and the calls are marked as overlapping.
 */
#define _GNU_SOURCE
#include <time.h>

#include "priv.h"

#define WAIT_MS 100
#define MAX_GATES 2

static u64 now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

void gate_init(struct gate *g)
{
    g->holder = NULL;
    INIT_LIST_HEAD(&g->queue);
}

static bool touches_segments(const struct thread *t)
{
    switch (t->nr) {
    case ABI_shmget:
    case ABI_shmctl:
    case ABI_shmat:
    case ABI_shmdt:
        return true;
    default:
        return (t->ends || t->nr >= CALL_CLONE) && t->mm->has_segments;
    }
}

/* The n-th gate of the thread's way, or NULL: it is through. */
static struct gate *gate_of(struct tracer *tr, const struct thread *t, u32 n)
{
    if (n == 0)
        return &t->mm->gate;
    return n == 1 && touches_segments(t) ? &tr->ipc : NULL;
}

bool gates_pass(struct tracer *tr, struct thread *t)
{
    struct gate *g;

    while ((g = gate_of(tr, t, t->passed))) {
        if (g->holder) {
            t->state = THREAD_QUEUED;
            t->queued_ns = now_ns();
            list_add_tail(&t->waiting, &g->queue);
            tr->nr_queued++;
            return false;
        }
        g->holder = t;
        t->passed++;
    }
    return true;
}

static void leave_queue(struct tracer *tr, struct thread *t)
{
    if (list_empty(&t->waiting))
        return;
    list_del_init(&t->waiting);
    tr->nr_queued--;
}

static void gate_release(struct tracer *tr, struct gate *g, const struct thread *t)
{
    struct thread *next;

    if (g->holder != t)
        return;
    g->holder = NULL;
    if (list_empty(&g->queue))
        return;
    next = list_first_entry(&g->queue, struct thread, waiting);
    leave_queue(tr, next);
    if (gates_pass(tr, next))
        tracer_let_in(tr, next);
}

void gates_release(struct tracer *tr, struct thread *t)
{
    leave_queue(tr, t);
    t->passed = 0;
    gate_release(tr, &tr->ipc, t);
    if (t->mm)
        gate_release(tr, &t->mm->gate, t);
}

static void let_in_anyway(struct tracer *tr, struct thread *t)
{
    struct gate *g = gate_of(tr, t, t->passed);

    leave_queue(tr, t);
    t->flags |= NATIVE_OVERLAPPED;
    if (g && g->holder)
        g->holder->flags |= NATIVE_OVERLAPPED;
    tracer_let_in(tr, t);
}

void gates_overdue(struct tracer *tr)
{
    u64 now = now_ns();

    for (u32 i = 0; i < THREAD_HASH; i++) {
        struct thread *t, *next;

        list_for_each_entry_safe (t, next, &tr->hash[i], hash)
            if (t->state == THREAD_QUEUED && now - t->queued_ns > WAIT_MS * 1000000ull)
                let_in_anyway(tr, t);
    }
}
