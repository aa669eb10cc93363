/* SPDX-License-Identifier: MIT */
/*
 * memfd_create(2) and seals (fcntl(2), F_ADD_SEALS): promises about an object that its users can rely on.
 *
 *   F_SEAL_SEAL          no more seals                    checked here
 *   F_SEAL_SHRINK, GROW  the size                         ftruncate, fallocate, write            (truncate.c, shmem.c)
 *   F_SEAL_WRITE         the bytes; no shared mapping may exist that could write: -EBUSY
 *   F_SEAL_FUTURE_WRITE  the bytes, but for mappings that exist already
 *   F_SEAL_EXEC          the right to execute; on an executable object it brings SHRINK, GROW, WRITE and FUTURE_WRITE
 *
 * A shared mapping of an object sealed against writing cannot be writable, nor become so (vm/mmap.c).
 *
 * F_SEAL_WRITE against mmap(2): mapping->i_mmap_writable counts the mappings that may write, those being made too;
 * sealing turns 0 into -1, from then on none can be counted. Invariant MF1: sealed against writing <=> negative.
 * Locks: i_rwsem for writing while seals change.
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "vm/gup.h"

struct file *memfd_create_file(struct cpu *cpu, const char *name, u32 flags, u32 huge_shift)
{
    struct file *file =
        huge_shift ? hugetlb_file_setup(cpu, name, 0, huge_shift) : shmem_file_setup(cpu, name, 0, VM_NORESERVE);
    struct inode *inode;

    if (IS_ERR(file))
        return file;
    inode = file->f_inode;
    inode->i_flags |= INODE_SEALS | (flags & MEMFD_EXEC ? INODE_EXEC : 0);
    inode->seals = (flags & MEMFD_SEALABLE ? 0 : F_SEAL_SEAL_) | (flags & MEMFD_EXEC ? 0 : F_SEAL_EXEC_);
    return file;
}

s64 memfd_get_seals(const struct file *file)
{
    if (!(file->f_inode->i_flags & INODE_SEALS))
        return -EINVAL;
    return READ_ONCE(file->f_inode->seals);
}

/* Somebody (get_user_pages) may be writing to a page at this moment, without a mapping. */
static bool has_pinned_pages(struct inode *inode)
{
    struct folio *f;
    u64 index;

    xa_for_each (&inode->i_data.i_pages, index, f)
        if (folio_maybe_dma_pinned(f))
            return true;
    return false;
}

/* No mapping can write from now on, and no pin does. */
static int seal_writing(struct inode *inode)
{
    if (inode->seals & F_SEAL_WRITE_)
        return 0;
    if (!mapping_deny_writable(&inode->i_data))
        return -EBUSY;
    if (!has_pinned_pages(inode))
        return 0;
    mapping_allow_writable(&inode->i_data);
    return -EBUSY;
}

static int add_seals_locked(struct inode *inode, u32 seals)
{
    if (inode->seals & F_SEAL_SEAL_)
        return -EPERM;
    if ((seals & F_SEAL_EXEC_) && (inode->i_flags & INODE_EXEC))
        seals |= F_SEAL_SHRINK_ | F_SEAL_GROW_ | F_SEAL_WRITE_ | F_SEAL_FUTURE_WRITE_;
    if ((seals & F_SEAL_WRITE_) && seal_writing(inode))
        return -EBUSY;
    WRITE_ONCE(inode->seals, inode->seals | seals);
    return 0;
}

int memfd_add_seals(struct cpu *cpu, struct file *file, u32 seals) NO_LOCK_ANALYSIS
{
    struct inode *inode = file->f_inode;
    int err;

    if (!(file->f_mode & FMODE_WRITE))
        return -EPERM;
    if ((seals & ~F_ALL_SEALS_) || !(inode->i_flags & INODE_SEALS))
        return -EINVAL;
    down_write(cpu, &inode->i_rwsem);
    err = add_seals_locked(inode, seals);
    up_write(cpu, &inode->i_rwsem);
    return err;
}
