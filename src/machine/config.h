/* SPDX-License-Identifier: MIT */
/* Machine files: keys, their values as text, and what makes a machine impossible.
 * config_keys.c has the table of keys. */
#ifndef QUIRE_MACHINE_CONFIG_H
#define QUIRE_MACHINE_CONFIG_H

#include "base/config.h"
#include "machine/text.h"

/*
 * One assignment. 0, or -EINVAL with the reason in err ("mem: bad value '4Q': expected ..."); the configuration is then
 * as before. `cpus`, `mem`, `arch` and `numa.nodes` lay out memory and nodes anew.
 */
int machine_config_set(struct machine_config *c, const char *key, const char *value, char *err, size_t err_size);
/* A whole machine file: sysctl.conf syntax. Errors begin with "file:line: "; assignments before the bad one stand. */
int machine_config_parse(struct machine_config *c, const char *text, const char *file_name, char *err, size_t err_size);
/* Machines that cannot be: 0, or -EINVAL and the reason. */
int machine_config_validate(const struct machine_config *c, char *err, size_t err_size);

/* -- the keys, for help and reports -------------------------------------------------------------------------------- */
struct config_key {
    const char *name; /* '#' stands for a number */
    u16 type;         /* enum config_type */
    u16 offset;       /* of the field */
    u64 min, max;     /* numbers; cost: the constant is in min */
    const char *doc;
};

u32 machine_config_nr_keys(void);
const struct config_key *machine_config_key(u32 n);
/* What a value of this key looks like: "a size such as 4G, 16M to 32T". */
void machine_config_form(const struct config_key *k, struct text *t);
/* The value in c, as it would be written in a file; false: the key has none of its own (e820.#). */
bool machine_config_get(const struct machine_config *c, const struct config_key *k, struct text *t);

/* Siblings only: store `value`; false: it does not have the form. */
bool config_key_store(struct machine_config *c, const struct config_key *k, u32 number, const char *value, size_t n);

#endif
