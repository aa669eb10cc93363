/* SPDX-License-Identifier: MIT */
/* The table of views, and the way from a name to one: see proc.h. */
#include "abi/proc.h"

#include "abi/proc_priv.h"
#include "base/errno.h"
#include "machine/text.h"

static const struct proc_file table[] = {
    {"buddyinfo", "free blocks of each order, by zone", PROC_MACHINE, false, proc_buddyinfo},
    {"iomem", "the firmware's map of physical memory", PROC_MACHINE, false, proc_iomem},
    {"meminfo", "memory by use, kB", PROC_MACHINE, false, proc_meminfo},
    {"pagetypeinfo", "free blocks of each order and migrate type", PROC_MACHINE, false, proc_pagetypeinfo},
    {"quire_events", "the machine's own counters, which Linux has not", PROC_MACHINE, false, proc_quire_events},
    {"slabinfo", "slab caches", PROC_MACHINE, false, proc_slabinfo},
    {"vmstat", "counters of pages and events", PROC_MACHINE, false, proc_vmstat},
    {"zoneinfo", "zones: watermarks, counters, per-cpu lists", PROC_MACHINE, false, proc_zoneinfo},
    {"auxv", "the auxiliary vector, binary", PROC_PROCESS, true, proc_pid_auxv},
    {"comm", "the program's name", PROC_PROCESS, false, proc_pid_comm},
    {"limits", "resource limits", PROC_PROCESS, false, proc_pid_limits},
    {"maps", "mappings", PROC_PROCESS, false, proc_pid_maps},
    {"numa_maps", "pages of each mapping by node", PROC_PROCESS, false, proc_pid_numa_maps},
    {"pagemap", "a 64-bit word for each page of each mapping, binary", PROC_PROCESS, true, proc_pid_pagemap},
    {"pages", "pagemap as text", PROC_PROCESS, false, proc_pid_pages},
    {"smaps", "mappings and what is present of them", PROC_PROCESS, false, proc_pid_smaps},
    {"smaps_rollup", "the sums of smaps", PROC_PROCESS, false, proc_pid_smaps_rollup},
    {"stat", "one line of numbers", PROC_PROCESS, false, proc_pid_stat},
    {"statm", "sizes in pages", PROC_PROCESS, false, proc_pid_statm},
    {"status", "sizes, threads, by name", PROC_PROCESS, false, proc_pid_status},
};

const struct proc_file *proc_file(u32 i)
{
    return i < ARRAY_SIZE(table) ? &table[i] : NULL;
}

static const struct proc_file *find_file(const char *name, enum proc_scope scope)
{
    for (u32 i = 0; i < ARRAY_SIZE(table); i++)
        if (table[i].scope == scope && text_eq(table[i].name, name, text_len(name)))
            return &table[i];
    return NULL;
}

/* -- processes ----------------------------------------------------------------------------------------------------- */

/* The first task of its process in the list; vm->lock held. Tasks without memory are on their way out. */
static bool leads(const struct vm *vm, const struct task *task)
{
    struct task *t;

    if (!task->mm || task->pid == task->tgid)
        return task->mm;
    list_for_each_entry_checked (t, &vm->tasks, tasks)
        if (t->tgid == task->tgid && t->mm)
            return t == task;
    return false;
}

struct task *proc_task(struct cpu *cpu, u32 i) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;
    struct task *t, *found = NULL;

    spin_lock(cpu, &vm->lock);
    list_for_each_entry_checked (t, &vm->tasks, tasks) {
        if (!leads(vm, t) || i--)
            continue;
        found = t;
        break;
    }
    spin_unlock(cpu, &vm->lock);
    return found;
}

static bool is_named(const struct task *t, const char *name, size_t len)
{
    u64 pid;

    return text_to_u64(name, len, &pid) ? (u64)t->tgid == pid : text_eq(t->comm, name, len);
}

/* The first in the list is its process's oldest. */
static struct task *find_named(struct cpu *cpu, const char *name, size_t len) NO_LOCK_ANALYSIS
{
    struct vm *vm = cpu->m->vm;
    struct task *t, *found = NULL;

    spin_lock(cpu, &vm->lock);
    list_for_each_entry_checked (t, &vm->tasks, tasks) {
        if (!t->mm || !is_named(t, name, len))
            continue;
        found = t;
        break;
    }
    spin_unlock(cpu, &vm->lock);
    return found;
}

struct task *proc_find_task(struct cpu *cpu, const char *name, const char **rest)
{
    size_t len = 0;

    while (name[len] && name[len] != '/')
        len++;
    *rest = name[len] ? name + len + 1 : name + len;
    if (text_eq("self", name, len))
        return cpu->current && cpu->current->mm ? cpu->current : proc_task(cpu, 0);
    return find_named(cpu, name, len);
}

static bool has_slash(const char *name)
{
    while (*name && *name != '/')
        name++;
    return *name != 0;
}

int proc_read(struct cpu *cpu, const char *name, const struct proc_sink *sink)
{
    const struct proc_file *file;
    struct task *task = NULL;
    struct mm *mm;
    int err;

    if (has_slash(name)) {
        task = proc_find_task(cpu, name, &name);
        if (!task)
            return -ESRCH;
    }
    file = find_file(name, task ? PROC_PROCESS : PROC_MACHINE);
    if (!file)
        return -ENOENT;
    if (!task)
        return file->show(cpu, NULL, sink);
    mm = task->mm;
    mmgrab(mm);
    err = file->show(cpu, task, sink);
    mmdrop(cpu, mm);
    return err;
}
