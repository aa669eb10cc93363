/* SPDX-License-Identifier: MIT */
/*
 * The system calls that concern memory: what src/abi answers, what the native recorder stops at, what a trace holds.
 *
 *   X(name, x86-64 number, generic number (arm64, riscv64) or -1)
 *
 * Numbers: <asm/unistd.h> and <asm-generic/unistd.h>. enum abi_nr is ours and is what traces store: append only.
 */
#ifndef QUIRE_ABI_CALLS_H
#define QUIRE_ABI_CALLS_H

#define ABI_CALLS(X)                                                                                                   \
    X(mmap, 9, 222)                                                                                                    \
    X(munmap, 11, 215)                                                                                                 \
    X(mremap, 25, 216)                                                                                                 \
    X(mprotect, 10, 226)                                                                                               \
    X(pkey_mprotect, 329, 288)                                                                                         \
    X(pkey_alloc, 330, 289)                                                                                            \
    X(pkey_free, 331, 290)                                                                                             \
    X(brk, 12, 214)                                                                                                    \
    X(remap_file_pages, 216, 234)                                                                                      \
    X(mseal, 462, 462)                                                                                                 \
    X(madvise, 28, 233)                                                                                                \
    X(process_madvise, 440, 440)                                                                                       \
    X(mlock, 149, 228)                                                                                                 \
    X(mlock2, 325, 284)                                                                                                \
    X(munlock, 150, 229)                                                                                               \
    X(mlockall, 151, 230)                                                                                              \
    X(munlockall, 152, 231)                                                                                            \
    X(mincore, 27, 232)                                                                                                \
    X(msync, 26, 227)                                                                                                  \
    X(membarrier, 324, 283)                                                                                            \
    X(process_vm_readv, 310, 270)                                                                                      \
    X(process_vm_writev, 311, 271)                                                                                     \
    X(shmget, 29, 194)                                                                                                 \
    X(shmctl, 31, 195)                                                                                                 \
    X(shmat, 30, 196)                                                                                                  \
    X(shmdt, 67, 197)                                                                                                  \
    X(memfd_create, 319, 279)                                                                                          \
    X(fcntl, 72, 25) /* F_ADD_SEALS, F_GET_SEALS */                                                                    \
    X(ftruncate, 77, 46)                                                                                               \
    X(fallocate, 285, 47)                                                                                              \
    X(prctl, 157, 167) /* PR_SET_MM, PR_SET_VMA, PR_SET_THP_DISABLE, PR_SET_DUMPABLE */                                \
    X(getrlimit, 97, 163)                                                                                              \
    X(setrlimit, 160, 164)                                                                                             \
    X(prlimit64, 302, 261)                                                                                             \
    X(personality, 135, 92)

enum abi_nr {
#define X(name, x86_64, generic) ABI_##name,
    ABI_CALLS(X)
#undef X
        NR_ABI_CALLS
};

#endif
