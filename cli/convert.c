/* SPDX-License-Identifier: MIT */
/* Output files of import and export: see convert.h. */
#define _GNU_SOURCE
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_AFTER_S 1

void convert_open(struct convert_output *o, const char *verb, const char *path)
{
    struct stat st;

    *o = (struct convert_output){.verb = verb, .path = path, .name = path, .fd = STDOUT_FILENO};
    if (strcmp(path, "-") == 0) {
        o->name = "standard output";
        if (fcntl(STDOUT_FILENO, F_GETFL) & O_PATH) /* host_prepare() */
            convert_give_up(o, "standard output: %s", strerror(EBADF));
        return;
    }
    o->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    o->created = o->fd >= 0;
    if (o->fd < 0 && errno == EEXIST && stat(path, &st) == 0)
        o->fd = open(path, (S_ISREG(st.st_mode) ? O_RDWR : O_WRONLY) | O_CLOEXEC);
    if (o->fd < 0 || fstat(o->fd, &st) < 0)
        convert_give_up(o, "-o %s: %s", path, strerror(errno));
    o->regular = S_ISREG(st.st_mode);
}

int convert_temporary(const struct convert_output *o)
{
    char *copy = strdup(o->path);
    int fd = copy ? open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
    FILE *f = fd < 0 ? tmpfile() : NULL;

    free(copy);
    if (f) {
        fd = fcntl(fileno(f), F_DUPFD_CLOEXEC, 3);
        fclose(f);
    }
    if (fd < 0)
        usage_error("%s: a temporary file: %s", o->verb, strerror(errno));
    return fd;
}

void convert_close(struct convert_output *o, u64 bytes)
{
    if ((o->regular && ftruncate(o->fd, (off_t)bytes) < 0) || close(o->fd) < 0)
        convert_give_up(o, "-o %s: %s", o->path, strerror(errno));
    o->created = false;
    convert_clear_progress(o);
}

void convert_give_up(struct convert_output *o, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    convert_clear_progress(o);
    if (o->created)
        unlink(o->path);
    usage_error("%s: %s", o->verb, text);
}

bool convert_shows_progress(struct convert_output *o, s64 *start)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    if (!*start)
        *start = t.tv_sec;
    if (t.tv_sec - *start < PROGRESS_AFTER_S || !isatty(STDERR_FILENO))
        return false;
    o->shown = true;
    return true;
}

void convert_clear_progress(struct convert_output *o)
{
    if (o->shown)
        fprintf(stderr, "\r\033[K");
    o->shown = false;
}
