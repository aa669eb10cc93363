/* SPDX-License-Identifier: MIT */
/*
 * Traces and address spaces for other tools.
 *
 *   refs    the page references of a trace, one after the other: what ACCESS events hold, what they say was left out (once
 *           where a mark tells of it), and what the kernel touched for the program (TOUCH). Repeats are not in a trace.
 *   csv     a line for each of them
 *   oracle  libCacheSim's oracleGeneral: records of 24 bytes, each with the next reference to its page
 *   space   of a process on a machine: its VMAs (vma, vma.json), its pages (v2p)
 *
 * docs/interchange.md has the layouts.
 */
#ifndef QUIRE_FRONTEND_EXPORT_H
#define QUIRE_FRONTEND_EXPORT_H

#include <stdio.h>

#include "frontend/trace/trace.h"
#include "import.h"

/* -- references ---------------------------------------------------------------------------------------------------- */

struct ref {
    u32 space; /* address spaces in order of appearance: forks and execs make new ones; 0: the program's first */
    u32 tid;
    u64 page; /* number */
    enum import_kind kind;
};

struct refs {
    int (*ref)(void *arg, const struct ref *ref); /* 0, or -errno that ends it */
    void *arg;
    u64 nr;         /* so far */
    int err;        /* of ref(), or -ENOMEM */
    char text[512]; /* if not TRACE_END: what is wrong */
};

/* All of them; TRACE_BAD with rs->err set if it was not the trace. `idle`, if not NULL: now and then. */
enum trace_status refs_read(struct trace_reader *r, struct refs *rs, void (*idle)(const struct refs *));

/* -- csv: "addr,kind,tid,space" ------------------------------------------------------------------------------------ */

int csv_begin(FILE *out);
int csv_ref(void *arg, const struct ref *ref); /* arg: the FILE */

/* -- oracle -------------------------------------------------------------------------------------------------------- */

struct oracle_record {
    u32 time;  /* s: we have none: a million references are one second */
    u64 id;    /* page number | space << ORACLE_SPACE_SHIFT */
    u32 bytes; /* of a page */
    s64 next;  /* the number, from 1, of the next reference to it; -1: none */
} __attribute__((packed));
_Static_assert(sizeof(struct oracle_record) == 24, "libCacheSim's");

#define ORACLE_SPACE_SHIFT 45 /* page numbers of 57-bit addresses */
#define ORACLE_PER_SECOND 1000000u
#define ORACLE_BATCH 8192u

/* Records go to `fd`, a file to read and write; memory grows with the number of pages, not of references. */
struct oracle {
    int fd;
    u64 nr;
    u32 batched;
    struct oracle_record batch[ORACLE_BATCH];
};

int oracle_ref(void *arg, const struct ref *ref); /* arg: the oracle */
/* After the last: fill in what comes next. 0 or -errno. */
int oracle_finish(struct oracle *o);

#endif
