/* SPDX-License-Identifier: MIT */
/* `quire import`: another tool's trace becomes one of ours. A failed import leaves no file behind. */
#define _GNU_SOURCE
#include "import.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "make.h"
#include "quire.h"

#define LOOK_EVERY (1u << 18) /* accesses */
#define PROGRESS_AFTER_S 1
#define STDOUT_NAME "-"

static struct importing {
    struct import im;
    struct maker *maker;
    const char *out;
    bool created; /* and to be removed again if it fails */
    struct timespec start;
    u64 bytes; /* of the input; 0: not known */
    bool shown;
} now;

_Noreturn static void give_up(const char *format, ...) __printf_like(1, 2);

_Noreturn static void give_up(const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    if (now.shown)
        fprintf(stderr, "\r\033[K");
    if (now.created)
        unlink(now.out);
    usage_error("import: %s", text);
}

/* -- progress ------------------------------------------------------------------------------------------------------ */

static void show_progress(void)
{
    struct timespec t;
    long at = ftell(now.im.in);

    clock_gettime(CLOCK_MONOTONIC, &t);
    if (t.tv_sec - now.start.tv_sec < PROGRESS_AFTER_S || !isatty(STDERR_FILENO))
        return;
    now.shown = true;
    fprintf(stderr, "\r\033[Kquire: %s: %.1f M accesses", now.im.name, (double)now.im.accesses / 1e6);
    if (at > 0 && now.bytes)
        fprintf(stderr, ", %.0f %%", 100.0 * (double)at / (double)now.bytes);
    fflush(stderr);
}

/* Gives up if the maker has failed. */
static void finish(int fd, const char *name, const char *format, struct made *made)
{
    if (maker_finish(now.maker, fd, name, format, made))
        give_up("%s: %s", now.im.name, made->err);
    if (fd != STDOUT_FILENO && ftruncate(fd, (off_t)made->bytes) < 0 && errno != EINVAL)
        give_up("-o %s: %s", now.out, strerror(errno));
    if (close(fd) < 0)
        give_up("-o %s: %s", now.out, strerror(errno));
    maker_free(now.maker);
}

static void on_access(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind)
{
    struct made none;

    maker_access(arg, tid, addr, size, kind);
    if (now.im.accesses % LOOK_EVERY)
        return;
    if (maker_failed(arg))
        finish(-1, "", "", &none);
    show_progress();
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static void open_input(const char *in)
{
    struct stat st;

    now.im.in = stdin;
    now.im.name = "standard input";
    if (strcmp(in, "-") != 0) {
        now.im.in = fopen(in, "re");
        now.im.name = in;
    }
    if (!now.im.in)
        give_up("%s: %s", in, strerror(errno));
    if (fstat(fileno(now.im.in), &st) < 0 || S_ISDIR(st.st_mode))
        give_up("%s: %s", in, strerror(EISDIR));
    now.bytes = S_ISREG(st.st_mode) ? (u64)st.st_size : 0;
}

static int open_output(const char *out)
{
    int fd;

    now.out = out;
    if (strcmp(out, STDOUT_NAME) == 0) {
        if (isatty(STDOUT_FILENO))
            give_up("-o -: standard output is a terminal, a trace is binary");
        return STDOUT_FILENO;
    }
    fd = open(out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    now.created = fd >= 0;
    if (fd < 0 && errno == EEXIST)
        fd = open(out, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        give_up("-o %s: %s", out, strerror(errno));
    return fd;
}

/* Beside the output, where there is room for it. */
static int open_body(const char *out)
{
    char *copy = strdup(out);
    int fd = copy ? open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;

    free(copy);
    if (fd < 0) {
        FILE *f = tmpfile();

        fd = f ? fcntl(fileno(f), F_DUPFD_CLOEXEC, 3) : -1;
        if (f)
            fclose(f);
    }
    if (fd < 0)
        give_up("a temporary file: %s", strerror(errno));
    return fd;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* -- all of it ----------------------------------------------------------------------------------------------------- */

static void list_formats(void)
{
    for (u32 i = 0; i < nr_import_formats; i++)
        printf("  %-11s %s\n", import_formats[i].name, import_formats[i].what);
}

void import_help(void)
{
    puts("Usage: quire import FORMAT [-o TRACE] FILE\n"
         "\n"
         "Make a trace that `quire replay` runs of another tool's trace; FILE or TRACE -: standard input, output.\n"
         "Without -o: FILE's name with .quire behind it, in the current folder. Formats:\n");
    list_formats();
    puts("\nMemory appears where it is first touched, by neighbourhoods of 2 MiB; see docs/interchange.md.");
}

int import_trace(const struct convert_options *o)
{
    const struct import_format *f = import_format_find(o->format);
    struct made made;
    char default_out[256];
    int fd;

    if (!f)
        give_up("%s: no such format; `quire import --help` lists them", o->format);
    open_input(o->in);
    if (!o->out && now.im.in == stdin)
        give_up("from standard input: name the trace with -o");
    snprintf(default_out, sizeof(default_out), "%s.quire", base_name(o->in));
    fd = open_output(o->out ? o->out : default_out);
    now.maker = maker_new(open_body(now.out));
    if (!now.maker)
        give_up("no memory");
    clock_gettime(CLOCK_MONOTONIC, &now.start);
    now.im.access = on_access;
    now.im.thread_exit = maker_thread_exit;
    now.im.arg = now.maker;
    if (f->read(&now.im))
        give_up("%s", now.im.err);
    finish(fd, now.im.in == stdin ? o->format : base_name(o->in), o->format, &made);
    if (now.shown)
        fprintf(stderr, "\r\033[K");
    fprintf(stderr, "%s: %llu accesses and %llu fetches of %u thread%s to %llu pages in %u region%s, %llu bytes\n",
            now.out, (unsigned long long)made.accesses, (unsigned long long)made.blocks, made.threads,
            made.threads == 1 ? "" : "s", (unsigned long long)made.pages, made.regions, made.regions == 1 ? "" : "s",
            (unsigned long long)made.bytes);
    return 0;
}
