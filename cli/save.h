/* SPDX-License-Identifier: MIT */
/* `quire run --save`: when to save the machines, and under which name. */
#ifndef QUIRE_CLI_SAVE_H
#define QUIRE_CLI_SAVE_H

#include "session.h"

struct save_options {
    const char *path; /* NULL: nothing is saved */
    bool folder;      /* a file for each process that ends */
    bool at_exit;     /* of the program; the default */
    bool at_usr1;     /* SIGUSR1 sent to quire */
    u64 every;        /* system calls; 0: not so */
};

struct save_state {
    const struct save_options *o;
    const char *program;
    u64 next;  /* system calls: every */
    u32 saved; /* files */
    bool failed;
};

/* --save-at MOMENT; false: no moment. */
bool save_parse_moment(struct save_options *o, const char *text);
/* Before the program starts: can it be saved there at all? NULL, or the reason, or exits with it. Sets o->folder, and
 * at_exit if no moment was chosen. */
const char *save_prepare(struct save_options *o);
/* What processes leave to the launcher. */
enum session_keep save_keep(const struct save_options *o);

/* A process has ended, its tasks are still on the machines. `program`: it is the one that was asked for. */
void save_at_end(struct save_state *st, struct session *s, const struct session_proc *p, bool program);
/* Now and then. */
void save_poll(struct save_state *st, struct session *s);
void save_on_signal(struct save_state *st, struct session *s);

#endif
