/* SPDX-License-Identifier: MIT */
/*
 * How the environment gets through qemu unchanged.
 *
 * qemu hands its own environment to the program, in reverse order (it keeps a list and inserts at its head). So we give
 * it the environment reversed. Variables that would act on qemu itself (LD_PRELOAD would be loaded into qemu) travel
 * veiled: their first letter is replaced by a byte that no name begins with, and the plugin puts it back in the
 * program's own memory before its first instruction (image.c).
 *
 *     program's  A=1  LD_X=2  B=3        qemu's  B=3  \1D_X=2  A=1        on the program's stack  A=1  \1D_X=2  B=3
 *
 * Rejected: qemu's option -E, which splits its argument at commas and reorders.
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

/* First letters of the names above, by the byte that stands for them. */
static const char veiled[] = "?LQGM";

static char *veil(const char *var)
{
    char *copy = strdup(var);

    if (copy)
        *copy = (char)(strchr(veiled, *var) - veiled);
    return copy;
}

void command_unveil(char *var)
{
    if (*var > 0 && *var < (char)(sizeof(veiled) - 1))
        *var = veiled[(int)*var];
}

static int build_env(struct command *c, char *const envp[], size_t n, bool followed)
{
    for (size_t i = 0; i < n; i++) {
        char *var = envp[n - 1 - i];
        bool hide = followed && acts_on_qemu(var);

        c->envp[i] = hide ? veil(var) : var;
        c->veiled[i] = hide ? c->envp[i] : NULL;
        if (!c->envp[i])
            return -ENOMEM;
    }
    return 0;
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
    char *option = malloc(2 * SESSION_PATH + 96);

    if (option)
        sprintf(double_commas(s->plugin, option), ",session=%d.%d,slot=%u", s->launcher, s->fd, slot);
    return option;
}

int command_build(struct command *c, const struct session *s, const struct program *p, u32 slot, char *const argv[],
                  char *const envp[])
{
    size_t argc = count(argv), envc = count(envp);
    bool followed = slot != COMMAND_UNFOLLOWED;
    char **arg;

    *c = (struct command){.argv = calloc(argc + p->nr_prefix + 12, sizeof(char *)),
                          .envp = calloc(envc + 1, sizeof(char *)),
                          .veiled = calloc(envc + 1, sizeof(char *)),
                          .nr_env = envc,
                          .plugin = plugin_option(s, slot),
                          .path = malloc(SESSION_PATH + 2)};
    if (!c->argv || !c->envp || !c->veiled || !c->plugin || !c->path || build_env(c, envp, envc, followed)) {
        command_free(c);
        return -ENOMEM;
    }
    snprintf(c->path, SESSION_PATH + 2, "%s%s", p->path[0] == '-' ? "./" : "", p->path);
    arg = c->argv;
    *arg++ = (char *)(uintptr_t)s->qemu[p->arch];
    if (followed) {
        *arg++ = "-plugin";
        *arg++ = c->plugin;
    }
    *arg++ = "-0";
    *arg++ = p->nr_prefix ? (char *)(uintptr_t)p->prefix[0] : argc ? argv[0] : "";
    *arg++ = c->path;
    for (u32 i = 1; i < p->nr_prefix; i++)
        *arg++ = (char *)(uintptr_t)p->prefix[i];
    for (size_t i = 1; i < argc; i++)
        *arg++ = argv[i];
    *arg = NULL;
    return 0;
}

void command_set_mask(struct command *c, u64 mask)
{
    sprintf(c->plugin + strlen(c->plugin), ",mask=%llx", (unsigned long long)mask);
}

void command_free(struct command *c)
{
    for (size_t i = 0; c->veiled && i < c->nr_env; i++)
        free(c->veiled[i]);
    free(c->veiled);
    free(c->argv);
    free(c->envp);
    free(c->plugin);
    free(c->path);
}
