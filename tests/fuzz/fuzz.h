/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target is a function of a byte string: LLVMFuzzerTestOneInput(). Built with -Dfuzz=true (clang) libFuzzer
 * calls it; otherwise random_main.c does, with random strings and saved ones. It aborts on a wrong result.
 */
#ifndef QUIRE_TESTS_FUZZ_H
#define QUIRE_TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise of the code under test. */
#define REQUIRE(cond)                                                                                                  \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                                         \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline void require_clean(const struct check_report *r)
{
    for (u32 i = 0; i < r->nr && i < CHECK_KEPT; i++)
        fprintf(stderr, "%s\n", r->text[i]);
    REQUIRE(r->nr == 0);
}

/* The string is a program: operations take their operands from it; past its end all bytes are 0. */
struct input {
    const u8 *at, *end;
};

static inline bool more(const struct input *in)
{
    return in->at < in->end;
}

static inline u8 take_u8(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static inline u32 take_u16(struct input *in)
{
    u32 low = take_u8(in);

    return low | (u32)take_u8(in) << 8;
}

/* A number of any size: the first byte gives the number of bits. */
static inline u64 take_u64(struct input *in)
{
    u32 bits = take_u8(in) % 65;
    u64 v = 0;

    for (u32 i = 0; i < bits; i += 8)
        v = v << 8 | take_u8(in);
    return bits == 64 ? v : v & (((u64)1 << bits) - 1);
}

#endif
