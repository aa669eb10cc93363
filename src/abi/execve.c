/* SPDX-License-Identifier: MIT */
/*
 * execve(2): a program's parts in a new address space.
 *
 *      ET_EXEC          where its headers say                                 heap behind it
 *      PIE              2/3 of the window, + random pages, aligned as asked   heap behind it
 *      static PIE       where mmap(2) would put it (an interpreter started as a program, too): the heap then is at 2/3
 *      interpreter      where mmap(2) puts it; then the vdso with its data
 *
 *   stack  top ┌───────────────────────────┐ one word of zero
 *              │ the file's name           │ AT_EXECFN
 *              │ environment, arguments    │ [arg_start, arg_end) [env_start, env_end)
 *              ├───────────────────────────┤ up to 8 KiB, random
 *              │ platform's name, 16 bytes │ AT_PLATFORM, AT_RANDOM
 *              │ auxv, envp, argv, argc    │ aligned to 16: start_stack, the first stack pointer
 *              └───────────────────────────┘
 *
 * What can be refused is refused before the old program is gone: the arguments' size, and the memory for them. After
 * that an error ends the process with SIGSEGV.
 * A segment is mapped by whole pages of the file; what lies behind its bytes in the last page is cleared, if the
 * segment may be written; further pages are anonymous, and may always be written.
 *
 * Follows execve(2), elf(5), getauxval(3), personality(2), proc_pid_stat(5), and what 6.18 is seen to do
 * (tests/oracle/exec_oracle.c).
 */
#include "abi/exec.h"

#include "base/errno.h"
#include "vm/fork.h"
#include "vm/vma.h"

#define SIGSEGV_ 11
#define MMAP_PAGE_ZERO_ 0x0100000u
#define MAX_ARG_STRLEN (32 * PAGE_SIZE)
#define ARG_LIMIT_MIN (128ul << 10)
#define ARG_LIMIT_MAX (6ul << 20) /* three quarters of the default stack */
#define MAX_ALIGN_SHIFT 62

struct exec {
    struct cpu *cpu;
    const struct exec_image *image;
    const struct exec_platform *platform;
    const struct exec_args *args;
    struct mm *mm;
    u64 string_bytes; /* of the file's name, environment and arguments, with their zeros */
    va_t bias, interp_base, phdr, entry, vdso;
};

static size_t length(const char *text)
{
    size_t n = 0;

    while (text[n])
        n++;
    return n;
}

/* -- arguments ----------------------------------------------------------------------------------------------------- */

static int count_string(struct exec *e, const char *text, u64 limit)
{
    u64 len = length(text) + 1;

    e->string_bytes += len;
    return len > MAX_ARG_STRLEN || e->string_bytes > limit ? -E2BIG : 0;
}

/* A program without arguments is given an empty one. */
static u32 nr_args(const struct exec_args *a)
{
    return MAX(a->argc, 1u);
}

static const char *arg(const struct exec_args *a, u32 i)
{
    return i < a->argc ? a->argv[i] : "";
}

/* Strings and pointers together: a quarter of the stack's limit, of 6 MiB at most, but 128 KiB always. */
static int count_arguments(struct exec *e)
{
    const struct exec_args *a = e->args;
    u64 limit = MAX(MIN(ARG_LIMIT_MAX, rlimit(e->cpu->current, RLIMIT_STACK_) / 4), ARG_LIMIT_MIN);
    u64 pointers = ((u64)nr_args(a) + a->envc) * sizeof(u64);
    int err;

    if (limit <= pointers)
        return -E2BIG;
    limit -= pointers;
    err = count_string(e, a->filename, limit);
    for (u32 i = 0; !err && i < a->envc; i++)
        err = count_string(e, a->envp[i], limit);
    for (u32 i = 0; !err && i < nr_args(a); i++)
        err = count_string(e, arg(a, i), limit);
    return err;
}

static int put(struct exec *e, va_t *at, const void *bytes, u64 len)
{
    struct fault_info fi;

    if (mmu_copy_to_user(e->cpu, *at, bytes, len, &fi))
        return -EFAULT;
    *at += len;
    return 0;
}

static int put_word(struct exec *e, va_t *at, u64 word)
{
    return put(e, at, &word, sizeof(word));
}

/* The kernel copies the file's name, then the environment, then the arguments, and uses the pages of each once. */
static void use_pages(struct exec *e, va_t start, va_t end) NO_LOCK_ANALYSIS
{
    down_read(e->cpu, &e->mm->mmap_lock);
    for (va_t at = start & PAGE_MASK; start < end && at < end; at += PAGE_SIZE)
        follow_page(e->cpu, vma_lookup(e->cpu, e->mm, at), at, FOLL_TOUCH);
    up_read(e->cpu, &e->mm->mmap_lock);
}

static int put_strings(struct exec *e)
{
    const struct exec_args *a = e->args;
    struct mm *mm = e->mm;
    va_t at = mm->start_stack;
    int err = 0;

    mm->arg_start = at;
    for (u32 i = 0; !err && i < nr_args(a); i++)
        err = put(e, &at, arg(a, i), length(arg(a, i)) + 1);
    mm->arg_end = mm->env_start = at;
    for (u32 i = 0; !err && i < a->envc; i++)
        err = put(e, &at, a->envp[i], length(a->envp[i]) + 1);
    mm->env_end = at;
    err = err ? err : put(e, &at, a->filename, length(a->filename) + 1);
    if (err)
        return err;
    use_pages(e, mm->env_end, at);
    use_pages(e, mm->env_start, mm->env_end);
    use_pages(e, mm->arg_start, mm->arg_end);
    return 0;
}

/* -- segments ------------------------------------------------------------------------------------------------------ */

/* From the first page of the lowest segment to the end of the highest. */
static u64 image_bytes(const struct exec_program *p)
{
    va_t low = ~0ul, high = 0;

    for (u32 i = 0; i < p->nr_loads; i++) {
        low = MIN(low, p->load[i].vaddr & PAGE_MASK);
        high = MAX(high, p->load[i].vaddr + p->load[i].memsz);
    }
    return p->nr_loads ? high - low : 0;
}

static s64 map_anonymous(struct exec *e, va_t start, va_t end, u32 prot)
{
    if (start >= end)
        return 0;
    return sys_mmap(e->cpu, start, end - start, PROT_READ_ | PROT_WRITE_ | (prot & PROT_EXEC_),
                    MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_FIXED_, NULL, 0);
}

/* `total` not 0: room for the whole image is looked for, and what the segment does not need given back. */
static s64 map_file_part(struct exec *e, const struct exec_program *p, const struct exec_segment *s, va_t addr,
                         u32 flags, u64 total)
{
    u64 in_page = s->vaddr & ~PAGE_MASK, size = ALIGN_UP(s->filesz + in_page, PAGE_SIZE);
    s64 at;

    addr &= PAGE_MASK;
    total = ALIGN_UP(total, PAGE_SIZE);
    if (!size)
        return (s64)addr;
    at = sys_mmap(e->cpu, addr, total ? total : size, s->prot, flags | MAP_PRIVATE_, p->file, s->offset - in_page);
    if (!IS_ERR_VALUE(at) && total > size)
        sys_munmap(e->cpu, (va_t)at + size, total - size);
    return at;
}

/* The segment's address, page aligned, or -errno. */
static s64 map_segment(struct exec *e, const struct exec_program *p, const struct exec_segment *s, va_t addr, u32 flags,
                       u64 total)
{
    static const u8 zeros[256] = {0};
    u64 in_page = s->vaddr & ~PAGE_MASK;
    s64 at = (s64)(addr & PAGE_MASK), err;
    va_t from, end;
    int failed = 0;

    if (s->filesz)
        at = map_file_part(e, p, s, addr, flags, total);
    if (IS_ERR_VALUE(at) || s->memsz <= s->filesz)
        return at;
    from = (va_t)at + (s->filesz ? in_page + s->filesz : 0);
    end = (va_t)at + in_page + s->memsz;
    for (va_t to = from; !failed && (to & ~PAGE_MASK);)
        failed = put(e, &to, zeros, MIN(sizeof(zeros), PAGE_SIZE - (to & ~PAGE_MASK)));
    if (failed && (s->prot & PROT_WRITE_))
        return -EFAULT;
    err = map_anonymous(e, ALIGN_UP(from, PAGE_SIZE), ALIGN_UP(end, PAGE_SIZE), s->prot);
    return IS_ERR_VALUE(err) ? err : at;
}

static bool segment_is_sane(const struct exec *e, const struct exec_segment *s, va_t bias)
{
    va_t start = s->vaddr + bias;

    return start < e->mm->task_size && s->filesz <= s->memsz && s->memsz <= e->mm->task_size &&
           e->mm->task_size - s->memsz >= start;
}

/* The largest power of two among the segments' alignments, whole pages. */
static u64 image_align(const struct exec_program *p)
{
    u64 align = PAGE_SIZE;

    for (u32 i = 0; i < p->nr_loads; i++)
        if (p->load[i].align && !(p->load[i].align & (p->load[i].align - 1)) &&
            p->load[i].align <= (u64)1 << MAX_ALIGN_SHIFT)
            align = MAX(align, p->load[i].align);
    return align;
}

/* How the first segment is mapped, and where: e->bias. */
static s64 choose_bias(struct exec *e, const struct exec_program *p, u32 *flags)
{
    u64 align = image_align(p), total = image_bytes(p);
    s64 at = 0;

    *flags = MAP_FIXED_NOREPLACE_;
    if (!p->dyn)
        return 0;
    if (!total)
        return -EINVAL;
    if (e->image->interp) {
        at = (s64)elf_et_dyn_base(e->mm, align);
    } else if (align > PAGE_SIZE) {
        at = map_segment(e, p, &p->load[0], 0, 0, total);
        if (IS_ERR_VALUE(at))
            return at;
        sys_munmap(e->cpu, (va_t)at & PAGE_MASK, ALIGN_UP(total, PAGE_SIZE));
        at &= -(s64)align;
    } else {
        *flags = 0;
    }
    e->bias = ((u64)at - p->load[0].vaddr) & PAGE_MASK;
    return 0;
}

static int map_exe(struct exec *e)
{
    const struct exec_program *p = &e->image->exe;
    u32 flags;
    s64 at = choose_bias(e, p, &flags);

    if (IS_ERR_VALUE(at))
        return (int)at;
    for (u32 i = 0; i < p->nr_loads; i++) {
        const struct exec_segment *s = &p->load[i];

        at = map_segment(e, p, s, e->bias + s->vaddr, flags, !i && p->dyn ? image_bytes(p) : 0);
        if (IS_ERR_VALUE(at))
            return (int)at;
        if (!i && p->dyn)
            e->bias += (u64)at - ((e->bias + s->vaddr) & PAGE_MASK);
        flags = MAP_FIXED_;
        if (!segment_is_sane(e, s, 0))
            return -EINVAL;
    }
    e->entry = p->entry + e->bias;
    return 0;
}

static int map_interp(struct exec *e)
{
    const struct exec_program *p = e->image->interp;
    va_t base = 0;

    if (!p)
        return 0;
    if (!image_bytes(p))
        return -EINVAL;
    for (u32 i = 0; i < p->nr_loads; i++) {
        const struct exec_segment *s = &p->load[i];
        bool chosen = p->dyn && !i;
        va_t want = chosen && e->bias ? 0 : base + s->vaddr;
        s64 at = map_segment(e, p, s, want, chosen ? 0 : MAP_FIXED_, i ? 0 : image_bytes(p));

        if (IS_ERR_VALUE(at))
            return (int)at;
        if (chosen)
            base = (va_t)at - (s->vaddr & PAGE_MASK);
        if (!segment_is_sane(e, s, base))
            return -ENOMEM;
    }
    e->interp_base = base;
    e->entry = base + p->entry;
    return 0;
}

/* vvar and vdso, together where mmap(2) finds room; RLIMIT_AS counts them, but does not refuse them. */
static int map_special(struct exec *e) NO_LOCK_ANALYSIS
{
    const struct exec_platform *p = e->platform;
    u64 bytes = 0;
    s64 at;
    int err = 0;

    for (u32 i = 0; i < p->nr_special; i++)
        bytes += p->special[i].bytes;
    if (!bytes)
        return 0;
    down_write(e->cpu, &e->mm->mmap_lock);
    at = get_unmapped_area(e->cpu, e->mm, NULL, 0, bytes, PGOFF(0), MAP_SHARED_);
    if (IS_ERR_VALUE(at))
        err = (int)at;
    for (u32 i = 0; !err && i < p->nr_special; i++) {
        if (i == p->vdso)
            e->vdso = (va_t)at;
        err = do_mmap_fixed_special(e->cpu, e->mm, (va_t)at, p->special[i].bytes, p->special[i].flags, VM_OPS_SPECIAL);
        at += (s64)p->special[i].bytes;
    }
    up_write(e->cpu, &e->mm->mmap_lock);
    return err;
}

/* -- what /proc/PID/stat and brk(2) know ---------------------------------------------------------------------------- */

static void note_segments(struct exec *e)
{
    const struct exec_program *p = &e->image->exe;
    va_t start_code = ~0ul, end_code = 0, start_data = 0, end_data = 0, heap = 0, phdr = 0;
    struct mm *mm = e->mm;

    for (u32 i = 0; i < p->nr_loads; i++) {
        const struct exec_segment *s = &p->load[i];

        if (s->prot & PROT_EXEC_) {
            start_code = MIN(start_code, s->vaddr);
            end_code = MAX(end_code, s->vaddr + s->filesz);
        }
        start_data = MAX(start_data, s->vaddr);
        end_data = MAX(end_data, s->vaddr + s->filesz);
        heap = MAX(heap, s->vaddr + s->memsz);
        if (p->phoff >= s->offset && p->phoff < s->offset + s->filesz)
            phdr = p->phoff - s->offset + s->vaddr;
    }
    mm->start_code = start_code + e->bias;
    mm->end_code = end_code + e->bias;
    mm->start_data = start_data + e->bias;
    mm->end_data = end_data + e->bias;
    e->phdr = phdr + e->bias;
    if (p->dyn && !e->image->interp)
        exec_move_brk(mm);
    else
        exec_set_brk(mm, heap + e->bias);
}

/* -- the stack's lower part ----------------------------------------------------------------------------------------- */

static void aux(struct mm *mm, u32 *n, u64 key, u64 value)
{
    mm->saved_auxv[*n] = key;
    mm->saved_auxv[*n + 1] = value;
    *n += 2;
}

enum {
    AT_NULL_ = 0,
    AT_PHDR_ = 3,
    AT_PHENT_ = 4,
    AT_PHNUM_ = 5,
    AT_PAGESZ_ = 6,
    AT_BASE_ = 7,
    AT_FLAGS_ = 8,
    AT_ENTRY_ = 9,
    AT_UID_ = 11,
    AT_EUID_ = 12,
    AT_GID_ = 13,
    AT_EGID_ = 14,
    AT_PLATFORM_ = 15,
    AT_HWCAP_ = 16,
    AT_CLKTCK_ = 17,
    AT_SECURE_ = 23,
    AT_RANDOM_ = 25,
    AT_HWCAP2_ = 26,
    AT_RSEQ_FEATURE_SIZE_ = 27,
    AT_RSEQ_ALIGN_ = 28,
    AT_EXECFN_ = 31,
    AT_SYSINFO_EHDR_ = 33,
    AT_MINSIGSTKSZ_ = 51
};

/* Words, with the two of AT_NULL; the order is the kernel's. */
static u32 fill_auxv(struct exec *e, va_t platform_name, va_t random)
{
    const struct exec_platform *p = e->platform;
    const struct task *t = e->cpu->current;
    const struct exec_program *exe = &e->image->exe;
    struct mm *mm = e->mm;
    u32 n = 0;

    if (p->vdso < p->nr_special)
        aux(mm, &n, AT_SYSINFO_EHDR_, e->vdso);
    aux(mm, &n, AT_MINSIGSTKSZ_, p->minsigstksz);
    aux(mm, &n, AT_HWCAP_, p->hwcap);
    aux(mm, &n, AT_PAGESZ_, PAGE_SIZE);
    aux(mm, &n, AT_CLKTCK_, p->clktck);
    aux(mm, &n, AT_PHDR_, e->phdr);
    aux(mm, &n, AT_PHENT_, 56);
    aux(mm, &n, AT_PHNUM_, exe->phnum);
    aux(mm, &n, AT_BASE_, e->interp_base);
    aux(mm, &n, AT_FLAGS_, 0);
    aux(mm, &n, AT_ENTRY_, exe->entry + e->bias);
    aux(mm, &n, AT_UID_, task_uid(t));
    aux(mm, &n, AT_EUID_, task_uid(t));
    aux(mm, &n, AT_GID_, task_gid(t));
    aux(mm, &n, AT_EGID_, task_gid(t));
    aux(mm, &n, AT_SECURE_, 0);
    aux(mm, &n, AT_RANDOM_, random);
    aux(mm, &n, AT_HWCAP2_, p->hwcap2);
    aux(mm, &n, AT_EXECFN_, mm->env_end);
    if (p->name)
        aux(mm, &n, AT_PLATFORM_, platform_name);
    aux(mm, &n, AT_RSEQ_FEATURE_SIZE_, p->rseq_feature_size);
    aux(mm, &n, AT_RSEQ_ALIGN_, p->rseq_align);
    aux(mm, &n, AT_NULL_, 0);
    return n;
}

/* argv or envp: pointers to consecutive strings from *string on, and NULL. */
static int put_pointers(struct exec *e, va_t *at, va_t *string, const char *const *text, u32 nr)
{
    int err = 0;

    for (u32 i = 0; !err && i < nr; i++) {
        err = put_word(e, at, *string);
        *string += length(text[i]) + 1;
    }
    return err ? err : put_word(e, at, 0);
}

static int put_tables(struct exec *e, struct exec_result *r)
{
    static const char *const no_arg[] = {""};
    const struct exec_args *a = e->args;
    struct mm *mm = e->mm;
    va_t p = arch_align_stack(mm, mm->arg_start, RANDOM_STACK_POINTER), name, string = mm->arg_start, at;
    u64 random[2] = {mm_random(mm, RANDOM_BYTES), ~mm_random(mm, RANDOM_BYTES)};
    u32 nr_auxv;
    int err = 0;

    if (e->platform->name) {
        p -= length(e->platform->name) + 1;
        at = p;
        err = put(e, &at, e->platform->name, length(e->platform->name) + 1);
    }
    name = p;
    p -= sizeof(random);
    at = p;
    err = err ? err : put(e, &at, random, sizeof(random));
    nr_auxv = fill_auxv(e, name, p);
    p = ALIGN_DOWN((p & -8ul) - (nr_auxv + (nr_args(a) + 1) + (a->envc + 1) + 1) * sizeof(u64), 16);
    at = r->sp = mm->start_stack = p;
    err = err ? err : put_word(e, &at, nr_args(a));
    err = err ? err : put_pointers(e, &at, &string, a->argc ? a->argv : no_arg, nr_args(a));
    err = err ? err : put_pointers(e, &at, &string, a->envp, a->envc);
    return err ? err : put(e, &at, mm->saved_auxv, nr_auxv * sizeof(u64));
}

/* -- the call -------------------------------------------------------------------------------------------------------- */

/* Never to be unmapped; who may not have it goes without. */
static void map_page_zero(struct exec *e)
{
    s64 at =
        sys_mmap(e->cpu, 0, PAGE_SIZE, PROT_READ_ | PROT_EXEC_, MAP_PRIVATE_ | MAP_FIXED_ | MAP_ANONYMOUS_, NULL, 0);

    if (!at)
        sys_mseal(e->cpu, 0, PAGE_SIZE, 0);
}

static int load_image(struct exec *e, struct exec_result *r)
{
    int err = exec_expand_stack(e->cpu, e->mm);

    if (!err)
        err = put_strings(e);
    if (!err)
        err = map_exe(e);
    if (!err)
        err = map_interp(e);
    if (!err)
        err = map_special(e);
    if (err)
        return err;
    if (e->entry >= e->mm->task_size)
        return -EINVAL;
    note_segments(e);
    if (put_tables(e, r))
        return -EFAULT;
    if (e->cpu->current->personality & MMAP_PAGE_ZERO_)
        map_page_zero(e);
    r->entry = e->entry;
    return 0;
}

int abi_execve(struct cpu *cpu, const struct exec_image *image, const struct exec_platform *platform,
               const struct exec_args *args, struct exec_result *result)
{
    struct exec e = {.cpu = cpu, .image = image, .platform = platform, .args = args};
    struct exec_layout layout = {.stack_exec = image->exec_stack ? VM_EXEC : 0, .exe = image->exe.file};
    int err = count_arguments(&e);

    *result = (struct exec_result){0};
    if (err)
        return err;
    layout.stack_size = e.string_bytes + sizeof(u64);
    memcpy(layout.comm, args->comm, sizeof(layout.comm));
    e.mm = exec_prepare(cpu, &layout);
    if (IS_ERR(e.mm))
        return (int)PTR_ERR(e.mm);
    cpu->current->personality &= ~READ_IMPLIES_EXEC_;
    exec_commit(cpu, e.mm, &layout);
    switch_mm(cpu, e.mm);
    if (load_image(&e, result))
        result->signo = SIGSEGV_;
    return 0;
}
