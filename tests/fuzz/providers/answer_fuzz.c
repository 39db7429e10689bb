/*
 * Whatever a provider answers: read() and render() hold, and what is rendered is one line of JSON.
 * Input: a byte for the kind and the caller's formats, a byte for the status, header lines up to an
 * empty line, the body.
 */
#include "broker/base/check.h"
#include "workers/providers/dialect.h"

#include <string.h>
#include <yyjson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int32_t statuses[] = {200, 200, 200, 200, 201, 204, 301, 400, 401, 402, 403,
                                   404, 408, 413, 422, 429, 429, 498, 500, 503, 529, 0};
static const char *const response_formats[] = {"", "text", "srt", "verbose_json"};

static const char body_text[] = "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"models\":[\"x\"]}";

static struct job_spec job_of(uint8_t choice) {
        struct job_spec job = {.body = BYTES(body_text), .model_value = {9, 3}, .models_member = {31, 14}};

        demand_init(&job.demand, (enum kind)(choice % KINDS_COUNT));
        job.vector_format = (enum vector_format)(choice / KINDS_COUNT % 4);
        job.response_format = bytes_of(response_formats[choice / KINDS_COUNT % 4]);
        return job;
}

static void check_answer(const struct answer *answer) {
        size_t size = strnlen(answer->message, sizeof(answer->message));

        CHECK(size < sizeof(answer->message));
        CHECK(answer->wait_ns >= -1 && answer->wait_ns <= INT64_C(86400000000000));
        CHECK(answer->requests_blocked_ns >= 0 && answer->tokens_blocked_ns >= 0);
        CHECK((answer->verdict == VERDICT_OK) == (answer->failure == FAILURE_NONE));
        CHECK(answer->usage.input_tokens >= -1 && answer->usage.output_tokens >= -1);
        CHECK(!answer->cost_known || answer->cost_picousd >= 0);
        for (size_t i = 0; i < size; i++)
                CHECK((unsigned char)answer->message[i] >= 0x20);
}

static void check_line(const struct buffer *line) {
        yyjson_doc *doc;

        if (line->failed)
                return;
        CHECK(line->size > 0 && memchr(line->data, '\n', line->size) == NULL &&
              memchr(line->data, '\r', line->size) == NULL);
        doc = yyjson_read(line->data, line->size, YYJSON_READ_BIGNUM_AS_RAW);
        CHECK(doc != NULL);
        yyjson_doc_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const struct dialect *dialect = dialect_find(BYTES("openai"));
        struct response response = {.now_unix_ms = INT64_C(1795338000000)};
        struct bytes rest;
        struct answer answer;
        struct buffer line;
        struct job_spec job;
        const char *gap;

        if (size < 2)
                return 0;
        job = job_of(data[0]);
        response.status = statuses[data[1] % (sizeof(statuses) / sizeof(statuses[0]))];
        rest = (struct bytes){(const char *)data + 2, size - 2};
        gap = rest.size == 0 ? NULL : memmem(rest.data, rest.size, "\n\n", 2);
        if (gap != NULL) {
                response.headers = (struct bytes){rest.data, (size_t)(gap + 1 - rest.data)};
                rest = (struct bytes){gap + 2, rest.size - response.headers.size - 1};
        }
        response.body = rest;
        dialect->read(&job, &response, &answer);
        check_answer(&answer);
        buffer_init(&line, 16 << 20);
        dialect->render(&job, &response, &line);
        check_line(&line);
        buffer_deinit(&line);
        return 0;
}
