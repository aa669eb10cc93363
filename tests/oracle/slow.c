/* SPDX-License-Identifier: MIT */
/*
 * --slowest: what takes the kernel long may take it minutes with another seed; such ops get a rule (rules.c). Other
 * processes take their CPU time, too: sequences with slow ops are run again, and the shortest time counts.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "tests/oracle/again.h"

#define AGAIN_RUNS 3u

static u64 clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

void slowest_begin(struct slowest *w, u32 wanted)
{
    w->wanted = MIN(wanted, SLOW_MOST);
    w->nr = 0;
    w->cycles = __rdtsc();
    w->ns = clock_ns();
}

static void add(struct slowest *w, const struct slow_op *op)
{
    u32 at = w->nr;

    if (op->cycles >> 63)
        return; /* two CPUs' counters that do not agree */
    while (at > 0 && w->op[at - 1].cycles < op->cycles)
        at--;
    if (at == w->wanted)
        return;
    w->nr = MIN(w->nr + 1, w->wanted);
    memmove(w->op + at + 1, w->op + at, (w->nr - at - 1) * sizeof(*op));
    w->op[at] = *op;
}

static bool is_slow(const struct slowest *w, u64 cycles)
{
    return w->nr < w->wanted || cycles > w->op[w->nr - 1].cycles;
}

/* The least of what is known of each and of the last run. */
static void keep_least(struct slowest *w, const struct sequence *s, const struct oracle_shared *shared)
{
    for (u32 i = 0; i < s->nr; i++) {
        w->least[i][SLOW_OP] = MIN(w->least[i][SLOW_OP], s->native[i].cycles);
        w->least[i][SLOW_LOOK] = MIN(w->least[i][SLOW_LOOK], s->native[i].look_cycles);
    }
    w->end = MIN(w->end, shared->end_cycles);
}

/* Something that would be among them? */
static bool has_slow(const struct slowest *w, const struct sequence *s)
{
    bool found = is_slow(w, w->end);

    for (u32 i = 0; i < s->nr && !found; i++)
        found = is_slow(w, w->least[i][SLOW_OP]) || is_slow(w, w->least[i][SLOW_LOOK]);
    return found;
}

void slowest_add(struct slowest *w, struct oracle *o, struct sequence *s, u32 steps)
{
    if (!w->wanted || s->differ)
        return;
    memset(w->least, 0xff, sizeof(w->least));
    w->end = ~0ul;
    keep_least(w, s, o->native.shared);
    for (u32 i = 0; i < AGAIN_RUNS && has_slow(w, s) && !s->differ; i++) {
        run_generated(o, s, s->seed, steps);
        keep_least(w, s, o->native.shared);
    }
    for (u32 i = 0; i < s->nr; i++)
        for (u32 what = SLOW_OP; what <= SLOW_LOOK; what++)
            if (is_slow(w, w->least[i][what]))
                add(w, &(struct slow_op){w->least[i][what], s->seed, i, what, s->op[i], s->native[i]});
    if (is_slow(w, w->end))
        add(w, &(struct slow_op){.cycles = w->end, .seed = s->seed, .at = s->nr, .what = SLOW_END});
}

void print_slowest(const struct slowest *w, FILE *out)
{
    double per_ms = (double)(__rdtsc() - w->cycles) / ((double)(clock_ns() - w->ns) / 1e6);

    for (u32 i = 0; i < w->nr; i++) {
        const struct slow_op *op = &w->op[i];

        fprintf(out, "%9.2f ms  seed %#lx op %u  ", (double)op->cycles / per_ms, (unsigned long)op->seed, op->at);
        if (op->what == SLOW_END) {
            fprintf(out, "end of the sequence\n");
            continue;
        }
        fprintf(out, "%s", op->what == SLOW_LOOK ? "look after " : "");
        print_op(&op->op, out);
        fprintf(out, " = ");
        print_result(&op->op, &op->result, out);
        fputc('\n', out);
    }
}
