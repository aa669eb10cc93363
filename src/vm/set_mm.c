/* SPDX-License-Identifier: MIT */
/*
 * Where a program's parts lie, as it says itself: prctl(PR_SET_MM, …), which checkpoint/restore uses. The values are
 * shown in /proc/PID/stat and used by brk(2); no mapping changes.
 *
 * Every change is checked as a whole, as if all values were given: addresses that may be mapped, pairs in order, the
 * data and heap within RLIMIT_DATA.
 * Follows PR_SET_MM(2const), prctl(2).
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

static bool in_order(const struct mm_map *map)
{
    return map->start_code < map->end_code && map->start_data <= map->end_data && map->start_brk <= map->brk &&
           map->arg_start <= map->arg_end && map->env_start <= map->env_end;
}

static bool within_data_limit(struct cpu *cpu, const struct mm_map *map)
{
    u64 limit = task_rlimit_of(cpu, RLIMIT_DATA_);

    return limit == RLIM_INFINITY_ || (map->brk - map->start_brk) + (map->end_data - map->start_data) <= limit;
}

int validate_prctl_map(struct cpu *cpu, const struct mm *mm, const struct mm_map *map)
{
    const u64 *value = &map->start_code;

    for (u32 i = 0; i < NR_PRCTL_MM_ADDRESSES; i++)
        if (value[i] >= mm->task_size || value[i] < mmap_min_addr(mm->m))
            return -EINVAL;
    return in_order(map) && within_data_limit(cpu, map) ? 0 : -EINVAL;
}

void get_prctl_map(const struct mm *mm, struct mm_map *map)
{
    *map = (struct mm_map){
        .start_code = mm->start_code,
        .end_code = mm->end_code,
        .start_data = mm->start_data,
        .end_data = mm->end_data,
        .start_brk = mm->start_brk,
        .brk = mm->brk,
        .start_stack = mm->start_stack,
        .arg_start = mm->arg_start,
        .arg_end = mm->arg_end,
        .env_start = mm->env_start,
        .env_end = mm->env_end,
        .exe_fd = ~0u,
    };
}

void set_prctl_map(struct mm *mm, const struct mm_map *map)
{
    mm->start_code = map->start_code;
    mm->end_code = map->end_code;
    mm->start_data = map->start_data;
    mm->end_data = map->end_data;
    mm->start_brk = map->start_brk;
    mm->brk = map->brk;
    mm->start_stack = map->start_stack;
    mm->arg_start = map->arg_start;
    mm->arg_end = map->arg_end;
    mm->env_start = map->env_start;
    mm->env_end = map->env_end;
}

/* The program's file: not while the old one is mapped, and only for what could be executed. */
int set_mm_exe_file(struct cpu *cpu, struct mm *mm, struct file *file)
{
    struct file *old = mm->exe_file;
    struct vm_area_struct *vma;

    if (!file)
        return -EBADF;
    if (!(file->f_mode & FMODE_EXEC) || (file->f_mode & FMODE_PATH_NOEXEC) || !file->f_mapping ||
        (file->f_inode->i_flags & (INODE_DEVICE | INODE_PIPE)))
        return -EACCES;
    for_each_vma (vma, mm)
        if (old && vma->vm_file && vma->vm_file->f_inode == old->f_inode)
            return -EBUSY;
    get_file(file);
    mm->exe_file = file;
    if (old)
        cpu->code->fput(cpu, old);
    return 0;
}
