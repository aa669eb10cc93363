/* SPDX-License-Identifier: MIT */
/*
 * Machines that follow a program without memory: a trace made by hand (an execve, mappings, files, a segment, threads, a
 * fork, a child that executes a program) is replayed with the first, the second ... allocation of the machine failing,
 * until none is left to fail. It is the code that follows a live run, too.
 *
 * However it ends: the replay goes on to its end; the machine followed until then, or says that it is out of memory and
 * where; its books balance, and nothing of the program is left in it.
 */
#include "tests/unit/testing_full.h"

#include "frontend/trace/block.h"
#include "phys/lru.h"
#include "phys/vmstat.h"
#include "replay.h"
#include "vm/vm.h"

#define BASE 0x4000000000ull
#define AT(page) (BASE + (u64)(page)*PAGE_SIZE)
#define STACK_TOP (BASE + (1ull << 40))
#define RW 3
#define ANON 0x22
#define SHM_MODE 0600
#define S_REGULAR 0100600
#define DISK_DEV 0x801
#define TMPFS 0x01021994

/* x86-64's numbers */
enum { MMAP = 9, MPROTECT = 10, MUNMAP = 11, BRK = 12, MREMAP = 25, MADVISE = 28, SHMAT = 30, MLOCK = 149 };
enum { CLONE = 56, FORK = 57, READ = 0, WRITE = 1 };

static struct {
    struct trace_buf out, raw, event;
    struct trace_packer packer;
    u32 number[8];
    u64 ticket;
} made;

static void field(enum trace_field f, u64 value)
{
    trace_buf_field(&made.event, f, value);
}

static void put(enum trace_type type)
{
    trace_buf_event(&made.raw, type, made.event.p, made.event.len);
    made.event.len = 0;
}

static void end_block(u32 stream)
{
    struct trace_block b = {.type = TRACE_BLOCK_EVENTS, .stream = stream, .number = made.number[stream]++};
    size_t n;

    b.first_ticket = b.last_ticket = ++made.ticket;
    n = trace_pack(&made.packer, &b, made.raw.p, made.raw.len);
    trace_buf_add(&made.out, made.packer.out, n);
    made.raw.len = 0;
}

static void task(u32 tid, u32 pid, u32 how)
{
    field(TF_TID, tid);
    field(TF_PID, pid);
    field(TF_FLAGS, how);
    put(TRACE_TASK);
}

static void file(u64 id, u64 ino, u64 pages, u64 fs)
{
    field(TF_ID, id);
    field(TF_DEV, DISK_DEV);
    field(TF_INO, ino);
    field(TF_SIZE, pages * PAGE_SIZE);
    field(TF_MODE, S_REGULAR);
    field(TF_FS_TYPE, fs);
    trace_buf_field_bytes(&made.event, TF_PATH, "/file", 5);
    put(TRACE_FILE);
}

static void of_file(u64 id, u64 pages)
{
    field(TF_FILE_ID, id);
    field(TF_FILE_SIZE, pages * PAGE_SIZE);
}

static void call(u32 nr, const u64 arg[6], u64 result, u64 file_id)
{
    field(TF_RAW_NR, nr);
    for (u32 i = 0; i < 6; i++)
        field((enum trace_field)(TF_ARG0 + i), arg[i]);
    field(TF_RESULT, result);
    if (file_id)
        of_file(file_id, 40);
    put(TRACE_CALL);
}

#define CALL(nr, result, id, ...) call(nr, (const u64[6]){__VA_ARGS__}, result, id)

static void touch(u64 page, u64 pages, u32 kind)
{
    field(TF_ADDR, AT(page));
    field(TF_SIZE, pages * PAGE_SIZE);
    field(TF_KIND, kind);
    put(TRACE_TOUCH);
}

static void file_io(u64 id, u64 page, u64 pages, u32 kind)
{
    of_file(id, 40);
    field(TF_OFFSET, page * PAGE_SIZE);
    field(TF_SIZE, pages * PAGE_SIZE);
    field(TF_KIND, kind);
    put(TRACE_FILE_IO);
}

static void found(u64 page, u64 pages, u64 file_id)
{
    field(TF_ADDR, AT(page));
    field(TF_SIZE, pages * PAGE_SIZE);
    field(TF_PROT, RW);
    if (file_id)
        of_file(file_id, 40);
    put(TRACE_FOUND);
}

static void program(const char *comm)
{
    const u64 load[2][5] = {{BASE, 4 * PAGE_SIZE, 4 * PAGE_SIZE, 0, 5},
                            {AT(4), 4 * PAGE_SIZE, PAGE_SIZE + 100, 4 * PAGE_SIZE, 3}};

    of_file(1, 40);
    field(TF_BIAS, 0);
    trace_buf_field_bytes(&made.event, TF_LOADS, load, sizeof(load));
    field(TF_STACK_TOP, STACK_TOP);
    field(TF_STACK, STACK_TOP - 3000);
    trace_buf_field_bytes(&made.event, TF_COMM, comm, strlen(comm));
    put(TRACE_EXEC);
}

/* A call that makes a task in another stream. */
static void clone(u32 nr, u64 flags, u32 child_stream, u32 child)
{
    field(TF_RAW_NR, nr);
    field(TF_ARG0, flags);
    field(TF_CHILD_STREAM, child_stream);
    put(TRACE_CALL_ENTER);
    CALL(nr, child, 0, flags);
}

static void memory_calls(void)
{
    CALL(MMAP, AT(20), 0, 0, 16 * PAGE_SIZE, RW, ANON, ~0ull, 0);
    touch(20, 16, MMU_WRITE);
    CALL(MMAP, AT(40), 2, 0, 8 * PAGE_SIZE, RW, 2 /* private */, 3, 0);
    touch(40, 2, MMU_READ);
    touch(42, 2, MMU_WRITE);
    CALL(MMAP, AT(60), 3, 0, 8 * PAGE_SIZE, RW, 1 /* shared */, 4, 0);
    touch(60, 4, MMU_WRITE);
    CALL(MPROTECT, 0, 0, AT(24), 2 * PAGE_SIZE, 1);
    CALL(MUNMAP, 0, 0, AT(30), PAGE_SIZE);
    CALL(MADVISE, 0, 0, AT(32), PAGE_SIZE, 10 /* DONTFORK */);
    CALL(MREMAP, AT(80), 0, AT(20), 2 * PAGE_SIZE, 6 * PAGE_SIZE, 1);
    CALL(MMAP, AT(90), 0, 0, 4 * PAGE_SIZE, RW, ANON, ~0ull, 0);
    CALL(MLOCK, 0, 0, AT(90), 2 * PAGE_SIZE);
    CALL(BRK, AT(10), 0, AT(10));
    touch(8, 2, MMU_WRITE);
    CALL(READ, 4 * PAGE_SIZE, 0, 3, AT(80), 4 * PAGE_SIZE);
    file_io(2, 20, 4, MMU_WRITE);
    CALL(WRITE, 4 * PAGE_SIZE, 0, 3, AT(80), 4 * PAGE_SIZE);
    file_io(3, 20, 4, MMU_READ);
    found(120, 2, 0);
    touch(120, 2, MMU_READ);
    found(130, 2, 4);
    touch(130, 2, MMU_READ);
}

static void make_trace(void)
{
    struct trace_block info = {.type = TRACE_BLOCK_INFO}, end = {.type = TRACE_BLOCK_END};
    u8 head[TRACE_FILE_HEADER];
    size_t n;

    trace_file_header(head);
    trace_buf_add(&made.out, head, sizeof(head));
    n = trace_pack(&made.packer, &info, "kind=qemu\n", 10);
    trace_buf_add(&made.out, made.packer.out, n);
    for (u64 id = 1; id <= 4; id++)
        file(id, 10 + id, 40, id == 3 ? TMPFS : 0xef53);
    task(100, 100, 0);
    program("first");
    memory_calls();
    clone(CLONE, 0x10900 /* VM, SIGHAND, THREAD */, 2, 101);
    end_block(1);
    task(101, 100, 2);
    touch(33, 1, MMU_WRITE);
    put(TRACE_THREAD_EXIT);
    end_block(2);
    clone(FORK, 0, 3, 102);
    touch(34, 2, MMU_WRITE);
    end_block(1);
    task(102, 102, 1);
    touch(26, 4, MMU_WRITE);
    task(102, 102, 3);
    program("second");
    touch(8, 0, MMU_READ);
    CALL(MMAP, AT(20), 0, 0, 4 * PAGE_SIZE, RW, ANON, ~0ull, 0);
    touch(20, 4, MMU_WRITE);
    put(TRACE_PROCESS_EXIT);
    end_block(3);
    touch(34, 2, MMU_WRITE);
    put(TRACE_PROCESS_EXIT);
    end_block(1);
    n = trace_pack(&made.packer, &end, "", 0);
    trace_buf_add(&made.out, made.packer.out, n);
}

/* -- replayed ------------------------------------------------------------------------------------------------------ */

static struct machine *boot(bool cold)
{
    static struct machine_config c;
    struct machine *m;

    test_config(&c);
    c.mem_bytes = 32ul << 20;
    c.nr_cpus = 2;
    c.content = CONTENT_NONE;
    c.page_cache_warm = !cold;
    machine_config_layout(&c);
    m = machine_boot(&c, NULL);
    assert_false(IS_ERR(m));
    return m;
}

struct outcome {
    bool failed, dead;
    char reason[256];
};

static void replay_failing(struct machine *m, u64 nth, struct outcome *o)
{
    struct trace_reader *r = trace_open_bytes(made.out.p, made.out.len, "T", (char[160]){0}, 160);
    struct session *s = session_create();
    struct replay_result result;

    assert_non_null(r);
    assert_non_null(s);
    s->machine[0].addr = (u64)(uintptr_t)m->region;
    s->nr_machines = 1;
    m->fail.not_slabs = true;
    fail_arm(m, nth);
    replay_trace(s, r, &result, NULL);
    o->failed = fail_injected(m);
    if (result.status != TRACE_END)
        fail_msg("allocation %llu: %s", (unsigned long long)nth, result.text);
    o->dead = session_machine_is_dead(s, 0);
    snprintf(o->reason, sizeof(o->reason), "%s", s->machine[0].reason);
    if (atomic_load(&s->disagreements))
        fail_msg("allocation %llu: %s", (unsigned long long)nth, s->notice[0]);
    trace_reader_close(r);
    session_destroy(s);
}

/* The tasks of a machine that is given up stay where they were: the others' books. */
static void check_machine(struct machine *m, const struct outcome *o, u64 nth)
{
    if (o->dead && (!o->failed || strncmp(o->reason, "out of memory: ", 15) != 0))
        fail_msg("allocation %llu: %s", (unsigned long long)nth, o->reason);
    assert_books(machine_check, m);
    if (o->dead)
        return;
    assert_true(list_empty(&m->vm->tasks));
    assert_true(list_empty(&m->vm->mms));
    assert_int_equal(global_node_page_state(m, NR_ANON_MAPPED), 0);
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 0);
}

static void follow_without_memory(bool cold)
{
    struct outcome o = {.failed = true};
    u32 nr_dead = 0;
    u64 nth = 0;

    make_trace();
    while (o.failed) {
        struct machine *m = boot(cold);

        replay_failing(m, ++nth, &o);
        check_machine(m, &o, nth);
        nr_dead += o.dead;
        machine_destroy(m);
    }
    assert_false(o.dead);
    print_message("%llu allocations; machines out of memory: %u\n", (unsigned long long)nth - 1, nr_dead);
    assert_true(nr_dead > 50);
    trace_packer_free(&made.packer);
    trace_buf_free(&made.out);
    trace_buf_free(&made.raw);
    trace_buf_free(&made.event);
    memset(&made, 0, sizeof(made));
}

static void follow_cold(void **state)
{
    follow_without_memory(true);
}

static void follow_warm(void **state)
{
    follow_without_memory(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follow_cold),
        cmocka_unit_test(follow_warm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
