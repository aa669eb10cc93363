/* SPDX-License-Identifier: MIT */
/* Quire for embedders: create machines, drive them, read their counters. */
#ifndef QUIRE_QUIRE_H
#define QUIRE_QUIRE_H

#endif
