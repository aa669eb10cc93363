/* SPDX-License-Identifier: MIT */
/* The page cache's interface (mm/filemap.c in Linux) and the machine's table of files. */
#ifndef QUIRE_CACHE_FILEMAP_H
#define QUIRE_CACHE_FILEMAP_H

#include "vm/vm.h"

int cache_init(struct cpu *cpu); /* boot; 0 or -ENOMEM */

/* The file with this identity, created on first use with `size` bytes; counted reference. ERR_PTR(-ENOMEM). */
struct file *file_open(struct cpu *cpu, u64 dev, u64 ino, u64 size, u32 f_mode, const char *name);
/*
 * A new unnamed shared-memory object (MAP_SHARED | MAP_ANONYMOUS, memfd, SysV). vm_flags: VM_NORESERVE, its memory is
 * committed page by page, or 0. ERR_PTR(-ENOMEM).
 */
struct file *shmem_file_setup(struct cpu *cpu, const char *name, u64 size, u64 vm_flags);
/* A new unnamed object on hugetlbfs, of pages of 2^huge_shift bytes: cache/hugetlb.c. ERR_PTR(-ENOMEM). */
struct file *hugetlb_file_setup(struct cpu *cpu, const char *name, u64 size, u32 huge_shift);
/* A file on tmpfs, by identity, as file_open() does it for one on disk. */
struct file *tmpfs_open(struct cpu *cpu, u64 dev, u64 ino, u64 size, u32 f_mode, const char *name);
/* Another open file of the same object (open(2) of its /proc/PID/fd entry). ERR_PTR(-ENOMEM). */
struct file *file_reopen(struct cpu *cpu, const struct file *file, u32 f_mode);
/* A file found by identity has no name any more: it goes with its last file; or it is known to be in use elsewhere. */
enum inode_link { INODE_HAS_NAME, INODE_HAS_NO_NAME };
void inode_set_linked(struct cpu *cpu, struct inode *inode, enum inode_link link);
void fput(struct cpu *cpu, struct file *file);
/* New size; on shrinking the pages beyond are unmapped and dropped (truncate). */
void inode_set_size(struct cpu *cpu, struct inode *inode, u64 size);

/* As the system calls; 0 or -errno. Signals (SIGXFSZ) are the caller's. */
s64 vfs_ftruncate(struct cpu *cpu, struct file *file, s64 size);
s64 vfs_fallocate(struct cpu *cpu, struct file *file, u32 mode, s64 offset, s64 len);
#define FALLOC_FL_KEEP_SIZE_ 0x01u
#define FALLOC_FL_PUNCH_HOLE_ 0x02u
#define FALLOC_FL_COLLAPSE_RANGE_ 0x08u
#define FALLOC_FL_ZERO_RANGE_ 0x10u
#define FALLOC_FL_INSERT_RANGE_ 0x20u
#define FALLOC_FL_UNSHARE_RANGE_ 0x40u
#define FALLOC_FL_WRITE_ZEROES_ 0x80u

/* memfd.c. name as /proc/PID/maps shows it ("memfd:x"); huge_shift: MFD_HUGETLB, else 0. ERR_PTR(-ENOMEM). */
#define MEMFD_SEALABLE 1u
#define MEMFD_EXEC 2u
struct file *memfd_create_file(struct cpu *cpu, const char *name, u32 flags, u32 huge_shift);
s64 memfd_get_seals(const struct file *file); /* F_SEAL_* or -EINVAL: no seals there */
int memfd_add_seals(struct cpu *cpu, struct file *file, u32 seals);

struct folio *filemap_get_folio(struct cpu *cpu, struct address_space *mapping,
                                pgoff_t index); /* with a reference, or NULL */
/* Insert a locked new folio; takes a reference. 0, -EEXIST, -ENOMEM. */
int filemap_add_folio(struct cpu *cpu, struct address_space *mapping, struct folio *f, pgoff_t index, u32 gfp);
void filemap_remove_folio(struct cpu *cpu, struct folio *f);
/* sync.c: dirty pages first..last go to the disk; 0 or -ENOMEM. */
int filemap_fsync_range(struct cpu *cpu, struct file *file, u64 first, u64 last);
int filemap_write_range(struct cpu *cpu, struct address_space *mapping, u64 first, u64 last); /* of a file on disk */
/* Pages [index, index + nr) of a file on disk that are missing, read into the cache; best effort. */
void filemap_readahead(struct cpu *cpu, struct file *file, u64 index, u64 nr);
/* read(2)/write(2) through the cache: [pos, pos + len) is brought in / dirtied;
 * device time is charged. Bytes done or -errno. */
s64 generic_file_read(struct cpu *cpu, struct file *file, u64 pos, u64 len);
s64 generic_file_write(struct cpu *cpu, struct file *file, u64 pos, u64 len);
/* The same with the bytes (content=full): pread(2), pwrite(2). */
s64 file_pread(struct cpu *cpu, struct file *file, void *buf, u64 len, s64 pos);
s64 file_pwrite(struct cpu *cpu, struct file *file, const void *buf, u64 len, s64 pos);
/* What the disk holds before anybody reads it: not in the cache, no time, size raised as needed. 0 or -ENOMEM. */
int disk_file_fill(struct cpu *cpu, struct file *file, const void *buf, u64 len, u64 pos);
u64 truncate_inode_pages(struct cpu *cpu, struct address_space *mapping, u64 from_bytes);

extern const struct vm_operations_struct generic_file_vm_ops, shmem_vm_ops, hugetlb_vm_ops;
extern const struct address_space_operations disk_a_ops, shmem_a_ops;

#endif
