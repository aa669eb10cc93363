/* SPDX-License-Identifier: MIT */
/*
 * The surface: memory system calls as a process makes them, one door for every front end, replay, verify and test.
 *
 *   front end ── struct abi_call ──▶ abi_syscall() ── table ──▶ one handler a call ──▶ src/vm, src/cache, src/abi/shm.c …
 *
 * What the machine does not know by itself comes with the call: the object behind a descriptor (`file`), the process behind
 * a pid or pidfd (`target`), and the bytes behind pointers (`in`, `out`), when the caller has them.
 * Results are the kernel's: a value, an address, or a negative errno; the order of the checks is the kernel's too, so
 * that a call with two faults fails for the same one.
 */
#ifndef QUIRE_ABI_ABI_H
#define QUIRE_ABI_ABI_H

#include "abi/calls.h"
#include "machine/machine_api.h"

struct abi_buf {
    void *p; /* NULL: the process's own memory is read or written (content=full), the page at least touched */
    u64 len;
};

/* cpu->current makes it. Arguments are raw, as in the registers: upper halves of ints are ignored where the kernel does. */
struct abi_call {
    enum abi_nr nr;
    u64 arg[6];
    struct file *file;     /* what the descriptor argument stands for; NULL: not an open descriptor (-EBADF) */
    struct task *target;   /* what the pid or pidfd argument stands for; NULL: nobody (-ESRCH, pidfd: -EBADF) */
    bool target_gone;      /* a pidfd, but of who has been reaped, or will only be (-ESRCH); target is NULL */
    struct abi_buf in[6];  /* by argument: bytes that the kernel read there (a name, iovecs, limits) */
    struct abi_buf out[6]; /* by argument: room for what the kernel writes there (mincore's vector, old limits) */
    struct file *new_file; /* result of memfd_create: a reference that the caller owns */
};

/* The result as the kernel gives it in the register: -errno in [-4095, -1]; -ENOSYS also for what is not modelled. */
s64 abi_syscall(struct cpu *cpu, struct abi_call *call);
bool abi_is_modelled(enum abi_nr nr);
extern const char *const abi_name[NR_ABI_CALLS];
/* By the number of the architecture's table; NR_ABI_CALLS: not one of ours. */
enum abi_nr abi_of_x86_64(s64 nr);
enum abi_nr abi_of_generic(s64 nr);

/* -- for the handlers ---------------------------------------------------------------------------------------------- */

/*
 * The bytes behind argument n (plus `offset` into them): from call->in[n] if the caller gave them, else from the
 * process's memory. 0 or -EFAULT.
 */
int abi_copy_from_user(struct cpu *cpu, const struct abi_call *call, u32 n, u64 offset, void *dst, u64 len);
/* To call->out[n] if given (what exceeds it is dropped), else to the process's memory. 0 or -EFAULT. */
int abi_copy_to_user(struct cpu *cpu, const struct abi_call *call, u32 n, u64 offset, const void *src, u64 len);

#endif
