/* SPDX-License-Identifier: MIT */
/* Programs that cannot be run or recorded: which, why, and what helps. */
#include <errno.h>
#include <string.h>

#include "quire.h"

/* "NAME", or "NAME: its interpreter PATH". */
static void print_subject(char *out, size_t size, const struct program *p, const char *name)
{
    if (p->nr_prefix)
        snprintf(out, size, "%s: its interpreter %s", name, p->path);
    else
        snprintf(out, size, "%s", name);
}

void refuse_program(const struct program *p, enum program_error err, const char *name, const char *command)
{
    char who[3 * SESSION_PATH];

    print_subject(who, sizeof(who), p, name);
    switch (err) {
    case PROGRAM_OK:
        return;
    case PROGRAM_NOT_FOUND:
        usage_error("%s: program not found (%s); give its path, or set PATH", name, strerror(p->err ? p->err : ENOENT));
    case PROGRAM_NOT_EXECUTABLE:
        usage_error("%s: not executable; `chmod +x` makes it so, if it is a program", who);
    case PROGRAM_NOT_READABLE:
        usage_error("%s: executable, but not readable (%s), and whoever follows a program must see what it is made of; "
                    "`chmod +r`, or do it as its owner",
                    who, strerror(p->err));
    case PROGRAM_NO_FORMAT:
        usage_error("%s: neither an ELF program nor a script with an interpreter line; name its interpreter, such as "
                    "`quire %s -- sh %s`",
                    who, command, name);
    case PROGRAM_FOREIGN:
        usage_error("%s: a program for another kind of machine (ELF machine %u); x86-64, aarch64 and riscv64, 64 bit, "
                    "can be run",
                    who, p->e_machine);
    case PROGRAM_BAD_ELF:
        usage_error("%s: a damaged ELF file", who);
    case PROGRAM_NO_INTERPRETER:
        usage_error(
            "%s: needs %s, which is missing%s", name, p->missing,
            p->nr_prefix
                ? "; correct the script's first line or install it"
                : "; link the program statically, or set QEMU_LD_PREFIX to the folder that holds its libraries");
    case PROGRAM_TOO_DEEP:
        usage_error("%s: scripts interpreted by scripts, more than %d deep", name, PROGRAM_MAX_SCRIPTS);
    }
}
