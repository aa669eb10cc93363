/* SPDX-License-Identifier: MIT */
/* `quire export`: a trace or a saved run as other tools read it. */
#include "quire.h"

int export_trace(const char *format, const char *out, const char *in)
{
    usage_error("export: %s: %s: cannot be written yet", out, format);
}
