/* SPDX-License-Identifier: MIT */
/* `quire import`: another tool's trace becomes one of ours. */
#define _GNU_SOURCE
#include "import.h"

#include <errno.h>
#include <string.h>

#include "quire.h"

static void count(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind)
{
}

int import_trace(const char *format, const char *out, const char *in)
{
    const struct import_format *f = import_format_find(format);
    struct import im = {.in = stdin, .name = "stdin", .access = count};

    if (!f)
        usage_error("import: %s: no such format; `quire --help` lists them", format);
    if (strcmp(in, "-") != 0) {
        im.name = in;
        im.in = fopen(in, "re");
    }
    if (!im.in)
        usage_error("import: %s: %s", in, strerror(errno));
    if (f->read(&im))
        usage_error("import: %s", im.err);
    usage_error("import: -o %s: %llu accesses are read, but cannot be written yet", out,
                (unsigned long long)im.accesses);
}
