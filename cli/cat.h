/* SPDX-License-Identifier: MIT */
/* `quire cat`: what its two files share. */
#ifndef QUIRE_CLI_CAT_H
#define QUIRE_CLI_CAT_H

#include <jansson.h>

#include "abi/proc.h"
#include "quire.h"

/* The view as a string with a 0 behind it, to be freed. */
char *cat_read(struct cpu *cpu, const char *name, size_t *len);

/*
 * The view as JSON, cat_json.c: "name: number" lines as an object of numbers (kB where the view has kB); maps, smaps
 * and numa_maps as an array of objects; pagemap and others as arrays of lines. A new reference.
 */
json_t *cat_json(struct cpu *cpu, const char *name);

#endif
