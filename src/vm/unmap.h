/* SPDX-License-Identifier: MIT */
/* Unmapping a part of an object in every address space (zap.c), for truncation. */
#ifndef QUIRE_VM_UNMAP_H
#define QUIRE_VM_UNMAP_H

#include "vm/vm.h"

enum unmap_what { UNMAP_FILE_PAGES, UNMAP_COPIES_TOO /* private copies of the range, as well */ };

/* Pages [start, start + nr) of the mapping, nr 0: to the end. Takes i_mmap_rwsem for reading. */
void unmap_mapping_pages(struct cpu *cpu, struct address_space *mapping, pgoff_t start, u64 nr, enum unmap_what what);

#endif
