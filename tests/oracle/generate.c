/* SPDX-License-Identifier: MIT */
/* The mix: accesses, calls, processes. */
#include "tests/oracle/generate.h"

#include <string.h>

void generate_init(struct generator *g, struct model *v, const struct host *host, u64 seed)
{
    u8 wanted[NR_ABI_CALLS];

    memcpy(wanted, g->wanted, sizeof(wanted));
    *g = (struct generator){.v = v, .host = host, .nr_procs = 1};
    memcpy(g->wanted, wanted, sizeof(wanted));
    g->state = (seed ^ 0x5851f42d4c957f2dull) * 0x9e3779b97f4a7c15ull | 1;
    for (u32 i = 0; i < 8; i++)
        pick(g, 2);
    g->drop = chance(g, 40);
    g->huge = host->huge && chance(g, 30);
    g->inject = chance(g, 30);
}

static u32 count_procs(const struct model *v)
{
    u32 n = 0;

    for (u32 i = 0; i < ORACLE_PROCS; i++)
        n += v->proc[i] != NULL;
    return n;
}

static void choose_proc(struct generator *g)
{
    if (g->v->proc[g->proc] && !chance(g, 8))
        return;
    do
        g->proc = (u32)pick(g, ORACLE_PROCS);
    while (!g->v->proc[g->proc]);
}

static bool make_access(struct generator *g, struct oracle_op *op)
{
    u64 r = pick(g, 100);

    op->kind = r < 48 ? ORACLE_LOAD : r < 97 ? ORACLE_STORE : ORACLE_EXEC;
    op->arg[0] = some_page(g) + pick(g, PAGE_SIZE);
    op->arg[1] = chance(g, 25) ? 0xc3 : 1 + pick(g, 255);
    return range_readable(g, op->arg[0], 1);
}

static bool make_sum(struct generator *g, struct oracle_op *op)
{
    op->kind = ORACLE_SUM;
    op->arg[0] = chance(g, 10) ? ORACLE_ARENA : some_page(g);
    op->arg[1] = op->arg[0] == ORACLE_ARENA ? ORACLE_ARENA_PAGES : 1 + pick(g, 24);
    return range_readable(g, op->arg[0], op->arg[1] * PAGE_SIZE);
}

static bool make_fork(struct generator *g, struct oracle_op *op)
{
    op->kind = ORACLE_FORK;
    for (u32 i = 0; i < ORACLE_PROCS; i++)
        if (!g->v->proc[i]) {
            op->arg[0] = i;
            return true;
        }
    return false;
}

static bool make_exit(struct generator *g, struct oracle_op *op)
{
    op->kind = ORACLE_EXIT;
    return count_procs(g->v) > 1;
}

static bool make_close(struct generator *g, struct oracle_op *op)
{
    op->kind = ORACLE_CLOSE;
    op->arg[0] = NR_BASE_SLOTS + pick(g, ORACLE_SLOTS - NR_BASE_SLOTS);
    return true;
}

static bool try_op(struct generator *g, struct oracle_op *op)
{
    u64 r = pick(g, 1000);

    *op = (struct oracle_op){.proc = (u8)g->proc};
    if (r < 330)
        return make_access(g, op);
    if (r < 345)
        return make_sum(g, op);
    if (r < 357)
        return make_fork(g, op);
    if (r < 366)
        return make_exit(g, op);
    if (r < 368)
        return make_close(g, op);
    return generate_call(g, op);
}

void generate_op(struct generator *g, u32 n, struct oracle_op *op)
{
    if (!n && g->drop) {
        *op = (struct oracle_op){.kind = ORACLE_DROP};
        return;
    }
    choose_proc(g);
    while (!try_op(g, op) || rule_against(g, op))
        ;
    if (op->kind == ORACLE_EXIT)
        return;
    if (chance(g, 30))
        op->see |= ORACLE_SEE_MAPS;
    if (chance(g, 8))
        op->see |= ORACLE_SEE_MAPS | ORACLE_SEE_PAGES;
    if (chance(g, 2))
        op->see |= ORACLE_SEE_FLAGS;
}
