/*
 * Growing: room for what is wanted, what is there stays, capacities double; and nothing changes on refusal.
 */
#include "broker/base/array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void grows(void **state) {
        uint32_t *items = NULL;
        size_t capacity = 0, moves = 0;
        (void)state;
        assert_true(array_reserve((void **)&items, &capacity, 0, sizeof(*items)));
        assert_null(items);
        for (uint32_t i = 0; i < 100000; i++) {
                size_t before = capacity;
                assert_true(array_reserve((void **)&items, &capacity, i + 1, sizeof(*items)));
                assert_true(capacity > i);
                moves += capacity != before;
                items[i] = i;
        }
        assert_true(moves < 20);
        for (uint32_t i = 0; i < 100000; i++)
                assert_int_equal(items[i], i);
        void *had = items;
        size_t room = capacity;
        assert_false(array_reserve((void **)&items, &capacity, SIZE_MAX / 8, sizeof(*items)));
        assert_ptr_equal(items, had);
        assert_int_equal(capacity, room);
        free(items);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(grows)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
