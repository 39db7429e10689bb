/*
 * Result lines stay one line of valid JSON whatever stands in them, and are recognised when they are read
 * back.
 */
#include "broker/wire/result.h"
#include "wire_fixture.h"

#include <string.h>
#include <yyjson.h>

static const char *const hostile[] = {
        "\"",
        "\\",
        "\n",
        "\r\n",
        "\x7f\x1f",
        "</script>",
        "\xc3\xa9\xf0\x9f\x98\x80",
        "\xff\xfe",
        "\xed\xa0\x80",
        "\xe2\x80\xa8",
        "\"},\"error\":null,\"x\":{\"",
        "${jndi}",
        "a\tb",
};

static void line_is_whole(struct buffer *line) {
        assert_false(line->failed);
        assert_int_equal(line->data[line->size - 1], '\n');
        assert_ptr_equal(memchr(line->data, '\n', line->size), line->data + line->size - 1);
        assert_null(memchr(line->data, '\r', line->size));
        yyjson_doc *doc = yyjson_read(line->data, line->size - 1, 0);
        if (doc == NULL)
                fail_msg("%.*s", (int)line->size, line->data);
        yyjson_doc_free(doc);
}

static void hostile_text_is_escaped(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
                const char *text = hostile[i];
                struct provider provider = {.name = text};
                struct endpoint endpoint = {.name = text, .model = text, .upstream = text};
                struct catalog catalog = {&provider, 1, &endpoint, 1, "", NULL, 0};
                struct job_spec job = {.custom_id = bytes_of(text),
                                       .workspace = bytes_of(text),
                                       .batch = bytes_of(text),
                                       .metadata = BYTES("{\"a\"\r\n:\n\"b\"}"),
                                       .failure = FAILURE_INVALID_JOB,
                                       .failure_field = bytes_of(text),
                                       .failure_message = bytes_of(text)};
                struct outcome outcome = {.failure = FAILURE_INVALID_JOB,
                                          .has_answer = true,
                                          .decision = {.chosen = true, .count = 1}};
                usage_init(&outcome.usage);
                strcpy(outcome.message, text);
                struct result_source source = {&job, &outcome, &catalog, bytes_of(text),
                                               BYTES("{\r\n \"a\": [1,\n2] }")};
                struct buffer line;
                buffer_init(&line, 1 << 16);
                result_append(&line, &source);
                line_is_whole(&line);
                struct result_head head;
                assert_true(result_read_head(buffer_view(&line), &head));
                assert_int_equal(head.failure, FAILURE_INVALID_JOB);
                job.failure = FAILURE_NONE;
                outcome.failure = FAILURE_PROVIDER_ERROR;
                buffer_clear(&line);
                result_append(&line, &source);
                line_is_whole(&line);
                buffer_deinit(&line);
        }
}

static const struct job_spec plain_job = {.key = {1, 2},
                                          .alias = {3, 4},
                                          .custom_id = {"a", 1},
                                          .workspace = {"default", 7},
                                          .batch = {"b", 1}};
static const struct catalog empty_catalog = {.id = "0"};

static void append(struct buffer *line, const struct outcome *outcome) {
        const struct result_source source = {&plain_job, outcome, &empty_catalog, BYTES(""), BYTES("{}")};
        buffer_init(line, 1 << 16);
        result_append(line, &source);
}

/* When `error` is null, and what is read back. */
static const struct {
        enum failure failure;
        bool has_answer;
        int32_t status;
        bool error_null;
        enum failure read_back;
} outcomes[] = {
        {FAILURE_NONE, true, 200, true, FAILURE_NONE},
        {FAILURE_PROVIDER_REJECTED, true, 400, true, FAILURE_PROVIDER_REJECTED},
        {FAILURE_PROVIDER_REJECTED, false, 0, false, FAILURE_PROVIDER_REJECTED},
        {FAILURE_PROVIDER_REJECTED, true, 500, false, FAILURE_PROVIDER_REJECTED},
        {FAILURE_CONTENT_REFUSED, true, 400, true, FAILURE_PROVIDER_REJECTED},
        {FAILURE_CONTENT_REFUSED, true, 200, false, FAILURE_CONTENT_REFUSED},
        {FAILURE_ATTEMPTS_EXHAUSTED, true, 429, false, FAILURE_ATTEMPTS_EXHAUSTED},
        {FAILURE_DEADLINE_EXCEEDED, false, 0, false, FAILURE_DEADLINE_EXCEEDED},
        {FAILURE_IDEMPOTENCY_CONFLICT, false, 0, false, FAILURE_IDEMPOTENCY_CONFLICT},
};

static void heads_are_read_back(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
                struct outcome outcome = {.failure = outcomes[i].failure,
                                          .has_answer = outcomes[i].has_answer,
                                          .status = outcomes[i].status,
                                          .attempts = 3,
                                          .cost_known = i % 2 == 0,
                                          .cost_is_estimate = i % 3 == 0,
                                          .cost_picousd = i % 2 == 0 ? 1234567890123456789 : 0};
                struct buffer line;
                struct result_head head;
                append(&line, &outcome);
                line_is_whole(&line);
                char *null_error = memmem(line.data, line.size, "\"error\":null", 12);
                assert_int_equal(null_error != NULL, outcomes[i].error_null);
                assert_true(result_read_head(buffer_view(&line), &head));
                assert_true(key128_equal(head.key, result_key(&plain_job, &outcome)));
                assert_int_equal(head.failure, outcomes[i].read_back);
                assert_int_equal(head.status, outcomes[i].status);
                assert_int_equal(head.attempts, 3);
                assert_int_equal(head.cost_known, outcome.cost_known);
                assert_int_equal(head.cost_picousd, outcome.cost_picousd);
                assert_int_equal(head.cost_is_estimate, outcome.cost_is_estimate);
                buffer_deinit(&line);
        }
}

/* A torn line is never ours, wherever it was torn. */
static void torn_lines_are_refused(void **state) {
        (void)state;
        struct outcome outcome = {.has_answer = true, .status = 200};
        struct buffer line;
        struct result_head head = {.attempts = 77};
        append(&line, &outcome);
        for (size_t size = 0; size + 1 < line.size; size++)
                assert_false(result_read_head((struct bytes){line.data, size}, &head));
        assert_int_equal(head.attempts, 77);
        assert_true(result_read_head((struct bytes){line.data, line.size - 1}, &head));
        buffer_deinit(&line);
}

#define ID   "bf_00000000000000010000000000000002"
#define HALF "00000000000000010000000000000002"
#define TAIL_OF(fingerprint)                                                                                 \
        "\"receipt\":{\"attempts\":1,\"cost_usd\":null,\"cost_is_estimate\":false,\"fingerprint\":"          \
        "\"" fingerprint "\",\"decision\":{}}}"
#define TAIL TAIL_OF(HALF HALF)

static const struct {
        const char *line;
        bool ours;
} lines[] = {
        {"{\"id\":\"" ID "\",\"custom_id\":null,\"response\":null,\"error\":null," TAIL, true},
        {"{\"id\":\"" ID "0\",\"custom_id\":null,\"response\":null,\"error\":null," TAIL, false},
        {"{\"id\":\"bf_0000000000000001000000000000000G\",\"custom_id\":null,\"response\":null,\"error\":"
         "null," TAIL,
         false},
        {"{\"id\":\"batch_req_1\",\"custom_id\":\"a\",\"response\":null,\"error\":null}", false},
        {"{\"id\":\"" ID "\",\"custom_id\":null,\"response\":null,\"error\":{\"code\":\"odd\"}," TAIL, false},
        {"{\"id\":\"" ID "\",\"custom_id\":null,\"response\":{},\"error\":null," TAIL, false},
        {"{\"id\":\"" ID "\",\"custom_id\":null,\"response\":null,\"error\":null}", false},
        {"{\"id\":\"" ID "\",\"response\":null,\"error\":null," TAIL, false},
        {"{\"id\":\"" ID "\",\"custom_id\":null,\"response\":null,\"error\":null," TAIL_OF(HALF), false},
        {"[]", false},
        {"", false},
        {"\n", false},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/embeddings\",\"body\":{}}", false},
};

static void strangers_are_refused(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
                struct result_head head;
                if (result_read_head(bytes_of(lines[i].line), &head) != lines[i].ours)
                        fail_msg("%s", lines[i].line);
        }
}

/* A buffer that cannot grow keeps what it had, without a half line. */
static void a_full_buffer_gets_nothing(void **state) {
        (void)state;
        struct outcome outcome = {.has_answer = true, .status = 200};
        const struct result_source source = {&plain_job, &outcome, &empty_catalog, BYTES(""), BYTES("{}")};
        struct buffer line;
        buffer_init(&line, 100);
        buffer_append_string(&line, "before\n");
        result_append(&line, &source);
        assert_true(line.failed);
        assert_bytes(buffer_view(&line), "before\n");
        buffer_deinit(&line);
}

static void a_value_is_the_line_without_its_end(void **state) {
        (void)state;
        struct outcome outcome = {.has_answer = true, .status = 200};
        const struct result_source source = {&plain_job, &outcome, &empty_catalog, BYTES(""), BYTES("{}")};
        struct buffer line, value;
        buffer_init(&line, 1 << 16);
        buffer_init(&value, 1 << 16);
        buffer_append_string(&value, "before ");
        result_append(&line, &source);
        result_append_value(&value, &source);
        assert_int_equal(value.size - 7, line.size - 1);
        assert_memory_equal(value.data + 7, line.data, line.size - 1);
        buffer_deinit(&line);
        buffer_deinit(&value);
}

/* Only the receipt's own member, whatever the answer and the metadata look like. */
static void a_replayed_result_says_so(void **state) {
        (void)state;
        static const char body[] =
                "{\"receipt\":{\"replayed\":false,\"fingerprint\":\"\"},\"replayed\":false}";
        struct job_spec job = plain_job;
        job.custom_id = BYTES("\"replayed\":false");
        job.metadata = BYTES("{\"replayed\":\"false\"}");
        struct outcome outcome = {.has_answer = true, .status = 200, .attempts = 2};
        const struct result_source source = {&job, &outcome, &empty_catalog, BYTES(""), bytes_of(body)};
        struct buffer line, again;
        buffer_init(&line, 1 << 16);
        buffer_init(&again, 1 << 16);
        result_append(&line, &source);
        assert_true(result_append_replayed(&again, buffer_view(&line)));
        assert_int_equal(again.size, line.size - 2); /* "true" for "false", and no line end */
        yyjson_doc *old = yyjson_read(line.data, line.size, 0), *new = yyjson_read(again.data, again.size, 0);
        yyjson_val *replayed = yyjson_doc_ptr_get(new, "/receipt/replayed");
        assert_true(yyjson_is_true(replayed));
        assert_true(yyjson_is_false(yyjson_doc_ptr_get(old, "/receipt/replayed")));
        yyjson_set_bool(replayed, false);
        assert_true(yyjson_equals(yyjson_doc_get_root(old), yyjson_doc_get_root(new)));
        yyjson_doc_free(old);
        yyjson_doc_free(new);
        struct bytes first = {again.data, again.size};
        buffer_clear(&line);
        assert_true(result_append_replayed(&line, first)); /* once more changes nothing */
        assert_true(bytes_equal(buffer_view(&line), first));
        buffer_clear(&line);
        assert_false(result_append_replayed(&line, BYTES("{\"receipt\":{\"replayed\":false}}")));
        assert_int_equal(line.size, 0);
        buffer_deinit(&line);
        buffer_init(&line, first.size - 1);
        assert_false(result_append_replayed(&line, first));
        assert_true(line.failed);
        assert_int_equal(line.size, 0);
        buffer_deinit(&line);
        buffer_deinit(&again);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(hostile_text_is_escaped),
                cmocka_unit_test(heads_are_read_back),
                cmocka_unit_test(torn_lines_are_refused),
                cmocka_unit_test(strangers_are_refused),
                cmocka_unit_test(a_full_buffer_gets_nothing),
                cmocka_unit_test(a_value_is_the_line_without_its_end),
                cmocka_unit_test(a_replayed_result_says_so),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
