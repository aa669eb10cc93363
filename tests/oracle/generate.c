/* SPDX-License-Identifier: MIT */
/* The mix: accesses, calls, processes. */
#include "tests/oracle/generate.h"

#include <string.h>

/*
 * Some calls much, some not at all, few advices, few pages: what meets seldom in the usual mix meets often in one of
 * these.
 */
static void choose_mix(struct generator *g)
{
    static const u8 times[] = {0, 1, 2, SWARM_USUAL, SWARM_USUAL, SWARM_USUAL, 16, 60};
    static const u8 pages[] = {4, 8, 16, 32, 64, ORACLE_ARENA_PAGES};

    for (u32 i = 0; i < NR_ABI_CALLS; i++)
        g->times[i] = PICK(g, times);
    g->times[ABI_mmap] = MAX(g->times[ABI_mmap], 2);
    g->nr_favourites = (u8)(chance(g, 30) ? 0 : 1 + pick(g, ARRAY_SIZE(g->favourite)));
    for (u32 i = 0; i < g->nr_favourites; i++)
        g->favourite[i] = (s16)some_advice(g);
    g->arena_pages = PICK(g, pages);
    g->processes = chance(g, 30);
}

void generate_init(struct generator *g, struct model *v, const struct host *host, u64 seed)
{
    u8 wanted[NR_ABI_CALLS];
    bool processes = g->processes, swarm = g->swarm;

    memcpy(wanted, g->wanted, sizeof(wanted));
    *g = (struct generator){.v = v, .host = host, .nr_procs = 1, .processes = processes, .swarm = swarm};
    memcpy(g->wanted, wanted, sizeof(wanted));
    memset(g->times, SWARM_USUAL, sizeof(g->times));
    g->arena_pages = ORACLE_ARENA_PAGES;
    g->state = (seed ^ 0x5851f42d4c957f2dull) * 0x9e3779b97f4a7c15ull | 1;
    for (u32 i = 0; i < 8; i++)
        pick(g, 2);
    g->drop = chance(g, 40);
    g->huge = host->huge && chance(g, 30);
    g->inject = chance(g, 30) && g->host->joins; /* what fails may leave cuts behind */
    if (swarm)
        choose_mix(g);
}

u32 count_procs(const struct model *v)
{
    u32 n = 0;

    for (u32 i = 0; i < ORACLE_PROCS; i++)
        n += v->proc[i] != NULL;
    return n;
}

static void choose_proc(struct generator *g)
{
    if (model_runs(g->v, g->proc) && !chance(g, 8))
        return;
    do
        g->proc = (u32)pick(g, ORACLE_PROCS);
    while (!model_runs(g->v, g->proc));
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
    op->arg[1] = op->arg[0] == ORACLE_ARENA ? g->arena_pages : 1 + pick(g, 24);
    return range_readable(g, op->arg[0], op->arg[1] * PAGE_SIZE);
}

static bool make_fork(struct generator *g, struct oracle_op *op)
{
    static const u64 flags[] = {0,
                                0,
                                0,
                                ORACLE_CLONE_VM,
                                ORACLE_CLONE_VM,
                                ORACLE_CLONE_VM | ORACLE_CLONE_VFORK,
                                ORACLE_CLONE_VM | ORACLE_CLONE_VFORK,
                                ORACLE_CLONE_VFORK};

    op->kind = ORACLE_FORK;
    op->arg[1] = PICK(g, flags);
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

/* Of arguments: none, few, near the limit of all, or more than a small stack takes. */
static bool make_execve(struct generator *g, struct oracle_op *op)
{
    const struct task *t = g->v->proc[g->proc];
    u64 stack = rlimit(t, RLIMIT_STACK_), r = pick(g, 100);

    op->kind = ORACLE_EXECVE;
    op->arg[1] = 1;
    if (stack < (256ul << 10)) {
        op->arg[0] = r < 60 ? 0 : 4;
        op->arg[1] = stack / 4 + 8 * PAGE_SIZE;
    } else if (r < 30) {
        op->arg[0] = pick(g, ORACLE_ENV_MOST + 1);
        op->arg[1] = 1 + pick(g, 3 * PAGE_SIZE);
    } else if (r < 40) {
        op->arg[0] = pick(g, ORACLE_ENV_MOST + 1);
        op->arg[1] = ORACLE_ENV_BYTES - 16 + pick(g, 18);
    }
    return model_can_execve(g->v, op);
}

static bool make_close(struct generator *g, struct oracle_op *op)
{
    op->kind = ORACLE_CLOSE;
    op->arg[0] = NR_BASE_SLOTS + pick(g, ORACLE_SLOTS - NR_BASE_SLOTS);
    return true;
}

/* Rights for every key; key 0 is that of the child's own memory. */
static bool make_pkru(struct generator *g, struct oracle_op *op)
{
    op->kind = ORACLE_PKRU;
    for (u32 key = 1; key < 16; key++)
        op->arg[0] |= (chance(g, 60) ? 0 : pick(g, 4)) << 2 * key;
    return g->host->pkeys;
}

static bool try_op(struct generator *g, struct oracle_op *op)
{
    u64 r = pick(g, 1000);

    *op = (struct oracle_op){.proc = (u8)g->proc};
    if (g->processes && r < 80)
        return r < 40 ? make_fork(g, op) : r < 60 ? make_exit(g, op) : make_execve(g, op);
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
    if (r < 371)
        return make_execve(g, op);
    if (r < 379 && g->host->pkeys)
        return make_pkru(g, op);
    return generate_call(g, op);
}

/* Of CLONE_VFORK the child looks, the parent sleeps: the same only if they share their memory. */
bool can_look_after(const struct oracle_op *op)
{
    if (op->kind == ORACLE_FORK && (op->arg[1] & ORACLE_CLONE_VFORK))
        return op->arg[1] & ORACLE_CLONE_VM;
    return op->kind != ORACLE_EXIT;
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
    if (!can_look_after(op))
        return;
    if (chance(g, 30))
        op->see |= ORACLE_SEE_MAPS;
    if (chance(g, 8))
        op->see |= ORACLE_SEE_MAPS | ORACLE_SEE_PAGES;
    if (chance(g, 2))
        op->see |= ORACLE_SEE_FLAGS;
    if (chance(g, 2) && g->host->major == 6 && g->host->minor == 18)
        op->see |= ORACLE_SEE_PAGES | ORACLE_SEE_NUMBERS;
}
