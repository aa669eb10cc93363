/* SPDX-License-Identifier: MIT */
/* Views as JSON: see cat.h. The text is taken apart, so that both forms say the same. */
#define _GNU_SOURCE
#include "cat.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
/* Numbers become numbers, everything else strings without blanks at the ends. */
static json_t *value_json(const char *text, size_t len)
{
    char *end;
    long long n;

    while (len && isspace((unsigned char)*text)) {
        text++;
        len--;
    }
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    n = strtoll(text, &end, 10);
    if (len && end > text && (end == text + len || (end + 3 == text + len && strncmp(end, " kB", 3) == 0)))
        return json_integer(n);
    return json_textn(text, len);
}

/* "Name: value" or "name value"; false: neither. */
static bool add_pair(json_t *o, const char *line, size_t len)
{
    size_t name = strcspn(line, ": \t\n");
    char key[64];

    if (!name || name >= sizeof(key) || name >= len)
        return false;
    snprintf(key, sizeof(key), "%.*s", (int)name, line);
    json_object_set_new(o, key, value_json(line + name + 1, len - name - 1));
    return true;
}

static bool is_heading(const char *line)
{
    size_t start = strspn(line, "0123456789abcdef"), end;

    if (start < 8 || line[start] != '-')
        return false;
    end = strspn(line + start + 1, "0123456789abcdef");
    return end >= 8 && line[start + 1 + end] == ' ';
}

/* A line of maps. */
static json_t *mapping_json(const char *line, size_t len)
{
    unsigned long long start, end, offset, inode;
    char perms[5], dev[16], *text = strndup(line, len);
    int name = 0;
    json_t *o = NULL;

    if (text && sscanf(text, "%llx-%llx %4s %llx %15s %llu %n", &start, &end, perms, &offset, dev, &inode, &name) >= 6)
        o = json_pack("{s:I, s:I, s:s, s:I, s:s, s:I, s:o}", "start", (json_int_t)start, "end", (json_int_t)end,
                      "perms", perms, "offset", (json_int_t)offset, "dev", dev, "inode", (json_int_t)inode, "name",
                      json_text(text + name));
    free(text);
    return o;
}

/* smaps and maps: an object for each heading, with the lines that follow. */
static json_t *mappings_json(const char *text)
{
    json_t *list = json_array(), *o = NULL;

    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");

        if (is_heading(line)) {
            o = mapping_json(line, len);
            json_array_append_new(list, o);
        } else if (o) {
            add_pair(o, line, len);
        }
        line += len + (line[len] == '\n');
    }
    return list;
}

static json_t *pairs_json(const char *text)
{
    json_t *o = json_object();

    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");

        if (!is_heading(line)) /* smaps_rollup has one */
            add_pair(o, line, len);
        line += len + (line[len] == '\n');
    }
    return o;
}

static json_t *lines_json(const char *text)
{
    json_t *list = json_array();

    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");

        json_array_append_new(list, json_textn(line, len));
        line += len + (line[len] == '\n');
    }
    return list;
}

static bool is_one_of(const char *file, const char *const *set)
{
    while (*set && strcmp(file, *set) != 0)
        set++;
    return *set;
}

json_t *cat_json(struct cpu *cpu, const char *name)
{
    static const char *const pairs[] = {"meminfo", "vmstat", "quire_events", "status", "smaps_rollup", NULL};
    static const char *const mappings[] = {"maps", "smaps", NULL};
    const char *slash = strchr(name, '/'), *file = slash ? slash + 1 : name;
    char readable[64];
    size_t len;
    char *text;
    json_t *out;

    if (strcmp(file, "auxv") == 0)
        usage_error("cat: %s: has no JSON form", name);
    snprintf(readable, sizeof(readable), "%.*s/pages", (int)strcspn(name, "/"), name);
    text = cat_read(cpu, strcmp(file, "pagemap") == 0 ? readable : name, &len);
    if (is_one_of(file, pairs))
        out = pairs_json(text);
    else if (is_one_of(file, mappings))
        out = mappings_json(text);
    else
        out = lines_json(text);
    free(text);
    return out;
}
