/* SPDX-License-Identifier: MIT */
/*
 * execve(2) of an ELF image that the caller has read: where Linux puts its segments, its interpreter, the vdso, the heap
 * and the stack, and what lies on that stack. The file's bytes are the files'; the machine maps them.
 */
#ifndef QUIRE_ABI_EXEC_H
#define QUIRE_ABI_EXEC_H

#include "abi/abi.h"

/* A PT_LOAD header. */
struct exec_segment {
    u64 vaddr, filesz, memsz, offset, align;
    u32 prot; /* PROT_* */
};

struct exec_program {
    struct file *file;
    bool dyn; /* ET_DYN: may lie anywhere; else ET_EXEC */
    u64 entry, phoff;
    u32 phnum;
    u32 nr_loads;
    const struct exec_segment *load; /* in the file's order */
};

/* A part of what the kernel itself maps into each program: vvar, vdso; they lie one behind the other. */
struct exec_special {
    u64 bytes;
    vm_flags_t flags;
};

/* What depends on the processor and the kernel's build, not on the program. */
struct exec_platform {
    const struct exec_special *special;
    u32 nr_special;
    u32 vdso;         /* which of them AT_SYSINFO_EHDR names; nr_special: none is mapped */
    const char *name; /* AT_PLATFORM; NULL: none */
    u64 minsigstksz, hwcap, hwcap2, clktck, rseq_feature_size, rseq_align;
};

struct exec_image {
    struct exec_program exe;
    const struct exec_program *interp; /* PT_INTERP; NULL: none */
    bool exec_stack;                   /* PT_GNU_STACK has PF_X */
};

struct exec_args {
    const char *filename; /* as given to execve */
    const char *const *argv, *const *envp;
    u32 argc, envc;
    char comm[16];
};

struct exec_result {
    va_t entry, sp; /* of the first instruction */
    int signo;      /* not 0: the old program was gone already, and the new one cannot be: the kernel kills it */
};

/*
 * cpu->current goes on in the new program, its old address space is gone. 0; -errno: it goes on in the old one (-E2BIG,
 * -ENOMEM); result->signo: to be ended by the caller, in an address space of no use.
 */
int abi_execve(struct cpu *cpu, const struct exec_image *image, const struct exec_platform *platform,
               const struct exec_args *args, struct exec_result *result);

#endif
