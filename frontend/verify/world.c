/* SPDX-License-Identifier: MIT */
/*
 * Processes and address spaces on the machine, as the recording tells of them.
 *
 * execve. The image is built from the recorded maps, each line at its place; the layout's hidden number is found from
 * it:
 *
 *     … [heap] …                     vvar vdso  ld.so │ mmap_base      stack │
 *                                                     └ the first thing that the kernel maps top-down ends there: the
 * loader, or in a static program what is mapped first of vvar and vdso. So mmap_base is the end of the mappings around
 * the vdso; in the legacy layout, which maps upwards, their start. They are not the highest ones below the stack where
 * the area begins below the program: in the legacy layout, and with a stack that may grow without limit. brk starts
 * where /proc/PID/stat says and ends there, too: the program has not called yet.
 *
 * fork is judged by its result; the copy's maps are compared like any.
 * Follows execve(2), proc_pid_maps(5), proc_pid_stat(5).
 */
#include "base/errno.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "abi/clone.h"
#include "world.h"

#define HOST_TID 1
#define FAR (1ull << 30) /* program, heap and loader are farther from each other than what is mapped together */
#define UNSEEN_STACK (1ull << 40)
#define STACK_EXPAND (128ul << 10)
#define SPECIAL_FLAGS (VM_READ | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_DONTEXPAND)

struct vtask *world_task(struct verify *v, s32 tid)
{
    struct vtask *t;

    list_for_each_entry (t, &v->tasks[(u32)tid % HASH], hash)
        if (t->tid == tid)
            return t;
    return NULL;
}

void world_run(struct verify *v, struct vtask *t)
{
    struct task *task = t ? t->task : NULL;

    if (v->cpu->current == task)
        return;
    v->cpu->current = task;
    switch_mm(v->cpu, task ? task->mm : NULL);
}

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

static void space_put(struct verify *v, struct vspace *s)
{
    if (--s->users)
        return;
    space_forget_file(v, s);
    free(s->text);
    free(s);
}

static struct vspace *space_new(void)
{
    struct vspace *s = must(calloc(1, sizeof(*s)));

    s->users = 1;
    return s;
}

static struct vtask *task_add(struct verify *v, s32 tid, s32 tgid, struct task *task, struct vspace *space)
{
    struct vtask *t = must(calloc(1, sizeof(*t)));

    *t = (struct vtask){.tid = tid, .tgid = tgid, .task = task, .space = space, .sp_low = ~0ull};
    list_add(&t->hash, &v->tasks[(u32)tid % HASH]);
    v->r.threads++;
    v->r.processes += tid == tgid;
    return t;
}

static void task_remove(struct verify *v, struct vtask *t)
{
    world_run(v, t);
    task_exit(v->cpu, t->task);
    v->cpu->current = NULL;
    switch_mm(v->cpu, NULL);
    space_put(v, t->space);
    list_del(&t->hash);
    free(t);
}

/* -- execve -------------------------------------------------------------------------------------------------------- */

/* What the image is built from. */
struct image {
    const struct native_exec *e;
    const u8 *maps;
    u32 maps_len;
    struct parts files; /* from the first NATIVE_MAPPED on */
    struct map_line stack;
    u64 mmap_base;   /* end of the mappings around the vdso */
    u64 legacy_base; /* their start */
};

static bool is_named(const struct map_line *l, const char *name)
{
    return l->name_len == strlen(name) && !memcmp(l->name, name, l->name_len);
}

/* The stack, and the mappings around vdso and vvar; without those, the highest ones below the stack. */
static bool find_layout(struct image *im)
{
    const char *at = (const char *)im->maps, *end = at + im->maps_len;
    bool is_area = false, found = false;
    u64 start = 0, last = 0;
    struct map_line l;

    while (map_line_parse(&at, end, &l)) {
        if (is_named(&l, "[stack]"))
            im->stack = l;
        if (im->stack.end || l.end >= 1ull << 63)
            continue;
        if (l.start - last > FAR) {
            start = l.start;
            is_area = false;
        }
        last = l.end;
        is_area |= l.type == 's';
        found |= is_area;
        if (is_area || !found) {
            im->legacy_base = start;
            im->mmap_base = l.end;
        }
    }
    return im->stack.end != 0;
}

static const struct native_file *next_file(struct parts *it)
{
    const struct native_part *p;
    const u8 *bytes;

    while (parts_next(it, &p, &bytes))
        if (p->kind == NATIVE_MAPPED && p->len == sizeof(struct native_file))
            return (const struct native_file *)(const void *)bytes;
    return NULL;
}

static s64 map_file_line(struct verify *v, struct vtask *t, const struct map_line *l, const struct native_file *known)
{
    struct native_file f = {.dev = l->dev, .ino = l->ino, .size = (l->pgoff << PAGE_SHIFT) + (l->end - l->start)};
    char name[128];
    struct file *file;
    s64 ret;

    f.mode = S_IFREG;
    if (known && known->ino)
        f = *known;
    f.open_flags = l->shared && l->prot & PROT_WRITE_ ? 2 : 0;
    snprintf(name, sizeof(name), "%.*s", (int)MIN(l->name_len, 127u), l->name);
    file = space_file(v, t->space, -1, &f, name);
    if (IS_ERR(file))
        return PTR_ERR(file);
    ret = sys_mmap(v->cpu, l->start, l->end - l->start, l->prot, MAP_FIXED_ | (l->shared ? MAP_SHARED_ : MAP_PRIVATE_),
                   file, l->pgoff << PAGE_SHIFT);
    fput(v->cpu, file);
    return ret;
}

static s64 map_special_line(struct verify *v, const struct map_line *l) NO_LOCK_ANALYSIS
{
    vm_flags_t flags = SPECIAL_FLAGS | (l->prot & PROT_EXEC_ ? VM_EXEC : VM_IO | VM_PFNMAP);
    struct mm *mm = v->cpu->current->mm;
    s64 ret;

    down_write(v->cpu, &mm->mmap_lock);
    ret = do_mmap_fixed_special(v->cpu, mm, l->start, l->end - l->start, flags, VM_OPS_SPECIAL);
    up_write(v->cpu, &mm->mmap_lock);
    return ret;
}

static s64 map_ring_line(struct verify *v, struct vtask *t, const struct map_line *l)
{
    bool socket = !is_named(l, IO_URING_NAME);
    struct native_file f = {.mode = socket ? S_IFSOCK : 0600, .open_flags = 2};
    struct file *file = space_file(v, t->space, -1, &f, socket ? "" : IO_URING_NAME);
    s64 ret;

    if (IS_ERR(file))
        return PTR_ERR(file);
    ret =
        sys_mmap(v->cpu, l->start, l->end - l->start, l->prot, MAP_FIXED_ | MAP_SHARED_, file, l->pgoff << PAGE_SHIFT);
    fput(v->cpu, file);
    return ret;
}

/* One line of recorded maps, put in place. */
s64 map_line_force(struct verify *v, struct vtask *t, const struct map_line *l, const struct native_file *known)
{
    if (l->type == 's')
        return map_special_line(v, l);
    if (l->ino && l->type == 'f')
        return map_file_line(v, t, l, known);
    if (l->type == 'd' && !is_named(l, "/dev/zero"))
        return map_ring_line(v, t, l);
    return sys_mmap(v->cpu, l->start, l->end - l->start, l->prot,
                    MAP_FIXED_ | MAP_ANONYMOUS_ | (l->shared ? MAP_SHARED_ : MAP_PRIVATE_) |
                        (l->type == 'g' ? MAP_GROWSDOWN_ : 0),
                    NULL, 0);
}

static s64 map_image(struct verify *v, struct vtask *t, struct image *im)
{
    const char *at = (const char *)im->maps, *end = at + im->maps_len;
    struct map_line l;
    s64 ret = 0;

    while (ret >= 0 && map_line_parse(&at, end, &l)) {
        const struct native_file *f = next_file(&im->files);

        if (l.start >= 1ull << 63 || is_named(&l, "[stack]"))
            continue;
        ret = map_line_force(v, t, &l, f);
    }
    return ret < 0 ? ret : 0;
}

static void set_layout(struct mm *mm, const struct native_exec *e)
{
    mm->start_code = e->start_code;
    mm->end_code = e->end_code;
    mm->start_data = e->start_data;
    mm->end_data = e->end_data;
    mm->start_brk = mm->brk = e->start_brk;
    mm->start_stack = e->start_stack;
    mm->arg_start = e->arg_start;
    mm->arg_end = e->arg_end;
    mm->env_start = e->env_start;
    mm->env_end = e->env_end;
}

static void set_identity(struct task *task, const struct native_exec *e)
{
    for (u32 i = 0; i < NR_RLIMITS; i++)
        task_set_rlimit(task, i, e->limit[i][0], e->limit[i][1]);
    task_set_caps(task, e->cap_effective);
    task_set_ids(task, e->euid, task_gid(task));
    task->personality = e->personality;
}

/* The limit is the program's own: the stack that the kernel made may be larger. */
static s64 build(struct verify *v, struct vtask *t, struct image *im)
{
    u64 stack_bytes = im->stack.end - im->stack.start;
    struct exec_layout layout = {.stack_top = im->stack.end,
                                 .stack_size = stack_bytes > STACK_EXPAND ? stack_bytes - STACK_EXPAND : stack_bytes,
                                 .mmap_base = im->mmap_base};
    s64 err;

    memcpy(layout.comm, im->e->comm, sizeof(layout.comm));
    layout.comm[sizeof(layout.comm) - 1] = 0;
    world_run(v, t);
    err = exec_mmap(v->cpu, &layout);
    if (err)
        return err;
    switch_mm(v->cpu, t->task->mm);
    if (!t->task->mm->topdown)
        t->task->mm->mmap_base = t->task->mm->mmap_legacy_base = im->legacy_base;
    err = map_image(v, t, im);
    set_layout(t->task->mm, im->e);
    return err;
}

/* The recorder may not look into it: some address space, until the next execve. */
static int build_unseen(struct verify *v, struct vtask *t, const struct native_exec *e)
{
    struct exec_layout layout = {.stack_top = UNSEEN_STACK, .stack_size = PAGE_SIZE};
    int err;

    memcpy(layout.comm, e->comm, sizeof(layout.comm));
    world_run(v, t);
    err = exec_mmap(v->cpu, &layout);
    if (!err)
        switch_mm(v->cpu, t->task->mm);
    v->r.unseen++;
    return err;
}

/* NULL: the machine has no memory for it. */
static struct vtask *first_task(struct verify *v, const struct native_exec *e)
{
    struct mm *mm = mm_alloc(v->cpu);
    struct task *task = mm ? task_create(v->cpu, e->h.tid, e->h.tgid, mm) : NULL;

    if (!task && mm)
        mmput(v->cpu, mm);
    return task ? task_add(v, e->h.tid, e->h.tgid, task, space_new()) : NULL;
}

/* execve ends the process's other threads; the one that called goes on under the process's number. */
static void end_other_threads(struct verify *v, s32 tgid)
{
    for (u32 i = 0; i < HASH; i++) {
        struct vtask *t, *next;

        list_for_each_entry_safe (t, next, &v->tasks[i], hash)
            if (t->tgid == tgid && t->tid != tgid)
                task_remove(v, t);
    }
}

int world_exec(struct verify *v, const struct native_exec *e, const struct parts *parts, char *why, size_t why_size)
{
    struct vtask *t = world_task(v, e->h.tid);
    struct image im = {.e = e, .files = *parts};
    s64 err;

    im.maps = parts_find(parts, NATIVE_MAPS_TEXT, 0, &im.maps_len);
    if (e->h.tid != e->h.tgid) {
        snprintf(why, why_size, "an execve by thread %d of process %d", e->h.tid, e->h.tgid);
        return -1;
    }
    if (!t)
        t = first_task(v, e);
    if (!t) {
        snprintf(why, why_size, "process %d (%.16s): the machine has no memory for it", e->h.tgid, e->comm);
        return -1;
    }
    end_other_threads(v, e->h.tgid);
    space_put(v, t->space);
    t->space = space_new();
    t->sp_low = ~0ull;
    v->r.execs++;
    set_identity(t->task, e);
    if (im.maps && !find_layout(&im)) {
        snprintf(why, why_size, "an execve of process %d without a stack", e->h.tgid);
        return -1;
    }
    err = im.maps ? build(v, t, &im) : build_unseen(v, t, e);
    if (err) {
        snprintf(why, why_size, "the image of process %d (%.16s) cannot be built: error %d", e->h.tgid, e->comm,
                 (int)-err);
        return -1;
    }
    t->space->known = im.maps;
    maps_take(t->space, (const char *)im.maps, im.maps_len, e->h.seq);
    return 0;
}

/* -- fork, exit ---------------------------------------------------------------------------------------------------- */

static struct vspace *space_of_child(struct vtask *parent, u64 flags)
{
    struct vspace *s;

    if (flags & CLONE_VM_) {
        parent->space->users++;
        return parent->space;
    }
    s = space_new();
    s->known = parent->space->known;
    s->absorb = parent->space->absorb || parent->space->has_device;
    s->has_device = parent->space->has_device;
    s->last = parent->space->last;
    if (s->last.file)
        get_file(s->last.file);
    maps_take(s, parent->space->text, parent->space->len, parent->space->text_seq);
    return s;
}

static bool is_memory_errno(s32 err)
{
    return err == 0 || err == -ENOMEM;
}

#define NOT_RECORDED 1

/* Would the machine refuse it for its arguments? 0, -errno or NOT_RECORDED. */
static s64 own_refusal(const struct verify *v, const struct native_clone *e, const struct native_clone_args *args)
{
    struct abi_clone_args a;

    if (e->event & NATIVE_BY_CLONE)
        return abi_clone_check(e->flags);
    if (!args || (args->known < MIN(args->size, sizeof(a)) && args->size <= PAGE_SIZE))
        return NOT_RECORDED;
    memcpy(&a, args->arg, sizeof(a));
    return abi_clone3_check(v->cpu, &a, args->size);
}

/* What else the kernel says EINVAL and E2BIG for: namespaces, its process, ids that are asked for, bytes not recorded. */
static bool may_hang_on_others(const struct native_clone *e, const struct native_clone_args *args)
{
    const u64 flags = CLONE_NEWNS_ | CLONE_NEWCGROUP_ | CLONE_NEWUTS_ | CLONE_NEWIPC_ | CLONE_NEWUSER_ | CLONE_NEWPID_ |
                      CLONE_NEWNET_ | CLONE_PARENT_ | CLONE_THREAD_;

    if (e->err == -E2BIG || (e->flags & flags))
        return true;
    return args && (e->flags & (CLONE_NEWTIME_ | CLONE_INTO_CGROUP_) || args->arg[8] /* set_tid */);
}

/* Refused by the kernel for its arguments, or not at all. */
static void judge_arguments(struct verify *v, const struct native_clone *e, const struct native_clone_args *args)
{
    struct verify_tally *tally = &v->r.tally[VERIFY_FORK];
    s64 own = own_refusal(v, e, args);

    if (own == e->err) {
        tally->agreed++;
    } else if (own == NOT_RECORDED || (own == 0 && may_hang_on_others(e, args))) {
        tally->not_modelled++;
    } else {
        tally->disagreed++;
        disagree(v, VERIFY_FORK, &e->h, "flags %#llx: kernel: error %d, machine: error %d",
                 (unsigned long long)e->flags, -e->err, (int)-own);
    }
}

int world_clone(struct verify *v, const struct native_clone *e, const struct native_clone_args *args, char *why,
                size_t why_size)
{
    struct vtask *t = world_task(v, e->h.tid), *same = e->child ? world_task(v, e->child) : NULL;
    struct verify_tally *tally = &v->r.tally[VERIFY_FORK];
    struct task *child;

    if (!t)
        return 0;
    if (same == t) {
        snprintf(why, why_size, "thread %d is its own child", e->child);
        return -1;
    }
    if (same)
        task_remove(v, same); /* its end was not recorded */
    world_run(v, t);
    if (e->err == -EINVAL || e->err == -E2BIG) {
        judge_arguments(v, e, args);
        return 0;
    }
    if (!is_memory_errno(e->err)) {
        tally->not_modelled++; /* limits on processes, rights */
        return 0;
    }
    child = kernel_clone(v->cpu, e->flags, e->child ? e->child : -2, e->child_tgid ? e->child_tgid : -2);
    if (IS_ERR(child) && e->child) {
        snprintf(why, why_size, "fork of process %d: the machine has no memory for it", e->h.tgid);
        return -1;
    }
    if (!e->child && !IS_ERR(child)) {
        tally->disagreed++;
        disagree(v, VERIFY_FORK, &e->h, "kernel: error %d, machine: done", -e->err);
        task_exit(v->cpu, child);
        return 0;
    }
    if (own_refusal(v, e, args) < 0)
        judge_arguments(v, e, args);
    else
        tally->agreed++;
    if (e->child)
        task_add(v, e->child, e->child_tgid, child, space_of_child(t, e->flags));
    return 0;
}

void world_exit(struct verify *v, const struct native_exit *e)
{
    struct vtask *t = world_task(v, e->h.tid);

    if (t)
        task_remove(v, t);
}

void world_end(struct verify *v)
{
    for (u32 i = 0; i < HASH; i++)
        while (!list_empty(&v->tasks[i]))
            task_remove(v, list_first_entry(&v->tasks[i], struct vtask, hash));
    objects_end(v);
}
