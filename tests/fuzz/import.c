/* SPDX-License-Identifier: MIT */
/*
 * The parsers of foreign traces: any bytes are accesses or an error with a message, never anything else; what comes out
 * is a possible access. The first byte chooses the format; for text formats the bytes are made of the alphabet of such files.
 */
#include "tests/fuzz/fuzz.h"

#include "import.h"

static void require_possible(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind)
{
    REQUIRE(tid && size && size <= PAGE_SIZE && (addr + size - 1) >> 56 == 0 && kind <= IMPORT_EXEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char alphabet[] = "0123456789abcdefx,,: \n\nILSMrwx\taddr,kind\nsize=-#\"";
    struct import im = {.name = "fuzz", .access = require_possible};
    const struct import_format *f;
    char *text;
    int err;

    if (size < 2)
        return 0;
    f = &import_formats[data[0] / 2 % nr_import_formats];
    text = malloc(size);
    for (size_t i = 1; i < size; i++)
        text[i - 1] = data[0] & 1 ? (char)data[i] : alphabet[data[i] % (sizeof(alphabet) - 1)];
    im.in = fmemopen(text, size - 1, "r");
    REQUIRE(im.in);
    err = f->read(&im);
    REQUIRE(!err == !im.err[0]);
    fclose(im.in);
    free(text);
    return 0;
}
