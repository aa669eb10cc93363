/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/status, statm, stat, comm, limits and auxv: sizes of a process.
 *
 * status has the lines whose content the machine knows, in the kernel's order; signals and scheduling are
 * left out, not invented. stat has all 52 fields, as its readers count them: what the machine does not know is 0.
 * Follows proc_pid_status(5), proc_pid_statm(5), proc_pid_stat(5), proc_pid_limits(5).
 */
#include "abi/proc_priv.h"

/* -- status -------------------------------------------------------------------------------------------------------- */

/* Pages of the program's own code; what else is executable is libraries. */
static u64 text_pages(const struct mm *mm)
{
    return (ALIGN_UP(mm->end_code, PAGE_SIZE) - (mm->start_code & PAGE_MASK)) >> PAGE_SHIFT;
}

static void put_kb(struct seq *s, const char *label, u64 pages)
{
    seq_printf(s, "%s\t%8llu kB\n", label, KB(pages));
}

static void put_sizes(struct seq *s, struct mm *mm)
{
    u64 rss = (u64)get_mm_rss(mm), text = MIN(text_pages(mm), mm->exec_vm);

    put_kb(s, "VmPeak:", MAX(mm->hiwater_vm, mm->total_vm));
    put_kb(s, "VmSize:", mm->total_vm);
    put_kb(s, "VmLck:", mm->locked_vm);
    put_kb(s, "VmPin:", (u64)atomic_load(&mm->pinned_vm));
    put_kb(s, "VmHWM:", MAX(READ_ONCE(mm->hiwater_rss), rss));
    put_kb(s, "VmRSS:", rss);
    put_kb(s, "RssAnon:", (u64)get_mm_counter(mm, MM_ANONPAGES));
    put_kb(s, "RssFile:", (u64)get_mm_counter(mm, MM_FILEPAGES));
    put_kb(s, "RssShmem:", (u64)get_mm_counter(mm, MM_SHMEMPAGES));
    put_kb(s, "VmData:", mm->data_vm);
    put_kb(s, "VmStk:", mm->stack_vm);
    put_kb(s, "VmExe:", text);
    put_kb(s, "VmLib:", mm->exec_vm - text);
    seq_printf(s, "VmPTE:\t%8lld kB\n", (long long)atomic_load(&mm->pgtables_bytes) >> 10);
    put_kb(s, "VmSwap:", (u64)get_mm_counter(mm, MM_SWAPENTS));
    put_kb(s, "HugetlbPages:", 0);
}

/* A set of `nr` numbers from 0 up, as %*pb prints it: words of 32 bits, highest first, of `bits` bits in all. */
static void put_mask(struct seq *s, const char *label, u32 nr, u32 bits)
{
    seq_printf(s, "%s\t", label);
    for (u32 at = (bits - 1) / 32 * 32;; at -= 32) {
        u32 in = nr > at ? MIN(nr - at, 32) : 0;
        u32 digits = (MIN(bits - at, 32) + 3) / 4;

        seq_printf(s, "%0*x", (int)digits, (u32)((1ull << in) - 1));
        if (!at)
            break;
        seq_putc(s, ',');
    }
    seq_putc(s, '\n');
}

static void put_list(struct seq *s, const char *label, u32 nr)
{
    seq_printf(s, nr > 1 ? "%s\t0-%u\n" : "%s\t%u\n", label, nr - 1);
}

/* Real, effective, saved, file system: the machine keeps one. */
static void put_ids(struct seq *s, const char *label, u32 id)
{
    seq_printf(s, "%s\t%u\t%u\t%u\t%u\n", label, id, id, id, id);
}

/* Where the kernel's masks of nodes end: MAX_NUMNODES of x86 distribution kernels. */
#define MASK_NODES 1024

int proc_pid_status(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct mm *mm = task->mm;
    struct seq s;

    seq_open(&s, sink);
    seq_puts(&s, "Name:\t");
    seq_escaped(&s, task->comm, "\n\\");
    seq_printf(&s, "\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\n", task->cpu >= 0 ? "R (running)" : "S (sleeping)",
               task->tgid, task->tgid);
    put_ids(&s, "Uid:", task_uid(task));
    put_ids(&s, "Gid:", task_gid(task));
    seq_puts(&s, "Kthread:\t0\n");
    down_read(cpu, &mm->mmap_lock);
    put_sizes(&s, mm);
    up_read(cpu, &mm->mmap_lock);
    seq_printf(&s, "CoreDumping:\t0\nTHP_enabled:\t%u\nuntag_mask:\t0xffffffffffffffff\nThreads:\t%u\n",
               !(READ_ONCE(mm->flags) & MMF_DISABLE_THP), READ_ONCE(task->signal->nr_threads));
    seq_printf(&s, "CapEff:\t%016llx\n", (unsigned long long)task_caps(task));
    put_mask(&s, "Cpus_allowed:", cpu->m->nr_cpus, cpu->m->nr_cpus);
    put_list(&s, "Cpus_allowed_list:", cpu->m->nr_cpus);
    put_mask(&s, "Mems_allowed:", cpu->m->config.nr_nodes, MASK_NODES);
    put_list(&s, "Mems_allowed_list:", cpu->m->config.nr_nodes);
    return seq_close(&s);
}

/* -- statm, stat, comm --------------------------------------------------------------------------------------------- */

int proc_pid_statm(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct mm *mm = task->mm;
    u64 shared = (u64)(get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_SHMEMPAGES));
    struct seq s;

    seq_open(&s, sink);
    seq_printf(&s, "%llu %llu %llu %llu 0 %llu 0\n", (unsigned long long)mm->total_vm,
               (unsigned long long)(shared + (u64)get_mm_counter(mm, MM_ANONPAGES)), (unsigned long long)shared,
               (unsigned long long)text_pages(mm), (unsigned long long)(mm->data_vm + mm->stack_vm));
    return seq_close(&s);
}

/* Fields 1 to 52. */
int proc_pid_stat(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct mm *mm = task->mm;
    const unsigned long long last[] = {mm->start_data, mm->end_data,  mm->start_brk, mm->arg_start,
                                       mm->arg_end,    mm->env_start, mm->env_end,   0};
    struct seq s;

    seq_open(&s, sink);
    seq_printf(&s, "%d (", task->tgid);
    seq_escaped(&s, task->comm, "\n\\");
    seq_printf(&s, ") %c 0 0 0 0 -1 %u %llu 0 %llu 0 0 0 0 0 20 0 %u 0 0 ", task->cpu >= 0 ? 'R' : 'S', task->flags,
               (unsigned long long)mm->min_flt, (unsigned long long)mm->maj_flt, READ_ONCE(task->signal->nr_threads));
    seq_printf(&s, "%llu %llu %llu %llu %llu %llu 0 0 0 0 0 0 0 0 0 17 %d 0 0 0 0 0",
               (unsigned long long)mm->total_vm << PAGE_SHIFT, (unsigned long long)get_mm_rss(mm),
               (unsigned long long)rlimit(task, RLIMIT_RSS_), (unsigned long long)mm->start_code,
               (unsigned long long)mm->end_code, (unsigned long long)mm->start_stack, MAX(task->cpu, 0));
    for (u32 i = 0; i < ARRAY_SIZE(last); i++)
        seq_printf(&s, " %llu", last[i]);
    seq_putc(&s, '\n');
    return seq_close(&s);
}

int proc_pid_comm(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct seq s;

    seq_open(&s, sink);
    seq_puts(&s, task->comm);
    seq_putc(&s, '\n');
    return seq_close(&s);
}

/* -- limits -------------------------------------------------------------------------------------------------------- */

static void put_limit(struct seq *s, u64 n)
{
    if (n == RLIM_INFINITY_)
        seq_printf(s, "%-20s ", "unlimited");
    else
        seq_printf(s, "%-20llu ", (unsigned long long)n);
}

int proc_pid_limits(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    static const struct {
        const char name[22];
        const char unit[10];
    } limit[NR_RLIMITS] = {
        {"Max cpu time", "seconds"},    {"Max file size", "bytes"},      {"Max data size", "bytes"},
        {"Max stack size", "bytes"},    {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
        {"Max processes", "processes"}, {"Max open files", "files"},     {"Max locked memory", "bytes"},
        {"Max address space", "bytes"}, {"Max file locks", "locks"},     {"Max pending signals", "signals"},
        {"Max msgqueue size", "bytes"}, {"Max nice priority", ""},       {"Max realtime priority", ""},
        {"Max realtime timeout", "us"},
    };
    struct seq s;

    seq_open(&s, sink);
    seq_printf(&s, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (u32 i = 0; i < NR_RLIMITS; i++) {
        seq_printf(&s, "%-25s ", limit[i].name);
        put_limit(&s, rlimit(task, i));
        put_limit(&s, rlimit_max(task, i));
        if (limit[i].unit[0])
            seq_printf(&s, "%-10s\n", limit[i].unit);
        else
            seq_putc(&s, '\n');
    }
    return seq_close(&s);
}

/* -- auxv: binary -------------------------------------------------------------------------------------------------- */

int proc_pid_auxv(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    const u64 *v = task->mm->saved_auxv;
    u32 nr = 0;
    struct seq s;

    while (nr + 2 < ARRAY_SIZE(task->mm->saved_auxv) && v[nr])
        nr += 2;
    seq_open(&s, sink);
    seq_bytes(&s, v, (nr + 2) * sizeof(*v));
    return seq_close(&s);
}
