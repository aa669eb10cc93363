/* SPDX-License-Identifier: MIT */
/*
 * Ops on the machine. One machine serves many sequences: what a sequence leaves behind would show in the next ones'
 * books. The supervisor's task stays; a sequence's processes are forks of it and of each other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "tests/oracle/model.h"
#include "cache/cache.h"

#define LEAST_BYTES (320ul << 20) /* a stack without limit grows by 128 MiB: no reason to overcommit */
#define MOST_BYTES (32ul << 40)   /* that a machine may have */
#define PID_OF(proc) (100 + (s32)(proc))

/* -- life ---------------------------------------------------------------------------------------------------------- */

static u32 host_number(const char *path, u32 otherwise)
{
    FILE *f = fopen(path, "r");
    unsigned int n = otherwise;

    if (f) {
        if (fscanf(f, "%u", &n) != 1)
            n = otherwise;
        fclose(f);
    }
    return n;
}

/* Of overcommit's heuristic: it refuses what is more than memory and swap together. */
static u64 host_bytes(void)
{
    struct sysinfo host;
    u64 bytes;

    if (sysinfo(&host))
        return LEAST_BYTES;
    bytes = ((u64)host.totalram + host.totalswap) * host.mem_unit;
    return MIN(MAX(ALIGN_UP(bytes, 1ul << 20), LEAST_BYTES), MOST_BYTES);
}

static void configure(struct machine_config *c, const struct host *host)
{
    machine_config_default(c);
    c->mem_bytes = host_bytes();
    c->nr_cpus = 1;
    c->content = CONTENT_FULL;
    c->randomize_va_space = 0;
    c->page_cache_warm = true;
    c->pt_format = host->la57 ? PT_X86_64_5L : PT_X86_64_4L;
    c->pkeys = host->pkeys;
    c->anon_vma_name = host->anon_names;
    c->overcommit_memory = host_number("/proc/sys/vm/overcommit_memory", 0);
    c->max_map_count = host_number("/proc/sys/vm/max_map_count", 65530);
    c->mmap_min_addr = host_number("/proc/sys/vm/mmap_min_addr", 65536);
    machine_config_layout(c);
}

static u32 mode_of(int slot)
{
    int how = native_file[slot].open_flags & 3;

    return how == 0 ? FMODE_READ : how == 1 ? FMODE_WRITE : FMODE_READ | FMODE_WRITE;
}

static struct file *open_base(struct model *v, struct native *n, int slot)
{
    const struct native_file *f = &native_file[slot];
    const struct oracle_file_id *id = &n->shared->file[f->same_as];

    if (f->same_as != slot)
        return file_reopen(v->cpu, v->base[f->same_as], mode_of(slot));
    if (f->shmem)
        return memfd_create_file(v->cpu, "memfd:oracle", MEMFD_EXEC, 0);
    if (n->on_tmpfs)
        return tmpfs_open(v->cpu, id->dev, id->ino, f->size, mode_of(slot), f->name);
    return file_open(v->cpu, id->dev, id->ino, f->size, mode_of(slot), f->name);
}

void model_boot(struct model *v, struct native *n, const struct host *host)
{
    struct machine_config c;

    *v = (struct model){.image_end = n->shared->image_end, .join = !host->joins, .key_base = n->shared->key_base};
    v->nobody = n->shared->nobody;
    n->shared->join = v->join;
    n->shared->no_swap = host->no_swap;
    configure(&c, host);
    v->seen = calloc(1, sizeof(*v->seen));
    v->m = machine_boot(&c, NULL);
    if (IS_ERR(v->m))
        die("machine: %ld", (long)PTR_ERR(v->m));
    v->cpu = &v->m->cpus[0];
    atomic_store(&v->cpu->owner, 1);
    atomic_store(&v->cpu->state, CPU_KERNEL);
    v->cpu->code = &quire_code;
    v->super = task_create(v->cpu, 99, 99, mm_alloc(v->cpu));
    v->super->mm->flags |= MMF_DISABLE_THP; /* as the child's program does */
    v->cpu->current = v->super;
    v->shared = memfd_create_file(v->cpu, "memfd:oracle-shared", MEMFD_EXEC, 0);
    inode_set_size(v->cpu, v->shared->f_inode, ORACLE_SHARED_BYTES);
    for (int i = 0; i < NR_BASE_SLOTS; i++) {
        v->base[i] = open_base(v, n, i);
        if (IS_ERR(v->base[i]))
            die("machine: no memory for files");
    }
    model_boot_exec(v, n);
    import_limits(v, n);
    import_space(v, n);
    for (u32 i = 0; i < ORACLE_SHMS; i++)
        v->shmid[i] = -1;
}

void model_shutdown(struct model *v)
{
    v->cpu->current = v->super;
    task_exit(v->cpu, v->super);
    for (int i = 0; i < NR_BASE_SLOTS; i++)
        fput(v->cpu, v->base[i]);
    fput(v->cpu, v->child.program.file);
    fput(v->cpu, v->shared);
    machine_destroy(v->m);
    free(v->seen);
}

/* -- sequences ----------------------------------------------------------------------------------------------------- */

/* A child looks into the shared memory at once: the page table there is one that faults beside it find. */
static struct task *fork_task(struct model *v, struct task *parent, u64 flags, u32 proc)
{
    struct fault_info fi;
    struct task *t;
    u8 byte;

    v->cpu->current = parent;
    t = kernel_clone(v->cpu, flags, PID_OF(proc), PID_OF(proc));
    if (IS_ERR(t))
        return t;
    v->cpu->current = t;
    mmu_copy_from_user(v->cpu, &byte, ORACLE_SHARED_AT, 1, &fi);
    v->cpu->current = parent;
    return t;
}

static void copy_fds(struct model *v, struct file *const *from, const bool *cloexec, u32 proc)
{
    for (u32 i = 0; i < ORACLE_SLOTS; i++) {
        v->fd[proc][i] = from[i];
        v->cloexec[proc][i] = cloexec && cloexec[i];
        if (from[i])
            get_file(from[i]);
    }
}

/* Files on disk have mode 0600: to a process without privileges that did not make them, they are somebody else's. */
static void mark_foreign(struct model *v, u32 foreign)
{
    for (int i = 0; i < NR_BASE_SLOTS; i++)
        if (!native_file[i].shmem)
            v->base[i]->f_mode = (v->base[i]->f_mode & ~FMODE_FOREIGN) | foreign;
}

static void make_base_segments(struct model *v)
{
    for (u32 i = ORACLE_BASE_SHM; i < ORACLE_SHMS; i++) {
        struct abi_call c = {.nr = ABI_shmget,
                             .arg = {v->key_base + ORACLE_BASE_KEY + i - ORACLE_BASE_SHM,
                                     oracle_base_pages(i) * PAGE_SIZE, 01000 | oracle_base_mode(i)}};

        v->shmid[i] = (s32)abi_syscall(v->cpu, &c);
        if (v->shmid[i] < 0)
            die("machine: no memory for a segment");
    }
}

/* As the supervisor does it. */
static void renew_stack(struct model *v)
{
    va_t start = v->super->mm->start_stack & PAGE_MASK;
    struct fault_info fi;

    sys_madvise(v->cpu, start, ORACLE_STACK_END - start, 4 /* MADV_DONTNEED */);
    if (mmu_copy_to_user(v->cpu, ORACLE_STACK_END - PAGE_SIZE, "", 1, &fi))
        die("machine: no memory for the stack");
    sys_madvise(v->cpu, ORACLE_STACK_END - PAGE_SIZE, PAGE_SIZE, 3 /* MADV_WILLNEED */);
}

void model_begin(struct model *v)
{
    v->cpu->current = v->super;
    v->seen->nr = 0;
    mark_foreign(v, 0);
    for (int i = 0; i < NR_BASE_SLOTS; i++) {
        if (native_file[i].same_as != i)
            continue;
        inode_set_size(v->cpu, v->base[i]->f_inode, 0);
        inode_set_size(v->cpu, v->base[i]->f_inode, native_file[i].size);
    }
    make_base_segments(v);
    renew_stack(v);
    v->proc[0] = fork_task(v, v->super, 0, 0);
    if (IS_ERR(v->proc[0]))
        die("machine: no memory for a process");
    copy_fds(v, v->base, NULL, 0);
}

/* The child has exited or executed a program: who slept in vfork goes on. */
void model_wake(struct model *v, u32 child)
{
    for (u32 i = 0; i < ORACLE_PROCS; i++)
        if (v->waits_for[i] == child + 1)
            v->waits_for[i] = 0;
}

static void exit_proc(struct model *v, u32 proc)
{
    v->cpu->current = v->proc[proc];
    task_exit(v->cpu, v->proc[proc]);
    v->proc[proc] = NULL;
    model_wake(v, proc);
    v->cpu->current = v->super;
    for (u32 i = 0; i < ORACLE_SLOTS; i++) {
        if (v->fd[proc][i])
            fput(v->cpu, v->fd[proc][i]);
        v->fd[proc][i] = NULL;
    }
}

static void remove_segments(struct model *v)
{
    struct shm_segment *s;
    u64 index;

    xa_for_each (&v->m->cache->shm.segments, index, s) {
        struct abi_call c = {.nr = ABI_shmctl, .arg = {(u64)s->id, 0 /* IPC_RMID */}};

        abi_syscall(v->cpu, &c);
    }
    for (u32 i = 0; i < ORACLE_SHMS; i++)
        v->shmid[i] = -1;
}

void model_end(struct model *v)
{
    for (u32 i = 0; i < ORACLE_PROCS; i++) {
        if (v->proc[i])
            exit_proc(v, i);
        v->waits_for[i] = 0;
    }
    v->cpu->current = v->super;
    remove_segments(v);
    v->sequences++;
}

u32 model_check(struct model *v, FILE *out)
{
    struct check_report *report = calloc(1, sizeof(*report));
    u32 nr;

    machine_check(v->m, report);
    nr = report->nr;
    for (u32 i = 0; i < nr && i < CHECK_KEPT; i++)
        fprintf(out, "machine_check: %s\n", report->text[i]);
    free(report);
    return nr;
}

/* -- ops ----------------------------------------------------------------------------------------------------------- */

/* May the kernel's number of faults here vary, or the bytes? See DIFFER_HOST. */
static u32 on_disk(struct model *v, va_t at, u64 len)
{
    struct vm_area_struct *vma = vma_lookup(v->cpu, v->cpu->current->mm, at);
    u64 size, end;

    if (!vma || vma->vm_ops != VM_OPS_FILE)
        return 0;
    size = vma->vm_file->f_inode->i_size;
    end = (linear_page_index(vma, at).nr << PAGE_SHIFT) + (at & ~PAGE_MASK) + len;
    return ORACLE_ON_DISK | (end > size && end <= ALIGN_UP(size, PAGE_SIZE) ? ORACLE_BEHIND_END : 0);
}

static void fault_result(struct oracle_result *r, const struct fault_info *fi)
{
    r->ret = 0;
    r->faults = 0;
    r->signo = fi->signo;
    r->code = fi->si_code;
    r->addr = fi->addr;
}

static int fetch(struct model *v, va_t at, struct fault_info *fi)
{
    int signo;

    cpu_enter_user(v->cpu);
    signo = mmu_access(v->cpu, cpu_mmu(v->cpu), at, MMU_EXEC, fi);
    cpu_enter_kernel(v->cpu);
    return signo;
}

static void do_access(struct model *v, const struct oracle_op *op, struct oracle_result *r)
{
    struct mm *mm = v->cpu->current->mm;
    u64 before = mm->min_flt + mm->maj_flt;
    struct fault_info fi = {0};
    struct vm_area_struct *vma = vma_lookup(v->cpu, mm, op->arg[0]);
    bool unsure = vma && model_unsure_page(v, vma, op->arg[0]);
    bool clean = v->join && op->kind == ORACLE_STORE && vma && model_clean_page(v, vma, op->arg[0]);
    u8 byte = (u8)op->arg[1];
    int signo;

    if (op->kind == ORACLE_STORE) {
        signo = mmu_copy_to_user(v->cpu, op->arg[0], &byte, 1, &fi);
    } else {
        signo = mmu_copy_from_user(v->cpu, &byte, op->arg[0], 1, &fi);
        r->ret = byte;
        if (!signo && op->kind == ORACLE_EXEC && byte == 0xc3)
            signo = fetch(v, op->arg[0], &fi);
    }
    r->faults = (u32)(mm->min_flt + mm->maj_flt - before);
    if (signo)
        fault_result(r, &fi);
    r->on_disk = on_disk(v, op->arg[0], 1);
    if (r->on_disk && model_own(v, op->arg[0] & ORACLE_TABLE_MASK, op->arg[0] | ~ORACLE_TABLE_MASK))
        r->faults = ~0u;
    if (clean)
        r->faults = ~0u;
    if (unsure && op->kind != ORACLE_STORE)
        r->faults = ~0u;
}

static void do_sum(struct model *v, const struct oracle_op *op, struct oracle_result *r)
{
    u64 words[PAGE_SIZE / 8], h = 0;

    for (u64 i = 0; i < op->arg[1]; i++) {
        struct fault_info fi = {0};
        u64 sum = 0;

        r->on_disk |= on_disk(v, op->arg[0] + i * PAGE_SIZE, PAGE_SIZE);
        if (mmu_copy_from_user(v->cpu, words, op->arg[0] + i * PAGE_SIZE, PAGE_SIZE, &fi)) {
            h = oracle_mix(h, (u64)fi.signo << 8 | (u64)fi.si_code);
            continue;
        }
        for (u32 w = 0; w < ARRAY_SIZE(words); w++) {
            sum = (sum ^ words[w]) * 0x9e3779b97f4a7c15ull;
            sum = sum << 23 | sum >> 41;
        }
        h = oracle_mix(h, sum);
    }
    r->ret = (s64)(h >> 1);
}

static void do_fork(struct model *v, const struct oracle_op *op, struct oracle_result *r)
{
    u32 slot = (u32)op->arg[0];
    struct task *t = fork_task(v, v->proc[op->proc], op->arg[1], slot);

    r->ret = IS_ERR(t) ? PTR_ERR(t) : 0;
    if (IS_ERR(t))
        return;
    v->proc[slot] = t;
    copy_fds(v, v->fd[op->proc], v->cloexec[op->proc], slot);
    if (op->arg[1] & ORACLE_CLONE_VFORK)
        v->waits_for[op->proc] = slot + 1;
}

static void fill_arg(struct model *v, const struct oracle_op *op, struct oracle_result *r, struct abi_call *c, u32 i)
{
    u64 value = op->arg[i];

    c->arg[i] = value;
    switch (op->argkind[i]) {
    case ORACLE_FD:
        c->file = v->fd[op->proc][value];
        c->arg[i] = c->file ? 10 + value : ~0ull;
        break;
    case ORACLE_PID:
    case ORACLE_PIDFD:
        c->target_gone = value == ORACLE_PROCS;
        c->target = c->target_gone ? NULL : v->proc[value];
        c->arg[i] = c->target ? (u64)PID_OF(value) : 0;
        break;
    case ORACLE_SHMID:
        c->arg[i] = (u64)(s64)v->shmid[value];
        break;
    case ORACLE_KEY:
        c->arg[i] = v->key_base + value;
        break;
    case ORACLE_IN:
        c->in[i] = (struct abi_buf){(void *)(uintptr_t)&op->data[value], ORACLE_DATA - value};
        c->arg[i] = ORACLE_SHARED_AT + value;
        break;
    case ORACLE_OUTPUT:
        c->out[i] = (struct abi_buf){&r->out[value], ORACLE_OUT - value};
        c->arg[i] = ORACLE_SHARED_AT + value;
        break;
    default:
        break;
    }
}

static void do_call(struct model *v, const struct oracle_op *op, struct oracle_result *r)
{
    struct abi_call c = {.nr = (enum abi_nr)op->nr};
    struct oracle_op named = *op;

    oracle_name_nobody(&named, v->nobody);
    for (u32 i = 0; i < 6; i++)
        fill_arg(v, &named, r, &c, i);
    r->ret = abi_syscall(v->cpu, &c);
    if (op->host_nr == ORACLE_NR_SHMCTL && (u32)c.arg[1] == ORACLE_IPC_STAT)
        oracle_clean_shmid_ds(r->out);
    if (r->ret < 0 || op->returns == ORACLE_RET_VALUE)
        return;
    if (op->returns == ORACLE_RET_FD) {
        struct file **slot = &v->fd[op->proc][op->ret_slot];

        if (*slot)
            fput(v->cpu, *slot);
        *slot = c.new_file;
        v->cloexec[op->proc][op->ret_slot] = op->arg[1] & 1; /* MFD_CLOEXEC */
    } else {
        v->shmid[op->ret_slot] = (s32)r->ret;
    }
    r->ret = 0;
}

static void do_close(struct model *v, const struct oracle_op *op, struct oracle_result *r)
{
    struct file **slot = &v->fd[op->proc][op->arg[0]];

    r->ret = *slot ? 0 : -EBADF;
    if (*slot)
        fput(v->cpu, *slot);
    *slot = NULL;
}

static void do_drop(struct model *v)
{
    struct task *t = v->cpu->current;

    if (task_uid(t))
        return;
    mark_foreign(v, FMODE_FOREIGN);
    task_set_caps(t, 0);
    task_set_ids(t, v->nobody, ORACLE_NOBODY);
}

void model_do(struct model *v, const struct oracle_op *op, struct oracle_result *r)
{
    struct task *t = v->proc[op->proc];

    memset(r, 0, sizeof(*r));
    v->cpu->current = t;
    cpu_enter_user(v->cpu);
    cpu_enter_kernel(v->cpu);
    switch (op->kind) {
    case ORACLE_SYSCALL:
        do_call(v, op, r);
        break;
    case ORACLE_LOAD:
    case ORACLE_STORE:
    case ORACLE_EXEC:
        do_access(v, op, r);
        break;
    case ORACLE_SUM:
        do_sum(v, op, r);
        break;
    case ORACLE_FORK:
        do_fork(v, op, r);
        v->cpu->current = t;
        break;
    case ORACLE_CLOSE:
        do_close(v, op, r);
        break;
    case ORACLE_DROP:
        do_drop(v);
        break;
    case ORACLE_EXECVE:
        model_execve(v, op, r);
        break;
    case ORACLE_PKRU:
        r->ret = t->pkru;
        t->pkru = (u32)op->arg[0];
        break;
    default:
        exit_proc(v, op->proc);
        return;
    }
    if (op->see)
        model_see(v, op->proc, op->see, r);
}
