/* SPDX-License-Identifier: MIT */
/*
 * After a disagreement the kernel's result is put in place, so that one error is counted once. What the machine did
 * instead is undone as far as that goes; the next recorded maps are taken over without judgement where it does not.
 * frontend/qemu/follow_call.c dictates results, too, but to a machine that has not done the call: nothing is undone there,
 * and what fails ends the machine. One function for both would be two, with a flag.
 */
#include "base/errno.h"
#include "priv.h"

static bool ok(s64 ret)
{
    return !(ret < 0 && ret >= -4095);
}

/* The mapping as it was before the call is gone, what it is made of does not matter for what follows. */
static void force_anonymous(struct verify *v, struct vtask *t, u64 addr, u64 len)
{
    sys_mmap(v->cpu, addr, len, PROT_READ_ | PROT_WRITE_, MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_FIXED_, NULL, 0);
    t->space->absorb = true;
}

static void force_mmap(struct verify *v, struct vtask *t, const struct native_call *e, const struct abi_call *c,
                       s64 own)
{
    u32 flags = (u32)e->arg[3] & ~(MAP_FIXED_NOREPLACE_ | MAP_32BIT_ | MAP_HUGETLB_ | MAP_POPULATE_);
    struct file *file = flags & MAP_ANONYMOUS_ ? NULL : c->file;

    if (ok(own))
        sys_munmap(v->cpu, (u64)own, e->arg[1]);
    if (!ok(e->ret))
        return;
    own = sys_mmap(v->cpu, (u64)e->ret, e->arg[1], (u32)e->arg[2], flags | MAP_FIXED_ | (file ? 0 : MAP_ANONYMOUS_),
                   file, e->arg[5]);
    if (!ok(own)) { /* a device that the machine does not have */
        force_anonymous(v, t, (u64)e->ret, e->arg[1]);
        t->space->has_device = true;
    }
    t->space->absorb |= (e->arg[3] & MAP_HUGETLB_) != 0;
}

static void force_mremap(struct verify *v, struct vtask *t, const struct native_call *e, s64 own)
{
    u64 old_len = ALIGN_UP(e->arg[1], PAGE_SIZE), new_len = ALIGN_UP(e->arg[2], PAGE_SIZE);
    u64 from = (u64)own, to = (u64)e->ret;

    if (!ok(e->ret)) {
        sys_mremap(v->cpu, from, new_len, old_len, MREMAP_MAYMOVE_ | MREMAP_FIXED_, e->arg[0]);
        t->space->absorb = true;
        return;
    }
    if (ok(own) && (from + new_len <= to || to + new_len <= from)) {
        sys_mremap(v->cpu, from, new_len, new_len, MREMAP_MAYMOVE_ | MREMAP_FIXED_, to);
        return;
    }
    if (ok(own))
        sys_munmap(v->cpu, from, new_len);
    else if (to != e->arg[0])
        sys_munmap(v->cpu, e->arg[0], old_len);
    force_anonymous(v, t, to, new_len);
}

void force(struct verify *v, struct vtask *t, const struct native_call *e, const struct abi_call *c, s64 own)
{
    switch (e->nr) {
    case ABI_mmap:
        force_mmap(v, t, e, c, own);
        break;
    case ABI_mremap:
        force_mremap(v, t, e, own);
        break;
    case ABI_brk:
        sys_brk(v->cpu, (u64)e->ret);
        break;
    case ABI_munmap:
        if (ok(e->ret))
            sys_munmap(v->cpu, e->arg[0], e->arg[1]);
        t->space->absorb = !ok(e->ret);
        break;
    default:
        t->space->absorb = true;
        break;
    }
}
