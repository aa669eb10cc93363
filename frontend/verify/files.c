/* SPDX-License-Identifier: MIT */
/*
 * Recorded files, objects and segments, and what stands for them on the machine. Disk files are the machine's own by
 * (dev, ino), with the size that they had at the call; what the program made itself (memfd) is kept here.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cache/device.h"
#include "priv.h"

#define MEM_MAJOR 1 /* devices.txt */
#define NULL_MINOR 3
#define ZERO_MINOR 5
#define RING_PAGES (1ull << 24) /* io_uring's offsets are below 2^32 */

static struct list_head *object_bucket(struct verify *v, u64 dev, u64 ino)
{
    return &v->objects[(dev * 31 + ino) % HASH];
}

static struct vobject *object_find(struct verify *v, u64 dev, u64 ino)
{
    struct vobject *o;

    list_for_each_entry (o, object_bucket(v, dev, ino), hash)
        if (o->dev == dev && o->ino == ino)
            return o;
    return NULL;
}

void object_add(struct verify *v, const struct native_file *f, struct file *file)
{
    struct vobject *o = object_find(v, f->dev, f->ino);

    if (o) {
        fput(v->cpu, o->file); /* the number was used before, by an object that is gone */
        o->file = file;
        return;
    }
    o = calloc(1, sizeof(*o));
    if (!o)
        abort();
    *o = (struct vobject){.dev = f->dev, .ino = f->ino, .file = file};
    list_add(&o->hash, object_bucket(v, f->dev, f->ino));
}

void objects_end(struct verify *v)
{
    for (u32 i = 0; i < HASH; i++) {
        while (!list_empty(&v->objects[i])) {
            struct vobject *o = list_first_entry(&v->objects[i], struct vobject, hash);

            list_del(&o->hash);
            fput(v->cpu, o->file);
            free(o);
        }
        while (!list_empty(&v->segments[i])) {
            struct vsegment *s = list_first_entry(&v->segments[i], struct vsegment, hash);

            list_del(&s->hash);
            free(s);
        }
    }
}

static u32 mode_of(u32 open_flags)
{
    static const u32 of[4] = {[O_RDONLY] = FMODE_READ, [O_WRONLY] = FMODE_WRITE, [O_RDWR] = FMODE_READ | FMODE_WRITE};

    return of[open_flags & O_ACCMODE] | FMODE_EXEC;
}

#define FMODE_RW (FMODE_READ | FMODE_WRITE)

static struct file *object_open(struct verify *v, const struct vobject *o, u32 mode)
{
    if ((o->file->f_mode & FMODE_RW) != (mode & FMODE_RW))
        return file_reopen(v->cpu, o->file, mode);
    get_file(o->file);
    return o->file;
}

/* Of file systems that show the kernel's state: their files have no pages; a few can be mapped as devices are. */
static bool is_pseudo(const struct native_file *f)
{
    static const u32 magic[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC,        NSFS_MAGIC,          DEBUGFS_MAGIC,
                                TRACEFS_MAGIC,    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SECURITYFS_MAGIC};

    for (size_t i = 0; i < ARRAY_SIZE(magic); i++)
        if (f->fs_magic == magic[i])
            return true;
    return false;
}

static bool has_size(const struct native_file *f)
{
    return S_ISREG(f->mode) && !is_pseudo(f);
}

/* What cannot be mapped is all alike; of devices /dev/zero, sockets' and io_uring's rings are known. */
static struct file *open_special(struct verify *v, const struct native_file *f, u32 mode, const char *name)
{
    bool zero = S_ISCHR(f->mode) && f->rdev == makedev(MEM_MAJOR, ZERO_MINOR);

    if (S_ISSOCK(f->mode))
        return device_open(v->cpu, DEVICE_BUFFER, mode, PFN(0), RING_PAGES);
    if (!strcmp(name, IO_URING_NAME))
        return device_open(v->cpu, DEVICE_RING, mode, PFN(0), RING_PAGES);
    return device_open(v->cpu, zero ? DEVICE_ZERO : DEVICE_NULL, mode, PFN(0), 0);
}

bool file_is_modelled(const struct native_file *f)
{
    if (S_ISREG(f->mode) && is_pseudo(f))
        return false;
    if (S_ISCHR(f->mode))
        return f->rdev == makedev(MEM_MAJOR, ZERO_MINOR) || f->rdev == makedev(MEM_MAJOR, NULL_MINOR);
    return S_ISREG(f->mode) || S_ISDIR(f->mode) || S_ISFIFO(f->mode);
}

/* Files on tmpfs go with their last mapping: that they were closed or unlinked is not recorded. */
static struct file *open_by_identity(struct verify *v, const struct native_file *f, u32 mode, const char *name)
{
    struct file *file;

    if (f->mode && !has_size(f))
        return open_special(v, f, mode, name);
    if (f->fs_magic != TMPFS_MAGIC)
        return file_open(v->cpu, f->dev, f->ino, f->size, mode, name);
    file = tmpfs_open(v->cpu, f->dev, f->ino, f->size, mode, name);
    if (!IS_ERR(file))
        inode_set_linked(v->cpu, file->f_inode, INODE_HAS_NO_NAME);
    return file;
}

struct file *file_of(struct verify *v, const struct native_file *f, const char *name)
{
    struct vobject *o = object_find(v, f->dev, f->ino);
    u32 mode = mode_of(f->open_flags);
    struct file *file = o ? object_open(v, o, mode) : open_by_identity(v, f, mode, name);

    if (!IS_ERR(file) && has_size(f) && READ_ONCE(file->f_inode->i_size) != f->size)
        inode_set_size(v->cpu, file->f_inode, f->size);
    return file;
}

void space_forget_file(struct verify *v, struct vspace *s)
{
    if (s->last.file)
        fput(v->cpu, s->last.file);
    s->last.file = NULL;
}

/* As file_of(); the same open file as last time where the descriptor and what it stands for are the same. */
struct file *space_file(struct verify *v, struct vspace *s, s32 fd, const struct native_file *f, const char *name)
{
    struct vopen *l = &s->last;
    struct file *file;

    if (l->file && l->fd == fd && l->dev == f->dev && l->ino == f->ino && l->open_flags == f->open_flags) {
        get_file(l->file);
        if (has_size(f) && READ_ONCE(l->file->f_inode->i_size) != f->size)
            inode_set_size(v->cpu, l->file->f_inode, f->size);
        return l->file;
    }
    file = file_of(v, f, name);
    if (IS_ERR(file))
        return file;
    space_forget_file(v, s);
    *l = (struct vopen){fd, f->open_flags, f->dev, f->ino, file};
    get_file(file);
    return file;
}

/* -- segments ------------------------------------------------------------------------------------------------------ */

s32 segment_own(struct verify *v, s32 recorded)
{
    struct vsegment *s;

    list_for_each_entry (s, &v->segments[(u32)recorded % HASH], hash)
        if (s->recorded == recorded)
            return s->own;
    return -1;
}

void segment_add(struct verify *v, s32 recorded, s32 own)
{
    struct vsegment *s = calloc(1, sizeof(*s));

    if (!s)
        abort();
    *s = (struct vsegment){.recorded = recorded, .own = own};
    list_add(&s->hash, &v->segments[(u32)recorded % HASH]);
}
