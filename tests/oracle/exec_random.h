/* SPDX-License-Identifier: MIT */
/* Randomised addresses of many runs, native and modelled. */
#ifndef QUIRE_TESTS_ORACLE_EXEC_RANDOM_H
#define QUIRE_TESTS_ORACLE_EXEC_RANDOM_H

#include "tests/oracle/exec_oracle.h"

u32 exec_random_run(const char *dir, u32 samples); /* areas that differ */

#endif
