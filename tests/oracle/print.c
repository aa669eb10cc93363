/* SPDX-License-Identifier: MIT */
/* Ops for people: one line each, and as a C program that does them on the running kernel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/sequence.h"

#define REPLAY_MAGIC "quire oracle replay 1\n"

static void print_arg(const struct oracle_op *op, u32 i, FILE *out)
{
    unsigned long v = op->arg[i];

    switch (op->argkind[i]) {
    case ORACLE_FD:
        fprintf(out, "fd[%lu]", v);
        break;
    case ORACLE_PID:
        fprintf(out, "pid[%lu]", v);
        break;
    case ORACLE_PIDFD:
        fprintf(out, v == ORACLE_PROCS ? "pidfd(reaped)" : "pidfd(%lu)", v);
        break;
    case ORACLE_SHMID:
        fprintf(out, "shm[%lu]", v);
        break;
    case ORACLE_KEY:
        fprintf(out, "KEY(%lu)", v);
        break;
    case ORACLE_IN:
        fprintf(out, "in + %lu", v);
        break;
    case ORACLE_OUTPUT:
        fprintf(out, "out + %lu", v);
        break;
    default:
        if (v >= ORACLE_ARENA && v < ORACLE_ARENA + (ORACLE_ARENA_PAGES + 64) * PAGE_SIZE)
            fprintf(out, v & ~PAGE_MASK ? "A(%lu) + %#lx" : "A(%lu)", (v - ORACLE_ARENA) / PAGE_SIZE, v & ~PAGE_MASK);
        else if (v && v < 1024 * PAGE_SIZE && !(v & ~PAGE_MASK))
            fprintf(out, "%lu * 4096", v / PAGE_SIZE);
        else
            fprintf(out, v < 10 ? "%lu" : "%#lx", v);
    }
}

void print_op(const struct oracle_op *op, FILE *out)
{
    static const char *const names[NR_ORACLE_KINDS] = {"?",    "load",  "store", "exec",   "sum",   "fork",
                                                       "exit", "close", "drop",  "execve", "wrpkru"};
    static const u8 nr_args[NR_ORACLE_KINDS] = {6, 1, 2, 1, 2, 2, 0, 1, 0, 2, 1};

    fprintf(out, "%u: %s(", op->proc, op->kind == ORACLE_SYSCALL ? abi_name[op->nr] : names[op->kind]);
    for (u32 i = 0; i < nr_args[op->kind]; i++) {
        if (i)
            fprintf(out, ", ");
        print_arg(op, i, out);
    }
    fprintf(out, ")");
    if (op->fail)
        fprintf(out, " after one with allocation %u failing", op->fail);
}

void print_result(const struct oracle_op *op, const struct oracle_result *r, FILE *out)
{
    if (r->signo)
        fprintf(out, "signal %d code %d address %#lx", r->signo, r->code, (unsigned long)r->addr);
    else
        fprintf(out, r->ret < 4096 ? "%ld" : "%#lx", (long)r->ret);
    if (op->kind == ORACLE_LOAD || op->kind == ORACLE_STORE)
        fprintf(out, " with %d faults", (int)r->faults);
    if (memchr(op->argkind, ORACLE_OUTPUT, sizeof(op->argkind))) {
        fprintf(out, " out");
        for (u32 i = 0; i < 40; i++)
            fprintf(out, " %02x", r->out[i]);
    }
}

/* -- a C program --------------------------------------------------------------------------------------------------- */

static const char prologue[] =
    "/*\n * Prints what each step gives. To have the addresses of the oracle's child, and nothing else where its "
    "sequences\n"
    " * go:\n *\n *     gcc -static -no-pie -Wl,-Ttext-segment=0x10000000 -o reproducer THIS.c && setarch -R "
    "./reproducer\n *\n"
    " * Limits on sizes and the heap count what the program itself has, which is not what the child has.\n */\n"
    "#define _GNU_SOURCE\n"
    "#include <errno.h>\n#include <fcntl.h>\n#include <sched.h>\n#include <setjmp.h>\n#include <signal.h>\n"
    "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/mman.h>\n#include <sys/prctl.h>\n"
    "#include <sys/syscall.h>\n#include <sys/wait.h>\n#include <ucontext.h>\n#include <unistd.h>\n\n"
    "#define A(page) (0x180000000000ul + (page) * 4096ul)\n#define KEY(n) (0x51000000 + (n))\n"
    "static struct {\n    volatile int turn, pid[8], shm[8];\n} *shared; /* by all processes */\n"
    "#define pid shared->pid\n#define shm shared->shm\n"
    "static int me, fd[16];\n"
    "unsigned char out[512];\n"
    "static sigjmp_buf jump;\n"
    "static char stack[1 << 18]; /* the steps may do what they want with the first one */\n\n"
    "static void on_signal(int signo, siginfo_t *info, void *context)\n{\n"
    "    printf(\"signal %d code %d address %p\\n\", signo, info->si_code, info->si_addr);\n"
    "    siglongjmp(jump, 1);\n}\n\n"
    "static long show(long r)\n{\n"
    "    printf(r == -1 ? \"  %ld (%s)\\n\" : \"  %#lx\\n\", r, strerror(errno));\n"
    "    return r;\n}\n\n"
    "static void maps(void)\n{\n    char buf[1 << 14];\n    int f = open(\"/proc/self/maps\", 0);\n    long n;\n\n"
    "    while ((n = read(f, buf, sizeof(buf))) > 0)\n        if (write(1, buf, n) != n)\n            break;\n"
    "    close(f);\n}\n\n"
    "static int file(long size)\n{\n"
    "    const char *where = getenv(\"TMPDIR\");\n    char name[4096];\n    int f;\n\n"
    "    snprintf(name, sizeof(name), \"%s/oracle-XXXXXX\", where ? where : \"/tmp\");\n    f = mkstemp(name);\n"
    "    if (f < 0 || unlink(name) || ftruncate(f, size))\n        perror(name);\n    return f;\n}\n\n"
    "static int again(int of, int flags)\n{\n    char path[64];\n\n"
    "    sprintf(path, \"/proc/self/fd/%d\", of);\n    return open(path, flags);\n}\n\n";

/* To be removed with ipcrm, like all others that the program leaves. */
static void print_segments(FILE *out)
{
    for (u32 i = ORACLE_BASE_SHM; i < ORACLE_SHMS; i++)
        fprintf(out, "    shm[%u] = syscall(SYS_shmget, KEY(%u), %u * 4096, 01000 | 0%o);\n", i,
                ORACLE_BASE_KEY + i - ORACLE_BASE_SHM, oracle_base_pages(i), oracle_base_mode(i));
}

static const char main_begin[] =
    "int main(void)\n{\n"
    "    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};\n"
    "    static ucontext_t all;\n    cpu_set_t cpu;\n\n"
    "    CPU_ZERO(&cpu);\n    CPU_SET(sched_getcpu(), &cpu);\n"
    "    sched_setaffinity(0, sizeof(cpu), &cpu); /* so that MADV_PAGEOUT finds all pages */\n"
    "    setvbuf(stdout, NULL, _IONBF, 0);\n"
    "    shared = mmap((void *)0x100000000000, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);\n"
    "    sigaction(SIGSEGV, &sa, NULL);\n    sigaction(SIGBUS, &sa, NULL);\n"
    "    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);\n"
    "    memset(fd, 0xff, sizeof(fd));\n    pid[0] = getpid();\n";

static void print_files(FILE *out)
{
    for (int i = 0; i < NR_BASE_SLOTS; i++) {
        const struct native_file *f = &native_file[i];

        if (f->same_as == i && f->shmem)
            fprintf(out, "    fd[%d] = memfd_create(\"%s\", 0);\n    if (ftruncate(fd[%d], %lu))\n        return 1;\n",
                    i, f->name, i, (unsigned long)f->size);
        else if (f->same_as == i)
            fprintf(out, "    fd[%d] = file(%lu); /* %s */\n", i, (unsigned long)f->size, f->name);
        else
            fprintf(out, "    fd[%d] = again(fd[%d], %d);\n", i, f->same_as, f->open_flags);
    }
}

static void print_data(const struct oracle_op *op, FILE *out)
{
    if (!op->data_len)
        return;
    fprintf(out, "        static unsigned char in[] = {");
    for (u32 i = 0; i < op->data_len; i++)
        fprintf(out, i ? ", %u" : "%u", op->data[i]);
    fprintf(out, "};\n");
}

static void print_c_pidfd(const struct oracle_op *op, u32 i, FILE *out)
{
    if (op->argkind[i] != ORACLE_PIDFD)
        return;
    if (op->arg[i] == ORACLE_PROCS)
        fprintf(out, "        int gone = fork(), p = gone ? syscall(SYS_pidfd_open, gone, 0) : (_exit(0), 0);\n\n"
                     "        waitpid(gone, NULL, 0);\n");
    else
        fprintf(out, "        int p = syscall(SYS_pidfd_open, pid[%lu], 0);\n", (unsigned long)op->arg[i]);
}

static void print_c_call(const struct oracle_op *op, FILE *out)
{
    fprintf(out, "    {\n");
    print_data(op, out);
    for (u32 i = 0; i < 6; i++)
        print_c_pidfd(op, i, out);
    fprintf(out, "        long r = show(syscall(%d /* %s */", op->host_nr, abi_name[op->nr]);
    for (u32 i = 0; i < 6; i++) {
        fprintf(out, ", ");
        if (op->argkind[i] == ORACLE_PIDFD)
            fprintf(out, "p");
        else
            print_arg(op, i, out);
    }
    fprintf(out, "));\n");
    if (op->returns == ORACLE_RET_FD)
        fprintf(out, "        if (r >= 0)\n            fd[%u] = r;\n", op->ret_slot);
    else if (op->returns == ORACLE_RET_SHM)
        fprintf(out, "        if (r >= 0)\n            shm[%u] = r;\n", op->ret_slot);
    else
        fprintf(out, "        (void)r;\n");
    fprintf(out, "    }\n");
}

static void print_c_access(const struct oracle_op *op, FILE *out)
{
    unsigned long at = op->arg[0], more = op->arg[1];

    if (op->kind == ORACLE_LOAD)
        fprintf(out, "    if (!sigsetjmp(jump, 1))\n        show(*(volatile unsigned char *)%#lx);\n", at);
    else if (op->kind == ORACLE_STORE)
        fprintf(out, "    if (!sigsetjmp(jump, 1))\n        *(volatile unsigned char *)%#lx = %lu;\n", at, more);
    else if (op->kind == ORACLE_EXEC)
        fprintf(out,
                "    if (!sigsetjmp(jump, 1) && *(volatile unsigned char *)%#lx == 0xc3)\n"
                "        ((void (*)(void))%#lx)();\n",
                at, at);
    else
        fprintf(out,
                "    for (volatile unsigned long a = %#lx; a < %#lx; a += 4096)\n        if (!sigsetjmp(jump, 1))\n"
                "            (void)*(volatile unsigned char *)a;\n",
                at, at + more * PAGE_SIZE);
}

static void print_c_op(const struct oracle_op *op, FILE *out)
{
    unsigned long at = op->arg[0];

    switch (op->kind) {
    case ORACLE_SYSCALL:
        print_c_call(op, out);
        break;
    case ORACLE_FORK:
        if (op->arg[1])
            fprintf(out, "    /* with flags %#lx: --replay does that, this program does not */\n",
                    (unsigned long)op->arg[1]);
        fprintf(out,
                "    int child = fork();\n\n    if (!child) {\n        me = %lu;\n        alarm(120);\n        "
                "return;\n    }\n"
                "    pid[%lu] = child;\n",
                at, at);
        break;
    case ORACLE_CLOSE:
        fprintf(out, "    close(fd[%lu]);\n    fd[%lu] = -1;\n", at, at);
        break;
    case ORACLE_DROP:
        fprintf(out, "    if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))\n        exit(1);\n"
                     "    prctl(PR_SET_DUMPABLE, 1);\n");
        break;
    case ORACLE_EXECVE:
        fprintf(out, "    /* --replay does that, this program does not */\n");
        break;
    case ORACLE_PKRU:
        fprintf(out, "    __asm__ volatile(\"wrpkru\" ::\"a\"(%#lx), \"c\"(0), \"d\"(0));\n", at);
        break;
    case ORACLE_EXIT:
        fprintf(out, "    shared->turn++;\n    _exit(0);\n");
        break;
    default:
        print_c_access(op, out);
    }
}

static void print_step(const struct sequence *s, u32 i, FILE *out)
{
    fprintf(out, "/* ");
    print_op(&s->op[i], out);
    fprintf(out, "\n * kernel ");
    print_result(&s->op[i], &s->native[i], out);
    fprintf(out, "\n * model  ");
    print_result(&s->op[i], &s->model[i], out);
    fprintf(out, "\n */\nstatic void step%u(void)\n{\n", i);
    print_c_op(&s->op[i], out);
    fprintf(out, "}\n\n");
}

/*
 * Each process does its own steps, when the turn comes to it: it waits for no other turn, which could pass while it
 * sleeps. All stay until the last step, as the oracle's children do.
 */
static void print_loop(u32 nr, FILE *out)
{
    fprintf(out,
            "static void run(void)\n{\n    for (int i = 0; i < %u; i++) {\n        if (list[i].proc != me)\n"
            "            continue;\n        while (shared->turn != i)\n            usleep(100);\n"
            "        usleep(2000); /* who exited before is gone now */\n"
            "        printf(\"step %%d, process %%d\\n\", i, me);\n        list[i].step();\n"
            "        if (list[i].proc != me)\n            continue; /* the child of a fork */\n"
            "        if (i == %u)\n            maps();\n        shared->turn++;\n    }\n"
            "    while (shared->turn != %u)\n        usleep(100);\n    exit(0);\n}\n\n",
            nr, nr - 1, nr);
}

void print_c_program(const struct sequence *s, FILE *out)
{
    if (s->differ)
        fprintf(out, "/* seed %#lx: %s differs at step %u */\n", (unsigned long)s->seed, differ_name(s->differ), s->at);
    fputs(prologue, out);
    for (u32 i = 0; i < s->nr; i++)
        print_step(s, i, out);
    fprintf(out, "static const struct {\n    int proc;\n    void (*step)(void);\n} list[] = {");
    for (u32 i = 0; i < s->nr; i++)
        fprintf(out, "{%u, step%u}, ", s->op[i].proc, i);
    fprintf(out, "};\n\n");
    print_loop(s->nr, out);
    fprintf(out, "%s", main_begin);
    print_files(out);
    print_segments(out);
    fprintf(out, "    alarm(120); /* a process may have killed itself */\n    getcontext(&all);\n"
                 "    all.uc_stack.ss_sp = stack;\n    all.uc_stack.ss_size = sizeof(stack);\n"
                 "    makecontext(&all, run, 0);\n    setcontext(&all);\n    return 1;\n}\n");
}

/* -- replay files: the ops as they are, for the same build ---------------------------------------------------------- */

void save_replay(const struct sequence *s, const char *path)
{
    FILE *f = fopen(path, "w");

    if (!f)
        return;
    fprintf(f, REPLAY_MAGIC);
    fwrite(&s->nr, sizeof(s->nr), 1, f);
    fwrite(&s->seed, sizeof(s->seed), 1, f);
    fwrite(s->op, sizeof(s->op[0]), s->nr, f);
    fclose(f);
}

bool load_replay(struct sequence *s, const char *path)
{
    FILE *f = fopen(path, "r");
    char magic[sizeof(REPLAY_MAGIC)] = "";
    bool ok;

    if (!f)
        return false;
    ok = fread(magic, sizeof(REPLAY_MAGIC) - 1, 1, f) == 1 && !strcmp(magic, REPLAY_MAGIC) &&
         fread(&s->nr, sizeof(s->nr), 1, f) == 1 && fread(&s->seed, sizeof(s->seed), 1, f) == 1 &&
         s->nr <= ORACLE_OPS && fread(s->op, sizeof(s->op[0]), s->nr, f) == s->nr;
    fclose(f);
    return ok;
}
