/*
 * Written straight into the buffer in the order of the document; nothing is looked up but names of the
 * catalog. Everything from outside goes through the escaper, except what is known to be JSON: the body, and
 * the job's metadata, which was parsed when it was decoded.
 */
#include "broker/wire/result.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/wire/decision.h"
#include "broker/wire/digest.h"
#include "broker/wire/json_span.h"
#include "broker/wire/json_value.h"

#include <string.h>
#include <yyjson.h>

enum { KEY_HEX = 32, FINGERPRINT_BYTES = 32, LINE_OVERHEAD = 1024 };

#define APPEND(out, literal) buffer_append((out), (literal), sizeof(literal) - 1)

static void append_text(struct buffer *out, struct bytes text) {
        buffer_append_char(out, '"');
        buffer_append_json_escaped(out, text);
        buffer_append_char(out, '"');
}

static void append_text_or_null(struct buffer *out, struct bytes text) {
        if (text.size == 0)
                APPEND(out, "null");
        else
                append_text(out, text);
}

static struct bytes without_line_end(struct bytes line) {
        while (line.size > 0 && (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r'))
                line.size--;
        return line;
}

static void append_bool(struct buffer *out, bool value) {
        buffer_append_string(out, value ? "true" : "false");
}

static void append_key(struct buffer *out, struct key128 key) {
        uint8_t bytes[16];
        key128_to_bytes(key, bytes);
        buffer_append_hex(out, bytes, sizeof bytes);
}

static void append_u64_hex(struct buffer *out, uint64_t value) {
        uint8_t bytes[16];
        key128_to_bytes((struct key128){value, 0}, bytes);
        buffer_append_hex(out, bytes, 8);
}

static void append_money(struct buffer *out, bool known, int64_t picousd) {
        if (known)
                money_append(out, picousd);
        else
                APPEND(out, "null");
}

struct key128 result_key(const struct job_spec *job, const struct outcome *outcome) {
        return outcome->failure == FAILURE_IDEMPOTENCY_CONFLICT ? job->alias : job->key;
}

/* ---- response and error ---- */

/* Line ends in valid JSON are blanks between its parts, so a space says the same and keeps the line whole. */
static void append_json(struct buffer *out, struct bytes json) {
        size_t start = out->size;
        buffer_append_bytes(out, json);
        if (out->failed)
                return;
        for (int i = 0; i < 2; i++) {
                char *at = out->data + start, *end = out->data + out->size;
                while ((at = memchr(at, "\n\r"[i], (size_t)(end - at))) != NULL)
                        *at++ = ' ';
        }
}

static void append_response(struct buffer *out, const struct result_source *source) {
        if (!source->outcome->has_answer) {
                APPEND(out, ",\"response\":null");
                return;
        }
        APPEND(out, ",\"response\":{\"status_code\":");
        buffer_append_i64(out, source->outcome->status);
        APPEND(out, ",\"request_id\":");
        append_text_or_null(out, source->request_id);
        APPEND(out, ",\"body\":");
        append_json(out, source->body_json.size > 0 ? source->body_json : BYTES("null"));
        buffer_append_char(out, '}');
}

static bool speaks_for_itself(const struct outcome *outcome) {
        return outcome->has_answer && outcome->status >= 400 && outcome->status < 500 &&
               (outcome->failure == FAILURE_PROVIDER_REJECTED || outcome->failure == FAILURE_CONTENT_REFUSED);
}

static const char *failure_meaning(enum failure failure) {
        static const char *const meanings[FAILURES_COUNT] = {
                [FAILURE_NONE] = "",
#define FAILURE(name, text, meaning) [FAILURE_##name] = meaning,
#include "schemas/errors.def"
#undef FAILURE
        };
        CHECK((unsigned)failure < FAILURES_COUNT);
        return meanings[failure];
}

/* The line itself is what is wrong. */
static bool is_bad_line(const struct job_spec *job, const struct outcome *outcome) {
        return job->failure != FAILURE_NONE && job->failure == outcome->failure;
}

/* "body.model must be a non-empty string" */
static void append_message(struct buffer *out, const struct job_spec *job, const struct outcome *outcome) {
        buffer_append_char(out, '"');
        if (is_bad_line(job, outcome)) {
                buffer_append_json_escaped(out, job->failure_field);
                if (job->failure_field.size > 0)
                        buffer_append_char(out, ' ');
                buffer_append_json_escaped(out, job->failure_message);
        } else if (outcome->message[0] != '\0') {
                buffer_append_json_escaped(out, bytes_of(outcome->message));
        } else {
                buffer_append_json_escaped(out, bytes_of(failure_meaning(outcome->failure)));
        }
        buffer_append_char(out, '"');
}

static void append_error(struct buffer *out, const struct job_spec *job, const struct outcome *outcome) {
        if (outcome->failure == FAILURE_NONE || speaks_for_itself(outcome)) {
                APPEND(out, ",\"error\":null");
                return;
        }
        APPEND(out, ",\"error\":{\"code\":\"");
        buffer_append_string(out, failure_text(outcome->failure));
        APPEND(out, "\",\"message\":");
        append_message(out, job, outcome);
        if (is_bad_line(job, outcome)) {
                APPEND(out, ",\"line\":");
                if (job->line > 0)
                        buffer_append_u64(out, job->line);
                else
                        APPEND(out, "null");
                APPEND(out, ",\"field\":");
                append_text_or_null(out, job->failure_field);
        }
        buffer_append_char(out, '}');
}

/* ---- receipt ---- */

static const struct endpoint *endpoint_at(const struct catalog *catalog, uint32_t endpoint) {
        CHECK(catalog != NULL && endpoint < catalog->endpoints_count);
        return &catalog->endpoints[endpoint];
}

static void append_provider(struct buffer *out, const struct result_source *source) {
        const struct decision *decision = &source->outcome->decision;
        if (!decision->chosen) {
                APPEND(out, ",\"provider\":null,\"model\":null");
                return;
        }
        const struct endpoint *endpoint = endpoint_at(source->catalog, decision->chosen_endpoint);
        CHECK(endpoint->provider < source->catalog->providers_count);
        struct bytes model = bytes_of(endpoint->upstream);
        if (strcmp(endpoint->model, "*") == 0) {
                CHECK(decision->chosen_model < source->job->demand.models_count);
                model = source->job->demand.models[decision->chosen_model];
        }
        APPEND(out, ",\"provider\":");
        append_text(out, bytes_of(source->catalog->providers[endpoint->provider].name));
        APPEND(out, ",\"model\":");
        append_text(out, model);
}

/* Of an answer, where it is not the standard one, or another was asked for. */
static void append_service(struct buffer *out, const struct result_source *source) {
        const struct demand *demand = &source->job->demand;
        enum service_tier service = usage_service(&source->outcome->usage, demand);
        if (!source->outcome->has_answer || service == SERVICE_OTHER ||
            (service == SERVICE_STANDARD && demand->service == SERVICE_STANDARD))
                return;
        APPEND(out, ",\"service_tier\":");
        append_text(out, bytes_of(service_text(service)));
}

/* 1250 ms -> 1.25 */
static void append_seconds(struct buffer *out, int64_t ms) {
        money_append(out, money_multiply(ms, PICOUSD_PER_USD / 1000));
}

/* Only what is known. */
static void append_usage(struct buffer *out, const struct usage *usage) {
        const struct {
                struct bytes name;
                int64_t count;
        } counts[] = {
#define USAGE_FIELD(member, text) {BYTES("\"" text "\":"), usage->member},
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
        };
        bool first = true;
        APPEND(out, ",\"usage\":{");
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                if (counts[i].count < 0)
                        continue;
                if (!first)
                        buffer_append_char(out, ',');
                buffer_append_bytes(out, counts[i].name);
                buffer_append_i64(out, counts[i].count);
                first = false;
        }
        if (usage->audio_ms >= 0) {
                buffer_append_string(out, first ? "\"audio_seconds\":" : ",\"audio_seconds\":");
                append_seconds(out, usage->audio_ms);
        }
        buffer_append_char(out, '}');
}

/* What must wait has a cost like what may start; what a rule excludes has none that matters. */
static void append_candidate(struct buffer *out, const struct result_source *source,
                             const struct decision_candidate *candidate) {
        APPEND(out, "{\"endpoint\":");
        append_text(out, bytes_of(endpoint_at(source->catalog, candidate->endpoint)->name));
        if (candidate->excluded_by != EXCLUSION_NONE) {
                APPEND(out, ",\"excluded_by\":\"");
                buffer_append_string(out, exclusion_text(candidate->excluded_by));
                buffer_append_char(out, '"');
        }
        if (!exclusion_is_hard(candidate->excluded_by)) {
                APPEND(out, ",\"cost_usd\":");
                append_money(out, candidate->cost_known, candidate->cost_expected_picousd);
                if (candidate->measure_known)
                        decision_append_measure(out, source->job->demand.prefs.sort, candidate->measure);
                decision_append_penalties(out, candidate->penalties);
        }
        buffer_append_char(out, '}');
}

static void append_sort(struct buffer *out, enum sort_by sort) {
        if (sort == SORT_PRICE)
                return;
        APPEND(out, ",\"sort\":\"");
        buffer_append_string(out, decision_sort_text(sort));
        buffer_append_char(out, '"');
}

static void append_replay(struct buffer *out, const struct result_source *source) {
        size_t start = out->size;
        APPEND(out, ",\"replay\":\"");
        if (decision_append(out, &source->job->demand, &source->outcome->decision))
                buffer_append_char(out, '"');
        else if (!out->failed)
                out->size = start;
}

/* The seed is text, as it has more bits than a JSON number keeps everywhere. */
static void append_decision(struct buffer *out, const struct result_source *source) {
        const struct decision *decision = &source->outcome->decision;
        CHECK(decision->count <= DECISION_CANDIDATES_MAX);
        APPEND(out, ",\"decision\":{\"policy\":\"");
        append_u64_hex(out, source->job->class_key.hi);
        APPEND(out, "\",\"catalog\":");
        append_text_or_null(out, source->catalog == NULL ? BYTES("") : bytes_of(source->catalog->id));
        APPEND(out, ",\"chosen\":");
        append_text_or_null(out,
                            decision->chosen
                                    ? bytes_of(endpoint_at(source->catalog, decision->chosen_endpoint)->name)
                                    : BYTES(""));
        APPEND(out, ",\"seed\":\"");
        append_u64_hex(out, decision->seed);
        buffer_append_char(out, '"');
        append_sort(out, source->job->demand.prefs.sort);
        APPEND(out, ",\"candidates\":[");
        for (unsigned i = 0; i < decision->count; i++) {
                if (i > 0)
                        buffer_append_char(out, ',');
                append_candidate(out, source, &decision->candidates[i]);
        }
        buffer_append_char(out, ']');
        if (decision->truncated)
                APPEND(out, ",\"truncated\":true");
        append_replay(out, source);
        buffer_append_char(out, '}');
}

static void append_receipt(struct buffer *out, const struct result_source *source) {
        const struct outcome *outcome = source->outcome;
        APPEND(out, ",\"receipt\":{\"workspace\":");
        append_text(out, source->job->workspace);
        APPEND(out, ",\"batch\":");
        append_text(out, source->job->batch);
        append_provider(out, source);
        APPEND(out, ",\"mode\":\"sync\",\"attempts\":");
        buffer_append_u64(out, outcome->attempts);
        APPEND(out, ",\"cost_usd\":");
        append_money(out, outcome->cost_known, outcome->cost_picousd);
        APPEND(out, ",\"list_cost_usd\":");
        append_money(out, outcome->list_cost_known, outcome->list_cost_picousd);
        APPEND(out, ",\"estimated_cost_usd\":");
        append_money(out, outcome->estimate_known, outcome->estimate_picousd);
        APPEND(out, ",\"cost_is_estimate\":");
        append_bool(out, outcome->cost_is_estimate);
        append_usage(out, &outcome->usage);
        append_service(out, source);
        APPEND(out, ",\"queued_ms\":");
        buffer_append_i64(out, outcome->queued_ns / NS_PER_MS);
        APPEND(out, ",\"provider_ms\":");
        buffer_append_i64(out, outcome->provider_ns / NS_PER_MS);
        APPEND(out, ",\"replayed\":false,\"fingerprint\":\"");
        buffer_append_hex(out, source->job->fingerprint, sizeof source->job->fingerprint);
        buffer_append_char(out, '"');
        append_decision(out, source);
        buffer_append_char(out, '}');
}

void result_append_value(struct buffer *out, const struct result_source *source) {
        const struct job_spec *job = source->job;
        size_t start = out->size;
        buffer_reserve(out, LINE_OVERHEAD + source->body_json.size);
        APPEND(out, "{\"id\":\"bf_");
        append_key(out, result_key(job, source->outcome));
        APPEND(out, "\",\"custom_id\":");
        append_text_or_null(out, job->custom_id);
        append_response(out, source);
        append_error(out, job, source->outcome);
        append_receipt(out, source);
        if (job->metadata.size > 0) {
                APPEND(out, ",\"metadata\":");
                append_json(out, job->metadata);
        }
        buffer_append_char(out, '}');
        if (out->failed)
                out->size = start;
}

void result_append(struct buffer *out, const struct result_source *source) {
        size_t start = out->size;
        result_append_value(out, source);
        buffer_append_char(out, '\n');
        if (out->failed)
                out->size = start;
}

/* Where in `object` the value of that member stands; false when there is none. */
static bool find_member(struct bytes object, const char *name, struct span *out_value) {
        struct json_members members;
        struct json_member member;
        json_members_init(&members, object);
        while (json_members_next(&members, &member)) {
                struct bytes key = span_of(object, member.key);
                if (key.size < 2 || !bytes_equal_string((struct bytes){key.data + 1, key.size - 2}, name))
                        continue;
                *out_value = member.value;
                return true;
        }
        return false;
}

bool result_append_replayed(struct buffer *out, struct bytes result) {
        struct span receipt, replayed;
        struct result_head head;
        size_t start = out->size;
        result = without_line_end(result);
        if (!result_read_head(result, &head) || !find_member(result, "receipt", &receipt) ||
            !find_member(span_of(result, receipt), "replayed", &replayed))
                return false;
        size_t at = (size_t)receipt.offset + replayed.offset, behind = at + replayed.size;
        buffer_append(out, result.data, at);
        APPEND(out, "true");
        buffer_append(out, result.data + behind, result.size - behind);
        if (out->failed)
                out->size = start;
        return !out->failed;
}

/* ---- reading back ---- */

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_id(yyjson_val *value, struct key128 *out_key) {
        struct bytes text = json_text(value);
        uint64_t halves[2] = {0, 0};
        if (!json_is_string(value) || text.size != 3 + KEY_HEX || memcmp(text.data, "bf_", 3) != 0)
                return false;
        for (size_t i = 0; i < KEY_HEX; i++) {
                int digit = hex_digit(text.data[3 + i]);
                if (digit < 0)
                        return false;
                halves[i / 16] = halves[i / 16] << 4 | (uint64_t)digit;
        }
        *out_key = (struct key128){halves[0], halves[1]};
        return true;
}

static bool read_response(yyjson_val *value, struct result_head *head) {
        int64_t status = 0;
        if (yyjson_is_null(value))
                return true;
        if (!yyjson_is_obj(value) || !json_integer(yyjson_obj_get(value, "status_code"), 0, 999, &status) ||
            yyjson_obj_get(value, "body") == NULL)
                return false;
        head->status = (int32_t)status;
        return true;
}

static bool read_error(yyjson_val *value, struct result_head *head) {
        if (yyjson_is_null(value)) {
                head->failure = head->status >= 400 ? FAILURE_PROVIDER_REJECTED : FAILURE_NONE;
                return true;
        }
        return failure_from_text(json_text(yyjson_obj_get(value, "code")), &head->failure);
}

static bool read_fingerprint(yyjson_val *value, uint8_t *out_fingerprint) {
        struct bytes text = json_text(value);
        if (!json_is_string(value) || text.size != 2 * FINGERPRINT_BYTES)
                return false;
        for (size_t i = 0; i < FINGERPRINT_BYTES; i++) {
                int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);
                if (high < 0 || low < 0)
                        return false;
                out_fingerprint[i] = (uint8_t)(high * 16 + low);
        }
        return true;
}

static bool read_receipt(yyjson_val *value, struct result_head *head) {
        yyjson_val *cost = yyjson_obj_get(value, "cost_usd");
        yyjson_val *estimate = yyjson_obj_get(value, "cost_is_estimate");
        int64_t attempts;
        if (!json_integer(yyjson_obj_get(value, "attempts"), 0, UINT32_MAX, &attempts) ||
            !yyjson_is_bool(estimate) || !yyjson_is_obj(yyjson_obj_get(value, "decision")) ||
            !read_fingerprint(yyjson_obj_get(value, "fingerprint"), head->fingerprint))
                return false;
        head->attempts = (uint32_t)attempts;
        head->cost_is_estimate = yyjson_get_bool(estimate);
        head->cost_known = json_is_number(cost);
        if (head->cost_known)
                return money_parse(json_text(cost), &head->cost_picousd);
        return yyjson_is_null(cost);
}

static bool read_root(yyjson_val *root, struct result_head *head) {
        return yyjson_is_obj(root) && read_id(yyjson_obj_get(root, "id"), &head->key) &&
               yyjson_obj_get(root, "custom_id") != NULL &&
               read_response(yyjson_obj_get(root, "response"), head) &&
               read_error(yyjson_obj_get(root, "error"), head) &&
               read_receipt(yyjson_obj_get(root, "receipt"), head);
}

bool result_read_head(struct bytes line, struct result_head *out_head) {
        struct result_head head = {0};
        line = without_line_end(line);
        if (line.size == 0)
                return false;
        yyjson_doc *doc = yyjson_read(line.data, line.size, YYJSON_READ_NUMBER_AS_RAW);
        bool ours = read_root(yyjson_doc_get_root(doc), &head);
        yyjson_doc_free(doc);
        if (ours)
                *out_head = head;
        return ours;
}
