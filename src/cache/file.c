/* SPDX-License-Identifier: MIT */
/*
 * Files as the memory manager knows them: identity, size, pages.
 *
 *   struct file ──▶ struct inode (dev, ino) ── i_data: the pages           several files share an inode
 *   f_count: who has it open or mapped          i_count: files
 *
 * An inode with a name (on disk, on tmpfs) stays when its last file is closed, and its pages with it, as the page cache
 * does: the next open of the same (dev, ino) finds them. One without a name (INODE_UNLINKED: memfd, SysV segments,
 * shared anonymous memory) goes with its last file.
 *
 * Locks. cache->lock guards the table and the list, and the step of i_count from 1 to 0; it is a spinlock: an inode to
 * insert is made before it is taken.
 */
#include "cache/cache.h"
#include "cache/device.h"

#include "base/errno.h"
#include "kmem/slab.h"
#include "phys/gfp.h"

#define SHMEM_DEV 1ul /* as tmpfs' anonymous mount shows in /proc/PID/maps: 00:01 */

int cache_init(struct cpu *cpu)
{
    struct cache *c = machine_hw_alloc(cpu->m, sizeof(*c), 64);

    *c = (struct cache){.files = RB_ROOT, .next_shmem_ino = 1};
    spin_lock_init(&c->lock, RANK_FILES);
    INIT_LIST_HEAD(&c->inodes);
    c->inode_cachep = kmem_cache_create(cpu, "inode_cache", sizeof(struct inode), 0,
                                        SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT, SLAB_CTOR_NONE);
    c->filp_cachep =
        kmem_cache_create(cpu, "filp", sizeof(struct file), 0, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT, SLAB_CTOR_NONE);
    inode_init(cpu->m, &c->special, A_OPS_NONE, "[vdso]");
    cpu->m->cache = c;
    c->block_cachep = kmem_cache_create(cpu, "disk_block", PAGE_SIZE, 0, 0, SLAB_CTOR_NONE);
    return c->inode_cachep && c->filp_cachep && c->block_cachep ? shm_init(cpu) : -ENOMEM;
}

/* -- inodes -------------------------------------------------------------------------------------------------------- */

void inode_init(struct machine *m, struct inode *inode, enum a_ops_id a_ops, const char *name)
{
    struct address_space *mapping = &inode->i_data;

    memset(inode, 0, sizeof(*inode));
    inode->m = m;
    atomic_init(&inode->i_count, 0);
    for (u32 i = 0; name && name[i] && i < sizeof(inode->name) - 1; i++)
        inode->name[i] = name[i];
    mapping->m = m;
    mapping->host = inode;
    mapping->a_ops = a_ops;
    mapping->gfp_mask = GFP_HIGHUSER_MOVABLE;
    xa_init(&mapping->i_pages, RANK_I_PAGES);
    xa_init(&inode->i_disk, RANK_I_PAGES);
    mapping->i_mmap = INTERVAL_TREE_ROOT;
    init_rwsem(&inode->i_rwsem, RANK_INODE);
    init_rwsem(&mapping->i_mmap_rwsem, RANK_I_MMAP);
    init_rwsem(&mapping->invalidate_lock, RANK_INVALIDATE);
}

/* cache->lock held. `link` and `parent` receive the place for a new one. */
static struct inode *inode_search(struct cache *c, u64 dev, u64 ino, struct rb_node **parent, struct rb_node ***link)
{
    struct rb_node **p = &c->files.rb_node;

    *parent = NULL;
    while (*p) {
        struct inode *i = rb_entry(*p, struct inode, node);

        if (i->dev == dev && i->ino == ino)
            return i;
        *parent = *p;
        p = dev < i->dev || (dev == i->dev && ino < i->ino) ? &(*p)->rb_left : &(*p)->rb_right;
    }
    *link = p;
    return NULL;
}

/* The inode, with i_count raised; `fresh` is inserted if there is none. */
static struct inode *inode_get_or_insert(struct cpu *cpu, u64 dev, u64 ino, struct inode *fresh) NO_LOCK_ANALYSIS
{
    struct cache *c = cpu->m->cache;
    struct rb_node *parent, **link;
    struct inode *i;

    spin_lock(cpu, &c->lock);
    i = inode_search(c, dev, ino, &parent, &link);
    if (!i && fresh) {
        i = fresh;
        i->i_flags |= INODE_HASHED;
        rb_link_node(&i->node, parent, link);
        rb_insert_color(&i->node, &c->files);
        list_add_tail(&i->inodes, &c->inodes);
        c->nr_inodes++;
    }
    if (i)
        atomic_fetch_add(&i->i_count, 1);
    spin_unlock(cpu, &c->lock);
    return i;
}

static struct inode *inode_open(struct cpu *cpu, u64 dev, u64 ino, const struct inode *model)
{
    struct inode *i = inode_get_or_insert(cpu, dev, ino, NULL), *fresh;

    if (i)
        return i;
    fresh = kmem_cache_alloc(cpu, cpu->m->cache->inode_cachep, GFP_KERNEL);
    if (!fresh)
        return NULL;
    inode_init(cpu->m, fresh, (enum a_ops_id)model->i_data.a_ops, model->name);
    fresh->dev = dev;
    fresh->ino = ino;
    fresh->i_size = model->i_size;
    fresh->i_flags = model->i_flags;
    fresh->seals = model->seals;
    i = inode_get_or_insert(cpu, dev, ino, fresh);
    if (i != fresh)
        kmem_cache_free(cpu, cpu->m->cache->inode_cachep, fresh);
    return i;
}

/* The last file is gone: true, and the inode is in no list, if it has no name. */
static bool inode_put_final(struct cpu *cpu, struct inode *inode) NO_LOCK_ANALYSIS
{
    struct cache *c = cpu->m->cache;
    bool last;

    spin_lock(cpu, &c->lock);
    last = atomic_fetch_sub(&inode->i_count, 1) == 1 && (READ_ONCE(inode->i_flags) & INODE_UNLINKED);
    if (last) {
        if (inode->i_flags & INODE_HASHED)
            rb_erase(&inode->node, &c->files);
        list_del(&inode->inodes);
        c->nr_inodes--;
    }
    spin_unlock(cpu, &c->lock);
    return last;
}

static void iput(struct cpu *cpu, struct inode *inode)
{
    s32 n = atomic_load(&inode->i_count);

    while (n > 1)
        if (atomic_compare_exchange_weak(&inode->i_count, &n, n - 1))
            return;
    if (!inode_put_final(cpu, inode))
        return;
    if (inode->i_data.flags & AS_SHMEM_ACCOUNT)
        shmem_uncommit(cpu, shmem_accounted_pages(inode));
    truncate_inode_pages(cpu, &inode->i_data, 0);
    if (inode->i_flags & INODE_DEVICE)
        device_release(cpu, inode);
    disk_discard(cpu, inode, 0, ~(u64)0);
    ASSERT(inode->i_data.nrpages == 0 && interval_tree_empty(&inode->i_data.i_mmap));
    kmem_cache_free(cpu, cpu->m->cache->inode_cachep, inode);
}

void inode_set_linked(struct cpu *cpu, struct inode *inode, enum inode_link link) NO_LOCK_ANALYSIS
{
    struct cache *c = cpu->m->cache;

    spin_lock(cpu, &c->lock);
    WRITE_ONCE(inode->i_flags,
               link == INODE_HAS_NAME ? inode->i_flags & ~INODE_UNLINKED : inode->i_flags | INODE_UNLINKED);
    spin_unlock(cpu, &c->lock);
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static void file_init(struct cpu *cpu, struct file *file, struct inode *inode, u32 f_mode)
{
    static const u32 vm_ops[NR_A_OPS] = {[A_OPS_DISK] = VM_OPS_FILE, [A_OPS_SHMEM] = VM_OPS_SHMEM};

    *file = (struct file){.f_inode = inode,
                          .f_mapping = &inode->i_data,
                          .f_mode = f_mode,
                          .vm_ops = inode->i_flags & INODE_HUGETLB ? VM_OPS_HUGETLB : vm_ops[inode->i_data.a_ops]};
    atomic_init(&file->f_count, 1);
    atomic_fetch_add_explicit(&cpu->m->cache->nr_files, 1, memory_order_relaxed);
}

static struct file *file_open_like(struct cpu *cpu, u64 dev, u64 ino, u32 f_mode, const struct inode *model)
{
    struct file *file = kmem_cache_alloc(cpu, cpu->m->cache->filp_cachep, GFP_KERNEL);
    struct inode *inode;

    if (!file)
        return ERR_PTR(-ENOMEM);
    inode = inode_open(cpu, dev, ino, model);
    if (!inode) {
        kmem_cache_free(cpu, cpu->m->cache->filp_cachep, file);
        return ERR_PTR(-ENOMEM);
    }
    file_init(cpu, file, inode, f_mode);
    return file;
}

static void set_name(struct inode *inode, const char *name)
{
    for (u32 i = 0; name && name[i] && i < sizeof(inode->name) - 1; i++)
        inode->name[i] = name[i];
}

struct file *file_open(struct cpu *cpu, u64 dev, u64 ino, u64 size, u32 f_mode, const char *name)
{
    struct inode model = {.i_size = size, .i_data.a_ops = A_OPS_DISK};

    set_name(&model, name);
    return file_open_like(cpu, dev, ino, f_mode, &model);
}

struct file *tmpfs_open(struct cpu *cpu, u64 dev, u64 ino, u64 size, u32 f_mode, const char *name)
{
    struct inode model = {.i_size = size, .i_data.a_ops = A_OPS_SHMEM, .i_flags = INODE_SEALS, .seals = F_SEAL_SEAL_};

    set_name(&model, name);
    return file_open_like(cpu, dev, ino, f_mode, &model);
}

struct file *file_reopen(struct cpu *cpu, const struct file *file, u32 f_mode)
{
    struct file *again = kmem_cache_alloc(cpu, cpu->m->cache->filp_cachep, GFP_KERNEL);

    if (!again)
        return ERR_PTR(-ENOMEM);
    file_init(cpu, again, file->f_inode, f_mode);
    atomic_fetch_add(&file->f_inode->i_count, 1);
    return again;
}

static struct inode *shmem_new_inode(struct cpu *cpu, const char *name, u64 size, u64 vm_flags) NO_LOCK_ANALYSIS
{
    struct cache *c = cpu->m->cache;
    struct inode *inode = kmem_cache_alloc(cpu, c->inode_cachep, GFP_KERNEL);
    bool account = size && !(vm_flags & VM_NORESERVE);

    if (!inode)
        return NULL;
    if (account && shmem_commit(cpu, DIV_ROUND_UP(size, PAGE_SIZE))) {
        kmem_cache_free(cpu, c->inode_cachep, inode);
        return NULL;
    }
    inode_init(cpu->m, inode, A_OPS_SHMEM, name);
    inode->dev = SHMEM_DEV;
    inode->i_size = size;
    inode->i_flags = INODE_UNLINKED;
    inode->i_data.flags = account ? AS_SHMEM_ACCOUNT : 0;
    atomic_store(&inode->i_count, 1);
    spin_lock(cpu, &c->lock);
    inode->ino = c->next_shmem_ino++;
    list_add_tail(&inode->inodes, &c->inodes);
    c->nr_inodes++;
    spin_unlock(cpu, &c->lock);
    return inode;
}

struct file *shmem_file_setup(struct cpu *cpu, const char *name, u64 size, u64 vm_flags)
{
    struct cache *c = cpu->m->cache;
    struct file *file = kmem_cache_alloc(cpu, c->filp_cachep, GFP_KERNEL);
    struct inode *inode;

    if (!file)
        return ERR_PTR(-ENOMEM);
    if (size > (u64)INT64_MAX) {
        kmem_cache_free(cpu, c->filp_cachep, file);
        return ERR_PTR(-EINVAL);
    }
    inode = shmem_new_inode(cpu, name, size, vm_flags);
    if (!inode) {
        kmem_cache_free(cpu, c->filp_cachep, file);
        return ERR_PTR(-ENOMEM);
    }
    file_init(cpu, file, inode, FMODE_READ | FMODE_WRITE);
    return file;
}

struct file *device_file(struct cpu *cpu, const char *name, u32 f_mode)
{
    struct file *file = shmem_file_setup(cpu, name, 0, VM_NORESERVE);

    if (IS_ERR(file))
        return file;
    file->f_inode->i_data.a_ops = A_OPS_NONE;
    file->f_inode->i_flags |= INODE_DEVICE;
    file->f_mode = f_mode;
    return file;
}

void fput(struct cpu *cpu, struct file *file)
{
    struct inode *inode = file->f_inode;

    if (atomic_fetch_sub(&file->f_count, 1) != 1)
        return;
    kmem_cache_free(cpu, cpu->m->cache->filp_cachep, file);
    atomic_fetch_sub_explicit(&cpu->m->cache->nr_files, 1, memory_order_relaxed);
    iput(cpu, inode);
}
