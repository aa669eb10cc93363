/* SPDX-License-Identifier: MIT */
/*
 * Recorded /proc/PID/maps against the machine's mappings.
 *
 * Two things hang on accesses, which a native recording does not hold, and are not judged:
 *   - how far a stack has grown: it is grown to where the kernel's stands, if the machine lets it;
 *   - whether two mappings alike in everything that maps shows are one VMA or two: they stay apart if both were touched
 *     before they came to lie side by side. The machine, which sees few touches, joins whatever may be joined: where it
 *     keeps neighbours apart that the kernel has joined it is wrong; the other way round is counted (kernel_cuts).
 * All else must be equal: ranges, rights, sharing, file and offset.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/errno.h"
#include "world.h"

/* -- parsing ------------------------------------------------------------------------------------------------------- */

static u64 parse_hex(const char **p, const char *end)
{
    u64 n = 0;

    for (; *p < end; (*p)++) {
        char c = **p;

        if (c >= '0' && c <= '9')
            n = n << 4 | (u64)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n << 4 | (u64)(c - 'a' + 10);
        else
            break;
    }
    return n;
}

static u64 parse_decimal(const char **p, const char *end)
{
    u64 n = 0;

    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
        n = n * 10 + (u64)(**p - '0');
    return n;
}

static void skip(const char **p, const char *end, char c)
{
    while (*p < end && **p == c)
        (*p)++;
}

static bool starts(const struct map_line *l, const char *with)
{
    size_t n = strlen(with);

    return l->name_len >= n && !memcmp(l->name, with, n);
}

static char type_of(const struct map_line *l)
{
    if (starts(l, "[v"))
        return 's'; /* vdso, vvar, vvar_vclock, vsyscall */
    if (starts(l, "[stack]"))
        return 'g';
    if (starts(l, "/dev/zero (deleted)") || starts(l, "/SYSV") || starts(l, "/memfd:") || starts(l, "/anon_hugepage"))
        return 'h';
    if (starts(l, "/dev/zero") || starts(l, IO_URING_NAME) || starts(l, "socket:"))
        return 'd';
    return l->ino ? 'f' : 'a';
}

bool map_line_parse(const char **at, const char *end, struct map_line *l)
{
    const char *p = *at, *eol = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    u64 major, minor;

    if (!eol)
        return false;
    l->start = parse_hex(&p, eol);
    skip(&p, eol, '-');
    l->end = parse_hex(&p, eol);
    skip(&p, eol, ' ');
    if (eol - p < 5 || l->end <= l->start)
        return false;
    l->prot = (p[0] == 'r' ? PROT_READ_ : 0) | (p[1] == 'w' ? PROT_WRITE_ : 0) | (p[2] == 'x' ? PROT_EXEC_ : 0);
    l->shared = p[3] == 's';
    p += 4;
    skip(&p, eol, ' ');
    l->pgoff = parse_hex(&p, eol) >> PAGE_SHIFT;
    skip(&p, eol, ' ');
    major = parse_hex(&p, eol);
    skip(&p, eol, ':');
    minor = parse_hex(&p, eol);
    l->dev = makedev((unsigned)major, (unsigned)minor);
    skip(&p, eol, ' ');
    l->ino = parse_decimal(&p, eol);
    skip(&p, eol, ' ');
    l->name = p;
    l->name_len = (u32)(eol - p);
    l->type = type_of(l);
    *at = eol + 1;
    return true;
}

/* -- both sides as lines, neighbours that are alike joined --------------------------------------------------------- */

static bool same_object(const struct map_line *a, const struct map_line *b)
{
    if (a->type == 'h' || b->type == 'h') /* shared memory has no identity of its own */
        return (a->type == 'h' || a->type == 'f') && (b->type == 'h' || b->type == 'f');
    if (a->type == 'f' || b->type == 'f')
        return a->type == b->type && a->dev == b->dev && a->ino == b->ino;
    return a->type == b->type || (a->type != 's' && b->type != 's');
}

static bool is_next(const struct map_line *a, const struct map_line *b)
{
    if (a->end != b->start || a->prot != b->prot || a->shared != b->shared || a->type != b->type || a->type == 's' ||
        !same_object(a, b))
        return false;
    return a->type == 'a' || a->type == 'g' || a->pgoff + ((a->end - a->start) >> PAGE_SHIFT) == b->pgoff;
}

static bool equal(const struct map_line *a, const struct map_line *b)
{
    if (a->start != b->start || a->end != b->end || a->prot != b->prot || a->shared != b->shared || !same_object(a, b))
        return false;
    return a->type == 'a' || a->type == 'g' || a->type == 's' || a->pgoff == b->pgoff;
}

static void cuts_add(struct lines *s, u64 addr)
{
    if (s->nr_cuts == s->cut_room) {
        s->cut_room = s->cut_room * 2 + 256;
        s->cut = realloc(s->cut, s->cut_room * sizeof(*s->cut));
        if (!s->cut)
            abort();
    }
    s->cut[s->nr_cuts++] = addr;
}

static void lines_add(struct lines *s, const struct map_line *l)
{
    if (s->nr && is_next(&s->line[s->nr - 1], l)) {
        s->line[s->nr - 1].end = l->end;
        cuts_add(s, l->start);
        return;
    }
    if (s->nr == s->room) {
        s->room = s->room * 2 + 256;
        s->line = realloc(s->line, s->room * sizeof(*s->line));
        if (!s->line)
            abort();
    }
    s->line[s->nr++] = *l;
}

static void lines_of_text(struct lines *s, const char *text, size_t len)
{
    const char *end = text + len;
    struct map_line l;

    s->nr = s->nr_cuts = 0;
    while (map_line_parse(&text, end, &l))
        if (l.end <= 1ull << 63)
            lines_add(s, &l);
}

static struct map_line line_of_vma(const struct vm_area_struct *vma)
{
    const struct inode *inode = vma->vm_file ? vma->vm_file->f_inode : NULL;
    vm_flags_t f = vma->vm_flags;
    struct map_line l = {
        .start = vma->vm_start,
        .end = vma->vm_end,
        .prot = (f & VM_READ ? PROT_READ_ : 0) | (f & VM_WRITE ? PROT_WRITE_ : 0) | (f & VM_EXEC ? PROT_EXEC_ : 0),
        .shared = f & VM_MAYSHARE,
        .pgoff = inode ? vma->vm_pgoff.nr : 0,
        .type = vma->vm_ops == VM_OPS_SPECIAL ? 's'
                : f & VM_GROWSDOWN            ? 'g'
                                              : 'a',
        .name = "",
    };

    if (inode) {
        l.dev = inode->dev;
        l.ino = inode->ino;
        l.name = inode->name;
        l.name_len = (u32)strnlen(inode->name, sizeof(inode->name));
        l.type = inode->i_flags & INODE_DEVICE ? 'd' : inode->i_data.a_ops == A_OPS_SHMEM ? 'h' : 'f';
    }
    return l;
}

static void lines_of_mm(struct lines *s, const struct mm *mm)
{
    const struct vm_area_struct *vma;

    s->nr = s->nr_cuts = 0;
    for_each_vma (vma, mm) {
        struct map_line l = line_of_vma(vma);

        lines_add(s, &l);
    }
}

/* -- stacks -------------------------------------------------------------------------------------------------------- */

static const struct map_line *line_at(const struct lines *s, u64 addr)
{
    u32 lo = 0, hi = s->nr;

    while (lo < hi) {
        u32 mid = (lo + hi) / 2;

        if (s->line[mid].end <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->nr && s->line[lo].start <= addr ? &s->line[lo] : NULL;
}

static void grow_stacks(struct verify *v, struct mm *mm, const struct lines *recorded) NO_LOCK_ANALYSIS
{
    struct vm_area_struct *vma;

    for_each_vma (vma, mm) {
        const struct map_line *l;

        if (!(vma->vm_flags & VM_GROWSDOWN))
            continue;
        l = line_at(recorded, vma->vm_start);
        if (!l || l->start >= vma->vm_start)
            continue;
        down_write(v->cpu, &mm->mmap_lock);
        expand_stack(v->cpu, vma, l->start);
        up_write(v->cpu, &mm->mmap_lock);
    }
}

/* -- taking the recorded side over --------------------------------------------------------------------------------- */

static bool has(const struct lines *s, const struct map_line *l)
{
    const struct map_line *found = line_at(s, l->start);

    return found && equal(found, l);
}

static void resync(struct verify *v, struct vtask *t, const struct lines *recorded, const struct lines *own)
{
    for (u32 i = 0; i < own->nr; i++)
        if (!has(recorded, &own->line[i]))
            sys_munmap(v->cpu, own->line[i].start, own->line[i].end - own->line[i].start);
    for (u32 i = 0; i < recorded->nr; i++)
        if (!has(own, &recorded->line[i]))
            map_line_force(v, t, &recorded->line[i], NULL);
}

/* -- comparing ----------------------------------------------------------------------------------------------------- */

static void print_line(FILE *out, const char *side, const struct map_line *l)
{
    fprintf(out, "  %s %llx-%llx %c%c%c%c %08llx %02x:%02x %llu %.*s\n", side, (unsigned long long)l->start,
            (unsigned long long)l->end, l->prot & PROT_READ_ ? 'r' : '-', l->prot & PROT_WRITE_ ? 'w' : '-',
            l->prot & PROT_EXEC_ ? 'x' : '-', l->shared ? 's' : 'p', (unsigned long long)(l->pgoff << PAGE_SHIFT),
            major(l->dev), minor(l->dev), (unsigned long long)l->ino, (int)l->name_len, l->name);
}

#define AROUND 3

static void print_near(FILE *out, const char *side, const struct lines *s, u64 addr)
{
    u32 at = 0;

    while (at < s->nr && s->line[at].end <= addr)
        at++;
    for (u32 i = at < AROUND ? 0 : at - AROUND; i < s->nr && i <= at + AROUND; i++)
        print_line(out, side, &s->line[i]);
}

void maps_print_around(struct verify *v, struct vtask *t, u64 addr)
{
    if (!v->o.out)
        return;
    lines_of_text(&v->recorded, t->space->text, t->space->len);
    lines_of_mm(&v->own, t->task->mm);
    print_near(v->o.out, "kernel ", &v->recorded, addr);
    print_near(v->o.out, "machine", &v->own, addr);
}

static u64 first_difference(const struct lines *a, const struct lines *b)
{
    u32 i = 0;

    while (i < a->nr && i < b->nr && equal(&a->line[i], &b->line[i]))
        i++;
    if (i < a->nr && i < b->nr)
        return MIN(a->line[i].start, b->line[i].start);
    return i < a->nr ? a->line[i].start : i < b->nr ? b->line[i].start : ~0ull;
}

/* The first place where a is cut and b is not; ~0: none. */
static u64 first_own_cut(const struct lines *a, const struct lines *b)
{
    u32 k = 0;

    for (u32 i = 0; i < a->nr_cuts; i++) {
        while (k < b->nr_cuts && b->cut[k] < a->cut[i])
            k++;
        if (k == b->nr_cuts || b->cut[k] != a->cut[i])
            return a->cut[i];
    }
    return ~0ull;
}

static void compare(struct verify *v, struct vtask *t, const struct native_head *h)
{
    struct verify_tally *tally = &v->r.tally[VERIFY_MAPS];
    struct vspace *s = t->space;
    struct mm *mm = t->task->mm;
    u64 at;

    world_run(v, t);
    lines_of_text(&v->recorded, s->text, s->len);
    grow_stacks(v, mm, &v->recorded);
    lines_of_mm(&v->own, mm);
    v->r.maps_lines += v->recorded.nr;
    at = first_difference(&v->recorded, &v->own);
    if (at == ~0ull)
        at = first_own_cut(&v->own, &v->recorded);
    if (at == ~0ull) {
        tally->agreed++;
        v->r.kernel_cuts += first_own_cut(&v->recorded, &v->own) != ~0ull;
        s->absorb = false;
        return;
    }
    if (s->absorb) {
        tally->not_modelled++;
    } else {
        tally->disagreed++;
        if (disagree(v, VERIFY_MAPS, h, "the maps differ at %#llx", (unsigned long long)at))
            maps_print_around(v, t, at);
    }
    s->absorb = false;
    resync(v, t, &v->recorded, &v->own);
}

void maps_take(struct vspace *s, const char *text, size_t len, u64 seq)
{
    if (s->room < len + 1) {
        s->room = len * 2 + 4096;
        s->text = realloc(s->text, s->room);
        if (!s->text)
            abort();
    }
    if (len)
        memcpy(s->text, text, len);
    s->text[len] = 0;
    s->len = len;
    s->text_seq = seq;
}

int maps_event(struct verify *v, struct vtask *t, const struct native_maps *e, const u8 *text, char *why, size_t size)
{
    struct vspace *s = t->space;
    size_t len = e->prefix + e->len + e->suffix;
    char *whole;

    if (e->whole)
        s->len = 0;
    if (e->prefix > s->len || e->suffix > s->len - e->prefix) {
        snprintf(why, size, "maps that build on more text than there was");
        return -1;
    }
    whole = malloc(len + 1);
    if (!whole)
        abort();
    if (s->len) {
        memcpy(whole, s->text, e->prefix);
        memcpy(whole + e->prefix + e->len, s->text + s->len - e->suffix, e->suffix);
    }
    memcpy(whole + e->prefix, text, e->len);
    maps_take(s, whole, len, e->h.seq);
    free(whole);
    if (s->known)
        compare(v, t, &e->h);
    return 0;
}
