/* SPDX-License-Identifier: MIT */
/*
 * What a call's arguments stand for: the bytes that the kernel reads (at entry) and writes (at exit), open files,
 * processes, segments. A pointer that cannot be read gives no part: the call fails with EFAULT, or does not look.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <unistd.h>

#include "priv.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#define NAME_ROOM 512
#define MAX_IOVS 1024
#define MAX_VEC_PAGES (1u << 20) /* 4 GiB: what mincore asks beyond is not looked at */
#define ANON_NAME_ROOM 81

static void part_bytes(struct thread *t, struct buffer *b, enum native_part_kind kind, u32 arg, u64 len)
{
    u64 addr = t->arg[arg];
    void *p;
    s64 n;

    if (!addr || !len)
        return;
    p = buffer_part(b, kind, arg, len);
    n = tracee_read(t, addr, p, len);
    buffer_part_trim(b, p, n > 0 ? (size_t)n : 0);
}

static void part_string(struct thread *t, struct buffer *b, u32 arg, size_t room)
{
    char *p;
    s64 n;

    if (!t->arg[arg])
        return;
    p = buffer_part(b, NATIVE_IN, arg, room);
    n = tracee_string(t, t->arg[arg], p, room);
    buffer_part_trim(b, p, n < 0 ? 0 : (size_t)n + ((size_t)n < room)); /* with its end, where it has one */
}

static void part_file(struct thread *t, struct buffer *b, u32 arg, int fd)
{
    struct native_file f;
    char name[NAME_ROOM];
    char *p;

    if (!tracee_fd(t, fd, &f, name, sizeof(name)))
        return;
    p = buffer_part(b, NATIVE_FILE, arg, sizeof(f) + strlen(name) + 1);
    memcpy(p, &f, sizeof(f));
    strcpy(p + sizeof(f), name);
}

static void part_target(struct buffer *b, u32 arg, s32 pid)
{
    memcpy(buffer_part(b, NATIVE_TARGET, arg, sizeof(pid)), &pid, sizeof(pid));
}

static void part_segment(struct buffer *b, s32 id)
{
    struct native_segment s = {.id = id};
    struct shmid_ds ds;

    if (shmctl(s.id, IPC_STAT, &ds)) {
        s.id = -1;
    } else {
        s.key = ds.shm_perm.__key;
        s.size = ds.shm_segsz;
        s.mode = ds.shm_perm.mode;
        s.uid = ds.shm_perm.uid;
        s.gid = ds.shm_perm.gid;
        s.cuid = ds.shm_perm.cuid;
        s.nattch = ds.shm_nattch;
    }
    memcpy(buffer_part(b, NATIVE_SEGMENT, 0, sizeof(s)), &s, sizeof(s));
}

static void part_iovs(struct thread *t, struct buffer *b, u32 arg, u64 nr)
{
    part_bytes(t, b, NATIVE_IN, arg, (nr < MAX_IOVS ? nr : MAX_IOVS) * sizeof(struct iovec));
}

static void enter_mincore(struct thread *t, struct buffer *b)
{
    u64 pages = (t->arg[1] + 4095) / 4096;

    if (pages && pages <= MAX_VEC_PAGES && !(t->arg[0] & 4095))
        tracee_present(t, t->arg[0], pages, buffer_part(b, NATIVE_PRESENT, 0, pages));
}

static void enter_prctl(struct thread *t, struct buffer *b)
{
    u32 option = (u32)t->arg[0];

    if (option == PR_SET_VMA)
        part_string(t, b, 4, ANON_NAME_ROOM);
    else if (option == PR_SET_MM && (u32)t->arg[1] == PR_SET_MM_MAP)
        part_bytes(t, b, NATIVE_IN, 2, t->arg[3] < 4096 ? t->arg[3] : 4096);
    else if (option == PR_SET_MM && (u32)t->arg[1] == PR_SET_MM_AUXV)
        part_bytes(t, b, NATIVE_IN, 2, t->arg[3] < 4096 ? t->arg[3] : 4096);
    else if (option == PR_SET_MM && (u32)t->arg[1] == PR_SET_MM_EXE_FILE)
        part_file(t, b, 2, (int)t->arg[2]);
}

void collect_enter(struct tracer *tr, struct thread *t, struct buffer *b)
{
    switch (t->nr) {
    case ABI_mmap:
        if (!(t->arg[3] & MAP_ANONYMOUS) || t->arg[3] & MAP_HUGETLB)
            part_file(t, b, 4, (int)t->arg[4]);
        break;
    case ABI_ftruncate:
    case ABI_fallocate:
    case ABI_fcntl:
        part_file(t, b, 0, (int)t->arg[0]);
        break;
    case ABI_mincore:
        enter_mincore(t, b);
        break;
    case ABI_process_madvise:
        part_target(b, 0, tracee_pidfd_target(t->tid, (int)t->arg[0]));
        part_iovs(t, b, 1, t->arg[2]);
        break;
    case ABI_process_vm_readv:
    case ABI_process_vm_writev:
        part_target(b, 0, (s32)t->arg[0]);
        part_iovs(t, b, 1, t->arg[2]);
        part_iovs(t, b, 3, t->arg[4]);
        break;
    case ABI_shmat:
        part_segment(b, (s32)t->arg[0]);
        break;
    case ABI_shmctl:
        part_segment(b, (s32)t->arg[0]);
        if ((u32)t->arg[1] == IPC_SET)
            part_bytes(t, b, NATIVE_IN, 2, sizeof(struct shmid_ds));
        break;
    case ABI_memfd_create:
        part_string(t, b, 0, 256);
        break;
    case ABI_prctl:
        enter_prctl(t, b);
        break;
    case ABI_setrlimit:
        part_bytes(t, b, NATIVE_IN, 1, sizeof(struct rlimit));
        break;
    case ABI_prlimit64:
        part_bytes(t, b, NATIVE_IN, 2, sizeof(struct rlimit));
        part_target(b, 0, (s32)t->arg[0]);
        break;
    case NATIVE_mbind:
    case NATIVE_set_mempolicy:
        part_bytes(t, b, NATIVE_IN, t->nr == NATIVE_mbind ? 3 : 1, 128);
        break;
    default:
        break;
    }
}

void collect_leave(struct tracer *tr, struct thread *t, s64 ret, struct buffer *b)
{
    if (ret < 0 && ret >= -4095)
        return;
    switch (t->nr) {
    case ABI_mincore:
        if (t->arg[1] && t->arg[1] <= (u64)MAX_VEC_PAGES * 4096)
            part_bytes(t, b, NATIVE_OUT, 2, (t->arg[1] + 4095) / 4096);
        break;
    case ABI_getrlimit:
        part_bytes(t, b, NATIVE_OUT, 1, sizeof(struct rlimit));
        break;
    case ABI_prlimit64:
        part_bytes(t, b, NATIVE_OUT, 3, sizeof(struct rlimit));
        break;
    case ABI_shmctl:
        if ((u32)t->arg[1] != IPC_SET && (u32)t->arg[1] != IPC_RMID)
            part_bytes(t, b, NATIVE_OUT, 2, sizeof(struct shmid_ds));
        break;
    case ABI_shmget:
        part_segment(b, (s32)ret);
        break;
    case ABI_memfd_create:
        part_file(t, b, 6, (int)ret);
        break;
    default:
        break;
    }
}
