/* SPDX-License-Identifier: MIT */
/*
 * Binary formats.
 *
 * drmemtrace (DynamoRIO, "Trace Format" of its documentation): packed little-endian records of 12 bytes,
 *
 *     u16 type · u16 size · u64 address (or value)
 *
 * read and write are 0 and 1; an instruction is 10 to 16, 29, 31 and 36 to 38 by its control flow; a thread's records
 * follow a record of type 22 with its id, 23 ends it; 25 begins the trace and 26 ends it. Prefetches, markers, encodings and
 * what newer versions add do not touch memory and are passed over.
 *
 * ChampSim (its README and inc/trace_instruction.h's published layout): records of 64 bytes, one an instruction,
 *
 *     u64 ip · u8 is_branch · u8 branch_taken · u8 destination_registers[2] · u8 source_registers[4] ·
 *     u64 destination_memory[2] · u64 source_memory[4]
 *
 * with 0 for operands that are not used. It knows no sizes: 8 bytes are assumed, 4 for the instruction, both cut at the
 * end of the page.
 */
#include <errno.h>
#include <string.h>

#include "import.h"

/* One record: 1; 0: end; -EINVAL: it ends inside one, or unreadable. */
static int next_record(struct import *im, void *record, size_t size, u64 *nr, char *where, size_t where_size)
{
    size_t n = fread(record, 1, size, im->in);

    snprintf(where, where_size, ": offset %llu", (unsigned long long)(*nr * size));
    if (n == size) {
        ++*nr;
        return 1;
    }
    if (ferror(im->in))
        return import_fail(im, where, "%s", strerror(errno));
    return n ? import_fail(im, where, "%zu bytes of a record of %zu: truncated, or not this format", n, size) : 0;
}

/* -- drmemtrace ---------------------------------------------------------------------------------------------------- */

enum dr_type {
    DR_READ = 0,
    DR_WRITE = 1,
    DR_INSTR = 10,
    DR_INSTR_RETURN = 16,
    DR_THREAD = 22,
    DR_THREAD_EXIT = 23,
    DR_HEADER = 25,
    DR_FOOTER = 26,
    DR_INSTR_NO_FETCH = 29,
    DR_INSTR_SYSENTER = 31,
    DR_TYPES = 128, /* more than any version has */
};

struct dr_record {
    u16 type, size;
    u64 addr;
} __attribute__((packed));

static int dr_record(struct import *im, const struct dr_record *r, const char *where, u32 *tid)
{
    if (r->type == DR_READ || r->type == DR_WRITE)
        return import_access(im, where, *tid, r->addr, r->size, r->type == DR_READ ? IMPORT_READ : IMPORT_WRITE);
    if ((r->type >= DR_INSTR && r->type <= DR_INSTR_RETURN) || r->type == DR_INSTR_SYSENTER)
        return import_access(im, where, *tid, r->addr, r->size, IMPORT_EXEC);
    if (r->type == DR_THREAD) {
        if (!r->addr || r->addr > 0x3fffffff)
            return import_fail(im, where, "thread id %llu", (unsigned long long)r->addr);
        *tid = (u32)r->addr;
    } else if (r->type == DR_THREAD_EXIT) {
        if (im->thread_exit)
            im->thread_exit(im->arg, *tid);
    } else if (r->type >= DR_TYPES) {
        return import_fail(im, where, "record type %u: not a drmemtrace, or a compressed one", r->type);
    }
    return 0;
}

int import_drmemtrace(struct import *im)
{
    struct dr_record r;
    u32 tid = 1;
    u64 nr = 0;
    char where[48];
    int err;

    while ((err = next_record(im, &r, sizeof(r), &nr, where, sizeof(where))) > 0) {
        if (nr == 1 && r.type != DR_HEADER)
            return import_fail(im, where,
                               "begins with record type %u, not %d (header): not a drmemtrace, or a "
                               "compressed one (unpack it first)",
                               r.type, DR_HEADER);
        err = dr_record(im, &r, where, &tid);
        if (err)
            return err;
    }
    return !err && !nr ? import_fail(im, "", "empty") : err;
}

/* -- ChampSim ------------------------------------------------------------------------------------------------------ */

#define CHAMPSIM_DATA 8u
#define CHAMPSIM_CODE 4u

struct champsim_record {
    u64 ip;
    u8 is_branch, branch_taken, destination_registers[2], source_registers[4];
    u64 destination_memory[2], source_memory[4];
};
_Static_assert(sizeof(struct champsim_record) == 64, "as in the file");

/* Of unknown size: not beyond its page. */
static int champsim_access(struct import *im, const char *where, u64 addr, u32 size, enum import_kind kind)
{
    u64 left = PAGE_SIZE - (addr & (PAGE_SIZE - 1));

    return import_access(im, where, 1, addr, size < left ? size : left, kind);
}

static int champsim_record(struct import *im, const struct champsim_record *r, const char *where)
{
    int err;

    if (r->is_branch > 1 || r->branch_taken > 1)
        return import_fail(im, where,
                           "branch flags %u and %u: not a ChampSim trace, or a compressed one (xz -dc it first)",
                           r->is_branch, r->branch_taken);
    err = champsim_access(im, where, r->ip, CHAMPSIM_CODE, IMPORT_EXEC);
    for (u32 i = 0; i < 4 && !err; i++)
        if (r->source_memory[i])
            err = champsim_access(im, where, r->source_memory[i], CHAMPSIM_DATA, IMPORT_READ);
    for (u32 i = 0; i < 2 && !err; i++)
        if (r->destination_memory[i])
            err = champsim_access(im, where, r->destination_memory[i], CHAMPSIM_DATA, IMPORT_WRITE);
    return err;
}

int import_champsim(struct import *im)
{
    struct champsim_record r;
    u64 nr = 0;
    char where[48];
    int err;

    while ((err = next_record(im, &r, sizeof(r), &nr, where, sizeof(where))) > 0) {
        err = champsim_record(im, &r, where);
        if (err)
            return err;
    }
    return !err && !nr ? import_fail(im, "", "empty") : err;
}
