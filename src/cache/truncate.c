/* SPDX-License-Identifier: MIT */
/*
 * Dropping pages from the cache: truncation, holes, and drop_caches.
 *
 * Truncation. The size changes first: from then on a fault beyond it is SIGBUS. Then the mappings of what is cut
 * off go, then the pages; a fault that had looked at the old size maps its page before we lock it, so the mappings
 * are looked at once more.
 *
 *    i_size = new ─▶ unmap [new, ∞) in every VMA ─▶ lock each page: unmap, drop
 *
 * Private copies of cut-off pages go, too (truncate(2): the range is gone for every mapping); those of a hole stay. What
 * moves within a file on disk (fallocate(2): a range collapsed, inserted) leaves the cache and all mappings like that.
 * The rest of the last page is cleared: by truncation, and on disk when the file grows over what a mapping has stored
 * there, as ext4 does it (growth by ftruncate clears the whole page, write and fallocate up to where they begin or end;
 * tmpfs leaves such bytes).
 * Locks: i_rwsem, so that sizes change one after the other; invalidate_lock for writing, so that nobody adds a page by
 * an older size behind our back, or dirties one that moves; the folio lock of one page at a time; i_mmap_rwsem for reading while unmapping.
 */
#include "cache/cache.h"

#include "base/errno.h"
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

/* Pages [first, end) of the cache. */
static u64 truncate_pages(struct cpu *cpu, struct address_space *mapping, u64 first, u64 end)
{
    u64 index, nr = 0;
    bool found = false;
    void *entry;

    if (first >= end)
        return 0;
    xa_for_each_range (&mapping->i_pages, index, entry, first, end - 1) {
        struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(index));

        if (!f)
            continue;
        found = true;
        nr += truncate_folio(cpu, mapping, f);
        folio_put(cpu, f);
    }
    if (found)
        lru_add_drain(cpu); /* batches hold references to them */
    return nr;
}

u64 truncate_inode_pages(struct cpu *cpu, struct address_space *mapping, u64 from_bytes)
{
    return truncate_pages(cpu, mapping, DIV_ROUND_UP(from_bytes, PAGE_SIZE), ~(u64)0);
}

void truncate_fresh_pages(struct cpu *cpu, struct address_space *mapping, u64 first, u64 end)
{
    for (u64 i = first; i < end; i++) {
        struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(i));

        if (!f)
            continue;
        if (!folio_test_uptodate(f))
            truncate_folio(cpu, mapping, f);
        folio_put(cpu, f);
    }
}

/* -- parts of pages ------------------------------------------------------------------------------------------------ */

/* Bytes [from, to) of one page become zero, in the cache if it is there. */
static void zero_cached_part(struct cpu *cpu, struct address_space *mapping, u64 from, u64 to)
{
    struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(from >> PAGE_SHIFT));

    if (!f)
        return;
    folio_lock(cpu, f);
    if (f->page.mapping == mapping && folio_test_uptodate(f)) {
        if (cpu->m->config.content == CONTENT_FULL)
            memset(page_address(cpu->m, &f->page) + (from & ~PAGE_MASK), 0, to - from);
        folio_mark_dirty(cpu, f);
    }
    folio_unlock(cpu, f);
    folio_put(cpu, f);
}

void inode_zero_tail(struct cpu *cpu, struct inode *inode, u64 to)
{
    u64 from = inode_size(inode);

    if (inode->i_data.a_ops == A_OPS_DISK && (from & ~PAGE_MASK) && from < to)
        zero_cached_part(cpu, &inode->i_data, from, MIN(to, ALIGN_UP(from, PAGE_SIZE)));
}

/* i_rwsem held. A page that is cut into two keeps its place, its part is cleared. */
void punch_hole(struct cpu *cpu, struct inode *inode, u64 start, u64 end) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = &inode->i_data;
    u64 first = DIV_ROUND_UP(start, PAGE_SIZE), last = end >> PAGE_SHIFT;

    down_write(cpu, &mapping->invalidate_lock);
    if (first < last)
        unmap_mapping_pages(cpu, mapping, PGOFF(first), last - first, UNMAP_FILE_PAGES);
    else if (!last) /* as 6.18: the end of a hole within page 0 is "before" all pages */
        unmap_mapping_pages(cpu, mapping, PGOFF(first), 0, UNMAP_FILE_PAGES);
    truncate_pages(cpu, mapping, first, last);
    disk_discard(cpu, inode, start, end);
    if (first > last) {
        zero_cached_part(cpu, mapping, start, end);
    } else {
        if (start & ~PAGE_MASK)
            zero_cached_part(cpu, mapping, start, first << PAGE_SHIFT);
        if (end & ~PAGE_MASK)
            zero_cached_part(cpu, mapping, last << PAGE_SHIFT, end);
    }
    up_write(cpu, &mapping->invalidate_lock);
}

int disk_shift(struct cpu *cpu, struct inode *inode, u64 from, u64 to) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = &inode->i_data;
    u64 lower = MIN(from, to);
    int err;

    down_write(cpu, &mapping->invalidate_lock);
    err = filemap_write_range(cpu, mapping, from >> PAGE_SHIFT, ~(u64)0);
    if (!err)
        err = disk_move(cpu, inode, from >> PAGE_SHIFT, to >> PAGE_SHIFT);
    if (!err) {
        unmap_mapping_pages(cpu, mapping, PGOFF(lower >> PAGE_SHIFT), 0, UNMAP_COPIES_TOO);
        truncate_inode_pages(cpu, mapping, lower);
        /* Copies that private write faults made meanwhile. */
        unmap_mapping_pages(cpu, mapping, PGOFF(lower >> PAGE_SHIFT), 0, UNMAP_COPIES_TOO);
        WRITE_ONCE(inode->i_size, inode_size(inode) - from + to);
    }
    up_write(cpu, &mapping->invalidate_lock);
    return err;
}

/* -- size ---------------------------------------------------------------------------------------------------------- */

/* A file system's largest size. ext4 with 4 KiB blocks counts them in 32 bits. */
u64 inode_max_bytes(const struct inode *inode)
{
    return inode->i_data.a_ops == A_OPS_DISK ? 0xffffffffull << PAGE_SHIFT : INT64_MAX;
}

int inode_newsize_ok(struct cpu *cpu, const struct inode *inode, u64 size)
{
    if (size <= inode_size(inode))
        return 0;
    if (cpu->current && size > rlimit(cpu->current, RLIMIT_FSIZE_))
        return -EFBIG; /* and SIGXFSZ, which is the caller's */
    return size > inode_max_bytes(inode) ? -EFBIG : 0;
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

/* i_rwsem held for writing. To the same size, too: pages allocated beyond it go. */
static void set_size_locked(struct cpu *cpu, struct inode *inode, u64 size) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = &inode->i_data;
    u64 first = DIV_ROUND_UP(size, PAGE_SIZE), old_size = inode_size(inode);

    if (size > old_size && mapping->a_ops == A_OPS_DISK && (old_size & ~PAGE_MASK))
        zero_cached_part(cpu, mapping, old_size, ALIGN_UP(old_size, PAGE_SIZE));
    down_write(cpu, &mapping->invalidate_lock);
    WRITE_ONCE(inode->i_size, size);
    if (size <= old_size) {
        unmap_mapping_pages(cpu, mapping, PGOFF(first), 0, UNMAP_COPIES_TOO);
        truncate_inode_pages(cpu, mapping, size);
        /* Copies that private write faults made meanwhile. */
        unmap_mapping_pages(cpu, mapping, PGOFF(first), 0, UNMAP_COPIES_TOO);
        if (size & ~PAGE_MASK)
            zero_cached_part(cpu, mapping, size, first << PAGE_SHIFT);
        disk_discard(cpu, inode, size, ~(u64)0);
    }
    up_write(cpu, &mapping->invalidate_lock);
}

void inode_set_size(struct cpu *cpu, struct inode *inode, u64 size) NO_LOCK_ANALYSIS
{
    down_write(cpu, &inode->i_rwsem);
    account_new_size(cpu, inode, DIV_ROUND_UP(size, PAGE_SIZE));
    set_size_locked(cpu, inode, size);
    up_write(cpu, &inode->i_rwsem);
}

static int check_new_size(struct cpu *cpu, struct inode *inode, u64 size)
{
    u64 old_size = inode_size(inode), huge = (u64)1 << inode->i_huge_shift;
    int err = inode_newsize_ok(cpu, inode, size);

    if (err)
        return err;
    if ((inode->i_flags & INODE_HUGETLB) && (size & (huge - 1)))
        return -EINVAL;
    if ((size < old_size && (inode->seals & F_SEAL_SHRINK_)) || (size > old_size && (inode->seals & F_SEAL_GROW_)))
        return -EPERM;
    if (!(inode->i_data.flags & AS_SHMEM_ACCOUNT) || size <= old_size)
        return 0;
    return shmem_commit(cpu, DIV_ROUND_UP(size, PAGE_SIZE) - DIV_ROUND_UP(old_size, PAGE_SIZE));
}

s64 vfs_ftruncate(struct cpu *cpu, struct file *file, s64 size) NO_LOCK_ANALYSIS
{
    struct inode *inode = file->f_inode;
    int err;

    if (size < 0 || !inode_is_regular(inode) || !(file->f_mode & FMODE_WRITE))
        return -EINVAL;
    down_write(cpu, &inode->i_rwsem);
    err = check_new_size(cpu, inode, (u64)size);
    if (!err) {
        if ((u64)size < inode_size(inode))
            account_new_size(cpu, inode, DIV_ROUND_UP((u64)size, PAGE_SIZE));
        set_size_locked(cpu, inode, (u64)size);
    }
    up_write(cpu, &inode->i_rwsem);
    return err;
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
