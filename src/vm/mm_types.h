/* SPDX-License-Identifier: MIT */
/*
 * The types of an address space: struct mm, struct vm_area_struct, struct anon_vma, struct address_space, struct file,
 * struct vm_fault. One header because they point at each other; the functions are in the headers named behind each.
 *
 * Field keys: c constant after creation · m mmap_lock (write to change, read to look) ·
 *             p page-table lock of the table · r anon_vma root rwsem or i_mmap_rwsem · i i_pages lock ·
 *             f the folio lock · a atomic.
 */
#ifndef QUIRE_VM_MM_TYPES_H
#define QUIRE_VM_MM_TYPES_H

#include "base/interval_tree.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/rbtree.h"
#include "base/task.h"
#include "base/xarray.h"
#include "phys/page.h"
#include "pt/pt.h"
#include "vm/vma_index.h"

/* vm_flags: bits as in 6.x kernels. The two-letter names of smaps' VmFlags (proc_pid_smaps(5)) stand behind each. */
typedef u64 vm_flags_t;
#define VM_NONE 0x0ul
#define VM_READ 0x1ul              /* rd */
#define VM_WRITE 0x2ul             /* wr */
#define VM_EXEC 0x4ul              /* ex */
#define VM_SHARED 0x8ul            /* sh */
#define VM_MAYREAD 0x10ul          /* mr */
#define VM_MAYWRITE 0x20ul         /* mw */
#define VM_MAYEXEC 0x40ul          /* me */
#define VM_MAYSHARE 0x80ul         /* ms */
#define VM_GROWSDOWN 0x100ul       /* gd */
#define VM_UFFD_MISSING 0x200ul    /* um */
#define VM_PFNMAP 0x400ul          /* pf */
#define VM_MAYBE_GUARD 0x800ul     /* gu: guard regions were installed in it once */
#define VM_UFFD_WP 0x1000ul        /* uw */
#define VM_LOCKED 0x2000ul         /* lo */
#define VM_IO 0x4000ul             /* io */
#define VM_SEQ_READ 0x8000ul       /* sr */
#define VM_RAND_READ 0x10000ul     /* rr */
#define VM_DONTCOPY 0x20000ul      /* dc */
#define VM_DONTEXPAND 0x40000ul    /* de */
#define VM_LOCKONFAULT 0x80000ul   /* lf */
#define VM_ACCOUNT 0x100000ul      /* ac */
#define VM_NORESERVE 0x200000ul    /* nr */
#define VM_HUGETLB 0x400000ul      /* ht */
#define VM_SYNC 0x800000ul         /* sf */
#define VM_WIPEONFORK 0x2000000ul  /* wf */
#define VM_DONTDUMP 0x4000000ul    /* dd */
#define VM_SOFTDIRTY 0x8000000ul   /* sd */
#define VM_MIXEDMAP 0x10000000ul   /* mm */
#define VM_HUGEPAGE 0x20000000ul   /* hg */
#define VM_NOHUGEPAGE 0x40000000ul /* nh */
#define VM_MERGEABLE 0x80000000ul  /* mg */
#define VM_PKEY_SHIFT 32           /* protection key, 4 bits */
#define VM_PKEY_MASK (0xful << VM_PKEY_SHIFT)
#define VM_DROPPABLE (1ul << 40)       /* dp */
#define VM_SEALED 0x8000000000000000ul /* sl */

#define VM_ACCESS_FLAGS (VM_READ | VM_WRITE | VM_EXEC)
#define VM_STACK VM_GROWSDOWN
#define VM_SPECIAL (VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP)
#define VM_LOCKED_MASK (VM_LOCKED | VM_LOCKONFAULT)
#define VM_STICKY (VM_SOFTDIRTY | VM_MAYBE_GUARD) /* no obstacle to merging; what is merged has those of both */

/* Which rss counter a page belongs to. */
enum { MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES, NR_MM_COUNTERS };

#define AT_VECTOR_SIZE 56 /* words, two an entry: 6.18 on x86-64, PR_GET_AUXV tells */

struct mm {
    struct machine *m; /* c */
    struct rw_semaphore mmap_lock;
    spinlock_t page_table_lock; /* tables being linked in; roots */
    _Atomic s32 mm_users;       /* a: tasks that use it; 0: address space torn down */
    _Atomic s32 mm_count;       /* a: + 1 for all users together; 0: freed */

    struct pt_roots pt;    /* c */
    struct vma_index vmas; /* m */
    /* m: bumped whenever a VMA leaves the index or changes its range; values are never shared with another mm */
    u64 vmacache_seqnum;
    u32 map_count;       /* m */
    u64 ctx_id;          /* c: unique, never reused, not 0: what a TLB tag means */
    _Atomic u64 tlb_gen; /* a: machine: flushes asked for so far */

    va_t mmap_base;                                  /* c: top-down search starts below it */
    va_t mmap_legacy_base;                           /* c: bottom-up search starts at it */
    va_t task_size;                                  /* c */
    bool topdown;                                    /* c: mmap goes down from mmap_base */
    bool randomize;                                  /* c: PF_RANDOMIZE of the program that runs in it */
    u64 nr_random;                                   /* m: random numbers drawn since exec */
    va_t start_code, end_code, start_data, end_data; /* m */
    va_t start_brk, brk, start_stack;                /* m */
    va_t arg_start, arg_end, env_start, env_end;     /* m */
    u64 saved_auxv[AT_VECTOR_SIZE];

    /* pages */
    u64 total_vm, locked_vm, data_vm, exec_vm, stack_vm; /* m */
    u64 locked_left; /* m pages in locked_vm that mremap(MREMAP_DONTUNMAP) unlocked: counted for good, as in Linux */
    _Atomic s64 pinned_vm;
    _Atomic s64 rss_stat[NR_MM_COUNTERS]; /* a */
    u64 hiwater_rss, hiwater_vm;          /* pages; update_hiwater_rss() */
    _Atomic s64 pgtables_bytes;           /* a: page-table memory, bytes: PageTables of /proc/PID/status */
    u64 min_flt, maj_flt;                 /* a: faults of all its tasks, also kept per task by a front end */
    vm_flags_t def_flags;                 /* m: ORed into each new mapping (mlockall) */

    struct task *owner;
    struct list_head threads;            /* RANK_MACHINE lock: tasks */
    struct list_head mmlist;             /* RANK_MACHINE lock: vm->mms */
    _Atomic u64 cpu_mask[MAX_CPUS / 64]; /* a: CPUs whose TLB may hold entries of it */
    struct file *exe_file;
    u32 flags;               /* a: MMF_* */
    u16 pkey_allocation_map; /* m: bit n: key n is taken */
    s16 execute_only_pkey;   /* m: -1: none yet */
    u32 membarrier_state;    /* a: MEMBARRIER_CMD_REGISTER_* given: fork hands them on */
};

#define MMF_HAS_PINNED (1u << 27)       /* pages of it have been pinned: fork must look */
#define MMF_INIT_MASK (~MMF_HAS_PINNED) /* what fork hands on */
#define MMF_DUMPABLE_MASK 3u            /* PR_SET_DUMPABLE */
#define MMF_DISABLE_THP (1u << 24)      /* PR_SET_THP_DISABLE */
#define MMF_DISABLE_THP_EXCEPT_ADVISED (1u << 25)
#define MMF_VM_MERGE_ANY (1u << 30) /* PR_SET_MEMORY_MERGE: new mappings are VM_MERGEABLE */
#define MMF_HAS_MDWE (1u << 28)     /* PR_SET_MDWE: nothing becomes executable that is or was writable */
#define MMF_HAS_MDWE_NO_INHERIT (1u << 29)

enum vm_ops_id {
    VM_OPS_NONE,    /* anonymous */
    VM_OPS_FILE,    /* generic file mapping: cache/filemap.c */
    VM_OPS_SHMEM,   /* shared anonymous memory, tmpfs, memfd */
    VM_OPS_SPECIAL, /* vdso, vvar */
    VM_OPS_SHM,     /* a SysV segment: VM_OPS_SHMEM that counts attaches: cache/sysv_shm.c */
    VM_OPS_MEM,     /* devices: cache/device.c */
    VM_OPS_WINDOW,
    VM_OPS_BUFFER,
    VM_OPS_HUGETLB, /* hugetlbfs: cache/hugetlb.c */
    NR_VM_OPS
};

struct vm_area_struct {
    va_t vm_start, vm_end;                    /* m: [start, end) */
    struct vm_area_struct *vm_next, *vm_prev; /* m: neighbours by address, kept by the index */
    struct mm *vm_mm;                         /* c */
    vm_flags_t vm_flags;                      /* m */
    pgprot_t vm_page_prot;                    /* m */
    pgoff_t vm_pgoff;                 /* m: of vm_start; anonymous private: vm_start >> PAGE_SHIFT when first created */
    struct file *vm_file;             /* c: counted reference, or NULL */
    u32 vm_ops;                       /* c: enum vm_ops_id */
    struct anon_vma *anon_vma;        /* m + r: set once by the first anonymous page */
    struct list_head anon_vma_chain;  /* m + r */
    struct interval_tree_node shared; /* r: in vm_file's mapping->i_mmap, keyed by page offset */
    char *anon_name;                  /* m: PR_SET_VMA_ANON_NAME */
    void *vm_private_data;
};

/* The VMA's anon_vma, which another fault may set at this moment (mmap_lock held for reading only). */
static inline struct anon_vma *vma_anon_vma(const struct vm_area_struct *vma)
{
    return __atomic_load_n(&vma->anon_vma, __ATOMIC_ACQUIRE);
}

static inline bool mm_is_dumpable(const struct mm *mm)
{
    return (__atomic_load_n(&mm->flags, __ATOMIC_RELAXED) & MMF_DUMPABLE_MASK) == 1; /* SUID_DUMP_USER */
}

static inline u64 vma_pages(const struct vm_area_struct *vma)
{
    return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

static inline bool vma_is_anonymous(const struct vm_area_struct *vma)
{
    return vma->vm_ops == VM_OPS_NONE;
}

static inline pgoff_t linear_page_index(const struct vm_area_struct *vma, va_t addr)
{
    return PGOFF(((addr - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff.nr);
}

/* Reverse mapping of anonymous pages: vm/rmap.h */
struct anon_vma {
    struct anon_vma *root;     /* c: its lock guards the tree of all below it */
    struct rw_semaphore rwsem; /* of the root */
    _Atomic s32 refcount;
    u32 num_children;                              /* r */
    u32 num_active_vmas;                           /* r */
    struct anon_vma *parent;                       /* r */
    struct interval_tree_root rb_root;             /* r: anon_vma_chains by page offset */
    u32 found_children, found_active, found_below; /* scratch of vm_check() */
    u32 found_avcs, found_pass;
};

struct anon_vma_chain {
    struct vm_area_struct *vma;
    struct anon_vma *anon_vma;
    struct list_head same_vma;    /* m + r */
    struct interval_tree_node rb; /* r */
};

enum a_ops_id { A_OPS_NONE, A_OPS_DISK, A_OPS_SHMEM, NR_A_OPS };

/* The pages of one file or shared object: cache/filemap.c */
struct address_space {
    u32 flags; /* AS_*; first: what the floor of struct page asks of a page's object (phys/lru.h) */
    u32 a_ops; /* c: enum a_ops_id */
    struct machine *m;
    struct inode *host;
    struct xarray i_pages;            /* i: folios by page offset; tags: dirty, writeback, towrite */
    struct interval_tree_root i_mmap; /* r: VMAs that map it */
    struct rw_semaphore i_mmap_rwsem;
    struct rw_semaphore invalidate_lock; /* held for reading to add a page within i_size, for writing to truncate */
    _Atomic s32 i_mmap_writable;         /* VM_SHARED | VM_MAYWRITE mappings; < 0: denied (F_SEAL_WRITE) */
    u64 nrpages;                         /* i */
    u32 gfp_mask;
};
_Static_assert(offsetof(struct address_space, flags) == 0, "folio_evictable() reads it through page->mapping");

/* A file as the memory manager knows it: identity and size, and with content=full its bytes. */
struct inode {
    struct machine *m;
    u64 dev, ino;
    u32 i_flags;                 /* cache->lock to change: INODE_* */
    u32 seals;                   /* i_rwsem for writing; F_SEAL_*; only where INODE_SEALS */
    u32 i_device;                /* c: enum device_kind, where INODE_DEVICE */
    u64 i_pfn;                   /* c: DEVICE_WINDOW: its first frame */
    u32 i_huge_shift;            /* c */
    struct rw_semaphore i_rwsem; /* RANK_INODE: who changes the size holds it for writing */
    u64 i_size; /* i_rwsem; read at any time. Bytes; a file is also changed by others: refreshed by the front end */
    _Atomic s32 i_count;
    struct address_space i_data;
    struct xarray i_disk;    /* i: content=full: blocks on the disk by page offset (cache/disk_store.c);
                              * a device: its own pages (cache/device.c) */
    struct list_head inodes; /* cache: all inodes */
    struct rb_node node;     /* cache: by (dev, ino) */
    u64 found_vmas;          /* scratch of cache_check() */
    char name[128];          /* last path, for reports */
};

enum device_kind { DEVICE_NULL, DEVICE_ZERO, DEVICE_MEM, DEVICE_WINDOW, DEVICE_BUFFER, DEVICE_RING };

/* inode.i_flags */
#define INODE_SEALS 1u    /* memfd, tmpfs: seals exist */
#define INODE_EXEC 2u     /* a memfd with execute permission */
#define INODE_HUGETLB 4u  /* on hugetlbfs: i_huge_shift */
#define INODE_UNLINKED 8u /* has no name: goes with its last file */
#define INODE_DEVICE 16u  /* a character device */
#define INODE_HASHED 64u  /* found by (dev, ino) */
#define INODE_PIPE 32u    /* a pipe or socket */

/* Seals, fcntl(2). */
#define F_SEAL_SEAL_ 0x1u
#define F_SEAL_SHRINK_ 0x2u
#define F_SEAL_GROW_ 0x4u
#define F_SEAL_WRITE_ 0x8u
#define F_SEAL_FUTURE_WRITE_ 0x10u
#define F_SEAL_EXEC_ 0x20u
#define F_ALL_SEALS_ 0x3fu

struct file {
    struct inode *f_inode;
    struct address_space *f_mapping;
    _Atomic s32 f_count;
    u32 f_mode; /* FMODE_READ | FMODE_WRITE | FMODE_EXEC */
    u64 f_pos;
    u32 vm_ops; /* c: enum vm_ops_id: what its mappings do */
    s32 shm_id; /* c: VM_OPS_SHM: the segment's id */
};
#define FMODE_READ 1u
#define FMODE_WRITE 2u
#define FMODE_EXEC 4u
#define FMODE_FOREIGN 8u /* who opened it neither owns it nor may write to it: mincore(2), MADV_PAGEOUT */
/* Ours: what is known of the file and where it lies, and mmap(2) asks for. */
#define FMODE_PATH_NOEXEC 0x10u /* on a file system mounted noexec */
#define FMODE_APPEND_ONLY 0x20u /* append-only attribute: chattr +a */
#define FMODE_SWAPFILE 0x40u    /* in use as swap */

/* Count a shared, writable mapping that is about to be made; false: writing is denied for good (sealed). */
static inline bool mapping_map_writable(struct address_space *mapping)
{
    s32 n = atomic_load(&mapping->i_mmap_writable);

    do
        if (n < 0)
            return false;
    while (!atomic_compare_exchange_weak(&mapping->i_mmap_writable, &n, n + 1));
    return true;
}

static inline void mapping_unmap_writable(struct address_space *mapping)
{
    atomic_fetch_sub(&mapping->i_mmap_writable, 1);
}

static inline void mapping_allow_writable(struct address_space *mapping)
{
    atomic_fetch_add(&mapping->i_mmap_writable, 1);
}

/* No shared, writable mapping from now on; false: there is one. */
static inline bool mapping_deny_writable(struct address_space *mapping)
{
    s32 n = 0;

    return atomic_load(&mapping->i_mmap_writable) < 0 ||
           atomic_compare_exchange_strong(&mapping->i_mmap_writable, &n, -1);
}

/* Results of a fault, names and values as in 6.x. */
typedef u32 vm_fault_t;
#define VM_FAULT_OOM 0x1u
#define VM_FAULT_SIGBUS 0x2u
#define VM_FAULT_MAJOR 0x4u
#define VM_FAULT_HWPOISON 0x10u
#define VM_FAULT_SIGSEGV 0x40u
#define VM_FAULT_NOPAGE 0x100u
#define VM_FAULT_LOCKED 0x200u
#define VM_FAULT_RETRY 0x400u
#define VM_FAULT_FALLBACK 0x800u
#define VM_FAULT_DONE_COW 0x1000u
#define VM_FAULT_COMPLETED 0x4000u
#define VM_FAULT_ERROR (VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV | VM_FAULT_HWPOISON)

/* Why and how: flags of a fault. */
#define FAULT_FLAG_WRITE 0x1u
#define FAULT_FLAG_MKWRITE 0x2u
#define FAULT_FLAG_ALLOW_RETRY 0x4u
#define FAULT_FLAG_RETRY_NOWAIT 0x8u /* VM_FAULT_RETRY rather than waiting for a device */
#define FAULT_FLAG_USER 0x40u
#define FAULT_FLAG_REMOTE 0x80u
#define FAULT_FLAG_INSTRUCTION 0x100u
#define FAULT_FLAG_UNSHARE 0x400u

struct vm_fault {
    struct vm_area_struct *vma;
    va_t address;          /* page aligned */
    va_t real_address;     /* as accessed */
    pgoff_t pgoff;         /* of the page in the mapping */
    u32 flags;             /* FAULT_FLAG_* */
    struct pt_entry pmd;   /* level 2 entry that points to the table, once known */
    struct pt_entry pte;   /* level 1 entry; slot NULL: no table yet, and none where the fault maps nothing */
    pte_t orig_pte;        /* value seen before the lock was taken */
    spinlock_t *ptl;       /* of pte's table while held */
    struct page *page;     /* ->fault() puts the page here, with a reference, locked if VM_FAULT_LOCKED */
    struct page *cow_page; /* private write: the copy's page, allocated before ->fault() */
};

/* What a mapping's object does; found by vma->vm_ops through cpu->code->vm_ops. */
struct vm_operations_struct {
    /* mmap(2) made this VMA, which is not linked yet: set flags, map pages. An error: nothing is mapped. */
    int (*mmap)(struct cpu *, struct vm_area_struct *);
    void (*open)(struct cpu *, struct vm_area_struct *); /* the VMA was duplicated or split */
    void (*close)(struct cpu *, struct vm_area_struct *);
    int (*may_split)(struct cpu *, struct vm_area_struct *, va_t addr);
    int (*mremap)(struct cpu *, struct vm_area_struct *);
    vm_fault_t (*fault)(struct cpu *, struct vm_fault *);
    /* Map what is in the cache already, for pages [start, end] around the fault. */
    vm_fault_t (*map_pages)(struct cpu *, struct vm_fault *, pgoff_t start, pgoff_t end);
    vm_fault_t (*page_mkwrite)(struct cpu *, struct vm_fault *);
    const char *(*name)(const struct vm_area_struct *);
};

struct address_space_operations {
    /* Bring the (locked) folio up to date; unlocks it. 0 or -EIO. */
    int (*read_folio)(struct cpu *, struct file *, struct folio *);
    int (*writepage)(struct cpu *, struct folio *);
    bool (*dirty_folio)(struct cpu *, struct address_space *, struct folio *);
};

/* Bytes of the pages that can be mapped in it: cuts lie between them. */
static inline u64 vma_pagesize(const struct vm_area_struct *vma)
{
    return vma->vm_flags & VM_HUGETLB ? (u64)1 << vma->vm_file->f_inode->i_huge_shift : PAGE_SIZE;
}

static inline const struct vm_operations_struct *vma_ops(const struct cpu *cpu, const struct vm_area_struct *vma)
{
    return cpu->code->vm_ops[vma->vm_ops];
}

#endif
