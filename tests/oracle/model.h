/* SPDX-License-Identifier: MIT */
/* The modelled side: a machine whose processes are those of the child, and what a program sees there. */
#ifndef QUIRE_TESTS_ORACLE_MODEL_H
#define QUIRE_TESTS_ORACLE_MODEL_H

#include <stdio.h>

#include "abi/abi.h"
#include "tests/oracle/elf_image.h"
#include "tests/oracle/native.h"

/* What the host's kernel has; what it lacks is not asked for. */
struct host {
    bool pkeys, anon_names, la57;
    bool mseal, guard, droppable; /* by version: 6.10, 6.13, 6.11 */
    bool moves_many;              /* mremap of several mappings at once: 6.17 */
    bool poison;                  /* a virtual machine of our own: pages may be poisoned */
    bool huge;                    /* 2 MiB and 1 GiB pages, none of them there */
    bool no_swap;
    bool own_user; /* what a process becomes by ORACLE_DROP, nothing else is */
    bool ext4;     /* the files on disk are on it */
    bool joins;    /* mappings with and without pages of their own become one: 6.16 */
    u32 major, minor;
};

struct model {
    struct machine *m;
    struct cpu *cpu;
    struct task *super;              /* the supervisor: what a sequence's process 0 is a fork of */
    struct task *proc[ORACLE_PROCS]; /* NULL: not alive */
    struct file *base[ORACLE_SLOTS]; /* descriptors of the supervisor */
    struct file *fd[ORACLE_PROCS][ORACLE_SLOTS];
    bool cloexec[ORACLE_PROCS][ORACLE_SLOTS]; /* goes with execve */
    u32 waits_for[ORACLE_PROCS];              /* 1 + the child of its vfork; 0: it runs */
    struct file *shared;                      /* the shared memory */
    struct elf_platform platform;
    struct elf_read child; /* the child's program */
    s32 shmid[ORACLE_SHMS];
    u64 key_base;
    u32 nobody; /* as in oracle_shared */
    u64 image_end;
    bool join;    /* as in oracle_shared */
    u64 injected; /* allocation failures so far */
    u64 seed;     /* of the injection; 0: none */
    u32 sequences;
    struct oracle_seen *seen; /* as in oracle_shared */
};

void model_boot(struct model *v, struct native *n, const struct host *host);
void model_shutdown(struct model *v);
void model_begin(struct model *v); /* process 0, files as new */
void model_end(struct model *v);   /* everybody exits */
void model_do(struct model *v, const struct oracle_op *op, struct oracle_result *r);
/* model_exec.c */
void model_boot_exec(struct model *v, struct native *n);
void model_wake(struct model *v, u32 child); /* model.c */
/* Is it done, or refused while the old program is there? Else the kernel kills the process: exec_oracle asks for that. */
bool model_can_execve(const struct model *v, const struct oracle_op *op);
void model_execve(struct model *v, const struct oracle_op *op, struct oracle_result *r);
static inline bool model_runs(const struct model *v, u32 proc) /* alive, and no parent asleep in vfork */
{
    return v->proc[proc] && !v->waits_for[proc];
}
/* Mismatches in the books, printed to `out`; 0: none. */
u32 model_check(struct model *v, FILE *out);

/* import.c: the supervisor's address space, mapping by mapping, from what /proc says. */
void import_space(struct model *v, struct native *n);
void import_limits(struct model *v, struct native *n);

/* see.c: what a process sees, as child.c hashes it; and as text for people. */
void model_see(struct model *v, u32 proc, u32 see, struct oracle_result *r);
char *model_view(struct model *v, u32 proc, const char *file); /* "smaps"; malloc()ed */
void model_print_maps(struct model *v, u32 proc, FILE *out);
vm_flags_t see_parse_flags(const char *vm_flags); /* "rd wr mr" */
/* Would a kernel that joins less perhaps lack this page (oracle_mix_page())? */
bool model_unsure_page(struct model *v, const struct vm_area_struct *vma, va_t addr);
/* Present and not written to since: before 6.2, mprotect() did not make it writable at once. */
bool model_clean_page(struct model *v, const struct vm_area_struct *vma, va_t addr);
bool model_zero_page(struct model *v, const struct vm_area_struct *vma, va_t addr);
u32 see_object(const struct model *v, const struct vm_area_struct *vma);

static inline bool model_own(const struct model *v, va_t start, va_t end)
{
    return oracle_own(start, end, v->image_end);
}

#endif
