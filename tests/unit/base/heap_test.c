/* The heap against a plain array that is searched for its smallest entry. */
#include "broker/base/heap.h"
#include "broker/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { IDS = 120 };

static void equal_times_come_in_order_of_ids(void **state) {
        static const uint32_t ids[] = {5, 3, 9, 0, 7};
        static const uint32_t sorted[] = {0, 3, 5, 7, 9};
        struct heap_entry entry;
        struct heap heap;

        (void)state;
        assert_true(heap_init(&heap, 10));
        for (int i = 0; i < 5; i++)
                heap_set(&heap, ids[i], 100);
        for (int i = 0; i < 5; i++) {
                assert_true(heap_pop(&heap, &entry));
                assert_int_equal(entry.id, sorted[i]);
        }
        assert_false(heap_pop(&heap, &entry));
        heap_deinit(&heap);
}

static void empty_heap(void **state) {
        struct heap_entry entry = {.when = 3, .id = 4};
        struct heap heap;

        (void)state;
        assert_true(heap_init(&heap, 0));
        assert_false(heap_peek(&heap, &entry));
        assert_false(heap_pop(&heap, &entry));
        assert_int_equal(entry.id, 4); /* untouched */
        heap_deinit(&heap);
        assert_true(heap_init(&heap, 1));
        heap_remove(&heap, 0); /* absent is fine */
        assert_int_equal(heap.count, 0);
        heap_deinit(&heap);
}

static void set_moves(void **state) {
        struct heap_entry entry;
        struct heap heap;

        (void)state;
        assert_true(heap_init(&heap, 3));
        heap_set(&heap, 0, INT64_MAX);
        heap_set(&heap, 1, 0);
        heap_set(&heap, 2, INT64_MIN);
        heap_set(&heap, 2, 5);
        heap_set(&heap, 0, -1);
        assert_int_equal(heap.count, 3);
        assert_true(heap_peek(&heap, &entry));
        assert_int_equal(entry.id, 0);
        assert_true(entry.when == -1);
        assert_true(heap_contains(&heap, 0));
        heap_remove(&heap, 0);
        assert_false(heap_contains(&heap, 0));
        assert_true(heap_pop(&heap, &entry));
        assert_int_equal(entry.id, 1);
        heap_deinit(&heap);
}

static void assert_invariants(const struct heap *heap, const bool *present, const int64_t *when) {
        size_t count = 0, smallest = IDS;
        struct heap_entry entry;

        for (uint32_t id = 0; id < IDS; id++) {
                assert_int_equal(heap_contains(heap, id), present[id]);
                count += present[id];
                if (present[id] && (smallest == IDS || when[id] < when[smallest]))
                        smallest = id;
        }
        assert_int_equal(heap->count, count);
        for (size_t i = 0; i < count; i++) {
                assert_int_equal(heap->places[heap->entries[i].id], i + 1);
                assert_true(heap->entries[i].when == when[heap->entries[i].id]);
        }
        assert_int_equal(heap_peek(heap, &entry), count > 0);
        if (count > 0)
                assert_int_equal(entry.id, smallest);
}

/* Few different times, so that ties are common. */
static void run_against_model(uint64_t seed, uint64_t times) {
        bool present[IDS] = {false};
        int64_t when[IDS] = {0};
        struct heap_entry entry;
        struct prng prng;
        struct heap heap;

        prng_init(&prng, seed);
        assert_true(heap_init(&heap, IDS));
        for (int step = 0; step < 4000; step++) {
                uint32_t id = (uint32_t)prng_below(&prng, IDS);
                uint64_t action = prng_below(&prng, 10);

                if (action < 6) {
                        when[id] = (int64_t)prng_below(&prng, times) - (int64_t)(times / 2);
                        present[id] = true;
                        heap_set(&heap, id, when[id]);
                } else if (action < 8) {
                        present[id] = false;
                        heap_remove(&heap, id);
                } else if (heap_pop(&heap, &entry)) {
                        present[entry.id] = false;
                }
                assert_invariants(&heap, present, when);
        }
        while (heap_pop(&heap, &entry)) {
                present[entry.id] = false;
                assert_invariants(&heap, present, when);
        }
        heap_deinit(&heap);
}

static void behaves_as_the_model(void **state) {
        (void)state;
        for (uint64_t seed = 1; seed <= 3; seed++) {
                run_against_model(seed, 8);
                run_against_model(seed, 1000000);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(equal_times_come_in_order_of_ids),
                cmocka_unit_test(empty_heap),
                cmocka_unit_test(set_moves),
                cmocka_unit_test(behaves_as_the_model),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
