/* A slot that was another job's, and room that was another answer's: nothing of it is left. */
#include "broker/core/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void nothing_is_left_of_an_outcome(void **state) {
        (void)state;
        struct outcome outcome, nothing = {.message = ""};
        const struct catalog *catalog = (const struct catalog *)(const void *)&nothing;
        memset(&outcome, 0xa5, sizeof outcome);
        memset(&nothing, 0, sizeof nothing);
        usage_init(&nothing.usage);
        outcome_init(&outcome, catalog);
        assert_memory_equal(&outcome, &nothing, offsetof(struct outcome, decision));
        assert_ptr_equal(outcome.decision.catalog, catalog);
        assert_int_equal(outcome.decision.count, 0);
        assert_int_equal(outcome.decision.record_size, 0);
        assert_int_equal(outcome.decision.seed, 0);
        assert_int_equal(outcome.decision.chosen_endpoint, 0);
        assert_int_equal(outcome.decision.chosen_model, 0);
        assert_false(outcome.decision.truncated);
        assert_false(outcome.decision.chosen);
        assert_string_equal(outcome.message, "");
}

static void nothing_is_left_of_an_answer(void **state) {
        (void)state;
        struct answer answer;
        memset(&answer, 0xa5, sizeof answer);
        answer_init(&answer);
        assert_int_equal(answer.verdict, VERDICT_RETRY);
        assert_int_equal(answer.failure, FAILURE_ATTEMPTS_EXHAUSTED);
        assert_int_equal(answer.wait_ns, -1);
        assert_int_equal(answer.status, 0);
        assert_int_equal(answer.requests_blocked_ns, 0);
        assert_int_equal(answer.tokens_blocked_ns, 0);
        assert_int_equal(answer.latency_ns, 0);
        assert_false(answer.endpoint_only || answer.is_json || answer.cost_known);
        assert_int_equal(answer.usage.input_tokens, -1);
        assert_string_equal(answer.message, "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_is_left_of_an_outcome),
                cmocka_unit_test(nothing_is_left_of_an_answer),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
