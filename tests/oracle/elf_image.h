/* SPDX-License-Identifier: MIT */
/* ELF files: made to order, and read into what abi_execve() takes. */
#ifndef QUIRE_TESTS_ORACLE_ELF_IMAGE_H
#define QUIRE_TESTS_ORACLE_ELF_IMAGE_H

#include <elf.h>

#include "abi/exec.h"

#define ELF_LOADS 12u

enum elf_stack { ELF_STACK_UNSAID, ELF_STACK_DATA, ELF_STACK_EXEC };

/* A program of these segments, nothing in them but the headers; its interpreter's path may be empty. */
struct elf_spec {
    bool dyn;
    enum elf_stack stack;
    u64 entry;
    u32 nr_loads;
    struct exec_segment load[ELF_LOADS];
    char interp[256];
};

void elf_write(const char *path, const struct elf_spec *spec); /* dies if it cannot */

struct elf_read {
    struct exec_program program; /* file: not set */
    struct exec_segment load[ELF_LOADS];
    char interp[256];
    bool exec_stack;
    u64 dev, ino, size;
};

void elf_read(const char *path, struct elf_read *out); /* dies if it cannot */

bool elf_is_program(const char *path); /* x86-64, and no script */

/* The running kernel's and processor's part of each program, as this process has it. */
struct elf_platform {
    struct exec_platform platform;
    struct exec_special special[8];
    char name[32];
};
void elf_platform_of_host(struct elf_platform *p);
vm_flags_t elf_parse_flags(const char *text); /* two letters each, as VmFlags has them */

#endif
