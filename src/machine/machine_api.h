/* SPDX-License-Identifier: MIT */
/*
 * What front ends, the CLI and tests call: create, boot, attach and check a machine, own its CPUs, access memory.
 * Files: region.c config.c boot.c cpu.c mmu.c (TLBs, walker) shootdown.c check.c report.c content.c.
 */
#ifndef QUIRE_MACHINE_MACHINE_API_H
#define QUIRE_MACHINE_MACHINE_API_H

#include "base/check.h"
#include "base/machine.h"
#include "machine/config.h"
#include "machine/mmu.h"
#include "machine/region.h"
#include "vm/vm.h"

/* -- configuration: strings in, errors that name key and reason out (machine_config_default(): machine/region.h) --- */
/* machine/config.h: machine_config_set(), machine_config_parse(), machine_config_validate() */

/* -- life ---------------------------------------------------------------------------------------------------------- */
/* machine/region.h: machine_create(), machine_detach(), machine_destroy() */
int machine_boot_floors(struct machine *m); /* phys, kmem, vm, cache, hw in order, on CPU 0 */
struct machine *machine_boot(const struct machine_config *c, void *addr); /* both */
struct machine *machine_attach(int handle, void *addr); /* in another process; checks magic and version */

extern const struct core_code quire_code; /* boot.c: all floors' functions */

/* -- CPUs (cpu.c) -------------------------------------------------------------------------------------------------- */
/*
 * Own a CPU for `task` (its last one if free, else any; waits if all are taken); state CPU_KERNEL, switches mm. NULL, also
 * for those who wait: the machine is closed.
 */
struct cpu *cpu_acquire(struct machine *m, struct task *task, u32 host_tid);
/* The same, but NULL also if none was free a tenth of a second later; or earlier: woken, but another one was faster. */
struct cpu *cpu_acquire_soon(struct machine *m, struct task *task, u32 host_tid);
bool cpu_try_acquire_id(struct machine *m, u32 id, u32 host_tid, struct cpu **out);
void cpu_release(struct cpu *cpu);
void cpu_enter_kernel(struct cpu *cpu); /* USER -> KERNEL */
void cpu_enter_user(struct cpu *cpu);   /* does posted work, then KERNEL -> USER */
void cpu_do_work(struct cpu *cpu);
/* In CPU_USER: posted work, if any (cpu_poll() asks first: for each executed block). */
void cpu_serve(struct cpu *cpu);
static inline void cpu_poll(struct cpu *cpu)
{
    if (unlikely(atomic_load_explicit(&cpu->work, memory_order_relaxed)))
        cpu_serve(cpu);
}
/* Somebody waits for a CPU and this one's time slice is over: release and acquire again. */
bool cpu_should_resched(const struct cpu *cpu);
/* Having released: whoever waits goes first. Else the releaser, which is awake, would always have it again before them. */
void cpu_let_waiters(struct machine *m);
/* Later acquirers' time begins here at the earliest: before a thread or process is started. */
void cpu_publish_time(struct cpu *cpu);
void switch_mm(struct cpu *cpu, struct mm *next);
/* CPUs owned by host threads of a process that is gone: released. */
void cpu_release_dead(struct machine *m, const u32 *host_tids, u32 nr);
/*
 * Nobody looks after the machine any more, so a CPU whose owner dies stays taken: nobody gets one from now on. Who owns one
 * may give it back, or forget it.
 */
void machine_close(struct machine *m);
/* A machine from a file: every CPU's owner is gone. */
void cpu_release_all(struct machine *m);

/* -- memory accesses: machine/mmu.h -------------------------------------------------------------------------------- */

/* -- contents: content=full only ----------------------------------------------------------------------------------- */
/* 0, or the signal number that the access raised (fi says more). Any length; pages are faulted as needed. */
int mmu_copy_from_user(struct cpu *cpu, void *dst, va_t src, u64 len, struct fault_info *fi);
int mmu_copy_to_user(struct cpu *cpu, va_t dst, const void *src, u64 len, struct fault_info *fi);

/* -- books --------------------------------------------------------------------------------------------------------- */
/* base/check.h: struct check_report, check_fail(). Needs all CPUs quiet (owned by nobody or inside the core). */
void machine_check(struct machine *m, struct check_report *r);
/* One for each floor, called by machine_check(): phys_check, kmem_check, vm_check, cache_check, hw_check. */

#endif
