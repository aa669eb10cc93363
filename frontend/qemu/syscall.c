/* SPDX-License-Identifier: MIT */
/*
 * System calls of the guest: what the host answered is what happened, and each machine follows.
 *
 *   before  counts published · CPUs given back, if the call may block · order mutex, if it changes the address space
 *   after   CPUs taken again · address space followed at the host's addresses · buffers touched · file
 *           I/O through the page cache
 *
 * A machine that cannot follow (its -ENOMEM where the host had memory) is out of memory: it is marked dead,
 * with the call as the reason.
 */
#define _GNU_SOURCE
#include "follow.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cache/filemap.h"
#include "syscall_table.h"

enum sys_id {
    SYS_unknown,
#define S(name, x86, generic, class, ...) SYS_##name,
    SYSCALLS(S)
#undef S
        NR_SYS
};

enum sys_class { WAIT, QUICK, MEM, FORK, EXEC, EXIT, KILL, FREAD, FWRITE };

enum buf_len { LEN_NONE, LEN_FIX, LEN_ARG, LEN_RET, LEN_RETN, LEN_ARGN, LEN_STR, LEN_IOV, LEN_MSG };

struct sys_buf {
    u8 len;   /* enum buf_len */
    u8 arg;   /* which argument is the address */
    u8 write; /* the kernel writes it */
    u8 count; /* argument with the number */
    u16 size; /* bytes, or of one element */
};

#define R_FIX(n, b)                                                                                                    \
    {                                                                                                                  \
        LEN_FIX, n, 0, 0, b                                                                                            \
    }
#define W_FIX(n, b)                                                                                                    \
    {                                                                                                                  \
        LEN_FIX, n, 1, 0, b                                                                                            \
    }
#define R_ARG(n, k)                                                                                                    \
    {                                                                                                                  \
        LEN_ARG, n, 0, k, 1                                                                                            \
    }
#define R_RET(n)                                                                                                       \
    {                                                                                                                  \
        LEN_RET, n, 0, 0, 1                                                                                            \
    }
#define W_RET(n)                                                                                                       \
    {                                                                                                                  \
        LEN_RET, n, 1, 0, 1                                                                                            \
    }
#define W_RETN(n, b)                                                                                                   \
    {                                                                                                                  \
        LEN_RETN, n, 1, 0, b                                                                                           \
    }
#define W_NEW(n, k, b)                                                                                                 \
    {                                                                                                                  \
        LEN_ARGN, n, 1, k, b                                                                                           \
    }
#define R_STR(n)                                                                                                       \
    {                                                                                                                  \
        LEN_STR, n, 0, 0, 1                                                                                            \
    }
#define R_IOV(n)                                                                                                       \
    {                                                                                                                  \
        LEN_IOV, n, 0, 0, 1                                                                                            \
    }
#define W_IOV(n)                                                                                                       \
    {                                                                                                                  \
        LEN_IOV, n, 1, 0, 1                                                                                            \
    }
#define R_MSG(n)                                                                                                       \
    {                                                                                                                  \
        LEN_MSG, n, 0, 0, 1                                                                                            \
    }
#define W_MSG(n)                                                                                                       \
    {                                                                                                                  \
        LEN_MSG, n, 1, 0, 1                                                                                            \
    }

static const struct sys_entry {
    s16 x86, generic;
    u8 class;
    struct sys_buf buf[3];
} sys_table[NR_SYS] = {[SYS_unknown] = {NONE, NONE, WAIT, {{0}}},
#define S(name, x86, generic, class, ...) [SYS_##name] = {x86, generic, class, {__VA_ARGS__}},
                       SYSCALLS(S)
#undef S
};

static u8 sys_of_nr[SESSION_SYSCALLS]; /* of this guest's architecture */

void syscall_init(enum guest_arch arch)
{
    for (u32 id = 0; id < NR_SYS; id++) {
        s16 nr = arch == GUEST_X86_64 ? sys_table[id].x86 : sys_table[id].generic;

        if (nr >= 0)
            sys_of_nr[nr] = (u8)id;
    }
}

static enum sys_id sys_id(s64 nr)
{
    return nr >= 0 && nr < SESSION_SYSCALLS ? (enum sys_id)sys_of_nr[nr] : SYS_unknown;
}

/* -- buffers ------------------------------------------------------------------------------------------------------- */

/* The first `total` bytes of a vector. */
static void touch_iov(struct vcpu *v, u64 addr, u64 n, u64 total, enum mmu_access_kind kind)
{
    struct iovec iov[64];

    vcpu_touch(v, addr, n * sizeof(iov[0]), MMU_READ);
    for (u64 done = 0; done < n && total; done += ARRAY_SIZE(iov)) {
        u64 part = MIN(n - done, ARRAY_SIZE(iov));

        if (guest_read(iov, addr + done * sizeof(iov[0]), part * sizeof(iov[0])) < 0)
            return;
        for (u64 i = 0; i < part && total; i++) {
            u64 len = MIN(iov[i].iov_len, total);

            vcpu_touch(v, (u64)(uintptr_t)iov[i].iov_base, len, kind);
            total -= len;
        }
    }
}

static void touch_msg(struct vcpu *v, u64 addr, u64 total, enum mmu_access_kind kind)
{
    struct msghdr msg; /* the same layout on all our guests */

    if (guest_read(&msg, addr, sizeof(msg)) < 0)
        return;
    vcpu_touch(v, addr, sizeof(msg), MMU_READ);
    vcpu_touch(v, (u64)(uintptr_t)msg.msg_name, msg.msg_name ? msg.msg_namelen : 0, kind);
    vcpu_touch(v, (u64)(uintptr_t)msg.msg_control, msg.msg_control ? msg.msg_controllen : 0, kind);
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
    vcpu_touch(v, addr, n, kind);
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

static void follow_file_io(struct vcpu *v, enum sys_class class, s64 ret)
{
    u64 pos = v->file_pos;
    struct stat st;

    if (pos == NO_POS || ret <= 0 || fstat((int)v->arg[0], &st) < 0 || !S_ISREG(st.st_mode))
        return;
    if (class == FWRITE && fcntl((int)v->arg[0], F_GETFL) & O_APPEND)
        pos = (u64)st.st_size >= (u64)ret ? (u64)st.st_size - (u64)ret : 0;
    for_each_machine_in_core(v, i, cpu)
    {
        struct file *file = file_of_fd(cpu, (int)v->arg[0]);

        if (!file)
            continue;
        if (class == FREAD)
            generic_file_read(cpu, file, pos, (u64)ret);
        else
            generic_file_write(cpu, file, pos, (u64)ret);
        fput(cpu, file);
    }
}

static void follow_truncate(struct vcpu *v, int fd)
{
    for_each_machine_in_core(v, i, cpu)
    {
        struct file *file = file_of_fd(cpu, fd); /* sets the size */

        if (file)
            fput(cpu, file);
    }
}

static void follow_truncate_path(struct vcpu *v, u64 addr)
{
    char path[PATH_MAX];
    u64 len = string_length(addr);
    int fd = -1;

    if (len && len <= sizeof(path) && guest_read(path, addr, len) > 0)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    follow_truncate(v, fd);
    close(fd);
}

/* -- the address space --------------------------------------------------------------------------------------------- */

static s64 follow_mmap(struct vcpu *v, struct cpu *cpu, u64 addr)
{
    u32 flags = ((u32)v->arg[3] & (MAP_TYPE_ | MAP_ANONYMOUS_ | MAP_GROWSDOWN_ | MAP_LOCKED_ | MAP_NORESERVE_ |
                                   MAP_POPULATE_ | MAP_STACK_)) |
                MAP_FIXED_;
    u32 prot = (u32)v->arg[2] & (PROT_READ_ | PROT_WRITE_ | PROT_EXEC_);
    struct file *file = flags & MAP_ANONYMOUS_ ? NULL : file_of_fd(cpu, (int)v->arg[4]);
    s64 ret;

    if ((flags & MAP_TYPE_) == MAP_SHARED_VALIDATE_)
        flags = (flags & ~MAP_TYPE_) | MAP_SHARED_;
    if (!file) /* a device: memory without a file */
        flags |= MAP_ANONYMOUS_;
    ret = sys_mmap(cpu, addr, v->arg[1], prot, flags, file, file ? v->arg[5] : 0);
    if (file)
        fput(cpu, file);
    return ret;
}

static s64 follow_mremap(struct vcpu *v, struct cpu *cpu, u64 new_addr)
{
    u32 flags = (u32)v->arg[3];

    if (new_addr == v->arg[0])
        return sys_mremap(cpu, v->arg[0], v->arg[1], v->arg[2], 0, 0);
    return sys_mremap(cpu, v->arg[0], v->arg[1], v->arg[2],
                      MREMAP_MAYMOVE_ | MREMAP_FIXED_ | (flags & MREMAP_DONTUNMAP_), new_addr);
}

static s64 follow_shmat(struct vcpu *v, struct cpu *cpu, u64 addr)
{
    u32 prot = PROT_READ_ | (v->arg[2] & SHM_RDONLY ? 0 : PROT_WRITE_);
    struct shmid_ds ds;
    struct file *file;
    s64 ret;

    if (shmctl((int)v->arg[0], IPC_STAT, &ds) < 0)
        return 0;
    file = file_open(cpu, 0, v->arg[0], ds.shm_segsz, FMODE_READ | FMODE_WRITE, "SYSV");
    if (IS_ERR(file))
        return PTR_ERR(file);
    ret = sys_mmap(cpu, addr, ds.shm_segsz, prot, MAP_SHARED_ | MAP_FIXED_, file, 0);
    fput(cpu, file);
    return ret;
}

/* The VMA that starts at addr is what shmat() had mapped. */
static s64 follow_shmdt(struct cpu *cpu, u64 addr)
{
    struct mm *mm = cpu->current->mm;
    struct vm_area_struct *vma;
    u64 len;

    down_read(cpu, &mm->mmap_lock);
    vma = vma_lookup(cpu, mm, addr);
    len = vma ? vma->vm_end - addr : 0;
    up_read(cpu, &mm->mmap_lock);
    return len ? sys_munmap(cpu, addr, len) : -EINVAL;
}

static s64 follow_on(struct vcpu *v, struct cpu *cpu, enum sys_id id, s64 ret)
{
    switch (id) {
    case SYS_mmap:
        return follow_mmap(v, cpu, (u64)ret);
    case SYS_munmap:
        return sys_munmap(cpu, v->arg[0], v->arg[1]);
    case SYS_mprotect:
        return sys_mprotect(cpu, v->arg[0], v->arg[1], (u32)v->arg[2] & (PROT_READ_ | PROT_WRITE_ | PROT_EXEC_));
    case SYS_mremap:
        return follow_mremap(v, cpu, (u64)ret);
    case SYS_brk: {
        s64 brk = cpu->current->mm->brk == (u64)ret ? ret : sys_brk(cpu, (u64)ret);

        return brk == ret ? 0 : -ENOMEM;
    }
    case SYS_madvise:
        return sys_madvise(cpu, v->arg[0], v->arg[1], (int)v->arg[2]) == -ENOMEM ? -ENOMEM : 0;
    case SYS_shmat:
        return follow_shmat(v, cpu, (u64)ret);
    case SYS_shmdt:
        return follow_shmdt(cpu, v->arg[0]);
    default:
        return 0;
    }
}

static const char *sys_name(enum sys_id id)
{
    static const char *const name[NR_SYS] = {[SYS_unknown] = "?",
#define S(name, x86, generic, class, ...) [SYS_##name] = #name,
                                             SYSCALLS(S)
#undef S
    };

    return name[id];
}

static void follow_address_space(struct vcpu *v, enum sys_id id, s64 ret)
{
    if (ret < 0 && ret > -4096)
        return;
    for_each_machine_in_core(v, i, cpu)
    {
        s64 err = follow_on(v, cpu, id, ret);
        bool creates = id == SYS_mmap || id == SYS_mremap || id == SYS_brk || id == SYS_shmat;

        if (err >= 0 || !IS_ERR_VALUE((u64)err))
            continue;
        if (err == -ENOMEM && creates) {
            session_machine_dead(process.s, i, "out of memory: process %d (%s), %s(0x%llx, 0x%llx)", process.pid,
                                 process.slot->comm, sys_name(id), (unsigned long long)v->arg[0],
                                 (unsigned long long)v->arg[1]);
            continue;
        }
        atomic_fetch_add(&process.s->disagreements, 1);
        session_notice(process.s,
                       "process %d (%s): %s(0x%llx, 0x%llx, 0x%llx) gives error %d on machine %u, %lld on the host",
                       process.pid, process.slot->comm, sys_name(id), (unsigned long long)v->arg[0],
                       (unsigned long long)v->arg[1], (unsigned long long)v->arg[2], (int)-err, i, (long long)ret);
    }
}

/* -- before and after ---------------------------------------------------------------------------------------------- */

static u64 clone_flags(enum sys_id id, const u64 arg[6])
{
    if (id == SYS_fork)
        return 0;
    if (id == SYS_vfork)
        return CLONE_VM_ | CLONE_VFORK_;
    return arg[0];
}

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

void syscall_before(struct vcpu *v, s64 nr, const u64 arg[6])
{
    enum sys_id id = sys_id(nr);

    if (v->state != VCPU_USER)
        return;
    v->state = VCPU_SYSCALL;
    v->nr = nr;
    memcpy(v->arg, arg, sizeof(v->arg));
    vcpu_publish(v);
    switch ((enum sys_class)sys_table[id].class) {
    case QUICK:
        break;
    case MEM:
        order_lock(v);
        break;
    case FORK:
        fork_before(v, clone_flags(id, arg));
        break;
    case EXEC:
        exec_before(v, arg[0], arg[1], arg[2]);
        break;
    case EXIT:
        id == SYS_exit ? thread_exit(v) : process_exit(v);
        break;
    case KILL:
        vcpu_release(v);
        kill_before(v, kill_target(id, arg), kill_signal(id, arg));
        break;
    case FREAD:
    case FWRITE:
        v->file_pos = file_position(id, arg);
        vcpu_release(v);
        break;
    case WAIT:
        vcpu_release(v);
        break;
    }
}

static void count_enosys(s64 nr, s64 ret)
{
    if (ret == -ENOSYS && nr >= 0 && nr < SESSION_SYSCALLS)
        atomic_fetch_add(&process.s->enosys[process.arch][nr], 1);
}

static void follow_result(struct vcpu *v, enum sys_id id, s64 ret)
{
    const struct sys_entry *e = &sys_table[id];

    if (e->class == MEM) {
        follow_address_space(v, id, ret);
        order_unlock(v);
    }
    if (ret < 0)
        return;
    for (u32 b = 0; b < ARRAY_SIZE(e->buf) && e->buf[b].len != LEN_NONE; b++)
        touch_buf(v, &e->buf[b], ret);
    if (e->class == FREAD || e->class == FWRITE)
        follow_file_io(v, (enum sys_class)e->class, ret);
    if (id == SYS_ftruncate || id == SYS_fallocate)
        follow_truncate(v, (int)v->arg[0]);
    if (id == SYS_truncate)
        follow_truncate_path(v, v->arg[0]);
}

void syscall_after(struct vcpu *v, s64 nr, s64 ret)
{
    enum sys_id id = sys_id(nr);

    if (v->state != VCPU_SYSCALL)
        return;
    v->state = VCPU_USER;
    if (sys_table[id].class == FORK) {
        fork_after(v, ret); /* in the child this is a new process from here on */
        if (v->state != VCPU_USER)
            return;
    } else if (sys_table[id].class == KILL) {
        kill_after(v, kill_target(id, v->arg), kill_signal(id, v->arg), ret);
    }
    vcpu_acquire(v);
    count_enosys(nr, ret);
    atomic_fetch_add_explicit(&process.s->events, 1, memory_order_relaxed);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i])
            charge(v->cpu[i], COST_SYSCALL);
    follow_result(v, id, ret);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i] && session_machine_is_dead(process.s, i))
            vcpu_machine_dead(v, i);
    vcpu_hot(v)->code_page = NO_CODE_PAGE;
}
