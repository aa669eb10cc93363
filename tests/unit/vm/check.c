/* SPDX-License-Identifier: MIT */
/*
 * machine_check() finds what it is there for, from the address spaces up (tests/unit/phys/check.c has the frames, kmem/slub.c
 * the slabs): each corruption gives a report that names the invariant. And what it must allow: mlock_count as Linux
 * keeps it, low and high, is marked on the page.
 */
#include "tests/unit/vm/fault_testing.h"

#include "cache/sysv_shm.h"
#include "kmem/slab.h"
#include "machine/mmu.h"
#include "phys/phys.h"
#include "vm/gup.h"
#include "vm/madvise.h"
#include "vm/vma.h"

/*
 *   BASE        ANON  4 pages, written to; the child of a fork shares all, but page 0 was copied since
 *   BASE + 16   LOCK  2 pages, locked
 *   BASE + 32   FILE  8 pages of a file, shared: 0 written to, 1 read, 3 only in the page cache
 *   BASE + 64   ZERO  a page read: the zero page
 *   a segment, not attached; CPU 1: runs the child, has translated ANON
 */
#define ANON BASE
#define LOCK (BASE + 16 * PG)
#define FILE_ (BASE + 32 * PG)
#define ZERO (BASE + 64 * PG)

struct fixture {
    struct env v;
    struct file *file;
    struct task *child;
    struct cpu *cpu1;
    struct mm *mm;
    struct shm_segment *segment;
};

static void fixture_init(struct fixture *f)
{
    struct fault_info fi;
    struct env *v = &f->v;

    env_init(v);
    f->mm = v->t->mm;
    f->file = env_open(v, 7, 8 * PG);
    map_at(v->cpu, ANON, 4, RW, ANON_PRIVATE, NULL, 0);
    map_at(v->cpu, LOCK, 2, RW, ANON_PRIVATE, NULL, 0);
    map_at(v->cpu, FILE_, 8, RW, MAP_SHARED_ | MAP_FIXED_, f->file, 0);
    map_at(v->cpu, ZERO, 1, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v->cpu, ANON, 4, ACCESS_WRITE);
    touch_range(v->cpu, FILE_, 4, ACCESS_READ);
    touch(v->cpu, FILE_, ACCESS_WRITE);
    assert_int_equal(sys_munmap(v->cpu, FILE_ + 3 * PG, PG), 0);
    touch(v->cpu, ZERO, ACCESS_READ);
    f->child = do_fork(v->cpu, 101);
    touch(v->cpu, ANON, ACCESS_WRITE);
    assert_int_equal(sys_mlock(v->cpu, LOCK, 2 * PG), 0);
    lru_add_drain(v->cpu);
    f->segment = shm_create(v->cpu, 77, 2 * PG, 0600, 0, 0);
    assert_false(IS_ERR(f->segment));
    f->cpu1 = cpu_acquire(v->m, f->child, 5555);
    cpu_enter_user(f->cpu1);
    assert_int_equal(mmu_access(f->cpu1, cpu_mmu(f->cpu1), ANON + PG, MMU_WRITE, &fi), 0);
    assert_books(machine_check, v->m);
}

static struct page *at(struct fixture *f, va_t addr)
{
    struct page *page = page_at(f->v.cpu, addr);

    assert_non_null(page);
    return page;
}

static struct folio *folio_at(struct fixture *f, va_t addr)
{
    return page_folio(at(f, addr));
}

static struct folio *cached(struct fixture *f, u64 index)
{
    struct folio *folio = xa_load(&f->file->f_mapping->i_pages, index);

    assert_non_null(folio);
    return folio;
}

static struct vm_area_struct *vma_at(struct fixture *f, va_t addr)
{
    return vma_lookup(f->v.cpu, f->mm, addr);
}

static void change_pte(struct fixture *f, va_t addr, pte_t (*change)(const struct pt_format *f, pte_t))
{
    const struct pt_format *fmt = pt_format_of(f->v.m);
    struct pt_entry e = pt_find_entry(f->mm, addr, 1);

    set_pte_at(fmt, e, change(fmt, pt_read(fmt, e)));
}

static pte_t writable(const struct pt_format *fmt, pte_t pte)
{
    return pte_mkwrite(fmt, pte);
}

static pte_t read_only(const struct pt_format *fmt, pte_t pte)
{
    return pte_wrprotect(fmt, pte);
}

static pte_t special(const struct pt_format *fmt, pte_t pte)
{
    return pte_mkspecial(fmt, pte);
}

/* -- damage: address spaces ---------------------------------------------------------------------------------------- */

static void ml1_lost(struct fixture *f)
{
    folio_clear_mlocked(folio_at(f, LOCK));
}

static void ml1_left(struct fixture *f)
{
    folio_set_mlocked(folio_at(f, ANON));
}

static void ml1_left_unmapped(struct fixture *f)
{
    folio_set_mlocked(cached(f, 3));
}

static void ml1_low_is_not_high(struct fixture *f)
{
    folio_set_mlock_low(folio_at(f, ANON));
    folio_set_mlocked(folio_at(f, ANON));
}

static void ml1_high_is_not_low(struct fixture *f)
{
    folio_set_mlock_high(folio_at(f, LOCK));
    folio_clear_mlocked(folio_at(f, LOCK));
}

static void ml2_more(struct fixture *f)
{
    at(f, LOCK)->mlock_count++;
}

static void ml2_less(struct fixture *f)
{
    at(f, LOCK)->mlock_count--;
}

static void ml3_evictable(struct fixture *f)
{
    folio_clear_unevictable(folio_at(f, LOCK));
}

static void ml4_unevictable(struct fixture *f)
{
    folio_set_unevictable(folio_at(f, ANON));
}

static void pf1_special(struct fixture *f)
{
    change_pte(f, ANON, special);
}

static void pf2_no_mapping(struct fixture *f)
{
    at(f, ANON)->mapping = NULL;
}

static void fa1_zero_page(struct fixture *f)
{
    change_pte(f, ZERO, writable);
}

static void fa_right(struct fixture *f)
{
    vma_at(f, ANON)->vm_flags &= ~VM_WRITE;
}

static void sp1_guard(struct fixture *f)
{
    assert_int_equal(sys_madvise(f->v.cpu, ANON, PG, MADV_GUARD_INSTALL_), 0);
    vma_at(f, ANON)->vm_flags &= ~VM_MAYBE_GUARD;
}

static void rm1_mapcount(struct fixture *f)
{
    atomic_fetch_add(&at(f, ANON)->_mapcount, 1);
}

static void rm2_counter(struct fixture *f)
{
    mod_node_page_state(f->v.cpu, NODE_DATA(f->v.m, 0), NR_ANON_MAPPED, 1);
}

static void rm3_exclusive(struct fixture *f)
{
    SetPageAnonExclusive(at(f, ANON + 2 * PG));
}

static void rm3_writable(struct fixture *f)
{
    change_pte(f, ANON + 2 * PG, writable);
}

static void rm4_index(struct fixture *f)
{
    at(f, ANON)->index++;
}

static void r4_reference(struct fixture *f)
{
    folio_get(folio_at(f, ANON));
}

static void av1_not_listed(struct fixture *f)
{
    list_del_init(&list_first_entry(&vma_at(f, ANON)->anon_vma_chain, struct anon_vma_chain, same_vma)->same_vma);
}

static void av2_active(struct fixture *f)
{
    vma_at(f, ANON)->anon_vma->num_active_vmas++;
}

static void av3_children(struct fixture *f)
{
    vma_at(f, ANON)->anon_vma->num_children++;
}

static void av4_references(struct fixture *f)
{
    atomic_fetch_add(&vma_at(f, ANON)->anon_vma->refcount, 1);
}

static void mm1_users(struct fixture *f)
{
    mmget(f->mm);
}

static void mm2_count(struct fixture *f)
{
    mmgrab(f->mm);
}

static void mm3_rss(struct fixture *f)
{
    add_mm_counter(f->mm, MM_ANONPAGES, 1);
}

static void mm4_threads(struct fixture *f)
{
    f->child->signal->nr_threads++;
}

static void pn2_pinned(struct fixture *f)
{
    atomic_fetch_add(&at(f, ANON + 2 * PG)->_refcount, GUP_PIN_COUNTING_BIAS);
}

static void v1_count(struct fixture *f)
{
    f->mm->map_count++;
}

static void v2_other_mm(struct fixture *f)
{
    vma_at(f, ANON)->vm_mm = f->child->mm;
}

static void v5_key(struct fixture *f)
{
    list_first_entry(&vma_at(f, ANON)->anon_vma_chain, struct anon_vma_chain, same_vma)->rb.last++;
}

static void v3_sum(struct fixture *f)
{
    f->mm->total_vm++;
}

static void v3_locked(struct fixture *f)
{
    f->mm->locked_vm--;
}

static void v4_key(struct fixture *f)
{
    vma_at(f, FILE_)->vm_pgoff.nr++;
}

static void v6_file(struct fixture *f)
{
    vma_at(f, FILE_)->vm_ops = VM_OPS_NONE;
}

static void v7_huge(struct fixture *f)
{
    vma_at(f, ANON)->vm_flags |= VM_HUGETLB;
}

static void p1_place(struct fixture *f)
{
    virt_to_page(f->v.m, pt_find_entry(f->mm, ANON, 1).slot)->pt_va += PG;
}

static void p2_entries(struct fixture *f)
{
    struct pt_table top = pt_top_table(f->v.m, pt_format_of(f->v.m), &f->mm->pt, 0);

    virt_to_page(f->v.m, top.entries)->pt_nr_entries++;
}

static void p6_outside(struct fixture *f)
{
    vma_at(f, ZERO)->vm_start += PG; /* it had one page */
}

static void p3_bytes(struct fixture *f)
{
    atomic_fetch_add(&f->mm->pgtables_bytes, PG);
}

static void committed(struct fixture *f)
{
    atomic_fetch_add(&f->v.m->vm->vm_committed_as, 1);
}

/* -- damage: files and segments ------------------------------------------------------------------------------------ */

static void ca1_place(struct fixture *f)
{
    cached(f, 3)->page.index = 5;
}

static void ca2_pages(struct fixture *f)
{
    f->file->f_mapping->nrpages++;
}

static void ca3_dirty(struct fixture *f)
{
    folio_set_dirty(cached(f, 3));
}

static void ca4_swapbacked(struct fixture *f)
{
    folio_set_swapbacked(cached(f, 3));
}

/* A VMA that is gone, but for the tree. */
static void ca5_left_in_tree(struct fixture *f)
{
    struct vm_area_struct *vma = kmem_cache_alloc(f->v.cpu, f->v.m->vm->vma_cachep, GFP_KERNEL);

    *vma = *vma_at(f, FILE_);
    interval_tree_insert(&vma->shared, &f->file->f_mapping->i_mmap);
}

static void ca5_writable(struct fixture *f)
{
    mapping_allow_writable(f->file->f_mapping);
}

static void ca6_size(struct fixture *f)
{
    f->file->f_inode->i_size = 3 * PG;
}

static void ca6_locked(struct fixture *f)
{
    folio_set_locked(cached(f, 3));
}

static void sh1_count(struct fixture *f)
{
    f->v.m->cache->shm.in_use++;
}

static void sh2_attached(struct fixture *f)
{
    f->segment->nattch++;
}

static void sh2_removed(struct fixture *f)
{
    f->segment->mode |= SHM_DEST_;
}

static void sh3_key(struct fixture *f)
{
    struct shm_segment *other = shm_create(f->v.cpu, 78, PG, 0600, 0, 0);

    other->key = 77;
}

/* -- damage: frames and CPUs --------------------------------------------------------------------------------------- */

static void f1_lost(struct fixture *f)
{
    assert_non_null(alloc_page(f->v.cpu, GFP_KERNEL));
}

static void f4_reference(struct fixture *f)
{
    folio_get(cached(f, 3));
}

static void pn1_counter(struct fixture *f)
{
    mod_node_page_state(f->v.cpu, NODE_DATA(f->v.m, 0), NR_FOLL_PIN_ACQUIRED, 1);
}

static void hw1_poisoned(struct fixture *f)
{
    atomic_fetch_add(&f->v.m->vm->num_poisoned_pages, 1);
}

static void c1_idle(struct fixture *f)
{
    atomic_store(&f->cpu1->state, CPU_IDLE);
}

static void c1_left(struct fixture *f)
{
    atomic_store(&f->cpu1->owner, 0);
}

static void c1_seen(struct fixture *f)
{
    atomic_store(&cpu_mmu(f->cpu1)->ctx_id, 99);
}

static void c3_other_space(struct fixture *f)
{
    f->cpu1->current = f->v.t;
}

static void s1_not_told(struct fixture *f)
{
    atomic_fetch_add(&f->child->mm->tlb_gen, 1);
}

static void s1_not_found(struct fixture *f)
{
    atomic_store(&f->child->mm->cpu_mask[0], 0);
}

static void m1_rights(struct fixture *f)
{
    f->mm = f->child->mm;
    change_pte(f, ANON + PG, read_only);
}

static u64 *first_entry(struct fixture *f)
{
    return tlb_near_set(&cpu_mmu(f->cpu1)->l1d, ANON + PG);
}

static void m2_twice(struct fixture *f)
{
    first_entry(f)[1] = first_entry(f)[0];
}

static void m2_gap(struct fixture *f)
{
    first_entry(f)[2] = first_entry(f)[0];
    first_entry(f)[0] = 0;
}

static void m3_set(struct fixture *f)
{
    first_entry(f)[0] ^= PG;
}

static void m4_count(struct fixture *f)
{
    cpu_mmu(f->cpu1)->count.l2_miss++;
}

static const struct {
    const char *expect;
    void (*damage)(struct fixture *f);
} cases[] = {
    {"ML1", ml1_lost},
    {"ML1", ml1_left},
    {"ML1", ml1_left_unmapped},
    {"ML1", ml1_low_is_not_high},
    {"ML1", ml1_high_is_not_low},
    {"ML2", ml2_more},
    {"ML2", ml2_less},
    {"ML3", ml3_evictable},
    {"ML4", ml4_unevictable},
    {"PF1", pf1_special},
    {"PF2", pf2_no_mapping},
    {"FA1", fa1_zero_page},
    {"FA:", fa_right},
    {"SP1", sp1_guard},
    {"RM1", rm1_mapcount},
    {"RM2", rm2_counter},
    {"RM3: exclusive page", rm3_exclusive},
    {"is writable, its page is not exclusive", rm3_writable},
    {"RM4", rm4_index},
    {"R4", r4_reference},
    {"AV1 avcs in a tree", av1_not_listed},
    {"AV2", av2_active},
    {"AV3", av3_children},
    {"AV4", av4_references},
    {"MM1", mm1_users},
    {"MM2", mm2_count},
    {"MM3", mm3_rss},
    {"MM4", mm4_threads},
    {"PN2", pn2_pinned},
    {"V1", v1_count},
    {"V2", v2_other_mm},
    {"V3", v3_sum},
    {"V3", v3_locked},
    {"V4", v4_key},
    {"V5", v5_key},
    {"V6", v6_file},
    {"V7", v7_huge},
    {"P1", p1_place},
    {"P2", p2_entries},
    {"P3", p3_bytes},
    {"P6", p6_outside},
    {"Committed_AS", committed},
    {"CA1", ca1_place},
    {"CA2", ca2_pages},
    {"CA3", ca3_dirty},
    {"CA4", ca4_swapbacked},
    {"CA5 VMAs in i_mmap", ca5_left_in_tree},
    {"CA5 MF1", ca5_writable},
    {"CA6", ca6_size},
    {"CA6", ca6_locked},
    {"SH1", sh1_count},
    {"SH2", sh2_attached},
    {"SH2", sh2_removed},
    {"SH3", sh3_key},
    {"F1", f1_lost},
    {"F3", rm1_mapcount},
    {"F4", f4_reference},
    {"F5", ca1_place},
    {"PN1", pn1_counter},
    {"HW1", hw1_poisoned},
    {"C1: cpu 1 has an owner", c1_idle},
    {"C1: task of a free CPU", c1_left},
    {"C1: address space of a CPU", c1_seen},
    {"C3", c3_other_space},
    {"S1: cpu 1 has address space", s1_not_told},
    {"cpu_mask", s1_not_found},
    {"M1", m1_rights},
    {"M2", m2_twice},
    {"M2", m2_gap},
    {"M3", m3_set},
    {"M4", m4_count},
};

static void every_corruption_is_reported(void **state)
{
    static struct check_report r;

    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f = {0};
        bool named = false;

        fixture_init(&f);
        cases[i].damage(&f);
        r = (struct check_report){0};
        machine_check(f.v.m, &r);
        for (u32 k = 0; k < MIN(r.nr, CHECK_KEPT); k++)
            named |= strstr(r.text[k], cases[i].expect) != NULL;
        if (!named)
            fail_msg("case %u: none of %u reports has \"%s\", the first is \"%s\"", i, r.nr, cases[i].expect,
                     r.text[0]);
        test_machine_end(f.v.m);
    }
}

/* -- mlock_count as Linux keeps it --------------------------------------------------------------------------------- */

/* A page of the file that two VMAs lock; CPU 1's batch has the second's operation. */
struct two_locks {
    struct env v;
    struct cpu *cpu1;
    struct file *file;
    struct folio *folio;
};

static void two_locks_init(struct two_locks *t)
{
    struct env *v = &t->v;

    env_init(v);
    t->cpu1 = test_own_cpu(v->m, 1, v->cpu->code);
    t->file = env_open(v, 7, 8 * PG);
    map_at(v->cpu, BASE, 1, PROT_READ_, MAP_SHARED_ | MAP_FIXED_, t->file, 0);
    assert_int_equal(sys_mlock(v->cpu, BASE, PG), 0);
    map_at(v->cpu, BASE + 16 * PG, 1, PROT_READ_, MAP_SHARED_ | MAP_FIXED_, t->file, 0);
    assert_int_equal(sys_mlock2(v->cpu, BASE + 16 * PG, PG, 1), 0); /* MLOCK_ONFAULT */
    lru_add_drain(v->cpu);
    t->folio = page_folio(page_at(v->cpu, BASE));
    assert_int_equal(t->folio->page.mlock_count, 1);
    t->cpu1->current = v->t;
    touch(t->cpu1, BASE + 16 * PG, ACCESS_READ);
    assert_int_equal(t->folio->page.mlock_count, 1); /* waits */
    assert_books(machine_check, v->m);
}

static void two_locks_end(struct two_locks *t)
{
    struct env *v = &t->v;

    lru_add_drain(t->cpu1);
    assert_books(machine_check, v->m);
    assert_int_equal(sys_munmap(v->cpu, BASE, 32 * PG), 0);
    lru_add_drain(v->cpu);
    assert_false(folio_test_mlocked(t->folio));
    assert_books(machine_check, v->m);
    t->cpu1->current = NULL;
    fput(v->cpu, t->file);
    env_end(v);
}

static void both_are_counted(void **state)
{
    struct two_locks t;

    two_locks_init(&t);
    lru_add_drain(t.cpu1);
    assert_int_equal(t.folio->page.mlock_count, 2);
    assert_false(folio_test_mlock_low(t.folio));
    assert_int_equal(sys_munlock(t.v.cpu, BASE, PG), 0);
    assert_true(folio_test_mlocked(t.folio));
    assert_books(machine_check, t.v.m);
    two_locks_end(&t);
}

/* The first is unlocked before the second is counted: the page is evictable, and marked when that is seen. */
static void one_is_overtaken(void **state)
{
    struct two_locks t;

    two_locks_init(&t);
    assert_int_equal(sys_munlock(t.v.cpu, BASE, PG), 0);
    assert_false(folio_test_mlocked(t.folio));
    assert_false(folio_test_mlock_low(t.folio));
    assert_books(machine_check, t.v.m);
    lru_add_drain(t.cpu1);
    assert_false(folio_test_mlocked(t.folio));
    assert_true(folio_test_mlock_low(t.folio));
    assert_books(machine_check, t.v.m);
    two_locks_end(&t);
}

/* Isolated meanwhile: it cannot be counted, and what was counted is lost. */
static void one_is_isolated(void **state)
{
    struct two_locks t;

    two_locks_init(&t);
    assert_true(folio_isolate_lru(t.v.cpu, t.folio));
    assert_true(folio_test_mlock_low(t.folio));
    lru_add_drain(t.cpu1);
    folio_putback_lru(t.v.cpu, t.folio);
    lru_add_drain(t.v.cpu);
    assert_int_equal(t.folio->page.mlock_count, 0);
    assert_true(folio_test_mlocked(t.folio));
    assert_books(machine_check, t.v.m);
    assert_int_equal(sys_munlock(t.v.cpu, BASE, PG), 0);
    assert_false(folio_test_mlocked(t.folio)); /* the other locks it still */
    assert_books(machine_check, t.v.m);
    two_locks_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_corruption_is_reported),
        cmocka_unit_test(both_are_counted),
        cmocka_unit_test(one_is_overtaken),
        cmocka_unit_test(one_is_isolated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
