/* SPDX-License-Identifier: MIT */
/* What the tool finds on this host: a machine like it, qemu, the plugin, descriptors and limits of its own. */
#define _GNU_SOURCE
#include "quire.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool read_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(line, (int)size, f);

    if (f)
        fclose(f);
    if (ok)
        line[strcspn(line, "\n")] = 0;
    return ok;
}

/* RAM as the firmware gave it: memory blocks where the kernel shows them,
 * else MemTotal, which lacks what the kernel took at boot. */
static u64 host_memory(void)
{
    u64 total = (u64)sysconf(_SC_PHYS_PAGES) * (u64)sysconf(_SC_PAGESIZE);

    return ALIGN_UP(total, 128ul << 20);
}

static void set(struct machine_config *c, const char *key, const char *value)
{
    char err[256];

    machine_config_set(c, key, value, err,
                       sizeof(err)); /* what this model does not know of the host is left at its default */
}

void host_config(struct machine_config *c, enum guest_arch arch)
{
    static const char *const arch_key[NR_GUEST_ARCHS] = {"x86_64", "arm64", "riscv64-sv48"};
    static const char *const sysctls[] = {
        "vm.min_free_kbytes",        "vm.watermark_scale_factor",
        "vm.watermark_boost_factor", "vm.overcommit_memory",
        "vm.overcommit_ratio",       "vm.overcommit_kbytes",
        "vm.admin_reserve_kbytes",   "vm.user_reserve_kbytes",
        "vm.max_map_count",          "vm.percpu_pagelist_high_fraction",
    };
    char value[128], path[128];

    machine_config_default(c);
    set(c, "arch", arch_key[arch]);
    set(c, "name", "host");
    set(c, "page_cache", "warm"); /* its files have been read before, most often */
    snprintf(value, sizeof(value), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    set(c, "cpus", value);
    snprintf(value, sizeof(value), "%lluM", (unsigned long long)(host_memory() >> 20));
    set(c, "mem", value);
    for (size_t i = 0; i < ARRAY_SIZE(sysctls); i++) {
        snprintf(path, sizeof(path), "/proc/sys/vm/%s", sysctls[i] + 3);
        if (read_line(path, value, sizeof(value)))
            set(c, sysctls[i], value);
    }
}

void host_find_qemu(struct session *s)
{
    for (u32 a = 0; a < NR_GUEST_ARCHS; a++) {
        char name[64], found[SESSION_PATH];
        const char *root = getenv("QEMU_LD_PREFIX");

        snprintf(name, sizeof(name), "qemu-%s", guest_arch_name[a]);
        if (program_find(name, found) && !realpath(found, s->qemu[a]))
            s->qemu[a][0] = 0;
        if (root)
            snprintf(s->sysroot[a], sizeof(s->sysroot[a]), "%s", root);
    }
}

bool host_find_plugin(char out[SESSION_PATH])
{
    static const char *const places[] = {"../frontend/qemu/libquire_qemu.so", "../lib/quire/libquire_qemu.so",
                                         "../lib/x86_64-linux-gnu/quire/libquire_qemu.so"};
    char self[PATH_MAX], path[PATH_MAX + 64], real[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        return false;
    self[n] = 0;
    *strrchr(self, '/') = 0;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        snprintf(path, sizeof(path), "%s/%s", self, places[i]);
        if (realpath(path, real) && strlen(real) < SESSION_PATH) {
            strcpy(out, real);
            return true;
        }
    }
    return false;
}

/* -- this process -------------------------------------------------------------------------------------------------- */

static void nothing(int sig)
{
}

/* A handler, unlike SIG_IGN, is not passed on to a program that is executed. */
void host_survive(int sig)
{
    struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART}, old;

    if (!sigaction(sig, NULL, &old) && old.sa_handler == SIG_DFL)
        sigaction(sig, &sa, NULL);
}

void host_prepare(void)
{
    int fd;

    do /* a standard descriptor that is closed stays so for the program, and is nothing else's number here */
        fd = open("/dev/null", O_PATH | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    host_survive(SIGXFSZ); /* beyond `ulimit -f`: an error like others */
}

const char *host_limits(void)
{
    struct rlimit file = {0}, space = {0};

    if (!getrlimit(RLIMIT_FSIZE, &file) && file.rlim_cur != RLIM_INFINITY)
        return "; a machine's memory is a file to the kernel, and `ulimit -f` is set: raise it";
    if (!getrlimit(RLIMIT_AS, &space) && space.rlim_cur != RLIM_INFINITY)
        return "; a machine's memory is mapped as a whole, and `ulimit -v` is set: raise it";
    return "";
}
