/* SPDX-License-Identifier: MIT */
/* SysV segments: sysv_shm.c. The calls that use them are in src/abi/shm.c. */
#ifndef QUIRE_CACHE_SYSV_SHM_H
#define QUIRE_CACHE_SYSV_SHM_H

#include "base/check.h"
#include "cache/ucounts.h"
#include "vm/vm.h"

#define IPC_PRIVATE_ 0
/* Bits of shm_segment.mode beside the permissions. */
#define SHM_DEST_ 01000u   /* removed: destroyed on the last detach */
#define SHM_LOCKED_ 02000u /* SHM_LOCK */

/* Field keys: c constant after creation · l ids->rwsem for writing. */
struct shm_segment {
    s32 id;                        /* c: seq << 15 | index */
    s32 key;                       /* l: IPC_PRIVATE once removed */
    u32 mode;                      /* l: permissions, SHM_DEST, SHM_LOCKED */
    u32 uid, gid;                  /* l */
    u32 cuid, cgid;                /* c */
    u64 bytes;                     /* c */
    s64 atime, dtime, ctime;       /* l: seconds of the machine's clock */
    s32 cpid, lpid;                /* c, l */
    u64 nattch;                    /* l */
    u32 found;                     /* scratch of shm_check() */
    struct ucounts *mlock_ucounts; /* l: who is charged for it while SHM_LOCKED; else NULL */
    struct file *file;             /* c: the object */
};

struct shm_ids {
    struct rw_semaphore rwsem; /* RANK_IPC */
    struct xarray segments;    /* l: by index */
    struct xarray ucounts;     /* l: by user: ucounts.c */
    u32 in_use;                /* l */
    u32 seq;                   /* l */
    s32 last_index;            /* l: -1: none yet */
    u64 pages;                 /* l: of all segments */
    struct kmem_cache *cachep; /* c */
};

int shm_init(struct cpu *cpu);

/* All with ids->rwsem held for writing. */
struct shm_segment *shm_find_key(struct machine *m, s32 key);
struct shm_segment *shm_find_id(struct machine *m, s32 id);
struct shm_segment *shm_find_index(struct machine *m, u32 index);
/* vm_flags: VM_NORESERVE or 0. Ids, owner and permissions are set. ERR_PTR(-ENOMEM / -ENOSPC). */
struct shm_segment *shm_create(struct cpu *cpu, s32 key, u64 bytes, u32 mode, vm_flags_t vm_flags, u32 huge_shift);
/* A segment that another system has under this id, for a machine that follows it. ERR_PTR(-EEXIST: its index is taken). */
struct shm_segment *shm_adopt(struct cpu *cpu, s32 id, s32 key, u64 bytes, u32 mode);
/* IPC_RMID: destroyed now, or on the last detach. */
void shm_remove(struct cpu *cpu, struct shm_segment *s);
/* One attach fewer (a call's own, too): the segment may be gone afterwards. */
void shm_detach(struct cpu *cpu, struct shm_segment *s);
/* SHM_LOCK, SHM_UNLOCK; nothing to do for huge pages. 0 or -ENOMEM: the user's limit. */
int shm_lock(struct cpu *cpu, struct shm_segment *s);
void shm_unlock(struct cpu *cpu, struct shm_segment *s);
s64 shm_now(const struct cpu *cpu);

/* No lock: the file for one shmat(2); mappings of it count as attached. ERR_PTR(-ENOMEM). */
struct file *shm_attach_file(struct cpu *cpu, const struct shm_segment *s, u32 f_mode);

extern const struct vm_operations_struct sysv_shm_vm_ops;

/* SH1..SH5. CPUs quiet. */
void shm_check(struct machine *m, struct check_report *r);

#endif
