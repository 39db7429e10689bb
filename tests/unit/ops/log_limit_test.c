/*
 * What is written of a message that comes too often, in virtual time: every line is written or told as
 * suppressed.
 */
#include "broker/base/time.h"
#include "broker/ops/log_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char message[] = "a call failed";

static struct log_limit *new_limit(void) {
        struct log_limit *limit = calloc(1, sizeof(*limit));
        assert_non_null(limit);
        return limit;
}

static bool take(struct log_limit *limit, const char *text, int64_t now_ns, uint64_t suppressed) {
        uint64_t told = 999;
        bool taken = log_limit_take(limit, 1, text, now_ns, &told);
        assert_int_equal(told, taken ? suppressed : 999);
        return taken;
}

static void a_second(void **state) {
        struct log_limit *limit = new_limit();
        (void)state;
        for (unsigned i = 0; i < LOG_REPEATS_MAX; i++)
                assert_true(take(limit, message, NS_PER_S + i, 0));
        assert_false(take(limit, message, NS_PER_S + NS_PER_MS, 0));
        assert_false(take(limit, message, 2 * NS_PER_S - 1, 0));
        assert_true(take(limit, message, 2 * NS_PER_S, 2));
        assert_true(take(limit, message, 2 * NS_PER_S, 0)); /* told once */
        assert_int_equal(limit->suppressed, 2);
        free(limit);
}

/* A clock that starts at zero, or below. */
static void the_first_line(void **state) {
        struct log_limit *limit = new_limit();
        (void)state;
        assert_true(take(limit, message, 0, 0));
        assert_true(take(limit, "another", -NS_PER_S, 0));
        for (unsigned i = 0; i < LOG_REPEATS_MAX; i++) /* its second begins with it, not with the clock's */
                assert_true(take(limit, "a third", NS_PER_S - 1, 0));
        assert_false(take(limit, "a third", NS_PER_S, 0));
        free(limit);
}

static void messages_are_apart(void **state) {
        struct log_limit *limit = new_limit();
        char same[sizeof(message)];
        uint64_t suppressed;
        (void)state;
        /* as a compiler may do with equal literals: another address */
        memcpy(same, message, sizeof(message));
        for (unsigned i = 0; i < LOG_REPEATS_MAX; i++)
                assert_true(take(limit, i % 2 == 0 ? message : same, 1, 0));
        assert_false(take(limit, same, 1, 0));
        assert_true(take(limit, "another", 1, 0));
        assert_true(log_limit_take(limit, 2, message, 1, &suppressed)); /* of another level */
        free(limit);
}

static void reports(void **state) {
        struct log_limit *limit = new_limit();
        struct log_limit_report report;
        (void)state;
        assert_false(log_limit_report(limit, 0, INT64_MAX, &report));
        for (unsigned i = 0; i < LOG_REPEATS_MAX + 5; i++)
                (void)log_limit_take(limit, 1, message, NS_PER_S, &report.suppressed);
        assert_false(log_limit_report(limit, 0, 2 * NS_PER_S - 1, &report));
        assert_true(log_limit_report(limit, 0, 2 * NS_PER_S, &report));
        assert_string_equal(report.message, message);
        assert_int_equal(report.level, 1);
        assert_int_equal(report.suppressed, 5);
        assert_false(log_limit_report(limit, 0, INT64_MAX, &report)); /* told once */
        assert_true(take(limit, message, 3 * NS_PER_S, 0));
        assert_false(log_limit_report(limit, LOG_LIMIT_MESSAGES_MAX - 1, INT64_MAX, &report));
        free(limit);
}

/* More different messages than there is room for are all written. */
static void too_many_messages(void **state) {
        static char texts[LOG_LIMIT_MESSAGES_MAX + 1][8];
        struct log_limit *limit = new_limit();
        (void)state;
        for (unsigned i = 0; i <= LOG_LIMIT_MESSAGES_MAX; i++) {
                snprintf(texts[i], sizeof(texts[i]), "m%u", i);
                assert_true(take(limit, texts[i], 1, 0));
        }
        for (unsigned i = 0; i < 3 * LOG_REPEATS_MAX; i++)
                assert_true(take(limit, texts[LOG_LIMIT_MESSAGES_MAX], 1, 0));
        for (unsigned i = 1; i < LOG_REPEATS_MAX; i++)
                assert_true(take(limit, texts[LOG_LIMIT_MESSAGES_MAX - 1], 1, 0));
        assert_false(take(limit, texts[LOG_LIMIT_MESSAGES_MAX - 1], 1, 0));
        free(limit);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_second),           cmocka_unit_test(the_first_line),
                cmocka_unit_test(messages_are_apart), cmocka_unit_test(reports),
                cmocka_unit_test(too_many_messages),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
