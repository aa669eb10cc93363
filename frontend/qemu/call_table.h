/* SPDX-License-Identifier: MIT */
/*
 * The system calls that are more than a wait: their numbers on x86-64 and in the generic table (aarch64, riscv64), how
 * they are followed, and which of their arguments point to memory that the kernel reads or writes. Sources: the numbers
 * of <asm/unistd.h> and <asm-generic/unistd.h>; the man page of each call.
 *
 *   S(name, x86-64 number, generic number or NONE, class, up to three buffers)
 *
 * Classes: WAIT  may block: the CPUs are given back during the call
 *          MEM   changes the address space: followed in order, by syscall.c
 *          QUICK never blocks for long: the CPUs are kept
 *          FORK, EXEC, EXIT, KILL  by process.c
 *          FREAD, FWRITE  read(2) or write(2) like: fd in argument 0; regular files go through the page cache
 *
 * Buffers, applied when the call succeeded: R the kernel reads it, W it writes it;
 * n is the number of the argument with the address.
 *   R_ARG(n, k) W_ARG(n, k)   as many bytes as argument k says
 *   W_RET(n)                  as many as the result says, likewise R_RET(n)
 *   R_FIX(n, b) W_FIX(n, b)   b bytes
 *   R_STR(n)                  a string
 *   R_IOV(n) W_IOV(n)         an iovec array with argument n + 1 elements, of which the result says how many bytes
 *                             were used
 *   R_MSG(n) W_MSG(n)         a struct msghdr, likewise
 *   W_NEW(n, k, b)            result or argument k, times b bytes
 */
#define NONE (-1)

#define SYSCALLS(S)                                                                                                    \
    S(read, 0, 63, FREAD, W_RET(1))                                                                                    \
    S(write, 1, 64, FWRITE, R_RET(1))                                                                                  \
    S(readv, 19, 65, FREAD, W_IOV(1))                                                                                  \
    S(writev, 20, 66, FWRITE, R_IOV(1))                                                                                \
    S(pread64, 17, 67, FREAD, W_RET(1))                                                                                \
    S(pwrite64, 18, 68, FWRITE, R_RET(1))                                                                              \
    S(preadv, 295, 69, FREAD, W_IOV(1))                                                                                \
    S(pwritev, 296, 70, FWRITE, R_IOV(1))                                                                              \
    S(preadv2, 327, 286, FREAD, W_IOV(1))                                                                              \
    S(pwritev2, 328, 287, FWRITE, R_IOV(1))                                                                            \
    S(open, 2, NONE, WAIT, R_STR(0))                                                                                   \
    S(openat, 257, 56, WAIT, R_STR(1))                                                                                 \
    S(creat, 85, NONE, WAIT, R_STR(0))                                                                                 \
    S(stat, 4, NONE, WAIT, R_STR(0), W_FIX(1, 144))                                                                    \
    S(lstat, 6, NONE, WAIT, R_STR(0), W_FIX(1, 144))                                                                   \
    S(fstat, 5, 80, QUICK, W_FIX(1, 128))                                                                              \
    S(newfstatat, 262, 79, WAIT, R_STR(1), W_FIX(2, 128))                                                              \
    S(statx, 332, 291, WAIT, R_STR(1), W_FIX(4, 256))                                                                  \
    S(statfs, 137, 43, WAIT, R_STR(0), W_FIX(1, 120))                                                                  \
    S(fstatfs, 138, 44, WAIT, W_FIX(1, 120))                                                                           \
    S(access, 21, NONE, WAIT, R_STR(0))                                                                                \
    S(faccessat, 269, 48, WAIT, R_STR(1))                                                                              \
    S(faccessat2, 439, 439, WAIT, R_STR(1))                                                                            \
    S(readlink, 89, NONE, WAIT, R_STR(0), W_RET(1))                                                                    \
    S(readlinkat, 267, 78, WAIT, R_STR(1), W_RET(2))                                                                   \
    S(getdents64, 217, 61, WAIT, W_RET(1))                                                                             \
    S(getcwd, 79, 17, QUICK, W_RET(0))                                                                                 \
    S(chdir, 80, 49, WAIT, R_STR(0))                                                                                   \
    S(mkdir, 83, NONE, WAIT, R_STR(0))                                                                                 \
    S(mkdirat, 258, 34, WAIT, R_STR(1))                                                                                \
    S(rmdir, 84, NONE, WAIT, R_STR(0))                                                                                 \
    S(unlink, 87, NONE, WAIT, R_STR(0))                                                                                \
    S(unlinkat, 263, 35, WAIT, R_STR(1))                                                                               \
    S(rename, 82, NONE, WAIT, R_STR(0), R_STR(1))                                                                      \
    S(renameat, 264, 38, WAIT, R_STR(1), R_STR(3))                                                                     \
    S(renameat2, 316, 276, WAIT, R_STR(1), R_STR(3))                                                                   \
    S(link, 86, NONE, WAIT, R_STR(0), R_STR(1))                                                                        \
    S(linkat, 265, 37, WAIT, R_STR(1), R_STR(3))                                                                       \
    S(symlink, 88, NONE, WAIT, R_STR(0), R_STR(1))                                                                     \
    S(symlinkat, 266, 36, WAIT, R_STR(0), R_STR(2))                                                                    \
    S(chmod, 90, NONE, WAIT, R_STR(0))                                                                                 \
    S(fchmodat, 268, 53, WAIT, R_STR(1))                                                                               \
    S(utimensat, 280, 88, WAIT)                                                                                        \
    S(lseek, 8, 62, QUICK)                                                                                             \
    S(truncate, 76, 45, WAIT, R_STR(0))                                                                                \
    S(ftruncate, 77, 46, WAIT)                                                                                         \
    S(fallocate, 285, 47, WAIT)                                                                                        \
    S(close, 3, 57, WAIT)                                                                                              \
    S(dup, 32, 23, QUICK)                                                                                              \
    S(dup2, 33, NONE, WAIT)                                                                                            \
    S(dup3, 292, 24, WAIT)                                                                                             \
    S(pipe, 22, NONE, QUICK, W_FIX(0, 8))                                                                              \
    S(pipe2, 293, 59, QUICK, W_FIX(0, 8))                                                                              \
    S(socketpair, 53, 199, QUICK, W_FIX(3, 8))                                                                         \
    S(connect, 42, 203, WAIT, R_ARG(1, 2))                                                                             \
    S(bind, 49, 200, WAIT, R_ARG(1, 2))                                                                                \
    S(accept, 43, 202, WAIT)                                                                                           \
    S(accept4, 288, 242, WAIT)                                                                                         \
    S(setsockopt, 54, 208, QUICK, R_ARG(3, 4))                                                                         \
    S(sendto, 44, 206, WAIT, R_RET(1), R_ARG(4, 5))                                                                    \
    S(recvfrom, 45, 207, WAIT, W_RET(1))                                                                               \
    S(sendmsg, 46, 211, WAIT, R_MSG(1))                                                                                \
    S(recvmsg, 47, 212, WAIT, W_MSG(1))                                                                                \
    S(poll, 7, NONE, WAIT, W_NEW(0, 1, 8))                                                                             \
    S(ppoll, 271, 73, WAIT, W_NEW(0, 1, 8))                                                                            \
    S(epoll_wait, 232, NONE, WAIT, W_RETN(1, 12))                                                                      \
    S(epoll_pwait, 281, 22, WAIT, W_RETN(1, 12))                                                                       \
    S(epoll_ctl, 233, 21, QUICK)                                                                                       \
    S(mmap, 9, 222, MEM)                                                                                               \
    S(munmap, 11, 215, MEM)                                                                                            \
    S(mprotect, 10, 226, MEM)                                                                                          \
    S(mremap, 25, 216, MEM)                                                                                            \
    S(brk, 12, 214, MEM)                                                                                               \
    S(madvise, 28, 233, MEM)                                                                                           \
    S(shmget, 29, 194, MEM)                                                                                            \
    S(shmat, 30, 196, MEM)                                                                                             \
    S(shmdt, 67, 197, MEM)                                                                                             \
    S(shmctl, 31, 195, MEM)                                                                                            \
    S(mlock, 149, 228, MEM)                                                                                            \
    S(mlock2, 325, 284, MEM)                                                                                           \
    S(munlock, 150, 229, MEM)                                                                                          \
    S(mlockall, 151, 230, MEM)                                                                                         \
    S(munlockall, 152, 231, MEM)                                                                                       \
    S(mincore, 27, 232, MEM)                                                                                           \
    S(msync, 26, 227, MEM)                                                                                             \
    S(mseal, 462, 462, MEM)                                                                                            \
    S(remap_file_pages, 216, 234, MEM)                                                                                 \
    S(membarrier, 324, 283, MEM)                                                                                       \
    S(clone, 56, 220, FORK)                                                                                            \
    S(fork, 57, NONE, FORK)                                                                                            \
    S(vfork, 58, NONE, FORK)                                                                                           \
    S(execve, 59, 221, EXEC)                                                                                           \
    S(execveat, 322, 281, EXEC)                                                                                        \
    S(exit, 60, 93, EXIT)                                                                                              \
    S(exit_group, 231, 94, EXIT)                                                                                       \
    S(kill, 62, 129, KILL)                                                                                             \
    S(tkill, 200, 130, KILL)                                                                                           \
    S(tgkill, 234, 131, KILL)                                                                                          \
    S(rt_sigaction, 13, 134, QUICK, R_FIX(1, 24), W_FIX(2, 24))                                                        \
    S(rt_sigprocmask, 14, 135, QUICK, R_FIX(1, 8), W_FIX(2, 8))                                                        \
    S(rt_sigreturn, 15, 139, QUICK)                                                                                    \
    S(sigaltstack, 131, 132, QUICK, R_FIX(0, 24), W_FIX(1, 24))                                                        \
    S(wait4, 61, 260, WAIT, W_FIX(1, 4), W_FIX(3, 144))                                                                \
    S(waitid, 247, 95, WAIT, W_FIX(2, 128))                                                                            \
    S(futex, 202, 98, WAIT, R_FIX(0, 4))                                                                               \
    S(nanosleep, 35, 101, WAIT, R_FIX(0, 16))                                                                          \
    S(clock_nanosleep, 230, 115, WAIT, R_FIX(2, 16))                                                                   \
    S(clock_gettime, 228, 113, QUICK, W_FIX(1, 16))                                                                    \
    S(clock_getres, 229, 114, QUICK, W_FIX(1, 16))                                                                     \
    S(gettimeofday, 96, 169, QUICK, W_FIX(0, 16), W_FIX(1, 8))                                                         \
    S(time, 201, NONE, QUICK, W_FIX(0, 8))                                                                             \
    S(times, 100, 153, QUICK, W_FIX(0, 32))                                                                            \
    S(getrusage, 98, 165, QUICK, W_FIX(1, 144))                                                                        \
    S(getrlimit, 97, 163, QUICK, W_FIX(1, 16))                                                                         \
    S(setrlimit, 160, 164, QUICK, R_FIX(1, 16))                                                                        \
    S(prlimit64, 302, 261, QUICK, R_FIX(2, 16), W_FIX(3, 16))                                                          \
    S(sysinfo, 99, 179, QUICK, W_FIX(0, 112))                                                                          \
    S(uname, 63, 160, QUICK, W_FIX(0, 390))                                                                            \
    S(getrandom, 318, 278, QUICK, W_RET(0))                                                                            \
    S(getgroups, 115, 158, QUICK, W_RETN(1, 4))                                                                        \
    S(sched_getaffinity, 204, 123, QUICK, W_RET(2))                                                                    \
    S(getpid, 39, 172, QUICK)                                                                                          \
    S(getppid, 110, 173, QUICK)                                                                                        \
    S(gettid, 186, 178, QUICK)                                                                                         \
    S(getuid, 102, 174, QUICK)                                                                                         \
    S(geteuid, 107, 175, QUICK)                                                                                        \
    S(getgid, 104, 176, QUICK)                                                                                         \
    S(getegid, 108, 177, QUICK)                                                                                        \
    S(set_tid_address, 218, 96, QUICK)                                                                                 \
    S(set_robust_list, 273, 99, QUICK)                                                                                 \
    S(rseq, 334, 293, QUICK)                                                                                           \
    S(clone3, 435, 435, QUICK)                                                                                         \
    S(arch_prctl, 158, NONE, QUICK)                                                                                    \
    S(prctl, 157, 167, QUICK)                                                                                          \
    S(fcntl, 72, 25, WAIT)                                                                                             \
    S(ioctl, 16, 29, WAIT)                                                                                             \
    S(memfd_create, 319, 279, QUICK, R_STR(0))                                                                         \
    S(sendfile, 40, 71, WAIT)                                                                                          \
    S(copy_file_range, 326, 285, WAIT)
