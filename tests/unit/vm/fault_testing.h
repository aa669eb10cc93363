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

static inline void vm_books(struct machine *m, struct check_report *r)
{
    machine_check(m, r);
}

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
