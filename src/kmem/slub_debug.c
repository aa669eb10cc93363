/* SPDX-License-Identifier: MIT */
/*
 * Caches with debug flags: every allocation and free goes this way, under the node's list_lock,
 * and looks at the object.
 *
 *   flag                        what is done                                              what is found
 *   F SLAB_CONSISTENCY_CHECKS   the slab's free list is walked at each alloc and free     double free, broken list,
 *                                                                                         bad pointer
 *   Z SLAB_RED_ZONE             bytes around the object: 0xbb while free, 0xcc in use     writes past either end,
 *                                                                                         double free
 *   P SLAB_POISON               a free object is 0x6b.., last byte 0xa5; padding is 0x5a  writes after free,
 *                                                                                         writes to padding
 *   U SLAB_STORE_USER           caller, CPU, pid and time of the last alloc and free      who to ask
 *
 * Byte values and letters are those of Documentation/mm/slab.rst. With a constructor the object's own bytes are not
 * poisoned: they mean something while it is free. A slab is on the partial or, when all its objects are in use, the
 * full list; never frozen.
 *
 * A report names cache, object, what is wrong and the tracks. Then it ends in an assertion, or (SLAB_BUG_KEEP) is kept
 * in kmem->report, and the damage is repaired: overwritten bytes are restored, a wrong free is ignored, a broken list
 * is cut off with its objects counted as in use.
 */
#include "base/format.h"
#include "base/task.h"
#include "kmem/slub_priv.h"

#define SLUB_RED_INACTIVE 0xbb
#define SLUB_RED_ACTIVE 0xcc
#define POISON_INUSE 0x5a
#define POISON_FREE 0x6b
#define POISON_END 0xa5

enum object_state { OBJECT_FREE, OBJECT_IN_USE };

/* -- layout -------------------------------------------------------------------------------------------------------- */

/* Bytes behind the free pointer; a red zone has a word of padding more,
 * so that a neighbour's underflow meets that first. */
u32 debug_metadata_size(const struct kmem_cache *s)
{
    u32 size = s->flags & SLAB_STORE_USER ? NR_TRACKS * sizeof(struct slab_track_entry) : 0;

    return size + (s->flags & SLAB_RED_ZONE ? (u32)sizeof(void *) : 0);
}

static bool freeptr_outside(const struct kmem_cache *s)
{
    return s->offset >= s->inuse;
}

static struct slab_track_entry *get_track(const struct kmem_cache *s, const void *object, enum slab_track which)
{
    u32 at = s->inuse + (freeptr_outside(s) ? (u32)sizeof(void *) : 0);

    return (struct slab_track_entry *)((char *)(uintptr_t)object + at) + which;
}

static bool object_poison(const struct kmem_cache *s)
{
    return s->flags & SLAB_POISON && !s->ctor;
}

/* -- reports ------------------------------------------------------------------------------------------------------- */

static bool valid_pointer(const struct machine *m, const struct kmem_cache *s, const struct page *slab, const void *p)
{
    u64 off = (u64)((const char *)p - slab_base(m, s, slab));

    return off < (u64)slab_word_read(slab).objects * s->size && off % s->size == 0;
}

static int print_track(char *buf, size_t size, const char *what, const struct slab_track_entry *t)
{
    if (!t->addr)
        return 0;
    return quire_scnprintf(buf, size, "; %s by pid %d on cpu %u at 0x%llx, %llu ns", what, t->pid, t->cpu,
                           (unsigned long long)t->addr, (unsigned long long)t->when);
}

static void print_report(struct machine *m, struct kmem_cache *s, const void *object, const char *what)
{
    struct page *slab = virt_to_slab(m, object);
    char *buf = m->kmem->report;
    size_t size = SLAB_REPORT_LEN;
    int n = quire_scnprintf(buf, size, "BUG %s: object %p: %s", s->name, object, what);

    if (!PageSlab(slab)) {
        quire_scnprintf(buf + n, size - (size_t)n, "; page 0x%llx is of no slab",
                        (unsigned long long)page_to_pfn_nr(m, slab));
        return;
    }
    if (slab->slab_cache != s)
        n += quire_scnprintf(buf + n, size - (size_t)n, "; its cache is %s", slab->slab_cache->name);
    s = slab->slab_cache;
    n += quire_scnprintf(buf + n, size - (size_t)n, "; slab 0x%llx, %u of %u objects in use",
                         (unsigned long long)page_to_pfn_nr(m, slab), slab_word_read(slab).inuse,
                         slab_word_read(slab).objects);
    if (s->flags & SLAB_STORE_USER && valid_pointer(m, s, slab, object)) {
        n += print_track(buf + n, size - (size_t)n, "allocated", get_track(s, object, TRACK_ALLOC));
        print_track(buf + n, size - (size_t)n, "freed", get_track(s, object, TRACK_FREE));
    }
}

void slab_bug(struct cpu *cpu, struct kmem_cache *s, const void *object, const char *what)
{
    struct kmem *k = cpu->m->kmem;

    print_report(cpu->m, s, object, what);
    atomic_fetch_add(&k->bugs, 1);
    if (k->bug_action == SLAB_BUG_KEEP)
        return;
    port_log(PORT_LOG_ERR, k->report);
    ASSERT(!"slab object corrupted or misused: see the report above");
}

/* -- bytes --------------------------------------------------------------------------------------------------------- */

static void init_object(const struct kmem_cache *s, char *p, enum object_state state)
{
    int red = state == OBJECT_IN_USE ? SLUB_RED_ACTIVE : SLUB_RED_INACTIVE;

    if (s->flags & SLAB_RED_ZONE) {
        memset(p - s->red_left_pad, red, s->red_left_pad);
        memset(p + s->object_size, red, s->inuse - s->object_size);
    }
    if (object_poison(s)) {
        memset(p, POISON_FREE, s->object_size - 1);
        p[s->object_size - 1] = (char)POISON_END;
    }
}

static void set_track(struct cpu *cpu, const struct kmem_cache *s, void *object, enum slab_track which, u64 addr)
{
    if (!(s->flags & SLAB_STORE_USER))
        return;
    *get_track(s, object, which) = (struct slab_track_entry){
        .addr = addr,
        .cpu = cpu->id,
        .pid = cpu->current ? cpu->current->pid : -1,
        .when = cpu->clock_ps / 1000,
    };
}

/* Padding, red zones and poison of a new slab; the free list and constructors are the caller's. */
void debug_setup_slab(struct machine *m, struct kmem_cache *s, struct page *slab, u32 objects)
{
    char *p = slab_base(m, s, slab);

    if (s->flags & SLAB_POISON)
        memset(page_address(m, slab), POISON_INUSE, PAGE_SIZE << folio_order((struct folio *)slab));
    for (u32 i = 0; i < objects; i++, p += s->size) {
        init_object(s, p, OBJECT_FREE);
        if (s->flags & SLAB_STORE_USER)
            memset(get_track(s, p, TRACK_ALLOC), 0, NR_TRACKS * sizeof(struct slab_track_entry));
    }
}

struct byte_range {
    char *at;
    u64 len;
    u8 value; /* that all of them should have */
};

/* Whether they have it; else reports the first byte that has not, and restores the range. */
static bool check_bytes(struct cpu *cpu, struct kmem_cache *s, const void *object, const char *what,
                        struct byte_range b)
{
    char text[128];
    u64 i = 0;

    while (i < b.len && (u8)b.at[i] == b.value)
        i++;
    if (likely(i == b.len))
        return true;
    quire_snprintf(text, sizeof(text), "%s overwritten at offset %lld: 0x%02x instead of 0x%02x", what,
                   (long long)(b.at + i - (const char *)object), (u8)b.at[i], b.value);
    slab_bug(cpu, s, object, text);
    memset(b.at, b.value, b.len);
    return false;
}

static bool check_red_zones(struct cpu *cpu, struct kmem_cache *s, char *p, enum object_state state)
{
    u8 red = state == OBJECT_IN_USE ? SLUB_RED_ACTIVE : SLUB_RED_INACTIVE;
    struct byte_range left = {p - s->red_left_pad, s->red_left_pad, red};
    struct byte_range right = {p + s->object_size, s->inuse - s->object_size, red};

    return check_bytes(cpu, s, p, "left red zone", left) && check_bytes(cpu, s, p, "right red zone", right);
}

static bool check_poison(struct cpu *cpu, struct kmem_cache *s, char *p)
{
    struct byte_range all_but_last = {p, s->object_size - 1, POISON_FREE};
    struct byte_range last = {p + s->object_size - 1, 1, POISON_END};

    return check_bytes(cpu, s, p, "poison of a free object", all_but_last) &&
           check_bytes(cpu, s, p, "poison of a free object", last);
}

static bool check_padding(struct cpu *cpu, struct kmem_cache *s, char *p)
{
    u32 info_end = s->inuse + (freeptr_outside(s) ? (u32)sizeof(void *) : 0) +
                   (s->flags & SLAB_STORE_USER ? NR_TRACKS * (u32)sizeof(struct slab_track_entry) : 0);
    struct byte_range padding = {p + info_end, s->size - s->red_left_pad - info_end, POISON_INUSE};

    return check_bytes(cpu, s, p, "padding", padding);
}

/* Bytes of an object that should not have changed. */
static void check_object(struct cpu *cpu, struct kmem_cache *s, char *p, enum object_state state)
{
    if (s->flags & SLAB_RED_ZONE)
        check_red_zones(cpu, s, p, state);
    if (object_poison(s) && state == OBJECT_FREE)
        check_poison(cpu, s, p);
    if (s->flags & SLAB_POISON)
        check_padding(cpu, s, p);
}

/* What no object uses at the end of the slab. */
static void check_slab_rest(struct cpu *cpu, struct kmem_cache *s, struct page *slab)
{
    char *base = page_address(cpu->m, slab);
    u64 used = (u64)slab_word_read(slab).objects * s->size, bytes = PAGE_SIZE << folio_order((struct folio *)slab);
    struct byte_range rest = {base + used, bytes - used, POISON_INUSE};

    if (s->flags & SLAB_POISON)
        check_bytes(cpu, s, base + s->red_left_pad, "rest of the slab", rest);
}

/* -- allocating ---------------------------------------------------------------------------------------------------- */

/* The broken rest of the list is lost: its objects count as in use from now on. */
static void cut_freelist(struct page *slab)
{
    slab_word_t w = slab_word_read(slab);

    w.free = 0;
    w.inuse = w.objects;
    atomic_store_explicit(&slab->slab_word, w.value, memory_order_relaxed);
}

static bool check_freelist(struct cpu *cpu, struct kmem_cache *s, struct page *slab)
{
    struct free_walk walk = {.nr = 0};
    slab_word_t w = slab_word_read(slab);

    if (!(s->flags & SLAB_CONSISTENCY_CHECKS))
        return true;
    walk_freelist(cpu->m, s, slab, slab_link_object(cpu->m, s, slab, w.free), &walk);
    if (!walk.what && walk.nr + w.inuse == w.objects)
        return true;
    slab_bug(cpu, s, walk.bad ? walk.bad : slab_base(cpu->m, s, slab),
             walk.what ? walk.what : "free list and inuse do not add up to the number of objects");
    cut_freelist(slab);
    return false;
}

/* First object of a slab on the partial list, list_lock held; NULL: its list was broken and is cut. */
static void *debug_take(struct cpu *cpu, struct kmem_cache *s, struct kmem_cache_node *n, struct page *slab)
    MUST_HOLD(n->list_lock)
{
    slab_word_t w;
    void *object = NULL;

    if (check_freelist(cpu, s, slab)) {
        w = slab_word_read(slab);
        object = slab_link_object(cpu->m, s, slab, w.free);
        w.free = slab_object_link(cpu->m, s, slab, *slab_freeptr(s, object));
        w.inuse++;
        atomic_store_explicit(&slab->slab_word, w.value, memory_order_relaxed);
    }
    if (!slab_word_read(slab).free) {
        remove_partial(n, slab);
        list_add(&slab->slab_list, &n->full);
    }
    return object;
}

static void *debug_take_from(struct cpu *cpu, struct kmem_cache *s, struct kmem_cache_node *n)
{
    void *object = NULL;

    spin_lock(cpu, &n->list_lock);
    while (!object && !list_empty(&n->partial))
        object = debug_take(cpu, s, n, list_first_entry(&n->partial, struct page, slab_list));
    spin_unlock(cpu, &n->list_lock);
    return object;
}

static void *debug_take_any(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid)
{
    const struct kmem *k = cpu->m->kmem;
    u32 home = (u32)(nid == SLAB_ANY_NODE ? cpu->node : nid);
    void *object = debug_take_from(cpu, s, s->node[home]);
    struct kmem_cache_node *n;
    struct page *slab;

    for (u32 i = 0; !object && nid == SLAB_ANY_NODE && !(gfp & __GFP_THISNODE) && i + 1 < k->nr_nodes; i++) {
        n = s->node[k->node_order[home][i]];
        if (nr_partial(n) > s->min_partial)
            object = debug_take_from(cpu, s, n);
    }
    if (object)
        return object;
    slab = allocate_slab(cpu, s, gfp, nid);
    if (!slab)
        return NULL;
    this_cpu_slab(cpu, s)->stat[ALLOC_SLAB]++;
    n = slab_node(s, slab);
    spin_lock(cpu, &n->list_lock);
    add_partial(n, slab);
    object = debug_take(cpu, s, n, slab);
    spin_unlock(cpu, &n->list_lock);
    return object;
}

void *debug_alloc(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid, u64 addr)
{
    void *object = debug_take_any(cpu, s, gfp, nid);

    if (!object)
        return NULL;
    check_object(cpu, s, object, OBJECT_FREE);
    init_object(s, object, OBJECT_IN_USE);
    set_track(cpu, s, object, TRACK_ALLOC, addr);
    return object;
}

/* -- freeing ------------------------------------------------------------------------------------------------------- */

/* Whether the object may be freed; list_lock held. */
static bool free_is_sane(struct cpu *cpu, struct kmem_cache *s, struct page *slab, void *object)
{
    struct free_walk walk = {.nr = 0};

    if (!valid_pointer(cpu->m, s, slab, object)) {
        slab_bug(cpu, s, object, "freed pointer is not the start of an object");
        return false;
    }
    if (s->flags & SLAB_CONSISTENCY_CHECKS) {
        walk_freelist(cpu->m, s, slab, slab_link_object(cpu->m, s, slab, slab_word_read(slab).free), &walk);
        if (free_walk_has(&walk, slab_object_link(cpu->m, s, slab, object))) {
            slab_bug(cpu, s, object, "object already free");
            return false;
        }
    }
    if (s->flags & SLAB_RED_ZONE && (u8)((char *)object)[-1] == SLUB_RED_INACTIVE &&
        (u8)((char *)object)[s->object_size] == SLUB_RED_INACTIVE) {
        slab_bug(cpu, s, object, "object already free (inactive red zones)");
        return false;
    }
    check_object(cpu, s, object, OBJECT_IN_USE);
    return true;
}

void debug_free(struct cpu *cpu, struct kmem_cache *s, struct page *slab, void *object, u64 addr)
{
    struct kmem_cache_node *n = slab_node(s, slab);
    slab_word_t old, new;
    bool discard;

    spin_lock(cpu, &n->list_lock);
    if (!free_is_sane(cpu, s, slab, object)) {
        spin_unlock(cpu, &n->list_lock);
        return;
    }
    init_object(s, object, OBJECT_FREE);
    set_track(cpu, s, object, TRACK_FREE, addr);
    old = slab_word_read(slab);
    new = old;
    *slab_freeptr(s, object) = slab_link_object(cpu->m, s, slab, old.free);
    new.free = slab_object_link(cpu->m, s, slab, object);
    new.inuse--;
    atomic_store_explicit(&slab->slab_word, new.value, memory_order_relaxed);
    if (!old.free) {
        list_del(&slab->slab_list);
        add_partial(n, slab);
    }
    discard = !new.inuse &&nr_partial(n) > s->min_partial;
    if (discard)
        remove_partial(n, slab);
    spin_unlock(cpu, &n->list_lock);
    if (discard)
        discard_slab(cpu, s, slab);
}

/* -- validating ---------------------------------------------------------------------------------------------------- */

u32 debug_validate_slab(struct cpu *cpu, struct kmem_cache *s, struct page *slab)
{
    u32 before = atomic_load(&cpu->m->kmem->bugs);
    struct free_walk walk = {.nr = 0};
    slab_word_t w = slab_word_read(slab);

    walk_freelist(cpu->m, s, slab, slab_link_object(cpu->m, s, slab, w.free), &walk);
    if (walk.what)
        slab_bug(cpu, s, walk.bad, walk.what);
    for (u16 link = 1; link <= w.objects && !walk.what; link++)
        check_object(cpu, s, slab_link_object(cpu->m, s, slab, link),
                     free_walk_has(&walk, link) ? OBJECT_FREE : OBJECT_IN_USE);
    check_slab_rest(cpu, s, slab);
    return atomic_load(&cpu->m->kmem->bugs) - before;
}

u32 kmem_cache_validate(struct cpu *cpu, struct kmem_cache *s)
{
    u32 before = atomic_load(&cpu->m->kmem->bugs);

    for (u32 nid = 0; nid < cpu->m->kmem->nr_nodes; nid++) {
        struct kmem_cache_node *n = s->node[nid];
        struct page *slab;

        spin_lock(cpu, &n->list_lock);
        list_for_each_entry (slab, &n->partial, slab_list)
            debug_validate_slab(cpu, s, slab);
        list_for_each_entry (slab, &n->full, slab_list)
            debug_validate_slab(cpu, s, slab);
        spin_unlock(cpu, &n->list_lock);
    }
    return atomic_load(&cpu->m->kmem->bugs) - before;
}
