/* SPDX-License-Identifier: MIT */
/*
 * Dropping pages from the cache: truncation, and drop_caches.
 *
 * Truncation. The size changes first: from then on a fault beyond it is SIGBUS. Then the mappings of what is cut
 * off go, then the pages; a fault that had looked at the old size maps its page before we lock it, so the mappings
 * are looked at once more.
 *
 *    i_size = new ─▶ unmap [new, ∞) in every VMA ─▶ lock each page: unmap, drop
 *
 * Private copies of cut-off pages go, too (truncate(2): the range is gone for every mapping).
 * Locks: i_rwsem, so that sizes change one after the other; invalidate_lock for writing, so that nobody adds a page by
 * an older size behind our back; the folio lock of one page at a time; i_mmap_rwsem for reading while unmapping.
 */
#include "cache/cache.h"

#include "phys/lru.h"
#include "vm/unmap.h"

/* One page out of the cache; it may be mapped still, by a fault that overtook us. Reference held. */
static bool truncate_folio(struct cpu *cpu, struct address_space *mapping, struct folio *f)
{
    bool ours;

    folio_lock(cpu, f);
    ours = f->page.mapping == mapping;
    if (ours) {
        if (folio_mapped(f))
            unmap_mapping_pages(cpu, mapping, folio_index(f), 1, UNMAP_FILE_PAGES);
        filemap_remove_folio_locked(cpu, f);
    }
    folio_unlock(cpu, f);
    return ours;
}

u64 truncate_inode_pages(struct cpu *cpu, struct address_space *mapping, u64 from_bytes)
{
    u64 index, nr = 0;
    void *entry;

    xa_for_each_start (&mapping->i_pages, index, entry, DIV_ROUND_UP(from_bytes, PAGE_SIZE)) {
        struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(index));

        if (!f)
            continue;
        nr += truncate_folio(cpu, mapping, f);
        folio_put(cpu, f);
    }
    return nr;
}

static void account_new_size(struct cpu *cpu, const struct inode *inode, u64 pages)
{
    u64 old_pages;

    if (!(inode->i_data.flags & AS_SHMEM_ACCOUNT))
        return;
    old_pages = shmem_accounted_pages(inode);
    /* What a follower cannot refuse any more is committed in any mode. */
    if (pages > old_pages)
        atomic_fetch_add(&cpu->m->vm->vm_committed_as, (s64)(pages - old_pages));
    else
        shmem_uncommit(cpu, old_pages - pages);
}

void inode_set_size(struct cpu *cpu, struct inode *inode, u64 size) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = &inode->i_data;
    u64 first = DIV_ROUND_UP(size, PAGE_SIZE);
    bool shrinks;

    down_write(cpu, &inode->i_rwsem);
    shrinks = size < inode_size(inode);
    account_new_size(cpu, inode, first);
    down_write(cpu, &mapping->invalidate_lock);
    WRITE_ONCE(inode->i_size, size);
    if (shrinks) {
        unmap_mapping_pages(cpu, mapping, PGOFF(first), 0, UNMAP_COPIES_TOO);
        truncate_inode_pages(cpu, mapping, size);
        /* Copies that private write faults made meanwhile. */
        unmap_mapping_pages(cpu, mapping, PGOFF(first), 0, UNMAP_COPIES_TOO);
    }
    up_write(cpu, &mapping->invalidate_lock);
    up_write(cpu, &inode->i_rwsem);
}

/* -- drop_caches --------------------------------------------------------------------------------------------------- */

/* Clean, unmapped, referenced by nobody but the cache and us. */
static bool invalidate_folio(struct cpu *cpu, struct address_space *mapping, struct folio *f)
{
    bool dropped = false;

    if (!folio_trylock(f))
        return false;
    if (f->page.mapping == mapping && !folio_test_dirty(f) && !folio_mapped(f) && folio_ref_count(f) == 2) {
        filemap_remove_folio_locked(cpu, f);
        dropped = true;
    }
    folio_unlock(cpu, f);
    return dropped;
}

static u64 invalidate_mapping(struct cpu *cpu, struct address_space *mapping)
{
    u64 dropped = 0, index;
    void *entry;

    xa_for_each (&mapping->i_pages, index, entry) {
        struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(index));

        if (!f)
            continue;
        dropped += invalidate_folio(cpu, mapping, f);
        folio_put(cpu, f);
    }
    return dropped;
}

u64 drop_pagecache(struct cpu *cpu) NO_LOCK_ANALYSIS
{
    struct cache *c = cpu->m->cache;
    struct inode *inode;
    u64 dropped = 0;

    lru_add_drain_all(cpu); /* batches hold references */
    spin_lock(cpu, &c->lock);
    /* Inodes of disks are never freed: such a one keeps its place in the list while the lock is dropped. */
    list_for_each_entry (inode, &c->inodes, inodes) {
        if (inode->i_data.a_ops != A_OPS_DISK)
            continue;
        spin_unlock(cpu, &c->lock);
        dropped += invalidate_mapping(cpu, &inode->i_data);
        spin_lock(cpu, &c->lock);
    }
    spin_unlock(cpu, &c->lock);
    count_vm_event(cpu, DROP_PAGECACHE);
    return dropped;
}
