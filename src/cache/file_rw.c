/* SPDX-License-Identifier: MIT */
/*
 * read(2) and write(2) through the page cache: which pages they bring in and dirty, and what time that takes. The
 * bytes are the front end's.
 *
 * A read asks the device once for each run of pages that are missing (a run ends at a page that is there): the requests
 * that a real kernel would merge. Readahead beyond the range comes with row E3.
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "phys/lru.h"
#include "phys/page_alloc.h"

/* Fold a finished run of missing pages into one device request. */
static void submit_run(struct cpu *cpu, u64 *run)
{
    if (*run && !cpu->m->config.page_cache_warm)
        blkdev_read(cpu, *run);
    *run = 0;
}

/* The locked, fresh folio's contents, once the device delivered them. */
static void folio_filled(struct cpu *cpu, struct folio *f)
{
    if (cpu->m->config.content == CONTENT_FULL)
        memset(page_address(cpu->m, &f->page), 0, PAGE_SIZE);
    folio_set_uptodate(f);
}

s64 generic_file_read(struct cpu *cpu, struct file *file, u64 pos, u64 len)
{
    struct address_space *mapping = file->f_mapping;
    u64 size = inode_size(mapping->host), end, run = 0;
    s64 err = 0;

    if (pos >= size || !len)
        return 0;
    end = len > size - pos ? size : pos + len;
    for (u64 i = pos >> PAGE_SHIFT; i <= (end - 1) >> PAGE_SHIFT; i++) {
        struct folio *f = filemap_grab_folio_within(cpu, mapping, PGOFF(i), 0);

        if (IS_ERR_OR_NULL(f)) { /* no memory, or truncated meanwhile */
            err = f ? PTR_ERR(f) : 0;
            end = MAX(pos, i << PAGE_SHIFT);
            break;
        }
        if (folio_test_uptodate(f)) {
            submit_run(cpu, &run);
        } else {
            if (mapping->a_ops == A_OPS_DISK)
                run++;
            folio_filled(cpu, f);
        }
        folio_unlock(cpu, f);
        folio_mark_accessed(cpu, f);
        folio_put(cpu, f);
    }
    submit_run(cpu, &run);
    if (end == pos)
        return err;
    charge_n(cpu, COST_COPY_USER_KB, DIV_ROUND_UP(end - pos, 1024));
    return (s64)(end - pos);
}

/* One page's part of a write: [from, to) of the locked folio. What is overwritten whole need not be read. */
static void write_one_page(struct cpu *cpu, struct address_space *mapping, struct folio *f, u64 from, u64 to)
{
    u64 start = folio_index(f).nr << PAGE_SHIFT;
    bool whole = from == start && to == start + PAGE_SIZE;

    if (!folio_test_uptodate(f)) {
        u64 run = !whole && start < inode_size(mapping->host) && mapping->a_ops == A_OPS_DISK;

        submit_run(cpu, &run);
        folio_filled(cpu, f);
    }
    if (to > inode_size(mapping->host))
        WRITE_ONCE(mapping->host->i_size, to);
    folio_mark_dirty(cpu, f);
}

s64 generic_file_write(struct cpu *cpu, struct file *file, u64 pos, u64 len) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = file->f_mapping;
    u64 end = pos + len, done = pos;
    s64 err = 0;

    if (end < pos)
        return -EFBIG;
    down_write(cpu, &mapping->host->i_rwsem);
    while (done < end) {
        u64 next = MIN(end, ALIGN_DOWN(done, PAGE_SIZE) + PAGE_SIZE);
        struct folio *f = filemap_grab_folio(cpu, mapping, PGOFF(done >> PAGE_SHIFT), __GFP_WRITE);

        if (IS_ERR(f)) {
            err = PTR_ERR(f);
            break;
        }
        write_one_page(cpu, mapping, f, done, next);
        folio_unlock(cpu, f);
        folio_mark_accessed(cpu, f);
        folio_put(cpu, f);
        done = next;
    }
    up_write(cpu, &mapping->host->i_rwsem);
    if (done == pos)
        return err;
    charge_n(cpu, COST_COPY_USER_KB, DIV_ROUND_UP(done - pos, 1024));
    return (s64)(done - pos);
}
