/* SPDX-License-Identifier: MIT */
/*
 * The TCG plugin: qemu's callbacks, and the path that every access takes. follow.h tells what the other files do.
 *
 * The access callback. One direct callback per access; with one machine it is: count, compare the first way of the
 * TLB's set (mmu_hit), done. The block callback passes at once when the block lies in the page of the one before: that
 * page is the most recently used of its set, so the TLB would not change.
 *
 * What qemu 7.2 does, found by experiment (docs/frontend.md): the meaning of qemu_plugin_meminfo_t's bits, tested again
 * at every install against qemu's own functions.
 */
#define _GNU_SOURCE
#include "follow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "port/posix/port_posix.h"
#include "qemu_plugin.h"
#include "record.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/* -- accesses ------------------------------------------------------------------------------------------------------ */

/* qemu 7.2: bits 4.. of the info are the memory operation,
 * whose low three bits are log2 of the size; bit 17: it stores. */
static inline u32 info_size(qemu_plugin_meminfo_t info)
{
    return 1u << (info >> 4 & 7);
}

static inline enum mmu_access_kind info_kind(qemu_plugin_meminfo_t info)
{
    return (enum mmu_access_kind)(info >> 17 & 1);
}

static inline bool crosses_page(va_t va, u32 size)
{
    return (va & ~PAGE_MASK) + size > PAGE_SIZE;
}

/* What the first way did not decide. `set`: the first level's set of va; `want`: the entry that would grant it. */
static inline void access_ways(struct vcpu_hot *h, u32 i, va_t va, qemu_plugin_meminfo_t info, u64 *set, u64 want)
{
    u64 care = ~TLB_W | (want & TLB_W), e0 = set[0], e1 = set[1], e2 = set[2], e3 = set[3];
    struct vcpu *v = h->vcpu;

    if (!((e1 ^ want) & care)) {
        set[0] = e1;
        set[1] = e0;
    } else if (!((e2 ^ want) & care)) {
        set[0] = e2;
        set[1] = e0;
        set[2] = e1;
    } else if (!((e3 ^ want) & care)) {
        set[0] = e3;
        set[1] = e0;
        set[2] = e1;
        set[3] = e2;
    } else if (v && v->cpu[i]) {
        u32 size = info_size(info);

        if (crosses_page(va, size) || !mmu_tlb_hit(v->mmu[i], va, info_kind(info)))
            vcpu_access_slow(v, i, va, size, info_kind(info));
    }
}

/*
 * mmu_hit()'s first compare. The set is that of the first byte, the page that of a byte LONGEST_ACCESS - 1 further: an
 * access that may cross a page so looks for a page in a set where it cannot be (sets >= 2), and goes the slow way
 * without a test of its own.
 */
#define LONGEST_ACCESS 16

struct first_way {
    u64 *set;
    u64 want;
    u64 differs; /* 0: granted */
};

static inline struct first_way look(const struct vcpu_hot *h, u32 i, qemu_plugin_meminfo_t info, va_t va)
{
    const struct tlb_view *t = &h->view[i];
    u64 store = info >> 17 & 1;
    struct first_way w;

    w.set = (u64 *)(void *)(t->near + (va >> (PAGE_SHIFT - 6) & t->near_mask));
    w.want = ((va + LONGEST_ACCESS - 1) & PAGE_MASK) | t->tag | store;
    w.differs = (*w.set ^ w.want) & (~TLB_W | store);
    return w;
}

static __noinline void access_first(struct vcpu_hot *h, qemu_plugin_meminfo_t info, va_t va, u64 *set, u64 want)
{
    access_ways(h, 0, va, info, set, want);
}

/* Some machine's first way differs: each on its own. */
static __noinline void access_all(struct vcpu_hot *h, qemu_plugin_meminfo_t info, va_t va)
{
    for (u32 i = 0; i < process.nr_machines; i++) {
        struct first_way w = look(h, i, info, va);

        if (w.differs)
            access_ways(h, i, va, info, w.set, w.want);
    }
}

static void mem_one(unsigned int index, qemu_plugin_meminfo_t info, uint64_t va, void *unused)
{
    struct vcpu_hot *h = &hot[index];
    struct first_way w = look(h, 0, info, va);

    h->accesses++;
    if (unlikely(w.differs))
        access_first(h, info, va, w.set, w.want);
}

/* One branch for both: with two, the callback keeps nothing across a call and so saves no register. */
static void mem_two(unsigned int index, qemu_plugin_meminfo_t info, uint64_t va, void *unused)
{
    struct vcpu_hot *h = &hot[index];

    h->accesses++;
    if (unlikely(look(h, 0, info, va).differs | look(h, 1, info, va).differs))
        access_all(h, info, va);
}

static void mem_many(unsigned int index, qemu_plugin_meminfo_t info, uint64_t va, void *unused)
{
    struct vcpu_hot *h = &hot[index];
    u64 differs = 0;

    h->accesses++;
    for (u32 i = 0; i < process.nr_machines; i++)
        differs |= look(h, i, info, va).differs;
    if (unlikely(differs))
        access_all(h, info, va);
}

/* For geometries with a single set. */
static void mem_any(unsigned int index, qemu_plugin_meminfo_t info, uint64_t va, void *unused)
{
    struct vcpu *v = &vcpus[index];
    u32 size = info_size(info);

    hot[index].accesses++;
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i] && (crosses_page(va, size) || !mmu_hit(v->mmu[i], va, info_kind(info))))
            vcpu_access_slow(v, i, va, size, info_kind(info));
}

/* -- blocks -------------------------------------------------------------------------------------------------------- */

/* userdata: first byte's page | BLOCK_CROSSES, where the block goes on in the next page. */
#define BLOCK_CROSSES 2ul

static __noinline void block_slow(struct vcpu *v, u64 block)
{
    va_t page = block & PAGE_MASK;

    if (unlikely(v->state != VCPU_USER)) {
        if (v->state == VCPU_NONE)
            return;
        thread_first_block(v);
        if (!process.loaded)
            image_load(v, page);
    }
    vcpu_poll(v);
    for (u32 i = 0; i < process.nr_machines; i++) {
        if (!v->cpu[i])
            continue;
        if (!mmu_hit(v->mmu[i], page, MMU_EXEC))
            vcpu_access_slow(v, i, page, 1, MMU_EXEC);
        if (block & BLOCK_CROSSES && v->cpu[i] && !mmu_hit(v->mmu[i], page + PAGE_SIZE, MMU_EXEC))
            vcpu_access_slow(v, i, page + PAGE_SIZE, 1, MMU_EXEC);
    }
    vcpu_hot(v)->code_page = block & BLOCK_CROSSES ? page + PAGE_SIZE : page;
}

/* The same block path for any number of machines; `nr` is a constant where it is 1 or 2. */
static inline void block_exec(unsigned int index, u64 block, u32 nr)
{
    struct vcpu_hot *h = &hot[index];
    u64 differs = 0;
    u32 work = 0;

    h->blocks++;
    for (u32 i = 0; i < nr; i++)
        work |= atomic_load_explicit(h->view[i].work, memory_order_relaxed);
    if (likely(block == h->code_page) && likely(!work))
        return;
    /* Another page: most often it is the latest of its set, too. BLOCK_CROSSES is no bit of a first-level entry. */
    for (u32 i = 0; i < nr; i++) {
        const struct tlb_view *t = &h->view[i];

        differs |= *(u64 *)(void *)(t->code + (block >> (PAGE_SHIFT - 6) & t->code_mask)) ^ (block | t->tag);
    }
    if (likely(!(differs & ~TLB_W) && !work))
        h->code_page = block;
    else
        block_slow(h->vcpu, block);
}

static void block_one(unsigned int index, void *block)
{
    block_exec(index, (u64)(uintptr_t)block, 1);
}

static void block_two(unsigned int index, void *block)
{
    block_exec(index, (u64)(uintptr_t)block, 2);
}

static void block_many(unsigned int index, void *block)
{
    block_exec(index, (u64)(uintptr_t)block, process.nr_machines);
}

/* -- recording: see record.h --------------------------------------------------------------------------------------- */

static void mem_recorded(unsigned int index, qemu_plugin_meminfo_t info, uint64_t va, void *unused)
{
    struct recorder *r = recorders[index];
    u64 store = info >> 17 & 1;

    if (likely(r)) {
        record_data(&vcpus[index], r, va, store);
        if (unlikely(crosses_page(va, info_size(info))))
            record_data(&vcpus[index], r, va + PAGE_SIZE, store);
    }
    if (process.nr_machines)
        mem_any(index, info, va, unused);
    else
        hot[index].accesses++;
}

/* A block of a thread that is recorded: its turn, work posted to its CPUs, what is recorded of it. */
static void record_one_block(struct vcpu *v, struct recorder *r, u64 block)
{
    u32 work = 0;

    if (unlikely(++r->turn % SLICE_BLOCKS == 0))
        baton_yield(v);
    for (u32 i = 0; i < process.nr_machines; i++)
        work |= atomic_load_explicit(vcpu_hot(v)->view[i].work, memory_order_relaxed);
    if (unlikely(work))
        vcpu_poll(v);
    record_block(v, r, block & PAGE_MASK);
    if (unlikely(block & BLOCK_CROSSES))
        record_block(v, r, (block & PAGE_MASK) + PAGE_SIZE);
}

static void block_recorded(unsigned int index, void *userdata)
{
    struct vcpu *v = &vcpus[index];
    u64 block = (u64)(uintptr_t)userdata;
    struct recorder *r = recorders[index];

    if (likely(r))
        record_one_block(v, r, block);
    if (unlikely(v->state != VCPU_USER)) {
        hot[index].blocks++;
        block_slow(v, block);
        if (recorders[index])
            record_one_block(v, recorders[index], block);
    } else {
        block_exec(index, block, process.nr_machines);
    }
}

/* -- translation --------------------------------------------------------------------------------------------------- */

static qemu_plugin_vcpu_mem_cb_t choose_mem(void)
{
    if (process.recording)
        return mem_recorded;
    for (u32 i = 0; i < process.nr_machines; i++)
        if (process.machine[i]->config.tlb.l1d_4k.sets < 2)
            return mem_any;
    return process.nr_machines == 1 ? mem_one : process.nr_machines == 2 ? mem_two : mem_many;
}

static qemu_plugin_vcpu_udata_cb_t choose_block(void)
{
    if (process.recording)
        return block_recorded;
    return process.nr_machines == 1 ? block_one : process.nr_machines == 2 ? block_two : block_many;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t n = qemu_plugin_tb_n_insns(tb);
    u64 first = qemu_plugin_tb_vaddr(tb), last = first;
    qemu_plugin_vcpu_mem_cb_t mem = choose_mem();

    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

        last = qemu_plugin_insn_vaddr(insn) + qemu_plugin_insn_size(insn) - 1;
        qemu_plugin_register_vcpu_mem_cb(insn, mem, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
    first = (first & PAGE_MASK) | ((last ^ first) & PAGE_MASK ? BLOCK_CROSSES : 0);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, choose_block(), QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)first);
}

/* -- vCPUs and system calls ---------------------------------------------------------------------------------------- */

static struct vcpu *vcpu_of_thread(u32 tid)
{
    for (u32 i = 0; i < process.vcpu_top; i++)
        if (vcpus[i].state != VCPU_NONE && vcpus[i].tid == tid)
            return &vcpus[i];
    return NULL;
}

/* Runs in the thread that creates the vCPU. */
static void vcpu_init(qemu_plugin_id_t id, unsigned int index)
{
    struct vcpu *parent;

    if (index >= MAX_VCPUS)
        abort();
    parent = vcpu_of_thread((u32)syscall(SYS_gettid));
    vcpu_clear(&vcpus[index]);
    process.vcpu_top = MAX(process.vcpu_top, index + 1); /* qemu makes vCPUs one at a time */
    vcpus[index].state = VCPU_NEW;
    if (parent)
        thread_started(parent, &vcpus[index]);
}

static void vcpu_exit(qemu_plugin_id_t id, unsigned int index)
{
    if (vcpus[index].state != VCPU_NONE)
        thread_exit(&vcpus[index]);
}

static void on_syscall(qemu_plugin_id_t id, unsigned int index, int64_t nr, uint64_t a1, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    const u64 arg[6] = {a1, a2, a3, a4, a5, a6};

    if (vcpus[index].state != VCPU_NONE)
        syscall_before(&vcpus[index], nr, arg);
}

static void on_syscall_ret(qemu_plugin_id_t id, unsigned int index, int64_t nr, int64_t ret)
{
    if (vcpus[index].state != VCPU_NONE)
        syscall_after(&vcpus[index], nr, ret);
}

/* -- qemu's own messages ------------------------------------------------------------------------------------------- */

/* What qemu prints about the guest ("uncaught target signal") goes to the report, not into the program's stderr. */
static ssize_t message_write(void *unused, const char *text, size_t len)
{
    session_notice(process.s, "%.*s", (int)(len && text[len - 1] == '\n' ? len - 1 : len), text);
    return (ssize_t)len;
}

static void redirect_messages(void)
{
    FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = message_write});

    if (f) {
        setvbuf(f, NULL, _IOLBF, 512);
        stderr = f;
    }
}

/* -- install ------------------------------------------------------------------------------------------------------- */

static bool info_bits_ok(void)
{
    for (u32 size = 0; size <= 4; size++)
        for (u32 rw = 1; rw <= 3; rw++) {
            qemu_plugin_meminfo_t info = rw << 16 | size << 4;

            if (qemu_plugin_mem_size_shift(info) != size || qemu_plugin_mem_is_store(info) != (rw >> 1))
                return false;
        }
    return true;
}

static int attach(int launcher, int fd, u32 slot, const char *target)
{
    struct session *s = session_attach(launcher, fd);

    if (!s)
        return -errno;
    process.s = s;
    process.slot = &s->proc[slot];
    process.slot_index = slot;
    for (u32 a = 0; a < NR_GUEST_ARCHS; a++)
        if (strcmp(guest_arch_name[a], target) == 0)
            process.arch = (enum guest_arch)a;
    process.nr_machines = s->nr_machines;
    for (u32 i = 0; i < s->nr_machines; i++) {
        int handle = port_posix_open_handle(launcher, s->machine[i].handle);

        if (handle < 0)
            return handle;
        process.machine[i] = machine_attach(handle, (void *)(uintptr_t)s->machine[i].addr);
        port_posix_close_handle(handle);
        if (IS_ERR(process.machine[i]))
            return PTR_ERR(process.machine[i]);
    }
    return 0;
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    int launcher = 0, fd = -1, err;
    unsigned int slot = SESSION_PROCS;

    for (int i = 0; i < argc; i++)
        if (sscanf(argv[i], "session=%d.%d", &launcher, &fd) != 2)
            sscanf(argv[i], "slot=%u", &slot);
    if (slot >= SESSION_PROCS) {
        fprintf(stderr, "quire: the plugin is started by `quire run` only\n");
        return 1;
    }
    err = attach(launcher, fd, slot, info->target_name);
    if (err) {
        fprintf(stderr, "quire: process %d cannot reach the machines (%s); it runs without being followed\n", getpid(),
                strerror(-err));
        return 0;
    }
    if (!info_bits_ok()) {
        fprintf(stderr, "quire: this qemu is not 7.2: its plugin interface differs\n");
        return 1;
    }
    redirect_messages();
    syscall_init();
    if (process.s->trace.on)
        record_attach();
    qemu_plugin_register_vcpu_init_cb(id, vcpu_init);
    qemu_plugin_register_vcpu_exit_cb(id, vcpu_exit);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_vcpu_syscall_ret_cb(id, on_syscall_ret);
    return 0;
}
