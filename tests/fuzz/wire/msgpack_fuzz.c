/*
 * Any bytes as MessagePack and as JSON. What is taken comes out as valid JSON; what was written back is the
 * same message again from there on; nothing is left behind by a refusal.
 */
#include "broker/base/check.h"
#include "broker/wire/msgpack.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_TEXT_MAX = 1 << 20 };

static enum msgpack_outcome to_json(struct bytes message, struct buffer *out) {
        struct problem problem;
        problem_init(&problem);
        enum msgpack_outcome outcome = msgpack_to_json(message, out, &problem);
        CHECK(outcome != MSGPACK_NO_MEMORY && !out->failed);
        CHECK((outcome == MSGPACK_REFUSED) == (problem.failure != FAILURE_NONE));
        CHECK(outcome == MSGPACK_DONE || out->size == 0);
        return outcome;
}

static enum msgpack_outcome from_json(struct bytes json, struct buffer *out) {
        struct problem problem;
        problem_init(&problem);
        enum msgpack_outcome outcome = msgpack_from_json(json, out, &problem);
        CHECK(outcome != MSGPACK_NO_MEMORY && !out->failed);
        CHECK((outcome == MSGPACK_REFUSED) == (problem.failure != FAILURE_NONE));
        CHECK(outcome == MSGPACK_DONE || out->size == 0);
        return outcome;
}

/* message -> JSON -> message -> JSON: the two texts are the same bytes. */
static void check_message(struct bytes message) {
        struct buffer json, again, last;
        buffer_init(&json, FUZZ_TEXT_MAX);
        buffer_init(&again, FUZZ_TEXT_MAX);
        buffer_init(&last, FUZZ_TEXT_MAX);
        if (to_json(message, &json) == MSGPACK_DONE) {
                CHECK(from_json(buffer_view(&json), &again) == MSGPACK_DONE);
                CHECK(to_json(buffer_view(&again), &last) == MSGPACK_DONE);
                CHECK(bytes_equal(buffer_view(&json), buffer_view(&last)));
        }
        buffer_deinit(&json);
        buffer_deinit(&again);
        buffer_deinit(&last);
}

/* Whatever text: what comes out of it is the same value. */
static void check_text(struct bytes text) {
        struct buffer message, json;
        buffer_init(&message, FUZZ_TEXT_MAX);
        buffer_init(&json, FUZZ_TEXT_MAX);
        if (from_json(text, &message) == MSGPACK_DONE) {
                CHECK(to_json(buffer_view(&message), &json) == MSGPACK_DONE);
                yyjson_doc *before = yyjson_read(text.data, text.size, 0);
                yyjson_doc *after = yyjson_read(json.data, json.size, 0);
                CHECK(before != NULL && after != NULL);
                CHECK(yyjson_doc_get_val_count(before) == yyjson_doc_get_val_count(after));
                size_t size_before, size_after;
                char *a = yyjson_write(before, 0, &size_before), *b = yyjson_write(after, 0, &size_after);
                CHECK(a != NULL && size_before == size_after && memcmp(a, b, size_after) == 0);
                free(a);
                free(b);
                yyjson_doc_free(before);
                yyjson_doc_free(after);
        }
        buffer_deinit(&message);
        buffer_deinit(&json);
}

/* A ceiling gives all or nothing. */
static void check_ceiling(struct bytes message) {
        struct buffer json;
        buffer_init(&json, message.size);
        to_json(message, &json);
        buffer_deinit(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct bytes input = {(const char *)data, size};
        if (size > FUZZ_TEXT_MAX / 64)
                return 0;
        check_message(input);
        check_text(input);
        check_ceiling(input);
        return 0;
}
