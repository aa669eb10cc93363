/* SPDX-License-Identifier: MIT */
/* What drivers map: pfnmap.c. */
#ifndef QUIRE_VM_PFNMAP_H
#define QUIRE_VM_PFNMAP_H

#include "vm/vm.h"

/* [addr, addr + size) shows the frames from pfn on. 0, -EINVAL (part of a private mapping), -ENOMEM: nothing mapped. */
int remap_pfn_range(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, pfn_t pfn, u64 size);
/* One page of the driver's; the mapping takes its own reference.
 * 0, -EFAULT (outside), -EINVAL (not such a page), -EBUSY (something is there), -ENOMEM. */
int vm_insert_page(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, struct page *page);
/* From ->fault(): its result. */
vm_fault_t vmf_insert_pfn(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, pfn_t pfn);

#endif
