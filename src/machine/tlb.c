/* SPDX-License-Identifier: MIT */
/*
 * Forgetting: by address space, by range, by page. The arrays are described in mmu.h.
 *
 * What an entry covers. A page number and, by the array or by TLB_HUGE, a size. A huge page for which the first level
 * has no array of its size stands in the 4K array as a fragment of it, as many CPUs do; so forgetting a huge page
 * looks at the whole array.
 *
 * Page-walk caches. x86: INVLPG and INVPCID drop the current address space's walk-cache entries, whatever the address
 * (Intel SDM vol. 3 4.10.4.1). arm64 and riscv: only when tables were freed (Arm ARM D8.13, TLBI VALE1 against VAE1;
 * RISC-V SFENCE.VMA rules), then all of the address space.
 */
#include "machine/tlb.h"

#include "pt/pt.h"

enum { NR_ARRAYS = 7 };

static void mmu_arrays(struct mmu *u, struct tlb_array *list[NR_ARRAYS])
{
    list[0] = &u->l1d;
    list[1] = &u->l1i;
    list[2] = &u->l1d_huge[0];
    list[3] = &u->l1d_huge[1];
    list[4] = &u->l1i_2m;
    list[5] = &u->l2;
    list[6] = &u->l2_1g;
}

static u32 entry_shift(const struct mmu *u, const struct tlb_array *t, u64 e)
{
    return t == &u->l2 && (e & TLB_HUGE) ? u->huge_shift : t->page_shift;
}

/* Remove what has this ASID and lies in [start, end); end 0: all of it. */
static void flush_array(struct mmu *u, struct tlb_array *t, u32 asid, va_t start, va_t end)
{
    u64 want = (u64)asid << TLB_ASID_SHIFT;

    for (u32 set = 0; set < t->sets; set++)
        for (u32 pos = 0; pos < t->ways;) {
            u64 e = *tlb_slot(t, set, pos), first = e & PAGE_MASK;

            if (!e)
                break;
            if ((e & TLB_ASID_MASK) != want ||
                (end && (first >= end || first + (1ul << entry_shift(u, t, e)) <= start))) {
                pos++;
                continue;
            }
            tlb_remove_at(t, set, pos);
            u->count.entries_flushed++;
        }
}

static void flush_pwc(struct mmu *u, u32 asid)
{
    for (u32 i = 0; i < 3; i++) {
        struct pwc *p = &u->pwc[i];

        for (u32 n = 0; n < p->sets * p->ways; n++)
            if ((p->tag[n] & TLB_ASID_MASK) == (u64)asid << TLB_ASID_SHIFT)
                p->tag[n] = 0;
    }
}

void mmu_flush_asid(struct mmu *u, u32 asid)
{
    struct tlb_array *list[NR_ARRAYS];

    mmu_arrays(u, list);
    for (u32 i = 0; i < NR_ARRAYS; i++)
        flush_array(u, list[i], asid, 0, 0);
    flush_pwc(u, asid);
}

void mmu_flush_all(struct mmu *u)
{
    for (u32 asid = 1; asid <= u->nr_asids; asid++) {
        mmu_flush_asid(u, asid);
        u->slot[asid] = (struct asid_slot){0};
    }
    u->asid = TLB_ASID_NONE;
    u->tag = (u64)TLB_ASID_NONE << TLB_ASID_SHIFT;
}

/* One page of size 2^shift in one array, where it can be only in one set. */
static void flush_page(struct mmu *u, struct tlb_array *t, u64 more, va_t va, u32 shift)
{
    u32 set, pos;

    if (!t->sets)
        return;
    set = tlb_set(t, va, shift);
    pos = tlb_find(t, set, tlb_tag(va, shift, more), ~TLB_RIGHTS);
    if (pos < t->ways) {
        tlb_remove_at(t, set, pos);
        u->count.entries_flushed++;
    }
}

/* INVLPG: the entries of any size that translate va. */
static void flush_address(struct mmu *u, u32 asid, va_t va)
{
    u64 more = (u64)asid << TLB_ASID_SHIFT;

    flush_page(u, &u->l1d, more, va, PAGE_SHIFT);
    flush_page(u, &u->l1i, more, va, PAGE_SHIFT);
    flush_page(u, &u->l1d_huge[0], more, va, u->huge_shift);
    flush_page(u, &u->l1d_huge[1], more, va, 30);
    flush_page(u, &u->l1i_2m, more, va, u->huge_shift);
    flush_page(u, &u->l2, more, va, PAGE_SHIFT);
    flush_page(u, &u->l2, more | TLB_HUGE, va, u->huge_shift);
    flush_page(u, &u->l2_1g, more, va, 30);
}

void mmu_flush_range(struct mmu *u, u32 asid, va_t start, va_t end, u32 stride_shift, bool freed_tables)
{
    const struct pt_format *f = pt_format_of(u->cpu->m);
    struct tlb_array *list[NR_ARRAYS];

    if (stride_shift == PAGE_SHIFT) {
        for (va_t va = start; va < end; va += PAGE_SIZE)
            flush_address(u, asid, va);
    } else {
        mmu_arrays(u, list);
        for (u32 i = 0; i < NR_ARRAYS; i++)
            flush_array(u, list[i], asid, start, end);
    }
    if (freed_tables || (f->flags & PT_ACCESSED_IN_TABLES)) /* the latter: x86 */
        flush_pwc(u, asid);
}
