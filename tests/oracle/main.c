/* SPDX-License-Identifier: MIT */
/* The oracle: options, seeds, reports. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "port/posix/port_posix.h"
#include "tests/oracle/again.h"

struct options {
    u64 seed;
    u32 steps, seeds, keep, slowest;
    u64 seconds;
    const char *replay, *child, *out, *only, *without;
    bool no_shrink, any_kernel, print_c;
};

/* Of millions of operations a few may meet something of the host that is not known yet: more than these is a failure. */
#define ONCE_MOST 3
/* Of what the host may do, but its counters say nothing of: so many, and one for so many sequences. */
#define MAYBE_MOST 20
#define MAYBE_EACH 50

static struct oracle oracle;
static struct sequence sequence;
static struct slowest slowest;

static const char usage[] =
    "usage: oracle [options]\n"
    "Random operations by real processes and by modelled ones; everything that a program can see must agree.\n"
    "  --seed N       the first sequence's seed (default: from the clock; QUIRE_SEED)\n"
    "  --seeds N      sequences, with seeds N, N + 1, ... (default 1 with --seed, else until --seconds are over)\n"
    "  --steps N      operations of a sequence, at most 4096 (default 1000; QUIRE_STEPS)\n"
    "  --seconds N    stop after this time (default 30; QUIRE_SECONDS)\n"
    "  --calls A,B    only these calls\n"
    "  --without A,B  not these calls\n"
    "  --swarm        each sequence has a mix of its own: some calls much, some not, few advices, few pages\n"
    "  --processes    more of clone, execve and exit\n"
    "  --keep N       go on after a disagreement, up to N of them (default 1)\n"
    "  --check N      machine_check() every N operations, not only after each sequence\n"
    "  --slowest N    at the end, the N ops, looks and ends of sequences that took the kernel longest, at most 64\n"
    "  --no-shrink    report a failing sequence as it is\n"
    "  --replay FILE  run the operations of a replay file\n"
    "  --print-c      also sequences that agree become C programs: oracle-SEED.c\n"
    "  --out DIR      where reproducers go (default: the working directory)\n"
    "  --child FILE   the child's program\n"
    "  --any-kernel   also on kernels older than those whose answers the library gives (6.18)\n";

static u64 number_of(const char *text, const char *what)
{
    char *end;
    u64 n = strtoull(text, &end, 0);

    if (!*text || *end)
        die("%s: '%s' is no number", what, text);
    return n;
}

enum {
    SEED,
    SEEDS,
    STEPS,
    SECONDS,
    CALLS,
    WITHOUT,
    KEEP,
    CHECK,
    SLOWEST,
    NO_SHRINK,
    REPLAY,
    OUT,
    CHILD,
    ANY_KERNEL,
    PROCESSES,
    SWARM,
    PRINT_C,
    HELP
};

static void parse_options(struct options *p, int argc, char **argv)
{
    static const struct option list[] = {{"seed", 1, NULL, SEED},
                                         {"seeds", 1, NULL, SEEDS},
                                         {"steps", 1, NULL, STEPS},
                                         {"seconds", 1, NULL, SECONDS},
                                         {"calls", 1, NULL, CALLS},
                                         {"without", 1, NULL, WITHOUT},
                                         {"keep", 1, NULL, KEEP},
                                         {"check", 1, NULL, CHECK},
                                         {"slowest", 1, NULL, SLOWEST},
                                         {"no-shrink", 0, NULL, NO_SHRINK},
                                         {"replay", 1, NULL, REPLAY},
                                         {"out", 1, NULL, OUT},
                                         {"child", 1, NULL, CHILD},
                                         {"any-kernel", 0, NULL, ANY_KERNEL},
                                         {"processes", 0, NULL, PROCESSES},
                                         {"swarm", 0, NULL, SWARM},
                                         {"print-c", 0, NULL, PRINT_C},
                                         {"help", 0, NULL, HELP},
                                         {NULL, 0, NULL, 0}};
    u64 number[SLOWEST + 1] = {0};
    const char *text[HELP + 1] = {0};
    int o;

    number[SEED] = (u64)time(NULL) * 1000003u + (u64)getpid();
    number[STEPS] = 1000;
    number[SECONDS] = 30;
    number[KEEP] = 1;
    if (getenv("QUIRE_SEED"))
        number[SEED] = number_of(text[SEED] = getenv("QUIRE_SEED"), "QUIRE_SEED");
    if (getenv("QUIRE_STEPS"))
        number[STEPS] = number_of(getenv("QUIRE_STEPS"), "QUIRE_STEPS");
    if (getenv("QUIRE_SECONDS"))
        number[SECONDS] = number_of(getenv("QUIRE_SECONDS"), "QUIRE_SECONDS");
    while ((o = getopt_long(argc, argv, "", list, NULL)) >= 0) {
        if (o == '?') {
            fputs(usage, stderr);
            exit(2);
        }
        if (o == HELP) {
            fputs(usage, stdout);
            exit(0);
        }
        text[o] = optarg ? optarg : "";
        if (o <= SLOWEST && o != CALLS && o != WITHOUT)
            number[o] = number_of(optarg, list[o].name);
    }
    if (optind < argc)
        die("'%s' is not understood; --help lists the options", argv[optind]);
    p->seed = number[SEED];
    p->seeds = text[SEEDS] ? (u32)number[SEEDS] : text[SEED] && !text[SECONDS] ? 1 : ~0u;
    p->steps = (u32)MIN(number[STEPS], (u64)ORACLE_OPS);
    p->seconds = number[SECONDS];
    p->keep = (u32)number[KEEP];
    oracle.check_every = (u32)number[CHECK];
    p->slowest = (u32)number[SLOWEST];
    p->only = text[CALLS];
    p->without = text[WITHOUT];
    p->no_shrink = text[NO_SHRINK];
    p->replay = text[REPLAY];
    oracle.gen.processes = text[PROCESSES];
    oracle.gen.swarm = text[SWARM];
    p->print_c = text[PRINT_C];
    p->out = text[OUT] ? text[OUT] : ".";
    p->any_kernel = text[ANY_KERNEL];
    p->child = text[CHILD] ? text[CHILD] : ORACLE_CHILD;
}

/* -- what is asked for --------------------------------------------------------------------------------------------- */

static void mark_calls(u8 *wanted, const char *names, u8 value)
{
    char *copy = strdup(names), *save = NULL;

    for (char *name = strtok_r(copy, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        u32 i = 0;

        while (i < NR_ABI_CALLS && strcmp(abi_name[i], name))
            i++;
        if (i == NR_ABI_CALLS)
            die("no call '%s'", name);
        wanted[i] = value;
    }
    free(copy);
}

static void choose_calls(struct generator *g, const struct options *p)
{
    memset(g->wanted, !p->only, sizeof(g->wanted));
    if (p->only)
        mark_calls(g->wanted, p->only, 1);
    if (p->without)
        mark_calls(g->wanted, p->without, 0);
    for (u32 i = 0; i < NR_ABI_CALLS; i++)
        if (!abi_is_modelled((enum abi_nr)i))
            g->wanted[i] = 0;
    g->wanted[ABI_mmap] = 1;
}

static bool since(const struct host *h, u32 minor)
{
    return h->major > 6 || (h->major == 6 && h->minor >= minor);
}

/* The kernel shows la57 only if it uses five levels. */
static bool cpu_has(const char *flag)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[8192];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f))
        found = !strncmp(line, "flags", 5) && strstr(line, flag);
    if (f)
        fclose(f);
    return found;
}

static bool is_zero(const char *path)
{
    FILE *f = fopen(path, "r");
    unsigned long n = 1;

    if (f && fscanf(f, "%lu", &n) != 1)
        n = 1;
    if (f)
        fclose(f);
    return !n;
}

/* Huge pages of a size that the kernel knows, of which it has none and makes none. */
static bool no_huge_pages(u32 kb)
{
    static const char *const files[] = {"nr_hugepages", "nr_overcommit_hugepages"};
    char path[96];

    for (u32 i = 0; i < ARRAY_SIZE(files); i++) {
        snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%ukB/%s", kb, files[i]);
        if (!is_zero(path))
            return false;
    }
    return true;
}

/* /proc/swaps: a heading, and a line for each. */
static bool has_no_swap(void)
{
    FILE *f = fopen("/proc/swaps", "r");
    u32 lines = 0;
    int c;

    while (f && (c = getc(f)) != EOF)
        lines += c == '\n';
    if (f)
        fclose(f);
    return f && lines <= 1;
}

static void ask_host(struct host *h)
{
    struct utsname u;

    uname(&u);
    if (strcmp(u.sysname, "Linux") || sscanf(u.release, "%u.%u", &h->major, &h->minor) != 2)
        die("needs Linux");
    h->mseal = since(h, 10);
    h->guard = since(h, 13);
    h->droppable = since(h, 11);
    h->moves_many = since(h, 17);
    h->joins = since(h, 16);
    h->la57 = cpu_has(" la57");
    h->anon_names = !prctl(0x53564d41, 0, 0, 0, 0);
    h->pkeys = syscall(SYS_pkey_alloc, 0, 0) > 0;
    h->huge = since(h, 17) && no_huge_pages(2048) && no_huge_pages(1048576);
    h->no_swap = has_no_swap();
    h->poison = getenv("QUIRE_ORACLE_POISON") != NULL;
}

/* -- reports ------------------------------------------------------------------------------------------------------- */

static pid_t main_pid; /* trials have the same handlers, but are no reports */

static void report_crash(void *unused)
{
    char path[64];

    (void)unused;
    if (getpid() != main_pid)
        return;
    snprintf(path, sizeof(path), "oracle-crash-%#lx.replay", (unsigned long)sequence.seed);
    fprintf(stderr, "oracle: the model crashed at seed %#lx op %u:\n  ", (unsigned long)sequence.seed, sequence.nr);
    print_op(&sequence.op[sequence.nr], stderr);
    fprintf(stderr, "\noracle: --replay %s runs it again\n", path);
    sequence.nr++;
    save_replay(&sequence, path);
}

static void on_crash(int signo)
{
    signal(signo, SIG_DFL);
    report_crash(NULL);
    raise(signo);
}

/* Ended from outside: no process and no IPC segment stays behind. */
static void on_end(int signo)
{
    native_stop(&oracle.native);
    _exit(128 + signo);
}

static void write_c(const struct sequence *s, const char *folder, const char *suffix)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/oracle-%lx.%s", folder, (unsigned long)s->seed, suffix);
    f = fopen(path, "w");
    if (!f)
        die("%s: %s", path, strerror(errno));
    print_c_program(s, f);
    fclose(f);
}

static void save_sequence(const struct options *p)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/oracle-%lx.replay", p->out, (unsigned long)sequence.seed);
    save_replay(&sequence, path);
    write_c(&sequence, p->out, "replay.c");
    fprintf(stderr, "oracle: --replay %s runs it again; as a C program: %s.c\n", path, path);
}

static void report(const struct options *p)
{
    struct sequence *s = &sequence;
    const char *what = host_is_short(&oracle.native);

    print_difference(s, stderr);
    if (what) {
        native_stop(&oracle.native);
        die("that says nothing: the host has no more %s", what);
    }
    if (s->differ == DIFFER_STATE)
        return; /* of a failing allocation: the same seed finds it again */
    if (!p->no_shrink)
        shrink(&oracle, s);
    save_sequence(p);
    run_list(&oracle, s, stderr);
    if (!s->differ)
        fprintf(stderr, "oracle: its list of operations agrees; it differs by its seed, %#lx\n",
                (unsigned long)s->seed);
    for (u32 i = 0; i < s->nr && i < 60; i++) {
        fprintf(stderr, "  ");
        print_op(&s->op[i], stderr);
        fprintf(stderr, " = ");
        print_result(&s->op[i], &s->native[i], stderr);
        fputc('\n', stderr);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct tally {
    u64 ops;
    u32 sequences, failures, by_host, maybe, once, too_long;
};

static void count(struct tally *t, const struct options *p, enum verdict v)
{
    t->by_host += v == HOST_WORKED || v == HOST_MAYBE;
    t->maybe += v == HOST_MAYBE;
    t->once += v == SEEN_ONCE;
    t->too_long += v == TOO_LONG;
    if (v == SEEN_ONCE || v == TOO_LONG)
        save_sequence(p);
    if (v == DISAGREES)
        report(p);
    t->failures += v == DISAGREES || (v == SEEN_ONCE && t->once > ONCE_MOST) ||
                   (v == TOO_LONG && t->too_long > ONCE_MOST) ||
                   (v == HOST_MAYBE && t->maybe > MAYBE_MOST + t->sequences / MAYBE_EACH);
}

static u32 run_seeds(const struct options *p)
{
    double begin = now(), end = begin + (double)p->seconds;
    struct host_work work[2]; /* when this sequence began and the one before */
    struct tally t = {0};

    printf("oracle: seed %#lx, %u operations each\n", (unsigned long)p->seed, p->steps);
    fflush(stdout);
    slowest_begin(&slowest, p->slowest);
    host_work_read(&work[1]);
    for (; t.sequences < p->seeds && t.failures < p->keep && (now() < end || p->seeds != ~0u); t.sequences++) {
        host_work_read(&work[t.sequences % 2]);
        run_generated(&oracle, &sequence, p->seed + t.sequences, p->steps);
        t.ops += sequence.nr;
        slowest_add(&slowest, &oracle, &sequence, p->steps);
        if (sequence.differ)
            count(&t, p, run_again(&oracle, &sequence, p->steps, &work[(t.sequences + 1) % 2]));
        else if (p->print_c)
            write_c(&sequence, p->out, "c");
    }
    print_slowest(&slowest, stdout);
    printf(
        "oracle: %u sequences, %lu operations, %.0f a second, %lu failed allocations, %u with the host's work in them, "
        "%u seen once and not again, %u too long, %u disagreements\n",
        t.sequences, (unsigned long)t.ops, (double)t.ops / (now() - begin), (unsigned long)oracle.model.injected,
        t.by_host, t.once, t.too_long, t.failures);
    return t.failures;
}

static u32 run_replay(const struct options *p)
{
    if (!load_replay(&sequence, p->replay))
        die("%s is no replay file of this build", p->replay);
    run_list(&oracle, &sequence, stderr);
    for (u32 i = 0; i < sequence.nr; i++) {
        print_op(&sequence.op[i], stdout);
        printf(" = ");
        print_result(&sequence.op[i], &sequence.model[i], stdout);
        fputc('\n', stdout);
    }
    printf("oracle: %s\n", sequence.differ ? differ_name(sequence.differ) : "agrees");
    return sequence.differ != 0;
}

int main(int argc, char **argv)
{
    struct options p;
    u32 failures;

    parse_options(&p, argc, argv);
    main_pid = getpid();
    port_posix_add_assert_hook(report_crash, NULL);
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    signal(SIGTRAP, on_crash);
    signal(SIGILL, on_crash);
    signal(SIGVTALRM, on_crash);
    ask_host(&oracle.host);
    if (!p.any_kernel && !since(&oracle.host, 18)) {
        printf("oracle: skipped: the library answers as Linux 6.18, this is %u.%u (--any-kernel)\n", oracle.host.major,
               oracle.host.minor);
        return 77;
    }
    print_rules(&oracle.host, stdout);
    choose_calls(&oracle.gen, &p);
    signal(SIGINT, on_end);
    signal(SIGTERM, on_end);
    native_start(&oracle.native, p.child);
    oracle.host.ext4 = oracle.native.on_ext4;
    oracle.host.own_user = oracle.native.own_user;
    model_boot(&oracle.model, &oracle.native, &oracle.host);
    failures = p.replay ? run_replay(&p) : run_seeds(&p);
    native_stop(&oracle.native);
    model_shutdown(&oracle.model);
    return failures ? 1 : 0;
}
