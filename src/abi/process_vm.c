/* SPDX-License-Identifier: MIT */
/*
 * process_vm_readv(2), process_vm_writev(2): bytes between the caller's buffers and another process's, page by page.
 *
 *   remote vector   |████████|████|        each piece: pages pinned (gup.c), up to PIN_PAGES at a time
 *   local vector    |███|███████|██|       filled, or read, in order, page by page; a page that cannot be had ends it
 *
 * Order of the checks: flags ─▶ local vector, empty: 0 ─▶ remote vector, empty: 0 ─▶ process ─▶ access (-EPERM) ─▶ bytes.
 * Partial results: the bytes before the first that failed; the error if there are none.
 * Machines without contents touch the same pages and give the same result.
 * Follows process_vm_readv(2), 6.18.
 */
#include "abi/iovec.h"

#include "base/errno.h"
#include "kmem/kmem.h"
#include "vm/gup.h"

#define PIN_PAGES_FEW 16                                  /* on the stack */
#define PIN_PAGES (2 * PAGE_SIZE / sizeof(struct page *)) /* allocated */

enum direction { FROM_REMOTE, TO_REMOTE };

/* The local side, and how far it is done. */
struct local_iter {
    struct iovecs iov;
    u64 seg, offset; /* next byte */
    u64 left;
};

struct transfer {
    struct mm *mm;
    enum direction dir;
    struct local_iter local;
    struct page **pages;
    u64 max_pages;
};

static void skip_empty(struct local_iter *it)
{
    while (it->seg < it->iov.nr && it->offset == it->iov.v[it->seg].len) {
        it->seg++;
        it->offset = 0;
    }
}

/* Between one remote page and the local side, up to `len` bytes; the bytes done. */
static u64 copy_page_part(struct cpu *cpu, struct transfer *t, struct page *page, u64 offset, u64 len)
{
    char *bytes = (char *)page_address(cpu->m, page) + offset;
    struct local_iter *it = &t->local;
    u64 done = 0;

    while (done < len && it->left) {
        struct fault_info fi;
        u64 piece;
        va_t va;
        int signo;

        skip_empty(it);
        va = it->iov.v[it->seg].base + it->offset;
        piece = MIN(MIN(len - done, it->iov.v[it->seg].len - it->offset), PAGE_SIZE - (va & ~PAGE_MASK));
        signo = t->dir == FROM_REMOTE ? mmu_copy_to_user(cpu, va, bytes + done, piece, &fi)
                                      : mmu_copy_from_user(cpu, bytes + done, va, piece, &fi);
        if (signo)
            break;
        done += piece;
        it->offset += piece;
        it->left -= piece;
    }
    return done;
}

/* Pages pinned from `offset` in the first on, `len` bytes. 0 or -EFAULT: the local side could not take all. */
static int copy_pages(struct cpu *cpu, struct transfer *t, u64 offset, u64 len)
{
    for (u64 i = 0; len && t->local.left; i++) {
        u64 part = MIN(PAGE_SIZE - offset, len);

        if (copy_page_part(cpu, t, t->pages[i], offset, part) < part && t->local.left)
            return -EFAULT;
        len -= part;
        offset = 0;
    }
    return 0;
}

/* One remote piece. */
static int transfer_piece(struct cpu *cpu, struct transfer *t, va_t addr, u64 len) NO_LOCK_ANALYSIS
{
    u64 nr = len ? ((addr + len - 1) >> PAGE_SHIFT) - (addr >> PAGE_SHIFT) + 1 : 0;
    int err = 0;

    while (nr && t->local.left && !err) {
        u64 offset = addr & ~PAGE_MASK, bytes;
        s64 pinned;

        down_read(cpu, &t->mm->mmap_lock);
        pinned = pin_user_pages_remote(cpu, t->mm, addr, MIN(nr, t->max_pages), t->dir == TO_REMOTE ? FOLL_WRITE : 0,
                                       t->pages);
        up_read(cpu, &t->mm->mmap_lock);
        if (pinned <= 0)
            return -EFAULT;
        bytes = MIN(((u64)pinned << PAGE_SHIFT) - offset, len);
        err = copy_pages(cpu, t, offset, bytes);
        unpin_user_pages(cpu, t->pages, (u64)pinned, t->dir == TO_REMOTE ? UNPIN_DIRTY : UNPIN_CLEAN);
        addr += bytes;
        len -= bytes;
        nr -= (u64)pinned;
    }
    return err;
}

static s64 transfer_all(struct cpu *cpu, struct transfer *t, const struct iovecs *remote)
{
    u64 total = t->local.left;
    int err = 0;

    for (u64 i = 0; i < remote->nr && t->local.left && !err; i++)
        err = transfer_piece(cpu, t, remote->v[i].base, remote->v[i].len);
    return total > t->local.left ? (s64)(total - t->local.left) : err;
}

/* Pages of the longest remote piece: how many to pin at a time. */
static u64 longest_piece(const struct iovecs *remote)
{
    u64 nr = 0;

    for (u64 i = 0; i < remote->nr; i++) {
        const struct abi_iovec *v = &remote->v[i];

        if (v->len)
            nr = MAX(nr, ((v->base + v->len) >> PAGE_SHIFT) - (v->base >> PAGE_SHIFT) + 1);
    }
    return nr;
}

static s64 transfer_task(struct cpu *cpu, struct transfer *t, struct task *target, const struct iovecs *remote)
{
    struct page *few[PIN_PAGES_FEW];
    u64 nr = longest_piece(remote);
    s64 ret;

    if (!nr)
        return 0;
    t->pages = few;
    t->max_pages = MIN(nr, nr > PIN_PAGES_FEW ? PIN_PAGES : PIN_PAGES_FEW);
    if (nr > PIN_PAGES_FEW)
        t->pages = kmalloc(cpu, t->max_pages * sizeof(*t->pages), GFP_KERNEL);
    if (!t->pages)
        return -ENOMEM;
    ret = target ? abi_mm_access(cpu, target, &t->mm) : -ESRCH;
    if (!ret) {
        ret = transfer_all(cpu, t, remote);
        mmput(cpu, t->mm);
    } else if (ret == -EACCES) {
        ret = -EPERM;
    }
    if (t->pages != few)
        kfree(cpu, t->pages);
    return ret;
}

static s64 process_vm_rw(struct cpu *cpu, struct abi_call *c, enum direction dir)
{
    struct transfer t = {.dir = dir};
    struct iovecs remote;
    s64 ret;

    charge(cpu, COST_MMAP);
    if (c->arg[5])
        return -EINVAL;
    ret = iovecs_import(cpu, c, 1, c->arg[2], IOVEC_LOCAL, &t.local.iov);
    if (ret)
        return ret;
    t.local.left = iovecs_total(&t.local.iov);
    if (t.local.left) {
        ret = iovecs_import(cpu, c, 3, c->arg[4], IOVEC_REMOTE, &remote);
        if (!ret) {
            ret = transfer_task(cpu, &t, c->target, &remote);
            iovecs_free(cpu, &remote);
        }
    }
    iovecs_free(cpu, &t.local.iov);
    return ret;
}

s64 abi_process_vm_readv(struct cpu *cpu, struct abi_call *c)
{
    return process_vm_rw(cpu, c, FROM_REMOTE);
}

s64 abi_process_vm_writev(struct cpu *cpu, struct abi_call *c)
{
    return process_vm_rw(cpu, c, TO_REMOTE);
}
