/* SPDX-License-Identifier: MIT */
/*
 * Three tiers of assertions, always compiled, switched by a constant:
 *   ASSERT        cheap, on in every build
 *   DEBUG_ASSERT  on where QUIRE_DEBUG >= 1 (debug and sanitizer builds)
 *   EXPENSIVE     a statement, such as x_check(), run where QUIRE_DEBUG >= 2
 * A programmer's error is an assertion, never an errno; bad input is an errno, never an assertion.
 */
#ifndef QUIRE_BASE_ASSERT_H
#define QUIRE_BASE_ASSERT_H

#include "port/port.h"

#ifndef QUIRE_DEBUG
#define QUIRE_DEBUG 0
#endif

#define ASSERT(cond)                                                                                                   \
    do {                                                                                                               \
        if (__builtin_expect(!(cond), 0))                                                                              \
            port_assert_fail(#cond, __FILE__, __LINE__, __func__);                                                     \
    } while (0)

#define DEBUG_ASSERT(cond)                                                                                             \
    do {                                                                                                               \
        if (QUIRE_DEBUG >= 1 && __builtin_expect(!(cond), 0))                                                          \
            port_assert_fail(#cond, __FILE__, __LINE__, __func__);                                                     \
    } while (0)

/*
 * Where threads or processes race: builds with QUIRE_DEBUG >= 1 can be told to sleep here, so that what hardly ever happens
 * does. `rarity`: 1 for a step of a protocol, more where a program passes often.
 */
#define RACE_POINT(rarity)                                                                                             \
    do {                                                                                                               \
        if (QUIRE_DEBUG >= 1)                                                                                          \
            port_race_point(rarity);                                                                                   \
    } while (0)

#define EXPENSIVE(statement)                                                                                           \
    do {                                                                                                               \
        if (QUIRE_DEBUG >= 2) {                                                                                        \
            statement;                                                                                                 \
        }                                                                                                              \
    } while (0)

#endif
