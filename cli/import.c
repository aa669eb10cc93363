/* SPDX-License-Identifier: MIT */
/* `quire import`: another tool's trace becomes one of ours. A failed import leaves no file behind. */
#include "import.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "convert.h"
#include "make.h"

#define LOOK_EVERY (1u << 18) /* accesses */

static struct importing {
    struct import im;
    struct maker *maker;
    struct convert_output out;
    s64 start;
    u64 bytes; /* of the input; 0: not known */
} now;

/* -- progress ------------------------------------------------------------------------------------------------------ */

static void show_progress(void)
{
    long at = ftell(now.im.in);

    if (!convert_shows_progress(&now.out, &now.start))
        return;
    fprintf(stderr, "\r\033[Kquire: %s: %.1f M accesses", now.im.name, (double)now.im.accesses / 1e6);
    if (at > 0 && now.bytes)
        fprintf(stderr, ", %.0f %%", 100.0 * (double)at / (double)now.bytes);
    fflush(stderr);
}

/* Gives up if the maker has failed. */
static void finish(const char *name, const char *format, struct made *made)
{
    if (maker_finish(now.maker, now.out.fd, name, format, made))
        convert_give_up(&now.out, "%s, to %s: %s", now.im.name, now.out.name, made->err);
    convert_close(&now.out, made->bytes);
    maker_free(now.maker);
    fclose(now.im.in);
}

static void on_access(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind)
{
    struct made none;

    maker_access(arg, tid, addr, size, kind);
    if (now.im.accesses % LOOK_EVERY)
        return;
    if (maker_failed(arg))
        finish("", "", &none);
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
        usage_error("import: %s: %s", in, strerror(errno));
    if (fstat(fileno(now.im.in), &st) < 0 || S_ISDIR(st.st_mode))
        usage_error("import: %s: %s", in, strerror(EISDIR));
    now.bytes = S_ISREG(st.st_mode) ? (u64)st.st_size : 0;
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
    char default_out[SESSION_PATH];

    if (!f)
        usage_error("import: %s: no such format; `quire import --help` lists them", o->format);
    open_input(o->in);
    if (!o->out && now.im.in == stdin)
        usage_error("import: from standard input: name the trace with -o");
    snprintf(default_out, sizeof(default_out), "%s.quire", base_name(o->in));
    convert_open(&now.out, "import", o->out ? o->out : default_out);
    if (now.out.fd == STDOUT_FILENO && isatty(STDOUT_FILENO))
        usage_error("import: -o -: standard output is a terminal, a trace is binary");
    now.maker = maker_new(convert_temporary(&now.out));
    if (!now.maker)
        convert_give_up(&now.out, "no memory");
    now.im.access = on_access;
    now.im.thread_exit = maker_thread_exit;
    now.im.arg = now.maker;
    if (f->read(&now.im))
        convert_give_up(&now.out, "%s", now.im.err);
    finish(now.im.in == stdin ? o->format : base_name(o->in), o->format, &made);
    fprintf(stderr, "%s: %llu accesses and %llu fetches of %u thread%s to %llu pages in %u region%s, %llu bytes\n",
            now.out.name, (unsigned long long)made.accesses, (unsigned long long)made.blocks, made.threads,
            made.threads == 1 ? "" : "s", (unsigned long long)made.pages, made.regions, made.regions == 1 ? "" : "s",
            (unsigned long long)made.bytes);
    return 0;
}
