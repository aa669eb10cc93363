/* SPDX-License-Identifier: MIT */
/* One machine's figures as JSON, several machines' as a table. machine_json.c, machine_table.c. */
#ifndef QUIRE_CLI_MACHINE_REPORT_H
#define QUIRE_CLI_MACHINE_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "machine/machine_api.h"

/*
 * {"name", "config", "vmstat", "meminfo" (KiB), "buddyinfo", "slabinfo", "tlb", "time_ns", "mms"} and, if
 * `check` is not NULL, "check": "ok" or the mismatches. A new reference; NULL: no memory. Needs a free CPU
 * (for the slab lists' lock).
 */
json_t *machine_json(struct machine *m, const struct check_report *check);

/* "config" alone: every key's value as it would stand in a machine file. */
json_t *machine_config_json(const struct machine_config *c);

/* Rows of counters, one column for each machine. check[i] NULL: not checked. */
void machine_table(FILE *out, struct machine *const *m, const struct check_report *const *check, u32 nr);

#endif
