/* SPDX-License-Identifier: MIT */
/*
 * Recording: the events beside accesses, and what the machines know to be mapped. Mappings that no call has made are
 * found when a page is accessed that lies outside of all known ranges: they become FOUND events, before the access.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/resource.h>

#include "calls.h"
#include "known.h"
#include "record.h"

#define NR_TOLD 1024u

/* K1 */
static u64 told[NR_TOLD];  /* files whose FILE event is in the trace */
static struct known known; /* mapped ranges that machines were told of */

static struct recorder *begin(struct vcpu *v)
{
    struct recorder *r = recorders[v->index];

    if (r)
        r->event.len = 0;
    return r;
}

static void put(struct recorder *r, enum trace_field field, u64 value)
{
    trace_buf_field(&r->event, field, value);
}

static void put_text(struct recorder *r, enum trace_field field, const char *text)
{
    trace_buf_field_bytes(&r->event, field, text, strlen(text));
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static u64 file_id(const struct host_file *f)
{
    u64 id = (f->ino + 1) * 0x9e3779b97f4a7c15ull ^ (f->dev + 1) * 0xc2b2ae3d27d4eb4full;

    return id ^ id >> 29;
}

static bool is_told(u64 id)
{
    bool was;

    record_lock();
    was = told[id % NR_TOLD] == id;
    told[id % NR_TOLD] = id;
    record_unlock();
    return was;
}

/* A FILE event, unless there was one. */
static void tell_file(struct recorder *r, const struct host_file *f)
{
    u64 id = file_id(f);

    if (!f->there || is_told(id))
        return;
    r->event.len = 0;
    put(r, TF_ID, id);
    put(r, TF_DEV, f->dev);
    put(r, TF_INO, f->ino);
    put(r, TF_SIZE, f->size);
    put_text(r, TF_PATH, f->name);
    record_put(r, TRACE_FILE);
    r->event.len = 0;
}

static void put_file(struct recorder *r, const struct host_file *f)
{
    if (!f->there)
        return;
    put(r, TF_FILE_ID, file_id(f));
    put(r, TF_FILE_SIZE, f->size);
}

/* -- what is mapped ------------------------------------------------------------------------------------------------ */

static bool is_known(va_t va)
{
    bool is;

    record_lock();
    is = known_has(&known, va);
    record_unlock();
    return is;
}

static void know(u64 start, u64 end)
{
    record_lock();
    known_add(&known, start, end);
    record_unlock();
}

void record_unknown(struct vcpu *v, va_t va)
{
    struct recorder *r = begin(v);
    struct host_map m;
    struct host_file f;

    if (is_known(va) || !host_map_find(va, &m))
        return;
    know(m.start, m.end);
    if (host_map_file(&f, &m))
        tell_file(r, &f);
    put(r, TF_ADDR, m.start);
    put(r, TF_SIZE, m.end - m.start);
    put(r, TF_PROT, m.prot);
    put(r, TF_FLAGS, m.shared ? 1 : 0);
    put(r, TF_OFFSET, m.offset);
    put_file(r, &f);
    record_put(r, TRACE_FOUND);
}

static void follow_known(struct vcpu *v, u64 ret)
{
    if (ret > -4096ul)
        return;
    record_lock();
    switch (sys_id(process.arch, v->nr)) {
    case SYS_mmap:
        known_add(&known, ret, ALIGN_UP(ret + v->arg[1], PAGE_SIZE));
        break;
    case SYS_munmap:
        known_cut(&known, v->arg[0], ALIGN_UP(v->arg[0] + v->arg[1], PAGE_SIZE));
        break;
    case SYS_mremap:
        known_cut(&known, v->arg[0], ALIGN_UP(v->arg[0] + v->arg[1], PAGE_SIZE));
        known_add(&known, ret, ALIGN_UP(ret + v->arg[2], PAGE_SIZE));
        break;
    case SYS_brk:
        known_add(&known, known.brk & PAGE_MASK, ALIGN_UP(ret, PAGE_SIZE));
        break;
    case SYS_shmat:
        known_add(&known, ret, ALIGN_UP(ret + (v->file.there ? v->file.size : 0), PAGE_SIZE));
        break;
    default:
        break;
    }
    record_unlock();
}

/* -- events -------------------------------------------------------------------------------------------------------- */

void record_simple(struct vcpu *v, enum trace_type type)
{
    struct recorder *r = recorders[v->index];

    if (!r)
        return;
    r->released = type == TRACE_RELEASE;
    if (type != TRACE_ACQUIRE)
        vcpu_publish(v); /* counts belong before a release, and behind an acquire */
    begin(v);
    record_put(r, type);
}

void record_count(struct vcpu *v)
{
    struct recorder *r = begin(v);
    const struct vcpu_hot *h = vcpu_hot(v);

    if (!r || !(h->accesses | h->blocks))
        return;
    put(r, TF_ACCESSES, h->accesses);
    put(r, TF_BLOCKS, h->blocks);
    record_put(r, TRACE_COUNT);
    atomic_fetch_add_explicit(&process.s->trace.words, r->words, memory_order_relaxed);
    r->words = 0;
}

void record_enter(struct vcpu *v, enum record_cpus cpus)
{
    struct recorder *r = begin(v);

    if (!r)
        return;
    put(r, TF_RAW_NR, (u64)v->nr);
    put(r, TF_FLAGS, cpus);
    if (sys_table[sys_id(process.arch, v->nr)].class == FORK) {
        put(r, TF_ARG0, v->arg[0]);
        put(r, TF_CHILD_STREAM, v->child_thread ? v->child_thread->stream : 0);
    }
    record_put(r, TRACE_CALL_ENTER);
    record_forget(r);
}

void record_call(struct vcpu *v, s64 ret)
{
    bool mem = sys_table[sys_id(process.arch, v->nr)].class == MEM; /* then v->file belongs to the call */
    struct recorder *r = begin(v);

    if (!r)
        return;
    follow_known(v, (u64)ret);
    if (mem)
        tell_file(r, &v->file);
    put(r, TF_RAW_NR, (u64)v->nr);
    for (u32 i = 0; i < 6; i++)
        put(r, (enum trace_field)(TF_ARG0 + i), v->arg[i]);
    put(r, TF_RESULT, (u64)ret);
    if (mem)
        put_file(r, &v->file);
    record_put(r, TRACE_CALL);
    record_forget(r);
}

void record_touch(struct vcpu *v, va_t va, u64 len, enum mmu_access_kind kind)
{
    struct recorder *r = begin(v);

    if (!r || !len || va + len < va)
        return;
    for (va_t page = va & PAGE_MASK; page < va + len; page += PAGE_SIZE)
        record_unknown(v, page);
    r->event.len = 0;
    put(r, TF_ADDR, va);
    put(r, TF_SIZE, len);
    put(r, TF_KIND, kind);
    record_put(r, TRACE_TOUCH);
}

void record_file_io(struct vcpu *v, const struct host_file *f, u64 pos, u64 len, enum mmu_access_kind kind)
{
    struct recorder *r = begin(v);

    if (!r)
        return;
    tell_file(r, f);
    put_file(r, f);
    put(r, TF_OFFSET, pos);
    put(r, TF_SIZE, len);
    put(r, TF_KIND, kind);
    record_put(r, TRACE_FILE_IO);
}

void record_file_size(struct vcpu *v, const struct host_file *f)
{
    struct recorder *r = begin(v);

    if (!r)
        return;
    tell_file(r, f);
    put_file(r, f);
    record_put(r, TRACE_FILE_SIZE);
}

void record_task(struct vcpu *v, enum record_task how)
{
    struct recorder *r;
    bool released;

    if (!process.recording || !v->thread)
        return;
    baton_take(v);
    if (how == TASK_FORKED)
        record_child();
    released = !record_wait_for_cpus(v); /* otherwise it gets them with the event */
    if (!v->thread)
        return; /* the process has ended */
    r = recorder_start(v, how == TASK_EXECED);
    if (!r)
        return;
    r->released = released;
    record_ticket(v);
    r->event.len = 0;
    put(r, TF_TID, v->tid);
    put(r, TF_PID, (u64)process.pid);
    put(r, TF_FLAGS, how);
    if (released)
        put(r, TF_KIND, CPUS_RELEASED);
    put_text(r, TF_ARCH, guest_arch_name[process.arch]);
    record_put(r, TRACE_TASK);
}

/* -- execve -------------------------------------------------------------------------------------------------------- */

static void put_part(struct recorder *r, const struct image_part *p)
{
    u64 load[ELF_MAX_LOADS][5];

    for (u32 i = 0; i < p->nr_loads; i++)
        memcpy(load[i],
               (u64[]){p->load[i].vaddr, p->load[i].memsz, p->load[i].filesz, p->load[i].offset, p->load[i].prot},
               sizeof(load[i]));
    put_file(r, &p->file);
    put(r, TF_BIAS, p->bias);
    trace_buf_field_bytes(&r->event, TF_LOADS, load, p->nr_loads * sizeof(load[0]));
}

static void know_part(const struct image_part *p)
{
    for (u32 i = 0; i < p->nr_loads; i++) {
        u64 start = p->load[i].vaddr + p->bias, end = ALIGN_UP(start + p->load[i].memsz, PAGE_SIZE);

        known_add(&known, start & PAGE_MASK, end);
        known.brk = MAX(known.brk, end);
    }
}

/* What execve(2) maps for the stack, and what it may grow to. */
static void know_stack(const struct image *im)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur > 64u << 20)
        limit.rlim_cur = 8u << 20;
    known_add(&known, (im->stack_top - limit.rlim_cur) & PAGE_MASK, im->stack_top);
}

void record_image(struct vcpu *v, const struct image *im, const char *comm)
{
    struct recorder *r = begin(v);

    if (!r)
        return;
    record_lock();
    known_clear(&known);
    know_part(&im->interp);
    known.brk = 0;
    know_part(&im->exe);
    know_stack(im);
    record_unlock();
    tell_file(r, &im->exe.file);
    tell_file(r, &im->interp.file);
    put_text(r, TF_COMM, comm);
    put(r, TF_STACK_TOP, im->stack_top);
    put(r, TF_STACK, im->sp);
    trace_buf_field_bytes(&r->event, TF_AUXV, im->auxv, im->nr_auxv * sizeof(im->auxv[0]));
    put_part(r, &im->exe);
    put_part(r, &im->interp);
    record_put(r, TRACE_EXEC);
    record_forget(r);
}
