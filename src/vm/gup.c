/* SPDX-License-Identifier: MIT */
/*
 * get_user_pages(): for whoever works on the pages of an address space from outside of it (mlock, process_vm_readv,
 * /proc/PID/mem, devices).
 *
 *   for each page:  VMA changed? look it up, check its rights
 *                   follow_page() ── page ─▶ reference or pin ─▶ next
 *                        │ NULL, or must be unshared
 *                        └▶ handle_mm_fault() ─ error ─▶ what was got so far, or the error
 *                                   └────────────▶ follow_page() again
 *
 * Reference or pin. FOLL_GET takes a reference: "the struct page must stay". A pin (pin_user_pages) says "I access the
 * bytes": it counts GUP_PIN_COUNTING_BIAS references on a small folio, so that a folio with that many is known to be
 * pinned, perhaps. The pinned page must stay the one that the process sees:
 *
 *   before the pin    an anonymous page that is not exclusive is first copied (FAULT_FLAG_UNSHARE), even to read it
 *   fork              copies exclusive pinned pages for the child at once; the parent keeps its page (fork_pte.c)
 *   write fault       finds PG_anon_exclusive and keeps the page
 *
 * FOLL_FORCE writes to a private mapping without write permission (a debugger's breakpoint): the fault makes a copy that
 * is exclusive, and follow_page() accepts that without the entry being writable.
 *
 * Protection keys. PKRU is the running thread's: it is asked when the address space is the thread's own (mlock, populating,
 * fast pins), never for FOLL_REMOTE, even if that is the thread's own after all (process_vm_readv of oneself). A key that
 * forbids is -EFAULT as missing rights are, present page or not. So 6.1 was seen to answer on a CPU with keys.
 *
 * FOLL_NOWAIT: the fault gives up where a device would be waited for (VM_FAULT_RETRY).
 * FOLL_LONGTERM: Linux also moves the pages out of ZONE_MOVABLE and CMA first; with migration, not yet.
 *
 * Invariants (vm_check, frame_check)
 *   PN1 nr_foll_pin_acquired - nr_foll_pin_released = pins of all folios.
 *   PN2 an anonymous page is pinned only while exclusive, or after it left its mapping.
 *
 * Locks. mmap_lock for reading, the caller's; the page-table lock inside follow_page(). The fast variant takes both
 * itself: in Linux it runs without them, with interrupts off; here a table could be freed meanwhile.
 * Follows Documentation/core-api/pin_user_pages.rst, mlock(2), madvise(2).
 */
#include "vm/gup.h"

#include "base/errno.h"
#include "phys/lru.h"
#include "phys/vmstat.h"
#include "vm/vma_priv.h"

/* -- references and pins ------------------------------------------------------------------------------------------- */

void folio_grab_for_gup(struct cpu *cpu, struct folio *f, u32 flags)
{
    if (flags & FOLL_GET) {
        folio_get(f);
    } else if ((flags & FOLL_PIN) && &f->page != cpu->m->vm->zero_page) {
        if (folio_test_large(f)) {
            folio_get(f);
            atomic_fetch_add(&(&f->page)[1].pincount, 1);
        } else {
            folio_ref_add(f, GUP_PIN_COUNTING_BIAS);
        }
        mod_page_state(cpu, &f->page, NR_FOLL_PIN_ACQUIRED, 1);
    }
}

void unpin_user_page(struct cpu *cpu, struct page *page)
{
    struct folio *f = page_folio(page);
    s32 refs = GUP_PIN_COUNTING_BIAS;

    if (page == cpu->m->vm->zero_page)
        return;
    if (folio_test_large(f)) {
        atomic_fetch_sub(&(&f->page)[1].pincount, 1);
        refs = 1;
    }
    mod_page_state(cpu, page, NR_FOLL_PIN_RELEASED, 1);
    if (atomic_fetch_sub(&f->page._refcount, refs) == refs)
        __folio_put(cpu, f);
}

void unpin_user_pages(struct cpu *cpu, struct page **pages, u64 nr, enum unpin_dirty dirty)
{
    for (u64 i = 0; i < nr; i++) {
        struct folio *f = page_folio(pages[i]);

        if (dirty == UNPIN_DIRTY && &f->page != cpu->m->vm->zero_page) {
            folio_lock(cpu, f);
            folio_mark_dirty(cpu, f);
            folio_unlock(cpu, f);
        }
        unpin_user_page(cpu, pages[i]);
    }
}

bool gup_must_unshare(const struct vm_area_struct *vma, u32 flags, struct page *page)
{
    if ((flags & (FOLL_WRITE | FOLL_PIN)) != FOLL_PIN)
        return false;
    if (!PageAnon(page)) /* a long pin of a file's page in a private mapping would miss the process's writes */
        return (flags & FOLL_LONGTERM) && (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
    return !PageAnonExclusive(page);
}

int account_pinned_vm(struct cpu *cpu, struct mm *mm, s64 pages)
{
    u64 limit = task_rlimit_of(cpu, RLIMIT_MEMLOCK_) >> PAGE_SHIFT;
    s64 now = atomic_fetch_add(&mm->pinned_vm, pages) + pages;

    if (pages <= 0 || (u64)now <= limit || !cpu->current || task_capable(cpu->current, CAP_IPC_LOCK_))
        return 0;
    atomic_fetch_sub(&mm->pinned_vm, pages);
    return -ENOMEM;
}

/* -- one VMA, one page --------------------------------------------------------------------------------------------- */

static bool is_cow_mapping(const struct vm_area_struct *vma)
{
    return (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

static int check_write(const struct vm_area_struct *vma, u32 flags)
{
    const u32 longterm = FOLL_PIN | FOLL_LONGTERM;

    /* The file would not be told of writes through a pin that outlives its writeback. */
    if ((flags & longterm) == longterm && vma->vm_ops == VM_OPS_FILE && (vma->vm_flags & VM_SHARED))
        return -EFAULT;
    if (vma->vm_flags & VM_WRITE)
        return 0;
    return (flags & FOLL_FORCE) && is_cow_mapping(vma) ? 0 : -EFAULT;
}

static int check_rights(const struct vm_area_struct *vma, u32 flags)
{
    if (vma->vm_flags & (VM_IO | VM_PFNMAP))
        return -EFAULT;
    if ((flags & FOLL_ANON) && !vma_is_anonymous(vma))
        return -EFAULT;
    if (flags & FOLL_WRITE)
        return check_write(vma, flags);
    if (vma->vm_flags & VM_READ)
        return 0;
    return (flags & FOLL_FORCE) && (vma->vm_flags & VM_MAYREAD) ? 0 : -EFAULT;
}

static bool key_permits(struct cpu *cpu, const struct vm_area_struct *vma, u32 flags)
{
    if ((flags & FOLL_REMOTE) || !cpu->current || cpu->current->mm != vma->vm_mm)
        return true;
    return pkru_allows(cpu->current, vma, flags & FOLL_WRITE ? ACCESS_WRITE : ACCESS_READ);
}

static int check_vma_flags(struct cpu *cpu, const struct vm_area_struct *vma, u32 flags)
{
    int err = check_rights(vma, flags);

    return err ? err : key_permits(cpu, vma, flags) ? 0 : -EFAULT;
}

static struct vm_area_struct *gup_vma(struct cpu *cpu, struct mm *mm, va_t addr, u32 flags)
{
    struct vm_area_struct *vma = vma_lookup(cpu, mm, addr);

    if (!vma)
        return ERR_PTR(flags & FOLL_MADV_POPULATE ? -ENOMEM : -EFAULT);
    if (check_vma_flags(cpu, vma, flags))
        return ERR_PTR(flags & FOLL_MADV_POPULATE ? -EINVAL : -EFAULT);
    return vma;
}

/* 0: look again. -EBUSY: a device would have to be waited for. */
static int faultin_page(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, u32 flags, bool unshare)
{
    u32 fault = flags & FOLL_WRITE ? FAULT_FLAG_WRITE : unshare ? FAULT_FLAG_UNSHARE : 0;
    vm_fault_t ret;

    if (!cpu->current || vma->vm_mm != cpu->current->mm)
        fault |= FAULT_FLAG_REMOTE;
    if (flags & FOLL_NOWAIT)
        fault |= FAULT_FLAG_RETRY_NOWAIT;
    ret = handle_mm_fault(cpu, vma, addr, fault);
    if (likely(!(ret & (VM_FAULT_ERROR | VM_FAULT_RETRY))))
        return 0;
    if (ret & VM_FAULT_OOM)
        return -ENOMEM;
    if (ret & VM_FAULT_HWPOISON)
        return flags & FOLL_HWPOISON ? -EHWPOISON : -EFAULT;
    if (ret & VM_FAULT_ERROR)
        return -EFAULT;
    return flags & FOLL_NOWAIT ? -EBUSY : 0;
}

/* The page at addr, or ERR_PTR; -EEXIST: a frame without a struct page. */
static struct page *gup_page(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, u32 flags)
{
    for (;;) {
        struct page *page = follow_page(cpu, vma, addr, flags);
        bool unshare = IS_ERR(page) && PTR_ERR(page) == -EMLINK;
        int err;

        if (page && !unshare)
            return page;
        if (flags & FOLL_FAST_ONLY)
            return ERR_PTR(-EAGAIN);
        err = faultin_page(cpu, vma, addr, flags, unshare);
        if (err)
            return ERR_PTR(err);
    }
}

static void mm_set_has_pinned(struct mm *mm, u32 flags)
{
    if ((flags & FOLL_PIN) && !(__atomic_load_n(&mm->flags, __ATOMIC_RELAXED) & MMF_HAS_PINNED))
        __atomic_fetch_or(&mm->flags, MMF_HAS_PINNED, __ATOMIC_RELAXED);
}

static s64 __get_user_pages(struct cpu *cpu, struct mm *mm, va_t start, u64 nr, u32 flags, struct page **pages)
{
    struct vm_area_struct *vma = NULL;
    u64 i;

    if (!(flags & FOLL_FORCE))
        flags |= FOLL_HONOR_NUMA_FAULT;
    mm_set_has_pinned(mm, flags);
    for (i = 0; i < nr; i++) {
        va_t addr = (start & PAGE_MASK) + (i << PAGE_SHIFT);
        struct page *page;
        int err = 0;

        if (!vma || addr >= vma->vm_end)
            vma = gup_vma(cpu, mm, addr, flags);
        page = IS_ERR(vma) ? (struct page *)vma : gup_page(cpu, vma, addr, flags);
        if (IS_ERR(page))
            err = PTR_ERR(page);
        if (err == -EEXIST)
            err = pages ? -EFAULT : 0;
        if (err)
            return i ? (s64)i : err == -EBUSY ? 0 : err;
        if (pages)
            pages[i] = page;
    }
    return (s64)nr;
}

/* -- the interface ------------------------------------------------------------------------------------------------- */

s64 get_user_pages_remote(struct cpu *cpu, struct mm *mm, va_t start, u64 nr, u32 flags, struct page **pages)
{
    DEBUG_ASSERT(rwsem_is_locked(&mm->mmap_lock));
    DEBUG_ASSERT(!(flags & FOLL_PIN));
    return __get_user_pages(cpu, mm, start, nr, flags | FOLL_REMOTE | FOLL_TOUCH | (pages ? FOLL_GET : 0), pages);
}

s64 get_user_pages(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages)
{
    DEBUG_ASSERT(rwsem_is_locked(&cpu->current->mm->mmap_lock));
    DEBUG_ASSERT(!(flags & FOLL_PIN));
    return __get_user_pages(cpu, cpu->current->mm, start, nr, flags | FOLL_TOUCH | (pages ? FOLL_GET : 0), pages);
}

s64 pin_user_pages_remote(struct cpu *cpu, struct mm *mm, va_t start, u64 nr, u32 flags, struct page **pages)
{
    DEBUG_ASSERT(rwsem_is_locked(&mm->mmap_lock));
    DEBUG_ASSERT(pages && !(flags & FOLL_GET));
    return __get_user_pages(cpu, mm, start, nr, flags | FOLL_REMOTE | FOLL_TOUCH | FOLL_PIN, pages);
}

s64 pin_user_pages(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages)
{
    DEBUG_ASSERT(rwsem_is_locked(&cpu->current->mm->mmap_lock));
    DEBUG_ASSERT(pages && !(flags & FOLL_GET));
    return __get_user_pages(cpu, cpu->current->mm, start, nr, flags | FOLL_TOUCH | FOLL_PIN, pages);
}

/* What a user access to the entry would be granted, without asking the VMA. NULL: the slow way decides. */
static struct page *fast_page(struct cpu *cpu, struct mm *mm, va_t addr, u32 flags)
{
    fmt_t fmt = pt_format_of(mm->m);
    enum fault_access access = flags & FOLL_WRITE ? ACCESS_WRITE : ACCESS_READ;
    struct page *page = NULL;
    struct pt_entry e;
    spinlock_t *ptl;
    pte_t pte;

    if (follow_pte(cpu, mm, addr, &e, &ptl))
        return NULL;
    pte = pt_read(fmt, e);
    if (!pte_protnone(fmt, pte) && pte_user(fmt, pte) && pte_read(fmt, pte) && !pte_special(fmt, pte) &&
        (!(flags & FOLL_WRITE) || pte_write(fmt, pte)) && pkru_allows_key(cpu->current, pte_pkey(fmt, pte), access))
        page = pfn_to_page(mm->m, pte_pfn(fmt, 1, pte));
    if (page && PageAnon(page) && (flags & FOLL_PIN) && !(flags & FOLL_WRITE) && !PageAnonExclusive(page))
        page = NULL;
    if (page && !PageAnon(page) && (flags & FOLL_LONGTERM))
        page = NULL; /* depends on the mapping */
    if (page)
        folio_grab_for_gup(cpu, page_folio(page), flags);
    pte_unmap_unlock(cpu, ptl);
    return page;
}

static s64 gup_fast(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages)
{
    struct mm *mm = cpu->current->mm;
    s64 slow = 0;
    u64 got = 0;

    start &= PAGE_MASK;
    if (start > mm->task_size || nr > (mm->task_size - start) >> PAGE_SHIFT)
        return -EFAULT;
    down_read(cpu, &mm->mmap_lock);
    mm_set_has_pinned(mm, flags);
    for (; got < nr; got++) {
        pages[got] = fast_page(cpu, mm, start + (got << PAGE_SHIFT), flags);
        if (!pages[got])
            break;
    }
    if (got < nr && !(flags & FOLL_FAST_ONLY))
        slow = __get_user_pages(cpu, mm, start + (got << PAGE_SHIFT), nr - got, flags | FOLL_TOUCH, pages + got);
    up_read(cpu, &mm->mmap_lock);
    return slow > 0 ? (s64)got + slow : got ? (s64)got : slow;
}

s64 get_user_pages_fast(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages)
{
    return gup_fast(cpu, start, nr, flags | FOLL_GET, pages);
}

s64 pin_user_pages_fast(struct cpu *cpu, va_t start, u64 nr, u32 flags, struct page **pages)
{
    return gup_fast(cpu, start, nr, flags | FOLL_PIN, pages);
}

/* -- populating ---------------------------------------------------------------------------------------------------- */

s64 faultin_page_range(struct cpu *cpu, struct mm *mm, va_t start, va_t end, u32 write)
{
    u32 flags = FOLL_TOUCH | FOLL_MADV_POPULATE | FOLL_HWPOISON | write;
    s64 got;

    DEBUG_ASSERT(rwsem_is_locked(&mm->mmap_lock));
    got = __get_user_pages(cpu, mm, start, (end - start) >> PAGE_SHIFT, flags, NULL);
    lru_add_drain(cpu);
    return got;
}

s64 populate_vma_page_range(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    u64 nr = (end - start) >> PAGE_SHIFT;
    u32 flags = FOLL_TOUCH;
    bool accessible = vma_is_accessible(vma);
    s64 got;

    if (vma->vm_flags & VM_LOCKONFAULT)
        return (s64)nr;
    if ((vma->vm_flags & (VM_WRITE | VM_SHARED)) == VM_WRITE)
        flags |= FOLL_WRITE; /* breaks COW now; a shared page would only be dirtied for nothing */
    if (accessible)
        flags |= FOLL_FORCE; /* what may only be executed is read in, too */
    got = __get_user_pages(cpu, vma->vm_mm, start, nr, flags, NULL);
    if (accessible) /* as 6.18 */
        lru_add_drain(cpu);
    return got;
}

int mm_populate_range(struct cpu *cpu, struct mm *mm, va_t start, u64 len, enum populate_errors errors)
{
    va_t end = start + len;
    s64 err = 0;

    down_read(cpu, &mm->mmap_lock);
    while (start < end) {
        struct vm_area_struct *vma = find_vma_intersection(cpu, mm, start, end);
        va_t stop;
        s64 done;

        if (!vma)
            break;
        stop = MIN(end, vma->vm_end);
        start = MAX(start, vma->vm_start);
        done = (s64)((stop - start) >> PAGE_SHIFT);
        if (!(vma->vm_flags & (VM_IO | VM_PFNMAP)))
            done = populate_vma_page_range(cpu, vma, start, stop);
        if (done < 0 && errors == POPULATE_STOP) {
            err = done;
            break;
        }
        start = done < 0 ? stop : start + ((u64)done << PAGE_SHIFT);
    }
    up_read(cpu, &mm->mmap_lock);
    return (int)err;
}
