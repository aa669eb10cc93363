/* SPDX-License-Identifier: MIT */
/*
 * Reading machines that a file has brought: whatever its makers put into it, reading ends, with a message that names the
 * file, the machine and what of it was read, and exit status 2.
 *
 *   breaks an assertion                                a hook of the port's
 *   leads to an address that is none                   a fatal signal, caught
 *   waits for a lock that nobody will release          a hook of the port's
 *   goes in circles                                    more time of the CPU than what was saved and written can take
 *   makes text without end                             more of it than what was saved can tell
 *   reads memory without end, all of it zeroes         more memory than what was saved can fill
 *
 * The limits follow from the size of what was saved and are far above what a machine of Quire's making needs (guard.c).
 * The signal for them comes by the CPU's time: who waits for the terminal does not run out of it.
 */
#ifndef QUIRE_CLI_GUARD_H
#define QUIRE_CLI_GUARD_H

#include "base/types.h"

/* From here on. The file is `file`. patience_s: time that any reading may take; 0: the default. */
void guard_begin(const char *file, u32 patience_s);
/* A message may interrupt this output, a file of our making: it goes. NULL: none. */
void guard_output(const char *path);
/* `machine`, of which `bytes` were saved, is next, and `what` of it: "4711/maps". */
void guard_reading(const char *machine, const char *what, u64 bytes);
/* Its region, once there is one (struct machine: handle). */
void guard_region(int handle);
/* Text of the view: room and time for more. unbounded: it follows from addresses, not from what was saved. */
enum guard_text { GUARD_TEXT, GUARD_WORDS };
void guard_wrote(enum guard_text kind, u64 bytes);
/* All is read. */
void guard_end(void);

#endif
