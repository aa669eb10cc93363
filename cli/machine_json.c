/* SPDX-License-Identifier: MIT */
/* One machine as JSON: names and units as Linux prints them (machine/report.h). */
#include "machine_report.h"
#include "json_text.h"

#include "kmem/kmem.h"
#include "machine/report.h"
#include "phys/phys.h"

#define REPORT_TID 0x7fffffffu /* owner of the CPU that the report borrows */

static json_t *list_json(void (*fill)(const struct machine *, struct report_list *), const struct machine *m)
{
    struct report_list l;
    json_t *o = json_object();

    fill(m, &l);
    for (u32 i = 0; i < l.nr; i++)
        json_object_set_new(o, l.v[i].name, json_integer(l.v[i].value));
    return o;
}

json_t *machine_config_json(const struct machine_config *c)
{
    json_t *o = json_object();
    char value[16384];

    for (u32 i = 0; i < machine_config_nr_keys(); i++) {
        const struct config_key *k = machine_config_key(i);
        struct text t = text_in(value, sizeof(value));

        if (machine_config_get(c, k, &t))
            json_object_set_new(o, k->name, json_text(value));
    }
    return o;
}

static json_t *zone_json(const struct zone_view *v)
{
    json_t *free = json_array();

    for (u32 order = 0; order < NR_PAGE_ORDERS; order++)
        json_array_append_new(free, json_integer((json_int_t)v->nr_free[order]));
    return json_pack("{s:i, s:s, s:o}", "node", v->nid, "zone", zone_name(v->type), "nr_free", free);
}

/* /proc/buddyinfo: free blocks of each order, populated zones only. */
static json_t *buddyinfo_json(const struct machine *m)
{
    json_t *list = json_array();
    struct zone_view v;

    for (u32 nid = 0; nid < m->config.nr_nodes; nid++)
        for (u32 type = 0; type < MAX_NR_ZONES; type++)
            if (phys_zone_view(m, (s32)nid, (enum zone_type)type, &v) && v.managed)
                json_array_append_new(list, zone_json(&v));
    return list;
}

static json_t *slab_json(const struct slabinfo *s)
{
    return json_pack("{s:s, s:I, s:I, s:i, s:i, s:i, s:I, s:I}", "name", s->name, "active_objs",
                     (json_int_t)s->active_objs, "num_objs", (json_int_t)s->num_objs, "objsize", (int)s->objsize,
                     "objperslab", (int)s->objperslab, "pagesperslab", (int)s->pagesperslab, "active_slabs",
                     (json_int_t)s->active_slabs, "num_slabs", (json_int_t)s->num_slabs);
}

/* NULL: processes that the run has left behind have them all. They are stopped and do not give one back. */
static struct cpu *free_cpu(struct machine *m)
{
    struct cpu *cpu;

    for (u32 id = 0; id < m->nr_cpus; id++)
        if (cpu_try_acquire_id(m, id, REPORT_TID, &cpu))
            return cpu;
    return NULL;
}

static json_t *slabinfo_json(struct machine *m)
{
    struct cpu *own = free_cpu(m), *cpu = own ? own : &m->cpus[0];
    json_t *list = json_array();
    struct slabinfo line;
    u32 pos = 0;

    while (slabinfo_next(cpu, &pos, &line))
        json_array_append_new(list, slab_json(&line));
    if (own)
        cpu_release(own);
    return list;
}

static json_t *vma_json(const struct vm_area_struct *vma)
{
    char range[48], perms[5] = "---p";

    snprintf(range, sizeof(range), "%llx-%llx", (unsigned long long)vma->vm_start, (unsigned long long)vma->vm_end);
    perms[0] = vma->vm_flags & VM_READ ? 'r' : '-';
    perms[1] = vma->vm_flags & VM_WRITE ? 'w' : '-';
    perms[2] = vma->vm_flags & VM_EXEC ? 'x' : '-';
    perms[3] = vma->vm_flags & VM_SHARED ? 's' : 'p';
    return json_pack("{s:s, s:s, s:I, s:o}", "range", range, "perms", perms, "pgoff", (json_int_t)vma->vm_pgoff.nr,
                     "name", json_text(vma->vm_file ? vma->vm_file->f_inode->name : ""));
}

static json_t *mm_json(const struct mm *mm)
{
    json_t *vmas = json_array();
    struct vm_area_struct *vma;
    struct report_mm r;

    report_mm(mm, &r);
    for_each_vma (vma, (struct mm *)(uintptr_t)mm)
        json_array_append_new(vmas, vma_json(vma));
    return json_pack("{s:i, s:o, s:{s:I, s:I, s:I}, s:I, s:I, s:I, s:I, s:I, s:o}", "pid", r.pid, "comm",
                     json_text(r.comm), "rss", "anon", (json_int_t)r.rss[MM_ANONPAGES], "file",
                     (json_int_t)r.rss[MM_FILEPAGES], "shmem", (json_int_t)r.rss[MM_SHMEMPAGES], "hiwater_rss",
                     (json_int_t)r.hiwater_rss, "total_vm", (json_int_t)r.total_vm, "pgtables_bytes",
                     (json_int_t)r.pgtables_bytes, "min_flt", (json_int_t)r.min_flt, "maj_flt", (json_int_t)r.maj_flt,
                     "vmas", vmas);
}

static json_t *mms_json(const struct machine *m)
{
    json_t *list = json_array();
    struct mm *mm;

    list_for_each_entry (mm, &m->vm->mms, mmlist)
        json_array_append_new(list, mm_json(mm));
    return list;
}

static json_t *check_json(const struct check_report *check)
{
    json_t *list;

    if (!check->nr)
        return json_string("ok");
    list = json_array();
    for (u32 i = 0; i < check->nr && i < CHECK_KEPT; i++)
        json_array_append_new(list, json_string(check->text[i]));
    return list;
}

json_t *machine_json(struct machine *m, const struct check_report *check)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", json_text(m->config.name));
    json_object_set_new(o, "config", machine_config_json(&m->config));
    json_object_set_new(o, "vmstat", list_json(report_vmstat, m));
    json_object_set_new(o, "meminfo", list_json(report_meminfo, m));
    json_object_set_new(o, "buddyinfo", buddyinfo_json(m));
    json_object_set_new(o, "slabinfo", slabinfo_json(m));
    json_object_set_new(o, "tlb", list_json(report_tlb, m));
    json_object_set_new(o, "time_ns", list_json(report_time, m));
    json_object_set_new(o, "mms", mms_json(m));
    if (check)
        json_object_set_new(o, "check", check_json(check));
    return o;
}
