/* SPDX-License-Identifier: MIT */
/*
 * Locks that work between threads and between processes that share a machine's region: each is one futex word, with no
 * pointer in it. Zero-initialised memory is an unlocked lock of rank 0 (unranked); spin_lock_init() and friends
 * give the rank.
 *
 * spinlock_t            short critical sections. Spins a little, then sleeps: the host may have fewer processors than
 *                       the machine.
 * struct mutex          long critical sections; the same word protocol, sleeps at once.
 * struct rw_semaphore   many readers or one writer; writers are preferred, a waiting writer stops new readers.
 *
 * Rank order (debug builds): a lock may be taken only while every lock held has a smaller rank, or the same rank and a
 * smaller subclass. base/lock_rank.h lists all ranks; a violation is an assertion that prints both.
 */
#ifndef QUIRE_BASE_LOCK_H
#define QUIRE_BASE_LOCK_H

#include "base/assert.h"
#include "base/cpu.h"
#include "base/lock_rank.h"
#include "base/types.h"

#if defined(__clang__)
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif
#define CAPABILITY(name) TSA(capability(name))
#define ACQUIRES(...) TSA(acquire_capability(__VA_ARGS__))
#define ACQUIRES_SHARED(...) TSA(acquire_shared_capability(__VA_ARGS__))
#define RELEASES(...) TSA(release_capability(__VA_ARGS__))
#define RELEASES_SHARED(...) TSA(release_shared_capability(__VA_ARGS__))
#define TRY_ACQUIRES(...) TSA(try_acquire_capability(__VA_ARGS__))
#define TRY_ACQUIRES_SHARED(...) TSA(try_acquire_shared_capability(__VA_ARGS__))
#define MUST_HOLD(...) TSA(requires_capability(__VA_ARGS__))
#define MUST_HOLD_SHARED(...) TSA(requires_shared_capability(__VA_ARGS__))
#define NO_LOCK_ANALYSIS TSA(no_thread_safety_analysis)

/* word: 0 free, 1 held, 2 held and somebody sleeps. */
typedef struct CAPABILITY("spinlock") {
    _Atomic u32 word;
    u16 rank;
    u16 subclass;
} spinlock_t;

struct CAPABILITY("mutex") mutex {
    spinlock_t lock;
};

/*
 * count: -1 a writer, n >= 0 readers. waiters_w: writers waiting. seq: bumped at each release that may let somebody in.
 * A release changes count and then reads sleepers, both sequentially consistent: lock.c says why.
 */
struct CAPABILITY("rwsem") rw_semaphore {
    _Atomic s32 count;
    _Atomic u32 waiters_w;
    _Atomic u32 seq;
    _Atomic u32 sleepers;
    u16 rank;
    u16 subclass;
};

void lock_check_acquire(struct cpu *cpu, const void *lock, u16 rank, u16 subclass);
void lock_check_release(struct cpu *cpu, const void *lock);
bool lock_check_held(const struct cpu *cpu, const void *lock);

#define LOCK_RARITY 500 /* locks are taken much more often than the front end's steps */

static inline void lock_acquired(struct cpu *cpu, const void *lock, u16 rank, u16 subclass)
{
    if (QUIRE_DEBUG >= 1)
        lock_check_acquire(cpu, lock, rank, subclass);
    RACE_POINT(LOCK_RARITY);
}

static inline void lock_released(struct cpu *cpu, const void *lock)
{
    if (QUIRE_DEBUG >= 1)
        lock_check_release(cpu, lock);
}

/* -- spinlock_t ---------------------------------------------------------------------------------------------------- */

void spin_lock_slow(spinlock_t *l);
void spin_unlock_slow(spinlock_t *l);

static inline void spin_lock_init(spinlock_t *l, enum lock_rank rank)
{
    atomic_init(&l->word, 0);
    l->rank = (u16)rank;
    l->subclass = 0;
}

/* subclass orders locks of one rank that are held together (two page-table locks: the lower address first). */
static inline void spin_lock_nested(struct cpu *cpu, spinlock_t *l, u16 subclass) ACQUIRES(l) NO_LOCK_ANALYSIS
{
    u32 free = 0;

    lock_acquired(cpu, l, l->rank, subclass);
    if (unlikely(
            !atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire, memory_order_relaxed)))
        spin_lock_slow(l);
}

static inline void spin_lock(struct cpu *cpu, spinlock_t *l) ACQUIRES(l) NO_LOCK_ANALYSIS
{
    spin_lock_nested(cpu, l, 0);
}

static inline bool spin_trylock(struct cpu *cpu, spinlock_t *l) TRY_ACQUIRES(true, l) NO_LOCK_ANALYSIS
{
    u32 free = 0;

    if (!atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire, memory_order_relaxed))
        return false;
    lock_acquired(cpu, l, 0, 0); /* a trylock cannot deadlock: unranked */
    return true;
}

static inline void spin_unlock(struct cpu *cpu, spinlock_t *l) RELEASES(l) NO_LOCK_ANALYSIS
{
    lock_released(cpu, l);
    if (unlikely(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2))
        spin_unlock_slow(l);
}

static inline bool spin_is_locked(const spinlock_t *l)
{
    return atomic_load_explicit(&((spinlock_t *)(uintptr_t)l)->word, memory_order_relaxed) != 0;
}

/* -- struct mutex -------------------------------------------------------------------------------------------------- */

static inline void mutex_init(struct mutex *x, enum lock_rank rank)
{
    spin_lock_init(&x->lock, rank);
}

void mutex_lock(struct cpu *cpu, struct mutex *x) ACQUIRES(x);
bool mutex_trylock(struct cpu *cpu, struct mutex *x) TRY_ACQUIRES(true, x);
void mutex_unlock(struct cpu *cpu, struct mutex *x) RELEASES(x);

/* -- struct rw_semaphore ------------------------------------------------------------------------------------------- */

void down_read_slow(struct rw_semaphore *s);
void down_write_slow(struct rw_semaphore *s);
void rwsem_wake(struct rw_semaphore *s);

static inline void init_rwsem(struct rw_semaphore *s, enum lock_rank rank)
{
    *s = (struct rw_semaphore){.rank = (u16)rank};
}

static inline void down_read(struct cpu *cpu, struct rw_semaphore *s) ACQUIRES_SHARED(s) NO_LOCK_ANALYSIS
{
    s32 n = atomic_load_explicit(&s->count, memory_order_relaxed);

    lock_acquired(cpu, s, s->rank, s->subclass);
    if (unlikely(
            n < 0 || atomic_load_explicit(&s->waiters_w, memory_order_relaxed) ||
            !atomic_compare_exchange_strong_explicit(&s->count, &n, n + 1, memory_order_acquire, memory_order_relaxed)))
        down_read_slow(s);
}

bool down_read_trylock(struct cpu *cpu, struct rw_semaphore *s) TRY_ACQUIRES_SHARED(true, s);

static inline void up_read(struct cpu *cpu, struct rw_semaphore *s) RELEASES_SHARED(s) NO_LOCK_ANALYSIS
{
    lock_released(cpu, s);
    if (atomic_fetch_sub(&s->count, 1) == 1 && unlikely(atomic_load(&s->sleepers)))
        rwsem_wake(s);
}

static inline void down_write_nested(struct cpu *cpu, struct rw_semaphore *s, u16 subclass) ACQUIRES(s) NO_LOCK_ANALYSIS
{
    s32 free = 0;

    lock_acquired(cpu, s, s->rank, subclass);
    if (unlikely(
            !atomic_compare_exchange_strong_explicit(&s->count, &free, -1, memory_order_acquire, memory_order_relaxed)))
        down_write_slow(s);
}

static inline void down_write(struct cpu *cpu, struct rw_semaphore *s) ACQUIRES(s) NO_LOCK_ANALYSIS
{
    down_write_nested(cpu, s, 0);
}

bool down_write_trylock(struct cpu *cpu, struct rw_semaphore *s) TRY_ACQUIRES(true, s);

static inline void up_write(struct cpu *cpu, struct rw_semaphore *s) RELEASES(s) NO_LOCK_ANALYSIS
{
    lock_released(cpu, s);
    atomic_store(&s->count, 0);
    if (unlikely(atomic_load(&s->sleepers)))
        rwsem_wake(s);
}

/* Keep reading what was written: no writer comes in between. */
static inline void downgrade_write(struct rw_semaphore *s) NO_LOCK_ANALYSIS
{
    atomic_store(&s->count, 1);
    if (unlikely(atomic_load(&s->sleepers)))
        rwsem_wake(s);
}

static inline bool rwsem_is_write_locked(const struct rw_semaphore *s)
{
    return atomic_load_explicit(&((struct rw_semaphore *)(uintptr_t)s)->count, memory_order_relaxed) < 0;
}

static inline bool rwsem_is_locked(const struct rw_semaphore *s)
{
    return atomic_load_explicit(&((struct rw_semaphore *)(uintptr_t)s)->count, memory_order_relaxed) != 0;
}

#endif
