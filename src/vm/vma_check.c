/* SPDX-License-Identifier: MIT */
/* The books of an address space's VMAs: V1..V7 of vma.c, recounted. Nobody changes the mm meanwhile. */
#include "vm/vma_priv.h"

static bool tree_holds(struct interval_tree_root *root, const struct interval_tree_node *want)
{
    struct interval_tree_node *n;

    interval_tree_foreach (n, root, want->start, want->last)
        if (n == want)
            return true;
    return false;
}

static void check_key(struct check_report *r, const struct vm_area_struct *vma, const struct interval_tree_node *n,
                      const char *what)
{
    CHECK_EQ(r, n->start, vma->vm_pgoff.nr, what);
    CHECK_EQ(r, n->last, vma->vm_pgoff.nr + vma_pages(vma) - 1, what);
}

static void check_trees(struct check_report *r, struct vm_area_struct *vma)
{
    struct anon_vma_chain *avc;
    bool own = false;

    if (vma->vm_file) {
        check_key(r, vma, &vma->shared, "VMA V4: key in the file's tree");
        if (!tree_holds(&vma->vm_file->f_mapping->i_mmap, &vma->shared))
            check_fail(r, "VMA V4: [%llx, %llx) is not in its file's tree", (unsigned long long)vma->vm_start,
                       (unsigned long long)vma->vm_end);
    }
    list_for_each_entry (avc, &vma->anon_vma_chain, same_vma) {
        own = own || avc->anon_vma == vma->anon_vma;
        check_key(r, vma, &avc->rb, "VMA V5: key in an anon_vma's tree");
        if (avc->vma != vma)
            check_fail(r, "VMA V5: a chain entry belongs to %p, is listed by %p", (void *)avc->vma, (void *)vma);
        if (!tree_holds(&avc->anon_vma->rb_root, &avc->rb))
            check_fail(r, "VMA V5: [%llx, %llx) is not in the tree of an anon_vma of its chain",
                       (unsigned long long)vma->vm_start, (unsigned long long)vma->vm_end);
    }
    if (vma->anon_vma && !own)
        check_fail(r, "VMA V5: [%llx, %llx) has no chain entry to its anon_vma", (unsigned long long)vma->vm_start,
                   (unsigned long long)vma->vm_end);
}

static bool huge_pages_are_whole(const struct vm_area_struct *vma)
{
    bool huge = vma->vm_file && (vma->vm_file->f_inode->i_flags & INODE_HUGETLB);

    if (!huge || !(vma->vm_flags & VM_HUGETLB))
        return huge == !!(vma->vm_flags & VM_HUGETLB);
    return IS_ALIGNED(vma->vm_start | vma->vm_end | vma->vm_pgoff.nr << PAGE_SHIFT, vma_pagesize(vma));
}

static void check_one(struct check_report *r, const struct mm *mm, const struct vm_area_struct *vma)
{
    if (vma->vm_start >= vma->vm_end || ((vma->vm_start | vma->vm_end) & ~PAGE_MASK) || vma->vm_end > mm->task_size)
        check_fail(r, "VMA V2: range [%llx, %llx)", (unsigned long long)vma->vm_start, (unsigned long long)vma->vm_end);
    if (vma->vm_mm != mm)
        check_fail(r, "VMA V2: vm_mm is %p, it is in the index of %p", (void *)vma->vm_mm, (const void *)mm);
    if (vma->vm_ops == VM_OPS_NONE && vma->vm_file && vma->vm_file->f_inode->i_device != DEVICE_ZERO)
        check_fail(r, "VMA V6: [%llx, %llx) is anonymous and has a file", (unsigned long long)vma->vm_start,
                   (unsigned long long)vma->vm_end);
    if (!huge_pages_are_whole(vma))
        check_fail(r, "VMA V7: [%llx, %llx) at offset %llx, flags %llx: huge pages are whole and of a file of them",
                   (unsigned long long)vma->vm_start, (unsigned long long)vma->vm_end,
                   (unsigned long long)vma->vm_pgoff.nr, (unsigned long long)vma->vm_flags);
}

void vma_check(struct mm *mm, struct check_report *r)
{
    struct mm sums = {0};
    struct vm_area_struct *vma;
    u64 nr = vma_index_check(&mm->vmas, r);

    CHECK_EQ(r, mm->map_count, nr, "VMA V1");
    for_each_vma (vma, mm) {
        check_one(r, mm, vma);
        check_trees(r, vma);
        vm_stat_account(&sums, vma->vm_flags, (s64)vma_pages(vma));
        sums.locked_vm += vma->vm_flags & VM_LOCKED ? vma_pages(vma) : 0;
    }
    CHECK_EQ(r, mm->total_vm, sums.total_vm, "VMA V3");
    CHECK_EQ(r, mm->data_vm, sums.data_vm, "VMA V3");
    CHECK_EQ(r, mm->exec_vm, sums.exec_vm, "VMA V3");
    CHECK_EQ(r, mm->stack_vm, sums.stack_vm, "VMA V3");
    CHECK_EQ(r, mm->locked_vm, sums.locked_vm + mm->locked_left, "VMA V3");
}
