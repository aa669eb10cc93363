/* SPDX-License-Identifier: MIT */
/* Between vma.c, vma_merge.c and the files of the system calls. All need the mmap_lock for writing, but for where it says otherwise. */
#ifndef QUIRE_VM_VMA_PRIV_H
#define QUIRE_VM_VMA_PRIV_H

#include "vm/gup.h"
#include "vm/vma.h"

/*
 * One step from a list of VMAs to another, with index, trees and map_count. Nothing in it can fail; nodes for the
 * insertions were preallocated. Offsets follow the starts. At most one of insert, remove and next is not NULL.
 */
struct vma_change {
    struct vm_area_struct *vma; /* gets the range [start, end) */
    va_t start, end;
    struct vm_area_struct *next;      /* or NULL: the neighbour, which touches it and from now on begins at `end` */
    struct vm_area_struct *insert[2]; /* or NULL: from vma_copy_range(); what vma loses below, and above */
    struct vm_area_struct *remove[2]; /* or NULL: neighbours, ascending; merged away, freed here */
};
void vma_commit(struct cpu *cpu, struct mm *mm, const struct vma_change *c);

/* A detached copy of [start, end) of vma with references of its own, for a split.
 * ERR_PTR(-ENOMEM / what may_split says). */
struct vm_area_struct *vma_copy_range(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
void vma_copy_cancel(struct cpu *cpu, struct vm_area_struct *copy);

/*
 * Where a call on [*start, end) that passes over holes goes on: *start moves to the first mapped address. NULL: nothing
 * more is mapped. *holes becomes -ENOMEM where something was not. Under mmap_lock of either kind.
 */
struct vm_area_struct *vma_over_holes(struct cpu *cpu, struct mm *mm, va_t *start, va_t end, int *holes);

/* Cuts at `start` in `first` and at `end` in `last` (may be one VMA),
 * where they are not edges already: all that can fail. */
struct vma_cuts {
    struct vm_area_struct *first, *last;
    va_t start, end;
    struct vm_area_struct *below, *above; /* the copies that become VMAs of their own, or NULL */
};
int vma_cuts_prepare(struct cpu *cpu, struct mm *mm, struct vma_cuts *cuts);
static inline bool vma_cuts_needed(const struct vma_cuts *cuts)
{
    return cuts->start > cuts->first->vm_start || cuts->end < cuts->last->vm_end;
}
void vma_cuts_commit(struct cpu *cpu, struct mm *mm, struct vma_cuts *cuts);
void vma_cuts_cancel(struct cpu *cpu, struct vma_cuts *cuts);

/* VMAs that the running call has made: they may vanish though they have ops->close, which is called. */
enum vma_fresh { FRESH_NONE = 0, FRESH_MIDDLE = 1, FRESH_NEXT = 2 };

/* What a range is to look like, and what lies around it. */
struct vma_merge {
    struct mm *mm;
    struct vm_area_struct *prev, *next; /* neighbours, or NULL */
    struct vm_area_struct *middle;      /* the VMA that the range is part of; NULL: a new range */
    struct vm_area_struct *copied_from; /* new range: the VMA whose pages will move there, or NULL */
    va_t start, end;
    pgoff_t pgoff; /* of start */
    vm_flags_t vm_flags;
    struct file *file;
    u32 vm_ops;
    struct anon_vma *anon_vma;
    char *anon_name;
    u32 fresh; /* enum vma_fresh */
};
/* The neighbour that now covers the new range; NULL: no merge possible (or no memory for it). */
struct vm_area_struct *vma_merge_new_range(struct cpu *cpu, const struct vma_merge *g);
/* dst, which stays, takes over src's anon_vma if it has none. -ENOMEM: nothing changed. */
int dup_anon_vma(struct cpu *cpu, struct vm_area_struct *dst, struct vm_area_struct *src);
/*
 * Make [start, end) of `vma` a VMA whose vm_flags may become `flags`: merged with neighbours that have them already, or
 * cut out. The caller sets the flags. ERR_PTR(-ENOMEM): nothing changed.
 */
struct vm_area_struct *vma_modify(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end, vm_flags_t flags);

/* The same for its name, which the caller sets. */
struct vm_area_struct *vma_modify_name(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end, char *name);

/*
 * `vma` was cut out of a VMA of [start, end) just now: it is one with what is left of that again, and with nothing else
 * (neighbours that differ in VM_STICKY would fit). Needs no memory.
 */
void vma_rejoin(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
/* A VMA that the call has just made is merged with its neighbours, if they fit and there is memory. What holds it then. */
struct vm_area_struct *vma_merge_copy(struct cpu *cpu, struct vm_area_struct *copy);

/* -- anon_vma_name.c ----------------------------------------------------------------------------------------------- */
void anon_vma_name_get(char *name); /* NULL: nothing */
void anon_vma_name_put(struct cpu *cpu, char *name);

/* -- unmapping in two steps: munmap.c ------------------------------------------------------------------------------ */
struct unmap_plan {
    struct vma_cuts cuts;        /* cuts.first NULL: nothing mapped there */
    u64 nr_pages;                /* mapped in the range */
    u64 nr_accounted;            /* of them VM_ACCOUNT */
    struct vm_area_struct *next; /* nothing mapped there, or after unmap_commit(): the first VMA behind, or NULL */
};
int unmap_prepare(struct cpu *cpu, struct mm *mm, va_t start, va_t end, struct unmap_plan *plan);
void unmap_commit(struct cpu *cpu, struct mm *mm, struct unmap_plan *plan); /* something is mapped there */
void unmap_cancel(struct cpu *cpu, struct unmap_plan *plan);
void unmap_abandon(struct cpu *cpu, struct mm *mm, struct unmap_plan *plan); /* the cuts alone */

/* -- gup.c, for follow_page() -------------------------------------------------------------------------------------- */
/* The reference (FOLL_GET) or pin (FOLL_PIN) of a page whose entry's lock is held. */
void folio_grab_for_gup(struct cpu *cpu, struct folio *f, u32 flags);
/* A pin to read it must not be taken of a page that a write would replace. */
bool gup_must_unshare(const struct vm_area_struct *vma, u32 flags, struct page *page);
/* -- ksm.c --------------------------------------------------------------------------------------------------------- */
bool ksm_compatible(vm_flags_t flags); /* could same-page merging look at such a VMA? */
/* The flags of a new VMA: VM_MERGEABLE with them, where the address space asks for it and they allow it. */
static inline vm_flags_t ksm_vma_flags(const struct mm *mm, vm_flags_t flags)
{
    if (likely(!(READ_ONCE(mm->flags) & MMF_VM_MERGE_ANY)))
        return flags;
    return ksm_compatible(flags) ? flags | VM_MERGEABLE : flags;
}

/* -- mseal.c, pkeys.c ---------------------------------------------------------------------------------------------- */
bool pkru_allows_key(const struct task *t, u32 pkey, enum fault_access access);
bool pkru_allows(const struct task *t, const struct vm_area_struct *vma, enum fault_access access);
bool mm_pkey_is_allocated(const struct mm *mm, int pkey);
int override_mprotect_pkey(struct cpu *cpu, const struct vm_area_struct *vma, u64 prot, int pkey);
int execute_only_pkey(struct cpu *cpu, struct mm *mm); /* 0: there is none */

/* -- mmap.c -------------------------------------------------------------------------------------------------------- */
struct mmap_request {
    va_t addr;
    u64 len; /* bytes */
    u32 prot, flags;
    struct file *file;
    pgoff_t pgoff;
    bool populate; /* result: fault it in when the lock is dropped */
};
s64 mmap_locked(struct cpu *cpu, struct mmap_request *r); /* into cpu->current's mm: the address, or -errno */

/* A page's bytes may be thrown away: not those of a sealed private mapping that may not be written to (mseal(2)). */
static inline bool can_discard_vma(const struct vm_area_struct *vma)
{
    return !(vma->vm_flags & VM_SEALED) || !vma_is_anonymous(vma) || (vma->vm_flags & VM_WRITE);
}

/* -- small things -------------------------------------------------------------------------------------------------- */
void mlock_forget(struct cpu *cpu, struct vm_area_struct *vma); /* mlock.c */
bool mlock_future_ok(struct cpu *cpu, const struct mm *mm, vm_flags_t flags, u64 bytes);

static inline u64 task_rlimit_of(const struct cpu *cpu, u32 limit)
{
    return cpu->current ? rlimit(cpu->current, limit) : RLIM_INFINITY_;
}

static inline bool is_64bit(const struct mm *mm)
{
    return mm->m->config.pt_format >= PT_X86_64_4L;
}

static inline void update_hiwater_vm(struct mm *mm)
{
    if (mm->hiwater_vm < mm->total_vm)
        mm->hiwater_vm = mm->total_vm;
}

/* PR_SET_MDWE: may a mapping with the flags `old` not get those of `new`? */
static inline bool map_deny_write_exec(const struct mm *mm, vm_flags_t old, vm_flags_t new)
{
    return (READ_ONCE(mm->flags) & MMF_HAS_MDWE) && (new &VM_EXEC) && ((new &VM_WRITE) || !(old & VM_EXEC));
}

static inline bool vma_is_accessible(const struct vm_area_struct *vma)
{
    return vma->vm_flags & VM_ACCESS_FLAGS;
}

#endif
