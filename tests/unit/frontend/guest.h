/* SPDX-License-Identifier: MIT */
/*
 * A guest without qemu: the plugin linked into the test's own process and given what qemu would tell it, by threads of
 * this process (vCPUs) and its forked children. What the guest does is its "program" below, so that a trace of it can be
 * told in full.
 *
 *   step k of thread i   fetch from page k mod 2 of the thread's code · take the next turn, a number that all threads
 *                        and processes count on · write to that turn's page · every third time read there again ·
 *                        every 17th time read across two pages of its own · every 7th time a system call
 *
 * The turn is a plain variable: only the baton (frontend/qemu/record.h) keeps the steps apart.
 */
#ifndef QUIRE_TESTS_GUEST_H
#define QUIRE_TESTS_GUEST_H

#include "base/types.h"

/* Low enough for every sanitizer. */
#define GUEST_STACK 0x10000000ul
#define GUEST_STATE 0x11000000ul
#define GUEST_CODE 0x12000000ul /* a MiB for each thread */
#define GUEST_EXE 0x20000000ul
#define GUEST_HOLE 0x38000000ul /* nothing is mapped there */
#define GUEST_DATA 0x40000000ul
#define GUEST_PAGES 65536ul
#define GUEST_THREADS 16ul

/* What it does, by name on the command line. */
struct guest_plan {
    const char *name;
    u32 threads;      /* beside the main one, at once */
    u32 steps;        /* of thread i: this many, and a half of it where i is odd */
    u64 pages;        /* a turn's page is turn mod pages */
    bool calls;       /* system calls, too */
    bool children;    /* each thread makes one in the middle */
    bool processes;   /* forked processes: one dies in a write, one ends, one is stopped and killed */
    bool exclusive;   /* thread 1 stays in a block for longer than others wait for the baton */
    bool asleep;      /* as one that qemu has stopped */
    u64 file_limit;   /* RLIMIT_FSIZE; 0: none */
    u32 machine_cpus; /* followed by a machine with so many; 0: none */
};

enum guest_call { GUEST_WAIT, GUEST_QUICK, GUEST_MEM, NR_GUEST_CALLS };
extern const s64 guest_call_nr[NR_GUEST_CALLS];

static inline bool guest_calls_at(u64 k)
{
    return k % 7 == 3;
}

static inline enum guest_call guest_call_at(u64 k)
{
    return (enum guest_call)(k / 7 % NR_GUEST_CALLS);
}

static inline bool guest_crosses_at(u64 k)
{
    return k % 17 == 5;
}

static inline u64 guest_code_page(u64 thread, u64 k)
{
    return GUEST_CODE + (thread << 20) + (k & 1) * PAGE_SIZE;
}

/* Two pages that the thread alone reads. */
static inline u64 guest_own_page(u64 thread)
{
    return GUEST_CODE + (thread << 20) + 0x80000;
}

static inline u64 guest_steps(const struct guest_plan *p, u64 thread)
{
    return thread & 1 ? p->steps / 2 : p->steps;
}

/* The process that a launcher has started: argv are the plugin's arguments. Its exit status. */
int guest_main(const struct guest_plan *p, int argc, char **argv);

#endif
