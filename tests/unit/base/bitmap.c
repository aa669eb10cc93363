/* SPDX-License-Identifier: MIT */
#include "base_test.h"

#include "base/bitmap.h"

#define BITS 300

static void compare(const u64 *map, const bool *model, u64 size)
{
    u64 i, weight = 0, next_set = size, next_clear = size, last = size;

    for (i = size; i-- > 0;) {
        weight += model[i];
        if (model[i]) {
            next_set = i;
            last = last == size ? i : last;
        } else {
            next_clear = i;
        }
        assert_int_equal(test_bit(i, map), model[i]);
        assert_int_equal(find_next_bit(map, size, i), next_set);
        assert_int_equal(find_next_zero_bit(map, size, i), next_clear);
    }
    assert_int_equal(find_first_bit(map, size), next_set);
    assert_int_equal(find_first_zero_bit(map, size), next_clear);
    assert_int_equal(find_last_bit(map, size), last);
    assert_int_equal(bitmap_weight(map, size), weight);
    assert_int_equal(bitmap_empty(map, size), weight == 0);
    assert_int_equal(bitmap_full(map, size), weight == size);
}

static void test_random(void **state)
{
    DECLARE_BITMAP(map, BITS);
    bool model[BITS] = {false};
    u64 seed = test_seed(), start, nr, i, value;
    int step;

    bitmap_zero(map, BITS);
    for (step = 0; step < 3000; step++) {
        start = rnd(&seed) % BITS;
        nr = rnd(&seed) % (BITS - start + 1);
        if (rnd(&seed) % 2)
            nr = MIN(nr, 3);
        value = rnd(&seed) % 2;
        if (nr == 1 && value)
            assert_int_equal(__test_and_set_bit(start, map), model[start]);
        else if (nr == 1)
            assert_int_equal(__test_and_clear_bit(start, map), model[start]);
        else if (value)
            bitmap_set(map, start, nr);
        else
            bitmap_clear(map, start, nr);
        for (i = start; i < start + nr; i++)
            model[i] = value;
        compare(map, model, BITS);
        compare(map, model, 1 + rnd(&seed) % BITS);
    }
}

/* Bits past the size are not seen, whatever they are. */
static void test_tail(void **state)
{
    u64 map[2] = {0, ~(u64)0 << 10};

    assert_int_equal(find_first_bit(map, 74), 74);
    assert_int_equal(find_last_bit(map, 74), 74);
    assert_int_equal(bitmap_weight(map, 74), 0);
    assert_true(bitmap_empty(map, 74));
    assert_int_equal(find_first_bit(map, 75), 74);
    assert_int_equal(find_next_bit(map, 75, 75), 75);
    assert_int_equal(find_next_bit(map, 0, 0), 0);
    map[0] = ~(u64)0;
    map[1] = 0x3ff;
    assert_true(bitmap_full(map, 74));
    assert_int_equal(find_first_zero_bit(map, 128), 74);
}

static void test_for_each(void **state)
{
    static const u64 expect[] = {0, 63, 64, 127, 199};
    DECLARE_BITMAP(map, 200);
    u64 bit, i;

    bitmap_zero(map, 200);
    for (i = 0; i < ARRAY_SIZE(expect); i++)
        __set_bit(expect[i], map);
    i = 0;
    for_each_set_bit (bit, map, 200)
        assert_int_equal(bit, expect[i++]);
    assert_int_equal(i, ARRAY_SIZE(expect));
    i = 0;
    for_each_clear_bit (bit, map, 200)
        i++;
    assert_int_equal(i, 195);
}

static void test_hweight(void **state)
{
    u64 seed = test_seed(), w;
    int i;

    assert_int_equal(hweight64(0), 0);
    assert_int_equal(hweight64(~(u64)0), 64);
    for (i = 0; i < 1000; i++) {
        w = rnd(&seed) & rnd(&seed);
        assert_int_equal(hweight64(w), __builtin_popcountll(w));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_for_each),
        cmocka_unit_test(test_hweight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
