/* SPDX-License-Identifier: MIT */
/*
 * Merging of VMAs: the list stays as short as if ranges with the same properties had always been mapped as one.
 *
 * A new range N between P and X, or a part M of an existing VMA that takes on new properties:
 *
 *      new range                               part of an existing VMA
 *   PPPP NNNN XXXX  ─▶ PPPPPPPPPPPP   both     PPPP MMMM XXXX ─▶ PPPPPPPPPPPP   both: M and X go
 *   PPPP NNNN xxxx  ─▶ PPPPPPPP xxxx  left     PPPP MMMM xxxx ─▶ PPPPPPPP xxxx  left, whole: M goes
 *   pppp NNNN XXXX  ─▶ pppp XXXXXXXX  right    PPPP MMmmmm    ─▶ PPPPPP mmmm    left, part: the boundary moves
 *   pppp NNNN xxxx  ─▶ the caller links N      pppp MMMM XXXX ─▶ pppp XXXXXXXX  right, whole: M goes
 *                                              mmmmMM XXXX    ─▶ mmmm XXXXXX    right, part: the boundary moves
 *                                              mmmmMMmmmm     ─▶ mmmm MM mmmm   cut out (vma_modify)
 *
 * Two can be one when flags (but VM_STICKY), file, offset, ops and name agree, none is special (VM_SPECIAL), and the
 * anon_vmas are compatible:
 *   the same;
 *   or one VMA has none yet, and the other has one only (list_is_singular): it was not inherited by a fork. A VMA with
 *   inherited anon_vmas must not grow, or more and more pages would have to be looked for in the parent's anon_vma.
 * A VMA that would vanish must have no ops->close, unless the call that merges has made it.
 *
 * Failure   A merge may need chain entries (the VMA that stays takes over the anon_vma). Without memory nothing is
 *           changed; a new range is then mapped as its own VMA, a modification fails.
 * Follows the pictures and rules described in Documentation/mm/process_addrs.rst and the observed
 * behaviour of 6.18 (tests/oracle).
 */
#include "vm/vma_priv.h"

#include "base/errno.h"
#include "vm/rmap.h"

static bool names_equal(const char *a, const char *b)
{
    if (a == b)
        return true;
    if (!a || !b)
        return false;
    for (; *a && *a == *b; a++, b++)
        ;
    return *a == *b;
}

static bool is_mergeable_vma(const struct vma_merge *g, const struct vm_area_struct *vma)
{
    return !((vma->vm_flags ^ g->vm_flags) & ~VM_STICKY) && vma->vm_file == g->file && vma->vm_ops == g->vm_ops &&
           names_equal(vma->anon_name, g->anon_name);
}

/* Its anon_vma came by fork, at least in part. */
static bool vma_is_fork_child(const struct vm_area_struct *vma)
{
    return vma && vma->anon_vma && !list_is_singular(&vma->anon_vma_chain);
}

static bool is_mergeable_anon_vma(const struct vma_merge *g, const struct vm_area_struct *target)
{
    if (target->anon_vma == g->anon_vma)
        return true;
    if (!target->anon_vma)
        return !vma_is_fork_child(g->middle ? g->middle : g->copied_from);
    return !g->anon_vma && !vma_is_fork_child(target);
}

static bool can_vma_merge_left(const struct vma_merge *g)
{
    const struct vm_area_struct *prev = g->prev;

    return prev && prev->vm_end == g->start && is_mergeable_vma(g, prev) &&
           prev->vm_pgoff.nr + vma_pages(prev) == g->pgoff.nr && is_mergeable_anon_vma(g, prev);
}

static bool can_vma_merge_right(const struct vma_merge *g, bool left)
{
    const struct vm_area_struct *next = g->next;

    if (!next || next->vm_start != g->end || !is_mergeable_vma(g, next) ||
        g->pgoff.nr + ((g->end - g->start) >> PAGE_SHIFT) != next->vm_pgoff.nr || !is_mergeable_anon_vma(g, next))
        return false;
    /* Each fits the range; do they fit each other? */
    return !left || !g->prev->anon_vma || !next->anon_vma || g->prev->anon_vma == next->anon_vma;
}

static bool can_merge_remove_vma(struct cpu *cpu, const struct vm_area_struct *vma)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, vma);

    return !ops || !ops->close;
}

int dup_anon_vma(struct cpu *cpu, struct vm_area_struct *dst, struct vm_area_struct *src)
{
    if (!src || !src->anon_vma || dst->anon_vma)
        return 0;
    dst->anon_vma = src->anon_vma;
    return anon_vma_clone(cpu, dst, src); /* leaves dst->anon_vma NULL where it fails */
}

struct vm_area_struct *vma_merge_new_range(struct cpu *cpu, const struct vma_merge *g)
{
    struct vma_change c = {0};
    bool left, right;

    if ((g->vm_flags & VM_SPECIAL) || (!g->prev && !g->next))
        return NULL;
    left = can_vma_merge_left(g);
    right = can_vma_merge_right(g, left);
    if (left && right && !can_merge_remove_vma(cpu, g->next))
        right = false;
    if (!left && !right)
        return NULL;

    c.vma = left ? g->prev : g->next;
    c.start = left ? g->prev->vm_start : g->start;
    c.end = right ? g->next->vm_end : g->end;
    if (left && right)
        c.remove[0] = g->next;
    if (dup_anon_vma(cpu, c.vma, c.remove[0] && c.remove[0]->anon_vma ? c.remove[0] : g->copied_from))
        return NULL;
    c.vma->vm_flags |= (g->vm_flags | (c.remove[0] ? c.remove[0]->vm_flags : 0)) & VM_STICKY;
    vma_commit(cpu, g->mm, &c);
    return c.vma;
}

/* What becomes of middle's part, by which neighbours take it. */
static void plan_existing(const struct vma_merge *g, bool left, bool right, bool whole, struct vma_change *c)
{
    struct vm_area_struct *middle = g->middle;

    if (left) {
        *c = (struct vma_change){.vma = g->prev, .start = g->prev->vm_start, .end = right ? g->next->vm_end : g->end};
        if (whole) {
            c->remove[0] = middle;
            c->remove[1] = right ? g->next : NULL;
        } else {
            c->next = middle;
        }
    } else if (whole) {
        *c = (struct vma_change){.vma = g->next, .start = g->start, .end = g->next->vm_end, .remove = {middle}};
    } else {
        *c = (struct vma_change){.vma = middle, .start = middle->vm_start, .end = g->start};
        c->next = g->next;
    }
}

/* The VMA that took the range; NULL: no merge possible; ERR_PTR(-ENOMEM). */
static struct vm_area_struct *vma_merge_existing_range(struct cpu *cpu, const struct vma_merge *g)
{
    bool left_side = g->start == g->middle->vm_start, right_side = g->end == g->middle->vm_end;
    bool left, right, whole = left_side && right_side;
    struct vm_area_struct *target;
    struct vma_change c;

    if ((g->vm_flags & VM_SPECIAL) || (!left_side && !right_side))
        return NULL;
    left = left_side && can_vma_merge_left(g);
    right = right_side && can_vma_merge_right(g, left);
    if (!left && !right)
        return NULL;
    if (whole && !(g->fresh & FRESH_MIDDLE) && !can_merge_remove_vma(cpu, g->middle))
        return NULL;
    if (left && right && !(g->fresh & FRESH_NEXT) && !can_merge_remove_vma(cpu, g->next))
        right = false;

    target = left ? g->prev : g->next;
    plan_existing(g, left, right, whole, &c);
    if (dup_anon_vma(cpu, target, left && right && g->next->anon_vma ? g->next : g->middle))
        return ERR_PTR(-ENOMEM);
    target->vm_flags |= (g->vm_flags | g->middle->vm_flags | (left && right ? g->next->vm_flags : 0)) & VM_STICKY;
    vma_commit(cpu, g->mm, &c);
    return target;
}

/* Out of the VMA: [start, end) alone. */
static struct vm_area_struct *cut_out(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    struct vma_cuts cuts = {.first = vma, .last = vma, .start = start, .end = end};
    u32 nr_cuts = (u32)(start > vma->vm_start) + (u32)(end < vma->vm_end);
    struct mm *mm = vma->vm_mm;
    int err;

    if (!nr_cuts)
        return vma;
    if (mm->map_count + nr_cuts > mm->m->config.max_map_count)
        return ERR_PTR(-ENOMEM);
    err = vma_cuts_prepare(cpu, mm, &cuts);
    if (err)
        return ERR_PTR(err);
    vma_cuts_commit(cpu, mm, &cuts);
    return vma;
}

static struct vma_merge merge_of(struct vm_area_struct *vma, va_t start, va_t end)
{
    return (struct vma_merge){
        .mm = vma->vm_mm,
        .prev = vma->vm_prev,
        .next = vma->vm_next,
        .middle = vma,
        .start = start,
        .end = end,
        .pgoff = linear_page_index(vma, start),
        .vm_flags = vma->vm_flags,
        .file = vma->vm_file,
        .vm_ops = vma->vm_ops,
        .anon_vma = vma->anon_vma,
        .anon_name = vma->anon_name,
    };
}

static struct vm_area_struct *modify(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end,
                                     vm_flags_t flags, char *name)
{
    struct vma_merge g = merge_of(vma, start, end);
    struct vm_area_struct *merged;

    g.vm_flags = flags;
    g.anon_name = name;
    merged = vma_merge_existing_range(cpu, &g); /* frees vma, if it is merged away */

    return merged ? merged : cut_out(cpu, vma, start, end);
}

struct vm_area_struct *vma_modify(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end, vm_flags_t flags)
{
    return modify(cpu, vma, start, end, flags, vma->anon_name);
}

struct vm_area_struct *vma_modify_name(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end, char *name)
{
    if (names_equal(vma->anon_name, name))
        return vma;
    return modify(cpu, vma, start, end, vma->vm_flags, name);
}

void vma_rejoin(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    struct vma_merge g = merge_of(vma, vma->vm_start, vma->vm_end);

    if (vma->vm_start == start)
        g.prev = NULL;
    if (vma->vm_end == end)
        g.next = NULL;
    g.fresh = FRESH_MIDDLE | FRESH_NEXT;
    if (g.prev || g.next)
        vma_merge_existing_range(cpu, &g);
}

struct vm_area_struct *vma_merge_copy(struct cpu *cpu, struct vm_area_struct *copy)
{
    struct vma_merge g = merge_of(copy, copy->vm_start, copy->vm_end);
    struct vm_area_struct *merged;

    g.fresh = FRESH_MIDDLE;
    merged = vma_merge_existing_range(cpu, &g);
    return merged && !IS_ERR(merged) ? merged : copy;
}
