/* SPDX-License-Identifier: MIT */
/*
 * How the environment gets through qemu unchanged.
 *
 * qemu hands its own environment to the program, in reverse order (it keeps a list and inserts at its head), then each
 * `-E VAR=value` in front of that. So we give qemu the environment reversed. Variables that would act on qemu itself (LD_PRELOAD would
 * be loaded into qemu) go through -E; to keep the order, so does everything that stands before the last of them:
 *
 *     program's    A=1  LD_X=2  B=3  C=4
 *     qemu's       C=4  B=3            list: B=3 C=4
 *     -E           LD_X=2, then A=1    list: A=1 LD_X=2 B=3 C=4
 *
 * -E splits its argument at commas. Where one of these values has a comma, only the hidden ones without go through -E.
 */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/errno.h"

/* Variables that the dynamic loader, the C library or qemu act on. */
static bool acts_on_qemu(const char *var)
{
    static const char *const prefix[] = {"LD_",      "QEMU_",    "GLIBC_TUNABLES=", "MALLOC_",
                                         "G_SLICE=", "G_DEBUG=", "GCONV_PATH="};

    for (size_t i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++)
        if (strncmp(var, prefix[i], strlen(prefix[i])) == 0)
            return true;
    return false;
}

static size_t count(char *const list[])
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

/* How many of the first variables go through -E. */
static size_t through_option(char *const envp[], size_t n, bool *only_hidden)
{
    size_t last = 0;

    *only_hidden = false;
    for (size_t i = 0; i < n; i++)
        if (acts_on_qemu(envp[i]))
            last = i + 1;
    for (size_t i = 0; i < last; i++)
        if (strchr(envp[i], ','))
            *only_hidden = true;
    return last;
}

/* Fill c->envp; returns the new end of c->argv. */
static char **build_env(struct command *c, char **arg, char *const envp[], size_t n)
{
    char **env = c->envp;
    bool only_hidden;
    size_t first = through_option(envp, n, &only_hidden);

    for (size_t i = n; i-- > 0;) {
        bool hidden = acts_on_qemu(envp[i]);
        bool option = i < first && (only_hidden ? hidden && !strchr(envp[i], ',') : true);

        if (option) {
            *arg++ = "-E";
            *arg++ = envp[i];
        } else {
            *env++ = envp[i];
            if (hidden)
                c->comma = envp[i];
        }
    }
    *env = NULL;
    return arg;
}

static char *double_commas(const char *s, char *out)
{
    for (; *s; s++) {
        *out++ = *s;
        if (*s == ',')
            *out++ = ',';
    }
    *out = 0;
    return out;
}

static char *plugin_option(const struct session *s, u32 slot)
{
    char *option = malloc(2 * SESSION_PATH + 64);

    if (option)
        sprintf(double_commas(s->plugin, option), ",session=%d.%d,slot=%u", s->launcher, s->fd, slot);
    return option;
}

int command_build(struct command *c, const struct session *s, const struct program *p, u32 slot, char *const argv[],
                  char *const envp[])
{
    size_t argc = count(argv), envc = count(envp);
    char **arg;

    *c = (struct command){.argv = calloc(argc + 2 * envc + p->nr_prefix + 12, sizeof(char *)),
                          .envp = calloc(envc + 1, sizeof(char *)),
                          .owned = {plugin_option(s, slot), malloc(SESSION_PATH + 2)}};
    if (!c->argv || !c->envp || !c->owned[0] || !c->owned[1]) {
        command_free(c);
        return -ENOMEM;
    }
    snprintf(c->owned[1], SESSION_PATH + 2, "%s%s", p->path[0] == '-' ? "./" : "", p->path);
    arg = c->argv;
    *arg++ = (char *)(uintptr_t)s->qemu[p->arch];
    *arg++ = "-plugin";
    *arg++ = c->owned[0];
    arg = build_env(c, arg, envp, envc);
    *arg++ = "-0";
    *arg++ = p->nr_prefix ? (char *)(uintptr_t)p->prefix[0] : argc ? argv[0] : "";
    *arg++ = c->owned[1];
    for (u32 i = 1; i < p->nr_prefix; i++)
        *arg++ = (char *)(uintptr_t)p->prefix[i];
    for (size_t i = 1; i < argc; i++)
        *arg++ = argv[i];
    *arg = NULL;
    return 0;
}

void command_free(struct command *c)
{
    free(c->argv);
    free(c->envp);
    for (size_t i = 0; i < sizeof(c->owned) / sizeof(c->owned[0]); i++)
        free(c->owned[i]);
}
