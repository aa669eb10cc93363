/* SPDX-License-Identifier: MIT */
/* get_user_pages(): the pages behind user addresses, faulted in as needed. Theory in gup.c. */
#ifndef QUIRE_VM_GUP_H
#define QUIRE_VM_GUP_H

#include "vm/vm.h"

/* Beside those of vm.h. Values as in 6.x kernels where user space can see them nowhere: ours. */
#define FOLL_NOWAIT 0x10u           /* rather no page than a wait for a device */
#define FOLL_HWPOISON 0x40u         /* a poisoned page is -EHWPOISON, not -EFAULT */
#define FOLL_ANON 0x80u             /* anonymous memory only */
#define FOLL_FAST_ONLY 0x200u       /* what is mapped already; no fault */
#define FOLL_LONGTERM 0x400u        /* held for as long as user space wants */
#define FOLL_REMOTE 0x20000u        /* as for somebody else's: PKRU is not asked; the functions *_remote set it */
#define FOLL_MADV_POPULATE 0x40000u /* MADV_POPULATE_*: -EINVAL for rights, -ENOMEM for holes */

/*
 * Pages of [start, start + nr pages). Number got, at least 1, or why there is not even the first: -EFAULT, -ENOMEM
 * (-EINVAL, -EHWPOISON by flags). pages[] NULL: fault in only. FOLL_GET: a reference each; pin_*: a pin each.
 * mmap_lock held for reading.
 */
s64 get_user_pages(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages);
s64 get_user_pages_remote(struct cpu *cpu, struct mm *mm, va_t start, u64 nr, u32 flags, struct page **pages);
s64 pin_user_pages(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages);
s64 pin_user_pages_remote(struct cpu *cpu, struct mm *mm, va_t start, u64 nr, u32 flags, struct page **pages);
/* Without the lock, of the current mm: first what is mapped, without a look at VMAs. */
s64 get_user_pages_fast(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages);
s64 pin_user_pages_fast(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages);
void unpin_user_page(struct cpu *cpu, struct page *page);
enum unpin_dirty { UNPIN_CLEAN, UNPIN_DIRTY };
void unpin_user_pages(struct cpu *cpu, struct page **pages, u64 nr, enum unpin_dirty dirty);

/* Long-term pins of mm against RLIMIT_MEMLOCK: 0 or -ENOMEM. pages < 0 gives back. */
int account_pinned_vm(struct cpu *cpu, struct mm *mm, s64 pages);

/* -- populating ---------------------------------------------------------------------------------------------------- */

/*
 * Fault in [start, end) of one VMA: private writable pages are made the process's own at once, of all others one gets
 * what reading gets. Pages done, at least 1, or -errno. VM_LOCKONFAULT: nothing to do. mmap_lock held.
 */
s64 populate_vma_page_range(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
/* MADV_POPULATE_READ, _WRITE (write: FOLL_WRITE), over VMAs: pages done, at least 1, or -errno. mmap_lock held. */
s64 faultin_page_range(struct cpu *cpu, struct mm *mm, va_t start, va_t end, u32 write);
enum populate_errors {
    POPULATE_STOP,     /* at the first error, which is the result */
    POPULATE_SKIP_VMA, /* goes on with the next VMA */
};
/* All VMAs of [start, start + len) but VM_IO and VM_PFNMAP; holes are passed over. No lock held on entry. */
int mm_populate_range(struct cpu *cpu, struct mm *mm, va_t start, u64 len, enum populate_errors errors);
/* mmap(2), brk(2), mremap(2): failures are not reported. No lock held on entry. */
static inline void mm_populate(struct cpu *cpu, struct mm *mm, va_t start, u64 len)
{
    mm_populate_range(cpu, mm, start, len, POPULATE_SKIP_VMA);
}

/* -- pins ---------------------------------------------------------------------------------------------------------- */

/* A pin of a small folio is so many references; a large one counts its pins apart (pincount). */
#define GUP_PIN_COUNTING_BIAS 1024

static inline bool folio_maybe_dma_pinned(const struct folio *f)
{
    if (folio_test_large(f))
        return atomic_load_explicit(&((struct page *)(uintptr_t)&f->page)[1].pincount, memory_order_relaxed) > 0;
    return (u32)folio_ref_count(f) >= GUP_PIN_COUNTING_BIAS;
}

/* A write-protected entry for the page would let a pin and the process see different pages. Fork copies instead. */
static inline bool page_needs_cow_for_dma(const struct mm *mm, const struct folio *f)
{
    return (__atomic_load_n(&mm->flags, __ATOMIC_RELAXED) & MMF_HAS_PINNED) && folio_maybe_dma_pinned(f);
}

#endif
