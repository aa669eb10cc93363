/* SPDX-License-Identifier: MIT */
/* The world of tests/fuzz/syscalls.c: processes and threads of one machine, and the arguments of their calls. */
#ifndef QUIRE_TESTS_FUZZ_CALLS_H
#define QUIRE_TESTS_FUZZ_CALLS_H

#include "tests/fuzz/fuzz.h"

#include "abi/abi.h"

#define MAX_TASKS 6u
#define NR_FILES 8u
#define NR_SHMS 4u
#define WINDOW_BASE 0x20000000ul /* where most of it happens; every page-table format has it */
#define WINDOW_PAGES 512u

struct world {
    bool trace; /* FUZZ_TRACE=1 prints every operation with its result */
    struct machine *m;
    struct cpu *cpus[2];
    struct task *task[MAX_TASKS]; /* task i runs on CPU i % 2 */
    struct file *file[NR_FILES];  /* descriptors that all have; NULL: closed */
    s32 shmid[NR_SHMS];
    u32 now; /* the task that acts */
    s32 next_pid;
};

static inline struct cpu *world_cpu(struct world *w)
{
    struct cpu *cpu = w->cpus[w->now % 2];

    cpu->current = w->task[w->now];
    return cpu;
}

/* A call as it is made, with the memory behind its pointers. */
struct made_call {
    struct abi_call c;
    void *bytes[6]; /* of exactly the size given: sanitizers see an access past the end */
    u32 fd;         /* index of c.file in world.file */
};

/* A call of the table with arguments from the input; free with call_free(). */
void call_make(struct world *w, struct input *in, enum abi_nr nr, struct made_call *call);
void call_free(struct made_call *call);

va_t take_addr(struct world *w, struct input *in);
u64 take_len(struct input *in);

#endif
