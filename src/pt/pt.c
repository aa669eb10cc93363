/* SPDX-License-Identifier: MIT */
/* The table of formats. */
#include "pt/pt.h"

const struct pt_format *const pt_formats[NR_PT_FORMATS] = {
    [PT_X86_32] = &pt_x86_32,         [PT_X86_PAE] = &pt_x86_pae,       [PT_X86_64_4L] = &pt_x86_64_4l,
    [PT_X86_64_5L] = &pt_x86_64_5l,   [PT_ARM64_4K] = &pt_arm64_4k,     [PT_RISCV_SV39] = &pt_riscv_sv39,
    [PT_RISCV_SV48] = &pt_riscv_sv48, [PT_RISCV_SV57] = &pt_riscv_sv57,
};
