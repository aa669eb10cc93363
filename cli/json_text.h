/* SPDX-License-Identifier: MIT */
/* Strings of JSON from bytes of any kind: see utf8.h. json_text.c. */
#ifndef QUIRE_CLI_JSON_TEXT_H
#define QUIRE_CLI_JSON_TEXT_H

#include <jansson.h>

/* A new reference; NULL: no memory. What is no UTF-8 becomes \ooo. */
json_t *json_text(const char *s);
json_t *json_textn(const char *s, size_t n);

#endif
