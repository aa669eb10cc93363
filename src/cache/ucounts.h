/* SPDX-License-Identifier: MIT */
/* What users are charged beyond their processes' lives: ucounts.c. */
#ifndef QUIRE_CACHE_UCOUNTS_H
#define QUIRE_CACHE_UCOUNTS_H

#include "base/check.h"
#include "vm/vm.h"

/* One for each user with a charge. Field keys: c constant after creation · l shm_ids->rwsem for writing. */
struct ucounts {
    u32 uid;     /* c */
    u32 count;   /* l: charges, each a reference */
    u64 memlock; /* l: pages of RLIMIT_MEMLOCK's own sum for SHM_LOCK */
    u64 found_pages;
    u32 found; /* both: scratch of ucounts_check() */
};

/* The caller's user locks so many pages: whom to give to user_shm_unlock(). ERR_PTR(-ENOMEM): his limit, or no memory. */
struct ucounts *user_shm_lock(struct cpu *cpu, u64 pages);
void user_shm_unlock(struct cpu *cpu, struct ucounts *u, u64 pages);

/* Between the two calls ucounts_found() tells each charge that there is. */
void ucounts_check_begin(struct machine *m);
void ucounts_found(struct ucounts *u, u64 pages);
void ucounts_check_end(struct machine *m, struct check_report *r);

#endif
