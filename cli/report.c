/* SPDX-License-Identifier: MIT */
#include "quire.h"
void report_text(FILE *out, const struct run_options *o, struct session *s, const struct run_result *r)
{
    fprintf(out, "accesses %llu blocks %llu events %llu discovered %llu disagreements %llu unfollowed %llu wall %.2f\n",
            (unsigned long long)s->accesses, (unsigned long long)s->blocks, (unsigned long long)s->events,
            (unsigned long long)s->discovered, (unsigned long long)s->disagreements, (unsigned long long)s->unfollowed,
            r->wall_s);
    for (u32 i = 0; i < s->nr_notices && i < SESSION_NOTICES; i++)
        fprintf(out, "note: %s\n", s->notice[i]);
    for (u32 i = 0; i < s->nr_machines; i++) {
        if (s->machine[i].dead)
            fprintf(out, "machine %u dead: %s\n", i, s->machine[i].reason);
        if (r->check[i]) {
            fprintf(out, "check %u: %u mismatches\n", i, r->check[i]->nr);
            for (u32 k = 0; k < r->check[i]->nr && k < CHECK_KEPT; k++)
                fprintf(out, "   %s\n", r->check[i]->text[k]);
        }
    }
}
