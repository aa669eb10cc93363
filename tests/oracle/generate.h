/* SPDX-License-Identifier: MIT */
/* Random ops: which, by whom, on what. From the model's state, so that they often hit what is there. */
#ifndef QUIRE_TESTS_ORACLE_GENERATE_H
#define QUIRE_TESTS_ORACLE_GENERATE_H

#include "tests/oracle/model.h"

struct generator {
    u64 state; /* of the random numbers */
    struct model *v;
    const struct host *host;
    u32 proc; /* who did the last op */
    u32 nr_procs;
    bool drop;               /* the first op drops all privileges */
    bool huge;               /* huge pages are asked for */
    bool inject;             /* some calls find no memory first */
    bool processes;          /* more of clone, execve, exit */
    bool swarm;              /* each sequence has a mix of its own */
    u8 wanted[NR_ABI_CALLS]; /* calls to be generated */
    u8 times[NR_ABI_CALLS];  /* so often as usual, of SWARM_USUAL */
    u8 nr_favourites;
    s16 favourite[4]; /* advice of madvise() */
    u64 arena_pages;
};

#define SWARM_USUAL 4u /* generator.times of calls that are as often as without --swarm */

void generate_init(struct generator *g, struct model *v, const struct host *host, u64 seed);
/* The n-th op of the sequence. */
void generate_op(struct generator *g, u32 n, struct oracle_op *op);
u32 count_procs(const struct model *v);
bool can_look_after(const struct oracle_op *op);
u64 pick(struct generator *g, u64 below);
bool chance(struct generator *g, u32 percent);
/* generate_calls.c: fill in a call; false: none that makes sense now. */
bool generate_call(struct generator *g, struct oracle_op *op);
int some_advice(struct generator *g);
/* May the host be asked for this, with arguments as they are now? */
bool madvise_allowed(struct generator *g, const struct oracle_op *op);
bool process_madvise_allowed(struct generator *g, const struct oracle_op *op);
bool mincore_allowed(struct generator *g, const struct oracle_op *op);
/* generate_odd.c: sometimes make arguments of a call wrong; false: not to be asked now. */
bool make_odd(struct generator *g, struct oracle_op *op);
/* generate_addr.c */
va_t some_addr(struct generator *g);
va_t some_page(struct generator *g);
u64 some_len(struct generator *g);
bool range_allowed(struct generator *g, va_t addr, u64 len); /* nothing of the child's own */
/* The same where the call may make whole huge pages of the length. */
bool huge_range_allowed(struct generator *g, va_t addr, u64 len);
bool in_huge_arena(va_t addr);
bool range_readable(struct generator *g, va_t addr, u64 len); /* in no process the kernel's own: vdso, vvar */
struct mm *gen_mm(struct generator *g);
/* rules.c: the rule by which this kernel is not asked for the op; NULL: none. */
const char *rule_against(struct generator *g, const struct oracle_op *op);
void print_rules(const struct host *h, FILE *out);

#define PICK(g, array) ((array)[pick(g, ARRAY_SIZE(array))])

#endif
