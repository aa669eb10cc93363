/* SPDX-License-Identifier: MIT */
/*
 * Names of anonymous mappings: prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME), shown as [anon:name] and [anon_shmem:name].
 *
 * vma->anon_name points to the text in a counted object that copies of the VMA share: vm_area_dup() takes a reference,
 * vm_area_free() drops one. Mappings merge only if their names are equal as text.
 *
 * Follows PR_SET_VMA(2const), Documentation/filesystems/proc.rst.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"
#include "kmem/slab.h"

struct anon_vma_name {
    _Atomic s32 refs;
    char text[ANON_VMA_NAME_MAX_LEN];
};

static struct anon_vma_name *name_of(char *text)
{
    return container_of(text, struct anon_vma_name, text[0]);
}

void anon_vma_name_get(char *name)
{
    if (name)
        atomic_fetch_add_explicit(&name_of(name)->refs, 1, memory_order_relaxed);
}

void anon_vma_name_put(struct cpu *cpu, char *name)
{
    if (name && atomic_fetch_sub(&name_of(name)->refs, 1) == 1)
        kfree(cpu, name_of(name));
}

/* Printable, but for what would be misread in /proc/PID/maps or by a shell. */
static bool is_valid_name_char(char c)
{
    return c >= ' ' && c <= '~' && c != '\\' && c != '`' && c != '$' && c != '[' && c != ']';
}

static char *anon_vma_name_alloc(struct cpu *cpu, const char *text)
{
    struct anon_vma_name *name;
    size_t len = 0;

    for (; text[len]; len++)
        if (!is_valid_name_char(text[len]))
            return ERR_PTR(-EINVAL);
    ASSERT(len < ANON_VMA_NAME_MAX_LEN);
    name = kmalloc(cpu, sizeof(*name), GFP_KERNEL_ACCOUNT);
    if (!name)
        return ERR_PTR(-ENOMEM);
    atomic_init(&name->refs, 1);
    memcpy(name->text, text, len + 1);
    return name->text;
}

static bool is_anon_shmem(const struct vm_area_struct *vma)
{
    return vma->vm_ops == VM_OPS_SHMEM && !(vma->vm_file->f_inode->i_flags & INODE_HASHED) &&
           !(vma->vm_file->f_inode->i_flags & INODE_SEALS);
}

/* [start, end) lies in *vma, which becomes the VMA that covers it afterwards. */
static int name_vma(struct cpu *cpu, struct vm_area_struct **vma, va_t start, va_t end, char *name)
{
    struct vm_area_struct *modified;
    char *old;

    if ((*vma)->vm_file && !is_anon_shmem(*vma))
        return -EBADF;
    modified = vma_modify_name(cpu, *vma, start, end, name);
    if (IS_ERR(modified))
        return PTR_ERR(modified) == -ENOMEM ? -EAGAIN : PTR_ERR(modified);
    old = modified->anon_name;
    anon_vma_name_get(name);
    modified->anon_name = name;
    anon_vma_name_put(cpu, old);
    *vma = modified;
    return 0;
}

static int name_range(struct cpu *cpu, struct mm *mm, va_t start, va_t end, char *name)
{
    struct vm_area_struct *vma;
    int holes = 0;

    while ((vma = vma_over_holes(cpu, mm, &start, end, &holes))) {
        va_t stop = MIN(end, vma->vm_end);
        int err = name_vma(cpu, &vma, start, stop, name);

        if (err)
            return err;
        start = MAX(stop, vma->vm_end);
    }
    return holes;
}

int set_anon_vma_name(struct cpu *cpu, va_t addr, u64 len, const char *text)
{
    struct mm *mm = cpu->current->mm;
    u64 aligned = ALIGN_UP(len, PAGE_SIZE);
    char *name = text ? anon_vma_name_alloc(cpu, text) : NULL;
    int err = 0;

    if (IS_ERR(name))
        return PTR_ERR(name);
    if ((addr & ~PAGE_MASK) || (len && !aligned) || addr + aligned < addr) {
        err = -EINVAL;
    } else if (aligned) {
        down_write(cpu, &mm->mmap_lock);
        err = name_range(cpu, mm, addr, addr + aligned, name);
        up_write(cpu, &mm->mmap_lock);
    }
    anon_vma_name_put(cpu, name);
    return err;
}
