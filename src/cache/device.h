/* SPDX-License-Identifier: MIT */
/* Character devices that can be mapped, and the vdso's pages: device.c. */
#ifndef QUIRE_CACHE_DEVICE_H
#define QUIRE_CACHE_DEVICE_H

#include "vm/vm.h"

/* Open a device. DEVICE_MEM, DEVICE_WINDOW: frames [first, first + nr), which must not be RAM; DEVICE_BUFFER,
 * DEVICE_RING: nr pages of its own. ERR_PTR(-ENOMEM / -EINVAL). */
struct file *device_open(struct cpu *cpu, enum device_kind kind, u32 f_mode, pfn_t first, u64 nr);
/* On the last put. */
void device_release(struct cpu *cpu, struct inode *inode);

/* What the kernel maps into every program. Exactly at `start`, which must be free; mmap_lock held for writing.
 * 0, -EINVAL, -EEXIST, -ENOMEM. */
enum special_kind { SPECIAL_VDSO, SPECIAL_VVAR };
int install_special_mapping(struct cpu *cpu, struct mm *mm, va_t start, u64 len, enum special_kind kind);

extern const struct vm_operations_struct mem_vm_ops, buffer_vm_ops, window_vm_ops, special_vm_ops;

#endif
