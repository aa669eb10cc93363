/* SPDX-License-Identifier: MIT */
/*
 * The page cache: the pages of a file by their offset.
 *
 *   inode ── i_data: address_space ── i_pages: xarray   index ─▶ folio   marks: dirty, writeback, towrite
 *                                  └─ i_mmap: interval tree of the VMAs that map it (rmap goes this way)
 *
 * A page's way:
 *
 *   absent ─[filemap_add_folio]─▶ in the cache, locked, not up to date ─[read_folio]─▶ up to date ◀──────┐
 *                                        │ error                                        │ [dirty_folio]   │ writeback
 *                                        ▼                                              ▼                 │ (later row)
 *   gone ◀──────────────[filemap_remove_folio: truncate, drop_caches]───────────────── dirty ─────────────┘
 *
 * References: one by the cache itself, one by each mapping, one by each LRU batch it waits in, one by each
 * caller. A lookup takes its reference without a lock: from a count that is not 0, then looks whether the page is
 * still where it was found.
 *
 * Warm cache. With config.page_cache_warm every page of a file counts as read before: it is made on first
 * use without device time, and its first fault is minor. So a run can be compared with one on a host that
 * had the program in its cache.
 *
 * Locks. Insertion and removal hold the folio lock, and take i_pages' lock for the tree. Truncation locks each folio,
 * so a locked folio with ->mapping set stays in the cache. A page within i_size is made under invalidate_lock (read),
 * or by who may change the size (i_rwsem): truncation cannot miss it. Order in base/lock_rank.h.
 *
 * Invariants (cache_check)
 *   CA1 each folio of i_pages has ->mapping and ->index of its place.
 *   CA2 nrpages = folios found; the sum over all = NR_FILE_PAGES, those of shared memory = NR_SHMEM.
 *   CA3 a folio has the dirty mark iff PG_dirty (files on disk); their sum = NR_FILE_DIRTY.
 *   CA4 a folio of the cache has _refcount >= 1 and is not anonymous; on disk files
 *       PG_swapbacked is clear, on shmem set.
 *   CA5 i_mmap holds exactly the VMAs whose vm_file is this file's; i_mmap_writable counts the shared, writable ones.
 *   CA6 no folio of a file on disk lies at or beyond i_size (shmem: fallocate), and none is locked when the machine is
 *       quiet.
 *
 * Rejected: a hash of (mapping, index) as older kernels had (no range search, no marks).
 * Follows Documentation/core-api/mm-api.rst (page cache), filesystems/locking.rst; mmap read-around and readahead come
 * with row E3: their place is read_missing().
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "phys/lru.h"
#include "phys/page_alloc.h"
#include "phys/vmstat.h"
#include "vm/fault.h"

static bool mapping_is_shmem(const struct address_space *mapping)
{
    return mapping->a_ops == A_OPS_SHMEM;
}

static u64 mapping_nr_pages(const struct address_space *mapping)
{
    return DIV_ROUND_UP(inode_size(mapping->host), PAGE_SIZE);
}

/* -- lookup, insertion, removal ------------------------------------------------------------------------------------ */

struct folio *filemap_get_folio(struct cpu *cpu, struct address_space *mapping, pgoff_t index)
{
    struct folio *f;

    for (;;) {
        f = xa_load(&mapping->i_pages, index.nr);
        if (!f || xa_is_value(f))
            return NULL;
        if (!folio_try_get(f))
            continue;
        if (likely(xa_load(&mapping->i_pages, index.nr) == f))
            return f;
        /* taken out, and perhaps used for something else, between the look and the reference */
        folio_put(cpu, f);
    }
}

int filemap_add_folio(struct cpu *cpu, struct address_space *mapping, struct folio *f, pgoff_t index,
                      u32 gfp) NO_LOCK_ANALYSIS
{
    int err;

    DEBUG_ASSERT(folio_test_locked(f));
    folio_get(f);
    f->page.mapping = mapping;
    f->page.index = index.nr;
    err = xa_insert(cpu, &mapping->i_pages, index.nr, f, gfp);
    if (err) {
        f->page.mapping = NULL;
        folio_put(cpu, f);
        return err == -EBUSY ? -EEXIST : err;
    }
    xa_lock(cpu, &mapping->i_pages);
    mapping->nrpages++;
    xa_unlock(cpu, &mapping->i_pages);
    lruvec_stat_mod_folio(cpu, f, NR_FILE_PAGES, 1);
    if (mapping_is_shmem(mapping))
        lruvec_stat_mod_folio(cpu, f, NR_SHMEM, 1);
    folio_add_lru(cpu, f);
    return 0;
}

void filemap_remove_folio_locked(struct cpu *cpu, struct folio *f) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = f->page.mapping;

    ASSERT(!folio_mapped(f));
    xa_lock(cpu, &mapping->i_pages);
    __xa_erase(cpu, &mapping->i_pages, f->page.index);
    mapping->nrpages--;
    WRITE_ONCE(f->page.mapping, NULL); /* mapping_unevictable() looks without the lock */
    xa_unlock(cpu, &mapping->i_pages);
    lruvec_stat_mod_folio(cpu, f, NR_FILE_PAGES, -1);
    if (mapping_is_shmem(mapping))
        lruvec_stat_mod_folio(cpu, f, NR_SHMEM, -1);
    if (mapping_commits_by_page(mapping))
        shmem_uncommit(cpu, 1);
    if (folio_test_dirty(f)) {
        folio_clear_dirty(f);
        if (!mapping_is_shmem(mapping))
            lruvec_stat_mod_folio(cpu, f, NR_FILE_DIRTY, -1);
    }
    folio_put(cpu, f);
}

void filemap_remove_folio(struct cpu *cpu, struct folio *f)
{
    DEBUG_ASSERT(folio_test_locked(f));
    filemap_remove_folio_locked(cpu, f);
}

/* A new folio, locked, in the cache at index. -EEXIST: somebody was faster. */
static struct folio *filemap_new_folio(struct cpu *cpu, struct address_space *mapping, pgoff_t index, u32 gfp)
{
    u64 commit = mapping_commits_by_page(mapping);
    struct folio *f;
    int err = -ENOMEM;

    if (shmem_commit(cpu, commit))
        return ERR_PTR(-ENOSPC);
    f = folio_alloc(cpu, mapping->gfp_mask | gfp, 0);
    if (!f)
        goto fail;
    __folio_set_locked(f);
    if (mapping_is_shmem(mapping))
        __folio_set_swapbacked(f);
    err = filemap_add_folio(cpu, mapping, f, index, GFP_KERNEL);
    if (!err)
        return f;
    folio_unlock(cpu, f);
    folio_put(cpu, f);
fail:
    shmem_uncommit(cpu, commit);
    return ERR_PTR(err);
}

struct folio *filemap_grab_folio(struct cpu *cpu, struct address_space *mapping, pgoff_t index, u32 gfp)
{
    struct folio *f;

    for (;;) {
        f = filemap_get_folio(cpu, mapping, index);
        if (!f) {
            f = filemap_new_folio(cpu, mapping, index, gfp);
            if (IS_ERR(f) && PTR_ERR(f) == -EEXIST)
                continue;
            return f;
        }
        folio_lock(cpu, f);
        if (likely(f->page.mapping == mapping))
            return f;
        folio_unlock(cpu, f);
        folio_put(cpu, f);
    }
}

/* Reads and faults make pages by a size that truncation may change: it waits for them, or they see the new one. */
struct folio *filemap_grab_folio_within(struct cpu *cpu, struct address_space *mapping, pgoff_t index,
                                        u32 gfp) NO_LOCK_ANALYSIS
{
    struct folio *f = filemap_get_folio(cpu, mapping, index);

    if (likely(f)) {
        folio_lock(cpu, f);
        if (likely(f->page.mapping == mapping))
            return f;
        folio_unlock(cpu, f);
        folio_put(cpu, f);
        f = NULL;
    }
    down_read(cpu, &mapping->invalidate_lock);
    if (index.nr < mapping_nr_pages(mapping))
        f = filemap_grab_folio(cpu, mapping, index, gfp);
    up_read(cpu, &mapping->invalidate_lock);
    return f;
}

/* -- files on disk ------------------------------------------------------------------------------------------------- */

/* Bring the locked folio up to date; unlocks it. */
static int disk_read_folio(struct cpu *cpu, struct file *file, struct folio *f)
{
    if (!cpu->m->config.page_cache_warm)
        blkdev_read(cpu, 1);
    disk_load(cpu, f->page.mapping->host, f->page.index, page_address(cpu->m, &f->page));
    folio_set_uptodate(f);
    folio_unlock(cpu, f);
    return 0;
}

static bool filemap_dirty_folio(struct cpu *cpu, struct address_space *mapping, struct folio *f) NO_LOCK_ANALYSIS
{
    if (folio_test_set_dirty(f))
        return false;
    xa_lock(cpu, &mapping->i_pages);
    if (f->page.mapping == mapping)
        __xa_set_mark(&mapping->i_pages, f->page.index, PAGECACHE_TAG_DIRTY);
    xa_unlock(cpu, &mapping->i_pages);
    lruvec_stat_mod_folio(cpu, f, NR_FILE_DIRTY, 1);
    lruvec_stat_mod_folio(cpu, f, NR_DIRTIED, 1);
    return true;
}

const struct address_space_operations disk_a_ops = {
    .read_folio = disk_read_folio,
    .dirty_folio = filemap_dirty_folio,
};

/*
 * The page at index, up to date, locked and with a reference, for a fault. *ret gets VM_FAULT_MAJOR if
 * a device was waited for. NULL: it lies beyond the file's end.
 */
static struct folio *read_missing(struct cpu *cpu, struct file *file, pgoff_t index, vm_fault_t *ret)
{
    struct address_space *mapping = file->f_mapping;
    struct folio *f = filemap_grab_folio_within(cpu, mapping, index, 0);

    if (IS_ERR_OR_NULL(f) || folio_test_uptodate(f))
        return f;
    if (!cpu->m->config.page_cache_warm) {
        *ret |= VM_FAULT_MAJOR;
        count_vm_event(cpu, PGMAJFAULT);
    }
    cpu->code->a_ops[mapping->a_ops]->read_folio(cpu, file, f);
    folio_lock(cpu, f);
    return f;
}

/* -- faults -------------------------------------------------------------------------------------------------------- */

static vm_fault_t filemap_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    struct file *file = vmf->vma->vm_file;
    struct address_space *mapping = file->f_mapping;
    vm_fault_t ret = 0;
    struct folio *f;

    if (unlikely(vmf->pgoff.nr >= mapping_nr_pages(mapping)))
        return VM_FAULT_SIGBUS;
    f = read_missing(cpu, file, vmf->pgoff, &ret);
    if (IS_ERR_OR_NULL(f))
        return f ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
    /* truncated while we waited for the lock? */
    if (unlikely(f->page.mapping != mapping || vmf->pgoff.nr >= mapping_nr_pages(mapping))) {
        bool gone = f->page.mapping != mapping;

        folio_unlock(cpu, f);
        folio_put(cpu, f);
        return gone ? ret | VM_FAULT_RETRY : VM_FAULT_SIGBUS;
    }
    vmf->page = &f->page;
    return ret | VM_FAULT_LOCKED;
}

void filemap_readahead(struct cpu *cpu, struct file *file, u64 index, u64 nr)
{
    struct address_space *mapping = file->f_mapping;
    u64 end = MIN(mapping_nr_pages(mapping), index + nr);

    for (; index < end; index++) {
        struct folio *f;

        if (xa_load(&mapping->i_pages, index))
            continue;
        f = filemap_grab_folio_within(cpu, mapping, PGOFF(index), __GFP_NORETRY | __GFP_NOWARN);
        if (IS_ERR_OR_NULL(f))
            return;
        if (folio_test_uptodate(f))
            folio_unlock(cpu, f);
        else
            disk_read_folio(cpu, file, f);
        folio_put(cpu, f);
    }
}

/* A folio that may be mapped around a fault, with a reference and locked, or NULL. */
static struct folio *folio_get_for_around(struct cpu *cpu, struct address_space *mapping, u64 index)
{
    struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(index));

    if (!f)
        return NULL;
    if (folio_test_uptodate(f) && !folio_test_hwpoison(f) && folio_trylock(f)) {
        if (f->page.mapping == mapping && index < mapping_nr_pages(mapping))
            return f;
        folio_unlock(cpu, f);
    }
    folio_put(cpu, f);
    return NULL;
}

/*
 * A table for the pages [first, last] of the file's size, if one of them is there. 6.18 makes none for the file's last
 * page alone: what no huge page may cross brings in no table either; shared memory knows no such end.
 */
static vm_fault_t around_alloc_table(struct cpu *cpu, struct vm_fault *vmf, u64 first, u64 last)
{
    struct address_space *mapping = vmf->vma->vm_file->f_mapping;
    u64 size = mapping_nr_pages(mapping), index;
    void *entry;

    xa_for_each_range (&mapping->i_pages, index, entry, first, last) {
        struct folio *f = filemap_get_folio(cpu, mapping, PGOFF(index));
        bool there = f && folio_test_uptodate(f);

        if (f)
            folio_put(cpu, f);
        if (there)
            return index + 1 == size && !mapping_is_shmem(mapping) ? 0 : vmf_alloc_table(cpu, vmf);
    }
    return 0;
}

static vm_fault_t filemap_map_pages(struct cpu *cpu, struct vm_fault *vmf, pgoff_t start, pgoff_t end) NO_LOCK_ANALYSIS
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    struct address_space *mapping = vmf->vma->vm_file->f_mapping;
    u64 size = mapping_nr_pages(mapping), last = MIN(end.nr, size ? size - 1 : 0), index, around = 0;
    vm_fault_t ret = 0;
    struct pt_entry first;
    s64 mapped = 0;
    void *entry;

    if (start.nr >= size)
        return 0;
    if (cpu->m->config.page_cache_warm && !mapping_is_shmem(mapping))
        filemap_readahead(cpu, vmf->vma->vm_file, start.nr, last - start.nr + 1); /* it would be there */
    if (!vmf->pte.slot) {
        ret = around_alloc_table(cpu, vmf, start.nr, last);
        if (ret || !vmf->pte.slot)
            return ret;
    }
    first = (struct pt_entry){(char *)vmf->pte.slot - ((vmf->pgoff.nr - start.nr) << fmt->entry_shift), 1};
    vmf_lock_pte(cpu, vmf);
    xa_for_each_range (&mapping->i_pages, index, entry, start.nr, last) {
        struct pt_entry e = pt_entry_next(fmt, first, (u32)(index - start.nr));
        struct folio *f;

        if (!pte_none(fmt, pt_read(fmt, e)))
            continue;
        f = folio_get_for_around(cpu, mapping, index);
        if (!f)
            continue;
        set_pte_around(cpu, vmf, e, &f->page); /* our reference is the mapping's now */
        folio_unlock(cpu, f);
        mapped++;
        if (index == vmf->pgoff.nr)
            ret = VM_FAULT_NOPAGE;
        else
            around++;
    }
    if (mapped)
        add_mm_counter(vmf->vma->vm_mm, mapping_is_shmem(mapping) ? MM_SHMEMPAGES : MM_FILEPAGES, mapped);
    vmf_unlock_pte(cpu, vmf);
    count_vm_events(cpu, Q_FAULT_AROUND, around);
    return ret;
}

/* A clean page of a shared mapping is written to: locked, dirty. */
static vm_fault_t filemap_page_mkwrite(struct cpu *cpu, struct vm_fault *vmf) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = vmf->vma->vm_file->f_mapping;
    struct folio *f = page_folio(vmf->page);
    bool ours;

    down_read(cpu, &mapping->invalidate_lock); /* what moves on the disk was written before: it stays as it is */
    folio_lock(cpu, f);
    ours = f->page.mapping == mapping;
    if (ours)
        folio_mark_dirty(cpu, f);
    else
        folio_unlock(cpu, f);
    up_read(cpu, &mapping->invalidate_lock);
    return ours ? VM_FAULT_LOCKED : VM_FAULT_NOPAGE;
}

const struct vm_operations_struct generic_file_vm_ops = {
    .fault = filemap_fault,
    .map_pages = filemap_map_pages,
    .page_mkwrite = filemap_page_mkwrite,
};
