/* SPDX-License-Identifier: MIT */
/* The report for people: how the run ended, a column for each machine,
 * the processes with the largest memory, what was odd. */
#define _GNU_SOURCE
#include "quire.h"

#include <errno.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "machine_report.h"
#include "output.h"

#define SHOWN_PROCESSES 8
#define SHOWN_NOTICES 12

static void print_end(FILE *out, const struct run_options *o, const struct run_result *r)
{
    fprintf(out, "quire: %s ", o->argv[0]);
    if (WIFSIGNALED(r->wait_status))
        fprintf(out, "was killed by signal %d (%s)", WTERMSIG(r->wait_status), strsignal(WTERMSIG(r->wait_status)));
    else
        fprintf(out, "ended with status %d", WEXITSTATUS(r->wait_status));
    fprintf(out, " after %.2f s\n", r->wall_s);
}

static void print_volume(FILE *out, struct session *s, const struct run_result *r)
{
    double accesses = (double)atomic_load(&s->accesses), blocks = (double)atomic_load(&s->blocks);

    fprintf(out, "%.1f M data accesses, %.1f M blocks, %llu system calls; %.0f M accesses per second\n", accesses / 1e6,
            blocks / 1e6, (unsigned long long)atomic_load(&s->events),
            r->wall_s > 0 ? accesses / 1e6 / r->wall_s : 0.0);
}

/* -- address spaces that ended ------------------------------------------------------------------------------------- */

static int by_peak(const void *a, const void *b)
{
    const struct session_record *x = *(const struct session_record *const *)a;
    const struct session_record *y = *(const struct session_record *const *)b;

    return x->hiwater_rss < y->hiwater_rss ? 1 : x->hiwater_rss > y->hiwater_rss ? -1 : x->pid - y->pid;
}

static u32 largest(struct session *s, u32 machine, const struct session_record **list)
{
    u32 n = 0;

    for (u32 i = 0; i < SESSION_RECORDS; i++)
        if (atomic_load(&s->record[i].state) == 2 && s->record[i].machine == machine)
            list[n++] = &s->record[i];
    qsort(list, n, sizeof(list[0]), by_peak);
    return n;
}

static void print_processes(FILE *out, struct session *s)
{
    static const struct session_record *list[SESSION_RECORDS];

    for (u32 m = 0; m < s->nr_machines; m++) {
        u32 n = largest(s, m, list);

        fprintf(out, "\n%s: largest address spaces of %u, MiB%s\n", session_machine(s, m)->config.name, n,
                m ? "" : "        peak RSS   anon   file  shmem  tables  min_flt maj_flt  VMAs");
        for (u32 i = 0; i < MIN(n, SHOWN_PROCESSES); i++) {
            const struct session_record *r = list[i];

            fprintf(out, "  %8d %-16s %20.1f %6.1f %6.1f %6.1f %7.2f %8llu %7llu %5u\n", r->pid, r->comm,
                    (double)r->hiwater_rss / 256, (double)r->rss[MM_ANONPAGES] / 256,
                    (double)r->rss[MM_FILEPAGES] / 256, (double)r->rss[MM_SHMEMPAGES] / 256,
                    (double)r->pgtables_bytes / 1048576, (unsigned long long)r->min_flt, (unsigned long long)r->maj_flt,
                    r->map_count);
        }
    }
}

/* -- what was odd -------------------------------------------------------------------------------------------------- */

/* Names of calls that qemu 7.2 is known not to implement; numbers: x86-64, and the table that arm64 and riscv64 share. */
static const char *syscall_name(enum guest_arch arch, u32 nr)
{
    static const struct {
        u16 x86, generic;
        const char *name;
    } names[] = {
        {237, 235, "mbind"},
        {238, 237, "set_mempolicy"},
        {239, 236, "get_mempolicy"},
        {256, 238, "migrate_pages"},
        {273, 99, "set_robust_list"},
        {279, 239, "move_pages"},
        {310, 270, "process_vm_readv"},
        {311, 271, "process_vm_writev"},
        {323, 282, "userfaultfd"},
        {324, 283, "membarrier"},
        {325, 284, "mlock2"},
        {329, 288, "pkey_mprotect"},
        {330, 289, "pkey_alloc"},
        {331, 290, "pkey_free"},
        {334, 293, "rseq"},
        {425, 425, "io_uring_setup"},
        {435, 435, "clone3"},
        {440, 440, "process_madvise"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (nr == (arch == GUEST_X86_64 ? names[i].x86 : names[i].generic))
            return names[i].name;
    return NULL;
}

static void print_enosys(FILE *out, struct session *s)
{
    u32 shown = 0;

    for (u32 a = 0; a < NR_GUEST_ARCHS; a++)
        for (u32 nr = 0; nr < SESSION_SYSCALLS; nr++) {
            u64 n = atomic_load(&s->enosys[a][nr]);

            if (!n)
                continue;
            fprintf(out, "%s", shown++ ? ", " : "qemu answered \"not implemented\" to: ");
            if (syscall_name(a, nr))
                fprintf(out, "%s (%llu)", syscall_name(a, nr), (unsigned long long)n);
            else
                fprintf(out, "%s system call %u (%llu)", guest_arch_name[a], nr, (unsigned long long)n);
        }
    if (shown)
        fprintf(out, "\n");
}

static void print_odd(FILE *out, struct session *s, const struct run_result *r)
{
    u32 notices = MIN(atomic_load(&s->nr_notices), SESSION_NOTICES);

    for (u32 i = 0; i < s->nr_machines; i++)
        if (session_machine_is_dead(s, i))
            fprintf(out, "%s: followed the run only until: %s\n", session_machine(s, i)->config.name,
                    s->machine[i].reason);
    print_enosys(out, s);
    if (atomic_load(&s->discovered))
        fprintf(out, "%llu mapping(s) found that no system call had made\n",
                (unsigned long long)atomic_load(&s->discovered));
    if (atomic_load(&s->disagreements))
        fprintf(out, "%llu disagreement(s) between a machine and the host\n",
                (unsigned long long)atomic_load(&s->disagreements));
    if (atomic_load(&s->unfollowed))
        fprintf(out, "%llu process(es) ran without being followed\n", (unsigned long long)atomic_load(&s->unfollowed));
    if (r->still_running)
        fprintf(out,
                "%u process(es) were still running when the program had ended; what they do from here on is not in the "
                "figures\n",
                r->still_running);
    for (u32 i = 0; i < MIN(notices, SHOWN_NOTICES); i++)
        fprintf(out, "note: %s\n", s->notice[i]);
    if (notices > SHOWN_NOTICES)
        fprintf(out, "and %u more notes\n", atomic_load(&s->nr_notices) - SHOWN_NOTICES);
}

FILE *report_open(const char *path)
{
    return is_dash(path) ? stdout : fopen(path, "we");
}

/* It is said already that it could not be written. */
static void drop_stdout(void)
{
    int err = errno;

    __fpurge(stdout);
    clearerr(stdout);
    errno = err;
}

int report_close(FILE *out)
{
    int err = ferror(out) ? errno : 0;

    if ((out == stdout ? fflush(out) : fclose(out)) == 0 && !err)
        return 0;
    errno = err ? err : errno;
    if (out == stdout)
        drop_stdout();
    return -1;
}

void report_text(FILE *out, const struct run_options *o, struct session *s, const struct run_result *r)
{
    struct machine *m[SESSION_MACHINES];

    for (u32 i = 0; i < s->nr_machines; i++)
        m[i] = session_machine(s, i);
    fprintf(out, "\n");
    print_end(out, o, r);
    print_volume(out, s, r);
    machine_table(out, m, (const struct check_report *const *)r->check, s->nr_machines);
    print_processes(out, s);
    print_odd(out, s, r);
}
