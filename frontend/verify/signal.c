/* SPDX-License-Identifier: MIT */
/*
 * SIGSEGV and SIGBUS of an access: would the machine's mappings have raised it, with this code? Whether it was a load, a
 * store or a fetch is not recorded: one of them must.
 */
#include "priv.h"

#define SIGBUS_ 7
#define SIGSEGV_ 11
#define SEGV_MAPERR_ 1
#define SEGV_ACCERR_ 2
#define BUS_ADRERR_ 2

static bool maps_nothing(struct verify *v, struct mm *mm, u64 addr) NO_LOCK_ANALYSIS
{
    struct vm_area_struct *vma = find_vma(v->cpu, mm, addr);
    bool nothing;

    if (!vma || vma->vm_start <= addr)
        return !vma;
    down_write(v->cpu, &mm->mmap_lock);
    nothing = may_expand_stack(v->cpu, vma, addr) != 0;
    up_write(v->cpu, &mm->mmap_lock);
    return nothing;
}

static bool raises(struct verify *v, const struct native_signal *e)
{
    struct mm *mm = v->cpu->current->mm;
    struct vm_area_struct *vma = vma_lookup(v->cpu, mm, e->addr);

    if (e->signo == SIGBUS_)
        return vma && vma->vm_file &&
               (vma->vm_pgoff.nr << PAGE_SHIFT) + (e->addr - vma->vm_start) >= ALIGN_UP(e->file_size, PAGE_SIZE);
    if (e->code == SEGV_MAPERR_)
        return maps_nothing(v, mm, e->addr);
    return vma && (vma->vm_flags & VM_ACCESS_FLAGS) != VM_ACCESS_FLAGS;
}

void signal_verify(struct verify *v, struct vtask *t, const struct native_signal *e)
{
    bool access = (e->signo == SIGSEGV_ && (e->code == SEGV_MAPERR_ || e->code == SEGV_ACCERR_)) ||
                  (e->signo == SIGBUS_ && e->code == BUS_ADRERR_);
    struct verify_tally *tally = &v->r.tally[VERIFY_SIGNAL];

    if (!access || !t->space->known)
        return;
    world_run(v, t);
    if (raises(v, e)) {
        tally->agreed++;
        return;
    }
    tally->disagreed++;
    if (disagree(v, VERIFY_SIGNAL, &e->h, "signal %d, code %d at %#llx, which the machine would not raise", e->signo,
                 e->code, (unsigned long long)e->addr))
        maps_print_around(v, t, e->addr);
}
