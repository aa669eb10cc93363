/* SPDX-License-Identifier: MIT */
/*
 * A machine's counters under the names Linux prints, as lists of name and value: what the JSON and table writers of the
 * command line, the library's readers and tests show. Machine quiet, or the figures are of slightly different moments.
 */
#ifndef QUIRE_MACHINE_REPORT_H
#define QUIRE_MACHINE_REPORT_H

#include "machine/machine_api.h"

struct report_value {
    const char *name;
    s64 value;
};

#define REPORT_MAX 256

struct report_list {
    u32 nr;
    struct report_value v[REPORT_MAX];
};

void report_vmstat(const struct machine *m, struct report_list *l);  /* /proc/vmstat: counts and pages */
void report_meminfo(const struct machine *m, struct report_list *l); /* /proc/meminfo: KiB */
void report_tlb(const struct machine *m, struct report_list *l);     /* MMU_COUNTERS, summed over CPUs, and hits */
void report_time(const struct machine *m,
                 struct report_list *l); /* ns by cause, summed over CPUs; "clock": the latest */

/* One address space: sizes in pages but for pgtables_bytes. */
struct report_mm {
    s32 pid; /* of a task that uses it; 0: none left */
    char comm[16];
    s64 rss[NR_MM_COUNTERS];
    u64 hiwater_rss, hiwater_vm, total_vm, pgtables_bytes, min_flt, maj_flt;
    u32 map_count;
};
void report_mm(const struct mm *mm, struct report_mm *out);
/* The value of `name` in a list; 0: not in it. */
s64 report_find(const struct report_list *l, const char *name);

#endif
