/* SPDX-License-Identifier: MIT */
/* What the host's memory management did meanwhile, of its own accord: counters of /proc/vmstat. */
#include <stdio.h>
#include <string.h>

#include "tests/oracle/again.h"

/* Beginnings of names. Write-back is always somewhere at work: it is shown, no more. */
static const char *const disturbing[] = {"drop_",
                                         "pgsteal_",
                                         "pglazyfreed",
                                         "pgmigrate_",
                                         "compact_isolated",
                                         "compact_daemon_wake",
                                         "numa_pages_migrated",
                                         "pswpout",
                                         "oom_kill"};
static const char *const shown[] = {"nr_written"};

static bool is_one(const char *name, const char *const *list, u32 nr)
{
    for (u32 i = 0; i < nr; i++)
        if (!strncmp(name, list[i], strlen(list[i])))
            return true;
    return false;
}

void host_work_read(struct host_work *w)
{
    FILE *f = fopen("/proc/vmstat", "r");
    unsigned long value;
    char name[64];

    w->nr = 0;
    while (f && w->nr < HOST_COUNTERS && fscanf(f, "%63s %lu", name, &value) == 2) {
        bool disturbs = is_one(name, disturbing, ARRAY_SIZE(disturbing));

        if (!disturbs && !is_one(name, shown, ARRAY_SIZE(shown)))
            continue;
        w->counter[w->nr] = (struct host_counter){.value = value, .disturbs = disturbs};
        snprintf(w->counter[w->nr++].name, sizeof(name), "%s", name);
    }
    if (f)
        fclose(f);
}

bool host_has_worked(const struct host_work *before, const struct host_work *after)
{
    for (u32 i = 0; i < before->nr && i < after->nr; i++)
        if (after->counter[i].disturbs && after->counter[i].value != before->counter[i].value)
            return true;
    return false;
}

void print_host_work(const struct host_work *before, const struct host_work *after, FILE *out)
{
    for (u32 i = 0; i < before->nr && i < after->nr; i++)
        if (after->counter[i].value != before->counter[i].value)
            fprintf(out, " %s +%lu", after->counter[i].name,
                    (unsigned long)(after->counter[i].value - before->counter[i].value));
}
