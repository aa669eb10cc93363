/* SPDX-License-Identifier: MIT */
/* execve(2)'s view of a file: see program.h. Follows execve(2) "Interpreter scripts" and elf(5). */
#define _GNU_SOURCE
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool arch_of(u16 e_machine, enum guest_arch *arch)
{
    static const struct {
        u16 e_machine;
        enum guest_arch arch;
    } known[] = {{EM_X86_64, GUEST_X86_64}, {EM_AARCH64, GUEST_AARCH64}, {EM_RISCV, GUEST_RISCV64}};

    for (u32 i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i].e_machine == e_machine) {
            *arch = known[i].arch;
            return true;
        }
    return false;
}

static enum program_error read_phdr(int fd, const Elf64_Phdr *ph, struct elf_image *e)
{
    if (ph->p_type == PT_INTERP) {
        if (ph->p_filesz == 0 || ph->p_filesz >= sizeof(e->interp) ||
            pread(fd, e->interp, ph->p_filesz, (off_t)ph->p_offset) != (ssize_t)ph->p_filesz)
            return PROGRAM_BAD_ELF;
        e->interp[ph->p_filesz] = 0;
    }
    if (ph->p_type == PT_LOAD) {
        u32 prot = (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
                   (ph->p_flags & PF_X ? PROT_EXEC : 0);

        if (e->nr_loads == ELF_MAX_LOADS || ph->p_filesz > ph->p_memsz)
            return PROGRAM_BAD_ELF;
        e->load[e->nr_loads++] = (struct elf_load){ph->p_vaddr, ph->p_memsz, ph->p_filesz, ph->p_offset, prot};
    }
    return PROGRAM_OK;
}

enum program_error elf_read(int fd, struct elf_image *e, enum guest_arch *arch)
{
    Elf64_Ehdr eh;
    ssize_t n = pread(fd, &eh, sizeof(eh), 0);

    *e = (struct elf_image){0};
    if (n < SELFMAG || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
        return PROGRAM_NO_FORMAT;
    if (n < EI_NIDENT + 4)
        return PROGRAM_BAD_ELF;
    e->e_machine = eh.e_machine;
    if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB || !arch_of(eh.e_machine, arch))
        return PROGRAM_FOREIGN;
    if (n < (ssize_t)sizeof(eh) || (eh.e_type != ET_EXEC && eh.e_type != ET_DYN) ||
        eh.e_phentsize != sizeof(Elf64_Phdr) || eh.e_phnum == 0)
        return PROGRAM_BAD_ELF;
    e->dyn = eh.e_type == ET_DYN;
    e->entry = eh.e_entry;
    for (u32 i = 0; i < eh.e_phnum; i++) {
        Elf64_Phdr ph;
        enum program_error err;

        if (pread(fd, &ph, sizeof(ph), (off_t)(eh.e_phoff + i * sizeof(ph))) != (ssize_t)sizeof(ph))
            return PROGRAM_BAD_ELF;
        err = read_phdr(fd, &ph, e);
        if (err)
            return err;
    }
    return e->nr_loads ? PROGRAM_OK : PROGRAM_BAD_ELF;
}

/* The file itself: regular, executable for us. */
static enum program_error check_file(const char *path, struct program *p)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        p->err = errno;
        return PROGRAM_NOT_FOUND;
    }
    if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
        p->err = EACCES;
        return PROGRAM_NOT_EXECUTABLE;
    }
    p->privileged = ((st.st_mode & S_ISUID) && st.st_uid != geteuid()) ||
                    ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getegid());
    return PROGRAM_OK;
}

/* "#!interpreter argument": one argument at most, blanks around it dropped. */
static bool parse_script(char *line, char **interp, char **arg)
{
    char *end = line + strcspn(line, "\n");

    *end = 0;
    while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = 0;
    *interp = line + 2 + strspn(line + 2, " \t");
    if (!**interp)
        return false;
    *arg = *interp + strcspn(*interp, " \t");
    if (**arg) {
        *(*arg)++ = 0;
        *arg += strspn(*arg, " \t");
    }
    return true;
}

/* prefix := interpreter [argument] script rest-of-prefix */
static void push_script(struct program *p, const char *interp, const char *arg, const char script[SESSION_PATH])
{
    u32 add = *arg ? 2 : 1;
    u32 rest = p->nr_prefix ? p->nr_prefix - 1 : 0; /* prefix[0], the script itself, is replaced by its path */

    memmove(p->prefix[add + 1], p->prefix[1], rest * sizeof(p->prefix[0]));
    strcpy(p->prefix[0], interp); /* both at most PROGRAM_LINE */
    if (*arg)
        strcpy(p->prefix[1], arg);
    memcpy(p->prefix[add], script, SESSION_PATH);
    p->nr_prefix = add + 1 + rest;
}

/* One level: PROGRAM_OK with *again set when p->path was a script and now is its interpreter. */
static enum program_error resolve_one(struct program *p, u32 level, bool *again)
{
    char line[PROGRAM_LINE + 1] = "", *interp, *arg;
    enum program_error err = check_file(p->path, p);
    ssize_t n;
    int fd;

    *again = false;
    if (err)
        return err;
    fd = open(p->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        p->err = errno;
        return PROGRAM_NOT_READABLE;
    }
    n = pread(fd, line, PROGRAM_LINE, 0);
    if (n < 2 || line[0] != '#' || line[1] != '!') {
        err = elf_read(fd, &p->elf, &p->arch);
        p->e_machine = p->elf.e_machine;
        close(fd);
        return err;
    }
    close(fd);
    if (!parse_script(line, &interp, &arg))
        return PROGRAM_NO_FORMAT;
    if (level == PROGRAM_MAX_SCRIPTS)
        return PROGRAM_TOO_DEEP;
    push_script(p, interp, arg, p->path);
    snprintf(p->path, sizeof(p->path), "%s", interp);
    *again = true;
    return PROGRAM_OK;
}

enum program_error program_resolve(const char *path, const char *sysroot, struct program *p)
{
    bool again = true;

    memset(p, 0, offsetof(struct program, elf));
    if (strlen(path) >= sizeof(p->path)) {
        p->err = ENAMETOOLONG;
        return PROGRAM_NOT_FOUND;
    }
    strcpy(p->path, path);
    for (u32 level = 0; again; level++) {
        enum program_error err = resolve_one(p, level, &again);

        if (err == PROGRAM_NOT_FOUND && level > 0) {
            snprintf(p->missing, sizeof(p->missing), "%s", p->path);
            return PROGRAM_NO_INTERPRETER;
        }
        if (err)
            return err;
    }
    if (p->elf.interp[0]) {
        snprintf(p->missing, sizeof(p->missing), "%s%s", sysroot, p->elf.interp);
        if (access(p->missing, F_OK) < 0 && access(p->elf.interp, F_OK) < 0) {
            p->err = ENOENT;
            return PROGRAM_NO_INTERPRETER;
        }
        p->missing[0] = 0;
    }
    return PROGRAM_OK;
}

/* "folder/name", or "name" where the folder is empty; false: too long. */
static bool join_path(char out[SESSION_PATH], const char *folder, size_t len, const char *name)
{
    size_t rest = strlen(name) + 1;

    if (len + 1 + rest > SESSION_PATH)
        return false;
    memcpy(out, folder, len);
    if (len)
        out[len++] = '/';
    memcpy(out + len, name, rest);
    return true;
}

bool program_find(const char *name, char out[SESSION_PATH])
{
    const char *path = getenv("PATH"), *next;
    struct stat st;

    out[0] = 0; /* what a name that is too long becomes: nothing has that name */
    if (!path)
        path = "/bin:/usr/bin";
    if (strchr(name, '/'))
        return join_path(out, "", 0, name);
    for (; path; path = next) {
        size_t len = strcspn(path, ":");

        next = path[len] ? path + len + 1 : NULL;
        if (join_path(out, path, len, name) && stat(out, &st) == 0 && S_ISREG(st.st_mode) &&
            faccessat(AT_FDCWD, out, X_OK, AT_EACCESS) == 0)
            return true;
    }
    out[0] = 0;
    join_path(out, "", 0, name);
    return false;
}
