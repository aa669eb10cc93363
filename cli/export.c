/* SPDX-License-Identifier: MIT */
/* `quire export`: a trace or a saved run as other tools read it. */
#include "quire.h"

void export_help(void)
{
}

int export_trace(const struct convert_options *o)
{
    usage_error("export: %s: cannot be written yet", o->format);
}
