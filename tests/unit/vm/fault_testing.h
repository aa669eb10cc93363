/* SPDX-License-Identifier: MIT */
/* What the tests of faults, fork and rmap share: a process, accesses, exact counters. */
#ifndef QUIRE_TESTS_VM_FAULT_TESTING_H
#define QUIRE_TESTS_VM_FAULT_TESTING_H

#include "tests/unit/testing_full.h"
#include "cache/cache.h"
#include "phys/lru.h"
#include "phys/page_alloc.h"
#include "phys/vmstat.h"
#include "vm/check.h"

#define PG PAGE_SIZE
#define BASE 0x10000000ul
#define RW (PROT_READ_ | PROT_WRITE_)
#define ANON_PRIVATE (MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_FIXED_)
#define ANON_SHARED (MAP_SHARED_ | MAP_ANONYMOUS_ | MAP_FIXED_)

#define map_at(cpu, addr, pages, prot, flags, file, offset)                                                            \
    assert_int_equal(sys_mmap(cpu, addr, (pages)*PG, prot, flags, file, offset), addr)

/* The access as hardware does it: fault until the entry allows it. Returns the signal, 0: done. */
static inline struct fault_info do_access(struct cpu *cpu, va_t addr, enum fault_access access)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    struct mm *mm = cpu->current->mm;
    struct fault_info fi = {0};

    for (int tries = 0; tries < 5; tries++) {
        struct pt_entry e = {0};
        pte_t pte = PTE(0);

        if (addr < mm->task_size)
            e = pt_find_entry(mm, addr, 1);
        if (e.slot && e.level == 1)
            pte = pt_read(fmt, e);
        if (e.level == 1 && pte_hw_present(fmt, pte) && (access != ACCESS_WRITE || pte_write(fmt, pte)) &&
            (access != ACCESS_EXEC || pte_exec(fmt, pte)) && (access != ACCESS_READ || pte_read(fmt, pte))) {
            ptep_hw_use(fmt, e, pte, access == ACCESS_WRITE ? PT_HW_WRITE : PT_HW_READ);
            return fi;
        }
        fi = do_user_addr_fault(cpu, addr, access);
        if (fi.signo)
            return fi;
    }
    fail_msg("access to %llx does not come to an end", (unsigned long long)addr);
    return fi;
}

static inline void touch(struct cpu *cpu, va_t addr, enum fault_access access)
{
    assert_int_equal(do_access(cpu, addr, access).signo, 0);
}

static inline void touch_range(struct cpu *cpu, va_t addr, u64 pages, enum fault_access access)
{
    for (u64 i = 0; i < pages; i++)
        touch(cpu, addr + i * PG, access);
}

static inline struct page *page_at(struct cpu *cpu, va_t addr)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    struct pt_entry e = pt_find_entry(cpu->current->mm, addr, 1);
    pte_t pte = e.slot && e.level == 1 ? pt_read(fmt, e) : PTE(0);

    return pte_present(fmt, pte) ? pfn_to_page(cpu->m, pte_pfn(fmt, 1, pte)) : NULL;
}

static inline pte_t pte_at(struct cpu *cpu, va_t addr)
{
    struct pt_entry e = pt_find_entry(cpu->current->mm, addr, 1);

    return e.slot && e.level == 1 ? pt_read(pt_format_of(cpu->m), e) : PTE(0);
}

/* One byte, through the tables: the page is faulted in as needed. */
static inline void put_byte(struct cpu *cpu, va_t addr, u8 value)
{
    touch(cpu, addr, ACCESS_WRITE);
    ((u8 *)page_address(cpu->m, page_at(cpu, addr)))[addr & (PG - 1)] = value;
}

static inline u8 get_byte(struct cpu *cpu, va_t addr)
{
    touch(cpu, addr, ACCESS_READ);
    return ((u8 *)page_address(cpu->m, page_at(cpu, addr)))[addr & (PG - 1)];
}

/* fork(2), and stay in the parent. */
static inline struct task *do_fork(struct cpu *cpu, s32 pid)
{
    struct task *t = kernel_clone(cpu, 0, pid, pid);

    assert_false(IS_ERR(t));
    return t;
}

static inline s64 rss(struct cpu *cpu, int member)
{
    return get_mm_counter(cpu->current->mm, member);
}

/* A process with all capabilities on a machine with all floors, current on CPU 0. */
struct env {
    struct machine *m;
    struct cpu *cpu;
    struct task *t;
};

static inline void env_init_config(struct env *v, const struct machine_config *c)
{
    v->m = test_machine_full(c);
    v->cpu = test_cpu(v->m);
    v->t = test_task(v->cpu, 100);
    task_set_caps(v->t, CAP_FULL_SET);
}

static inline void env_init(struct env *v)
{
    env_init_config(v, NULL);
}

/* With its only process everything that mappings hold goes: no page, lock, pin, commitment or open file is left. */
static inline void env_end(struct env *v)
{
    static const enum node_stat_item mapped[] = {NR_ANON_MAPPED, NR_FILE_MAPPED, NR_UNEVICTABLE};

    v->cpu->current = v->t;
    assert_books(machine_check, v->m);
    switch_mm(v->cpu, NULL);
    task_exit(v->cpu, v->t);
    lru_add_drain(v->cpu);
    assert_books(machine_check, v->m);
    assert_true(list_empty(&v->m->vm->tasks));
    assert_true(list_empty(&v->m->vm->mms));
    for (u32 i = 0; i < ARRAY_SIZE(mapped); i++)
        assert_int_equal(global_node_page_state(v->m, mapped[i]), 0);
    assert_int_equal(global_zone_page_state(v->m, NR_MLOCK), 0);
    assert_int_equal(global_node_page_state(v->m, NR_FOLL_PIN_ACQUIRED),
                     global_node_page_state(v->m, NR_FOLL_PIN_RELEASED));
    assert_int_equal(atomic_load(&v->m->vm->vm_committed_as), 0);
    assert_int_equal(atomic_load(&v->m->cache->nr_files), 0);
    test_machine_end(v->m);
}

static inline struct file *env_open(struct env *v, u64 ino, u64 bytes)
{
    struct file *f = file_open(v->cpu, 1, ino, bytes, FMODE_READ | FMODE_WRITE, "/data");

    assert_false(IS_ERR(f));
    return f;
}

/* Events since event_start(). */
struct events {
    u64 at[NR_VM_EVENT_ITEMS];
};

static inline struct events event_start(struct cpu *cpu)
{
    struct events e;

    memcpy(e.at, cpu->event, sizeof(e.at));
    return e;
}

static inline u64 event_delta(struct cpu *cpu, const struct events *e, enum vm_event_item item)
{
    return cpu->event[item] - e->at[item];
}

#define assert_event(cpu, e, item, n) assert_int_equal(event_delta(cpu, e, item), n)

#endif
