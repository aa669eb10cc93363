/* SPDX-License-Identifier: MIT */
/*
 * The address-space floor's interface: what src/cache, src/machine, front ends and tests call.
 * One file per operation:
 *   VMAs         vma.c vma_index.c vma_merge.c vma_account.c
 *   calls        mmap.c munmap.c mprotect.c mremap.c brk.c madvise.c (madvise_pages.c guard.c
 *                memory_failure.c) mlock.c mincore.c msync.c unmapped_area.c stack.c
 *   faults       fault.c (outline) fault_anon.c fault_file.c fault_wp.c
 *   processes    fork.c fork_pte.c exec.c exit.c mm.c
 *   pages        rmap.c anon_vma.c zap.c gup.c
 *   tables       pgtable.c pagewalk.c pte_protect.c move_page_tables.c ptdump.c
 */
#ifndef QUIRE_VM_VM_H
#define QUIRE_VM_VM_H

#include "vm/mm_types.h"

struct vm {
    spinlock_t lock;        /* RANK_MACHINE */
    struct list_head mms;   /* every mm with mm_count > 0 */
    struct list_head tasks; /* every task */
    _Atomic u64 next_ctx_id;
    _Atomic s64 vm_committed_as; /* pages: Committed_AS */
    _Atomic s64 committed_lost;  /* pages of it that mremap(2) never gives back, as in Linux */
    spinlock_t anon_vma_lock;    /* RANK_LEAF: vm/anon_vma.c, lifetime */
    struct page *zero_page;      /* what a read of untouched anonymous memory maps */
    _Atomic u64 num_poisoned_pages;
    struct mm *init_mm; /* the kernel's */
    struct kmem_cache *mm_cachep, *vma_cachep, *task_cachep, *anon_vma_cachep, *anon_vma_chain_cachep, *vma_node_cachep;
    struct kmem_cache *signal_cachep;
};

int vm_init(struct cpu *cpu); /* boot: caches, zero page */

/* -- system calls' bodies: 0 or an address, else a negative errno -------------------------------------------------- */

#define PROT_NONE_ 0x0u
#define PROT_READ_ 0x1u
#define PROT_WRITE_ 0x2u
#define PROT_EXEC_ 0x4u
#define PROT_GROWSDOWN_ 0x01000000u
#define PROT_GROWSUP_ 0x02000000u
/* mmap(2) flags, generic ABI values (x86-64, arm64, riscv64). */
#define MAP_SHARED_ 0x01u
#define MAP_PRIVATE_ 0x02u
#define MAP_SHARED_VALIDATE_ 0x03u
#define MAP_TYPE_ 0x0fu
#define MAP_FIXED_ 0x10u
#define MAP_DROPPABLE_ 0x08u
#define MAP_ANONYMOUS_ 0x20u
#define MAP_32BIT_ 0x40u   /* x86 */
#define MAP_ABOVE4G_ 0x80u /* x86 */
#define MAP_GROWSDOWN_ 0x0100u
#define MAP_DENYWRITE_ 0x0800u
#define MAP_EXECUTABLE_ 0x1000u
#define MAP_LOCKED_ 0x2000u
#define MAP_NORESERVE_ 0x4000u
#define MAP_POPULATE_ 0x8000u
#define MAP_NONBLOCK_ 0x10000u
#define MAP_STACK_ 0x20000u
#define MAP_HUGETLB_ 0x40000u
#define MAP_SYNC_ 0x80000u
#define MAP_FIXED_NOREPLACE_ 0x100000u
/* log2 of a huge page's size, from how mmap, memfd_create and shmget name it (0: the default); 0: the machine has no
 * such. mmap.c */
u32 hugetlb_page_shift(const struct machine *m, u32 named);
#define MREMAP_MAYMOVE_ 1u
#define MREMAP_FIXED_ 2u
#define MREMAP_DONTUNMAP_ 4u

/* All take cpu->current's mm and its mmap_lock themselves, as the system calls do. Addresses and lengths in bytes. */
s64 sys_mmap(struct cpu *cpu, va_t addr, u64 len, u32 prot, u32 flags, struct file *file, u64 offset);
s64 sys_munmap(struct cpu *cpu, va_t addr, u64 len);
s64 sys_mprotect(struct cpu *cpu, va_t addr, u64 len, u64 prot);
s64 sys_pkey_mprotect(struct cpu *cpu, va_t addr, u64 len, u64 prot, int pkey);
s64 sys_pkey_alloc(struct cpu *cpu, u64 flags, u64 init_val);
s64 sys_pkey_free(struct cpu *cpu, int pkey);
s64 sys_mremap(struct cpu *cpu, va_t addr, u64 old_len, u64 new_len, u64 flags, va_t new_addr);
s64 sys_remap_file_pages(struct cpu *cpu, va_t start, u64 size, u64 prot, u64 pgoff, u64 flags);
s64 sys_mseal(struct cpu *cpu, va_t addr, u64 len, u64 flags);
s64 sys_brk(struct cpu *cpu, va_t brk);
s64 sys_madvise(struct cpu *cpu, va_t addr, u64 len, int advice);

s64 sys_mlock(struct cpu *cpu, va_t start, u64 len);
s64 sys_mlock2(struct cpu *cpu, va_t start, u64 len, u32 flags);
s64 sys_munlock(struct cpu *cpu, va_t start, u64 len);
s64 sys_mlockall(struct cpu *cpu, u32 flags);
s64 sys_munlockall(struct cpu *cpu);
s64 sys_msync(struct cpu *cpu, va_t start, u64 len, u32 flags);
/* mincore(2) for up to nr pages: the bytes written to vec, at least 1, or -ENOMEM: addr is not mapped. */
s64 mincore_pages(struct cpu *cpu, struct mm *mm, va_t addr, u64 nr, u8 *vec);

/* PR_SET_MEMORY_MERGE: all VMAs that can be merged are VM_MERGEABLE, and those to come; or none is any more. ksm.c */
enum ksm_merge { KSM_MERGE_NONE, KSM_MERGE_ANY };
void ksm_set_merge(struct cpu *cpu, struct mm *mm, enum ksm_merge merge);

/* -- prctl(2)'s parts ------------------------------------------------------------------------------------------------ */

#define ANON_VMA_NAME_MAX_LEN 80 /* with the ending 0 */
/* Name the anonymous mappings of a range, `text` shorter than ANON_VMA_NAME_MAX_LEN;
 * NULL: no name. anon_vma_name.c */
int set_anon_vma_name(struct cpu *cpu, va_t addr, u64 len, const char *text);

/* PR_SET_MM_MAP's argument, as the program passes it. */
struct mm_map {
    u64 start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end;
    u64 auxv; /* address */
    u32 auxv_size;
    u32 exe_fd; /* ~0: unchanged */
};
#define NR_PRCTL_MM_ADDRESSES 11
/* set_mm.c; mmap_lock held for writing, for validating none. */
int validate_prctl_map(struct cpu *cpu, const struct mm *mm, const struct mm_map *map);
void get_prctl_map(const struct mm *mm, struct mm_map *map);
void set_prctl_map(struct mm *mm, const struct mm_map *map);
int set_mm_exe_file(struct cpu *cpu, struct mm *mm, struct file *file);
/* The lowest address that hints and PR_SET_MM know: at least what a security module would ask for. */
static inline va_t mmap_min_addr(const struct machine *m)
{
    return MAX(ALIGN_UP(m->config.mmap_min_addr, PAGE_SIZE), m->config.lsm_mmap_min_addr);
}

/* -- VMA index and VMAs (mmap_lock held) --------------------------------------------------------------------------- */
struct vm_area_struct *find_vma(struct cpu *cpu, struct mm *mm, va_t addr);   /* first with addr < vm_end, or NULL */
struct vm_area_struct *vma_lookup(struct cpu *cpu, struct mm *mm, va_t addr); /* containing addr, or NULL */
struct vm_area_struct *find_vma_intersection(struct cpu *cpu, struct mm *mm, va_t start, va_t end);
struct vm_area_struct *find_vma_prev(struct cpu *cpu, struct mm *mm, va_t addr, struct vm_area_struct **prev);
static inline struct vm_area_struct *vma_next(const struct vm_area_struct *vma) /* in address order, NULL at the end */
{
    return vma->vm_next;
}
static inline struct vm_area_struct *vma_prev(const struct vm_area_struct *vma)
{
    return vma->vm_prev;
}
static inline struct vm_area_struct *vma_first(const struct mm *mm)
{
    return mm->vmas.first;
}
#define for_each_vma(vma, mm) for ((vma) = vma_first(mm); (vma); (vma) = vma_next(vma))
int expand_stack(struct cpu *cpu, struct vm_area_struct *vma, va_t addr);     /* write-locked; 0 or -errno */
int may_expand_stack(struct cpu *cpu, struct vm_area_struct *vma, va_t addr); /* would it? The mapping stays as it is */
int do_munmap(struct cpu *cpu, struct mm *mm, va_t start, u64 len);           /* write-locked */
int do_mmap_fixed_special(struct cpu *cpu, struct mm *mm, va_t start, u64 len, vm_flags_t flags, u32 vm_ops);
pgprot_t vm_get_page_prot(const struct machine *m, vm_flags_t vm_flags);
void vma_set_page_prot(struct vm_area_struct *vma);
s64 get_unmapped_area(struct cpu *cpu, struct mm *mm, struct file *file, va_t addr, u64 len, pgoff_t pgoff,
                      u32 map_flags);

/* One more reference to a file; cpu->code->fput() drops one. */
static inline void get_file(struct file *file)
{
    atomic_fetch_add_explicit(&file->f_count, 1, memory_order_relaxed);
}
/* A page is about to be, or was, changed through a mapping: its object notes it (a_ops->dirty_folio). */
void folio_mark_dirty(struct cpu *cpu, struct folio *f);

/* -- mm and tasks -------------------------------------------------------------------------------------------------- */
struct mm *mm_alloc(struct cpu *cpu); /* empty, mm_users = mm_count = 1; NULL: no memory */
void mmget(struct mm *mm);
void mmput(struct cpu *cpu, struct mm *mm); /* last user: exit_mmap() */
void mmgrab(struct mm *mm);
void mmdrop(struct cpu *cpu, struct mm *mm);
/* A process of its own: unprivileged, with the limits that Linux's first process has.
 * Takes over the caller's mm reference; NULL: no memory. */
struct task *task_create(struct cpu *cpu, s32 pid, s32 tgid, struct mm *mm);
void task_exit(struct cpu *cpu, struct task *t); /* drops its mm, frees it */
struct task *task_find(struct cpu *cpu, s32 pid);

#define CLONE_VM_ 0x100u
#define CLONE_VFORK_ 0x4000u
#define CLONE_THREAD_ 0x10000u
/* fork, vfork, clone for mm purposes: the new task, or ERR_PTR(-ENOMEM / -EAGAIN); the parent is cpu->current. */
struct task *kernel_clone(struct cpu *cpu, u64 clone_flags, s32 pid, s32 tgid);
/*
 * execve: replace cpu->current's mm by a new one that holds the stack, laid out for a new program. 0, or -errno with the
 * old one untouched. What is 0 is chosen by Linux's rules, from limits, personality and the machine's seed; who follows
 * a program that runs elsewhere dictates what was recorded there.
 */
struct exec_layout {
    va_t stack_top;        /* end of the stack's mapping */
    va_t stack_start;      /* and its start: the argument area and 128 KiB, within RLIMIT_STACK */
    u64 stack_size;        /* bytes of arguments, environment and auxv */
    vm_flags_t stack_exec; /* VM_EXEC: PT_GNU_STACK asks for it */
    va_t mmap_base;        /* search goes down from it, in the legacy layout up */
    struct mm_map map;     /* start_code ..: as they are to be, where not 0 */
    const u64 *auxv;       /* nr_auxv words of saved_auxv, at most AT_VECTOR_SIZE */
    u32 nr_auxv;
    struct file *exe;
    char comm[16];
};
int exec_mmap(struct cpu *cpu, const struct exec_layout *layout);
/*
 * Its parts: the new mm with the stack's pages for the arguments, or ERR_PTR(-E2BIG / -ENOMEM), nothing has changed yet;
 * cpu->current's change to it; the stack's room to grow into (0 or -errno: the kernel kills who comes so far).
 */
struct mm *exec_prepare(struct cpu *cpu, const struct exec_layout *layout);
void exec_commit(struct cpu *cpu, struct mm *mm, const struct exec_layout *layout);
int exec_expand_stack(struct cpu *cpu, struct mm *mm);
va_t exec_stack_top(const struct mm *mm); /* end of the stack's mapping */
/* The heap begins behind the program's last segment, which ends at `end`. mmap_lock held for writing, for both. */
void exec_set_brk(struct mm *mm, va_t end);
void exec_move_brk(struct mm *mm); /* or where a PIE would: of a program that mmap placed, among the mappings */

/* -- faults -------------------------------------------------------------------------------------------------------- */
vm_fault_t handle_mm_fault(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, u32 flags); /* mmap_lock read-held */

enum fault_access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC };
/* What the architecture's exception handler does:
 * find the VMA, check rights, grow the stack, fault, count, decide the signal. */
struct fault_info {
    int signo;   /* 0: done, retry the access; else SIGSEGV 11, SIGBUS 7, SIGKILL 9 (out of memory) */
    int si_code; /* SEGV_MAPERR 1, SEGV_ACCERR 2, SEGV_PKUERR 4; BUS_ADRERR 2 */
    va_t addr;
    bool major;
};
struct fault_info do_user_addr_fault(struct cpu *cpu, va_t addr, enum fault_access access);

/* -- reverse mapping (D9) ------------------------------------------------------------------------------------------ */
int anon_vma_prepare(struct cpu *cpu, struct vm_area_struct *vma); /* 0 or -ENOMEM */
int anon_vma_clone(struct cpu *cpu, struct vm_area_struct *dst, struct vm_area_struct *src);
int anon_vma_fork(struct cpu *cpu, struct vm_area_struct *vma, struct vm_area_struct *pvma);
void unlink_anon_vmas(struct cpu *cpu, struct vm_area_struct *vma);
/* Before a VMA's range or offset changes, and after: its nodes leave and re-enter the interval trees. */
void anon_vma_interval_tree_pre_update_vma(struct vm_area_struct *vma);
void anon_vma_interval_tree_post_update_vma(struct vm_area_struct *vma);
void vma_link_file(struct cpu *cpu, struct vm_area_struct *vma); /* into mapping->i_mmap */
void unlink_file_vma(struct cpu *cpu, struct vm_area_struct *vma);
void folio_add_new_anon_rmap(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr);
void folio_add_anon_rmap_pte(struct cpu *cpu, struct folio *f, struct page *page, struct vm_area_struct *vma,
                             va_t addr);
void folio_add_file_rmap_pte(struct cpu *cpu, struct folio *f, struct page *page, struct vm_area_struct *vma);
int folio_try_dup_anon_rmap_pte(struct folio *f, struct page *page,
                                struct vm_area_struct *src); /* 0 or -EBUSY (pinned) */
void folio_dup_file_rmap_pte(struct folio *f, struct page *page);
void folio_remove_rmap_pte(struct cpu *cpu, struct folio *f, struct page *page, struct vm_area_struct *vma);
/* Visit every PTE that maps the folio; the callback returns false to stop. Folio locked. */
struct rmap_walk_control {
    bool (*rmap_one)(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr, void *arg);
    void *arg;
};
void rmap_walk(struct cpu *cpu, struct folio *f, const struct rmap_walk_control *rwc);
int folio_referenced(struct cpu *cpu, struct folio *f,
                     vm_flags_t *vm_flags);          /* PTEs that had the accessed bit, now cleared */
int folio_mkclean(struct cpu *cpu, struct folio *f); /* PTEs made clean and read-only */
bool try_to_unmap(struct cpu *cpu, struct folio *f); /* file folios now; anonymous with swap, later */

/* -- page tables (vm/pgtable.c, vm/pagewalk.c) --------------------------------------------------------------------- */
static inline struct pt_root pt_root_for(const struct mm *mm, va_t addr)
{
    return pt_root_for_roots(mm->m, pt_format_of(mm->m), &mm->pt, addr);
}
int pgd_alloc(struct cpu *cpu, struct mm *mm); /* the roots; 0 or -ENOMEM */
void pgd_free(struct cpu *cpu, struct mm *mm);
/* The entry of `level` that translates addr; tables above it are allocated.
 * slot NULL: no memory, or a huge leaf is in the way (*leaf_level is then its level). */
struct pt_entry pt_alloc_entry(struct cpu *cpu, struct mm *mm, va_t addr, u32 level, u32 *leaf_level);
/* Without allocation: the entry of the lowest existing level >= `level`; its .level tells which. */
struct pt_entry pt_find_entry(const struct mm *mm, va_t addr, u32 level);
spinlock_t *pt_lockptr(const struct mm *mm, struct pt_entry e);
/* Locked level-1 entry, or slot NULL (no table). Pair with pte_unmap_unlock(). */
struct pt_entry pte_offset_map_lock(struct cpu *cpu, struct mm *mm, va_t addr, spinlock_t **ptl);
void pte_unmap_unlock(struct cpu *cpu, spinlock_t *ptl);
/* Free the tables that map nothing outside [floor, ceiling) within [start, end). */
void free_pgtables(struct cpu *cpu, struct mm *mm, va_t start, va_t end, va_t floor, va_t ceiling);

struct mm_walk {
    struct cpu *cpu;
    struct mm *mm;
    struct vm_area_struct *vma; /* NULL in a hole */
    void *private;
    bool again; /* set by an entry callback: the entry changed, look again */
};
/* By level; 0 goes on, > 0 stops with that result, < 0 is an error.
 * vm/pagewalk.c says which entries each callback is shown. */
struct mm_walk_ops {
    int (*entry[PT_MAX_LEVELS + 1])(struct pt_entry e, va_t addr, va_t next,
                                    struct mm_walk *walk);              /* before descending */
    int (*hole)(va_t addr, va_t next, u32 level, struct mm_walk *walk); /* level 0: no VMA */
    int (*test_walk)(va_t addr, va_t next, struct mm_walk *walk);       /* > 0: skip this VMA */
    int (*pre_vma)(va_t start, va_t end, struct mm_walk *walk);
    void (*post_vma)(struct mm_walk *walk);
};
int walk_page_range(struct cpu *cpu, struct mm *mm, va_t start, va_t end, const struct mm_walk_ops *ops, void *private);

#define FOLL_WRITE 0x1u
#define FOLL_GET 0x2u
#define FOLL_DUMP 0x4u
#define FOLL_TOUCH 0x10000u
#define FOLL_FORCE 0x8u
#define FOLL_PIN 0x20u
#define FOLL_HONOR_NUMA_FAULT 0x1000u /* a PROT_NONE entry in an accessible VMA is not followed */
/* The page mapped at addr, or NULL (not present), or ERR_PTR(-EFAULT / -EEXIST / -EMLINK: to be unshared for a pin). */
struct page *follow_page(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, u32 foll_flags);
/* The locked level-1 entry, present; pair with pte_unmap_unlock(). 0 or -EINVAL. */
int follow_pte(struct cpu *cpu, struct mm *mm, va_t addr, struct pt_entry *e, spinlock_t **ptl);
struct page *vm_normal_page(const struct vm_area_struct *vma, va_t addr, pte_t pte); /* NULL: special, zero page */
/* The same of an entry of level 1, for loops that know the format. */
PT_FN struct page *pte_normal_page(fmt_t f, const struct machine *m, pte_t pte)
{
    struct page *page = pfn_to_page(m, pte_pfn(f, 1, pte));

    return unlikely(pte_special(f, pte) || page == m->vm->zero_page) ? NULL : page;
}

/* -- zapping (zap.c) and what else changes ranges of tables -------------------------------------------------------- */
/* Unmap [start, end) of one VMA: PTEs cleared, rmap and rss undone, TLBs flushed, then the pages are freed. */
void zap_page_range(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
void unmap_region(struct cpu *cpu, struct vm_area_struct *first, va_t start, va_t end, va_t floor,
                  va_t ceiling); /* zap and free_pgtables */
int copy_page_range(struct cpu *cpu, struct vm_area_struct *dst, struct vm_area_struct *src); /* fork; 0 or -ENOMEM */
void change_protection(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);    /* to vma->vm_page_prot */
/* mremap: move the tables' entries; bytes moved (less than len: no memory). */
u64 move_page_tables(struct cpu *cpu, struct vm_area_struct *vma, va_t old, struct vm_area_struct *new_vma,
                     va_t new_addr, u64 len);

/* The TLB is hardware, src/machine's: the executing program supplies it. */
static inline void flush_tlb_range(struct cpu *cpu, struct mm *mm, va_t start, va_t end, u32 stride_shift,
                                   bool freed_tables)
{
    if (cpu->code->flush_tlb)
        cpu->code->flush_tlb(cpu, mm, start, end, stride_shift, freed_tables);
}
static inline void flush_tlb_mm(struct cpu *cpu, struct mm *mm)
{
    flush_tlb_range(cpu, mm, 0, 0, PAGE_SHIFT, true);
}
static inline void flush_tlb_page(struct cpu *cpu, struct mm *mm, va_t addr)
{
    flush_tlb_range(cpu, mm, addr & PAGE_MASK, (addr & PAGE_MASK) + PAGE_SIZE, PAGE_SHIFT, false);
}

/* -- counters ------------------------------------------------------------------------------------------------------ */
static inline void add_mm_counter(struct mm *mm, int member, s64 n)
{
    atomic_fetch_add_explicit(&mm->rss_stat[member], n, memory_order_relaxed);
}
static inline s64 get_mm_counter(const struct mm *mm, int member)
{
    s64 n = atomic_load_explicit(&((struct mm *)(uintptr_t)mm)->rss_stat[member], memory_order_relaxed);

    return n > 0 ? n : 0;
}
static inline s64 get_mm_rss(const struct mm *mm)
{
    return get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_ANONPAGES) + get_mm_counter(mm, MM_SHMEMPAGES);
}
static inline int mm_counter_file(const struct folio *f)
{
    return folio_test_swapbacked(f) ? MM_SHMEMPAGES : MM_FILEPAGES;
}
static inline int mm_counter(const struct folio *f)
{
    return folio_test_anon(f) ? MM_ANONPAGES : mm_counter_file(f);
}
static inline void update_hiwater_rss(struct mm *mm)
{
    u64 rss = (u64)get_mm_rss(mm);

    /* two at once: the one that writes last wins, as in Linux; a peak may be missed, the value is never torn */
    if (READ_ONCE(mm->hiwater_rss) < rss)
        WRITE_ONCE(mm->hiwater_rss, rss);
}

#endif
