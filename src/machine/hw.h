/* SPDX-License-Identifier: MIT */
/* struct hw: the machine's hardware beside RAM: one MMU for each CPU, and the clock. Lies in the hardware area. */
#ifndef QUIRE_MACHINE_HW_H
#define QUIRE_MACHINE_HW_H

#include "base/machine.h"

struct hw {
    char *mmus;         /* c: nr_cpus MMUs, mmu_bytes apart; machine/mmu.h: cpu_mmu() */
    u64 mmu_bytes;      /* c */
    _Atomic u64 now_ps; /* a: latest time published by any CPU (cpu.c: "time") */
};

/* Bytes of one CPU's MMU, TLB arrays included: a multiple of the cache line. */
u64 hw_mmu_bytes(const struct machine_config *c);
/* struct hw and the MMUs, empty. machine_create() only. */
void hw_init(struct machine *m);

#endif
