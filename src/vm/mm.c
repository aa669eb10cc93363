/* SPDX-License-Identifier: MIT */
/*
 * Life of address spaces and tasks.
 *
 * Terms. mm_users counts those who run in the address space (tasks); with the last of them the mappings go (exit_mmap).
 * mm_count counts those who need struct mm to exist: all users together are one, a CPU whose TLB still
 * belongs to it is another.
 *
 *      mm_alloc()            mmput(): users 1 -> 0              mmdrop(): count 1 -> 0
 *   ────────────────▶ LIVE ────────────────────────▶ TORN DOWN ────────────────────────▶ freed
 *                     VMAs, tables                   roots only
 *
 * Locks. vm->lock guards the lists vm->mms and vm->tasks, mm->threads and mm->owner of every mm, and signal->nr_threads.
 *
 * Invariants (vm/check.c)
 *   MM1 mm_users = tasks whose ->mm it is + references of callers (none when the machine is quiet).
 *   MM2 mm_count = 1, for all users together, + who has grabbed it: none when the machine is quiet. So every mm has users.
 *   MM3 each rss counter = entries of the mm that map such pages.
 *   MM4 signal->nr_threads = tasks that point to it.
 *
 * Follows Documentation/mm/active_mm.rst.
 */
#include "vm/fork.h"
#include "vm/rmap.h"
#include "vm/vma.h"

#include "base/errno.h"
#include "kmem/slab.h"
#include "phys/page_alloc.h"

#define STACK_LIMIT_BYTES (8ul << 20)   /* the kernel's initial RLIMIT_STACK, _STK_LIM */
#define MEMLOCK_LIMIT_BYTES (8ul << 20) /* MLOCK_LIMIT since 5.16 */
#define OVERFLOW_ID 65534u              /* /proc/sys/kernel/overflowuid: nobody */

static int vm_init_caches(struct cpu *cpu, struct vm *vm)
{
    const struct {
        struct kmem_cache **cache;
        const char *name;
        u32 size, align, flags;
    } caches[] = {
        {&vm->mm_cachep, "mm_struct", sizeof(struct mm), 0, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT},
        {&vm->vma_cachep, "vm_area_struct", sizeof(struct vm_area_struct), 0, SLAB_ACCOUNT},
        {&vm->signal_cachep, "signal_cache", sizeof(struct signal_struct), 0, SLAB_ACCOUNT},
        {&vm->task_cachep, "task_struct", sizeof(struct task), 0, SLAB_ACCOUNT},
        {&vm->anon_vma_cachep, "anon_vma", sizeof(struct anon_vma), 0, SLAB_ACCOUNT},
        {&vm->anon_vma_chain_cachep, "anon_vma_chain", sizeof(struct anon_vma_chain), 0, SLAB_ACCOUNT},
        {&vm->vma_node_cachep, "vma_node", VMA_NODE_BYTES, VMA_NODE_ALIGN, SLAB_ACCOUNT},
    };

    for (u32 i = 0; i < ARRAY_SIZE(caches); i++) {
        *caches[i].cache =
            kmem_cache_create(cpu, caches[i].name, caches[i].size, caches[i].align, caches[i].flags, SLAB_CTOR_NONE);
        if (!*caches[i].cache)
            return -ENOMEM;
    }
    return 0;
}

/* -- mm ------------------------------------------------------------------------------------------------------------ */

/* Everything but roots, layout and lists. NULL: no memory. */
static struct mm *mm_new(struct cpu *cpu)
{
    struct vm *vm = cpu->m->vm;
    struct mm *mm = kmem_cache_alloc(cpu, vm->mm_cachep, GFP_KERNEL);

    if (!mm)
        return NULL;
    memset(mm, 0, sizeof(*mm));
    mm->m = cpu->m;
    init_rwsem(&mm->mmap_lock, RANK_MMAP);
    spin_lock_init(&mm->page_table_lock, RANK_MM);
    atomic_init(&mm->mm_users, 1);
    atomic_init(&mm->mm_count, 1);
    INIT_LIST_HEAD(&mm->threads);
    mm->ctx_id = atomic_fetch_add(&vm->next_ctx_id, 1) + 1;
    mm->flags = 1; /* may be dumped */
    mm_init_vmas(mm);
    mm_init_pkeys(mm);
    return mm;
}

struct mm *mm_alloc(struct cpu *cpu) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;
    struct mm *mm = mm_new(cpu);

    if (!mm)
        return NULL;
    if (pgd_alloc(cpu, mm)) {
        kmem_cache_free(cpu, vm->mm_cachep, mm);
        return NULL;
    }
    arch_pick_mmap_layout(mm, STACK_LIMIT_BYTES, 0);
    spin_lock(cpu, &vm->lock);
    list_add_tail(&mm->mmlist, &vm->mms);
    spin_unlock(cpu, &vm->lock);
    return mm;
}

void mmget(struct mm *mm)
{
    DEBUG_ASSERT(atomic_load_explicit(&mm->mm_users, memory_order_relaxed) > 0);
    atomic_fetch_add_explicit(&mm->mm_users, 1, memory_order_relaxed);
}

void mmput(struct cpu *cpu, struct mm *mm)
{
    if (atomic_fetch_sub(&mm->mm_users, 1) != 1)
        return;
    exit_mmap(cpu, mm);
    if (mm->exe_file)
        cpu->code->fput(cpu, mm->exe_file);
    mm->exe_file = NULL;
    mmdrop(cpu, mm);
}

void mmgrab(struct mm *mm)
{
    atomic_fetch_add_explicit(&mm->mm_count, 1, memory_order_relaxed);
}

void mmdrop(struct cpu *cpu, struct mm *mm) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;

    if (atomic_fetch_sub(&mm->mm_count, 1) != 1)
        return;
    ASSERT(list_empty(&mm->threads));
    spin_lock(cpu, &vm->lock);
    list_del(&mm->mmlist);
    spin_unlock(cpu, &vm->lock);
    pgd_free(cpu, mm);
    kmem_cache_free(cpu, vm->mm_cachep, mm);
}

/* -- tasks --------------------------------------------------------------------------------------------------------- */

/* vm->lock held. */
static void task_attach_mm(struct task *t, struct mm *mm)
{
    t->mm = mm;
    if (!mm)
        return;
    list_add_tail(&t->thread, &mm->threads);
    if (!mm->owner)
        mm->owner = t;
}

static void task_detach_mm(struct task *t)
{
    struct mm *mm = t->mm;

    t->mm = NULL;
    if (!mm)
        return;
    list_del_init(&t->thread);
    if (mm->owner == t)
        mm->owner = list_first_entry_or_null(&mm->threads, struct task, thread);
}

/* The task leaves its mm and enters `mm`, whose reference it takes over;
 * returns the old one, whose reference is the caller's. */
struct mm *task_change_mm(struct cpu *cpu, struct task *t, struct mm *mm) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;
    struct mm *old = t->mm;

    spin_lock(cpu, &vm->lock);
    task_detach_mm(t);
    task_attach_mm(t, mm);
    spin_unlock(cpu, &vm->lock);
    vmacache_flush(t);
    return old;
}

static void signal_init(struct signal_struct *sig)
{
    *sig = (struct signal_struct){.uid = OVERFLOW_ID, .gid = OVERFLOW_ID};
    for (u32 i = 0; i < NR_RLIMITS; i++)
        sig->rlim[i] = (struct rlimit_pair){RLIM_INFINITY_, RLIM_INFINITY_};
    sig->rlim[RLIMIT_STACK_].cur = STACK_LIMIT_BYTES;
    sig->rlim[RLIMIT_MEMLOCK_] = (struct rlimit_pair){MEMLOCK_LIMIT_BYTES, MEMLOCK_LIMIT_BYTES};
}

/* `share`: the process that it becomes a thread of; NULL: a new one. Takes over the caller's mm reference. */
static struct task *task_new(struct cpu *cpu, s32 pid, s32 tgid, struct mm *mm,
                             struct signal_struct *share) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;
    struct task *t = kmem_cache_alloc(cpu, vm->task_cachep, GFP_KERNEL);

    if (!t)
        return NULL;
    memset(t, 0, sizeof(*t));
    t->pid = pid;
    t->tgid = tgid;
    t->cpu = -1;
    task_init_pkru(t);
    t->signal = share ? share : kmem_cache_alloc(cpu, vm->signal_cachep, GFP_KERNEL);
    if (!t->signal) {
        kmem_cache_free(cpu, vm->task_cachep, t);
        return NULL;
    }
    if (!share)
        signal_init(t->signal);
    INIT_LIST_HEAD(&t->thread);
    spin_lock(cpu, &vm->lock);
    t->signal->nr_threads++;
    list_add_tail(&t->tasks, &vm->tasks);
    task_attach_mm(t, mm);
    spin_unlock(cpu, &vm->lock);
    vmacache_flush(t);
    return t;
}

struct task *task_create(struct cpu *cpu, s32 pid, s32 tgid, struct mm *mm)
{
    return task_new(cpu, pid, tgid, mm, NULL);
}

struct task *task_clone(struct cpu *cpu, const struct task *parent, enum task_kind kind, s32 pid, s32 tgid,
                        struct mm *mm) NO_LOCK_ANALYSIS
{
    struct task *t = task_new(cpu, pid, tgid, mm, kind == TASK_THREAD ? parent->signal : NULL);

    if (!t)
        return NULL;
    if (kind == TASK_PROCESS) {
        u32 nr = t->signal->nr_threads;

        spin_lock(cpu, &cpu->m->vm->lock); /* nr_threads is its */
        *t->signal = *parent->signal;
        spin_unlock(cpu, &cpu->m->vm->lock);
        t->signal->nr_threads = nr;
    }
    t->personality = parent->personality;
    t->pkru = parent->pkru;
    memcpy(t->comm, parent->comm, sizeof(t->comm));
    return t;
}

void task_exit(struct cpu *cpu, struct task *t) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;
    struct mm *mm;
    bool last;

    t->flags |= PF_EXITING;
    charge(cpu, COST_EXIT);
    if (t->pid == t->tgid)
        count_vm_event(cpu, Q_EXIT);
    mm = task_change_mm(cpu, t, NULL);
    if (mm)
        mmput(cpu, mm);
    spin_lock(cpu, &vm->lock);
    list_del(&t->tasks);
    last = --t->signal->nr_threads == 0;
    spin_unlock(cpu, &vm->lock);
    if (cpu->current == t)
        cpu->current = NULL;
    if (last)
        kmem_cache_free(cpu, vm->signal_cachep, t->signal);
    kmem_cache_free(cpu, vm->task_cachep, t);
}

/* The task stays valid as long as its owner does not exit: callers follow processes they know to live. */
struct task *task_find(struct cpu *cpu, s32 pid) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;
    struct task *t, *found = NULL;

    spin_lock(cpu, &vm->lock);
    list_for_each_entry (t, &vm->tasks, tasks) {
        if (t->pid == pid) {
            found = t;
            break;
        }
    }
    spin_unlock(cpu, &vm->lock);
    return found;
}

/* -- boot ---------------------------------------------------------------------------------------------------------- */

int vm_init(struct cpu *cpu)
{
    struct machine *m = cpu->m;
    struct vm *vm = machine_hw_alloc(m, sizeof(*vm), 64);

    *vm = (struct vm){0};
    spin_lock_init(&vm->lock, RANK_MACHINE);
    spin_lock_init(&vm->anon_vma_lock, RANK_LEAF);
    INIT_LIST_HEAD(&vm->mms);
    INIT_LIST_HEAD(&vm->tasks);
    m->vm = vm;
    if (vm_init_caches(cpu, vm))
        return -ENOMEM;
    vm->zero_page = alloc_page(cpu, GFP_KERNEL | __GFP_ZERO);
    if (!vm->zero_page)
        return -ENOMEM;
    folio_set_reserved(page_folio(vm->zero_page));
    vm->init_mm = mm_new(cpu);
    return vm->init_mm ? pgd_alloc(cpu, vm->init_mm) : -ENOMEM;
}
