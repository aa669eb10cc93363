/* SPDX-License-Identifier: MIT */
/* See json_text.h. */
#include "json_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

json_t *json_textn(const char *s, size_t n)
{
    json_t *whole = json_stringn(s, n), *out;
    size_t len = 0, step;
    char *text;

    if (whole)
        return whole;
    text = malloc(4 * n + 1);
    if (!text)
        return NULL;
    for (size_t i = 0; i < n; i += step ? step : 1) {
        step = utf8_length(s + i, n - i);
        if (step)
            memcpy(text + len, s + i, step);
        else
            snprintf(text + len, 5, "\\%03o", (unsigned char)s[i]);
        len += step ? step : 4;
    }
    out = json_stringn(text, len);
    free(text);
    return out;
}

json_t *json_text(const char *s)
{
    return json_textn(s, strlen(s));
}
