/* SPDX-License-Identifier: MIT */
/*
 * A sequence that differs is run again, with the same seed. The model does the same each time, and so does the kernel,
 * but for what the host does in between: reclaim, write-back, compaction, monitors of accesses. So:
 *
 *   SAME_RUNS runs differ at the same op in the same way      a disagreement
 *   a run agrees                                              the host has interfered, if that is what it can do
 *                                                             (DIFFER_HOST) and its counters have moved; else the sequence
 *                                                             is run after those before it, which may have left something
 *   neither, in MOST_RUNS                                     the host is at work all the time; it is waited for
 */
#include <stdio.h>
#include <unistd.h>

#include "tests/oracle/again.h"

#define SAME_RUNS 3u /* the first one counts */
#define MOST_RUNS 12u
#define SEQUENCES_BEFORE 4u
#define WAIT_US 20000u /* twice as long each time: 80 s in all, at most */

struct seen {
    u32 nr;
    struct {
        u32 differ, at, times;
    } run[MOST_RUNS + 2];
};

static u32 lowest(u32 bits)
{
    return bits & -bits;
}

void print_difference(const struct sequence *s, FILE *out)
{
    fprintf(out, "oracle: seed %#lx, %u ops: %s differs%s at op %u:\n  ", (unsigned long)s->seed, s->nr,
            differ_name(s->differ), s->differ & DIFFER_HOST ? " (perhaps the host's work)" : "", s->at);
    print_op(&s->op[s->at], out);
    fprintf(out, "\n  kernel: ");
    print_result(&s->op[s->at], &s->native[s->at], out);
    fprintf(out, "\n  model:  ");
    print_result(&s->op[s->at], &s->model[s->at], out);
    fputc('\n', out);
    print_pages_differ(&s->pages, out);
}

/* How often the sequence has differed so by now. */
static u32 count(struct seen *seen, const struct sequence *s)
{
    u32 i = 0;

    while (i < seen->nr && (seen->run[i].differ != lowest(s->differ) || seen->run[i].at != s->at))
        i++;
    if (i == seen->nr)
        seen->nr++;
    seen->run[i].differ = lowest(s->differ);
    seen->run[i].at = s->at;
    return ++seen->run[i].times;
}

/* Does it differ so again, but only after those before it? */
static bool differs_after_others(struct oracle *o, struct sequence *s, u32 steps, u32 differ, u32 at)
{
    struct host_work before, after;
    u64 seed = s->seed;

    for (u64 i = SEQUENCES_BEFORE; i > 0; i--)
        run_generated(o, s, seed - i, steps);
    host_work_read_now(&before);
    run_generated(o, s, seed, steps);
    host_work_read_now(&after);
    if (lowest(s->differ) != lowest(differ) || s->at != at || host_has_worked(&before, &after, s->differ))
        return false;
    fprintf(stderr, "oracle: only after the sequences before it: --seed %#lx --seeds %u\n",
            (unsigned long)(seed - SEQUENCES_BEFORE), SEQUENCES_BEFORE + 1);
    return true;
}

/* True: it is a disagreement. */
static bool runs_settle(struct oracle *o, struct sequence *s, u32 steps)
{
    struct seen seen = {0};
    useconds_t pause = WAIT_US;
    struct host_work before, after;

    count(&seen, s);
    for (u32 i = 0; i < MOST_RUNS; i++) {
        if (i == 1)
            restart(o); /* the host may have brought in a page of the supervisor's, of which all are forks */
        host_work_read_now(&before);
        run_generated(o, s, s->seed, steps);
        host_work_read_now(&after);
        if (!s->differ)
            return false;
        if (host_has_worked(&before, &after, s->differ)) {
            if (s->differ & DIFFER_WRITTEN)
                continue; /* nothing to wait for: there is always somebody who writes */
            usleep(pause);
            pause = MIN(pause * 2, 10000000u);
        } else if (count(&seen, s) == SAME_RUNS) {
            return true;
        }
    }
    return false;
}

enum verdict run_again(struct oracle *o, struct sequence *s, u32 steps, const struct host_work *before)
{
    u32 differ = s->differ, at = s->at;
    struct host_work after;

    host_work_read_now(&after);
    print_difference(s, stderr);
    if (differ & DIFFER_LONG)
        return TOO_LONG;
    fprintf(stderr, "oracle: the host, meanwhile:");
    print_host_work(before, &after, stderr);
    fprintf(stderr, "; once more\n");
    if (runs_settle(o, s, steps))
        return DISAGREES;
    host_work_read_now(&after);
    if (host_has_worked(before, &after, differ))
        return HOST_WORKED;
    if (!s->differ && differs_after_others(o, s, steps, differ, at))
        return DISAGREES;
    return differ & DIFFER_HOST ? HOST_MAYBE : SEEN_ONCE;
}
