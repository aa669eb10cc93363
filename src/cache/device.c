/* SPDX-License-Identifier: MIT */
/*
 * Character devices as far as mmap(2) goes, and the pages of vdso and vvar. Each stands for a way of mapping that
 * drivers use:
 *
 *   DEVICE_NULL    cannot be mapped (-ENODEV): /dev/null, a terminal; a pipe is the same with -ESPIPE
 *   DEVICE_ZERO    /dev/zero: private mappings are anonymous memory that names a file, shared ones a new shared-memory
 *                  object of the mapping's length; the offset counts in both                             (vm/mmap.c)
 *   DEVICE_MEM     /dev/mem: the offset is a physical address; remap_pfn_range() at once
 *   DEVICE_WINDOW  a device's memory, mapped by faults: vmf_insert_pfn()
 *   DEVICE_BUFFER  a driver's own pages (as of a packet socket), all inserted at once: vm_insert_page()
 *   DEVICE_RING    the same, but mremap(2) does not grow it (as io_uring's)
 *   vdso, vvar     no file: pages that the kernel inserts by faults; vvar as bare frames
 *
 * A device's own pages stand in inode->i_disk by index, one reference each, and go with its last file. Those of vdso
 * and vvar are made by the first fault, and stay.
 *
 * Frames that devices show must not be RAM (as CONFIG_STRICT_DEVMEM has it: -EPERM), and lie below the end of RAM: what
 * lies behind it has no bytes in the model (-EINVAL).
 */
#include "cache/device.h"

#include "base/errno.h"
#include "cache/cache.h"
#include "phys/gfp.h"
#include "phys/page_alloc.h"
#include "phys/phys.h"
#include "vm/pfnmap.h"

#define SPECIAL_PAGES 16u /* of each kind at most */

static bool range_is_device(const struct machine *m, pfn_t first, u64 nr)
{
    const struct machine_config *c = &m->config;
    u64 start = first.nr << PAGE_SHIFT, end = (first.nr + nr) << PAGE_SHIFT;

    for (u32 i = 0; i < c->nr_ranges; i++)
        if (c->range[i].type == E820_RAM && c->range[i].start < end && start < c->range[i].start + c->range[i].size)
            return false;
    return true;
}

static int check_range(const struct machine *m, pfn_t first, u64 nr)
{
    u64 limit = m->ram_span >> PAGE_SHIFT;

    if (nr > limit || first.nr > limit - nr)
        return -EINVAL;
    return range_is_device(m, first, nr) ? 0 : -EPERM;
}

/* -- pages of its own ---------------------------------------------------------------------------------------------- */

/* The page at index, made of zeroes on first use. NULL: no memory. */
static struct page *own_page(struct cpu *cpu, struct inode *inode, u64 index) NO_LOCK_ANALYSIS
{
    struct rw_semaphore *lock = &inode->i_data.invalidate_lock;
    struct page *page;

    down_write(cpu, lock);
    page = xa_load(&inode->i_disk, index);
    if (!page) {
        page = alloc_page(cpu, GFP_KERNEL | __GFP_ZERO);
        if (page && IS_ERR(xa_store(cpu, &inode->i_disk, index, page, GFP_KERNEL))) {
            __free_page(cpu, page);
            page = NULL;
        }
    }
    up_write(cpu, lock);
    return page;
}

void device_release(struct cpu *cpu, struct inode *inode)
{
    struct page *page;
    u64 index;

    xa_for_each (&inode->i_disk, index, page) {
        xa_erase(cpu, &inode->i_disk, index);
        put_page(cpu, page);
    }
}

/* -- the ways of mapping ------------------------------------------------------------------------------------------- */

static int mem_mmap(struct cpu *cpu, struct vm_area_struct *vma)
{
    pfn_t first = PFN(vma->vm_pgoff.nr);
    int err = check_range(cpu->m, first, vma_pages(vma));

    return err ? err : remap_pfn_range(cpu, vma, vma->vm_start, first, vma->vm_end - vma->vm_start);
}

const struct vm_operations_struct mem_vm_ops = {.mmap = mem_mmap};

static bool fits_device(const struct vm_area_struct *vma)
{
    u64 pages = vma->vm_file->f_inode->i_size >> PAGE_SHIFT;

    return vma->vm_pgoff.nr <= pages && vma_pages(vma) <= pages - vma->vm_pgoff.nr;
}

static int buffer_mmap(struct cpu *cpu, struct vm_area_struct *vma)
{
    struct inode *inode = vma->vm_file->f_inode;
    int err = fits_device(vma) ? 0 : -EINVAL;

    if (inode->i_device == DEVICE_RING)
        vma->vm_flags |= VM_DONTEXPAND;
    for (u64 i = 0; i < vma_pages(vma) && !err; i++) {
        struct page *page = own_page(cpu, inode, vma->vm_pgoff.nr + i);

        err = page ? vm_insert_page(cpu, vma, vma->vm_start + (i << PAGE_SHIFT), page) : -ENOMEM;
    }
    return err;
}

const struct vm_operations_struct buffer_vm_ops = {.mmap = buffer_mmap};

/* Bare frames cannot be copied on write one by one: shared only. */
static int window_mmap(struct cpu *cpu, struct vm_area_struct *vma)
{
    if (!fits_device(vma) || (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE)
        return -EINVAL;
    vma->vm_flags |= VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP;
    return 0;
}

static vm_fault_t window_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct inode *inode = vmf->vma->vm_file->f_inode;

    return vmf_insert_pfn(cpu, vmf->vma, vmf->address, pfn_add(PFN(inode->i_pfn), vmf->pgoff.nr));
}

const struct vm_operations_struct window_vm_ops = {.mmap = window_mmap, .fault = window_fault};

/* -- vdso and vvar ------------------------------------------------------------------------------------------------- */

static vm_fault_t special_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    struct vm_area_struct *vma = vmf->vma;
    bool frames = vma->vm_flags & VM_PFNMAP;
    struct page *page;

    if (vmf->pgoff.nr >= SPECIAL_PAGES)
        return VM_FAULT_SIGBUS;
    page = own_page(cpu, &cpu->m->cache->special, vmf->pgoff.nr + (frames ? SPECIAL_PAGES : 0));
    if (!page)
        return VM_FAULT_OOM;
    if (frames)
        return vmf_insert_pfn(cpu, vma, vmf->address, page_to_pfn(cpu->m, page));
    get_page(page);
    vmf->page = page;
    return 0;
}

/* Moved and unmapped as a whole only. */
static int special_may_split(struct cpu *cpu, struct vm_area_struct *vma, va_t addr)
{
    return -EINVAL;
}

#define VCLOCK_PAGES 2 /* of 6.18; vvar has 4 */

/* They keep their sizes, and frames stay frames. */
static const char *special_name(const struct vm_area_struct *vma)
{
    if (!(vma->vm_flags & VM_PFNMAP))
        return "[vdso]";
    return vma_pages(vma) == VCLOCK_PAGES ? "[vvar_vclock]" : "[vvar]";
}

const struct vm_operations_struct special_vm_ops = {
    .fault = special_fault, .may_split = special_may_split, .name = special_name};

int install_special_mapping(struct cpu *cpu, struct mm *mm, va_t start, u64 len, enum special_kind kind)
{
    static const vm_flags_t flags[] = {
        [SPECIAL_VDSO] = VM_READ | VM_EXEC | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_DONTEXPAND,
        [SPECIAL_VVAR] = VM_READ | VM_MAYREAD | VM_IO | VM_DONTEXPAND | VM_DONTDUMP | VM_PFNMAP,
    };

    return do_mmap_fixed_special(cpu, mm, start, len, flags[kind], VM_OPS_SPECIAL);
}

/* -- opening ------------------------------------------------------------------------------------------------------- */

struct file *device_open(struct cpu *cpu, enum device_kind kind, u32 f_mode, pfn_t first, u64 nr)
{
    static const struct {
        u32 vm_ops;
        const char *name;
    } kinds[] = {
        [DEVICE_NULL] = {VM_OPS_NONE, "/dev/null"},       [DEVICE_ZERO] = {VM_OPS_NONE, "/dev/zero"},
        [DEVICE_MEM] = {VM_OPS_MEM, "/dev/mem"},          [DEVICE_WINDOW] = {VM_OPS_WINDOW, "/dev/window"},
        [DEVICE_BUFFER] = {VM_OPS_BUFFER, "/dev/buffer"}, [DEVICE_RING] = {VM_OPS_BUFFER, "/dev/ring"},
    };
    int err = kind == DEVICE_WINDOW ? check_range(cpu->m, first, nr) : 0;
    struct file *file;

    if (err)
        return ERR_PTR(err);
    file = device_file(cpu, kinds[kind].name, f_mode);
    if (IS_ERR(file))
        return file;
    file->vm_ops = kinds[kind].vm_ops;
    file->f_inode->i_device = kind;
    file->f_inode->i_pfn = first.nr;
    file->f_inode->i_size = nr << PAGE_SHIFT;
    if (kind == DEVICE_NULL)
        file->f_mapping = NULL;
    return file;
}
