/* SPDX-License-Identifier: MIT */
/* A sequence that differs: is it a disagreement, or has the host interfered? And the slowest ops. */
#ifndef QUIRE_TESTS_ORACLE_AGAIN_H
#define QUIRE_TESTS_ORACLE_AGAIN_H

#include "tests/oracle/sequence.h"

#define HOST_COUNTERS 32

struct host_counter {
    char name[64];
    u64 value;
    bool disturbs;
};

struct host_work {
    u32 nr;
    struct host_counter counter[HOST_COUNTERS];
};

/* hostwork.c */
void host_work_read(struct host_work *w);     /* as of some time in the last second */
void host_work_read_now(struct host_work *w); /* slower */
/* Work that can have made the two sides differ so: DIFFER_*. */
bool host_has_worked(const struct host_work *before, const struct host_work *after, u32 differ);
/* Of what the host has too little for its answers to mean anything; NULL: of nothing. */
const char *host_is_short(const struct native *n);
void print_host_work(const struct host_work *before, const struct host_work *after, FILE *out);

enum verdict {
    DISAGREES,   /* the same op, in the same way, SAME_RUNS times */
    HOST_WORKED, /* of what the host may do, not again, and the host's counters have moved */
    HOST_MAYBE,  /* they have not */
    SEEN_ONCE,   /* anything else, not again: also not after the sequences before it */
    TOO_LONG     /* an op takes the kernel too long */
};

void print_difference(const struct sequence *s, FILE *out);
/* The sequence has just been generated and differs; `before`: the host's counters some time before it began. */
enum verdict run_again(struct oracle *o, struct sequence *s, u32 steps, const struct host_work *before);

/* slow.c: the ops, looks and ends of sequences that took the kernel longest. */
#define SLOW_MOST 64u

enum slow { SLOW_OP, SLOW_LOOK, SLOW_END };

struct slow_op {
    u64 cycles, seed;
    u32 at;
    enum slow what;
    struct oracle_op op;
    struct oracle_result result;
};

struct slowest {
    u32 wanted, nr;
    u64 cycles, ns; /* of the time-stamp counter and the clock, when the run began */
    struct slow_op op[SLOW_MOST];
    u64 least[ORACLE_OPS][SLOW_END], end; /* cycles of one sequence's, in several runs */
};

void slowest_begin(struct slowest *w, u32 wanted);
void slowest_add(struct slowest *w, struct oracle *o, struct sequence *s, u32 steps);
void print_slowest(const struct slowest *w, FILE *out);

#endif
