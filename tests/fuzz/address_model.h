/* SPDX-License-Identifier: MIT */
/*
 * What a process may expect of its memory, kept page by page in the plainest way: no VMAs, no tables, no sharing of
 * frames. Each page stores one number. A window of pages lies across the border of tables of two levels.
 *
 *   number read from a page      private copy made by a write, if there is one
 *                                else the object's number at this offset (shared memory or file)
 *                                else 0
 */
#ifndef QUIRE_TESTS_ADDRESS_MODEL_H
#define QUIRE_TESTS_ADDRESS_MODEL_H

#include "tests/fuzz/fuzz.h"

#include "vm/vm.h"

#define WINDOW_PAGES 256u
#define WINDOW_BASE 0x3ff80000ul /* half below, half above 1 GiB */
#define NR_OBJECTS 24u
#define NO_OBJECT 0xffu

struct model_page {
    bool mapped, shared, written; /* written: a private copy with `value` */
    u8 prot;
    u8 object;
    u32 offset; /* in the object */
    u32 value;
};

struct model_mm {
    struct model_page page[WINDOW_PAGES];
};

/* Shared objects: number 0 is a file, the others come with each MAP_SHARED | MAP_ANONYMOUS. */
struct model_objects {
    u32 nr;
    u32 value[NR_OBJECTS][WINDOW_PAGES * 2];
};

static inline u32 model_read(const struct model_objects *o, const struct model_page *p)
{
    if (p->written)
        return p->value;
    return p->object == NO_OBJECT ? 0 : o->value[p->object][p->offset];
}

static inline void model_write(struct model_objects *o, struct model_page *p, u32 value)
{
    if (p->shared) {
        o->value[p->object][p->offset] = value;
        return;
    }
    p->written = true;
    p->value = value;
}

static inline u32 model_count_mapped(const struct model_mm *m, u32 first, u32 nr)
{
    u32 n = 0;

    for (u32 i = first; i < first + nr; i++)
        n += m->page[i].mapped;
    return n;
}

static inline void model_unmap(struct model_mm *m, u32 first, u32 nr)
{
    for (u32 i = first; i < first + nr; i++)
        m->page[i] = (struct model_page){0};
}

static inline void model_map(struct model_mm *m, u32 first, u32 nr, const struct model_page *like)
{
    for (u32 i = 0; i < nr; i++) {
        m->page[first + i] = *like;
        m->page[first + i].offset += i;
    }
}

/* MADV_DONTNEED: private copies go; what is shared stays in its object. */
static inline void model_forget(struct model_mm *m, u32 first, u32 nr)
{
    for (u32 i = first; i < first + nr; i++)
        m->page[i].written = false;
}

/*
 * mremap to a place that does not overlap; over a hole the target stays;
 * pages beyond the old ones continue the mapping.
 */
static inline void model_move(struct model_mm *m, u32 from, u32 to, u32 old_nr, u32 new_nr)
{
    struct model_page next;

    for (u32 i = 0; i < new_nr; i++) {
        if (i < old_nr) {
            if (m->page[from + i].mapped)
                m->page[to + i] = m->page[from + i];
            continue;
        }
        next = m->page[to + i - 1];
        next.written = false;
        next.offset++;
        m->page[to + i] = next;
    }
    model_unmap(m, from, old_nr);
}

/* The machine's VMAs say the same of every page. */
static inline void model_verify(struct cpu *cpu, const struct model_mm *m, struct mm *mm)
{
    static const vm_flags_t bits[] = {VM_READ, VM_WRITE, VM_EXEC};

    for (u32 i = 0; i < WINDOW_PAGES; i++) {
        const struct model_page *p = &m->page[i];
        const struct vm_area_struct *vma = vma_lookup(cpu, mm, WINDOW_BASE + i * PAGE_SIZE);

        if (p->mapped != (vma != NULL)) {
            fprintf(stderr, "page %u: %s, but should%s be mapped\n", i, vma ? "mapped" : "not mapped",
                    p->mapped ? "" : " not");
            abort();
        }
        if (!vma)
            continue;
        for (u32 b = 0; b < ARRAY_SIZE(bits); b++)
            REQUIRE(((vma->vm_flags & bits[b]) != 0) == (p->prot >> b & 1));
        REQUIRE(((vma->vm_flags & VM_SHARED) != 0) == p->shared);
    }
}

#endif
