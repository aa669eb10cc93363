/* SPDX-License-Identifier: MIT */
/*
 * ptdump: the tables' own view of an address space, independent of VMAs. Neighbouring entries of one level with the
 * same rights and attributes make one range; accessed and dirty are counted instead, they would cut everything into
 * pieces. What nothing maps is one range of level 0. Follows Documentation/arch/arm64/ptdump.rst.
 *
 * No lock is taken: an entry is read once, whole; tables stay because of the caller's mmap_lock.
 */
#include "vm/ptdump.h"

struct dump {
    const struct mm *mm;
    fmt_t f;
    struct ptdump_range range; /* growing; end == start: none yet */
    void (*note)(const struct ptdump_range *, void *arg);
    void *arg;
    u64 nr;
};

static void dump_finish(struct dump *d)
{
    if (d->range.start == d->range.end)
        return;
    d->note(&d->range, d->arg);
    d->nr++;
}

static void dump_add(struct dump *d, va_t start, va_t end, u32 level, pte_t p)
{
    pgprot_t prot = level ? pte_pgprot(d->f, level, p) : PGPROT(0);
    u32 attributes = prot.bits & ~(u32)(PT_ACCESSED | PT_DIRTY);

    if (d->range.start == d->range.end || d->range.level != level || d->range.prot.bits != attributes) {
        dump_finish(d);
        d->range = (struct ptdump_range){.start = start, .level = level, .prot = PGPROT(attributes)};
    }
    d->range.end = end;
    d->range.nr_young += !!(prot.bits & PT_ACCESSED);
    d->range.nr_dirty += !!(prot.bits & PT_DIRTY);
}

static void dump_table(struct dump *d, struct pt_table t, va_t addr, va_t end)
{
    va_t next;
    pte_t p;

    for (; addr != end; addr = next) {
        next = pt_addr_end(d->f, t.level, addr, end);
        p = pt_read(d->f, pt_entry_at(d->f, t, addr));
        if (pte_table(d->f, t.level, p))
            dump_table(d, pt_table_of(d->mm->m, d->f, p, t.level), addr, next);
        else
            dump_add(d, addr, next, pte_present(d->f, p) ? t.level : 0, p);
    }
}

u64 ptdump_walk(const struct mm *mm, va_t start, va_t end, void (*note)(const struct ptdump_range *, void *arg),
                void *arg)
{
    struct dump d = {.mm = mm, .f = pt_format_of(mm->m), .note = note, .arg = arg};
    struct pt_table top = pt_top_table(mm->m, d.f, &mm->pt, start);

    if (!top.entries || start == end)
        return 0;
    dump_table(&d, top, start, end);
    dump_finish(&d);
    return d.nr;
}

static const struct {
    u32 bit;
    char on[5], off[5];
} flag_words[] = {
    {PT_READ, "R", "-"},          {PT_WRITE, "W", "-"},    {PT_EXEC, "X", "-"},
    {PT_USER, " USR", ""},        {PT_GLOBAL, " G", ""},   {PT_NOCACHE, " UC", ""},
    {PT_WRITETHROUGH, " WT", ""}, {PT_SPECIAL, " SP", ""}, {PT_SOFT_DIRTY, " SD", ""},
};

const char *ptdump_flags(pgprot_t prot, char text[PTDUMP_FLAGS_TEXT])
{
    u32 n = 0;

    for (u32 i = 0; i < ARRAY_SIZE(flag_words); i++) {
        const char *word = prot.bits & flag_words[i].bit ? flag_words[i].on : flag_words[i].off;

        for (u32 j = 0; j < sizeof(flag_words[i].on) && word[j]; j++)
            text[n++] = word[j];
    }
    text[n] = 0;
    return text;
}
