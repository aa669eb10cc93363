/* SPDX-License-Identifier: MIT */
/*
 * Page faults: the outline.
 *
 *   do_user_addr_fault           exception: VMA lookup, stack growth, rights ──▶ SIGSEGV
 *     └ handle_mm_fault          tables allocated level by level, accounting
 *         └ handle_pte_fault     what does the entry say?
 *             ├ nothing          anonymous ─▶ do_anonymous_page (fault_anon.c): zero page, or a new page
 *             │                  object    ─▶ do_fault (fault_file.c): read │ private write (COW) │ shared write
 *             ├ write-protected  ─▶ do_wp_page (fault_wp.c): keep the page, or copy it
 *             ├ neither page nor empty (swapops.h): guard ─▶ SIGSEGV, poison ─▶ SIGBUS
 *             ├ no rights, but the VMA has (protnone): rights restored
 *             └ fine already     accessed and dirty set, or spurious: another CPU was faster, the TLB was stale
 *
 * Races. A fault looks at the entry without a lock, prepares (allocates, reads), takes the page-table lock and
 * looks again. Whoever finds another value drops what it prepared and returns 0: the access is tried again and
 * faults again if it must.
 *
 * Results. VM_FAULT_* bits; VM_FAULT_ERROR bits change nothing in the address space. VM_FAULT_MAJOR:
 * a device was waited for.
 *
 * Locks. mmap_lock for reading (stack growth: for writing). See base/lock_rank.h for what nests inside.
 *
 * Counters. pgfault = faults that were not retried and not left to a signal's cause = min_flt +
 * maj_flt of all mms + failed ones. Every successful fault counts in exactly one of
 * quire_fault_{anon,zero_page,file_read,file_cow,file_shared,wp_copy,wp_reuse, spurious}, but
 * for those that lost a race.
 *
 * Follows Documentation/mm/process_addrs.rst, sigaction(2) (si_code) and the arch documents for
 * which rights an access needs.
 */
#include "vm/fault.h"

#include "vm/swapops.h"
#include "vm/vma_priv.h"

#define SIGBUS_ 7
#define SIGKILL_ 9
#define SIGSEGV_ 11
#define SEGV_MAPERR_ 1
#define SEGV_PKUERR_ 4
#define SEGV_ACCERR_ 2
#define BUS_ADRERR_ 2
#define BUS_MCEERR_AR_ 4
#define SI_KERNEL_ 0x80

/* -- one entry ----------------------------------------------------------------------------------------------------- */

/* The entry is present but the VMA's rights were withheld from
 * it (PROT_NONE at level 1 in an accessible VMA): restore them. */
static vm_fault_t do_protnone_page(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);

    vmf_lock_pte(cpu, vmf);
    if (!vmf_pte_changed(fmt, vmf)) {
        pte_t pte = ptep_get_and_clear(fmt, vmf->pte);

        pte = pte_mkyoung(fmt, pte_modify(fmt, 1, pte, vmf->vma->vm_page_prot));
        set_pte_at(fmt, vmf->pte, pte);
        count_vm_event(cpu, Q_FAULT_SPURIOUS);
    }
    vmf_unlock_pte(cpu, vmf);
    return 0;
}

/* The entry is present and has the rights:
 * set what the hardware may leave to software, and forget stale TLB entries. */
static void touch_present_pte(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    pte_t pte = pte_mkyoung(fmt, vmf->orig_pte);

    if (vmf->flags & FAULT_FLAG_WRITE)
        pte = pte_mkdirty(fmt, pte);
    if (!ptep_set_access_flags(fmt, vmf->pte, pte) && (vmf->flags & FAULT_FLAG_WRITE))
        flush_tlb_page(cpu, vmf->vma->vm_mm, vmf->address);
    count_vm_event(cpu, Q_FAULT_SPURIOUS);
}

static vm_fault_t handle_present_pte(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);

    if (pte_protnone(fmt, vmf->orig_pte) && (vmf->vma->vm_flags & VM_ACCESS_FLAGS))
        return do_protnone_page(cpu, vmf);
    vmf_lock_pte(cpu, vmf);
    if (!vmf_pte_changed(fmt, vmf)) {
        if ((vmf->flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) && !pte_write(fmt, vmf->orig_pte))
            return do_wp_page(cpu, vmf);
        touch_present_pte(cpu, vmf);
    } else {
        count_vm_event(cpu, Q_FAULT_SPURIOUS);
    }
    vmf_unlock_pte(cpu, vmf);
    return 0;
}

/* Neither a page nor empty: what the entry says instead (swapops.h). Swap and migration entries: with those rows. */
static __cold vm_fault_t handle_special_pte(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    u32 markers = pte_markers(fmt, vmf->orig_pte);

    if (markers & PTE_MARKER_GUARD)
        return VM_FAULT_SIGSEGV;
    ASSERT((markers & PTE_MARKER_POISONED) || pte_is_hwpoison(fmt, vmf->orig_pte));
    return VM_FAULT_HWPOISON;
}

/* The table of the fault's entry, where there is none. 0: the entry may be used. */
vm_fault_t vmf_alloc_table(struct cpu *cpu, struct vm_fault *vmf)
{
    u32 leaf_level = 0;

    vmf->pte = pt_alloc_entry(cpu, vmf->vma->vm_mm, vmf->address, 1, &leaf_level);
    if (likely(vmf->pte.slot))
        return 0;
    return leaf_level ? VM_FAULT_NOPAGE : VM_FAULT_OOM;
}

/* A fault on an object that has no page there, or no right to show one, leaves no table behind. */
static bool needs_no_table_yet(struct vm_fault *vmf)
{
    struct mm *mm = vmf->vma->vm_mm;

    vmf->pte = pt_find_entry(mm, vmf->address, 1);
    return vmf->pte.level > 1 && pte_none(pt_format_of(mm->m), pt_read(pt_format_of(mm->m), vmf->pte));
}

static vm_fault_t handle_pte_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    bool anonymous = vma_is_anonymous(vmf->vma);
    vm_fault_t ret;

    if (!anonymous && needs_no_table_yet(vmf)) {
        vmf->pte.slot = NULL;
        return do_fault(cpu, vmf);
    }
    if (anonymous || vmf->pte.level > 1) {
        ret = vmf_alloc_table(cpu, vmf);
        if (unlikely(ret))
            return ret & VM_FAULT_OOM;
    }
    vmf->orig_pte = pt_read(fmt, vmf->pte);
    if (likely(pte_none(fmt, vmf->orig_pte)))
        return anonymous ? do_anonymous_page(cpu, vmf) : do_fault(cpu, vmf);
    if (unlikely(!pte_present(fmt, vmf->orig_pte)))
        return handle_special_pte(cpu, vmf);
    return handle_present_pte(cpu, vmf);
}

/* -- a fault in a VMA ---------------------------------------------------------------------------------------------- */

static void mm_account_fault(struct cpu *cpu, struct mm *mm, vm_fault_t ret)
{
    if (unlikely(ret & VM_FAULT_RETRY))
        return;
    count_vm_event(cpu, PGFAULT);
    if (unlikely(ret & VM_FAULT_ERROR))
        return;
    /* Threads fault side by side under the read lock. */
    __atomic_fetch_add(ret & VM_FAULT_MAJOR ? &mm->maj_flt : &mm->min_flt, 1, __ATOMIC_RELAXED);
}

vm_fault_t handle_mm_fault(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, u32 flags)
{
    struct vm_fault vmf = {
        .vma = vma,
        .address = addr & PAGE_MASK,
        .real_address = addr,
        .pgoff = linear_page_index(vma, addr & PAGE_MASK),
        .flags = flags,
    };
    vm_fault_t ret;

    DEBUG_ASSERT(addr >= vma->vm_start && addr < vma->vm_end);
    ret = handle_pte_fault(cpu, &vmf);
    mm_account_fault(cpu, vma->vm_mm, ret);
    return ret;
}

/* -- the exception ------------------------------------------------------------------------------------------------- */

static bool is_x86(const struct machine *m)
{
    return m->config.pt_format <= PT_X86_64_5L;
}

/*
 * The vm_flags of which one must be set for the access. x86 entries cannot withhold reading from what may be written
 * or executed; without NX (2-level tables) nor executing. On arm64 (without EPAN) executing and writing imply
 * reading, on riscv writing does.
 */
static vm_flags_t access_needs(const struct machine *m, enum fault_access access)
{
    if (access == ACCESS_WRITE)
        return VM_WRITE;
    if (access == ACCESS_EXEC)
        return m->config.pt_format == PT_X86_32 ? VM_ACCESS_FLAGS : VM_EXEC;
    return m->config.pt_format < PT_RISCV_SV39 ? VM_ACCESS_FLAGS : VM_READ | VM_WRITE;
}

static __cold struct fault_info fault_signal(struct cpu *cpu, int signo, int si_code, va_t addr)
{
    count_vm_event(cpu, signo == SIGSEGV_ ? Q_FAULT_SIGSEGV : signo == SIGBUS_ ? Q_FAULT_SIGBUS : Q_FAULT_OOM);
    return (struct fault_info){.signo = signo, .si_code = si_code, .addr = addr};
}

static __cold struct fault_info mm_fault_error(struct cpu *cpu, vm_fault_t ret, va_t addr)
{
    if (ret & VM_FAULT_OOM)
        return fault_signal(cpu, SIGKILL_, 0, addr);
    if (ret & VM_FAULT_HWPOISON)
        return fault_signal(cpu, SIGBUS_, BUS_MCEERR_AR_, addr & PAGE_MASK);
    if (ret & VM_FAULT_SIGBUS)
        return fault_signal(cpu, SIGBUS_, BUS_ADRERR_, addr);
    return fault_signal(cpu, SIGSEGV_, SEGV_MAPERR_, addr);
}

/*
 * addr lies below the stack: let it grow. Called with mmap_lock read-held, which is given up and taken for writing;
 * on return read-held again if the result is not NULL, not held otherwise.
 */
static __noinline struct vm_area_struct *grow_stack(struct cpu *cpu, struct mm *mm, va_t addr) NO_LOCK_ANALYSIS
{
    struct vm_area_struct *vma;

    up_read(cpu, &mm->mmap_lock);
    down_write(cpu, &mm->mmap_lock);
    vma = find_vma(cpu, mm, addr);
    if (!vma)
        goto fail;
    if (vma->vm_start > addr) {
        if (!(vma->vm_flags & VM_GROWSDOWN) || expand_stack(cpu, vma, addr))
            goto fail;
        count_vm_event(cpu, Q_FAULT_STACK_GROW);
        vma = find_vma(cpu, mm, addr);
    }
    downgrade_write(&mm->mmap_lock);
    return vma;
fail:
    up_write(cpu, &mm->mmap_lock);
    return NULL;
}

/* The VMA of addr with mmap_lock read-held, or NULL and not held. */
static struct vm_area_struct *lock_mm_and_find_vma(struct cpu *cpu, struct mm *mm, va_t addr) NO_LOCK_ANALYSIS
{
    struct vm_area_struct *vma;

    down_read(cpu, &mm->mmap_lock);
    vma = find_vma(cpu, mm, addr);
    if (likely(vma && vma->vm_start <= addr))
        return vma;
    if (vma && (vma->vm_flags & VM_GROWSDOWN))
        return grow_stack(cpu, mm, addr);
    up_read(cpu, &mm->mmap_lock);
    return NULL;
}

struct fault_info do_user_addr_fault(struct cpu *cpu, va_t addr, enum fault_access access) NO_LOCK_ANALYSIS
{
    static const u32 flags_of[] = {
        [ACCESS_READ] = FAULT_FLAG_USER,
        [ACCESS_WRITE] = FAULT_FLAG_USER | FAULT_FLAG_WRITE,
        [ACCESS_EXEC] = FAULT_FLAG_USER | FAULT_FLAG_INSTRUCTION,
    };
    struct mm *mm = cpu->current->mm;
    struct vm_area_struct *vma;
    vm_fault_t ret;

    charge(cpu, COST_FAULT_ENTRY);
    if (unlikely(addr >= mm->task_size)) {
        /* x86-64 raises #GP, not a page fault, for what no page table could translate */
        bool gp = is_x86(cpu->m) && !pt_va_canonical(pt_format_of(cpu->m), addr);

        return fault_signal(cpu, SIGSEGV_, gp ? SI_KERNEL_ : SEGV_MAPERR_, gp ? 0 : addr);
    }
    do {
        vma = lock_mm_and_find_vma(cpu, mm, addr);
        if (unlikely(!vma))
            return fault_signal(cpu, SIGSEGV_, SEGV_MAPERR_, addr);
        if (unlikely(cpu->m->config.pkeys) && !pkru_allows(cpu->current, vma, access)) {
            up_read(cpu, &mm->mmap_lock);
            return fault_signal(cpu, SIGSEGV_, SEGV_PKUERR_, addr);
        }
        if (unlikely(!(vma->vm_flags & access_needs(cpu->m, access)))) {
            up_read(cpu, &mm->mmap_lock);
            return fault_signal(cpu, SIGSEGV_, SEGV_ACCERR_, addr);
        }
        ret = handle_mm_fault(cpu, vma, addr, flags_of[access]);
        up_read(cpu, &mm->mmap_lock);
    } while (unlikely(ret & VM_FAULT_RETRY));

    if (unlikely(ret & VM_FAULT_ERROR))
        return mm_fault_error(cpu, ret, addr);
    return (struct fault_info){.addr = addr, .major = ret & VM_FAULT_MAJOR};
}
