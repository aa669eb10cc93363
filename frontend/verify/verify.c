/* SPDX-License-Identifier: MIT */
/* The machine like the recorded host, events taken apart and checked, disagreements' heads. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"
#include "priv.h"

#define HOST_TID 1

/* -- parts --------------------------------------------------------------------------------------------------------- */

bool parts_next(struct parts *it, const struct native_part **part, const u8 **bytes)
{
    if (!it->nr)
        return false;
    it->nr--;
    *part = (const struct native_part *)(const void *)it->p;
    *bytes = it->p + sizeof(**part);
    it->p += NATIVE_PART_BYTES((*part)->len);
    return true;
}

/* Smallest length of a part of this kind. */
static u32 least(u32 kind)
{
    switch (kind) {
    case NATIVE_FILE:
        return sizeof(struct native_file) + 1;
    case NATIVE_MAPPED:
        return sizeof(struct native_file);
    case NATIVE_TARGET:
        return sizeof(s32);
    case NATIVE_SEGMENT:
        return sizeof(struct native_segment);
    default:
        return 0;
    }
}

bool parts_check(u32 nr, const u8 *p, const u8 *end)
{
    for (; nr; nr--) {
        const struct native_part *part = (const struct native_part *)(const void *)p;

        if ((u64)(end - p) < sizeof(*part) || (u64)(end - p) < NATIVE_PART_BYTES(part->len) ||
            part->len < least(part->kind))
            return false;
        if (part->kind == NATIVE_FILE && p[sizeof(*part) + part->len - 1])
            return false;
        p += NATIVE_PART_BYTES(part->len);
    }
    return true;
}

const u8 *parts_find(const struct parts *all, u32 kind, u32 arg, u32 *len)
{
    struct parts it = *all;
    const struct native_part *p;
    const u8 *bytes;

    while (parts_next(&it, &p, &bytes))
        if (p->kind == kind && p->arg == arg) {
            *len = p->len;
            return bytes;
        }
    return NULL;
}

/* -- the machine --------------------------------------------------------------------------------------------------- */

static int configure(struct machine_config *c, const struct native_host *h, char *why, size_t why_size)
{
    char *text = malloc((size_t)h->len + 1);
    int err;

    if (!text)
        abort();
    memcpy(text, h + 1, h->len);
    text[h->len] = 0;
    machine_config_default(c);
    err = machine_config_parse(c, text, "recorded host", why, why_size);
    free(text);
    c->content = CONTENT_NONE;
    return err ? err : machine_config_validate(c, why, why_size);
}

struct verify *verify_create(const struct verify_options *o, const void *host, size_t len, char *why, size_t why_size)
{
    const struct native_host *h = host;
    struct machine_config *c = calloc(1, sizeof(*c));
    struct verify *v = calloc(1, sizeof(*v));

    if (!c || !v)
        abort();
    v->o = *o;
    for (u32 i = 0; i < HASH; i++) {
        INIT_LIST_HEAD(&v->tasks[i]);
        INIT_LIST_HEAD(&v->objects[i]);
        INIT_LIST_HEAD(&v->segments[i]);
    }
    if (len < sizeof(*h) || h->len > len - sizeof(*h)) {
        snprintf(why, why_size, "the recording does not begin with its host");
    } else if (!configure(c, h, why, why_size)) {
        v->m = machine_boot(c, NULL);
        if (!IS_ERR(v->m)) {
            v->cpu = cpu_acquire(v->m, NULL, HOST_TID);
            free(c);
            return v;
        }
        snprintf(why, why_size, "a machine like the recorded host cannot be booted: %s", strerror((int)-PTR_ERR(v->m)));
    }
    free(c);
    free(v);
    return NULL;
}

/* -- events -------------------------------------------------------------------------------------------------------- */

static const u32 event_bytes[NR_NATIVE_TYPES] = {
    [NATIVE_HOST] = sizeof(struct native_host),     [NATIVE_EXEC] = sizeof(struct native_exec),
    [NATIVE_CLONE] = sizeof(struct native_clone),   [NATIVE_CALL] = sizeof(struct native_call),
    [NATIVE_SIGNAL] = sizeof(struct native_signal), [NATIVE_MAPS] = sizeof(struct native_maps),
    [NATIVE_EXIT] = sizeof(struct native_exit),     [NATIVE_NOTICE] = sizeof(struct native_head),
};

static bool get_parts(struct parts *parts, u32 nr, const void *from, const void *end)
{
    *parts = (struct parts){nr, from, end};
    return parts_check(nr, from, end);
}

static int on_call(struct verify *v, const struct native_call *e, const void *end)
{
    struct vtask *t = world_task(v, e->h.tid);
    struct parts parts;

    if (!get_parts(&parts, e->nr_parts, e + 1, end) || (e->nr >= NR_ABI_CALLS && e->nr < NATIVE_EXTRA) ||
        e->nr >= NATIVE_EXTRA_END)
        return -1;
    if (t && t->space->known)
        call_verify(v, t, e, &parts);
    else if (t)
        v->r.tally[e->nr].not_modelled++;
    return 0;
}

static int on_maps(struct verify *v, const struct native_maps *e, const char *end, char *why, size_t why_size)
{
    struct vtask *t = world_task(v, e->h.tid);

    if (e->len > (size_t)(end - (const char *)(e + 1)) || e->prefix > 1u << 30 || e->suffix > 1u << 30) {
        snprintf(why, why_size, "malformed maps");
        return -1;
    }
    return t ? maps_event(v, t, e, (const u8 *)(e + 1), why, why_size) : 0;
}

static const struct native_clone_args *clone_args(const struct native_clone *e, size_t len)
{
    return e->err && (e->event & NATIVE_BY_CLONE3) && len >= sizeof(*e) + sizeof(struct native_clone_args)
               ? (const struct native_clone_args *)(e + 1)
               : NULL;
}

int verify_event(struct verify *v, u32 type, const void *bytes, size_t len, char *why, size_t why_size)
{
    const char *end = (const char *)bytes + len;
    struct parts parts;

    v->r.events++;
    if (!type || type >= NR_NATIVE_TYPES || len < event_bytes[type]) {
        snprintf(why, why_size, "a malformed event of type %u", type);
        return -1;
    }
    snprintf(why, why_size, "a malformed event of type %u", type);
    switch (type) {
    case NATIVE_EXEC: {
        const struct native_exec *e = bytes;

        return get_parts(&parts, e->nr_parts, e + 1, end) ? world_exec(v, e, &parts, why, why_size) : -1;
    }
    case NATIVE_CLONE:
        return world_clone(v, bytes, clone_args(bytes, len), why, why_size);
    case NATIVE_CALL:
        return on_call(v, bytes, end);
    case NATIVE_SIGNAL: {
        const struct native_signal *e = bytes;
        struct vtask *t = world_task(v, e->h.tid);

        if (t)
            signal_verify(v, t, e);
        return 0;
    }
    case NATIVE_MAPS:
        return on_maps(v, bytes, end, why, why_size);
    case NATIVE_EXIT:
        world_exit(v, bytes);
        return 0;
    default:
        return 0;
    }
}

bool disagree(struct verify *v, u32 what, const struct native_head *h, const char *format, ...)
{
    va_list ap;

    if (!v->o.out || v->shown >= v->o.shown)
        return false;
    v->shown++;
    fprintf(v->o.out, "disagreement %u: step %llu, thread %d of process %d: %s", v->shown, (unsigned long long)h->seq,
            h->tid, h->tgid, verify_name(what));
    if (*format != '(')
        fputs(": ", v->o.out);
    va_start(ap, format);
    vfprintf(v->o.out, format, ap);
    va_end(ap);
    fputs("\n", v->o.out);
    return true;
}

const char *verify_name(u32 n)
{
    static const char *const extra[NR_VERIFY - NATIVE_EXTRA_END] = {"fork", "signals", "maps"};

    return n >= NATIVE_EXTRA_END && n < NR_VERIFY ? extra[n - NATIVE_EXTRA_END] : native_call_name(n);
}

const struct verify_result *verify_result(const struct verify *v)
{
    return &v->r;
}

u32 verify_check(struct verify *v, char *why, size_t why_size)
{
    struct check_report *r = calloc(1, sizeof(*r));
    u32 nr;

    if (!r)
        abort();
    world_run(v, NULL);
    machine_check(v->m, r);
    nr = r->nr;
    if (nr)
        snprintf(why, why_size, "%s", r->text[0]);
    free(r);
    return nr;
}

void verify_destroy(struct verify *v)
{
    world_end(v);
    free(v->recorded.line);
    free(v->recorded.cut);
    free(v->own.line);
    free(v->own.cut);
    free(v->out);
    machine_destroy(v->m);
    free(v);
}
