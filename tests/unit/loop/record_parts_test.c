/* What is kept of a record, and what a dead letter says of it. */
#include "broker/loop/dead_letter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct job_record record_of(const struct job_header *headers, size_t count) {
        return (struct job_record){.key = BYTES("k"),
                                   .value = BYTES("{}"),
                                   .has_key = true,
                                   .has_value = true,
                                   .headers = headers,
                                   .headers_count = count,
                                   .partition = 3,
                                   .offset = 42,
                                   .timestamp_unix_ms = 1700000000123};
}

/* ---- origin ---- */

static void keeps_a_copy(void **state) {
        char name[] = "name", value[] = "value", key[] = "key", text[] = "text";
        struct job_header headers[] = {{bytes_of(name), bytes_of(value)},
                                       {bytes_of(name), {NULL, 0}}, /* a null header */
                                       {bytes_of(name), {value, 0}}};
        struct job_record record = record_of(headers, 3);
        (void)state;
        record.key = bytes_of(key);
        record.value = bytes_of(text);
        struct origin *origin = origin_new(&record, 3);
        assert_non_null(origin);
        memset(name, 'x', 4);
        memset(value, 'x', 5);
        memset(key, 'x', 3);
        memset(text, 'x', 4);
        memset(headers, 0, sizeof(headers));
        const struct job_record *kept = &origin->record;
        assert_int_equal(origin->partition, 3);
        assert_int_equal(kept->offset, 42);
        assert_int_equal(kept->timestamp_unix_ms, 1700000000123);
        assert_true(bytes_equal_string(kept->key, "key") && bytes_equal_string(kept->value, "text"));
        assert_int_equal(kept->headers_count, 3);
        assert_true(bytes_equal_string(kept->headers[0].name, "name"));
        assert_true(bytes_equal_string(kept->headers[0].value, "value"));
        assert_null(kept->headers[1].value.data);
        assert_true(kept->headers[2].value.data && kept->headers[2].value.size == 0);
        assert_false(origin->open || origin->handed || origin->parked);
        assert_int_equal(origin_bytes(origin),
                         sizeof(*origin) + 3 * sizeof(struct job_header) + 3 * 4 + 5 + 3 + 4);
        origin_free(origin);
        assert_null(origin_free(NULL));
}

static void keeps_what_is_not_there(void **state) {
        struct job_record record = record_of(NULL, 0);
        (void)state;
        record.key = record.value = (struct bytes){NULL, 0};
        record.has_key = record.has_value = false;
        struct origin *origin = origin_new(&record, 0);
        assert_non_null(origin);
        assert_true(!origin->record.has_key && !origin->record.has_value && !origin->record.value.data);
        assert_int_equal(origin_bytes(origin), sizeof(*origin));
        origin_free(origin);
}

static void counts_headers(void **state) {
        struct kafka_header given[80];
        struct job_header headers[RECORD_HEADERS_MAX];
        (void)state;
        for (int i = 0; i < 80; i++)
                given[i] = (struct kafka_header){BYTES("n"), BYTES("v")};
        struct consumer_record record = {.headers = given, .headers_count = 80};
        assert_int_equal(origin_headers(&record, headers, RECORD_HEADERS_MAX), RECORD_HEADERS_MAX);
        record.headers_count = 0;
        assert_int_equal(origin_headers(&record, headers, RECORD_HEADERS_MAX), 0);
        assert_true((int)CONSUMER_HEADERS_MAX <= (int)RECORD_HEADERS_MAX);
}

/* ---- dead letters ---- */

static void knows_dead_letters(void **state) {
        static const enum failure dead[] = {FAILURE_UNSUPPORTED_ENDPOINT, FAILURE_NO_PROVIDER,
                                            FAILURE_EXCLUDED_BY_POLICY, FAILURE_IDEMPOTENCY_CONFLICT};
        static const enum failure results[] = {FAILURE_NONE, FAILURE_DEADLINE_EXCEEDED,
                                               FAILURE_MAX_COST_EXCEEDED, FAILURE_INPUT_TOO_LARGE,
                                               FAILURE_UNKNOWN_OUTCOME};
        struct job_spec job = {0};
        struct outcome outcome = {0};
        (void)state;
        for (size_t i = 0; i < sizeof(dead) / sizeof(*dead); i++) {
                outcome.failure = dead[i];
                outcome.attempts = 0;
                assert_true(dead_letter_is(&job, &outcome));
                outcome.attempts = 1; /* it was called: it has a result */
                assert_false(dead_letter_is(&job, &outcome));
        }
        outcome.attempts = 0;
        for (size_t i = 0; i < sizeof(results) / sizeof(*results); i++) {
                outcome.failure = results[i];
                assert_false(dead_letter_is(&job, &outcome));
        }
        job.failure = outcome.failure = FAILURE_INVALID_JOB;
        assert_true(dead_letter_is(&job, &outcome));
}

struct letter {
        struct buffer scratch;
        struct kafka_header headers[DEAD_LETTER_HEADERS_MAX];
        size_t count;
        struct job_spec job;
        struct outcome outcome;
};

static void write_letter(struct letter *letter, const struct job_record *record) {
        struct origin *origin = origin_new(record, record->partition);
        assert_non_null(origin);
        letter->job.origin = origin;
        buffer_init(&letter->scratch, 1 << 16);
        letter->count = dead_letter_headers(&letter->job, &letter->outcome, "jobs", "workers",
                                            &letter->scratch, letter->headers);
        assert_true(letter->count <= DEAD_LETTER_HEADERS_MAX);
}

static void free_letter(struct letter *letter) {
        origin_free(letter->job.origin);
        buffer_deinit(&letter->scratch);
}

static size_t count_of(const struct letter *letter, const char *name) {
        size_t count = 0;
        for (size_t i = 0; i < letter->count; i++)
                count += bytes_equal_string(letter->headers[i].name, name);
        return count;
}

static void says(const struct letter *letter, const char *name, const char *value) {
        assert_int_equal(count_of(letter, name), 1);
        for (size_t i = 0; i < letter->count; i++)
                if (bytes_equal_string(letter->headers[i].name, name) &&
                    !bytes_equal_string(letter->headers[i].value, value))
                        fail_msg("%s: %.*s", name, (int)letter->headers[i].value.size,
                                 letter->headers[i].value.data);
}

static void says_why_and_where_from(void **state) {
        struct job_header headers[] = {{BYTES("mine"), BYTES("1")}, {BYTES("mine"), BYTES("2")}};
        struct job_record record = record_of(headers, 2);
        struct letter letter = {.job = {.failure = FAILURE_INVALID_JOB,
                                        .failure_field = BYTES("body.model"),
                                        .custom_id = BYTES("job-1")},
                                .outcome = {.failure = FAILURE_INVALID_JOB, .message = "no model"}};
        (void)state;
        write_letter(&letter, &record);
        assert_int_equal(count_of(&letter, "mine"), 2);
        says(&letter, "batchferry-error-code", "invalid_job");
        says(&letter, "batchferry-error-message", "body.model no model");
        says(&letter, "__connect.errors.exception.message", "body.model no model");
        says(&letter, "batchferry-error-field", "body.model");
        says(&letter, "batchferry-origin-topic", "jobs");
        says(&letter, "batchferry-origin-partition", "3");
        says(&letter, "batchferry-origin-offset", "42");
        says(&letter, "batchferry-origin-timestamp", "1700000000123");
        says(&letter, "batchferry-job-id", "job-1");
        says(&letter, "__connect.errors.topic", "jobs");
        says(&letter, "__connect.errors.offset", "42");
        says(&letter, "__connect.errors.connector.name", "workers");
        says(&letter, "__connect.errors.stage", "VALUE_CONVERTER");
        says(&letter, "__connect.errors.exception.class.name", "invalid_job");
        free_letter(&letter);
}

/* What is not known is left out; the field is only that of the failure told. */
static void leaves_out_what_is_not_known(void **state) {
        struct job_record record = record_of(NULL, 0);
        struct letter letter = {.job = {.failure_field = BYTES("body.model")},
                                .outcome = {.failure = FAILURE_NO_PROVIDER, .message = "nobody"}};
        (void)state;
        write_letter(&letter, &record);
        says(&letter, "batchferry-error-message", "nobody");
        assert_int_equal(count_of(&letter, "batchferry-error-field"), 0);
        assert_int_equal(count_of(&letter, "batchferry-job-id"), 0);
        says(&letter, "__connect.errors.stage", "TASK_PUT");
        free_letter(&letter);
}

/* A letter that was sent back as it was: its old reason goes, everything else stays. */
static void replaces_an_earlier_letter(void **state) {
        struct job_header headers[RECORD_HEADERS_MAX] = {0};
        struct job_record record = record_of(headers, RECORD_HEADERS_MAX);
        struct letter letter = {.outcome = {.failure = FAILURE_NO_PROVIDER, .message = "now"}};
        (void)state;
        for (size_t i = 0; i < RECORD_HEADERS_MAX; i++)
                headers[i] = (struct job_header){BYTES("other"), BYTES("v")};
        headers[0] = (struct job_header){BYTES("batchferry-error-code"), BYTES("old")};
        headers[5] = (struct job_header){BYTES("batchferry-error-code"), BYTES("older")};
        headers[6] = (struct job_header){BYTES("batchferry-error-field"), BYTES("old")};
        headers[63] = (struct job_header){BYTES("__connect.errors.topic"), BYTES("old")};
        write_letter(&letter, &record);
        says(&letter, "batchferry-error-code", "no_provider");
        says(&letter, "__connect.errors.topic", "jobs");
        assert_int_equal(count_of(&letter, "batchferry-error-field"), 0);
        assert_int_equal(count_of(&letter, "other"), RECORD_HEADERS_MAX - 4);
        free_letter(&letter);
}

static void has_room_for_all_headers(void **state) {
        struct job_header headers[RECORD_HEADERS_MAX] = {0};
        struct job_record record = record_of(headers, RECORD_HEADERS_MAX);
        struct letter letter = {
                .job = {.failure = FAILURE_INVALID_JOB, .failure_field = BYTES("f"), .custom_id = BYTES("i")},
                .outcome = {.failure = FAILURE_INVALID_JOB, .message = "m"}};
        (void)state;
        for (size_t i = 0; i < RECORD_HEADERS_MAX; i++)
                headers[i] = (struct job_header){BYTES("other"), BYTES("v")};
        write_letter(&letter, &record);
        assert_int_equal(count_of(&letter, "other"), RECORD_HEADERS_MAX);
        says(&letter, "batchferry-error-code", "invalid_job");
        says(&letter, "__connect.errors.exception.message", "f m");
        free_letter(&letter);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keeps_a_copy),
                cmocka_unit_test(keeps_what_is_not_there),
                cmocka_unit_test(counts_headers),
                cmocka_unit_test(knows_dead_letters),
                cmocka_unit_test(says_why_and_where_from),
                cmocka_unit_test(leaves_out_what_is_not_known),
                cmocka_unit_test(replaces_an_earlier_letter),
                cmocka_unit_test(has_room_for_all_headers),
        };
        return cmocka_run_group_tests_name("record parts", tests, NULL, NULL);
}
