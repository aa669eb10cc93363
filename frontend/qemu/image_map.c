/* SPDX-License-Identifier: MIT */
/* The machines follow an execve: the image that image.c found, or a trace kept, is mapped in every machine. */
#include <stdio.h>

#include "follow.h"

#include "base/errno.h"
#include "cache/filemap.h"

/* -- into one machine ---------------------------------------------------------------------------------------------- */

static s64 map_segment(struct cpu *cpu, const struct elf_load *l, u64 bias, struct file *file)
{
    va_t start = (l->vaddr + bias) & PAGE_MASK;
    va_t file_end = ALIGN_UP(l->vaddr + bias + l->filesz, PAGE_SIZE);
    va_t end = ALIGN_UP(l->vaddr + bias + l->memsz, PAGE_SIZE);
    s64 ret = 0;

    if (l->filesz)
        ret = sys_mmap(cpu, start, file_end - start, l->prot, MAP_PRIVATE_ | MAP_FIXED_, file, l->offset & PAGE_MASK);
    else
        file_end = start;
    if (ret >= 0 && end > file_end)
        ret = sys_mmap(cpu, file_end, end - file_end, l->prot, MAP_PRIVATE_ | MAP_FIXED_ | MAP_ANONYMOUS_, NULL, 0);
    return ret < 0 ? ret : 0;
}

static s64 map_part(struct cpu *cpu, const struct image_part *p)
{
    struct file *file = follow_file(cpu, &p->file);
    s64 err = IS_ERR(file) ? PTR_ERR(file) : file ? 0 : -EACCES;

    for (u32 i = 0; i < p->nr_loads && !err; i++)
        err = map_segment(cpu, &p->load[i], p->bias, file);
    if (!IS_ERR_OR_NULL(file))
        fput(cpu, file);
    return err;
}

/* start_code and its like; brk starts behind the program's last segment. */
static void set_layout(struct mm *mm, const struct image *im)
{
    for (u32 i = 0; i < im->exe.nr_loads; i++) {
        const struct elf_load *l = &im->exe.load[i];
        va_t start = l->vaddr + im->exe.bias, end = start + l->filesz;

        if (l->prot & PROT_EXEC_) {
            mm->start_code = start;
            mm->end_code = end;
        }
        if (l->prot & PROT_WRITE_) {
            mm->start_data = start;
            mm->end_data = end;
        }
        mm->start_brk = MAX(mm->start_brk, ALIGN_UP(start + l->memsz, PAGE_SIZE));
    }
    mm->brk = mm->start_brk;
    mm->start_stack = im->sp;
}

static s64 load_on(struct cpu *cpu, const struct image *im, const char *comm)
{
    struct exec_layout layout = {
        .stack_top = im->stack_top, .stack_size = im->stack_top - im->sp, .auxv = im->auxv, .nr_auxv = im->nr_auxv};
    s64 err;

    layout.exe = follow_file(cpu, &im->exe.file);
    if (IS_ERR(layout.exe))
        return PTR_ERR(layout.exe);
    snprintf(layout.comm, sizeof(layout.comm), "%s", comm);
    err = exec_mmap(cpu, &layout);
    if (layout.exe)
        fput(cpu, layout.exe);
    if (err)
        return err;
    switch_mm(cpu, cpu->current->mm);
    err = map_part(cpu, &im->exe);
    if (!err && im->interp.nr_loads)
        err = map_part(cpu, &im->interp);
    if (!err)
        set_layout(cpu->current->mm, im);
    return err;
}

/* Linux clears the rest of the page behind a segment's file part: that is a write. */
static void clear_bss_starts(struct vcpu *v, const struct image_part *p)
{
    for (u32 i = 0; i < p->nr_loads; i++) {
        va_t end = p->load[i].vaddr + p->bias + p->load[i].filesz;

        if (p->load[i].memsz > p->load[i].filesz && p->load[i].prot & PROT_WRITE_ && end & ~PAGE_MASK)
            vcpu_touch(v, end, PAGE_SIZE - (end & ~PAGE_MASK), MMU_WRITE);
    }
}

/* -- all machines -------------------------------------------------------------------------------------------------- */

void image_follow(struct vcpu *v, const struct image *im, const char *comm)
{
    bool ok = im->exe.nr_loads > 0;

    for_each_machine_in_core(v, i, cpu)
    {
        struct mm *old = cpu->current->mm;
        s64 err;

        if (ok && old->map_count && atomic_load(&old->mm_users) == 1)
            session_record_mm(process.s, cpu, i, old, process.pid, process.slot->comm);
        err = ok ? load_on(cpu, im, comm) : -EINVAL;
        if (err)
            session_machine_dead(process.s, i, "%sprocess %d cannot execute %s (error %d)",
                                 err == -ENOMEM ? "out of memory: " : "", process.pid, comm, (int)-err);
    }
    snprintf(process.slot->comm, sizeof(process.slot->comm), "%s", comm);
    vfork_done(process.slot);
    if (!ok)
        return;
    clear_bss_starts(v, &im->exe);
    clear_bss_starts(v, &im->interp);
}
