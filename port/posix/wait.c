/* SPDX-License-Identifier: MIT */
/* Waiting and time on Linux. The futex is the shared kind: its words lie in memory of several processes (futex(2)). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "port/posix/port_posix.h"

static void (*wait_hook)(uint64_t timeout_ns);

void port_posix_set_wait_hook(void (*hook)(uint64_t timeout_ns))
{
    wait_hook = hook;
}

/* errno is the caller's, perhaps of a program that was stopped between a call and its look at errno. */
static void futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
    int saved = errno;

    syscall(SYS_futex, word, op, value, timeout, NULL, 0);
    errno = saved;
}

void port_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
    struct timespec t = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};

    if (wait_hook)
        wait_hook(timeout_ns);
    futex(word, FUTEX_WAIT, value, timeout_ns ? &t : NULL);
}

void port_futex_wake(_Atomic uint32_t *word, int nr)
{
    futex(word, FUTEX_WAKE, (uint32_t)nr, NULL);
}

void port_yield(void)
{
    sched_yield();
}

/* -- delays -------------------------------------------------------------------------------------------------------- */

#define DELAYS_UNKNOWN UINT32_MAX
#define DELAY_US 4096u
#define LONG_DELAYS 16u /* one of so many is longer, by this factor */

static _Atomic uint32_t delays = DELAYS_UNKNOWN; /* 0: none */

static uint32_t delays_wanted(void)
{
    uint32_t n = atomic_load_explicit(&delays, memory_order_relaxed);
    const char *text;

    if (n != DELAYS_UNKNOWN)
        return n;
    text = getenv("QUIRE_DELAYS");
    n = text ? (uint32_t)strtoul(text, NULL, 10) : 0;
    atomic_store_explicit(&delays, n, memory_order_relaxed);
    return n;
}

/* Per thread, begun with the time: what is wanted is another order each time. Multiplier: Knuth's MMIX. */
static uint32_t delay_random(void)
{
    static _Thread_local uint64_t state;

    if (!state)
        state = port_clock_ns() ^ (uintptr_t)&state;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

void port_race_point(uint32_t rarity)
{
    uint32_t n = delays_wanted(), us;
    int saved = errno;

    if (!n || delay_random() % (n * rarity))
        return;
    us = delay_random() % DELAY_US;
    if (delay_random() % LONG_DELAYS == 0)
        us *= LONG_DELAYS;
    nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
    errno = saved;
}

/* -- time ---------------------------------------------------------------------------------------------------------- */

uint64_t port_clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
