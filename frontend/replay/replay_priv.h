/* SPDX-License-Identifier: MIT */
/* Replay: threads and processes of a trace. replay.c has their events, words.c their accesses. */
#ifndef QUIRE_FRONTEND_REPLAY_PRIV_H
#define QUIRE_FRONTEND_REPLAY_PRIV_H

#include "follow.h"
#include "frontend/trace/access.h"
#include "replay.h"

/* A mapping that no call had made (FOUND). */
struct replay_found {
    struct host_map map;
    struct host_file file;
};

struct replay_process {
    struct session_proc *slot;
    s32 pid;
    enum guest_arch arch;
    u32 nr_threads;
    struct replay_found *found;
    u32 nr_found;
    u32 refs; /* threads */
};

/* What the recorder left out may matter: record.h. */
enum replay_stale { STALE_CODE = 1, STALE_DATA = 2 };

struct replay_thread {
    struct replay_thread *next; /* in its hash chain */
    u32 stream;
    struct vcpu *v;                  /* NULL: has not begun, or has ended */
    struct replay_process *p;        /* before it begins: that of its parent */
    struct session_thread *to_be;    /* made by the parent's fork, taken by TASK */
    struct session_proc *slot_to_be; /* NULL: a thread */
    bool in_call;                    /* the rest of a call's events may come */
    bool robbed;                     /* of its CPUs, by replay */
    u64 ticket;
    /* words */
    u32 stale;   /* enum replay_stale */
    u32 prev;    /* the latest word */
    u64 last[2]; /* page of the latest data word | 1: write; of the latest fetch */
    u64 defined;
    u64 va[ACCESS_SLOTS];
};

/* words.c: false: cut off in the middle of a word. */
bool replay_words(struct replay_thread *t, const u8 *p, const u8 *end);
void replay_words_reset(struct replay_thread *t);

#endif
