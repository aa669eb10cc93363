/* SPDX-License-Identifier: MIT */
/* The nodes of xarrays: what cpu->code->xa_node_alloc and xa_node_free point to.
 * Linux calls the cache radix_tree_node. */
#include "base/errno.h"
#include "base/xarray.h"
#include "kmem/slub_priv.h"

int create_xa_cache(struct cpu *cpu)
{
    struct kmem *k = cpu->m->kmem;

    k->xa_cache = create_cache(cpu, "radix_tree_node", sizeof(struct xa_node), 0, SLAB_RECLAIM_ACCOUNT, SLAB_CTOR_NONE);
    return k->xa_cache ? 0 : -ENOMEM;
}

struct xa_node *kmem_xa_node_alloc(struct cpu *cpu, u32 gfp)
{
    return kmem_cache_alloc(cpu, cpu->m->kmem->xa_cache, gfp | __GFP_ZERO);
}

void kmem_xa_node_free(struct cpu *cpu, struct xa_node *node)
{
    kmem_cache_free(cpu, cpu->m->kmem->xa_cache, node);
}
