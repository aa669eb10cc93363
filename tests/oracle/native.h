/* SPDX-License-Identifier: MIT */
/* The child process as the test sees it: starting, sequences, waiting (watch.c), its address space as text. */
#ifndef QUIRE_TESTS_ORACLE_NATIVE_H
#define QUIRE_TESTS_ORACLE_NATIVE_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tests/oracle/oracle.h"

/* Descriptor slots that every process begins with. */
enum { SLOT_DISK_RW, SLOT_DISK_RO, SLOT_DISK_WO, SLOT_SHORT_RW, SLOT_SHMEM_RW, SLOT_SHMEM_RO, NR_BASE_SLOTS };

struct native_file {
    const char *name; /* in the C program of a reproducer */
    uint64_t size;    /* at the begin of a sequence, bytes */
    int same_as;      /* slot with the same object, or its own */
    int open_flags;
    int shmem;
};
extern const struct native_file native_file[NR_BASE_SLOTS];

struct native {
    pid_t pid; /* supervisor; 0: not running */
    struct oracle_shared *shared;
    int shared_fd, image_fd;
    int fd[NR_BASE_SLOTS];
    struct oracle_file_id image; /* of the child's program */
    uint64_t image_size;
    int on_tmpfs;        /* the files "on disk" are not on one */
    int own_user;        /* shared->nobody is nobody else */
    int on_ext4;         /* whose holes and growth the library follows */
    cpu_set_t cpus, cpu; /* ours; of them the child's one */
    char child_path[4096];
    uint32_t long_cpu_s; /* of CPU for one op: it takes too long */
};

enum native_end { NATIVE_DONE, NATIVE_DEAD, NATIVE_LONG };

void native_start(struct native *n, const char *child_path); /* dies with a message if it cannot */
void native_restart(struct native *n);                       /* after its death or a hang */
void native_stop(struct native *n);
void native_begin(struct native *n); /* files as new, process 0 */
void native_publish(struct native *n, uint32_t nr);
enum native_end native_end(struct native *n);
/* watch.c */
enum native_end native_wait(struct native *n, uint32_t nr); /* until so many are done */
enum native_end native_wait_command(struct native *n);      /* until the supervisor is done with the command */
/* /proc/PID/NAME as text; malloc()ed. */
char *native_proc(pid_t pid, const char *name);
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
