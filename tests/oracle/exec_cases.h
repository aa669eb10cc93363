/* SPDX-License-Identifier: MIT */
/* What is executed: random, but plausible, images and settings. */
#ifndef QUIRE_TESTS_ORACLE_EXEC_CASES_H
#define QUIRE_TESTS_ORACLE_EXEC_CASES_H

#include "tests/oracle/exec_oracle.h"

struct exec_random {
    u64 state;
};

u64 exec_pick(struct exec_random *r, u64 below);

/* Its images are written to dir/exe and dir/interp; strings live until the next call. */
void exec_case_make(struct exec_random *r, const char *dir, struct exec_case *c);
void exec_case_print(const struct exec_case *c, FILE *out);
/* A plain one: two segments, bss, an interpreter if asked for. */
enum exec_plain {
    PLAIN_FIXED,
    PLAIN_PIE,
    PLAIN_STATIC_PIE,
    PLAIN_FIXED_INTERP,
    PLAIN_HUGE_PIE,
    PLAIN_HUGE_STATIC_PIE,
    NR_EXEC_PLAIN
};
void exec_case_plain(enum exec_plain kind, const char *dir, struct exec_case *c);

#endif
