#include "broker/loop/dead_letter.h"

enum header {
#define DEAD_LETTER_HEADER(name, text, meaning) HEADER_##name,
#include "schemas/dead_letter_headers.def"
#undef DEAD_LETTER_HEADER
        HEADERS_COUNT,
};
_Static_assert(RECORD_HEADERS_MAX + HEADERS_COUNT <= DEAD_LETTER_HEADERS_MAX, "room for all headers");

static const char *const names[HEADERS_COUNT] = {
#define DEAD_LETTER_HEADER(name, text, meaning) [HEADER_##name] = text,
#include "schemas/dead_letter_headers.def"
#undef DEAD_LETTER_HEADER
};

bool dead_letter_is(const struct job_spec *job, const struct outcome *outcome) {
        if (outcome->attempts > 0)
                return false;
        return job->failure != FAILURE_NONE || outcome->failure == FAILURE_UNSUPPORTED_ENDPOINT ||
               outcome->failure == FAILURE_NO_PROVIDER || outcome->failure == FAILURE_EXCLUDED_BY_POLICY ||
               outcome->failure == FAILURE_IDEMPOTENCY_CONFLICT;
}

static bool is_ours(struct bytes name) {
        for (int i = 0; i < HEADERS_COUNT; i++)
                if (bytes_equal_string(name, names[i]))
                        return true;
        return false;
}

/* Where the texts stand that are made for it; views into `scratch` are made once it no longer moves. */
struct texts {
        size_t message, partition, offset, timestamp, end;
};

/* The message names the field, as in a result. */
static struct texts write_texts(const struct origin *origin, struct bytes field, const char *message,
                                struct buffer *scratch) {
        struct texts at = {.message = scratch->size};
        buffer_append_bytes(scratch, field);
        buffer_append_string(scratch, field.size > 0 ? " " : "");
        buffer_append_string(scratch, message);
        at.partition = scratch->size;
        buffer_append_u64(scratch, origin->partition);
        at.offset = scratch->size;
        buffer_append_u64(scratch, origin->record.offset);
        at.timestamp = scratch->size;
        buffer_append_i64(scratch, origin->record.timestamp_unix_ms);
        at.end = scratch->size;
        return at;
}

static struct bytes between(const struct buffer *scratch, size_t from, size_t to) {
        return scratch->failed ? BYTES("") : (struct bytes){scratch->data + from, to - from};
}

static void fill_values(const struct job_spec *job, const struct outcome *outcome, const char *topic,
                        const char *group_id, struct buffer *scratch, struct bytes values[HEADERS_COUNT]) {
        struct bytes field = outcome->failure == job->failure ? job->failure_field : BYTES("");
        struct texts at = write_texts(job->origin, field, outcome->message, scratch);
        values[HEADER_CODE] = values[HEADER_CONNECT_EXCEPTION] = bytes_of(failure_text(outcome->failure));
        values[HEADER_MESSAGE] = values[HEADER_CONNECT_MESSAGE] = between(scratch, at.message, at.partition);
        values[HEADER_FIELD] = field;
        values[HEADER_TOPIC] = values[HEADER_CONNECT_TOPIC] = bytes_of(topic);
        values[HEADER_PARTITION] = between(scratch, at.partition, at.offset);
        values[HEADER_CONNECT_PARTITION] = values[HEADER_CONNECT_TASK] = values[HEADER_PARTITION];
        values[HEADER_OFFSET] = values[HEADER_CONNECT_OFFSET] = between(scratch, at.offset, at.timestamp);
        values[HEADER_TIMESTAMP] = between(scratch, at.timestamp, at.end);
        values[HEADER_JOB_ID] = job->custom_id;
        values[HEADER_CONNECT_CONNECTOR] = bytes_of(group_id);
        values[HEADER_CONNECT_STAGE] =
                outcome->failure == FAILURE_INVALID_JOB ? BYTES("VALUE_CONVERTER") : BYTES("TASK_PUT");
        values[HEADER_CONNECT_CLASS] = BYTES("batchferry");
}

size_t dead_letter_headers(const struct job_spec *job, const struct outcome *outcome, const char *topic,
                           const char *group_id, struct buffer *scratch,
                           struct kafka_header out_headers[DEAD_LETTER_HEADERS_MAX]) {
        const struct origin *origin = job->origin;
        struct bytes values[HEADERS_COUNT] = {{0}};
        size_t count = 0;
        for (size_t i = 0; i < origin->record.headers_count && count < RECORD_HEADERS_MAX; i++)
                if (!is_ours(origin->record.headers[i].name))
                        out_headers[count++] = (struct kafka_header){origin->record.headers[i].name,
                                                                     origin->record.headers[i].value};
        fill_values(job, outcome, topic, group_id, scratch, values);
        for (int i = 0; i < HEADERS_COUNT; i++)
                if (values[i].size > 0)
                        out_headers[count++] = (struct kafka_header){bytes_of(names[i]), values[i]};
        return count;
}
