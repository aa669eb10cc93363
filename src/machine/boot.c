/* SPDX-License-Identifier: MIT */
/*
 * From a region to a running machine, and the table of functions that one program supplies.
 *
 *   machine_create()  region, header, CPUs, MMUs            region.c
 *   phys_init()       memblock, zones, page allocator
 *   kmem_cache_init() slab allocator
 *   vm_init()         address spaces
 *   cache_init()      page cache
 *
 * All on CPU 0, which is free again afterwards. A floor that fails undoes nothing: the region goes as a whole.
 */
#include "base/errno.h"
#include "cache/cache.h"
#include "cache/device.h"
#include "kmem/slab.h"
#include "machine/machine_api.h"
#include "phys/phys.h"
#include "phys/pressure.h"
#include "port/port.h"

#define BOOT_TID 1

static const struct vm_operations_struct *const vm_ops_table[NR_VM_OPS] = {
    [VM_OPS_FILE] = &generic_file_vm_ops, [VM_OPS_SHMEM] = &shmem_vm_ops,     [VM_OPS_SPECIAL] = &special_vm_ops,
    [VM_OPS_SHM] = &sysv_shm_vm_ops,      [VM_OPS_MEM] = &mem_vm_ops,         [VM_OPS_WINDOW] = &window_vm_ops,
    [VM_OPS_BUFFER] = &buffer_vm_ops,     [VM_OPS_HUGETLB] = &hugetlb_vm_ops,
};

static const struct address_space_operations *const a_ops_table[NR_A_OPS] = {
    [A_OPS_DISK] = &disk_a_ops,
    [A_OPS_SHMEM] = &shmem_a_ops,
};

static void (*const slab_ctor_table[NR_SLAB_CTORS])(void *);

const struct core_code quire_code = {
    .pressure = &pressure_none,
    .vm_ops = vm_ops_table,
    .a_ops = a_ops_table,
    .slab_ctor = slab_ctor_table,
    .flush_tlb = tlb_flush,
    .xa_node_alloc = kmem_xa_node_alloc,
    .xa_node_free = kmem_xa_node_free,
    .shmem_file_setup = shmem_file_setup,
    .hugetlb_file_setup = hugetlb_file_setup,
    .fallocate = vfs_fallocate,
    .fput = fput,
    .fsync_range = filemap_fsync_range,
    .readahead = filemap_readahead,
    .drop_folio = filemap_remove_folio,
};

int machine_boot_floors(struct machine *m)
{
    static int (*const init[])(struct cpu *) = {phys_init, kmem_cache_init, vm_init, cache_init};
    struct cpu *cpu = &m->cpus[0];
    int err = 0;

    atomic_store(&cpu->owner, BOOT_TID);
    atomic_store(&cpu->state, CPU_KERNEL);
    cpu->code = &quire_code;
    for (u32 i = 0; i < ARRAY_SIZE(init) && !err; i++)
        err = init[i](cpu);
    if (!err)
        cpu_release(cpu);
    return err;
}

struct machine *machine_boot(const struct machine_config *c, void *addr)
{
    struct machine *m = machine_create(c, addr);
    int err;

    if (IS_ERR(m))
        return m;
    err = machine_boot_floors(m);
    if (!err)
        return m;
    machine_destroy(m);
    return ERR_PTR(err);
}

/* The region's size from its header; 0: no machine of this version is there. */
static u64 probe(int handle, void *addr)
{
    struct machine *m = addr;
    u64 size = 0;

    if (port_region_attach(handle, addr, PAGE_SIZE))
        return 0;
    if (m->magic == MACHINE_MAGIC && m->version == MACHINE_VERSION && m->region == addr)
        size = m->region_size;
    port_region_unmap(addr, PAGE_SIZE);
    return size;
}

struct machine *machine_attach(int handle, void *addr)
{
    u64 size = probe(handle, addr);
    struct machine *m = addr;
    int err;

    if (!size)
        return ERR_PTR(-EINVAL);
    err = port_region_attach(handle, addr, size);
    if (err)
        return ERR_PTR(err);
    err = phys_attach(m, handle);
    if (!err)
        return m;
    port_region_unmap(addr, size);
    return ERR_PTR(err);
}
