/* SPDX-License-Identifier: MIT */
/*
 * mprotect(2): rights of a range, VMA by VMA.
 *
 *   for each VMA of the range (no hole allowed)
 *      rights within VM_MAY* ─▶ limits and commit charge ─▶ merge or cut (vma_modify) ─▶ flags
 *      ─▶ entries (change_protection)
 *
 * Each VMA is one step: it is done or it is not. A range whose third VMA fails has its first two changed, as the
 * manual page says of holes.
 *
 * Accounting. A private mapping that becomes writable is committed from then on (VM_ACCOUNT). It stays so when
 * it becomes read-only again, because its pages may be the process's own by then; only where no page can be
 * (no anon_vma) it is undone.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

#define PROT_SEM_ 0x8u

/* What the VMA's flags become; commits what that needs, in *charged pages. */
static int protect_account(struct cpu *cpu, const struct vm_area_struct *vma, u64 pages, vm_flags_t *newflags,
                           u64 *charged)
{
    struct mm *mm = vma->vm_mm;
    vm_flags_t old = vma->vm_flags;

    *charged = 0;
    if (!(*newflags & VM_WRITE)) {
        if ((old & VM_ACCOUNT) && vma_is_anonymous(vma) && !vma->anon_vma)
            *newflags &= ~VM_ACCOUNT;
        return 0;
    }
    if (!may_expand_vm(cpu, mm, *newflags, pages) && may_expand_vm(cpu, mm, old, pages))
        return -ENOMEM;
    if (old & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE))
        return 0;
    if (vm_enough_memory(cpu, mm, pages))
        return -ENOMEM;
    *charged = pages;
    *newflags |= VM_ACCOUNT;
    return 0;
}

/* [start, end) lies in vma. Returns the VMA that covers it afterwards, or an error. */
static struct vm_area_struct *mprotect_fixup(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end,
                                             vm_flags_t newflags)
{
    struct mm *mm = vma->vm_mm;
    vm_flags_t oldflags = vma->vm_flags;
    u64 pages = (end - start) >> PAGE_SHIFT, charged;
    int err;

    if (vma->vm_flags & VM_SEALED)
        return ERR_PTR(-EPERM);
    if (newflags == oldflags)
        return vma;
    err = protect_account(cpu, vma, pages, &newflags, &charged);
    if (err)
        return ERR_PTR(err);
    vma = vma_modify(cpu, vma, start, end, newflags);
    if (IS_ERR(vma)) {
        vm_unacct_memory(mm->m, charged);
        return vma;
    }
    vma->vm_flags = newflags | (vma->vm_flags & VM_STICKY);
    vma_set_page_prot(vma);
    change_protection(cpu, vma, start, end);
    if ((oldflags & VM_ACCOUNT) && !(newflags & VM_ACCOUNT))
        vm_unacct_memory(mm->m, pages);
    /* Locked means present: the copies that writing will need are made now. */
    if ((oldflags & (VM_WRITE | VM_SHARED | VM_LOCKED)) == VM_LOCKED && (newflags & VM_WRITE))
        populate_vma_page_range(cpu, vma, start, end);
    vm_stat_account(mm, oldflags, -(s64)pages);
    vm_stat_account(mm, newflags, (s64)pages);
    return vma;
}

/* What is asked for: rights, and the key that goes with them. */
struct protect {
    u64 prot;
    int pkey; /* -1: mprotect(2), keys follow from the rights */
};

static vm_flags_t wanted_flags(struct cpu *cpu, const struct protect *p, const struct vm_area_struct *vma)
{
    u64 prot = p->prot;
    vm_flags_t flags;

    if ((prot & PROT_READ_) && (vma->vm_flags & VM_MAYEXEC) && (cpu->current->personality & READ_IMPLIES_EXEC_))
        prot |= PROT_EXEC_;
    flags = (prot & PROT_READ_ ? VM_READ : 0) | (prot & PROT_WRITE_ ? VM_WRITE : 0) | (prot & PROT_EXEC_ ? VM_EXEC : 0);
    if (unlikely(p->pkey != -1 || prot == PROT_EXEC_ || (vma->vm_flags & VM_PKEY_MASK)))
        flags |= (vm_flags_t)override_mprotect_pkey(cpu, vma, prot, p->pkey) << VM_PKEY_SHIFT;
    return flags | (vma->vm_flags & ~(VM_ACCESS_FLAGS | VM_PKEY_MASK));
}

static int protect_range(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end, const struct protect *p)
{
    for (; start < end; vma = vma_next(vma)) {
        vm_flags_t newflags;
        va_t stop;

        if (!vma || vma->vm_start > start)
            return -ENOMEM;
        newflags = wanted_flags(cpu, p, vma);
        if ((newflags & ~(newflags >> 4)) & VM_ACCESS_FLAGS) /* VM_MAYREAD is VM_READ << 4, and so on */
            return -EACCES;
        if (map_deny_write_exec(vma->vm_mm, vma->vm_flags, newflags))
            return -EACCES;
        stop = MIN(end, vma->vm_end);
        vma = mprotect_fixup(cpu, vma, start, stop, newflags);
        if (IS_ERR(vma))
            return PTR_ERR(vma);
        start = stop;
        if (vma->vm_end > stop && start < end) /* merged with the one behind, which so has these rights already */
            start = MIN(end, vma->vm_end);
    }
    return 0;
}

static int protect_locked(struct cpu *cpu, struct mm *mm, va_t start, va_t end, const struct protect *p, u64 grows)
{
    struct vm_area_struct *vma;

    if (p->pkey != -1 && !mm_pkey_is_allocated(mm, p->pkey))
        return -EINVAL;
    vma = find_vma_intersection(cpu, mm, start, end);
    if (!vma)
        return -ENOMEM;
    if (grows & PROT_GROWSDOWN_) {
        if (vma->vm_start >= end)
            return -ENOMEM;
        if (!(vma->vm_flags & VM_GROWSDOWN))
            return -EINVAL;
        start = vma->vm_start;
    } else if (vma->vm_start > start) {
        return -ENOMEM;
    } else if (grows & PROT_GROWSUP_) {
        return -EINVAL; /* no architecture here has mappings that grow upwards */
    }
    return protect_range(cpu, vma, start, end, p);
}

s64 sys_pkey_mprotect(struct cpu *cpu, va_t addr, u64 len, u64 prot, int pkey)
{
    struct mm *mm = cpu->current->mm;
    u64 grows = prot & (PROT_GROWSDOWN_ | PROT_GROWSUP_);
    struct protect p = {prot & ~(u64)(PROT_GROWSDOWN_ | PROT_GROWSUP_), pkey};
    va_t end;
    int err;

    charge(cpu, COST_MMAP);
    if (grows == (PROT_GROWSDOWN_ | PROT_GROWSUP_) || (addr & ~PAGE_MASK))
        return -EINVAL;
    if (!len)
        return 0;
    end = addr + ALIGN_UP(len, PAGE_SIZE);
    if (end <= addr)
        return -ENOMEM;
    if (p.prot & ~(u64)(PROT_READ_ | PROT_WRITE_ | PROT_EXEC_ | PROT_SEM_))
        return -EINVAL;
    down_write(cpu, &mm->mmap_lock);
    err = protect_locked(cpu, mm, addr, end, &p, grows);
    up_write(cpu, &mm->mmap_lock);
    return err;
}

s64 sys_mprotect(struct cpu *cpu, va_t addr, u64 len, u64 prot)
{
    return sys_pkey_mprotect(cpu, addr, len, prot, -1);
}
