/* SPDX-License-Identifier: MIT */
/* The tasks of processes and threads on the machines: when they are made, and what they are called. */
#include <string.h>

#include "follow.h"

static void tasks_clone(struct vcpu *v, struct session_thread *t, u64 flags)
{
    for_each_machine_in_core(v, i, cpu)
    {
        struct task *task = kernel_clone(cpu, flags, 0, 0);

        cpu_publish_time(cpu);
        if (IS_ERR(task))
            session_machine_dead(process.s, i, "out of memory: process %d (%s), fork or thread creation (error %d)",
                                 process.pid, process.slot->comm, -PTR_ERR(task));
        else
            t->task[i] = task;
    }
}

void fork_prepare(struct vcpu *v, u64 flags)
{
    bool thread = flags & CLONE_VM_ && !(flags & CLONE_VFORK_);

    v->child = NULL;
    v->child_thread = NULL;
    if (!thread) {
        v->child = session_proc_new(process.s, process.pid);
        if (!v->child)
            goto full;
    }
    v->child_thread = session_thread_new(process.s, thread ? process.slot : v->child);
    if (!v->child_thread)
        goto full;
    if (v->child) {
        v->child->main_thread = (u32)(v->child_thread - process.s->thread);
        v->child->arch = process.arch;
        memcpy(v->child->comm, process.slot->comm, sizeof(v->child->comm));
        atomic_store(&v->child->vfork, flags & CLONE_VFORK_ ? 1 : 0);
    }
    tasks_clone(v, v->child_thread, flags & (CLONE_VM_ | CLONE_VFORK_ | CLONE_THREAD_));
    return;
full:
    session_notice(process.s, "process %d: more processes or threads than a session holds; a child runs unfollowed",
                   process.pid);
    atomic_fetch_add(&process.s->unfollowed, 1);
    if (v->child)
        session_proc_free(v->child);
    v->child = NULL;
}

void tasks_set_ids(struct session_thread *t, s32 tid, s32 pid)
{
    for (u32 i = 0; i < process.nr_machines; i++)
        if (t->task[i]) {
            t->task[i]->pid = tid;
            t->task[i]->tgid = pid;
        }
}

/* What the host allowed, the machine allows. */
static void may_do_all(struct task *t)
{
    task_set_caps(t, CAP_FULL_SET);
    task_set_rlimit(t, RLIMIT_MEMLOCK_, RLIM_INFINITY_, RLIM_INFINITY_);
}

struct session_thread *tasks_first(struct vcpu *v)
{
    struct session_thread *t = session_thread_new(process.s, process.slot);

    for (u32 i = 0; t && i < process.nr_machines; i++) {
        struct cpu *cpu;
        struct mm *mm;

        if (session_machine_is_dead(process.s, i))
            continue;
        cpu = cpu_acquire(process.machine[i], NULL, v->tid);
        if (!cpu) /* it died while we waited */
            continue;
        mm = mm_alloc(cpu);
        t->task[i] = mm ? task_create(cpu, process.pid, process.pid, mm) : NULL;
        if (t->task[i])
            may_do_all(t->task[i]);
        else if (mm)
            mmput(cpu, mm);
        cpu_release(cpu);
        if (!t->task[i])
            session_machine_dead(process.s, i, "out of memory: the first process");
    }
    return t;
}
