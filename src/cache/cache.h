/* SPDX-License-Identifier: MIT */
/* What the page-cache floor keeps for a machine (m->cache), its tables for boot, and its books. */
#ifndef QUIRE_CACHE_CACHE_H
#define QUIRE_CACHE_CACHE_H

#include "base/check.h"
#include "cache/filemap.h"
#include "cache/sysv_shm.h"

/* Field keys: c constant after creation · l cache->lock · a atomic. */
struct cache {
    spinlock_t lock;                                              /* RANK_FILES */
    struct rb_root files;                                         /* l: inodes of disk files by (dev, ino) */
    struct list_head inodes;                                      /* l: every inode, shared-memory objects too */
    u64 nr_inodes;                                                /* l */
    u64 next_shmem_ino;                                           /* l */
    struct kmem_cache *inode_cachep, *filp_cachep, *block_cachep; /* c */
    struct inode special;                                         /* pages of vdso and vvar: cache/device.c */
    struct shm_ids shm;                                           /* SysV segments: cache/sysv_shm.c */
    _Atomic u64 nr_files;                                         /* a: struct file in existence */
    _Atomic u64 device_reads, device_read_pages;                  /* a: requests, and pages they brought */
};

/* address_space.flags, beside AS_UNEVICTABLE (phys/lru.h) */
#define AS_SHMEM_ACCOUNT 1u /* the object's whole size is committed; else (size 0 at creation: memfd) page by page */

/* Tags of address_space.i_pages. */
#define PAGECACHE_TAG_DIRTY XA_MARK_0
#define PAGECACHE_TAG_WRITEBACK XA_MARK_1
#define PAGECACHE_TAG_TOWRITE XA_MARK_2

/* blkdev.c: one read request for `pages` contiguous pages. */
void blkdev_read(struct cpu *cpu, u64 pages);
void blkdev_write(struct cpu *cpu, u64 pages);

/* filemap.c */
/* The folio at index, locked and with a reference;
 * made, if it is not there (then not up to date yet). ERR_PTR(-ENOMEM). */
struct folio *filemap_grab_folio(struct cpu *cpu, struct address_space *mapping, pgoff_t index, u32 gfp);
/* The same for a page within the file's size;
 * NULL: there is none, because it lies beyond it. */
struct folio *filemap_grab_folio_within(struct cpu *cpu, struct address_space *mapping, pgoff_t index, u32 gfp);
/* Drop a locked folio from the cache (the caller's reference stays). */
void filemap_remove_folio_locked(struct cpu *cpu, struct folio *f);

/* disk_store.c: the bytes on the disk, with content=full (nothing without). */
/* The block's bytes into a page; zeroes where nothing was written. */
void disk_load(struct cpu *cpu, struct inode *inode, u64 index, void *page);
int disk_store(struct cpu *cpu, struct inode *inode, u64 index, const void *page); /* 0 or -ENOMEM */
/* Blocks from index `from` on begin at `to`; those from `to` to `from` go. 0, or -ENOMEM with nothing changed. */
int disk_move(struct cpu *cpu, struct inode *inode, u64 from, u64 to);
void disk_discard(struct cpu *cpu, struct inode *inode, u64 start, u64 end); /* bytes [start, end) read as zeroes */

/* truncate.c */
/* Bytes of the last page behind the size, up to `to`, become zero: a file on disk is about to grow. i_rwsem held. */
void inode_zero_tail(struct cpu *cpu, struct inode *inode, u64 to);
/* Bytes [start, end) become zero, whole pages leave the cache. i_rwsem held for writing. */
void punch_hole(struct cpu *cpu, struct inode *inode, u64 start, u64 end);
/*
 * What a file on disk holds from `from` on begins at `to`, its size changes as much; from the lower of both on nothing
 * stays in the cache or mapped. Both are multiples of a page, i_rwsem is held for writing. 0, or -ENOMEM: nothing moved.
 */
int disk_shift(struct cpu *cpu, struct inode *inode, u64 from, u64 to);
/* Pages [first, end) that fallocate(2) has made but not yet given bytes. */
void truncate_fresh_pages(struct cpu *cpu, struct address_space *mapping, u64 first, u64 end);
/* May the file become so large? 0 or -EFBIG. */
int inode_newsize_ok(struct cpu *cpu, const struct inode *inode, u64 size);
u64 inode_max_bytes(const struct inode *inode);
/* Drop what is clean and neither mapped nor used from the cache (drop_caches); pages dropped. */
u64 drop_pagecache(struct cpu *cpu);

/* file.c */
void inode_init(struct machine *m, struct inode *inode, enum a_ops_id a_ops, const char *name);

/* A file of a device, with nothing of its own yet. ERR_PTR(-ENOMEM). */
struct file *device_file(struct cpu *cpu, const char *name, u32 f_mode);

static inline u64 inode_size(const struct inode *inode)
{
    return READ_ONCE(inode->i_size);
}

static inline bool inode_is_regular(const struct inode *inode)
{
    return !(inode->i_flags & (INODE_DEVICE | INODE_PIPE));
}

/* hugetlb.c: what mappings of such objects do, also of SysV segments. */
int hugetlb_mmap(struct cpu *cpu, struct vm_area_struct *vma);
int hugetlb_may_split(struct cpu *cpu, struct vm_area_struct *vma, va_t addr);
vm_fault_t hugetlb_fault(struct cpu *cpu, struct vm_fault *vmf);

/* shmem.c */
void shmem_clear_folio(struct cpu *cpu, struct folio *f); /* a locked folio that has no bytes yet: zeroes */
int shmem_fallocate(struct cpu *cpu, struct inode *inode, u32 mode, u64 offset, u64 end);
/* shmem.c: pages that a shared-memory object has committed (Committed_AS). */
u64 shmem_accounted_pages(const struct inode *inode);
/* SHM_LOCK: pages that come into the object are unevictable; SHM_UNLOCK: all of it may be reclaimed again. */
void shmem_lock_mapping(struct address_space *mapping);
void shmem_unlock_mapping(struct cpu *cpu, struct address_space *mapping);
int shmem_commit(struct cpu *cpu, u64 pages); /* 0 or -ENOMEM */
void shmem_uncommit(struct cpu *cpu, u64 pages);
static inline bool mapping_commits_by_page(const struct address_space *mapping)
{
    return mapping->a_ops == A_OPS_SHMEM && !(mapping->flags & AS_SHMEM_ACCOUNT);
}

/* CA1..CA6 of filemap.c for every inode. CPUs quiet. */
void cache_check(struct machine *m, struct check_report *r);

#endif
