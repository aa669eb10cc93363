/* SPDX-License-Identifier: MIT */
/* The page cache's interface (mm/filemap.c in Linux) and the machine's table of files. */
#ifndef QUIRE_CACHE_FILEMAP_H
#define QUIRE_CACHE_FILEMAP_H

#include "vm/vm.h"

int cache_init(struct cpu *cpu); /* boot; 0 or -ENOMEM */

/* The file with this identity, created on first use with `size` bytes; counted reference. ERR_PTR(-ENOMEM). */
struct file *file_open(struct cpu *cpu, u64 dev, u64 ino, u64 size, u32 f_mode, const char *name);
/* A new unnamed shared-memory object (MAP_SHARED | MAP_ANONYMOUS, memfd). */
struct file *shmem_file_setup(struct cpu *cpu, const char *name, u64 size);
void fput(struct cpu *cpu, struct file *file);
/* New size; on shrinking the pages beyond are unmapped and dropped (truncate). */
void inode_set_size(struct cpu *cpu, struct inode *inode, u64 size);

struct folio *filemap_get_folio(struct cpu *cpu, struct address_space *mapping,
                                pgoff_t index); /* with a reference, or NULL */
/* Insert a locked new folio; takes a reference. 0, -EEXIST, -ENOMEM. */
int filemap_add_folio(struct cpu *cpu, struct address_space *mapping, struct folio *f, pgoff_t index, u32 gfp);
void filemap_remove_folio(struct cpu *cpu, struct folio *f);
/* read(2)/write(2) through the cache: [pos, pos + len) is brought in / dirtied;
 * device time is charged. Bytes done or -errno. */
s64 generic_file_read(struct cpu *cpu, struct file *file, u64 pos, u64 len);
s64 generic_file_write(struct cpu *cpu, struct file *file, u64 pos, u64 len);
u64 truncate_inode_pages(struct cpu *cpu, struct address_space *mapping, u64 from_bytes);

extern const struct vm_operations_struct generic_file_vm_ops, shmem_vm_ops;
extern const struct address_space_operations disk_a_ops, shmem_a_ops;

#endif
