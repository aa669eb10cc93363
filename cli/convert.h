/* SPDX-License-Identifier: MIT */
/* Files that `quire import` and `quire export` write: not left behind when it fails. convert.c. */
#ifndef QUIRE_CLI_CONVERT_H
#define QUIRE_CLI_CONVERT_H

#include "quire.h"

struct convert_output {
    const char *verb; /* "import" */
    const char *path; /* "-": standard output */
    const char *name; /* for people */
    int fd;
    bool created; /* by us */
    bool regular; /* to be read and written anywhere */
    bool shown;   /* there is a line of progress on the terminal */
};

/* Exits if it cannot be. */
void convert_open(struct convert_output *o, const char *verb, const char *path);
/* A file without a name beside it, to read and write. */
int convert_temporary(const struct convert_output *o);
/* All of it is written: `bytes` are its length. */
void convert_close(struct convert_output *o, u64 bytes);
/* The output goes, with a message and status 2. */
_Noreturn void convert_give_up(struct convert_output *o, const char *format, ...) __printf_like(2, 3);
/* A second has gone since *start (0: it is now), and there is a terminal. */
bool convert_shows_progress(struct convert_output *o, s64 *start);
void convert_clear_progress(struct convert_output *o);

#endif
