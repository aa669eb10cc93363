/* SPDX-License-Identifier: MIT */
/* Waiting and time on Linux. The futex is the shared kind: its words lie in memory of several processes (futex(2)). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "port/posix/port_posix.h"

static void (*wait_hook)(void);

void port_posix_set_wait_hook(void (*hook)(void))
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

    if (!timeout_ns && wait_hook)
        wait_hook();
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

uint64_t port_clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
