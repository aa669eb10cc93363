/* SPDX-License-Identifier: MIT */
/* Replay: the events of threads and processes. replay.h has the theory. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "replay_priv.h"

#define HASH 1024u
#define MAX_IO (1ull << 31) /* Linux's MAX_RW_COUNT is a page less */
#define MAX_USER_VA (1ull << 56)
#define MAX_FILES (1u << 20)
#define IDLE_EVERY 256u /* events */

struct replay {
    struct session *s;
    struct replay_result *result;
    const struct replay_watch *watch; /* NULL: nobody does */
    struct replay_thread *thread[HASH];
    struct replay_thread *current;
    struct replay_process *process; /* the one that `process` shows */
    /* files, by id: open addressing */
    struct replay_file {
        u64 id;
        struct host_file file;
    } * file;
    u32 nr_files, file_room;
    bool bad;
};

static struct replay *replay; /* host_map_find() has no argument for it */

static void bad(const struct trace_event *e, const char *format, ...) __printf_like(2, 3);

static void bad(const struct trace_event *e, const char *format, ...)
{
    char what[256];
    va_list ap;

    if (replay->bad)
        return;
    replay->bad = true;
    va_start(ap, format);
    vsnprintf(what, sizeof(what), format, ap);
    va_end(ap);
    snprintf(replay->result->text, sizeof(replay->result->text), "offset %llu: %s event of stream %u: %s",
             (unsigned long long)e->offset, trace_type_name(e->type), e->stream, what);
}

/* -- threads ------------------------------------------------------------------------------------------------------- */

static struct replay_thread *find_thread(u32 stream)
{
    struct replay_thread *t = replay->thread[stream % HASH];

    while (t && t->stream != stream)
        t = t->next;
    return t;
}

static struct replay_thread *new_thread(u32 stream)
{
    struct replay_thread *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->stream = stream;
    t->next = replay->thread[stream % HASH];
    replay->thread[stream % HASH] = t;
    return t;
}

static struct vcpu *new_vcpu(void)
{
    for (u32 i = 0; i < MAX_VCPUS; i++)
        if (vcpus[i].state == VCPU_NONE) {
            vcpu_clear(&vcpus[i]);
            vcpus[i].state = VCPU_USER;
            process.vcpu_top = MAX(process.vcpu_top, i + 1);
            return &vcpus[i];
        }
    return NULL;
}

static void put_process(struct replay_process *p)
{
    if (!p || --p->refs)
        return;
    if (replay->process == p)
        replay->process = NULL;
    free(p->found);
    free(p);
}

/* The thread is gone; its entry stays, so that a late event of its stream is seen to be one. */
static void end_thread(struct replay_thread *t)
{
    if (t->v)
        vcpu_clear(t->v);
    t->v = NULL;
    put_process(t->p);
    t->p = NULL;
    t->to_be = NULL;
    t->in_call = false;
}

/* P1 */
static void show_process(struct replay_process *p)
{
    if (replay->process)
        replay->process->nr_threads = atomic_load(&process.nr_threads);
    replay->process = p;
    process.slot = p->slot;
    process.slot_index = session_proc_index(replay->s, p->slot);
    process.pid = p->pid;
    process.arch = p->arch;
    atomic_store(&process.nr_threads, p->nr_threads);
}

static bool has_free_cpu(const struct machine *m)
{
    for (u32 id = 0; id < m->nr_cpus; id++)
        if (!atomic_load(&m->cpus[id].owner))
            return true;
    return false;
}

/* The thread on a CPU of machine i that had its latest event longest ago. */
static struct replay_thread *longest_ago(const struct vcpu *but, u32 i)
{
    struct replay_thread *found = NULL;

    for (u32 h = 0; h < HASH; h++)
        for (struct replay_thread *t = replay->thread[h]; t; t = t->next)
            if (t->v && t->v != but && t->v->cpu[i] && (!found || t->ticket < found->ticket))
                found = t;
    return found;
}

/* A free CPU on each machine where v needs one. */
static bool rob(struct vcpu *v)
{
    for (u32 i = 0; i < process.nr_machines; i++) {
        struct replay_thread *t;

        if (v->cpu[i] || session_machine_is_dead(replay->s, i) || has_free_cpu(process.machine[i]))
            continue;
        t = longest_ago(v, i);
        if (!t)
            continue;
        t->robbed = true;
        vcpu_release(t->v);
    }
    return true;
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static struct replay_file *file_slot(u64 id)
{
    u32 i = (u32)(id * 0x9e3779b97f4a7c15ull >> 32) & (replay->file_room - 1);

    while (replay->file[i].file.there && replay->file[i].id != id)
        i = (i + 1) & (replay->file_room - 1);
    return &replay->file[i];
}

static bool grow_files(void)
{
    struct replay_file *old = replay->file;
    u32 room = replay->file_room;

    if (room && replay->nr_files < room / 2)
        return true;
    replay->file_room = room ? 2 * room : 256;
    replay->file = replay->file_room > MAX_FILES ? NULL : calloc(replay->file_room, sizeof(*replay->file));
    if (!replay->file) {
        replay->file = old;
        replay->file_room = room;
        return false;
    }
    for (u32 i = 0; i < room; i++)
        if (old[i].file.there)
            *file_slot(old[i].id) = old[i];
    free(old);
    return true;
}

static void on_file(const struct trace_event *e)
{
    u64 id = trace_get(e, TF_ID, 0);
    struct replay_file *f;

    if (!grow_files()) {
        bad(e, "more files than a replay can hold");
        return;
    }
    f = file_slot(id);
    replay->nr_files += !f->file.there;
    f->id = id;
    f->file = (struct host_file){true, trace_get(e, TF_DEV, 0), trace_get(e, TF_INO, 0), trace_get(e, TF_SIZE, 0), ""};
    trace_get_text(e, TF_PATH, f->file.name, sizeof(f->file.name));
}

/* With the size that is known at this point; false: the id is not known. */
static bool file_by_id(u64 id, u64 size, struct host_file *out)
{
    struct replay_file *f = replay->file_room ? file_slot(id) : NULL;

    *out = (struct host_file){0};
    if (!f || !f->file.there || (size != SIZE_GONE && size > MAX_USER_VA))
        return false;
    *out = f->file;
    out->size = size;
    return true;
}

/* The file of an event; there is none: *out says so. False: a bad event. */
static bool file_of_event(const struct trace_event *e, struct host_file *out)
{
    *out = (struct host_file){0};
    if (!trace_has(e, TF_FILE_ID))
        return true;
    if (file_by_id(trace_get(e, TF_FILE_ID, 0), trace_get(e, TF_FILE_SIZE, 0), out))
        return true;
    bad(e, "a file that is not known, or an impossible size");
    return false;
}

/* -- mappings found ------------------------------------------------------------------------------------------------ */

bool host_map_find(va_t va, struct host_map *out)
{
    const struct replay_process *p = replay->process;

    for (u32 i = p->nr_found; i > 0; i--)
        if (va >= p->found[i - 1].map.start && va < p->found[i - 1].map.end) {
            *out = p->found[i - 1].map;
            return true;
        }
    return false;
}

bool host_map_file(struct host_file *f, const struct host_map *m)
{
    const struct replay_process *p = replay->process;

    *f = (struct host_file){0};
    for (u32 i = p->nr_found; i > 0 && !f->there; i--)
        if (m->start == p->found[i - 1].map.start)
            *f = p->found[i - 1].file;
    return f->there;
}

static void on_found(const struct trace_event *e, struct replay_process *p)
{
    struct replay_found *more = realloc(p->found, (p->nr_found + 1) * sizeof(*more)), *f;

    if (!more) {
        bad(e, "no memory");
        return;
    }
    p->found = more;
    f = &more[p->nr_found];
    *f = (struct replay_found){0};
    f->map.start = trace_get(e, TF_ADDR, 0) & PAGE_MASK;
    f->map.end = f->map.start + (trace_get(e, TF_SIZE, 0) & PAGE_MASK);
    f->map.prot = (u32)trace_get(e, TF_PROT, 0) & 7;
    f->map.shared = trace_get(e, TF_FLAGS, 0) & 1;
    f->map.offset = trace_get(e, TF_OFFSET, 0) & PAGE_MASK;
    if (f->map.end <= f->map.start || f->map.end > MAX_USER_VA)
        bad(e, "an impossible range");
    else if (file_of_event(e, &f->file))
        p->nr_found++;
}

/* -- processes and threads begin ----------------------------------------------------------------------------------- */

static enum guest_arch arch_of(const struct trace_event *e)
{
    char name[32];

    trace_get_text(e, TF_ARCH, name, sizeof(name));
    for (u32 a = 0; a < NR_GUEST_ARCHS; a++)
        if (strcmp(guest_arch_name[a], name) == 0)
            return (enum guest_arch)a;
    return GUEST_X86_64;
}

static struct replay_process *new_process(struct session_proc *slot, const struct replay_process *parent)
{
    struct replay_process *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->slot = slot;
    p->refs = 1;
    p->nr_threads = 1;
    if (!parent || !parent->nr_found)
        return p;
    p->found = malloc(parent->nr_found * sizeof(*p->found));
    if (p->found) {
        memcpy(p->found, parent->found, parent->nr_found * sizeof(*p->found));
        p->nr_found = parent->nr_found;
    }
    return p;
}

enum task_kind { TASK_FIRST, TASK_FORKED, TASK_THREAD, TASK_EXECED }; /* as record.h has them */

/* Threads of t's process but t are gone. */
static void end_others(struct replay_thread *but)
{
    for (u32 h = 0; h < HASH; h++)
        for (struct replay_thread *t = replay->thread[h]; t; t = t->next)
            if (t != but && t->v && t->p == but->p)
                end_thread(t);
}

static bool begin_first(struct replay_thread *t)
{
    struct session_proc *slot = &replay->s->proc[0];

    if (replay->process || atomic_load(&slot->state) != PROC_FORKING)
        return false;
    t->p = new_process(slot, NULL);
    return t->p;
}

static bool begin_forked(struct replay_thread *t)
{
    struct replay_process *parent = t->p;

    if (!t->to_be)
        return false;
    if (!t->slot_to_be)
        return parent; /* a thread: its process is there */
    t->p = new_process(t->slot_to_be, parent);
    put_process(parent);
    return t->p;
}

/* The main thread of a process that was replaced. */
static bool begin_execed(struct replay_thread *t)
{
    struct session_thread *keep;

    if (!t->v || !t->v->thread)
        return false;
    keep = t->v->thread;
    show_process(t->p);
    end_others(t);
    session_release_dead_cpus(replay->s, t->p->slot);
    vcpu_clear(t->v);
    rob(t->v);
    session_drop_threads(replay->s, t->p->slot, keep, DROP_WAIT);
    t->v->thread = keep;
    t->p->nr_threads = 1;
    t->p->nr_found = 0;
    atomic_store(&process.nr_threads, 1);
    return true;
}

static bool begin(struct replay_thread *t, enum task_kind kind)
{
    switch (kind) {
    case TASK_FIRST:
        return begin_first(t);
    case TASK_FORKED:
    case TASK_THREAD:
        return (kind == TASK_FORKED) == (t->slot_to_be != NULL) && begin_forked(t);
    case TASK_EXECED:
        return begin_execed(t);
    default:
        return false;
    }
}

/* An imported trace has no execve that would tell. */
static void name_first(const struct trace_event *e, struct replay_thread *t)
{
    if (!trace_has(e, TF_COMM) || !t->v->thread)
        return;
    trace_get_text(e, TF_COMM, t->p->slot->comm, sizeof(t->p->slot->comm));
    for (u32 i = 0; i < process.nr_machines; i++)
        if (t->v->thread->task[i])
            memcpy(t->v->thread->task[i]->comm, t->p->slot->comm, sizeof(t->p->slot->comm));
}

static void on_task(const struct trace_event *e, struct replay_thread *t)
{
    enum task_kind kind = (enum task_kind)trace_get(e, TF_FLAGS, 99);
    s32 tid = (s32)trace_get(e, TF_TID, 0), pid = (s32)trace_get(e, TF_PID, 0);
    struct vcpu *v;

    if (tid <= 0 || pid <= 0 || (kind == TASK_EXECED) != (t->v != NULL) || !begin(t, kind)) {
        bad(e, "no such thread can begin here");
        return;
    }
    v = t->v ? t->v : new_vcpu();
    if (!v) {
        bad(e, "more threads at once than a replay can hold");
        return;
    }
    t->v = v;
    t->p->pid = pid;
    t->p->arch = arch_of(e);
    show_process(t->p);
    v->state = VCPU_USER;
    v->tid = (u32)tid;
    if (kind == TASK_FIRST) {
        v->thread = tasks_first(v);
        name_first(e, t);
    } else if (kind != TASK_EXECED) {
        v->thread = t->to_be;
    }
    t->to_be = NULL;
    if (!v->thread) {
        bad(e, "no memory for a thread");
        return;
    }
    if (kind == TASK_FIRST || kind == TASK_EXECED)
        t->p->slot->main_thread = (u32)(v->thread - replay->s->thread);
    tasks_set_ids(v->thread, kind == TASK_THREAD ? tid : pid, pid);
    atomic_store(&v->thread->tid, tid);
    if (kind != TASK_THREAD) {
        atomic_store(&t->p->slot->pid, pid);
        atomic_store(&t->p->slot->state, PROC_LIVE);
    }
    replay_words_reset(t);
    if (trace_get(e, TF_KIND, 0) != 1) /* else it found no CPU */
        vcpu_acquire(v);
}

static bool read_part(const struct trace_value *v, struct image_part *p)
{
    u64 load[5];

    if (v->bytes.len % sizeof(load) || v->bytes.len > sizeof(load) * ELF_MAX_LOADS)
        return false;
    p->nr_loads = (u32)(v->bytes.len / sizeof(load));
    for (u32 i = 0; i < p->nr_loads; i++) {
        memcpy(load, v->bytes.p + i * sizeof(load), sizeof(load));
        p->load[i] = (struct elf_load){load[0], load[1], load[2], load[3], (u32)load[4] & 7};
        if (load[2] > load[1] || load[1] > MAX_USER_VA || load[0] + p->bias > MAX_USER_VA - load[1])
            return false;
    }
    return true;
}

static void read_auxv(const struct trace_value *v, struct image *im)
{
    im->nr_auxv = (u32)MIN(v->bytes.len / sizeof(u64), (u64)AT_VECTOR_SIZE);
    if (im->nr_auxv)
        memcpy(im->auxv, v->bytes.p, im->nr_auxv * sizeof(u64));
}

/* FILE_ID, FILE_SIZE, BIAS, LOADS of the program, then of its loader. */
static bool read_image(const struct trace_event *e, struct image *im)
{
    struct image_part *part[2] = {&im->exe, &im->interp}, *p = part[0];
    struct trace_value v;
    const u8 *at = NULL;
    u32 n = 0;
    u64 id = 0;

    while (trace_next_value(e, &at, &v)) {
        if (v.field == TF_FILE_ID)
            id = v.number;
        else if (v.field == TF_FILE_SIZE && !file_by_id(id, v.number, &p->file))
            return false;
        else if (v.field == TF_BIAS)
            p->bias = v.number;
        else if (v.field == TF_AUXV)
            read_auxv(&v, im);
        else if (v.field == TF_LOADS && (n == 2 || !v.bytes.p || !read_part(&v, part[n++])))
            return false;
        p = part[MIN(n, 1u)];
    }
    im->stack_top = trace_get(e, TF_STACK_TOP, 0);
    im->sp = trace_get(e, TF_STACK, 0);
    return !im->exe.nr_loads || (im->stack_top < MAX_USER_VA && !(im->stack_top & ~PAGE_MASK) &&
                                 im->sp < im->stack_top && im->stack_top - im->sp < 16u << 20);
}

static void on_exec(const struct trace_event *e, struct replay_thread *t)
{
    struct image im = {0};
    char comm[16];

    if (!read_image(e, &im))
        bad(e, "an impossible image");
    else
        image_follow(t->v, &im, trace_get_text(e, TF_COMM, comm, sizeof(comm)));
}

/* -- calls --------------------------------------------------------------------------------------------------------- */

static void prepare_child(const struct trace_event *e, struct replay_thread *t, enum sys_id id)
{
    u32 stream = (u32)trace_get(e, TF_CHILD_STREAM, 0);
    const u64 arg[6] = {trace_get(e, TF_ARG0, 0)};
    struct replay_thread *child;

    if (stream && find_thread(stream)) {
        bad(e, "the child's stream has begun already");
        return;
    }
    rob(t->v);
    fork_prepare(t->v, sys_clone_flags(id, arg));
    if (!stream || !t->v->child_thread)
        return;
    child = new_thread(stream);
    if (!child) {
        bad(e, "no memory");
        return;
    }
    child->p = t->p;
    t->p->refs++;
    child->to_be = t->v->child_thread;
    child->slot_to_be = t->v->child;
    if (!t->v->child)
        atomic_fetch_add(&process.nr_threads, 1);
}

static void on_call_enter(const struct trace_event *e, struct replay_thread *t)
{
    struct vcpu *v = t->v;
    enum sys_id id;

    v->nr = (s64)trace_get(e, TF_RAW_NR, 0);
    id = sys_id(process.arch, v->nr);
    if (sys_table[id].class == FORK)
        prepare_child(e, t, id);
    if (trace_get(e, TF_FLAGS, 0) & 1)
        vcpu_release(v);
}

/* The child that fork_prepare() made is not to be. */
static void undo_child(struct vcpu *v)
{
    vcpu_release(v);
    for (u32 h = 0; h < HASH; h++)
        for (struct replay_thread *t = replay->thread[h]; t; t = t->next)
            if (v->child_thread && t->to_be == v->child_thread)
                end_thread(t);
    if (v->child) {
        session_drop_threads(replay->s, v->child, NULL, DROP_WAIT);
        session_proc_free(v->child);
    } else if (v->child_thread) {
        session_drop_thread(replay->s, process.slot, v->child_thread, DROP_WAIT);
        atomic_fetch_sub(&process.nr_threads, 1);
    }
    vcpu_acquire(v);
}

static void fork_returned(struct vcpu *v, s64 ret)
{
    s32 unknown = 0;

    if (ret < 0)
        undo_child(v);
    else if (v->child)
        atomic_compare_exchange_strong(&v->child->pid, &unknown, (s32)ret);
    v->child = NULL;
    v->child_thread = NULL;
}

static void on_call(const struct trace_event *e, struct replay_thread *t)
{
    s64 ret = (s64)trace_get(e, TF_RESULT, 0);
    struct vcpu *v = t->v;
    u8 class;

    v->nr = (s64)trace_get(e, TF_RAW_NR, 0);
    for (u32 i = 0; i < 6; i++)
        v->arg[i] = trace_get(e, (enum trace_field)(TF_ARG0 + i), 0);
    if (!file_of_event(e, &v->file))
        return;
    class = sys_table[sys_id(process.arch, v->nr)].class;
    if (class == FORK)
        fork_returned(v, ret);
    follow_return(v, ret);
    if (class == MEM)
        follow_address_space(v, ret);
    t->in_call = true;
}

static void on_touch(const struct trace_event *e, struct replay_thread *t)
{
    u64 len = trace_get(e, TF_SIZE, 0), kind = trace_get(e, TF_KIND, 0);

    if (len > MAX_IO || kind > MMU_WRITE)
        bad(e, "an impossible size or kind");
    else
        vcpu_touch(t->v, trace_get(e, TF_ADDR, 0), len, (enum mmu_access_kind)kind);
}

static void on_file_io(const struct trace_event *e, struct replay_thread *t)
{
    u64 pos = trace_get(e, TF_OFFSET, 0), len = trace_get(e, TF_SIZE, 0);
    struct host_file f;

    if (!file_of_event(e, &f))
        return;
    if (len > MAX_IO || pos > MAX_USER_VA || !f.there)
        bad(e, "an impossible size or place");
    else
        follow_file_io(t->v, &f, pos, len, trace_get(e, TF_KIND, 0) == MMU_WRITE ? MMU_WRITE : MMU_READ);
}

static void on_file_size(const struct trace_event *e, struct replay_thread *t)
{
    struct host_file f;

    if (file_of_event(e, &f))
        follow_file_size(t->v, &f);
}

/* -- the end of threads and processes ------------------------------------------------------------------------------ */

/* Nobody of it runs any more. */
static void tell_end(const struct session_proc *slot)
{
    static struct vcpu nobody;

    if (!replay->watch || !replay->watch->process_end)
        return;
    rob(&nobody);
    replay->watch->process_end(replay->s, slot, replay->watch->arg);
}

static void on_thread_exit(struct replay_thread *t)
{
    struct session_thread *thread = t->v->thread;

    vcpu_release(t->v);
    session_drop_thread(replay->s, process.slot, thread, DROP_WAIT);
    atomic_fetch_sub(&process.nr_threads, 1);
    end_thread(t);
}

static void on_process_exit(struct replay_thread *t)
{
    struct session_proc *slot = process.slot;

    vcpu_release(t->v);
    end_others(t);
    rob(t->v);
    tell_end(slot);
    session_drop_threads(replay->s, slot, NULL, DROP_WAIT);
    atomic_store(&slot->state, PROC_EXITED);
    end_thread(t);
}

static void end_threads_of(const struct session_proc *slot)
{
    for (u32 h = 0; h < HASH; h++)
        for (struct replay_thread *t = replay->thread[h]; t; t = t->next)
            if (t->p && (t->to_be ? t->slot_to_be == slot : t->p->slot == slot))
                end_thread(t);
}

/* The launcher's events: what it did to a process that was gone. */
static void on_launcher(const struct trace_event *e)
{
    struct session_proc *slot = session_proc_find(replay->s, (int)trace_get(e, TF_PID, 0));
    static struct vcpu nobody;

    if (!slot || (e->type != TRACE_DEATH && e->type != TRACE_PROCESS_EXIT))
        return;
    session_release_dead_cpus(replay->s, slot); /* an exit without a death: the trace makes no sense, the books do */
    end_threads_of(slot);
    if (e->type == TRACE_DEATH)
        return;
    if (atomic_load(&slot->state) != PROC_EXITED)
        tell_end(slot);
    if (!session_drop_threads(replay->s, slot, NULL, DROP_TRY)) {
        rob(&nobody);
        session_drop_threads(replay->s, slot, NULL, DROP_TRY);
    }
    session_proc_free(slot);
}

/* -- all events ---------------------------------------------------------------------------------------------------- */

static void on_count(const struct trace_event *e, struct replay_thread *t)
{
    vcpu_hot(t->v)->accesses = trace_get(e, TF_ACCESSES, 0);
    vcpu_hot(t->v)->blocks = trace_get(e, TF_BLOCKS, 0);
    vcpu_publish(t->v);
}

static void on_access(const struct trace_event *e, struct replay_thread *t)
{
    replay->result->words += (u64)(e->end - e->body) / 2;
    if (!replay_words(t, e->body, e->end))
        bad(e, "cut off in the middle");
}

static void dispatch(const struct trace_event *e, struct replay_thread *t)
{
    switch (e->type) {
    case TRACE_EXEC:
        on_exec(e, t);
        break;
    case TRACE_CALL_ENTER:
        on_call_enter(e, t);
        break;
    case TRACE_CALL:
        on_call(e, t);
        break;
    case TRACE_TOUCH:
        on_touch(e, t);
        break;
    case TRACE_FILE_IO:
        on_file_io(e, t);
        break;
    case TRACE_FILE_SIZE:
        on_file_size(e, t);
        break;
    case TRACE_FOUND:
        on_found(e, t->p);
        break;
    case TRACE_COUNT:
        on_count(e, t);
        break;
    case TRACE_ACCESS:
        on_access(e, t);
        break;
    case TRACE_RELEASE:
        vcpu_release(t->v);
        break;
    case TRACE_ACQUIRE:
        vcpu_acquire(t->v);
        break;
    case TRACE_THREAD_EXIT:
        on_thread_exit(t);
        break;
    case TRACE_PROCESS_EXIT:
        on_process_exit(t);
        break;
    default: /* not for machines */
        break;
    }
}

static bool belongs_to_call(u32 type)
{
    return type == TRACE_TOUCH || type == TRACE_FILE_IO || type == TRACE_FILE_SIZE || type == TRACE_FILE ||
           type == TRACE_FOUND;
}

/* The thread's turn. */
static void resume(struct replay_thread *t, const struct trace_event *e)
{
    if (replay->process != t->p)
        show_process(t->p);
    if (t->ticket != e->ticket) {
        t->ticket = e->ticket;
        if (t->robbed && e->type != TRACE_CALL_ENTER)
            vcpu_acquire(t->v);
        t->robbed = false;
        vcpu_poll(t->v);
    }
    if (t->in_call && !belongs_to_call(e->type)) {
        t->in_call = false;
        follow_done(t->v);
    }
    if (e->type != TRACE_ACCESS)
        t->stale = 0;
}

static void on_event(const struct trace_event *e)
{
    struct replay_thread *t;

    if (e->stream == 0) {
        on_launcher(e);
        return;
    }
    if (e->type == TRACE_FILE) {
        on_file(e);
        return;
    }
    t = find_thread(e->stream);
    if (!t && e->type == TRACE_TASK)
        t = new_thread(e->stream);
    if (!t || (!t->v && e->type != TRACE_TASK)) {
        bad(e, "its thread has not begun, or has ended");
        return;
    }
    if (e->type == TRACE_TASK) {
        on_task(e, t);
        return;
    }
    resume(t, e);
    dispatch(e, t);
}

static void free_all(void)
{
    for (u32 h = 0; h < HASH; h++)
        for (struct replay_thread *t = replay->thread[h], *next; t; t = next) {
            next = t->next;
            if (t->v)
                vcpu_release(t->v);
            end_thread(t);
            free(t);
        }
    free(replay->file);
}

/* The trace ends before them. */
static void tell_ends_of_all(void)
{
    for (u32 i = 0; i < atomic_load(&replay->s->proc_top); i++)
        if (atomic_load(&replay->s->proc[i].state) == PROC_LIVE)
            tell_end(&replay->s->proc[i]);
}

static void attach(struct session *s)
{
    memset(vcpus, 0, sizeof(vcpus));
    process.s = s;
    process.nr_machines = s->nr_machines;
    process.vcpu_top = 0;
    process.before_acquire = rob;
    for (u32 i = 0; i < s->nr_machines; i++)
        process.machine[i] = (struct machine *)(uintptr_t)s->machine[i].addr;
    vcpu_geometry();
    syscall_init();
}

void replay_trace(struct session *s, struct trace_reader *r, struct replay_result *result,
                  const struct replay_watch *watch)
{
    struct replay state = {.s = s, .result = result, .watch = watch};
    struct trace_event e;

    *result = (struct replay_result){0};
    replay = &state;
    attach(s);
    session_proc_new(s, s->launcher);
    while (!state.bad && (result->status = trace_next(r, &e)) == TRACE_EVENT) {
        on_event(&e);
        if (++result->events % IDLE_EVERY == 0 && watch && watch->idle)
            watch->idle(result, watch->arg);
    }
    if (state.bad)
        result->status = TRACE_BAD;
    else if (result->status != TRACE_END)
        snprintf(result->text, sizeof(result->text), "%s", trace_error(r));
    tell_ends_of_all();
    free_all();
    replay = NULL;
}
