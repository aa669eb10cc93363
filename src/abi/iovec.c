/* SPDX-License-Identifier: MIT */
/* Vectors of buffers: iovec.h. */
#include "abi/iovec.h"

#include "base/errno.h"
#include "kmem/kmem.h"

/* Element by element: what cannot be read behind a negative length is not read. 0, -EFAULT or -EINVAL. */
static int read_iovecs(struct cpu *cpu, const struct abi_call *c, u32 n, struct iovecs *iov)
{
    u64 bytes = iov->nr * sizeof(*iov->v), i = 0;

    if (!iov->nr)
        return 0;
    if (!c->in[n].p && !abi_access_ok(cpu->current->mm, c->arg[n], bytes)) /* nothing of it is touched */
        return -EFAULT;
    if (!abi_copy_from_user(cpu, c, n, 0, iov->v, bytes))
        return 0;
    while (!abi_copy_from_user(cpu, c, n, i * sizeof(*iov->v), &iov->v[i], sizeof(*iov->v)) && (s64)iov->v[i].len >= 0)
        if (++i == iov->nr)
            return 0; /* readable by now */
    return (s64)iov->v[i].len < 0 ? -EINVAL : -EFAULT;
}

/* Lengths first, all of them; then, for the caller's own, addresses. */
static int check_iovecs(const struct mm *mm, struct iovecs *iov, enum iovec_side side)
{
    u64 total = 0;

    for (u64 i = 0; i < iov->nr; i++)
        if ((s64)iov->v[i].len < 0)
            return -EINVAL;
    for (u64 i = 0; side == IOVEC_LOCAL && i < iov->nr; i++) {
        if (!abi_access_ok(mm, iov->v[i].base, iov->nr == 1 ? MIN(iov->v[i].len, MAX_RW_COUNT) : iov->v[i].len))
            return -EFAULT;
        iov->v[i].len = MIN(iov->v[i].len, MAX_RW_COUNT - total);
        total += iov->v[i].len;
    }
    return 0;
}

int iovecs_import(struct cpu *cpu, const struct abi_call *c, u32 n, u64 nr, enum iovec_side side, struct iovecs *out)
{
    int err;

    nr = side == IOVEC_LOCAL ? (u32)nr : nr; /* what the kernel's functions take */
    *out = (struct iovecs){.nr = nr, .v = out->fast};
    if (nr > UIO_MAXIOV)
        return -EINVAL;
    if (nr > UIO_FASTIOV)
        out->v = kmalloc(cpu, nr * sizeof(*out->v), GFP_KERNEL);
    if (!out->v)
        return -ENOMEM;
    err = read_iovecs(cpu, c, n, out);
    if (!err)
        err = check_iovecs(cpu->current->mm, out, side);
    if (err)
        iovecs_free(cpu, out);
    return err;
}

void iovecs_free(struct cpu *cpu, struct iovecs *iov)
{
    if (iov->v && iov->v != iov->fast)
        kfree(cpu, iov->v);
    iov->v = NULL;
}

u64 iovecs_total(const struct iovecs *iov)
{
    u64 total = 0;

    for (u64 i = 0; i < iov->nr; i++)
        total += iov->v[i].len;
    return total;
}
