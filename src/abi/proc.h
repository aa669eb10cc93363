/* SPDX-License-Identifier: MIT */
/*
 * Views: /proc of a machine as text (pagemap: binary), byte for byte in the layout of Linux 6.18.
 *
 *   name ── proc_read() ── table of files (proc.c) ─▶ proc_maps.c proc_smaps.c proc_status.c proc_pages.c   of a process
 *                                                  └▶ proc_sys.c proc_zone.c                               of the machine
 *                                                       │ struct seq: fields of the kernel's widths (seq.h)
 *                                                       ▼
 *                                                  struct proc_sink: the caller's, pieces of up to half a KiB in order
 *
 * The text is made piece by piece, so that views of many megabytes need no room here. The sink is called with a
 * process's mmap_lock held for reading: it must not enter the core. Nothing is allocated; nothing but locks changes.
 *
 * A machine that is shown may have come from elsewhere (frontend/saved/). Its processes and slabs are lists of which
 * every step is checked (list_next_checked()), its mappings must ascend (proc_next_vma()): such walks end or break an
 * assertion, whatever the memory holds. Deeper structures are taken as they are; who reads such a machine bounds the
 * time (cli/guard.h).
 */
#ifndef QUIRE_ABI_PROC_H
#define QUIRE_ABI_PROC_H

#include "machine/machine_api.h"

/* Where a view goes. Lives in the caller, never in a region. */
struct proc_sink {
    int (*write)(void *arg, const char *bytes, size_t len); /* 0, or a negative errno that ends the view */
    void *arg;
};

enum proc_scope { PROC_MACHINE, PROC_PROCESS };

struct proc_file {
    const char *name; /* "meminfo"; of a process: what stands behind "PID/" */
    const char *doc;  /* one line */
    enum proc_scope scope;
    bool binary;
    int (*show)(struct cpu *cpu, struct task *task, const struct proc_sink *sink); /* task NULL: PROC_MACHINE */
};

/* File `i` of the table; NULL behind the last one. */
const struct proc_file *proc_file(u32 i);

/*
 * The view `name`: "meminfo", "1234/smaps", "self/smaps", "python3/smaps". Before the slash: a process id; the name of
 * a program (comm: the first process of that name); "self": the task that runs on `cpu`, or the first process.
 * 0; -ENOENT: no such view; -ESRCH: no such process; or what the sink gave.
 */
int proc_read(struct cpu *cpu, const char *name, const struct proc_sink *sink);

/* The process that such a name begins with; NULL: none. *rest: what follows its slash. */
struct task *proc_find_task(struct cpu *cpu, const char *name, const char **rest);

/* The two letters of a bit of vm_flags in smaps' VmFlags; "": it is not shown. */
const char *proc_flag_name(u32 bit);

/* Process number `i` in order of creation: its main thread, or its oldest one left; NULL behind the last one. */
struct task *proc_task(struct cpu *cpu, u32 i);

#endif
