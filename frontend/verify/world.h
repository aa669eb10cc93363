/* SPDX-License-Identifier: MIT */
/* Between maps.c, world.c and force.c: recorded lines put in place. */
#ifndef QUIRE_FRONTEND_VERIFY_WORLD_H
#define QUIRE_FRONTEND_VERIFY_WORLD_H

#include "priv.h"

/* Map the line at its place, whatever lies there: 0 or an address, or -errno. `known`: its file; NULL: from the line. */
s64 map_line_force(struct verify *v, struct vtask *t, const struct map_line *l, const struct native_file *known);

#endif
