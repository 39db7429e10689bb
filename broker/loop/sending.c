/* Each function sends the records of one publication into the transaction that is open. */
#include "broker/loop/sending.h"

#include "broker/base/check.h"
#include "broker/loop/dead_letter.h"
#include "broker/loop/expiry.h"
#include "broker/wire/msgpack.h"
#include "broker/wire/result.h"
#include "broker/wire/state_record.h"

#include <stdio.h>
#include <string.h>

enum { SCRATCH_MAX = 64 << 20 };

void sending_init(struct sending *sending, const struct publisher_options *options) {
        *sending = (struct sending){.options = options};
        buffer_init(&sending->key, SCRATCH_MAX);
        buffer_init(&sending->value, SIZE_MAX / 4);
        buffer_init(&sending->texts, SCRATCH_MAX);
}

void sending_deinit(struct sending *sending) {
        buffer_deinit(&sending->key);
        buffer_deinit(&sending->value);
        buffer_deinit(&sending->texts);
}

static struct kafka_header text_header(const char *name, struct bytes value) {
        return (struct kafka_header){bytes_of(name), value};
}

/* The producer knows nothing of that, and would commit without it. */
static enum producer_sent refused(struct sending *sending) {
        sending->refused = true;
        return PRODUCER_BROKEN;
}

static enum producer_sent send_state(struct sending *sending, struct publication *item,
                                     const struct buffer *key, const struct buffer *value) {
        struct producer_message message = {.topic = sending->options->topic_state,
                                           .partition = (int32_t)item->partition,
                                           .has_key = true,
                                           .has_value = true,
                                           .key = buffer_view(key),
                                           .value = buffer_view(value),
                                           .out_offset = &item->state_offset};
        return producer_send(sending->producer, &message);
}

static void append_record_key(struct buffer *out, const struct publication *item) {
        const struct origin *origin = item->origin ? item->origin : item->job->origin;
        state_key_append_record(out, item->offset, origin->record.timestamp_unix_ms);
}

static enum producer_sent send_settled(struct sending *sending, struct publication *item) {
        const struct settled *settled = &item->settled;
        struct state_record record = {.kind = STATE_SETTLED,
                                      .settled = {.key = item->key,
                                                  .offset = item->offset,
                                                  .failure = settled->failure,
                                                  .status = settled->status,
                                                  .attempts = settled->attempts,
                                                  .cost_known = settled->cost_known,
                                                  .cost_is_estimate = settled->cost_is_estimate,
                                                  .cost_picousd = settled->cost_picousd,
                                                  .dead_letter = item->kind == PUBLICATION_DEAD_LETTER,
                                                  .at_unix_ms = settled->settled_unix_ms}};
        memcpy(record.settled.fingerprint, settled->fingerprint, sizeof(record.settled.fingerprint));
        buffer_clear(&sending->key);
        buffer_clear(&sending->value);
        if (item->kind != PUBLICATION_RESULT)
                append_record_key(&sending->key, item);
        else
                state_key_append(&sending->key, item->job);
        state_record_append(&sending->value, &record);
        if (sending->key.failed || sending->value.failed)
                return refused(sending);
        return send_state(sending, item, &sending->key, &sending->value);
}

/* The value as it is to be written; JSON when it cannot be said otherwise (content-type tells). */
static struct bytes encode(struct sending *sending, struct bytes json, bool *out_msgpack) {
        struct problem problem;
        *out_msgpack = false;
        if (!sending->options->msgpack)
                return json;
        buffer_clear(&sending->value);
        if (msgpack_from_json(json, &sending->value, &problem) != MSGPACK_DONE)
                return json;
        *out_msgpack = true;
        return buffer_view(&sending->value);
}

static enum producer_sent send_value(struct sending *sending, const struct publication *item,
                                     struct bytes json) {
        const struct job_spec *job = item->job;
        struct kafka_header headers[3];
        size_t count = 0;
        bool msgpack;
        struct bytes value = encode(sending, json, &msgpack);
        headers[count++] = text_header("content-type",
                                       msgpack ? BYTES("application/msgpack") : BYTES("application/json"));
        if (job->traceparent.size > 0)
                headers[count++] = text_header("traceparent", job->traceparent);
        if (job->tracestate.size > 0)
                headers[count++] = text_header("tracestate", job->tracestate);
        if (job->idempotency.size + value.size + RECORD_OVERHEAD > sending->options->results_bytes_max)
                return PRODUCER_TOO_LARGE;
        struct producer_message message = {.topic = sending->options->topic_results,
                                           .partition = -1,
                                           .has_key = true,
                                           .has_value = true,
                                           .key = job->idempotency,
                                           .value = value,
                                           .headers = headers,
                                           .headers_count = count};
        return producer_send(sending->producer, &message);
}

/* An answer that no topic takes: the job has failed, with a sentence instead of the answer. */
static enum producer_sent send_shortened(struct sending *sending, struct publication *item) {
        struct outcome outcome = *item->outcome;
        struct buffer json;
        size_t size = item->value.size;
        outcome.failure = item->settled.failure = FAILURE_PROVIDER_ERROR;
        outcome.has_answer = false;
        snprintf(outcome.message, sizeof(outcome.message),
                 "the result of %zu bytes is larger than the topic takes (max.message.bytes); it is not kept",
                 size);
        const struct catalog *made = outcome.decision.catalog; /* under which the decision was made */
        struct result_source source = {
                .job = item->job, .outcome = &outcome, .catalog = made ? made : sending->options->catalog};
        buffer_init(&json, SCRATCH_MAX);
        result_append_value(&json, &source);
        if (json.failed) {
                buffer_deinit(&json);
                return refused(sending);
        }
        buffer_deinit(&item->value);
        item->value = json;
        return send_value(sending, item, buffer_view(&item->value));
}

static enum producer_sent send_result(struct sending *sending, struct publication *item) {
        enum producer_sent sent = send_value(sending, item, buffer_view(&item->value));
        if (sent == PRODUCER_TOO_LARGE)
                sent = send_shortened(sending, item);
        return sent == PRODUCER_SENT ? send_settled(sending, item) : sent;
}

/* Its own headers, and then its key, are too much as well: our headers say where it is. */
static size_t bare_headers(struct sending *sending, const struct publication *item,
                           struct kafka_header out_headers[DEAD_LETTER_HEADERS_MAX]) {
        struct job_spec job = *item->job;
        const struct origin *whole = job.origin;
        struct origin origin = *whole;
        origin.record.headers_count = 0;
        job.origin = &origin;
        buffer_clear(&sending->texts);
        return dead_letter_headers(&job, item->outcome, sending->options->topic_jobs,
                                   sending->options->group_id, &sending->texts, out_headers);
}

static enum producer_sent send_dead_letter(struct sending *sending, struct publication *item) {
        const struct origin *origin = item->job->origin;
        struct kafka_header headers[DEAD_LETTER_HEADERS_MAX];
        buffer_clear(&sending->texts);
        size_t count = dead_letter_headers(item->job, item->outcome, sending->options->topic_jobs,
                                           sending->options->group_id, &sending->texts, headers);
        if (sending->texts.failed)
                return refused(sending);
        struct producer_message message = {.topic = sending->options->topic_dead_letters,
                                           .partition = -1,
                                           .has_key = origin->record.has_key,
                                           .has_value = origin->record.has_value,
                                           .key = origin->record.key,
                                           .value = origin->record.value,
                                           .headers = headers,
                                           .headers_count = count};
        size_t most = sending->options->dead_letters_bytes_max;
        size_t bytes = origin_bytes(origin) + sending->texts.size + RECORD_OVERHEAD;
        if (bytes > most) { /* our headers say where the value is */
                message.has_value = false;
                message.value = (struct bytes){0};
        }
        if (bytes > most && bytes - origin->record.value.size > most)
                message.headers_count = bare_headers(sending, item, headers);
        if (!message.has_value && origin->record.key.size + sending->texts.size + RECORD_OVERHEAD > most) {
                message.has_key = false;
                message.key = (struct bytes){0};
        }
        enum producer_sent sent = producer_send(sending->producer, &message);
        return sent == PRODUCER_SENT ? send_settled(sending, item) : sent;
}

/* And a record under its own name: read once more (the mark was before it), it must not go home twice. */
static enum producer_sent send_home(struct sending *sending, struct publication *item) {
        const struct job_record *record = &item->origin->record;
        struct kafka_header headers[RECORD_HEADERS_MAX];
        for (size_t i = 0; i < record->headers_count; i++)
                headers[i] = (struct kafka_header){record->headers[i].name, record->headers[i].value};
        struct producer_message message = {.topic = sending->options->topic_jobs,
                                           .partition = (int32_t)item->home,
                                           .has_key = record->has_key,
                                           .has_value = record->has_value,
                                           .key = record->key,
                                           .value = record->value,
                                           .headers = headers,
                                           .headers_count = record->headers_count};
        enum producer_sent sent = producer_send(sending->producer, &message);
        return sent == PRODUCER_SENT ? send_settled(sending, item) : sent;
}

/*
 * And a record under the duplicate's own name: read once more, it gets nothing. A topic that takes less than
 * it did gets nothing either.
 */
static enum producer_sent send_replay(struct sending *sending, struct publication *item) {
        enum producer_sent sent = send_value(sending, item, buffer_view(&item->value));
        return sent == PRODUCER_BROKEN ? sent : send_settled(sending, item);
}

static enum producer_sent send_tombstones(struct sending *sending, struct publication *item) {
        struct expired expired;
        struct bytes rest = buffer_view(&item->value);
        enum producer_sent sent = PRODUCER_SENT;
        while (sent == PRODUCER_SENT && expired_take(&rest, &expired)) {
                struct producer_message message = {.topic = sending->options->topic_state,
                                                   .partition = (int32_t)item->partition,
                                                   .has_key = true,
                                                   .key = expired.state_key,
                                                   .out_offset = &item->state_offset};
                sent = producer_send(sending->producer, &message);
        }
        return sent;
}

enum producer_sent sending_send(struct sending *sending, struct publication *item) {
        switch (item->kind) {
        case PUBLICATION_RESULT:
                return send_result(sending, item);
        case PUBLICATION_DEAD_LETTER:
                return send_dead_letter(sending, item);
        case PUBLICATION_REHOME:
                return send_home(sending, item);
        case PUBLICATION_REPLAY:
                return send_replay(sending, item);
        case PUBLICATION_FORGET:
                return send_tombstones(sending, item);
        case PUBLICATION_PARK:
        case PUBLICATION_OWNER:
        case PUBLICATION_SPEND:
                return send_state(sending, item, &item->state_key, &item->value);
        case PUBLICATION_MARK:
                sending->marks[item->partition] = (struct mark){.offset = item->offset, .epoch = item->epoch};
                return PRODUCER_SENT;
        case PUBLICATION_AUDIT: {
                enum producer_sent sent = audit_topic_send(sending->audit, sending->producer, item->note);
                return sent == PRODUCER_TOO_LARGE ? refused(sending) : sent;
        }
        }
        CHECK(false);
}
