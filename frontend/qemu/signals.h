/* SPDX-License-Identifier: MIT */
/* What of signals an execve would lose under qemu: signals.c. */
#ifndef QUIRE_FRONTEND_SIGNALS_H
#define QUIRE_FRONTEND_SIGNALS_H

#include <signal.h>

#include "base/types.h"

struct signals_held {
    u64 mask; /* the thread's, before */
    u64 ignored;
    struct sigaction handler[32]; /* qemu's, of those that are ignored for the execve */
};

/* When qemu starts, before it has handlers. mask: of the program before its execve; NULL: it is as it should be. */
void signals_begin(const u64 *mask);
/* The program has called rt_sigaction, which succeeded. */
void signals_action(u64 sig);
/* False, and nothing is held: qemu has a signal for the program, no execve now. */
bool signals_hold(struct signals_held *h);
void signals_ignore(struct signals_held *h); /* just before the execve */
void signals_release(struct signals_held *h);

#endif
