/* SPDX-License-Identifier: MIT */
/*
 * Files that the tool is told to write: looked at before anything runs, so that a name that cannot be one is refused at
 * once, and not after an hour's run; and nothing that is there is touched by a run that is refused.
 *
 * "-" is standard output where a stream will do (--json, --report, -o of import and export). A trace that processes append
 * to and a saved run are files: there "-" is refused, as are devices and FIFOs. A file named "-" is "./-".
 */
#ifndef QUIRE_CLI_OUTPUT_H
#define QUIRE_CLI_OUTPUT_H

#include "quire.h"

enum output_kind {
    OUTPUT_STREAM, /* whatever can be written: "-" is standard output */
    OUTPUT_FILE,   /* a regular file */
};

/* Exits with a message if `path` cannot be written as `kind`; NULL: nothing is. option: "--json", "record: -o". */
void output_check(const char *option, const char *path, enum output_kind kind);

/* Exits if it is no name at all. verb: "cat". */
void input_check(const char *verb, const char *path);

struct output_name {
    const char *option, *path; /* path NULL: not given */
};

/* Exits if two of them are one file: the later would destroy the earlier. Inputs may be among them. */
void output_check_distinct(const struct output_name *name, u32 nr);

static inline bool is_dash(const char *path)
{
    return path[0] == '-' && !path[1];
}

#endif
