/* SPDX-License-Identifier: MIT */
/*
 * read(2) and write(2) through the page cache: which pages they bring in and dirty, what time that takes, and with
 * content=full the bytes, where the caller has them.
 *
 * A read asks the device once for each run of pages that are missing (a run ends at a page that is there): the requests
 * that a real kernel would merge. Readahead beyond the range comes with row E3. A read of a hole in shared memory makes
 * no page.
 * A write beyond the end clears what a mapping has stored between (truncate.c says which files do). It goes page by
 * page: seals and limits that forbid the second page leave a short count.
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "phys/lru.h"
#include "phys/page_alloc.h"

#define MAX_RW_COUNT 0x7ffff000ull

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
    struct inode *inode = f->page.mapping->host;

    disk_load(cpu, inode, f->page.index, page_address(cpu->m, &f->page));
    folio_set_uptodate(f);
}

/* Bytes [pos, pos + n) of one page; NULL: a hole. */
static void copy_out(struct cpu *cpu, char *buf, const struct folio *f, u64 pos, u64 n)
{
    if (!buf || cpu->m->config.content != CONTENT_FULL)
        return;
    if (f)
        memcpy(buf, (const char *)page_address(cpu->m, &f->page) + (pos & ~PAGE_MASK), n);
    else
        memset(buf, 0, n);
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

static void shmem_read_page(struct cpu *cpu, struct address_space *mapping, char *buf, u64 pos, u64 n)
{
    struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(pos >> PAGE_SHIFT));

    copy_out(cpu, buf, f && folio_test_uptodate(f) ? f : NULL, pos, n);
    if (!f)
        return;
    folio_mark_accessed(cpu, f);
    folio_put(cpu, f);
}

/* 0; or an error, or 1: truncated meanwhile. */
static int disk_read_page(struct cpu *cpu, struct address_space *mapping, char *buf, u64 pos, u64 n, u64 *run)
{
    struct folio *f = filemap_grab_folio_within(cpu, mapping, PGOFF(pos >> PAGE_SHIFT), 0);

    if (IS_ERR_OR_NULL(f))
        return f ? PTR_ERR(f) : 1;
    if (folio_test_uptodate(f)) {
        submit_run(cpu, run);
    } else {
        ++*run;
        folio_filled(cpu, f);
    }
    copy_out(cpu, buf, f, pos, n);
    folio_unlock(cpu, f);
    folio_mark_accessed(cpu, f);
    folio_put(cpu, f);
    return 0;
}

static s64 do_read(struct cpu *cpu, struct file *file, char *buf, u64 pos, u64 len)
{
    struct address_space *mapping = file->f_mapping;
    u64 size = inode_size(mapping->host), end, at, n, run = 0;
    int err = 0;

    if (pos >= size || !len)
        return 0;
    end = len > size - pos ? size : pos + len;
    for (at = pos; at < end; at += n) {
        char *to = buf ? buf + (at - pos) : NULL;

        n = MIN(end, ALIGN_DOWN(at, PAGE_SIZE) + PAGE_SIZE) - at;
        if (mapping->a_ops == A_OPS_SHMEM)
            shmem_read_page(cpu, mapping, to, at, n);
        else
            err = disk_read_page(cpu, mapping, to, at, n, &run);
        if (err)
            break;
    }
    submit_run(cpu, &run);
    if (at == pos)
        return err < 0 ? err : 0;
    charge_n(cpu, COST_COPY_USER_KB, DIV_ROUND_UP(at - pos, 1024));
    return (s64)(at - pos);
}

s64 generic_file_read(struct cpu *cpu, struct file *file, u64 pos, u64 len)
{
    return do_read(cpu, file, NULL, pos, len);
}

static int check_range(const struct file *file, u32 mode, s64 pos, u64 *len)
{
    if (!(file->f_mode & mode))
        return -EBADF;
    if (!inode_is_regular(file->f_inode))
        return -ESPIPE;
    if (pos < 0 || (s64)*len < 0 || pos > INT64_MAX - (s64)*len)
        return -EINVAL;
    *len = MIN(*len, MAX_RW_COUNT);
    return 0;
}

s64 file_pread(struct cpu *cpu, struct file *file, void *buf, u64 len, s64 pos)
{
    int err = check_range(file, FMODE_READ, pos, &len);

    return err ? err : do_read(cpu, file, buf, (u64)pos, len);
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

/* What is overwritten whole, or lies beyond the end, need not be read. */
static void prepare_write(struct cpu *cpu, struct address_space *mapping, struct folio *f, u64 from, u64 to)
{
    u64 start = folio_index(f).nr << PAGE_SHIFT, run = 1;
    bool whole = from == start && to == start + PAGE_SIZE;

    if (folio_test_uptodate(f))
        return;
    if (mapping->a_ops == A_OPS_SHMEM) {
        if (cpu->m->config.content == CONTENT_FULL)
            memset(page_address(cpu->m, &f->page), 0, PAGE_SIZE);
        folio_set_uptodate(f);
        return;
    }
    if (!whole && start < inode_size(mapping->host))
        submit_run(cpu, &run);
    folio_filled(cpu, f);
}

/* One page's part of a write: [from, to) of the locked folio. */
static void write_one_page(struct cpu *cpu, struct folio *f, const char *buf, u64 from, u64 to)
{
    struct address_space *mapping = f->page.mapping;

    prepare_write(cpu, mapping, f, from, to);
    if (buf && cpu->m->config.content == CONTENT_FULL)
        memcpy((char *)page_address(cpu->m, &f->page) + (from & ~PAGE_MASK), buf, to - from);
    if (to > inode_size(mapping->host))
        WRITE_ONCE(mapping->host->i_size, to);
    folio_mark_dirty(cpu, f);
}

/* What seals say of [pos, end), within a page. */
static int check_seals(const struct inode *inode, u64 end)
{
    if (inode->seals & (F_SEAL_WRITE_ | F_SEAL_FUTURE_WRITE_))
        return -EPERM;
    return (inode->seals & F_SEAL_GROW_) && end > inode_size(inode) ? -EPERM : 0;
}

static s64 do_write(struct cpu *cpu, struct file *file, const char *buf, u64 pos, u64 len) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = file->f_mapping;
    u64 end = pos + len, done = pos;
    s64 err = 0;

    down_write(cpu, &mapping->host->i_rwsem);
    if (len)
        inode_zero_tail(cpu, mapping->host, pos);
    while (done < end) {
        u64 next = MIN(end, ALIGN_DOWN(done, PAGE_SIZE) + PAGE_SIZE);
        struct folio *f;

        err = check_seals(mapping->host, next);
        if (err)
            break;
        f = filemap_grab_folio(cpu, mapping, PGOFF(done >> PAGE_SHIFT), __GFP_WRITE);
        if (IS_ERR(f)) {
            err = PTR_ERR(f);
            break;
        }
        write_one_page(cpu, f, buf ? buf + (done - pos) : NULL, done, next);
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

s64 generic_file_write(struct cpu *cpu, struct file *file, u64 pos, u64 len)
{
    return pos + len < pos ? -EFBIG : do_write(cpu, file, NULL, pos, len);
}

/* The part of a write that limit and file system allow; signals (SIGXFSZ) are the caller's. */
static int limit_write(struct cpu *cpu, const struct inode *inode, u64 pos, u64 *len)
{
    u64 limit = inode_max_bytes(inode);

    if (cpu->current)
        limit = MIN(limit, rlimit(cpu->current, RLIMIT_FSIZE_));
    if (*len && pos >= limit)
        return -EFBIG;
    *len = *len ? MIN(*len, limit - pos) : 0;
    return 0;
}

s64 file_pwrite(struct cpu *cpu, struct file *file, const void *buf, u64 len, s64 pos)
{
    int err = check_range(file, FMODE_WRITE, pos, &len);

    if (!err && (file->f_inode->i_flags & INODE_HUGETLB))
        err = -EINVAL;
    if (!err)
        err = limit_write(cpu, file->f_inode, (u64)pos, &len);
    return err || !len ? err : do_write(cpu, file, buf, (u64)pos, len);
}
