/* SPDX-License-Identifier: MIT */
/*
 * anon_vma: which VMAs may map an anonymous page.
 *
 * Terms. An anon_vma stands for the anonymous pages that were first touched through one VMA (or through neighbours that
 * may merge with it). page->mapping of such a page points to it. After a fork the child's VMA may map the same pages,
 * so it is entered in the parent's anon_vma too; pages the child makes from then on belong to an anon_vma of its own,
 * which the parent is not entered in: so a walk for a child's page does not visit the parent. An anon_vma_chain (avc)
 * is one entry: VMA × anon_vma.
 *
 *      parent's VMA            child's VMA            grandchild's VMA
 *          │                    │     │                 │    │    │
 *         avc                  avc   avc               avc  avc  avc        same_vma lists go down
 *          │                    │     │                 │    │    │
 *      anon_vma P ◀─────────────┘  anon_vma C ◀─────────┼────┘  anon_vma G
 *          ▲   (root: its rwsem guards all three)       │
 *          └────────────────────────────────────────────┘
 *      P.rb_root holds three avcs, C.rb_root two, G.rb_root one; keyed by the VMA's range of page offsets.
 *
 * Degree. A process that forks, whose child forks, … without exec would grow chains without end. An anon_vma without a
 * VMA of its own (num_active_vmas == 0) and with fewer than two children is therefore used again by the next child,
 * instead of making a new one.
 *
 * Locks. The root's rwsem guards all trees, num_children and num_active_vmas below the root. A VMA's chain changes
 * under mmap_lock (write) and the rwsem. vma->anon_vma is set once, under mmap_lock (read) and page_table_lock.
 *
 * Lifetime. refcount = 1 while the tree is in use, + 1 for each other anon_vma below a root, + references of walkers. A
 * walker finds the anon_vma through a page without holding anything: vm->anon_vma_lock makes "still mapped, then take a
 * reference" one step, and the last put passes through the same lock before the memory is freed.
 *
 * Invariants
 *   AV1 every VMA with anon_vma set has an avc to it; every avc is on exactly one VMA's list and in exactly one tree.
 *   AV2 num_active_vmas = VMAs whose ->anon_vma it is.
 *   AV3 num_children = anon_vmas with a non-empty tree whose parent it is, itself included for a root.
 *   AV4 refcount = 1 (non-empty tree) + other anon_vmas whose root it is; root->root == root.
 *
 * Rejected: one list per page (pages are many, VMAs few); freeing the slab's pages late (RCU) instead of anon_vma_lock:
 * an execution context can be a stopped process, and grace periods would wait for it.
 * Follows the description of anon_vma chains in LWN "The case of the overly anonymous anon_vma" and
 * Documentation/mm/process_addrs.rst.
 */
#include "vm/rmap.h"

#include "base/errno.h"
#include "kmem/slab.h"

static struct anon_vma *anon_vma_alloc(struct cpu *cpu)
{
    struct anon_vma *av = kmem_cache_alloc(cpu, cpu->m->vm->anon_vma_cachep, GFP_KERNEL);

    if (!av)
        return NULL;
    *av = (struct anon_vma){.root = av, .parent = av};
    init_rwsem(&av->rwsem, RANK_ANON_VMA);
    atomic_init(&av->refcount, 1);
    return av;
}

static void anon_vma_free(struct cpu *cpu, struct anon_vma *av) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;

    ASSERT(!rwsem_is_locked(&av->rwsem));
    /* A walker that saw the page mapped has its reference by now, or sees it unmapped from here on. */
    spin_lock(cpu, &vm->anon_vma_lock);
    spin_unlock(cpu, &vm->anon_vma_lock);
    kmem_cache_free(cpu, vm->anon_vma_cachep, av);
}

void put_anon_vma(struct cpu *cpu, struct anon_vma *av)
{
    struct anon_vma *root = av->root;

    if (atomic_fetch_sub(&av->refcount, 1) != 1)
        return;
    anon_vma_free(cpu, av);
    if (root != av && atomic_fetch_sub(&root->refcount, 1) == 1)
        anon_vma_free(cpu, root);
}

struct anon_vma *folio_get_anon_vma(struct cpu *cpu, struct folio *f) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;
    struct anon_vma *av = NULL;

    spin_lock(cpu, &vm->anon_vma_lock);
    if (folio_mapped(f)) {
        av = folio_anon_vma(f);
        if (av)
            get_anon_vma(av);
    }
    spin_unlock(cpu, &vm->anon_vma_lock);
    return av;
}

static struct anon_vma_chain *anon_vma_chain_alloc(struct cpu *cpu)
{
    return kmem_cache_alloc(cpu, cpu->m->vm->anon_vma_chain_cachep, GFP_KERNEL);
}

static void anon_vma_chain_free(struct cpu *cpu, struct anon_vma_chain *avc)
{
    kmem_cache_free(cpu, cpu->m->vm->anon_vma_chain_cachep, avc);
}

static void avc_tree_insert(struct anon_vma_chain *avc)
{
    avc->rb.start = avc->vma->vm_pgoff.nr;
    avc->rb.last = avc->vma->vm_pgoff.nr + vma_pages(avc->vma) - 1;
    interval_tree_insert(&avc->rb, &avc->anon_vma->rb_root);
}

/* Root's rwsem held for writing. */
static void anon_vma_chain_link(struct vm_area_struct *vma, struct anon_vma_chain *avc, struct anon_vma *av)
{
    avc->vma = vma;
    avc->anon_vma = av;
    list_add(&avc->same_vma, &vma->anon_vma_chain);
    avc_tree_insert(avc);
}

/* -- the first anonymous page of a VMA ----------------------------------------------------------------------------- */

/* Could a and b be one VMA after an mprotect() or two? Then they should share an anon_vma, or they never can. */
static bool anon_vma_compatible(const struct vm_area_struct *a, const struct vm_area_struct *b)
{
    return a->vm_end == b->vm_start && a->vm_file == b->vm_file &&
           !((a->vm_flags ^ b->vm_flags) & ~(VM_ACCESS_FLAGS | VM_STICKY)) &&
           b->vm_pgoff.nr == a->vm_pgoff.nr + vma_pages(a);
}

/* old's anon_vma if vma, old's neighbour, may use it. Another thread may be setting old's at the same time. */
static struct anon_vma *reusable_anon_vma(struct vm_area_struct *old, struct vm_area_struct *a,
                                          struct vm_area_struct *b)
{
    struct anon_vma *av;

    if (!anon_vma_compatible(a, b))
        return NULL;
    av = vma_anon_vma(old);
    return av && list_is_singular(&old->anon_vma_chain) ? av : NULL;
}

static struct anon_vma *find_mergeable_anon_vma(struct vm_area_struct *vma)
{
    struct vm_area_struct *near = vma_next(vma);
    struct anon_vma *av = near ? reusable_anon_vma(near, vma, near) : NULL;

    if (av)
        return av;
    near = vma_prev(vma);
    return near ? reusable_anon_vma(near, near, vma) : NULL;
}

/* Make vma ready to hold anonymous pages. mmap_lock held (read is enough). -ENOMEM changes nothing. */
int anon_vma_prepare(struct cpu *cpu, struct vm_area_struct *vma) NO_LOCK_ANALYSIS
{
    struct mm *mm = vma->vm_mm;
    struct anon_vma_chain *avc;
    struct anon_vma *av, *fresh = NULL;

    if (likely(vma_anon_vma(vma)))
        return 0;
    avc = anon_vma_chain_alloc(cpu);
    if (!avc)
        return -ENOMEM;
    av = find_mergeable_anon_vma(vma);
    if (!av) {
        fresh = av = anon_vma_alloc(cpu);
        if (!av) {
            anon_vma_chain_free(cpu, avc);
            return -ENOMEM;
        }
        av->num_children = 1; /* itself */
    }

    anon_vma_lock_write(cpu, av);
    spin_lock(cpu, &mm->page_table_lock);
    if (likely(!vma->anon_vma)) {
        __atomic_store_n(&vma->anon_vma, av, __ATOMIC_RELEASE);
        anon_vma_chain_link(vma, avc, av);
        av->num_active_vmas++;
        fresh = NULL;
        avc = NULL;
    }
    spin_unlock(cpu, &mm->page_table_lock);
    anon_vma_unlock_write(cpu, av);

    if (unlikely(fresh))
        put_anon_vma(cpu, fresh);
    if (unlikely(avc))
        anon_vma_chain_free(cpu, avc);
    return 0;
}

/* -- copies of a VMA ----------------------------------------------------------------------------------------------- */

/* Nobody's own, and at most one child: the next child may have it. */
static bool anon_vma_reusable_by_child(const struct anon_vma *av)
{
    return av->num_children < 2 && av->num_active_vmas == 0;
}

/*
 * Enter dst in every anon_vma that src is entered in. For a split or a move, dst->anon_vma is already src's; for fork
 * it is NULL, and may become one that is free to be used again. On failure dst is in none and dst->anon_vma is NULL.
 */
static __noinline int clone_chain(struct cpu *cpu, struct vm_area_struct *dst,
                                  struct vm_area_struct *src) NO_LOCK_ANALYSIS
{
    struct anon_vma *root = NULL;
    struct list_head *pos;

    for (pos = src->anon_vma_chain.prev; pos != &src->anon_vma_chain; pos = pos->prev) {
        struct anon_vma *av = list_entry(pos, struct anon_vma_chain, same_vma)->anon_vma;
        struct anon_vma_chain *avc = anon_vma_chain_alloc(cpu);

        if (unlikely(!avc))
            goto fail;
        if (!root) {
            root = av->root;
            down_write(cpu, &root->rwsem);
        }
        ASSERT(av->root == root);
        anon_vma_chain_link(dst, avc, av);
        if (!dst->anon_vma && src->anon_vma && anon_vma_reusable_by_child(av))
            dst->anon_vma = av;
    }
    if (dst->anon_vma)
        dst->anon_vma->num_active_vmas++;
    if (root)
        up_write(cpu, &root->rwsem);
    return 0;

fail:
    if (root)
        up_write(cpu, &root->rwsem);
    dst->anon_vma = NULL; /* not counted in num_active_vmas yet */
    unlink_anon_vmas(cpu, dst);
    return -ENOMEM;
}

int anon_vma_clone(struct cpu *cpu, struct vm_area_struct *dst, struct vm_area_struct *src)
{
    return list_empty(&src->anon_vma_chain) ? 0 : clone_chain(cpu, dst, src);
}

/* Fork: `vma` is the child's copy of `pvma`. -ENOMEM leaves vma in no anon_vma. */
int anon_vma_fork(struct cpu *cpu, struct vm_area_struct *vma, struct vm_area_struct *pvma) NO_LOCK_ANALYSIS
{
    struct anon_vma_chain *avc;
    struct anon_vma *av;

    vma->anon_vma = NULL;
    if (!pvma->anon_vma)
        return 0;
    if (anon_vma_clone(cpu, vma, pvma))
        return -ENOMEM;
    if (vma->anon_vma)
        return 0;

    av = anon_vma_alloc(cpu);
    if (!av)
        goto fail;
    avc = anon_vma_chain_alloc(cpu);
    if (!avc)
        goto fail_put;
    av->num_active_vmas = 1;
    av->root = pvma->anon_vma->root;
    av->parent = pvma->anon_vma;
    get_anon_vma(av->root);
    vma->anon_vma = av;
    anon_vma_lock_write(cpu, av);
    anon_vma_chain_link(vma, avc, av);
    av->parent->num_children++;
    anon_vma_unlock_write(cpu, av);
    return 0;

fail_put:
    put_anon_vma(cpu, av);
fail:
    unlink_anon_vmas(cpu, vma);
    return -ENOMEM;
}

/*
 * Take vma out of all its anon_vmas; those that no VMA is left in are freed (their pages are gone already).
 * Two rounds: the root's memory, and so its lock, must outlive the first.
 */
static __noinline void unlink_chain(struct cpu *cpu, struct vm_area_struct *vma) NO_LOCK_ANALYSIS
{
    struct anon_vma_chain *avc, *next;
    struct anon_vma *root = NULL;

    list_for_each_entry_safe (avc, next, &vma->anon_vma_chain, same_vma) {
        struct anon_vma *av = avc->anon_vma;

        if (!root) {
            root = av->root;
            down_write(cpu, &root->rwsem);
        }
        ASSERT(av->root == root);
        interval_tree_remove(&avc->rb, &av->rb_root);
        if (interval_tree_empty(&av->rb_root)) {
            av->parent->num_children--;
            continue;
        }
        list_del(&avc->same_vma);
        anon_vma_chain_free(cpu, avc);
    }
    if (vma->anon_vma) {
        vma->anon_vma->num_active_vmas--;
        vma->anon_vma = NULL;
    }
    up_write(cpu, &root->rwsem);

    list_for_each_entry_safe (avc, next, &vma->anon_vma_chain, same_vma) {
        ASSERT(avc->anon_vma->num_children == 0 && avc->anon_vma->num_active_vmas == 0);
        put_anon_vma(cpu, avc->anon_vma);
        list_del(&avc->same_vma);
        anon_vma_chain_free(cpu, avc);
    }
}

void unlink_anon_vmas(struct cpu *cpu, struct vm_area_struct *vma)
{
    if (!list_empty(&vma->anon_vma_chain))
        unlink_chain(cpu, vma);
    else
        ASSERT(!vma->anon_vma);
}

/* -- a VMA's range changes: root's rwsem held for writing from the one call to the other --------------------------- */

void anon_vma_interval_tree_pre_update_vma(struct vm_area_struct *vma)
{
    struct anon_vma_chain *avc;

    list_for_each_entry (avc, &vma->anon_vma_chain, same_vma)
        interval_tree_remove(&avc->rb, &avc->anon_vma->rb_root);
}

void anon_vma_interval_tree_post_update_vma(struct vm_area_struct *vma)
{
    struct anon_vma_chain *avc;

    list_for_each_entry (avc, &vma->anon_vma_chain, same_vma)
        avc_tree_insert(avc);
}
