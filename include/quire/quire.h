/* SPDX-License-Identifier: MIT */
/*
 * Quire for embedders: the memory manager of a Linux-class kernel as a library.
 *
 * A machine has RAM, CPUs and TLBs as its configuration says. Processes on it map, touch, fork and exit; the
 * machine's memory manager does what Linux would do, and its counters tell. Nothing is shared between
 * machines but the host's memory.
 *
 * Conventions
 *   Addresses and lengths are bytes. Functions that return int give 0 or a negative Linux errno; those that return
 *   int64_t give a value or a negative errno. A failed call leaves the machine as it was.
 *   A process is used by one thread at a time; different processes of one machine may be used by different threads.
 *   quire_last_error() explains the calling thread's last failure in words; valid until its next call.
 *   What a function returns as a pointer is owned by the machine, unless it says otherwise.
 */
#ifndef QUIRE_QUIRE_H
#define QUIRE_QUIRE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QUIRE_API __attribute__((visibility("default")))

struct quire_machine;
struct quire_process;

/* "0.1.0" */
QUIRE_API const char *quire_version(void);
QUIRE_API const char *quire_last_error(void);

/* -- machines ------------------------------------------------------------------------------------------------------ */

/*
 * Boot a machine. `config`: text of a machine file ("mem = 1G\ncontent = full\n..."; docs/machine.md lists the keys),
 * NULL: the default, an x86-64 server with 4 GiB. NULL on failure. The machine is the caller's:
 * quire_machine_destroy() ends it.
 */
QUIRE_API struct quire_machine *quire_machine_create(const char *config);
/* Its processes go with it. */
QUIRE_API void quire_machine_destroy(struct quire_machine *m);
/* Recount everything; the number of mismatches, 0: the books balance.
 * Text of the first in quire_last_error(). No process in use meanwhile. */
QUIRE_API int quire_machine_check(struct quire_machine *m);
/*
 * A counter by Linux's name: "pgfault" and all of /proc/vmstat, "MemFree" and all of /proc/meminfo (KiB), "l1d_misses"
 * and all of the TLBs', "time.walk" and all causes of time (ns). -ENOENT: no such counter.
 */
QUIRE_API int64_t quire_machine_counter(const struct quire_machine *m, const char *name);

/*
 * A view as /proc of a Linux 6.18 kernel would show it: "meminfo", "vmstat", "zoneinfo", "42/smaps", "self/maps" (the
 * first process) ...; quire_proc_name() lists them, `docs/abi.md` tells of each. buf gets at most len - 1 bytes and a
 * terminating 0; buf may be NULL if len is 0. The length of the whole view in bytes; -ENOENT: no such view; -ESRCH: no
 * such process.
 */
QUIRE_API int64_t quire_proc_read(struct quire_machine *m, const char *name, char *buf, size_t len);
/* View `i` of the list; NULL behind the last one. Views of a process begin with "PID/". */
QUIRE_API const char *quire_proc_name(size_t i);
/*
 * Save the machine with all its processes to a file, as `quire run --save` does; `quire cat` shows its views.
 * No process in use meanwhile.
 */
QUIRE_API int quire_machine_save(struct quire_machine *m, const char *path);
/*
 * A machine from such a file: private, the file is not changed. `name`: which one, NULL: the first. It must lie where
 * it lay: NULL if that place is taken in this program, or if the file is damaged, foreign or of another version.
 */
QUIRE_API struct quire_machine *quire_machine_load(const char *path, const char *name);

/* -- processes ----------------------------------------------------------------------------------------------------- */

/* A process with an empty address space. NULL: out of memory, or pid (1 or more) is taken. */
QUIRE_API struct quire_process *quire_process_create(struct quire_machine *m, int pid);
/* A process of a loaded machine. NULL: no process has this pid. */
QUIRE_API struct quire_process *quire_process_open(struct quire_machine *m, int pid);
/* fork(2): the child. NULL: out of memory, or pid is taken. */
QUIRE_API struct quire_process *quire_process_fork(struct quire_process *parent, int pid);
/* It exits; its memory is given back. */
QUIRE_API void quire_process_exit(struct quire_process *p);
/* Resident set, pages. */
QUIRE_API int64_t quire_process_rss(const struct quire_process *p);

/* -- memory -------------------------------------------------------------------------------------------------------- */

/* mmap(2) of anonymous memory: prot and flags have Linux's values (PROT_READ ...,
 * MAP_PRIVATE | MAP_ANONYMOUS ...). Its address or -errno. */
QUIRE_API int64_t quire_mmap(struct quire_process *p, uint64_t addr, uint64_t len, int prot, int flags);
/* mmap(2) of a file with this identity and size; its contents are zeroes, its page cache is the machine's. */
QUIRE_API int64_t quire_mmap_file(struct quire_process *p, uint64_t addr, uint64_t len, int prot, int flags,
                                  uint64_t inode, uint64_t file_size, uint64_t offset);
QUIRE_API int64_t quire_munmap(struct quire_process *p, uint64_t addr, uint64_t len);
QUIRE_API int64_t quire_mprotect(struct quire_process *p, uint64_t addr, uint64_t len, int prot);
QUIRE_API int64_t quire_mremap(struct quire_process *p, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
                               uint64_t new_addr);
QUIRE_API int64_t quire_brk(struct quire_process *p, uint64_t brk);
QUIRE_API int64_t quire_madvise(struct quire_process *p, uint64_t addr, uint64_t len, int advice);

/* What an access ended in. */
struct quire_fault {
    int signo; /* 0: none; 11 SIGSEGV, 7 SIGBUS, 9 SIGKILL: out of memory */
    int si_code;
    uint64_t addr;
};

enum quire_access { QUIRE_READ, QUIRE_WRITE, QUIRE_EXEC };

/* One access of `size` bytes (up to a page): TLB, walk, fault as needed;
 * no bytes move. 0 or the signal; fault may be NULL. */
QUIRE_API int quire_access(struct quire_process *p, uint64_t addr, uint32_t size, enum quire_access kind,
                           struct quire_fault *fault);
/* Bytes to and from the process; machines with content = full only (else -EOPNOTSUPP). 0, or the signal (> 0). */
QUIRE_API int quire_load(struct quire_process *p, void *dst, uint64_t src, uint64_t len, struct quire_fault *fault);
QUIRE_API int quire_store(struct quire_process *p, uint64_t dst, const void *src, uint64_t len,
                          struct quire_fault *fault);

#ifdef __cplusplus
}
#endif

#endif
