/* SPDX-License-Identifier: MIT */
/*
 * `quire cat` on forged machines: a saved machine with two processes, shared memory, a file, a huge hole; any words of it
 * changed, all checksums right. Whatever that makes of it: exit status 0 or 2 and one line that names the file, within
 * the time that guard.h gives. Each string is one forged file and the views that are asked for, in a child process.
 */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

#include "tests/unit/abi/proc_testing.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/cat.h"
#include "kmem/kmem.h"
#include "phys/phys.h"
#include "saved.h"

#define FIRST 4711 /* pid */
#define MAX_BYTES (8u << 20)
#define MAX_HOT 256
#define NAMES 8u
#define SECONDS 300 /* a child that takes longer hangs */

/* The whole file, its extents not packed. */
static _Alignas(8) char file[MAX_BYTES], forged[MAX_BYTES];
static size_t file_bytes;
static struct saved_extent *extent; /* in file */
static u64 nr_extents, region;
/* Parts of the region that views look at first. */
static struct hot {
    u64 offset, bytes;
} hot[MAX_HOT];
static u32 nr_hot;

/* -- the machine --------------------------------------------------------------------------------------------------- */

static void heat(const struct machine *m, const void *p, u64 bytes)
{
    u64 at = (u64)(uintptr_t)p - (u64)(uintptr_t)m->region;

    if (p && nr_hot < MAX_HOT && at < m->region_size)
        hot[nr_hot++] = (struct hot){at, bytes};
}

static void heat_process(struct machine *m, s32 pid)
{
    struct task *t = task_find(&m->cpus[0], pid);
    struct vm_area_struct *vma;

    heat(m, t, sizeof(*t));
    heat(m, t->signal, 64);
    heat(m, t->mm, sizeof(*t->mm));
    heat(m, t->mm->vmas.root, VMA_NODE_BYTES);
    for_each_vma (vma, t->mm) {
        heat(m, vma, sizeof(*vma));
        heat(m, vma->vm_file, vma->vm_file ? sizeof(*vma->vm_file) : 0);
        heat(m, vma->vm_file ? vma->vm_file->f_inode : NULL, 512);
        heat(m, vma->anon_name, 64);
    }
    for (phys_t at = t->mm->pt.root[0]; at.pa;) {
        const u64 *entry = phys_to_virt(m, at);

        heat(m, entry, PAGE_SIZE);
        at = PHYS(0);
        for (u32 i = 0; i < 512 && !at.pa; i++) /* the first way down; a leaf's page ends it */
            at = PHYS(entry[i] & 1 ? entry[i] & 0xffffffffff000ull : 0);
        if (nr_hot > MAX_HOT - 32 || at.pa >= m->ram_span)
            break;
    }
}

static void heat_machine(struct machine *m)
{
    struct zone *z = NODE_DATA(m, 0)->node_zones;

    heat(m, m, offsetof(struct machine, config));
    heat(m, &m->config, sizeof(m->config));
    heat(m, &m->nr_cpus, sizeof(*m) - offsetof(struct machine, nr_cpus));
    heat(m, m->phys, offsetof(struct phys, aliases) + 2 * sizeof(struct vmemmap_alias));
    heat(m, m->vm, sizeof(*m->vm));
    heat(m, m->kmem, 512);
    heat(m, m->hw, 64);
    heat(m, m->cpus, 4096);
    heat(m, z, 3 * sizeof(*z));
    heat(m, m->memmap, 4096);
    heat_process(m, FIRST);
    heat_process(m, FIRST + 1);
}

static struct machine *make_machine(void)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct file *f;

    memcpy(test_task(cpu, FIRST)->comm, "model", 6);
    f = file_open(cpu, 1, 12, 64 * PG, FMODE_READ | FMODE_WRITE, "/a file");
    map_at(cpu, BASE, 64, RW, ANON_PRIVATE, NULL, 0);
    touch_range(cpu, BASE, 40, ACCESS_WRITE);
    map_at(cpu, BASE + 128 * PG, 16, RW, ANON_SHARED, NULL, 0);
    touch_range(cpu, BASE + 128 * PG, 3, ACCESS_WRITE);
    map_at(cpu, BASE + 256 * PG, 16, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    touch_range(cpu, BASE + 256 * PG, 5, ACCESS_READ);
    for (u32 i = 0; i < 60; i += 2) /* so many that the index has two levels */
        map_at(cpu, BASE + (512 + i) * PG, 1, RW, ANON_PRIVATE, NULL, 0);
    do_fork(cpu, FIRST + 1);
    return m;
}

static void unpack(const struct saved *s)
{
    const struct saved_machine *d = saved_machine(s, 0);
    const struct saved_extent *e = (const void *)(s->directory + d->extent_at);
    struct saved_header h = s->header;
    u64 at = SAVED_DATA_AT;

    REQUIRE(SAVED_DATA_AT + saved_bytes(s, 0) + h.directory_bytes <= MAX_BYTES);
    for (u64 i = 0; i < d->nr_extents; at += e[i++].bytes)
        memcpy(file + at, (const char *)(uintptr_t)(d->addr + e[i].offset), e[i].bytes);
    memcpy(file + at, s->directory, h.directory_bytes);
    extent = (void *)(file + at + d->extent_at);
    nr_extents = d->nr_extents;
    region = d->addr;
    for (u64 i = 0, next = SAVED_DATA_AT; i < nr_extents; next += extent[i++].bytes) {
        extent[i].at = next;
        extent[i].stored = extent[i].bytes;
    }
    h.directory_at = at;
    h.file_bytes = file_bytes = at + h.directory_bytes;
    memcpy(file, &h, sizeof(h));
}

/* A good file, in memory. The region's address is free again. */
static void begin(void)
{
    char path[] = "/tmp/quire-fuzz-XXXXXX", err[SAVED_ERROR] = "";
    struct machine *m = make_machine();
    struct saved_input in = {"fuzz", "in a test", 1, {m}};
    struct saved s;

    REQUIRE(close(mkstemp(path)) == 0);
    heat_machine(m);
    REQUIRE(saved_write(path, &in, err) == 0);
    test_machine_end(m);
    REQUIRE(saved_open(path, &s, err) == 0);
    REQUIRE(!IS_ERR(m = saved_load(&s, 0, err)));
    unpack(&s);
    machine_destroy(m);
    saved_close(&s);
    unlink(path);
}

/* -- a forged one -------------------------------------------------------------------------------------------------- */

/* Where the region's byte lies in the file; 0: it was not saved. */
static u64 at_of(u64 offset)
{
    for (u64 i = 0; i < nr_extents; i++)
        if (offset - extent[i].offset < extent[i].bytes)
            return extent[i].at + offset - extent[i].offset;
    return 0;
}

/* A word of the file, three times of four one that views look at; *va: its address on the machine. */
static u64 take_place(struct input *in, u64 *va)
{
    u64 kind = take_u8(in), i = take_u16(in), offset;
    const struct hot *h = &hot[i % nr_hot];

    if (kind % 4) {
        offset = (h->offset + take_u16(in) * 8 % MAX(h->bytes, 8)) & ~7ull;
    } else {
        const struct saved_extent *e = &extent[i % nr_extents];

        offset = e->offset + (take_u64(in) * 8 % e->bytes);
    }
    *va = region + offset;
    return at_of(offset) ? at_of(offset) : SAVED_DATA_AT;
}

static u64 word_at(u64 at)
{
    u64 v;

    memcpy(&v, file + at, sizeof(v));
    return v;
}

static u64 take_word(struct input *in, u64 old, u64 own)
{
    u64 other;

    switch (take_u8(in) % 8) {
    case 0:
        return take_u64(in);
    case 1:
        return old ^ 1ull << take_u8(in) % 64;
    case 2:
        return old + (u64)(s64)(s8)take_u8(in);
    case 3:
        return own; /* a list of its own */
    case 4:
        take_place(in, &other); /* somewhere else in the machine */
        return other;
    case 5:
        return own + (u64)(s64)(s8)take_u8(in) * 8;
    default:
        return word_at(take_place(in, &other)); /* what is there: mostly pointers where there are pointers */
    }
}

static void forge(struct input *in)
{
    u32 changes = 1 + take_u8(in) % 12;
    struct saved_header *h = (void *)forged;
    struct saved_extent *e = (void *)(forged + ((char *)extent - file));

    memcpy(forged, file, file_bytes);
    while (changes-- && more(in)) {
        u64 va, at = take_place(in, &va), v = take_word(in, word_at(at), va);

        memcpy(forged + at, &v, sizeof(v));
    }
    for (u64 i = 0; i < nr_extents; i++)
        e[i].hash = XXH3_64bits(forged + e[i].at, e[i].bytes);
    h->directory_hash = XXH3_64bits(forged + h->directory_at, h->directory_bytes);
    h->header_hash = XXH3_64bits(h, offsetof(struct saved_header, header_hash));
}

/* -- `quire cat` ---------------------------------------------------------------------------------------------------- */

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

struct question {
    struct cat_options o;
    char name[NAMES][64], *names[NAMES + 1];
};

static void ask(struct question *q, struct input *in, const char *path)
{
    u32 nr = take_u8(in) % (NAMES + 1), files = 0;

    while (proc_file(files))
        files++;
    q->o = (struct cat_options){.file = path, .json = take_u8(in) % 4 == 0, .patience_s = 1, .names = q->names};
    for (u32 i = 0; i < nr; i++) {
        const struct proc_file *f = proc_file(take_u8(in) % files);

        if (q->o.json && f->binary)
            f = proc_file(0);
        q->names[i] = q->name[i];
        if (f->scope == PROC_MACHINE)
            snprintf(q->name[i], sizeof(q->name[i]), "%s", f->name);
        else
            snprintf(q->name[i], sizeof(q->name[i]), "%u/%s", FIRST + i % 2, f->name);
    }
    q->names[nr] = NULL;
}

static int run(const struct question *q, int err)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        alarm(SECONDS);
        dup2(err, STDERR_FILENO);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        status = cat_views(&q->o);
        fflush(stdout);
        _exit(status);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/*
 * The message, behind what the undefined-behaviour sanitizer has to say of pointers that were forged: they are followed
 * as far as they go.
 */
static const char *message(const char *said)
{
    const char *line = said, *next;

    if (!strstr(said, ": runtime error: "))
        return said;
    while ((next = strchr(line, '\n')) && next[1])
        line = next + 1;
    if (getenv("FUZZ_TRACE"))
        fprintf(stderr, "%.*s\n", (int)strcspn(said, "\n"), said);
    return strncmp(line, "quire: ", 7) == 0 ? line : "";
}

/* Status 0 and no word, or 2 and one line. */
static bool is_answer(int status, const char *line)
{
    if (!status)
        return !*line;
    return status == EXIT_USAGE && strncmp(line, "quire: ", 7) == 0 && strchr(line, '\n') == line + strlen(line) - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct question q;
    char path[64], said[16384];
    int fd = memfd_create("forged", 0), err = memfd_create("stderr", MFD_CLOEXEC), status;
    ssize_t n;

    if (!file_bytes)
        begin();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ask(&q, &in, path);
    forge(&in);
    REQUIRE(write(fd, forged, file_bytes) == (ssize_t)file_bytes);
    status = run(&q, err);
    n = pread(err, said, sizeof(said) - 1, 0);
    said[MAX(n, 0)] = 0;
    if (!is_answer(status, message(said))) {
        fprintf(stderr, "status %d: %s\n", status, said);
        abort();
    }
    if (getenv("FUZZ_TRACE"))
        fprintf(stderr, "%d %s%s", status, message(said), status ? "" : "\n");
    close(fd);
    close(err);
    return 0;
}
