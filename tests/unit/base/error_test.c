/* Errors: the class of an errno, wrapping, and what stands in when not even the error can be allocated. */
#include "broker/base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

static void new_formats(void **state) {
        struct error *error = error_new(ERROR_USAGE, "no such %s: %d", "thing", 7);

        (void)state;
        assert_int_equal(error->kind, ERROR_USAGE);
        assert_int_equal(error->code, 0);
        assert_string_equal(error->message, "no such thing: 7");
        assert_null(error_free(error));
}

static void errno_gives_the_class(void **state) {
        static const struct {
                int code;
                enum error_class kind;
        } cases[] = {{ENOSPC, ERROR_FULL}, {EDQUOT, ERROR_FULL}, {ENOMEM, ERROR_MEMORY}, {EIO, ERROR_IO},
                     {EACCES, ERROR_IO},   {0, ERROR_IO},        {-1, ERROR_IO},         {99999, ERROR_IO}};

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct error *error = error_errno(cases[i].code, "cannot open %s", "results.jsonl");

                assert_int_equal(error->kind, cases[i].kind);
                assert_int_equal(error->code, cases[i].code);
                assert_memory_equal(error->message, "cannot open results.jsonl: ", 27);
                assert_true(strlen(error->message) > 27);
                error_free(error);
        }
}

static void errno_says_what_happened(void **state) {
        struct error *error = error_errno(ENOSPC, "cannot open %s", "results.jsonl");

        (void)state;
        assert_string_equal(error->message, "cannot open results.jsonl: No space left on device");
        error_free(error);
}

static void wrap_goes_in_front(void **state) {
        struct error *error = error_new(ERROR_CORRUPT, "bad checksum"), *wrapped;

        (void)state;
        wrapped = error_wrap(error_wrap(error, "record %d", 4), "store %s", "x");
        assert_ptr_equal(wrapped, error);
        assert_int_equal(wrapped->kind, ERROR_CORRUPT);
        assert_string_equal(wrapped->message, "store x: record 4: bad checksum");
        error_free(wrapped);
}

static void null_stays_null(void **state) {
        (void)state;
        assert_null(error_wrap(NULL, "prefix %d", 1));
        assert_null(error_free(NULL));
}

/* No locale has this character, so that printf fails as it does when memory is refused. */
static const wchar_t unprintable[] = {0x7fffffff, 0};

static void failed_allocation_gives_the_static_error(void **state) {
        struct error *error = error_new(ERROR_INPUT, "%ls", unprintable), *kept;

        (void)state;
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_MEMORY);
        assert_int_equal(error->code, ENOMEM);
        kept = error_wrap(error, "prefix");
        assert_ptr_equal(kept, error);
        assert_string_equal(kept->message, "out of memory");
        assert_null(error_free(kept));
        kept = error_errno(EIO, "%ls", unprintable);
        assert_ptr_equal(kept, error);
        assert_string_equal(kept->message, "out of memory");
        assert_null(error_free(kept));
}

static void failed_wrap_keeps_the_error(void **state) {
        struct error *error = error_new(ERROR_BUSY, "locked");

        (void)state;
        error = error_wrap(error, "%ls", unprintable);
        assert_int_equal(error->kind, ERROR_BUSY);
        assert_string_equal(error->message, "locked");
        error_freep(&error);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(new_formats),
                cmocka_unit_test(errno_gives_the_class),
                cmocka_unit_test(errno_says_what_happened),
                cmocka_unit_test(wrap_goes_in_front),
                cmocka_unit_test(null_stays_null),
                cmocka_unit_test(failed_allocation_gives_the_static_error),
                cmocka_unit_test(failed_wrap_keeps_the_error),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
