/* SPDX-License-Identifier: MIT */
/*
 * The fallback for what no system call told: qemu's own pages in the guest's address space (signal trampolines),
 * mappings made by calls that the table does not know, files that others made larger. Where a machine would raise a
 * signal for an access that the host has done, the host's map says what is there.
 */
#include "follow.h"

#include "base/errno.h"
#include "cache/filemap.h"

/* The gap of the machine's address space around va, cut to what the host has mapped there. False: a VMA is there. */
static bool gap_around(struct cpu *cpu, struct mm *mm, va_t va, const struct host_map *m, va_t *start, va_t *end)
{
    struct vm_area_struct *next, *prev = NULL;
    bool gap;

    down_read(cpu, &mm->mmap_lock);
    next = find_vma_prev(cpu, mm, va, &prev);
    gap = !next || next->vm_start > va;
    *start = prev ? MAX(m->start, prev->vm_end) : m->start;
    *end = next ? MIN(m->end, next->vm_start) : m->end;
    up_read(cpu, &mm->mmap_lock);
    return gap;
}

/* A VMA is there, but the access ran beyond the file's end: the host's file has grown. */
static bool refresh_file_size(struct cpu *cpu, struct mm *mm, va_t va, const struct host_map *m)
{
    struct vm_area_struct *vma;
    struct inode *inode = NULL;
    struct host_file f;

    down_read(cpu, &mm->mmap_lock);
    vma = vma_lookup(cpu, mm, va);
    if (vma && vma->vm_file)
        inode = vma->vm_file->f_inode;
    up_read(cpu, &mm->mmap_lock);
    if (!inode || !host_map_file(&f, m) || f.ino != inode->ino || inode->i_size == f.size)
        return false;
    inode_set_size(cpu, inode, f.size);
    return true;
}

static s64 map_as_found(struct cpu *cpu, const struct host_map *m, va_t start, va_t end, u32 prot)
{
    struct host_file f;
    struct file *file = host_map_file(&f, m) ? follow_file(cpu, &f) : NULL;
    u32 flags = MAP_FIXED_ | (m->shared ? MAP_SHARED_ : MAP_PRIVATE_) | (file ? 0 : MAP_ANONYMOUS_);
    s64 ret;

    if (IS_ERR(file))
        return PTR_ERR(file);
    ret = sys_mmap(cpu, start, end - start, prot, flags, file, file ? m->offset + (start - m->start) : 0);

    if (file)
        fput(cpu, file);
    return ret;
}

bool discover(struct vcpu *v, u32 i, va_t va, enum mmu_access_kind kind)
{
    struct cpu *cpu = v->cpu[i];
    struct mm *mm = cpu->current->mm;
    struct host_map m;
    va_t start, end;
    bool done;
    u32 prot;

    if (!host_map_find(va, &m))
        return false;
    prot = m.prot | PROT_READ_ | (kind == MMU_EXEC ? PROT_EXEC_ : 0) | (kind == MMU_WRITE ? PROT_WRITE_ : 0);
    gate_enter(process.slot);
    if (session_machine_is_dead(process.s, i)) {
        gate_leave(process.slot);
        return false;
    }
    cpu_enter_kernel(cpu);
    if (gap_around(cpu, mm, va, &m, &start, &end)) {
        s64 ret = map_as_found(cpu, &m, start, end, prot);

        done = ret == (s64)start;
        if (ret == -ENOMEM)
            follow_out_of_memory(i, "what is mapped at", start);
        if (done && i == 0)
            atomic_fetch_add(&process.s->discovered, 1);
    } else {
        done = refresh_file_size(cpu, mm, va, &m);
    }
    cpu_enter_user(cpu);
    gate_leave(process.slot);
    return done;
}
