/* SPDX-License-Identifier: MIT */
/*
 * What /proc/self/smaps, numa_maps, status and statm say in numbers, hashed from their text: the same code on both sides,
 * without a C library.
 *
 * Left out: the child's own memory, vdso and vvar, files on disk (their pages come and go), counts of pages of the whole
 * process, for the child's own are among them; LazyFree, Referenced, active, and what is clean or dirty: they depend on
 * when the kernel drained its batches, for a page that waits in one is copied (then it is clean), not reused, and the
 * child's own pages and other processes fill them, too; THPeligible (docs/abi.md).
 */
#ifndef QUIRE_TESTS_ORACLE_VIEWS_H
#define QUIRE_TESTS_ORACLE_VIEWS_H

#include "tests/oracle/oracle.h"

#define ORACLE_VIEW_MAPPINGS 512u

/* Where the mappings begin of which numbers are compared. */
struct oracle_views {
    uint64_t h, image_end;
    uint32_t nr;
    uint64_t start[ORACLE_VIEW_MAPPINGS];
};

static inline int oracle_is_digit(char c, uint64_t base)
{
    return (c >= '0' && c <= '9') || (base == 16 && c >= 'a' && c <= 'f');
}

static inline uint64_t oracle_number(const char **p, uint64_t base)
{
    uint64_t v = 0;

    for (; oracle_is_digit(**p, base); (*p)++)
        v = v * base + (uint64_t)(**p <= '9' ? **p - '0' : **p - 'a' + 10);
    return v;
}

static inline const char *oracle_next_line(const char *p)
{
    while (*p && *p != '\n')
        p++;
    return *p ? p + 1 : p;
}

static inline int oracle_begins(const char *p, const char *with)
{
    while (*with && *p == *with) {
        p++;
        with++;
    }
    return !*with;
}

static inline int oracle_begins_any(const char *p, const char *const *with)
{
    for (; *with; with++)
        if (oracle_begins(p, *with))
            return 1;
    return 0;
}

/* "Label:   number", up to the end of the line. */
static inline uint64_t oracle_number_behind(const char *p)
{
    while (*p && *p != '\n' && !oracle_is_digit(*p, 10))
        p++;
    return oracle_number(&p, 10);
}

static inline uint64_t oracle_mix_label(uint64_t h, const char *p)
{
    uint64_t number = oracle_number_behind(p);

    for (; *p && *p != '\n' && *p != ':'; p++)
        h = oracle_mix(h, (uint8_t)*p);
    return oracle_mix(h, number);
}

/* The heading of a mapping in smaps: is it one of those that are compared? */
static inline int oracle_view_heading(struct oracle_views *v, const char *p)
{
    uint64_t start = oracle_number(&p, 16), end, dev;

    p++;
    end = oracle_number(&p, 16);
    p += 6; /* " rw-p " */
    oracle_number(&p, 16);
    p++;
    dev = oracle_number(&p, 16) << 8;
    p++;
    dev |= oracle_number(&p, 16);
    p++;
    oracle_number(&p, 10);
    while (*p == ' ')
        p++;
    if (dev > 1 || start >> 63 || oracle_begins(p, "[v") || oracle_own(start, end, v->image_end) ||
        v->nr == ORACLE_VIEW_MAPPINGS)
        return 0;
    v->start[v->nr++] = start;
    v->h = oracle_mix(oracle_mix(v->h, start), p[0] == '[' ? (uint64_t)p[1] : 0); /* [heap], [stack] */
    return 1;
}

static inline void oracle_view_smaps(struct oracle_views *v, const char *p)
{
    static const char *const not_compared[] = {"LazyFree", "Referenced", "THPel", "Prot", "VmFl", "Pss_D", 0};
    static const char *const clean[] = {"Shared_C", "Private_C", 0}, *const dirty[] = {"Shared_D", "Private_D", 0};
    uint64_t sum = 0;
    int wanted = 0;

    for (v->nr = 0; *p; p = oracle_next_line(p)) {
        if (oracle_is_digit(*p, 16))
            wanted = oracle_view_heading(v, p);
        else if (oracle_begins_any(p, clean))
            sum = oracle_number_behind(p);
        else if (wanted && oracle_begins_any(p, dirty))
            v->h = oracle_mix(v->h, sum + oracle_number_behind(p));
        else if (wanted && !oracle_begins_any(p, not_compared))
            v->h = oracle_mix_label(v->h, p);
    }
}

/* "start default [file=NAME] [heap] anon=1 ...": without the name; "mapped" is there if it is not "dirty". */
static inline void oracle_view_numa_line(struct oracle_views *v, const char *p)
{
    static const char *const not_compared[] = {"file=", "active=", "dirty=", "mapped=", 0};

    while (*p && *p != '\n') {
        int left_out = oracle_begins_any(p, not_compared);

        for (; *p && *p != '\n' && *p != ' '; p++)
            v->h = left_out ? v->h : oracle_mix(v->h, (uint8_t)*p);
        while (*p == ' ')
            p++;
    }
}

/* After smaps. */
static inline void oracle_view_numa(struct oracle_views *v, const char *p)
{
    for (uint32_t i = 0; *p && i < v->nr; p = oracle_next_line(p)) {
        const char *q = p;

        if (oracle_number(&q, 16) != v->start[i])
            continue;
        oracle_view_numa_line(v, p);
        i++;
    }
}

static inline void oracle_view_status(struct oracle_views *v, const char *p)
{
    static const char *const compared[] = {"VmPeak", "VmSize", "VmLck", "VmPin",        "VmData",      "VmStk", "VmExe",
                                           "VmLib",  "VmSwap", "THP_e", "HugetlbPages", "CoreDumping", 0};

    for (; *p; p = oracle_next_line(p))
        if (oracle_begins_any(p, compared))
            v->h = oracle_mix_label(v->h, p);
}

/* "size resident shared text lib data dt" */
static inline void oracle_view_statm(struct oracle_views *v, const char *p)
{
    for (uint32_t i = 0; i < 7; i++, p++) {
        uint64_t n = oracle_number(&p, 10);

        if (i != 1 && i != 2)
            v->h = oracle_mix(v->h, n);
    }
}

#endif
