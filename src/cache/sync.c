/* SPDX-License-Identifier: MIT */
/*
 * Writing dirty pages of a range back to the disk, and waiting for it: fsync's part of msync(2). One page is one request
 * (writeback that gathers them is a later row).
 *
 *   dirty ─▶ entries made clean and read-only (folio_mkclean): the next write is seen ─▶ bytes to the disk ─▶ clean
 *
 * Failure: no room on the RAM disk that holds the bytes with content=full: the page stays dirty, -ENOMEM.
 * Locks: the folio lock, one at a time; i_pages' lock for the mark.
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "phys/lru.h"
#include "phys/vmstat.h"

/* Of the page in which the file ends the rest is written as zeroes, and is zero in the cache from then on. */
static void clear_behind_end(struct cpu *cpu, const struct inode *inode, struct folio *f)
{
    u64 size = inode_size(inode), part = size & ~PAGE_MASK;

    if (part && f->page.index == size >> PAGE_SHIFT && cpu->m->config.content == CONTENT_FULL)
        memset((char *)page_address(cpu->m, &f->page) + part, 0, PAGE_SIZE - part);
}

static int write_folio(struct cpu *cpu, struct address_space *mapping, struct folio *f) NO_LOCK_ANALYSIS
{
    int err;

    if (f->page.mapping != mapping || !folio_test_dirty(f))
        return 0;
    folio_mkclean(cpu, f);
    clear_behind_end(cpu, mapping->host, f);
    err = disk_store(cpu, mapping->host, f->page.index, page_address(cpu->m, &f->page));
    if (err)
        return err;
    xa_lock(cpu, &mapping->i_pages);
    __xa_clear_mark(&mapping->i_pages, f->page.index, PAGECACHE_TAG_DIRTY);
    folio_clear_dirty(f);
    xa_unlock(cpu, &mapping->i_pages);
    lruvec_stat_mod_folio(cpu, f, NR_FILE_DIRTY, -1);
    lruvec_stat_mod_folio(cpu, f, NR_WRITTEN, 1);
    blkdev_write(cpu, 1);
    return 0;
}

int filemap_write_range(struct cpu *cpu, struct address_space *mapping, u64 first, u64 last)
{
    bool written = false;
    int err = 0;
    u64 index;
    void *entry;

    xa_for_each_range (&mapping->i_pages, index, entry, first, last) {
        struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(index));

        if (!f)
            continue;
        folio_lock(cpu, f);
        written |= folio_test_dirty(f);
        err = write_folio(cpu, mapping, f);
        folio_unlock(cpu, f);
        folio_put(cpu, f);
        if (err)
            break;
    }
    if (written)
        lru_add_drain(cpu);
    return err;
}

int filemap_fsync_range(struct cpu *cpu, struct file *file, u64 first, u64 last)
{
    struct address_space *mapping = file->f_mapping;

    return mapping && mapping->a_ops == A_OPS_DISK ? filemap_write_range(cpu, mapping, first, last) : 0;
}
