/*
 * The golden vectors of schemas/vectors, and that the schemas and the tables name the same things. Facts
 * are written as one JSON object and compared as values, so a vector fails by what differs, not by how it
 * is written.
 */
#include "broker/wire/digest.h"
#include "broker/wire/json_span.h"
#include "broker/wire/result.h"
#include "wire_fixture.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

enum { TEXT_MAX = 1 << 20 };

static yyjson_doc *read_file(const char *name) {
        char path[4096];
        yyjson_read_err error;
        snprintf(path, sizeof path, "%s/schemas/%s", TEST_SOURCE_DIR, name);
        yyjson_doc *doc = yyjson_read_file(path, 0, NULL, &error);
        if (doc == NULL)
                fail_msg("%s: %s", path, error.msg);
        return doc;
}

static void fact_name(struct buffer *out, const char *name) {
        buffer_append_string(out, out->size > 1 ? ",\"" : "\"");
        buffer_append_string(out, name);
        buffer_append_string(out, "\":");
}

static void fact_text(struct buffer *out, const char *name, struct bytes text) {
        if (text.size == 0)
                return;
        fact_name(out, name);
        buffer_append_char(out, '"');
        buffer_append_json_escaped(out, text);
        buffer_append_char(out, '"');
}

static void fact_number(struct buffer *out, const char *name, int64_t number, int64_t unsaid) {
        if (number == unsaid)
                return;
        fact_name(out, name);
        buffer_append_i64(out, number);
}

static void fact_bool(struct buffer *out, const char *name, bool value, bool unsaid) {
        if (value == unsaid)
                return;
        fact_name(out, name);
        buffer_append_string(out, value ? "true" : "false");
}

static void fact_list(struct buffer *out, const char *name, const struct bytes *items, size_t count) {
        if (count == 0)
                return;
        fact_name(out, name);
        for (size_t i = 0; i < count; i++) {
                buffer_append_string(out, i == 0 ? "[\"" : ",\"");
                buffer_append_json_escaped(out, items[i]);
                buffer_append_char(out, '"');
        }
        buffer_append_char(out, ']');
}

static void fact_hash(struct buffer *out, const char *name, const uint8_t *hash, size_t size) {
        fact_name(out, name);
        buffer_append_char(out, '"');
        buffer_append_hex(out, hash, size);
        buffer_append_char(out, '"');
}

static void fact_key(struct buffer *out, const char *name, struct key128 key) {
        uint8_t bytes[16];
        key128_to_bytes(key, bytes);
        fact_hash(out, name, bytes, sizeof bytes);
}

static void write_prefs(struct buffer *out, const struct routing_prefs *prefs) {
        static const char *const sorts[] = {"", "throughput", "latency", "quality", "balanced"};
        fact_list(out, "order", prefs->order.items, prefs->order.count);
        fact_list(out, "only", prefs->only.items, prefs->only.count);
        fact_list(out, "ignore", prefs->ignore.items, prefs->ignore.count);
        fact_list(out, "regions", prefs->regions.items, prefs->regions.count);
        fact_list(out, "quantizations", prefs->quantizations.items, prefs->quantizations.count);
        fact_bool(out, "allow_fallbacks", prefs->allow_fallbacks, true);
        fact_bool(out, "deny_training", prefs->deny_training, false);
        fact_bool(out, "zdr", prefs->zdr, false);
        fact_text(out, "sort", bytes_of(sorts[prefs->sort]));
        fact_number(out, "max_price_input", prefs->max_price_input, PICOUSD_MAX);
        fact_number(out, "max_price_output", prefs->max_price_output, PICOUSD_MAX);
        fact_number(out, "max_price_request", prefs->max_price_request, PICOUSD_MAX);
        fact_number(out, "max_price_image", prefs->max_price_image, PICOUSD_MAX);
}

static void write_request(struct buffer *out, const struct job_spec *job) {
        static const char *const vectors[] = {"", "float", "base64", "other"};
        const struct demand *demand = &job->demand;
        fact_text(out, "url", bytes_of(kind_facts[demand->kind].url));
        fact_text(out, "on_unknown_outcome", bytes_of(job->unknown == UNKNOWN_FAIL ? "fail" : ""));
        fact_list(out, "models", demand->models, demand->models_count);
        fact_number(out, "input_tokens", demand->input_tokens, 0);
        fact_number(out, "output_tokens_max", demand->output_tokens_max, -1);
        fact_number(out, "audio_ms", demand->audio_ms, -1);
        fact_number(out, "characters", demand->characters, 0);
        fact_number(out, "images", demand->images, 0);
        fact_number(out, "search_units", demand->search_units, 0);
        fact_number(out, "max_cost_picousd", demand->max_cost_picousd, PICOUSD_MAX);
        fact_text(out, "body", job->body);
        fact_text(out, "model_value", span_of(job->body, job->model_value));
        fact_text(out, "models_member", span_of(job->body, job->models_member));
        fact_text(out, "provider_member", span_of(job->body, job->provider_member));
        fact_text(out, "file_url_member", span_of(job->body, job->file_url_member));
        fact_text(out, "encoding_format_value", span_of(job->body, job->encoding_format_value));
        fact_text(out, "vector_format", bytes_of(vectors[job->vector_format]));
        fact_text(out, "file_url", job->file_url);
        fact_text(out, "response_format", job->response_format);
        write_prefs(out, &demand->prefs);
}

static void write_facts(struct buffer *out, const struct job_spec *job) {
        buffer_append_char(out, '{');
        fact_key(out, "key", job->key);
        fact_key(out, "alias", job->alias);
        fact_hash(out, "fingerprint", job->fingerprint, sizeof job->fingerprint);
        fact_text(out, "custom_id", job->custom_id);
        fact_text(out, "workspace", job->workspace);
        fact_text(out, "batch", job->batch);
        fact_text(out, "metadata", job->metadata);
        fact_number(out, "priority", job->priority, 0);
        fact_number(out, "not_before_unix_ms", job->not_before_unix_ms, 0);
        fact_number(out, "deadline_unix_ms", job->deadline_unix_ms, 0);
        if (job->failure == FAILURE_NONE) {
                write_request(out, job);
        } else {
                fact_text(out, "failure", bytes_of(failure_text(job->failure)));
                fact_text(out, "field", job->failure_field);
                bool parser = bytes_starts_with(job->failure_message, "The line is not valid JSON: ");
                fact_text(out, "message",
                          parser ? BYTES("The line is not valid JSON: MSG") : job->failure_message);
        }
        buffer_append_char(out, '}');
}

static struct job_spec *decode_vector(struct job_decoder *decoder, yyjson_val *vector, const char *name,
                                      uint64_t number) {
        yyjson_val *line = yyjson_obj_get(vector, name);
        return decode_bytes(decoder, (struct bytes){yyjson_get_str(line), yyjson_get_len(line)}, number);
}

static void jobs_are_read_as_the_vectors_say(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        yyjson_doc *doc = read_file("vectors/jobs.json");
        yyjson_val *vectors = yyjson_obj_get(yyjson_doc_get_root(doc), "vectors"), *vector;
        size_t index, count;
        assert_true(yyjson_arr_size(vectors) > 10);
        yyjson_arr_foreach(vectors, index, count, vector) {
                struct buffer facts;
                buffer_init(&facts, TEXT_MAX);
                uint64_t number = yyjson_get_uint(yyjson_obj_get(vector, "number"));
                struct job_spec *job = decode_vector(decoder, vector, "line", number);
                write_facts(&facts, job);
                yyjson_doc *got = yyjson_read(facts.data, facts.size, 0);
                if (!yyjson_equals(yyjson_doc_get_root(got), yyjson_obj_get(vector, "facts")))
                        fail_msg("%s:\ngot %.*s\nexpected %s", yyjson_get_str(yyjson_obj_get(vector, "name")),
                                 (int)facts.size, facts.data,
                                 yyjson_val_write(yyjson_obj_get(vector, "facts"), 0, NULL));
                yyjson_doc_free(got);
                job_spec_free(job);
                buffer_deinit(&facts);
        }
        yyjson_doc_free(doc);
        job_decoder_free(decoder);
}

/* ---- results ---- */

static const struct provider providers[] = {{.name = "openai"}, {.name = "azure"}, {.name = "any"}};
static const struct endpoint endpoints[] = {
        {.name = "openai/text-embedding-3-small",
         .provider = 0,
         .model = "text-embedding-3-small",
         .upstream = "text-embedding-3-small"},
        {.name = "azure/emb-3s", .provider = 1, .model = "text-embedding-3-small", .upstream = "emb-3s"},
        {.name = "any/*", .provider = 2, .model = "*", .upstream = "*"},
};
static const struct catalog catalog = {providers, 3, endpoints, 3, "9c1e000000000001", NULL, 0};

static int64_t number_or(yyjson_val *object, const char *name, int64_t otherwise) {
        yyjson_val *value = yyjson_obj_get(object, name);
        return value == NULL ? otherwise : yyjson_get_sint(value);
}

static enum exclusion exclusion_from(yyjson_val *value) {
        for (unsigned i = 1; i < EXCLUSIONS_COUNT; i++)
                if (yyjson_equals_str(value, exclusion_text((enum exclusion)i)))
                        return (enum exclusion)i;
        return EXCLUSION_NONE;
}

static void read_decision(yyjson_val *from, struct decision *out) {
        yyjson_val *candidate;
        size_t index, count;
        out->chosen = yyjson_obj_get(from, "chosen") != NULL;
        out->chosen_endpoint = (uint32_t)number_or(from, "chosen", 0);
        out->seed = yyjson_get_uint(yyjson_obj_get(from, "seed"));
        out->truncated = yyjson_get_bool(yyjson_obj_get(from, "truncated"));
        yyjson_arr_foreach(yyjson_obj_get(from, "candidates"), index, count, candidate) {
                struct decision_candidate *item = &out->candidates[out->count++];
                item->endpoint = (uint32_t)number_or(candidate, "endpoint", 0);
                item->excluded_by = exclusion_from(yyjson_obj_get(candidate, "excluded_by"));
                item->cost_known = yyjson_obj_get(candidate, "cost_picousd") != NULL;
                item->cost_expected_picousd = number_or(candidate, "cost_picousd", 0);
        }
}

static void read_usage(yyjson_val *from, struct usage *out) {
#define USAGE_FIELD(member, text) out->member = number_or(from, text, -1);
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
        out->audio_ms = number_or(from, "audio_ms", -1);
}

static void read_outcome(yyjson_val *from, struct outcome *out) {
        *out = (struct outcome){0};
        yyjson_val *failure = yyjson_obj_get(from, "failure");
        if (failure != NULL)
                assert_true(failure_from_text(bytes_of(yyjson_get_str(failure)), &out->failure));
        out->has_answer = yyjson_obj_get(from, "status") != NULL;
        out->status = (int32_t)number_or(from, "status", 0);
        out->attempts = (uint32_t)number_or(from, "attempts", 0);
        out->cost_known = yyjson_obj_get(from, "cost_picousd") != NULL;
        out->cost_picousd = number_or(from, "cost_picousd", 0);
        out->cost_is_estimate = yyjson_get_bool(yyjson_obj_get(from, "cost_is_estimate"));
        out->list_cost_known = yyjson_obj_get(from, "list_cost_picousd") != NULL;
        out->list_cost_picousd = number_or(from, "list_cost_picousd", 0);
        out->estimate_known = yyjson_obj_get(from, "estimate_picousd") != NULL;
        out->estimate_picousd = number_or(from, "estimate_picousd", 0);
        out->queued_ns = number_or(from, "queued_ns", 0);
        out->provider_ns = number_or(from, "provider_ns", 0);
        read_usage(yyjson_obj_get(from, "usage"), &out->usage);
        read_decision(from, &out->decision);
        const char *message = yyjson_get_str(yyjson_obj_get(from, "message"));
        snprintf(out->message, sizeof out->message, "%s", message == NULL ? "" : message);
}

/* Puts `by` in the place of the first `mark` of the text. */
static void replace(char *text, size_t capacity, const char *mark, struct bytes by) {
        char *at = strstr(text, mark);
        if (at == NULL)
                return;
        size_t rest = strlen(at + strlen(mark)) + 1;
        assert_true((size_t)(at - text) + by.size + rest <= capacity);
        memmove(at + by.size, at + strlen(mark), rest);
        memcpy(at, by.data, by.size);
}

static void expected_line(yyjson_val *vector, const struct job_spec *job, char *out, size_t capacity) {
        struct buffer policy;
        buffer_init(&policy, 128);
        uint8_t key[16];
        key128_to_bytes(job->class_key, key);
        buffer_append_hex(&policy, key, 8);
        snprintf(out, capacity, "%s\n", yyjson_get_str(yyjson_obj_get(vector, "line")));
        replace(out, capacity, "POLICY", buffer_view(&policy));
        buffer_clear(&policy);
        buffer_append_hex(&policy, job->fingerprint, sizeof job->fingerprint);
        replace(out, capacity, "FINGERPRINT", buffer_view(&policy));
        struct bytes words = job->failure_message;
        size_t prefix = sizeof "The line is not valid JSON: " - 1;
        if (words.size > prefix)
                replace(out, capacity, "MSG", (struct bytes){words.data + prefix, words.size - prefix});
        buffer_deinit(&policy);
}

static void check_head(struct bytes line, const struct job_spec *job, const struct outcome *outcome) {
        struct result_head head;
        assert_true(result_read_head(line, &head));
        assert_true(key128_equal(head.key, result_key(job, outcome)));
        assert_int_equal(head.failure, outcome->failure);
        assert_int_equal(head.status, outcome->status);
        assert_int_equal(head.attempts, outcome->attempts);
        assert_int_equal(head.cost_known, outcome->cost_known);
        assert_int_equal(head.cost_is_estimate, outcome->cost_is_estimate);
        assert_int_equal(head.cost_picousd, outcome->cost_picousd);
        assert_memory_equal(head.fingerprint, job->fingerprint, sizeof head.fingerprint);
}

static void results_are_written_as_the_vectors_say(void **state) {
        (void)state;
        static char expected[1 << 16];
        struct job_decoder *decoder = new_decoder(NULL);
        yyjson_doc *doc = read_file("vectors/results.json");
        yyjson_val *vectors = yyjson_obj_get(yyjson_doc_get_root(doc), "vectors"), *vector;
        size_t index, count;
        assert_true(yyjson_arr_size(vectors) > 5);
        yyjson_arr_foreach(vectors, index, count, vector) {
                struct job_spec *job = decode_vector(decoder, vector, "job", index + 1);
                struct outcome outcome;
                struct buffer line;
                yyjson_val *response = yyjson_obj_get(vector, "response");
                read_outcome(yyjson_obj_get(vector, "outcome"), &outcome);
                buffer_init(&line, TEXT_MAX);
                const struct result_source source = {
                        job, &outcome, &catalog,
                        bytes_of(yyjson_get_str(yyjson_obj_get(response, "request_id"))),
                        bytes_of(yyjson_get_str(yyjson_obj_get(response, "body")))};
                result_append(&line, &source);
                expected_line(vector, job, expected, sizeof expected);
                assert_bytes(buffer_view(&line), expected);
                check_head(buffer_view(&line), job, &outcome);
                buffer_deinit(&line);
                job_spec_free(job);
        }
        yyjson_doc_free(doc);
        job_decoder_free(decoder);
}

/* ---- schemas and tables ---- */

static void assert_names(yyjson_val *properties, const char *const *names, size_t count) {
        assert_non_null(properties);
        assert_int_equal(yyjson_obj_size(properties), count);
        for (size_t i = 0; i < count; i++)
                if (yyjson_obj_get(properties, names[i]) == NULL)
                        fail_msg("the schema has no %s", names[i]);
}

static void assert_words(yyjson_val *words, const char *const *names, size_t count) {
        yyjson_val *word;
        size_t index, size;
        assert_int_equal(yyjson_arr_size(words), count);
        yyjson_arr_foreach(words, index, size, word) {
                assert_string_equal(yyjson_get_str(word), names[index]);
        }
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void schemas_name_what_the_tables_name(void **state) {
        (void)state;
        static const char *const job_fields[] = {
#define JOB_FIELD(name, text) text,
#include "schemas/job_fields.def"
#undef JOB_FIELD
        };
        static const char *const routing_fields[] = {
#define ROUTING_FIELD(name, text, how, meaning) text,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
        };
        static const char *const urls[] = {
#define KIND(name, url, unknown, request, answer) url,
#include "schemas/kinds.def"
#undef KIND
        };
        static const char *const failures[] = {
#define FAILURE(name, text, meaning) text,
#include "schemas/errors.def"
#undef FAILURE
        };
        static const char *const exclusions[] = {
#define EXCLUSION(name, text, hard, meaning) text,
#include "schemas/exclusions.def"
#undef EXCLUSION
        };
        yyjson_doc *job = read_file("job.schema.json"), *result = read_file("result.schema.json");
        assert_names(yyjson_doc_ptr_get(job, "/properties"), job_fields, COUNT(job_fields));
        assert_names(yyjson_doc_ptr_get(job, "/$defs/routing/properties"), routing_fields,
                     COUNT(routing_fields));
        assert_words(yyjson_doc_ptr_get(job, "/properties/url/enum"), urls, COUNT(urls));
        assert_words(yyjson_doc_ptr_get(result, "/properties/error/properties/code/enum"), failures,
                     COUNT(failures));
        assert_words(yyjson_doc_ptr_get(result, "/$defs/decision/properties/candidates/items/properties/"
                                                "excluded_by/enum"),
                     exclusions + 1, COUNT(exclusions) - 1);
        yyjson_doc_free(job);
        yyjson_doc_free(result);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(jobs_are_read_as_the_vectors_say),
                cmocka_unit_test(results_are_written_as_the_vectors_say),
                cmocka_unit_test(schemas_name_what_the_tables_name),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
