/* SPDX-License-Identifier: MIT */
/*
 * Shared-memory objects and files, step by step: memfd_create, seals, ftruncate, fallocate, read, write, mappings. Each
 * step has its exact result in the table; the machine must give it, and so must the kernel that runs this test.
 *
 *   FILE f: a file on ext4 (where the build directory is one)     a .. e: memfds
 *   Addresses of mappings are MAP + the table's offset. LOAD and STORE give the byte, or -signal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/unit/testing_full.h"

#include "abi/abi.h"
#include "cache/cache.h"

#define MAP 0x20000000ul
#define PG 4096l
#define RW 3
#define SH MAP_SHARED
#define PR MAP_PRIVATE
#define SEAL 1
#define SHRINK 2
#define GROW 4
#define WRITE_ 8
#define FUTURE 16
#define EXEC_ 32
#define KEEP 1
#define PUNCH 3
#define COLLAPSE 8
#define INSERT 0x20
#define GB (1l << 30)
#define BIG INT64_MAX
#define BUS (-SIGBUS)

enum op {
    MEMFD,
    DISK,
    CLOSE,
    REOPEN,
    ADD,
    GET,
    TRUNC,
    FALLOC,
    MMAP,
    UNMAP,
    PROT,
    STORE,
    LOAD,
    PWRITE,
    PREAD,
    BYTE,
    SIZE,
    PAGES,
    LIMIT
};
enum slot { F, A, B, C, D, E_, NR_SLOTS };

struct step {
    enum op op;
    int slot;
    s64 a, b, c, d;
    s64 result;
};

static const char *const op_name[] = {"memfd_create", "open",      "close",     "reopen",   "add_seals",
                                      "get_seals",    "ftruncate", "fallocate", "mmap",     "munmap",
                                      "mprotect",     "store",     "load",      "pwrite",   "pread",
                                      "byte",         "size",      "pages",     "setrlimit"};

/* -- the tables ---------------------------------------------------------------------------------------------------- */

static const struct step create_steps[] = {
    {MEMFD, A, 0x20, 0, 0, 0, -EINVAL},
    {MEMFD, A, 0x18, 0, 0, 0, -EINVAL},
    {MEMFD, A, 21l << 26, 0, 0, 0, -EINVAL},
    {MEMFD, A, 4 | 14l << 26, 0, 0, 0, -ENODEV},
    {MEMFD, A, 4 | 0x80, 0, 0, 0, -EINVAL},
    {MEMFD, A, 0, 250, 0, 0, -EINVAL},
    {MEMFD, A, 0, 249, 0, 0, 0},
    {GET, A, 0, 0, 0, 0, SEAL},
    {MEMFD, B, 2, 5, 0, 0, 0},
    {GET, B, 0, 0, 0, 0, 0},
    {MEMFD, C, 8, 5, 0, 0, 0},
    {GET, C, 0, 0, 0, 0, EXEC_},
    {MEMFD, D, 2 | 16, 5, 0, 0, 0},
    {GET, D, 0, 0, 0, 0, 0},
    {MEMFD, E_, 10, 5, 0, 0, 0},
    {GET, E_, 0, 0, 0, 0, EXEC_},
    {ADD, A, 0, 0, 0, 0, -EPERM},
    {ADD, B, 0x40, 0, 0, 0, -EINVAL},
    {ADD, B, -1, 0, 0, 0, -EINVAL},
    {ADD, B, 0, 0, 0, 0, 0},
    {ADD, C, GROW, 0, 0, 0, 0},
    {GET, C, 0, 0, 0, 0, EXEC_ | GROW},
    {CLOSE, A, 0, 0, 0, 0, 0},
    {MEMFD, A, 4 | 2, 1, 0, 0, 0},
    {GET, A, 0, 0, 0, 0, 0},
    {TRUNC, A, 4096, 0, 0, 0, -EINVAL},
    {TRUNC, A, 2l << 20, 0, 0, 0, 0},
    {PWRITE, A, 0, 1, 1, 0, -EINVAL},
    {FALLOC, A, 0, 0, 4096, 0, -ENOSPC},
    {FALLOC, A, PUNCH, 0, 4096, 0, 0},
    {REOPEN, B, O_RDONLY, 0, 0, 0, 0},
    {ADD, B, SEAL, 0, 0, 0, -EPERM},
    {TRUNC, B, 0, 0, 0, 0, -EINVAL},
    {FALLOC, B, 0, 0, 1, 0, -EBADF},
    {FALLOC, B, 0, 0, 0, 0, -EINVAL},
    {FALLOC, B, 2, 0, 1, 0, -EOPNOTSUPP},
    {PWRITE, B, 0, 1, 1, 0, -EBADF},
    {MMAP, B, 0, PG, RW, SH, -EACCES},
};

static const struct step seal_steps[] = {
    /* executable: sealing that seals the bytes, too */
    {MEMFD, A, 2 | 16, 1, 0, 0, 0},
    {TRUNC, A, 2 * PG, 0, 0, 0, 0},
    {MMAP, A, 0, 2 * PG, RW, SH, 0},
    {ADD, A, EXEC_, 0, 0, 0, -EBUSY},
    {GET, A, 0, 0, 0, 0, 0},
    {UNMAP, 0, 0, 2 * PG, 0, 0, 0},
    {ADD, A, EXEC_, 0, 0, 0, 0},
    {GET, A, 0, 0, 0, 0, 62},
    /* FUTURE_WRITE: the mapping that is there goes on writing */
    {MEMFD, B, 2, 1, 0, 0, 0},
    {TRUNC, B, 2 * PG, 0, 0, 0, 0},
    {MMAP, B, 0, 2 * PG, RW, SH, 0},
    {ADD, B, WRITE_, 0, 0, 0, -EBUSY},
    {ADD, B, FUTURE, 0, 0, 0, 0},
    {GET, B, 0, 0, 0, 0, FUTURE},
    {MMAP, B, 16 * PG, 2 * PG, RW, SH, -EPERM},
    {MMAP, B, 16 * PG, 2 * PG, PROT_READ, SH, 0},
    {PROT, 0, 16 * PG, PG, RW, 0, -EACCES},
    {STORE, 0, 5, 77, 0, 0, 0},
    {LOAD, 0, 16 * PG + 5, 0, 0, 0, 77},
    {PWRITE, B, 0, 1, 1, 0, -EPERM},
    {PWRITE, B, 0, 0, 1, 0, 0},
    {FALLOC, B, PUNCH, 0, PG, 0, -EPERM},
    {FALLOC, B, 0, 0, PG, 0, 0},
    {TRUNC, B, PG, 0, 0, 0, 0},
    {TRUNC, B, 2 * PG, 0, 0, 0, 0},
    {UNMAP, 0, 0, 2 * PG, 0, 0, 0},
    {ADD, B, WRITE_, 0, 0, 0, 0},
    {UNMAP, 0, 16 * PG, 2 * PG, 0, 0, 0},
    {ADD, B, WRITE_, 0, 0, 0, 0},
    {GET, B, 0, 0, 0, 0, WRITE_ | FUTURE},
    {MMAP, B, 0, 2 * PG, PROT_READ, SH, 0},
    {PROT, 0, 0, PG, RW, 0, -EACCES},
    {PROT, 0, 0, PG, PROT_READ | PROT_EXEC, 0, 0},
    {MMAP, B, 16 * PG, 2 * PG, RW, PR, 0},
    {STORE, 0, 16 * PG, 9, 0, 0, 0},
    {LOAD, 0, 5, 0, 0, 0, 77},
    /* a mapping that may become writable counts, a private one does not */
    {MEMFD, C, 2, 1, 0, 0, 0},
    {TRUNC, C, 2 * PG, 0, 0, 0, 0},
    {MMAP, C, 32 * PG, 2 * PG, PROT_READ, SH, 0},
    {ADD, C, WRITE_, 0, 0, 0, -EBUSY},
    {PROT, 0, 32 * PG, 2 * PG, RW, 0, 0},
    {UNMAP, 0, 32 * PG, 2 * PG, 0, 0, 0},
    {MMAP, C, 32 * PG, 2 * PG, RW, PR, 0},
    {ADD, C, WRITE_ | SEAL, 0, 0, 0, 0},
    {ADD, C, GROW, 0, 0, 0, -EPERM},
    /* sizes */
    {MEMFD, D, 2, 1, 0, 0, 0},
    {TRUNC, D, 2 * PG, 0, 0, 0, 0},
    {ADD, D, GROW, 0, 0, 0, 0},
    {PWRITE, D, 0, 20000, 1, 0, 2 * PG},
    {PWRITE, D, 8150, 100, 1, 0, 42},
    {PWRITE, D, 2 * PG, 100, 1, 0, -EPERM},
    {PWRITE, D, 4000, 5000, 1, 0, 4192},
    {TRUNC, D, 2 * PG + 1, 0, 0, 0, -EPERM},
    {TRUNC, D, 2 * PG, 0, 0, 0, 0},
    {FALLOC, D, 0, 0, 2 * PG + 1, 0, -EPERM},
    {FALLOC, D, KEEP, 0, 9000, 0, -EPERM},
    {FALLOC, D, KEEP, 0, 2 * PG, 0, 0},
    {TRUNC, D, 100, 0, 0, 0, 0},
    {TRUNC, D, 101, 0, 0, 0, -EPERM},
    {MEMFD, E_, 2, 1, 0, 0, 0},
    {TRUNC, E_, 2 * PG, 0, 0, 0, 0},
    {ADD, E_, SHRINK, 0, 0, 0, 0},
    {TRUNC, E_, 2 * PG - 1, 0, 0, 0, -EPERM},
    {TRUNC, E_, 9000, 0, 0, 0, 0},
    {TRUNC, E_, -1, 0, 0, 0, -EINVAL},
    {TRUNC, E_, BIG, 0, 0, 0, 0},
    {SIZE, E_, 0, 0, 0, 0, BIG},
};

static const struct step shmem_steps[] = {
    {MEMFD, A, 0, 1, 0, 0, 0},
    {TRUNC, A, 100, 0, 0, 0, 0},
    {MMAP, A, 0, 2 * PG, RW, SH, 0},
    {LOAD, 0, PG, 0, 0, 0, BUS},
    {STORE, 0, 200, 7, 0, 0, 0}, /* beyond the end, in its page */
    {TRUNC, A, PG, 0, 0, 0, 0},
    {LOAD, 0, 200, 0, 0, 0, 7},
    {STORE, 0, 300, 5, 0, 0, 0},
    {TRUNC, A, 100, 0, 0, 0, 0},
    {LOAD, 0, 300, 0, 0, 0, 0},
    {STORE, 0, 400, 9, 0, 0, 0},
    {PWRITE, A, 1000, 1, 3, 0, 1},
    {LOAD, 0, 400, 0, 0, 0, 9},
    {LOAD, 0, 1000, 0, 0, 0, 3},
    {TRUNC, A, 3 * PG, 0, 0, 0, 0},
    {STORE, 0, PG, 6, 0, 0, 0},
    {PAGES, A, 0, 0, 0, 0, 2},
    {BYTE, A, PG, 0, 0, 0, 6},
    {BYTE, A, 2 * PG, 0, 0, 0, 0},
    {PAGES, A, 0, 0, 0, 0, 2},
    {TRUNC, A, PG, 0, 0, 0, 0},
    {LOAD, 0, PG, 0, 0, 0, BUS},
    {STORE, 0, PG, 1, 0, 0, BUS},
    {PAGES, A, 0, 0, 0, 0, 1},
    {UNMAP, 0, 0, 2 * PG, 0, 0, 0},
    /* fallocate */
    {MEMFD, B, 0, 1, 0, 0, 0},
    {FALLOC, B, KEEP, 0, 4 * PG, 0, 0},
    {PAGES, B, 0, 0, 0, 0, 4},
    {SIZE, B, 0, 0, 0, 0, 0},
    {TRUNC, B, 2 * PG, 0, 0, 0, 0},
    {PAGES, B, 0, 0, 0, 0, 4},
    {TRUNC, B, 2 * PG, 0, 0, 0, 0},
    {PAGES, B, 0, 0, 0, 0, 2},
    {FALLOC, B, 0, 5000, 5000, 0, 0},
    {SIZE, B, 0, 0, 0, 0, 10000},
    {PAGES, B, 0, 0, 0, 0, 3},
    {BYTE, B, 9999, 0, 0, 0, 0},
    {FALLOC, B, 0, BIG, 1, 0, -EFBIG},
    {FALLOC, B, PUNCH, BIG, 1, 0, -EFBIG},
    {FALLOC, B, 0, -1, 1, 0, -EINVAL},
    {FALLOC, B, 0, 0, -1, 0, -EINVAL},
    {FALLOC, B, 2, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, B, 4, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, B, 8, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, B, 0x10, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, B, 0x11, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, B, 0x20, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, B, 0x40, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, B, 0x100, 0, PG, 0, -EOPNOTSUPP},
    /* holes: shared mappings see them, private copies do not */
    {MMAP, B, 0, 2 * PG, RW, SH, 0},
    {MMAP, B, 16 * PG, 2 * PG, RW, PR, 0},
    {STORE, 0, 0, 1, 0, 0, 0},
    {STORE, 0, PG + 1, 2, 0, 0, 0},
    {STORE, 0, 16 * PG, 3, 0, 0, 0},
    {LOAD, 0, 17 * PG + 1, 0, 0, 0, 2},
    {FALLOC, B, PUNCH, 0, PG + 1, 0, 0},
    {LOAD, 0, 0, 0, 0, 0, 0},
    {LOAD, 0, 16 * PG, 0, 0, 0, 3},
    {LOAD, 0, 17 * PG + 1, 0, 0, 0, 2},
    {FALLOC, B, PUNCH, PG + 1, 1, 0, 0},
    {LOAD, 0, PG + 1, 0, 0, 0, 0},
    {LOAD, 0, 17 * PG + 1, 0, 0, 0, 0},
    {TRUNC, B, 0, 0, 0, 0, 0},
    {TRUNC, B, 2 * PG, 0, 0, 0, 0},
    {LOAD, 0, 16 * PG, 0, 0, 0, 0}, /* truncation takes the copies, too */
    /* counts and limits of read and write */
    {PREAD, B, 2 * PG - 2, 10, 0, 0, 2},
    {PREAD, B, 2 * PG, 10, 0, 0, 0},
    {PREAD, B, -1, 10, 0, 0, -EINVAL},
    {PWRITE, B, -1, 10, 0, 0, -EINVAL},
    {PWRITE, B, BIG - 1, 10, 0, 0, -EINVAL},
    {LIMIT, 0, 2 * PG, 0, 0, 0, 0},
    {TRUNC, B, 2 * PG + 1, 0, 0, 0, -EFBIG},
    {TRUNC, B, PG, 0, 0, 0, 0},
    {PWRITE, B, 0, 9000, 1, 0, 2 * PG},
    {PWRITE, B, 2 * PG - 1, 2, 1, 0, 1},
    {PWRITE, B, 2 * PG, 2, 1, 0, -EFBIG},
    {PWRITE, B, 2 * PG, 0, 1, 0, 0},
    {FALLOC, B, 0, 0, 9000, 0, -EFBIG},
    {FALLOC, B, KEEP, 0, 9000, 0, -EFBIG},
};

static const struct step disk_steps[] = {
    {DISK, F, 0, 0, 0, 0, 0},
    {GET, F, 0, 0, 0, 0, -EINVAL},
    {ADD, F, GROW, 0, 0, 0, -EINVAL},
    {PWRITE, F, 0, 100, 8, 0, 100},
    {MMAP, F, 0, 2 * PG, RW, SH, 0},
    {LOAD, 0, 99, 0, 0, 0, 8},
    {LOAD, 0, 100, 0, 0, 0, 0},
    {LOAD, 0, PG, 0, 0, 0, BUS},
    /* what lies behind the end when the file grows over it */
    {STORE, 0, 200, 1, 0, 0, 0},
    {STORE, 0, 1500, 2, 0, 0, 0},
    {TRUNC, F, 1000, 0, 0, 0, 0},
    {LOAD, 0, 200, 0, 0, 0, 0},
    {LOAD, 0, 1500, 0, 0, 0, 0},
    {TRUNC, F, 100, 0, 0, 0, 0},
    {STORE, 0, 200, 1, 0, 0, 0},
    {STORE, 0, 1500, 2, 0, 0, 0},
    {PWRITE, F, 1000, 1, 4, 0, 1},
    {LOAD, 0, 200, 0, 0, 0, 0},
    {LOAD, 0, 1500, 0, 0, 0, 2},
    {TRUNC, F, 100, 0, 0, 0, 0},
    {STORE, 0, 200, 1, 0, 0, 0},
    {PWRITE, F, 95, 10, 4, 0, 10},
    {LOAD, 0, 200, 0, 0, 0, 1},
    {LOAD, 0, 104, 0, 0, 0, 4},
    {TRUNC, F, 100, 0, 0, 0, 0},
    {STORE, 0, 1500, 2, 0, 0, 0},
    {PWRITE, F, 5000, 1, 4, 0, 1},
    {LOAD, 0, 1500, 0, 0, 0, 0},
    {TRUNC, F, 100, 0, 0, 0, 0},
    {STORE, 0, 200, 1, 0, 0, 0},
    {TRUNC, F, 100, 0, 0, 0, 0},
    {LOAD, 0, 200, 0, 0, 0, 0},
    {STORE, 0, 200, 1, 0, 0, 0},
    {STORE, 0, 1500, 2, 0, 0, 0},
    {FALLOC, F, 0, 0, 1000, 0, 0},
    {LOAD, 0, 200, 0, 0, 0, 0},
    {LOAD, 0, 1500, 0, 0, 0, 2},
    {TRUNC, F, 100, 0, 0, 0, 0},
    {STORE, 0, 200, 1, 0, 0, 0},
    {FALLOC, F, KEEP, 0, 1000, 0, 0},
    {LOAD, 0, 200, 0, 0, 0, 1},
    {SIZE, F, 0, 0, 0, 0, 100},
    /* stores of shared mappings are what read sees, those of private ones are not */
    {TRUNC, F, 3 * PG, 0, 0, 0, 0},
    {STORE, 0, PG, 5, 0, 0, 0},
    {MMAP, F, 16 * PG, 3 * PG, RW, PR, 0},
    {STORE, 0, 17 * PG + 1, 6, 0, 0, 0},
    {UNMAP, 0, 0, 2 * PG, 0, 0, 0},
    {BYTE, F, PG, 0, 0, 0, 5},
    {BYTE, F, PG + 1, 0, 0, 0, 0},
    {PWRITE, F, PG, 2, 9, 0, 2},
    {LOAD, 0, 17 * PG, 0, 0, 0, 5},
    {LOAD, 0, 17 * PG + 1, 0, 0, 0, 6},
    {PWRITE, F, 2 * PG, 10, 7, 0, 10},
    {LOAD, 0, 18 * PG + 9, 0, 0, 0, 7},
    /* holes */
    {PWRITE, F, 0, 12000, 5, 0, 12000},
    {FALLOC, F, PUNCH, 100, 5000, 0, 0},
    {BYTE, F, 99, 0, 0, 0, 5},
    {BYTE, F, 100, 0, 0, 0, 0},
    {BYTE, F, 5099, 0, 0, 0, 0},
    {BYTE, F, 5100, 0, 0, 0, 5},
    {LOAD, 0, 16 * PG + 99, 0, 0, 0, 5},
    {LOAD, 0, 16 * PG + 100, 0, 0, 0, 0},
    {FALLOC, F, 0x11, 5100, 10, 0, 0},
    {BYTE, F, 5109, 0, 0, 0, 0},
    /* a hole beyond the size takes the rest of the last page, an end at it does not */
    {TRUNC, F, 12000, 0, 0, 0, 0},
    {MMAP, F, 56 * PG, 3 * PG, RW, SH, 0},
    {STORE, 0, 56 * PG + 12100, 3, 0, 0, 0},
    {FALLOC, F, PUNCH, 11000, 1000, 0, 0},
    {LOAD, 0, 56 * PG + 12100, 0, 0, 0, 3},
    {FALLOC, F, PUNCH, 12000, 1000, 0, 0},
    {LOAD, 0, 56 * PG + 12100, 0, 0, 0, 3},
    {FALLOC, F, PUNCH, 11999, 2, 0, 0},
    {LOAD, 0, 56 * PG + 12100, 0, 0, 0, 0},
    {BYTE, F, 10999, 0, 0, 0, 5},
    {FALLOC, F, 2, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, F, 0x40, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, F, 0x80, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, F, COLLAPSE | KEEP, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, F, INSERT | KEEP, 0, PG, 0, -EOPNOTSUPP},
    {FALLOC, F, COLLAPSE | INSERT, 0, PG, 0, -EOPNOTSUPP},
    /* ranges that go, and that come between: pages, private copies and stores behind the end */
    {UNMAP, 0, 0, 64 * PG, 0, 0, 0},
    {TRUNC, F, 0, 0, 0, 0, 0},
    {PWRITE, F, 0, PG, 1, 0, PG},
    {PWRITE, F, PG, PG, 2, 0, PG},
    {PWRITE, F, 2 * PG, PG, 3, 0, PG},
    {PWRITE, F, 4 * PG, 100, 5, 0, 100},
    {MMAP, F, 0, 8 * PG, RW, SH, 0},
    {MMAP, F, 16 * PG, 8 * PG, RW, PR, 0},
    {STORE, 0, PG + 7, 12, 0, 0, 0},
    {STORE, 0, 4 * PG + 99, 15, 0, 0, 0},
    {STORE, 0, 4 * PG + 200, 16, 0, 0, 0},
    {STORE, 0, 16 * PG, 21, 0, 0, 0},
    {STORE, 0, 18 * PG, 22, 0, 0, 0},
    {FALLOC, F, COLLAPSE, 1, PG, 0, -EINVAL},
    {FALLOC, F, COLLAPSE, PG, 100, 0, -EINVAL},
    {FALLOC, F, COLLAPSE, 4 * PG, PG, 0, -EINVAL},
    {FALLOC, F, COLLAPSE, 5 * PG, PG, 0, -EINVAL},
    {FALLOC, F, COLLAPSE, 0, 5 * PG, 0, -EINVAL},
    {FALLOC, F, COLLAPSE, 0, (1l << 44) - PG, 0, -EINVAL},
    {FALLOC, F, COLLAPSE, 0, 1l << 44, 0, -EFBIG},
    {FALLOC, F, COLLAPSE, 0, 0, 0, -EINVAL},
    {FALLOC, F, INSERT, 1, PG, 0, -EINVAL},
    {FALLOC, F, INSERT, PG, 100, 0, -EINVAL},
    {FALLOC, F, INSERT, 5 * PG, PG, 0, -EINVAL},
    {FALLOC, F, INSERT, 0, (1l << 44) - 2 * PG, 0, -EFBIG},
    {SIZE, F, 0, 0, 0, 0, 4 * PG + 100},
    {LOAD, 0, 18 * PG, 0, 0, 0, 22},
    {FALLOC, F, COLLAPSE, 2 * PG, PG, 0, 0},
    {SIZE, F, 0, 0, 0, 0, 3 * PG + 100},
    {LOAD, 0, PG + 7, 0, 0, 0, 12},
    {LOAD, 0, 2 * PG, 0, 0, 0, 0},
    {LOAD, 0, 3 * PG, 0, 0, 0, 5},
    {LOAD, 0, 3 * PG + 99, 0, 0, 0, 15},
    {LOAD, 0, 3 * PG + 200, 0, 0, 0, 0},
    {LOAD, 0, 4 * PG, 0, 0, 0, BUS},
    {LOAD, 0, 16 * PG, 0, 0, 0, 21},
    {LOAD, 0, 18 * PG, 0, 0, 0, 0},
    {LOAD, 0, 20 * PG, 0, 0, 0, BUS},
    {STORE, 0, 17 * PG, 23, 0, 0, 0},
    {STORE, 0, 3 * PG + 201, 17, 0, 0, 0},
    {FALLOC, F, INSERT, PG, 2 * PG, 0, 0},
    {SIZE, F, 0, 0, 0, 0, 5 * PG + 100},
    {LOAD, 0, 0, 0, 0, 0, 1},
    {LOAD, 0, PG, 0, 0, 0, 0},
    {LOAD, 0, 2 * PG + 7, 0, 0, 0, 0},
    {LOAD, 0, 3 * PG + 7, 0, 0, 0, 12},
    {LOAD, 0, 5 * PG + 99, 0, 0, 0, 15},
    {LOAD, 0, 5 * PG + 201, 0, 0, 0, 0},
    {LOAD, 0, 16 * PG, 0, 0, 0, 21},
    {LOAD, 0, 17 * PG, 0, 0, 0, 0},
    {BYTE, F, 3 * PG, 0, 0, 0, 2},
    {BYTE, F, 5 * PG, 0, 0, 0, 5},
    {FALLOC, F, COLLAPSE, 0, 5 * PG, 0, 0},
    {SIZE, F, 0, 0, 0, 0, 100},
    {LOAD, 0, 99, 0, 0, 0, 15},
    {LOAD, 0, 16 * PG, 0, 0, 0, 5},
    {FALLOC, F, INSERT, 0, PG, 0, 0},
    {BYTE, F, PG + 98, 0, 0, 0, 5},
    {BYTE, F, PG - 1, 0, 0, 0, 0},
    /* the file's size limit does not keep it from growing like that */
    {LIMIT, 0, 8192, 0, 0, 0, 0},
    {FALLOC, F, INSERT, 0, 2 * PG, 0, 0},
    {SIZE, F, 0, 0, 0, 0, 3 * PG + 100},
    {LIMIT, 0, -1, 0, 0, 0, 0},
    {FALLOC, F, 0, 0, 20 * PG, 0, 0},
    {FALLOC, F, 0, 0, 1l << 44, 0, -EFBIG},
    {TRUNC, F, 1l << 44, 0, 0, 0, -EFBIG},
    {TRUNC, F, (1l << 44) - PG, 0, 0, 0, 0},
    {PWRITE, F, (1l << 44) - PG, 1, 0, 0, -EFBIG},
    {TRUNC, F, 0, 0, 0, 0, 0},
    {LOAD, 0, 17 * PG + 1, 0, 0, 0, BUS},
    {REOPEN, F, O_WRONLY, 0, 0, 0, 0},
    {MMAP, F, 0, PG, PROT_WRITE, SH, -EACCES},
    {MMAP, F, 0, PG, PROT_WRITE, PR, -EACCES},
    {PREAD, F, 0, 1, 0, 0, -EBADF},
};

#define TABLE(name)                                                                                                    \
    {                                                                                                                  \
#name, name, ARRAY_SIZE(name)                                                                                  \
    }
static const struct table {
    const char *name;
    const struct step *step;
    u32 nr;
} tables[] = {TABLE(create_steps), TABLE(seal_steps), TABLE(shmem_steps), TABLE(disk_steps)};

/* -- the kernel ---------------------------------------------------------------------------------------------------- */

struct native {
    int fd[NR_SLOTS];
};

static sigjmp_buf jump;

static void on_signal(int sig)
{
    siglongjmp(jump, sig);
}

static s64 native_access(s64 at, int value, bool store)
{
    volatile unsigned char *p = (volatile unsigned char *)(MAP + (u64)at);
    int sig = sigsetjmp(jump, 1);

    if (sig)
        return -sig;
    if (!store)
        return *p;
    *p = (unsigned char)value;
    return 0;
}

static s64 native_open(struct native *n, const struct step *s)
{
    char name[300], path[64];
    int fd;

    memset(name, 'x', sizeof(name));
    name[s->b] = 0;
    if (s->op == MEMFD) {
        fd = (int)syscall(SYS_memfd_create, name, (unsigned int)s->a);
    } else if (s->op == DISK) {
        fd = open(".", O_TMPFILE | O_RDWR, 0600);
    } else {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", n->fd[s->slot]);
        fd = open(path, (int)s->a);
    }
    if (fd < 0)
        return -errno;
    if (n->fd[s->slot] >= 0)
        close(n->fd[s->slot]);
    n->fd[s->slot] = fd;
    return 0;
}

static s64 native_size(int fd, bool pages)
{
    struct stat st;

    fstat(fd, &st);
    return pages ? st.st_blocks / 8 : st.st_size;
}

static s64 native_step(struct native *n, const struct step *s)
{
    static unsigned char buf[32768];
    int fd = n->fd[s->slot];
    s64 r;

    switch (s->op) {
    case MEMFD:
    case DISK:
    case REOPEN:
        return native_open(n, s);
    case CLOSE:
        n->fd[s->slot] = -1;
        r = close(fd);
        break;
    case ADD:
        r = fcntl(fd, 1033, s->a);
        break;
    case GET:
        r = fcntl(fd, 1034);
        break;
    case TRUNC:
        r = ftruncate(fd, s->a);
        break;
    case FALLOC:
        r = fallocate(fd, (int)s->a, s->b, s->c);
        break;
    case MMAP: {
        void *p = mmap((void *)(MAP + (u64)s->a), (size_t)s->b, (int)s->c, (int)s->d | MAP_FIXED, fd, 0);

        return p == MAP_FAILED ? -errno : 0;
    }
    case UNMAP:
        r = munmap((void *)(MAP + (u64)s->a), (size_t)s->b);
        break;
    case PROT:
        r = mprotect((void *)(MAP + (u64)s->a), (size_t)s->b, (int)s->c);
        break;
    case STORE:
    case LOAD:
        return native_access(s->a, (int)s->b, s->op == STORE);
    case PWRITE:
        memset(buf, (int)s->c, sizeof(buf));
        r = pwrite(fd, buf, (size_t)s->b, s->a);
        break;
    case PREAD:
        r = pread(fd, buf, (size_t)s->b, s->a);
        break;
    case BYTE:
        buf[0] = 0xee;
        r = pread(fd, buf, 1, s->a) == 1 ? buf[0] : -1;
        break;
    case LIMIT:
        r = setrlimit(RLIMIT_FSIZE, &(struct rlimit){(rlim_t)s->a, RLIM_INFINITY});
        break;
    default:
        return native_size(fd, s->op == PAGES);
    }
    return r < 0 ? -errno : r;
}

/* -- the machine --------------------------------------------------------------------------------------------------- */

struct model {
    struct machine *m;
    struct cpu *cpu;
    struct file *file[NR_SLOTS];
};

static s64 model_call(struct model *v, enum abi_nr nr, int slot, const s64 arg[6])
{
    struct abi_call c = {.nr = nr, .file = v->file[slot]};

    for (u32 i = 0; i < 6; i++)
        c.arg[i] = (u64)arg[i];
    return abi_syscall(v->cpu, &c);
}

static s64 model_open(struct model *v, const struct step *s)
{
    char name[300];
    struct abi_call c = {.nr = ABI_memfd_create, .arg = {1, (u64)s->a}, .in[0] = {name, sizeof(name)}};
    struct file *file;
    s64 r = 0;

    memset(name, 'x', sizeof(name));
    name[s->b] = 0;
    if (s->op == MEMFD) {
        r = abi_syscall(v->cpu, &c);
        file = c.new_file;
    } else if (s->op == DISK) {
        file = file_open(v->cpu, 8, 1, 0, FMODE_READ | FMODE_WRITE, "/f");
        inode_set_linked(v->cpu, file->f_inode, INODE_HAS_NO_NAME);
    } else {
        file = file_reopen(v->cpu, v->file[s->slot], s->a == O_RDONLY ? FMODE_READ : FMODE_WRITE);
    }
    if (r)
        return r;
    if (v->file[s->slot])
        fput(v->cpu, v->file[s->slot]);
    v->file[s->slot] = file;
    return 0;
}

static s64 model_access(struct model *v, s64 at, int value, bool store)
{
    unsigned char byte = (unsigned char)value;
    struct fault_info fi;
    int sig = store ? mmu_copy_to_user(v->cpu, MAP + (u64)at, &byte, 1, &fi)
                    : mmu_copy_from_user(v->cpu, &byte, MAP + (u64)at, 1, &fi);

    return sig ? -sig : store ? 0 : byte;
}

static s64 model_step(struct model *v, const struct step *s)
{
    static unsigned char buf[32768];
    struct file *file = v->file[s->slot];

    switch (s->op) {
    case MEMFD:
    case DISK:
    case REOPEN:
        return model_open(v, s);
    case CLOSE:
        fput(v->cpu, file);
        v->file[s->slot] = NULL;
        return 0;
    case ADD:
        return model_call(v, ABI_fcntl, s->slot, (s64[6]){3, 1033, s->a});
    case GET:
        return model_call(v, ABI_fcntl, s->slot, (s64[6]){3, 1034});
    case TRUNC:
        return model_call(v, ABI_ftruncate, s->slot, (s64[6]){3, s->a});
    case FALLOC:
        return model_call(v, ABI_fallocate, s->slot, (s64[6]){3, s->a, s->b, s->c});
    case MMAP: {
        s64 r = model_call(v, ABI_mmap, s->slot, (s64[6]){(s64)MAP + s->a, s->b, s->c, s->d | MAP_FIXED_, 3});

        return r == (s64)MAP + s->a ? 0 : r;
    }
    case UNMAP:
        return model_call(v, ABI_munmap, s->slot, (s64[6]){(s64)MAP + s->a, s->b});
    case PROT:
        return model_call(v, ABI_mprotect, s->slot, (s64[6]){(s64)MAP + s->a, s->b, s->c});
    case STORE:
    case LOAD:
        return model_access(v, s->a, (int)s->b, s->op == STORE);
    case PWRITE:
        memset(buf, (int)s->c, sizeof(buf));
        return file_pwrite(v->cpu, file, buf, (u64)s->b, s->a);
    case PREAD:
        return file_pread(v->cpu, file, buf, (u64)s->b, s->a);
    case BYTE:
        buf[0] = 0xee;
        return file_pread(v->cpu, file, buf, 1, s->a) == 1 ? buf[0] : -1;
    case LIMIT:
        task_set_rlimit(v->cpu->current, RLIMIT_FSIZE_, (u64)s->a, rlimit_max(v->cpu->current, RLIMIT_FSIZE_));
        return 0;
    default:
        return s->op == PAGES ? (s64)file->f_mapping->nrpages : (s64)file->f_inode->i_size;
    }
}

/* -- both ---------------------------------------------------------------------------------------------------------- */

static bool native_can(const struct table *t)
{
    struct statfs fs;

    return t->step != disk_steps || (statfs(".", &fs) == 0 && fs.f_type == 0xef53);
}

static void complain(const struct table *t, u32 i, const char *who, s64 got)
{
    const struct step *s = &t->step[i];

    print_error("%s[%u]: %s(%d, %lld, %lld, %lld, %lld): %s gives %lld, the table says %lld\n", t->name, i,
                op_name[s->op], s->slot, (long long)s->a, (long long)s->b, (long long)s->c, (long long)s->d, who,
                (long long)got, (long long)s->result);
}

static u32 run_native(const struct table *t)
{
    struct native n;
    u32 bad = 0;

    signal(SIGBUS, on_signal); /* cmocka has its own */
    signal(SIGSEGV, on_signal);
    signal(SIGXFSZ, SIG_IGN);
    memset(n.fd, -1, sizeof(n.fd));
    for (u32 i = 0; i < t->nr; i++) {
        s64 got = native_step(&n, &t->step[i]);

        if (got != t->step[i].result) {
            complain(t, i, "the kernel", got);
            bad++;
        }
    }
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    munmap((void *)MAP, 64 * PG);
    for (u32 i = 0; i < NR_SLOTS; i++)
        if (n.fd[i] >= 0)
            close(n.fd[i]);
    return bad;
}

static u32 run_model(const struct table *t)
{
    struct model v = {.m = test_machine_full(NULL)};
    u32 bad = 0;

    v.cpu = test_cpu(v.m);
    test_task(v.cpu, 1);
    switch_mm(v.cpu, v.cpu->current->mm);
    for (u32 i = 0; i < t->nr; i++) {
        s64 got = model_step(&v, &t->step[i]);

        if (got != t->step[i].result) {
            complain(t, i, "the machine", got);
            bad++;
        }
        assert_books(machine_check, v.m);
    }
    for (u32 i = 0; i < NR_SLOTS; i++)
        if (v.file[i])
            fput(v.cpu, v.file[i]);
    assert_int_equal(sys_munmap(v.cpu, MAP, 64 * PG), 0);
    assert_books(machine_check, v.m);
    assert_int_equal(v.m->cache->nr_inodes, 0);
    test_machine_end(v.m);
    return bad;
}

static void test_tables(void **state)
{
    u32 bad = 0;

    for (u32 i = 0; i < ARRAY_SIZE(tables); i++) {
        if (native_can(&tables[i]))
            bad += run_native(&tables[i]);
        bad += run_model(&tables[i]);
    }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
