/*
 * An explicit stack of at most JSON_DEPTH_MAX frames. The names of an open object wait, sorted, in one
 * growing array that is itself used as a stack: an object pushes its names when it is entered and pops them
 * when it is left, so the array never holds more than the line has values.
 */
#include "broker/wire/canonical.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

enum { INSERTION_SORT_MAX = 16, SHOWN_NAME_MAX = 64 };

struct frame {
        yyjson_val *container;
        bool object;
        size_t index, count;
        size_t names_begin;        /* object: its names in canonical->names */
        struct yyjson_arr_iter it; /* array */
};

struct canonical {
        yyjson_val **names;
        size_t names_count, names_capacity;
        struct frame frames[JSON_DEPTH_MAX + 1];
        unsigned depth;
};

struct canonical *canonical_new(void) {
        return calloc(1, sizeof(struct canonical));
}

struct canonical *canonical_free(struct canonical *canonical) {
        if (canonical == NULL)
                return NULL;
        free(canonical->names);
        free(canonical);
        return NULL;
}

static int compare_names(yyjson_val *a, yyjson_val *b) {
        size_t a_size = unsafe_yyjson_get_len(a), b_size = unsafe_yyjson_get_len(b);
        int order = memcmp(a->uni.str, b->uni.str, a_size < b_size ? a_size : b_size);
        if (order != 0)
                return order;
        return (a_size > b_size) - (a_size < b_size);
}

static int compare_entries(const void *a, const void *b) {
        return compare_names(*(yyjson_val *const *)a, *(yyjson_val *const *)b);
}

static void sort_names(yyjson_val **names, size_t count) {
        if (count > INSERTION_SORT_MAX) {
                qsort(names, count, sizeof *names, compare_entries);
                return;
        }
        for (size_t i = 1; i < count; i++) {
                yyjson_val *name = names[i];
                size_t j = i;
                for (; j > 0 && compare_names(names[j - 1], name) > 0; j--)
                        names[j] = names[j - 1];
                names[j] = name;
        }
}

static bool reserve_names(struct canonical *canonical, size_t more) {
        size_t need = canonical->names_count + more;
        if (need <= canonical->names_capacity)
                return true;
        size_t capacity = need < 64 ? 64 : need + need / 2;
        yyjson_val **names = realloc(canonical->names, capacity * sizeof(yyjson_val *));
        if (names == NULL)
                return false;
        canonical->names = names;
        canonical->names_capacity = capacity;
        return true;
}

static struct bytes string_of(yyjson_val *value) {
        return (struct bytes){value->uni.str, unsafe_yyjson_get_len(value)};
}

/* Where in the line the walk stands: body.messages[2].content */
static void name_place(const struct canonical *canonical, const char *field, char *out, size_t capacity) {
        size_t used = (size_t)snprintf(out, capacity, "%s", field);
        for (unsigned i = 0; i + 1 < canonical->depth && used < capacity; i++) {
                const struct frame *frame = &canonical->frames[i];
                char name[SHOWN_NAME_MAX];
                if (frame->object) {
                        problem_quote(string_of(canonical->names[frame->names_begin + frame->index - 1]),
                                      name, sizeof name);
                        used += (size_t)snprintf(out + used, capacity - used, ".%s", name);
                } else {
                        used += (size_t)snprintf(out + used, capacity - used, "[%zu]", frame->index - 1);
                }
        }
}

static bool refuse(const struct canonical *canonical, const char *field, struct problem *problem,
                   yyjson_val *duplicate) {
        char place[PROBLEM_FIELD_MAX], name[SHOWN_NAME_MAX];
        name_place(canonical, field, place, sizeof place);
        if (duplicate == NULL)
                return problem_in(problem, place, "is nested deeper than %d levels", JSON_DEPTH_MAX);
        problem_quote(string_of(duplicate), name, sizeof name);
        return problem_in(problem, place, "has the name \"%s\" twice", name);
}

static bool enter_object(struct canonical *canonical, struct frame *frame, const char *field,
                         struct problem *problem) {
        if (!reserve_names(canonical, frame->count))
                return false;
        frame->names_begin = canonical->names_count;
        yyjson_val **names = canonical->names + frame->names_begin;
        yyjson_obj_iter it = yyjson_obj_iter_with(frame->container);
        for (size_t i = 0; i < frame->count; i++)
                names[i] = yyjson_obj_iter_next(&it);
        canonical->names_count += frame->count;
        sort_names(names, frame->count);
        for (size_t i = 1; i < frame->count; i++)
                if (compare_names(names[i - 1], names[i]) == 0)
                        return refuse(canonical, field, problem, names[i]);
        return true;
}

static bool enter(struct canonical *canonical, yyjson_val *container, unsigned base, const char *field,
                  struct buffer *text, struct problem *problem) {
        struct frame *frame = &canonical->frames[canonical->depth++];
        frame->container = container;
        frame->object = unsafe_yyjson_is_obj(container);
        frame->index = 0;
        frame->count = unsafe_yyjson_get_len(container);
        if (canonical->depth + base - 1 > JSON_DEPTH_MAX)
                return refuse(canonical, field, problem, NULL);
        if (text != NULL)
                buffer_append_char(text, frame->object ? '{' : '[');
        if (frame->object)
                return enter_object(canonical, frame, field, problem);
        frame->it = yyjson_arr_iter_with(container);
        return true;
}

static void leave(struct canonical *canonical, struct buffer *text) {
        const struct frame *frame = &canonical->frames[--canonical->depth];
        if (frame->object)
                canonical->names_count = frame->names_begin;
        if (text != NULL)
                buffer_append_char(text, frame->object ? '}' : ']');
}

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/*
 * The high bit of some byte is set when a byte of the word must be escaped. It may be set without need,
 * never missing.
 */
static uint64_t must_escape(uint64_t word) {
        uint64_t quote = word ^ (ONES * '"'), backslash = word ^ (ONES * '\\');
        return ((quote - ONES) | (backslash - ONES) | (word - ONES * 0x20)) & ~word & HIGHS;
}

/* The length of the beginning that needs no escape. */
static size_t plain_length(const char *data, size_t size) {
        size_t i = 0;
        for (; i + 8 <= size; i += 8) {
                uint64_t word;
                memcpy(&word, data + i, 8);
                if (must_escape(word) != 0)
                        break;
        }
        while (i < size && (unsigned char)data[i] >= 0x20 && data[i] != '"' && data[i] != '\\')
                i++;
        return i;
}

void canonical_string(struct buffer *text, struct bytes string) {
        buffer_append_char(text, '"');
        while (string.size > 0) {
                size_t plain = plain_length(string.data, string.size);
                buffer_append(text, string.data, plain);
                string = (struct bytes){string.data + plain, string.size - plain};
                if (string.size == 0)
                        break;
                unsigned char c = (unsigned char)string.data[0];
                if (c == '"' || c == '\\') {
                        buffer_append(text, (char[]){'\\', (char)c}, 2);
                } else {
                        buffer_append_string(text, "\\u00");
                        buffer_append_hex(text, &c, 1);
                }
                string = (struct bytes){string.data + 1, string.size - 1};
        }
        buffer_append_char(text, '"');
}

static void append_scalar(struct buffer *text, yyjson_val *value) {
        if (unsafe_yyjson_is_str(value))
                canonical_string(text, string_of(value));
        else if (unsafe_yyjson_is_raw(value))
                buffer_append_bytes(text, string_of(value));
        else if (unsafe_yyjson_is_null(value))
                buffer_append_string(text, "null");
        else
                buffer_append_string(text, unsafe_yyjson_get_bool(value) ? "true" : "false");
}

/* The next child of the innermost container, its separator and name written. */
static yyjson_val *next_child(struct canonical *canonical, struct frame *frame, struct buffer *text) {
        size_t index = frame->index++;
        if (text != NULL && index > 0)
                buffer_append_char(text, ',');
        if (!frame->object)
                return yyjson_arr_iter_next(&frame->it);
        yyjson_val *name = canonical->names[frame->names_begin + index];
        if (text != NULL) {
                canonical_string(text, string_of(name));
                buffer_append_char(text, ':');
        }
        return yyjson_obj_iter_get_val(name);
}

bool canonical_walk(struct canonical *canonical, struct yyjson_val *value, unsigned depth, const char *field,
                    struct buffer *text, struct problem *problem) {
        canonical->depth = 0;
        canonical->names_count = 0;
        if (!enter(canonical, value, depth, field, text, problem))
                return false;
        while (canonical->depth > 0) {
                struct frame *frame = &canonical->frames[canonical->depth - 1];
                if (frame->index == frame->count) {
                        leave(canonical, text);
                        continue;
                }
                yyjson_val *child = next_child(canonical, frame, text);
                if (!unsafe_yyjson_is_ctn(child)) {
                        if (text != NULL)
                                append_scalar(text, child);
                } else if (!enter(canonical, child, depth, field, text, problem)) {
                        return false;
                }
        }
        return text == NULL || !text->failed;
}
