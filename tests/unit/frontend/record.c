/* SPDX-License-Identifier: MIT */
/*
 * The recorder of `quire record`: a guest of several threads and processes (guest.h) is recorded as the tool does it, and
 * the trace is read back: every event of each thread is there, in its order, and all of them in the order of their turns.
 *
 *   launcher (this process)   session, machine, cli/recording.c          guest (the same program once more)   the plugin
 */
#define _GNU_SOURCE
#include "tests/unit/testing_full.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/recording.h"
#include "frontend/trace/access.h"
#include "guest.h"

static const struct guest_plan plans[] = {
    {.name = "blocks", .threads = 4, .steps = 20000, .pages = GUEST_PAGES},
    {.name = "calls", .threads = 4, .steps = 6000, .pages = 512, .calls = true, .children = true},
    {.name = "machine", .threads = 4, .steps = 4000, .pages = 512, .calls = true, .children = true, .machine_cpus = 2},
    {.name = "processes", .threads = 2, .steps = 4000, .pages = 512, .calls = true, .processes = true},
    {.name = "full", .threads = 3, .steps = 20000, .pages = GUEST_PAGES, .calls = true, .file_limit = 100000},
    {.name = "exclusive", .threads = 3, .steps = 200000, .pages = GUEST_PAGES, .exclusive = true},
    {.name = "stopped", .threads = 3, .steps = 200000, .pages = GUEST_PAGES, .exclusive = true, .asleep = true},
};

/* The tool's. */
_Noreturn void usage_error(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    exit(EXIT_USAGE);
}

const char *host_limits(void)
{
    return "";
}

/* -- the launcher -------------------------------------------------------------------------------------------------- */

struct run {
    const struct guest_plan *plan;
    struct session *s;
    struct run_options o;
    struct run_result result;
    char path[64];
    bool whole;     /* as recording_finish() says */
    char said[256]; /* by it */
};

static void boot(struct run *r)
{
    struct machine_config c;
    struct machine *m;

    if (!r->plan->machine_cpus)
        return;
    test_config(&c);
    c.content = CONTENT_NONE;
    c.mem_bytes = 1ul << 30;
    c.nr_cpus = r->plan->machine_cpus;
    machine_config_layout(&c);
    m = machine_boot(&c, NULL);
    assert_false(IS_ERR(m));
    r->s->machine[0].handle = m->handle;
    r->s->machine[0].addr = (u64)(uintptr_t)m->region;
    r->s->nr_machines = 1;
}

static void run_guest(struct run *r)
{
    struct session_proc *slot = session_proc_new(r->s, getpid());
    char name[32], session[64], number[32];
    pid_t pid;

    snprintf(name, sizeof(name), "%s", r->plan->name);
    snprintf(session, sizeof(session), "session=%d.%d", getpid(), r->s->fd);
    snprintf(number, sizeof(number), "slot=%u", session_proc_index(r->s, slot));
    pid = fork();
    if (!pid) {
        execv("/proc/self/exe", (char *[]){(char[]){"guest"}, name, session, number, NULL});
        _exit(98);
    }
    atomic_store(&slot->pid, pid);
    assert_int_equal(waitpid(pid, &r->result.wait_status, 0), pid);
}

/* What run.c does about processes that are gone. */
static void take_down(struct run *r)
{
    for (u32 i = 0; i < atomic_load(&r->s->proc_top); i++) {
        struct session_proc *p = &r->s->proc[i];
        s32 pid = atomic_load(&p->pid);

        if (atomic_load(&p->state) == PROC_FREE)
            continue;
        recording_begin(r->s);
        recording_flush(r->s, p);
        session_release_dead_cpus(r->s, p);
        recording_end(r->s, TRACE_DEATH, pid);
        recording_begin(r->s);
        assert_true(session_drop_threads(r->s, p, NULL, DROP_TRY));
        session_proc_free(p);
        recording_end(r->s, TRACE_PROCESS_EXIT, pid);
    }
}

static void record(struct run *r, const char *plan)
{
    static char name[] = "guest", *argv[] = {name, NULL};
    FILE *said;

    for (u32 i = 0; i < ARRAY_SIZE(plans); i++)
        if (!strcmp(plans[i].name, plan))
            r->plan = &plans[i];
    snprintf(r->path, sizeof(r->path), "/tmp/quire-record-%d-%s", getpid(), plan);
    r->o = (struct run_options){.trace_file = r->path, .argv = argv};
    r->s = session_create();
    assert_non_null(r->s);
    boot(r);
    recording_start(&r->o, r->s, GUEST_X86_64);
    run_guest(r);
    take_down(r);
    said = fmemopen(r->said, sizeof(r->said), "w");
    r->whole = recording_finish(r->s, &r->o, &r->result, said);
    fclose(said);
    for (u32 i = 0; i < MIN(atomic_load(&r->s->nr_notices), (u32)SESSION_NOTICES); i++)
        printf("note: %s\n", r->s->notice[i]);
    assert_int_equal(r->result.wait_status, 0);
}

static void end(struct run *r)
{
    for (u32 i = 0; i < r->s->nr_machines; i++) {
        struct machine *m = (struct machine *)(uintptr_t)r->s->machine[i].addr;

        assert_false(session_machine_is_dead(r->s, i));
        assert_books(machine_check, m);
        machine_destroy(m);
    }
    close(r->s->trace.streams);
    session_destroy(r->s);
    unlink(r->path);
}

/* -- the trace: each thread did what its program says -------------------------------------------------------------- */

enum item { FETCH, WRITE_TURN, READ_OWN, READ_NEXT, CALL, NR_ITEMS }; /* of a step */

struct seen_thread {
    bool begun, ended;
    s64 number; /* of the thread: told by its first fetch; -1: not yet */
    u64 k;      /* step */
    enum item item;
    bool entered; /* the call of this step */
    u64 page[ACCESS_SLOTS], defined;
    u64 last_turn_page;
    u64 accesses, blocks; /* of COUNT events */
};

#define NR_STREAMS 64u

struct seen {
    const struct run *r;
    struct seen_thread thread[NR_STREAMS];
    u64 turns, words, deaths, process_exits;
    enum trace_status status;
};

/* The item is in the step. */
static bool is_in_step(const struct guest_plan *p, const struct seen_thread *t, enum item item)
{
    switch (item) {
    case FETCH:
    case WRITE_TURN:
        return true;
    case READ_OWN:
    case READ_NEXT:
        return guest_crosses_at(t->k);
    default:
        return p->calls && guest_calls_at(t->k);
    }
}

static void next_item(const struct guest_plan *p, struct seen_thread *t)
{
    do
        if (++t->item == NR_ITEMS) {
            t->item = FETCH;
            t->k++;
        }
    while (!is_in_step(p, t, t->item));
}

static void on_turn(struct seen *seen, struct seen_thread *t, u64 page)
{
    u64 pages = seen->r->plan->pages;

    if (!seen->r->plan->exclusive)
        assert_int_equal(page, GUEST_DATA / PAGE_SIZE + seen->turns % pages);
    assert_in_range(page, GUEST_DATA / PAGE_SIZE, GUEST_DATA / PAGE_SIZE + pages - 1);
    t->last_turn_page = page;
    seen->turns++;
}

static void on_word(struct seen *seen, struct seen_thread *t, enum access_word kind, u64 page)
{
    u64 number = (page * PAGE_SIZE - GUEST_CODE) >> 20;

    seen->words++;
    if (t->number < 0) {
        assert_int_equal(kind, ACCESS_FETCH_WORD);
        assert_in_range(number, 0, GUEST_THREADS - 1);
        t->number = (s64)number;
        if (!number) { /* the main thread's first block */
            assert_int_equal(page, guest_code_page(0, 1) / PAGE_SIZE);
            return;
        }
    }
    if (t->item == FETCH) {
        assert_int_equal(kind, ACCESS_FETCH_WORD);
        assert_int_equal(page, guest_code_page((u64)t->number, t->k) / PAGE_SIZE);
    } else if (t->item == WRITE_TURN) {
        assert_int_equal(kind, ACCESS_WRITE_WORD);
        on_turn(seen, t, page);
    } else {
        assert_int_equal(kind, ACCESS_READ_WORD);
        assert_int_not_equal(t->item, CALL);
        assert_int_equal(page, guest_own_page((u64)t->number) / PAGE_SIZE + (t->item == READ_NEXT));
    }
    next_item(seen->r->plan, t);
}

static u32 load_word(const u8 *p)
{
    u16 w;

    memcpy(&w, p, 2);
    return w;
}

static void on_words(struct seen *seen, struct seen_thread *t, const struct trace_event *e)
{
    for (const u8 *p = e->body; p < e->end; p += 2) {
        u32 w = load_word(p), slot = w >> ACCESS_SLOT_SHIFT;

        if ((w & 3) != ACCESS_DEFINE_WORD) {
            on_word(seen, t, (enum access_word)(w & 3), t->page[slot]);
            continue;
        }
        t->defined += access_unzigzag(load_word(p + 2) | (u64)load_word(p + 4) << 16 | (u64)load_word(p + 6) << 32);
        t->page[slot] = t->defined;
        p += 6;
    }
}

/* Of the program's own calls. */
static void on_call(struct seen *seen, struct seen_thread *t, const struct trace_event *e)
{
    u64 nr = trace_get(e, TF_RAW_NR, ~0ul);
    u32 c = 0;

    while (c < NR_GUEST_CALLS && (u64)guest_call_nr[c] != nr)
        c++;
    if (c == NR_GUEST_CALLS)
        return;
    assert_int_equal(t->item, CALL);
    assert_int_equal(c, guest_call_at(t->k));
    if (e->type == TRACE_CALL_ENTER) {
        assert_int_equal(c, GUEST_WAIT);
        assert_false(t->entered);
        t->entered = true;
        return;
    }
    assert_int_equal(trace_get(e, TF_ARG5, ~0ul), t->k);
    assert_int_equal(t->entered, c == GUEST_WAIT);
    t->entered = false;
    next_item(seen->r->plan, t);
}

static void on_event(struct seen *seen, const struct trace_event *e)
{
    struct seen_thread *t = &seen->thread[e->stream];

    assert_in_range(e->stream, 0, NR_STREAMS - 1);
    if (!e->stream) { /* the launcher's */
        seen->deaths += e->type == TRACE_DEATH;
        seen->process_exits += e->type == TRACE_PROCESS_EXIT;
        return;
    }
    assert_int_equal(t->begun, e->type != TRACE_TASK);
    assert_false(t->ended);
    if (e->type == TRACE_TASK)
        t->begun = true;
    else if (e->type == TRACE_ACCESS)
        on_words(seen, t, e);
    else if (e->type == TRACE_CALL || e->type == TRACE_CALL_ENTER)
        on_call(seen, t, e);
    else if (e->type == TRACE_COUNT) {
        t->accesses += trace_get(e, TF_ACCESSES, 0);
        t->blocks += trace_get(e, TF_BLOCKS, 0);
    } else
        t->ended = e->type == TRACE_THREAD_EXIT || e->type == TRACE_PROCESS_EXIT;
}

static u64 total(const struct trace_reader *t, const char *key)
{
    const char *value = trace_total(t, key);

    assert_non_null(value);
    return strtoull(value, NULL, 10);
}

static struct seen *read_trace(const struct run *r)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    struct trace_event e;
    struct trace_reader *t;
    char err[256];

    seen->r = r;
    for (u32 i = 0; i < NR_STREAMS; i++)
        seen->thread[i].number = -1;
    t = trace_open(r->path, err, sizeof(err));
    assert_non_null(t);
    while ((seen->status = trace_next(t, &e)) == TRACE_EVENT)
        on_event(seen, &e);
    if (seen->status == TRACE_END)
        /* whom others kill dies with what was not added yet */
        assert_in_range(total(t, "words"), seen->words - 100 * r->plan->processes, seen->words);
    else
        printf("trace: %s\n", trace_error(t));
    trace_reader_close(t);
    return seen;
}

/* What the thread's callbacks counted in n steps. */
static u64 accesses_of(u64 n)
{
    u64 nr = 0;

    for (u64 k = 0; k < n; k++)
        nr += 1 + (k % 3 == 0) + guest_crosses_at(k);
    return nr;
}

/* Killed at some step, and after so many. */
#define VICTIM 14
#define TORN 13
#define TORN_STEPS 1000

/* All that ran to their ends did all of their steps; in the whole no turn is missing. */
static void check_whole(const struct seen *seen, u32 nr_threads)
{
    const struct guest_plan *p = seen->r->plan;
    u64 steps = 0;
    u32 nr = 0;

    assert_int_equal(seen->status, TRACE_END);
    for (u32 i = 1; i < NR_STREAMS; i++) {
        const struct seen_thread *t = &seen->thread[i];

        nr += t->begun;
        steps += t->k;
        if (t->number == TORN)
            assert_int_equal(t->k, TORN_STEPS);
        if (!t->begun || t->number == VICTIM || t->number == TORN)
            continue;
        assert_true(t->ended);
        assert_int_equal(t->item, FETCH);
        if (t->number)
            assert_int_equal(t->k, guest_steps(p, (u64)t->number));
        assert_int_equal(t->accesses, accesses_of(t->k));
        assert_int_equal(t->blocks, t->k + !t->number);
    }
    assert_int_equal(nr, nr_threads);
    assert_in_range(seen->turns, steps, steps + p->processes); /* the victim may have done half a step */
}

static void test_whole(const char *plan, u32 nr_threads)
{
    struct run r = {0};
    struct seen *seen;

    record(&r, plan);
    assert_string_equal(r.said, "");
    assert_true(r.whole);
    seen = read_trace(&r);
    check_whole(seen, nr_threads);
    assert_int_equal(seen->deaths, 1 + 3 * r.plan->processes);
    assert_int_equal(seen->process_exits, 1 + 3 * r.plan->processes);
    free(seen);
    end(&r);
}

static void test_blocks_fill(void **state)
{
    test_whole("blocks", 5);
}

static void test_calls_and_threads(void **state)
{
    test_whole("calls", 9);
}

static void test_few_cpus(void **state)
{
    test_whole("machine", 9);
}

static void test_processes(void **state)
{
    test_whole("processes", 6);
}

/* Two threads at least go on without the baton: events of each thread are in order all the same. */
static void test_out_of_turn(void **state)
{
    struct run r = {0};
    struct seen *seen;

    record(&r, "exclusive");
    assert_true(r.whole);
    seen = read_trace(&r);
    check_whole(seen, 4);
    assert_true(atomic_load(&r.s->nr_notices) >= 2);
    assert_non_null(strstr(r.s->notice[0], "a thread went on out of turn"));
    free(seen);
    end(&r);
}

/* Nobody goes on out of turn because of one that sleeps with the baton. */
static void test_stopped(void **state)
{
    struct run r = {0};
    struct seen *seen;

    record(&r, "stopped");
    assert_true(r.whole);
    seen = read_trace(&r);
    check_whole(seen, 4);
    assert_int_equal(atomic_load(&r.s->nr_notices), 0);
    free(seen);
    end(&r);
}

/* A write that ends in the middle: said once. What the main thread did first is missing: nothing after it can be read. */
static void test_file_is_full(void **state)
{
    struct run r = {0};
    struct seen *seen;
    struct stat st;

    record(&r, "full");
    assert_false(r.whole);
    assert_non_null(strstr(r.said, "File too large; the trace is cut short"));
    assert_int_equal(atomic_load(&r.s->nr_notices), 1);
    assert_int_equal(stat(r.path, &st), 0);
    assert_int_equal(st.st_size, r.plan->file_limit);
    seen = read_trace(&r);
    assert_int_equal(seen->status, TRACE_TRUNCATED);
    assert_int_equal(seen->turns, 0);
    free(seen);
    end(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_fill),  cmocka_unit_test(test_calls_and_threads), cmocka_unit_test(test_few_cpus),
        cmocka_unit_test(test_processes),    cmocka_unit_test(test_out_of_turn),       cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_file_is_full),
    };

    for (u32 i = 0; argc == 4 && i < ARRAY_SIZE(plans); i++)
        if (!strcmp(plans[i].name, argv[1]))
            return guest_main(&plans[i], argc - 2, argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
