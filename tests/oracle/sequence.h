/* SPDX-License-Identifier: MIT */
/* One sequence on both sides, and what they disagree about. */
#ifndef QUIRE_TESTS_ORACLE_SEQUENCE_H
#define QUIRE_TESTS_ORACLE_SEQUENCE_H

#include "tests/oracle/generate.h"

enum {
    DIFFER_RESULT = 1,
    DIFFER_SIGNAL = 2,
    DIFFER_FAULTS = 4, /* how many */
    DIFFER_MAPS = 8,
    DIFFER_PAGES = 16,
    DIFFER_FLAGS = 32,
    DIFFER_OUT = 64,
    DIFFER_BOOKS = 128,  /* machine_check() */
    DIFFER_DIED = 256,   /* the child died, or nothing of it runs and no op is done */
    DIFFER_CRASH = 512,  /* the model crashed: an assertion */
    DIFFER_STATE = 1024, /* a call that failed for want of memory left something behind */
    /*
     * Beside others: all of it may be the host's work (pages.c): pages missing, or still there; another number of faults, since such a page is
     * missing, is just being moved, or was made read-only for write-back; pages that mincore() finds; bytes behind the end of a file on disk,
     * which become zero when their page is written back.
     */
    DIFFER_HOST = 2048,
    DIFFER_LONG = 4096,    /* the child is alive and at work, but takes too long */
    DIFFER_NUMBERS = 8192, /* of smaps, numa_maps, status, statm; not asked where pages differ */
    DIFFER_WRITTEN =
        16384 /* beside DIFFER_HOST: all of it is about files on disk, so that it may be write-back's work */
};

#define PAGE_DIFFERENCES 8

struct page_difference {
    u64 addr;
    u32 native, model; /* as in oracle_seen */
};

struct page_differs {
    u32 nr, others; /* others: of them, those that the host has not done */
    u32 not_on_disk;
    struct page_difference page[PAGE_DIFFERENCES];
};

struct sequence {
    u64 seed;
    u32 nr;
    struct oracle_op op[ORACLE_OPS];
    struct oracle_result native[ORACLE_OPS], model[ORACLE_OPS];
    /* the first disagreement */
    u32 differ; /* DIFFER_*; 0: none */
    u32 at;     /* op */
    struct page_differs pages;
};

struct oracle {
    struct native native;
    struct model model;
    struct host host;
    struct generator gen;
    u32 check_every; /* ops between machine_check()s; 0: at the end of sequences only */
    u32 hang_s;      /* of CPU in one sequence: the model does not come back (SIGVTALRM); 0: HANG_S */
};

#define HANG_S 60

const char *differ_name(u32 differ); /* of the lowest bit */
/* pages.c: what both sides' last looks at pages show; only while the sequence runs, and some time after it. */
void compare_pages(const struct oracle *o, const struct oracle_result *native, const struct oracle_result *model,
                   struct page_differs *d);
void print_pages_differ(const struct page_differs *d, FILE *out);
/* Both end with processes gone and books checked. */
void run_generated(struct oracle *o, struct sequence *s, u64 seed, u32 steps);
/* s->op[0, nr), everything looked at after each op. `out` not NULL: both address spaces at the disagreement. */
void run_list(struct oracle *o, struct sequence *s, FILE *out);

/* A new child and a new machine. */
void restart(struct oracle *o);

/* shrink.c: s->op becomes the shortest list found that still disagrees in the same way. */
void shrink(struct oracle *o, struct sequence *s);
/* One run in a process of its own, on a new machine with a new child: DIFFER_*, *at. */
u32 trial(const struct oracle *o, struct sequence *s, u32 *at);

/* print.c */
void print_op(const struct oracle_op *op, FILE *out);
void print_result(const struct oracle_op *op, const struct oracle_result *r, FILE *out);
void print_c_program(const struct sequence *s, FILE *out);
void save_replay(const struct sequence *s, const char *path);
bool load_replay(struct sequence *s, const char *path);

#endif
