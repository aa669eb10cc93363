/* SPDX-License-Identifier: MIT */
/* The page cache's books: CA1..CA6 of filemap.c, recounted for every inode. The machine is quiet: no locks. */
#include "cache/cache.h"

#include "phys/vmstat.h"
#include "vm/check.h"

struct cache_check_ctx {
    struct machine *m;
    struct check_report *r;
    u64 pages, shmem, dirty, accounted;
};

static void check_folio(struct cache_check_ctx *c, struct inode *inode, u64 index, struct folio *f)
{
    struct address_space *mapping = &inode->i_data;
    bool disk = mapping->a_ops == A_OPS_DISK, marked;
    unsigned long long at = index;

    if (f->page.mapping != mapping || folio_index(f).nr != index)
        check_fail(c->r, "CA1: %s: folio at %llu has index %llu, mapping %p", inode->name, at,
                   (unsigned long long)folio_index(f).nr, (void *)f->page.mapping);
    marked = xa_get_mark(&mapping->i_pages, index, PAGECACHE_TAG_DIRTY);
    if (disk && marked != folio_test_dirty(f))
        check_fail(c->r, "CA3: %s: folio at %llu: dirty %d, mark %d", inode->name, at, folio_test_dirty(f), marked);
    c->dirty += disk && folio_test_dirty(f);
    if (folio_ref_count(f) < 1 + folio_mapcount(f))
        check_fail(c->r, "CA4: %s: folio at %llu: refcount %d with %d mappings", inode->name, at, folio_ref_count(f),
                   folio_mapcount(f));
    if (folio_test_swapbacked(f) == disk)
        check_fail(c->r, "CA4: %s: folio at %llu: swapbacked %d", inode->name, at, !disk);
    if (disk && index >= DIV_ROUND_UP(inode_size(inode), PAGE_SIZE))
        check_fail(c->r, "CA6: %s: folio at %llu lies beyond the size %llu", inode->name, at,
                   (unsigned long long)inode_size(inode));
    if (folio_test_locked(f))
        check_fail(c->r, "CA6: %s: folio at %llu is locked", inode->name, at);
}

static void check_i_mmap(struct cache_check_ctx *c, struct inode *inode)
{
    const vm_flags_t shared_write = VM_SHARED | VM_MAYWRITE;
    struct address_space *mapping = &inode->i_data;
    struct interval_tree_node *n;
    s32 writable = 0;
    u64 nr = 0;

    interval_tree_foreach (n, &mapping->i_mmap, 0, ~(u64)0) {
        struct vm_area_struct *vma = container_of(n, struct vm_area_struct, shared);

        nr++;
        writable += (vma->vm_flags & shared_write) == shared_write;
        if (!vma->vm_file || vma->vm_file->f_mapping != mapping)
            check_fail(c->r, "CA5: %s: VMA %llx is in its tree, but maps another file", inode->name,
                       (unsigned long long)vma->vm_start);
        CHECK_EQ(c->r, n->start, vma->vm_pgoff.nr, "CA5 VMA in i_mmap");
        CHECK_EQ(c->r, n->last, vma->vm_pgoff.nr + vma_pages(vma) - 1, "CA5 VMA in i_mmap");
    }
    CHECK_EQ(c->r, nr, inode->found_vmas, "CA5 VMAs in i_mmap, and of all mms");
    CHECK_EQ(c->r, atomic_load(&mapping->i_mmap_writable), inode->seals & F_SEAL_WRITE_ ? -1 : writable,
             "CA5 MF1 mapping");
    if ((inode->seals & F_SEAL_WRITE_) && writable)
        check_fail(c->r, "MF1: %s: sealed against writing, %d mappings may write", inode->name, writable);
    interval_tree_check(&mapping->i_mmap, c->r);
}

static void check_inode(struct cache_check_ctx *c, struct inode *inode)
{
    struct address_space *mapping = &inode->i_data;
    u64 index, nr = 0;
    void *entry;

    xa_for_each (&mapping->i_pages, index, entry) {
        check_folio(c, inode, index, entry);
        nr++;
    }
    CHECK_EQ(c->r, mapping->nrpages, nr, "CA2 mapping");
    xa_check(&mapping->i_pages, c->r);
    check_i_mmap(c, inode);
    c->pages += nr;
    c->shmem += mapping->a_ops == A_OPS_SHMEM ? nr : 0;
    c->accounted += shmem_accounted_pages(inode);
}

/* Every VMA with a file is in its file's tree (CA5, the other direction). */
static void check_file_vmas(struct cache_check_ctx *c)
{
    struct vm_area_struct *vma;
    struct mm *mm;

    list_for_each_entry (mm, &c->m->vm->mms, mmlist) {
        for_each_vma (vma, mm) {
            if (!vma->vm_file)
                continue;
            vma->vm_file->f_inode->found_vmas++;
            if (RB_EMPTY_NODE(&vma->shared.rb))
                check_fail(c->r, "CA5: VMA %llx is not in its file's tree", (unsigned long long)vma->vm_start);
        }
    }
}

void cache_check(struct machine *m, struct check_report *r)
{
    struct cache_check_ctx c = {.m = m, .r = r};
    struct inode *inode;
    u64 nr = 0;

    list_for_each_entry (inode, &m->cache->inodes, inodes)
        inode->found_vmas = 0;
    check_file_vmas(&c);
    list_for_each_entry (inode, &m->cache->inodes, inodes) {
        check_inode(&c, inode);
        nr++;
    }
    CHECK_EQ(r, m->cache->nr_inodes, nr, "the list of inodes");
    CHECK_EQ(r, global_node_page_state(m, NR_FILE_PAGES), c.pages, "CA2: NR_FILE_PAGES");
    CHECK_EQ(r, global_node_page_state(m, NR_SHMEM), c.shmem, "CA2: NR_SHMEM");
    CHECK_EQ(r, global_node_page_state(m, NR_FILE_DIRTY), c.dirty, "CA3: NR_FILE_DIRTY");
    CHECK_EQ(r, atomic_load(&m->vm->vm_committed_as),
             vm_accounted_pages(m) + c.accounted + (u64)atomic_load(&m->vm->committed_lost), "Committed_AS");
}
