/* SPDX-License-Identifier: MIT */
/*
 * System calls of the guest: what the host answered is what happened, and each machine follows.
 *
 *   before  counts published · CPUs given back, if the call may block · order mutex, if it changes the address space
 *   after   CPUs taken again · address space followed at the host's addresses · buffers touched · file
 *           I/O through the page cache
 *
 * Here is what the host knows; how machines follow is in follow_call.c.
 */
#define _GNU_SOURCE
#include "follow.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cache/filemap.h"
#include "calls.h"
#include "record.h"
#include "signals.h"

/* -- buffers ------------------------------------------------------------------------------------------------------- */

static void touch(struct vcpu *v, va_t va, u64 len, enum mmu_access_kind kind)
{
    record_touch(v, va, len, kind);
    vcpu_touch(v, va, len, kind);
}

/* The first `total` bytes of a vector. */
static void touch_iov(struct vcpu *v, u64 addr, u64 n, u64 total, enum mmu_access_kind kind)
{
    struct iovec iov[64];

    touch(v, addr, n * sizeof(iov[0]), MMU_READ);
    for (u64 done = 0; done < n && total; done += ARRAY_SIZE(iov)) {
        u64 part = MIN(n - done, ARRAY_SIZE(iov));

        if (guest_read(iov, addr + done * sizeof(iov[0]), part * sizeof(iov[0])) < 0)
            return;
        for (u64 i = 0; i < part && total; i++) {
            u64 len = MIN(iov[i].iov_len, total);

            touch(v, (u64)(uintptr_t)iov[i].iov_base, len, kind);
            total -= len;
        }
    }
}

static void touch_msg(struct vcpu *v, u64 addr, u64 total, enum mmu_access_kind kind)
{
    struct msghdr msg; /* the same layout on all our guests */

    if (guest_read(&msg, addr, sizeof(msg)) < 0)
        return;
    touch(v, addr, sizeof(msg), MMU_READ);
    touch(v, (u64)(uintptr_t)msg.msg_name, msg.msg_name ? msg.msg_namelen : 0, kind);
    touch(v, (u64)(uintptr_t)msg.msg_control, msg.msg_control ? msg.msg_controllen : 0, kind);
    touch_iov(v, (u64)(uintptr_t)msg.msg_iov, msg.msg_iovlen, total, kind);
}

static u64 string_length(u64 addr)
{
    char part[256];
    u64 len = 0;

    while (len < PATH_MAX) {
        u64 n = MIN(sizeof(part), PAGE_SIZE - ((addr + len) & ~PAGE_MASK));
        const char *end;

        if (guest_read(part, addr + len, n) < 0)
            return 0;
        end = memchr(part, 0, n);
        if (end)
            return len + (u64)(end - part) + 1;
        len += n;
    }
    return 0;
}

static void touch_buf(struct vcpu *v, const struct sys_buf *b, s64 ret)
{
    enum mmu_access_kind kind = b->write ? MMU_WRITE : MMU_READ;
    u64 addr = v->arg[b->arg], n;

    if (!addr)
        return;
    switch ((enum buf_len)b->len) {
    case LEN_FIX:
        n = b->size;
        break;
    case LEN_ARG:
    case LEN_ARGN:
        n = v->arg[b->count] * b->size;
        break;
    case LEN_RET:
    case LEN_RETN:
        n = (u64)ret * b->size;
        break;
    case LEN_STR:
        n = string_length(addr);
        break;
    case LEN_IOV:
        touch_iov(v, addr, v->arg[b->arg + 1], (u64)ret, kind);
        return;
    case LEN_MSG:
        touch_msg(v, addr, (u64)ret, kind);
        return;
    default:
        return;
    }
    touch(v, addr, n, kind);
}

/* -- files --------------------------------------------------------------------------------------------------------- */

/* Where a read or write of a regular file starts. */
static u64 file_position(enum sys_id id, const u64 arg[6])
{
    off_t pos;

    switch (id) {
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_preadv:
    case SYS_pwritev:
        return arg[3];
    case SYS_preadv2:
    case SYS_pwritev2:
        if ((s64)arg[3] != -1)
            return arg[3];
        break;
    default:
        break;
    }
    pos = lseek((int)arg[0], 0, SEEK_CUR);
    return pos < 0 ? NO_POS : (u64)pos;
}

static void tell_file_io(struct vcpu *v, enum sys_class class, s64 ret)
{
    u64 pos = v->file_pos;

    if (pos == NO_POS || ret <= 0 || !host_file(&v->file, (int)v->arg[0]))
        return;
    if (class == FWRITE && fcntl((int)v->arg[0], F_GETFL) & O_APPEND)
        pos = v->file.size >= (u64)ret ? v->file.size - (u64)ret : 0;
    record_file_io(v, &v->file, pos, (u64)ret, class == FREAD ? MMU_WRITE : MMU_READ);
    follow_file_io(v, &v->file, pos, (u64)ret, class == FREAD ? MMU_WRITE : MMU_READ);
}

static void tell_file_size(struct vcpu *v, int fd)
{
    if (!host_file(&v->file, fd))
        return;
    record_file_size(v, &v->file);
    follow_file_size(v, &v->file);
}

static void tell_path_size(struct vcpu *v, u64 addr)
{
    char path[PATH_MAX];
    u64 len = string_length(addr);
    int fd = -1;

    if (len && len <= sizeof(path) && guest_read(path, addr, len) > 0)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    tell_file_size(v, fd);
    close(fd);
}

/* -- the address space --------------------------------------------------------------------------------------------- */

static void host_segment(struct host_file *f, int id)
{
    struct shmid_ds ds;

    if (shmctl(id, IPC_STAT, &ds))
        return;
    *f = (struct host_file){.there = true, .dev = DEV_SHMEM, .ino = (u64)id, .size = ds.shm_segsz};
    snprintf(f->name, sizeof(f->name), SEGMENT_NAME, (u32)ds.shm_perm.__key, ds.shm_perm.mode & 0777u);
}

/* What the call's descriptor or identifier stands for. */
static void find_object(struct vcpu *v, enum sys_id id, s64 ret)
{
    v->file.there = false;
    if (ret < 0 && ret > -4096)
        return;
    if (id == SYS_mmap && !((u32)v->arg[3] & MAP_ANONYMOUS_))
        host_file(&v->file, (int)v->arg[4]);
    else if (id == SYS_shmat)
        host_segment(&v->file, (int)v->arg[0]);
    else if (id == SYS_shmget)
        host_segment(&v->file, (int)ret);
}

/*
 * Before a call that takes a descriptor or a name away: is it the last of some shared memory? Whoever has it open still
 * is found by what he does with it.
 */
static void ask_gone(struct vcpu *v, enum sys_id id, const u64 arg[6])
{
    u64 len = id == SYS_close ? 0 : string_length(arg[id == SYS_unlinkat]);
    char path[PATH_MAX];
    int fd;

    v->file.there = false;
    if (id == SYS_close)
        host_file_vanishes(&v->file, (int)arg[0], 0);
    if (!len || len > sizeof(path) || guest_read(path, arg[id == SYS_unlinkat], len) < 0)
        return;
    fd = openat(id == SYS_unlinkat ? (int)arg[0] : AT_FDCWD, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    host_file_vanishes(&v->file, fd, 1);
    close(fd);
}

static bool takes_away(enum sys_id id)
{
    return id == SYS_close || id == SYS_unlink || id == SYS_unlinkat;
}

/* After it: a closed memfd, an unlinked file on tmpfs, a removed segment. */
static void tell_gone(struct vcpu *v, enum sys_id id)
{
    if (id == SYS_shmctl && (s32)v->arg[1] == IPC_RMID)
        v->file = (struct host_file){.there = true, .dev = DEV_SHMEM, .ino = (u64)(s32)v->arg[0], .size = SIZE_GONE};
    if (!v->file.there)
        return;
    record_file_size(v, &v->file);
    follow_file_size(v, &v->file);
}

/* -- before and after ---------------------------------------------------------------------------------------------- */

static s64 kill_target(enum sys_id id, const u64 arg[6])
{
    if (id == SYS_tkill) /* a thread of the caller, in all but curious programs */
        return getpid();
    return (s32)arg[0];
}

static int kill_signal(enum sys_id id, const u64 arg[6])
{
    return (int)arg[id == SYS_tgkill ? 2 : 1];
}

static void release(struct vcpu *v)
{
    record_enter(v, CPUS_RELEASED);
    vcpu_release(v);
}

void syscall_left(struct vcpu *v, s64 nr, const u64 arg[6])
{
    enum sys_id id = sys_id(process.arch, nr);

    if (sys_table[id].class == EXEC)
        id == SYS_execve ? exec_before(v, arg[0], arg[1], arg[2]) : execat_before(v, arg);
}

void syscall_before(struct vcpu *v, s64 nr, const u64 arg[6])
{
    enum sys_id id = sys_id(process.arch, nr);

    if (v->state == VCPU_RETURNING)
        thread_goes_on(v);
    if (v->state != VCPU_USER || !baton_settle(v))
        return;
    if (thread_leave(v)) {
        syscall_left(v, nr, arg);
        return;
    }
    v->state = VCPU_SYSCALL;
    v->nr = nr;
    memcpy(v->arg, arg, sizeof(v->arg));
    if (takes_away(id))
        ask_gone(v, id, arg);
    vcpu_publish(v);
    switch ((enum sys_class)sys_table[id].class) {
    case QUICK:
        break;
    case MEM:
        order_lock(v);
        break;
    case FORK:
        fork_before(v, sys_clone_flags(id, arg));
        if (v->child && atomic_load(&process.nr_threads) > 1) /* qemu stops the others: F2 */
            release(v);
        else
            record_enter(v, CPUS_KEPT);
        baton_drop(v);
        break;
    case EXEC:
        id == SYS_execve ? exec_before(v, arg[0], arg[1], arg[2]) : execat_before(v, arg);
        baton_drop(v);
        break;
    case EXIT:
        id == SYS_exit ? thread_exit(v) : process_exit(v);
        break;
    case KILL:
        release(v);
        kill_before(v, kill_target(id, arg), kill_signal(id, arg));
        break;
    case FREAD:
    case FWRITE:
        v->file_pos = file_position(id, arg);
        release(v);
        baton_drop(v);
        break;
    case WAIT:
        release(v);
        baton_drop(v);
        break;
    }
}

static void tell_result(struct vcpu *v, enum sys_id id, s64 ret)
{
    const struct sys_entry *e = &sys_table[id];

    if (e->class == MEM)
        find_object(v, id, ret);
    record_call(v, ret);
    if (e->class == MEM) {
        follow_address_space(v, ret);
        order_unlock(v);
    }
    if (ret < 0)
        return;
    for (u32 b = 0; b < ARRAY_SIZE(e->buf) && e->buf[b].len != LEN_NONE; b++)
        touch_buf(v, &e->buf[b], ret);
    if (e->class == FREAD || e->class == FWRITE)
        tell_file_io(v, (enum sys_class)e->class, ret);
    if (id == SYS_ftruncate || id == SYS_fallocate)
        tell_file_size(v, (int)v->arg[0]);
    if (takes_away(id) || id == SYS_shmctl)
        tell_gone(v, id);
    if (id == SYS_rt_sigaction && v->arg[1])
        signals_action(v->arg[0]);
    if (id == SYS_truncate)
        tell_path_size(v, v->arg[0]);
}

void syscall_after(struct vcpu *v, s64 nr, s64 ret)
{
    enum sys_id id = sys_id(process.arch, nr);
    bool first_thread = v->child_thread && !v->child && !atomic_load(&process.parallel) && ret > 0;

    if (v->state != VCPU_SYSCALL || thread_leave(v))
        return;
    v->state = VCPU_USER;
    if (sys_table[id].class != FORK || ret) { /* a child has no recorder yet */
        baton_take_back(v);
        record_ticket(v);
    }
    if (v->state != VCPU_USER)
        return; /* the process has ended */
    if (sys_table[id].class == FORK) {
        fork_after(v, ret); /* in the child this is a new process from here on */
        if (v->state != VCPU_USER)
            return;
    } else if (sys_table[id].class == KILL) {
        kill_after(v, kill_target(id, v->arg), kill_signal(id, v->arg), ret);
    }
    follow_return(v, ret);
    tell_result(v, id, ret);
    follow_done(v);
    if (thread_leave(v) || !first_thread)
        return;
    atomic_store(&process.parallel, true);
    thread_returns(v);
}
