/* SPDX-License-Identifier: MIT */
/*
 * Traces: what programs did to their memory, kept in a file. docs/trace-format.md is the format, byte by byte.
 *
 *   file    signature, version │ INFO block │ EVENTS block │ EVENTS block │ … │ END block
 *   block   header (type, stream, tickets, sizes, checksums) │ payload, compressed by zstd
 *   event   type │ length │ fields: each a key and a number or bytes
 *
 * Terms
 *   stream   a sequence of events that one writer made in order: a recorder that sees everything in order has one, the
 *            qemu plugin one for each thread. Blocks of all streams lie in the file in any order.
 *   ticket   numbers 1, 2, 3 … over all streams, each used once. A ticket begins a segment of a stream: all events up to
 *            its next ticket. Segments happened in the order of their tickets (as far as parallel threads have one).
 *            Each block begins a segment.
 *
 * Who reads gets the events of all streams in the order of tickets: trace_next(). What cannot be read is named with its
 * offset and reason; whatever is whole before it has been delivered by then.
 */
#ifndef QUIRE_FRONTEND_TRACE_H
#define QUIRE_FRONTEND_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/types.h"

#define TRACE_VERSION 1u

/* X(name, number, printed name): append only; a reader skips what it does not know. */
#define TRACE_TYPES(X)                                                                                                 \
    X(TICKET, 1, "ticket") /* body: the ticket, 8 bytes; handled by the reader, never delivered */                     \
    X(TASK, 2, "task")     /* TID, PID: who does what follows in this stream */                                        \
    X(FILE, 3, "file")     /* ID, DEV, INO, SIZE, MODE, FS_TYPE, PATH: before its first use; again: changed */         \
    X(EXEC, 4, "exec")     /* the image of a process after execve: MAPS, AUXV, BRK, STACK, ARGS, ENV … */            \
    X(FORK, 5, "fork")     /* FLAGS, CHILD (tid), CHILD_PID, STACK; after the call that made it */                     \
    X(THREAD_EXIT, 6, "thread-exit")   /* STATUS */                                                                    \
    X(PROCESS_EXIT, 7, "process-exit") /* STATUS as waitpid(2) gives it; all threads are gone */                       \
    X(CALL_ENTER, 8, "call-enter")     /* a call that has not ended: NR or RAW_NR, ARG… */                           \
    X(CALL, 9, "call")            /* an ended call: NR or RAW_NR, ARG…, RESULT, ENTERED, files, IN…, OUT… */     \
    X(SIGNAL, 10, "signal")       /* SIGNO, SI_CODE, ADDR */                                                           \
    X(MAPS, 11, "maps")           /* TEXT: /proc/PID/maps or, with FLAGS 1, smaps, as it stood here */                 \
    X(RESIDENT, 12, "resident")   /* ADDR, BYTES: one bit a page from ADDR on, low bit first: present in pagemap */    \
    X(ACCESS, 13, "access")       /* body: a batch of accesses, access.h */                                            \
    X(TOUCH, 14, "touch")         /* ADDR, SIZE, KIND: memory that the kernel read or wrote for the task */            \
    X(FILE_IO, 15, "file-io")     /* FILE_ID, OFFSET, SIZE, KIND */                                                    \
    X(MARK, 16, "mark")           /* TEXT: a remark of the recorder */                                                 \
    X(COUNT, 17, "count")         /* ACCESSES, BLOCKS done since the last COUNT of this stream */                      \
    X(FOUND, 18, "found")         /* ADDR, SIZE, PROT, FLAGS, FILE_ID, OFFSET: a mapping that no call had made */      \
    X(LIMITS, 19, "limits")       /* TEXT: /proc/PID/limits */                                                         \
    X(NATIVE, 20, "native")       /* KIND, BYTES: an event of the native recorder: frontend/native/event.h */          \
    X(RELEASE, 21, "release")     /* the task leaves the CPU */                                                        \
    X(ACQUIRE, 22, "acquire")     /* and comes back to one */                                                          \
    X(DEATH, 23, "death")         /* PID: found dead: off its CPUs; its tasks go with a PROCESS_EXIT */                \
    X(FILE_SIZE, 24, "file-size") /* FILE_ID, FILE_SIZE: a file's new size */

/* The fields of all events. Numbers, unless "bytes" or "text" is said; 64 bits, negative numbers as two's complement. */
#define TRACE_FIELDS(X)                                                                                                \
    X(TID, 1, "tid")                                                                                                   \
    X(PID, 2, "pid")                                                                                                   \
    X(ID, 3, "id")                                                                                                     \
    X(DEV, 4, "dev")                                                                                                   \
    X(INO, 5, "ino")                                                                                                   \
    X(SIZE, 6, "size")       /* bytes */                                                                               \
    X(MODE, 7, "mode")       /* st_mode */                                                                             \
    X(FS_TYPE, 8, "fs-type") /* f_type of statfs(2) */                                                                 \
    X(PATH, 9, "path")       /* text */                                                                                \
    X(NR, 10, "nr")          /* enum abi_nr of src/abi/calls.h */                                                      \
    X(RAW_NR, 11, "raw-nr")  /* the number in the guest architecture's table */                                        \
    X(ARG0, 12, "arg0")                                                                                                \
    X(ARG1, 13, "arg1")                                                                                                \
    X(ARG2, 14, "arg2")                                                                                                \
    X(ARG3, 15, "arg3")                                                                                                \
    X(ARG4, 16, "arg4")                                                                                                \
    X(ARG5, 17, "arg5")                                                                                                \
    X(RESULT, 18, "result")                                                                                            \
    X(ENTERED, 19, "entered") /* number of events that had been written when the call was entered (entry order) */     \
    X(FILE_ID, 20, "file-id") /* ID of the FILE that a descriptor argument stands for */                               \
    X(TARGET, 21, "target")   /* pid that a pid or pidfd argument stands for */                                        \
    X(IN0, 22, "in0")         /* bytes that the kernel read behind argument 0 */                                       \
    X(IN1, 23, "in1")                                                                                                  \
    X(IN2, 24, "in2")                                                                                                  \
    X(IN3, 25, "in3")                                                                                                  \
    X(IN4, 26, "in4")                                                                                                  \
    X(IN5, 27, "in5")                                                                                                  \
    X(OUT0, 28, "out0") /* bytes that the kernel wrote behind argument 0 */                                            \
    X(OUT1, 29, "out1")                                                                                                \
    X(OUT2, 30, "out2")                                                                                                \
    X(OUT3, 31, "out3")                                                                                                \
    X(OUT4, 32, "out4")                                                                                                \
    X(OUT5, 33, "out5")                                                                                                \
    X(ADDR, 34, "addr")                                                                                                \
    X(KIND, 35, "kind") /* 0 read, 1 write, 2 execute */                                                               \
    X(FLAGS, 36, "flags")                                                                                              \
    X(CHILD, 37, "child")                                                                                              \
    X(CHILD_PID, 38, "child-pid")                                                                                      \
    X(STATUS, 39, "status")                                                                                            \
    X(SIGNO, 40, "signo")                                                                                              \
    X(SI_CODE, 41, "si-code")                                                                                          \
    X(TEXT, 42, "text")   /* text */                                                                                   \
    X(BYTES, 43, "bytes") /* bytes */                                                                                  \
    X(OFFSET, 44, "offset")                                                                                            \
    X(PROT, 45, "prot")                                                                                                \
    X(BRK, 46, "brk") /* where the heap ends */                                                                        \
    X(START_BRK, 47, "start-brk")                                                                                      \
    X(STACK, 48, "stack")             /* stack pointer */                                                              \
    X(AUXV, 49, "auxv")               /* bytes: /proc/PID/auxv */                                                      \
    X(MAPS_TEXT, 50, "maps")          /* text: /proc/PID/maps */                                                       \
    X(LIMITS_TEXT, 51, "limits")      /* text: /proc/PID/limits */                                                     \
    X(STATUS_TEXT, 52, "proc-status") /* text: /proc/PID/status (uid, capabilities, Vm*) */                            \
    X(STAT_TEXT, 53, "proc-stat")     /* text: /proc/PID/stat (start_code, arg_start … env_end) */                   \
    X(COMM, 54, "comm")               /* text */                                                                       \
    X(EXE, 55, "exe")                 /* text */                                                                       \
    X(ARGS, 56, "args")               /* bytes: strings, each ended by 0 */                                            \
    X(ENV, 57, "env")                 /* bytes: strings, each ended by 0 */                                            \
    X(PERSONALITY, 58, "personality")                                                                                  \
    X(ARCH, 59, "arch") /* text: as qemu names it */                                                                   \
    X(ACCESSES, 60, "accesses")                                                                                        \
    X(BLOCKS, 61, "blocks")                                                                                            \
    X(STACK_TOP, 62, "stack-top")                                                                                      \
    X(ENTRY, 63, "entry")                                                                                              \
    X(START_CODE, 64, "start-code")                                                                                    \
    X(END_CODE, 65, "end-code")                                                                                        \
    X(START_DATA, 66, "start-data")                                                                                    \
    X(END_DATA, 67, "end-data")                                                                                        \
    X(CHILD_STREAM, 68, "child-stream") /* where the child's events will be; 0: nowhere */                             \
    X(FILE_SIZE, 69, "file-size")       /* of FILE_ID, now */                                                          \
    X(BIAS, 70, "bias")                 /* where an ELF file lies, minus where it says */                              \
    X(LOADS, 71, "loads") /* bytes: for each PT_LOAD five u64: address, bytes in memory, in the file, offset, PROT_* */

enum trace_type {
#define X(name, number, printed) TRACE_##name = (number),
    TRACE_TYPES(X)
#undef X
};

enum trace_field {
#define X(name, number, printed) TF_##name = (number),
    TRACE_FIELDS(X)
#undef X
};

/* NULL: not known. */
const char *trace_type_name(u32 type);
const char *trace_field_name(u32 field);

/* -- writing ------------------------------------------------------------------------------------------------------- */

struct trace_writer;

/*
 * A new file: signature and the INFO block. `info` is text, lines "key=value" (trace_info_add() writes one); the keys
 * are in docs/trace-format.md. NULL: err says why ("FILE: reason"). One stream, one ticket for each block: for recorders
 * that see everything in order.
 */
struct trace_writer *trace_create(const char *path, const char *info, char *err, size_t err_size);

/*
 * An event: begin, its fields in any order (a field may come several times), end. Errors of the file are kept: after the
 * first nothing is written any more and trace_close() tells.
 */
void trace_begin(struct trace_writer *w, enum trace_type type);
void trace_put(struct trace_writer *w, enum trace_field field, u64 value);
void trace_put_bytes(struct trace_writer *w, enum trace_field field, const void *p, u64 len);
/* Bytes as they are: the body of an event that has no fields (ACCESS). */
void trace_put_raw(struct trace_writer *w, const void *p, u64 len);
void trace_put_text(struct trace_writer *w, enum trace_field field, const char *text);
void trace_end(struct trace_writer *w);

/* Events that were begun so far. */
u64 trace_written(const struct trace_writer *w);
/* Bytes in the file so far. */
u64 trace_written_bytes(const struct trace_writer *w);
/* Write out what is buffered: before the recorder waits for long. */
void trace_flush(struct trace_writer *w);
/* The end: END block with `totals` ("key=value" lines, may be ""). 0, or -errno of the first failure. Frees w. */
int trace_close(struct trace_writer *w, const char *totals);

/* Append "key=value\n" to the text at *text (realloc'd; NULL: new), with newlines, NULs and backslashes escaped. */
void trace_info_add(char **text, const char *key, const char *value);

/* -- reading ------------------------------------------------------------------------------------------------------- */

struct trace_reader;

/* Bytes of a field, not terminated. */
struct trace_bytes {
    const u8 *p; /* NULL: no such field */
    u64 len;
};

struct trace_event {
    u32 type; /* enum trace_type, or unknown */
    u32 stream;
    u64 ticket;
    u64 offset;           /* of its block in the file */
    const u8 *body, *end; /* valid until the next trace_next() */
};

struct trace_value {
    u32 field;
    u64 number;
    struct trace_bytes bytes; /* p NULL: a number */
};

enum trace_status {
    TRACE_EVENT,     /* *e is one */
    TRACE_END,       /* the recording is complete */
    TRACE_TRUNCATED, /* it ends too early: all that is whole was delivered; trace_error() names the rest */
    TRACE_BAD,       /* corrupt from some offset on: trace_error() */
};

/* "-": standard input. NULL: not to be opened, foreign, newer version: err names file, offset and reason. */
struct trace_reader *trace_open(const char *path, char *err, size_t err_size);
/* The same, of bytes in memory that outlive the reader (tests, fuzzing). */
struct trace_reader *trace_open_bytes(const void *p, size_t len, const char *name, char *err, size_t err_size);
void trace_reader_close(struct trace_reader *r);

/* Next event of all streams in the order of tickets. After anything but TRACE_EVENT always the same answer. */
enum trace_status trace_next(struct trace_reader *r, struct trace_event *e);
/* "FILE: offset N: reason", after TRACE_TRUNCATED or TRACE_BAD. */
const char *trace_error(const struct trace_reader *r);

/* Value of the INFO block's (totals: the END block's, after TRACE_END) first such key, unescaped; NULL: none. */
const char *trace_info(const struct trace_reader *r, const char *key);
const char *trace_total(const struct trace_reader *r, const char *key);
/* The n-th line of INFO; false: no more. */
bool trace_info_line(const struct trace_reader *r, u32 n, const char **key, const char **value);

/* Fields in the order written. *at starts as NULL. trace_next() has checked that those of known types are well formed. */
bool trace_next_value(const struct trace_event *e, const u8 **at, struct trace_value *v);
/* The first such number or bytes. */
u64 trace_get(const struct trace_event *e, enum trace_field field, u64 otherwise);
bool trace_has(const struct trace_event *e, enum trace_field field);
struct trace_bytes trace_get_bytes(const struct trace_event *e, enum trace_field field);
/* A copy as a string in out (cut to fit; "" if there is none): out. */
char *trace_get_text(const struct trace_event *e, enum trace_field field, char *out, size_t size);

#endif
