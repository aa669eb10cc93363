/* SPDX-License-Identifier: MIT */
/* `quire`: the command line. Options are parsed here and nowhere else. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "quire.h"

static const char help_text[] =
    "Usage: quire run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
    "       quire record -o FILE [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
    "       quire record --native -o FILE [--maps=all] -- PROGRAM [ARGUMENT]...\n"
    "       quire replay [OPTION]... TRACE\n"
    "       quire verify [--maps=all] [--show N] [--json] FILE\n"
    "       quire cat [OPTION]... SAVED [VIEW]...\n"
    "       quire import FORMAT [-o TRACE] FILE\n"
    "       quire export FORMAT [-o FILE] [-m MACHINE] [-p PROCESS] TRACE|SAVED\n"
    "       quire --help | --version\n"
    "\n"
    "Run PROGRAM, unmodified, on modelled Linux machines: each one's memory manager sees every access, page fault and "
    "memory\n"
    "system call of it and of its children. The program's input, output and exit status are its own; the report goes "
    "to stderr.\n"
    "\n"
    "  --machine FILE    model this machine (sysctl.conf syntax, see machines/); several: all see the same run.\n"
    "                    None: a machine like this host\n"
    "  --set KEY=VALUE   one setting: before any --machine for all machines, after one for that machine\n"
    "  --json FILE       write everything as JSON ('-': stdout)\n"
    "  --report FILE     write the table to FILE ('-': stdout) instead of stderr\n"
    "  --quiet           no table\n"
    "  --check           verify every machine's books at the end; exit status 3 if they do not balance\n"
    "  --save FILE       keep the machines as they were when the program ended, for `quire cat`; a folder: a file for\n"
    "                    each process, as it ended\n"
    "  --save-at MOMENT  exit (the default); usr1: at SIGUSR1 to quire; calls=N: every N system calls\n"
    "  --help-keys       list the keys of machine files\n"
    "\n"
    "  What goes to stdout comes after the program's own output. Files that cannot be written are refused before the "
    "program\n"
    "  starts; a trace and a saved run are regular files, never '-'. A file that is called - is ./-\n"
    "\n"
    "quire record -o TRACE [OPTION]... [--] PROGRAM\n"
    "  Run PROGRAM and write all that machines would be told to TRACE: accesses, fetches, calls, files, forks. With "
    "--machine\n"
    "  they are modelled at the same time, without only recorded. Threads and processes take turns, so the trace has "
    "one\n"
    "  order. --native: at full speed, memory calls and signals only, for `quire verify`; --maps=all: and "
    "/proc/PID/maps\n"
    "  after each of them.\n"
    "\n"
    "quire replay [OPTION]... TRACE\n"
    "  Machines follow TRACE ('-': standard input) as they would follow the program; the same machine counts the same. "
    "A\n"
    "  damaged trace is replayed as far as it is whole; exit status 2.\n"
    "\n"
    "quire verify [--maps=all] [--show N] [--json] FILE\n"
    "  Make every memory call of a native recording ('-': standard input) again, on a machine that decides by itself, "
    "and\n"
    "  hold its answers against the kernel's. Exit status 0: all that is modelled agrees; 1: not all does; 2: bad "
    "input,\n"
    "  also if what is whole of a damaged recording agrees.\n"
    "  --show N: the first N disagreements in full (5). --maps=all: refuse recordings without all maps.\n"
    "\n"
    "quire import FORMAT [-o TRACE] FILE\n"
    "  Make a TRACE for replay of another tool's: lackey, drmemtrace, drtext, champsim, csv. More: `quire import "
    "--help`.\n"
    "\n"
    "quire export FORMAT [-o FILE] [-m MACHINE] [-p PROCESS] TRACE|SAVED\n"
    "  For other tools: page references (csv, oracle), a process's mappings and pages (vma, vma.json, v2p). More:\n"
    "  `quire export --help`.\n"
    "\n"
    "quire cat [-m MACHINE] [--json] [--raw] SAVED [VIEW]...\n"
    "  Print files of /proc as a saved machine would show them: meminfo, vmstat, 1234/smaps, self/maps, "
    "python3/status;\n"
    "  self: the first process. No VIEW or --list: what there is. --raw: pagemap and auxv in binary.\n";

void usage_error(const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "quire: ");
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    exit(EXIT_USAGE);
}

/* What was printed must have got there. */
static int close_stdout(int status)
{
    if (!ferror(stdout) && !fflush(stdout))
        return status;
    fprintf(stderr, "quire: standard output: %s\n", strerror(errno ? errno : EIO));
    return status ? status : EXIT_USAGE;
}

static void print_help(void)
{
    fputs(help_text, stdout);
    exit(close_stdout(0));
}

/* -- machines ------------------------------------------------------------------------------------------------------ */

#define MAX_SETS 256

struct settings {
    u32 nr;
    const char *assignment[MAX_SETS]; /* key=value */
    s32 machine[MAX_SETS];            /* -1: all */
};

static void apply(struct machine_config *c, const char *assignment)
{
    const char *eq = strchr(assignment, '=');
    char key[128], err[512];

    if (!eq || eq == assignment || (size_t)(eq - assignment) >= sizeof(key))
        usage_error("--set %s: expected KEY=VALUE, such as mem=2G; `quire run --help-keys` lists the keys", assignment);
    snprintf(key, sizeof(key), "%.*s", (int)(eq - assignment), assignment);
    if (machine_config_set(c, key, eq + 1, err, sizeof(err)))
        usage_error("--set %s: %s", assignment, err);
}

static char *read_file(const char *path)
{
    FILE *f = is_dash(path) ? NULL : fopen(path, "re");
    size_t size = 1 << 20, n;
    char *text = malloc(size + 1), *zero;

    if (is_dash(path))
        usage_error("--machine -: standard input is the program's or the trace's; name a file, or /dev/stdin");
    if (!*path)
        usage_error("--machine: an empty name; name a machine file, such as machines/small.conf");
    if (!f || !text)
        usage_error("--machine %s: %s", path, strerror(errno));
    n = fread(text, 1, size, f);
    if (ferror(f))
        usage_error("--machine %s: %s", path, strerror(errno));
    if (n == size)
        usage_error("--machine %s: larger than 1 MiB: not a machine file", path);
    fclose(f);
    zero = memchr(text, 0, n);
    if (zero)
        usage_error("--machine %s: offset %zu: a zero byte; a machine file is text, such as machines/small.conf", path,
                    (size_t)(zero - text));
    text[n] = 0;
    return text;
}

static struct machine_config *load_machine(const char *path)
{
    struct machine_config *c = calloc(1, sizeof(*c));
    const char *base = strrchr(path, '/');
    char *text = read_file(path), err[512], name[64];
    size_t len;

    if (!c)
        usage_error("no memory");
    machine_config_default(c);
    base = base ? base + 1 : path;
    len = strlen(base);
    if (len > 5 && strcmp(base + len - 5, ".conf") == 0)
        len -= 5;
    snprintf(name, sizeof(name), "%.*s", (int)len, base);
    machine_config_set(c, "name", name, err, sizeof(err));
    if (machine_config_parse(c, text, path, err, sizeof(err)))
        usage_error("%s", err);
    free(text);
    return c;
}

/* -- run ----------------------------------------------------------------------------------------------------------- */

static void help_keys(void)
{
    char form[256];

    for (u32 i = 0; i < machine_config_nr_keys(); i++) {
        const struct config_key *k = machine_config_key(i);
        struct text t = text_in(form, sizeof(form));

        machine_config_form(k, &t);
        printf("%-34s %s\n%-34s   %s\n", k->name, k->doc, "", form);
    }
}

/* The value of `--name VALUE` or `--name=VALUE`; NULL: another option. */
static const char *option_value(const char *name, char ***arg)
{
    size_t len = strlen(name);
    const char *a = **arg;

    if (strncmp(a, name, len) != 0)
        return NULL;
    if (a[len] == '=')
        return a + len + 1;
    if (a[len])
        return NULL;
    if (!(*arg)[1])
        usage_error("%s: needs a value; `quire --help` shows how", name);
    return *++*arg;
}

static void add_set(struct settings *s, const char *assignment, u32 nr_machines)
{
    if (s->nr == MAX_SETS)
        usage_error("more than %d --set options", MAX_SETS);
    s->machine[s->nr] = (s32)nr_machines - 1;
    s->assignment[s->nr++] = assignment;
}

static void parse_run(char **arg, struct run_options *o, struct settings *sets)
{
    const char *value;

    for (; *arg && **arg == '-' && (*arg)[1]; arg++) {
        if (strcmp(*arg, "--") == 0) {
            arg++;
            break;
        }
        if ((value = option_value("--machine", &arg))) {
            if (o->nr_machines == SESSION_MACHINES)
                usage_error("--machine %s: at most %d machines in one run", value, SESSION_MACHINES);
            o->config[o->nr_machines++] = load_machine(value);
        } else if ((value = option_value("--set", &arg))) {
            add_set(sets, value, o->nr_machines);
        } else if ((value = option_value("--json", &arg))) {
            o->json_file = value;
        } else if ((value = option_value("--report", &arg))) {
            o->report_file = value;
        } else if ((value = option_value("--save", &arg))) {
            o->save.path = value;
        } else if ((value = option_value("--save-at", &arg))) {
            if (!save_parse_moment(&o->save, value))
                usage_error("--save-at %s: no moment; exit, usr1 or calls=NUMBER", value);
        } else if ((value = option_value("-o", &arg))) {
            o->trace_file = value;
        } else if (strcmp(*arg, "--check") == 0) {
            o->check = true;
        } else if (strcmp(*arg, "--quiet") == 0) {
            o->quiet = true;
        } else if (strcmp(*arg, "--help-keys") == 0) {
            help_keys();
            exit(close_stdout(0));
        } else if (strcmp(*arg, "--help") == 0) {
            print_help();
        } else {
            usage_error("%s: unknown option; `quire --help` lists them", *arg);
        }
    }
    o->argv = arg;
}

static void apply_sets(struct run_options *o, const struct settings *sets)
{
    char err[512];

    for (u32 i = 0; i < o->nr_machines; i++) {
        for (u32 k = 0; k < sets->nr; k++)
            if (sets->machine[k] == -1 || sets->machine[k] == (s32)i)
                apply(o->config[i], sets->assignment[k]);
        if (machine_config_validate(o->config[i], err, sizeof(err)))
            usage_error("machine %s: %s", o->config[i]->name, err);
    }
}

/* The program decides which machine stands for "this host": it needs the guest's page-table format. */
static enum guest_arch program_arch(const char *name)
{
    char path[SESSION_PATH];
    static struct program p;

    program_find(name, path);
    return program_resolve(path, "", &p) == PROGRAM_OK || p.e_machine ? p.arch : GUEST_X86_64;
}

static bool sizes_memory(const struct settings *s)
{
    static const char *const prefix[] = {"mem", "e820."}; /* mem, mem_limit, memmap */

    for (u32 k = 0; k < s->nr; k++)
        for (size_t i = 0; i < ARRAY_SIZE(prefix); i++)
            if (strncmp(s->assignment[k], prefix[i], strlen(prefix[i])) == 0)
                return true;
    return false;
}

static void check_save(struct save_options *o)
{
    const char *why = o->path ? save_prepare(o) : NULL;

    if (!o->path && (o->at_exit || o->at_usr1 || o->every))
        usage_error("--save-at needs --save FILE: where to");
    if (why)
        usage_error("--save %s: %s", o->path, why);
}

/* All that is written can be, and each file is another one. */
static void check_outputs(struct run_options *o, const char *input)
{
    const struct output_name name[] = {{"the trace", input},
                                       {"-o", o->trace_file},
                                       {"--json", o->json_file},
                                       {"--report", o->report_file},
                                       {"--save", o->save.path}};

    output_check("record: -o", o->trace_file, OUTPUT_FILE);
    output_check("--json", o->json_file, OUTPUT_STREAM);
    output_check("--report", o->report_file, OUTPUT_STREAM);
    check_save(&o->save);
    if (input && !is_dash(input))
        output_check_distinct(name, ARRAY_SIZE(name));
    else
        output_check_distinct(name + 1, ARRAY_SIZE(name) - 1);
}

/* None was named: one like this host. */
static void default_machine(struct run_options *o, const struct settings *sets, enum guest_arch arch)
{
    if (o->nr_machines)
        return;
    o->config[0] = calloc(1, sizeof(*o->config[0]));
    if (!o->config[0])
        usage_error("no memory");
    host_config(o->config[0], arch);
    if (sizes_memory(sets))
        o->config[0]->min_free_kbytes = 0; /* the host's follows from the host's memory */
    o->nr_machines = 1;
}

static int cmd_run(char **arg)
{
    static struct run_options o;
    static struct settings sets;

    parse_run(arg, &o, &sets);
    if (!o.argv[0])
        usage_error("run: no program given; `quire --help` shows how");
    if (o.trace_file)
        usage_error("run: -o: `quire record -o FILE` writes a trace");
    check_outputs(&o, NULL);
    default_machine(&o, &sets, program_arch(o.argv[0]));
    apply_sets(&o, &sets);
    return run_program(&o);
}

/* -- record -------------------------------------------------------------------------------------------------------- */

static int cmd_record_native(char **arg)
{
    struct record_native_options o = {0};
    const char *value;

    for (; *arg && **arg == '-'; arg++) {
        if (strcmp(*arg, "--") == 0) {
            arg++;
            break;
        }
        if (strcmp(*arg, "--native") == 0)
            continue;
        if ((value = option_value("-o", &arg)))
            o.file = value;
        else if ((value = option_value("--maps", &arg)) && strcmp(value, "all") == 0)
            o.maps_all = true;
        else if (value)
            usage_error("record: --maps=%s: only all is known", value);
        else if (strcmp(*arg, "--help") == 0)
            print_help();
        else
            usage_error("record: %s: unknown option; `quire --help` lists them", *arg);
    }
    o.argv = arg;
    if (!o.file || !o.argv[0])
        usage_error("record: usage: quire record --native -o FILE [--maps=all] -- PROGRAM [ARGUMENT]...");
    if (is_dash(o.file))
        output_check("record: -o", o.file, OUTPUT_FILE);
    output_check("record: -o", o.file, OUTPUT_STREAM);
    return record_native(&o);
}

/* Under qemu: on the machines named, or on none. */
static int cmd_record(char **arg)
{
    static struct run_options o;
    static struct settings sets;

    for (char **a = arg; *a && strcmp(*a, "--") != 0 && **a == '-'; a++)
        if (strcmp(*a, "--native") == 0)
            return cmd_record_native(arg);
    parse_run(arg, &o, &sets);
    if (!o.trace_file || !o.argv[0])
        usage_error("record: usage: quire record [--native] -o FILE [OPTION]... [--] PROGRAM [ARGUMENT]...");
    if (!o.nr_machines && sets.nr)
        usage_error("record: --set: which machine? Name one with --machine; without any, nothing is modelled");
    if (!o.nr_machines && o.save.path)
        usage_error("record: --save: there is no machine to save; name one with --machine");
    check_outputs(&o, NULL);
    apply_sets(&o, &sets);
    if (!o.nr_machines)
        o.quiet = true;
    return run_program(&o);
}

/* -- replay -------------------------------------------------------------------------------------------------------- */

static int cmd_replay(char **arg)
{
    static struct run_options o;
    static struct settings sets;
    struct trace_reader *trace;
    enum guest_arch arch;

    parse_run(arg, &o, &sets);
    if (!o.argv[0] || o.argv[1] || o.trace_file)
        usage_error(
            "replay: usage: quire replay [--machine FILE]... [--set KEY=VALUE]... [--json FILE] [--report FILE] "
            "[--quiet] [--check] [--save FILE] TRACE");
    input_check("replay", o.argv[0]);
    check_outputs(&o, o.argv[0]);
    if (o.save.at_usr1 || o.save.every)
        usage_error("replay: --save-at: only exit: machines are saved as processes end");
    trace = replay_open(o.argv[0], &arch);
    default_machine(&o, &sets, arch);
    apply_sets(&o, &sets);
    return replay_recording(&o, trace, o.argv[0]);
}

/* -- verify -------------------------------------------------------------------------------------------------------- */

static u32 shown_of(const char *value)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (*value < '0' || *value > '9' || *end || n > UINT32_MAX)
        usage_error("verify: --show %s: a number is expected: how many disagreements are printed in full", value);
    return (u32)n;
}

static int cmd_verify(char **arg)
{
    struct verify_cli_options o = {.shown = 5};
    const char *value;

    for (; *arg && **arg == '-' && (*arg)[1]; arg++) {
        if (strcmp(*arg, "--json") == 0)
            o.json = true;
        else if (strcmp(*arg, "--maps=all") == 0)
            o.maps_all = true;
        else if ((value = option_value("--show", &arg)))
            o.shown = shown_of(value);
        else if (strcmp(*arg, "--help") == 0)
            print_help();
        else
            usage_error("verify: %s: unknown option; `quire --help` lists them", *arg);
    }
    if (!*arg || arg[1])
        usage_error("verify: usage: quire verify [--maps=all] [--show N] [--json] FILE");
    input_check("verify", *arg);
    o.file = *arg;
    return verify_recording(&o);
}

/* -- cat ----------------------------------------------------------------------------------------------------------- */

static int cmd_cat(char **arg)
{
    struct cat_options o = {0};
    const char *value;

    for (; *arg && **arg == '-' && (*arg)[1]; arg++) {
        if (strcmp(*arg, "--") == 0) {
            arg++;
            break;
        }
        if ((value = option_value("-m", &arg)) || (value = option_value("--machine", &arg)))
            o.machine = value;
        else if (strcmp(*arg, "--list") == 0)
            o.list = true;
        else if (strcmp(*arg, "--raw") == 0)
            o.raw = true;
        else if (strcmp(*arg, "--json") == 0)
            o.json = true;
        else if (strcmp(*arg, "--help") == 0)
            print_help();
        else
            usage_error("cat: %s: unknown option; `quire --help` lists them", *arg);
    }
    if (!*arg)
        usage_error("cat: no saved run given; `quire run --save FILE -- PROGRAM` makes one");
    if (o.raw && o.json)
        usage_error("cat: --raw and --json exclude each other");
    input_check("cat", *arg);
    if (is_dash(*arg))
        usage_error(
            "cat: -: a saved run is not read from standard input: it is looked into at many places; name a file");
    o.file = *arg++;
    if (*arg && strcmp(*arg, "--list") == 0) {
        o.list = true;
        arg++;
    }
    o.names = arg;
    return cat_views(&o);
}

/* -- import, export ------------------------------------------------------------------------------------------------ */

struct conversion {
    const char *verb;
    int (*convert)(const struct convert_options *);
    void (*help)(void);
};

static int cmd_convert(const struct conversion *c, char **arg)
{
    struct convert_options o = {0};
    const char **operand[] = {&o.format, &o.in}, *value;
    u32 n = 0;

    for (; *arg; arg++) {
        if ((value = option_value("-o", &arg))) {
            o.out = value;
        } else if (c->convert == export_trace && (value = option_value("-m", &arg))) {
            o.machine = value;
        } else if (c->convert == export_trace && (value = option_value("-p", &arg))) {
            o.process = value;
        } else if (strcmp(*arg, "--help") == 0) {
            c->help();
            return 0;
        } else if (n < 2 && (**arg != '-' || !(*arg)[1])) {
            *operand[n++] = *arg;
        } else {
            usage_error("%s: %s: not understood; `quire %s --help` shows how", c->verb, *arg, c->verb);
        }
    }
    if (n != 2)
        usage_error("%s: needs a format and a file; `quire %s --help` shows how", c->verb, c->verb);
    input_check(c->verb, o.in);
    if (o.out) {
        const struct output_name name[] = {{"-o", o.out}, {c->verb, o.in}};

        output_check(c->convert == export_trace ? "export: -o" : "import: -o", o.out, OUTPUT_STREAM);
        output_check_distinct(name, is_dash(o.in) ? 1 : 2);
    }
    return c->convert(&o);
}

static int run_command(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "verify") == 0)
        return cmd_verify(argv + 2);
    if (argc >= 2 && strcmp(argv[1], "cat") == 0)
        return cmd_cat(argv + 2);
    if (argc >= 2 && strcmp(argv[1], "import") == 0)
        return cmd_convert(&(struct conversion){"import", import_trace, import_help}, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "export") == 0)
        return cmd_convert(&(struct conversion){"export", export_trace, export_help}, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "replay") == 0)
        return cmd_replay(argv + 2);
    if (argc >= 2 && strcmp(argv[1], "record") == 0)
        return cmd_record(argv + 2);
    if (argc >= 2 && strcmp(argv[1], "run") == 0)
        return cmd_run(argv + 2);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("quire " QUIRE_VERSION);
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        print_help();
    }
    if (argc >= 2)
        usage_error("%s: unknown command; `quire --help` shows how", argv[1]);
    fputs(help_text, stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    host_prepare();
    return close_stdout(run_command(argc, argv));
}
