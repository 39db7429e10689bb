/* Records that are taken once more: in which order, and what they hold up. */
#include "broker/base/prng.h"
#include "broker/core/again.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PARTITIONS = 4, OFFSETS = 50 };

static void keep(struct again *again, uint32_t partition, uint64_t offset, bool holds) {
        struct again_record record = {.partition = partition, .epoch = 1, .offset = offset, .holds = holds};
        assert_true(again_keep(again, &record));
}

static void takes(struct again *again, size_t max, const uint64_t (*places)[2], size_t count) {
        struct again_record records[16];
        assert_int_equal(again_take(again, records, max), count);
        for (size_t i = 0; i < count; i++) {
                assert_int_equal(records[i].partition, places[i][0]);
                assert_int_equal(records[i].offset, places[i][1]);
        }
}

static void comes_by_offset(void **state) {
        struct again again = {0};
        (void)state;
        takes(&again, 16, NULL, 0);
        keep(&again, 0, 7, true); /* conflicts end before the job that has the key */
        keep(&again, 0, 9, true);
        keep(&again, 0, 2, true);
        takes(&again, 16, (const uint64_t[][2]){{0, 2}, {0, 7}, {0, 9}}, 3);
        assert_int_equal(again.count, 0);
        again_deinit(&again);
        again_deinit(&again);
}

/* However often one has to wait once more, none behind it passes it. */
static void keeps_the_first_one_first(void **state) {
        struct again again = {0};
        (void)state;
        for (uint64_t offset = 1; offset <= 4; offset++)
                keep(&again, 0, offset, true);
        takes(&again, 2, (const uint64_t[][2]){{0, 1}, {0, 2}}, 2);
        keep(&again, 0, 1, true);
        takes(&again, 2, (const uint64_t[][2]){{0, 1}, {0, 3}}, 2);
        takes(&again, 0, NULL, 0);
        takes(&again, 2, (const uint64_t[][2]){{0, 4}}, 1);
        again_deinit(&again);
}

static void gives_each_partition_its_turn(void **state) {
        struct again again = {0};
        (void)state;
        keep(&again, 0, 1, true);
        keep(&again, 0, 2, true);
        keep(&again, 1, 1, true);
        keep(&again, 3, 5, true);
        takes(&again, 1, (const uint64_t[][2]){{0, 1}}, 1);
        keep(&again, 0, 1, true);
        takes(&again, 2, (const uint64_t[][2]){{1, 1}, {3, 5}}, 2);
        keep(&again, 1, 1, true);
        takes(&again, 16, (const uint64_t[][2]){{0, 1}, {0, 2}, {1, 1}}, 3);
        again_deinit(&again);
}

static void holds_its_partition(void **state) {
        struct again again = {0};
        (void)state;
        keep(&again, 1, 8, false);
        assert_false(again_holds(&again, 0, 1) || again_holds(&again, 1, 1) || again_holds(&again, 2, 1));
        keep(&again, 1, 9, true);
        assert_true(again_holds(&again, 1, 1));
        assert_false(again_holds(&again, 0, 1) || again_holds(&again, 2, 1));
        assert_false(again_holds(&again, 1, 2)); /* it was away since, and all its records come again */
        takes(&again, 2, (const uint64_t[][2]){{1, 8}, {1, 9}}, 2);
        assert_false(again_holds(&again, 1, 1));
        again_deinit(&again);
}

/* Any order, any sizes: each record once, and of a partition never one while an earlier one waits. */
static void loses_none(void **state) {
        struct again again = {0};
        struct again_record records[16];
        struct prng prng;
        bool waits[PARTITIONS][OFFSETS] = {{false}};
        (void)state;
        prng_init(&prng, 1);
        for (int i = 0; i < 20000; i++) {
                uint32_t partition = (uint32_t)prng_below(&prng, PARTITIONS);
                uint64_t offset = prng_below(&prng, OFFSETS);
                if (!waits[partition][offset])
                        keep(&again, partition, offset, true);
                waits[partition][offset] = true;
                size_t max = prng_below(&prng, 3);
                size_t count = again_take(&again, records, max);
                assert_true(count <= max);
                for (size_t j = 0; j < count; j++) {
                        bool *of = waits[records[j].partition];
                        assert_true(of[records[j].offset]);
                        of[records[j].offset] = false;
                        for (uint64_t earlier = 0; earlier < records[j].offset; earlier++)
                                assert_false(of[earlier]);
                }
        }
        again_deinit(&again);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(comes_by_offset),
                cmocka_unit_test(keeps_the_first_one_first),
                cmocka_unit_test(gives_each_partition_its_turn),
                cmocka_unit_test(holds_its_partition),
                cmocka_unit_test(loses_none),
        };
        return cmocka_run_group_tests_name("again", tests, NULL, NULL);
}
