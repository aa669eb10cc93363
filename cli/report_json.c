/* SPDX-License-Identifier: MIT */
#include "quire.h"
int report_json(const char *file, const struct run_options *o, struct session *s, const struct run_result *r)
{
    return 0;
}
