/* SPDX-License-Identifier: MIT */
/* What an address space's tables map, as ranges of equal entries. */
#ifndef QUIRE_VM_PTDUMP_H
#define QUIRE_VM_PTDUMP_H

#include "vm/vm.h"

/* [start, end) is mapped by entries of one level with the same rights and attributes; level 0: by nothing. */
struct ptdump_range {
    va_t start, end;
    u32 level;
    pgprot_t prot;          /* without accessed and dirty */
    u64 nr_young, nr_dirty; /* entries among them */
};

/*
 * Show the ranges of [start, end) in ascending order; returns how many. `start` and `end` lie in the same half of the
 * address space. The mmap_lock is held, or nobody uses the mm.
 */
u64 ptdump_walk(const struct mm *mm, va_t start, va_t end, void (*note)(const struct ptdump_range *, void *arg),
                void *arg);

#define PTDUMP_FLAGS_TEXT 64
/* "RW- USR SP": rights and attributes as words, into text; returns it. */
const char *ptdump_flags(pgprot_t prot, char text[PTDUMP_FLAGS_TEXT]);

#endif
