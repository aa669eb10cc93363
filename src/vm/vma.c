/* SPDX-License-Identifier: MIT */
/*
 * VMAs: life, lookup with a cache per thread, and the one function that changes a list of VMAs (vma_commit).
 *
 * Where a VMA is known
 *   index         mm->vmas, with the list vm_next, vm_prev                 every VMA
 *   file tree     vm_file->f_mapping->i_mmap, by page offset               VMAs with a file
 *   anon_vmas     the trees of all anon_vmas of anon_vma_chain             VMAs that had an anonymous page
 *   vmacache      task->vmacache, valid while vmacache_seqnum agrees       what the task looked up last
 *
 * A change (split, merge, shift of a boundary) must look like one step to those who come from a page: rmap walks
 * take the lock of the file tree or of the anon_vma and no mmap_lock. So vma_commit() holds both from the first
 * removal to the last insertion:
 *
 *   mmap_lock (write) ▶ i_mmap_rwsem (write) ▶ root anon_vma rwsem (write)
 *      nodes out of the trees ─▶ index: one of cut, join, moved edge, resize ─▶ nodes back in with new keys
 *
 * What needs memory (the copy for a split, its chains, index nodes, chains for a merge) is made before
 * (vma_copy_range(), vma_index_prealloc()): a copy that is in the anon_vma trees early only makes a walk look twice.
 *
 * Invariants (vma_check)
 *   V1  the index's own (vma_index.c); map_count is the number of VMAs.
 *   V2  vm_start < vm_end, both page aligned, vm_end <= task_size; vm_mm is the mm.
 *   V3  total_vm, data_vm, exec_vm, stack_vm are the sums over VMAs by vm_stat_account()'s rule;
 *       locked_vm those with VM_LOCKED, and locked_left.
 *   V4  a VMA with a file is in its mapping's tree with its page range as the key, and no other node of it is there.
 *   V5  a VMA with an anon_vma has a chain entry to it; each entry's key is the VMA's page range.
 *   V6  a VMA whose vm_ops is VM_OPS_NONE has no file but /dev/zero.
 *   V7  a VMA has VM_HUGETLB just if its file is on hugetlbfs; then its start, end and offset are whole huge pages.
 *
 * Follows Documentation/mm/process_addrs.rst.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"
#include "kmem/slab.h"
#include "vm/rmap.h"

/* -- life ---------------------------------------------------------------------------------------------------------- */

struct vm_area_struct *vm_area_alloc(struct cpu *cpu, struct mm *mm)
{
    struct vm_area_struct *vma = kmem_cache_alloc(cpu, cpu->m->vm->vma_cachep, GFP_KERNEL_ACCOUNT);

    if (unlikely(!vma))
        return NULL;
    *vma = (struct vm_area_struct){.vm_mm = mm};
    INIT_LIST_HEAD(&vma->anon_vma_chain);
    return vma;
}

struct vm_area_struct *vm_area_dup(struct cpu *cpu, const struct vm_area_struct *orig)
{
    const size_t behind = offsetof(struct vm_area_struct, shared) + sizeof(orig->shared);
    struct vm_area_struct *vma = kmem_cache_alloc(cpu, cpu->m->vm->vma_cachep, GFP_KERNEL_ACCOUNT);

    if (unlikely(!vma))
        return NULL;
    /* all but `shared`: others rebalance the file's tree at this moment */
    memcpy(vma, orig, offsetof(struct vm_area_struct, shared));
    memcpy((char *)vma + behind, (const char *)orig + behind, sizeof(*vma) - behind);
    vma->vm_next = vma->vm_prev = NULL;
    vma->shared = (struct interval_tree_node){0};
    anon_vma_name_get(vma->anon_name);
    INIT_LIST_HEAD(&vma->anon_vma_chain);
    return vma;
}

void vm_area_free(struct cpu *cpu, struct vm_area_struct *vma)
{
    DEBUG_ASSERT(list_empty(&vma->anon_vma_chain));
    anon_vma_name_put(cpu, vma->anon_name);
    kmem_cache_free(cpu, cpu->m->vm->vma_cachep, vma);
}

void vma_get_file(struct vm_area_struct *vma)
{
    if (vma->vm_file)
        get_file(vma->vm_file);
}

void remove_vma(struct cpu *cpu, struct vm_area_struct *vma)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, vma);

    if (ops && ops->close)
        ops->close(cpu, vma);
    if (vma->vm_file)
        cpu->code->fput(cpu, vma->vm_file);
    vm_area_free(cpu, vma);
}

int vma_link(struct cpu *cpu, struct mm *mm, struct vm_area_struct *vma)
{
    if (vma_index_prealloc(cpu, &mm->vmas, 1))
        return -ENOMEM;
    vma_index_insert(&mm->vmas, vma);
    vma_index_trim(cpu, &mm->vmas);
    if (vma->vm_file)
        vma_link_file(cpu, vma);
    mm->map_count++;
    return 0;
}

struct vma_node *vma_node_alloc(struct cpu *cpu)
{
    return kmem_cache_alloc(cpu, cpu->m->vm->vma_node_cachep, GFP_KERNEL_ACCOUNT);
}

void vma_node_free(struct cpu *cpu, struct vma_node *node)
{
    kmem_cache_free(cpu, cpu->m->vm->vma_node_cachep, node);
}

void mm_init_vmas(struct mm *mm)
{
    vma_index_init(&mm->vmas);
    /* Numbers of different mms never meet: a task that enters another mm finds its cache invalid. */
    mm->vmacache_seqnum = (mm->ctx_id << 32) + 1;
}

void mm_destroy_vmas(struct cpu *cpu, struct mm *mm)
{
    vma_index_destroy(cpu, &mm->vmas);
    mm->vmacache_seqnum++;
}

/* -- lookup -------------------------------------------------------------------------------------------------------- */

void vmacache_flush(struct task *t)
{
    t->vmacache_seqnum = 0;
}

static struct vm_area_struct *vmacache_find(struct task *t, const struct mm *mm, va_t addr)
{
    if (t->vmacache_seqnum != mm->vmacache_seqnum) {
        t->vmacache_seqnum = mm->vmacache_seqnum;
        for (u32 i = 0; i < ARRAY_SIZE(t->vmacache); i++)
            t->vmacache[i].end = 0;
        return NULL;
    }
    for (u32 i = 0; i < ARRAY_SIZE(t->vmacache); i++)
        if (t->vmacache[i].start <= addr && addr < t->vmacache[i].end)
            return t->vmacache[i].vma;
    return NULL;
}

static u32 vmacache_slot(va_t addr)
{
    return (u32)(addr >> PAGE_SHIFT) & 3;
}

struct vm_area_struct *find_vma(struct cpu *cpu, struct mm *mm, va_t addr)
{
    struct task *t = cpu->current && cpu->current->mm == mm ? cpu->current : NULL;
    struct vm_area_struct *vma = t ? vmacache_find(t, mm, addr) : NULL;
    struct vmacache_entry e;

    if (vma)
        return vma;
    vma = e.vma = vma_index_find_range(&mm->vmas, addr, &e.start, &e.end);
    if (vma && t)
        t->vmacache[vmacache_slot(addr)] = e;
    return vma;
}

struct vm_area_struct *vma_lookup(struct cpu *cpu, struct mm *mm, va_t addr)
{
    struct vm_area_struct *vma = find_vma(cpu, mm, addr);

    return vma && vma->vm_start <= addr ? vma : NULL;
}

struct vm_area_struct *find_vma_intersection(struct cpu *cpu, struct mm *mm, va_t start, va_t end)
{
    struct vm_area_struct *vma = find_vma(cpu, mm, start);

    return vma && vma->vm_start < end ? vma : NULL;
}

struct vm_area_struct *find_vma_prev(struct cpu *cpu, struct mm *mm, va_t addr, struct vm_area_struct **prev)
{
    struct vm_area_struct *vma = find_vma(cpu, mm, addr);

    *prev = vma ? vma->vm_prev : mm->vmas.last;
    return vma;
}

struct vm_area_struct *vma_over_holes(struct cpu *cpu, struct mm *mm, va_t *start, va_t end, int *holes)
{
    struct vm_area_struct *vma = *start < end ? find_vma(cpu, mm, *start) : NULL;

    if (*start < end && (!vma || *start < vma->vm_start))
        *holes = -ENOMEM;
    if (!vma || vma->vm_start >= end)
        return NULL;
    *start = MAX(*start, vma->vm_start);
    return vma;
}

/* -- page protection ----------------------------------------------------------------------------------------------- */

/*
 * What entries of a mapping with these flags allow at first. A private mapping's never allow writing: that write is a
 * fault, which decides about copying. Any access implies reading, for the entries cannot say otherwise (arm64: without
 * EPAN); but riscv's have X alone.
 */
pgprot_t vm_get_page_prot(const struct machine *m, vm_flags_t f)
{
    bool exec_only = (f & VM_ACCESS_FLAGS) == VM_EXEC && m->config.pt_format >= PT_RISCV_SV39;
    u32 bits = 0;

    if (f & VM_ACCESS_FLAGS)
        bits = PT_USER | (exec_only ? 0 : PT_READ);
    if (f & VM_EXEC)
        bits |= PT_EXEC;
    if ((f & (VM_WRITE | VM_SHARED)) == (VM_WRITE | VM_SHARED))
        bits |= PT_WRITE;
    return PGPROT(bits | (u32)((f & VM_PKEY_MASK) >> VM_PKEY_SHIFT) << PT_PKEY_SHIFT);
}

/* The first write to a clean page of a file must be seen, so that the page becomes dirty. */
static bool vma_wants_writenotify(const struct vm_area_struct *vma)
{
    return (vma->vm_flags & (VM_WRITE | VM_SHARED)) == (VM_WRITE | VM_SHARED) && vma->vm_file &&
           vma->vm_file->f_mapping->a_ops == A_OPS_DISK;
}

void vma_set_page_prot(struct vm_area_struct *vma)
{
    vma->vm_page_prot =
        vm_get_page_prot(vma->vm_mm->m, vma_wants_writenotify(vma) ? vma->vm_flags & ~VM_SHARED : vma->vm_flags);
}

/* -- changes ------------------------------------------------------------------------------------------------------- */

static void file_tree_insert(struct vm_area_struct *vma)
{
    vma->shared.start = vma->vm_pgoff.nr;
    vma->shared.last = vma->vm_pgoff.nr + vma_pages(vma) - 1;
    interval_tree_insert(&vma->shared, &vma->vm_file->f_mapping->i_mmap);
}

static void file_tree_remove(struct vm_area_struct *vma)
{
    interval_tree_remove(&vma->shared, &vma->vm_file->f_mapping->i_mmap);
}

static s32 vma_nr_writable(const struct vm_area_struct *vma)
{
    return (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

static void change_trees_begin(const struct vma_change *c, struct address_space *mapping, struct anon_vma *root)
{
    if (root)
        anon_vma_interval_tree_pre_update_vma(c->vma);
    if (root && c->next)
        anon_vma_interval_tree_pre_update_vma(c->next);
    if (!mapping)
        return;
    file_tree_remove(c->vma);
    if (c->next)
        file_tree_remove(c->next);
    for (u32 i = 0; i < ARRAY_SIZE(c->remove) && c->remove[i]; i++) {
        file_tree_remove(c->remove[i]);
        atomic_fetch_sub(&mapping->i_mmap_writable, vma_nr_writable(c->remove[i]));
    }
}

static void change_trees_end(const struct vma_change *c, struct address_space *mapping, struct anon_vma *root)
{
    if (root)
        anon_vma_interval_tree_post_update_vma(c->vma);
    if (root && c->next)
        anon_vma_interval_tree_post_update_vma(c->next);
    if (!mapping)
        return;
    file_tree_insert(c->vma);
    if (c->next)
        file_tree_insert(c->next);
    for (u32 i = 0; i < ARRAY_SIZE(c->insert); i++) {
        if (!c->insert[i])
            continue;
        file_tree_insert(c->insert[i]);
        atomic_fetch_add(&mapping->i_mmap_writable, vma_nr_writable(c->insert[i]));
    }
}

/* New starts are known before the index changes them. */
static void shift_pgoff(struct vm_area_struct *vma, va_t start)
{
    vma->vm_pgoff.nr += (u64)((s64)(start - vma->vm_start) >> PAGE_SHIFT);
}

static void change_index_remove(struct mm *mm, const struct vma_change *c)
{
    struct vm_area_struct *first = c->remove[0], *last = c->remove[1] ? c->remove[1] : c->remove[0];
    struct vm_area_struct *from = first->vm_start < c->vma->vm_start ? first : c->vma;
    struct vm_area_struct *to = from == first ? c->vma : last;

    ASSERT(from->vm_start == c->start);
    ASSERT(to->vm_end == c->end);
    mm->map_count -= 1 + (c->remove[1] != NULL);
    if (from->vm_end == from->vm_next->vm_start) {
        vma_index_join(&mm->vmas, c->vma, from, to);
        return;
    }
    /* A new range has filled the hole between two. */
    vma_index_remove(&mm->vmas, first);
    vma_index_resize(&mm->vmas, c->vma, c->start, c->end);
}

static void change_index(struct mm *mm, const struct vma_change *c)
{
    shift_pgoff(c->vma, c->start);
    mm->vmacache_seqnum++;
    if (c->remove[0]) {
        change_index_remove(mm, c);
    } else if (c->next) {
        ASSERT(c->next == c->vma->vm_next);
        shift_pgoff(c->next, c->end);
        vma_index_move_edge(&mm->vmas, c->vma, c->end);
    } else if (c->insert[0] || c->insert[1]) {
        vma_index_cut(&mm->vmas, c->vma, c->insert[0], c->insert[1]);
        mm->map_count += (u32)(c->insert[0] != NULL) + (u32)(c->insert[1] != NULL);
    } else {
        vma_index_resize(&mm->vmas, c->vma, c->start, c->end);
    }
}

void vma_commit(struct cpu *cpu, struct mm *mm, const struct vma_change *c) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = c->vma->vm_file ? c->vma->vm_file->f_mapping : NULL;
    struct anon_vma *av = c->vma->anon_vma ? c->vma->anon_vma : c->next ? c->next->anon_vma : NULL;
    struct anon_vma *root = av ? av->root : NULL;

    if (mapping)
        down_write(cpu, &mapping->i_mmap_rwsem);
    if (root)
        down_write(cpu, &root->rwsem);
    change_trees_begin(c, mapping, root);
    change_index(mm, c);
    change_trees_end(c, mapping, root);
    if (root)
        up_write(cpu, &root->rwsem);
    if (mapping)
        up_write(cpu, &mapping->i_mmap_rwsem);

    for (u32 i = 0; i < ARRAY_SIZE(c->remove) && c->remove[i]; i++) {
        unlink_anon_vmas(cpu, c->remove[i]);
        remove_vma(cpu, c->remove[i]);
    }
    vma_index_trim(cpu, &mm->vmas);
}

/* -- cuts ---------------------------------------------------------------------------------------------------------- */

struct vm_area_struct *vma_copy_range(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, vma);
    struct vm_area_struct *copy;
    int err;

    if (ops && ops->may_split) {
        err = ops->may_split(cpu, vma, start > vma->vm_start ? start : end);
        if (err)
            return ERR_PTR(err);
    }
    copy = vm_area_dup(cpu, vma);
    if (!copy)
        return ERR_PTR(-ENOMEM);
    copy->vm_start = start;
    copy->vm_end = end;
    copy->vm_pgoff = linear_page_index(vma, start);
    if (anon_vma_clone(cpu, copy, vma)) {
        vm_area_free(cpu, copy);
        return ERR_PTR(-ENOMEM);
    }
    vma_get_file(copy);
    return copy;
}

void vma_copy_cancel(struct cpu *cpu, struct vm_area_struct *copy)
{
    unlink_anon_vmas(cpu, copy);
    if (copy->vm_file)
        cpu->code->fput(cpu, copy->vm_file);
    vm_area_free(cpu, copy);
}

void vma_cuts_cancel(struct cpu *cpu, struct vma_cuts *cuts)
{
    if (cuts->below)
        vma_copy_cancel(cpu, cuts->below);
    if (cuts->above)
        vma_copy_cancel(cpu, cuts->above);
    cuts->below = cuts->above = NULL;
}

static void cut(struct cpu *cpu, struct mm *mm, struct vm_area_struct *vma, struct vm_area_struct *below,
                struct vm_area_struct *above)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, vma);
    struct vma_change c = {.vma = vma, .insert = {below, above}};

    c.start = below ? below->vm_end : vma->vm_start;
    c.end = above ? above->vm_start : vma->vm_end;
    vma_commit(cpu, mm, &c);
    if (!ops || !ops->open)
        return;
    if (below)
        ops->open(cpu, below);
    if (above)
        ops->open(cpu, above);
}

int vma_cuts_prepare(struct cpu *cpu, struct mm *mm, struct vma_cuts *cuts)
{
    bool low = cuts->start > cuts->first->vm_start, high = cuts->end < cuts->last->vm_end;
    struct vm_area_struct *copy;

    cuts->below = cuts->above = NULL;
    if (!low && !high)
        return 0;
    if (vma_index_prealloc(cpu, &mm->vmas, (u32)low + (u32)high))
        return -ENOMEM;
    if (low) {
        copy = vma_copy_range(cpu, cuts->first, cuts->first->vm_start, cuts->start);
        if (IS_ERR(copy))
            return PTR_ERR(copy);
        cuts->below = copy;
    }
    if (high) {
        copy = vma_copy_range(cpu, cuts->last, cuts->end, cuts->last->vm_end);
        if (IS_ERR(copy) && PTR_ERR(copy) != -ENOMEM && low) { /* refused: as in the kernel, the first cut is done */
            cut(cpu, mm, cuts->first, cuts->below, NULL);
            cuts->below = NULL;
        }
        if (IS_ERR(copy)) {
            vma_cuts_cancel(cpu, cuts);
            return PTR_ERR(copy);
        }
        cuts->above = copy;
    }
    return 0;
}

void vma_cuts_commit(struct cpu *cpu, struct mm *mm, struct vma_cuts *cuts)
{
    struct vm_area_struct *below = cuts->below, *above = cuts->above;

    if (cuts->first != cuts->last && below && above) {
        cut(cpu, mm, cuts->first, below, NULL);
        below = NULL;
    }
    if (below || above)
        cut(cpu, mm, below ? cuts->first : cuts->last, below, above);
}
