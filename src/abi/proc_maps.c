/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/maps: a line for each VMA, in address order.
 *
 *   00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon
 *   │        │        │    │        │     │           └ at column 73, if there is a name
 *   start    end      │    offset   device inode
 *                     rwx, s shared, p private
 *
 * Follows proc_pid_maps(5). Addresses, the offset and the device have at least 8, 8 and 2 hexadecimal digits.
 * Names: of a file its path as the front end gave it; of shared memory without one /dev/zero, /memfd:NAME or /SYSVkey,
 * and " (deleted)", as the kernel has it; [heap], [stack]; [anon:NAME] as prctl(PR_SET_VMA_ANON_NAME) gave it.
 */
#include "abi/proc_priv.h"

#define NAME_COLUMN 72 /* 25 + 6 * sizeof(long) - 1 */

bool vma_is_heap(const struct vm_area_struct *vma)
{
    return vma->vm_start < vma->vm_mm->brk && vma->vm_end > vma->vm_mm->start_brk;
}

bool vma_is_stack(const struct vm_area_struct *vma)
{
    const struct mm *mm = vma->vm_mm;

    return vma->vm_start <= mm->start_stack && vma->vm_end >= mm->start_stack;
}

/* st_dev of glibc: 12 bits of the major number from bit 8, 8 bits of the minor below, the rest of both above. */
static u32 dev_major(u64 dev)
{
    return (u32)((dev >> 8 & 0xfff) | (dev >> 32 & 0xfffff000));
}

static u32 dev_minor(u64 dev)
{
    return (u32)((dev & 0xff) | (dev >> 12 & 0xffffff00));
}

static void file_name(struct seq *s, const struct inode *inode)
{
    bool unlinked = inode->i_data.a_ops == A_OPS_SHMEM && inode->name[0] != '/';

    if (unlinked)
        seq_putc(s, '/');
    seq_escaped(s, inode->name, "\n");
    if (unlinked)
        seq_puts(s, " (deleted)");
}

static void map_name(struct cpu *cpu, struct seq *s, const struct vm_area_struct *vma)
{
    const struct vm_operations_struct *ops = vma_is_anonymous(vma) ? NULL : vma_ops(cpu, vma);
    const char *name = ops && ops->name ? ops->name(vma) : NULL;

    if (vma->vm_file && vma->anon_name) {
        seq_pad(s, NAME_COLUMN);
        seq_printf(s, "[anon_shmem:%s]", vma->anon_name);
    } else if (vma->vm_file) {
        seq_pad(s, NAME_COLUMN);
        file_name(s, vma->vm_file->f_inode);
    } else if (name || vma_is_heap(vma) || vma_is_stack(vma)) {
        seq_pad(s, NAME_COLUMN);
        seq_puts(s, name ? name : vma_is_heap(vma) ? "[heap]" : "[stack]");
    } else if (vma->anon_name) {
        seq_pad(s, NAME_COLUMN);
        seq_printf(s, "[anon:%s]", vma->anon_name);
    }
}

void proc_map_line(struct cpu *cpu, struct seq *s, const struct vm_area_struct *vma)
{
    const struct inode *inode = vma->vm_file ? vma->vm_file->f_inode : NULL;
    unsigned long long offset = inode ? vma->vm_pgoff.nr << PAGE_SHIFT : 0;
    vm_flags_t f = vma->vm_flags;

    seq_begin_line(s);
    seq_printf(s, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu ", (unsigned long long)vma->vm_start,
               (unsigned long long)vma->vm_end, f & VM_READ ? 'r' : '-', f & VM_WRITE ? 'w' : '-',
               f & VM_EXEC ? 'x' : '-', f & VM_MAYSHARE ? 's' : 'p', offset, inode ? dev_major(inode->dev) : 0,
               inode ? dev_minor(inode->dev) : 0, inode ? (unsigned long long)inode->ino : 0);
    map_name(cpu, s, vma);
    seq_putc(s, '\n');
}

struct vm_area_struct *proc_next_vma(const struct mm *mm, const struct vm_area_struct *vma)
{
    struct vm_area_struct *next = vma ? vma_next(vma) : vma_first(mm);

    if (!next)
        return NULL;
    ASSERT(next->vm_mm == mm);
    ASSERT(((next->vm_start | next->vm_end) & ~PAGE_MASK) == 0);
    ASSERT(next->vm_start >= (vma ? vma->vm_end : 0));
    ASSERT(next->vm_start < next->vm_end);
    ASSERT(next->vm_end <= pt_task_size(pt_format_of(mm->m)));
    ASSERT(next->vm_ops < NR_VM_OPS);
    return next;
}

int proc_each_vma(struct cpu *cpu, struct task *task, const struct proc_sink *sink, proc_vma_fn *put)
{
    struct mm *mm = task->mm;
    struct vm_area_struct *vma;
    struct seq s;

    seq_open(&s, sink);
    down_read(cpu, &mm->mmap_lock);
    for_each_shown_vma (vma, mm)
        put(cpu, &s, vma);
    up_read(cpu, &mm->mmap_lock);
    return seq_close(&s);
}

int proc_pid_maps(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    return proc_each_vma(cpu, task, sink, proc_map_line);
}
