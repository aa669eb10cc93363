/* SPDX-License-Identifier: MIT */
/*
 * Replay: whatever a trace says with right checksums, the replay of it ends, with a message if it makes no sense, and the
 * machine's books balance. The input is a program of events for two processes; fields are mostly sensible, not always.
 */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

#include "export.h"
#include "frontend/trace/block.h"
#include "machine/machine_api.h"
#include "replay.h"
#include "space.h"

#define BASE 0x4000000000ull

struct making {
    struct input in;
    struct trace_buf out, raw, event;
    struct trace_packer packer;
    u32 number[4]; /* next block, by stream */
    u64 ticket;
};

static u64 address(struct making *m)
{
    u8 how = take_u8(&m->in);

    return how == 255 ? take_u64(&m->in) : BASE + how * PAGE_SIZE + (how & 1 ? 0 : take_u8(&m->in));
}

static u64 length(struct making *m)
{
    u8 how = take_u8(&m->in);

    return how == 255 ? take_u64(&m->in) : (how % 24) * PAGE_SIZE / 2;
}

static void field(struct making *m, enum trace_field f, u64 value)
{
    trace_buf_field(&m->event, f, value);
}

static void put(struct making *m, enum trace_type type)
{
    trace_buf_event(&m->raw, type, m->event.p, m->event.len);
    m->event.len = 0;
}

static void begin_task(struct making *m, u32 stream, u32 how)
{
    field(m, TF_TID, 100 + stream);
    field(m, TF_PID, 100 + stream);
    field(m, TF_FLAGS, how);
    put(m, TRACE_TASK);
}

static void a_file(struct making *m)
{
    field(m, TF_FILE_ID, 1 + take_u8(&m->in) % 3);
    field(m, TF_FILE_SIZE, length(m));
}

static void a_call(struct making *m)
{
    static const u8 nr[] = {9, 11, 10, 25, 12, 28, 30, 67, 0, 1, 56, 57, 59, 39, 202, 61};

    field(m, TF_RAW_NR, nr[take_u8(&m->in) % sizeof(nr)]);
    field(m, TF_ARG0, address(m));
    field(m, TF_ARG1, length(m));
    field(m, TF_ARG2, take_u8(&m->in));
    field(m, TF_ARG3, take_u8(&m->in) & 1 ? 0x22 : take_u16(&m->in));
    field(m, TF_ARG4, ~0ull);
    field(m, TF_ARG5, 0);
    field(m, TF_RESULT, take_u8(&m->in) == 255 ? (u64)-12 : address(m) & PAGE_MASK);
    if (take_u8(&m->in) & 1)
        a_file(m);
    put(m, TRACE_CALL);
}

static void an_enter(struct making *m)
{
    static const u8 nr[] = {56, 57, 58, 0, 1, 59, 39};

    field(m, TF_RAW_NR, nr[take_u8(&m->in) % sizeof(nr)]);
    field(m, TF_FLAGS, take_u8(&m->in) & 1);
    field(m, TF_ARG0, take_u16(&m->in));
    field(m, TF_CHILD_STREAM, take_u8(&m->in) % 4);
    put(m, TRACE_CALL_ENTER);
}

static void accesses(struct making *m)
{
    u32 n = take_u8(&m->in) % 32;

    for (u32 i = 0; i < n; i++) {
        u16 word = (u16)(take_u16(&m->in));

        if (i == 0)
            word |= 3;
        trace_buf_add(&m->event, &word, 2);
    }
    put(m, TRACE_ACCESS);
}

static void other(struct making *m, u8 type)
{
    field(m, TF_ADDR, address(m));
    field(m, TF_SIZE, length(m));
    field(m, TF_KIND, take_u8(&m->in) & 1);
    field(m, TF_OFFSET, length(m));
    field(m, TF_ACCESSES, take_u16(&m->in));
    field(m, TF_BLOCKS, take_u16(&m->in));
    field(m, TF_ID, 1 + take_u8(&m->in) % 3);
    field(m, TF_INO, 1 + take_u8(&m->in) % 3);
    field(m, TF_PID, 100 + take_u8(&m->in) % 4);
    field(m, TF_PROT, take_u8(&m->in));
    a_file(m);
    put(m, (enum trace_type)type);
}

static void an_exec(struct making *m)
{
    u64 load[5] = {address(m), length(m), length(m), 0, 5};

    a_file(m);
    field(m, TF_BIAS, take_u8(&m->in) & 1 ? 0 : take_u64(&m->in));
    trace_buf_field_bytes(&m->event, TF_LOADS, load, take_u8(&m->in) & 7 ? 40 : take_u8(&m->in) % 41);
    field(m, TF_STACK_TOP, address(m) | 1ull << 40);
    field(m, TF_STACK, (BASE | 1ull << 40) - 64);
    put(m, TRACE_EXEC);
}

static void flush(struct making *m, u32 stream)
{
    struct trace_block b = {.type = TRACE_BLOCK_EVENTS, .stream = stream, .number = m->number[stream]++};
    size_t n;

    b.first_ticket = b.last_ticket = ++m->ticket;
    n = trace_pack(&m->packer, &b, m->raw.p, m->raw.len);
    trace_buf_add(&m->out, m->packer.out, n);
    m->raw.len = 0;
}

static void one_event(struct making *m, u8 op)
{
    static const u8 others[] = {TRACE_FILE,         TRACE_TOUCH,       TRACE_FILE_IO,  TRACE_COUNT,
                                TRACE_FOUND,        TRACE_RELEASE,     TRACE_ACQUIRE,  TRACE_DEATH,
                                TRACE_PROCESS_EXIT, TRACE_THREAD_EXIT, TRACE_FILE_SIZE};

    if (op < 60)
        a_call(m);
    else if (op < 90)
        an_enter(m);
    else if (op < 130)
        accesses(m);
    else if (op < 140)
        an_exec(m);
    else if (op < 235)
        other(m, others[op % 9 == 0 ? op % sizeof(others) : op % 5]);
    else if (op < 245)
        begin_task(m, take_u8(&m->in) % 4, take_u8(&m->in) % 5);
    else
        other(m, others[op % sizeof(others)]);
}

static void make_trace(struct making *m)
{
    struct trace_block info = {.type = TRACE_BLOCK_INFO}, end = {.type = TRACE_BLOCK_END};
    u8 head[TRACE_FILE_HEADER];
    u32 stream = 1;
    size_t n;

    trace_file_header(head);
    trace_buf_add(&m->out, head, sizeof(head));
    n = trace_pack(&m->packer, &info, "kind=qemu\n", 10); /* sets packer.out */
    trace_buf_add(&m->out, m->packer.out, n);
    begin_task(m, 1, 0);
    while (more(&m->in)) {
        u8 op = take_u8(&m->in);

        one_event(m, op);
        if (op % 16 == 0) {
            flush(m, stream);
            stream = take_u8(&m->in) % 4;
        }
    }
    flush(m, stream);
    n = trace_pack(&m->packer, &end, "", 0);
    trace_buf_add(&m->out, m->packer.out, n);
}

static struct session *boot(void)
{
    struct session *s = session_create();
    struct machine_config *c = malloc(sizeof(*c));
    struct machine *m;

    machine_config_default(c);
    REQUIRE(machine_config_parse(c, "mem = 64M\ncpus = 2\n", "fuzz", (char[160]){0}, 160) == 0);
    m = machine_boot(c, NULL);
    REQUIRE(s && !IS_ERR(m));
    s->machine[0].addr = (u64)(uintptr_t)m->region;
    s->nr_machines = 1;
    free(c);
    return s;
}

/* What other tools read of it: references, and the address space of whoever ends. */
static int any_ref(void *arg, const struct ref *ref)
{
    REQUIRE(ref->page >> 44 == 0 && ref->kind <= IMPORT_EXEC);
    return ++*(u32 *)arg > 100000 ? -1 : 0;
}

static void require_refs(const struct making *m)
{
    u32 nr = 0;
    struct refs rs = {any_ref, &nr, 0, 0, ""};
    struct trace_reader *r = trace_open_bytes(m->out.p, m->out.len, "T", (char[160]){0}, 160);

    REQUIRE(refs_read(r, &rs, NULL) == TRACE_END || rs.text[0]);
    trace_reader_close(r);
}

static void export_space(struct session *s, const struct session_proc *p, void *arg)
{
    struct cpu *cpu;
    char id[16];

    if (session_machine_is_dead(s, 0))
        return;
    snprintf(id, sizeof(id), "%d", atomic_load(&((struct session_proc *)(uintptr_t)p)->pid));
    cpu = cpu_acquire((struct machine *)(uintptr_t)s->machine[0].addr, NULL, 0x7ffffffd);
    space_vma_json(cpu, id, arg);
    space_v2p(cpu, id, arg);
    cpu_release(cpu);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct making m = {.in = {data, data + size}};
    struct check_report *report = calloc(1, sizeof(*report));
    struct session *s = boot();
    const struct replay_watch watch = {NULL, export_space, fopen("/dev/null", "w")};
    struct replay_result result;
    struct trace_reader *r;

    make_trace(&m);
    r = trace_open_bytes(m.out.p, m.out.len, "T", (char[160]){0}, 160);
    REQUIRE(r);
    replay_trace(s, r, &result, &watch);
    REQUIRE(result.status == TRACE_END || result.text[0]);
    machine_check((struct machine *)(uintptr_t)s->machine[0].addr, report);
    require_clean(report);
    trace_reader_close(r);
    fclose(watch.arg);
    require_refs(&m);
    machine_destroy((struct machine *)(uintptr_t)s->machine[0].addr);
    session_destroy(s);
    trace_packer_free(&m.packer);
    trace_buf_free(&m.out);
    trace_buf_free(&m.raw);
    trace_buf_free(&m.event);
    free(report);
    return 0;
}
