/* SPDX-License-Identifier: MIT */
/* Reading a saved run: see saved.h. Whatever the file says is checked before it is used. */
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

#include "layout.h"
#include "port/port.h"

u64 saved_layout(void)
{
    return QUIRE_LAYOUT;
}

static int complain(char *err, int code, const char *format, ...) __printf_like(3, 4);
static int complain(char *err, int code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(err, SAVED_ERROR, format, ap);
    va_end(ap);
    return code;
}

/* -- header and directory ------------------------------------------------------------------------------------------ */

static bool terminated(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

int saved_check_header(const struct saved_header *h, u64 file_bytes, char *err)
{
    if (memcmp(h->magic, SAVED_MAGIC, sizeof(h->magic)) != 0)
        return complain(err, -EINVAL, "not a saved run: it does not begin with %s; `quire run --save FILE` makes one",
                        SAVED_MAGIC);
    if (h->version != SAVED_VERSION)
        return complain(err, -EINVAL, "a saved run of format %u; this Quire reads format %u", h->version,
                        SAVED_VERSION);
    if (h->header_hash != XXH3_64bits(h, offsetof(struct saved_header, header_hash)))
        return complain(err, -EINVAL, "damaged: the header's checksum is wrong");
    if (!terminated(h->quire, sizeof(h->quire)) || !terminated(h->program, sizeof(h->program)) ||
        !terminated(h->moment, sizeof(h->moment)))
        return complain(err, -EINVAL, "damaged: a name in the header has no end");
    if (h->layout != QUIRE_LAYOUT)
        return complain(err, -EINVAL,
                        "saved by a Quire (%s) whose data structures differ from this one's (%s, %016llx instead of "
                        "%016llx); look at it with the Quire that saved it",
                        h->quire, QUIRE_VERSION, (unsigned long long)h->layout, (unsigned long long)QUIRE_LAYOUT);
    if (file_bytes != h->file_bytes)
        return complain(err, -EINVAL, "%s: %llu bytes of %llu", file_bytes < h->file_bytes ? "truncated" : "too long",
                        (unsigned long long)file_bytes, (unsigned long long)h->file_bytes);
    if (!h->nr_machines || h->nr_machines > SAVED_MACHINES)
        return complain(err, -EINVAL, "damaged: %u machines", h->nr_machines);
    if (h->directory_at < SAVED_DATA_AT || h->directory_at > file_bytes ||
        h->directory_bytes != file_bytes - h->directory_at ||
        h->directory_bytes < h->nr_machines * sizeof(struct saved_machine))
        return complain(err, -EINVAL, "damaged: the directory is said to lie at %llu, %llu bytes long",
                        (unsigned long long)h->directory_at, (unsigned long long)h->directory_bytes);
    return 0;
}

/* [at, at + bytes) within [0, limit). */
static bool within(u64 at, u64 bytes, u64 limit)
{
    return at <= limit && bytes <= limit - at;
}

static int check_extents(const struct saved_header *h, const struct saved_machine *m, const char *directory, char *err)
{
    const struct saved_extent *e = (const void *)(directory + m->extent_at);
    u64 next = 0;

    for (u64 i = 0; i < m->nr_extents; next = e[i].offset + e[i].bytes, i++) {
        if (e[i].offset < next || !e[i].bytes || e[i].bytes > SAVED_EXTENT_MAX || e[i].bytes % PAGE_SIZE ||
            e[i].offset % PAGE_SIZE || !within(e[i].offset, e[i].bytes, m->bytes))
            return complain(err, -EINVAL, "damaged: machine %s, extent %llu does not lie in the machine", m->name,
                            (unsigned long long)i);
        if (e[i].at < SAVED_DATA_AT || e[i].stored > e[i].bytes || !within(e[i].at, e[i].stored, h->directory_at))
            return complain(err, -EINVAL, "damaged: machine %s, extent %llu does not lie in the file", m->name,
                            (unsigned long long)i);
    }
    return 0;
}

static int check_machine(const struct saved_header *h, const struct saved_machine *m, const char *directory, char *err)
{
    u64 size = h->directory_bytes;

    if (!terminated(m->name, sizeof(m->name)))
        return complain(err, -EINVAL, "damaged: a machine's name has no end");
    if (!within(m->config_at, m->config_bytes, size) || m->extent_at % 8 || !within(m->extent_at, 0, size) ||
        m->nr_extents > (size - m->extent_at) / sizeof(struct saved_extent))
        return complain(err, -EINVAL, "damaged: machine %s: its part of the directory lies outside", m->name);
    if (m->bytes < sizeof(struct machine) || m->addr % PAGE_SIZE || m->bytes % PAGE_SIZE || !m->addr ||
        !within(m->addr, m->bytes, 1ull << 47))
        return complain(err, -EINVAL, "damaged: machine %s: no region at %llx of %llu bytes", m->name,
                        (unsigned long long)m->addr, (unsigned long long)m->bytes);
    return check_extents(h, m, directory, err);
}

int saved_check_directory(const struct saved_header *h, const char *directory, char *err)
{
    const struct saved_machine *m = (const void *)directory;
    int ret = 0;

    if (XXH3_64bits(directory, h->directory_bytes) != h->directory_hash)
        return complain(err, -EINVAL, "damaged: the directory's checksum is wrong");
    for (u32 i = 0; i < h->nr_machines && !ret; i++)
        ret = check_machine(h, &m[i], directory, err);
    return ret;
}

/* -- the file ------------------------------------------------------------------------------------------------------ */

/* 0, -EINVAL: it ends before, or -errno. */
static int read_all(int fd, void *buf, size_t len, u64 at)
{
    char *p = buf;

    while (len) {
        ssize_t n = pread(fd, p, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EINVAL;
        p += n;
        at += (u64)n;
        len -= (size_t)n;
    }
    return 0;
}

static int read_directory(struct saved *s, char *err)
{
    struct stat st;
    int ret;

    if (fstat(s->fd, &st))
        return complain(err, -errno, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return complain(err, -EINVAL, "not a file");
    if (st.st_size < (off_t)sizeof(s->header))
        return complain(err, -EINVAL, "not a saved run: %llu bytes are too few", (unsigned long long)st.st_size);
    ret = read_all(s->fd, &s->header, sizeof(s->header), 0);
    if (ret)
        return complain(err, ret, "%s", strerror(-ret));
    ret = saved_check_header(&s->header, (u64)st.st_size, err);
    if (ret)
        return ret;
    s->directory = malloc(s->header.directory_bytes);
    ret = s->directory ? read_all(s->fd, s->directory, s->header.directory_bytes, s->header.directory_at) : -ENOMEM;
    if (ret)
        return complain(err, ret, "%s", strerror(-ret));
    return saved_check_directory(&s->header, s->directory, err);
}

int saved_open(const char *path, struct saved *s, char *err)
{
    char why[SAVED_ERROR];
    int ret;

    *s = (struct saved){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)}; /* a FIFO keeps nobody waiting */
    if (s->fd < 0)
        return complain(err, -errno, "%s: %s", path, strerror(errno));
    ret = read_directory(s, why);
    if (!ret)
        return 0;
    saved_close(s);
    snprintf(err, SAVED_ERROR, "%.200s: %.300s", path, why);
    return ret;
}

void saved_close(struct saved *s)
{
    close(s->fd);
    free(s->directory);
}

const struct saved_machine *saved_machine(const struct saved *s, u32 i)
{
    return (const struct saved_machine *)(const void *)s->directory + i;
}

const char *saved_config(const struct saved *s, u32 i, size_t *bytes)
{
    const struct saved_machine *m = saved_machine(s, i);

    *bytes = m->config_bytes;
    return s->directory + m->config_at;
}

u64 saved_bytes(const struct saved *s, u32 i)
{
    const struct saved_machine *m = saved_machine(s, i);
    const struct saved_extent *e = (const void *)(s->directory + m->extent_at);
    u64 sum = 0;

    for (u64 k = 0; k < m->nr_extents; k++)
        sum += e[k].bytes;
    return sum;
}

/* -- the machine --------------------------------------------------------------------------------------------------- */

static int load_extent(const struct saved *s, const struct saved_extent *e, char *region, char *packed)
{
    char *dst = region + e->offset;
    int ret;

    if (e->stored == e->bytes) {
        ret = read_all(s->fd, dst, e->bytes, e->at);
    } else {
        ret = read_all(s->fd, packed, e->stored, e->at);
        if (!ret && ZSTD_decompress(dst, e->bytes, packed, e->stored) != e->bytes)
            ret = -EINVAL;
    }
    return ret ? ret : XXH3_64bits(dst, e->bytes) == e->hash ? 0 : -EINVAL;
}

static int fill(const struct saved *s, const struct saved_machine *m, char *region, char *err)
{
    const struct saved_extent *e = (const void *)(s->directory + m->extent_at);
    char *packed = malloc(SAVED_EXTENT_MAX);
    int ret = packed ? 0 : complain(err, -ENOMEM, "no memory");

    for (u64 i = 0; i < m->nr_extents && !ret; i++) {
        ret = load_extent(s, &e[i], region, packed);
        if (ret)
            complain(err, ret, "damaged: machine %s, extent %llu at offset %llu of the file: %s", m->name,
                     (unsigned long long)i, (unsigned long long)e[i].at,
                     ret == -EINVAL ? "its checksum is wrong" : strerror(-ret));
    }
    free(packed);
    return ret;
}

/* Of the host, to be used at once; ~0: it does not say. */
static u64 available_bytes(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    unsigned long long kb = ~0ull >> 10;
    char line[128];

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return (u64)kb << 10;
}

/* A region at the machine's own address, filled; its handle, or -errno. */
static int make_region(const struct saved *s, u32 i, char *err)
{
    const struct saved_machine *m = saved_machine(s, i);
    void *addr = (void *)(uintptr_t)m->addr;
    u64 needed = saved_bytes(s, i), available = available_bytes();
    int handle, ret;

    if (needed > available)
        return complain(err, -ENOMEM,
                        "machine %s: needs %llu MiB of memory, %llu MiB are available here; end other programs",
                        m->name, (unsigned long long)needed >> 20, (unsigned long long)available >> 20);
    ret = port_region_create(m->name, addr, m->bytes, &handle);
    if (ret == -EEXIST)
        return complain(err, ret,
                        "machine %s lay at %p, which is taken in this process: destroy the machine there first",
                        m->name, addr);
    if (ret)
        return complain(err, ret, "machine %s: no memory for its region: %s", m->name, strerror(-ret));
    ret = fill(s, m, addr, err);
    if (!ret && !machine_header_is_sound(addr, m->bytes))
        ret =
            complain(err, -EINVAL, "damaged: machine %s: what is saved is not a machine; save the run again", m->name);
    port_region_unmap(addr, m->bytes);
    if (!ret)
        return handle;
    port_region_close(handle);
    return ret;
}

struct machine *saved_load(const struct saved *s, u32 i, char *err)
{
    const struct saved_machine *d = saved_machine(s, i);
    int handle = make_region(s, i, err);
    struct machine *m;

    if (handle < 0)
        return ERR_PTR(handle);
    m = machine_attach(handle, (void *)(uintptr_t)d->addr);
    if (IS_ERR(m)) {
        port_region_close(handle);
        complain(err, PTR_ERR(m), "machine %s: its memory cannot be shown: %s", d->name, strerror(-PTR_ERR(m)));
        return m;
    }
    m->handle = handle;
    cpu_release_all(m);
    return m;
}
