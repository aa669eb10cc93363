/* SPDX-License-Identifier: MIT */
/* The list of foreign formats, and what their parsers share. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "import.h"

/* The largest single access of any x86, arm64 or riscv64 instruction is below a page; rep movs appears as its steps. */
#define MAX_ACCESS 4096u
#define ADDRESS_BITS 57 /* canonical user addresses under five-level tables lie below 2^56 */

const struct import_format import_formats[] = {
    {"lackey", "text of valgrind --tool=lackey --trace-mem=yes", import_lackey},
    {"drmemtrace", "DynamoRIO drmemtrace, the 12-byte records of a final trace, not compressed", import_drmemtrace},
    {"drtext", "DynamoRIO sample memtrace_simple: lines \"ADDRESS: SIZE, r|w|OPCODE\"", import_drtext},
    {"champsim", "ChampSim: 64-byte instruction records, not compressed", import_champsim},
    {"csv", "columns named by the first line: addr (needed), size, kind (r, w, x), tid", import_csv},
};
const u32 nr_import_formats = sizeof(import_formats) / sizeof(import_formats[0]);

const struct import_format *import_format_find(const char *name)
{
    for (u32 i = 0; i < nr_import_formats; i++)
        if (!strcmp(import_formats[i].name, name))
            return &import_formats[i];
    return NULL;
}

int import_fail(struct import *im, const char *where, const char *format, ...)
{
    int n = snprintf(im->err, sizeof(im->err), "%s%s: ", im->name, where);
    va_list ap;

    va_start(ap, format);
    if (n > 0 && (size_t)n < sizeof(im->err))
        vsnprintf(im->err + n, sizeof(im->err) - (size_t)n, format, ap);
    va_end(ap);
    return -EINVAL;
}

int import_access(struct import *im, const char *where, u32 tid, u64 addr, u64 size, enum import_kind kind)
{
    if (!size || size > MAX_ACCESS)
        return import_fail(im, where, "an access of %llu bytes: 1 to %u are possible", (unsigned long long)size,
                           MAX_ACCESS);
    if (addr >> (ADDRESS_BITS - 1) || (addr + size - 1) >> (ADDRESS_BITS - 1))
        return import_fail(im, where, "address 0x%llx is not a user address", (unsigned long long)addr);
    im->accesses++;
    im->access(im->arg, tid, addr, (u32)size, kind);
    return 0;
}
