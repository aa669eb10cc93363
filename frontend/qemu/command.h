/* SPDX-License-Identifier: MIT */
/* The command line and environment that run a program under qemu with the plugin. */
#ifndef QUIRE_FRONTEND_COMMAND_H
#define QUIRE_FRONTEND_COMMAND_H

#include "program.h"

struct command {
    char **argv, **envp;
    /* what was made for them */
    char **veiled; /* by index in envp; NULL: the program's own string */
    size_t nr_env;
    char *plugin, *path;
};

#define COMMAND_UNFOLLOWED SESSION_PROCS /* instead of a slot: without the plugin, and the environment as it is */

/* argv and envp are the program's own, as execve(2) gets them; they must outlive the command. 0 or -ENOMEM. */
int command_build(struct command *c, const struct session *s, const struct program *p, u32 slot, char *const argv[],
                  char *const envp[]);
/* Of signals: for a program that is started with all of them blocked (signals.c). Once. */
void command_set_mask(struct command *c, u64 mask);
void command_free(struct command *c);
/* Give a variable in the program's memory its first letter back, if it was veiled. */
void command_unveil(char *var);

#endif
