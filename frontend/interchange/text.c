/* SPDX-License-Identifier: MIT */
/*
 * Text formats: lackey, memtrace_simple, CSV. One line, one access; lines that are no accesses (valgrind's "==PID==",
 * comments, headings) are known by their form and skipped, everything else that does not parse is an error with its line.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "import.h"

#define MAX_LINE 512

struct lines {
    struct import *im;
    u64 nr;
    char text[MAX_LINE];
    char where[32]; /* ":LINE" */
};

/* The next line, without its newline: 1; 0: end; -EINVAL: too long, or unreadable. */
static int next_line(struct lines *l)
{
    size_t n;

    if (!fgets(l->text, sizeof(l->text), l->im->in)) {
        if (ferror(l->im->in))
            return import_fail(l->im, l->where, "%s", strerror(errno));
        return 0;
    }
    snprintf(l->where, sizeof(l->where), ":%llu", (unsigned long long)++l->nr);
    n = strlen(l->text);
    if (n + 1 == sizeof(l->text) && l->text[n - 1] != '\n')
        return import_fail(l->im, l->where, "line longer than %d characters: not this format", MAX_LINE - 2);
    l->text[strcspn(l->text, "\r\n")] = 0;
    return 1;
}

/* A number that ends where `end` says; false: none there, or too large. */
static bool number(const char *s, int base, char **end, u64 *out)
{
    if (!*s || strchr(" \t+-", *s))
        return false;
    errno = 0;
    *out = strtoull(s, end, base);
    return *end != s && !errno;
}

/* -- lackey -------------------------------------------------------------------------------------------------------- */

/* "I  04001000,3", " L 1ffe,8", " S …", " M …" (a load and a store): 1; 0: one of valgrind's own lines; else an error. */
static int lackey_line(struct lines *l)
{
    const char *s = l->text;
    char kind = s[0] == 'I' ? 'I' : s[1], *end;
    u64 addr, size;
    int err = 0;

    if (!*s || !strncmp(s, "==", 2) || !strncmp(s, "--", 2))
        return 0;
    if ((s[0] != 'I' && s[0] != ' ') || !strchr("ILSM", kind) || strlen(s) < 4 || s[2] != ' ')
        return import_fail(l->im, l->where, "'%s': expected \"I  ADDRESS,SIZE\" or \" L|S|M ADDRESS,SIZE\"", s);
    if (!number(s + 3, 16, &end, &addr) || *end != ',' || !number(end + 1, 10, &end, &size) || *end)
        return import_fail(l->im, l->where, "'%s': expected ADDRESS,SIZE behind '%c'", s, kind);
    if (kind == 'I')
        return import_access(l->im, l->where, 1, addr, size, IMPORT_EXEC);
    if (kind != 'S')
        err = import_access(l->im, l->where, 1, addr, size, IMPORT_READ);
    if (!err && kind != 'L')
        err = import_access(l->im, l->where, 1, addr, size, IMPORT_WRITE);
    return err;
}

int import_lackey(struct import *im)
{
    struct lines l = {.im = im};
    int err;

    while ((err = next_line(&l)) > 0)
        if ((err = lackey_line(&l)) < 0)
            return err;
    return err;
}

/* -- DynamoRIO's memtrace_simple ----------------------------------------------------------------------------------- */

/* "0x00007ffe1230:  8, w": data; anything but r and w in the third place is an opcode: an instruction. */
static int drtext_line(struct lines *l)
{
    const char *s = l->text + strspn(l->text, " \t");
    char *end;
    u64 addr, size;
    enum import_kind kind;

    if (!*s || *s == '#' || !strncmp(s, "Format:", 7))
        return 0;
    if (!number(s, 16, &end, &addr) || *end != ':')
        return import_fail(l->im, l->where, "'%s': expected \"ADDRESS: SIZE, r|w|OPCODE\"", s);
    end += 1 + strspn(end + 1, " \t");
    if (!number(end, 10, &end, &size) || *end != ',')
        return import_fail(l->im, l->where, "'%s': expected SIZE and a comma behind the address", s);
    end += 1 + strspn(end + 1, " \t");
    if (!*end)
        return import_fail(l->im, l->where, "'%s': expected r, w or an opcode at the end", s);
    kind = !strcmp(end, "r") ? IMPORT_READ : !strcmp(end, "w") ? IMPORT_WRITE : IMPORT_EXEC;
    return import_access(l->im, l->where, 1, addr, size, kind);
}

int import_drtext(struct import *im)
{
    struct lines l = {.im = im};
    int err;

    while ((err = next_line(&l)) > 0)
        if ((err = drtext_line(&l)) < 0)
            return err;
    return err;
}

/* -- CSV ----------------------------------------------------------------------------------------------------------- */

enum column { COL_ADDR, COL_SIZE, COL_KIND, COL_TID, COL_OTHER };
#define MAX_COLUMNS 32

struct csv {
    struct lines l;
    u32 nr;
    enum column column[MAX_COLUMNS];
};

static char *cell(char **rest)
{
    char *s = strsep(rest, ","), *end;

    if (!s)
        return NULL;
    s += strspn(s, " \t\"");
    end = s + strlen(s);
    while (end > s && strchr(" \t\"", end[-1]))
        *--end = 0;
    return s;
}

static enum column column_named(const char *s)
{
    static const struct {
        const char *name;
        enum column column;
    } names[] = {{"addr", COL_ADDR}, {"address", COL_ADDR}, {"size", COL_SIZE}, {"kind", COL_KIND},
                 {"type", COL_KIND}, {"rw", COL_KIND},      {"tid", COL_TID},   {"thread", COL_TID}};

    for (u32 i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!strcasecmp(s, names[i].name))
            return names[i].column;
    return COL_OTHER;
}

static int csv_header(struct csv *c)
{
    char *rest = c->l.text, *s;
    u32 seen = 0;

    while ((s = cell(&rest))) {
        enum column col = column_named(s);

        if (c->nr == MAX_COLUMNS)
            return import_fail(c->l.im, c->l.where, "more than %d columns", MAX_COLUMNS);
        if (col != COL_OTHER && seen & 1u << col)
            return import_fail(c->l.im, c->l.where, "column '%s' is there twice", s);
        seen |= 1u << col;
        c->column[c->nr++] = col;
    }
    if (!(seen & 1u << COL_ADDR))
        return import_fail(c->l.im, c->l.where,
                           "no column 'addr': the first line names the columns, such as addr,size,kind,tid");
    return 0;
}

static int csv_kind(const char *s)
{
    static const struct {
        const char *name;
        enum import_kind kind;
    } names[] = {{"r", IMPORT_READ},  {"read", IMPORT_READ},   {"load", IMPORT_READ},   {"l", IMPORT_READ},
                 {"w", IMPORT_WRITE}, {"write", IMPORT_WRITE}, {"store", IMPORT_WRITE}, {"s", IMPORT_WRITE},
                 {"x", IMPORT_EXEC},  {"i", IMPORT_EXEC},      {"exec", IMPORT_EXEC},   {"fetch", IMPORT_EXEC}};

    for (u32 i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!strcasecmp(s, names[i].name))
            return (int)names[i].kind;
    return -1;
}

static int csv_line(struct csv *c)
{
    char *rest = c->l.text, *s, *end;
    u64 value[COL_OTHER] = {[COL_SIZE] = 1, [COL_TID] = 1};
    int kind = IMPORT_READ;

    for (u32 i = 0; i < c->nr; i++) {
        s = cell(&rest);
        if (!s)
            return import_fail(c->l.im, c->l.where, "%u columns instead of %u", i, c->nr);
        if (c->column[i] == COL_OTHER)
            continue;
        if (c->column[i] == COL_KIND) {
            kind = csv_kind(s);
            if (kind < 0)
                return import_fail(c->l.im, c->l.where, "kind '%s': expected r, w or x", s);
        } else if (!number(s, 0, &end, &value[c->column[i]]) || *end) {
            return import_fail(c->l.im, c->l.where, "'%s' is not a number", s);
        }
    }
    if (rest)
        return import_fail(c->l.im, c->l.where, "more than %u columns", c->nr);
    if (!value[COL_TID] || value[COL_TID] > 0x3fffffff)
        return import_fail(c->l.im, c->l.where, "tid %llu: 1 to 1073741823 are possible",
                           (unsigned long long)value[COL_TID]);
    return import_access(c->l.im, c->l.where, (u32)value[COL_TID], value[COL_ADDR], value[COL_SIZE],
                         (enum import_kind)kind);
}

int import_csv(struct import *im)
{
    struct csv c = {.l.im = im};
    int err = next_line(&c.l);

    if (!err)
        return import_fail(im, "", "empty: the first line must name the columns, such as addr,size,kind,tid");
    if (err > 0)
        err = csv_header(&c);
    while (err >= 0 && (err = next_line(&c.l)) > 0)
        if (c.l.text[0] && c.l.text[0] != '#')
            err = csv_line(&c);
    return err;
}
