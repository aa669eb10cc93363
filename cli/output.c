/* SPDX-License-Identifier: MIT */
/* See output.h. */
#include "output.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind_of(mode_t mode)
{
    return S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static void check_existing(const char *option, const char *path, const struct stat *st, enum output_kind kind)
{
    if (S_ISDIR(st->st_mode))
        usage_error("%s %s: a folder; name a file in it", option, path);
    if (kind == OUTPUT_FILE && !S_ISREG(st->st_mode))
        usage_error("%s %s: %s, not a regular file; name a file", option, path, kind_of(st->st_mode));
    if (access(path, W_OK))
        usage_error("%s %s: %s", option, path, strerror(errno));
}

/* There is none: one can be made. */
static void check_folder(const char *option, const char *path)
{
    struct stat st;
    char *copy = strdup(path);
    const char *folder = copy ? dirname(copy) : ".";

    if (path[strlen(path) - 1] == '/')
        usage_error("%s %s: no such folder, and a file's name does not end in /", option, path);
    if (lstat(path, &st) == 0)
        usage_error("%s %s: a symbolic link to nothing; name a file", option, path);
    if (stat(folder, &st))
        usage_error("%s %s: %s: the folder %s", option, path, strerror(errno), folder);
    if (!S_ISDIR(st.st_mode))
        usage_error("%s %s: %s is not a folder", option, path, folder);
    if (access(folder, W_OK | X_OK))
        usage_error("%s %s: %s: the folder %s", option, path, strerror(errno), folder);
    free(copy);
}

void output_check(const char *option, const char *path, enum output_kind kind)
{
    struct stat st;

    if (!path || (kind == OUTPUT_STREAM && is_dash(path)))
        return;
    if (!*path)
        usage_error("%s: an empty name; name a file", option);
    if (is_dash(path))
        usage_error(
            "%s -: not to standard output, which is the program's and can only be appended to; name a file (./- for "
            "one called -)",
            option);
    if (stat(path, &st) == 0)
        check_existing(option, path, &st, kind);
    else if (errno == ENOENT)
        check_folder(option, path);
    else
        usage_error("%s %s: %s", option, path, strerror(errno));
}

void input_check(const char *verb, const char *path)
{
    if (!*path)
        usage_error("%s: an empty name; name a file", verb);
}

static bool are_one_file(const char *a, const char *b)
{
    struct stat sa, sb;

    if (is_dash(a) || is_dash(b))
        return is_dash(a) && is_dash(b);
    if (stat(a, &sa) || stat(b, &sb))
        return strcmp(a, b) == 0;
    return S_ISREG(sa.st_mode) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

void output_check_distinct(const struct output_name *name, u32 nr)
{
    for (u32 i = 0; i < nr; i++)
        for (u32 k = i + 1; k < nr; k++)
            if (name[i].path && name[k].path && are_one_file(name[i].path, name[k].path))
                usage_error("%s %s and %s %s: the same file; name another one", name[i].option, name[i].path,
                            name[k].option, name[k].path);
}
