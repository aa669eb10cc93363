/* SPDX-License-Identifier: MIT */
/* What tests of the views share: a view as a string, lines, the host's own files, numbers masked. */
#ifndef QUIRE_TESTS_ABI_PROC_TESTING_H
#define QUIRE_TESTS_ABI_PROC_TESTING_H

#include <ctype.h>
#include <sys/utsname.h>

#include "abi/proc.h"
#include "tests/unit/vm/fault_testing.h"

struct view {
    char *text; /* ends with a 0 that is not counted */
    size_t len, room;
};

static inline int view_write(void *arg, const char *bytes, size_t len)
{
    struct view *v = arg;

    if (v->len + len + 1 > v->room) {
        v->room = 2 * (v->len + len + 1);
        v->text = realloc(v->text, v->room);
        assert_non_null(v->text);
    }
    memcpy(v->text + v->len, bytes, len);
    v->len += len;
    v->text[v->len] = 0;
    return 0;
}

/* To be freed. */
static inline char *read_view(struct cpu *cpu, const char *name)
{
    struct view v = {calloc(1, 1), 0, 1};
    struct proc_sink sink = {view_write, &v};
    int err = proc_read(cpu, name, &sink);

    if (err)
        fail_msg("%s: error %d", name, err);
    return v.text;
}

static inline char *read_host(const char *path)
{
    struct view v = {calloc(1, 1), 0, 1};
    FILE *f = fopen(path, "re");
    char buf[4096];
    size_t n;

    if (!f) {
        free(v.text);
        return NULL;
    }
    while ((n = fread(buf, 1, sizeof(buf), f)))
        view_write(&v, buf, n);
    fclose(f);
    return v.text;
}

/* Layouts are compared with this kernel only; others differ in lines. */
static inline bool host_is_6_18(void)
{
    struct utsname u;

    return uname(&u) == 0 && strncmp(u.release, "6.18.", 5) == 0 && strcmp(u.machine, "x86_64") == 0;
}

enum mask_mode { MASK_WIDTHS, MASK_NUMBERS };

/*
 * Numbers with the blanks before them: MASK_WIDTHS: one # for each character, so that the widths of fields that the
 * numbers fill or do not fill must agree; MASK_NUMBERS: one # for all. In place.
 */
static inline void mask(char *text, enum mask_mode mode)
{
    char *out = text;

    while (*text) {
        size_t blanks = strspn(text, " "), digits = strspn(text + blanks, "0123456789");
        size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        size_t len = digits ? blanks + digits : MAX(MAX(blanks, word), 1);

        if (digits) {
            memset(out, '#', mode == MASK_NUMBERS ? 1 : len);
            out += mode == MASK_NUMBERS ? 1 : len;
        } else {
            memmove(out, text, len);
            out += len;
        }
        text += len;
    }
    *out = 0;
}

/* The first line in which the texts differ, in words; false: none. */
static inline bool lines_differ(const char *name, const char *model, const char *host, char *why, size_t size)
{
    const char *m = model, *h = host;

    for (u32 line = 1; *m || *h; line++) {
        size_t mlen = strcspn(m, "\n"), hlen = strcspn(h, "\n");

        if (mlen != hlen || memcmp(m, h, mlen) != 0) {
            snprintf(why, size, "%s, line %u: \"%.*s\", the kernel has \"%.*s\"", name, line, (int)mlen, m, (int)hlen,
                     h);
            return true;
        }
        m += mlen + (m[mlen] == '\n');
        h += hlen + (h[hlen] == '\n');
    }
    return false;
}

static inline void compare_lines(const char *name, const char *model, const char *host)
{
    char why[512];

    if (lines_differ(name, model, host, why, sizeof(why)))
        fail_msg("%s", why);
}

/* The number behind `label` at the beginning of a line at or after `text`, up to `end`; -1: no such line. */
static inline long long number_of(const char *text, const char *end, const char *label)
{
    size_t len = strlen(label);

    for (const char *line = text; line && *line && (!end || line < end); line = strchr(line, '\n'), line += !!line)
        if (strncmp(line, label, len) == 0)
            return strtoll(line + len, NULL, 10);
    return -1;
}

#endif
