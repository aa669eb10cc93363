/* SPDX-License-Identifier: MIT */
/*
 * The running kernel as the oracle: up to four real processes do random mmap, munmap, mprotect, mremap, madvise, fork,
 * exit, loads and stores; modelled processes do the same. Each result must agree: return value or errno, the byte that
 * a load finds, the signal, and how many faults the access took (ru_minflt), which tells COW, zero page, fault-around
 * and what fork copied from each other.
 *
 *   test ── command ─▶ agent (a real process that sleeps in read(2)) ── reply ─▶ test
 *     └──── the same ─▶ modelled process ───────────────────────────── result ─▶ compare
 */
#define _GNU_SOURCE
#include "tests/unit/vm/fault_testing.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENTS 4
#define SPACE 0x190000000000ul
#define SPACE_PAGES 96ul
#define OBJECT_PAGES 24ul

enum op { OP_LOAD, OP_STORE, OP_MMAP, OP_MUNMAP, OP_MPROTECT, OP_MREMAP, OP_MADVISE, OP_FORK, OP_EXIT, NR_OPS };

struct command {
    enum op op;
    va_t addr, to;
    u64 len;
    u32 prot, kind; /* kind: enum map_kind, advice, or the new agent */
    u64 offset;
    u8 value;
};

struct reply {
    s64 result; /* value, or -errno, or -1000 - signal */
    u64 faults;
};

enum map_kind { MAP_KIND_ANON, MAP_KIND_SHARED, MAP_KIND_FILE_PRIVATE, MAP_KIND_FILE_SHARED, NR_MAP_KINDS };

static int wire[AGENTS][2]; /* [0] the test's end, [1] the agent's */

/* -- the real side ------------------------------------------------------------------------------------------------- */

static int object_fd;
static sigjmp_buf fault_jump;

static void on_signal(int signo)
{
    siglongjmp(fault_jump, signo);
}

static u64 faults_now(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (u64)(u.ru_minflt + u.ru_majflt);
}

/* Not instrumented: a sanitizer's shadow memory would add faults of its own. */
__attribute__((no_sanitize_address, no_sanitize_thread)) static struct reply real_access(const struct command *c)
{
    volatile u8 *at = (volatile u8 *)c->addr;
    struct reply r = {0};
    u64 before;
    int signo = sigsetjmp(fault_jump, 1);

    if (signo) {
        r.result = -1000 - signo;
        return r;
    }
    faults_now(); /* so that its own pages are there */
    before = faults_now();
    if (c->op == OP_STORE)
        *at = c->value;
    else
        r.result = *at;
    r.faults = faults_now() - before;
    return r;
}

static s64 real_mmap(const struct command *c)
{
    static const int flags[NR_MAP_KINDS] = {MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE,
                                            MAP_SHARED};
    int fd = c->kind >= MAP_KIND_FILE_PRIVATE ? object_fd : -1;
    void *p = mmap((void *)c->addr, c->len, (int)c->prot, flags[c->kind] | MAP_FIXED, fd, (off_t)c->offset);

    return p == MAP_FAILED ? -errno : (s64)(uintptr_t)p;
}

static s64 real_call(const struct command *c)
{
    void *at = (void *)c->addr, *p;
    int err = 0;

    switch (c->op) {
    case OP_MMAP:
        return real_mmap(c);
    case OP_MUNMAP:
        err = munmap(at, c->len);
        break;
    case OP_MPROTECT:
        err = mprotect(at, c->len, (int)c->prot);
        break;
    case OP_MADVISE:
        err = madvise(at, c->len, (int)c->kind);
        break;
    case OP_MREMAP:
        p = mremap(at, c->len, c->len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)c->to);
        return p == MAP_FAILED ? -errno : (s64)(uintptr_t)p;
    default:
        break;
    }
    return err ? -errno : 0;
}

static void say(int fd, const void *p, size_t n)
{
    if (write(fd, p, n) != (ssize_t)n)
        _exit(1);
}

static void agent(u32 me)
{
    for (;;) {
        struct command c;
        struct reply r = {0};

        if (read(wire[me][1], &c, sizeof(c)) != (ssize_t)sizeof(c))
            _exit(0);
        if (c.op == OP_FORK) {
            pid_t pid = fork();

            if (pid == 0) {
                me = c.kind;
                continue;
            }
            r.result = pid > 0 ? 0 : -errno;
        } else if (c.op <= OP_STORE) {
            r = real_access(&c);
        } else if (c.op != OP_EXIT) {
            r.result = real_call(&c);
        }
        say(wire[me][1], &r, sizeof(r));
        if (c.op == OP_EXIT)
            _exit(0);
    }
}

static pid_t start_agents(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    pid_t pid;

    object_fd = memfd_create("object", 0);
    assert_true(object_fd >= 0);
    assert_int_equal(ftruncate(object_fd, OBJECT_PAGES * PG), 0);
    for (u32 i = 0; i < AGENTS; i++)
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, wire[i]), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    for (u32 i = 0; i < AGENTS; i++)
        close(wire[i][0]); /* so that the test's end is the only one, and its end is theirs */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    signal(SIGCHLD, SIG_IGN);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    agent(0);
    return 0;
}

static struct reply real_do(u32 who, const struct command *c)
{
    struct reply r = {0};

    assert_int_equal(write(wire[who][0], c, sizeof(*c)), sizeof(*c));
    assert_int_equal(read(wire[who][0], &r, sizeof(r)), sizeof(r));
    return r;
}

/* -- the modelled side --------------------------------------------------------------------------------------------- */

struct model {
    struct machine *m;
    struct cpu *cpu;
    struct task *task[AGENTS];
    struct file *object;
};

static struct reply model_access(struct model *v, const struct command *c)
{
    struct mm *mm = v->cpu->current->mm;
    u64 before = mm->min_flt + mm->maj_flt;
    struct fault_info fi = do_access(v->cpu, c->addr, c->op == OP_STORE ? ACCESS_WRITE : ACCESS_READ);
    struct reply r = {0};
    u8 *at;

    if (fi.signo) {
        r.result = -1000 - fi.signo;
        return r;
    }
    r.faults = mm->min_flt + mm->maj_flt - before;
    at = (u8 *)page_address(v->m, page_at(v->cpu, c->addr)) + (c->addr & (PG - 1));
    if (c->op == OP_STORE)
        *at = c->value;
    else
        r.result = *at;
    return r;
}

static s64 model_mmap(struct model *v, const struct command *c)
{
    static const u32 flags[NR_MAP_KINDS] = {MAP_PRIVATE_ | MAP_ANONYMOUS_, MAP_SHARED_ | MAP_ANONYMOUS_, MAP_PRIVATE_,
                                            MAP_SHARED_};
    struct file *f = c->kind >= MAP_KIND_FILE_PRIVATE ? v->object : NULL;

    return sys_mmap(v->cpu, c->addr, c->len, c->prot, flags[c->kind] | MAP_FIXED_, f, c->offset);
}

static struct reply model_do(struct model *v, u32 who, const struct command *c)
{
    struct reply r = {0};

    v->cpu->current = v->task[who];
    switch (c->op) {
    case OP_LOAD:
    case OP_STORE:
        return model_access(v, c);
    case OP_MMAP:
        r.result = model_mmap(v, c);
        break;
    case OP_MUNMAP:
        r.result = sys_munmap(v->cpu, c->addr, c->len);
        break;
    case OP_MPROTECT:
        r.result = sys_mprotect(v->cpu, c->addr, c->len, c->prot);
        break;
    case OP_MREMAP:
        r.result = sys_mremap(v->cpu, c->addr, c->len, c->len, MREMAP_MAYMOVE_ | MREMAP_FIXED_, c->to);
        break;
    case OP_MADVISE:
        r.result = sys_madvise(v->cpu, c->addr, c->len, (int)c->kind);
        break;
    case OP_FORK:
        v->task[c->kind] = do_fork(v->cpu, 100 + (s32)c->kind);
        break;
    default:
        task_exit(v->cpu, v->task[who]);
        v->task[who] = NULL;
    }
    return r;
}

/* -- random commands ----------------------------------------------------------------------------------------------- */

static u64 below(u64 *seed, u64 n)
{
    return test_random(seed) % n;
}

static struct command random_command(u64 *seed)
{
    static const u8 weight[NR_OPS] = {
        [OP_LOAD] = 30,  [OP_STORE] = 30,  [OP_MMAP] = 10, [OP_MUNMAP] = 5, [OP_MPROTECT] = 8,
        [OP_MREMAP] = 4, [OP_MADVISE] = 6, [OP_FORK] = 4,  [OP_EXIT] = 3};
    static const u8 advice[] = {MADV_DONTNEED, MADV_DONTNEED,   MADV_DONTFORK,
                                MADV_DOFORK,   MADV_WIPEONFORK, MADV_KEEPONFORK};
    static const u8 prot[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};
    u64 first = below(seed, SPACE_PAGES), pages = 1 + below(seed, MIN(24ul, SPACE_PAGES - first)),
        pick = below(seed, 100);
    struct command c = {.op = OP_LOAD, .addr = SPACE + first * PG, .len = pages * PG, .value = (u8)test_random(seed)};

    for (u32 i = 0; i < NR_OPS; i++) {
        c.op = (enum op)i;
        if (pick < weight[i])
            break;
        pick -= weight[i];
    }
    c.prot = prot[below(seed, ARRAY_SIZE(prot))];
    c.to = SPACE + below(seed, SPACE_PAGES + 1 - pages) * PG;
    if (c.op <= OP_STORE)
        c.addr += below(seed, PG);
    if (c.op == OP_MMAP) {
        c.kind = (u32)below(seed, NR_MAP_KINDS);
        c.offset = below(seed, OBJECT_PAGES) * PG;
    }
    if (c.op == OP_MADVISE)
        c.kind = advice[below(seed, ARRAY_SIZE(advice))];
    return c;
}

/* Some process that lives; for fork also a free place in c->kind. False: the command has nobody to do it. */
static bool choose_agent(struct model *v, u64 *seed, struct command *c, u32 *who)
{
    u32 free_place = AGENTS;

    do {
        *who = (u32)below(seed, AGENTS);
    } while (!v->task[*who]);
    if (c->op == OP_EXIT)
        return *who != 0;
    if (c->op != OP_FORK)
        return true;
    for (u32 i = 0; i < AGENTS; i++)
        if (!v->task[i])
            free_place = i;
    c->kind = free_place;
    return free_place < AGENTS;
}

static void compare(u64 seed, u32 step, u32 who, const struct command *c, struct reply real, struct reply model)
{
    if (real.result == model.result && real.faults == model.faults)
        return;
    fail_msg(
        "seed %llu step %u: process %u op %d at page %llu+%llu to %llu, prot %u kind %u offset %llu: kernel %lld with "
        "%llu faults, model %lld with %llu",
        (unsigned long long)seed, step, who, c->op, (unsigned long long)(c->addr - SPACE) / PG,
        (unsigned long long)(c->len / PG), (unsigned long long)(c->to - SPACE) / PG, c->prot, c->kind,
        (unsigned long long)(c->offset / PG), (long long)real.result, (unsigned long long)real.faults,
        (long long)model.result, (unsigned long long)model.faults);
}

static void run(u64 seed, u32 steps)
{
    struct model v = {.m = test_machine_full(NULL)};
    u64 state = seed * 0x9e3779b97f4a7c15ull + 1;
    pid_t pid = start_agents();

    v.cpu = test_cpu(v.m);
    v.task[0] = test_task(v.cpu, 100);
    v.object = shmem_file_setup(v.cpu, "memfd:object", 0, VM_NORESERVE);
    assert_false(IS_ERR(v.object));
    inode_set_size(v.cpu, v.object->f_inode, OBJECT_PAGES * PG);
    for (u32 step = 0; step < steps; step++) {
        struct command c = random_command(&state);
        u32 who;

        if (!choose_agent(&v, &state, &c, &who))
            continue;
        compare(seed, step, who, &c, real_do(who, &c), model_do(&v, who, &c));
        if (step % 16 == 0 || c.op >= OP_MREMAP)
            assert_books(machine_check, v.m);
    }
    for (u32 i = 0; i < AGENTS; i++)
        if (v.task[i])
            task_exit(v.cpu, v.task[i]);
    fput(v.cpu, v.object);
    assert_books(machine_check, v.m);
    assert_int_equal(global_node_page_state(v.m, NR_ANON_MAPPED), 0);
    assert_int_equal(global_node_page_state(v.m, NR_SHMEM), 0);
    assert_int_equal(atomic_load(&v.m->vm->vm_committed_as), 0);
    for (u32 i = 0; i < AGENTS; i++) {
        close(wire[i][0]);
        close(wire[i][1]);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(object_fd);
    test_machine_end(v.m);
}

static void test_against_kernel(void **state)
{
    const char *env = getenv("QUIRE_SEED"), *steps = getenv("QUIRE_STEPS");
    u64 first = env ? strtoull(env, NULL, 0) : 1, last = env ? first : 12;

    for (u64 seed = first; seed <= last; seed++)
        run(seed, steps ? (u32)atoi(steps) : 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_kernel)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
