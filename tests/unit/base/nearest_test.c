/* Which name is near to a wrong one. */
#include "broker/base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const known[] = {"in_flight", "job_bytes", "base", "base_url",
                                    "sort",      "regions",   "zdr",  "cap"};

static void finds(void **state) {
        static const struct {
                const char *name, *nearest; /* "": none */
        } cases[] = {
                {"in_fligth", "in_flight"}, /* two letters changed places */
                {"srot", "sort"},
                {"IN_FLIGHT", "in_flight"},
                {"in-flight", "in_flight"},
                {"inflight", "in_flight"},
                {"job_byte", "job_bytes"},
                {"job", "job_bytes"}, /* begins it */
                {"regionsofdata", "regions"},
                {"bas", "base"}, /* nearer than base_url, which it begins as well */
                {"base_ur", "base_url"},
                {"zd", ""}, /* half of it would be guessed */
                {"zdx", "zdr"},
                {"colour", ""},
                {"", ""},
                {"x", ""},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct nearest nearest;

                nearest_init(&nearest, bytes_of(cases[i].name));
                for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
                        nearest_offer(&nearest, bytes_of(known[k]));
                if (!bytes_equal_string(nearest.best, cases[i].nearest))
                        fail_msg("%s is near to \"%.*s\"", cases[i].name, (int)nearest.best.size,
                                 nearest.best.data);
        }
}

static void bounds(void **state) {
        static const char longest[NEAREST_NAME_MAX + 1] = {0};
        struct nearest nearest;

        (void)state;
        nearest_init(&nearest, (struct bytes){longest, NEAREST_NAME_MAX});
        nearest_offer(&nearest, (struct bytes){longest, NEAREST_NAME_MAX + 1});
        assert_int_equal(nearest.best.size, 0);
        nearest_offer(&nearest, (struct bytes){longest, NEAREST_NAME_MAX});
        assert_int_equal(nearest.best.size, NEAREST_NAME_MAX);
        nearest_init(&nearest, (struct bytes){longest, NEAREST_NAME_MAX + 1});
        nearest_offer(&nearest, (struct bytes){longest, NEAREST_NAME_MAX});
        assert_int_equal(nearest.best.size, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(finds), cmocka_unit_test(bounds)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
