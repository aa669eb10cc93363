/* SPDX-License-Identifier: MIT */
/* execve on the machine: the child's program again, and what it does when it begins. */
#include <string.h>

#include "cache/filemap.h"
#include "tests/oracle/model.h"

/* Of these limits the new program needs less. */
#define LEAST_SPACE (32ul << 20)
#define LEAST_DATA (4ul << 20)
#define LEAST_STACK (256ul << 10)

void model_boot_exec(struct model *v, struct native *n)
{
    elf_platform_of_host(&v->platform);
    elf_read(n->child_path, &v->child);
    v->child.program.file =
        file_open(v->cpu, n->image.dev, n->image.ino, n->image_size, FMODE_READ | FMODE_EXEC, n->child_path);
    if (IS_ERR(v->child.program.file))
        die("machine: no memory for the child's program");
}

static void see_layout(const struct mm *mm, struct oracle_result *r)
{
    const u64 value[ORACLE_LAYOUT] = {mm->start_code, mm->end_code,  mm->start_stack, mm->start_data, mm->end_data,
                                      mm->start_brk,  mm->arg_start, mm->arg_end,     mm->env_start,  mm->env_end};

    memcpy(r->out, value, sizeof(value));
}

/* As child_main() in child.c. */
static void begin_program(struct model *v)
{
    const struct mm *mm = v->cpu->current->mm;
    static const u8 zeros[16];
    struct fault_info fi;
    s64 at = sys_mmap(v->cpu, ORACLE_SHARED_AT, ORACLE_SHARED_BYTES, PROT_READ_ | PROT_WRITE_, MAP_SHARED_ | MAP_FIXED_,
                      v->shared, 0);

    if (at != (s64)ORACLE_SHARED_AT)
        die("model: the shared memory cannot be mapped after execve: %ld", (long)at);
    /* which of its pages are there is not looked at, but that it has some decides about merging */
    if (mmu_copy_to_user(v->cpu, v->image_end - 1, zeros, 1, &fi))
        die("model: no memory for the child's own");
    for (u32 i = 0; i < AT_VECTOR_SIZE && mm->saved_auxv[i]; i += 2)
        if (mm->saved_auxv[i] == 25 && mmu_copy_to_user(v->cpu, mm->saved_auxv[i + 1], zeros, sizeof(zeros), &fi))
            die("model: AT_RANDOM is nowhere");
}

static void close_on_exec(struct model *v, u32 proc)
{
    for (u32 i = 0; i < ORACLE_SLOTS; i++) {
        if (!v->fd[proc][i] || !v->cloexec[proc][i])
            continue;
        v->cpu->code->fput(v->cpu, v->fd[proc][i]);
        v->fd[proc][i] = NULL;
    }
}

bool model_can_execve(const struct model *v, const struct oracle_op *op)
{
    const struct task *t = v->proc[op->proc];
    u64 stack = rlimit(t, RLIMIT_STACK_);

    if (rlimit(t, RLIMIT_AS_) < LEAST_SPACE || rlimit(t, RLIMIT_DATA_) < LEAST_DATA)
        return false;
    return stack >= LEAST_STACK || !op->arg[0] || op->arg[0] * op->arg[1] >= stack + 8 * PAGE_SIZE;
}

void model_execve(struct model *v, const struct oracle_op *op, struct oracle_result *r)
{
    static char variable[ORACLE_ENV_BYTES + 1];
    const char who[2] = {(char)('0' + op->proc), 0};
    const char *const argv[] = {ORACLE_ARGV0, who};
    const char *envp[ORACLE_ENV_MOST];
    struct exec_args args = {
        .filename = ORACLE_EXEC_NAME, .argv = argv, .argc = 2, .envp = envp, .comm = "oracle-child"};
    struct exec_image image = {.exe = v->child.program, .exec_stack = v->child.exec_stack};
    struct exec_result result;

    memset(variable, 'e', sizeof(variable));
    variable[op->arg[1] ? op->arg[1] - 1 : 0] = 0;
    for (args.envc = 0; args.envc < op->arg[0]; args.envc++)
        envp[args.envc] = variable;
    r->ret = abi_execve(v->cpu, &image, &v->platform.platform, &args, &result);
    if (r->ret)
        return;
    if (result.signo)
        die("model: execve ends the process");
    begin_program(v);
    close_on_exec(v, op->proc);
    model_wake(v, op->proc);
    see_layout(v->cpu->current->mm, r);
}
