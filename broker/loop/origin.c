#include "broker/loop/origin.h"

#include <stdlib.h>
#include <string.h>

size_t origin_bytes(const struct origin *origin) {
        const struct job_record *record = &origin->record;
        size_t bytes = sizeof(*origin) + record->headers_count * sizeof(struct job_header) +
                       record->key.size + record->value.size;
        for (size_t i = 0; i < record->headers_count; i++)
                bytes += record->headers[i].name.size + record->headers[i].value.size;
        return bytes;
}

static struct bytes copy(char **at, struct bytes bytes) {
        if (!bytes.data)
                return bytes;
        struct bytes copied = {*at, bytes.size};
        if (bytes.size > 0)
                memcpy(*at, bytes.data, bytes.size);
        *at += bytes.size;
        return copied;
}

struct origin *origin_new(const struct job_record *record, uint32_t partition) {
        struct origin measured = {.record = *record};
        struct origin *origin = malloc(origin_bytes(&measured));
        if (!origin)
                return NULL;
        *origin = (struct origin){.partition = partition, .record = *record};
        struct job_header *headers = (struct job_header *)(void *)(origin + 1);
        char *at = (char *)(headers + record->headers_count);
        for (size_t i = 0; i < record->headers_count; i++) {
                headers[i].name = copy(&at, record->headers[i].name);
                headers[i].value = copy(&at, record->headers[i].value);
        }
        origin->record.headers = headers;
        origin->record.key = copy(&at, record->key);
        origin->record.value = copy(&at, record->value);
        return origin;
}

struct origin *origin_free(struct origin *origin) {
        free(origin);
        return NULL;
}

size_t origin_headers(const struct consumer_record *record, struct job_header *out_headers, size_t max) {
        size_t count = record->headers_count < max ? record->headers_count : max;
        for (size_t i = 0; i < count; i++)
                out_headers[i] = (struct job_header){record->headers[i].name, record->headers[i].value};
        return count;
}

struct record_name origin_name(const struct origin *origin) {
        return (struct record_name){origin->partition, origin->record.offset,
                                    origin->record.timestamp_unix_ms};
}
