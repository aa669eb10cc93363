/* SPDX-License-Identifier: MIT */
/*
 * TLB shoot-down: after page tables were changed, every CPU that may hold entries made from the old ones forgets them.
 *
 *   initiator                                  target (mm is loaded there)
 *   ─────────                                  ──────
 *   mm->tlb_gen++                              USER    hits its TLB as it likes
 *   own entries dropped                          │ next block, system call or slow path: work bit seen
 *   for each CPU of mm->cpu_mask with mm loaded: ▼
 *     request into its queue, work bit         takes its requests, slot.tlb_gen follows
 *   wait until none of them is inside a walk   KERNEL  uses no user entry; takes them before it returns to user
 *   tables and frames may be freed             IDLE    has no address space loaded; compares tlb_gen when it loads one
 *
 * Generations (as Linux's arch/x86 keeps them, described in the comments that document `tlb_gen`). mm->tlb_gen counts
 * flushes; a CPU's slot says up to which its entries are good. A request carries its generation: it may be done as a
 * range only if it is the very next one; any gap (the queue was full, CPU was idle) drops the whole address space. So
 * the queue is a hint: a request that did not fit costs time (everything goes), never correctness. A receiver does not
 * look at its mm: when the last task of a process exits on another CPU, that may be freed while it is loaded here.
 *
 * What the initiator waits for. Only for walks and copies in progress (mmu_begin_walk()): they are short and wait for
 * nobody, so two CPUs that shoot at each other cannot deadlock. A target in CPU_USER is not waited for: between two
 * blocks it may be stopped by the front end for as long as that likes, for the initiator itself (qemu's exclusive
 * sections). It may use old entries until its current block ends: accesses that real hardware could have ordered before
 * the interrupt. Its walks see the request first.
 * Rejected: waiting for every target's answer (deadlock with exclusive sections); clearing another CPU's arrays (its
 * LRU moves are not atomic).
 *
 * Invariants
 *   S1  a CPU whose slot for mm is behind mm->tlb_gen has CPU_WORK_TLB_FLUSH posted, or has not got mm loaded;
 *   S2  when tlb_flush() returns, no walk that began before it is still running in mm's tables.
 *
 * Locks: queue_lock (RANK_LEAF) only.
 */
#include "machine/machine_api.h"
#include "machine/mmu.h"
#include "port/port.h"
#include "vm/vm.h"

static u64 range_pages(const struct flush_request *q)
{
    return (q->end - q->start) >> q->stride_shift;
}

static bool is_full(const struct cpu *cpu, const struct flush_request *q)
{
    return !q->end || range_pages(q) > cpu->m->config.tlb.flush_ceiling;
}

/* Owner of u: everything of the loaded address space, which is good for generation `gen` at least from now on. */
static void flush_all_local(struct mmu *u, u64 gen)
{
    struct asid_slot *s = &u->slot[u->asid];

    mmu_flush_asid(u, u->asid);
    count_vm_event(u->cpu, NR_TLB_LOCAL_FLUSH_ALL);
    charge(u->cpu, COST_TLB_FLUSH_ALL);
    s->tlb_gen = MAX(s->tlb_gen, gen);
}

/* Owner of u, whose slot is that of q's address space. */
static void flush_local(struct mmu *u, const struct flush_request *q)
{
    struct cpu *cpu = u->cpu;
    struct asid_slot *s = &u->slot[u->asid];

    if (s->tlb_gen >= q->gen)
        return;
    if (is_full(cpu, q) || q->gen != s->tlb_gen + 1) {
        flush_all_local(u, q->gen);
        return;
    }
    mmu_flush_range(u, u->asid, q->start, q->end, q->stride_shift, q->freed_tables);
    count_vm_events(cpu, NR_TLB_LOCAL_FLUSH_ONE, range_pages(q));
    charge_n(cpu, COST_TLB_FLUSH_ONE, range_pages(q));
    s->tlb_gen = q->gen;
}

/* -- receiver ------------------------------------------------------------------------------------------------------ */

/* Copy the queue out; the number of requests, those that did not fit included: *lost is the latest of them. */
static u32 dequeue(struct mmu *u, struct flush_request *list, struct flush_request *lost)
{
    u32 n;

    spin_lock(u->cpu, &u->queue_lock);
    n = u->nr_queued;
    memcpy(list, u->queue, MIN(n, FLUSH_QUEUE) * sizeof(list[0]));
    *lost = u->lost;
    u->nr_queued = 0;
    u->lost.ctx_id = 0;
    atomic_fetch_and(&u->cpu->work, ~(u32)CPU_WORK_TLB_FLUSH);
    spin_unlock(u->cpu, &u->queue_lock);
    return n;
}

void mmu_take_requests(struct mmu *u)
{
    struct flush_request list[FLUSH_QUEUE];
    struct flush_request lost;
    struct cpu *cpu = u->cpu;
    u32 n = dequeue(u, list, &lost);
    u64 ctx_id = atomic_load_explicit(&u->ctx_id, memory_order_relaxed);

    if (!n)
        return;
    count_vm_event(cpu, NR_TLB_REMOTE_FLUSH_RECEIVED);
    charge(cpu, COST_IPI_RECEIVE);
    if (!ctx_id)
        return;
    for (u32 i = 0; i < MIN(n, FLUSH_QUEUE); i++)
        if (list[i].ctx_id == ctx_id)
            flush_local(u, &list[i]);
    if (n > FLUSH_QUEUE)
        flush_all_local(u, lost.ctx_id == ctx_id ? lost.gen : 0);
}

/* -- initiator ----------------------------------------------------------------------------------------------------- */

/* True: the target has q's address space loaded and was told. */
static bool enqueue(struct cpu *cpu, struct cpu *target, const struct flush_request *q)
{
    struct mmu *u = cpu_mmu(target);

    if (atomic_load(&u->ctx_id) != q->ctx_id)
        return false;
    spin_lock(cpu, &u->queue_lock);
    if (u->nr_queued < FLUSH_QUEUE)
        u->queue[u->nr_queued] = *q;
    else if (u->lost.ctx_id != q->ctx_id || u->lost.gen < q->gen)
        u->lost = *q;
    u->nr_queued = MIN(u->nr_queued + 1, FLUSH_QUEUE + 1);
    cpu_post_work(cpu->m, target->id, CPU_WORK_TLB_FLUSH);
    spin_unlock(cpu, &u->queue_lock);
    return true;
}

static void wait_for_walk(struct cpu *target)
{
    struct mmu *u = cpu_mmu(target);
    u32 seq = atomic_load(&u->walk_seq);

    if (!(seq & 1))
        return;
    while (atomic_load(&u->walk_seq) == seq)
        port_yield();
}

/* fn for each other CPU in the mask; the number of CPUs told. */
static u32 tell_others(struct cpu *cpu, const u64 *mask, const struct flush_request *q)
{
    struct machine *m = cpu->m;
    u32 told = 0;

    for (u32 w = 0; w < DIV_ROUND_UP(m->nr_cpus, 64); w++)
        for (u64 bits = mask[w]; bits; bits &= bits - 1) {
            u32 id = w * 64 + (u32)__builtin_ctzll(bits);

            if (id != cpu->id)
                told += enqueue(cpu, &m->cpus[id], q);
        }
    return told;
}

static void wait_for_others(struct cpu *cpu, const u64 *mask)
{
    struct machine *m = cpu->m;

    for (u32 w = 0; w < DIV_ROUND_UP(m->nr_cpus, 64); w++)
        for (u64 bits = mask[w]; bits; bits &= bits - 1) {
            u32 id = w * 64 + (u32)__builtin_ctzll(bits);

            if (id != cpu->id)
                wait_for_walk(&m->cpus[id]);
        }
}

void tlb_flush(struct cpu *cpu, struct mm *mm, va_t start, va_t end, u32 stride_shift, bool freed_tables)
{
    struct mmu *u = cpu_mmu(cpu);
    struct flush_request q = {
        .ctx_id = mm->ctx_id, .start = start, .end = end, .stride_shift = stride_shift, .freed_tables = freed_tables};
    u64 mask[MAX_CPUS / 64];

    q.gen = atomic_fetch_add(&mm->tlb_gen, 1) + 1;
    if (atomic_load(&u->ctx_id) == mm->ctx_id)
        flush_local(u, &q);
    for (u32 w = 0; w < DIV_ROUND_UP(cpu->m->nr_cpus, 64); w++)
        mask[w] = atomic_load(&mm->cpu_mask[w]);
    if (!tell_others(cpu, mask, &q))
        return;
    count_vm_event(cpu, NR_TLB_REMOTE_FLUSH);
    charge(cpu, COST_IPI);
    wait_for_others(cpu, mask);
}
