#pragma once
/* What the tests of wire/ share: a decoder with small limits, and lines as C strings. */
#include "broker/wire/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TEST_JOB_BYTES_MAX = 1 << 20 };

static inline struct job_decoder *new_decoder(const struct routing_prefs *prefs) {
        const struct job_decoder_options options = {
                .batch = "jobs.jsonl", .job_bytes_max = TEST_JOB_BYTES_MAX, .prefs_default = prefs};
        struct job_decoder *decoder;
        assert_null(job_decoder_new(&options, &decoder));
        return decoder;
}

/*
 * The memory of the line is gone before the spec is looked at, so a pointer into it is found by the
 * sanitizer.
 */
static inline struct job_spec *decode_bytes(struct job_decoder *decoder, struct bytes line, uint64_t number) {
        char *copy = bytes_dup(line);
        assert_non_null(copy);
        struct job_spec *job =
                job_decode(decoder, (struct bytes){copy, line.size}, number, number - 1, false);
        free(copy);
        assert_non_null(job);
        return job;
}

static inline struct job_spec *decode(struct job_decoder *decoder, const char *line) {
        return decode_bytes(decoder, bytes_of(line), 1);
}

/* The body of a chat job with these members behind model and messages. */
#define CHAT(members)                                                                                        \
        "{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\",\"messages\":"      \
        "[{\"role\":\"user\",\"content\":\"x\"}]" members "}}"
/* A good job with these members behind the body. */
#define JOB(members)                                                                                         \
        "{\"custom_id\":\"a\",\"url\":\"/v1/embeddings\",\"body\":{\"model\":\"m\",\"input\":\"x\"}" members \
        "}"

#define assert_bytes(actual, expected)                                                                       \
        do {                                                                                                 \
                struct bytes actual_bytes = (actual);                                                        \
                if (!bytes_equal_string(actual_bytes, (expected)))                                           \
                        fail_msg("got: %.*s\nexpected: %s", (int)actual_bytes.size, actual_bytes.data,       \
                                 (expected));                                                                \
        } while (0)
