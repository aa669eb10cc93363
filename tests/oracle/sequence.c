/* SPDX-License-Identifier: MIT */
/*
 * The library is ahead: it makes up an op from its state, does it, and hands it on; the child follows. Results are
 * compared when the sequence is over. To see where two sides part for the first time, the list is run once more with a
 * look at everything after each op.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include <fcntl.h>

#include "tests/oracle/sequence.h"

#define BATCH 32u /* ops handed on at a time */

const char *differ_name(u32 differ)
{
    static const char *const names[] = {"result",
                                        "signal",
                                        "faults",
                                        "maps",
                                        "pages",
                                        "flags",
                                        "bytes",
                                        "books",
                                        "child is dead",
                                        "model crashed",
                                        "state after failure",
                                        "host",
                                        "takes long",
                                        "numbers"};

    for (u32 i = 0; i < ARRAY_SIZE(names); i++)
        if (differ & 1u << i)
            return names[i];
    return "nothing";
}

/* A load or checksum of bytes behind the end of a file. */
static bool of_lost_bytes(const struct oracle_op *op, const struct oracle_result *model)
{
    return (op->kind == ORACLE_LOAD || op->kind == ORACLE_SUM) && (model->on_disk & ORACLE_BEHIND_END);
}

/* Which pages, faults and pages of mincore() the kernel has may be the host's work; of the bytes, those that it loses. */
static bool by_host(const struct oracle_op *op, u32 differ, const struct oracle_result *model,
                    const struct page_differs *pages)
{
    if (differ & ~(DIFFER_FAULTS | DIFFER_PAGES | DIFFER_OUT | DIFFER_RESULT))
        return false;
    if ((differ & DIFFER_RESULT) && !of_lost_bytes(op, model))
        return false;
    if ((differ & DIFFER_OUT) && (op->kind != ORACLE_SYSCALL || op->nr != ABI_mincore))
        return false;
    return !(differ & DIFFER_PAGES) || !pages->others;
}

/* Of what may be the host's work. */
static bool by_write_back(u32 differ, const struct oracle_result *model, const struct page_differs *pages)
{
    if ((differ & DIFFER_OUT) || ((differ & DIFFER_PAGES) && pages->not_on_disk))
        return false;
    return !(differ & (DIFFER_FAULTS | DIFFER_RESULT)) || model->on_disk;
}

static u32 compare_results(const struct oracle *o, const struct oracle_op *op, const struct oracle_result *native,
                           const struct oracle_result *model, struct page_differs *pages)
{
    u32 differ = 0;

    if (native->ret != model->ret)
        differ |= DIFFER_RESULT;
    if (native->signo != model->signo || native->code != model->code || native->addr != model->addr)
        differ |= DIFFER_SIGNAL;
    if (model->faults != ~0u && native->faults != model->faults)
        differ |= DIFFER_FAULTS;
    if ((op->see & ORACLE_SEE_MAPS) && native->maps != model->maps)
        differ |= DIFFER_MAPS;
    if ((op->see & ORACLE_SEE_PAGES) && (native->pages != model->pages || native->disk != model->disk)) {
        differ |= DIFFER_PAGES;
        compare_pages(o, native, model, pages);
    }
    if ((op->see & ORACLE_SEE_FLAGS) && native->flags && native->flags != model->flags)
        differ |= DIFFER_FLAGS;
    if (native->numbers && native->numbers != model->numbers && !(differ & DIFFER_PAGES))
        differ |= DIFFER_NUMBERS;
    if (memcmp(native->out, model->out, sizeof(native->out)))
        differ |= DIFFER_OUT;
    if (!differ || !by_host(op, differ, model, pages))
        return differ;
    return differ | DIFFER_HOST | (by_write_back(differ, model, pages) ? DIFFER_WRITTEN : 0);
}

/* The first op on which they differ, among [from, to). */
static bool compare_range(struct oracle *o, struct sequence *s, u32 from, u32 to)
{
    struct oracle_shared *shared = o->native.shared;

    memcpy(s->native + from, shared->result + from, (to - from) * sizeof(s->native[0]));
    for (u32 i = from; i < to; i++) {
        s->differ = compare_results(o, &s->op[i], &s->native[i], &s->model[i], &s->pages);
        if (s->differ) {
            s->at = i;
            return false;
        }
    }
    return true;
}

static void check_books(struct oracle *o, struct sequence *s, FILE *out)
{
    if (s->differ || !model_check(&o->model, out))
        return;
    s->differ = DIFFER_BOOKS;
    s->at = s->nr ? s->nr - 1 : 0;
}

/* A new child has random bytes of its own on its stack: a new machine begins with those. */
void restart(struct oracle *o)
{
    u64 injected = o->model.injected;

    native_restart(&o->native);
    model_shutdown(&o->model);
    model_boot(&o->model, &o->native, &o->host);
    o->model.injected = injected;
}

static u32 ended(enum native_end e)
{
    return e == NATIVE_DONE ? 0 : e == NATIVE_DEAD ? DIFFER_DIED : DIFFER_LONG;
}

static void end(struct oracle *o, struct sequence *s)
{
    enum native_end e = s->differ & (DIFFER_DIED | DIFFER_LONG) ? NATIVE_DEAD : native_end(&o->native);

    if (!s->differ)
        s->differ = ended(e);
    model_end(&o->model);
    check_books(o, s, stderr);
    if (e != NATIVE_DONE)
        restart(o);
}

/* False: the child does not come so far. */
static bool wait_for(struct oracle *o, struct sequence *s, u32 nr)
{
    enum native_end e = native_wait(&o->native, nr);

    if (e == NATIVE_DONE)
        return true;
    s->differ = ended(e);
    s->at = MIN(atomic_load(&o->native.shared->done), s->nr ? s->nr - 1 : 0);
    return false;
}

/* -- no memory ----------------------------------------------------------------------------------------------------- */

/* Calls of which a failed one has done nothing at all; others may have done a part of their range. */
static bool is_atomic(const struct oracle_op *op)
{
    static const u8 atomic_calls[NR_ABI_CALLS] = {
        [ABI_mmap] = 1,      [ABI_munmap] = 1,  [ABI_mremap] = 1,     [ABI_brk] = 1,
        [ABI_shmget] = 1,    [ABI_shmat] = 1,   [ABI_shmdt] = 1,      [ABI_memfd_create] = 1,
        [ABI_prlimit64] = 1, [ABI_mincore] = 1, [ABI_pkey_alloc] = 1, [ABI_prctl] = 1,
    };

    static const u8 is_pointer[NR_ABI_CALLS][4] = {
        [ABI_memfd_create] = {1}, [ABI_prlimit64] = {0, 0, 1, 1}, [ABI_mincore] = {0, 0, 1}};

    if (op->kind == ORACLE_FORK)
        return true;
    if (op->kind != ORACLE_SYSCALL || !atomic_calls[op->nr])
        return false;
    for (u32 i = 0; i < 4; i++) /* bytes of the process itself: their pages come in */
        if (is_pointer[op->nr][i] && op->argkind[i] == ORACLE_VALUE && (op->arg[i] || op->nr == ABI_memfd_create))
            return false;
    if (op->nr == ABI_mremap && (op->arg[3] & MREMAP_FIXED_))
        return false; /* what lay at the new place is gone by then, as in the kernel */
    return op->nr != ABI_mmap || !(op->arg[3] & (MAP_POPULATE_ | MAP_LOCKED_));
}

/* What a mapping shows, but for its place. */
static u64 kind_of(struct model *v, const struct vm_area_struct *vma)
{
    u64 h = oracle_mix(oracle_mix(vma->vm_flags, see_object(v, vma)), (u64)vma->vm_ops);

    return vma->vm_file ? oracle_mix(h, vma->vm_start - (vma->vm_pgoff.nr << PAGE_SHIFT)) : h;
}

/* Not where a mapping is cut in two alike: a refused call may leave a cut behind, in the kernel, too. */
static u64 state_of(struct model *v, u32 proc)
{
    struct oracle_result r = {0};
    struct vm_area_struct *vma;
    u64 kind = 0;
    va_t end = 0;

    model_see(v, proc, ORACLE_SEE_PAGES, &r);
    v->seen->nr = r.seen_from;
    for_each_vma (vma, v->proc[proc]->mm) {
        u64 k = kind_of(v, vma);

        if (k != kind || vma->vm_start != end)
            r.maps = oracle_mix(oracle_mix(oracle_mix(r.maps, end), vma->vm_start), k);
        kind = k;
        end = vma->vm_end;
    }
    return oracle_mix(oracle_mix(oracle_mix(r.maps, end), r.pages), r.disk);
}

enum injection { INJECTED_NOTHING, INJECTED_FAILURE, INJECTED_ABSORBED };

/*
 * The op with one of its allocations failing, on the machine alone. INJECTED_FAILURE: the call failed for it, everything
 * must be as before; the op is still to be done. INJECTED_NOTHING: it needed fewer allocations and is done, as if
 * nothing had been armed. INJECTED_ABSORBED: done, but not as the kernel with memory does it.
 */
static enum injection inject(struct oracle *o, struct sequence *s, u32 n)
{
    struct model *v = &o->model;
    const struct oracle_op *op = &s->op[n];
    struct fail_inject *fail = &v->m->fail;
    u64 before = state_of(v, op->proc);

    fail->interval = 0;
    fail->not_slabs = true;
    atomic_store(&fail->failed, 0);
    atomic_store(&fail->countdown, op->fail);
    model_do(v, op, &s->model[n]);
    atomic_store(&fail->countdown, 0);
    if (!atomic_load(&fail->failed))
        return INJECTED_NOTHING;
    v->injected++;
    if (s->model[n].ret != -ENOMEM)
        return INJECTED_ABSORBED;
    if (state_of(v, op->proc) != before) {
        /* by then the place it was to go to has been emptied, in the kernel, too */
        if (op->kind == ORACLE_SYSCALL && op->nr == ABI_mremap && (op->arg[3] & MREMAP_FIXED_))
            return INJECTED_ABSORBED;
        s->differ = DIFFER_STATE;
        s->at = n;
    }
    return INJECTED_FAILURE;
}

/* The n-th op on the machine. False: the sequence ends before it. */
static bool do_model(struct oracle *o, struct sequence *s, u32 n)
{
    enum injection i = s->op[n].fail ? inject(o, s, n) : INJECTED_FAILURE;

    if (s->differ || i == INJECTED_ABSORBED)
        return false;
    if (i == INJECTED_FAILURE)
        model_do(&o->model, &s->op[n], &s->model[n]);
    return true;
}

/* By CPU time: waiting, for the child or for a CPU, is no hang. */
static void watch_model(const struct oracle *o)
{
    struct itimerval t = {.it_value.tv_sec = o->hang_s ? o->hang_s : HANG_S};

    setitimer(ITIMER_VIRTUAL, &t, NULL);
}

void run_generated(struct oracle *o, struct sequence *s, u64 seed, u32 steps)
{
    struct oracle_shared *shared = o->native.shared;
    u32 n;

    s->seed = seed;
    s->nr = s->differ = s->at = s->pages.nr = 0;
    watch_model(o);
    generate_init(&o->gen, &o->model, &o->host, seed);
    model_begin(&o->model);
    native_begin(&o->native);
    for (n = 0; n < steps; n++) {
        generate_op(&o->gen, n, &s->op[n]);
        if (o->gen.inject && is_atomic(&s->op[n]) && chance(&o->gen, 12))
            s->op[n].fail = (u8)(1 + pick(&o->gen, 8));
        memcpy(&shared->op[n], &s->op[n], sizeof(s->op[n]));
        if (!do_model(o, s, n))
            break;
        s->nr = n + 1;
        if ((n + 1) % BATCH == 0)
            native_publish(&o->native, n + 1);
        if (o->check_every && (n + 1) % o->check_every == 0 && model_check(&o->model, stderr)) {
            s->differ = DIFFER_BOOKS;
            s->at = n;
            break;
        }
    }
    native_publish(&o->native, s->nr);
    wait_for(o, s, s->nr);
    if (!s->differ)
        compare_range(o, s, 0, s->nr);
    if (s->differ == DIFFER_STATE)
        model_print_maps(&o->model, s->op[s->at].proc, stderr);
    end(o, s);
}

/* -- once more, slowly --------------------------------------------------------------------------------------------- */

static void print_native_pages(pid_t pid, unsigned long start, unsigned long stop, FILE *out)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
    fd = open(path, O_RDONLY);
    fputc(' ', out);
    for (unsigned long at = start; at < stop && at < start + 64 * PAGE_SIZE; at += PAGE_SIZE) {
        u64 v = 0;

        if (pread(fd, &v, 8, (off_t)(at / PAGE_SIZE * 8)) != 8)
            break;
        fputc("-z.f.a.F"[(v >> 63) | (v >> 61 & 1) << 1 | (v >> 56 & 1) << 2], out);
    }
    close(fd);
}

static void print_native_maps(pid_t pid, FILE *out)
{
    char *text, *line, *save = NULL;

    if (pid <= 0)
        return;
    text = native_proc(pid, "smaps");
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned long start, stop;

        if (sscanf(line, "%lx-%lx", &start, &stop) == 2) {
            fprintf(out, "%s", line);
            if (!(start >> 63))
                print_native_pages(pid, start, stop, out);
        } else if (!strncmp(line, "VmFlags:", 8)) {
            fprintf(out, " %s\n", line + 9);
        }
    }
    free(text);
}

/* The views of which some number differs, line by line where they have lines that begin alike. */
static void print_numbers(struct oracle *o, u32 proc, FILE *out)
{
    static const char *const files[] = {"smaps", "numa_maps", "status", "statm"};

    for (u32 i = 0; i < ARRAY_SIZE(files); i++) {
        char *native = native_proc(o->native.shared->pid[proc], files[i]),
             *model = model_view(&o->model, proc, files[i]);

        fprintf(out, "kernel's %s:\n%smodel's %s:\n%s", files[i], native, files[i], model);
        free(native);
        free(model);
    }
}

static void describe(struct oracle *o, const struct sequence *s, FILE *out)
{
    const struct oracle_op *op = &s->op[s->at];

    fprintf(out, "kernel: ");
    print_result(op, &s->native[s->at], out);
    fprintf(out, "\nmodel:  ");
    print_result(op, &s->model[s->at], out);
    fprintf(out, "\nkernel's process %u:\n", op->proc);
    print_native_maps(o->native.shared->pid[op->proc], out);
    fprintf(out, "model's process %u:\n", op->proc);
    model_print_maps(&o->model, op->proc, out);
    if (s->differ & DIFFER_NUMBERS)
        print_numbers(o, op->proc, out);
}

/* As the generator has it; shrinking may have dropped what made it so: a fork, or what lay over the vdso. */
static bool op_possible(struct model *v, const struct oracle_op *op)
{
    struct generator g = {.v = v};

    if (!model_runs(v, op->proc))
        return false;
    switch (op->kind) {
    case ORACLE_FORK:
        return !v->proc[op->arg[0]];
    case ORACLE_EXECVE:
        return model_can_execve(v, op);
    case ORACLE_EXIT:
        return count_procs(v) > 1;
    case ORACLE_LOAD:
    case ORACLE_STORE:
    case ORACLE_EXEC:
        return range_readable(&g, op->arg[0], 1);
    case ORACLE_SUM:
        return range_readable(&g, op->arg[0], op->arg[1] * PAGE_SIZE);
    default:
        return true;
    }
}

/* False: the sequence ends here. */
static bool run_one(struct oracle *o, struct sequence *s, u32 n)
{
    struct oracle_shared *shared = o->native.shared;
    u32 numbers = o->host.major == 6 && o->host.minor == 18 ? ORACLE_SEE_NUMBERS : 0;

    s->op[n].see = can_look_after(&s->op[n]) ? ORACLE_SEE_MAPS | ORACLE_SEE_PAGES | ORACLE_SEE_FLAGS | numbers : 0;
    memcpy(&shared->op[n], &s->op[n], sizeof(s->op[n]));
    if (!do_model(o, s, n))
        return false;
    native_publish(&o->native, n + 1);
    return wait_for(o, s, n + 1) && compare_range(o, s, n, n + 1);
}

void run_list(struct oracle *o, struct sequence *s, FILE *out)
{
    u32 nr = 0;
    bool more = true;

    s->differ = s->at = s->pages.nr = 0;
    watch_model(o);
    model_begin(&o->model);
    native_begin(&o->native);
    for (u32 n = 0; n < s->nr && more; n++) {
        if (!op_possible(&o->model, &s->op[n]))
            continue;
        s->op[nr] = s->op[n];
        more = run_one(o, s, nr++);
        if (more && o->check_every && nr % o->check_every == 0 && model_check(&o->model, stderr)) {
            s->differ = DIFFER_BOOKS;
            s->at = nr - 1;
            more = false;
        }
    }
    s->nr = nr;
    if (s->differ && !(s->differ & (DIFFER_DIED | DIFFER_LONG)) && out)
        describe(o, s, out);
    end(o, s);
}
