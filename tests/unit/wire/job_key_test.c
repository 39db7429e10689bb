/* What a record of the state topic speaks of, told by its key alone, is what jobs and records are named. */
#include "broker/wire/job_key.h"
#include "broker/wire/job_record.h"
#include "broker/wire/state_record.h"
#include "wire_fixture.h"

#include <string.h>

struct fixture {
        struct digest *digest;
        struct job_decoder *decoder;
};

static int setup(void **state) {
        struct fixture *fixture = calloc(1, sizeof *fixture);
        fixture->digest = digest_new();
        fixture->decoder = new_decoder(NULL);
        *state = fixture;
        return 0;
}

static int teardown(void **state) {
        struct fixture *fixture = *state;
        digest_free(fixture->digest);
        job_decoder_free(fixture->decoder);
        free(fixture);
        return 0;
}

static void assert_names(struct fixture *fixture, const struct job_spec *job) {
        struct buffer state_key;
        struct key128 key = {1, 2};
        buffer_init(&state_key, 4096);
        state_key_append(&state_key, job);
        assert_true(job_key_of_state(fixture->digest, job->partition, buffer_view(&state_key), &key));
        assert_true(key128_equal(key, job->key));
        buffer_deinit(&state_key);
}

static void assert_named(struct fixture *fixture, const char *value, struct bytes idempotency) {
        struct job_record record = {.value = bytes_of(value),
                                    .has_value = true,
                                    .key = idempotency,
                                    .has_key = idempotency.size > 0,
                                    .partition = 7,
                                    .offset = 12345678901,
                                    .timestamp_unix_ms = 1700000000123};
        struct job_spec *job = job_decode_record(fixture->decoder, &record);
        assert_non_null(job);
        assert_names(fixture, job);
        job_spec_free(job);
}

static void of_jobs_and_of_records(void **state) {
        assert_named(*state, JOB(""), BYTES("doc-1"));
        assert_named(*state, JOB(""), BYTES("a\0b"));
        assert_named(*state, JOB(""), BYTES("\0owner"));
        assert_named(*state, JOB(",\"workspace\":\"research\""), BYTES("doc-1"));
        assert_named(*state, JOB(",\"workspace\":\"research\""), BYTES("default\0doc-1"));
        assert_named(*state, JOB(",\"idempotency_key\":\"in the job\""), (struct bytes){0});
        assert_named(*state, "{", BYTES("doc-1")); /* no job: under its own name */
}

static void of_nothing_else(void **state) {
        struct fixture *fixture = *state;
        const struct bytes others[] = {BYTES(""),
                                       BYTES("\0owner"),
                                       BYTES("\0spend/w/a"),
                                       BYTES("\0record/"),
                                       BYTES("\0record/1@"),
                                       BYTES("\0record/18446744073709551616@1"),
                                       BYTES("\0"),
                                       BYTES("\0record/1"),
                                       BYTES("\0record/1@9223372036854775808"),
                                       BYTES("a\0"),
                                       BYTES("\0record/@1"),
                                       BYTES("\0record/-1@1"),
                                       BYTES("\0record/1@2x"),
                                       BYTES("\0record/1@-")};
        const struct record_name last = {1, UINT64_MAX, INT64_MAX}, timeless = {1, 0, -1};
        struct key128 key;
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
                assert_false(job_key_of_state(fixture->digest, 1, others[i], &key));
        assert_true(job_key_of_state(fixture->digest, 1,
                                     BYTES("\0record/18446744073709551615@9223372036854775807"), &key));
        assert_true(key128_equal(key, job_record_key(fixture->decoder, &last)));
        assert_true(job_key_of_state(fixture->digest, 1, BYTES("\0record/0@-1"), &key));
        assert_true(key128_equal(key, job_record_key(fixture->decoder, &timeless)));
}

/* A topic that was made anew has other records at the same places. */
static void a_place_taken_again_is_another_name(void **state) {
        struct fixture *fixture = *state;
        const struct record_name name = {3, 5, 1000}, later = {3, 5, 1001}, beside = {4, 5, 1000},
                                 behind = {3, 6, 1000};
        struct key128 key = job_record_key(fixture->decoder, &name);
        assert_true(key128_equal(key, job_record_key(fixture->decoder, &name)));
        assert_false(key128_equal(key, job_record_key(fixture->decoder, &later)));
        assert_false(key128_equal(key, job_record_key(fixture->decoder, &beside)));
        assert_false(key128_equal(key, job_record_key(fixture->decoder, &behind)));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(of_jobs_and_of_records, setup, teardown),
                cmocka_unit_test_setup_teardown(of_nothing_else, setup, teardown),
                cmocka_unit_test_setup_teardown(a_place_taken_again_is_another_name, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
