/*
 * Any bytes as a job line. A job's spans lie in its body, are what they say they are, and can be spliced
 * into valid JSON; whatever was read, its result line is one line of valid JSON that is read back as the
 * same job.
 */
#include "broker/base/check.h"
#include "broker/wire/job.h"
#include "broker/wire/json_span.h"
#include "broker/wire/result.h"

#include <string.h>
#include <yyjson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_JOB_BYTES_MAX = 1 << 16 };

static const struct provider provider = {.name = "p"};
static const struct endpoint endpoint = {.name = "p/m", .model = "*", .upstream = "*"};
static const struct catalog catalog = {&provider, 1, &endpoint, 1, "0123456789abcdef", NULL, 0};

static void check_json(struct bytes text) {
        yyjson_doc *doc = yyjson_read(text.data, text.size, YYJSON_READ_NUMBER_AS_RAW);
        CHECK(doc != NULL);
        yyjson_doc_free(doc);
}

static bool in_body(const struct job_spec *job, struct span span) {
        return span.offset <= job->body.size && span.size <= job->body.size - span.offset;
}

/* The body with another model in the place of its own. */
static void check_splice(const struct job_spec *job) {
        struct buffer spliced;
        size_t behind = job->model_value.offset + job->model_value.size;
        buffer_init(&spliced, FUZZ_JOB_BYTES_MAX * 2);
        buffer_append(&spliced, job->body.data, job->model_value.offset);
        buffer_append_string(&spliced, "\"other\"");
        buffer_append(&spliced, job->body.data + behind, job->body.size - behind);
        yyjson_doc *doc = yyjson_read(spliced.data, spliced.size, YYJSON_READ_NUMBER_AS_RAW);
        CHECK(doc != NULL);
        CHECK(yyjson_equals_str(yyjson_obj_get(yyjson_doc_get_root(doc), "model"), "other"));
        yyjson_doc_free(doc);
        buffer_deinit(&spliced);
}

static void check_member(const struct job_spec *job, struct span member, const char *name) {
        struct buffer object;
        CHECK(in_body(job, member));
        if (member.size == 0)
                return;
        buffer_init(&object, FUZZ_JOB_BYTES_MAX * 2);
        buffer_append_char(&object, '{');
        buffer_append_bytes(&object, span_of(job->body, member));
        buffer_append_char(&object, '}');
        yyjson_doc *doc = yyjson_read(object.data, object.size, YYJSON_READ_NUMBER_AS_RAW);
        CHECK(doc != NULL && yyjson_obj_size(yyjson_doc_get_root(doc)) == 1);
        CHECK(yyjson_obj_get(yyjson_doc_get_root(doc), name) != NULL);
        yyjson_doc_free(doc);
        buffer_deinit(&object);
}

static void check_job(const struct job_spec *job) {
        check_json(job->body);
        CHECK(job->model_value.size > 0 && in_body(job, job->model_value));
        check_json(span_of(job->body, job->model_value));
        check_splice(job);
        check_member(job, job->models_member, "models");
        check_member(job, job->provider_member, "provider");
        check_member(job, job->file_url_member, "file_url");
        CHECK(in_body(job, job->encoding_format_value));
        if (job->encoding_format_value.size > 0)
                check_json(span_of(job->body, job->encoding_format_value));
        CHECK(job->custom_id.size > 0 && job->demand.models_count > 0);
        CHECK(job->demand.input_tokens >= 0 && job->demand.output_tokens_max >= -1);
}

static void check_result(const struct job_spec *job) {
        struct outcome outcome = {.failure = job->failure, .cost_known = true};
        struct buffer line;
        struct result_head head;
        usage_init(&outcome.usage);
        if (job->failure == FAILURE_NONE)
                outcome = (struct outcome){.has_answer = true,
                                           .status = 200,
                                           .attempts = 1,
                                           .decision = {.chosen = true, .count = 1}};
        buffer_init(&line, FUZZ_JOB_BYTES_MAX * 16);
        const struct result_source source = {job, &outcome, &catalog, job->custom_id, job->body};
        result_append(&line, &source);
        CHECK(!line.failed && line.size > 0);
        CHECK(memchr(line.data, '\n', line.size) == line.data + line.size - 1);
        CHECK(result_read_head(buffer_view(&line), &head));
        CHECK(key128_equal(head.key, job->key) && head.failure == job->failure);
        CHECK(head.attempts == outcome.attempts && head.status == outcome.status);
        buffer_deinit(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct job_decoder *decoder;
        const struct job_decoder_options options = {.batch = "fuzz", .job_bytes_max = FUZZ_JOB_BYTES_MAX};
        if (decoder == NULL)
                CHECK(job_decoder_new(&options, &decoder) == NULL);
        struct job_spec *job = job_decode(decoder, (struct bytes){(const char *)data, size}, 1, 0, false);
        CHECK(job != NULL);
        if (job->failure == FAILURE_NONE)
                check_job(job);
        else
                CHECK(job->failure_message.size > 0);
        check_result(job);
        job_spec_free(job);
        struct result_head head;
        result_read_head((struct bytes){(const char *)data, size}, &head);
        return 0;
}
