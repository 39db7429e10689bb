/* Records that the vectors do not show: encodings, limits, trace context, CloudEvents that are none. */
#include "broker/wire/job_record.h"
#include "broker/wire/msgpack.h"
#include "wire_fixture.h"

#include <stdio.h>
#include <string.h>

static const char good[] = JOB("");

static struct job_spec *decode_record(struct job_decoder *decoder, struct bytes value,
                                      const struct job_header *headers, size_t count) {
        const struct job_record record = {.value = value,
                                          .has_value = true,
                                          .headers = headers,
                                          .headers_count = count,
                                          .partition = 2,
                                          .offset = 5};
        struct job_spec *job = job_decode_record(decoder, &record);
        assert_non_null(job);
        return job;
}

static struct job_spec *decode_with(struct job_decoder *decoder, struct bytes value, const char *name,
                                    const char *header) {
        const struct job_header headers[] = {{BYTES("x"), BYTES("y")}, {bytes_of(name), bytes_of(header)}};
        return decode_record(decoder, value, headers, 2);
}

/* NULL: it is a job. */
static void assert_outcome(struct job_spec *job, const char *message) {
        if (message == NULL && job->failure != FAILURE_NONE)
                fail_msg("%.*s", (int)job->failure_message.size, job->failure_message.data);
        if (message != NULL)
                assert_bytes(job->failure_message, message);
        job_spec_free(job);
}

static void pack(const char *json, struct buffer *out) {
        struct problem problem;
        problem_init(&problem);
        buffer_init(out, 1 << 16);
        assert_int_equal(msgpack_from_json(bytes_of(json), out, &problem), MSGPACK_DONE);
}

static void content_type_tells_the_encoding(void **state) {
        (void)state;
        static const struct {
                const char *type;
                bool json, msgpack; /* may be that */
        } types[] = {
                {"application/json", true, false},
                {"Application/JSON; charset=utf-8", true, false},
                {" application/json ", true, false},
                {"application/vnd.acme.job+json;v=1", true, false},
                {"application/msgpack", false, true},
                {"application/x-msgpack", false, true},
                {"application/vnd.msgpack", false, true},
                {"application/vnd.acme.job+MsgPack", false, true},
                {"text/plain", true, true},
                {"application/octet-stream", true, true},
                {"", true, true},
        };
        struct job_decoder *decoder = new_decoder(NULL);
        struct buffer packed;
        pack(good, &packed);
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
                struct job_spec *json = decode_with(decoder, bytes_of(good), "Content-Type", types[i].type);
                assert_int_equal(json->failure == FAILURE_NONE, types[i].json);
                job_spec_free(json);
                struct job_spec *msgpack =
                        decode_with(decoder, buffer_view(&packed), "content-type", types[i].type);
                assert_int_equal(msgpack->failure == FAILURE_NONE, types[i].msgpack);
                job_spec_free(msgpack);
        }
        buffer_deinit(&packed);
        job_decoder_free(decoder);
}

/* Maps have three forms; small ones may be written in any. */
static void every_form_of_a_map_is_known_by_its_first_byte(void **state) {
        (void)state;
        static const struct bytes heads[] = {{"\x83", 1}, {"\xde\0\x03", 3}, {"\xdf\0\0\0\x03", 5}};
        struct job_decoder *decoder = new_decoder(NULL);
        struct buffer packed, value;
        pack(good, &packed);
        for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
                buffer_init(&value, 1 << 16);
                buffer_append_bytes(&value, heads[i]);
                buffer_append(&value, packed.data + 1, packed.size - 1);
                assert_outcome(decode_record(decoder, buffer_view(&value), NULL, 0), NULL);
                buffer_deinit(&value);
        }
        buffer_deinit(&packed);
        job_decoder_free(decoder);
}

static void the_last_of_two_headers_counts(void **state) {
        (void)state;
        const struct job_header headers[] = {{BYTES("content-type"), BYTES("application/msgpack")},
                                             {BYTES("idempotency-key"), BYTES("a")},
                                             {BYTES("idempotency-key"), {NULL, 0}},
                                             {BYTES("content-type"), BYTES("application/json")}};
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *job = decode_record(decoder, bytes_of(good), headers, 4);
        assert_bytes(job->idempotency, "a"); /* custom_id; the null header took the other one back */
        assert_outcome(job, NULL);
        struct job_spec *other = decode_record(decoder, bytes_of(good), headers, 3);
        assert_int_equal(other->failure, FAILURE_INVALID_JOB);
        job_spec_free(other);
        job_decoder_free(decoder);
}

static void the_limit_holds_for_value_and_text(void **state) {
        (void)state;
        struct job_decoder *decoder;
        struct job_decoder_options options = {.job_bytes_max = sizeof good - 1};
        struct buffer packed;
        char longer[sizeof good + 1];
        pack(good, &packed);
        assert_null(job_decoder_new(&options, &decoder));
        assert_outcome(decode_record(decoder, bytes_of(good), NULL, 0), NULL);
        snprintf(longer, sizeof longer, "%s ", good);
        struct job_spec *job = decode_record(decoder, bytes_of(longer), NULL, 0);
        assert_int_equal(job->failure, FAILURE_INPUT_TOO_LARGE);
        assert_outcome(job, "The value is longer than limits.job_bytes, 73 bytes.");
        assert_int_equal(sizeof good - 1, 73);
        assert_outcome(decode_record(decoder, buffer_view(&packed), NULL, 0), NULL);
        job_decoder_free(decoder);

        options.job_bytes_max = sizeof good - 2; /* the packed one is shorter, its text is not */
        assert_null(job_decoder_new(&options, &decoder));
        assert_true(packed.size < sizeof good - 2);
        job = decode_record(decoder, buffer_view(&packed), NULL, 0);
        assert_int_equal(job->failure, FAILURE_INPUT_TOO_LARGE);
        const struct record_name name = {.partition = 2, .offset = 5};
        assert_true(key128_equal(job->key, job_record_key(decoder, &name)));
        job_spec_free(job);
        job_decoder_free(decoder);
        buffer_deinit(&packed);
}

static void trace_context_is_checked(void **state) {
        (void)state;
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        static const struct {
                const char *text;
                bool kept;
        } cases[] = {
                {"00-" TRACE, true},
                {"cc-" TRACE, true},
                {"cc-" TRACE "-what-comes", true},
                {"cc-" TRACE "what-comes", false},
                {"cc-" TRACE "-\r\n", false},
                {"00-" TRACE "-what-comes", false},
                {"00-" TRACE " ", false},
                {"ff-" TRACE, false},
                {"0-" TRACE, false},
                {"00_" TRACE, false},
                {"00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
                {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
                {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
                {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", false},
                {"00-4bf92f3577b34da6a3ce929d0e0e4736+00f067aa0ba902b7-01", false},
                {"", false},
        };
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                const struct job_header headers[] = {{BYTES("TraceParent"), bytes_of(cases[i].text)},
                                                     {BYTES("tracestate"), BYTES("a=1")}};
                struct job_spec *job = decode_record(decoder, bytes_of(good), headers, 2);
                assert_bytes(job->traceparent, cases[i].kept ? cases[i].text : "");
                assert_bytes(job->tracestate, cases[i].kept ? "a=1" : "");
                job_spec_free(job);
        }
        char state_text[TRACESTATE_BYTES_MAX + 2];
        memset(state_text, 'a', sizeof state_text);
        for (size_t size = TRACESTATE_BYTES_MAX; size <= TRACESTATE_BYTES_MAX + 1; size++) {
                const struct job_header headers[] = {{BYTES("traceparent"), BYTES("00-" TRACE)},
                                                     {BYTES("tracestate"), {state_text, size}}};
                struct job_spec *job = decode_record(decoder, bytes_of("{"), headers, 2);
                assert_int_equal(job->failure, FAILURE_INVALID_JOB); /* a bad one keeps its trace too */
                assert_bytes(job->traceparent, "00-" TRACE);
                assert_int_equal(job->tracestate.size, size == TRACESTATE_BYTES_MAX ? size : 0);
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

static void events_that_hold_no_job_are_refused(void **state) {
        (void)state;
#define EVENT(members) "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\"" members "}"
#define DATA           JOB("")
        static const struct {
                const char *value, *message;
        } cases[] = {
                {EVENT(",\"data\":" DATA), NULL},
                {EVENT(",\"data\": " DATA " ,\"extension\":{\"data\":1}"), NULL},
                {"{\"specversion\":\"1.0\",\"data\":" DATA "}", NULL},
                {EVENT(""), "must be the job, a JSON object"},
                {EVENT(",\"data_base64\":\"AA==\""), "must be the job, a JSON object"},
                {EVENT(",\"data\":\"{}\""), "must be the job, a JSON object"},
                {EVENT(",\"data\":" DATA ",\"data\":" DATA), "must not stand in the event twice"},
                {EVENT(",\"id\":\"2\",\"data\":" DATA), "must not stand in the event twice"},
                {"{\"data\":" DATA "}", "must stand in a CloudEvent"},
                {DATA, "must stand in a CloudEvent"},
                {"[]", "A CloudEvent must be a JSON object."},
                {EVENT(",\"data\":{\"custom_id\":\"a\"}"),
                 "must be a string that names the endpoint, such as \"/v1/chat/completions\""},
        };
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct job_spec *job = decode_with(decoder, bytes_of(cases[i].value), "content-type",
                                                   "application/cloudevents+json");
                if (cases[i].message == NULL)
                        assert_bytes(job->body, "{\"model\":\"m\",\"input\":\"x\"}");
                assert_outcome(job, cases[i].message);
        }
        job_decoder_free(decoder);
}

static void keys_are_bounded_wherever_they_come_from(void **state) {
        (void)state;
        char text[IDEMPOTENCY_BYTES_MAX + 2];
        memset(text, 'k', sizeof text);
        text[IDEMPOTENCY_BYTES_MAX + 1] = '\0';
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_header headers[] = {{BYTES("idempotency-key"), {text, IDEMPOTENCY_BYTES_MAX}},
                                       {BYTES("ce_id"), BYTES("1")}};
        struct job_spec *job = decode_record(decoder, bytes_of(good), headers, 1);
        assert_int_equal(job->idempotency.size, IDEMPOTENCY_BYTES_MAX);
        assert_outcome(job, NULL);
        headers[0].value.size++;
        assert_outcome(decode_record(decoder, bytes_of(good), headers, 1),
                       "The idempotency key is longer than 1024 bytes.");
        headers[0].name = BYTES("ce_source");
        headers[0].value.size = IDEMPOTENCY_BYTES_MAX - 2;
        job = decode_record(decoder, bytes_of(good), headers, 2);
        assert_int_equal(job->idempotency.size, IDEMPOTENCY_BYTES_MAX);
        assert_outcome(job, NULL);
        headers[0].value.size++;
        job = decode_record(decoder, bytes_of(good), headers, 2);
        assert_int_equal(job->idempotency.size, 0);
        assert_outcome(job, "The source and id of the CloudEvent are longer than 1024 bytes.");
        headers[1].name = BYTES("other"); /* a source alone is not asked */
        job = decode_record(decoder, bytes_of(good), headers, 2);
        assert_bytes(job->idempotency, "a");
        assert_outcome(job, NULL);
        job_decoder_free(decoder);
}

/* Two decodings in a row share no names: the first is a record with everything, the second a line. */
static void a_line_after_a_record_is_a_line(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL), *fresh = new_decoder(NULL);
        const struct job_header headers[] = {{BYTES("ce_id"), BYTES("1")}, {BYTES("ce_source"), BYTES("/s")}};
        job_spec_free(decode_record(decoder, bytes_of(good), headers, 2));
        struct job_spec *line = decode(decoder, good), *expected = decode(fresh, good);
        assert_true(key128_equal(line->key, expected->key));
        assert_bytes(line->batch, "jobs.jsonl");
        assert_int_equal(line->idempotency.size, 0);
        assert_int_equal(line->partition, 0);
        job_spec_free(line);
        job_spec_free(expected);
        struct job_spec *bad = decode(decoder, "{"), *bad_expected = decode(fresh, "{");
        assert_true(key128_equal(bad->key, bad_expected->key));
        assert_true(bytes_starts_with(bad->failure_message, "The line is not valid JSON: "));
        job_spec_free(bad);
        job_spec_free(bad_expected);
        job_decoder_free(decoder);
        job_decoder_free(fresh);
}

/* A line that is submitted under job_idempotency_append() is, as a record, the job that it says. */
static void a_line_is_keyed_as_its_record_would_be(void **state) {
        (void)state;
        static const struct {
                const char *line, *key;
        } cases[] = {{JOB(""), "jobs.jsonl/a"},
                     {JOB(",\"batch\":\"b\""), "b/a"},
                     {JOB(",\"batch\":\"b\",\"idempotency_key\":\"k\""), "k"}};
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct buffer key;
                buffer_init(&key, 4096);
                struct job_spec *line = decode(decoder, cases[i].line);
                job_idempotency_append(&key, line);
                assert_bytes(buffer_view(&key), cases[i].key);
                const struct job_record record = {.key = buffer_view(&key),
                                                  .has_key = true,
                                                  .value = bytes_of(cases[i].line),
                                                  .has_value = true};
                struct job_spec *job = job_decode_record(decoder, &record);
                assert_bytes(job->idempotency, cases[i].key);
                assert_memory_equal(job->fingerprint, line->fingerprint, sizeof job->fingerprint);
                job_spec_free(job);
                job_spec_free(line);
                buffer_deinit(&key);
        }
        job_decoder_free(decoder);
}

static void a_workspace_by_default_has_a_name(void **state) {
        (void)state;
        struct job_decoder *decoder;
        const struct job_decoder_options options = {.workspace_default = "", .job_bytes_max = 1};
        struct error *error = job_decoder_new(&options, &decoder);
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_USAGE);
        error_free(error);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(content_type_tells_the_encoding),
                cmocka_unit_test(every_form_of_a_map_is_known_by_its_first_byte),
                cmocka_unit_test(the_last_of_two_headers_counts),
                cmocka_unit_test(the_limit_holds_for_value_and_text),
                cmocka_unit_test(trace_context_is_checked),
                cmocka_unit_test(events_that_hold_no_job_are_refused),
                cmocka_unit_test(keys_are_bounded_wherever_they_come_from),
                cmocka_unit_test(a_line_after_a_record_is_a_line),
                cmocka_unit_test(a_line_is_keyed_as_its_record_would_be),
                cmocka_unit_test(a_workspace_by_default_has_a_name),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
