/* SPDX-License-Identifier: MIT */
/*
 * What a host provides to the core. These functions, and mem{cpy,move,set,cmp}, are the only undefined symbols
 * that the core may have (checked in CI).
 *
 * Conventions, stated once: sizes and lengths are bytes; times are nanoseconds; int results are 0 or a negative errno;
 * words waited on live in memory that several processes may share; nothing here allocates memory the core has to free.
 */
#ifndef QUIRE_PORT_H
#define QUIRE_PORT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* -- Regions: a machine's memory ----------------------------------------------------------------------------------- */

/*
 * A sparse, zero-filled, shared region of `size` bytes at exactly `addr`, which must be free in this process.
 * `*handle` receives what port_region_attach() in another process needs. -EEXIST: the address is taken; -ENOMEM.
 */
int port_region_create(const char *name, void *addr, size_t size, int *handle);
/* Map an existing region at the same `addr` in this process. */
int port_region_attach(int handle, void *addr, size_t size);
/* Show [src, src + len) of the region a second time at `dst` (both inside the mapped region, page aligned): vmemmap. */
int port_region_alias(int handle, void *region, void *dst, void *src, size_t len);
/* Give the host memory behind [addr, addr + len) back; the range reads as zeroes afterwards. */
int port_region_discard(void *addr, size_t len);
void port_region_unmap(void *addr, size_t size);
/* This process needs the handle no more; mappings stay. */
void port_region_close(int handle);

/* -- Waiting between threads and processes ------------------------------------------------------------------------- */

/* Sleep while *word == value, at most timeout_ns (0: no limit). May return early. */
void port_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns);
/* Wake up to `nr` waiters. */
void port_futex_wake(_Atomic uint32_t *word, int nr);
void port_yield(void);
/*
 * A place where others may get in between (RACE_POINT()). Where the environment has QUIRE_DELAYS=N, one of N * `rarity` visits
 * sleeps for some milliseconds.
 */
void port_race_point(uint32_t rarity);

/* -- Time: wall clock, for front ends only; the core runs on virtual time ------------------------------------------ */
uint64_t port_clock_ns(void);

/* -- Messages and the end ------------------------------------------------------------------------------------------ */
enum port_log_level { PORT_LOG_ERR, PORT_LOG_WARN, PORT_LOG_INFO, PORT_LOG_DEBUG };
void port_log(enum port_log_level level, const char *message);
/* A broken invariant: print what is known, the machines' state included, and do not return. */
_Noreturn void port_assert_fail(const char *condition, const char *file, int line, const char *function);

#endif
