#include "broker/sim/hash.h"
#include "broker/sim/identities.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct key128 key_of(uint64_t i) {
        return sim_hash_of(0, (struct bytes){(const char *)&i, sizeof(i)});
}

static void counts_through_many_growths(void **state) {
        enum { KEYS = 100000 };
        struct sim_identities identities;

        (void)state;
        assert_true(sim_identities_init(&identities));
        for (uint64_t i = 0; i < KEYS; i++)
                assert_int_equal(sim_identities_see(&identities, key_of(i), (struct bytes){0})->seen, 1);
        for (uint64_t i = 0; i < KEYS; i += 2)
                assert_int_equal(sim_identities_see(&identities, key_of(i), (struct bytes){0})->seen, 2);
        assert_int_equal(identities.count, KEYS);
        assert_int_equal(sim_identities_seen(&identities, key_of(1)), 1);
        assert_int_equal(sim_identities_seen(&identities, key_of(KEYS)), 0);
        sim_identities_deinit(&identities);
}

static void tells_repetitions(void **state) {
        struct sim_identities identities;

        (void)state;
        assert_true(sim_identities_init(&identities));
        for (uint64_t i = 0; i < 3; i++)
                assert_non_null(sim_identities_see(&identities, key_of(i), (struct bytes){0}));
        for (int i = 0; i < 3; i++)
                sim_identities_executed(&identities, key_of(0));
        for (int i = 0; i < 2; i++)
                sim_identities_executed(&identities, key_of(1));
        sim_identities_executed(&identities, key_of(2));
        sim_identities_answered(&identities, key_of(0));
        assert_int_equal(identities.executed_again, 2);
        assert_int_equal(identities.executed_max, 3);
        assert_int_equal(identities.answered_again, 0);
        sim_identities_answered(&identities, key_of(0));
        assert_int_equal(identities.answered_again, 1);
        assert_true(sim_identities_reset(&identities));
        assert_int_equal(identities.count + identities.executed_again + identities.executed_max, 0);
        sim_identities_executed(&identities,
                                key_of(0)); /* of a call from before the reset: nothing to count */
        assert_int_equal(identities.executed_max, 0);
        sim_identities_deinit(&identities);
}

static void lists_names_and_hashes(void **state) {
        struct sim_identities identities;
        struct buffer text;

        (void)state;
        assert_true(sim_identities_init(&identities));
        buffer_init(&text, 4096);
        assert_non_null(sim_identities_see(&identities, key_of(1), BYTES("job \"1\"")));
        assert_non_null(sim_identities_see(&identities, key_of(1), BYTES("job \"1\"")));
        sim_identities_executed(&identities, key_of(1));
        sim_identities_append_json(&identities, &text);
        assert_true(bytes_equal_string(buffer_view(&text),
                                       "{\"id\":\"job \\\"1\\\"\",\"seen\":2,\"count\":1,\"answered\":0}\n"));
        buffer_deinit(&text);
        sim_identities_deinit(&identities);
}

static void the_hash_does_not_mind_the_cuts(void **state) {
        static const char text[] = "The quick brown fox jumps over the lazy dog, twice at least.";
        struct key128 whole = sim_hash_of(9, BYTES(text));

        (void)state;
        for (size_t cut = 0; cut < sizeof(text); cut++) {
                struct sim_hash hash;

                sim_hash_init(&hash, 9);
                sim_hash_update(&hash, (struct bytes){text, cut});
                sim_hash_update(&hash, (struct bytes){text + cut, sizeof(text) - 1 - cut});
                assert_true(key128_equal(sim_hash_final(&hash), whole));
        }
        assert_false(key128_equal(sim_hash_of(9, (struct bytes){text, sizeof(text) - 2}), whole));
        assert_false(key128_equal(sim_hash_of(8, BYTES(text)), whole));
        assert_false(key128_equal(sim_hash_of(0, BYTES("a")), sim_hash_of(0, (struct bytes){"a\0", 2})));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(counts_through_many_growths),
                cmocka_unit_test(tells_repetitions),
                cmocka_unit_test(lists_names_and_hashes),
                cmocka_unit_test(the_hash_does_not_mind_the_cuts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
