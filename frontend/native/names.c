/* SPDX-License-Identifier: MIT */
/* Names of recorded calls. */
#include "native.h"

static const char *const modelled_name[NR_ABI_CALLS] = {
#define X(name, x86_64, generic) [ABI_##name] = #name,
    ABI_CALLS(X)
#undef X
};

const char *const native_extra_name[NR_NATIVE_EXTRA] = {
#define X(name, x86_64, generic) [NATIVE_##name - NATIVE_EXTRA] = #name,
    NATIVE_EXTRA_CALLS(X)
#undef X
};

const char *native_call_name(u32 nr)
{
    if (nr < NR_ABI_CALLS)
        return modelled_name[nr];
    return nr >= NATIVE_EXTRA && nr < NATIVE_EXTRA_END ? native_extra_name[nr - NATIVE_EXTRA] : NULL;
}
