/*
 * Any bytes as a record. Input: flags, sizes of key and headers, then those and the value. A record is always
 * a spec; a job has a key that its idempotency key makes, and a value that was read as JSON is the same job
 * when it comes as MessagePack.
 */
#include "broker/base/check.h"
#include "broker/wire/job_record.h"
#include "broker/wire/json_span.h"
#include "broker/wire/msgpack.h"
#include "broker/wire/state_record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_JOB_BYTES_MAX = 1 << 16, HEADERS_MAX = 6 };

static const char *const names[] = {"content-type", "idempotency-key", "ce_id",        "ce_source",
                                    "traceparent",  "tracestate",      "Content-Type", "other"};
static const char *const types[] = {"application/json", "application/msgpack", "application/cloudevents+json",
                                    "text/plain"};

static struct bytes take(struct bytes *rest, size_t size) {
        size = size < rest->size ? size : rest->size;
        struct bytes taken = {rest->data, size};
        *rest = (struct bytes){rest->data + size, rest->size - size};
        return taken;
}

static uint8_t take_byte(struct bytes *rest) {
        struct bytes byte = take(rest, 1);
        return byte.size == 0 ? 0 : (uint8_t)byte.data[0];
}

static void take_headers(struct bytes *rest, struct job_header headers[HEADERS_MAX], size_t count) {
        for (size_t i = 0; i < count; i++) {
                uint8_t name = take_byte(rest);
                headers[i].name = bytes_of(names[name % 8]);
                if (name < 64)
                        headers[i].value = bytes_of(types[name / 8 % 4]);
                else
                        headers[i].value = take(rest, take_byte(rest));
        }
}

static void check_trace(const struct job_spec *job) {
        CHECK(job->traceparent.size == 0 || (job->traceparent.size >= 55 && job->traceparent.size <= 128));
        CHECK(job->tracestate.size <= (job->traceparent.size > 0 ? (size_t)TRACESTATE_BYTES_MAX : 0));
        for (size_t i = 0; i < job->tracestate.size; i++)
                CHECK(job->tracestate.data[i] >= ' ' && job->tracestate.data[i] <= '~');
}

static void check_state_key(const struct job_spec *job) {
        struct buffer key;
        buffer_init(&key, 4096);
        state_key_append(&key, job);
        CHECK(!key.failed);
        CHECK(state_key_kind(buffer_view(&key)) ==
              (job->failure == FAILURE_NONE ? STATE_KEY_JOB : STATE_KEY_RECORD));
        buffer_deinit(&key);
}

/*
 * The same value in the other encoding. A number that is written otherwise (1.50, 1e3) is another fingerprint
 * by intent, and duplicate names and big integers may be told apart too, so only what survives the way there
 * and back unchanged is compared.
 */
static void check_twin(struct job_decoder *decoder, const struct job_record *record,
                       const struct job_spec *job) {
        struct buffer message, json;
        struct problem problem;
        struct job_record twin = *record;
        problem_init(&problem);
        buffer_init(&message, FUZZ_JOB_BYTES_MAX);
        buffer_init(&json, FUZZ_JOB_BYTES_MAX);
        if (msgpack_from_json(record->value, &message, &problem) == MSGPACK_DONE &&
            msgpack_to_json(buffer_view(&message), &json, &problem) == MSGPACK_DONE) {
                twin.headers_count = 0;
                twin.value = buffer_view(&json);
                struct job_spec *text = job_decode_record(decoder, &twin);
                twin.value = buffer_view(&message);
                struct job_spec *packed = job_decode_record(decoder, &twin);
                CHECK(text != NULL && packed != NULL && text->failure == packed->failure);
                CHECK(key128_equal(text->key, packed->key));
                CHECK(bytes_equal(text->body, packed->body));
                CHECK(text->failure != FAILURE_NONE ||
                      memcmp(text->fingerprint, packed->fingerprint, sizeof text->fingerprint) == 0);
                CHECK(text->failure != FAILURE_NONE || bytes_equal(text->custom_id, job->custom_id));
                job_spec_free(text);
                job_spec_free(packed);
        }
        buffer_deinit(&message);
        buffer_deinit(&json);
}

static void check_job(struct job_decoder *decoder, const struct job_record *record,
                      const struct job_spec *job) {
        CHECK(job->sequence == record->offset && job->partition == record->partition);
        check_trace(job);
        check_state_key(job);
        if (job->failure != FAILURE_NONE) {
                CHECK(job->failure_message.size > 0 && job->idempotency.size == 0);
                const struct record_name name = {record->partition, record->offset,
                                                 record->timestamp_unix_ms};
                CHECK(key128_equal(job->key, job_record_key(decoder, &name)));
                return;
        }
        CHECK(job->idempotency.size >= 1 && job->idempotency.size <= IDEMPOTENCY_BYTES_MAX);
        CHECK(job->custom_id.size > 0 && job->body.size > 0);
        CHECK(span_of(job->body, job->model_value).size > 0);
        if (record->headers_count == 0 && record->value.data[0] == '{')
                check_twin(decoder, record, job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct job_decoder *decoder;
        const struct job_decoder_options options = {.job_bytes_max = FUZZ_JOB_BYTES_MAX};
        struct job_header headers[HEADERS_MAX];
        struct bytes rest = {(const char *)data, size};
        if (decoder == NULL)
                CHECK(job_decoder_new(&options, &decoder) == NULL);
        uint8_t flags = take_byte(&rest);
        struct job_record record = {.has_key = (flags & 1) != 0,
                                    .has_value = (flags & 2) == 0,
                                    .headers = headers,
                                    .headers_count = (flags >> 2) % HEADERS_MAX,
                                    .partition = flags,
                                    .offset = size};
        if (record.has_key)
                record.key = take(&rest, take_byte(&rest) * (size_t)8);
        take_headers(&rest, headers, record.headers_count);
        record.value = rest;
        struct job_spec *job = job_decode_record(decoder, &record);
        CHECK(job != NULL);
        check_job(decoder, &record, job);
        job_spec_free(job);
        return 0;
}
