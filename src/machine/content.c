/* SPDX-License-Identifier: MIT */
/*
 * Contents: with content = full, frames hold bytes, and the program's loads and stores can be done on them. Tests,
 * embedders and scenarios use it; the front end for real programs does not.
 *
 * Without contents the accesses are made all the same, and what is read is zeroes.
 *
 * One page at a time: the access goes through the TLB as any other (and faults if it must), then the frame is looked up
 * and the bytes are copied inside mmu_begin_walk(): the frame cannot be freed meanwhile, because whoever unmaps it
 * flushes first and waits. If the entry changed between access and look-up, the access is done again.
 */
#include "base/assert.h"
#include "machine/machine_api.h"
#include "machine/mmu.h"
#include "pt/pt.h"

/* The frame's bytes at va if the tables grant `kind` now, or NULL. Inside mmu_begin_walk(). */
static char *user_bytes(struct mmu *u, va_t va, enum mmu_access_kind kind)
{
    const struct machine *m = u->cpu->m;
    const struct pt_format *f = pt_format_of(m);
    struct pt_entry e;
    pte_t p;
    u64 pa;

    e = pt_walk(m, f, pt_root_for_roots(m, f, &u->mm->pt, va), va, 1, &p);
    if (!pte_leaf(f, e.level, p) || !pte_hw_present(f, p) || (kind == MMU_WRITE && !pte_write(f, p)))
        return NULL;
    pa = pfn_to_phys(pte_pfn(f, e.level, p)).pa + (va & (pt_size(f, e.level) - 1));
    return m->ram + pa;
}

/*
 * Byte by byte from the first on, as the processor's string instruction does it: process_vm_readv(2) may copy a page
 * onto itself, and bytes that were just written are then read again.
 */
static void copy_bytes(char *to, const char *from, u64 len)
{
    if (likely(to <= from || to >= from + len)) {
        memmove(to, from, len);
        return;
    }
    while (len--)
        *to++ = *from++;
}

/* Within one page. 0 or the signal. */
static int copy_piece(struct cpu *cpu, va_t va, void *buf, u64 len, enum mmu_access_kind kind, struct fault_info *fi)
{
    struct mmu *u = cpu_mmu(cpu);

    for (;;) {
        int signo = kind == MMU_WRITE ? mmu_access(cpu, u, va, MMU_WRITE, fi) : mmu_access(cpu, u, va, MMU_READ, fi);
        char *at;

        if (signo)
            return signo;
        while (!mmu_begin_walk(u))
            mmu_take_requests(u);
        at = user_bytes(u, va, kind);
        if (cpu->m->config.content != CONTENT_FULL)
            at = buf; /* the access was all */
        else if (at && kind == MMU_WRITE)
            copy_bytes(at, buf, len);
        else if (at)
            copy_bytes(buf, at, len);
        mmu_end_walk(u);
        if (at)
            return 0;
    }
}

static int copy_user(struct cpu *cpu, va_t va, char *buf, u64 len, enum mmu_access_kind kind, struct fault_info *fi)
{
    int signo = 0;

    if (cpu->m->config.content != CONTENT_FULL && kind == MMU_READ)
        memset(buf, 0, len);
    cpu_enter_user(cpu);
    while (len && !signo) {
        u64 piece = MIN(len, PAGE_SIZE - (va & ~PAGE_MASK));

        signo = copy_piece(cpu, va, buf, piece, kind, fi);
        va += piece;
        buf += piece;
        len -= piece;
    }
    cpu_enter_kernel(cpu);
    return signo;
}

int mmu_copy_from_user(struct cpu *cpu, void *dst, va_t src, u64 len, struct fault_info *fi)
{
    return copy_user(cpu, src, dst, len, MMU_READ, fi);
}

int mmu_copy_to_user(struct cpu *cpu, va_t dst, const void *src, u64 len, struct fault_info *fi)
{
    return copy_user(cpu, dst, (char *)(uintptr_t)src, len, MMU_WRITE, fi);
}
