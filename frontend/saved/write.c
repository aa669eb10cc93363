/* SPDX-License-Identifier: MIT */
/* Writing a saved run: see saved.h. Data first, then the directory, the header last. */
#define _GNU_SOURCE
#include "saved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#define LEVEL 1 /* of zstd: page tables and memmaps shrink tenfold at once */

struct writer {
    int fd;
    u64 at; /* where the next extent goes */
    char *packed;
    size_t room; /* of packed */
    struct saved_extent *extent;
    u64 nr, max;       /* of extent[] */
    u64 first;         /* extent of the machine at work */
    u64 offset, bytes; /* the run of pages that is gathered */
};

/* -- data ---------------------------------------------------------------------------------------------------------- */

static int write_all(int fd, const void *buf, size_t len, u64 at)
{
    const char *p = buf;

    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        at += (u64)n;
        len -= (size_t)n;
    }
    return 0;
}

static struct saved_extent *new_extent(struct writer *w)
{
    struct saved_extent *more;

    if (w->nr < w->max)
        return &w->extent[w->nr++];
    more = realloc(w->extent, (w->max * 2 + 64) * sizeof(*more));
    if (!more)
        return NULL;
    w->extent = more;
    w->max = w->max * 2 + 64;
    return &w->extent[w->nr++];
}

/* What is gathered becomes an extent. */
static int flush(struct writer *w, const char *region)
{
    struct saved_extent *e;
    const char *src = region + w->offset;
    size_t packed;

    if (!w->bytes)
        return 0;
    e = new_extent(w);
    if (!e)
        return -ENOMEM;
    packed = ZSTD_compress(w->packed, w->room, src, w->bytes, LEVEL);
    *e = (struct saved_extent){w->offset, w->bytes, w->at, w->bytes, XXH3_64bits(src, w->bytes)};
    if (!ZSTD_isError(packed) && packed < w->bytes) {
        e->stored = packed;
        src = w->packed;
    }
    w->at += e->stored;
    w->bytes = 0;
    return write_all(w->fd, src, e->stored, e->at);
}

static bool is_zero(const char *page)
{
    const u64 *p = (const u64 *)(const void *)page;
    u64 any = 0;

    for (size_t i = 0; i < PAGE_SIZE / 8 && !any; i += 8)
        any = p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] | p[i + 7];
    return !any;
}

static int add_page(struct writer *w, const char *region, u64 offset)
{
    int err = 0;

    if (is_zero(region + offset))
        return 0;
    if (w->bytes && (w->offset + w->bytes != offset || w->bytes == SAVED_EXTENT_MAX))
        err = flush(w, region);
    if (!w->bytes)
        w->offset = offset;
    w->bytes += PAGE_SIZE;
    return err;
}

/* The parts of the region that the host has memory for. The memmap's window is none: its pages lie in RAM, too. */
static int write_region(struct writer *w, const struct machine *m)
{
    const char *region = m->region;
    off_t start = 0, end;
    int err = 0;

    while (!err && (start = lseek(m->handle, start, SEEK_DATA)) >= 0) {
        end = lseek(m->handle, start, SEEK_HOLE);
        if (end < 0)
            return -errno;
        for (; start < end && !err; start += (off_t)PAGE_SIZE)
            err = add_page(w, region, (u64)start);
    }
    if (!err && errno != ENXIO)
        return -errno;
    return err ? err : flush(w, region);
}

/* -- the directory ------------------------------------------------------------------------------------------------- */

/* As a machine file: every key with its value. To be freed. */
static char *config_text(const struct machine *m)
{
    static char value[16384];
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    for (u32 i = 0; f && i < machine_config_nr_keys(); i++) {
        const struct config_key *k = machine_config_key(i);
        struct text t = text_in(value, sizeof(value));

        if (machine_config_get(&m->config, k, &t))
            fprintf(f, "%s = %s\n", k->name, value);
    }
    if (f)
        fclose(f);
    return text;
}

struct directory {
    char *bytes;
    size_t size;
    FILE *f;
};

static int add_machine(struct writer *w, struct directory *d, struct saved_machine *out, const struct machine *m)
{
    char *config = config_text(m);
    int err = config ? 0 : -ENOMEM;

    w->first = w->nr;
    if (!err)
        err = write_region(w, m);
    if (!err) {
        *out = (struct saved_machine){.addr = (u64)(uintptr_t)m->region, .bytes = m->region_size};
        memcpy(out->name, m->config.name, sizeof(out->name));
        out->config_at = (u64)ftello(d->f);
        out->config_bytes = strlen(config);
        fputs(config, d->f);
        while (ftello(d->f) % 8)
            fputc(0, d->f);
        out->extent_at = (u64)ftello(d->f);
        out->nr_extents = w->nr - w->first;
        fwrite(w->extent + w->first, sizeof(*w->extent), out->nr_extents, d->f);
    }
    free(config);
    return err;
}

static int write_machines(struct writer *w, const struct saved_input *in, struct saved_header *h)
{
    struct saved_machine machine[SAVED_MACHINES] = {0};
    struct directory d = {0};
    int err = 0;

    d.f = open_memstream(&d.bytes, &d.size);
    if (!d.f)
        return -ENOMEM;
    fwrite(machine, sizeof(*machine), in->nr_machines, d.f);
    for (u32 i = 0; i < in->nr_machines && !err; i++)
        err = add_machine(w, &d, &machine[i], in->machine[i]);
    if (fclose(d.f) && !err)
        err = -ENOMEM;
    if (!err) {
        memcpy(d.bytes, machine, sizeof(*machine) * in->nr_machines);
        h->directory_at = ALIGN_UP(w->at, 8);
        h->directory_bytes = d.size;
        h->directory_hash = XXH3_64bits(d.bytes, d.size);
        h->file_bytes = h->directory_at + d.size;
        err = write_all(w->fd, d.bytes, d.size, h->directory_at);
    }
    free(d.bytes);
    return err;
}

/* -- the file ------------------------------------------------------------------------------------------------------ */

static int write_file(int fd, const struct saved_input *in)
{
    struct saved_header h = {.magic = SAVED_MAGIC,
                             .version = SAVED_VERSION,
                             .nr_machines = in->nr_machines,
                             .layout = saved_layout(),
                             .quire = QUIRE_VERSION};
    struct writer w = {.fd = fd, .at = SAVED_DATA_AT, .room = ZSTD_compressBound(SAVED_EXTENT_MAX)};
    int err;

    snprintf(h.program, sizeof(h.program), "%s", in->program);
    snprintf(h.moment, sizeof(h.moment), "%s", in->moment);
    w.packed = malloc(w.room);
    err = w.packed ? write_machines(&w, in, &h) : -ENOMEM;
    h.header_hash = XXH3_64bits(&h, offsetof(struct saved_header, header_hash));
    if (!err)
        err = write_all(fd, &h, sizeof(h), 0);
    free(w.packed);
    free(w.extent);
    return err;
}

/* Under a temporary name, then renamed. */
static int write_beside(const char *path, const struct saved_input *in)
{
    size_t len = strlen(path) + 6;
    char *part = malloc(len);
    int fd, ret;

    if (!part)
        return -ENOMEM;
    snprintf(part, len, "%s.part", path);
    fd = open(part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    ret = fd < 0 ? -errno : write_file(fd, in);
    if (fd >= 0 && close(fd) && !ret)
        ret = -errno;
    if (!ret && rename(part, path))
        ret = -errno;
    if (ret && fd >= 0)
        unlink(part);
    free(part);
    return ret;
}

int saved_write(const char *path, const struct saved_input *in, char *err)
{
    char *real = realpath(path, NULL); /* the file behind a symbolic link is replaced, not the link */
    const char *to = real ? real : path;
    struct stat st;
    int ret;

    ASSERT(in->nr_machines && in->nr_machines <= SAVED_MACHINES);
    if (stat(to, &st) == 0 && !S_ISREG(st.st_mode)) {
        snprintf(err, SAVED_ERROR, "%s: not a regular file: it is not replaced; name a file", path);
        free(real);
        return -EINVAL;
    }
    ret = write_beside(to, in);
    free(real);
    if (ret)
        snprintf(err, SAVED_ERROR, "%s: %s", path, strerror(-ret));
    return ret;
}
