/* The map against a naive model, with keys that collide on purpose, and at its ceiling. */
#include "broker/base/map.h"
#include "broker/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MODEL = 200 };

static void fills_to_its_ceiling_only(void **state) {
        struct map map;
        uint32_t value = 77;

        (void)state;
        assert_true(map_init(&map, 100));
        for (uint32_t i = 0; i < 100; i++)
                assert_true(map_put(&map, (struct key128){i, 0}, i));
        assert_false(map_put(&map, (struct key128){100, 0}, 1));
        assert_false(map_get(&map, (struct key128){100, 0}, &value));
        assert_int_equal(value, 77);                              /* untouched */
        assert_true(map_put(&map, (struct key128){99, 0}, 1234)); /* replacing needs no room */
        assert_int_equal(map.count, 100);
        assert_true(map_get(&map, (struct key128){99, 0}, &value));
        assert_int_equal(value, 1234);
        assert_true(map_remove(&map, (struct key128){5, 0}));
        assert_true(map_put(&map, (struct key128){100, 0}, 1));
        map_deinit(&map);
}

static void empty_map_takes_nothing(void **state) {
        struct map map;
        uint32_t value;

        (void)state;
        assert_true(map_init(&map, 0));
        assert_false(map_put(&map, (struct key128){0, 0}, 1));
        assert_false(map_get(&map, (struct key128){0, 0}, &value));
        assert_false(map_remove(&map, (struct key128){0, 0}));
        map_deinit(&map);
        assert_false(map_init(&map, SIZE_MAX));
}

static void is_never_too_full(void **state) {
        (void)state;
        for (size_t max = 1; max < 3000; max += 7) {
                struct map map;

                assert_true(map_init(&map, max));
                assert_int_equal(map.mask & (map.mask + 1), 0);
                assert_true(max * 10 <= (map.mask + 1) * 7);
                map_deinit(&map);
        }
}

static void both_halves_of_the_key_count(void **state) {
        struct map map;
        uint32_t value;

        (void)state;
        assert_true(map_init(&map, 10));
        assert_true(map_put(&map, (struct key128){1, 2}, 12));
        assert_true(map_put(&map, (struct key128){2, 1}, 21));
        assert_true(map_put(&map, (struct key128){1, 1}, 11));
        assert_true(map_get(&map, (struct key128){2, 1}, &value));
        assert_int_equal(value, 21);
        assert_true(map_remove(&map, (struct key128){1, 1}));
        assert_false(map_remove(&map, (struct key128){1, 1}));
        assert_true(map_get(&map, (struct key128){1, 2}, &value));
        assert_int_equal(value, 12);
        map_deinit(&map);
}

/* Between a key's home and its place there is no empty slot: each used entry is found by looking it up. */
static void assert_same(const struct map *map, const bool *present, const uint32_t *values,
                        const struct key128 *keys) {
        size_t used = 0, expected = 0;
        uint32_t value = 0;

        for (size_t i = 0; i <= map->mask; i++)
                used += map->entries[i].used != 0;
        for (size_t i = 0; i < MODEL; i++) {
                expected += present[i];
                assert_int_equal(map_get(map, keys[i], &value), present[i]);
                if (present[i])
                        assert_int_equal(value, values[i]);
        }
        assert_int_equal(used, expected);
        assert_int_equal(map->count, expected);
}

/* `spread` is how many home slots the keys share: 1 makes one long run, which goes round the table's end. */
static void run_against_model(uint64_t seed, uint64_t spread, size_t count_max) {
        bool present[MODEL] = {false};
        uint32_t values[MODEL] = {0};
        struct key128 keys[MODEL];
        size_t count = 0;
        struct prng prng;
        struct map map;

        prng_init(&prng, seed);
        assert_true(map_init(&map, count_max));
        for (size_t i = 0; i < MODEL; i++)
                keys[i] = (struct key128){(i << 32) - 1 - prng_below(&prng, spread), 0};
        for (int step = 0; step < 3000; step++) {
                size_t i = prng_below(&prng, MODEL);
                uint32_t value = (uint32_t)prng_next(&prng);
                bool fits = present[i] || count < count_max;

                if (prng_below(&prng, 100) < 55) {
                        assert_int_equal(map_put(&map, keys[i], value), fits);
                        count += fits && !present[i];
                        values[i] = fits ? value : values[i];
                        present[i] = present[i] || fits;
                } else {
                        assert_int_equal(map_remove(&map, keys[i]), present[i]);
                        count -= present[i];
                        present[i] = false;
                }
                if (step % 16 == 0)
                        assert_same(&map, present, values, keys);
        }
        assert_same(&map, present, values, keys);
        map_deinit(&map);
}

static void behaves_as_the_model(void **state) {
        static const uint64_t spreads[] = {1, 2, 5, 40, 1000};

        (void)state;
        for (uint64_t seed = 1; seed <= 4; seed++)
                for (size_t i = 0; i < sizeof(spreads) / sizeof(spreads[0]); i++) {
                        run_against_model(seed, spreads[i], MODEL);
                        run_against_model(seed, spreads[i], 60);
                }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(fills_to_its_ceiling_only), cmocka_unit_test(empty_map_takes_nothing),
                cmocka_unit_test(is_never_too_full),         cmocka_unit_test(both_halves_of_the_key_count),
                cmocka_unit_test(behaves_as_the_model),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
