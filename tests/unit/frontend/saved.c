/* SPDX-License-Identifier: MIT */
/* Saved runs: what is loaded is what was saved; what is damaged, foreign or of another version is refused by name. */
#define _GNU_SOURCE
#include "tests/unit/abi/proc_testing.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/cat.h"
#include "cli/guard.h"
#include "kmem/kmem.h"
#include "kmem/slab.h"
#include "phys/phys.h"
#include "saved.h"

static char path[] = "/tmp/quire-saved-XXXXXX";

/* -- a machine with something on it -------------------------------------------------------------------------------- */

static struct machine *make_machine(void)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);

    memcpy(test_task(cpu, 4711)->comm, "model", 6);
    map_at(cpu, BASE, 64, RW, ANON_PRIVATE, NULL, 0);
    touch_range(cpu, BASE, 40, ACCESS_WRITE);
    put_byte(cpu, BASE + 5 * PG + 17, 99);
    map_at(cpu, BASE + 128 * PG, 16, RW, ANON_SHARED, NULL, 0);
    touch_range(cpu, BASE + 128 * PG, 3, ACCESS_WRITE);
    do_fork(cpu, 4712);
    return m;
}

static void save_machine(struct machine *m)
{
    struct saved_input in = {"test", "in a test", 1, {m}};
    char err[SAVED_ERROR];

    if (saved_write(path, &in, err))
        fail_msg("%s", err);
}

/* The views of both, one text. */
static char *all_views(struct cpu *cpu)
{
    struct view v = {calloc(1, 1), 0, 1};
    struct proc_sink sink = {view_write, &v};
    char name[64];

    for (u32 i = 0; proc_file(i); i++)
        for (u32 pid = 4711; pid <= 4712; pid++) {
            bool of_process = proc_file(i)->scope == PROC_PROCESS;

            snprintf(name, sizeof(name), of_process ? "%u/%s" : "%.0u%s", of_process ? pid : 0, proc_file(i)->name);
            assert_int_equal(proc_read(cpu, name, &sink), 0);
        }
    return v.text;
}

static int make_path(void **state)
{
    strcpy(path, "/tmp/quire-saved-XXXXXX");
    return close(mkstemp(path));
}

static int remove_path(void **state)
{
    return unlink(path);
}

static void test_round_trip(void **state)
{
    struct machine *m = make_machine();
    char *before = all_views(test_cpu(m)), *after, err[SAVED_ERROR];
    const char *text;
    size_t config;
    struct saved s;
    struct cpu *cpu;
    struct stat st;

    save_machine(m); /* CPU 0 is ours: the loaded one's is nobody's */
    test_machine_end(m);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 4096, 1 << 20); /* of a machine of 256 MiB */
    assert_int_equal(saved_open(path, &s, err), 0);
    assert_int_equal(s.header.nr_machines, 1);
    assert_string_equal(s.header.program, "test");
    text = saved_config(&s, 0, &config);
    assert_non_null(memmem(text, config, "\nmem = 256M\n", 12));
    m = saved_load(&s, 0, err);
    assert_false(IS_ERR(m));
    saved_close(&s);
    assert_int_equal(atomic_load(&m->cpus[0].owner), 0);
    assert_null(m->cpus[0].current);
    cpu = cpu_acquire(m, NULL, 1);
    after = all_views(cpu);
    assert_string_equal(before, after);
    assert_books(machine_check, m);
    cpu->current = task_find(cpu, 4712);
    assert_int_equal(get_byte(cpu, BASE + 5 * PG + 17), 99);
    put_byte(cpu, BASE + 5 * PG + 17, 98); /* a COW break on the loaded machine */
    assert_books(machine_check, m);
    free(before);
    free(after);
    machine_destroy(m);
}

/* -- damage -------------------------------------------------------------------------------------------------------- */

static char *bytes;
static size_t size;

static void read_bytes(void)
{
    FILE *f = fopen(path, "re");
    struct stat st;

    assert_non_null(f);
    fstat(fileno(f), &st);
    size = (size_t)st.st_size;
    bytes = malloc(size);
    assert_int_equal(fread(bytes, 1, size, f), size);
    fclose(f);
}

static void write_bytes(const void *b, size_t len)
{
    FILE *f = fopen(path, "we");

    assert_int_equal(fwrite(b, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* Refused while it is opened or loaded, with a message that says `why`. */
static void assert_refused(const char *why)
{
    struct machine *m = NULL;
    char err[SAVED_ERROR] = "";
    struct saved s;
    int ret = saved_open(path, &s, err);

    if (!ret) {
        m = saved_load(&s, 0, err);
        ret = IS_ERR(m) ? PTR_ERR(m) : 0;
        saved_close(&s);
    }
    if (!ret)
        machine_destroy(m);
    assert_true(ret < 0);
    if (!strstr(err, why))
        fail_msg("\"%s\" does not say \"%s\"", err, why);
}

static void set_u32(size_t at, u32 value, bool seal)
{
    struct saved_header *h = (void *)bytes;

    memcpy(bytes + at, &value, sizeof(value));
    if (seal)
        h->header_hash = XXH3_64bits(h, offsetof(struct saved_header, header_hash));
    write_bytes(bytes, size);
}

static void test_damage(void **state)
{
    const struct saved_header *h;
    struct machine *m = make_machine();
    size_t at[6];
    char *whole;

    save_machine(m);
    test_machine_end(m);
    read_bytes();
    whole = malloc(size);
    memcpy(whole, bytes, size);
    h = (void *)whole;

    write_bytes("", 0);
    assert_refused("0 bytes are too few");
    write_bytes("mem = 4G\n", 9);
    assert_refused("not a saved run");
    memset(bytes, 'x', size);
    write_bytes(bytes, size);
    assert_refused("does not begin with QUIRESAV");
    for (size_t n = sizeof(*h); n < size; n += size / 7) {
        write_bytes(whole, n);
        assert_refused("truncated: ");
    }
    memcpy(bytes, whole, size);
    set_u32(offsetof(struct saved_header, version), SAVED_VERSION + 1, false);
    assert_refused("a saved run of format 2; this Quire reads format 1");
    memcpy(bytes, whole, size);
    set_u32(offsetof(struct saved_header, layout), 7, true);
    assert_refused("whose data structures differ");
    memcpy(bytes, whole, size);
    set_u32(offsetof(struct saved_header, nr_machines), 9, true);
    assert_refused("damaged: 9 machines");

    memcpy(at,
           (size_t[6]){9 + 3, 30, offsetof(struct saved_header, program) + 3, h->directory_at, size - 1,
                       SAVED_DATA_AT + 9},
           sizeof(at));
    for (u32 i = 0; i < 6; i++) {
        memcpy(bytes, whole, size);
        bytes[at[i]] ^= 0x20;
        write_bytes(bytes, size);
        assert_refused(i < 3   ? "damaged: the header's checksum"
                       : i < 5 ? "damaged: the directory's checksum"
                               : "extent 0 at");
    }
    free(whole);
    free(bytes);
}

/* -- contradictions: checksums are right, but no machine is like this ---------------------------------------------- */

_Noreturn void usage_error(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fprintf(stderr, "quire: ");
    vfprintf(stderr, format, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    _exit(EXIT_USAGE);
}

/* What of the tool `quire export` needs for traces, which are not exported here. */
struct trace_reader *replay_open(const char *file, enum guest_arch *arch)
{
    usage_error("%s: no saved run", file);
}

void host_config(struct machine_config *c, enum guest_arch arch)
{
    machine_config_default(c);
}

enum contradiction {
    NONE,
    TASK_OUTSIDE,
    TASK_AT_ZERO,
    FILE_OUTSIDE,
    TABLE_OUTSIDE,
    LOCK_HELD,
    TASKS_RHO,
    TASKS_LOOP,
    SLABS_LOOP,
    VMAS_LOOP,
    VMAS_BACKWARDS,
    VMA_EMPTY,
    VMA_VAST,
    VMA_ODD,
    VMA_OPS,
    VMA_OF_OTHERS,
    INDEX_LOOP,
    PTES_OF_TABLES,
    CPUS_OUTSIDE,
    ALIAS_OUTSIDE,
    NODES_MANY,
    RAM_MOVED,
};

#define CONTRADICTS "the machine in it contradicts itself; save the run again"
#define CIRCLES "the machine in it goes in circles, reading it does not end; save the run again"
#define NO_MACHINE "what is saved is not a machine; save the run again"

static const struct {
    const char *name;
    enum contradiction what;
    const char *view, *says;
} contradictions[] = {
    {"none", NONE, "4711/maps", NULL},
    {"a task's address space lies outside", TASK_OUTSIDE, "4711/maps", "4711/maps: " CONTRADICTS},
    {"a task's address space lies at 16", TASK_AT_ZERO, "4711/status", "4711/status: " CONTRADICTS},
    {"a mapping's file lies outside", FILE_OUTSIDE, "4711/maps", "4711/maps: " CONTRADICTS},
    {"a page table lies outside of RAM", TABLE_OUTSIDE, "4711/smaps", "4711/smaps: " CONTRADICTS},
    {"somebody holds the address space's lock", LOCK_HELD, "4711/maps", "4711/maps: " CONTRADICTS},
    {"the last task is followed by itself", TASKS_RHO, "4713/maps", "its processes: " CONTRADICTS},
    {"the last task is followed by itself, listed", TASKS_RHO, NULL, "its processes: " CONTRADICTS},
    {"the first task is alone in a circle", TASKS_LOOP, "4713/maps", "its processes: " CONTRADICTS},
    {"a slab cache is followed by itself", SLABS_LOOP, "slabinfo", "slabinfo: " CONTRADICTS},
    {"the last mapping is followed by the first", VMAS_LOOP, "4711/maps", "4711/maps: " CONTRADICTS},
    {"the same, pagemap", VMAS_LOOP, "4711/pagemap", "4711/pagemap: " CONTRADICTS},
    {"the same, smaps_rollup", VMAS_LOOP, "4711/smaps_rollup", "4711/smaps_rollup: " CONTRADICTS},
    {"a mapping lies below the one before", VMAS_BACKWARDS, "4711/maps", "4711/maps: " CONTRADICTS},
    {"a mapping ends where it begins", VMA_EMPTY, "4711/numa_maps", "4711/numa_maps: " CONTRADICTS},
    {"a mapping ends behind all addresses", VMA_VAST, "4711/pagemap", "4711/pagemap: " CONTRADICTS},
    {"a mapping ends within a page", VMA_ODD, "4711/pages", "4711/pages: " CONTRADICTS},
    {"a mapping of unknown behaviour", VMA_OPS, "4711/maps", "4711/maps: " CONTRADICTS},
    {"a mapping of another address space", VMA_OF_OTHERS, "4711/maps", "4711/maps: " CONTRADICTS},
    {"the index of mappings leads to itself", INDEX_LOOP, "4711/smaps", "4711/smaps: " CIRCLES},
    {"a table's entries are all the table, a mapping is all there is", PTES_OF_TABLES, "4711/smaps",
     "4711/smaps: " CIRCLES},
    {"the CPUs lie outside", CPUS_OUTSIDE, "meminfo", NO_MACHINE},
    {"the memmap is to be shown outside", ALIAS_OUTSIDE, "meminfo", NO_MACHINE},
    {"more nodes than there can be", NODES_MANY, "zoneinfo", NO_MACHINE},
    {"RAM lies elsewhere", RAM_MOVED, "meminfo", NO_MACHINE},
};

/* Words that are changed, and what they were. */
static struct {
    u64 *at, was;
} changed[600];
static u32 nr_changed;

static void change(void *at, u64 value)
{
    assert_true(nr_changed < ARRAY_SIZE(changed));
    changed[nr_changed].at = at;
    changed[nr_changed++].was = *(u64 *)at;
    *(u64 *)at = value;
}

static void change_back(void)
{
    while (nr_changed) {
        nr_changed--;
        *changed[nr_changed].at = changed[nr_changed].was;
    }
}

/* Words of the kind that change() takes. */
static void change_u32(u32 *at, u32 value)
{
    u64 *word = (u64 *)((uintptr_t)at & ~7ul), shift = (uintptr_t)at % 8 * 8;

    change(word, (*word & ~(0xffffffffull << shift)) | (u64)value << shift);
}

static void change_vmas(struct machine *m, struct mm *mm, enum contradiction what)
{
    struct vm_area_struct *first = vma_first(mm), *last = find_vma(&m->cpus[0], mm, BASE + 128 * PG);

    assert_ptr_equal(first->vm_next, last);
    if (what == VMAS_LOOP)
        change(&last->vm_next, (u64)(uintptr_t)first);
    else if (what == VMAS_BACKWARDS)
        change(&last->vm_start, first->vm_start);
    else if (what == VMA_EMPTY)
        change(&last->vm_end, last->vm_start);
    else if (what == VMA_VAST)
        change(&last->vm_end, 1ull << 60);
    else if (what == VMA_ODD)
        change(&last->vm_end, last->vm_end + 8);
    else if (what == VMA_OPS)
        change_u32(&last->vm_ops, NR_VM_OPS);
    else
        change(&last->vm_mm, (u64)(uintptr_t)task_find(&m->cpus[0], 4712)->mm);
}

/* 2^47 bytes of tables that are the root: a walk of 2^36 pages from 4 KiB. */
static void change_tables(struct machine *m, struct mm *mm)
{
    struct vm_area_struct *vma = find_vma(&m->cpus[0], mm, BASE + 128 * PG);
    u64 *root = phys_to_virt(m, mm->pt.root[0]), entry = 0;

    for (u32 i = 0; i < 256 && !entry; i++)
        entry = root[i];
    for (u32 i = 0; i < 512; i++)
        change(&root[i], (entry & 0xfff) | mm->pt.root[0].pa);
    change(&vma->vm_end, pt_task_size(pt_format_of(m)));
}

/* The index's root holds itself, all the way down. */
static void change_index(struct mm *mm)
{
    u64 *node = (u64 *)(uintptr_t)mm->vmas.root;

    for (u32 i = 20; i < 40; i++) /* ptr[] */
        change(&node[i], (u64)(uintptr_t)node);
    change_u32(&mm->vmas.height, 0xffffffff);
    change_u32(&mm->vmas.finger.height, 0);
}

static void contradict(struct machine *m, enum contradiction what)
{
    struct task *t = task_find(&m->cpus[0], 4711);
    u64 outside = (u64)(uintptr_t)m->region + m->region_size + (1ul << 30);
    struct kmem_cache *s = list_first_entry(&m->kmem->caches, struct kmem_cache, list);

    switch (what) {
    case NONE:
        break;
    case TASK_OUTSIDE:
        change(&t->mm, outside);
        break;
    case TASK_AT_ZERO:
        change(&t->mm, 16);
        break;
    case FILE_OUTSIDE:
        change(&find_vma(&m->cpus[0], t->mm, BASE + 128 * PG)->vm_file, outside);
        break;
    case TABLE_OUTSIDE:
        change(&t->mm->pt.root[0].pa, 1ul << 40);
        break;
    case LOCK_HELD:
        change(&t->mm->mmap_lock.count, 0xffffffff); /* a writer */
        break;
    case TASKS_RHO:
        change(&m->vm->tasks.prev->next, (u64)(uintptr_t)m->vm->tasks.prev);
        break;
    case TASKS_LOOP:
        change(&m->vm->tasks.next->prev, (u64)(uintptr_t)m->vm->tasks.next);
        change(&m->vm->tasks.next->next, (u64)(uintptr_t)m->vm->tasks.next);
        break;
    case SLABS_LOOP:
        change(&s->list.next, (u64)(uintptr_t)&s->list);
        break;
    case INDEX_LOOP:
        change_index(t->mm);
        break;
    case PTES_OF_TABLES:
        change_tables(m, t->mm);
        break;
    case CPUS_OUTSIDE:
        change(&m->cpus, outside);
        break;
    case ALIAS_OUTSIDE:
        change(&m->phys->aliases[0].dst, (u64)(uintptr_t)m->region - (1ul << 30));
        break;
    case NODES_MANY:
        change_u32(&m->phys->nr_node_ids, MAX_NODES + 1);
        break;
    case RAM_MOVED:
        change(&m->ram, (u64)(uintptr_t)m->ram - PG);
        break;
    default:
        change_vmas(m, t->mm, what);
        break;
    }
}

/* `quire cat` in a process of its own; its exit status, and in `said` what it writes to stderr. */
static int cat(const char *view, char *said, size_t room)
{
    char *name[] = {(char *)(uintptr_t)view, NULL};
    const struct cat_options o = {.file = path, .names = name, .patience_s = 1};
    int err = memfd_create("stderr", MFD_CLOEXEC), status;
    pid_t pid = fork();
    ssize_t n;

    if (!pid) {
        alarm(60); /* a wait without end fails */
        dup2(err, STDERR_FILENO);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        _exit(cat_views(&o));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    n = pread(err, said, room - 1, 0);
    said[MAX(n, 0)] = 0;
    close(err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_contradictions(void **state)
{
    char said[1024], wanted[1024];

    fflush(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(contradictions); i++) {
        const char *says = contradictions[i].says;
        struct machine *m = make_machine();
        int status;

        contradict(m, contradictions[i].what);
        save_machine(m);
        change_back();
        snprintf(wanted, sizeof(wanted), "quire: %s: damaged: machine %s%s %s\n", path, m->config.name,
                 says && strcmp(says, NO_MACHINE) == 0 ? ":" : ",", says);
        test_machine_end(m);
        status = cat(contradictions[i].view, said, sizeof(said));
        if (status != (says ? EXIT_USAGE : 0) || strcmp(said, says ? wanted : ""))
            fail_msg("%s: status %d, \"%s\", expected \"%s\"", contradictions[i].name, status, said, wanted);
    }
}

/* -- the guard itself ---------------------------------------------------------------------------------------------- */

static void write_endlessly(void)
{
    for (;;)
        guard_wrote(GUARD_TEXT, 1 << 20);
}

static void wait_again_and_again(void)
{
    _Atomic u32 word = 0;

    for (;;)
        port_futex_wait(&word, 0, 20000000);
}

static void compute_endlessly(void)
{
    for (_Atomic u32 n = 0;; n++)
        continue;
}

/* Words do not count as text: it is the time that ends it. */
static void write_words(void)
{
    for (u32 i = 0; i < 1000; i++)
        guard_wrote(GUARD_WORDS, 1 << 20);
    _exit(7);
}

static void test_guard(void **state)
{
    static const struct {
        void (*reading)(void);
        int status;
        const char *says;
    } cases[] = {
        {write_endlessly, EXIT_USAGE,
         "quire: F: damaged: machine m, 1/x: the machine in it has more to say than was saved of it; save the run "
         "again\n"},
        {wait_again_and_again, EXIT_USAGE, "quire: F: damaged: machine m, 1/x: " CIRCLES "\n"},
        {compute_endlessly, EXIT_USAGE, "quire: F: damaged: machine m, 1/x: " CIRCLES "\n"},
        {abort, EXIT_USAGE, "quire: F: damaged: machine m, 1/x: " CONTRADICTS "\n"},
        {write_words, 7, ""},
    };
    char said[512];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int err = memfd_create("stderr", MFD_CLOEXEC), status;
        pid_t pid = fork();
        ssize_t n;

        if (!pid) {
            alarm(60);
            dup2(err, STDERR_FILENO);
            guard_begin("F", 1);
            guard_reading("m", "1/x", 4096);
            cases[i].reading();
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        n = pread(err, said, sizeof(said) - 1, 0);
        said[MAX(n, 0)] = 0;
        close(err);
        assert_string_equal(said, cases[i].says);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == cases[i].status);
    }
}

/* `quire export` in a process of its own. */
static int export_vma(const char *out)
{
    const struct convert_options o = {.format = "vma", .in = path, .out = out, .process = "4711"};
    int status;
    pid_t pid = fork();

    if (!pid) {
        alarm(60);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        _exit(export_trace(&o));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* What the file holds, up to a line's length; NULL: there is none. */
static const char *line_of(const char *file)
{
    static char line[64];
    FILE *f = fopen(file, "re");

    if (!f)
        return NULL;
    if (!fgets(line, sizeof(line), f))
        line[0] = 0;
    fclose(f);
    return line;
}

/* A file that is there is kept, one that is not does not appear. */
static void test_forged_export(void **state)
{
    static const enum contradiction what[] = {TASKS_LOOP, VMAS_LOOP, LOCK_HELD, CPUS_OUTSIDE, NONE};
    char out[] = "/tmp/quire-export-XXXXXX";
    int fd = mkstemp(out);

    for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
        struct machine *m = make_machine();
        int status = what[i] ? EXIT_USAGE : 0;

        contradict(m, what[i]);
        save_machine(m);
        change_back();
        test_machine_end(m);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, "old\n", 4, 0), 4);
        assert_int_equal(export_vma(out), status);
        assert_string_equal(line_of(out), status ? "old\n" : "0x10000000 0x10040000 rw-p 0x0 00:00 0\n");
        unlink(out);
        assert_int_equal(export_vma(out), status);
        assert_true(!line_of(out) == !!status);
        close(fd);
        fd = open(out, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    }
    close(fd);
    unlink(out);
}

/* The machine still runs there: its place is taken. */
static void test_place_taken(void **state)
{
    struct machine *m = make_machine();

    save_machine(m);
    assert_refused("which is taken in this process");
    test_machine_end(m);
}

static void test_cannot_write(void **state)
{
    struct machine *m = make_machine();
    struct saved_input in = {"test", "in a test", 1, {m}};
    char err[SAVED_ERROR] = "", fifo[] = "/tmp/quire-fifo-XXXXXX";
    struct stat st;

    assert_int_equal(saved_write("/nonexistent/folder/file", &in, err), -ENOENT);
    assert_string_equal(err, "/nonexistent/folder/file: No such file or directory");
    assert_int_equal(saved_write("/dev/full/x", &in, err), -ENOTDIR);
    assert_int_equal(close(mkstemp(fifo)), 0);
    assert_int_equal(unlink(fifo), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(saved_write(fifo, &in, err), -EINVAL);
    assert_non_null(strstr(err, "not a regular file"));
    assert_int_equal(lstat(fifo, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    unlink(fifo);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_damage, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_contradictions, make_path, remove_path),
        cmocka_unit_test(test_guard),
        cmocka_unit_test_setup_teardown(test_forged_export, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_place_taken, make_path, remove_path),
        cmocka_unit_test(test_cannot_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
