/* SPDX-License-Identifier: MIT */
/*
 * The native recorder: follows a program and all its descendants with ptrace(2), stopped only at memory-related calls
 * by a seccomp(2) filter, and hands events (event.h) to a sink.
 *
 *   launch.c    refusals; the child: seized, filtered, executed
 *   filter.c    the seccomp filter: which calls stop
 *   tracer.c    the loop: threads, address spaces, what each stop means
 *   gate.c      one call at a time
 *   collect.c   arguments and results of each call, with what their pointers point to
 *   tracee.c    a stopped thread's memory, files, maps
 *   emit.c      events put together
 */
#ifndef QUIRE_FRONTEND_NATIVE_NATIVE_H
#define QUIRE_FRONTEND_NATIVE_NATIVE_H

#include <stddef.h>

#include "event.h"

/* Takes one event; its bytes are the caller's. */
struct native_sink {
    void (*event)(struct native_sink *sink, enum native_type type, const void *bytes, size_t len);
};

enum native_maps_mode { NATIVE_MAPS_SOMETIMES, NATIVE_MAPS_ALL };

struct native_options {
    const char *path; /* of the program: found already */
    char **argv;
    enum native_maps_mode maps;
    const char *host; /* text of a machine file: this host */
    struct native_sink *sink;
};

struct native_result {
    int wait_status; /* of the program */
    u64 calls, events, processes, threads;
    u64 killed;  /* processes, because the recorder was told to stop */
    s32 ptracer; /* the first process that called ptrace(2), which has failed; 0: none */
};

/* 0; or -1 and the reason why the program cannot be recorded, in `why`. */
int native_record(const struct native_options *o, struct native_result *r, char *why, size_t why_size);

/* Why this program file cannot be recorded (set-user-ID ...), or NULL. */
const char *native_refuses(const char *path);

extern const char *const native_extra_name[NR_NATIVE_EXTRA];
/* "mmap", "mbind" ... of native_call.nr; NULL: unknown. */
const char *native_call_name(u32 nr);

#endif
