/* SPDX-License-Identifier: MIT */
/* The command line tool: what its files share.
 * main.c parses, refuse.c refuses, run.c launches and watches, host.c knows this host, report*.c print. */
#ifndef QUIRE_CLI_QUIRE_H
#define QUIRE_CLI_QUIRE_H

#include <stdio.h>
#include <sys/resource.h>

#include "program.h"
#include "save.h"
#include "session.h"

/* Exit status for whatever is wrong with the command line, the program or a machine file. */
#define EXIT_USAGE 2

struct run_options {
    u32 nr_machines;
    struct machine_config *config[SESSION_MACHINES];
    const char *json_file;   /* NULL: none */
    const char *report_file; /* NULL: stderr */
    const char *trace_file;  /* NULL: nothing is recorded */
    bool check;
    bool quiet; /* no table */
    struct save_options save;
    char **argv; /* the program's */
};

struct cat_options {
    const char *file;    /* a saved run */
    const char *machine; /* NULL: its only one */
    bool list, raw, json;
    u32 patience_s; /* guard.h */
    char **names;   /* views; none: list */
};

struct run_result {
    int wait_status; /* as waitpid(2) gives it */
    double wall_s;
    struct rusage usage; /* of the program and what it waited for */
    u32 still_running;   /* processes that outlive the program */
    bool checked;
    struct check_report *check[SESSION_MACHINES];
};

/* Print "quire: ..." to stderr and exit with EXIT_USAGE. */
_Noreturn void usage_error(const char *format, ...) __printf_like(1, 2);

/* refuse.c: comes back if err is PROGRAM_OK. command: what of `quire` it was named to. */
void refuse_program(const struct program *p, enum program_error err, const char *name, const char *command);

/* run.c: returns the exit status, or does not return: the program died of a signal and so do we. */
int run_program(struct run_options *o);

double now_s(void); /* host.c: of a clock that nobody sets */

void guardian_start(struct session *s); /* guardian.c: from here on the followed processes die with this one */

struct record_native_options {
    const char *file; /* -o */
    bool maps_all;
    char **argv; /* the program's */
};

/* record_native.c: the exit status, or does not return as above. */
int record_native(const struct record_native_options *o);

struct verify_cli_options {
    const char *file;
    bool maps_all; /* the recording must hold all maps */
    bool json;
    u32 shown; /* disagreements printed in full */
};

/* verify.c: the exit status */
int verify_recording(const struct verify_cli_options *o);

/* cat.c: returns the exit status. */
int cat_views(const struct cat_options *o);

/* replay.c */
struct trace_reader;
/* Exits if it is no recording that can be replayed. */
struct trace_reader *replay_open(const char *file, enum guest_arch *arch);
/* The exit status: 2 if the trace is damaged, 3 if --check fails. Closes t. */
int replay_recording(struct run_options *o, struct trace_reader *t, const char *file);

/* import.c, export.c: the exit status. out: NULL: the default */
struct convert_options {
    const char *format, *out, *in;
    const char *machine; /* export: NULL: the only one */
    const char *process; /* export: NULL: the first */
};
int import_trace(const struct convert_options *o);
void import_help(void);
int export_trace(const struct convert_options *o);
void export_help(void);

/* host.c */
void host_config(struct machine_config *c, enum guest_arch arch); /* a machine like this host */
void host_find_qemu(struct session *s);
bool host_find_plugin(char out[SESSION_PATH]);

void host_prepare(void);       /* first of all: closed standard descriptors, signals that are errors here */
void host_survive(int sig);    /* sig interrupts nothing; programs that are executed do not notice */
const char *host_limits(void); /* "; ...": which limit may be why there is no memory for a machine; "": none */

/* report.c, report_json.c */
void report_text(FILE *out, const struct run_options *o, struct session *s, const struct run_result *r);
FILE *report_open(const char *path); /* "-": stdout. NULL and errno */
int report_close(FILE *out);         /* 0, or -1 and errno: not all of it got there */
int report_json(const char *file, const struct run_options *o, struct session *s, const struct run_result *r);
static inline struct machine *session_machine(const struct session *s, u32 i)
{
    return (struct machine *)(uintptr_t)s->machine[i].addr;
}

#endif
