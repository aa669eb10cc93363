/* SPDX-License-Identifier: MIT */
/* Recording: events, words, the baton. record.h has the theory. */
#define _GNU_SOURCE
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "port/port.h"

#define TAKE_IN_BLOCK_MS 2000u    /* longer: the owner may wait for us to leave the block */
#define LOOK_MS 10u               /* how often we look whether it does */
#define STILL_STOPPED_NS 5000000l /* it does: it sleeps as long as this */
#define WAIT_CPU_NS 100000000ull  /* the owner may have died */
#define TICKET_ROOM 64u           /* more than a TICKET event takes */
#define YIELD_NS 2000000ull       /* nobody took it: go on */

struct recorder *recorders[MAX_VCPUS];

static struct trace_packer packer; /* K1 */
static pthread_mutex_t shared = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void record_lock(void)
{
    pthread_mutex_lock(&shared);
}

void record_unlock(void)
{
    pthread_mutex_unlock(&shared);
}

/* -- the baton ----------------------------------------------------------------------------------------------------- */

/* Milliseconds; 0: no limit. */
static bool lock_baton(struct session_trace *t, u32 ms)
{
    struct timespec until;
    int err;

    RACE_POINT(1);
    if (ms) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (long)ms * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        err = pthread_mutex_timedlock(&t->baton, &until);
    } else {
        err = pthread_mutex_lock(&t->baton);
    }
    if (err == EOWNERDEAD) {
        pthread_mutex_consistent(&t->baton);
        stream_repair(process.s);
    } else if (err) {
        return false;
    }
    RACE_POINT(1);
    atomic_fetch_add(&t->taken, 1);
    if (atomic_load(&t->yielding))
        port_futex_wake(&t->taken, INT32_MAX);
    return true;
}

/* process.turn: `runs` 0: nobody is in guest code, `owner` 0: nor has any thread of this process the baton. */
static u64 turn_of(u32 owner, u32 runs)
{
    return owner | (u64)runs << 32;
}

/* Who has the turn sleeps, and not in the memory manager. */
static bool is_stopped(u64 turn)
{
    return turn >> 32 && atomic_load(&process.turn) == turn && !atomic_load(&process.slot->in_core) &&
           !atomic_load(&process.slot->frozen) && thread_sleeps((u32)(turn >> 32));
}

static bool stand_in(struct vcpu *v)
{
    u64 turn = atomic_load(&process.turn);

    if (!is_stopped(turn))
        return false;
    nanosleep(&(struct timespec){.tv_nsec = STILL_STOPPED_NS}, NULL);
    v->stands_for = (u32)turn;
    v->stopped = (u32)(turn >> 32);
    return is_stopped(turn) && atomic_compare_exchange_strong(&process.turn, &turn, turn_of(v->stands_for, 0));
}

static enum baton wait_in_block(struct vcpu *v, struct session_trace *t)
{
    for (u32 ms = 0; ms < TAKE_IN_BLOCK_MS; ms += LOOK_MS) {
        if (lock_baton(t, LOOK_MS))
            return BATON_OWNED;
        if (stand_in(v))
            return BATON_STANDS_IN;
    }
    session_notice(process.s, "process %d: a thread went on out of turn: the trace's order is not exact", process.pid);
    return BATON_NONE;
}

static enum baton take_in_turn(struct vcpu *v)
{
    struct session_trace *t = &process.s->trace;
    enum baton got;

    atomic_fetch_add(&t->waiting, 1);
    atomic_fetch_add(&process.nr_in_turn, 1);
    if (v->in_block)
        got = wait_in_block(v, t);
    else
        got = lock_baton(t, 0) ? BATON_OWNED : BATON_NONE;
    atomic_fetch_sub(&process.nr_in_turn, 1);
    atomic_fetch_sub(&t->waiting, 1);
    return got;
}

void baton_take(struct vcpu *v)
{
    if (process.recording && !v->baton)
        v->baton = take_in_turn(v);
}

void turn_in_guest(struct vcpu *v)
{
    u64 mine = turn_of(v->stands_for, 0);

    if (v->baton == BATON_OWNED)
        atomic_store(&process.turn, turn_of(v->tid, v->tid));
    else if (v->baton)
        atomic_compare_exchange_strong(&process.turn, &mine, turn_of(v->stands_for, v->tid));
}

void turn_in_callback(struct vcpu *v)
{
    u64 mine = turn_of(v->stands_for, v->tid);

    if (v->baton == BATON_OWNED)
        atomic_store(&process.turn, turn_of(v->tid, 0));
    if (v->baton != BATON_STANDS_IN)
        return;
    /* Is the owner stopped still? If not it has been here, or will be: it does not matter what stands there. */
    atomic_compare_exchange_strong(&process.turn, &mine, turn_of(v->stands_for, v->stands_for));
    v->baton = BATON_NONE;
}

bool process_has_ended(void)
{
    return process.recording && atomic_load(&process.slot->state) == PROC_EXITED;
}

void baton_drop(struct vcpu *v)
{
    u64 mine = turn_of(v->stands_for, 0);
    enum baton had = v->baton;

    v->baton = BATON_NONE;
    RACE_POINT(1);
    if (had == BATON_STANDS_IN)
        atomic_compare_exchange_strong(&process.turn, &mine, turn_of(v->stands_for, v->stopped));
    if (had == BATON_OWNED) {
        atomic_store(&process.turn, 0);
        pthread_mutex_unlock(&process.s->trace.baton);
    }
    RACE_POINT(1);
}

bool baton_settle(struct vcpu *v)
{
    if (!process.recording)
        return true;
    turn_in_callback(v);
    baton_take_back(v);
    record_ticket(v);
    return v->state == VCPU_USER;
}

static void record_no_more(struct vcpu *v)
{
    baton_drop(v);
    recorders[v->index] = NULL; /* what it wrote is written by the launcher */
}

void baton_take_back(struct vcpu *v)
{
    baton_take(v);
    while (v->baton && !process_has_ended() && atomic_load(&process.slot->frozen)) {
        baton_drop(v);
        gate_enter(process.slot); /* until it has been replaced, or has not */
        gate_leave(process.slot);
        baton_take(v);
    }
    if (v->baton && process_has_ended())
        vcpu_abandon(v);
}

/* Who stands in asks again at the next block, who is out of turn after 1, 2, 4 ... */
static void next_turn(struct recorder *r, enum baton baton)
{
    if (!r)
        return;
    r->late = baton ? 0 : MIN(2 * r->late + !r->late, SLICE_BLOCKS);
    r->turn = baton == BATON_OWNED ? SLICE_BLOCKS : baton ? 1 : r->late;
}

static void let_others(struct vcpu *v)
{
    struct session_trace *t = &process.s->trace;
    u32 taken = atomic_load(&t->taken);

    atomic_fetch_add(&process.nr_in_turn, 1);
    atomic_fetch_add(&t->yielding, 1);
    vcpu_forget(v); /* it may not come back */
    baton_drop(v);
    port_futex_wait(&t->taken, taken, YIELD_NS);
    atomic_fetch_sub(&t->yielding, 1);
    atomic_fetch_sub(&process.nr_in_turn, 1);
}

static void go_on_in_turn(struct vcpu *v)
{
    struct recorder *r = recorders[v->index];
    bool nested = v->in_block; /* by resched() */

    v->in_block = true;
    v->baton = take_in_turn(v);
    if (process_has_ended()) {
        vcpu_abandon(v);
        return;
    }
    next_turn(r, v->baton);
    record_ticket(v);
    vcpu_poll(v);
    v->in_block = nested;
    if (r)
        record_forget(r);
}

void baton_yield(struct vcpu *v)
{
    if (v->baton && !atomic_load(&process.s->trace.waiting)) {
        next_turn(recorders[v->index], v->baton);
        return;
    }
    if (v->baton)
        let_others(v);
    go_on_in_turn(v);
}

/* -- blocks of the trace ------------------------------------------------------------------------------------------- */

static void write_block(struct stream *st)
{
    bool inside = gate_enter_live(process.slot); /* else out of turn in a process that ends: it must not wait */

    record_lock();
    stream_write(process.s, st, &packer);
    record_unlock();
    if (inside)
        gate_leave(process.slot);
}

/* Room for `bytes`, in a block that has its first ticket. */
static void make_room(struct stream *st, u32 bytes)
{
    struct session_trace *t = &process.s->trace;

    if (atomic_load_explicit(&st->at, memory_order_relaxed) + bytes > STREAM_ROOM)
        write_block(st);
    if (!st->first_ticket)
        st->first_ticket = st->last_ticket = atomic_fetch_add(&t->ticket, 1) + 1;
}

static void advance(struct stream *st, u32 bytes)
{
    atomic_store_explicit(&st->at, atomic_load_explicit(&st->at, memory_order_relaxed) + bytes, memory_order_release);
}

void record_put(struct recorder *r, enum trace_type type)
{
    struct stream *st = r->st;
    u8 head[12] = {(u8)type};
    u32 n = 1, at, len = (u32)r->event.len;

    if (r->event.failed || r->event.len > STREAM_ROOM / 2)
        return;
    stream_close_batch(st);
    make_room(st, len + sizeof(head));
    for (; len >= 0x80; len >>= 7)
        head[n++] = (u8)(len | 0x80);
    head[n++] = (u8)len;
    at = atomic_load_explicit(&st->at, memory_order_relaxed);
    memcpy(st->data + at, head, n);
    memcpy(st->data + at + n, r->event.p, r->event.len);
    st->nr_events++;
    advance(st, n + (u32)r->event.len);
}

bool record_ticket(struct vcpu *v)
{
    struct session_trace *t = &process.s->trace;
    struct recorder *r = recorders[v->index];

    if (!r || r->st->last_ticket == atomic_load(&t->ticket))
        return false;
    if (atomic_load(&r->st->at) + TICKET_ROOM > STREAM_ROOM)
        write_block(r->st);
    if (!r->st->first_ticket)
        return true; /* the block will begin with one */
    r->event.len = 0;
    r->st->last_ticket = atomic_fetch_add(&t->ticket, 1) + 1;
    trace_buf_add(&r->event, &r->st->last_ticket, 8);
    record_put(r, TRACE_TICKET);
    return true;
}

/* -- words --------------------------------------------------------------------------------------------------------- */

#define BATCH_HEAD 5u /* type, length in four bytes */

static void open_batch(struct recorder *r, u32 words)
{
    struct stream *st = r->st;

    make_room(st, BATCH_HEAD + 2 * words);
    st->data[atomic_load(&st->at)] = TRACE_ACCESS;
    st->batch = atomic_load(&st->at) + BATCH_HEAD;
    st->nr_events++;
    advance(st, BATCH_HEAD);
}

static void put_word(struct recorder *r, u32 word)
{
    u32 at = atomic_load_explicit(&r->st->at, memory_order_relaxed);
    u16 w = (u16)word;

    memcpy(r->st->data + at, &w, 2);
    advance(r->st, 2);
}

/* The page is new in its slot. */
static __noinline void define(struct vcpu *v, struct recorder *r, u64 page)
{
    u32 slot = access_slot(page);
    u64 z = access_zigzag(page - r->defined);

    record_unknown(v, page << PAGE_SHIFT);
    if (!r->st->batch || atomic_load(&r->st->at) + 16 > STREAM_ROOM)
        open_batch(r, 8);
    put_word(r, slot << ACCESS_SLOT_SHIFT | ACCESS_DEFINE_WORD);
    for (u32 i = 0; i < 3; i++, z >>= 16)
        put_word(r, (u32)(z & 0xffff));
    r->page[slot] = page;
    r->defined = page;
}

static inline void put_access(struct vcpu *v, struct recorder *r, u64 page, enum access_word kind)
{
    u32 slot = access_slot(page);

    if (unlikely(r->page[slot] != page))
        define(v, r, page);
    if (unlikely(!r->st->batch || atomic_load_explicit(&r->st->at, memory_order_relaxed) + 2 > STREAM_ROOM))
        open_batch(r, 1);
    put_word(r, slot << ACCESS_SLOT_SHIFT | r->marks << 2 | kind);
    r->marks = 0;
    r->words++;
}

__noinline void record_data_word(struct vcpu *v, struct recorder *r, u64 page_and_store)
{
    put_access(v, r, page_and_store >> PAGE_SHIFT, (enum access_word)(page_and_store & 1));
    r->data = page_and_store;
    r->expect = ACCESS_BLOCK;
}

__noinline void record_fetch_word(struct vcpu *v, struct recorder *r, u64 page)
{
    put_access(v, r, page >> PAGE_SHIFT, ACCESS_FETCH_WORD);
    r->code = page;
    r->expect = ACCESS_DATA;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

void record_forget(struct recorder *r)
{
    r->data = r->code = NO_PAGE;
    r->marks = 0;
    r->expect = ACCESS_NOTHING;
}

static bool has_free_cpu(const struct machine *m)
{
    for (u32 id = 0; id < m->nr_cpus; id++)
        if (!atomic_load(&m->cpus[id].owner))
            return true;
    return false;
}

/*
 * All CPUs of a machine are taken: their owners are asked to give way, as cpu_acquire() does, and get their turn. Nobody
 * sleeps on nr_waiting (cpu_let_waiters()): who gives way in a recorded session sleeps in baton_yield().
 */
static void wait_for_cpu(struct vcpu *v, struct machine *m)
{
    u32 seen;

    atomic_fetch_add(&m->nr_waiting, 1); /* before the look at cpu_freed: cpu_set_free() wakes whoever is counted */
    seen = atomic_load(&m->cpu_freed);
    for (u32 id = 0; id < m->nr_cpus; id++)
        cpu_post_work(m, id, CPU_WORK_RESCHED);
    baton_drop(v);
    RACE_POINT(1);
    if (!has_free_cpu(m)) /* one that came free in between was not announced to us */
        port_futex_wait(&m->cpu_freed, seen, WAIT_CPU_NS);
    baton_take_back(v);
    atomic_fetch_sub(&m->nr_waiting, 1);
}

bool record_wait_for_cpus(struct vcpu *v)
{
    bool go_on = false;

    for (u32 i = 0; !go_on && i < process.nr_machines; i++)
        while (!go_on && v->baton && v->thread && !v->cpu[i] && !session_machine_is_dead(process.s, i) &&
               !has_free_cpu(process.machine[i])) {
            wait_for_cpu(v, process.machine[i]);
            go_on = vcpu_must_go_on(v, process.machine[i]);
            i = 0;
        }
    record_ticket(v);
    return !go_on;
}

/* On a CPU again, says the trace, if it has said otherwise. */
static void acquired(struct vcpu *v)
{
    struct recorder *r = recorders[v->index];

    if (!r || !r->released || v->lacks_cpu)
        return;
    record_simple(v, TRACE_ACQUIRE);
    record_forget(r);
}

static void resched(struct vcpu *v)
{
    record_simple(v, TRACE_RELEASE);
    vcpu_release(v);
    if (v->baton)
        let_others(v); /* who waits for a CPU wants the baton only when it is told that there is one */
    go_on_in_turn(v);
}

void record_attach(void)
{
    process.recording = true;
    process.on_publish = record_count;
    process.before_acquire = record_wait_for_cpus;
    process.after_acquire = acquired;
    process.resched = resched;
    process.on_abandon = record_no_more;
}

struct recorder *recorder_start(struct vcpu *v, bool goes_on)
{
    struct recorder *r = calloc(1, sizeof(*r));

    if (r)
        r->st = stream_map(process.s, (u32)(v->thread - process.s->thread));
    if (!r || !r->st) {
        session_notice(process.s, "process %d: a thread cannot be recorded: %s", process.pid, strerror(errno));
        atomic_store(&process.s->trace.err, errno ? errno : ENOMEM);
        free(r);
        return NULL;
    }
    if (!goes_on)
        stream_begin(r->st, v->thread->stream);
    memset(r->page, 0xff, sizeof(r->page));
    r->turn = SLICE_BLOCKS;
    record_forget(r);
    recorders[v->index] = r;
    return r;
}

static void recorder_free(u32 index)
{
    struct recorder *r = recorders[index];

    if (!r)
        return;
    stream_unmap(r->st);
    trace_buf_free(&r->event);
    free(r);
    recorders[index] = NULL;
}

void record_flush(struct vcpu *v)
{
    if (recorders[v->index])
        write_block(recorders[v->index]->st);
}

void record_stop(struct vcpu *v)
{
    record_flush(v);
    recorder_free(v->index);
}

void record_leave(struct vcpu *v)
{
    recorder_free(v->index);
    baton_drop(v);
}

void record_execed(const struct session_thread *t)
{
    stream_write_threads(process.s, process.slot, t, &packer);
}

void record_child(void)
{
    atomic_store(&process.nr_in_turn, 0);
    atomic_store(&process.turn, 0);
    shared = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* a thread out of turn may have had it */
    for (u32 i = 0; i < process.vcpu_top; i++)
        recorder_free(i);
}
