/* SPDX-License-Identifier: MIT */
/* The handlers, for the table in syscall.c: arguments are decoded there, checked in the kernel's order. */
#ifndef QUIRE_ABI_ABI_PRIV_H
#define QUIRE_ABI_ABI_PRIV_H

#include "abi/abi.h"

typedef s64 (*abi_handler_fn)(struct cpu *cpu, struct abi_call *call);

#endif
