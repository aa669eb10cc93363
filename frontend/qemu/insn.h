/* SPDX-License-Identifier: MIT */
/* Which instructions certainly access no data in memory: they need no callback. */
#ifndef QUIRE_FRONTEND_INSN_H
#define QUIRE_FRONTEND_INSN_H

#include "session.h"

/* False: it may. Always false for guests other than x86-64. */
bool insn_without_memory(enum guest_arch arch, const u8 *code, size_t len);

#endif
