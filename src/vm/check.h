/* SPDX-License-Identifier: MIT */
/* The address-space floor's books. */
#ifndef QUIRE_VM_CHECK_H
#define QUIRE_VM_CHECK_H

#include "base/check.h"
#include "vm/vm.h"

/* Recounts everything that the entries of all mms imply. CPUs quiet. */
void vm_check(struct machine *m, struct check_report *r);
/* Pages that the VMAs of all mms have committed; with the objects' (cache_check) they are vm_committed_as. */
u64 vm_accounted_pages(const struct machine *m);

#endif
