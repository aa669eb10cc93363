/* SPDX-License-Identifier: MIT */
/*
 * Words of an ACCESS event: nearly all are decided by the first way of their first-level set, as in the plugin. A slot's
 * page is kept as an address.
 */
#include "replay_priv.h"

void replay_words_reset(struct replay_thread *t)
{
    t->stale = 0;
    t->prev = ACCESS_FETCH_WORD;
    t->last[0] = t->last[1] = 0;
    t->defined = 0;
    for (u32 i = 0; i < ACCESS_SLOTS; i++)
        t->va[i] = ~0ul & PAGE_MASK;
}

/* Not decided by the first way of machine i. True: it went the slow way. */
static bool access_machine(struct vcpu *v, u32 i, va_t va, enum mmu_access_kind kind)
{
    if (!v->cpu[i] || mmu_hit(v->mmu[i], va, kind) || mmu_tlb_hit(v->mmu[i], va, kind))
        return false;
    vcpu_access_slow(v, i, va, 1, kind);
    return true;
}

static __noinline void access_all(struct replay_thread *t, va_t va, enum mmu_access_kind kind)
{
    bool slow = false;

    for (u32 i = 0; i < process.nr_machines; i++)
        slow |= access_machine(t->v, i, va, kind);
    if (slow)
        t->stale |= kind == MMU_EXEC ? STALE_DATA : STALE_CODE;
}

static void redo_code(struct replay_thread *t)
{
    if (!(t->stale & STALE_CODE))
        return;
    t->stale &= ~(u32)STALE_CODE;
    access_all(t, t->last[1], MMU_EXEC);
}

static void redo_data(struct replay_thread *t)
{
    if (!(t->stale & STALE_DATA))
        return;
    t->stale &= ~(u32)STALE_DATA;
    access_all(t, t->last[0] & PAGE_MASK, t->last[0] & 1 ? MMU_WRITE : MMU_READ);
}

/* What was left out before word w is done after all: a machine was in its kernel. */
static __noinline void redo(struct replay_thread *t, u32 w)
{
    u32 marks = w >> 2 & 3;
    bool after_fetch = (t->prev & 3) == ACCESS_FETCH_WORD;

    if (marks >= 1)
        after_fetch ? redo_data(t) : redo_code(t);
    if (marks >= 2)
        after_fetch ? redo_code(t) : redo_data(t);
    t->stale &= (w & 3) == ACCESS_FETCH_WORD ? ~(u32)STALE_CODE : ~(u32)STALE_DATA;
}

static inline u32 load_word(const u8 *p)
{
    u16 w;

    __builtin_memcpy(&w, p, 2);
    return w;
}

static const u8 *define(struct replay_thread *t, u32 w, const u8 *p, const u8 *end)
{
    u64 z = 0;

    if (end - p < 6)
        return NULL;
    for (u32 i = 0; i < 3; i++)
        z |= (u64)load_word(p + 2 * i) << 16 * i;
    t->defined += access_unzigzag(z);
    t->va[w >> ACCESS_SLOT_SHIFT] = t->defined << PAGE_SHIFT;
    return p + 6;
}

/* The first-level TLBs of a machine's CPU, as long as the thread stays on it. */
struct tlb_view {
    u64 tag;             /* ASID in place */
    const char *near[2]; /* data, code */
    u64 mask[2];
};

static void set_views(const struct vcpu *v, struct tlb_view *view)
{
    static const u64 never_hits[8];

    for (u32 i = 0; i < process.nr_machines; i++) {
        const struct mmu *u = v->mmu[i];

        if (v->cpu[i])
            view[i] = (struct tlb_view){
                u->tag, {(const char *)u->l1d.near, (const char *)u->l1i.near}, {u->l1d.near_mask, u->l1i.near_mask}};
        else
            view[i] = (struct tlb_view){0, {(const char *)never_hits, (const char *)never_hits}, {0, 0}};
    }
}

/* Machine i's first way differs. */
static inline bool first_way_differs(const struct tlb_view *view, u32 kind, va_t va)
{
    const char *set = view->near[kind >> 1] + (va >> (PAGE_SHIFT - 6) & view->mask[kind >> 1]);
    u64 store = kind & 1, word = *(const u64 *)(const void *)set;

    return (word ^ (va | view->tag | store)) & (~TLB_W | store);
}

/* `nr` is a constant where it is 1. */
static inline bool words(struct replay_thread *t, const u8 *p, const u8 *end, u32 nr)
{
    struct tlb_view view[SESSION_MACHINES];

    set_views(t->v, view);
    while (p != end) {
        u32 w = load_word(p), kind = w & 3;
        bool differs = false;
        va_t va;

        p += 2;
        if (unlikely(kind == ACCESS_DEFINE_WORD)) {
            p = define(t, w, p, end);
            if (!p)
                return false;
            continue;
        }
        if (unlikely(t->stale)) {
            redo(t, w);
            set_views(t->v, view);
        }
        va = t->va[w >> ACCESS_SLOT_SHIFT];
        t->last[kind >> 1] = va | (kind & 1);
        t->prev = w;
        for (u32 i = 0; i < nr; i++)
            differs |= first_way_differs(&view[i], kind, va);
        if (unlikely(differs)) {
            access_all(t, va, (enum mmu_access_kind)kind);
            if (t->stale)
                set_views(t->v, view);
        }
    }
    return true;
}

bool replay_words(struct replay_thread *t, const u8 *p, const u8 *end)
{
    if ((end - p) & 1)
        return false;
    return process.nr_machines == 1 ? words(t, p, end, 1) : words(t, p, end, process.nr_machines);
}
