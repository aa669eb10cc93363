/* SPDX-License-Identifier: MIT */
/* Slots, the gate and vfork's wait of a session, among threads and processes. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"

static struct session *s;

static void test_slots(void **state)
{
    struct session_proc *a = session_proc_new(s, 1), *b = session_proc_new(s, 1);
    struct session_thread *t = session_thread_new(s, b);

    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    assert_int_equal(atomic_load(&a->state), PROC_FORKING);
    atomic_store(&b->pid, 77);
    assert_ptr_equal(session_proc_find(s, 77), b);
    assert_null(session_proc_find(s, 78));
    assert_int_equal(t->proc, session_proc_index(s, b));
    assert_true(session_drop_thread(s, b, t, DROP_TRY)); /* without machines: the entry alone */
    assert_int_equal(atomic_load(&t->state), THREAD_FREE);
    session_proc_free(a);
    session_proc_free(b);
    assert_null(session_proc_find(s, 77));
    assert_ptr_equal(session_proc_new(s, 1), a);
    session_proc_free(a);
}

static void test_first_reason_is_kept(void **state)
{
    s->nr_machines = 1;
    session_machine_dead(s, 0, "first %d", 1);
    session_machine_dead(s, 0, "second");
    assert_true(session_machine_is_dead(s, 0));
    assert_string_equal(s->machine[0].reason, "first 1");
    s->nr_machines = 0;
}

static void test_notices_are_bounded(void **state)
{
    for (int i = 0; i < SESSION_NOTICES + 5; i++)
        session_notice(s, "notice %d", i);
    assert_int_equal(atomic_load(&s->nr_notices), SESSION_NOTICES + 5);
    assert_string_equal(s->notice[SESSION_NOTICES - 1], "notice 127");
}

/* Threads go in and out of the gate; while it is frozen none is inside. */
struct gate_test {
    struct session_proc *p;
    _Atomic int inside, stop;
    _Atomic long entries;
};

static void *in_and_out(void *arg)
{
    struct gate_test *g = arg;

    while (!atomic_load(&g->stop)) {
        gate_enter(g->p);
        atomic_fetch_add(&g->inside, 1);
        atomic_fetch_add(&g->entries, 1);
        atomic_fetch_sub(&g->inside, 1);
        gate_leave(g->p);
    }
    return NULL;
}

static void test_gate(void **state)
{
    struct gate_test g = {.p = session_proc_new(s, 1)};
    pthread_t t[3];

    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, in_and_out, &g), 0);
    for (int round = 0; round < 50; round++) {
        long before;

        usleep(200);
        assert_true(gate_freeze(g.p, 0));
        before = atomic_load(&g.entries);
        assert_int_equal(atomic_load(&g.inside), 0);
        usleep(200);
        assert_int_equal(atomic_load(&g.entries), before);
        gate_thaw(g.p);
    }
    atomic_store(&g.stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    assert_true(atomic_load(&g.entries) > 0);
    session_proc_free(g.p);
}

/* The parent sleeps until the child, another process with its own mapping, says so. */
static void test_vfork_between_processes(void **state)
{
    struct session_proc *p = session_proc_new(s, 1);
    _Atomic int *order = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t pid;

    atomic_store(&p->vfork, 1);
    pid = fork();
    if (pid == 0) {
        struct session *mine = session_attach(s->launcher, s->fd);

        usleep(20000);
        atomic_store(order, 1);
        if (mine)
            vfork_done(&mine->proc[session_proc_index(s, p)]);
        _exit(mine ? 0 : 1);
    }
    vfork_wait(s, p);
    assert_int_equal(atomic_load(order), 1);
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    session_proc_free(p);
    munmap(order, 4096);
}

static int setup(void **state)
{
    s = session_create();
    return s ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_first_reason_is_kept),
        cmocka_unit_test(test_notices_are_bounded),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_vfork_between_processes),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
