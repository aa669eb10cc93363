/* SPDX-License-Identifier: MIT */
/* The POSIX port: regions, futexes, messages and the end. */
#include "base_test.h"

#include <pthread.h>

#include "base/assert.h"
#include "base/errno.h"

#define REGION ((char *)0x551000000000)
#define LARGE (1ul << 36)
#define MB (1ul << 20)

static void test_region(void **state)
{
    int handle = -1, other = -1;

    assert_int_equal(port_region_create("test", REGION, LARGE, &handle), 0);
    assert_int_equal(REGION[0], 0);
    assert_int_equal(REGION[LARGE - 1], 0);
    REGION[LARGE - 1] = 5;
    assert_int_equal(port_region_create("test", REGION + MB, MB, &other), -EEXIST);
    assert_int_equal(other, -1); /* untouched on failure */
    assert_int_equal(port_region_attach(handle, REGION, MB), -EEXIST);
    port_region_unmap(REGION, LARGE);
    assert_int_equal(port_region_attach(handle, REGION, LARGE), 0); /* the handle keeps it alive */
    assert_int_equal(REGION[LARGE - 1], 5);
    port_region_unmap(REGION, LARGE);
    port_posix_close_handle(handle);
    assert_int_equal(port_region_attach(handle, REGION, MB), -EBADF);
}

static void test_alias_and_discard(void **state)
{
    char *a = REGION + 4 * MB, *b = REGION + 8 * MB;
    int handle;

    assert_int_equal(port_region_create("test", REGION, 16 * MB, &handle), 0);
    assert_int_equal(port_region_alias(handle, REGION, b, a, MB), 0);
    strcpy(a + 4096, "seen twice");
    assert_string_equal(b + 4096, "seen twice");
    b[MB - 1] = 'x';
    assert_int_equal(a[MB - 1], 'x');
    assert_int_equal(b[MB], 0); /* behind the alias the region is its own */
    strcpy(a, "first page");
    assert_int_equal(port_region_discard(a + 4096, 4096), 0);
    assert_int_equal(b[4096], 0);
    assert_string_equal(b, "first page");
    port_region_unmap(REGION, 16 * MB);
    port_posix_close_handle(handle);
}

/* Another process that is no child of the creator's mappings opens the region by pid and handle. */
static void test_other_process(void **state)
{
    int handle, fds[2], status, got, err;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid = fork();
    if (!pid) {
        err = read(fds[0], &got, sizeof(got)) != sizeof(got);
        handle = port_posix_open_handle(getppid(), got);
        err |= handle < 0 || port_region_attach(handle, REGION, MB) || strcmp(REGION, "hello");
        if (!err)
            strcpy(REGION, "answer");
        _exit(err);
    }
    assert_int_equal(port_region_create("test", REGION, MB, &handle), 0);
    strcpy(REGION, "hello");
    assert_int_equal(write(fds[1], &handle, sizeof(handle)), sizeof(handle));
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_string_equal(REGION, "answer");
    port_region_unmap(REGION, MB);
    port_posix_close_handle(handle);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(port_posix_open_handle(-1, 3), -EINVAL);
    assert_int_equal(port_posix_open_handle(getpid(), 100000), -ENOENT);
}

static _Atomic u32 word;

static void *wake_later(void *arg)
{
    word = 1;
    port_futex_wake(&word, 1);
    return NULL;
}

static void test_futex_and_clock(void **state)
{
    u64 before = port_clock_ns();
    pthread_t thread;

    word = 0;
    port_futex_wait(&word, 1, 0); /* another value: returns at once */
    port_futex_wait(&word, 0, 20 * 1000 * 1000);
    assert_true(port_clock_ns() - before >= 20 * 1000 * 1000);
    pthread_create(&thread, NULL, wake_later, NULL);
    while (!word)
        port_futex_wait(&word, 0, 0);
    pthread_join(thread, NULL);
}

static void test_log(void **state)
{
    char text[200] = {0};
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    port_posix_set_log_fd(fds[1]);
    port_log(PORT_LOG_WARN, "one");
    port_log(PORT_LOG_DEBUG, "below the level");
    port_posix_set_log_level(PORT_LOG_DEBUG);
    port_log(PORT_LOG_DEBUG, "two");
    port_posix_set_log_fd(-1);
    port_log(PORT_LOG_ERR, "nowhere");
    port_posix_set_log_fd(2);
    port_posix_set_log_level(PORT_LOG_INFO);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    assert_string_equal(text, "quire: warning: one\nquire: debug: two\n");
    close(fds[0]);
    close(fds[1]);
}

static void say(void *arg)
{
    port_log(PORT_LOG_ERR, arg);
}

static void fail_again(void *arg)
{
    ASSERT(!"a hook that fails");
}

static void fail_with_hooks(void *arg)
{
    port_posix_add_assert_hook(say, "first");
    port_posix_add_assert_hook(fail_again, NULL);
    port_posix_add_assert_hook(say, "removed");
    port_posix_add_assert_hook(say, "last");
    port_posix_remove_assert_hook(say, "removed");
    ASSERT(1 + 1 == 3);
}

static void test_assert_hooks(void **state)
{
    char text[1000];
    const char *last, *first;

    expect_abort(fail_with_hooks, NULL, text, sizeof(text));
    assert_non_null(strstr(text, "assertion failed: 1 + 1 == 3, in fail_with_hooks at "));
    last = strstr(text, "error: last");
    first = strstr(text, "error: first");
    assert_true(last && first && last < first);
    assert_non_null(strstr(text, "a hook that fails"));
    assert_null(strstr(text, "removed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region),        cmocka_unit_test(test_alias_and_discard),
        cmocka_unit_test(test_other_process), cmocka_unit_test(test_futex_and_clock),
        cmocka_unit_test(test_log),           cmocka_unit_test(test_assert_hooks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
