/* SPDX-License-Identifier: MIT */
/*
 * --json: everything of a run in one object.
 *
 *   quire, program, exit (status, or 128 + signal), signal, wall_s, accesses, blocks, events (system calls),
 *   discovered, disagreements, unfollowed, enosys {arch: {number: count}}, notices, machines [machine_json(), with
 *   "mms": address spaces that ended, "dead": why the machine did not follow to the end, or null]
 */
#include "quire.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "json_text.h"
#include "machine_report.h"

static void put(json_t *o, const char *key, u64 value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

static json_t *vmas_json(const struct session *s, const struct session_record *r)
{
    json_t *list = json_array();

    for (u32 i = 0; i < r->nr_vmas; i++) {
        const struct session_vma *v = &s->vma[r->first_vma + i];
        json_t *o = json_object();

        put(o, "start", v->start);
        put(o, "end", v->end);
        put(o, "pgoff", v->pgoff);
        put(o, "flags", v->flags);
        json_object_set_new(o, "name", json_textn(v->name, strnlen(v->name, sizeof(v->name))));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *record_json(const struct session *s, const struct session_record *r)
{
    json_t *o = json_object(), *rss = json_object();

    put(rss, "anon", (u64)r->rss[MM_ANONPAGES]);
    put(rss, "file", (u64)r->rss[MM_FILEPAGES]);
    put(rss, "shmem", (u64)r->rss[MM_SHMEMPAGES]);
    put(rss, "swapents", (u64)r->rss[MM_SWAPENTS]);
    put(o, "pid", (u64)r->pid);
    json_object_set_new(o, "comm", json_text(r->comm));
    json_object_set_new(o, "rss", rss);
    put(o, "hiwater_rss", r->hiwater_rss);
    put(o, "total_vm", r->total_vm);
    put(o, "pgtables_bytes", r->pgtables_bytes);
    put(o, "min_flt", r->min_flt);
    put(o, "maj_flt", r->maj_flt);
    put(o, "map_count", r->map_count);
    json_object_set_new(o, "vmas", vmas_json(s, r));
    return o;
}

static json_t *one_machine(struct session *s, u32 i, const struct run_result *r)
{
    json_t *o = machine_json(session_machine(s, i), r->check[i]), *mms = json_array();

    for (u32 k = 0; k < SESSION_RECORDS; k++)
        if (atomic_load(&s->record[k].state) == 2 && s->record[k].machine == i)
            json_array_append_new(mms, record_json(s, &s->record[k]));
    json_object_set_new(o, "mms", mms);
    json_object_set_new(o, "dead", session_machine_is_dead(s, i) ? json_text(s->machine[i].reason) : json_null());
    return o;
}

static json_t *enosys_json(struct session *s)
{
    json_t *all = json_object();

    for (u32 a = 0; a < NR_GUEST_ARCHS; a++) {
        json_t *o = json_object();

        for (u32 nr = 0; nr < SESSION_SYSCALLS; nr++) {
            char key[16];

            snprintf(key, sizeof(key), "%u", nr);
            if (atomic_load(&s->enosys[a][nr]))
                put(o, key, atomic_load(&s->enosys[a][nr]));
        }
        json_object_set_new(all, guest_arch_name[a], o);
    }
    return all;
}

static json_t *run_json(const struct run_options *o, struct session *s, const struct run_result *r)
{
    json_t *root = json_object(), *program = json_array(), *machines = json_array(), *notices = json_array();
    bool killed = WIFSIGNALED(r->wait_status);

    for (char **a = o->argv; *a; a++)
        json_array_append_new(program, json_text(*a));
    for (u32 i = 0; i < s->nr_machines; i++)
        json_array_append_new(machines, one_machine(s, i, r));
    for (u32 i = 0; i < MIN(atomic_load(&s->nr_notices), SESSION_NOTICES); i++)
        json_array_append_new(notices, json_text(s->notice[i]));
    json_object_set_new(root, "quire", json_string(QUIRE_VERSION));
    json_object_set_new(root, "program", program);
    put(root, "exit", (u64)(killed ? 128 + WTERMSIG(r->wait_status) : WEXITSTATUS(r->wait_status)));
    put(root, "signal", killed ? (u64)WTERMSIG(r->wait_status) : 0);
    json_object_set_new(root, "wall_s", json_real(r->wall_s));
    put(root, "accesses", atomic_load(&s->accesses));
    put(root, "blocks", atomic_load(&s->blocks));
    put(root, "events", atomic_load(&s->events));
    put(root, "discovered", atomic_load(&s->discovered));
    put(root, "disagreements", atomic_load(&s->disagreements));
    put(root, "unfollowed", atomic_load(&s->unfollowed));
    put(root, "still_running", r->still_running);
    json_object_set_new(root, "enosys", enosys_json(s));
    json_object_set_new(root, "notices", notices);
    json_object_set_new(root, "machines", machines);
    return root;
}

int report_json(const char *file, const struct run_options *o, struct session *s, const struct run_result *r)
{
    FILE *out = report_open(file);
    json_t *root;
    int err;

    if (!out)
        return -1;
    root = run_json(o, s, r);
    err = root ? json_dumpf(root, out, JSON_INDENT(1) | JSON_ENSURE_ASCII) : -1;
    fputc('\n', out);
    json_decref(root);
    if (report_close(out))
        return -1;
    errno = ENOMEM; /* if at all: all strings are UTF-8 */
    return err;
}
