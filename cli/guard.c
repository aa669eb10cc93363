/* SPDX-License-Identifier: MIT */
/*
 * See guard.h. The limits:
 *
 *   time      PATIENCE_S, and 200 ns for each byte saved, 1 us for each byte written. Views look at each byte a few
 *             times, at a nanosecond or so; text is made at tens of megabytes a second.
 *   text      16 MiB, and 64 bytes for each byte saved: the most that a structure becomes is a VMA's entry in smaps,
 *             some 900 bytes and a path, of 250. pagemap is not counted: 8 bytes for each page of address space are what
 *             its format asks for, and proc_next_vma() bounds the addresses.
 *   memory    1 GiB, and 4 times what was saved, of the region. Pages of a machine that were never written are holes in its region
 *             until they are read.
 */
#define _GNU_SOURCE
#include "guard.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "port/posix/port_posix.h"
#include "quire.h"

#define PATIENCE_S 10
#define NS_PER_SAVED 200
#define NS_PER_WRITTEN 1000
#define TEXT_FREE (16ull << 20)
#define TEXT_PER_SAVED 64
#define MEMORY_FREE (1ull << 30)
#define MEMORY_PER_SAVED 4
#define LOOK_EVERY_US 50000

enum trouble { CONTRADICTS, CIRCLES, ENDLESS, VAST, NR_TROUBLES };

static const char *const why[NR_TROUBLES] = {
    [CONTRADICTS] = "the machine in it contradicts itself",
    [CIRCLES] = "the machine in it goes in circles, reading it does not end",
    [ENDLESS] = "the machine in it has more to say than was saved of it",
    [VAST] = "the machine in it leads to more memory than was saved of it",
};

static struct guard {
    char file[512];
    const char *output;
    char message[2][NR_TROUBLES][1024]; /* one half is being written, the other may be printed */
    volatile u32 half;
    u32 patience_s;
    volatile u64 time_limit_ns, memory_limit;
    volatile int region; /* -1: none */
    u64 text_room;
} g = {.region = -1};

/* -- the end ------------------------------------------------------------------------------------------------------- */

/* In a signal handler. */
_Noreturn static void give_up(enum trouble t)
{
    const char *message = g.message[g.half][t];

    if (g.output)
        unlink(g.output);
    if (write(STDERR_FILENO, message, strlen(message)) < 0)
        _exit(EXIT_USAGE);
    _exit(EXIT_USAGE);
}

static void on_fatal(int signo)
{
    give_up(CONTRADICTS);
}

static void on_assertion(void *arg)
{
    give_up(CONTRADICTS);
}

static u64 cpu_time_ns(void)
{
    struct timespec t = {0};

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

/* Nobody else is on the machine: who waits for ever, or again and again, waits for what will not come. */
static void on_wait(u64 timeout_ns)
{
    if (!timeout_ns)
        give_up(CONTRADICTS);
    if (timeout_ns > g.time_limit_ns)
        give_up(CIRCLES);
    g.time_limit_ns -= timeout_ns;
    if (cpu_time_ns() > g.time_limit_ns)
        give_up(CIRCLES);
}

/* That the host has for the region. */
static u64 memory_bytes(void)
{
    struct stat st;

    return g.region < 0 || fstat(g.region, &st) ? 0 : (u64)st.st_blocks * 512;
}

static void on_time(int signo)
{
    if (cpu_time_ns() > g.time_limit_ns)
        give_up(CIRCLES);
    if (memory_bytes() > g.memory_limit)
        give_up(VAST);
}

/* -- the way there ------------------------------------------------------------------------------------------------- */

static void handle(int signo, void (*handler)(int))
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigset_t set;

    sigfillset(&sa.sa_mask);
    sigaction(signo, &sa, NULL);
    sigemptyset(&set);
    sigaddset(&set, signo);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void look_every(long us)
{
    const struct itimerval t = {{0, us}, {0, us}};

    setitimer(ITIMER_PROF, &t, NULL);
}

void guard_begin(const char *file, u32 patience_s)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    static char stack[64 << 10]; /* the usual one may be used up */

    snprintf(g.file, sizeof(g.file), "%s", file);
    g.patience_s = patience_s ? patience_s : PATIENCE_S;
    guard_reading(NULL, NULL, 0);
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
        handle(fatal[i], on_fatal);
    handle(SIGPROF, on_time);
    port_posix_set_log_fd(-1); /* an assertion's own words say nothing to who reads a file */
    port_posix_set_wait_hook(on_wait);
    if (port_posix_add_assert_hook(on_assertion, NULL))
        usage_error("%s: cannot be read safely: too many assertion hooks", file);
    look_every(LOOK_EVERY_US);
}

void guard_output(const char *path)
{
    g.output = path;
}

static void compose(char *out, size_t size, const char *machine, const char *what, enum trouble t)
{
    if (machine)
        snprintf(out, size, "quire: %s: damaged: machine %.63s, %.200s: %s; save the run again\n", g.file, machine,
                 what, why[t]);
    else
        snprintf(out, size, "quire: %s: damaged: %s; save the run again\n", g.file, why[t]);
}

void guard_reading(const char *machine, const char *what, u64 bytes)
{
    u32 half = !g.half;

    for (enum trouble t = 0; t < NR_TROUBLES; t++)
        compose(g.message[half][t], sizeof(g.message[half][t]), machine, what, t);
    g.half = half;
    g.text_room = TEXT_FREE + TEXT_PER_SAVED * bytes;
    g.memory_limit = MEMORY_FREE + MEMORY_PER_SAVED * bytes;
    g.time_limit_ns = cpu_time_ns() + g.patience_s * 1000000000ull + NS_PER_SAVED * bytes;
}

void guard_region(int handle)
{
    g.region = handle;
}

void guard_wrote(enum guard_text kind, u64 bytes)
{
    g.time_limit_ns += NS_PER_WRITTEN * bytes;
    if (kind == GUARD_WORDS)
        return;
    if (bytes > g.text_room)
        give_up(ENDLESS);
    g.text_room -= bytes;
}

void guard_end(void)
{
    look_every(0);
}
