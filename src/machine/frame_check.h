/* SPDX-License-Identifier: MIT */
/* Every frame has exactly one owner. */
#ifndef QUIRE_MACHINE_FRAME_CHECK_H
#define QUIRE_MACHINE_FRAME_CHECK_H

#include "base/check.h"
#include "base/machine.h"

void frame_check(struct machine *m, struct check_report *r);

#endif
