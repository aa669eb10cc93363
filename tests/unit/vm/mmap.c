/* SPDX-License-Identifier: MIT */
/*
 * mmap, munmap, mprotect, mremap, brk, madvise and stack growth on a machine with all floors: split and merge as
 * pictures, every allocation failing once, limits, layout. tests/oracle compares with the kernel at
 * random; here is what it cannot reach.
 *
 * Pictures: one character per page of an arena. '.' hole · n PROT_NONE · r read · w read and write ·
 * x read and execute · s shared anonymous, read and write. A capital begins a VMA.
 */

#include "tests/unit/testing_full.h"
#include "cache/filemap.h"
#include "phys/page_alloc.h"
#include "vm/vma.h"

#define ARENA 0x100000000ul
#define AT(page) (ARENA + (va_t)(page)*PAGE_SIZE)
#define MAX_PICTURE 64
#define ANON (MAP_PRIVATE_ | MAP_ANONYMOUS_)

static u32 prot_of(char c)
{
    switch (c | 0x20) {
    case 'r':
        return PROT_READ_;
    case 'x':
        return PROT_READ_ | PROT_EXEC_;
    case 'n':
        return PROT_NONE_;
    default:
        return PROT_READ_ | PROT_WRITE_;
    }
}

static char letter_of(const struct vm_area_struct *vma)
{
    if (vma->vm_flags & VM_MAYSHARE)
        return 's';
    if (vma->vm_flags & VM_WRITE)
        return 'w';
    if (vma->vm_flags & VM_EXEC)
        return 'x';
    return vma->vm_flags & VM_READ ? 'r' : 'n';
}

static void draw(struct cpu *cpu, char *out, u32 pages)
{
    struct vm_area_struct *vma;

    memset(out, '.', pages);
    out[pages] = '\0';
    for_each_vma (vma, cpu->current->mm) {
        for (va_t a = vma->vm_start; a < vma->vm_end; a += PAGE_SIZE)
            if (a >= ARENA && a < AT(pages))
                out[(a - ARENA) >> PAGE_SHIFT] = (char)(letter_of(vma) & (a == vma->vm_start ? ~0x20 : ~0));
    }
}

static void expect(struct cpu *cpu, const char *what, const char *picture)
{
    char found[MAX_PICTURE + 1];

    draw(cpu, found, (u32)strlen(picture));
    if (strcmp(found, picture))
        fail_msg("%s: found \"%s\", expected \"%s\"", what, found, picture);
    assert_books(vma_check, cpu->current->mm);
}

/* Each VMA of the picture by an mmap() of its own. */
static void build(struct cpu *cpu, const char *picture)
{
    for (u32 i = 0, j; picture[i]; i = j) {
        for (j = i + 1; picture[j] && picture[j] != '.' && (picture[j] & 0x20) && picture[i] != '.'; j++)
            ;
        if (picture[i] != '.')
            assert_int_equal(sys_mmap(cpu, AT(i), (j - i) * PAGE_SIZE, prot_of(picture[i]),
                                      MAP_FIXED_ | MAP_ANONYMOUS_ | (picture[i] == 'S' ? MAP_SHARED_ : MAP_PRIVATE_),
                                      NULL, 0),
                             AT(i));
    }
    expect(cpu, "build", picture);
}

enum what { MAP, UNMAP, PROTECT, REMAP, ADVISE, TOUCH };

/* One operation: pages [at, at + nr); `c` the protection; REMAP: to `to` with `new_nr`; ADVISE: `to` is the advice. */
struct operation {
    enum what what;
    u32 at, nr;
    char c;
    u32 to, new_nr;
};

struct picture_case {
    const char *name;
    const char *before;
    struct operation op[3]; /* all but the last non-empty one are preparation */
    const char *after;
};

static const struct picture_case cases[] = {
    /* a new mapping: the four ways */
    {"map apart", "....Ww....", {{MAP, 0, 2, 'w', 0, 0}}, "Ww..Ww...."},
    {"map, merge left", "Ww........", {{MAP, 2, 2, 'w', 0, 0}}, "Wwww......"},
    {"map, merge right", "..Ww......", {{MAP, 0, 2, 'w', 0, 0}}, "Wwww......"},
    {"map, merge both", "Ww..Ww....", {{MAP, 2, 2, 'w', 0, 0}}, "Wwwwww...."},
    {"map, other rights", "Rr..Ww....", {{MAP, 2, 2, 'x', 0, 0}}, "RrXxWw...."},
    {"map, merge with one of two", "Rr..Ww....", {{MAP, 2, 2, 'r', 0, 0}}, "RrrrWw...."},
    {"shared objects stay apart", "Ss........", {{MAP, 2, 2, 's', 0, 0}}, "SsSs......"},
    /* over what is there */
    {"over the middle", "Wwwwwwww..", {{MAP, 2, 3, 'r', 0, 0}}, "WwRrrWww.."},
    {"over several", "WwRrXxWw..", {{MAP, 1, 6, 'n', 0, 0}}, "WNnnnnnW.."},
    {"over the same", "Wwww......", {{MAP, 1, 2, 'w', 0, 0}}, "Wwww......"},
    {"over an end", "WwwRrr....", {{MAP, 2, 2, 'r', 0, 0}}, "WwRrrr...."},
    /* unmapping */
    {"hole in the middle", "Wwwwww....", {{UNMAP, 2, 2, 0, 0, 0}}, "Ww..Ww...."},
    {"head", "Wwwwww....", {{UNMAP, 0, 2, 0, 0, 0}}, "..Wwww...."},
    {"tail", "Wwwwww....", {{UNMAP, 4, 5, 0, 0, 0}}, "Wwww......"},
    {"across", "WwRrXxWw..", {{UNMAP, 1, 6, 0, 0, 0}}, "W......W.."},
    {"nothing there", "Ww....Ww..", {{UNMAP, 2, 4, 0, 0, 0}}, "Ww....Ww.."},
    /* protection: the eight ways of an existing range */
    {"cut out", "Wwwwww....", {{PROTECT, 2, 2, 'r', 0, 0}}, "WwRrWw...."},
    {"cut at the start", "Wwwwww....", {{PROTECT, 0, 2, 'r', 0, 0}}, "RrWwww...."},
    {"cut at the end", "Wwwwww....", {{PROTECT, 4, 2, 'r', 0, 0}}, "WwwwRr...."},
    {"whole, joins left", "RrWwXx....", {{PROTECT, 2, 2, 'r', 0, 0}}, "RrrrXx...."},
    {"whole, joins right", "XxWwRr....", {{PROTECT, 2, 2, 'r', 0, 0}}, "XxRrrr...."},
    {"whole, joins both", "RrWwRr....", {{PROTECT, 2, 2, 'r', 0, 0}}, "Rrrrrr...."},
    {"boundary moves right", "RrWwww....", {{PROTECT, 2, 2, 'r', 0, 0}}, "RrrrWw...."},
    {"boundary moves left", "WwwwRr....", {{PROTECT, 2, 2, 'r', 0, 0}}, "WwRrrr...."},
    {"several to one", "RrWwXxNn..", {{PROTECT, 0, 8, 'r', 0, 0}}, "Rrrrrrrr.."},
    /* with pages: the anon_vmas must fit */
    {"touched: stays committed, so joins none",
     "RrWwRr....",
     {{TOUCH, 2, 1, 0, 0, 0}, {PROTECT, 2, 2, 'r', 0, 0}},
     "RrRrRr...."},
    {"neighbours touched one after the other",
     "WwNnWw....",
     {{TOUCH, 0, 1, 0, 0, 0}, {TOUCH, 4, 1, 0, 0, 0}, {PROTECT, 2, 2, 'w', 0, 0}},
     "WwwwWw...."},
    /* mremap */
    {"grow in place", "Ww........", {{REMAP, 0, 2, 0, 0, 4}}, "Wwww......"},
    {"grow into touching", "Ww..Ww....", {{REMAP, 0, 2, 0, 0, 4}}, "Wwwwww...."},
    {"shrink", "Wwwwww....", {{REMAP, 0, 6, 0, 0, 2}}, "Ww........"},
    {"move, untouched, merges there", "Ww....Ww..", {{REMAP, 0, 2, 0, 4, 2}}, "....Wwww.."},
    {"move a part", "Wwwwww....", {{REMAP, 2, 2, 0, 7, 2}}, "Ww..Ww.Ww."},
    {"move touched, stays apart", "Ww....Ww..", {{TOUCH, 0, 1, 0, 0, 0}, {REMAP, 0, 2, 0, 4, 2}}, "....WwWw.."},
    {"move several", "RrWw......", {{REMAP, 0, 4, 0, 5, 4}}, ".....RrWw."},
    /* advice that changes flags */
    {"advise the middle", "Wwwwww....", {{ADVISE, 2, 2, 0, 10, 0}}, "WwWwWw...."},
    {"advise and take back", "Wwwwww....", {{ADVISE, 2, 2, 0, 10, 0}, {ADVISE, 1, 4, 0, 11, 0}}, "Wwwwww...."},
};

static s64 perform(struct cpu *cpu, const struct operation *o)
{
    va_t at = AT(o->at);
    u64 len = o->nr * PAGE_SIZE;

    switch (o->what) {
    case MAP:
        return sys_mmap(cpu, at, len, prot_of(o->c),
                        MAP_FIXED_ | MAP_ANONYMOUS_ | (o->c == 's' ? MAP_SHARED_ : MAP_PRIVATE_), NULL, 0);
    case UNMAP:
        return sys_munmap(cpu, at, len);
    case PROTECT:
        return sys_mprotect(cpu, at, len, prot_of(o->c));
    case REMAP:
        return sys_mremap(cpu, at, len, o->new_nr * PAGE_SIZE, o->to ? MREMAP_MAYMOVE_ | MREMAP_FIXED_ : 0, AT(o->to));
    case ADVISE:
        return sys_madvise(cpu, at, len, (int)o->to);
    default:
        return sys_madvise(cpu, at, len, 23); /* POPULATE_WRITE */
    }
}

static const struct operation *prepare(struct cpu *cpu, const struct picture_case *t)
{
    u32 i = 0;

    build(cpu, t->before);
    for (; i < 2 && t->op[i + 1].nr; i++)
        assert_true(perform(cpu, &t->op[i]) >= 0);
    return &t->op[i];
}

static void test_pictures(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct task *t = test_task(cpu, 1);
        s64 result = perform(cpu, prepare(cpu, &cases[i]));

        if (result < 0)
            fail_msg("%s: %lld", cases[i].name, (long long)result);
        expect(cpu, cases[i].name, cases[i].after);
        task_exit(cpu, t);
        assert_int_equal(atomic_load(&m->vm->vm_committed_as), 0);
    }
    assert_books(machine_check, m);
    test_machine_end(m);
}

/* 10 times 1000 pages become 10 at another place: 6.18 then has 9900 pages in Committed_AS that nobody has. */
static void test_shrinking_move(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    const u32 flags = MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_FIXED_, move = MREMAP_MAYMOVE_ | MREMAP_FIXED_;
    struct task *t = test_task(cpu, 1);

    for (s64 i = 1; i <= 10; i++) {
        assert_int_equal(sys_mmap(cpu, AT(0), 1000 * PAGE_SIZE, PROT_READ_ | PROT_WRITE_, flags, NULL, 0), AT(0));
        assert_int_equal(sys_mremap(cpu, AT(0), 1000 * PAGE_SIZE, 10 * PAGE_SIZE, move, AT(2000)), AT(2000));
        assert_int_equal(atomic_load(&m->vm->vm_committed_as), 990 * i + 10);
    }
    /* in place, and of what is not accounted: nothing is lost */
    assert_int_equal(sys_mremap(cpu, AT(2000), 10 * PAGE_SIZE, 5 * PAGE_SIZE, MREMAP_MAYMOVE_, 0), AT(2000));
    assert_int_equal(sys_mmap(cpu, AT(0), 1000 * PAGE_SIZE, PROT_READ_, flags, NULL, 0), AT(0));
    assert_int_equal(sys_mremap(cpu, AT(0), 1000 * PAGE_SIZE, 10 * PAGE_SIZE, move, AT(3000)), AT(3000));
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 9905);
    task_exit(cpu, t);
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 9900);
    assert_books(machine_check, m);
    test_machine_end(m);
}

static void expect_unchanged(struct cpu *cpu, const char *what, const char *picture, u64 total_vm, s64 committed)
{
    expect(cpu, what, picture);
    assert_int_equal(cpu->current->mm->total_vm, total_vm);
    assert_int_equal(atomic_load(&cpu->m->vm->vm_committed_as), committed);
}

/* One case with its n-th allocation failing; false: it had fewer. */
static bool picture_failing(struct cpu *cpu, const struct picture_case *t, u64 nth)
{
    bool one_by_one = strstr(t->name, "several to") || strstr(t->name, "move several");
    struct machine *m = cpu->m;
    struct task *task = test_task(cpu, 1);
    const struct operation *op = prepare(cpu, t);
    u64 total_vm = task->mm->total_vm;
    s64 committed = atomic_load(&m->vm->vm_committed_as), result;
    char before[MAX_PICTURE + 1];
    bool failed;

    draw(cpu, before, (u32)strlen(t->before));
    fail_arm(m, nth);
    result = perform(cpu, op);
    failed = fail_injected(m);
    if (result < 0 && !one_by_one) {
        assert_true(failed);
        assert_int_equal(result, op->what == ADVISE ? -EAGAIN : -ENOMEM);
        if (op->what != REMAP || !op->to) /* the target of MREMAP_FIXED goes first */
            expect_unchanged(cpu, t->name, before, total_vm, committed);
    } else if (!failed) {
        expect(cpu, t->name, t->after);
    }
    assert_books(vma_check, task->mm);
    task_exit(cpu, task);
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 0);
    return failed;
}

/*
 * Every allocation of every case fails once: the list is as it was, and so are the counters. Two kinds of call
 * go on without: a merge that needs memory (the VMAs stay apart), and mprotect() and move of several VMAs,
 * which are done one by one.
 */
static void test_pictures_failing(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (u64 nth = 1; picture_failing(cpu, &cases[i], nth); nth++)
            ;
    assert_books(machine_check, m);
    test_machine_end(m);
}

/*
 * A move that is undone puts back what it has cut, and makes no more one: neighbours that would fit, but are apart since
 * the first one was locked until its pages were moved away, stay so.
 */
static void test_undone_move(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1);
    u64 nth = 1;
    s64 at;

    build(cpu, "Wwwwwwww........");
    assert_int_equal(sys_mlock(cpu, AT(0), 4 * PAGE_SIZE), 0);
    assert_int_equal(sys_mremap(cpu, AT(0), 4 * PAGE_SIZE, 4 * PAGE_SIZE,
                                MREMAP_MAYMOVE_ | MREMAP_DONTUNMAP_ | MREMAP_FIXED_, AT(40)),
                     AT(40));
    expect(cpu, "left behind", "WwwwWwww........");
    for (;; nth++) {
        fail_arm(m, nth);
        at = sys_mremap(cpu, AT(2), 2 * PAGE_SIZE, 16 * PAGE_SIZE, MREMAP_MAYMOVE_, 0);
        if (!fail_injected(m))
            break;
        if (at == -ENOMEM)
            expect(cpu, "undone", "WwwwWwww........");
    }
    assert_true(nth > 2 && at > 0);
    expect(cpu, "moved", "Ww..Wwww........");
    task_exit(cpu, t);
    assert_books(machine_check, m);
    test_machine_end(m);
}

/* -- arguments and limits ------------------------------------------------------------------------------------------ */

static void test_errno(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1);
    const u64 top = t->mm->task_size;
    struct file *ro = file_open(cpu, 1, 2, 16 * PAGE_SIZE, FMODE_READ, "ro"),
                *wo = file_open(cpu, 1, 2, 16 * PAGE_SIZE, FMODE_WRITE, "wo");
    const struct {
        va_t addr;
        u64 len;
        u32 prot, flags;
        struct file *file;
        u64 off;
        s64 result;
    } maps[] = {
        {0, 0, 1, ANON, NULL, 0, -EINVAL},
        {0, PAGE_SIZE, 1, ANON, NULL, 1, -EINVAL},
        {0, PAGE_SIZE, 1, MAP_ANONYMOUS_, NULL, 0, -EINVAL},
        {0, PAGE_SIZE, 1, MAP_ANONYMOUS_ | MAP_SHARED_VALIDATE_, NULL, 0, -EINVAL},
        {0, PAGE_SIZE, 1, MAP_PRIVATE_, NULL, 0, -EBADF},
        {0, ~0ul, 1, ANON, NULL, 0, -ENOMEM},
        {0, top + PAGE_SIZE, 1, ANON, NULL, 0, -ENOMEM},
        {top, PAGE_SIZE, 1, ANON | MAP_FIXED_, NULL, 0, -ENOMEM},
        {AT(0) + 1, PAGE_SIZE, 1, ANON | MAP_FIXED_, NULL, 0, -EINVAL},
        {0x1000, PAGE_SIZE, 1, ANON | MAP_FIXED_, NULL, 0, -EPERM},
        {0x1000, PAGE_SIZE, 1, ANON, NULL, 0, 0x10000}, /* a hint below mmap_min_addr is moved there */
        {0, PAGE_SIZE, 1, MAP_SHARED_ | MAP_ANONYMOUS_ | MAP_GROWSDOWN_, NULL, 0, -EINVAL},
        {0, PAGE_SIZE, 1, ANON | MAP_HUGETLB_, NULL, 0, -ENOMEM},
        {0, PAGE_SIZE, 1, ANON | MAP_HUGETLB_ | 5u << 26, NULL, 0, -EINVAL},
        {0, PAGE_SIZE, PROT_WRITE_, MAP_SHARED_, ro, 0, -EACCES},
        {0, PAGE_SIZE, PROT_READ_, MAP_PRIVATE_, wo, 0, -EACCES},
        {0, PAGE_SIZE, PROT_READ_, MAP_PRIVATE_ | MAP_GROWSDOWN_, ro, 0, -EINVAL},
        {0, PAGE_SIZE, PROT_READ_, MAP_PRIVATE_, ro, ~0xffful, -EOVERFLOW},
        {0, PAGE_SIZE, PROT_READ_, MAP_SHARED_VALIDATE_ | 0x8000000u, ro, 0, 1},
        {AT(20), PAGE_SIZE, PROT_READ_, MAP_SHARED_VALIDATE_ | MAP_FIXED_NOREPLACE_, ro, 0, -EOPNOTSUPP},
    };

    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        s64 r = sys_mmap(cpu, maps[i].addr, maps[i].len, maps[i].prot, maps[i].flags, maps[i].file, maps[i].off);

        if (maps[i].result == 1 ? r < 0 : r != maps[i].result)
            fail_msg("case %zu: %lld, expected %lld", i, (long long)r, (long long)maps[i].result);
    }
    /* A mapping of a read-only file that is shared cannot become writable; a private one can. */
    assert_int_equal(sys_mmap(cpu, AT(0), PAGE_SIZE, PROT_READ_, MAP_SHARED_ | MAP_FIXED_, ro, 0), AT(0));
    assert_int_equal(sys_mprotect(cpu, AT(0), PAGE_SIZE, PROT_WRITE_), -EACCES);
    assert_int_equal(sys_mmap(cpu, AT(0), PAGE_SIZE, PROT_READ_, MAP_PRIVATE_ | MAP_FIXED_, ro, 0), AT(0));
    assert_int_equal(sys_mprotect(cpu, AT(0), PAGE_SIZE, PROT_WRITE_), 0);
    assert_int_equal(sys_mmap(cpu, AT(0), PAGE_SIZE, 1, ANON | MAP_FIXED_NOREPLACE_, NULL, 0), -EEXIST);
    assert_books(vma_check, t->mm);
    task_exit(cpu, t);
    fput(cpu, ro);
    fput(cpu, wo);
    assert_books(machine_check, m);
    test_machine_end(m);
}

static void test_rlimits(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1);
    struct mm *mm = t->mm;

    build(cpu, "Wwww......");
    test_set_soft_limit(t, RLIMIT_AS_, 6 * PAGE_SIZE);
    assert_int_equal(sys_mmap(cpu, AT(8), 3 * PAGE_SIZE, 1, ANON | MAP_FIXED_, NULL, 0), -ENOMEM);
    assert_int_equal(sys_mmap(cpu, AT(2), 4 * PAGE_SIZE, 1, ANON | MAP_FIXED_, NULL, 0), AT(2)); /* replaces two */
    expect(cpu, "RLIMIT_AS", "WwRrrr....");
    assert_int_equal(sys_mremap(cpu, AT(2), 4 * PAGE_SIZE, 5 * PAGE_SIZE, 0, 0), -ENOMEM);
    test_set_soft_limit(t, RLIMIT_AS_, RLIM_INFINITY_);

    test_set_soft_limit(t, RLIMIT_DATA_, 3 * PAGE_SIZE);
    assert_int_equal(mm->data_vm, 2);
    assert_int_equal(sys_mprotect(cpu, AT(2), 2 * PAGE_SIZE, PROT_READ_ | PROT_WRITE_), -ENOMEM);
    assert_int_equal(sys_mprotect(cpu, AT(2), PAGE_SIZE, PROT_READ_ | PROT_WRITE_), 0);
    expect(cpu, "RLIMIT_DATA", "WwwRrr....");
    test_set_soft_limit(t, RLIMIT_DATA_, RLIM_INFINITY_);

    test_set_soft_limit(t, RLIMIT_MEMLOCK_, 2 * PAGE_SIZE);
    assert_int_equal(sys_mmap(cpu, AT(8), 3 * PAGE_SIZE, 1, ANON | MAP_FIXED_ | MAP_LOCKED_, NULL, 0), -EAGAIN);
    assert_int_equal(sys_mmap(cpu, AT(8), 2 * PAGE_SIZE, 3, ANON | MAP_FIXED_ | MAP_LOCKED_, NULL, 0), AT(8));
    assert_int_equal(mm->locked_vm, 2);
    assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 2);
    test_set_soft_limit(t, RLIMIT_MEMLOCK_, 0);
    assert_int_equal(sys_mmap(cpu, AT(20), PAGE_SIZE, 1, ANON | MAP_FIXED_ | MAP_LOCKED_, NULL, 0), -EPERM);
    task_exit(cpu, t);
    assert_books(machine_check, m);
    test_machine_end(m);
}

static void test_map_count(void **state)
{
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    struct task *t;

    test_config(&c);
    c.max_map_count = 3;
    m = test_machine_full(&c);
    cpu = test_cpu(m);
    t = test_task(cpu, 1);
    build(cpu, "WwwwRr....");
    assert_int_equal(sys_mprotect(cpu, AT(1), PAGE_SIZE, PROT_READ_), -ENOMEM); /* would be 4 */
    expect(cpu, "as before", "WwwwRr....");
    assert_int_equal(sys_mprotect(cpu, AT(0), PAGE_SIZE, PROT_READ_), 0);
    assert_int_equal(sys_munmap(cpu, AT(2), PAGE_SIZE), -ENOMEM);
    assert_int_equal(sys_munmap(cpu, AT(3), PAGE_SIZE), 0);
    expect(cpu, "no hole", "RWw.Rr....");
    task_exit(cpu, t);
    test_machine_end(m);
}

static void test_overcommit(void **state)
{
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    struct task *t;
    u64 ram, limit;

    test_config(&c);
    c.overcommit_memory = 2;
    c.admin_reserve_kbytes = c.user_reserve_kbytes = 0;
    m = test_machine_full(&c);
    cpu = test_cpu(m);
    t = test_task(cpu, 1);
    limit = totalram_pages(m) * c.overcommit_ratio / 100;
    /* Refused once the sum reaches the limit; NORESERVE has no meaning in this mode. */
    assert_int_equal(sys_mmap(cpu, AT(0), (limit - 1) * PAGE_SIZE, 3, ANON | MAP_FIXED_ | MAP_NORESERVE_, NULL, 0),
                     AT(0));
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), limit - 1);
    assert_int_equal(sys_mmap(cpu, 0, PAGE_SIZE, 3, ANON, NULL, 0), -ENOMEM);
    assert_true(sys_mmap(cpu, 0, PAGE_SIZE, 1, ANON, NULL, 0) > 0);
    assert_int_equal(sys_mprotect(cpu, AT(0), PAGE_SIZE, PROT_READ_), 0); /* no page yet: given back */
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), limit - 2);
    assert_int_equal(sys_munmap(cpu, AT(0), (limit - 1) * PAGE_SIZE), 0);
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 0);
    task_exit(cpu, t);
    test_machine_end(m);

    test_config(&c);
    m = test_machine_full(&c);
    cpu = test_cpu(m);
    t = test_task(cpu, 1);
    ram = totalram_pages(m);
    assert_int_equal(sys_mmap(cpu, 0, (ram + 1) * PAGE_SIZE, 3, ANON, NULL, 0), -ENOMEM);
    assert_true(sys_mmap(cpu, 0, ram * PAGE_SIZE, 3, ANON, NULL, 0) > 0);
    assert_true(sys_mmap(cpu, 0, ram * PAGE_SIZE, 3, ANON, NULL, 0) > 0);
    assert_true(sys_mmap(cpu, 0, (ram + 1) * PAGE_SIZE, 3, ANON | MAP_NORESERVE_, NULL, 0) > 0);
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 2 * ram);
    task_exit(cpu, t);
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 0);
    test_machine_end(m);
}

/* -- layout -------------------------------------------------------------------------------------------------------- */

static void test_layout(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1);
    struct mm *mm = t->mm;
    const u64 window = 0x7ffffffff000ul, guard = 256 * PAGE_SIZE;
    va_t base;

    /* 8 MiB of stack and the guard gap are less than the least gap, 128 MiB. */
    assert_int_equal(mm->mmap_base, window - (128ul << 20));
    arch_pick_mmap_layout(mm, 1ul << 30, 0);
    assert_int_equal(mm->mmap_base, window - (1ul << 30) - guard);
    arch_pick_mmap_layout(mm, RLIM_INFINITY_, 0);
    assert_int_equal(mm->mmap_base, ALIGN_UP(window - window / 6 * 5, PAGE_SIZE));
    arch_pick_mmap_layout(mm, 8ul << 20, 0);
    base = mm->mmap_base;

    assert_int_equal(sys_mmap(cpu, 0, 4 * PAGE_SIZE, 1, ANON, NULL, 0), base - 4 * PAGE_SIZE);
    assert_int_equal(sys_mmap(cpu, 0, 2 * PAGE_SIZE, 3, ANON, NULL, 0), base - 6 * PAGE_SIZE);
    assert_int_equal(sys_munmap(cpu, base - 3 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
    assert_int_equal(sys_mmap(cpu, 0, 3 * PAGE_SIZE, 3, ANON, NULL, 0),
                     base - 9 * PAGE_SIZE); /* does not fit the hole */
    assert_int_equal(sys_mmap(cpu, 0, 2 * PAGE_SIZE, 3, ANON, NULL, 0), base - 3 * PAGE_SIZE); /* does */
    assert_int_equal(sys_mmap(cpu, AT(3) + 5, PAGE_SIZE, 1, ANON, NULL, 0), AT(3));            /* hint */
    assert_int_equal(sys_mmap(cpu, AT(3), PAGE_SIZE, 1, ANON, NULL, 0), base - 10 * PAGE_SIZE);
    assert_int_equal(sys_mmap(cpu, 0, PAGE_SIZE, 1, ANON | MAP_32BIT_, NULL, 0), 0x40000000);

    /* A stack keeps its guard gap free from others, above which they stay or below which they go. */
    assert_int_equal(sys_mmap(cpu, base - 20 * PAGE_SIZE, PAGE_SIZE, 3, ANON | MAP_FIXED_ | MAP_GROWSDOWN_, NULL, 0),
                     base - 20 * PAGE_SIZE);
    assert_int_equal(sys_mmap(cpu, 0, 10 * PAGE_SIZE, 1, ANON, NULL, 0),
                     base - 20 * PAGE_SIZE - guard - 10 * PAGE_SIZE);
    assert_int_equal(sys_mmap(cpu, base - 40 * PAGE_SIZE, PAGE_SIZE, 1, ANON, NULL, 0),
                     base - 11 * PAGE_SIZE); /* the hint lies in the gap: as if there were none */
    assert_books(vma_check, mm);
    task_exit(cpu, t);
    test_machine_end(m);
}

static void test_layout_formats(void **state)
{
    for (u32 f = 0; f < NR_PT_FORMATS; f++) {
        struct machine_config c;
        struct machine *m;
        struct cpu *cpu;
        struct task *t;
        s64 a;

        test_config_of(&c, (enum pt_format_id)f, 256ul << 20, 1);
        c.legacy_va_layout = f & 1;
        m = test_machine_full(&c);
        cpu = test_cpu(m);
        t = test_task(cpu, 1);
        a = sys_mmap(cpu, 0, 3 * PAGE_SIZE, 3, ANON | MAP_POPULATE_, NULL, 0);
        assert_int_equal(a, f & 1 ? t->mm->mmap_legacy_base : t->mm->mmap_base - 3 * PAGE_SIZE);
        assert_int_equal(get_mm_counter(t->mm, MM_ANONPAGES), 3);
        if (f == PT_X86_64_5L) { /* above 47 bits only for those who ask */
            assert_true((u64)a < 1ul << 47);
            assert_int_equal(sys_mmap(cpu, 1ul << 50, PAGE_SIZE, 1, ANON, NULL, 0), 1ul << 50);
        }
        task_exit(cpu, t);
        assert_books(machine_check, m);
        test_machine_end(m);
    }
}

static void test_aslr(void **state)
{
    struct machine_config c;
    va_t base[2];

    for (u32 i = 0; i < 2; i++) {
        struct machine *m;

        test_config(&c);
        c.randomize_va_space = 2;
        c.aslr_seed = 7 + i;
        m = test_machine_full(&c);
        base[i] = test_task(test_cpu(m), 1)->mm->mmap_base;
        assert_true(IS_ALIGNED(base[i], PAGE_SIZE));
        /* 28 bits of pages below the end of the gap for stack and its randomisation */
        assert_in_range(0x7ffffffff000ul - base[i], 16ul << 30, (16ul << 30) + (1ul << 40) + (8ul << 20) + (1ul << 20));
        task_exit(test_cpu(m), test_cpu(m)->current);
        test_machine_end(m);
    }
    assert_int_not_equal(base[0], base[1]);
}

/* -- brk, stack, vmacache ------------------------------------------------------------------------------------------ */

static void test_brk(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1);
    struct mm *mm = t->mm;

    mm->start_brk = mm->brk = AT(0) + 0x234;
    assert_int_equal(sys_brk(cpu, 0), AT(0) + 0x234);
    assert_int_equal(sys_brk(cpu, AT(0) + 0x800), AT(0) + 0x800);
    assert_int_equal(sys_brk(cpu, AT(3)), AT(3));
    expect(cpu, "grown", ".Ww.......");
    assert_int_equal(mm->data_vm, 2);
    assert_int_equal(sys_brk(cpu, AT(5)), AT(5));
    expect(cpu, "grown", ".Wwww.....");
    assert_int_equal(sys_brk(cpu, AT(2) + 1), AT(2) + 1);
    expect(cpu, "shrunk", ".Ww.......");
    /* A page stays free between the heap and what lies above. */
    assert_int_equal(sys_mmap(cpu, AT(6), PAGE_SIZE, 1, ANON | MAP_FIXED_, NULL, 0), AT(6));
    assert_int_equal(sys_brk(cpu, AT(6)), AT(2) + 1);
    assert_int_equal(sys_brk(cpu, AT(5)), AT(5));
    test_set_soft_limit(t, RLIMIT_DATA_, 3 * PAGE_SIZE);
    assert_int_equal(sys_brk(cpu, AT(4)), AT(5)); /* 0x234 bytes less than the limit's 3 pages would do */
    assert_int_equal(sys_brk(cpu, AT(3)), AT(3));
    task_exit(cpu, t);
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 0);
    test_machine_end(m);
}

static void test_stack(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1);
    struct mm *mm = t->mm;
    struct vm_area_struct *vma;

    assert_int_equal(sys_mmap(cpu, AT(1000), 2 * PAGE_SIZE, 3, ANON | MAP_FIXED_ | MAP_GROWSDOWN_, NULL, 0), AT(1000));
    assert_int_equal(sys_mmap(cpu, AT(700), PAGE_SIZE, 1, ANON | MAP_FIXED_, NULL, 0), AT(700));
    vma = vma_lookup(cpu, mm, AT(1001));
    down_write(cpu, &mm->mmap_lock);
    assert_int_equal(expand_stack(cpu, vma, AT(990) + 17), 0);
    assert_int_equal(vma->vm_start, AT(990));
    assert_int_equal(vma->vm_pgoff.nr, AT(990) >> PAGE_SHIFT);
    assert_int_equal(mm->stack_vm, 12);
    assert_int_equal(expand_stack(cpu, vma, AT(956)), -ENOMEM); /* 255 pages to the one below */
    assert_int_equal(expand_stack(cpu, vma, AT(957)), 0);
    test_set_soft_limit(t, RLIMIT_STACK_, 46 * PAGE_SIZE);
    assert_int_equal(expand_stack(cpu, vma, AT(955)), -ENOMEM);
    up_write(cpu, &mm->mmap_lock);
    assert_books(vma_check, mm);
    task_exit(cpu, t);
    assert_books(machine_check, m);
    test_machine_end(m);
}

/* A VMA that goes is never found again, also where the same address is mapped anew. */
static void test_vmacache(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1);
    struct mm *mm = t->mm;
    struct vm_area_struct *vma;

    build(cpu, "WwRrWwRr..");
    vma = find_vma(cpu, mm, AT(2));
    assert_ptr_equal(t->vmacache[(AT(2) >> PAGE_SHIFT) & 3].vma, vma);
    assert_ptr_equal(find_vma(cpu, mm, AT(3)), vma);
    assert_int_equal(sys_munmap(cpu, AT(2), 2 * PAGE_SIZE), 0);
    assert_int_not_equal(t->vmacache_seqnum, mm->vmacache_seqnum);
    assert_int_equal(find_vma(cpu, mm, AT(2))->vm_start, AT(4));
    assert_null(vma_lookup(cpu, mm, AT(3)));
    assert_null(find_vma_intersection(cpu, mm, AT(2), AT(4)));
    assert_int_equal(find_vma_prev(cpu, mm, AT(2), &vma)->vm_start, AT(4));
    assert_int_equal(vma->vm_start, AT(0));
    assert_null(find_vma_prev(cpu, mm, AT(9), &vma));
    assert_int_equal(vma->vm_start, AT(6));
    task_exit(cpu, t);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_pictures_failing),
        cmocka_unit_test(test_undone_move),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_rlimits),
        cmocka_unit_test(test_map_count),
        cmocka_unit_test(test_overcommit),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_layout_formats),
        cmocka_unit_test(test_aslr),
        cmocka_unit_test(test_brk),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_vmacache),
        cmocka_unit_test(test_shrinking_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
