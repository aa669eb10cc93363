/* SPDX-License-Identifier: MIT */
/*
 * Recordings that no kernel made, given to verify: events are refused with a reason or followed, whatever they hold, and
 * the machine's books balance afterwards.
 */
#include "fuzz.h"
#include "recording.h"

#define HOST "arch = x86_64\nmem = 64M\ncpus = 1\n"
#define MAPS                                                                                                           \
    "555555554000-555555558000 r-xp 00000000 fe:00 12                         /bin/test\n"                             \
    "7ffff7fc0000-7ffff7ff0000 r-xp 00000000 fe:00 13                         /lib/ld.so\n"                            \
    "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n"

static struct recording r;

/* Near something that is there, or anywhere. */
static u64 address(struct input *in)
{
    static const u64 near[] = {0x555555554000ull, 0x7ffff7fc0000ull, 0x7ffffffde000ull, 0, 0x7ffff7000000ull};
    u8 kind = take_u8(in);

    return kind < 200 ? near[kind % 5] - 0x10000 + (u64)take_u8(in) * 0x1000 : take_u64(in);
}

static void give_call(struct input *in, struct verify *v, s32 tid)
{
    u32 nr = take_u8(in) % (NR_ABI_CALLS + NR_NATIVE_EXTRA);
    u64 arg[6];
    s64 ret;

    for (u32 i = 0; i < 6; i++)
        arg[i] = take_u8(in) % 3 ? address(in) : take_u64(in);
    arg[1] %= 1 << 24; /* lengths that a machine of 64 MiB can populate in time */
    arg[2] %= 1 << 24;
    ret = take_u8(in) % 2 ? -(s64)(take_u8(in) % 140) : (s64)(address(in) & ~0xfffull);
    recording_call(&r, v, tid, nr < NR_ABI_CALLS ? nr : nr - NR_ABI_CALLS + NATIVE_EXTRA, arg, ret);
}

/* The last event again, with bytes changed or missing. */
static void give_damaged(struct input *in, struct verify *v)
{
    static const enum native_type types[] = {NATIVE_EXEC, NATIVE_CLONE, NATIVE_CALL,  NATIVE_SIGNAL,
                                             NATIVE_MAPS, NATIVE_EXIT,  NATIVE_NOTICE};

    for (u32 n = take_u8(in) % 8; n && r.len; n--)
        r.bytes[take_u16(in) % r.len] = take_u8(in);
    if (take_u8(in) % 2) {
        size_t cut = take_u8(in);

        r.len -= MIN(r.len, cut);
    }
    recording_give(&r, v, types[take_u8(in) % ARRAY_SIZE(types)]);
}

static void give_maps(struct input *in, struct verify *v, s32 tid)
{
    char text[] = MAPS;

    for (u32 n = take_u8(in) % 8; n; n--)
        text[take_u16(in) % (sizeof(text) - 1)] = "0123456789abcdefrwxsp- \n[]"[take_u8(in) % 26];
    if (take_u8(in) % 4)
        recording_maps(&r, v, tid, text);
    else
        recording_exec(&r, v, tid, text, address(in));
}

static void one_event(struct input *in, struct verify *v)
{
    s32 tid = 100 + take_u8(in) % 4;

    switch (take_u8(in) % 12) {
    case 0:
        recording_clone(&r, v, tid, 100 + take_u8(in) % 5, take_u64(in) & 0x14100);
        break;
    case 1:
        recording_exit(&r, v, tid);
        break;
    case 2:
        recording_signal(&r, v, tid, take_u8(in) % 32, take_u8(in) % 8, address(in));
        break;
    case 3:
        give_maps(in, v, tid);
        break;
    case 4:
        give_damaged(in, v);
        break;
    default:
        give_call(in, v, tid);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    const struct verify_options o = {0};
    struct verify *v = recording_host(&r, &o, HOST);
    char why[256] = "";

    REQUIRE(v);
    REQUIRE(recording_exec(&r, v, 100, MAPS, 0x555555570000ull) == 0);
    while (more(&in))
        one_event(&in, v);
    if (verify_check(v, why, sizeof(why)))
        fprintf(stderr, "%s\n", why);
    REQUIRE(!why[0]);
    verify_destroy(v);
    return 0;
}
