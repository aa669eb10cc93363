/* SPDX-License-Identifier: MIT */
/*
 * prctl(2), the options that concern memory: PR_SET_MM, PR_GET_AUXV, PR_SET_VMA, PR_{SET,GET}_THP_DISABLE, _DUMPABLE,
 * _MDWE, _MEMORY_MERGE. All others are not modelled (-ENOSYS).
 *
 * Follows prctl(2) and its PR_*(2const) pages; errors and their order as seen with 6.18.
 */
#include "abi/abi_priv.h"

#include "base/errno.h"

enum {
    PR_GET_DUMPABLE_ = 3,
    PR_SET_DUMPABLE_ = 4,
    PR_SET_MM_ = 35,
    PR_SET_THP_DISABLE_ = 41,
    PR_GET_THP_DISABLE_ = 42,
    PR_SET_MDWE_ = 65,
    PR_GET_MDWE_ = 66,
    PR_SET_MEMORY_MERGE_ = 67,
    PR_GET_MEMORY_MERGE_ = 68,
    PR_GET_AUXV_ = 0x41555856,
    PR_SET_VMA_ = 0x53564d41,
};

enum {
    PR_SET_MM_START_CODE_ = 1,
    PR_SET_MM_END_CODE_ = 2,
    PR_SET_MM_START_DATA_ = 3,
    PR_SET_MM_END_DATA_ = 4,
    PR_SET_MM_START_STACK_ = 5,
    PR_SET_MM_START_BRK_ = 6,
    PR_SET_MM_BRK_ = 7,
    PR_SET_MM_ARG_START_ = 8,
    PR_SET_MM_ARG_END_ = 9,
    PR_SET_MM_ENV_START_ = 10,
    PR_SET_MM_ENV_END_ = 11,
    PR_SET_MM_AUXV_ = 12,
    PR_SET_MM_EXE_FILE_ = 13,
    PR_SET_MM_MAP_ = 14,
    PR_SET_MM_MAP_SIZE_ = 15,
};

#define PR_THP_DISABLE_EXCEPT_ADVISED_ 2u
#define PR_MDWE_REFUSE_EXEC_GAIN_ 1u
#define PR_MDWE_NO_INHERIT_ 2u

static u32 mm_flags(const struct mm *mm)
{
    return READ_ONCE(mm->flags);
}

static void change_mm_flags(struct mm *mm, u32 clear, u32 set)
{
    __atomic_fetch_and(&mm->flags, ~clear, __ATOMIC_RELAXED);
    __atomic_fetch_or(&mm->flags, set, __ATOMIC_RELAXED);
}

/* -- PR_SET_MM ----------------------------------------------------------------------------------------------------- */

static int set_auxv(struct cpu *cpu, const struct abi_call *c, struct mm *mm)
{
    u64 auxv[AT_VECTOR_SIZE] = {0}, len = c->arg[3];

    if (!c->arg[2] || len > sizeof(auxv))
        return -EINVAL;
    if (len && abi_copy_from_user(cpu, c, 2, 0, auxv, len))
        return -EFAULT;
    auxv[AT_VECTOR_SIZE - 2] = auxv[AT_VECTOR_SIZE - 1] = 0;
    down_write(cpu, &mm->mmap_lock);
    memcpy(mm->saved_auxv, auxv, len);
    up_write(cpu, &mm->mmap_lock);
    return 0;
}

/* The bytes that map.auxv points to: behind the map itself where the caller of abi_syscall() gave that. */
static int copy_map_auxv(struct cpu *cpu, const struct abi_call *c, const struct mm_map *map, u64 *auxv)
{
    struct abi_call inner = {.arg[2] = map->auxv};
    bool given = c->in[2].p && c->in[2].len >= sizeof(*map) + map->auxv_size;

    if (given)
        return abi_copy_from_user(cpu, c, 2, sizeof(*map), auxv, map->auxv_size);
    return abi_copy_from_user(cpu, &inner, 2, 0, auxv, map->auxv_size);
}

static int set_map(struct cpu *cpu, const struct abi_call *c, struct mm *mm)
{
    const u64 wanted = (u64)1 << CAP_SYS_ADMIN_ | (u64)1 << CAP_CHECKPOINT_RESTORE_;
    u64 auxv[AT_VECTOR_SIZE] = {0};
    struct mm_map map;
    int err;

    if (c->arg[3] != sizeof(map))
        return -EINVAL;
    if (abi_copy_from_user(cpu, c, 2, 0, &map, sizeof(map)))
        return -EFAULT;
    err = validate_prctl_map(cpu, mm, &map);
    if (err)
        return err;
    if (map.auxv_size && (!map.auxv || map.auxv_size > sizeof(auxv)))
        return -EINVAL;
    if (map.auxv_size && copy_map_auxv(cpu, c, &map, auxv))
        return -EFAULT;
    auxv[AT_VECTOR_SIZE - 2] = auxv[AT_VECTOR_SIZE - 1] = 0;
    if (map.exe_fd != ~0u && !(task_caps(cpu->current) & wanted))
        return -EPERM;
    down_write(cpu, &mm->mmap_lock);
    if (map.exe_fd != ~0u)
        err = set_mm_exe_file(cpu, mm, c->file);
    if (!err)
        set_prctl_map(mm, &map);
    if (!err && map.auxv_size)
        memcpy(mm->saved_auxv, auxv, sizeof(auxv));
    up_write(cpu, &mm->mmap_lock);
    return err;
}

static u64 *map_field(struct mm_map *map, u64 option)
{
    switch (option) {
    case PR_SET_MM_START_CODE_:
        return &map->start_code;
    case PR_SET_MM_END_CODE_:
        return &map->end_code;
    case PR_SET_MM_START_DATA_:
        return &map->start_data;
    case PR_SET_MM_END_DATA_:
        return &map->end_data;
    case PR_SET_MM_START_STACK_:
        return &map->start_stack;
    case PR_SET_MM_START_BRK_:
        return &map->start_brk;
    case PR_SET_MM_BRK_:
        return &map->brk;
    case PR_SET_MM_ARG_START_:
        return &map->arg_start;
    case PR_SET_MM_ARG_END_:
        return &map->arg_end;
    case PR_SET_MM_ENV_START_:
        return &map->env_start;
    case PR_SET_MM_ENV_END_:
        return &map->env_end;
    default:
        return NULL;
    }
}

/* The stack's parts must lie below the end of some mapping. */
static bool is_stack_field(u64 option)
{
    return option == PR_SET_MM_START_STACK_ || (option >= PR_SET_MM_ARG_START_ && option <= PR_SET_MM_ENV_END_);
}

static int set_one(struct cpu *cpu, struct mm *mm, u64 option, va_t addr)
{
    struct mm_map map;
    u64 *field = map_field(&map, option);
    int err = -EINVAL;

    if (addr >= mm->task_size || addr < mmap_min_addr(mm->m) || !field)
        return -EINVAL;
    down_write(cpu, &mm->mmap_lock);
    get_prctl_map(mm, &map);
    *field = addr;
    err = validate_prctl_map(cpu, mm, &map);
    if (!err && is_stack_field(option) && !find_vma(cpu, mm, addr))
        err = -EFAULT;
    if (!err)
        set_prctl_map(mm, &map);
    up_write(cpu, &mm->mmap_lock);
    return err;
}

static int set_exe_file(struct cpu *cpu, const struct abi_call *c, struct mm *mm)
{
    int err;

    down_write(cpu, &mm->mmap_lock);
    err = set_mm_exe_file(cpu, mm, c->file);
    up_write(cpu, &mm->mmap_lock);
    return err;
}

static s64 prctl_set_mm(struct cpu *cpu, const struct abi_call *c, struct mm *mm)
{
    u64 option = (u32)c->arg[1], arg4 = c->arg[3];
    u32 size = sizeof(struct mm_map);
    bool takes_arg4 = option == PR_SET_MM_AUXV_ || option == PR_SET_MM_MAP_ || option == PR_SET_MM_MAP_SIZE_;

    if (c->arg[4] || (arg4 && !takes_arg4))
        return -EINVAL;
    if (option == PR_SET_MM_MAP_SIZE_)
        return abi_copy_to_user(cpu, c, 2, 0, &size, sizeof(size));
    if (option == PR_SET_MM_MAP_)
        return set_map(cpu, c, mm);
    if (!task_capable(cpu->current, CAP_SYS_RESOURCE_))
        return -EPERM;
    if (option == PR_SET_MM_EXE_FILE_)
        return set_exe_file(cpu, c, mm);
    if (option == PR_SET_MM_AUXV_)
        return set_auxv(cpu, c, mm);
    return set_one(cpu, mm, option, c->arg[2]);
}

static s64 prctl_get_auxv(struct cpu *cpu, const struct abi_call *c, const struct mm *mm)
{
    u64 len = MIN(c->arg[2], sizeof(mm->saved_auxv));

    if (c->arg[3] || c->arg[4])
        return -EINVAL;
    if (len && abi_copy_to_user(cpu, c, 1, 0, mm->saved_auxv, len))
        return -EFAULT;
    return sizeof(mm->saved_auxv);
}

/* -- PR_SET_VMA ---------------------------------------------------------------------------------------------------- */

/* The string with its end in `text`, at most ANON_VMA_NAME_MAX_LEN bytes: 0, -EFAULT or -EINVAL. */
static int copy_name(struct cpu *cpu, const struct abi_call *c, char *text)
{
    for (u32 i = 0; i < ANON_VMA_NAME_MAX_LEN; i++) {
        if (abi_copy_from_user(cpu, c, 4, i, &text[i], 1))
            return -EFAULT;
        if (!text[i])
            return 0;
    }
    return -EINVAL;
}

static s64 prctl_set_vma(struct cpu *cpu, const struct abi_call *c)
{
    char text[ANON_VMA_NAME_MAX_LEN];
    int err = 0;

    if (!cpu->m->config.anon_vma_name || c->arg[1]) /* PR_SET_VMA_ANON_NAME is 0 */
        return -EINVAL;
    if (c->arg[4])
        err = copy_name(cpu, c, text);
    return err ? err : set_anon_vma_name(cpu, c->arg[2], c->arg[3], c->arg[4] ? text : NULL);
}

/* -- flags of the address space ------------------------------------------------------------------------------------ */

static s64 prctl_set_thp_disable(struct mm *mm, const struct abi_call *c)
{
    u64 flags = c->arg[2];

    if ((flags & ~(u64)PR_THP_DISABLE_EXCEPT_ADVISED_) || (flags && !c->arg[1]) || c->arg[3] || c->arg[4])
        return -EINVAL;
    change_mm_flags(mm, MMF_DISABLE_THP | MMF_DISABLE_THP_EXCEPT_ADVISED,
                    !c->arg[1] ? 0
                    : flags    ? MMF_DISABLE_THP_EXCEPT_ADVISED
                               : MMF_DISABLE_THP);
    return 0;
}

static s64 prctl_get_thp_disable(const struct mm *mm, const struct abi_call *c)
{
    if (c->arg[1] || c->arg[2] || c->arg[3] || c->arg[4])
        return -EINVAL;
    if (mm_flags(mm) & MMF_DISABLE_THP_EXCEPT_ADVISED)
        return 1 | PR_THP_DISABLE_EXCEPT_ADVISED_;
    return !!(mm_flags(mm) & MMF_DISABLE_THP);
}

static s64 prctl_set_dumpable(struct mm *mm, const struct abi_call *c)
{
    if (c->arg[1] > 1)
        return -EINVAL;
    change_mm_flags(mm, MMF_DUMPABLE_MASK, (u32)c->arg[1]);
    return 0;
}

static s64 get_mdwe(const struct mm *mm)
{
    u32 flags = mm_flags(mm);

    return (flags & MMF_HAS_MDWE ? PR_MDWE_REFUSE_EXEC_GAIN_ : 0) |
           (flags & MMF_HAS_MDWE_NO_INHERIT ? PR_MDWE_NO_INHERIT_ : 0);
}

/* Once set, never changed. */
static s64 prctl_set_mdwe(struct mm *mm, const struct abi_call *c)
{
    u64 bits = c->arg[1];

    if (c->arg[2] || c->arg[3] || c->arg[4] || (bits & ~(u64)(PR_MDWE_REFUSE_EXEC_GAIN_ | PR_MDWE_NO_INHERIT_)) ||
        bits == PR_MDWE_NO_INHERIT_)
        return -EINVAL;
    if (get_mdwe(mm) && get_mdwe(mm) != (s64)bits)
        return -EPERM;
    change_mm_flags(mm, 0,
                    (bits & PR_MDWE_REFUSE_EXEC_GAIN_ ? MMF_HAS_MDWE : 0) |
                        (bits & PR_MDWE_NO_INHERIT_ ? MMF_HAS_MDWE_NO_INHERIT : 0));
    return 0;
}

/* 6.18 asks for no capability. */
static s64 prctl_set_memory_merge(struct cpu *cpu, struct mm *mm, const struct abi_call *c)
{
    if (c->arg[2] || c->arg[3] || c->arg[4])
        return -EINVAL;
    ksm_set_merge(cpu, mm, c->arg[1] ? KSM_MERGE_ANY : KSM_MERGE_NONE);
    return 0;
}

s64 abi_prctl(struct cpu *cpu, struct abi_call *c)
{
    struct mm *mm = cpu->current->mm;

    switch ((u32)c->arg[0]) {
    case PR_SET_MM_:
        return prctl_set_mm(cpu, c, mm);
    case PR_GET_AUXV_:
        return prctl_get_auxv(cpu, c, mm);
    case PR_SET_VMA_:
        return prctl_set_vma(cpu, c);
    case PR_SET_THP_DISABLE_:
        return prctl_set_thp_disable(mm, c);
    case PR_GET_THP_DISABLE_:
        return prctl_get_thp_disable(mm, c);
    case PR_GET_DUMPABLE_:
        return mm_flags(mm) & MMF_DUMPABLE_MASK;
    case PR_SET_DUMPABLE_:
        return prctl_set_dumpable(mm, c);
    case PR_SET_MDWE_:
        return prctl_set_mdwe(mm, c);
    case PR_SET_MEMORY_MERGE_:
        return prctl_set_memory_merge(cpu, mm, c);
    case PR_GET_MEMORY_MERGE_:
        return c->arg[1] || c->arg[2] || c->arg[3] || c->arg[4] ? -EINVAL : !!(mm_flags(mm) & MMF_VM_MERGE_ANY);
    case PR_GET_MDWE_:
        return c->arg[1] || c->arg[2] || c->arg[3] || c->arg[4] ? -EINVAL : get_mdwe(mm);
    default:
        return -ENOSYS;
    }
}
