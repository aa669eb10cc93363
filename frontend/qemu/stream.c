/* SPDX-License-Identifier: MIT */
/* The streams of a recording: see stream.h. Used by the launcher and by the plugin. */
#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int open_of_launcher(const struct session *s, s32 handle, int flags)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", s->launcher, handle);
    return open(path, flags | O_CLOEXEC);
}

struct stream *stream_map(struct session *s, u32 index)
{
    int fd = open_of_launcher(s, s->trace.streams, O_RDWR);
    void *p;

    if (fd < 0)
        return NULL;
    p = mmap(NULL, STREAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)index * STREAM_BYTES);
    close(fd);
    return p == MAP_FAILED ? NULL : p;
}

void stream_unmap(struct stream *st)
{
    munmap(st, STREAM_BYTES);
}

void stream_begin(struct stream *st, u32 number_in_trace)
{
    st->stream = number_in_trace;
    st->number = 0;
    st->first_ticket = st->last_ticket = 0;
    st->nr_events = 0;
    st->batch = 0;
    atomic_store(&st->at, 0);
}

/* Four bytes of padded LEB128 stand before the body. */
void stream_close_batch(struct stream *st)
{
    u32 len = atomic_load(&st->at) - st->batch;

    if (!st->batch)
        return;
    for (u32 i = 0; i < 4; i++, len >>= 7)
        st->data[st->batch - 4 + i] = (u8)((len & 0x7f) | (i < 3 ? 0x80 : 0));
    st->batch = 0;
}

static void trace_failed(struct session *s, int err)
{
    s32 none = 0;

    if (atomic_compare_exchange_strong(&s->trace.err, &none, err))
        session_notice(s, "the trace cannot be written (%s): it is not whole", strerror(err));
}

/* The program's limit on file sizes (RLIMIT_FSIZE) is ours, too: its signal is not for the program. */
static int append(int fd, const void *p, size_t len)
{
    sigset_t set, old;
    int err;

    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    err = trace_write_all(fd, p, len);
    if (err == -EFBIG && !sigismember(&old, SIGXFSZ))
        sigtimedwait(&set, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return err;
}

void stream_write(struct session *s, struct stream *st, struct trace_packer *p)
{
    struct trace_block b = {.type = TRACE_BLOCK_EVENTS, .stream = st->stream, .number = st->number};
    size_t n;
    int fd, err;

    stream_close_batch(st);
    if (!atomic_load(&st->at))
        return;
    b.first_ticket = st->first_ticket;
    b.last_ticket = st->last_ticket;
    b.nr_events = st->nr_events;
    n = trace_pack(p, &b, st->data, atomic_load(&st->at));
    fd = n && !atomic_load(&s->trace.err) ? open_of_launcher(s, s->trace.file, O_WRONLY | O_APPEND) : -1;
    if (fd < 0)
        trace_failed(s, n ? errno : ENOMEM);
    if (fd >= 0) {
        err = append(fd, p->out, n);
        if (err)
            trace_failed(s, -err);
        else
            atomic_fetch_add(&s->trace.whole, n);
        close(fd);
    }
    atomic_fetch_add(&s->trace.bytes, n);
    st->number++;
    st->first_ticket = st->last_ticket = 0;
    st->nr_events = 0;
    atomic_store(&st->at, 0);
}

void stream_repair(struct session *s)
{
    int fd = atomic_load(&s->trace.err) ? -1 : open_of_launcher(s, s->trace.file, O_WRONLY);

    if (fd < 0)
        return;
    if (ftruncate(fd, (off_t)atomic_load(&s->trace.whole)))
        trace_failed(s, errno);
    close(fd);
}

static void write_thread(struct session *s, const struct session_thread *t, struct trace_packer *p)
{
    struct stream *st = stream_map(s, (u32)(t - s->thread));

    if (!st)
        return;
    if (st->stream == t->stream)
        stream_write(s, st, p);
    stream_unmap(st);
}

void stream_write_threads(struct session *s, const struct session_proc *p, const struct session_thread *but,
                          struct trace_packer *packer)
{
    u32 index = session_proc_index(s, p);

    for (u32 i = 0; s->trace.on && i < atomic_load(&s->thread_top); i++)
        if (&s->thread[i] != but && atomic_load(&s->thread[i].state) == THREAD_LIVE && s->thread[i].proc == index)
            write_thread(s, &s->thread[i], packer);
}
