/* SPDX-License-Identifier: MIT */
/*
 * Charges of users. Most limits are a process's and count what it has; memory that SHM_LOCK keeps from being swapped out
 * outlives processes, so it is counted by user. Linux has one sum for it and for what io_uring, perf, BPF and RDMA lock;
 * what mlock() locks is in none of them (mm->locked_vm).
 *
 *   shm_segment ── mlock_ucounts ─▶ ucounts: uid, memlock
 *                                      ▲
 *   shm_ids ── ucounts: xarray by uid ─┘
 *
 * Who. The user of the process that locks is charged, whoever owns the segment; also with CAP_IPC_LOCK, which only lifts
 * the limit. The limit is that of the process, in whole pages, and the sum may reach it. The charge goes with SHM_UNLOCK,
 * no matter by whom, or when the segment is destroyed: neither with the process nor with IPC_RMID while it is attached.
 *
 * Locks. shm_ids->rwsem for writing.
 *
 * Invariants (ucounts_check_end)
 *   UC1 memlock and count are the sums over what is charged to the user; count > 0.
 *
 * Follows shmctl(2), getrlimit(2); who is charged and when it ends: 6.18 (tests/oracle/shm_oracle.c).
 */
#include "cache/ucounts.h"

#include "base/errno.h"
#include "cache/cache.h"
#include "kmem/slab.h"
#include "phys/gfp.h"

static struct xarray *ucounts_of(struct machine *m)
{
    return &m->cache->shm.ucounts;
}

/* With one more reference; NULL: no memory. */
static struct ucounts *get_ucounts(struct cpu *cpu, u32 uid)
{
    struct ucounts *u = xa_load(ucounts_of(cpu->m), uid);

    if (!u) {
        u = kzalloc(cpu, sizeof(*u), GFP_KERNEL);
        if (!u)
            return NULL;
        u->uid = uid;
        if (IS_ERR(xa_store(cpu, ucounts_of(cpu->m), uid, u, GFP_KERNEL))) {
            kfree(cpu, u);
            return NULL;
        }
    }
    u->count++;
    return u;
}

static void put_ucounts(struct cpu *cpu, struct ucounts *u)
{
    ASSERT(u->count);
    if (--u->count)
        return;
    xa_erase(cpu, ucounts_of(cpu->m), u->uid);
    kfree(cpu, u);
}

struct ucounts *user_shm_lock(struct cpu *cpu, u64 pages)
{
    u64 limit = rlimit(cpu->current, RLIMIT_MEMLOCK_);
    struct ucounts *u = get_ucounts(cpu, task_uid(cpu->current));

    if (!u)
        return ERR_PTR(-ENOMEM);
    if (limit != RLIM_INFINITY_ && u->memlock + pages > limit >> PAGE_SHIFT &&
        !task_capable(cpu->current, CAP_IPC_LOCK_)) {
        put_ucounts(cpu, u);
        return ERR_PTR(-ENOMEM);
    }
    u->memlock += pages;
    return u;
}

void user_shm_unlock(struct cpu *cpu, struct ucounts *u, u64 pages)
{
    ASSERT(u->memlock >= pages);
    u->memlock -= pages;
    put_ucounts(cpu, u);
}

/* -- books --------------------------------------------------------------------------------------------------------- */

void ucounts_check_begin(struct machine *m)
{
    struct ucounts *u;
    u64 uid;

    xa_for_each (ucounts_of(m), uid, u)
        u->found = 0, u->found_pages = 0;
}

void ucounts_found(struct ucounts *u, u64 pages)
{
    u->found++;
    u->found_pages += pages;
}

void ucounts_check_end(struct machine *m, struct check_report *r)
{
    struct ucounts *u;
    u64 uid;

    xa_for_each (ucounts_of(m), uid, u) {
        if (u->uid != uid || !u->count || u->count != u->found || u->memlock != u->found_pages)
            check_fail(r, "UC1: user %u at %llu: %llu pages by %u charges, %llu by %u were found", u->uid,
                       (unsigned long long)uid, (unsigned long long)u->memlock, u->count,
                       (unsigned long long)u->found_pages, u->found);
    }
    xa_check(ucounts_of(m), r);
}
