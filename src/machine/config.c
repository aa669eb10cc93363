/* SPDX-License-Identifier: MIT */
/*
 * Machine files: sysctl.conf(5) syntax. A line is `key = value`; blank lines and lines that begin with # or ; are
 * skipped; a '-' before the key (ignore errors) is not known here: a machine is wholly as described or refused.
 *
 *   [blanks] key [blanks] = [blanks] value [blanks] [# comment] newline
 *
 * The value ends before " #" or " ;". An unknown key is answered with the nearest known one, by edit distance
 * (Levenshtein 1966, one row of the matrix), when no more than a third of its letters are wrong.
 */
#include "machine/config.h"

#include "base/errno.h"
#include "machine/region.h"

#define MAX_KEY 64

struct span {
    const char *s;
    size_t n;
};

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r';
}

static struct span trim(struct span v)
{
    while (v.n && is_blank(v.s[0])) {
        v.s++;
        v.n--;
    }
    while (v.n && is_blank(v.s[v.n - 1]))
        v.n--;
    return v;
}

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

/* Does `key` match `name`, '#' in it being a number? Sysctl names may be written with '/' for '.'. */
static bool key_matches(const char *name, struct span key, u32 *number)
{
    size_t i = 0;

    for (; *name && i < key.n; name++) {
        if (*name == '#') {
            u64 value = 0;
            size_t first = i;

            while (i < key.n && is_digit(key.s[i]) && i - first < 6)
                value = value * 10 + (u64)(key.s[i++] - '0');
            if (i == first)
                return false;
            *number = (u32)value;
        } else if (key.s[i] == *name || (key.s[i] == '/' && *name == '.')) {
            i++;
        } else {
            return false;
        }
    }
    return !*name && i == key.n;
}

static const struct config_key *find_key(struct span key, u32 *number)
{
    for (u32 i = 0; i < machine_config_nr_keys(); i++)
        if (key_matches(machine_config_key(i)->name, key, number))
            return machine_config_key(i);
    return NULL;
}

/* Insertions, deletions, replacements and swaps of neighbours that make b of a (optimal string alignment). */
static u32 edit_distance(struct span a, const char *b)
{
    u32 rows[3][MAX_KEY + 1];
    size_t nb = text_len(b);

    for (size_t j = 0; j <= nb; j++)
        rows[0][j] = (u32)j;
    for (size_t i = 1; i <= a.n; i++) {
        u32 *row = rows[i % 3], *above = rows[(i + 2) % 3];

        row[0] = (u32)i;
        for (size_t j = 1; j <= nb; j++) {
            u32 replace = above[j - 1] + (a.s[i - 1] != b[j - 1]);

            row[j] = MIN(replace, MIN(row[j - 1], above[j]) + 1);
            if (i > 1 && j > 1 && a.s[i - 1] == b[j - 2] && a.s[i - 2] == b[j - 1])
                row[j] = MIN(row[j], rows[(i + 1) % 3][j - 2] + 1);
        }
    }
    return rows[a.n % 3][nb];
}

/* Keys that the kernel has and this model not yet: said so, lest they look like a slip of the pen. */
static const char *planned_key(struct span key)
{
    static const struct {
        const char *prefix, *needs;
    } planned[] = {
        {"vm.swappiness", "reclaim and swap"},
        {"vm.dirty_", "writeback"},
        {"vm.vfs_cache_pressure", "shrinkers"},
        {"vm.zone_reclaim_mode", "reclaim"},
        {"vm.numa_balancing", "NUMA balancing"},
        {"swap.", "swap"},
        {"zswap.", "swap"},
        {"cgroup.", "control groups"},
        {"transparent_hugepage.", "huge pages"},
        {"hugepages", "huge pages"},
        {"ksm.", "KSM"},
        {"lru_gen.", "reclaim"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(planned); i++) {
        size_t n = text_len(planned[i].prefix);

        if (key.n >= n && !memcmp(key.s, planned[i].prefix, n))
            return planned[i].needs;
    }
    return NULL;
}

static const char *nearest_key(struct span key)
{
    const char *best = NULL;
    u32 least = (u32)MAX(2, key.n / 3) + 1;

    for (u32 i = 0; key.n <= MAX_KEY && i < machine_config_nr_keys(); i++) {
        const char *name = machine_config_key(i)->name;
        u32 d = edit_distance(key, name);

        if (d < least) {
            least = d;
            best = name;
        }
    }
    return best;
}

static int fail_unknown(struct span key, struct text *err)
{
    const char *near = nearest_key(key), *needs = planned_key(key);

    text_str(err, "unknown key '");
    text_strn(err, key.s, key.n);
    text_char(err, '\'');
    if (needs) {
        text_str(err, ": this version does not model ");
        text_str(err, needs);
        text_str(err, " yet");
    } else if (near) {
        text_str(err, ": did you mean '");
        text_str(err, near);
        text_str(err, "'?");
    }
    return -EINVAL;
}

static int fail_value(const struct config_key *k, struct span key, struct span value, struct text *err)
{
    text_strn(err, key.s, key.n);
    text_str(err, ": bad value '");
    text_strn(err, value.s, value.n);
    text_str(err, "': expected ");
    machine_config_form(k, err);
    return -EINVAL;
}

static int assign(struct machine_config *c, struct span key, struct span value, struct text *err)
{
    u32 number = 0;
    const struct config_key *k = find_key(key, &number);

    if (!k)
        return fail_unknown(key, err);
    if (!config_key_store(c, k, number, value.s, value.n))
        return fail_value(k, key, value, err);
    return 0;
}

int machine_config_set(struct machine_config *c, const char *key, const char *value, char *err, size_t err_size)
{
    struct text t = text_in(err, err_size);

    return assign(c, trim((struct span){key, text_len(key)}), trim((struct span){value, text_len(value)}), &t);
}

/* Where the value ends: before a comment behind a blank. */
static size_t comment_start(struct span v)
{
    for (size_t i = 1; i < v.n; i++)
        if ((v.s[i] == '#' || v.s[i] == ';') && is_blank(v.s[i - 1]))
            return i;
    return v.n;
}

static int parse_line(struct machine_config *c, struct span line, struct text *err)
{
    struct span key, value;
    size_t eq = 0;

    line = trim(line);
    if (!line.n || line.s[0] == '#' || line.s[0] == ';')
        return 0;
    while (eq < line.n && line.s[eq] != '=')
        eq++;
    key = trim((struct span){line.s, eq});
    if (eq == line.n || !key.n) {
        text_str(err, "expected 'key = value'");
        return -EINVAL;
    }
    value = (struct span){line.s + eq + 1, line.n - eq - 1};
    value.n = comment_start(value);
    return assign(c, key, trim(value), err);
}

int machine_config_parse(struct machine_config *c, const char *text, const char *file_name, char *err, size_t err_size)
{
    for (u32 number = 1; *text; number++) {
        struct text t = text_in(err, err_size);
        struct span line = {text, 0};

        while (line.s[line.n] && line.s[line.n] != '\n')
            line.n++;
        text_str(&t, file_name);
        text_char(&t, ':');
        text_u64(&t, number);
        text_str(&t, ": ");
        if (parse_line(c, line, &t))
            return -EINVAL;
        text = line.s + line.n + (line.s[line.n] == '\n');
    }
    if (err_size)
        err[0] = 0;
    return 0;
}
