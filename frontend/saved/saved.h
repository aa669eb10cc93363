/* SPDX-License-Identifier: MIT */
/*
 * Saved runs: machines in a file, as they were at one moment, to be looked at (`quire cat`) or worked on (library).
 *
 *   0        4096                                              directory_at                                    file_bytes
 *   ├────────┼──────────────────────────────────────────────────┼───────────────────────────────────────────────┤
 *   │ header │ extents: what is not zero of each region, zstd   │ directory: machines, configurations, extents │
 *   └────────┴──────────────────────────────────────────────────┴───────────────────────────────────────────────┘
 *
 * A machine is one region of memory at one address (src/machine/region.c). The file holds the parts of it that are not
 * zero; loading makes a new region at the same address, private to the process, fills it and attaches it as any other.
 * Nothing in a region depends on the process: CPUs are given back on loading, their TLBs forgotten if they had an owner.
 *
 * A region is an image of Quire's own structures: it can be read by a Quire whose structures are the same. `layout` is
 * a hash of all declarations of src/ (scripts/layout-hash); another one is refused by name, as are other versions.
 * Checksums: of the header, of the directory, of each extent: damage by accident is named with its place before anything
 * is used. Whoever forges a file can make them right. The region's header is then held against the layout that the
 * machine's configuration gives, so loading maps and writes nothing outside of the region; what lies deeper is taken as it
 * is, and who reads a machine that came from elsewhere bounds what it can do (cli/guard.h). Running programs on such a
 * machine, or changing it, is not made for.
 * Numbers are little-endian, in the structs below.
 */
#ifndef QUIRE_FRONTEND_SAVED_H
#define QUIRE_FRONTEND_SAVED_H

#include "machine/machine_api.h"

#define SAVED_MAGIC "QUIRESAV"
#define SAVED_VERSION 1
#define SAVED_MACHINES 8
#define SAVED_DATA_AT 4096
#define SAVED_EXTENT_MAX (1ul << 20)

struct saved_header {
    char magic[8];
    u32 version;
    u32 nr_machines;
    u64 layout;
    u64 file_bytes;
    u64 directory_at, directory_bytes, directory_hash;
    char quire[16];    /* version of the Quire that wrote it */
    char program[128]; /* what ran */
    char moment[64];   /* when it was saved, in words */
    u64 header_hash;   /* of everything before */
};

/* The directory begins with nr_machines of these; positions are bytes from its start. */
struct saved_machine {
    char name[64];
    u64 addr, bytes; /* region */
    u64 config_at, config_bytes;
    u64 extent_at, nr_extents;
};

struct saved_extent {
    u64 offset, bytes; /* in the region; bytes <= SAVED_EXTENT_MAX */
    u64 at, stored;    /* in the file; stored < bytes: zstd */
    u64 hash;          /* XXH3 of the bytes in the region */
};

#define SAVED_ERROR 512 /* room for a message */

/* -- writing ------------------------------------------------------------------------------------------------------- */

struct saved_input {
    const char *program, *moment;
    u32 nr_machines;
    struct machine *machine[SAVED_MACHINES];
};

/*
 * Write `path` (under a temporary name, then renamed). No thread may be inside the core of one of the machines.
 * 0, or -errno and a message in err[SAVED_ERROR].
 */
int saved_write(const char *path, const struct saved_input *in, char *err);

/* -- reading ------------------------------------------------------------------------------------------------------- */

struct saved {
    int fd;
    struct saved_header header;
    char *directory;
};

/*
 * Is this the beginning and the directory of a saved run of `file_bytes`? `directory`: header->directory_bytes bytes,
 * aligned to 8. Every position in it is checked. 0, or -EINVAL and a message. For saved_open() and the fuzzer.
 */
int saved_check_header(const struct saved_header *h, u64 file_bytes, char *err);
int saved_check_directory(const struct saved_header *h, const char *directory, char *err);

/* 0 and *s to be closed, or -errno and a message that begins with the path. */
int saved_open(const char *path, struct saved *s, char *err);
void saved_close(struct saved *s);
const struct saved_machine *saved_machine(const struct saved *s, u32 i);
/* Text of a machine file; not terminated. */
const char *saved_config(const struct saved *s, u32 i, size_t *bytes);
/* Bytes of machine `i` that were saved: what is not zero. */
u64 saved_bytes(const struct saved *s, u32 i);
/* Machine `i`, attached, all its CPUs free; machine_destroy() ends it. ERR_PTR(-errno) and a message. */
struct machine *saved_load(const struct saved *s, u32 i, char *err);

u64 saved_layout(void);

#endif
