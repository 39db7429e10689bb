#pragma once
/* Jobs as the decoder would make them, for the tests of this folder: the spans are found in the body. */
#include "broker/core/job_spec.h"
#include "workers/providers/dialect.h"
#include "workers/providers/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static inline struct span span_of_value(struct bytes body, const char *key) {
        struct bytes value;

        if (!walk_find(body, key, &value))
                return (struct span){0};
        return (struct span){(uint32_t)(value.data - body.data), (uint32_t)value.size};
}

static inline struct span span_of_member(struct bytes body, const char *key) {
        struct walk walk;
        struct bytes name, value;

        walk_init(&walk, body);
        if (!walk_open(&walk, '{'))
                return (struct span){0};
        while (walk_member(&walk, &name) && walk_value(&walk, &value))
                if (bytes_equal_string(name, key)) {
                        const char *start = name.data - 1;

                        return (struct span){(uint32_t)(start - body.data),
                                             (uint32_t)(value.data + value.size - start)};
                }
        return (struct span){0};
}

static inline struct bytes unquoted(struct bytes body, const char *key) {
        struct bytes value;

        if (!walk_find(body, key, &value) || value.data[0] != '"')
                return (struct bytes){0};
        return (struct bytes){value.data + 1, value.size - 2};
}

static inline struct job_spec job_of(enum kind kind, const char *body_text) {
        struct bytes body = bytes_of(body_text), encoding = unquoted(body, "encoding_format");
        struct job_spec job = {.body = body};

        demand_init(&job.demand, kind);
        job.model_value = span_of_value(body, "model");
        job.models_member = span_of_member(body, "models");
        job.provider_member = span_of_member(body, "provider");
        job.file_url_member = span_of_member(body, "file_url");
        job.encoding_format_value = span_of_value(body, "encoding_format");
        job.response_format = unquoted(body, "response_format");
        if (bytes_equal_string(encoding, "float"))
                job.vector_format = VECTOR_FLOAT;
        else if (bytes_equal_string(encoding, "base64"))
                job.vector_format = VECTOR_BASE64;
        else if (job.encoding_format_value.size > 0)
                job.vector_format = VECTOR_OTHER;
        return job;
}

/* Fails with both texts shown. */
static inline void assert_text(const char *what, struct bytes got, struct bytes expected) {
        if (!bytes_equal(got, expected))
                fail_msg("%s\n  got:      %.*s\n  expected: %.*s", what, (int)got.size, got.data,
                         (int)expected.size, expected.data);
}
