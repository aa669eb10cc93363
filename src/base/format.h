/* SPDX-License-Identifier: MIT */
/*
 * Formatted text without a C library. Knows %s %c %% %p, %d %i %u %x %X with the lengths hh h l ll z, the flags - 0 +
 * and space, width and precision (both also as *). Anything else is an assertion. Results are as of snprintf(3).
 */
#ifndef QUIRE_BASE_FORMAT_H
#define QUIRE_BASE_FORMAT_H

#include <stdarg.h>

#include "base/types.h"

/* The length that the whole text has; buf gets at most size - 1 characters and a final 0. */
int quire_snprintf(char *buf, size_t size, const char *format, ...) __printf_like(3, 4);
int quire_vsnprintf(char *buf, size_t size, const char *format, va_list ap) __printf_like(3, 0);
/* The length put into buf (without the 0): for building a text piece by piece. */
int quire_scnprintf(char *buf, size_t size, const char *format, ...) __printf_like(3, 4);

#endif
