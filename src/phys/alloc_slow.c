/* SPDX-License-Identifier: MIT */
/*
 * The slow path of the page allocator: when no zone would give the pages at the low watermark.
 *
 *   wake kswapd, try at min ──► compact first (costly, or unmovable high order) ──► attempt ─┐
 *                                                                             ▲             │ RETRY
 *        attempt: wake kswapd, reserves if entitled, try                      └─────────────┤
 *                 reclaim, try · compact, try · worth another round?                        │
 *                 the OOM killer, try                                                       ▼ NOPAGE
 *                                                                     __GFP_NOFAIL: again; else the caller gets NULL
 *
 * Who may go below the watermarks, and how far (Documentation/core-api/memory-allocation.rst):
 *   __GFP_HIGH          half of min           ALLOC_MIN_RESERVE
 *   cannot reclaim too  three eighths more    ALLOC_NON_BLOCK   (not with __GFP_NOMEMALLOC)
 *   OOM victim          half of what is left  ALLOC_OOM
 *   PF_MEMALLOC, __GFP_MEMALLOC  everything   ALLOC_NO_WATERMARKS
 *
 * Reclaim, compaction and the OOM killer are src/reclaim's, through cpu->code->pressure; with pressure_none every
 * answer is "no progress" and the request fails after one round. A __GFP_NOFAIL request that nobody can help is an
 * assertion with the state of its zones: waiting would be for ever.
 */
#include "base/task.h"
#include "phys/phys_priv.h"

#define MAX_RECLAIM_RETRIES 16
#define MAX_COMPACT_RETRIES 16

/* pressure_none: functions are NULL; each caller reads that as "no progress". */
const struct pressure_ops pressure_none;

enum slow_result { SLOW_RETRY, SLOW_NOPAGE, SLOW_DONE };

struct slow_state {
    gfp_t gfp;
    unsigned int order;
    u32 alloc_flags;
    struct alloc_context *ac;
    u32 no_progress_loops;
    u32 compact_retries;
    bool oom_progress; /* the OOM killer freed or will free something */
    struct page *page;
};

u32 gfp_to_alloc_flags_cma(gfp_t gfp, u32 alloc_flags)
{
    return gfp_migratetype(gfp) == MIGRATE_MOVABLE ? alloc_flags | ALLOC_CMA : alloc_flags;
}

static u32 gfp_to_alloc_flags(gfp_t gfp, unsigned int order)
{
    u32 flags = ALLOC_WMARK_MIN | ALLOC_CPUSET;

    flags |= gfp & __GFP_HIGH ? ALLOC_MIN_RESERVE : 0;
    flags |= gfp & __GFP_KSWAPD_RECLAIM ? ALLOC_KSWAPD : 0;
    if (!(gfp & __GFP_DIRECT_RECLAIM)) {
        /* Cannot wait: may dig deeper, unless it says that failing is fine. */
        if (!(gfp & __GFP_NOMEMALLOC)) {
            flags |= ALLOC_NON_BLOCK;
            if (order > 0 && (flags & ALLOC_MIN_RESERVE))
                flags |= ALLOC_HIGHATOMIC;
        }
        if (flags & ALLOC_MIN_RESERVE)
            flags &= ~(u32)ALLOC_CPUSET;
    }
    return gfp_to_alloc_flags_cma(gfp, flags);
}

/* Entitled to ignore watermarks, as one that frees memory or is being killed. */
static u32 reserve_flags(const struct cpu *cpu, gfp_t gfp)
{
    const struct task *t = cpu->current;

    if (gfp & __GFP_NOMEMALLOC)
        return 0;
    if (gfp & __GFP_MEMALLOC)
        return ALLOC_NO_WATERMARKS;
    if (t && (t->flags & PF_MEMALLOC))
        return ALLOC_NO_WATERMARKS;
    return t && t->oom_victim ? ALLOC_OOM : 0;
}

static void wake_all_kswapds(struct cpu *cpu, const struct slow_state *s)
{
    const struct pressure_ops *ops = pressure_of(cpu);
    const struct pglist_data *last = NULL;
    struct alloc_context *ac = s->ac;
    struct zoneref *z;
    struct zone *zone;

    if (!ops->wake_kswapd || !(s->alloc_flags & ALLOC_KSWAPD))
        return;
    for_each_zone_zonelist_nodemask(zone, z, ac->zonelist, ac->highest_zoneidx, ac->nodemask)
    {
        if (managed_zone(zone) && zone->zone_pgdat != last) {
            ops->wake_kswapd(cpu, zone, s->gfp, s->order, ac->highest_zoneidx);
            last = zone->zone_pgdat;
        }
    }
}

static bool try_freelist(struct cpu *cpu, struct slow_state *s, u32 alloc_flags)
{
    s->page = get_page_from_freelist(cpu, s->gfp, s->order, alloc_flags, s->ac);
    return s->page != NULL;
}

static bool try_compact(struct cpu *cpu, struct slow_state *s, enum compact_result *result)
{
    const struct pressure_ops *ops = pressure_of(cpu);

    *result = COMPACT_SKIPPED;
    if (!s->order || !ops->direct_compact)
        return false;
    *result = ops->direct_compact(cpu, s->gfp, s->order, s->ac);
    return *result == COMPACT_SUCCESS && try_freelist(cpu, s, s->alloc_flags);
}

/* Reclaim, then try; what reclaim freed may lie on per-cpu
 * lists or in the highatomic reserve: those are emptied once. */
static bool try_reclaim(struct cpu *cpu, struct slow_state *s, u64 *progress)
{
    const struct pressure_ops *ops = pressure_of(cpu);

    cpu->event[ALLOCSTALL_DMA + s->ac->highest_zoneidx]++;
    if (cpu->current)
        cpu->current->flags |= PF_MEMALLOC;
    *progress = ops->direct_reclaim ? ops->direct_reclaim(cpu, s->gfp, s->order, s->ac) : 0;
    if (cpu->current)
        cpu->current->flags &= ~PF_MEMALLOC;
    if (*progress && try_freelist(cpu, s, s->alloc_flags))
        return true;
    /* Even without progress: other CPUs' lists and the reserve may be all that is left. */
    unreserve_highatomic_pageblock(cpu, s->ac, false);
    drain_all_pages(cpu);
    return try_freelist(cpu, s, s->alloc_flags);
}

/* Could the request succeed if all reclaimable pages were reclaimed? */
static bool should_reclaim_retry(struct cpu *cpu, struct slow_state *s, u64 progress)
{
    struct alloc_context *ac = s->ac;
    struct zoneref *z;
    struct zone *zone;

    if (progress && s->order <= PAGE_ALLOC_COSTLY_ORDER)
        s->no_progress_loops = 0;
    else
        s->no_progress_loops++;
    if (s->no_progress_loops > MAX_RECLAIM_RETRIES)
        return unreserve_highatomic_pageblock(cpu, ac, true);
    if (!pressure_of(cpu)->direct_reclaim)
        return false;
    for_each_zone_zonelist_nodemask(zone, z, ac->zonelist, ac->highest_zoneidx, ac->nodemask)
    {
        u64 available = zone_page_state(zone, NR_ZONE_INACTIVE_FILE) + zone_page_state(zone, NR_ZONE_ACTIVE_FILE) +
                        zone_page_state(zone, NR_FREE_PAGES);
        u64 min = wmark_pages(zone, WMARK_MIN);

        if (zone_watermark_ok_free(zone, s->order, min, ac->highest_zoneidx, s->alloc_flags, available))
            return true;
    }
    return false;
}

static bool should_compact_retry(struct slow_state *s, enum compact_result result, u64 progress)
{
    u32 max = s->order > PAGE_ALLOC_COSTLY_ORDER ? MAX_COMPACT_RETRIES / 4 : MAX_COMPACT_RETRIES;

    if (!s->order || !progress)
        return false;
    if (result == COMPACT_SKIPPED || result == COMPACT_DEFERRED)
        return false;
    return ++s->compact_retries <= max;
}

static bool try_oom(struct cpu *cpu, struct slow_state *s)
{
    const struct pressure_ops *ops = pressure_of(cpu);
    gfp_t gfp = s->gfp;

    s->oom_progress = false;
    /* Somebody else may have killed just now: only a look at the high watermark, so that a kill is not wasted. */
    if (try_freelist(cpu, s, (s->alloc_flags & ALLOC_CMA) | ALLOC_WMARK_HIGH | ALLOC_CPUSET))
        return true;
    if (s->order > PAGE_ALLOC_COSTLY_ORDER || (gfp & (__GFP_RETRY_MAYFAIL | __GFP_THISNODE)) ||
        s->ac->highest_zoneidx < ZONE_NORMAL || !ops->out_of_memory)
        return false;
    s->oom_progress = ops->out_of_memory(cpu, gfp, s->order, s->ac);
    if (!(gfp & __GFP_NOFAIL))
        return false;
    return try_freelist(cpu, s, ALLOC_NO_WATERMARKS | ALLOC_CPUSET);
}

/* One round: see the picture on top. */
static enum slow_result slow_attempt(struct cpu *cpu, struct slow_state *s)
{
    u32 reserve = reserve_flags(cpu, s->gfp);
    bool costly = s->order > PAGE_ALLOC_COSTLY_ORDER;
    enum compact_result compact;
    u64 progress;

    wake_all_kswapds(cpu, s);
    if (reserve)
        s->alloc_flags = gfp_to_alloc_flags_cma(s->gfp, reserve) | (s->alloc_flags & ALLOC_KSWAPD);
    if (reserve || !(s->alloc_flags & ALLOC_CPUSET)) { /* the policy's nodes no longer matter */
        s->ac->nodemask = NULL;
        s->ac->preferred_zoneref = first_zones_zonelist(s->ac->zonelist, s->ac->highest_zoneidx, NULL);
    }
    if (try_freelist(cpu, s, s->alloc_flags))
        return SLOW_DONE;
    if (!(s->gfp & __GFP_DIRECT_RECLAIM) || (cpu->current && (cpu->current->flags & PF_MEMALLOC)))
        return SLOW_NOPAGE;
    if (try_reclaim(cpu, s, &progress) || try_compact(cpu, s, &compact))
        return SLOW_DONE;
    if (s->gfp & __GFP_NORETRY)
        return SLOW_NOPAGE;
    if (costly && !(s->gfp & __GFP_RETRY_MAYFAIL))
        return SLOW_NOPAGE;
    if (should_reclaim_retry(cpu, s, progress) || should_compact_retry(s, compact, progress))
        return SLOW_RETRY;
    if (try_oom(cpu, s))
        return SLOW_DONE;
    if (cpu->current && cpu->current->oom_victim && ((s->alloc_flags & ALLOC_OOM) || (s->gfp & __GFP_NOMEMALLOC)))
        return SLOW_NOPAGE;
    if (!s->oom_progress)
        return SLOW_NOPAGE;
    s->no_progress_loops = 0;
    return SLOW_RETRY;
}

/* Before reclaiming for a large block: perhaps free pages only lie badly. */
static enum slow_result compact_first(struct cpu *cpu, struct slow_state *s)
{
    bool costly = s->order > PAGE_ALLOC_COSTLY_ORDER;
    enum compact_result result;

    if (!(s->gfp & __GFP_DIRECT_RECLAIM) || !(costly || (s->order && s->ac->migratetype != MIGRATE_MOVABLE)) ||
        reserve_flags(cpu, s->gfp))
        return SLOW_RETRY;
    if (try_compact(cpu, s, &result))
        return SLOW_DONE;
    if (costly && (s->gfp & __GFP_NORETRY) && (result == COMPACT_SKIPPED || result == COMPACT_DEFERRED))
        return SLOW_NOPAGE;
    return SLOW_RETRY;
}

__cold static _Noreturn void nofail_is_stuck(struct cpu *cpu, const struct slow_state *s)
{
    struct check_report r = {0};
    struct zoneref *z;
    struct zone *zone;

    for_each_zone_zonelist_nodemask(zone, z, s->ac->zonelist, s->ac->highest_zoneidx, NULL)
    {
        check_fail(&r, "__GFP_NOFAIL order %u gfp %x: node %d zone %s: free %llu of %llu, min %llu", s->order, s->gfp,
                   zone->node, zone_name((enum zone_type)zone->zone_idx),
                   (unsigned long long)zone_page_state(zone, NR_FREE_PAGES), (unsigned long long)zone->managed_pages,
                   (unsigned long long)wmark_pages(zone, WMARK_MIN));
        if (r.nr <= CHECK_KEPT)
            port_log(PORT_LOG_ERR, r.text[r.nr - 1]);
    }
    port_assert_fail("a __GFP_NOFAIL request makes progress", __FILE__, __LINE__, __func__);
}

/* Must not fail: half of the reserve too, and ask again. */
static enum slow_result nofail_attempt(struct cpu *cpu, struct slow_state *s, u32 round)
{
    ASSERT(s->gfp & __GFP_DIRECT_RECLAIM);
    if (try_freelist(cpu, s, ALLOC_MIN_RESERVE) || try_freelist(cpu, s, ALLOC_NO_WATERMARKS))
        return SLOW_DONE;
    if (round > MAX_RECLAIM_RETRIES)
        nofail_is_stuck(cpu, s);
    port_yield();
    return SLOW_RETRY;
}

__cold static struct page *alloc_failed(struct cpu *cpu, const struct slow_state *s)
{
    struct check_report r = {0};

    if (s->gfp & __GFP_NOWARN)
        return NULL;
    check_fail(&r, "%s: page allocation failure: machine %s order %u gfp %x node %d",
               cpu->current ? cpu->current->comm : "-", cpu->m->config.name, s->order, s->gfp,
               s->ac->preferred_zoneref->zone ? s->ac->preferred_zoneref->zone->node : -1);
    port_log(PORT_LOG_WARN, r.text[0]);
    return NULL;
}

__noinline struct page *alloc_pages_slowpath(struct cpu *cpu, gfp_t gfp, unsigned int order, struct alloc_context *ac)
{
    struct slow_state s = {.gfp = gfp, .order = order, .alloc_flags = gfp_to_alloc_flags(gfp, order), .ac = ac};
    enum slow_result result;
    u32 nofail_round = 0;

    wake_all_kswapds(cpu, &s);
    if (try_freelist(cpu, &s, s.alloc_flags))
        return s.page;
    result = compact_first(cpu, &s);
    while (result == SLOW_RETRY) {
        result = slow_attempt(cpu, &s);
        if (result == SLOW_NOPAGE && (gfp & __GFP_NOFAIL))
            result = nofail_attempt(cpu, &s, ++nofail_round);
    }
    return result == SLOW_DONE ? s.page : alloc_failed(cpu, &s);
}
