/* SPDX-License-Identifier: MIT */
/* The machine's side: abi_execve() of the same file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "abi/proc.h"
#include "base/errno.h"
#include "cache/filemap.h"
#include "tests/oracle/exec_oracle.h"
#include "vm/vma.h"

#define TMPFS 0x01021994
#define MODEL_BYTES (256ul << 20)

static u32 host_number(const char *path, u32 otherwise)
{
    FILE *f = fopen(path, "r");
    u32 n = otherwise;

    if (f && fscanf(f, "%u", &n) != 1)
        n = otherwise;
    if (f)
        fclose(f);
    return n;
}

void exec_model_boot(struct exec_model *v, u32 randomize, u64 seed)
{
    struct machine_config c;

    *v = (struct exec_model){.pid = 100};
    elf_platform_of_host(&v->platform);
    machine_config_default(&c);
    c.mem_bytes = MODEL_BYTES;
    c.nr_cpus = 1;
    c.content = CONTENT_FULL;
    c.page_cache_warm = true;
    c.overcommit_memory = 1;
    c.randomize_va_space = randomize;
    c.aslr_seed = seed;
    c.mmap_rnd_bits = host_number("/proc/sys/vm/mmap_rnd_bits", 28);
    c.legacy_va_layout = host_number("/proc/sys/vm/legacy_va_layout", 0);
    machine_config_layout(&c);
    v->m = machine_boot(&c, NULL);
    if (IS_ERR(v->m)) {
        fprintf(stderr, "machine: error %ld\n", (long)PTR_ERR(v->m));
        exit(2);
    }
    v->cpu = &v->m->cpus[0];
    atomic_store(&v->cpu->owner, 1);
    atomic_store(&v->cpu->state, CPU_KERNEL);
    v->cpu->code = &quire_code;
}

void exec_model_end(struct exec_model *v)
{
    machine_destroy(v->m);
}

static struct file *open_file(struct exec_model *v, const char *path, const struct elf_read *e)
{
    struct statfs fs;
    struct file *f;

    if (!statfs(path, &fs) && fs.f_type == TMPFS)
        f = tmpfs_open(v->cpu, e->dev, e->ino, e->size, FMODE_READ | FMODE_EXEC, path);
    else
        f = file_open(v->cpu, e->dev, e->ino, e->size, FMODE_READ | FMODE_EXEC, path);
    if (IS_ERR(f)) {
        fprintf(stderr, "machine: no memory for %s\n", path);
        exit(2);
    }
    inode_set_size(v->cpu, f->f_inode, 0); /* a number may be given again */
    inode_set_size(v->cpu, f->f_inode, e->size);
    return f;
}

struct written {
    char bytes[8192];
    size_t len;
};

static int write_text(void *arg, const char *bytes, size_t len)
{
    struct written *t = arg;

    if (t->len + len >= sizeof(t->bytes))
        return -ENOSPC;
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
    return 0;
}

static void see_status(struct exec_model *v, struct seen *out)
{
    struct written text = {0};
    struct proc_sink sink = {write_text, &text};

    if (proc_read(v->cpu, "self/status", &sink))
        exit(2);
    exec_see_sizes(text.bytes, out->sizes);
}

static void see_all(struct exec_model *v, struct seen *out)
{
    struct mm *mm = v->cpu->current->mm;
    const u64 stat[NR_SEEN_STATS] = {mm->start_code, mm->end_code,  mm->start_stack, mm->start_data, mm->end_data,
                                     mm->start_brk,  mm->arg_start, mm->arg_end,     mm->env_start,  mm->env_end};
    struct vm_area_struct *vma;
    struct fault_info fi;

    for_each_vma (vma, mm) {
        struct seen_vma *s = &out->vma[out->nr];

        if (out->nr++ == SEEN_VMAS)
            exit(2);
        *s = (struct seen_vma){.start = vma->vm_start, .end = vma->vm_end, .flags = vma->vm_flags & ~VM_SOFTDIRTY};
        s->perms = (vma->vm_flags & VM_READ ? 1u : 0) | (vma->vm_flags & VM_WRITE ? 2u : 0) |
                   (vma->vm_flags & VM_EXEC ? 4u : 0);
        s->object = vma->vm_file ? SEEN_FILE : vma->vm_ops == VM_OPS_SPECIAL ? SEEN_SPECIAL : SEEN_ANON;
        s->offset = vma->vm_file ? vma->vm_pgoff.nr << PAGE_SHIFT : 0;
        s->ino = vma->vm_file ? vma->vm_file->f_inode->ino : 0;
        if (vma->vm_start <= out->sp && out->sp < vma->vm_end)
            out->stack_bytes = (u32)MIN(vma->vm_end - out->sp, (u64)SEEN_STACK);
    }
    memcpy(out->stat, stat, sizeof(stat));
    see_status(v, out);
    memcpy(out->auxv, mm->saved_auxv, sizeof(out->auxv));
    if (mmu_copy_from_user(v->cpu, out->stack, out->sp, out->stack_bytes, &fi))
        out->stack_bytes = 0;
}

static struct task *make_task(struct exec_model *v, const struct exec_case *c)
{
    struct mm *mm = mm_alloc(v->cpu);
    struct task *t = mm ? task_create(v->cpu, v->pid, v->pid, mm) : NULL;

    if (!t)
        exit(2);
    v->pid++;
    task_set_ids(t, geteuid(), getegid());
    task_set_caps(t, geteuid() ? 0 : CAP_FULL_SET);
    t->personality = c->personality;
    if (c->stack_limit)
        task_set_rlimit(t, RLIMIT_STACK_, c->stack_limit, RLIM_INFINITY_);
    if (c->as_limit)
        task_set_rlimit(t, RLIMIT_AS_, c->as_limit, RLIM_INFINITY_);
    if (c->data_limit)
        task_set_rlimit(t, RLIMIT_DATA_, c->data_limit, RLIM_INFINITY_);
    return t;
}

static u32 count(const char *const *list)
{
    u32 n = 0;

    while (list[n])
        n++;
    return n;
}

void exec_model_run(struct exec_model *v, const struct exec_case *c, struct seen *out)
{
    struct exec_args args = {.filename = c->path, .argv = c->argv, .envp = c->envp, .comm = "prog"};
    struct elf_read exe, interp;
    struct exec_image image = {0};
    struct exec_result r;
    struct task *t;
    int err;

    memset(out, 0, sizeof(*out));
    args.argc = count(c->argv);
    args.envc = count(c->envp);
    elf_read(c->path, &exe);
    image.exe = exe.program;
    image.exe.file = open_file(v, c->path, &exe);
    image.exec_stack = exe.exec_stack;
    if (*exe.interp) {
        elf_read(exe.interp, &interp);
        interp.program.file = open_file(v, exe.interp, &interp);
        image.interp = &interp.program;
    }
    t = v->cpu->current = make_task(v, c);
    err = abi_execve(v->cpu, &image, &v->platform.platform, &args, &r);
    out->err = -err;
    out->signo = r.signo;
    if (!err && !r.signo) {
        out->sp = r.sp;
        out->ip = r.entry;
        see_all(v, out);
    }
    task_exit(v->cpu, t);
    v->cpu->code->fput(v->cpu, image.exe.file);
    if (image.interp)
        v->cpu->code->fput(v->cpu, image.interp->file);
}
