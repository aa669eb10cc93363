/* SPDX-License-Identifier: MIT */
/*
 * The address space of a process on a machine, for other tools: made of its maps and pages (src/abi/proc.h).
 * docs/interchange.md has the layouts.
 */
#ifndef QUIRE_FRONTEND_SPACE_H
#define QUIRE_FRONTEND_SPACE_H

#include <stdio.h>

#include "abi/proc.h"

/*
 * `process`: as proc_read() names it ("1234", "self", a program). `cpu` is free. 0, -ESRCH: no such process, -ENOMEM:
 * of the host, or what writing gave.
 */
typedef int (*space_writer)(struct cpu *cpu, const char *process, FILE *out);

int space_vma(struct cpu *cpu, const char *process, FILE *out);
int space_vma_json(struct cpu *cpu, const char *process, FILE *out);
int space_v2p(struct cpu *cpu, const char *process, FILE *out);

#endif
