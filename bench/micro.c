/* SPDX-License-Identifier: MIT */
/* quire-bench: figures per operation. See bench.h. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

#define ROUND_NS 2000000u
#define MAX_ROUNDS 101

static int rounds = 15;
static const char *filter;
static FILE *json;
static bool json_first = true;
static int missed;

struct series_run {
    const struct bench_series *s;
    void *ctx;
    bool there;
    uint64_t n;
    double ns[MAX_ROUNDS];
    double median;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Operations per round: as many as take about ROUND_NS. Warms up by the way. */
static uint64_t calibrate(const struct series_run *r, uint64_t fixed_n)
{
    uint64_t n = 1;

    if (fixed_n)
        return fixed_n;
    for (;;) {
        uint64_t ns = r->s->run(r->ctx, n);

        if (ns >= ROUND_NS / 2 || n >= 1u << 26)
            return n;
        n *= ns < ROUND_NS / 50 ? 10 : 2;
    }
}

static void prepare(struct series_run *r, const struct bench_series *s, uint64_t fixed_n)
{
    *r = (struct series_run){.s = s};
    if (!s->run)
        return;
    r->ctx = s->setup ? s->setup(s->param) : NULL;
    r->there = !s->setup || r->ctx;
    if (r->there)
        r->n = calibrate(r, fixed_n);
}

static void measure(struct series_run *r, int nr)
{
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < nr; i++)
            if (r[i].there)
                r[i].ns[round] = (double)r[i].s->run(r[i].ctx, r[i].n) / (double)r[i].n;
    for (int i = 0; i < nr; i++) {
        if (!r[i].there)
            continue;
        qsort(r[i].ns, (size_t)rounds, sizeof(double), compare_doubles);
        r[i].median = r[i].ns[rounds / 2];
        if (r[i].s->teardown)
            r[i].s->teardown(r[i].ctx);
    }
}

static void print_json(const struct bench_case *c, const struct series_run *r, int nr)
{
    fprintf(json, "%s\n  {\"name\": \"%s\", \"ns\": %.2f, \"best_ns\": %.2f", json_first ? "" : ",", c->name,
            r[0].median, r[0].ns[0]);
    json_first = false;
    if (c->target > 0)
        fprintf(json, ", \"target_ns\": %.0f", c->target);
    fprintf(json, ", \"peers\": {");
    for (int i = 1; i < nr; i++) {
        fprintf(json, "%s\"%s\": ", i > 1 ? ", " : "", r[i].s->name);
        if (r[i].there)
            fprintf(json, "{\"ns\": %.2f, \"ratio\": %.3f}", r[i].median, r[0].median / r[i].median);
        else
            fprintf(json, "null");
    }
    fprintf(json, "}}");
}

/* Nanoseconds, or bytes where the row's unit is MB. */
static void print_figure(const struct bench_case *c, double x)
{
    if (c->unit)
        printf("%9.1f %s", x / 1e6, c->unit);
    else if (x < 10e3)
        printf("%9.1f ns", x);
    else if (x < 10e6)
        printf("%9.1f us", x / 1e3);
    else
        printf("%9.1f ms", x / 1e6);
}

static void print_case(const struct bench_case *c, const struct series_run *r, int nr)
{
    printf("%-46s ", c->name);
    print_figure(c, r[0].median);
    if (c->target > 0) {
        bool ok = r[0].median <= c->target;

        printf("  %s", ok ? "within" : "OVER  ");
        print_figure(c, c->target);
        missed += !ok;
    }
    printf("\n");
    for (int i = 1; i < nr; i++) {
        printf("    %-42s ", r[i].s->name);
        if (r[i].there) {
            print_figure(c, r[i].median);
            printf("  ours / this = %.2f\n", r[0].median / r[i].median);
        } else {
            printf("not installed\n");
        }
    }
    if (c->note)
        printf("    (%s)\n", c->note);
    fflush(stdout);
}

static void run_case(const struct bench_case *c)
{
    struct series_run r[BENCH_PEERS + 1];
    int nr = 1;

    if (filter && !strstr(c->name, filter))
        return;
    prepare(&r[0], &c->ours, c->fixed_n);
    if (!r[0].there) {
        printf("%-46s not available\n", c->name);
        return;
    }
    for (int i = 0; i < BENCH_PEERS && c->peer[i].name; i++)
        prepare(&r[nr++], &c->peer[i], c->fixed_n);
    measure(r, nr);
    print_case(c, r, nr);
    if (json)
        print_json(c, r, nr);
}

/* Other mallocs want static TLS that a program loaded before does not have: say so to the loader, once. */
static void reserve_static_tls(char **argv)
{
    if (getenv("GLIBC_TUNABLES"))
        return;
    setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=65536", 1);
    execv("/proc/self/exe", argv);
}

static void usage(const char *program)
{
    fprintf(stderr,
            "Usage: %s [--filter TEXT] [--rounds N] [--json FILE]\nRows whose name contains TEXT; medians of N rounds "
            "(%d).\n",
            program, rounds);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"filter", required_argument, NULL, 'f'},
        {"rounds", required_argument, NULL, 'r'},
        {"json", required_argument, NULL, 'j'},
        {0},
    };
    int opt;

    reserve_static_tls(argv);
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'f')
            filter = optarg;
        else if (opt == 'j')
            json = fopen(optarg, "w");
        else if (opt == 'r')
            rounds = atoi(optarg);
        else
            usage(argv[0]);
        if (opt == 'j' && !json) {
            fprintf(stderr, "quire-bench: %s: %s\n", optarg, strerror(errno));
            return 1;
        }
    }
    if (optind != argc || rounds < 1 || rounds > MAX_ROUNDS)
        usage(argv[0]);
    if (json)
        fprintf(json, "[");
    for (size_t i = 0; i < nr_alloc_cases; i++)
        run_case(&alloc_cases[i]);
    for (size_t i = 0; i < nr_vm_cases; i++)
        run_case(&vm_cases[i]);
    for (size_t i = 0; i < nr_mmu_cases; i++)
        run_case(&mmu_cases[i]);
    for (size_t i = 0; i < nr_machine_cases; i++)
        run_case(&machine_cases[i]);
    if (json) {
        fprintf(json, "\n]\n");
        fclose(json);
    }
    if (missed)
        printf("%d over their targets\n", missed);
    return 0;
}
