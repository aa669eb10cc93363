/* SPDX-License-Identifier: MIT */
/*
 * Shared memory: MAP_SHARED | MAP_ANONYMOUS, memfd, SysV segments, files on tmpfs. A file without a disk: its pages live
 * in the page cache only, begin as zeroes, count as "shmem" in rss and in NR_SHMEM, and go with the object.
 * They are PG_swapbacked: with swap (a later row) that is where they can go.
 *
 *   a page's way   absent ─[fallocate]─▶ allocated, not up to date ─[fault, write]─▶ up to date
 *                     ▲                                                                   │
 *                     └────────────────[truncate, punch, last reference]──────────────────┘
 *
 * A read of an absent page gives zeroes and makes none. Pages may lie beyond the size (FALLOC_FL_KEEP_SIZE): a later
 * growth reveals them, any truncation (to the same size, too) frees them.
 *
 * Committed memory: an object made with a size (MAP_SHARED | MAP_ANONYMOUS, SysV) commits all of it at once, one made
 * empty (memfd, tmpfs), or with VM_NORESERVE, commits page by page. What cannot be committed then is -ENOSPC for
 * fallocate(2) and write(2), SIGBUS for a fault.
 *
 * A page beyond the object's size is SIGBUS, as with any file. Size of an anonymous mapping's object: the mapping's
 * length. Seals are in memfd.c.
 * Locks: fallocate holds i_rwsem for writing; punching a hole also invalidate_lock, as truncation does.
 * Follows Documentation/filesystems/tmpfs.rst, fallocate(2), memfd_create(2), and 6.18 where those are silent.
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "kmem/slab.h"
#include "phys/lru.h"
#include "phys/page_alloc.h"
#include "vm/fault.h"
#include "vm/unmap.h"
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

void shmem_lock_mapping(struct address_space *mapping)
{
    __atomic_fetch_or(&mapping->flags, AS_UNEVICTABLE, __ATOMIC_RELAXED);
}

void shmem_unlock_mapping(struct cpu *cpu, struct address_space *mapping)
{
    void *entry;
    u64 index;

    __atomic_fetch_and(&mapping->flags, ~AS_UNEVICTABLE, __ATOMIC_RELAXED);
    xa_for_each (&mapping->i_pages, index, entry) {
        struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(index));

        if (!f)
            continue;
        check_move_unevictable_folio(cpu, f);
        folio_put(cpu, f);
    }
}

/* The locked folio's first use: zeroes. */
void shmem_clear_folio(struct cpu *cpu, struct folio *f)
{
    if (folio_test_uptodate(f))
        return;
    if (cpu->m->config.content == CONTENT_FULL)
        memset(page_address(cpu->m, &f->page), 0, PAGE_SIZE);
    charge(cpu, COST_ZERO_PAGE);
    folio_set_uptodate(f);
}

static vm_fault_t shmem_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    struct address_space *mapping = vmf->vma->vm_file->f_mapping;
    struct folio *f;

    if (unlikely(vmf->pgoff.nr >= DIV_ROUND_UP(inode_size(mapping->host), PAGE_SIZE)))
        return VM_FAULT_SIGBUS;
    f = filemap_grab_folio_within(cpu, mapping, vmf->pgoff, 0);
    if (IS_ERR_OR_NULL(f))
        return f && PTR_ERR(f) == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
    shmem_clear_folio(cpu, f);
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

/* -- fallocate(2) -------------------------------------------------------------------------------------------------- */

/* Every page of [first, end) that is missing; what was made is taken away again if one cannot be had. */
static int shmem_allocate_range(struct cpu *cpu, struct address_space *mapping, u64 first, u64 end)
{
    struct folio *f;
    u64 i;

    for (i = first; i < end; i++) {
        f = filemap_get_folio(cpu, mapping, PGOFF(i));
        if (!f) {
            f = filemap_grab_folio(cpu, mapping, PGOFF(i), 0);
        } else {
            folio_lock(cpu, f);
            shmem_clear_folio(cpu, f); /* made by an earlier fallocate(2): it gets its bytes when it is met again */
        }
        if (IS_ERR(f)) {
            truncate_fresh_pages(cpu, mapping, first, i);
            return PTR_ERR(f);
        }
        folio_mark_dirty(cpu, f); /* so that it is not taken for a page nobody wants */
        folio_unlock(cpu, f);
        folio_put(cpu, f);
    }
    return 0;
}

static int shmem_allocate(struct cpu *cpu, struct inode *inode, u32 mode, u64 offset, u64 end)
{
    u64 limit = DIV_ROUND_UP(cpu->m->config.mem_bytes, PAGE_SIZE);
    u64 first = offset >> PAGE_SHIFT, last = DIV_ROUND_UP(end, PAGE_SIZE);
    int err = inode_newsize_ok(cpu, inode, end);

    if (err)
        return err;
    if ((inode->seals & F_SEAL_GROW_) && end > inode_size(inode))
        return -EPERM;
    if (last - first > limit) /* could never fit: not even tried */
        return -ENOMEM;
    err = shmem_allocate_range(cpu, &inode->i_data, first, last);
    if (!err && !(mode & FALLOC_FL_KEEP_SIZE_) && end > inode_size(inode))
        WRITE_ONCE(inode->i_size, end);
    return err;
}

int shmem_fallocate(struct cpu *cpu, struct inode *inode, u32 mode, u64 offset, u64 end) NO_LOCK_ANALYSIS
{
    int err = 0;

    if (mode & ~(FALLOC_FL_KEEP_SIZE_ | FALLOC_FL_PUNCH_HOLE_))
        return -EOPNOTSUPP;
    down_write(cpu, &inode->i_rwsem);
    if (!(mode & FALLOC_FL_PUNCH_HOLE_))
        err = shmem_allocate(cpu, inode, mode, offset, end);
    else if (inode->seals & (F_SEAL_WRITE_ | F_SEAL_FUTURE_WRITE_))
        err = -EPERM;
    else
        punch_hole(cpu, inode, offset, end);
    up_write(cpu, &inode->i_rwsem);
    return err;
}
