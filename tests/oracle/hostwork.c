/* SPDX-License-Identifier: MIT */
/* What the host's memory management did meanwhile, of its own accord: counters of /proc/vmstat. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "tests/oracle/again.h"

/* Beginnings of names. Write-back is always somewhere at work: it counts only for what it can do, to files on disk. */
static const char *const disturbing[] = {"drop_",
                                         "pgsteal_",
                                         "pglazyfreed",
                                         "pgmigrate_",
                                         "compact_isolated",
                                         "compact_daemon_wake",
                                         "numa_pages_migrated",
                                         "pswpout",
                                         "oom_kill"};
static const char *const written[] = {"nr_written"};

static bool is_one(const char *name, const char *const *list, u32 nr)
{
    for (u32 i = 0; i < nr; i++)
        if (!strncmp(name, list[i], strlen(list[i])))
            return true;
    return false;
}

/* Each CPU keeps what it has counted for up to a second. Reading this asks them for it; who may not, waits for that. */
static void refresh(void)
{
    FILE *f = fopen("/proc/sys/vm/stat_refresh", "r");

    if (f) {
        getc(f);
        fclose(f);
    }
}

void host_work_read_now(struct host_work *w)
{
    refresh();
    host_work_read(w);
}

void host_work_read(struct host_work *w)
{
    FILE *f = fopen("/proc/vmstat", "r");
    unsigned long value;
    char name[64];

    w->nr = 0;
    while (f && w->nr < HOST_COUNTERS && fscanf(f, "%63s %lu", name, &value) == 2) {
        bool disturbs = is_one(name, disturbing, ARRAY_SIZE(disturbing));

        if (!disturbs && !is_one(name, written, ARRAY_SIZE(written)))
            continue;
        w->counter[w->nr] = (struct host_counter){.value = value, .disturbs = disturbs};
        snprintf(w->counter[w->nr++].name, sizeof(name), "%s", name);
    }
    if (f)
        fclose(f);
}

bool host_has_worked(const struct host_work *before, const struct host_work *after, u32 differ)
{
    if (!(differ & DIFFER_HOST))
        return false;
    for (u32 i = 0; i < before->nr && i < after->nr; i++)
        if ((after->counter[i].disturbs || (differ & DIFFER_WRITTEN)) &&
            after->counter[i].value != before->counter[i].value)
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

#define ROOM_BYTES (16ul << 20) /* the files are smaller, but a file system keeps some for itself */
#define MEMORY_KB (64ul << 10)

static u64 memory_kb(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    unsigned long kb = ~0ul;
    char line[128];

    while (f && fgets(line, sizeof(line), f) && sscanf(line, "MemAvailable: %lu", &kb) != 1)
        ;
    if (f)
        fclose(f);
    return kb;
}

const char *host_is_short(const struct native *n)
{
    struct statvfs disk;

    if (!fstatvfs(n->fd[SLOT_DISK_RW], &disk) && disk.f_bavail * disk.f_frsize < ROOM_BYTES)
        return "room for the files: stores to them end in SIGBUS (TMPDIR names another place)";
    if (memory_kb() < MEMORY_KB)
        return "memory";
    return NULL;
}
