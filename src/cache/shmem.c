/* SPDX-License-Identifier: MIT */
/*
 * Shared memory: MAP_SHARED | MAP_ANONYMOUS, memfd, SysV segments. A file without a disk: its pages live in the page
 * cache only, begin as zeroes, count as "shmem" in rss and in NR_SHMEM, and go with the last reference to the object.
 * They are PG_swapbacked: with swap (a later row) that is where they can go.
 *
 * Committed memory: an object made with a size (MAP_SHARED | MAP_ANONYMOUS) commits all of it at once, one made empty
 * (memfd, sized later) commits page by page.
 *
 * A page beyond the object's size is SIGBUS, as with any file. Size of an anonymous mapping's
 * object: the mapping's length.
 * Follows Documentation/filesystems/tmpfs.rst.
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "kmem/slab.h"
#include "phys/page_alloc.h"
#include "vm/fault.h"
#include "vm/vma.h"

u64 shmem_accounted_pages(const struct inode *inode)
{
    const struct address_space *mapping = &inode->i_data;

    if (mapping->a_ops != A_OPS_SHMEM)
        return 0;
    return mapping->flags & AS_SHMEM_ACCOUNT ? DIV_ROUND_UP(inode_size(inode), PAGE_SIZE) : mapping->nrpages;
}

int shmem_commit(struct cpu *cpu, u64 pages)
{
    struct mm *mm = cpu->current && cpu->current->mm ? cpu->current->mm : cpu->m->vm->init_mm;

    return pages ? vm_enough_memory(cpu, mm, pages) : 0;
}

void shmem_uncommit(struct cpu *cpu, u64 pages)
{
    if (pages)
        vm_unacct_memory(cpu->m, pages);
}

static vm_fault_t shmem_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    struct address_space *mapping = vmf->vma->vm_file->f_mapping;
    struct folio *f;

    if (unlikely(vmf->pgoff.nr >= DIV_ROUND_UP(inode_size(mapping->host), PAGE_SIZE)))
        return VM_FAULT_SIGBUS;
    f = filemap_grab_folio_within(cpu, mapping, vmf->pgoff, 0);
    if (IS_ERR_OR_NULL(f))
        return f ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
    if (!folio_test_uptodate(f)) {
        if (cpu->m->config.content == CONTENT_FULL)
            memset(page_address(cpu->m, &f->page), 0, PAGE_SIZE);
        charge(cpu, COST_ZERO_PAGE);
        folio_set_uptodate(f);
    }
    vmf->page = &f->page;
    return VM_FAULT_LOCKED;
}

static vm_fault_t shmem_map_pages(struct cpu *cpu, struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
    return generic_file_vm_ops.map_pages(cpu, vmf, start, end);
}

const struct vm_operations_struct shmem_vm_ops = {
    .fault = shmem_fault,
    .map_pages = shmem_map_pages,
};

/* Nothing to write back: only the bit is kept. */
static bool shmem_dirty_folio(struct cpu *cpu, struct address_space *mapping, struct folio *f)
{
    return !folio_test_set_dirty(f);
}

const struct address_space_operations shmem_a_ops = {
    .dirty_folio = shmem_dirty_folio,
};
