/* SPDX-License-Identifier: MIT */
/* fork, exec, exit and reverse mapping: who maps what, which anon_vmas there are, exact counters. */
#include "tests/unit/vm/fault_testing.h"
#include "vm/rmap.h"
#include "vm/vma.h"

/* Who writes first copies, who writes last keeps the page. */
static void test_cow(void **state)
{
    for (int child_first = 0; child_first < 2; child_first++) {
        struct task *order[2], *child;
        struct page *page;
        struct events e;
        struct env v;

        env_init(&v);
        map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
        put_byte(v.cpu, BASE, 11);
        page = page_at(v.cpu, BASE);
        lru_add_drain(v.cpu);
        child = do_fork(v.cpu, 101);
        assert_int_equal(folio_mapcount(page_folio(page)), 2);
        assert_int_equal(page_count(page), 2);
        assert_false(PageAnonExclusive(page));
        assert_int_equal(get_mm_counter(child->mm, MM_ANONPAGES), 1);
        assert_books(machine_check, v.m);

        order[child_first ? 0 : 1] = child;
        order[child_first ? 1 : 0] = v.t;
        e = event_start(v.cpu);
        v.cpu->current = order[0];
        put_byte(v.cpu, BASE, 22);
        assert_event(v.cpu, &e, Q_FAULT_WP_COPY, 1);
        assert_ptr_not_equal(page_at(v.cpu, BASE), page);
        v.cpu->current = order[1];
        assert_int_equal(get_byte(v.cpu, BASE), 11);
        put_byte(v.cpu, BASE, 33);
        assert_event(v.cpu, &e, Q_FAULT_WP_REUSE, 1);
        assert_event(v.cpu, &e, PGREUSE, 1);
        assert_event(v.cpu, &e, Q_FAULT_WP_COPY, 1);
        assert_ptr_equal(page_at(v.cpu, BASE), page);
        assert_true(PageAnonExclusive(page));
        v.cpu->current = order[0];
        assert_int_equal(get_byte(v.cpu, BASE), 22);
        assert_books(machine_check, v.m);
        v.cpu->current = v.t;
        task_exit(v.cpu, child);
        env_end(&v);
    }
}

/* What fork does with each kind of VMA that has one page:
 * does the child have it, its entry, which byte does it read? */
static void test_fork_vmas(void **state)
{
    static const struct {
        const char *name;
        u32 flags;
        int advice;   /* madvise(2) before fork */
        bool written; /* else only read */
        bool has_vma, has_entry;
        u8 byte;
    } rows[] = {
        {"private", MAP_PRIVATE_ | MAP_ANONYMOUS_, 0, true, true, true, 9},
        {"private, zero page only", MAP_PRIVATE_ | MAP_ANONYMOUS_, 0, false, true, false, 0},
        {"shared", MAP_SHARED_ | MAP_ANONYMOUS_, 0, true, true, false, 9},
        {"file, read", MAP_PRIVATE_, 0, false, true, false, 0},
        {"file, private copy", MAP_PRIVATE_, 0, true, true, true, 9},
        {"file, shared", MAP_SHARED_, 0, true, true, false, 9},
        {"DONTFORK", MAP_PRIVATE_ | MAP_ANONYMOUS_, 10, true, false, false, 0},
        {"WIPEONFORK", MAP_PRIVATE_ | MAP_ANONYMOUS_, 18, true, true, false, 0},
    };
    struct task *child;
    struct file *f;
    struct env v;

    env_init(&v);
    f = file_open(v.cpu, 1, 9, 64 * PG, FMODE_READ | FMODE_WRITE, "/f");
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        va_t at = BASE + i * 16 * PG;

        map_at(v.cpu, at, 2, RW, rows[i].flags | MAP_FIXED_, rows[i].flags & MAP_ANONYMOUS_ ? NULL : f, i * 2 * PG);
        if (rows[i].advice)
            assert_int_equal(sys_madvise(v.cpu, at, 2 * PG, rows[i].advice), 0);
        if (rows[i].written)
            put_byte(v.cpu, at, 9);
        else
            assert_int_equal(get_byte(v.cpu, at), 0);
    }
    child = do_fork(v.cpu, 101);
    assert_int_equal(child->mm->total_vm, v.t->mm->total_vm - 2);
    assert_int_equal(child->mm->map_count, v.t->mm->map_count - 1);
    assert_books(machine_check, v.m);
    v.cpu->current = child;
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        va_t at = BASE + i * 16 * PG;

        assert_int_equal(vma_lookup(v.cpu, child->mm, at) != NULL, rows[i].has_vma);
        assert_int_equal(page_at(v.cpu, at) != NULL, rows[i].has_entry);
        if (rows[i].has_vma)
            assert_int_equal(get_byte(v.cpu, at), rows[i].byte);
        else
            assert_int_equal(do_access(v.cpu, at, ACCESS_READ).signo, 11);
    }
    v.cpu->current = v.t;
    task_exit(v.cpu, child);
    fput(v.cpu, f);
    env_end(&v);
}

static void test_threads_and_vfork(void **state)
{
    struct task *thread, *vchild;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    thread = kernel_clone(v.cpu, CLONE_VM_ | CLONE_THREAD_, 101, 100);
    vchild = kernel_clone(v.cpu, CLONE_VM_ | CLONE_VFORK_, 102, 102);
    assert_ptr_equal(thread->mm, v.t->mm);
    assert_ptr_equal(vchild->mm, v.t->mm);
    assert_int_equal(atomic_load(&v.t->mm->mm_users), 3);
    v.cpu->current = vchild;
    put_byte(v.cpu, BASE, 5);
    {
        struct exec_layout l = {.stack_size = 3 * PG, .comm = "new"};

        assert_int_equal(exec_mmap(v.cpu, &l), 0);
    }
    assert_ptr_not_equal(vchild->mm, v.t->mm);
    assert_int_equal(atomic_load(&v.t->mm->mm_users), 2);
    assert_string_equal(vchild->comm, "new");
    assert_int_equal(vchild->mm->map_count, 1);
    assert_int_equal(vchild->mm->stack_vm, 3 + 32);
    assert_int_equal(get_mm_counter(vchild->mm, MM_ANONPAGES), 3);
    assert_int_equal(vma_first(vchild->mm)->vm_end, 0x7ffffffff000ul); /* no randomisation here */
    assert_books(machine_check, v.m);
    v.cpu->current = v.t;
    assert_int_equal(get_byte(v.cpu, BASE), 5);
    assert_ptr_equal(task_find(v.cpu, 101), thread);
    task_exit(v.cpu, thread);
    assert_null(task_find(v.cpu, 101));
    task_exit(v.cpu, vchild);
    env_end(&v);
}

/* The owner of an mm goes first: another of its tasks is the owner then. */
static void test_owner(void **state)
{
    struct task *thread;
    struct env v;

    env_init(&v);
    thread = kernel_clone(v.cpu, CLONE_VM_ | CLONE_THREAD_, 101, 100);
    assert_ptr_equal(v.t->mm->owner, v.t);
    task_exit(v.cpu, v.t);
    v.t = thread;
    v.cpu->current = thread;
    assert_ptr_equal(thread->mm->owner, thread);
    env_end(&v);
}

/* -- anon_vma chains ----------------------------------------------------------------------------------------------- */

static u32 chain_length(const struct vm_area_struct *vma)
{
    const struct list_head *pos;
    u32 n = 0;

    list_for_each (pos, &vma->anon_vma_chain)
        n++;
    return n;
}

/* A child's VMA is in its parents' anon_vmas and one of its own; its new pages are not found through its parent's. */
static void test_chains(void **state)
{
    struct vm_area_struct *pv, *cv, *gv;
    struct task *child, *grandchild;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    put_byte(v.cpu, BASE, 1);
    child = do_fork(v.cpu, 101);
    v.cpu->current = child;
    put_byte(v.cpu, BASE + PG, 2);
    grandchild = do_fork(v.cpu, 102);
    pv = vma_lookup(v.cpu, v.t->mm, BASE);
    cv = vma_lookup(v.cpu, child->mm, BASE);
    gv = vma_lookup(v.cpu, grandchild->mm, BASE);
    assert_int_equal(chain_length(pv), 1);
    assert_int_equal(chain_length(cv), 2);
    assert_int_equal(chain_length(gv), 3);
    assert_ptr_equal(cv->anon_vma->parent, pv->anon_vma);
    assert_ptr_equal(gv->anon_vma->parent, cv->anon_vma);
    assert_ptr_equal(gv->anon_vma->root, pv->anon_vma);
    assert_int_equal(atomic_load(&pv->anon_vma->refcount), 3);
    assert_ptr_equal(folio_anon_vma(page_folio(page_at(v.cpu, BASE + PG))), cv->anon_vma);
    assert_books(machine_check, v.m);

    /* The middle one exits; its anon_vma has no VMA of its own, so grandchild's child takes it over. */
    v.cpu->current = grandchild;
    {
        struct anon_vma *left = cv->anon_vma;
        struct task *last;

        task_exit(v.cpu, child);
        assert_int_equal(left->num_active_vmas, 0);
        assert_books(machine_check, v.m);
        last = do_fork(v.cpu, 103);
        assert_ptr_equal(vma_lookup(v.cpu, last->mm, BASE)->anon_vma, left);
        assert_int_equal(left->num_active_vmas, 1);
        assert_books(machine_check, v.m);
        task_exit(v.cpu, last);
    }
    v.cpu->current = v.t;
    task_exit(v.cpu, grandchild);
    env_end(&v);
}

/* fork, and the parent exits, 50 times over: chains must stay short. */
static void test_degree(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    put_byte(v.cpu, BASE, 1);
    for (s32 i = 0; i < 50; i++) {
        struct task *child = do_fork(v.cpu, 101 + i), *parent = v.cpu->current;

        v.cpu->current = child;
        task_exit(v.cpu, parent);
        put_byte(v.cpu, BASE + (u64)(i % 4) * PG, (u8)i);
        assert_true(chain_length(vma_lookup(v.cpu, child->mm, BASE)) <= 3);
        v.t = child;
    }
    env_end(&v);
}

/* Neighbours that may merge share an anon_vma. */
static void test_mergeable(void **state)
{
    struct vm_area_struct *a, *b;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 4 * PG, PROT_READ_), 0);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 4 * PG, RW), 0);
    assert_int_equal(sys_mprotect(v.cpu, BASE + 4 * PG, 4 * PG, PROT_READ_), 0);
    touch(v.cpu, BASE, ACCESS_WRITE);
    assert_int_equal(sys_mprotect(v.cpu, BASE + 4 * PG, 4 * PG, RW), 0);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 4 * PG, PROT_READ_), 0);
    touch(v.cpu, BASE + 5 * PG, ACCESS_WRITE);
    a = vma_lookup(v.cpu, v.t->mm, BASE);
    b = vma_lookup(v.cpu, v.t->mm, BASE + 5 * PG);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(a->anon_vma, b->anon_vma);
    assert_int_equal(a->anon_vma->num_active_vmas, 2);
    env_end(&v);
}

/* -- reverse mapping ----------------------------------------------------------------------------------------------- */

static bool count_one(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr, void *arg)
{
    u32 *n = arg;

    assert_int_equal(addr, BASE + PG);
    ++*n;
    return true;
}

static void test_rmap_anon(void **state)
{
    struct task *child[3];
    vm_flags_t flags;
    struct folio *f;
    struct env v;
    u32 n = 0;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    put_byte(v.cpu, BASE + PG, 1);
    f = page_folio(page_at(v.cpu, BASE + PG));
    for (u32 i = 0; i < 3; i++)
        child[i] = do_fork(v.cpu, 101 + (s32)i);
    v.cpu->current = child[1];
    put_byte(v.cpu, BASE + PG, 2); /* maps another page now, but its VMA is still visited */

    folio_get(f);
    folio_lock(v.cpu, f);
    rmap_walk(v.cpu, f, &(struct rmap_walk_control){.rmap_one = count_one, .arg = &n});
    assert_int_equal(n, 4);
    assert_int_equal(folio_mapcount(f), 3);
    assert_int_equal(folio_referenced(v.cpu, f, &flags), 1); /* the children's entries are old */
    assert_int_equal(folio_referenced(v.cpu, f, &flags), 0);
    v.cpu->current = child[2];
    touch(v.cpu, BASE + PG, ACCESS_READ);
    assert_int_equal(folio_referenced(v.cpu, f, &flags), 1);
    assert_false(try_to_unmap(v.cpu, f)); /* needs swap */
    folio_unlock(v.cpu, f);
    folio_put(v.cpu, f);
    v.cpu->current = v.t;
    for (u32 i = 0; i < 3; i++)
        task_exit(v.cpu, child[i]);
    env_end(&v);
}

static void test_rmap_file(void **state)
{
    struct task *child;
    struct folio *folio;
    struct file *f;
    struct env v;

    env_init(&v);
    f = file_open(v.cpu, 1, 9, 8 * PG, FMODE_READ | FMODE_WRITE, "/f");
    map_at(v.cpu, BASE, 8, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    map_at(v.cpu, BASE + 16 * PG, 4, PROT_READ_, MAP_PRIVATE_ | MAP_FIXED_, f, 2 * PG);
    child = do_fork(v.cpu, 101);
    touch(v.cpu, BASE + 3 * PG, ACCESS_WRITE);
    touch(v.cpu, BASE + 17 * PG, ACCESS_READ);
    v.cpu->current = child;
    touch(v.cpu, BASE + 3 * PG, ACCESS_READ);
    folio = page_folio(page_at(v.cpu, BASE + 3 * PG));
    assert_int_equal(folio_mapcount(folio), 3);
    folio_get(folio);
    folio_lock(v.cpu, folio);
    assert_true(try_to_unmap(v.cpu, folio));
    folio_unlock(v.cpu, folio);
    assert_int_equal(folio_mapcount(folio), 0);
    assert_true(folio_test_dirty(folio));
    folio_put(v.cpu, folio);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_MAPPED), 0);
    assert_books(machine_check, v.m);
    v.cpu->current = v.t;
    task_exit(v.cpu, child);
    fput(v.cpu, f);
    env_end(&v);
}

/* Where 6.18 puts a program's parts without randomisation, by RLIMIT_STACK: stack, top of what mmap hands out, PIE. */
static void test_exec_layout(void **state)
{
    static const struct {
        u64 limit;
        va_t stack, mmap_base;
    } rows[] = {
        {8ul << 20, 0x7ffffffde000, 0x7ffff7fff000},
        {64ul << 10, 0x7ffffffef000, 0x7ffff7fff000},
        {1ul << 30, 0x7ffffffde000, 0x7fffbfeff000},
        {RLIM_INFINITY_, 0x7ffffffde000, 0x155555556000},
    };

    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        struct exec_layout l = {.stack_size = 0x86f, .comm = "prog"};
        struct mm *mm;
        struct env v;

        env_init(&v);
        v.t->personality |= ADDR_NO_RANDOMIZE_;
        test_set_soft_limit(v.t, RLIMIT_STACK_, rows[i].limit);
        assert_int_equal(exec_mmap(v.cpu, &l), 0);
        mm = v.t->mm;
        assert_int_equal(mm->mmap_base, rows[i].mmap_base);
        assert_int_equal(vma_first(mm)->vm_start, rows[i].stack);
        assert_int_equal(vma_first(mm)->vm_end, 0x7ffffffff000ul);
        assert_int_equal(elf_et_dyn_base(mm, PG), 0x555555554000ul);
        exec_set_brk(mm, 0x404fff);
        assert_int_equal(mm->start_brk, 0x405000);
        env_end(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cow),         cmocka_unit_test(test_fork_vmas), cmocka_unit_test(test_threads_and_vfork),
        cmocka_unit_test(test_owner),       cmocka_unit_test(test_chains),    cmocka_unit_test(test_degree),
        cmocka_unit_test(test_mergeable),   cmocka_unit_test(test_rmap_anon), cmocka_unit_test(test_rmap_file),
        cmocka_unit_test(test_exec_layout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
