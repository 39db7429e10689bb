#pragma once
/*
 * Bytes: a view (`struct bytes`, owned by somebody else, not terminated) and a growable buffer (`struct
 * buffer`, owned). Buffers have a ceiling: growing past it, or a refused allocation, sets `failed`, after
 * which appends do nothing; the writer looks once at the end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
        const char *data;
        size_t size;
};

#define BYTES(literal) ((struct bytes){(literal), sizeof(literal) - 1})

/* NULL gives an empty view */
static inline struct bytes bytes_of(const char *string) {
        return (struct bytes){string, string == NULL ? 0 : strlen(string)};
}
bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_equal_string(struct bytes a, const char *string);
bool bytes_starts_with(struct bytes a, const char *prefix);
bool bytes_equal_nocase(struct bytes a, const char *ascii);
char *bytes_dup(struct bytes a); /* terminated copy, malloc'ed; NULL when refused */

struct buffer {
        char *data;
        size_t size, capacity, size_max;
        bool failed;
};

void buffer_init(struct buffer *buffer, size_t size_max); /* allocates nothing yet */
void buffer_deinit(struct buffer *buffer);
void buffer_clear(struct buffer *buffer);             /* keeps the memory, clears `failed` */
bool buffer_grow(struct buffer *buffer, size_t more); /* buffer_reserve() when there is no room */
/*
 * Results are dozens of appends, most of them of literals: inline, each is a comparison and a move.
 */
/* Room for `more` bytes behind size. */
static inline bool buffer_reserve(struct buffer *buffer, size_t more) {
        if (!buffer->failed && more <= buffer->capacity - buffer->size)
                return true;
        return buffer_grow(buffer, more);
}
static inline void buffer_append(struct buffer *buffer, const void *data, size_t size) {
        if (size == 0 || !buffer_reserve(buffer, size))
                return;
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
}
static inline void buffer_append_bytes(struct buffer *buffer, struct bytes bytes) {
        buffer_append(buffer, bytes.data, bytes.size);
}
static inline void buffer_append_string(struct buffer *buffer, const char *string) {
        buffer_append_bytes(buffer, bytes_of(string));
}
static inline void buffer_append_char(struct buffer *buffer, char c) {
        if (buffer_reserve(buffer, 1))
                buffer->data[buffer->size++] = c;
}
void buffer_append_u64(struct buffer *buffer, uint64_t value); /* decimal */
void buffer_append_i64(struct buffer *buffer, int64_t value);
void buffer_printf(struct buffer *buffer, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As the inside of a JSON string, without the quotes; bytes that are no UTF-8 become U+FFFD. */
void buffer_append_json_escaped(struct buffer *buffer, struct bytes text);
void buffer_append_hex(struct buffer *buffer, const uint8_t *data, size_t size);
/* Standard alphabet, padded (RFC 4648 section 4). */
void buffer_append_base64(struct buffer *buffer, const void *data, size_t size);
/*
 * Strict: standard alphabet, padding required, left-over bits zero, nothing else; false and nothing appended
 * otherwise. Also false when it does not fit, and then `failed` is set.
 */
bool buffer_append_base64_decoded(struct buffer *buffer, struct bytes text);
/* 0 to 63, in the standard alphabet or the one for URLs (section 5); -1: in neither. */
int base64_digit(char c);
static inline struct bytes buffer_view(const struct buffer *buffer) {
        return (struct bytes){buffer->data, buffer->size};
}
