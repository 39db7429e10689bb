#pragma once
/* Golden vectors with hex in them. */
#include "broker/base/bytes.h"
#include "wire_fixture.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

enum { VECTOR_BYTES_MAX = 1 << 16 };

static inline yyjson_doc *read_vectors(const char *name, size_t at_least, yyjson_val **out_vectors) {
        char path[4096];
        yyjson_read_err error;
        snprintf(path, sizeof path, "%s/schemas/vectors/%s", TEST_SOURCE_DIR, name);
        yyjson_doc *doc = yyjson_read_file(path, 0, NULL, &error);
        if (doc == NULL)
                fail_msg("%s: %s", path, error.msg);
        *out_vectors = yyjson_obj_get(yyjson_doc_get_root(doc), "vectors");
        assert_true(yyjson_arr_size(*out_vectors) >= at_least);
        return doc;
}

static inline struct bytes text_of(yyjson_val *value) {
        return (struct bytes){yyjson_get_str(value), yyjson_get_len(value)};
}

/* Appended to `memory`, which must not move: the views stay valid until it goes. */
static inline struct bytes unhex(struct buffer *memory, yyjson_val *value) {
        struct bytes text = text_of(value);
        size_t start = memory->size;
        assert_true(text.size % 2 == 0);
        for (size_t i = 0; i < text.size; i += 2) {
                unsigned byte;
                assert_int_equal(sscanf(text.data + i, "%2x", &byte), 1);
                buffer_append_char(memory, (char)byte);
        }
        assert_false(memory->failed);
        return (struct bytes){memory->data + start, memory->size - start};
}

static inline void init_memory(struct buffer *memory) {
        buffer_init(memory, VECTOR_BYTES_MAX);
        assert_true(buffer_reserve(memory, VECTOR_BYTES_MAX));
}

static inline int64_t int_of(yyjson_val *object, const char *name) {
        return yyjson_get_sint(yyjson_obj_get(object, name));
}

static inline uint64_t uint_of(yyjson_val *object, const char *name) {
        return yyjson_get_uint(yyjson_obj_get(object, name));
}

static inline bool bool_of(yyjson_val *object, const char *name) {
        return yyjson_get_bool(yyjson_obj_get(object, name));
}
