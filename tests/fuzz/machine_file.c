/* SPDX-License-Identifier: MIT */
/*
 * The parser of machine files: any text is accepted or refused with a message, never anything else; what is
 * accepted can be validated; a refused value changes nothing else. Every second input is made of real keys, so
 * that values are reached.
 */
#include "tests/fuzz/fuzz.h"

#include "base/errno.h"
#include "machine/machine_api.h"

static const char *const words[] = {
    "mem",
    "cpus",
    "numa.nodes",
    "vm.swappiness",
    "vm.min_free_kbytes",
    "content",
    "=",
    " ",
    "\n",
    "4G",
    "1T",
    "0",
    "-1",
    "65536",
    "full",
    "none",
    "tlb.",
    "l1d_4k",
    "cost.",
    "fault_entry",
    "0.5",
    "1e9",
    "always",
    "#",
    "range",
    "e820",
    "x86_64",
    "page_table",
    "18446744073709551616",
    "0x",
    ",",
    ":",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.lowmem_reserve_ratio",
    "256 256 32",
    "/",
    "..",
    "numa.distance",
    "memory_model",
};

/* The input as it is, or each byte as one of the words. */
static char *text_of(const uint8_t *data, size_t size)
{
    bool as_words = size && data[0] & 1;
    char *text = malloc(size * 32 + 1), *p = text;

    for (size_t i = 0; i < size; i++) {
        if (as_words)
            p += sprintf(p, "%s", words[data[i] / 2 % ARRAY_SIZE(words)]);
        else
            *p++ = (char)data[i];
    }
    *p = 0;
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = text_of(data, size), err[160];
    struct machine_config *c = malloc(sizeof(*c));
    int ret;

    memset(err, '#', sizeof(err));
    machine_config_default(c);
    ret = machine_config_parse(c, text, "fuzz", err, sizeof(err));
    REQUIRE(ret == 0 || ret == -EINVAL);
    REQUIRE(memchr(err, 0, sizeof(err)));
    REQUIRE((ret == 0) == (err[0] == 0));
    if (!ret) {
        ret = machine_config_validate(c, err, sizeof(err));
        REQUIRE(ret <= 0 && memchr(err, 0, sizeof(err)));
    }
    free(c);
    free(text);
    return 0;
}
