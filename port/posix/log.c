/* SPDX-License-Identifier: MIT */
/* Messages and the end on Linux: each message is one write(2), so that lines of several processes do not mix. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "port/posix/port_posix.h"

#define MAX_HOOKS 16
#define MAX_LINE 1024

struct assert_hook {
    void (*hook)(void *arg);
    void *arg;
};

static _Atomic int log_fd = 2;
static _Atomic int log_level = PORT_LOG_INFO;
static struct assert_hook hooks[MAX_HOOKS];
static _Atomic int nr_hooks;
static _Atomic int hooks_left = -1; /* while failing: hooks not called yet */

void port_posix_set_log_fd(int fd)
{
    log_fd = fd;
}

void port_posix_set_log_level(enum port_log_level level)
{
    log_level = (int)level;
}

int port_posix_add_assert_hook(void (*hook)(void *arg), void *arg)
{
    int nr = nr_hooks;

    if (nr == MAX_HOOKS)
        return -ENOSPC;
    hooks[nr] = (struct assert_hook){hook, arg};
    nr_hooks = nr + 1;
    return 0;
}

void port_posix_remove_assert_hook(void (*hook)(void *arg), void *arg)
{
    int i, nr = nr_hooks;

    for (i = nr - 1; i >= 0 && (hooks[i].hook != hook || hooks[i].arg != arg); i--)
        ;
    if (i < 0)
        return;
    nr_hooks = nr - 1;
    for (; i < nr - 1; i++)
        hooks[i] = hooks[i + 1];
}

/* Text collected on the stack and written at once. */
struct line {
    char text[MAX_LINE];
    size_t len;
};

static void line_add(struct line *l, const char *text)
{
    while (*text && l->len < MAX_LINE - 1)
        l->text[l->len++] = *text++;
}

static void line_write(struct line *l)
{
    int fd = log_fd, saved = errno;
    size_t done = 0;
    ssize_t n;

    l->text[l->len++] = '\n';
    while (fd >= 0 && done < l->len) {
        n = write(fd, l->text + done, l->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    errno = saved;
}

void port_log(enum port_log_level level, const char *message)
{
    static const char *const prefix[] = {"quire: error: ", "quire: warning: ", "quire: ", "quire: debug: "};
    struct line l = {.len = 0};

    if ((int)level > log_level)
        return;
    line_add(&l, prefix[level]);
    line_add(&l, message);
    line_write(&l);
}

static void report_failure(const char *condition, const char *file, int line, const char *function)
{
    struct line l = {.len = 0};
    char digits[12];
    int i = (int)sizeof(digits) - 1;

    digits[i] = 0;
    do {
        digits[--i] = (char)('0' + line % 10);
        line /= 10;
    } while (line > 0 && i > 0);
    line_add(&l, "quire: assertion failed: ");
    line_add(&l, condition);
    line_add(&l, ", in ");
    line_add(&l, function);
    line_add(&l, " at ");
    line_add(&l, file);
    line_add(&l, ":");
    line_add(&l, &digits[i]);
    line_write(&l);
}

_Noreturn void port_assert_fail(const char *condition, const char *file, int line, const char *function)
{
    int none = -1, left;

    report_failure(condition, file, line, function);
    atomic_compare_exchange_strong(&hooks_left, &none, nr_hooks);
    while ((left = atomic_fetch_sub(&hooks_left, 1)) > 0)
        hooks[left - 1].hook(hooks[left - 1].arg);
    signal(SIGABRT, SIG_DFL); /* a front end's host program may have taken it */
    abort();
}
