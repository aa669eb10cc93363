/* SPDX-License-Identifier: MIT */
/* What tests of failing allocations compare: the mappings and limits of tasks, as text, and numbers with names. */
#ifndef QUIRE_TESTS_ABI_NO_MEMORY_H
#define QUIRE_TESTS_ABI_NO_MEMORY_H

#include "tests/unit/vm/fault_testing.h"

#include "abi/proc.h"

struct snapshot {
    size_t len;
    char text[49152];
};

static inline int append(void *arg, const char *bytes, size_t len)
{
    struct snapshot *s = arg;

    assert_true(s->len + len < sizeof(s->text));
    memcpy(s->text + s->len, bytes, len);
    s->len += len;
    s->text[s->len] = '\0';
    return 0;
}

static inline void append_number(struct snapshot *s, const char *name, u64 value)
{
    char line[80];
    int n = snprintf(line, sizeof(line), "%s %llx\n", name, (unsigned long long)value);

    append(s, line, (size_t)n);
}

static inline void append_task(struct cpu *cpu, struct task *t, struct snapshot *s)
{
    struct proc_sink sink = {append, s};
    const struct mm *mm = t->mm;
    const struct vm_area_struct *vma;
    char name[32];

    for (u32 i = 0; i < 3; i++) {
        static const char *const view[] = {"maps", "limits", "auxv"};

        snprintf(name, sizeof(name), "%d/%s", t->pid, view[i]);
        assert_int_equal(proc_read(cpu, name, &sink), 0);
    }
    for_each_vma (vma, mm)
        append_number(s, "flags", vma->vm_flags);
    append_number(s, "total_vm", mm->total_vm);
    append_number(s, "locked_vm", mm->locked_vm);
    append_number(s, "data_vm", mm->data_vm);
    append_number(s, "stack_vm", mm->stack_vm);
    append_number(s, "exec_vm", mm->exec_vm);
    append_number(s, "brk", mm->brk);
    append_number(s, "start_stack", mm->start_stack);
    append_number(s, "def_flags", mm->def_flags);
    append_number(s, "mm flags", mm->flags);
}

#endif
