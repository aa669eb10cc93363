/* SPDX-License-Identifier: MIT */
/*
 * Traces of other tools, read. Each format is a parser that gives accesses, one after the other, to a sink; the sink
 * (import.c) makes a trace of them. Foreign traces hold no system calls: memory appears where it is first touched.
 *
 *   lackey      valgrind --tool=lackey --trace-mem=yes: text, " L 1ffeffe7e8,8"
 *   drmemtrace  DynamoRIO's offline traces after raw2trace: packed records of 12 bytes
 *   drtext      DynamoRIO's sample memtrace_simple: text, "0x7ffe1230: 8, w"
 *   champsim    ChampSim: records of 64 bytes, one an instruction
 *   csv         a header line that names the columns: addr, size, kind, tid
 */
#ifndef QUIRE_FRONTEND_IMPORT_H
#define QUIRE_FRONTEND_IMPORT_H

#include <stdio.h>

#include "base/types.h"

enum import_kind { IMPORT_READ, IMPORT_WRITE, IMPORT_EXEC };

struct import {
    FILE *in;
    const char *name; /* of the input, for messages */
    void (*access)(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind);
    void (*thread_exit)(void *arg, u32 tid); /* may be NULL */
    void *arg;
    u64 accesses;
    char err[512]; /* "NAME:LINE: reason" or "NAME: offset N: reason" */
};

struct import_format {
    const char *name;
    const char *what;               /* a line of help */
    int (*read)(struct import *im); /* all of it: 0, or -EINVAL and im->err */
};

extern const struct import_format import_formats[];
extern const u32 nr_import_formats;
/* NULL: no such format. */
const struct import_format *import_format_find(const char *name);

/* For the parsers: addresses and sizes that no program can have are errors. 0 or -EINVAL with im->err set. */
int import_access(struct import *im, const char *where, u32 tid, u64 addr, u64 size, enum import_kind kind);
int import_fail(struct import *im, const char *where, const char *format, ...) __attribute__((format(printf, 3, 4)));

int import_lackey(struct import *im);
int import_drmemtrace(struct import *im);
int import_drtext(struct import *im);
int import_champsim(struct import *im);
int import_csv(struct import *im);

#endif
