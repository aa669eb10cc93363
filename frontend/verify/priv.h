/* SPDX-License-Identifier: MIT */
/*
 * Between the files of verify.
 *
 * Invariants
 *   W1  a followed thread has a task on the machine with its tid; threads of an address space have one mm.
 *   W2  the machine's one CPU in use has that task current whose event is under way (world_run()).
 */
#ifndef QUIRE_FRONTEND_VERIFY_PRIV_H
#define QUIRE_FRONTEND_VERIFY_PRIV_H

#include "base/list.h"
#include "cache/filemap.h"
#include "abi/abi.h"
#include "verify.h"

#define HASH 4096
#define IO_URING_NAME "anon_inode:[io_uring]"

/* The file that a descriptor stood for last: calls with the same one mean the same open file, and can merge. */
struct vopen {
    s32 fd; /* -1: mapped by execve */
    u32 open_flags;
    u64 dev, ino;
    struct file *file; /* a reference; NULL: none */
};

/* An address space: its recorded maps as they stood last. */
struct vspace {
    u32 users;
    bool known;      /* its program was seen: it is followed */
    bool absorb;     /* something not modelled changed it: the next maps are taken over without judgement */
    bool has_device; /* mappings whose driver may keep them from children: a child's first maps are taken over, too */
    char *text;      /* recorded */
    size_t len, room;
    u64 text_seq;
    struct vopen last;
};

struct vtask {
    struct list_head hash;
    s32 tid, tgid;
    struct task *task;
    struct vspace *space;
    u64 sp_low; /* the stack was looked at down to here */
};

/* Objects behind (dev, ino) that only the program made: memfds. */
struct vobject {
    struct list_head hash;
    u64 dev, ino;
    struct file *file; /* a reference */
};

/* A recorded segment and ours. */
struct vsegment {
    struct list_head hash;
    s32 recorded, own;
};

/* One line of maps. */
struct map_line {
    u64 start, end, pgoff, dev, ino;
    u32 prot; /* PROT_* */
    bool shared;
    char type; /* 'a' anonymous, 'f' file, 'h' shared memory, 'd' device, 's' special, 'g' grows down */
    const char *name;
    u32 name_len;
};

struct lines {
    struct map_line *line; /* neighbours that are alike joined */
    u32 nr, room;
    u64 *cut; /* where neighbours were joined */
    u32 nr_cuts, cut_room;
};

struct verify {
    struct verify_options o;
    struct verify_result r;
    struct machine *m;
    struct cpu *cpu;
    struct list_head tasks[HASH], objects[HASH], segments[HASH];
    struct task *idle; /* current while nobody else is */
    u32 shown;
    struct lines recorded, own; /* scratch of maps.c */
    u8 *out;                    /* room for what a call writes */
    size_t out_room;
};

/* An event's parts, checked. */
struct parts {
    u32 nr;
    const u8 *p, *end;
};
bool parts_check(u32 nr, const u8 *p, const u8 *end);
bool parts_next(struct parts *it, const struct native_part **part, const u8 **bytes);
const u8 *parts_find(const struct parts *all, u32 kind, u32 arg, u32 *len); /* NULL: none */

/* world.c */
struct vtask *world_task(struct verify *v, s32 tid);
void world_run(struct verify *v, struct vtask *t); /* its task is current; NULL: nobody */
int world_exec(struct verify *v, const struct native_exec *e, const struct parts *parts, char *why, size_t why_size);
/* args: of a clone3 that failed; NULL: not recorded. */
int world_clone(struct verify *v, const struct native_clone *e, const struct native_clone_args *args, char *why,
                size_t why_size);
void world_exit(struct verify *v, const struct native_exit *e);
void world_end(struct verify *v); /* who is left exits */

/* files.c */
struct file *file_of(struct verify *v, const struct native_file *f, const char *name); /* a reference; ERR_PTR */
bool file_is_modelled(const struct native_file *f); /* as something that is mapped, or refuses to be */
struct file *space_file(struct verify *v, struct vspace *s, s32 fd, const struct native_file *f, const char *name);
void space_forget_file(struct verify *v, struct vspace *s);
void object_add(struct verify *v, const struct native_file *f, struct file *file); /* takes the reference over */
void objects_end(struct verify *v);
s32 segment_own(struct verify *v, s32 recorded); /* -1: unknown */
void segment_add(struct verify *v, s32 recorded, s32 own);

/* call.c */
void call_verify(struct verify *v, struct vtask *t, const struct native_call *e, const struct parts *parts);

/* force.c: the recorded result of a call that the machine answered otherwise, put in place. */
void force(struct verify *v, struct vtask *t, const struct native_call *e, const struct abi_call *c, s64 own);

/* maps.c */
bool map_line_parse(const char **at, const char *end, struct map_line *l);
int maps_event(struct verify *v, struct vtask *t, const struct native_maps *e, const u8 *text, char *why, size_t size);
void maps_take(struct vspace *s, const char *text, size_t len, u64 seq);
void maps_print_around(struct verify *v, struct vtask *t, u64 addr);

/* signal.c */
void signal_verify(struct verify *v, struct vtask *t, const struct native_signal *e);

/* verify.c: the head of a disagreement is printed; false: enough were. */
bool disagree(struct verify *v, u32 what, const struct native_head *h, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
