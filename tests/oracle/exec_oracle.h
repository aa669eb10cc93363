/* SPDX-License-Identifier: MIT */
/*
 * Programs started by the kernel and by abi_execve(): what both find at the first instruction.
 *
 *   exec_cases.c   an image (made to order), arguments, limits, personality
 *   exec_native.c  a traced child executes it, stops before the first instruction, /proc tells
 *   exec_model.c   the same on a machine
 *   exec_oracle.c  compares; with randomised addresses: compares ranges, steps and bits of many runs
 */
#ifndef QUIRE_TESTS_ORACLE_EXEC_ORACLE_H
#define QUIRE_TESTS_ORACLE_EXEC_ORACLE_H

#include "tests/oracle/elf_image.h"

#define CASE_ARGS 64u

struct exec_case {
    const char *name;
    char path[256];              /* of the program */
    const char *argv[CASE_ARGS]; /* ends with NULL */
    const char *envp[CASE_ARGS];
    u64 stack_limit, as_limit, data_limit;
    u32 personality;
};

#define SEEN_VMAS 40u

/* Whose bytes. */
enum seen_object { SEEN_ANON, SEEN_FILE, SEEN_SPECIAL };

struct seen_vma {
    va_t start, end;
    u64 offset, ino;
    u32 perms; /* r 1, w 2, x 4 */
    enum seen_object object;
    vm_flags_t flags;
};

enum seen_stat {
    START_CODE,
    END_CODE,
    START_STACK,
    START_DATA,
    END_DATA,
    START_BRK,
    ARG_START,
    ARG_END,
    ENV_START,
    ENV_END,
    NR_SEEN_STATS
};

/* Lines of /proc/PID/status, kB. */
#define SEEN_SIZES                                                                                                     \
    {                                                                                                                  \
        "VmSize:", "VmLck:", "VmData:", "VmStk:", "VmExe:", "VmLib:", "RssAnon:", "RssFile:", "VmPTE:"                 \
    }
#define NR_SEEN_SIZES 9
void exec_see_sizes(const char *status, u64 *sizes);

#define SEEN_STACK (64u << 10) /* bytes from the stack pointer on that are compared */

struct seen {
    int err;   /* errno of the execve; the rest is then empty */
    int signo; /* what ended it before its first instruction */
    u32 nr;
    struct seen_vma vma[SEEN_VMAS];
    u64 stat[NR_SEEN_STATS];
    u64 sizes[NR_SEEN_SIZES];
    u64 auxv[AT_VECTOR_SIZE];
    u64 sp, ip;
    u32 stack_bytes;
    u8 stack[SEEN_STACK];
};

bool exec_native(const struct exec_case *c, struct seen *out); /* false: the host does not let us trace */

struct exec_model {
    struct machine *m;
    struct cpu *cpu;
    struct elf_platform platform;
    u64 tmpfs_dev; /* files there are tmpfs's; ~0: none */
    s32 pid;
};
void exec_model_boot(struct exec_model *v, u32 randomize, u64 seed);
void exec_model_end(struct exec_model *v);
void exec_model_run(struct exec_model *v, const struct exec_case *c, struct seen *out);

#endif
