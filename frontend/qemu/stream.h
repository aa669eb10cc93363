/* SPDX-License-Identifier: MIT */
/*
 * Streams of a recording while they are made: the block that a thread is filling lies in memory that the launcher shares.
 * So nothing is lost with a thread that is killed: the launcher writes its last block.
 *
 *   session.trace.streams   one struct stream for each thread entry of the session, then the launcher's own
 *
 * `at` is moved on when what lies before it is whole: at any moment data[0 .. at) is a sequence of events, but that the
 * length of an open batch of accesses is not filled in yet.
 */
#ifndef QUIRE_FRONTEND_STREAM_H
#define QUIRE_FRONTEND_STREAM_H

#include "frontend/trace/block.h"
#include "session.h"

#define STREAM_BYTES (256u << 10)
#define STREAM_ROOM (STREAM_BYTES - 64u)
#define STREAM_LAUNCHER SESSION_THREADS /* its index */

struct stream {
    u32 stream;                    /* its number in the trace */
    u32 number;                    /* of the block */
    u64 first_ticket, last_ticket; /* 0: the block has none yet */
    u32 nr_events;
    u32 batch;      /* where the body of the open batch begins; 0: none is open */
    _Atomic u32 at; /* bytes in data */
    u8 data[STREAM_ROOM];
};
_Static_assert(sizeof(struct stream) <= STREAM_BYTES, "a stream fits in its place");

/* The stream of a thread entry; NULL and errno. */
struct stream *stream_map(struct session *s, u32 index);
void stream_unmap(struct stream *st);
/* A new one in its place. */
void stream_begin(struct stream *st, u32 number_in_trace);

/* The batch under way is over, if there is one. */
void stream_close_batch(struct stream *st);
/* Write the block out and begin another. Errors stand in session.trace.err. */
void stream_write(struct session *s, struct stream *st, struct trace_packer *p);
/* The owner of the baton has died: if it was in a write, what came of that goes. Its block stands in its stream. */
void stream_repair(struct session *s);
/* The threads of `p` but `but` are gone: write what their streams still hold. With the baton. */
void stream_write_threads(struct session *s, const struct session_proc *p, const struct session_thread *but,
                          struct trace_packer *packer);

#endif
