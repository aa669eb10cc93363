/* SPDX-License-Identifier: MIT */
/*
 * Every memory system call with any arguments, through the one door, by processes and threads that fork, execute
 * programs, touch memory and stacks, die, and read their own views; any allocation may be made to fail. Asked is that
 * nothing trips, that results are results, that a call that fails leaves the mappings as they were, and that the books
 * balance every few steps. (What memory holds is asked by contents.c.)
 */
#include "tests/fuzz/calls.h"

#include "abi/proc.h"
#include "base/errno.h"
#include "cache/cache.h"

#define STEPS_PER_CHECK 16

/* FUZZ_TRACE=1 prints every operation with its result. */
#define TRACE(w, ...)                                                                                                  \
    do {                                                                                                               \
        if ((w)->trace)                                                                                                \
            fprintf(stderr, __VA_ARGS__);                                                                              \
    } while (0)

static struct task *task_of(const struct world *w)
{
    return w->task[w->now];
}

/* -- the mappings before and after --------------------------------------------------------------------------------- */

static u64 mix(u64 h, u64 v)
{
    return (h ^ v) * 0x9e3779b97f4a7c15ull + (h >> 29);
}

static bool continues(const struct vm_area_struct *a, const struct vm_area_struct *b)
{
    return (a->vm_end == b->vm_start || (b->vm_flags & VM_GROWSDOWN)) && a->vm_flags == b->vm_flags &&
           a->vm_file == b->vm_file && a->anon_name == b->anon_name &&
           (!a->vm_file || b->vm_pgoff.nr == a->vm_pgoff.nr + vma_pages(a));
}

/*
 * What /proc/PID/maps says, but for splits at the edges of a range, which Linux leaves behind too. A pointer into a
 * stack may have made it grow, up to another one.
 */
static u64 hash_maps(const struct mm *mm)
{
    const struct vm_area_struct *vma, *prev = NULL;
    u64 h = mix(0, mm->def_flags);

    for_each_vma (vma, mm) {
        if (!prev || !continues(prev, vma)) {
            h = mix(h, vma->vm_flags & VM_GROWSDOWN ? 0 : vma->vm_start);
            h = mix(mix(h, vma->vm_flags), (u64)(uintptr_t)vma->anon_name);
            h = mix(mix(h, (u64)(uintptr_t)vma->vm_file), vma->vm_file ? vma->vm_pgoff.nr : 0);
        }
        if (!vma_next(vma) || !continues(vma, vma_next(vma)))
            h = mix(h, vma->vm_end);
        prev = vma;
    }
    return h;
}

/* Errors that mmap finds before it makes room. */
static bool is_early(s64 ret)
{
    return ret == -EEXIST || ret == -EBADF || ret == -EACCES || ret == -EPERM || ret == -EOVERFLOW || ret == -EAGAIN;
}

/*
 * Calls that work through a range and stop where they cannot go on: what is done stays (their man pages). A mapping put
 * in place of others leaves a gap when what fails comes after the others have gone, as in 6.18.
 */
static bool may_change_maps(const struct abi_call *c, s64 ret)
{
    switch (c->nr) {
    case ABI_mmap:
        return (c->arg[3] & MAP_FIXED_) && !is_early(ret);
    case ABI_shmat:
        return ret == -ENOMEM && (c->arg[2] & 040000); /* SHM_REMAP */
    case ABI_mprotect:
    case ABI_pkey_mprotect:
    case ABI_madvise:
    case ABI_process_madvise:
    case ABI_mlock:
    case ABI_mlock2:
    case ABI_munlock:
    case ABI_mlockall:
    case ABI_munlockall:
    case ABI_mremap:
    case ABI_mseal:
    case ABI_prctl:
        return true;
    default:
        return false;
    }
}

/* -- calls --------------------------------------------------------------------------------------------------------- */

static void keep_result(struct world *w, struct made_call *call, s64 ret)
{
    u32 slot;

    if (call->c.nr == ABI_shmget && ret >= 0)
        w->shmid[(u64)ret % NR_SHMS] = (s32)ret;
    if (!call->c.new_file)
        return;
    REQUIRE(ret == 0);
    for (slot = 0; slot < NR_FILES && w->file[slot]; slot++)
        ;
    if (slot == NR_FILES)
        fput(world_cpu(w), w->file[--slot]);
    w->file[slot] = call->c.new_file;
}

static void trace_call(struct world *w, const struct made_call *call, s64 ret)
{
    const u64 *a = call->c.arg;

    TRACE(w, "task %u: %s(%#llx, %#llx, %#llx, %#llx, %#llx, %#llx) file %d = %lld%s\n", w->now, abi_name[call->c.nr],
          (unsigned long long)a[0], (unsigned long long)a[1], (unsigned long long)a[2], (unsigned long long)a[3],
          (unsigned long long)a[4], (unsigned long long)a[5], call->c.file ? (int)call->fd : -1, (long long)ret,
          atomic_load(&w->m->fail.failed) ? " (an allocation failed)" : "");
}

static void op_call(struct world *w, struct input *in, enum abi_nr nr, u64 failing)
{
    struct made_call call;
    u64 before;
    s64 ret;

    call_make(w, in, nr, &call);
    before = hash_maps(task_of(w)->mm);
    atomic_store(&w->m->fail.countdown, failing);
    ret = abi_syscall(world_cpu(w), &call.c);
    atomic_store(&w->m->fail.countdown, 0);
    trace_call(w, &call, ret);
    REQUIRE(ret >= -4095);
    if ((ret < 0 && !may_change_maps(&call.c, ret)) || (nr == ABI_brk && (u64)ret != call.c.arg[0]))
        REQUIRE(hash_maps(task_of(w)->mm) == before);
    keep_result(w, &call, ret);
    call_free(&call);
}

static enum abi_nr take_call(struct input *in)
{
    static const u8 often[] = {
        ABI_mmap,    ABI_mmap,     ABI_mmap,  ABI_munmap,           ABI_mremap,           ABI_mremap,
        ABI_madvise, ABI_madvise,  ABI_mlock, ABI_remap_file_pages, ABI_process_vm_readv, ABI_shmat,
        ABI_prctl,   ABI_mprotect, ABI_brk,   ABI_memfd_create};
    u8 b = take_u8(in);

    return (enum abi_nr)(b < 128 ? often[b % ARRAY_SIZE(often)] : b % NR_ABI_CALLS);
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

/* At the address itself, or across the end of its page. */
static void op_access(struct world *w, struct input *in, enum mmu_access_kind kind)
{
    struct cpu *cpu = world_cpu(w);
    va_t addr = take_addr(w, in) + (take_u8(in) & 1 ? PAGE_SIZE - 32 : 0);
    struct fault_info fi = {0};
    const struct vm_area_struct *vma;
    u8 bytes[64] = {0};
    int signo;

    if (kind == MMU_EXEC) {
        cpu_enter_user(cpu);
        signo = mmu_access(cpu, cpu_mmu(cpu), addr, MMU_EXEC, &fi);
        cpu_enter_kernel(cpu);
    } else if (kind == MMU_WRITE) {
        signo = mmu_copy_to_user(cpu, addr, bytes, sizeof(bytes), &fi);
    } else {
        signo = mmu_copy_from_user(cpu, bytes, addr, sizeof(bytes), &fi);
    }
    TRACE(w, "task %u: access %d at %#llx: signal %d\n", w->now, (int)kind, (unsigned long long)addr, signo);
    REQUIRE(signo == 0 || signo == 7 || signo == 9 || signo == 11);
    vma = vma_lookup(cpu, task_of(w)->mm, addr);
    REQUIRE(vma ? vma->vm_start <= addr && addr < vma->vm_end : signo);
}

/* Below, at and above the stack, by up to 256 pages. */
static void op_stack(struct world *w, struct input *in)
{
    struct cpu *cpu = world_cpu(w);
    va_t addr = task_of(w)->mm->start_stack + 4 * PAGE_SIZE - (u64)take_u8(in) * PAGE_SIZE;
    struct fault_info fi = {0};
    int signo = mmu_copy_to_user(cpu, addr, "stack", 5, &fi);

    TRACE(w, "task %u: stack at %#llx: signal %d\n", w->now, (unsigned long long)addr, signo);
    REQUIRE(signo == 0 || signo == 7 || signo == 9 || signo == 11);
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static void op_file(struct world *w, struct input *in)
{
    struct cpu *cpu = world_cpu(w);
    u32 slot = take_u8(in) % NR_FILES;
    struct file *f = w->file[slot];
    u8 how = take_u8(in) % 8, bytes[300] = {1};
    s64 at = (s64)take_u16(in) * 64;

    TRACE(w, "file %u: operation %u at %lld\n", slot, how, (long long)at);
    if (how == 0) {
        drop_pagecache(cpu);
    } else if (!f) {
        return;
    } else if (how == 1) {
        fput(cpu, f);
        w->file[slot] = NULL;
    } else if (how == 2) {
        struct file *again = file_reopen(cpu, f, 1 + take_u8(in) % 7);

        w->file[slot] = IS_ERR(again) ? NULL : again;
        fput(cpu, f);
    } else if (how < 5) {
        REQUIRE(file_pwrite(cpu, f, bytes, sizeof(bytes), at) <= (s64)sizeof(bytes));
    } else if (how < 7) {
        REQUIRE(file_pread(cpu, f, bytes, sizeof(bytes), at) <= (s64)sizeof(bytes));
    } else {
        filemap_readahead(cpu, f, (u64)at >> PAGE_SHIFT, take_u8(in) % 16);
    }
}

/* -- tasks --------------------------------------------------------------------------------------------------------- */

static void op_clone(struct world *w, struct input *in)
{
    static const u64 kinds[] = {0, 0, CLONE_VM_ | CLONE_VFORK_, CLONE_VM_, CLONE_VM_ | CLONE_THREAD_};
    u64 flags = kinds[take_u8(in) % ARRAY_SIZE(kinds)], before = hash_maps(task_of(w)->mm);
    s32 tgid = flags & CLONE_THREAD_ ? task_of(w)->tgid : w->next_pid;
    struct task *t;
    u32 slot = 0;

    while (slot < MAX_TASKS && w->task[slot])
        slot++;
    if (slot == MAX_TASKS)
        return;
    t = kernel_clone(world_cpu(w), flags, w->next_pid, tgid);
    TRACE(w, "task %u: clone(%#llx) = task %u, %d\n", w->now, (unsigned long long)flags, slot, (int)IS_ERR(t));
    REQUIRE(hash_maps(task_of(w)->mm) == before);
    if (IS_ERR(t))
        return;
    w->task[slot] = t;
    w->next_pid++;
}

static void exit_task(struct world *w, u32 i)
{
    struct cpu *cpu = w->cpus[i % 2];

    cpu->current = w->task[i];
    switch_mm(cpu, NULL);
    task_exit(cpu, w->task[i]);
    cpu->current = NULL;
    w->task[i] = NULL;
}

static void op_exit(struct world *w, u32 who)
{
    u32 next = (who + 1) % MAX_TASKS;

    while (!w->task[next])
        next = (next + 1) % MAX_TASKS;
    if (next == who || !w->task[who])
        return;
    TRACE(w, "task %u: exit\n", who);
    exit_task(w, who);
    if (w->now == who)
        w->now = next;
}

/* The other threads die first, as execve(2) says. */
static void op_exec(struct world *w, struct input *in)
{
    struct exec_layout l = {.stack_size = take_u16(in), .comm = "fuzz"};
    u8 how = take_u8(in), exe = take_u8(in) % NR_FILES;
    u64 auxv[8] = {6, PAGE_SIZE, 0, 0, 0, 0, 0, 0}, before = hash_maps(task_of(w)->mm);
    struct cpu *cpu;
    int err;

    for (u32 i = 0; i < MAX_TASKS; i++)
        if (i != w->now && w->task[i] && w->task[i]->tgid == task_of(w)->tgid)
            op_exit(w, i);
    if (how & 1) {
        l.stack_top = WINDOW_BASE + 0x10000000 + take_u8(in) * PAGE_SIZE;
        l.stack_start = l.stack_top - take_u8(in) * PAGE_SIZE;
        l.mmap_base = WINDOW_BASE + WINDOW_PAGES * PAGE_SIZE;
        l.auxv = auxv;
        l.nr_auxv = ARRAY_SIZE(auxv);
        l.map.start_brk = l.map.brk = WINDOW_BASE - 0x8000000 + take_u8(in);
    }
    l.stack_exec = how & 2 ? VM_EXEC : 0;
    l.exe = how & 4 ? w->file[exe] : NULL;
    cpu = world_cpu(w);
    err = exec_mmap(cpu, &l);
    TRACE(w, "task %u: exec, how %02x = %d\n", w->now, how, err);
    REQUIRE(err == 0 || err == -ENOMEM || err == -E2BIG);
    REQUIRE(!err || hash_maps(task_of(w)->mm) == before);
    if (!err && !(how & 1))
        exec_set_brk(task_of(w)->mm, WINDOW_BASE - 0x8000000);
    switch_mm(cpu, task_of(w)->mm);
}

/* Rights, keys, whose turn it is. */
static void op_task(struct world *w, struct input *in)
{
    struct task *t = task_of(w);
    u8 how = take_u8(in);

    switch (how % 8) {
    case 0:
        t->signal->cap_effective = how & 8 ? CAP_FULL_SET : 0;
        t->signal->uid = how & 16 ? 1000 : 0;
        break;
    case 1:
        t->pkru = w->m->config.pkeys ? (u32)take_u16(in) : 0;
        break;
    default:
        if (w->task[how / 8 % MAX_TASKS])
            w->now = how / 8 % MAX_TASKS;
    }
}

/* -- views --------------------------------------------------------------------------------------------------------- */

struct sink_state {
    u64 left;
};

static int take_text(void *arg, const char *bytes, size_t len)
{
    struct sink_state *s = arg;

    REQUIRE(len <= 1024);
    for (size_t i = 0; i < len; i++)
        s->left -= (u8)bytes[i] == 0x5a; /* all of them can be read */
    if (len >= s->left)
        return -ENOSPC;
    s->left -= len;
    return 0;
}

static void op_view(struct world *w, struct input *in)
{
    struct sink_state s = {64u << 10};
    const struct proc_sink sink = {take_text, &s};
    u32 nr = 0;
    char name[64];
    const struct proc_file *f;
    int err;

    while (proc_file(nr))
        nr++;
    f = proc_file(take_u8(in) % nr);
    snprintf(name, sizeof(name), "%s%s", f->scope == PROC_PROCESS ? "self/" : "", f->name);
    err = proc_read(world_cpu(w), name, &sink);
    TRACE(w, "task %u: view %s: %d\n", w->now, name, err);
    REQUIRE(err == 0 || err == -ENOSPC);
}

/* -- the machine --------------------------------------------------------------------------------------------------- */

static void check_books(struct world *w)
{
    struct check_report *report = calloc(1, sizeof(*report));

    machine_check(w->m, report);
    require_clean(report);
    free(report);
}

/* Every mapping is found by its first and last address, and none at the end of all addresses. */
static void check_lookups(struct world *w)
{
    for (u32 i = 0; i < MAX_TASKS; i++) {
        struct mm *mm = w->task[i] ? w->task[i]->mm : NULL;
        const struct vm_area_struct *vma;

        if (!mm)
            continue;
        for_each_vma (vma, mm) {
            REQUIRE(vma_lookup(w->cpus[0], mm, vma->vm_start) == vma);
            REQUIRE(vma_lookup(w->cpus[0], mm, vma->vm_end - 1) == vma);
        }
        REQUIRE(!find_vma(w->cpus[0], mm, ~(va_t)0));
        REQUIRE(!find_vma(w->cpus[0], mm, mm->task_size));
        REQUIRE(find_vma(w->cpus[0], mm, 0) == vma_first(mm));
    }
}

static void other_op(struct world *w, struct input *in, u8 op)
{
    switch (op % 16) {
    case 0:
    case 1:
        op_clone(w, in);
        break;
    case 2:
        op_exit(w, w->now);
        break;
    case 3:
        op_exec(w, in);
        break;
    case 4:
        op_view(w, in);
        break;
    case 5:
        op_file(w, in);
        break;
    case 6:
        op_stack(w, in);
        break;
    case 7:
    case 8:
        op_task(w, in);
        break;
    case 9:
        op_access(w, in, MMU_EXEC);
        break;
    default:
        op_access(w, in, op & 1 ? MMU_WRITE : MMU_READ);
    }
}

static bool step(struct world *w, struct input *in)
{
    u8 op = take_u8(in);
    u64 failing = op & 0x20 && take_u8(in) < 96 ? 1 + take_u8(in) % 32 : 0;

    atomic_store(&w->m->fail.failed, 0);
    if (op < 0x90) {
        op_call(w, in, take_call(in), failing);
    } else {
        atomic_store(&w->m->fail.countdown, failing);
        other_op(w, in, op);
        atomic_store(&w->m->fail.countdown, 0);
    }
    return atomic_load(&w->m->fail.failed);
}

static void configure(struct machine_config *c, u8 how, u8 more)
{

    machine_config_default(c);
    c->mem_bytes = 32ul << 20;
    c->nr_cpus = 2;
    c->content = how & 0xe0 ? CONTENT_FULL : CONTENT_NONE;
    c->randomize_va_space = how & 8 ? 2 : 0;
    c->pt_format = how % NR_PT_FORMATS;
    c->page_cache_warm = how & 16;
    c->overcommit_memory = more % 3;
    c->pkeys = (more & 8) && (c->pt_format == PT_X86_64_4L || c->pt_format == PT_X86_64_5L);
    c->memory_failure = more & 16;
    c->memfd_noexec = more & 0xc0 ? 0 : 1;
    c->max_map_count = more & 32 ? 65530 : 24;
    machine_config_layout(c);
}

static void open_files(struct world *w)
{
    struct cpu *cpu = w->cpus[0];
    const u32 rw = FMODE_READ | FMODE_WRITE | FMODE_EXEC;

    w->file[0] = file_open(cpu, 1, 1, 40 * PAGE_SIZE + 100, rw, "/data");
    w->file[1] = file_reopen(cpu, w->file[0], FMODE_READ | FMODE_FOREIGN);
    w->file[2] = tmpfs_open(cpu, 2, 1, 20 * PAGE_SIZE, rw, "/tmp/data");
    w->file[3] = memfd_create_file(cpu, "memfd:first", MEMFD_SEALABLE | MEMFD_EXEC, 0);
    for (u32 i = 0; i < 4; i++)
        REQUIRE(w->file[i] && !IS_ERR(w->file[i]));
}

/* Many mappings that do not merge: a deep index. */
static void map_patchwork(struct world *w)
{
    for (u32 i = 0; i < 120; i++) {
        va_t addr = WINDOW_BASE + (64 + 3 * i) * PAGE_SIZE;
        s64 ret = sys_mmap(world_cpu(w), addr, (1 + i % 3) * PAGE_SIZE, i % 2 ? 3 : 1,
                           MAP_PRIVATE_ | MAP_FIXED_ | (i % 5 ? MAP_ANONYMOUS_ : 0), i % 5 ? NULL : w->file[0], 0);

        REQUIRE(ret == (s64)addr);
    }
}

static void begin(struct world *w, struct input *in)
{
    static struct machine_config c;
    static const struct exec_layout l = {.stack_size = 5000, .comm = "fuzz"};
    u8 how = take_u8(in), more = take_u8(in);
    struct mm *mm;

    w->trace = getenv("FUZZ_TRACE") != NULL;
    configure(&c, how, more);
    w->m = machine_boot(&c, NULL);
    REQUIRE(!IS_ERR(w->m));
    for (u32 i = 0; i < 2; i++)
        REQUIRE(cpu_try_acquire_id(w->m, i, i + 1, &w->cpus[i]));
    mm = mm_alloc(w->cpus[0]);
    REQUIRE(mm);
    w->task[0] = task_create(w->cpus[0], 1, 1, mm);
    REQUIRE(w->task[0]);
    w->task[0]->signal->cap_effective = CAP_FULL_SET;
    w->next_pid = 2;
    open_files(w);
    REQUIRE(exec_mmap(world_cpu(w), &l) == 0);
    exec_set_brk(task_of(w)->mm, WINDOW_BASE - 0x8000000);
    if ((more & 36) == 36)
        map_patchwork(w);
    TRACE(w, "page-table format %d, contents %d, overcommit %u\n", (int)c.pt_format, (int)c.content,
          c.overcommit_memory);
}

static void end(struct world *w)
{
    for (u32 i = 0; i < MAX_TASKS; i++)
        if (w->task[i])
            exit_task(w, i);
    for (u32 i = 0; i < NR_FILES; i++)
        if (w->file[i])
            fput(w->cpus[0], w->file[i]);
    check_books(w);
    for (u32 i = 0; i < 2; i++)
        cpu_release(w->cpus[i]);
    machine_destroy(w->m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct world *w = calloc(1, sizeof(*w));
    u32 steps = 0;

    begin(w, &in);
    while (more(&in)) {
        if (step(w, &in) || ++steps % STEPS_PER_CHECK == 0) {
            check_books(w);
            check_lookups(w);
        }
    }
    end(w);
    free(w);
    return 0;
}
