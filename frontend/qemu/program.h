/* SPDX-License-Identifier: MIT */
/*
 * What execve(2) would make of a path: an ELF program of an architecture we have a qemu for, a script with its
 * interpreters, or a reason why not. Used by the launcher for the program named on the command line, and by the plugin
 * for every execve of a followed process.
 */
#ifndef QUIRE_FRONTEND_PROGRAM_H
#define QUIRE_FRONTEND_PROGRAM_H

#include "session.h"

#define ELF_MAX_LOADS 16
#define PROGRAM_MAX_SCRIPTS 4 /* Linux: interpreters that are scripts themselves, four levels deep */
#define PROGRAM_LINE 256      /* Linux's BINPRM_BUF_SIZE: what is read of a script's first line */

struct elf_load {
    u64 vaddr, memsz, filesz, offset;
    u32 prot; /* PROT_* */
};

struct elf_image {
    u16 e_machine;
    bool dyn; /* ET_DYN: loaded where there is room */
    u64 entry;
    u32 nr_loads;
    struct elf_load load[ELF_MAX_LOADS];
    char interp[PROGRAM_LINE]; /* PT_INTERP, empty: static */
};

enum program_error {
    PROGRAM_OK,
    PROGRAM_NOT_FOUND,      /* err: errno */
    PROGRAM_NOT_EXECUTABLE, /* no execute permission, or not a regular file */
    PROGRAM_NOT_READABLE,   /* may be executed, err: why not read */
    PROGRAM_NO_FORMAT,      /* neither ELF nor a script with an interpreter line */
    PROGRAM_FOREIGN,        /* ELF for an architecture without a qemu of ours */
    PROGRAM_BAD_ELF,
    PROGRAM_NO_INTERPRETER, /* a script's interpreter or an ELF file's loader is missing */
    PROGRAM_TOO_DEEP,       /* scripts of scripts of scripts ... */
};

struct program {
    char path[SESSION_PATH]; /* of the ELF file */
    enum guest_arch arch;
    bool privileged; /* set-user-ID or set-group-ID: not followed, qemu cannot grant that */
    /* For a script: what stands in place of argv[0]: interpreter, its argument, script; innermost interpreter first. */
    u32 nr_prefix;
    char prefix[2 * PROGRAM_MAX_SCRIPTS + 1][SESSION_PATH];
    char missing[SESSION_PATH]; /* PROGRAM_NO_INTERPRETER: which */
    int err;
    u16 e_machine;
    struct elf_image elf;
};

/* Header and program headers of an open file: PROGRAM_OK, _NO_FORMAT (not ELF), _FOREIGN or _BAD_ELF. */
enum program_error elf_read(int fd, struct elf_image *e, enum guest_arch *arch);
/* `sysroot`: prefix for an ELF interpreter (qemu -L), "" for none. */
enum program_error program_resolve(const char *path, const char *sysroot, struct program *p);
/* As the shell and execvp(3) do: PATH, unless there is a slash. False: not found (out holds the name). */
bool program_find(const char *name, char out[SESSION_PATH]);

#endif
