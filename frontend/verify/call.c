/* SPDX-License-Identifier: MIT */
/*
 * One recorded call made on the machine, and its answer judged.
 *
 *   prepare   what the machine is given: file, target, bytes; or why this call is not modelled
 *   perform   abi_syscall()
 *   judge     result: exactly the kernel's, or (descriptors, ids) success as the kernel's; then the bytes written
 *   force     where it differs
 *
 * Not modelled, beside the calls that the machine does not know: devices behind mmap, huge pages that the host had (the
 * machine has none: it answers as a host without), secret memory, full disks.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "priv.h"

#define MAX_OUT (16u << 20)
#define HUGETLBFS_MAGIC_ 0x958458f6u
#define SECRETMEM_MAGIC_ 0x5345434du
#define TMPFS_MAGIC_ 0x01021994u

#define IPC_STAT_ 2u
#define IPC_INFO_ 3u
#define SHM_STAT_ 13u
#define SHM_INFO_ 14u
#define SHM_STAT_ANY_ 15u
#define SHM_INDEX_MASK 0x7fffu /* an id's index */

enum outcome { AS_RESULT, AS_SUCCESS };

/* Descriptors, ids and indices are other processes' business, too: only success or the errno is compared. */
static enum outcome outcome_of(const struct native_call *e)
{
    if (e->nr == ABI_shmctl && ((u32)e->arg[1] == IPC_INFO_ || (u32)e->arg[1] == SHM_INFO_))
        return AS_SUCCESS;
    if (e->nr == ABI_mmap && (u32)e->arg[3] & MAP_32BIT_ && !((u32)e->arg[3] & (MAP_FIXED_ | MAP_FIXED_NOREPLACE_)))
        return AS_SUCCESS; /* the kernel's search begins at random: the address is put in place below */
    return e->nr == ABI_memfd_create || e->nr == ABI_shmget ? AS_SUCCESS : AS_RESULT;
}

static bool is_error(s64 ret)
{
    return ret < 0 && ret >= -4095;
}

static u8 *out_room(struct verify *v, size_t len)
{
    if (v->out_room < len) {
        free(v->out);
        v->out = malloc(len);
        if (!v->out)
            abort();
        v->out_room = len;
    }
    memset(v->out, 0, len);
    return v->out;
}

/* -- preparing ----------------------------------------------------------------------------------------------------- */

/* It asks for a process that was not recorded. */
static bool has_stranger(struct verify *v, const struct parts *parts)
{
    u32 len;
    const u8 *bytes = parts_find(parts, NATIVE_TARGET, 0, &len);
    s32 pid = 0;

    if (bytes)
        memcpy(&pid, bytes, sizeof(pid));
    return pid > 0 && !world_task(v, pid);
}

/* Files of huge pages that the program made itself: the machine has them, too. */
static bool is_own_huge(const struct file *file)
{
    return file && file->f_inode->i_flags & INODE_HUGETLB;
}

/* The kernel had huge pages to give: the machine's pools are empty. */
static bool got_huge_pages(const struct native_call *e)
{
    switch (e->nr) {
    case ABI_mmap:
        return !is_error(e->ret) && !((u32)e->arg[3] & MAP_NORESERVE_);
    case ABI_shmget:
        return !is_error(e->ret) && ((u32)e->arg[2] & (SHM_HUGETLB | SHM_NORESERVE)) == SHM_HUGETLB;
    case ABI_fallocate:
        return !is_error(e->ret) && !((u32)e->arg[1] & FALLOC_FL_PUNCH_HOLE);
    default:
        return false;
    }
}

/* A driver's own pages: taken as mapped where the kernel could. */
static bool is_ring(const struct file *file)
{
    return file && file->f_inode->i_flags & INODE_DEVICE && file->f_inode->i_device >= DEVICE_BUFFER;
}

/* Modes that a file system has or has not; all others none has. */
static bool may_be_missing(u32 mode)
{
    return mode <= FALLOC_FL_KEEP_SIZE || mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) ||
           (mode & ~(u32)FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE || mode == FALLOC_FL_COLLAPSE_RANGE ||
           mode == FALLOC_FL_INSERT_RANGE;
}

/* How full the disk is, and what its file system can do, is not recorded. */
static bool hangs_on_disk(const struct native_call *e)
{
    if (e->nr == ABI_fallocate && e->ret == -EOPNOTSUPP)
        return may_be_missing((u32)e->arg[1]);
    return e->ret == -ENOSPC || e->ret == -EOPNOTSUPP;
}

/* A driver that maps nothing, as most: ENODEV, or what comes before that. */
static bool is_unmappable(const struct native_call *e, const struct file *file)
{
    return !is_ring(file) && (e->ret == -ENODEV || e->ret == -EACCES);
}

/* By index, of all the system's segments: of those that the program did not make nothing is known. */
static bool asks_by_index(const struct native_call *e)
{
    return e->nr == ABI_shmctl && ((u32)e->arg[1] == SHM_STAT_ || (u32)e->arg[1] == SHM_STAT_ANY_);
}

/* What the call needs that the machine does not have: it is not judged. */
static bool is_beyond_model(struct verify *v, const struct native_call *e, const struct native_file *f,
                            const struct file *file, const struct parts *parts)
{
    bool huge = f && f->fs_magic == HUGETLBFS_MAGIC_;

    if (huge && !is_own_huge(file))
        return true;
    switch (e->nr) {
    case ABI_mmap:
        if (huge || ((u32)e->arg[3] & (MAP_HUGETLB_ | MAP_ANONYMOUS_)) == (MAP_HUGETLB_ | MAP_ANONYMOUS_))
            return got_huge_pages(e);
        return f && !file_is_modelled(f) && !(is_error(e->ret) ? is_unmappable(e, file) : is_ring(file));
    case ABI_shmget:
        return got_huge_pages(e);
    case ABI_process_madvise:
    case ABI_process_vm_readv:
    case ABI_process_vm_writev:
    case ABI_prlimit64:
        return e->ret != -ESRCH && has_stranger(v, parts);
    case ABI_ftruncate:
    case ABI_fallocate:
        if (huge)
            return got_huge_pages(e);
        return f && (f->fs_magic == SECRETMEM_MAGIC_ || !S_ISREG(f->mode) || !file_is_modelled(f) ||
                     (f->fs_magic != TMPFS_MAGIC_ && hangs_on_disk(e)));
    case ABI_shmctl:
        return asks_by_index(e) && (s32)e->arg[0] >= 0 && (is_error(e->ret) || segment_own(v, (s32)e->ret) < 0);
    default:
        return false;
    }
}

static void take_part(struct verify *v, struct abi_call *c, const struct native_part *p, const u8 *bytes)
{
    struct vtask *target;
    s32 pid;

    switch (p->kind) {
    case NATIVE_IN:
        if (p->arg < 6)
            c->in[p->arg] = (struct abi_buf){(void *)(uintptr_t)bytes, p->len};
        break;
    case NATIVE_TARGET:
        memcpy(&pid, bytes, sizeof(pid));
        target = pid ? world_task(v, pid) : NULL;
        c->target = target ? target->task : NULL;
        c->target_gone = pid && !target;
        break;
    default:
        break;
    }
}

/* Room for what it writes; recorded EFAULT: it is to try the process's own memory. */
static void give_room(struct verify *v, struct abi_call *c, const struct native_call *e)
{
    u64 len = 0;
    u32 arg = 0;

    switch (e->nr) {
    case ABI_mincore:
        arg = 2;
        len = (e->arg[1] + PAGE_SIZE - 1) >> PAGE_SHIFT;
        break;
    case ABI_getrlimit:
        arg = 1;
        len = 16;
        break;
    case ABI_prlimit64:
        arg = 3;
        len = 16;
        break;
    case ABI_shmctl:
        arg = 2;
        len = 256;
        break;
    default:
        return;
    }
    if (len && len <= MAX_OUT && e->ret != -EFAULT && e->arg[arg])
        c->out[arg] = (struct abi_buf){out_room(v, len), len};
}

/* -- what calls need to know before -------------------------------------------------------------------------------- */

/* The stack pointer tells how far the stack was used at least. */
static void grow_to_sp(struct verify *v, struct vtask *t, u64 sp) NO_LOCK_ANALYSIS
{
    struct mm *mm = t->task->mm;
    struct vm_area_struct *vma;

    if (sp >= t->sp_low)
        return;
    t->sp_low = sp;
    vma = find_vma(v->cpu, mm, sp);
    if (!vma || !(vma->vm_flags & VM_GROWSDOWN) || sp >= vma->vm_start)
        return;
    down_write(v->cpu, &mm->mmap_lock);
    expand_stack(v->cpu, vma, sp);
    up_write(v->cpu, &mm->mmap_lock);
}

/* Pages that the kernel had mapped are mapped here, too: the accesses that did it are not in the recording. */
static void map_present(struct verify *v, struct vtask *t, u64 addr, const u8 *present, u64 pages) NO_LOCK_ANALYSIS
{
    struct mm *mm = t->task->mm;
    struct vm_area_struct *vma = NULL;

    down_read(v->cpu, &mm->mmap_lock);
    for (u64 i = 0; i < pages; i++, addr += PAGE_SIZE) {
        if (!(present[i] & 1))
            continue;
        if (!vma || addr >= vma->vm_end)
            vma = find_vma(v->cpu, mm, addr);
        if (!vma || addr < vma->vm_start || vma->vm_ops == VM_OPS_SPECIAL)
            continue;
        handle_mm_fault(v->cpu, vma, addr, (vma->vm_flags & (VM_WRITE | VM_SHARED)) == VM_WRITE ? FAULT_FLAG_WRITE : 0);
    }
    up_read(v->cpu, &mm->mmap_lock);
}

static void before(struct verify *v, struct vtask *t, struct abi_call *c, const struct native_call *e,
                   const struct parts *parts)
{
    const u8 *bytes;
    u32 len;

    grow_to_sp(v, t, e->sp);
    if (e->nr == ABI_mincore && (bytes = parts_find(parts, NATIVE_PRESENT, 0, &len)))
        map_present(v, t, e->arg[0], bytes, len);
    if (e->nr == ABI_shmat || e->nr == ABI_shmctl) {
        s32 own = segment_own(v, asks_by_index(e) ? (s32)e->ret : (s32)e->arg[0]);

        if (own >= 0)
            c->arg[0] = asks_by_index(e) ? (u64)own & SHM_INDEX_MASK : (u64)own;
    }
}

/* -- judging ------------------------------------------------------------------------------------------------------- */

/* Pages of files that nobody has mapped are in the page cache or not, as others used them: what the kernel said counts. */
static bool same_mincore(const struct native_call *e, const struct parts *parts, const u8 *own, u64 *at)
{
    u32 len, known;
    const u8 *recorded = parts_find(parts, NATIVE_OUT, 2, &len);
    const u8 *present = parts_find(parts, NATIVE_PRESENT, 0, &known);

    for (u32 i = 0; recorded && i < len; i++) {
        bool file_page = !present || i >= known || !(present[i] & 1);

        if ((recorded[i] & 1) != (own[i] & 1) && !file_page) {
            *at = e->arg[0] + (u64)i * PAGE_SIZE;
            return false;
        }
    }
    return true;
}

/* Where struct shmid_ds keeps what the machine knows, too. */
static bool same_segment(const u8 *recorded, const u8 *own)
{
    static const struct {
        u32 at, len;
    } fields[] = {{20, 4} /* shm_perm.mode */, {48, 8} /* shm_segsz */, {88, 8} /* shm_nattch */};

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (memcmp(recorded + fields[i].at, own + fields[i].at, fields[i].len) != 0)
            return false;
    return true;
}

static bool same_output(const struct native_call *e, const struct parts *parts, const struct abi_call *c, u64 *at)
{
    u32 arg = e->nr == ABI_getrlimit ? 1 : 3, len;
    const u8 *recorded;

    if (e->nr == ABI_mincore)
        return !c->out[2].p || same_mincore(e, parts, c->out[2].p, at);
    if (e->nr == ABI_shmctl && ((u32)e->arg[1] == IPC_STAT_ || asks_by_index(e))) {
        recorded = parts_find(parts, NATIVE_OUT, 2, &len);
        return !recorded || len < 96 || !c->out[2].p || same_segment(recorded, c->out[2].p);
    }
    if (e->nr != ABI_getrlimit && e->nr != ABI_prlimit64)
        return true;
    recorded = parts_find(parts, NATIVE_OUT, arg, &len);
    return !recorded || !c->out[arg].p || len != 16 || !memcmp(recorded, c->out[arg].p, 16);
}

static bool agrees(struct verify *v, const struct native_call *e, s64 own)
{
    if (asks_by_index(e) && !is_error(e->ret) && !is_error(own))
        return segment_own(v, (s32)e->ret) == own;
    if (outcome_of(e) == AS_SUCCESS && !is_error(e->ret) && !is_error(own))
        return true;
    return own == e->ret;
}

static void print_result(FILE *out, s64 ret)
{
    if (is_error(ret))
        fprintf(out, "error %lld", (long long)-ret);
    else
        fprintf(out, "%#llx", (unsigned long long)ret);
}

static void report(struct verify *v, struct vtask *t, const struct native_call *e, s64 own, u64 at)
{
    FILE *out = v->o.out;

    if (!disagree(v, e->nr, &e->h, "(%#llx, %#llx, %#llx, %#llx, %#llx, %#llx)", (unsigned long long)e->arg[0],
                  (unsigned long long)e->arg[1], (unsigned long long)e->arg[2], (unsigned long long)e->arg[3],
                  (unsigned long long)e->arg[4], (unsigned long long)e->arg[5]))
        return;
    fputs("  kernel: ", out);
    print_result(out, e->ret);
    fputs(", machine: ", out);
    print_result(out, own);
    if (agrees(v, e, own))
        fputs("; what they wrote differs", out);
    fputs("\n", out);
    maps_print_around(v, t, at);
}

/* The address that the disagreement is about. */
static u64 address_of(const struct native_call *e, s64 own)
{
    if (e->nr == ABI_mmap || e->nr == ABI_shmat || e->nr == ABI_brk || e->nr == ABI_mremap) {
        if (!is_error(e->ret) && e->ret)
            return (u64)e->ret;
        return is_error(own) ? e->arg[0] : (u64)own;
    }
    return e->arg[0];
}

/* Calls that ran at the same time as others: which came first is not known. */
static void differs(struct verify *v, struct vtask *t, const struct native_call *e, s64 own, u64 at)
{
    struct verify_tally *tally = &v->r.tally[e->nr];

    if (e->flags & NATIVE_OVERLAPPED) {
        tally->not_modelled++;
        return;
    }
    tally->disagreed++;
    report(v, t, e, own, at ? at : address_of(e, own));
}

/* -- the whole ----------------------------------------------------------------------------------------------------- */

static bool changes_layout(u32 nr)
{
    return nr == ABI_shmat || nr == ABI_shmdt || nr == ABI_remap_file_pages || nr == NATIVE_io_setup ||
           nr == NATIVE_io_destroy || nr == NATIVE_map_shadow_stack;
}

/* Who the program is: followed, not judged, no memory call. */
static bool follow_identity(struct vtask *t, const struct native_call *e)
{
    switch (e->nr) {
    case NATIVE_capset:
    case NATIVE_setuid:
    case NATIVE_setreuid:
    case NATIVE_setresuid:
        task_set_caps(t->task, e->cap_effective);
        return true;
    case NATIVE_personality:
        if (e->ret >= 0 && (u32)e->arg[0] != 0xffffffffu)
            t->task->personality = (u32)e->arg[0];
        return true;
    case NATIVE_ptrace:
        return true;
    default:
        return false;
    }
}

static void not_modelled(struct verify *v, struct vtask *t, const struct native_call *e)
{
    if (follow_identity(t, e))
        return;
    v->r.tally[e->nr].not_modelled++;
    if (changes_layout(e->nr))
        t->space->absorb = true;
}

static void learn(struct verify *v, const struct native_call *e, struct abi_call *c, s64 own, const struct parts *parts)
{
    const struct native_file *f;
    u32 len;

    if (e->nr == ABI_shmget && !is_error(own) && !is_error(e->ret) && segment_own(v, (s32)e->ret) < 0)
        segment_add(v, (s32)e->ret, (s32)own);
    if (!c->new_file)
        return;
    f = (const void *)parts_find(parts, NATIVE_FILE, 6, &len);
    if (f && len >= sizeof(*f))
        object_add(v, f, c->new_file);
    else
        fput(v->cpu, c->new_file);
}

static const struct native_file *prepare(struct verify *v, struct vtask *t, struct abi_call *c,
                                         const struct native_call *e, const struct parts *parts)
{
    const struct native_file *f = NULL;
    struct parts it = *parts;
    const struct native_part *p;
    const u8 *bytes;

    c->nr = (enum abi_nr)e->nr;
    memcpy(c->arg, e->arg, sizeof(c->arg));
    while (parts_next(&it, &p, &bytes)) {
        if (p->kind == NATIVE_FILE && p->arg < 6 && p->len > sizeof(*f)) {
            f = (const struct native_file *)(const void *)bytes;
            if (f->open_flags & O_PATH)
                return NULL; /* as good as not open: EBADF */
            c->file = space_file(v, t->space, (s32)e->arg[p->arg], f, (const char *)bytes + sizeof(*f));
            if (IS_ERR(c->file))
                c->file = NULL;
        } else {
            take_part(v, c, p, bytes);
        }
    }
    return f;
}

void call_verify(struct verify *v, struct vtask *t, const struct native_call *e, const struct parts *parts)
{
    struct verify_tally *tally = &v->r.tally[e->nr];
    const struct native_file *f;
    struct abi_call c = {0};
    u64 at = 0;
    s64 own;

    v->r.calls++;
    v->r.overlapped += e->flags & NATIVE_OVERLAPPED;
    if (e->flags & (NATIVE_INTERRUPTED | NATIVE_UNFINISHED)) {
        tally->interrupted++;
        return;
    }
    if (e->nr >= NR_ABI_CALLS || !abi_is_modelled((enum abi_nr)e->nr)) {
        not_modelled(v, t, e);
        return;
    }
    world_run(v, t);
    f = prepare(v, t, &c, e, parts);
    before(v, t, &c, e, parts);
    if (is_beyond_model(v, e, f, c.file, parts)) {
        tally->not_modelled++;
        force(v, t, e, &c, -ENOSYS);
    } else {
        give_room(v, &c, e);
        own = abi_syscall(v->cpu, &c);
        if (agrees(v, e, own) && same_output(e, parts, &c, &at)) {
            tally->agreed++;
            if (e->nr == ABI_mmap && own != e->ret)
                force(v, t, e, &c, own);
        } else {
            differs(v, t, e, own, at);
            if (!agrees(v, e, own))
                force(v, t, e, &c, own);
        }
        learn(v, e, &c, own, parts);
    }
    if (c.file)
        fput(v->cpu, c.file);
}
