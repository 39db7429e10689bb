/* The arena: alignment, the ceiling, growth, and that what was cut stays where and as it was. */
#include "broker/base/arena.h"
#include "broker/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void cuts_are_aligned_and_apart(void **state) {
        struct arena arena;
        struct prng prng;
        unsigned char *cuts[300];
        size_t sizes[300];

        (void)state;
        arena_init(&arena, 1 << 20);
        prng_init(&prng, 1);
        for (unsigned i = 0; i < 300; i++) {
                sizes[i] = prng_below(&prng, i % 50 == 0 ? 20000 : 200);
                cuts[i] = arena_alloc(&arena, sizes[i]);
                assert_non_null(cuts[i]);
                assert_int_equal((uintptr_t)cuts[i] % 16, 0);
                memset(cuts[i], (int)(i & 0xff), sizes[i]);
        }
        for (unsigned i = 0; i < 300; i++)
                for (size_t k = 0; k < sizes[i]; k++)
                        assert_int_equal(cuts[i][k], i & 0xff);
        arena_deinit(&arena);
}

static void ceiling_holds(void **state) {
        struct arena arena;

        (void)state;
        arena_init(&arena, 64);
        assert_null(arena_alloc(&arena, 65));
        assert_null(arena_alloc(&arena, SIZE_MAX));
        assert_null(arena_alloc(&arena, SIZE_MAX - 15));
        assert_non_null(arena_alloc(&arena, 33)); /* counts as 48 */
        assert_int_equal(arena.used, 48);
        assert_null(arena_alloc(&arena, 17));
        assert_non_null(arena_alloc(&arena, 16));
        assert_null(arena_alloc(&arena, 1));
        assert_null(arena_alloc(&arena, 0));
        assert_int_equal(arena.used, 64);
        arena_deinit(&arena);
}

static void ceiling_that_is_no_multiple_of_16(void **state) {
        struct arena arena;

        (void)state;
        arena_init(&arena, 100);
        for (int i = 0; i < 6; i++)
                assert_non_null(arena_alloc(&arena, 16));
        assert_null(arena_alloc(&arena, 1));
        arena_deinit(&arena);
        arena_init(&arena, 0);
        assert_null(arena_alloc(&arena, 0));
        arena_deinit(&arena);
}

static void huge_request_is_refused_without_ceiling(void **state) {
        struct arena arena;

        (void)state;
        arena_init(&arena, SIZE_MAX);
        assert_null(arena_alloc(&arena, SIZE_MAX));
        assert_null(arena_alloc(&arena, (size_t)PTRDIFF_MAX + 1));
        assert_null(arena_copy(&arena, (struct bytes){"", SIZE_MAX}));
        assert_int_equal(arena.used, 0);
        assert_non_null(arena_alloc(&arena, 1));
        arena_deinit(&arena);
}

static void clear_gives_the_first_block_again(void **state) {
        struct arena arena;
        void *first;

        (void)state;
        arena_init(&arena, 1 << 20);
        first = arena_alloc(&arena, 10);
        for (int i = 0; i < 100; i++)
                assert_non_null(arena_alloc(&arena, 5000));
        arena_clear(&arena);
        assert_int_equal(arena.used, 0);
        assert_ptr_equal(arena_alloc(&arena, 10), first);
        for (int i = 0; i < 100; i++)
                assert_non_null(arena_alloc(&arena, 5000));
        arena_deinit(&arena);
        arena_deinit(&arena); /* of an empty one: nothing happens */
}

static void copy_is_terminated(void **state) {
        struct arena arena;
        char *copy;

        (void)state;
        arena_init(&arena, 64);
        assert_string_equal(arena_copy(&arena, (struct bytes){"abcdef", 3}), "abc");
        assert_string_equal(arena_copy(&arena, (struct bytes){NULL, 0}), "");
        copy = arena_copy(&arena, BYTES("a\0b"));
        assert_memory_equal(copy, "a\0b", 4);
        assert_null(arena_copy(&arena,
                               BYTES("0123456789abcdef"))); /* 17 with its end: 32, of which 16 are left */
        assert_string_equal(arena_copy(&arena, BYTES("0123456789abcde")), "0123456789abcde");
        arena_deinit(&arena);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(cuts_are_aligned_and_apart),
                cmocka_unit_test(ceiling_holds),
                cmocka_unit_test(ceiling_that_is_no_multiple_of_16),
                cmocka_unit_test(huge_request_is_refused_without_ceiling),
                cmocka_unit_test(clear_gives_the_first_block_again),
                cmocka_unit_test(copy_is_terminated),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
