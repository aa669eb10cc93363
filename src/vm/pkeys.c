/* SPDX-License-Identifier: MIT */
/*
 * Protection keys: pkey_alloc(2), pkey_free(2), and which key a mapping gets.
 *
 *   mm->pkey_allocation_map    keys that are taken; key 0, what every mapping has at first, always is
 *   VMA, entries               the key (VM_PKEY_MASK, the entries' pkey bits)
 *   task->pkru                 the thread's register: access and writing allowed or not, by key
 *
 * execute-only   A mapping with PROT_EXEC alone gets a key that PKRU forbids to access: fetching instructions does not
 *                ask for keys. The key is reserved at the first such mapping and cannot be had with pkey_alloc(2).
 * Without keys (machine key pkeys = no) there is key 0 alone, which cannot be set up: the first pkey_alloc(2) takes it
 *                and fails with -EINVAL, all others find none (-ENOSPC). It counts as execute-only, so that no call knows
 *                it. So 6.18 was seen to answer.
 *
 * PKRU follows fork and starts with all keys but 0 denied. It decides about each access: the walker grants no more
 * (machine/walk.c), the fault is SIGSEGV with SEGV_PKUERR. WRPKRU is no system call: who follows a program sets
 * task->pkru while the CPU is in the kernel (cpu_enter_kernel()); it holds from cpu_enter_user() on.
 * Follows pkeys(7), pkey_alloc(2), pkey_mprotect(2), Documentation/core-api/protection-keys.rst.
 */
#include "vm/fork.h"
#include "vm/vma_priv.h"

#include "base/errno.h"

#define NR_PKEYS 16
#define PKEY_DISABLE_ACCESS_ 1u
#define PKEY_DISABLE_WRITE_ 2u
#define INIT_PKRU 0x55555554u

static bool has_pkeys(const struct machine *m)
{
    return m->config.pkeys && (m->config.pt_format == PT_X86_64_4L || m->config.pt_format == PT_X86_64_5L);
}

void mm_init_pkeys(struct mm *mm)
{
    mm->pkey_allocation_map = has_pkeys(mm->m) ? 1 : 0;
    mm->execute_only_pkey = has_pkeys(mm->m) ? -1 : 0;
}

void task_init_pkru(struct task *t)
{
    t->pkru = INIT_PKRU;
}

/* Fetching instructions does not ask for keys; a key that forbids reading forbids writing, too. */
bool pkru_allows_key(const struct task *t, u32 pkey, enum fault_access access)
{
    u32 denied = t->pkru >> 2 * pkey;

    if (access == ACCESS_EXEC)
        return true;
    return !(denied & (access == ACCESS_WRITE ? PKEY_DISABLE_ACCESS_ | PKEY_DISABLE_WRITE_ : PKEY_DISABLE_ACCESS_));
}

bool pkru_allows(const struct task *t, const struct vm_area_struct *vma, enum fault_access access)
{
    u32 pkey = (u32)((vma->vm_flags & VM_PKEY_MASK) >> VM_PKEY_SHIFT);

    return !vma->vm_mm->m->config.pkeys || pkru_allows_key(t, pkey, access);
}

static bool is_taken(const struct mm *mm, int pkey)
{
    return pkey >= 0 && pkey < NR_PKEYS && (mm->pkey_allocation_map >> pkey & 1);
}

/* As far as the program may know. */
bool mm_pkey_is_allocated(const struct mm *mm, int pkey)
{
    return is_taken(mm, pkey) && pkey != mm->execute_only_pkey;
}

static int mm_pkey_alloc(struct mm *mm)
{
    for (int key = 0; key < NR_PKEYS; key++)
        if (!is_taken(mm, key)) {
            mm->pkey_allocation_map |= (u16)(1u << key);
            return key;
        }
    return -ENOSPC;
}

static void set_pkru(struct task *t, int pkey, u32 rights)
{
    t->pkru = (t->pkru & ~(3u << 2 * pkey)) | rights << 2 * pkey;
}

/* Without keys. */
static int try_pkey_zero(struct mm *mm)
{
    int err = mm->pkey_allocation_map ? -ENOSPC : -EINVAL;

    mm->pkey_allocation_map = 1;
    return err;
}

s64 sys_pkey_alloc(struct cpu *cpu, u64 flags, u64 init_val)
{
    struct mm *mm = cpu->current->mm;
    int key;

    if (flags || (init_val & ~(u64)(PKEY_DISABLE_ACCESS_ | PKEY_DISABLE_WRITE_)))
        return -EINVAL;
    down_write(cpu, &mm->mmap_lock);
    key = has_pkeys(mm->m) ? mm_pkey_alloc(mm) : try_pkey_zero(mm);
    up_write(cpu, &mm->mmap_lock);
    if (key >= 0)
        set_pkru(cpu->current, key, (u32)init_val);
    return key;
}

/* Mappings that have it keep it. */
s64 sys_pkey_free(struct cpu *cpu, int pkey)
{
    struct mm *mm = cpu->current->mm;
    int err = -EINVAL;

    down_write(cpu, &mm->mmap_lock);
    if (mm_pkey_is_allocated(mm, pkey)) {
        mm->pkey_allocation_map &= (u16) ~(1u << pkey);
        err = 0;
    }
    up_write(cpu, &mm->mmap_lock);
    return err;
}

int execute_only_pkey(struct cpu *cpu, struct mm *mm)
{
    int key = mm->execute_only_pkey;

    if (!has_pkeys(mm->m))
        return 0;
    if (key == -1) {
        key = mm_pkey_alloc(mm);
        if (key < 0)
            return 0;
        mm->execute_only_pkey = (s16)key;
    } else if (!pkru_allows_key(cpu->current, (u32)key, ACCESS_READ)) {
        return key; /* writing is not looked at: such a PKRU stays as it is */
    }
    set_pkru(cpu->current, key, PKEY_DISABLE_ACCESS_);
    return key;
}

/* The key of a VMA after mprotect(2) (pkey -1) or pkey_mprotect(2) with these rights. */
int override_mprotect_pkey(struct cpu *cpu, const struct vm_area_struct *vma, u64 prot, int pkey)
{
    int old = (int)((vma->vm_flags & VM_PKEY_MASK) >> VM_PKEY_SHIFT);

    if (pkey != -1)
        return pkey;
    if (prot == PROT_EXEC_) {
        pkey = execute_only_pkey(cpu, vma->vm_mm);
        if (pkey > 0)
            return pkey;
    }
    /* A mapping that was execute-only, and is not any more, goes back to key 0. */
    if (old && old == vma->vm_mm->execute_only_pkey && (vma->vm_flags & VM_ACCESS_FLAGS) == VM_EXEC)
        return 0;
    return old;
}
