/* SPDX-License-Identifier: MIT */
/*
 * Accesses and blocks that the recent pages do not decide (recent.h): each machine's TLBs are asked, then its memory
 * manager.
 *
 * This file is compiled twice: for any host CPU, and with AVX2, which looks at a set's ways at once (machine/tlb.h).
 * plugin.c takes the one that the host can run.
 */
#include "access.h"

#include "machine/tlb_hit.h"

#ifdef __AVX2__
#define access_miss access_miss_avx2
#define block_miss block_miss_avx2
#endif

/* The latest of its set in every machine, with what all of them allow; NOT_RECENT: not in all. */
static inline u64 common_front(const struct vcpu *v, va_t page, enum mmu_access_kind kind)
{
    u64 differs = 0, dirty = TLB_W;

    for (u32 i = 0; i < process.nr_machines; i++) {
        const struct mmu *u = v->mmu[i];
        u64 e;

        if (!v->cpu[i])
            continue;
        e = *tlb_near_set(kind == MMU_EXEC ? &u->l1i : &u->l1d, page);
        differs |= (e ^ (page | u->tag)) & ~TLB_W;
        dirty &= e;
    }
    return differs ? NOT_RECENT : page | (kind == MMU_EXEC ? 0 : dirty);
}

/* The page was touched in every machine: R1 and R2 hold again. Its class was written back before. */
static inline void recent_touched(struct vcpu *v, struct recent *r, u64 n, va_t page, enum mmu_access_kind kind)
{
    u64 front = common_front(v, page, kind);
    u32 pos = 0;

    if (unlikely(front == NOT_RECENT)) {
        recent_clear(r, n);
        return;
    }
    while (pos < process.recent_ways - 1 && (r->page[pos][n] ^ page) & ~TLB_W)
        pos++;
    for (; pos > 0; pos--)
        r->page[pos][n] = r->page[pos - 1][n];
    r->page[0][n] = front;
}

static __noinline void access_crossing(struct vcpu_hot *h, va_t va, u32 size, enum mmu_access_kind kind)
{
    va_t page = va & PAGE_MASK, next = page + PAGE_SIZE;
    struct vcpu *v = h->vcpu;

    recent_write_back(v, &h->data, data_class(page), kind);
    recent_write_back(v, &h->data, data_class(next), kind);
    for (u32 i = 0; i < process.nr_machines; i++)
        vcpu_access_slow(v, i, va, size, kind);
    recent_touched(v, &h->data, data_class(page), page, kind);
    recent_touched(v, &h->data, data_class(next), next, kind);
}

void access_miss(struct vcpu_hot *h, qemu_plugin_meminfo_t info, va_t va)
{
    enum mmu_access_kind kind = info_kind(info);
    struct vcpu *v = h->vcpu;
    u32 size = info_size(info);
    u64 n = data_class(va);

    if (unlikely(crosses_page(va, size))) {
        access_crossing(h, va, size, kind);
        return;
    }
    if (h->data.dirty[n])
        recent_write_back(v, &h->data, n, kind);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i] && unlikely(!tlb_hit(v->mmu[i], va, kind)))
            vcpu_access_slow(v, i, va, size, kind);
    recent_touched(v, &h->data, n, va & PAGE_MASK, kind);
}

static inline void fetch(struct vcpu_hot *h, va_t page)
{
    struct vcpu *v = h->vcpu;
    u64 n = code_class(page);

    if (h->code.page[0][n] == page || recent_hit(&h->code, n, page, ~0ul))
        return;
    recent_write_back(v, &h->code, n, MMU_EXEC);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i] && unlikely(!tlb_hit(v->mmu[i], page, MMU_EXEC)))
            vcpu_access_slow(v, i, page, 1, MMU_EXEC);
    recent_touched(v, &h->code, n, page, MMU_EXEC);
}

void block_miss(struct vcpu_hot *h, u64 block)
{
    struct vcpu *v = h->vcpu;
    va_t page = block & PAGE_MASK;

    if (unlikely(v->state != VCPU_USER)) {
        if (v->state == VCPU_NONE)
            return;
        if (v->state == VCPU_RETURNING)
            thread_goes_on(v);
        else
            thread_first_block(v);
        if (!process.loaded)
            image_load(v, page);
    }
    if (!process.recording) /* which has done so */
        vcpu_poll(v);
    fetch(h, page);
    if (block & BLOCK_CROSSES)
        fetch(h, page + PAGE_SIZE);
}
