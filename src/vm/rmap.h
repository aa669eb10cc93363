/* SPDX-License-Identifier: MIT */
/* Reverse mapping, for the files of src/vm: anon_vma references and the folio's owner. Public part: vm/vm.h. */
#ifndef QUIRE_VM_RMAP_H
#define QUIRE_VM_RMAP_H

#include "phys/lru.h"
#include "vm/vm.h"

static inline void anon_vma_lock_write(struct cpu *cpu, struct anon_vma *av) NO_LOCK_ANALYSIS
{
    down_write(cpu, &av->root->rwsem);
}

static inline void anon_vma_unlock_write(struct cpu *cpu, struct anon_vma *av) NO_LOCK_ANALYSIS
{
    up_write(cpu, &av->root->rwsem);
}

static inline void get_anon_vma(struct anon_vma *av)
{
    atomic_fetch_add_explicit(&av->refcount, 1, memory_order_relaxed);
}

void put_anon_vma(struct cpu *cpu, struct anon_vma *av);

static inline struct anon_vma *folio_anon_vma(const struct folio *f)
{
    u64 mapping = (u64)(uintptr_t)f->page.mapping;

    return (mapping & PAGE_MAPPING_FLAGS) == PAGE_MAPPING_ANON
               ? (struct anon_vma *)(uintptr_t)(mapping & ~PAGE_MAPPING_FLAGS)
               : NULL;
}

/* The folio's anon_vma with a reference, or NULL when nothing maps the folio any more. */
struct anon_vma *folio_get_anon_vma(struct cpu *cpu, struct folio *f);

/* The folio is vma's alone: from now on only vma's own anon_vma need be searched for it. Folio locked. */
void folio_move_anon_rmap(struct folio *f, struct vm_area_struct *vma);

/* Counted as locked while a VM_LOCKED VMA maps it. VM_IO: mlock() is counting, or nothing to count. */
static inline bool vma_counts_mlock(const struct vm_area_struct *vma)
{
    return unlikely((READ_ONCE(vma->vm_flags) & (VM_LOCKED | VM_SPECIAL)) == VM_LOCKED);
}

static inline void mlock_vma_folio(struct cpu *cpu, struct folio *f, const struct vm_area_struct *vma)
{
    if (vma_counts_mlock(vma))
        mlock_folio(cpu, f);
}

static inline void munlock_vma_folio(struct cpu *cpu, struct folio *f, const struct vm_area_struct *vma)
{
    if (vma_counts_mlock(vma))
        munlock_folio(cpu, f);
}

/* A new folio that vma maps goes to its LRU list. */
static inline void folio_add_lru_vma(struct cpu *cpu, struct folio *f, const struct vm_area_struct *vma)
{
    if (vma_counts_mlock(vma))
        mlock_new_folio(cpu, f);
    else
        folio_add_lru(cpu, f);
}

/* Where `vma` maps page `index` of its object; the caller knows that it does. */
static inline va_t vma_address(const struct vm_area_struct *vma, u64 index)
{
    return vma->vm_start + ((index - vma->vm_pgoff.nr) << PAGE_SHIFT);
}

#endif
