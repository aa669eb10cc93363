/* SPDX-License-Identifier: MIT */
/*
 * Accesses of another tool become a trace that `quire replay` runs.
 *
 *   parser ─▶ access ─▶ its thread's stream: words, left out as the recorder leaves them out ─▶ blocks ─▶ temporary file
 *                └────▶ kinds of access of each page ─▶ at the end: regions ─▶ first block of the first stream
 *
 * The trace is put together at the end: INFO, the block with the process and its memory, the blocks of accesses, END.
 * So the memory is known as a whole, and a failed import leaves nothing behind.
 *
 * Memory. Foreign traces have no mmap calls. Pages are looked at in neighbourhoods of 2 MiB: those that were touched
 * become mapped whole, adjacent ones together, as one region each for
 *   text   fetched, never written: private, of a file named after the input, r-x
 *   data   the rest: private, anonymous; w where written, x where fetched
 * with pages that were only read on the side of the region before them. A machine that sees the first access to a region
 * maps it (FOUND). More than MAKE_REGIONS of them: neighbourhoods are doubled until it is fewer; from 32 MiB on text and
 * data are one.
 *
 * Threads. The first id is the process and its main thread, which lives to the end; others are its clones (a clone call
 * before their first access). Accesses happen in the order of the input.
 */
#ifndef QUIRE_FRONTEND_MAKE_H
#define QUIRE_FRONTEND_MAKE_H

#include <stdio.h>

#include "import.h"

#define MAKE_REGIONS 8192u
#define MAKE_THREADS 1000u /* at once */

struct maker;

/* What happened, for who reports. */
struct made {
    u64 accesses, blocks; /* data accesses, fetches */
    u64 words;            /* recorded */
    u64 pages;            /* touched */
    u32 threads, regions;
    u64 bytes;     /* of the trace */
    char err[200]; /* what could not be done */
};

/* `body`: an empty file to read and write, closed by maker_free(). NULL: no memory. */
struct maker *maker_new(int body);
void maker_free(struct maker *mk);

/* For struct import; arg: the maker. After a failure nothing happens any more; maker_finish() tells. */
void maker_access(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind);
void maker_thread_exit(void *arg, u32 tid);
bool maker_failed(const struct maker *mk);

/* The whole trace to `fd`. `name`: of the input; `format`: of it. 0 and *made, or -errno and made->err. */
int maker_finish(struct maker *mk, int fd, const char *name, const char *format, struct made *made);

#endif
