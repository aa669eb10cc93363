/* SPDX-License-Identifier: MIT */
/* Vectors of buffers in a call's arguments, read and checked as the kernel does (import_iovec, iovec_from_user). */
#ifndef QUIRE_ABI_IOVEC_H
#define QUIRE_ABI_IOVEC_H

#include "abi/abi_priv.h"

#define UIO_MAXIOV 1024
#define UIO_FASTIOV 8
#define MAX_RW_COUNT (0x7fffffffull & PAGE_MASK) /* bytes of one call */

struct abi_iovec {
    u64 base, len;
};

/* Read by iovecs_import(); let go by iovecs_free(). */
struct iovecs {
    u64 nr;
    struct abi_iovec *v;
    struct abi_iovec fast[UIO_FASTIOV];
};

enum iovec_side {
    IOVEC_LOCAL,  /* buffers of the caller: within user addresses (-EFAULT), all together at most MAX_RW_COUNT */
    IOVEC_REMOTE, /* of another process: looked at when they are used */
};

/* Argument n is the vector, of nr elements. 0, -EINVAL (nr, a negative length), -EFAULT, -ENOMEM. */
int iovecs_import(struct cpu *cpu, const struct abi_call *c, u32 n, u64 nr, enum iovec_side side, struct iovecs *out);
void iovecs_free(struct cpu *cpu, struct iovecs *iov);
u64 iovecs_total(const struct iovecs *iov); /* bytes */

#endif
