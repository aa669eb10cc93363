/* SPDX-License-Identifier: MIT */
/* What a modelled process sees of itself: /proc/self/maps, VmFlags, pagemap, in the form that child.c computes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/model.h"
#include "abi/proc.h"
#include "tests/oracle/views.h"
#include "cache/filemap.h"

vm_flags_t see_parse_flags(const char *p)
{
    vm_flags_t flags = 0;

    for (; p[0] && p[0] != '\n'; p++)
        for (u32 bit = 0; bit < 64; bit++) {
            const char *name = proc_flag_name(bit);

            if (p[0] == name[0] && p[1] == name[1] && p[-1] == ' ' && p[2] <= ' ')
                flags |= 1ul << bit;
        }
    return flags;
}

u32 see_object(const struct model *v, const struct vm_area_struct *vma)
{
    const struct inode *inode = vma->vm_file ? vma->vm_file->f_inode : NULL;

    if (!inode)
        return ORACLE_OBJ_ANON;
    if (inode->i_flags & INODE_HUGETLB)
        return ORACLE_OBJ_HUGE + (inode->i_huge_shift > 21);
    if (inode->i_data.a_ops == A_OPS_SHMEM && inode->dev == 1)
        return ORACLE_OBJ_SHMEM;
    for (u32 i = 0; i < ORACLE_SLOTS; i++)
        if (v->base[i] && v->base[i]->f_inode == inode)
            return 2 + i;
    return ORACLE_OBJ_OTHER;
}

static u32 perms_of(const struct vm_area_struct *vma)
{
    vm_flags_t f = vma->vm_flags;

    return (f & VM_READ ? 1 : 0) | (f & VM_WRITE ? 2 : 0) | (f & VM_EXEC ? 4 : 0) | (f & VM_MAYSHARE ? 8 : 0);
}

static u64 offset_of(const struct vm_area_struct *vma)
{
    return vma->vm_file ? vma->vm_pgoff.nr << PAGE_SHIFT : 0;
}

/* The page at addr; *present, but NULL: the zero page, or one without struct page. */
static struct page *page_at(struct model *v, const struct vm_area_struct *vma, va_t addr, bool *present)
{
    const struct pt_format *fmt = pt_format_of(v->m);
    struct pt_entry e = pt_find_entry(vma->vm_mm, addr, 1);
    pte_t pte;

    *present = e.slot && e.level == 1 && pte_present(fmt, pte = pt_read(fmt, e));
    return *present ? vm_normal_page(vma, addr, pte) : NULL;
}

static u32 page_bits(struct model *v, const struct vm_area_struct *vma, va_t addr)
{
    bool present;
    struct page *page = page_at(v, vma, addr, &present);

    if (!page)
        return present;
    return 1 | (folio_test_anon(page_folio(page)) ? 0 : 2) | (folio_mapcount(page_folio(page)) == 1 ? 4 : 0);
}

bool model_unsure_page(struct model *v, const struct vm_area_struct *vma, va_t addr)
{
    u32 bits = page_bits(v, vma, addr);

    return v->join && !(vma->vm_flags & VM_MAYSHARE) && (bits & 2 || model_zero_page(v, vma, addr));
}

bool model_clean_page(struct model *v, const struct vm_area_struct *vma, va_t addr)
{
    const struct pt_format *fmt = pt_format_of(v->m);
    struct pt_entry e = pt_find_entry(vma->vm_mm, addr, 1);
    pte_t pte;

    return e.slot && e.level == 1 && pte_present(fmt, pte = pt_read(fmt, e)) && !pte_dirty(fmt, pte);
}

bool model_zero_page(struct model *v, const struct vm_area_struct *vma, va_t addr)
{
    bool present;

    return vma_is_anonymous(vma) && !page_at(v, vma, addr, &present) && present;
}

static void see_pages(struct model *v, struct oracle_result *r, const struct vm_area_struct *vma)
{
    va_t end = MIN(vma->vm_end, vma->vm_start + ORACLE_PAGES_SEEN * PAGE_SIZE);

    if (vma->vm_ops == VM_OPS_SPECIAL)
        return;
    for (va_t at = vma->vm_start; at < end; at += PAGE_SIZE) {
        u32 bits = page_bits(v, vma, at);
        struct oracle_page p = {at, bits, perms_of(vma), see_object(v, vma)};

        if (!model_own(v, at, at + PAGE_SIZE) &&
            !(oracle_on_disk(bits, p.object) && model_own(v, at & ORACLE_TABLE_MASK, at | ~ORACLE_TABLE_MASK)))
            oracle_mix_page(r, v->seen, &p, v->join);
    }
}

static u64 flags_sum(const struct vm_area_struct *vma)
{
    u64 kb = vma_pagesize(vma) >> 10, key = (vma->vm_flags & VM_PKEY_MASK) >> VM_PKEY_SHIFT;
    u64 sum = oracle_page_sizes(kb, kb) + oracle_key(key);

    for (u32 bit = 0; bit < 64; bit++) {
        const char *name = vma->vm_flags >> bit & 1 ? proc_flag_name(bit) : "";

        if (*name)
            sum += oracle_flag(name[0], name[1]);
    }
    return sum;
}

struct view_text {
    char *text;
    size_t len, room;
};

static int view_write(void *arg, const char *bytes, size_t len)
{
    struct view_text *t = arg;

    if (t->len + len + 1 > t->room) {
        t->room = 2 * (t->len + len + 1);
        t->text = realloc(t->text, t->room);
    }
    memcpy(t->text + t->len, bytes, len);
    t->len += len;
    t->text[t->len] = '\0';
    return 0;
}

char *model_view(struct model *v, u32 proc, const char *file)
{
    struct view_text t = {calloc(1, 1), 0, 1};
    struct proc_sink sink = {view_write, &t};
    char name[64];

    snprintf(name, sizeof(name), "%d/%s", v->proc[proc]->tgid, file);
    if (proc_read(v->cpu, name, &sink))
        die("machine: no view %s", name);
    return t.text;
}

static void see_numbers(struct model *v, u32 proc, struct oracle_result *r)
{
    static const struct {
        const char *name;
        void (*view)(struct oracle_views *views, const char *text);
    } files[] = {{"smaps", oracle_view_smaps},
                 {"numa_maps", oracle_view_numa},
                 {"status", oracle_view_status},
                 {"statm", oracle_view_statm}};
    struct oracle_views views = {.h = 1, .image_end = v->image_end};

    for (u32 i = 0; i < ARRAY_SIZE(files); i++) {
        char *text = model_view(v, proc, files[i].name);

        files[i].view(&views, text);
        free(text);
    }
    r->numbers = views.h;
}

void model_see(struct model *v, u32 proc, u32 see, struct oracle_result *r)
{
    struct oracle_line kept = {0}, none = {0}, l;
    struct vm_area_struct *vma;
    u64 last = 0, end = 0;

    r->seen_from = v->seen->nr;
    for_each_vma (vma, v->proc[proc]->mm) {
        l = (struct oracle_line){vma->vm_start, vma->vm_end, offset_of(vma), perms_of(vma), see_object(v, vma)};
        if (see & ORACLE_SEE_MAPS)
            r->maps = oracle_mix_line(r->maps, &kept, &l, v->join);
        if (see & ORACLE_SEE_PAGES)
            see_pages(v, r, vma);
        if (see & ORACLE_SEE_FLAGS)
            r->flags = oracle_mix_flags(r->flags, &l, flags_sum(vma), &last, &end, v->join);
    }
    if (see & ORACLE_SEE_MAPS)
        r->maps = oracle_mix_line(r->maps, &kept, &none, false);
    r->seen_to = v->seen->nr;
    if (see & ORACLE_SEE_NUMBERS)
        see_numbers(v, proc, r);
}

/* -- for people ---------------------------------------------------------------------------------------------------- */

static void print_pages(struct model *v, const struct vm_area_struct *vma, FILE *out)
{
    va_t end = MIN(vma->vm_end, vma->vm_start + 64 * PAGE_SIZE);

    if (vma->vm_ops == VM_OPS_SPECIAL)
        return;
    fputc(' ', out);
    for (va_t at = vma->vm_start; at < end; at += PAGE_SIZE)
        fputc(model_own(v, at, at + PAGE_SIZE) ? '?' : "-z.f.a.F"[page_bits(v, vma, at)], out);
}

void model_print_maps(struct model *v, u32 proc, FILE *out)
{
    struct vm_area_struct *vma;

    if (!v->proc[proc])
        return;
    for_each_vma (vma, v->proc[proc]->mm) {
        u32 p = perms_of(vma);

        fprintf(out, "%llx-%llx %c%c%c%c %llx obj %u", (unsigned long long)vma->vm_start,
                (unsigned long long)vma->vm_end, p & 1 ? 'r' : '-', p & 2 ? 'w' : '-', p & 4 ? 'x' : '-',
                p & 8 ? 's' : 'p', (unsigned long long)offset_of(vma), see_object(v, vma));
        for (u32 bit = 0; bit < 64; bit++)
            if (vma->vm_flags >> bit & 1)
                fprintf(out, " %s", proc_flag_name(bit));
        print_pages(v, vma, out);
        fputc('\n', out);
    }
}
