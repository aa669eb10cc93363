/* SPDX-License-Identifier: MIT */
/* For the tests of the ground floor: a CPU without a machine,
 * random numbers with a printed seed, clean check reports. */
#ifndef QUIRE_TESTS_BASE_TEST_H
#define QUIRE_TESTS_BASE_TEST_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/cpu.h"
#include "base/xarray.h"
#include "port/posix/port_posix.h"

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline u64 rnd(u64 *state)
{
    u64 z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* QUIRE_SEED repeats a run. */
static inline u64 test_seed(void)
{
    const char *text = getenv("QUIRE_SEED");
    u64 seed = text ? strtoull(text, NULL, 0) : port_clock_ns() ^ (u64)getpid() << 40;

    printf("QUIRE_SEED=0x%llx\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

static inline void assert_clean(const struct check_report *r)
{
    u32 i;

    for (i = 0; i < r->nr && i < CHECK_KEPT; i++)
        fprintf(stderr, "%s\n", r->text[i]);
    assert_int_equal(r->nr, 0);
}

/* Nodes from malloc; the n-th allocation from now fails when fail_at is n. */
struct node_source {
    long live;
    long fail_at;
};

struct test_cpu {
    struct cpu cpu;
    struct node_source nodes;
};

static inline struct xa_node *test_node_alloc(struct cpu *cpu, u32 gfp)
{
    struct node_source *s = &((struct test_cpu *)cpu)->nodes;

    if (s->fail_at && --s->fail_at == 0)
        return NULL;
    __atomic_add_fetch(&s->live, 1, __ATOMIC_RELAXED);
    return calloc(1, sizeof(struct xa_node));
}

static inline void test_node_free(struct cpu *cpu, struct xa_node *n)
{
    __atomic_sub_fetch(&((struct test_cpu *)cpu)->nodes.live, 1, __ATOMIC_RELAXED);
    free(n);
}

static const struct core_code test_code __attribute__((unused)) = {
    .xa_node_alloc = test_node_alloc,
    .xa_node_free = test_node_free,
};

/* Run `body` in a child that must end by SIGABRT; its messages land in `text`. */
static inline void expect_abort(void (*body)(void *arg), void *arg, char *text, size_t size)
{
    int fds[2], status;
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        port_posix_set_log_fd(fds[1]);
        body(arg);
        _exit(0);
    }
    close(fds[1]);
    while (len + 1 < size && (n = read(fds[0], text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = 0;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

#endif
