/* SPDX-License-Identifier: MIT */
/* The launcher's part of `quire record`: the trace's file, its first and last block, what becomes of the dead. */
#ifndef QUIRE_CLI_RECORDING_H
#define QUIRE_CLI_RECORDING_H

#include "quire.h"
#include "trace.h"

/* Create the trace and make the session record; before any thread entry is made. Exits if that cannot be. */
void recording_start(const struct run_options *o, struct session *s, enum guest_arch arch);

/*
 * Between the two the launcher may change machines: it has the baton. `type` is what it did to the process: DEATH or
 * PROCESS_EXIT; other: nothing. Nothing happens unless the session records.
 */
void recording_begin(struct session *s);
void recording_end(struct session *s, enum trace_type type, s32 pid);
/* What the streams of a process that is gone still hold; before its thread entries are given back. */
void recording_flush(struct session *s, const struct session_proc *p);

/* The program has ended: the trace is complete. False: it is not, and was said. */
bool recording_finish(struct session *s, const struct run_options *o, const struct run_result *r, FILE *err);

#endif
