/* SPDX-License-Identifier: MIT */
/*
 * Verification: a native recording (frontend/native/event.h) played to a machine that decides everything by itself, and
 * its answers held against the kernel's.
 *
 *   event ──▶ world.c   processes, address spaces, programs: what is followed, not judged (but fork and its result)
 *         ──▶ call.c    abi_syscall(): result, errno, address, bytes written ── disagreement ──▶ force.c: the kernel's
 *         ──▶ maps.c    /proc/PID/maps line by line                                             answer is put in place
 *         ──▶ signal.c  would the access have raised this signal?
 *
 * Columns of the result, by system call:
 *   agreed        the machine answered as the kernel did
 *   disagreed     it did not; the recorded result was forced, so that what follows is judged by itself
 *   not modelled  the machine does not answer this call, or its answer hangs on what a recording does not hold
 */
#ifndef QUIRE_FRONTEND_VERIFY_H
#define QUIRE_FRONTEND_VERIFY_H

#include <stdio.h>

#include "event.h"
#include "machine/machine_api.h"

struct verify_tally {
    u64 agreed, disagreed, not_modelled;
    u64 interrupted; /* a signal came first: made again, not counted as calls */
};

/* What is counted beside calls, behind them in verify_result.tally. */
enum verify_extra { VERIFY_FORK = NATIVE_EXTRA_END, VERIFY_SIGNAL, VERIFY_MAPS, NR_VERIFY };

struct verify_result {
    struct verify_tally tally[NR_VERIFY];
    u64 events, calls, execs, processes, threads;
    u64 maps_lines; /* compared */
    u64 kernel_cuts; /* maps that differ only in like neighbours that the kernel keeps apart: both were touched, unseen */
    u64 unseen;      /* programs that the recorder may not look into: their calls are not modelled */
    u64 overlapped; /* calls that ran at the same time as another of their address space */
};

struct verify_options {
    u32 shown; /* disagreements in full */
    FILE *out; /* where they go; NULL: nowhere */
};

struct verify;

/* NULL: the host's machine cannot be had; `why` says so. `host` is the first event. */
struct verify *verify_create(const struct verify_options *o, const void *host, size_t len, char *why, size_t why_size);
/* 0, or -1: the event is malformed, `why`. */
int verify_event(struct verify *v, u32 type, const void *bytes, size_t len, char *why, size_t why_size);
const struct verify_result *verify_result(const struct verify *v);
/* machine_check() of what is left; mismatches. */
u32 verify_check(struct verify *v, char *why, size_t why_size);
void verify_destroy(struct verify *v);

const char *verify_name(u32 n); /* of tally[n]; NULL: none */

#endif
