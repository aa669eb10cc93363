/* SPDX-License-Identifier: MIT */
/* Native recordings made by hand: events in a buffer, given to verify one by one. For unit tests and fuzzing. */
#ifndef QUIRE_TESTS_RECORDING_H
#define QUIRE_TESTS_RECORDING_H

#include <string.h>

#include "verify.h"

#define RECORDING_ROOM 65536

struct recording {
    _Alignas(8) u8 bytes[RECORDING_ROOM];
    size_t len;
    u64 seq;
    char why[256];
};

static inline void recording_add(struct recording *r, const void *p, size_t len)
{
    if (len <= RECORDING_ROOM - r->len)
        memcpy(r->bytes + r->len, p, len);
    r->len += len <= RECORDING_ROOM - r->len ? len : 0;
}

static inline void recording_part(struct recording *r, enum native_part_kind kind, u32 arg, const void *p, u32 len)
{
    static const u8 zeroes[8];
    struct native_part part = {(u16)kind, (u16)arg, len};

    recording_add(r, &part, sizeof(part));
    recording_add(r, p, len);
    recording_add(r, zeroes, NATIVE_PART_BYTES(len) - sizeof(part) - len);
}

static inline struct native_head recording_head(struct recording *r, s32 tid, s32 tgid)
{
    r->len = 0;
    return (struct native_head){++r->seq, tid, tgid};
}

static inline struct verify *recording_host(struct recording *r, const struct verify_options *o, const char *text)
{
    struct native_host h = {.page_size = 4096, .len = (u32)strlen(text)};

    h.h = recording_head(r, 0, 0);
    recording_add(r, &h, sizeof(h));
    recording_add(r, text, h.len);
    return verify_create(o, r->bytes, r->len, r->why, sizeof(r->why));
}

static inline int recording_give(struct recording *r, struct verify *v, enum native_type type)
{
    return verify_event(v, type, r->bytes, r->len, r->why, sizeof(r->why));
}

/* A program with these maps, its heap from `brk` on, run by root without limits. */
static inline int recording_exec(struct recording *r, struct verify *v, s32 pid, const char *maps, u64 brk)
{
    struct native_exec e = {.start_brk = brk, .cap_effective = ~0ull >> 23, .nr_parts = maps != NULL, .comm = "test"};

    for (u32 i = 0; i < 16; i++)
        e.limit[i][0] = e.limit[i][1] = ~0ull;
    e.limit[3][0] = 8 << 20;
    e.h = recording_head(r, pid, pid);
    recording_add(r, &e, sizeof(e));
    if (maps) /* NULL: the recorder could not read them */
        recording_part(r, NATIVE_MAPS_TEXT, 0, maps, (u32)strlen(maps));
    return recording_give(r, v, NATIVE_EXEC);
}

static inline int recording_call(struct recording *r, struct verify *v, s32 tid, u32 nr, const u64 arg[6], s64 ret)
{
    struct native_call e = {.nr = (u16)nr, .ret = ret, .sp = ~0ull};

    memcpy(e.arg, arg, sizeof(e.arg));
    e.h = recording_head(r, tid, tid);
    recording_add(r, &e, sizeof(e));
    return recording_give(r, v, NATIVE_CALL);
}

static inline int recording_clone(struct recording *r, struct verify *v, s32 tid, s32 child, u64 flags)
{
    struct native_clone e = {.flags = flags, .child = child, .child_tgid = flags & CLONE_THREAD_ ? tid : child};

    e.h = recording_head(r, tid, tid);
    recording_add(r, &e, sizeof(e));
    return recording_give(r, v, NATIVE_CLONE);
}

static inline int recording_signal(struct recording *r, struct verify *v, s32 tid, s32 signo, s32 code, u64 addr)
{
    struct native_signal e = {.signo = signo, .code = code, .addr = addr, .sp = 0};

    e.h = recording_head(r, tid, tid);
    recording_add(r, &e, sizeof(e));
    return recording_give(r, v, NATIVE_SIGNAL);
}

static inline int recording_maps(struct recording *r, struct verify *v, s32 tid, const char *text)
{
    struct native_maps e = {.len = (u32)strlen(text), .whole = 1};

    e.h = recording_head(r, tid, tid);
    recording_add(r, &e, sizeof(e));
    recording_add(r, text, e.len);
    return recording_give(r, v, NATIVE_MAPS);
}

static inline int recording_exit(struct recording *r, struct verify *v, s32 tid)
{
    struct native_exit e = {.last = 1};

    e.h = recording_head(r, tid, tid);
    recording_add(r, &e, sizeof(e));
    return recording_give(r, v, NATIVE_EXIT);
}

#endif
