/* SPDX-License-Identifier: MIT */
/*
 * The table that `quire run` prints: one column for each machine, one row for each figure, in groups. A row is a line
 * of the table below: where its figure comes from and how it is shown.
 */
#include "machine_report.h"

#include <stdlib.h>
#include <string.h>

#include "machine/report.h"
#include "phys/phys.h"

enum source { VMSTAT, MEMINFO, TLB, TIME };
enum shown { COUNT, COUNT_IF_ANY, KIB, NS, RATE, RATIO, GROUP }; /* _IF_ANY: no row if it is 0 everywhere */

struct row {
    const char *label;
    enum shown shown;
    enum source source;
    const char *name; /* figure */
    const char *of;   /* RATE: percent of this one; RATIO: divided by it */
};

static const struct row rows[] = {
    {"accesses", GROUP, 0, NULL, NULL},
    {"data accesses", COUNT, TLB, "l1d_accesses", NULL},
    {"instruction fetches", COUNT, TLB, "l1i_accesses", NULL},
    {"faults", GROUP, 0, NULL, NULL},
    {"all", COUNT, VMSTAT, "pgfault", NULL},
    {"major", COUNT, VMSTAT, "pgmajfault", NULL},
    {"anonymous", COUNT, VMSTAT, "quire_fault_anon", NULL},
    {"zero page", COUNT, VMSTAT, "quire_fault_zero_page", NULL},
    {"file, read", COUNT, VMSTAT, "quire_fault_file_read", NULL},
    {"file, private write", COUNT, VMSTAT, "quire_fault_file_cow", NULL},
    {"file, shared write", COUNT, VMSTAT, "quire_fault_file_shared", NULL},
    {"mapped by fault-around", COUNT, VMSTAT, "quire_fault_around", NULL},
    {"COW breaks, copied", COUNT, VMSTAT, "quire_fault_wp_copy", NULL},
    {"COW breaks, reused", COUNT, VMSTAT, "quire_fault_wp_reuse", NULL},
    {"stack growth", COUNT, VMSTAT, "quire_fault_stack_grow", NULL},
    {"advice without effect yet", GROUP, 0, NULL, NULL},
    {"MADV_HUGEPAGE", COUNT_IF_ANY, VMSTAT, "quire_no_effect_hugepage", NULL},
    {"MADV_COLLAPSE", COUNT_IF_ANY, VMSTAT, "quire_no_effect_collapse", NULL},
    {"MADV_MERGEABLE", COUNT_IF_ANY, VMSTAT, "quire_no_effect_mergeable", NULL},
    {"MADV_PAGEOUT", COUNT_IF_ANY, VMSTAT, "quire_no_effect_pageout", NULL},
    {"processes", GROUP, 0, NULL, NULL},
    {"fork", COUNT, VMSTAT, "quire_fork", NULL},
    {"exec", COUNT, VMSTAT, "quire_exec", NULL},
    {"exit", COUNT, VMSTAT, "quire_exit", NULL},
    {"context switches", COUNT, VMSTAT, "quire_context_switch", NULL},
    {"TLB", GROUP, 0, NULL, NULL},
    {"L1 data misses", COUNT, TLB, "l1d_misses", NULL},
    {"  of accesses", RATE, TLB, "l1d_misses", "l1d_accesses"},
    {"L1 instruction misses", COUNT, TLB, "l1i_misses", NULL},
    {"  of fetches", RATE, TLB, "l1i_misses", "l1i_accesses"},
    {"L2 hits", COUNT, TLB, "l2_hits", NULL},
    {"L2 misses", COUNT, TLB, "l2_misses", NULL},
    {"page walks", COUNT, TLB, "walks", NULL},
    {"table entries read", COUNT, TLB, "walk_loads", NULL},
    {"  per walk", RATIO, TLB, "walk_loads", "walks"},
    {"dirty bits set", COUNT, TLB, "set_dirty", NULL},
    {"remote shoot-downs", COUNT, VMSTAT, "nr_tlb_remote_flush", NULL},
    {"memory at the end", GROUP, 0, NULL, NULL},
    {"MemTotal", KIB, MEMINFO, "MemTotal", NULL},
    {"MemFree", KIB, MEMINFO, "MemFree", NULL},
    {"AnonPages", KIB, MEMINFO, "AnonPages", NULL},
    {"Cached", KIB, MEMINFO, "Cached", NULL},
    {"Slab", KIB, MEMINFO, "Slab", NULL},
    {"PageTables", KIB, MEMINFO, "PageTables", NULL},
    {"time (all CPUs)", GROUP, 0, NULL, NULL},
    {"user", NS, TIME, "user", NULL},
    {"tlb", NS, TIME, "tlb", NULL},
    {"walk", NS, TIME, "walk", NULL},
    {"fault", NS, TIME, "fault", NULL},
    {"zero", NS, TIME, "zero", NULL},
    {"copy", NS, TIME, "copy", NULL},
    {"syscall", NS, TIME, "syscall", NULL},
    {"ipi", NS, TIME, "ipi", NULL},
    {"switch", NS, TIME, "switch", NULL},
    {"io", NS, TIME, "io", NULL},
    {"clock", NS, TIME, "clock", NULL},
};

struct figures {
    struct report_list list[4]; /* by enum source */
};

static void gather(const struct machine *m, struct figures *f)
{
    report_vmstat(m, &f->list[VMSTAT]);
    report_meminfo(m, &f->list[MEMINFO]);
    report_tlb(m, &f->list[TLB]);
    report_time(m, &f->list[TIME]);
}

/* 1234567 as 1,234,567. */
static void with_commas(s64 n, char *buf, size_t size)
{
    char digits[32];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)n);
    size_t at = 0;

    for (int i = 0; i < len && at + 2 < size; i++) {
        if (i && (len - i) % 3 == 0 && digits[i - 1] != '-')
            buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = 0;
}

static void cell(const struct row *row, const struct figures *f, char *buf, size_t size)
{
    s64 n = report_find(&f->list[row->source], row->name);
    s64 of = row->of ? report_find(&f->list[row->source], row->of) : 0;

    switch (row->shown) {
    case KIB:
        with_commas(n, buf, size - 4);
        strcat(buf, " kB");
        break;
    case NS:
        snprintf(buf, size, "%.3f ms", (double)n / 1e6);
        break;
    case RATE:
        snprintf(buf, size, of ? "%.4f %%" : "-", of ? 100.0 * (double)n / (double)of : 0.0);
        break;
    case RATIO:
        snprintf(buf, size, of ? "%.2f" : "-", of ? (double)n / (double)of : 0.0);
        break;
    default:
        with_commas(n, buf, size);
    }
}

static bool has_zone(const struct machine *m, u32 nid, u32 type, struct zone_view *v)
{
    return nid < m->config.nr_nodes && phys_zone_view(m, (s32)nid, (enum zone_type)type, v) && v->managed;
}

static void zone_row(FILE *out, struct machine *const *m, u32 nr, u32 nid, u32 type)
{
    struct zone_view v;
    char text[48];
    bool any = false;

    for (u32 i = 0; i < nr; i++)
        any |= has_zone(m[i], nid, type, &v);
    if (!any)
        return;
    snprintf(text, sizeof(text), "node %u %s", nid, zone_name((enum zone_type)type));
    fprintf(out, "  %-26s", text);
    for (u32 i = 0; i < nr; i++) {
        strcpy(text, "-");
        if (has_zone(m[i], nid, type, &v))
            with_commas((s64)v.free, text, sizeof(text));
        fprintf(out, " %18s", text);
    }
    fprintf(out, "\n");
}

static void zone_rows(FILE *out, struct machine *const *m, u32 nr)
{
    fprintf(out, "free pages by zone\n");
    for (u32 nid = 0; nid < MAX_NODES; nid++)
        for (u32 type = 0; type < MAX_NR_ZONES; type++)
            zone_row(out, m, nr, nid, type);
}

static void check_row(FILE *out, const struct check_report *const *check, u32 nr)
{
    fprintf(out, "%-28s", "check");
    for (u32 i = 0; i < nr; i++) {
        char buf[48] = "not asked for";

        if (check && check[i] && check[i]->nr)
            snprintf(buf, sizeof(buf), "%u mismatches", check[i]->nr);
        else if (check && check[i])
            snprintf(buf, sizeof(buf), "ok");
        fprintf(out, " %18s", buf);
    }
    fprintf(out, "\n");
}

static bool any_count(const struct row *row, const struct figures *f, u32 nr)
{
    bool any = false;

    for (u32 i = 0; i < nr; i++)
        any |= report_find(&f[i].list[row->source], row->name) != 0;
    return any;
}

/* A group of rows that are shown if there is something to show needs one such row. */
static bool row_is_shown(u32 r, const struct figures *f, u32 nr)
{
    if (rows[r].shown == COUNT_IF_ANY)
        return any_count(&rows[r], f, nr);
    if (rows[r].shown != GROUP || rows[r + 1].shown != COUNT_IF_ANY)
        return true;
    for (r++; rows[r].shown == COUNT_IF_ANY; r++)
        if (any_count(&rows[r], f, nr))
            return true;
    return false;
}

static void print_row(FILE *out, const struct row *row, const struct figures *f, u32 nr)
{
    char buf[48];

    if (row->shown == GROUP) {
        fprintf(out, "%s\n", row->label);
        return;
    }
    fprintf(out, "  %-26s", row->label);
    for (u32 i = 0; i < nr; i++) {
        cell(row, &f[i], buf, sizeof(buf));
        fprintf(out, " %18s", buf);
    }
    fprintf(out, "\n");
}

void machine_table(FILE *out, struct machine *const *m, const struct check_report *const *check, u32 nr)
{
    struct figures *f = calloc(nr, sizeof(*f));

    if (!f)
        return;
    for (u32 i = 0; i < nr; i++)
        gather(m[i], &f[i]);
    fprintf(out, "%-28s", "machine");
    for (u32 i = 0; i < nr; i++)
        fprintf(out, " %18.18s", m[i]->config.name);
    fprintf(out, "\n");
    for (u32 r = 0; r < ARRAY_SIZE(rows); r++)
        if (row_is_shown(r, f, nr))
            print_row(out, &rows[r], f, nr);
    zone_rows(out, m, nr);
    check_row(out, check, nr);
    free(f);
}
