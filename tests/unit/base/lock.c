/* SPDX-License-Identifier: MIT */
/* Locks between threads and between processes over a shared region, and the rank check. */
#include "base_test.h"

#include <pthread.h>

#include "base/lock.h"

#define REGION ((void *)0x550000000000)
#define REGION_SIZE (1ul << 20)
#define WORKERS 4
#define ROUNDS 20000

/* Everything that the workers share; `plain` fields are protected
 * by the locks only, so TSan sees a lock that does not lock. */
struct shared {
    spinlock_t spin;
    struct mutex mutex;
    struct rw_semaphore sem;
    u64 plain[2];
    _Atomic int readers, max_readers;
    _Atomic int errors;
    _Atomic int go;
};

enum lock_kind { SPIN, MUTEX, RWSEM, RWSEM_DOWNGRADE, TRYLOCKS };

struct work {
    struct shared *s;
    enum lock_kind kind;
    u32 id;
};

/* Under the write lock both words are equal except in the middle of change(). */
static void change(struct shared *s)
{
    s->plain[0]++;
    if (s->readers || s->plain[0] != s->plain[1] + 1)
        s->errors++;
    s->plain[1]++;
}

static void look(struct shared *s)
{
    int readers = atomic_fetch_add(&s->readers, 1) + 1, max = s->max_readers;

    while (readers > max && !atomic_compare_exchange_weak(&s->max_readers, &max, readers))
        ;
    if (s->plain[0] != s->plain[1])
        s->errors++;
    atomic_fetch_sub(&s->readers, 1);
}

static void lock_both_ways(struct cpu *cpu, struct shared *s, enum lock_kind kind, u64 choice)
{
    if (choice % 4) {
        down_read(cpu, &s->sem);
        look(s);
        up_read(cpu, &s->sem);
        return;
    }
    down_write(cpu, &s->sem);
    change(s);
    if (kind == RWSEM_DOWNGRADE) {
        downgrade_write(&s->sem);
        look(s);
        up_read(cpu, &s->sem);
    } else {
        up_write(cpu, &s->sem);
    }
}

static void try_all(struct cpu *cpu, struct shared *s, u64 choice)
{
    if (choice % 3 == 0) {
        while (!down_write_trylock(cpu, &s->sem))
            port_yield();
        change(s);
        up_write(cpu, &s->sem);
        return;
    }
    while (!down_read_trylock(cpu, &s->sem))
        port_yield();
    look(s);
    up_read(cpu, &s->sem);
}

static void work_once(struct cpu *cpu, struct work *w, u64 choice)
{
    struct shared *s = w->s;

    switch (w->kind) {
    case SPIN:
        spin_lock(cpu, &s->spin);
        change(s);
        spin_unlock(cpu, &s->spin);
        break;
    case MUTEX:
        mutex_lock(cpu, &s->mutex);
        change(s);
        mutex_unlock(cpu, &s->mutex);
        break;
    case TRYLOCKS:
        try_all(cpu, s, choice);
        break;
    default:
        lock_both_ways(cpu, s, w->kind, choice);
    }
}

static void *worker(void *arg)
{
    struct work *w = arg;
    struct cpu cpu = {.id = w->id};
    u64 seed = w->id;
    int i, rounds = w->kind == TRYLOCKS ? ROUNDS / 10 : ROUNDS;

    while (!w->s->go)
        port_yield();
    for (i = 0; i < rounds; i++)
        work_once(&cpu, w, rnd(&seed));
    return NULL;
}

static void shared_init(struct shared *s)
{
    memset(s, 0, sizeof(*s));
    spin_lock_init(&s->spin, RANK_LEAF);
    mutex_init(&s->mutex, RANK_INODE);
    init_rwsem(&s->sem, RANK_MMAP);
}

static void check_quiet(struct shared *s)
{
    assert_int_equal(s->errors, 0);
    assert_true(s->plain[0] == s->plain[1]);
    assert_false(spin_is_locked(&s->spin));
    assert_false(rwsem_is_locked(&s->sem));
    assert_int_equal(s->sem.waiters_w, 0);
    assert_int_equal(s->sem.sleepers, 0);
}

static void run_threads(enum lock_kind kind)
{
    static struct shared s;
    struct work work[WORKERS];
    pthread_t threads[WORKERS];
    u32 i;

    shared_init(&s);
    for (i = 0; i < WORKERS; i++) {
        work[i] = (struct work){&s, kind, i};
        pthread_create(&threads[i], NULL, worker, &work[i]);
    }
    s.go = 1;
    for (i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    check_quiet(&s);
    if (kind == SPIN || kind == MUTEX)
        assert_int_equal(s.plain[0], WORKERS * ROUNDS);
}

static void run_processes(enum lock_kind kind)
{
    struct shared *s = REGION;
    struct work work;
    int handle, status;
    pid_t pids[WORKERS];
    u32 i;

    assert_int_equal(port_region_create("test-lock", REGION, REGION_SIZE, &handle), 0);
    shared_init(s);
    fflush(NULL);
    for (i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        if (!pids[i]) {
            work = (struct work){s, kind, i};
            worker(&work);
            _exit(0);
        }
    }
    s->go = 1;
    for (i = 0; i < WORKERS; i++) {
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    check_quiet(s);
    if (kind == SPIN || kind == MUTEX)
        assert_int_equal(s->plain[0], WORKERS * ROUNDS);
    port_region_unmap(REGION, REGION_SIZE);
    port_posix_close_handle(handle);
}

#define THREADS_AND_PROCESSES(name, kind)                                                                              \
    static void test_threads_##name(void **state)                                                                      \
    {                                                                                                                  \
        run_threads(kind);                                                                                             \
    }                                                                                                                  \
    static void test_processes_##name(void **state)                                                                    \
    {                                                                                                                  \
        run_processes(kind);                                                                                           \
    }

THREADS_AND_PROCESSES(spin, SPIN)
THREADS_AND_PROCESSES(mutex, MUTEX)
THREADS_AND_PROCESSES(rwsem, RWSEM)
THREADS_AND_PROCESSES(downgrade, RWSEM_DOWNGRADE)
THREADS_AND_PROCESSES(trylocks, TRYLOCKS)

static void test_states(void **state)
{
    struct cpu cpu = {0}, other = {.id = 1};
    struct shared s;

    shared_init(&s);
    assert_true(spin_trylock(&cpu, &s.spin));
    assert_false(spin_trylock(&other, &s.spin));
    assert_true(spin_is_locked(&s.spin));
    spin_unlock(&cpu, &s.spin);
    assert_true(mutex_trylock(&cpu, &s.mutex));
    assert_false(mutex_trylock(&other, &s.mutex));
    mutex_unlock(&cpu, &s.mutex);

    down_read(&cpu, &s.sem);
    assert_true(rwsem_is_locked(&s.sem));
    assert_false(rwsem_is_write_locked(&s.sem));
    assert_true(down_read_trylock(&other, &s.sem));
    up_read(&other, &s.sem);
    assert_false(down_write_trylock(&other, &s.sem));
    up_read(&cpu, &s.sem);
    down_write(&cpu, &s.sem);
    assert_true(rwsem_is_write_locked(&s.sem));
    assert_false(down_read_trylock(&other, &s.sem));
    downgrade_write(&s.sem);
    assert_true(down_read_trylock(&other, &s.sem));
    up_read(&other, &s.sem);
    up_read(&cpu, &s.sem);
    assert_false(rwsem_is_locked(&s.sem));
    assert_int_equal(cpu.nr_held, 0);
}

/* While a reader is in and a writer waits, no further reader comes in. */
static void *waiting_writer(void *arg)
{
    struct shared *s = arg;
    struct cpu cpu = {.id = 9};

    down_write(&cpu, &s->sem);
    change(s);
    up_write(&cpu, &s->sem);
    return NULL;
}

static void test_writer_preferred(void **state)
{
    struct cpu cpu = {0}, other = {.id = 1};
    static struct shared s;
    pthread_t thread;

    shared_init(&s);
    down_read(&cpu, &s.sem);
    pthread_create(&thread, NULL, waiting_writer, &s);
    while (!s.sem.waiters_w)
        port_yield();
    assert_false(down_read_trylock(&other, &s.sem));
    up_read(&cpu, &s.sem);
    down_read(&other, &s.sem);
    assert_int_equal(s.plain[1], 1); /* the writer was first */
    up_read(&other, &s.sem);
    pthread_join(thread, NULL);
    check_quiet(&s);
}

/* -- ranks; called directly, so that they are tested in every build ------------------------------------------------ */

struct pair {
    u16 rank[2], subclass[2];
    bool same_lock;
    bool allowed;
};

static void take_pair(void *arg)
{
    const struct pair *p = arg;
    struct cpu cpu = {.id = 3};
    char locks[2] = {0};

    lock_check_acquire(&cpu, &locks[0], p->rank[0], p->subclass[0]);
    lock_check_acquire(&cpu, &locks[p->same_lock ? 0 : 1], p->rank[1], p->subclass[1]);
}

static void test_ranks(void **state)
{
    static const struct pair table[] = {
        {{RANK_MMAP, RANK_PTL}, {0, 0}, false, true},     {{RANK_PTL, RANK_MMAP}, {0, 0}, false, false},
        {{RANK_PTL, RANK_PTL}, {0, 1}, false, true},      {{RANK_PTL, RANK_PTL}, {1, 0}, false, false},
        {{RANK_PTL, RANK_PTL}, {0, 0}, false, false},     {{RANK_LEAF, RANK_NONE}, {0, 0}, false, true},
        {{RANK_NONE, RANK_MACHINE}, {0, 0}, false, true}, {{RANK_NONE, RANK_NONE}, {0, 0}, true, false},
    };
    char text[1000];
    u32 i;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        if (table[i].allowed) {
            take_pair((void *)(uintptr_t)&table[i]);
            continue;
        }
        expect_abort(take_pair, (void *)(uintptr_t)&table[i], text, sizeof(text));
        assert_non_null(strstr(text, "assertion failed"));
    }
    expect_abort(take_pair, (void *)(uintptr_t)&table[1], text, sizeof(text));
    assert_non_null(strstr(text, "cpu 3 takes lock 0x"));
    assert_non_null(strstr(text, "(RANK_MMAP, subclass 0) while it holds lock 0x"));
    assert_non_null(strstr(text, "(RANK_PTL, subclass 0)"));
}

static void release_unheld(void *arg)
{
    struct cpu cpu = {0};

    lock_check_release(&cpu, arg);
}

static void hold_too_many(void *arg)
{
    struct cpu cpu = {0};
    char locks[MAX_HELD_LOCKS + 1] = {0};
    u32 i;

    for (i = 0; i < MAX_HELD_LOCKS + 1; i++)
        lock_check_acquire(&cpu, &locks[i], RANK_NONE, 0);
}

static void test_held_list(void **state)
{
    struct cpu cpu = {0};
    char a = 0, b = 0, c = 0, text[500];

    lock_check_acquire(&cpu, &a, RANK_MMAP, 0);
    lock_check_acquire(&cpu, &b, RANK_PTL, 0);
    lock_check_acquire(&cpu, &c, RANK_ZONE, 0);
    lock_check_release(&cpu, &b); /* any order */
    assert_true(lock_check_held(&cpu, &a));
    assert_false(lock_check_held(&cpu, &b));
    assert_true(lock_check_held(&cpu, &c));
    lock_check_acquire(&cpu, &b, RANK_LEAF, 0);
    lock_check_release(&cpu, &a);
    lock_check_release(&cpu, &b);
    lock_check_release(&cpu, &c);
    assert_int_equal(cpu.nr_held, 0);
    expect_abort(release_unheld, &a, text, sizeof(text));
    expect_abort(hold_too_many, NULL, text, sizeof(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_writer_preferred),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_held_list),
        cmocka_unit_test(test_processes_spin),
        cmocka_unit_test(test_processes_mutex),
        cmocka_unit_test(test_processes_rwsem),
        cmocka_unit_test(test_processes_downgrade),
        cmocka_unit_test(test_processes_trylocks),
        cmocka_unit_test(test_threads_spin),
        cmocka_unit_test(test_threads_mutex),
        cmocka_unit_test(test_threads_rwsem),
        cmocka_unit_test(test_threads_downgrade),
        cmocka_unit_test(test_threads_trylocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
