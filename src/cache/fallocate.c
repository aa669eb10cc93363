/* SPDX-License-Identifier: MIT */
/*
 * fallocate(2): what is common to all files, and files on disk.
 *
 *   vfs_fallocate ─▶ mode, rights, kind of file, range ─▶ shmem_fallocate (shmem.c) │ disk_fallocate │ hugetlbfs
 *
 * On disk, allocation has no effect that memory shows but for the size; a hole and a zeroed range drop whole pages and
 * clear the parts of others. A range is collapsed or inserted as ext4 does it: whole blocks, within the file; what lies
 * behind moves on the disk, and all from there on leaves the cache.
 * Order of the checks: 6.18's, seen from outside; fallocate(2).
 */
#include "cache/cache.h"

#include "base/errno.h"

/* What may stand beside FALLOC_FL_KEEP_SIZE: nothing, or one of these. */
static int check_mode(u32 mode)
{
    bool keep = mode & FALLOC_FL_KEEP_SIZE_;

    switch (mode & ~FALLOC_FL_KEEP_SIZE_) {
    case 0:
    case FALLOC_FL_ZERO_RANGE_:
    case FALLOC_FL_UNSHARE_RANGE_:
        return 0;
    case FALLOC_FL_PUNCH_HOLE_:
        return keep ? 0 : -EOPNOTSUPP;
    case FALLOC_FL_COLLAPSE_RANGE_:
    case FALLOC_FL_INSERT_RANGE_:
    case FALLOC_FL_WRITE_ZEROES_:
        return keep ? -EOPNOTSUPP : 0;
    default:
        return -EOPNOTSUPP;
    }
}

static int disk_extend(struct cpu *cpu, struct inode *inode, u64 end)
{
    int err = inode_newsize_ok(cpu, inode, end);

    if (!err && end > inode_size(inode)) {
        inode_zero_tail(cpu, inode, end);
        WRITE_ONCE(inode->i_size, end);
    }
    return err;
}

/* As ext4 does it: what reaches beyond the size takes the last page whole. */
static void disk_punch_hole(struct cpu *cpu, struct inode *inode, u64 offset, u64 end)
{
    u64 size = inode_size(inode);

    if (offset < size)
        punch_hole(cpu, inode, offset, end > size ? ALIGN_UP(size, PAGE_SIZE) : end);
}

static int disk_collapse_range(struct cpu *cpu, struct inode *inode, u64 offset, u64 end)
{
    if (((offset | end) & ~PAGE_MASK) || end >= inode_size(inode))
        return -EINVAL;
    return disk_shift(cpu, inode, end, offset);
}

static int disk_insert_range(struct cpu *cpu, struct inode *inode, u64 offset, u64 end)
{
    u64 size = inode_size(inode);

    if (((offset | end) & ~PAGE_MASK) || offset >= size)
        return -EINVAL;
    if (end - offset > inode_max_bytes(inode) - size)
        return -EFBIG;
    return disk_shift(cpu, inode, offset, end);
}

static int disk_change(struct cpu *cpu, struct inode *inode, u32 mode, u64 offset, u64 end)
{
    int err = 0;

    if (mode & FALLOC_FL_COLLAPSE_RANGE_)
        return disk_collapse_range(cpu, inode, offset, end);
    if (mode & FALLOC_FL_INSERT_RANGE_)
        return disk_insert_range(cpu, inode, offset, end);
    if (!(mode & FALLOC_FL_KEEP_SIZE_))
        err = disk_extend(cpu, inode, end);
    if (!err && (mode & FALLOC_FL_PUNCH_HOLE_))
        disk_punch_hole(cpu, inode, offset, end);
    else if (!err && (mode & FALLOC_FL_ZERO_RANGE_))
        punch_hole(cpu, inode, offset, end);
    return err;
}

#define DISK_MODES                                                                                                     \
    (FALLOC_FL_KEEP_SIZE_ | FALLOC_FL_PUNCH_HOLE_ | FALLOC_FL_ZERO_RANGE_ | FALLOC_FL_COLLAPSE_RANGE_ |                \
     FALLOC_FL_INSERT_RANGE_)

static int disk_fallocate(struct cpu *cpu, struct inode *inode, u32 mode, u64 offset, u64 end) NO_LOCK_ANALYSIS
{
    int err;

    if (mode & ~DISK_MODES)
        return -EOPNOTSUPP;
    down_write(cpu, &inode->i_rwsem);
    err = disk_change(cpu, inode, mode, offset, end);
    up_write(cpu, &inode->i_rwsem);
    return err;
}

/* No pool of huge pages: nothing can be allocated, and so nothing can be punched. */
static int hugetlbfs_fallocate(struct cpu *cpu, const struct inode *inode, u32 mode, u64 end)
{
    u32 seals = READ_ONCE(inode->seals);
    int err;

    if (mode & ~(FALLOC_FL_KEEP_SIZE_ | FALLOC_FL_PUNCH_HOLE_))
        return -EOPNOTSUPP;
    if (mode & FALLOC_FL_PUNCH_HOLE_)
        return seals & (F_SEAL_WRITE_ | F_SEAL_FUTURE_WRITE_) ? -EPERM : 0;
    err = inode_newsize_ok(cpu, inode, end);
    if (err)
        return err;
    return (seals & F_SEAL_GROW_) && end > inode_size(inode) ? -EPERM : -ENOSPC;
}

s64 vfs_fallocate(struct cpu *cpu, struct file *file, u32 mode, s64 offset, s64 len)
{
    struct inode *inode = file->f_inode;
    int err;

    if (offset < 0 || len <= 0)
        return -EINVAL;
    err = check_mode(mode);
    if (err)
        return err;
    if (!(file->f_mode & FMODE_WRITE))
        return -EBADF;
    if (!inode_is_regular(inode))
        return inode->i_flags & INODE_PIPE ? -ESPIPE : -ENODEV;
    if ((u64)offset + (u64)len > inode_max_bytes(inode))
        return -EFBIG;
    if (inode->i_flags & INODE_HUGETLB)
        return hugetlbfs_fallocate(cpu, inode, mode, (u64)offset + (u64)len);
    return inode->i_data.a_ops == A_OPS_SHMEM ? shmem_fallocate(cpu, inode, mode, (u64)offset, (u64)offset + (u64)len)
                                              : disk_fallocate(cpu, inode, mode, (u64)offset, (u64)offset + (u64)len);
}
