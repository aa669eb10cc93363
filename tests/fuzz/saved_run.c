/* SPDX-License-Identifier: MIT */
/*
 * The reader of saved runs: any header and directory are accepted or refused with a message, never anything else, and
 * what is accepted points nowhere outside. Half of the inputs begin with a header that is right, with right checksums,
 * and change fields of it and of the directory: so that every check is reached.
 */
#include "tests/fuzz/fuzz.h"

#include <xxhash.h>

#include "base/errno.h"
#include "saved.h"

#define DIRECTORY_MAX 8192

struct image {
    struct saved_header header;
    u64 bytes;
    _Alignas(8) char directory[DIRECTORY_MAX];
};

/* Two machines, three extents. */
static void make_valid(struct image *f)
{
    struct saved_machine *m = (void *)f->directory;
    struct saved_extent *e = (void *)(f->directory + 2 * sizeof(*m) + 16);
    u64 directory_bytes = 2 * sizeof(*m) + 16 + 3 * sizeof(*e);

    memset(f, 0, sizeof(*f));
    f->bytes = SAVED_DATA_AT + 3 * 4096 + directory_bytes;
    f->header = (struct saved_header){.magic = SAVED_MAGIC,
                                      .version = SAVED_VERSION,
                                      .nr_machines = 2,
                                      .layout = saved_layout(),
                                      .file_bytes = f->bytes,
                                      .directory_at = SAVED_DATA_AT + 3 * 4096,
                                      .directory_bytes = directory_bytes};
    for (u32 i = 0; i < 2; i++)
        m[i] = (struct saved_machine){.name = "machine",
                                      .addr = 1ull << 45,
                                      .bytes = 1ull << 32,
                                      .config_at = 2 * sizeof(*m),
                                      .config_bytes = 16,
                                      .extent_at = 2 * sizeof(*m) + 16,
                                      .nr_extents = 3};
    for (u32 i = 0; i < 3; i++)
        e[i] = (struct saved_extent){i * 8192ull, 8192, SAVED_DATA_AT + i * 4096ull, 4096, 0};
}

static void seal(struct image *f)
{
    u64 n = MIN(f->header.directory_bytes, DIRECTORY_MAX);

    f->header.directory_hash = XXH3_64bits(f->directory, n);
    f->header.header_hash = XXH3_64bits(&f->header, offsetof(struct saved_header, header_hash));
}

static void change(struct image *f, struct input *in)
{
    while (more(in)) {
        u32 at = take_u16(in);
        u64 value = take_u64(in);
        bool header = at & 1;
        size_t size = header ? offsetof(struct saved_header, header_hash) : DIRECTORY_MAX, pos = at / 2 * 4 % size;

        memcpy((header ? (char *)&f->header : f->directory) + pos, &value, MIN(8, size - pos));
    }
}

/* Everything the reader would use. */
static void require_inside(const struct image *f)
{
    const struct saved_machine *m = (const void *)f->directory;

    for (u32 i = 0; i < f->header.nr_machines; i++) {
        const struct saved_extent *e = (const void *)(f->directory + m[i].extent_at);

        REQUIRE(memchr(m[i].name, 0, sizeof(m[i].name)));
        REQUIRE(m[i].config_at + m[i].config_bytes <= f->header.directory_bytes);
        REQUIRE(m[i].extent_at + m[i].nr_extents * sizeof(*e) <= f->header.directory_bytes);
        for (u64 k = 0; k < m[i].nr_extents; k++) {
            REQUIRE(e[k].bytes <= SAVED_EXTENT_MAX && e[k].offset + e[k].bytes <= m[i].bytes);
            REQUIRE(e[k].stored <= e[k].bytes && e[k].at + e[k].stored <= f->header.directory_at);
            REQUIRE(e[k].at >= SAVED_DATA_AT);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct image f;
    struct input in = {data, data + size};
    char err[SAVED_ERROR];
    int ret;

    make_valid(&f);
    if (take_u8(&in) & 1) {
        change(&f, &in);
        seal(&f);
    } else {
        memset(&f.header, 0, sizeof(f.header));
        memcpy(&f.header, in.at, MIN((size_t)(in.end - in.at), sizeof(f.header)));
        f.bytes = take_u64(&in);
    }
    memset(err, '#', sizeof(err));
    ret = saved_check_header(&f.header, f.bytes, err);
    if (!ret && f.header.directory_bytes <= DIRECTORY_MAX)
        ret = saved_check_directory(&f.header, f.directory, err);
    else if (!ret)
        return 0; /* a directory of this size is not at hand */
    REQUIRE(ret == 0 || ret == -EINVAL);
    REQUIRE(ret == 0 || memchr(err, 0, sizeof(err)));
    if (!ret)
        require_inside(&f);
    return 0;
}
