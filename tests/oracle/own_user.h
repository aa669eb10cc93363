/* SPDX-License-Identifier: MIT */
/* A user that nothing else on the host runs as: what is charged to users (SHM_LOCK) begins with nothing. */
#ifndef QUIRE_TESTS_ORACLE_OWN_USER_H
#define QUIRE_TESTS_ORACLE_OWN_USER_H

#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* 0: there may be none, in a namespace that has not all of them. */
static inline uint32_t own_user(void)
{
    uint32_t first = 0, outside = 0, nr = 0;
    FILE *f = fopen("/proc/self/uid_map", "r");
    struct timespec t;

    if (f) {
        if (fscanf(f, "%u %u %u", &first, &outside, &nr) != 3)
            nr = 0;
        fclose(f);
    }
    clock_gettime(CLOCK_REALTIME, &t);
    return first || nr != ~0u ? 0 : 0x40000000u | (((uint32_t)t.tv_nsec ^ (uint32_t)getpid() << 9) & 0x3fffffffu);
}

#endif
