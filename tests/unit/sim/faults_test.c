#include "broker/base/prng.h"
#include "broker/sim/answer_error.h"
#include "broker/sim/faults.h"
#include "broker/sim/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct sim_fault_subject subject(uint64_t identity, uint32_t seen, const char *job, const char *body) {
        return (struct sim_fault_subject){.identity = {identity, 0},
                                          .seen = seen,
                                          .job = bytes_of(job),
                                          .body = bytes_of(body),
                                          .draw = 0.999};
}

static enum sim_fault_kind pick(struct sim_faults *faults, struct sim_fault_subject request) {
        return sim_faults_pick(faults, &request).kind;
}

static void every_kind_can_be_asked_for(void **state) {
        (void)state;
        for (int kind = SIM_FAULT_NONE + 1; kind < SIM_FAULT_KINDS; kind++) {
                struct sim_faults faults;
                char text[64];

                sim_faults_init(&faults);
                (void)snprintf(text, sizeof(text), "%s:1", sim_fault_name((enum sim_fault_kind)kind));
                assert_null(sim_faults_add_rate(&faults, bytes_of(text)));
                assert_int_equal(sim_faults_pick_rate(&faults, 0.5).kind, kind);
                sim_faults_deinit(&faults);
        }
}

static void parameters_are_read(void **state) {
        struct sim_faults faults;

        (void)state;
        sim_faults_init(&faults);
        assert_null(sim_faults_add_rate(&faults, bytes_of("usage-lie:3.5:0.25")));
        assert_null(sim_faults_add_rate(&faults, bytes_of("huge-body:1000:0.25")));
        assert_true(sim_faults_pick_rate(&faults, 0.1).parameter == 3.5);
        assert_true(sim_faults_pick_rate(&faults, 0.3).parameter == 1000);
        sim_faults_deinit(&faults);
}

static void nonsense_is_refused(void **state) {
        static const char *const wrong[] = {"",        "500",   "500:",    "500:2",       "500:-1",
                                            "500:x",   "nix:1", "500:2:1", "429:0.1:0.1", "usage-lie:x:1",
                                            "500:nan", ":1"};

        (void)state;
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                struct sim_faults faults;
                struct error *error;

                sim_faults_init(&faults);
                error = sim_faults_add_rate(&faults, bytes_of(wrong[i]));
                if (error == NULL)
                        fail_msg("\"%s\" was accepted", wrong[i]);
                error_free(error);
                sim_faults_deinit(&faults);
        }
}

static void rates_add_up_to_one_at_most(void **state) {
        struct sim_faults faults;
        struct error *error;

        (void)state;
        sim_faults_init(&faults);
        assert_null(sim_faults_add_rate(&faults, bytes_of("500:0.6")));
        error = sim_faults_add_rate(&faults, bytes_of("503:0.6"));
        assert_non_null(error);
        error_free(error);
        sim_faults_deinit(&faults);
}

static void a_rate_is_kept(void **state) {
        struct sim_faults faults;
        struct prng prng;
        int hits = 0, others = 0;

        (void)state;
        sim_faults_init(&faults);
        prng_init(&prng, 3);
        assert_null(sim_faults_add_rate(&faults, bytes_of("500:0.1")));
        assert_null(sim_faults_add_rate(&faults, bytes_of("hang:0.3")));
        for (int i = 0; i < 10000; i++) {
                enum sim_fault_kind kind = sim_faults_pick_rate(&faults, prng_unit(&prng)).kind;

                hits += kind == SIM_FAULT_SERVER_ERROR;
                others += kind == SIM_FAULT_HANG;
        }
        assert_in_range(hits, 900, 1100);
        assert_in_range(others, 2850, 3150);
        sim_faults_deinit(&faults);
}

static void a_matching_request_fails_so_often(void **state) {
        struct sim_faults faults;

        (void)state;
        sim_faults_init(&faults);
        assert_null(sim_faults_add_script_lines(
                &faults, bytes_of("{\"match\":\"doc-7\",\"fault\":\"500\",\"times\":2}\n\n{\"match\":\"cat\","
                                  "\"fault\":\"429\",\"times\":0}\n")));
        assert_int_equal(pick(&faults, subject(1, 0, "doc-7", "")), SIM_FAULT_SERVER_ERROR);
        assert_int_equal(pick(&faults, subject(1, 1, "doc-7", "")), SIM_FAULT_SERVER_ERROR);
        assert_int_equal(pick(&faults, subject(1, 2, "doc-7", "")), SIM_FAULT_NONE);
        assert_int_equal(pick(&faults, subject(2, 0, "doc-8", "a dog")), SIM_FAULT_NONE);
        assert_int_equal(pick(&faults, subject(3, 99, "", "a cat")), SIM_FAULT_RATE_SECONDS);
        sim_faults_deinit(&faults);
}

static void the_nth_new_request_fails(void **state) {
        struct sim_faults faults;

        (void)state;
        sim_faults_init(&faults);
        assert_null(
                sim_faults_add_script_lines(&faults, bytes_of("{\"nth\":3,\"fault\":\"hang\",\"times\":2}")));
        for (int round = 0; round < 2; round++) {
                assert_int_equal(pick(&faults, subject(1, 0, "", "")), SIM_FAULT_NONE);
                assert_int_equal(pick(&faults, subject(2, 0, "", "")), SIM_FAULT_NONE);
                assert_int_equal(pick(&faults, subject(1, 1, "", "")), SIM_FAULT_NONE);
                assert_int_equal(pick(&faults, subject(3, 0, "", "")), SIM_FAULT_HANG);
                assert_int_equal(pick(&faults, subject(4, 0, "", "")), SIM_FAULT_NONE);
                assert_int_equal(pick(&faults, subject(3, 1, "", "")), SIM_FAULT_HANG);
                assert_int_equal(pick(&faults, subject(3, 2, "", "")), SIM_FAULT_NONE);
                sim_faults_restart(&faults);
        }
        sim_faults_deinit(&faults);
}

static void a_bad_script_names_its_line(void **state) {
        struct sim_faults faults;
        struct error *error;

        (void)state;
        sim_faults_init(&faults);
        error = sim_faults_add_script_lines(&faults, bytes_of("{\"fault\":\"500\"}\n{\"falt\":\"500\"}\n"));
        assert_non_null(error);
        assert_non_null(strstr(error->message, "line 2"));
        error_free(error);
        sim_faults_deinit(&faults);
}

static void a_bad_replacement_leaves_the_set(void **state) {
        struct sim_faults faults;
        struct error *error;

        (void)state;
        sim_faults_init(&faults);
        assert_null(sim_faults_replace(
                &faults, bytes_of("{\"faults\":[\"500:1\"],\"script\":[{\"fault\":\"401\"}]}")));
        error = sim_faults_replace(&faults, bytes_of("{\"faults\":[\"502:1\", 7]}"));
        assert_non_null(error);
        error_free(error);
        assert_int_equal(sim_faults_pick_rate(&faults, 0).kind, SIM_FAULT_SERVER_ERROR);
        assert_int_equal(pick(&faults, subject(1, 0, "", "")), SIM_FAULT_UNAUTHORIZED);
        assert_null(sim_faults_replace(&faults, bytes_of("{}")));
        assert_int_equal(faults.rates_count + faults.scripts_count, 0);
        sim_faults_deinit(&faults);
}

static void later_is_said_in_every_form(void **state) {
        static const struct {
                enum sim_fault_kind kind;
                const char *header, *body;
        } rows[] = {
                {SIM_FAULT_RATE_SECONDS, "2", "rate_limit_exceeded"},
                {SIM_FAULT_RATE_FLOAT, "1.500", "rate_limit_exceeded"},
                {SIM_FAULT_RATE_HTTP_DATE, "Sun, 06 Nov 1994 08:49:39 GMT", "rate_limit_exceeded"},
                {SIM_FAULT_RATE_PAST_DATE, "Sun, 06 Nov 1994 08:49:37 GMT", "rate_limit_exceeded"},
                {SIM_FAULT_RATE_MS, "1500", "rate_limit_exceeded"},
                {SIM_FAULT_RATE_GEMINI_BODY, NULL, "\"retryDelay\":\"1.500s\""},
                {SIM_FAULT_RATE_MESSAGE, NULL, "Please try again in 1.500s."},
                {SIM_FAULT_RATE_NONE, NULL, "rate_limit_exceeded"},
                {SIM_FAULT_RATE_QUOTA, NULL, "\"code\":\"insufficient_quota\""},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                struct sim_headers headers = {.count = 0};
                struct buffer body;

                buffer_init(&body, 4096);
                (void)sim_error_fault((struct sim_fault){.kind = rows[i].kind}, 1500000000, 784111777000,
                                      &body, &headers);
                buffer_append_char(&body, '\0');
                assert_non_null(strstr(body.data, rows[i].body));
                assert_int_equal(headers.count > 0, rows[i].header != NULL);
                if (rows[i].header != NULL)
                        assert_string_equal(headers.list[0].value, rows[i].header);
                buffer_deinit(&body);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_kind_can_be_asked_for),
                cmocka_unit_test(parameters_are_read),
                cmocka_unit_test(nonsense_is_refused),
                cmocka_unit_test(rates_add_up_to_one_at_most),
                cmocka_unit_test(a_rate_is_kept),
                cmocka_unit_test(a_matching_request_fails_so_often),
                cmocka_unit_test(the_nth_new_request_fails),
                cmocka_unit_test(a_bad_script_names_its_line),
                cmocka_unit_test(a_bad_replacement_leaves_the_set),
                cmocka_unit_test(later_is_said_in_every_form),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
