/* SPDX-License-Identifier: MIT */
/* machine_check(): every floor's books, lowest first. The floors' checkers say what they compare. */
#include "cache/cache.h"
#include "kmem/kmem.h"
#include "machine/machine_api.h"
#include "machine/frame_check.h"
#include "machine/mmu.h"
#include "phys/phys.h"
#include "vm/check.h"

void machine_check(struct machine *m, struct check_report *r)
{
    phys_check(m, r);
    kmem_check(m, r);
    vm_check(m, r);
    cache_check(m, r);
    shm_check(m, r);
    frame_check(m, r);
    hw_check(m, r);
}
