/* SPDX-License-Identifier: MIT */
/*
 * What lies on the disk, with content=full: the bytes of files that the page cache has not read, or has dropped.
 *
 *   inode ── i_disk: xarray   page offset ─▶ block of PAGE_SIZE bytes        no block: zeroes
 *
 * The disk is a RAM disk: its blocks are memory of the machine and are counted as Slab, so machines with other contents
 * have none. A block is written by writeback, or by who says what a file holds (disk_file_fill()); it goes with the part
 * of the file that it holds.
 *
 * Locks: who reads or writes a block holds the folio lock of its page, or i_rwsem.
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "kmem/slab.h"
#include "phys/gfp.h"

static bool has_disk(const struct cpu *cpu, const struct inode *inode)
{
    return cpu->m->config.content == CONTENT_FULL && inode->i_data.a_ops == A_OPS_DISK;
}

void disk_load(struct cpu *cpu, struct inode *inode, u64 index, void *page)
{
    const void *block = has_disk(cpu, inode) ? xa_load(&inode->i_disk, index) : NULL;

    if (cpu->m->config.content != CONTENT_FULL)
        return;
    if (block)
        memcpy(page, block, PAGE_SIZE);
    else
        memset(page, 0, PAGE_SIZE);
}

/* The block at index, made of zeroes if there is none; NULL: no memory. */
static char *disk_block(struct cpu *cpu, struct inode *inode, u64 index)
{
    char *block = xa_load(&inode->i_disk, index);

    if (block)
        return block;
    block = kmem_cache_alloc(cpu, cpu->m->cache->block_cachep, GFP_KERNEL);
    if (!block)
        return NULL;
    memset(block, 0, PAGE_SIZE);
    if (!IS_ERR(xa_store(cpu, &inode->i_disk, index, block, GFP_KERNEL)))
        return block;
    kmem_cache_free(cpu, cpu->m->cache->block_cachep, block);
    return NULL;
}

int disk_store(struct cpu *cpu, struct inode *inode, u64 index, const void *page)
{
    char *block;

    if (!has_disk(cpu, inode))
        return 0;
    block = disk_block(cpu, inode, index);
    if (!block)
        return -ENOMEM;
    memcpy(block, page, PAGE_SIZE);
    return 0;
}

void disk_discard(struct cpu *cpu, struct inode *inode, u64 start, u64 end)
{
    u64 index;
    void *block;

    if (!has_disk(cpu, inode) || start >= end)
        return;
    xa_for_each_range (&inode->i_disk, index, block, start >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT) {
        u64 from = MAX(start, index << PAGE_SHIFT), to = MIN(end - 1, (index << PAGE_SHIFT) + PAGE_SIZE - 1);

        if (to - from == PAGE_SIZE - 1) {
            xa_erase(cpu, &inode->i_disk, index);
            kmem_cache_free(cpu, cpu->m->cache->block_cachep, block);
        } else {
            memset((char *)block + (from & ~PAGE_MASK), 0, to - from + 1);
        }
    }
}

int disk_move(struct cpu *cpu, struct inode *inode, u64 from, u64 to)
{
    struct xarray moved;
    void *block, *old;
    u64 index;

    if (!has_disk(cpu, inode))
        return 0;
    xa_init(&moved, RANK_I_PAGES);
    xa_for_each (&inode->i_disk, index, block) {
        if (index >= to && index < from)
            continue;
        old = xa_store(cpu, &moved, index < from ? index : index - from + to, block, GFP_KERNEL);
        if (IS_ERR(old)) {
            xa_destroy(cpu, &moved);
            return -ENOMEM;
        }
    }
    disk_discard(cpu, inode, to << PAGE_SHIFT, from << PAGE_SHIFT);
    xa_exchange(cpu, &inode->i_disk, &moved);
    xa_destroy(cpu, &moved);
    return 0;
}

int disk_file_fill(struct cpu *cpu, struct file *file, const void *buf, u64 len, u64 pos) NO_LOCK_ANALYSIS
{
    struct inode *inode = file->f_inode;
    const char *from = buf;
    int err = 0;

    down_write(cpu, &inode->i_rwsem);
    while (len && !err) {
        u64 part = MIN(len, PAGE_SIZE - (pos & ~PAGE_MASK));
        char *block = has_disk(cpu, inode) ? disk_block(cpu, inode, pos >> PAGE_SHIFT) : NULL;

        if (block)
            memcpy(block + (pos & ~PAGE_MASK), from, part);
        else if (has_disk(cpu, inode))
            err = -ENOMEM;
        pos += part;
        from += part;
        len -= part;
        if (!err && pos > inode_size(inode))
            WRITE_ONCE(inode->i_size, pos);
    }
    up_write(cpu, &inode->i_rwsem);
    return err;
}
