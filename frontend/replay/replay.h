/* SPDX-License-Identifier: MIT */
/*
 * Replay: machines follow a trace of `quire record` as they would have followed the program.
 *
 *   trace_next() ──▶ event of a stream ──▶ its thread: a struct vcpu, as in the plugin ──▶ the same code (libquire_follow)
 *
 * One host thread does everything in the order of the trace's tickets, which is the order in which it happened
 * (record.h): so a machine like the one of the recording goes through the same states and counts the same.
 *
 * A machine with fewer CPUs than the recording had threads on theirs: whoever needs one gets that of the thread that ran
 * least recently, which comes back to a CPU at its next event.
 *
 * Invariants
 *   P1  `process` (follow.h) is that of the thread whose event is handled;
 *   P2  what a trace says is checked before a machine is told: a bad one ends the replay with a message.
 */
#ifndef QUIRE_FRONTEND_REPLAY_H
#define QUIRE_FRONTEND_REPLAY_H

#include "session.h"
#include "trace.h"

struct replay_result {
    enum trace_status status; /* TRACE_END: all of it */
    char text[512];           /* what is wrong otherwise */
    u64 events, words;        /* of the trace; words: accesses and fetches */
};

struct replay_watch {
    void (*idle)(const struct replay_result *, void *); /* now and then, with the counts so far; may be NULL */
    /*
     * A process ends, or the trace does before it: its tasks are on the machines for the last time, and each machine
     * has a free CPU. May be NULL.
     */
    void (*process_end)(struct session *, const struct session_proc *, void *);
    void *arg;
};

/* s: its machines are booted, and it has no process yet. `watch` may be NULL. */
void replay_trace(struct session *s, struct trace_reader *r, struct replay_result *result,
                  const struct replay_watch *watch);

#endif
