/*
 * What stands around the value is read here; the value becomes JSON text, if it is not that already, and goes
 * through job.c. A JSON value is not copied for that.
 */
#include "broker/wire/job_record.h"

#include "broker/wire/job_inside.h"
#include "broker/wire/msgpack.h"

#include <string.h>

enum {
        TRACEPARENT_BYTES = 55,      /* of version 00 */
        TRACEPARENT_BYTES_MAX = 128, /* of versions to come */
};

enum header {
        HEADER_CONTENT_TYPE,
        HEADER_IDEMPOTENCY_KEY,
        HEADER_CE_SOURCE,
        HEADER_CE_ID,
        HEADER_TRACEPARENT,
        HEADER_TRACESTATE,
        HEADERS_COUNT,
};

#define NAME(text)                                                                                           \
        { text, sizeof(text) - 1 }
static const struct bytes header_names[HEADERS_COUNT] = {
        [HEADER_CONTENT_TYPE] = NAME("content-type"), [HEADER_IDEMPOTENCY_KEY] = NAME("idempotency-key"),
        [HEADER_CE_SOURCE] = NAME("ce_source"),       [HEADER_CE_ID] = NAME("ce_id"),
        [HEADER_TRACEPARENT] = NAME("traceparent"),   [HEADER_TRACESTATE] = NAME("tracestate"),
};

static void find_headers(const struct job_record *record, struct bytes out_values[HEADERS_COUNT]) {
        for (size_t i = 0; i < record->headers_count; i++) {
                const struct job_header *header = &record->headers[i];
                for (int name = 0; name < HEADERS_COUNT; name++)
                        if (header->name.size == header_names[name].size &&
                            bytes_equal_nocase(header->name, header_names[name].data))
                                out_values[name] = header->value;
        }
}

/* ---- trace context ---- */

static bool is_lower_hex(const char *text, size_t size) {
        for (size_t i = 0; i < size; i++)
                if ((text[i] < '0' || text[i] > '9') && (text[i] < 'a' || text[i] > 'f'))
                        return false;
        return true;
}

static bool is_zeros(const char *text, size_t size) {
        for (size_t i = 0; i < size; i++)
                if (text[i] != '0')
                        return false;
        return true;
}

/* Characters that may stand in a header of HTTP, where both end up. */
static bool is_visible(struct bytes text) {
        for (size_t i = 0; i < text.size; i++)
                if (text.data[i] < ' ' || text.data[i] > '~')
                        return false;
        return true;
}

/* https://www.w3.org/TR/trace-context/#traceparent-header: 00-(32 hex)-(16 hex)-(2 hex) */
static bool is_traceparent(struct bytes text) {
        const char *at = text.data;
        if (text.size < TRACEPARENT_BYTES || text.size > TRACEPARENT_BYTES_MAX || at[2] != '-' ||
            at[35] != '-' || at[52] != '-')
                return false;
        if (!is_lower_hex(at, 2) || !is_lower_hex(at + 3, 32) || !is_lower_hex(at + 36, 16) ||
            !is_lower_hex(at + 53, 2) || is_zeros(at + 3, 32) || is_zeros(at + 36, 16))
                return false;
        if (text.size > TRACEPARENT_BYTES && (is_zeros(at, 2) || at[TRACEPARENT_BYTES] != '-'))
                return false; /* only later versions may go on */
        return memcmp(at, "ff", 2) != 0 && is_visible(text);
}

static void read_trace(const struct bytes values[HEADERS_COUNT], struct job_envelope *envelope) {
        struct bytes state = values[HEADER_TRACESTATE];
        if (!is_traceparent(values[HEADER_TRACEPARENT]))
                return;
        envelope->traceparent = values[HEADER_TRACEPARENT];
        if (state.size <= TRACESTATE_BYTES_MAX && is_visible(state))
                envelope->tracestate = state;
}

/* ---- encoding ---- */

enum encoding { ENCODING_UNSAID, ENCODING_JSON, ENCODING_MSGPACK, ENCODING_CLOUDEVENT };

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static bool ends_with_nocase(struct bytes text, const char *end) {
        size_t size = strlen(end);
        if (text.size < size)
                return false;
        return bytes_equal_nocase((struct bytes){text.data + (text.size - size), size}, end);
}

/* A media type without its parameters (RFC 9110, 8.3.1). */
static struct bytes media_type(struct bytes text) {
        const char *semicolon = text.size == 0 ? NULL : memchr(text.data, ';', text.size);
        if (semicolon != NULL)
                text.size = (size_t)(semicolon - text.data);
        while (text.size > 0 && is_blank(text.data[text.size - 1]))
                text.size--;
        while (text.size > 0 && is_blank(text.data[0]))
                text = (struct bytes){text.data + 1, text.size - 1};
        return text;
}

static enum encoding encoding_of_type(struct bytes content_type) {
        struct bytes type = media_type(content_type);
        if (bytes_equal_nocase(type, "application/cloudevents+json"))
                return ENCODING_CLOUDEVENT;
        if (bytes_equal_nocase(type, "application/json") || ends_with_nocase(type, "+json"))
                return ENCODING_JSON;
        if (bytes_equal_nocase(type, "application/msgpack") ||
            bytes_equal_nocase(type, "application/x-msgpack") ||
            bytes_equal_nocase(type, "application/vnd.msgpack") || ends_with_nocase(type, "+msgpack"))
                return ENCODING_MSGPACK;
        return ENCODING_UNSAID;
}

/* Of a value that is not empty. No JSON text begins with the first byte of a map. */
static enum encoding encoding_of_value(struct bytes value) {
        unsigned char first = (unsigned char)value.data[0];
        return (first >= 0x80 && first <= 0x8F) || first == 0xDE || first == 0xDF ? ENCODING_MSGPACK
                                                                                  : ENCODING_JSON;
}

/* ---- the value ---- */

/* false when memory is refused. */
static bool transcode(struct job_decoder *decoder, struct bytes value, struct job_input *input,
                      struct problem *problem) {
        struct buffer *text = job_decoder_text(decoder);
        buffer_clear(text);
        switch (msgpack_to_json(value, text, problem)) {
        case MSGPACK_DONE:
                input->text = buffer_view(text);
                return true;
        case MSGPACK_REFUSED:
                input->problem = problem;
                return true;
        case MSGPACK_TOO_LARGE:
                input->too_long = true;
                return true;
        case MSGPACK_NO_MEMORY:
                break;
        }
        return false;
}

/* A registry's framing: 0 and the id of a schema, before the value itself. */
static bool is_framed(struct bytes value) {
        return value.size > 5 && value.data[0] == 0;
}

static bool read_value(struct job_decoder *decoder, enum encoding encoding, struct job_input *input,
                       struct problem *problem) {
        struct bytes value = input->raw;
        input->text = value;
        input->too_long = value.size > job_decoder_text(decoder)->size_max;
        if (value.size == 0) {
                problem_in(problem, "", "The record has no value; a tombstone is no job.");
                input->problem = problem;
        } else if (input->too_long) {
                return true;
        } else if (encoding == ENCODING_MSGPACK) {
                return transcode(decoder, value, input, problem);
        } else if (is_framed(value)) {
                problem_in(problem, "",
                           "The value begins with a zero byte, as values do that were written with a schema "
                           "registry; it must be plain JSON or MessagePack.");
                input->problem = problem;
        }
        return true;
}

struct job_spec *job_decode_record(struct job_decoder *decoder, const struct job_record *record) {
        struct bytes values[HEADERS_COUNT] = {{NULL, 0}};
        struct job_envelope envelope = {.partition = record->partition,
                                        .timestamp_unix_ms = record->timestamp_unix_ms};
        struct job_input input = {.envelope = &envelope, .sequence = record->offset};
        struct problem problem;
        problem_init(&problem);
        find_headers(record, values);
        read_trace(values, &envelope);
        envelope.idempotency =
                record->has_key && record->key.size > 0 ? record->key : values[HEADER_IDEMPOTENCY_KEY];
        envelope.ce_source = values[HEADER_CE_SOURCE];
        envelope.ce_id = values[HEADER_CE_ID];
        if (record->has_value)
                input.raw = record->value;
        enum encoding encoding = encoding_of_type(values[HEADER_CONTENT_TYPE]);
        if (encoding == ENCODING_UNSAID && input.raw.size > 0)
                encoding = encoding_of_value(input.raw);
        envelope.structured = encoding == ENCODING_CLOUDEVENT;
        return read_value(decoder, encoding, &input, &problem) ? job_decode_input(decoder, &input) : NULL;
}
