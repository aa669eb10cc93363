/* SPDX-License-Identifier: MIT */
/* A guest without qemu: see guest.h. */
#define _GNU_SOURCE
#include "guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "follow.h"
#include "qemu_plugin.h"

#define VICTIM 14u /* the threads of the processes */
#define CHILD 15u
#define TORN 13u
#define FIRST_CHILD 6u /* the child of thread i is i + 6 */

const s64 guest_call_nr[NR_GUEST_CALLS] = {SYS_sched_yield, SYS_fstat, SYS_munmap};

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("guest: line %d: %s\n", __LINE__, #condition);                                                      \
            fflush(stdout);                                                                                            \
            _exit(99);                                                                                                 \
        }                                                                                                              \
    } while (0)

/* What processes share. */
static struct guest_state {
    u64 turn;
    _Atomic u64 unordered; /* turns, where threads go on out of turn */
    _Atomic u32 begun;     /* threads that have done a step, where somebody waits for them */
} * state;

static const struct guest_plan *plan;
static u32 nr_vcpus; /* counted in calls that make a thread: one at a time */

/* -- qemu's side of the plugin interface --------------------------------------------------------------------------- */

static struct {
    qemu_plugin_vcpu_simple_cb_t init, exit;
    qemu_plugin_vcpu_tb_trans_cb_t translate;
    qemu_plugin_vcpu_syscall_cb_t call;
    qemu_plugin_vcpu_syscall_ret_cb_t ret;
    qemu_plugin_vcpu_mem_cb_t mem;
    qemu_plugin_vcpu_udata_cb_t block;
} on;

struct qemu_plugin_insn {
    u64 va;
};
struct qemu_plugin_tb {
    struct qemu_plugin_insn insn;
};

void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_simple_cb_t cb)
{
    on.init = cb;
}

void qemu_plugin_register_vcpu_exit_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_simple_cb_t cb)
{
    on.exit = cb;
}

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb)
{
    on.translate = cb;
}

void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_syscall_cb_t cb)
{
    on.call = cb;
}

void qemu_plugin_register_vcpu_syscall_ret_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_syscall_ret_cb_t cb)
{
    on.ret = cb;
}

void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, qemu_plugin_vcpu_udata_cb_t cb,
                                          enum qemu_plugin_cb_flags flags, void *userdata)
{
    on.block = cb;
}

void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, qemu_plugin_vcpu_mem_cb_t cb,
                                      enum qemu_plugin_cb_flags flags, enum qemu_plugin_mem_rw rw, void *userdata)
{
    on.mem = cb;
}

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb)
{
    return 1;
}

uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb)
{
    return tb->insn.va;
}

struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx)
{
    return &((struct qemu_plugin_tb *)(uintptr_t)tb)->insn;
}

const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn)
{
    return "\x48\x8b\x07"; /* mov (%rdi), %rax */
}

uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn)
{
    return insn->va;
}

size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn)
{
    return 3;
}

bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info)
{
    return info >> 17 & 1;
}

unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info)
{
    return info >> 4 & 7;
}

const char *qemu_plugin_path_to_binary(void)
{
    return "/proc/self/exe"; /* any program with an interpreter */
}

uint64_t qemu_plugin_start_code(void)
{
    return GUEST_EXE;
}

/* -- what vCPUs do ------------------------------------------------------------------------------------------------- */

#define WORD 3u /* log2 of its bytes */
#define LOAD (1u << 16 | WORD << 4)
#define STORE (1u << 17 | WORD << 4)

static void before(u32 vcpu, s64 nr, u64 a1, u64 a2, u64 a6)
{
    on.call(0, vcpu, nr, a1, a2, 0, 0, 0, a6, 0, 0);
}

/* A call of the program: its number in the sixth argument. */
static void call(u32 vcpu, u64 k)
{
    static const s64 result[NR_GUEST_CALLS] = {[GUEST_WAIT] = 0, [GUEST_QUICK] = -9 /* EBADF */, [GUEST_MEM] = 0};
    s64 nr = guest_call_nr[guest_call_at(k)];

    before(vcpu, nr, GUEST_HOLE, PAGE_SIZE, k);
    if (guest_call_at(k) == GUEST_WAIT && k % 5 == 0)
        usleep(50);
    on.ret(0, vcpu, nr, result[guest_call_at(k)]);
}

static u64 next_turn(void)
{
    return plan->exclusive ? atomic_fetch_add(&state->unordered, 1) : state->turn++;
}

static void be_busy(double seconds)
{
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
}

/* Thread 1 stays in its first block, while the others wait in theirs: asleep they stand in for it, else they go on out of turn. */
static void be_exclusive(u64 thread, u64 k)
{
    if (!k && thread == 1 && plan->asleep)
        usleep(1000000);
    else if (!k && thread == 1)
        be_busy(3.5);
    if (!k)
        atomic_fetch_add(&state->begun, 1);
    if (k % 64 == 0 && atomic_load(&state->begun) < plan->threads)
        usleep(20); /* so that none ends before */
}

static void step(u32 vcpu, u64 thread, u64 k)
{
    u64 va;

    on.block(vcpu, (void *)guest_code_page(thread, k));
    va = GUEST_DATA + next_turn() % plan->pages * PAGE_SIZE;
    if (plan->exclusive)
        be_exclusive(thread, k);
    on.mem(vcpu, STORE, va, NULL);
    if (k % 3 == 0)
        on.mem(vcpu, LOAD, va + 8, NULL);
    if (guest_crosses_at(k))
        on.mem(vcpu, LOAD, guest_own_page(thread) + PAGE_SIZE - 4, NULL);
    if (plan->calls && guest_calls_at(k))
        call(vcpu, k);
}

/* -- threads ------------------------------------------------------------------------------------------------------- */

struct guest_thread {
    pthread_t thread;
    u32 vcpu;
    u64 number;
};

static void *thread_body(void *arg);

static void start_thread(u32 parent, struct guest_thread *t, u64 number)
{
    before(parent, SYS_clone, CLONE_VM | CLONE_THREAD, 0, 0);
    *t = (struct guest_thread){.number = number, .vcpu = ++nr_vcpus};
    on.init(0, t->vcpu);
    MUST(pthread_create(&t->thread, NULL, thread_body, t) == 0);
    on.ret(0, parent, SYS_clone, 100000 + (s64)number);
}

static void join_thread(u32 vcpu, struct guest_thread *t)
{
    before(vcpu, SYS_futex, 0, 0, 0);
    pthread_join(t->thread, NULL);
    on.ret(0, vcpu, SYS_futex, 0);
}

static void *thread_body(void *arg)
{
    struct guest_thread *t = arg, child;
    bool parent = plan->children && t->number < FIRST_CHILD;
    u64 steps = guest_steps(plan, t->number);

    for (u64 k = 0; k < steps; k++) {
        step(t->vcpu, t->number, k);
        if (parent && k == steps / 2)
            start_thread(t->vcpu, &child, t->number + FIRST_CHILD);
    }
    if (parent)
        join_thread(t->vcpu, &child);
    before(t->vcpu, SYS_exit, 0, 0, 0);
    on.exit(0, t->vcpu);
    return NULL;
}

/* -- processes ----------------------------------------------------------------------------------------------------- */

/* In the child 0, with the same vCPU. */
static pid_t fork_process(u32 vcpu)
{
    pid_t pid;

    fflush(stdout);
    before(vcpu, SYS_fork, 0, 0, 0);
    pid = fork();
    MUST(pid >= 0);
    on.ret(0, vcpu, SYS_fork, pid);
    return pid;
}

static void end_process(u32 vcpu)
{
    before(vcpu, SYS_exit_group, 0, 0, 0);
    _exit(0);
}

static void wait_for(u32 vcpu, pid_t pid, bool killed)
{
    int status;

    before(vcpu, SYS_wait4, 0, 0, 0);
    MUST(waitpid(pid, &status, 0) == pid);
    MUST(killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0);
    on.ret(0, vcpu, SYS_wait4, pid);
}

/* Until so many threads have begun. */
static void wait_for_steps(u32 vcpu, u32 threads)
{
    before(vcpu, SYS_futex, 0, 0, 0);
    while (atomic_load(&state->begun) < threads)
        usleep(100);
    on.ret(0, vcpu, SYS_futex, 0);
}

static void send(u32 vcpu, pid_t pid, int sig)
{
    before(vcpu, SYS_kill, (u64)pid, (u64)sig, 0);
    MUST(kill(pid, sig) == 0);
    on.ret(0, vcpu, SYS_kill, 0);
}

/* Who is stopped does not keep the baton. */
static u64 stop_and_go_on(u32 vcpu, pid_t pid, u64 k)
{
    for (u32 i = 0; i < 20; i++) {
        send(vcpu, pid, SIGSTOP);
        for (u64 end = k + 50; k < end; k++)
            step(vcpu, 0, k);
        send(vcpu, pid, SIGCONT);
        for (u64 end = k + 50; k < end; k++)
            step(vcpu, 0, k);
    }
    return k;
}

/* Killed from outside in the middle of a write. */
static void die_writing(u32 vcpu)
{
    char path[64];
    int fd;

    for (u64 k = 0; k < 1000; k++)
        step(vcpu, TORN, k);
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", process.s->launcher, process.s->trace.file);
    fd = open(path, O_WRONLY | O_APPEND);
    MUST(fd >= 0 && write(fd, path, 20) == 20);
    kill(getpid(), SIGKILL);
}

/* One dies, one runs to its end, one until it is killed. */
static void processes(u32 vcpu)
{
    pid_t torn = fork_process(vcpu), child, victim;

    if (!torn)
        die_writing(vcpu);
    wait_for(vcpu, torn, true);
    child = fork_process(vcpu);
    if (!child) {
        for (u64 k = 0; k < guest_steps(plan, CHILD); k++)
            step(vcpu, CHILD, k);
        end_process(vcpu);
    }
    victim = fork_process(vcpu);
    if (!victim)
        for (u64 k = 0;; k++) {
            step(vcpu, VICTIM, k);
            state->begun |= !k;
        }
    wait_for_steps(vcpu, 1);
    for (u64 k = stop_and_go_on(vcpu, victim, 0); k < 3ul * plan->steps; k++)
        step(vcpu, 0, k);
    send(vcpu, victim, SIGKILL);
    wait_for(vcpu, victim, true);
    wait_for(vcpu, child, false);
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static void *map(u64 at, u64 len, int prot, int flags)
{
    void *p = mmap((void *)at, len, prot, MAP_FIXED_NOREPLACE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

    MUST(p == (void *)at);
    return p;
}

/* As qemu lays a program out: a stack over an inaccessible page, with argc and what follows; code; data. */
static void map_all(void)
{
    u64 top = GUEST_STACK + 65 * PAGE_SIZE, *word = (u64 *)(top - 256);

    map(GUEST_STACK, 65 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE);
    MUST(mprotect((void *)(GUEST_STACK + PAGE_SIZE), 64 * PAGE_SIZE, PROT_READ | PROT_WRITE) == 0);
    word[0] = 1;
    word[1] = top - 64;
    strcpy((char *)(top - 64), "guest"); /* word[2]: end of argv, [3] of the environment, [4] of the auxiliary vector */
    state = map(GUEST_STATE, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
    map(GUEST_CODE, GUEST_THREADS << 20, PROT_READ | PROT_EXEC, MAP_PRIVATE);
    map(GUEST_EXE, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE);
    map(GUEST_DATA, GUEST_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static void install(int argc, char **argv)
{
    struct qemu_plugin_tb tb = {{GUEST_EXE}};
    qemu_info_t info = {.target_name = "x86_64"};

    MUST(qemu_plugin_install(1, &info, argc, argv) == 0);
    MUST(on.init && on.exit && on.translate && on.call && on.ret);
    on.translate(1, &tb);
    MUST(on.block && on.mem);
}

int guest_main(const struct guest_plan *p, int argc, char **argv)
{
    struct guest_thread thread[FIRST_CHILD] = {0};

    plan = p;
    map_all();
    if (p->file_limit)
        MUST(setrlimit(RLIMIT_FSIZE, &(struct rlimit){p->file_limit, p->file_limit}) == 0);
    install(argc, argv);
    on.init(0, 0);
    on.block(0, (void *)guest_code_page(0, 1));
    for (u32 i = p->threads; i >= 1; i--) {
        if (i == 1 && p->exclusive)
            wait_for_steps(0, p->threads - 1); /* in the middle of their steps */
        start_thread(0, &thread[i], i);
    }
    if (p->processes)
        processes(0);
    for (u32 i = 1; i <= p->threads; i++)
        join_thread(0, &thread[i]);
    before(0, SYS_exit_group, 0, 0, 0);
    return 0;
}
