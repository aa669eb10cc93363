/* SPDX-License-Identifier: MIT */
/*
 * What the Linux host's port offers to host code (launcher, front ends, tests) beyond port.h. Nothing here uses stdio
 * or malloc: it may be called inside a program that was stopped anywhere.
 */
#ifndef QUIRE_PORT_POSIX_H
#define QUIRE_PORT_POSIX_H

#include "port/port.h"

/* Where messages go; 2 at first, -1: nowhere. */
void port_posix_set_log_fd(int fd);
/* Messages above this level are dropped; PORT_LOG_INFO at first. */
void port_posix_set_log_level(enum port_log_level level);

/*
 * Called by port_assert_fail() before abort(), latest first, to print what the host code knows (each machine's
 * state). -ENOSPC: too many. A hook that fails an assertion itself is left; the others still run.
 */
int port_posix_add_assert_hook(void (*hook)(void *arg), void *arg);
void port_posix_remove_assert_hook(void (*hook)(void *arg), void *arg);

/*
 * Called before a wait, with its time limit or 0; NULL: nothing. For a process that has its machines for itself: nobody
 * would wake it.
 */
void port_posix_set_wait_hook(void (*hook)(uint64_t timeout_ns));

/*
 * A descriptor in this process for the region whose handle in process `pid` is `handle`; for port_region_attach().
 * Negative errno: the process is gone or not ours.
 */
int port_posix_open_handle(int pid, int handle);
/* Close a handle; the mappings stay. */
void port_posix_close_handle(int handle);

#endif
