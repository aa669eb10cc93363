/* SPDX-License-Identifier: MIT */
/* Sequences of insertions and removals in the interval tree, and so in the balanced tree under it. */
#include "tests/fuzz/fuzz.h"

#include "base/interval_tree.h"

#define NODES 64

struct run {
    struct interval_tree_root root;
    struct interval_tree_node node[NODES];
    bool in[NODES];
};

static void query(struct run *r, u64 start, u64 last)
{
    struct interval_tree_node *n;
    u64 before = 0;
    u32 expect = 0, got = 0, i;

    for (i = 0; i < NODES; i++)
        expect += r->in[i] && r->node[i].start <= last && r->node[i].last >= start;
    interval_tree_foreach (n, &r->root, start, last) {
        REQUIRE(r->in[n - r->node] && n->start <= last && n->last >= start);
        REQUIRE(n->start >= before);
        before = n->start;
        got++;
    }
    REQUIRE(got == expect);
}

static void replace(struct run *r, struct interval_tree_node *n)
{
    struct interval_tree_node copy = *n;

    rb_replace_node(&n->rb, &copy.rb, &r->root.rb_root);
    rb_replace_node(&copy.rb, &n->rb, &r->root.rb_root);
}

static void step(struct run *r, struct input *in)
{
    u8 op = take_u8(in), i = op % NODES;
    u64 start = take_u8(in), length = take_u8(in);

    if (op >= 2 * NODES) {
        query(r, start, start + length);
        return;
    }
    if (r->in[i] && op >= NODES) {
        replace(r, &r->node[i]);
        return;
    }
    if (r->in[i]) {
        interval_tree_remove(&r->node[i], &r->root);
    } else {
        r->node[i] = (struct interval_tree_node){.start = start, .last = start + length};
        interval_tree_insert(&r->node[i], &r->root);
    }
    r->in[i] = !r->in[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct run r = {0};
    struct check_report report;

    while (more(&in)) {
        step(&r, &in);
        report.nr = 0;
        interval_tree_check(&r.root, &report);
        require_clean(&report);
    }
    query(&r, 0, ~(u64)0);
    return 0;
}
