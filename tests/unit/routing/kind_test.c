/*
 * The tables of schemas/: every line can be found by its text, texts are unique, and nothing else is found.
 */
#include "workers/routing/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_url_gives_its_kind(void **state) {
        (void)state;
        for (unsigned i = 0; i < KINDS_COUNT; i++) {
                enum kind kind = KINDS_COUNT;
                assert_true(kind_from_url(bytes_of(kind_facts[i].url), &kind));
                assert_int_equal(kind, i);
        }
}

static void facts_are_those_of_the_table(void **state) {
        (void)state;
        assert_int_equal(kind_facts[KIND_CHAT].unknown, UNKNOWN_RETRY);
        assert_int_equal(kind_facts[KIND_IMAGES].unknown, UNKNOWN_FAIL);
        assert_int_equal(kind_facts[KIND_TRANSCRIPTIONS].request, REQUEST_MULTIPART);
        assert_int_equal(kind_facts[KIND_TRANSCRIPTIONS].answer, ANSWER_TEXT);
        assert_int_equal(kind_facts[KIND_SPEECH].answer, ANSWER_BINARY);
        assert_string_equal(kind_facts[KIND_RERANK].url, "/v1/rerank");
}

static void other_urls_are_no_kind(void **state) {
        (void)state;
        static const char *const urls[] = {
                "", "/", "/v1/chat", "/v1/chat/completions/", "v1/chat/completions", "/V1/chat/completions",
        };
        for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
                enum kind kind = KINDS_COUNT;
                assert_false(kind_from_url(bytes_of(urls[i]), &kind));
                assert_int_equal(kind, KINDS_COUNT);
        }
}

static void every_failure_has_its_own_word(void **state) {
        (void)state;
        assert_string_equal(failure_text(FAILURE_NONE), "");
        for (unsigned i = 1; i < FAILURES_COUNT; i++) {
                enum failure failure = FAILURE_NONE;
                assert_true(failure_from_text(bytes_of(failure_text((enum failure)i)), &failure));
                assert_int_equal(failure, i);
        }
        enum failure failure = FAILURE_INTERNAL;
        assert_false(failure_from_text(BYTES(""), &failure));
        assert_false(failure_from_text(BYTES("nonsense"), &failure));
        assert_int_equal(failure, FAILURE_INTERNAL);
}

static void exclusions_say_whether_waiting_helps(void **state) {
        (void)state;
        assert_string_equal(exclusion_text(EXCLUSION_NONE), "");
        assert_string_equal(exclusion_text(EXCLUSION_DATA_POLICY_ZDR), "data_policy:zdr");
        for (unsigned i = 0; i < EXCLUSIONS_COUNT; i++)
                for (unsigned j = 0; j < i; j++)
                        assert_string_not_equal(exclusion_text((enum exclusion)i),
                                                exclusion_text((enum exclusion)j));
        assert_false(exclusion_is_hard(EXCLUSION_NONE));
        assert_false(exclusion_is_hard(EXCLUSION_PAUSED));
        assert_false(exclusion_is_hard(EXCLUSION_BREAKER));
        assert_false(exclusion_is_hard(EXCLUSION_AT_LIMIT));
        assert_true(exclusion_is_hard(EXCLUSION_REFUSED));
        assert_true(exclusion_is_hard(EXCLUSION_MAX_COST));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_url_gives_its_kind),
                cmocka_unit_test(facts_are_those_of_the_table),
                cmocka_unit_test(other_urls_are_no_kind),
                cmocka_unit_test(every_failure_has_its_own_word),
                cmocka_unit_test(exclusions_say_whether_waiting_helps),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
