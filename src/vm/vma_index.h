/* SPDX-License-Identifier: MIT */
/*
 * The ordered index of an address space's VMAs with gap search: vma_index.c has the theory. All functions need the
 * mmap_lock, for writing where they change something. Addresses in bytes.
 */
#ifndef QUIRE_VM_VMA_INDEX_H
#define QUIRE_VM_VMA_INDEX_H

#include "base/check.h"
#include "base/cpu.h"
#include "base/types.h"

struct vm_area_struct;
struct vma_node;

#define VMA_INDEX_MAX_HEIGHT 32

/* The way from the root to one entry: node and slot per level, leaf first. */
struct vma_path {
    struct vma_node *node[VMA_INDEX_MAX_HEIGHT];
    u32 slot[VMA_INDEX_MAX_HEIGHT];
    u32 height; /* 0: none */
};

struct vma_index {
    struct vma_node *root;               /* NULL: empty */
    u32 height;                          /* levels; 0: empty */
    u32 nr_reserve;                      /* nodes in `reserve` */
    struct vma_node *reserve;            /* nodes that an insertion may use without allocating */
    struct vm_area_struct *first, *last; /* ends of the list through vm_next and vm_prev */
    struct vma_path finger;              /* the way of the last change; slot[0] is not kept */
    va_t finger_low;                     /* end of the VMA before the finger's leaf, 0: none */
};

#define VMA_NODE_BYTES 512
#define VMA_NODE_ALIGN 64

/* The nodes' memory (vma.c: the slab cache vma_node; a test's own). NULL: none. */
struct vma_node *vma_node_alloc(struct cpu *cpu);
void vma_node_free(struct cpu *cpu, struct vma_node *node);

void vma_index_init(struct vma_index *x);
/* Frees every node; the VMAs are the caller's. */
void vma_index_destroy(struct cpu *cpu, struct vma_index *x);

/* After 0, `nr` insertions cannot fail, wherever they are and
 * whatever is removed between them. -ENOMEM: nothing changed. */
int vma_index_prealloc(struct cpu *cpu, struct vma_index *x, u32 nr);
/* Give back what a prealloc left over (a few nodes are kept). */
void vma_index_trim(struct cpu *cpu, struct vma_index *x);

/* Needs a prealloc; the range must be free. Sets vm_next and vm_prev. */
void vma_index_insert(struct vma_index *x, struct vm_area_struct *vma);
void vma_index_remove(struct vma_index *x, struct vm_area_struct *vma);
/* Set vm_start and vm_end; the new range must not touch another VMA. Cannot fail, needs no nodes. */
void vma_index_resize(struct vma_index *x, struct vm_area_struct *vma, va_t start, va_t end);
/* `vma` and the next one touch: where one ends and the other begins becomes `at`. Needs no nodes. */
void vma_index_move_edge(struct vma_index *x, struct vm_area_struct *vma, va_t at);
/*
 * `vma` leaves its lowest part to `below` and its highest to `above` (either may be NULL), which are not in the index
 * and have their ranges already. Needs a prealloc for them.
 */
void vma_index_cut(struct vma_index *x, struct vm_area_struct *vma, struct vm_area_struct *below,
                   struct vm_area_struct *above);
/* From `from` to `to` each VMA begins where the one before it ends: `keep`, one of them, takes all, the others go. */
void vma_index_join(struct vma_index *x, struct vm_area_struct *keep, struct vm_area_struct *from,
                    struct vm_area_struct *to);

/* The first VMA with addr < vm_end, or NULL. */
struct vm_area_struct *vma_index_find(const struct vma_index *x, va_t addr);
/* The same, and its range from the nodes: the VMA itself is not read. */
struct vm_area_struct *vma_index_find_range(const struct vma_index *x, va_t addr, va_t *start, va_t *end);

/*
 * The lowest (highest) addr with low <= addr, addr + size <= high and no VMA in [addr, addr + size); true if there is
 * one. `size` > 0.
 */
struct vma_gap {
    va_t addr;
    struct vm_area_struct *next; /* the first VMA behind it, or NULL */
};
bool vma_index_gap_lowest(const struct vma_index *x, va_t low, va_t high, u64 size, struct vma_gap *gap);
bool vma_index_gap_highest(const struct vma_index *x, va_t low, va_t high, u64 size, struct vma_gap *gap);

/* Recompute everything; returns the number of VMAs found. */
u64 vma_index_check(const struct vma_index *x, struct check_report *r);
/* Nodes in use and in reserve, for reports and the books of the slab. */
u64 vma_index_nr_nodes(const struct vma_index *x);

#endif
