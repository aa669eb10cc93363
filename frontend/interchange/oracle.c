/* SPDX-License-Identifier: MIT */
/*
 * oracleGeneral. Forward: every reference a record, in the file. Then backward through the file in batches, with the
 * number of the latest reference seen of each page in a table: that is what comes next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export.h"

static int write_at(int fd, const void *p, size_t len, u64 at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, (const char *)p + done, len - done, (off_t)(at + done));

        if (n < 0 && errno != EINTR)
            return -errno;
        done += n < 0 ? 0 : (size_t)n;
    }
    return 0;
}

static int read_at(int fd, void *p, size_t len, u64 at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)p + done, len - done, (off_t)(at + done));

        if (n == 0)
            return -EIO; /* somebody has cut it */
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n < 0 ? 0 : (size_t)n;
    }
    return 0;
}

static int write_batch(struct oracle *o)
{
    u64 at = (o->nr - o->batched) * sizeof(struct oracle_record);
    int err = write_at(o->fd, o->batch, o->batched * sizeof(struct oracle_record), at);

    o->batched = 0;
    return err;
}

int oracle_ref(void *arg, const struct ref *ref)
{
    struct oracle *o = arg;

    o->batch[o->batched++] = (struct oracle_record){.time = (u32)(o->nr / ORACLE_PER_SECOND),
                                                    .id = ref->page | (u64)ref->space << ORACLE_SPACE_SHIFT,
                                                    .bytes = PAGE_SIZE,
                                                    .next = -1};
    o->nr++;
    return o->batched == ORACLE_BATCH ? write_batch(o) : 0;
}

/* -- the latest reference of each page ----------------------------------------------------------------------------- */

struct latest {
    u64 room, used;
    struct latest_slot {
        u64 id;
        s64 number; /* 0: a free slot */
    } * slot;
};

static struct latest_slot *slot_of(const struct latest *l, u64 id)
{
    u64 i = id * 0x9e3779b97f4a7c15ull;

    for (i = (i ^ i >> 32) & (l->room - 1); l->slot[i].number && l->slot[i].id != id;)
        i = (i + 1) & (l->room - 1);
    return &l->slot[i];
}

static int grow(struct latest *l)
{
    struct latest more = {.room = l->room ? 2 * l->room : 4096, .used = l->used};

    if (l->room && l->used < l->room / 2)
        return 0;
    more.slot = calloc(more.room, sizeof(*more.slot));
    if (!more.slot)
        return -ENOMEM;
    for (u64 i = 0; i < l->room; i++)
        if (l->slot[i].number)
            *slot_of(&more, l->slot[i].id) = l->slot[i];
    free(l->slot);
    *l = more;
    return 0;
}

/* Records first … first + nr of the batch, backwards. */
static int fill_in(struct latest *l, struct oracle_record *r, u64 first, u64 nr)
{
    int err = 0;

    for (u64 i = nr; i > 0 && !err; i--) {
        struct latest_slot *s;

        err = grow(l);
        if (err)
            break;
        s = slot_of(l, r[i - 1].id);
        r[i - 1].next = s->number ? s->number : -1;
        l->used += !s->number;
        s->id = r[i - 1].id;
        s->number = (s64)(first + i);
    }
    return err;
}

int oracle_finish(struct oracle *o)
{
    struct latest l = {0};
    int err = write_batch(o);

    for (u64 end = o->nr; end > 0 && !err;) {
        u64 nr = MIN(end, (u64)ORACLE_BATCH), first = end - nr;
        u64 bytes = nr * sizeof(struct oracle_record), at = first * sizeof(struct oracle_record);

        err = read_at(o->fd, o->batch, bytes, at);
        if (!err)
            err = fill_in(&l, o->batch, first, nr);
        if (!err)
            err = write_at(o->fd, o->batch, bytes, at);
        end = first;
    }
    free(l.slot);
    return err;
}
