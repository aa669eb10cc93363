/* SPDX-License-Identifier: MIT */
/*
 * Shrinking: delta debugging over the list of ops (ever smaller pieces are left out, for as long as the same kind of
 * disagreement remains), then over arguments (fewer pages, fewer flags, plain numbers).
 *
 * Each trial runs in a process of its own with a new machine and a new child: a model that asserts is a result, too.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/oracle/sequence.h"

#define TRIAL_CPU_S 10 /* a trial of which model or child take longer: it hangs, or takes long */
#define TRIAL_S 120
#define SHRINK_S 60 /* in all; then it is the shortest so far */

struct shrink {
    struct oracle *o;
    struct sequence *best, *tried; /* shared with the trials' processes */
    u32 differ;                    /* kind of disagreement to keep: its lowest bit */
    u16 kind, nr;                  /* and on which op */
    u32 trials;
    time_t end;
};

static u32 lowest(u32 bits)
{
    return bits & -bits;
}

u32 trial(const struct oracle *o, struct sequence *s, u32 *at)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGTRAP, SIGILL, SIGVTALRM};
    int status;
    pid_t pid;

    fflush(stdout);
    fflush(stderr);
    s->differ = DIFFER_CRASH;
    pid = fork();
    if (pid < 0)
        die("fork failed");
    if (!pid) {
        struct oracle *mine = calloc(1, sizeof(*mine));

        mine->host = o->host;
        mine->check_every = o->check_every;
        mine->hang_s = TRIAL_CPU_S;
        mine->native.long_cpu_s = TRIAL_CPU_S;
        if (!getenv("TRIAL_STDERR") && !freopen("/dev/null", "w", stderr))
            _exit(3);
        for (u32 i = 0; i < ARRAY_SIZE(fatal); i++)
            signal(fatal[i], SIG_DFL);
        alarm(TRIAL_S);
        native_start(&mine->native, o->native.child_path);
        model_boot(&mine->model, &mine->native, &mine->host);
        run_list(mine, s, NULL);
        native_stop(&mine->native);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    *at = s->at;
    if (WIFSIGNALED(status))
        return s->differ = DIFFER_CRASH;
    return s->differ;
}

static bool is_over(const struct shrink *x)
{
    return time(NULL) >= x->end;
}

/* Does the list in `tried` still fail as it should? Then it is the best one. */
static bool still(struct shrink *x)
{
    u32 at, differ;

    if (is_over(x))
        return false;
    x->trials++;
    differ = trial(x->o, x->tried, &at);
    if (lowest(differ) != x->differ)
        return false;
    if ((differ < DIFFER_BOOKS || differ == DIFFER_NUMBERS) &&
        (x->tried->op[at].kind != x->kind || x->tried->op[at].nr != x->nr))
        return false;
    if (differ < DIFFER_BOOKS || differ == DIFFER_NUMBERS)
        x->tried->nr = at + 1;
    memcpy(x->best, x->tried, sizeof(*x->best));
    return true;
}

static bool drop_piece(struct shrink *x, u32 from, u32 len)
{
    const struct sequence *b = x->best;

    memcpy(x->tried, b, sizeof(*b));
    memmove(x->tried->op + from, b->op + from + len, (b->nr - from - len) * sizeof(b->op[0]));
    x->tried->nr = b->nr - len;
    return still(x);
}

static void shrink_list(struct shrink *x)
{
    for (u32 len = x->best->nr / 2; len; len /= 2)
        for (u32 end = x->best->nr; end > 0 && !is_over(x);) {
            u32 from = end > len ? end - len : 0;

            if (drop_piece(x, from, MIN(len, end - from)))
                end = MIN(from, x->best->nr);
            else
                end = from;
        }
}

/* The argument of the n-th op set to `value`, if that keeps the disagreement. */
static void try_arg(struct shrink *x, u32 n, u32 arg, u64 value)
{
    if (n >= x->best->nr || x->best->op[n].arg[arg] == value)
        return;
    memcpy(x->tried, x->best, sizeof(*x->tried));
    x->tried->op[n].arg[arg] = value;
    still(x);
}

static void shrink_range(struct shrink *x, u32 n)
{
    u64 len = x->best->op[n].arg[1];

    try_arg(x, n, 1, ALIGN_UP(len, PAGE_SIZE));
    try_arg(x, n, 1, PAGE_SIZE);
    try_arg(x, n, 1, 2 * PAGE_SIZE);
    try_arg(x, n, 0, x->best->op[n].arg[0] & PAGE_MASK);
}

static void shrink_flags(struct shrink *x, u32 n)
{
    for (u32 bit = 6; bit < 32 && n < x->best->nr; bit++)
        if (x->best->op[n].arg[3] & 1ul << bit)
            try_arg(x, n, 3, x->best->op[n].arg[3] & ~(1ul << bit));
}

static void shrink_args(struct shrink *x)
{
    for (u32 n = 0; n < x->best->nr && !is_over(x); n++) {
        const struct oracle_op *op = &x->best->op[n];

        if (op->kind != ORACLE_SYSCALL || op->argkind[0] || op->argkind[1])
            continue;
        if (op->nr == ABI_mmap)
            shrink_flags(x, n);
        shrink_range(x, n);
    }
}

/* Shared with the processes of the trials. */
static struct sequence *shared_sequence(void)
{
    struct sequence *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (s == MAP_FAILED)
        die("no memory");
    return s;
}

void shrink(struct oracle *o, struct sequence *s)
{
    struct shrink x = {.o = o, .best = shared_sequence(), .tried = shared_sequence(), .end = time(NULL) + SHRINK_S};
    u32 at;

    memcpy(x.tried, s, sizeof(*s));
    x.differ = lowest(trial(o, x.tried, &at));
    fprintf(stderr, "oracle: shrinking %u ops (%s at %u)\n", x.tried->nr, differ_name(x.differ), at);
    if (x.differ) {
        if (x.differ < DIFFER_BOOKS || x.differ == DIFFER_NUMBERS)
            x.tried->nr = at + 1;
        x.kind = x.tried->op[at].kind;
        x.nr = x.tried->op[at].nr;
        memcpy(x.best, x.tried, sizeof(*s));
        shrink_list(&x);
        shrink_args(&x);
        shrink_list(&x);
        memcpy(s, x.best, sizeof(*s));
        fprintf(stderr, "oracle: %u ops after %u trials\n", s->nr, x.trials);
    }
    munmap(x.best, sizeof(*s));
    munmap(x.tried, sizeof(*s));
}
