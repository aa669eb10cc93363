/* SPDX-License-Identifier: MIT */
/*
 * The TCG plugin: qemu's callbacks, and the path that every access takes. follow.h tells what the other files do.
 *
 * One direct callback for each access, one for each block: count, look at the recent pages (recent.h), done.
 *
 * What qemu 7.2 does, found by experiment (docs/frontend.md): the meaning of qemu_plugin_meminfo_t's bits, tested again
 * at every install against qemu's own functions.
 */
#define _GNU_SOURCE
#include "access.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "insn.h"
#include "port/posix/port_posix.h"
#include "record.h"
#include "signals.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/* -- accesses and blocks ------------------------------------------------------------------------------------------- */

/* As this host's CPU can run them. */
static access_miss_fn *on_access_miss;
static block_miss_fn *on_block_miss;
static qemu_plugin_vcpu_mem_cb_t on_mem; /* of a recorded program */

static __noinline void mem_second(struct vcpu_hot *h, qemu_plugin_meminfo_t info, va_t va)
{
    u64 n = data_class(va), store = info >> 17 & 1, want = (va & PAGE_MASK) | store, care = store - 2;

    if (crosses_page(va, info_size(info)) ||
        (((h->data.page[0][n] ^ want) & care) && !recent_hit(&h->data, n, want, care)))
        on_access_miss(h, info, va);
}

/*
 * The class is that of the first byte's page, the page that of a byte LONGEST_ACCESS - 1 further: an access that may
 * cross a page so looks for a page where it cannot be (two classes or more), and needs no test of its own.
 */
#define LONGEST_ACCESS 16

static void mem_recent(unsigned int index, qemu_plugin_meminfo_t info, uint64_t va, void *unused)
{
    struct vcpu_hot *h = &hot[index];
    u64 store = info >> 17 & 1, want = ((va + LONGEST_ACCESS - 1) & PAGE_MASK) | store;

    h->accesses++;
    if (unlikely((h->data.page[0][data_class(va)] ^ want) & (store - 2))) /* TLB_W matters to stores */
        mem_second(h, info, va);
}

/* For geometries with a single set. */
static void mem_any(unsigned int index, qemu_plugin_meminfo_t info, uint64_t va, void *unused)
{
    hot[index].accesses++;
    on_access_miss(&hot[index], info, va);
}

static qemu_plugin_vcpu_mem_cb_t choose_follow(void)
{
    for (u32 i = 0; i < process.nr_machines; i++)
        if (process.machine[i]->config.tlb.l1d_4k.sets < 2)
            return mem_any;
    return mem_recent;
}

/* The same block path for any number of machines; `nr` is a constant where it is 1 or 2. */
static inline void block_exec(unsigned int index, u64 block, u32 nr)
{
    struct vcpu_hot *h = &hot[index];
    u32 work = 0;

    h->blocks++;
    for (u32 i = 0; i < nr; i++)
        work |= atomic_load_explicit(h->work[i], memory_order_relaxed);
    if (unlikely(h->code.page[0][code_class(block)] != block) || unlikely(work))
        on_block_miss(h, block);
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
    on_mem(index, info, va, unused);
}

/* Work posted to its CPUs, its turn, another thread's ticket. */
static __noinline void record_between_blocks(struct vcpu *v, struct recorder *r, u32 work)
{
    turn_in_callback(v);
    if (record_ticket(v))
        record_forget(r);
    if (!r->turn)
        baton_yield(v);
    if (work && recorders[v->index] == r)
        vcpu_poll(v);
    turn_in_guest(v);
}

static void record_one_block(struct vcpu *v, struct recorder *r, u64 block)
{
    bool others = r->st->last_ticket != atomic_load_explicit(&process.s->trace.ticket, memory_order_relaxed);
    u32 work = 0;

    r->turn--;
    for (u32 i = 0; i < process.nr_machines; i++)
        work |= atomic_load_explicit(vcpu_hot(v)->work[i], memory_order_relaxed);
    if (unlikely(!r->turn || work || others)) {
        record_between_blocks(v, r, work);
        if (recorders[v->index] != r)
            return; /* the process has ended */
    }
    record_block(v, r, block & PAGE_MASK);
    if (unlikely(block & BLOCK_CROSSES))
        record_block(v, r, (block & PAGE_MASK) + PAGE_SIZE);
}

static void block_recorded(unsigned int index, void *userdata)
{
    struct vcpu *v = &vcpus[index];
    u64 block = (u64)(uintptr_t)userdata;
    struct recorder *r = recorders[index];

    if (unlikely(v->state != VCPU_USER)) {
        hot[index].blocks++;
        on_block_miss(&hot[index], block);
        if (recorders[index])
            record_one_block(v, recorders[index], block);
        turn_in_guest(v);
        return;
    }
    if (likely(r))
        record_one_block(v, r, block);
    block_exec(index, block, process.nr_machines);
}

/* -- translation --------------------------------------------------------------------------------------------------- */

static qemu_plugin_vcpu_mem_cb_t choose_mem(void)
{
    if (process.recording)
        return mem_recorded;
    return choose_follow();
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
        if (!insn_without_memory(process.arch, qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn)))
            qemu_plugin_register_vcpu_mem_cb(insn, mem, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
    first = (first & PAGE_MASK) | ((last ^ first) & PAGE_MASK ? BLOCK_CROSSES : 0);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, choose_block(), QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)first);
}

/* -- vCPUs and system calls ---------------------------------------------------------------------------------------- */

static __thread struct vcpu *in_call; /* this thread's */

/* Runs in the thread that creates the vCPU, in the call that asks for it: one at a time, by the process's `order`. */
static void vcpu_init(qemu_plugin_id_t id, unsigned int index)
{
    if (index >= MAX_VCPUS)
        abort();
    vcpu_clear(&vcpus[index]);
    process.vcpu_top = MAX(process.vcpu_top, index + 1);
    vcpus[index].state = VCPU_NEW;
    if (in_call)
        thread_started(in_call, &vcpus[index]);
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

    in_call = vcpus[index].state == VCPU_NONE ? NULL : &vcpus[index];
    if (in_call)
        syscall_before(in_call, nr, arg);
    else if (session_has_ended(process.s))
        syscall_left(&vcpus[index], nr, arg);
}

static void on_syscall_ret(qemu_plugin_id_t id, unsigned int index, int64_t nr, int64_t ret)
{
    in_call = NULL;
    if (vcpus[index].state == VCPU_NONE)
        return;
    syscall_after(&vcpus[index], nr, ret);
    turn_in_guest(&vcpus[index]);
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

static void choose_code(void)
{
    on_access_miss = access_miss;
    on_block_miss = block_miss;
    on_mem = choose_follow();
#ifdef QUIRE_HAVE_AVX2
    if (__builtin_cpu_supports("avx2")) {
        on_access_miss = access_miss_avx2;
        on_block_miss = block_miss_avx2;
    }
#endif
}

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

/* The run: its launcher is gone, or has closed its descriptors on the way. */
static bool is_over(int launcher, int err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d", launcher);
    return (kill(launcher, 0) && errno == ESRCH) || (err == -ENOENT && access(path, F_OK) == 0);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    unsigned long long mask = 0;
    bool masked = false;
    int launcher = 0, fd = -1, err;
    unsigned int slot = SESSION_PROCS;

    for (int i = 0; i < argc; i++)
        if (sscanf(argv[i], "session=%d.%d", &launcher, &fd) != 2 && sscanf(argv[i], "slot=%u", &slot) != 1)
            masked = sscanf(argv[i], "mask=%llx", &mask) == 1 || masked;
    signals_begin(masked ? &(u64){mask} : NULL);
    if (slot >= SESSION_PROCS) {
        fprintf(stderr, "quire: the plugin is started by `quire run` only\n");
        return 1;
    }
    err = attach(launcher, fd, slot, info->target_name);
    if (err && is_over(launcher, err))
        return 0; /* its report names who is left */
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
    vcpu_geometry();
    choose_code();
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
