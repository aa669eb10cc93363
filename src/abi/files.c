/* SPDX-License-Identifier: MIT */
/*
 * memfd_create(2), fcntl(2) for seals, ftruncate(2), fallocate(2): arguments, and the order of their checks. What the
 * calls do is in src/cache.
 *
 * A process's descriptors belong to the caller: c->file stands for the descriptor argument, and memfd_create leaves the
 * object in c->new_file, with result 0.
 */
#include "abi/abi_priv.h"

#include "base/errno.h"
#include "cache/filemap.h"

/* memfd_create(2) */
#define MFD_CLOEXEC_ 0x1u
#define MFD_ALLOW_SEALING_ 0x2u
#define MFD_HUGETLB_ 0x4u
#define MFD_NOEXEC_SEAL_ 0x8u
#define MFD_EXEC_ 0x10u
#define MFD_ALL_FLAGS (MFD_CLOEXEC_ | MFD_ALLOW_SEALING_ | MFD_HUGETLB_ | MFD_NOEXEC_SEAL_ | MFD_EXEC_)
#define MFD_HUGE_SHIFT 26
#define MFD_HUGE_MASK (0x3fu << MFD_HUGE_SHIFT)
#define NAME_PREFIX "memfd:"
#define NAME_LENGTH_MAX (255 - (sizeof(NAME_PREFIX) - 1)) /* a file name, less the prefix */

#define F_ADD_SEALS_ 1033
#define F_GET_SEALS_ 1034

/* Flags, with the default for execution that vm.memfd_noexec names. */
static int memfd_flags(const struct machine *m, u32 *flags)
{
    u32 known = MFD_ALL_FLAGS | (*flags & MFD_HUGETLB_ ? MFD_HUGE_MASK : 0);

    if (*flags & ~known)
        return -EINVAL;
    if ((*flags & MFD_EXEC_) && (*flags & MFD_NOEXEC_SEAL_))
        return -EINVAL;
    if (!(*flags & (MFD_EXEC_ | MFD_NOEXEC_SEAL_)))
        *flags |= m->config.memfd_noexec ? MFD_NOEXEC_SEAL_ : MFD_EXEC_;
    return (*flags & MFD_EXEC_) && m->config.memfd_noexec >= 2 ? -EACCES : 0;
}

/* "memfd:" and the caller's string into name[256]. */
static int memfd_name(struct cpu *cpu, const struct abi_call *c, char *name)
{
    u32 at = sizeof(NAME_PREFIX) - 1;

    memcpy(name, NAME_PREFIX, at);
    for (u32 i = 0; i <= NAME_LENGTH_MAX; i++) {
        if (abi_copy_from_user(cpu, c, 0, i, &name[at + i], 1))
            return -EFAULT;
        if (!name[at + i])
            return 0;
    }
    return -EINVAL;
}

/* log2 of the huge page's size, 0: none asked for; -ENODEV: no such size. */
static int memfd_huge_shift(const struct machine *m, u32 flags)
{
    u32 shift = hugetlb_page_shift(m, (flags & MFD_HUGE_MASK) >> MFD_HUGE_SHIFT);

    if (!(flags & MFD_HUGETLB_))
        return 0;
    return shift ? (int)shift : -ENODEV;
}

s64 abi_memfd_create(struct cpu *cpu, struct abi_call *c)
{
    u32 flags = (u32)c->arg[1];
    int err = memfd_flags(cpu->m, &flags), shift;
    char name[256];
    struct file *file;

    if (!err)
        err = memfd_name(cpu, c, name);
    if (err)
        return err;
    shift = memfd_huge_shift(cpu->m, flags);
    if (shift < 0)
        return shift;
    file = memfd_create_file(cpu, name,
                             (flags & (MFD_ALLOW_SEALING_ | MFD_NOEXEC_SEAL_) ? MEMFD_SEALABLE : 0) |
                                 (flags & MFD_EXEC_ ? MEMFD_EXEC : 0),
                             (u32)shift);
    if (IS_ERR(file))
        return PTR_ERR(file);
    c->new_file = file;
    return 0;
}

s64 abi_fcntl(struct cpu *cpu, struct abi_call *c)
{
    if (!c->file)
        return -EBADF;
    switch ((u32)c->arg[1]) {
    case F_ADD_SEALS_:
        return memfd_add_seals(cpu, c->file, (u32)c->arg[2]);
    case F_GET_SEALS_:
        return memfd_get_seals(c->file);
    default:
        return -ENOSYS; /* the rest of fcntl(2) is no matter of memory */
    }
}

s64 abi_ftruncate(struct cpu *cpu, struct abi_call *c)
{
    if ((s64)c->arg[1] < 0)
        return -EINVAL;
    return c->file ? vfs_ftruncate(cpu, c->file, (s64)c->arg[1]) : -EBADF;
}

s64 abi_fallocate(struct cpu *cpu, struct abi_call *c)
{
    return c->file ? vfs_fallocate(cpu, c->file, (u32)c->arg[1], (s64)c->arg[2], (s64)c->arg[3]) : -EBADF;
}
