/* SPDX-License-Identifier: MIT */
/*
 * The slow paths of lock.h, and the check of the rank order.
 *
 * spinlock, mutex    one word: 0 free, 1 held, 2 held and perhaps somebody sleeps
 *                    (U. Drepper, "Futexes Are Tricky", mutex 2).
 *
 *        ┌── CAS ───────────────► 1 ── exchange 0 ──► 0
 *      0 │                        │ a waiter: exchange 2
 *        └── exchange 2 ────────► 2 ── exchange 0, wake one ──► 0    (who slept takes it as 2: others may still sleep)
 *
 * rw_semaphore       count says who is in; sleepers all sleep on `seq`, which changes at every release that
 *                    may let one in.
 *     The sleeper      sleepers++ ; s = seq ; look at count and waiters_w again ; sleep while seq == s
 *     The releaser     count changes ; look at sleepers ; if any: seq++, wake all
 *   Both write one word and then read the other's. All four accesses are sequentially consistent, so at least one of
 *   the two sees the other: either the sleeper sees the lock free, or the releaser sees the sleeper and changes seq.
 *   Writers are preferred: a reader does not come in while waiters_w is not 0.
 *
 * Rejected: pthread's locks (not freestanding, and their layout belongs to a C library: programs that share a region
 * may use different ones); a queue lock such as MCS (a waiter that the host does not run stops everybody behind it).
 */
#include "base/lock.h"

#include "base/format.h"

/* About half a microsecond: longer than most critical sections, shorter than a sleep and a wake-up. */
#define SPIN_TRIES 60

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* -- spinlock_t and mutex ------------------------------------------------------------------------------------------ */

void spin_lock_slow(spinlock_t *l)
{
    u32 word;
    int i;

    for (i = 0; i < SPIN_TRIES; i++) {
        word = atomic_load_explicit(&l->word, memory_order_relaxed);
        if (word == 2)
            break;
        if (word == 0 &&
            atomic_compare_exchange_weak_explicit(&l->word, &word, 1, memory_order_acquire, memory_order_relaxed))
            return;
        relax();
    }
    while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0)
        port_futex_wait(&l->word, 2, 0);
}

void spin_unlock_slow(spinlock_t *l)
{
    port_futex_wake(&l->word, 1);
}

void mutex_lock(struct cpu *cpu, struct mutex *x) NO_LOCK_ANALYSIS
{
    spin_lock(cpu, &x->lock);
}

bool mutex_trylock(struct cpu *cpu, struct mutex *x) NO_LOCK_ANALYSIS
{
    return spin_trylock(cpu, &x->lock);
}

void mutex_unlock(struct cpu *cpu, struct mutex *x) NO_LOCK_ANALYSIS
{
    spin_unlock(cpu, &x->lock);
}

/* -- struct rw_semaphore ------------------------------------------------------------------------------------------- */

static bool try_read(struct rw_semaphore *s)
{
    s32 n = atomic_load(&s->count);

    while (n >= 0 && !atomic_load(&s->waiters_w))
        if (atomic_compare_exchange_weak_explicit(&s->count, &n, n + 1, memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static bool try_write(struct rw_semaphore *s)
{
    s32 n = 0;

    return atomic_load(&s->count) == 0 &&
           atomic_compare_exchange_strong_explicit(&s->count, &n, -1, memory_order_acquire, memory_order_relaxed);
}

/* Only `try` tells readers and writers apart. */
static void wait_for(struct rw_semaphore *s, bool (*try)(struct rw_semaphore *))
{
    u32 seq;
    bool got;
    int i;

    for (i = 0; i < SPIN_TRIES; i++) {
        if (try(s))
            return;
        relax();
    }
    do {
        atomic_fetch_add(&s->sleepers, 1);
        seq = atomic_load(&s->seq);
        got = try(s);
        if (!got)
            port_futex_wait(&s->seq, seq, 0);
        atomic_fetch_sub(&s->sleepers, 1);
    } while (!got);
}

void down_read_slow(struct rw_semaphore *s)
{
    wait_for(s, try_read);
}

/* While the last waiting writer leaves waiters_w it is in: count keeps the readers out. */
void down_write_slow(struct rw_semaphore *s)
{
    atomic_fetch_add(&s->waiters_w, 1);
    wait_for(s, try_write);
    atomic_fetch_sub(&s->waiters_w, 1);
}

void rwsem_wake(struct rw_semaphore *s)
{
    atomic_fetch_add(&s->seq, 1);
    port_futex_wake(&s->seq, INT32_MAX);
}

bool down_read_trylock(struct cpu *cpu, struct rw_semaphore *s) NO_LOCK_ANALYSIS
{
    if (!try_read(s))
        return false;
    lock_acquired(cpu, s, RANK_NONE, 0);
    return true;
}

bool down_write_trylock(struct cpu *cpu, struct rw_semaphore *s) NO_LOCK_ANALYSIS
{
    if (!try_write(s))
        return false;
    lock_acquired(cpu, s, RANK_NONE, 0);
    return true;
}

/* -- rank order ---------------------------------------------------------------------------------------------------- */

static const char *const rank_names[NR_LOCK_RANKS] = {
#define X(rank) [rank] = #rank,
    LOCK_RANKS(X)
#undef X
};

static const char *rank_name(u16 rank)
{
    return rank < NR_LOCK_RANKS ? rank_names[rank] : "?";
}

static __cold void rank_violation(const struct cpu *cpu, const struct held_lock *held, const struct held_lock *wanted)
{
    char text[200];

    quire_snprintf(
        text, sizeof(text), "cpu %u takes lock %p (%s, subclass %u) while it holds lock %p (%s, subclass %u)", cpu->id,
        wanted->lock, rank_name(wanted->rank), wanted->subclass, held->lock, rank_name(held->rank), held->subclass);
    port_log(PORT_LOG_ERR, text);
    port_assert_fail("locks are taken in the order of their ranks", __FILE__, __LINE__, __func__);
}

static bool in_order(const struct held_lock *held, const struct held_lock *wanted)
{
    if (held->lock == wanted->lock)
        return false;
    if (held->rank == RANK_NONE || wanted->rank == RANK_NONE || held->rank < wanted->rank)
        return true;
    return held->rank == wanted->rank && held->subclass < wanted->subclass;
}

void lock_check_acquire(struct cpu *cpu, const void *lock, u16 rank, u16 subclass)
{
    struct held_lock wanted = {lock, rank, subclass};
    u32 i;

    ASSERT(cpu);
    ASSERT(cpu->nr_held < MAX_HELD_LOCKS);
    for (i = 0; i < cpu->nr_held; i++)
        if (!in_order(&cpu->held[i], &wanted))
            rank_violation(cpu, &cpu->held[i], &wanted);
    cpu->held[cpu->nr_held++] = wanted;
}

void lock_check_release(struct cpu *cpu, const void *lock)
{
    u32 i = cpu->nr_held;

    while (i > 0 && cpu->held[i - 1].lock != lock)
        i--;
    ASSERT(i > 0 && "a lock is released that this CPU does not hold");
    for (; i < cpu->nr_held; i++)
        cpu->held[i - 1] = cpu->held[i];
    cpu->nr_held--;
}

bool lock_check_held(const struct cpu *cpu, const void *lock)
{
    u32 i;

    for (i = 0; i < cpu->nr_held; i++)
        if (cpu->held[i].lock == lock)
            return true;
    return false;
}
