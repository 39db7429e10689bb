#include "broker/cli/record_text.h"

#include "broker/base/time.h"
#include "broker/wire/msgpack.h"

#include <string.h>

const struct kafka_header *record_header(const struct consumer_record *record, const char *name) {
        for (size_t i = record->headers_count; i > 0; i--)
                if (bytes_equal_nocase(record->headers[i - 1].name, name))
                        return &record->headers[i - 1];
        return NULL;
}

static bool is_msgpack(const struct consumer_record *record) {
        const struct kafka_header *type = record_header(record, "content-type");
        if (type && memmem(type->value.data, type->value.size, "msgpack", 7))
                return true;
        if (type && memmem(type->value.data, type->value.size, "json", 4))
                return false;
        /* The first byte of a map; no JSON text begins like that. */
        unsigned char first = record->value.size ? (unsigned char)record->value.data[0] : 0;
        return (first >= 0x80 && first <= 0x8f) || first == 0xde || first == 0xdf;
}

bool record_json(const struct consumer_record *record, struct buffer *out) {
        struct problem problem;
        buffer_clear(out);
        if (!record->has_value)
                return false;
        problem_init(&problem);
        if (is_msgpack(record))
                return msgpack_to_json(record->value, out, &problem) == MSGPACK_DONE;
        buffer_append_bytes(out, record->value);
        /* Line ends can stand between tokens only. */
        for (size_t i = 0; i < out->size; i++)
                if (out->data[i] == '\n' || out->data[i] == '\r')
                        out->data[i] = ' ';
        return !out->failed && out->size > 0;
}

bool record_time_parse(const char *text, int64_t now_unix_ms, int64_t *out_unix_ms) {
        int64_t ago_ns;
        if (rfc3339_parse(bytes_of(text), out_unix_ms))
                return true;
        if (!duration_parse(bytes_of(text), &ago_ns))
                return false;
        int64_t ms = now_unix_ms - ago_ns / NS_PER_MS;
        *out_unix_ms = ms < 1 ? 1 : ms;
        return true;
}
