/*
 * Spans in JSON text. Strings are crossed with memchr, so that a vector in base64 costs next to nothing;
 * containers by counting brackets.
 */
#include "workers/providers/walk.h"

#include <string.h>

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void walk_init(struct walk *walk, struct bytes text) {
        walk->at = text.size == 0 ? "" : text.data;
        walk->end = walk->at + text.size;
}

static void skip_space(struct walk *walk) {
        while (walk->at < walk->end && is_space(*walk->at))
                walk->at++;
}

/* Past white space and that character; false, and only past the white space, when it is another. */
static bool take(struct walk *walk, char c) {
        skip_space(walk);
        if (walk->at == walk->end || *walk->at != c)
                return false;
        walk->at++;
        return true;
}

/* From an opening quote to behind the closing one. */
static bool skip_string(struct walk *walk) {
        const char *first = walk->at + 1, *quote = walk->at;

        for (;;) {
                const char *back;

                quote = memchr(quote + 1, '"', (size_t)(walk->end - quote - 1));
                if (quote == NULL) {
                        walk->at = walk->end;
                        return false;
                }
                for (back = quote; back > first && back[-1] == '\\'; back--)
                        ;
                if ((quote - back) % 2 == 0)
                        break;
        }
        walk->at = quote + 1;
        return true;
}

/* From an opening bracket to behind the one that closes it. */
static bool skip_container(struct walk *walk) {
        size_t open = 0;

        while (walk->at < walk->end) {
                char c = *walk->at;

                if (c == '"') {
                        if (!skip_string(walk))
                                return false;
                        continue;
                }
                walk->at++;
                if (c == '{' || c == '[')
                        open++;
                else if ((c == '}' || c == ']') && --open == 0)
                        return true;
        }
        return false;
}

static bool ends_scalar(char c) {
        return is_space(c) || c == ',' || c == ':' || c == ']' || c == '}' || c == '[' || c == '{' ||
               c == '"';
}

static bool skip_scalar(struct walk *walk) {
        const char *start = walk->at;

        while (walk->at < walk->end && !ends_scalar(*walk->at))
                walk->at++;
        return walk->at > start;
}

bool walk_open(struct walk *walk, char bracket) {
        return take(walk, bracket);
}

bool walk_member(struct walk *walk, struct bytes *out_key) {
        const char *start;

        if (take(walk, '}'))
                return false;
        take(walk, ',');
        skip_space(walk);
        if (walk->at == walk->end || *walk->at != '"')
                return false;
        start = walk->at + 1;
        if (!skip_string(walk))
                return false;
        *out_key = (struct bytes){start, (size_t)(walk->at - start - 1)};
        return take(walk, ':');
}

bool walk_element(struct walk *walk) {
        if (take(walk, ']'))
                return false;
        take(walk, ',');
        skip_space(walk);
        return walk->at < walk->end;
}

bool walk_value(struct walk *walk, struct bytes *out_value) {
        const char *start;
        bool whole;

        skip_space(walk);
        if (walk->at == walk->end)
                return false;
        start = walk->at;
        if (*start == '"')
                whole = skip_string(walk);
        else if (*start == '{' || *start == '[')
                whole = skip_container(walk);
        else
                whole = skip_scalar(walk);
        if (whole)
                *out_value = (struct bytes){start, (size_t)(walk->at - start)};
        return whole;
}

bool walk_find(struct bytes text, const char *key, struct bytes *out_value) {
        struct walk walk;
        struct bytes name, value;

        walk_init(&walk, text);
        if (!walk_open(&walk, '{'))
                return false;
        while (walk_member(&walk, &name) && walk_value(&walk, &value))
                if (bytes_equal_string(name, key)) {
                        *out_value = value;
                        return true;
                }
        return false;
}

struct bytes walk_trim(struct bytes text) {
        if (bytes_starts_with(text, "\xef\xbb\xbf"))
                text = (struct bytes){text.data + 3, text.size - 3};
        while (text.size > 0 && is_space(text.data[0]))
                text = (struct bytes){text.data + 1, text.size - 1};
        while (text.size > 0 && is_space(text.data[text.size - 1]))
                text.size--;
        return text;
}

void walk_append_line(struct buffer *buffer, struct bytes text) {
        struct walk walk;

        if (text.size == 0)
                return;
        if (memchr(text.data, '\n', text.size) == NULL && memchr(text.data, '\r', text.size) == NULL) {
                buffer_append_bytes(buffer, text);
                return;
        }
        walk_init(&walk, text);
        for (skip_space(&walk); walk.at < walk.end; skip_space(&walk)) {
                const char *start = walk.at;

                while (walk.at < walk.end && !is_space(*walk.at)) {
                        if (*walk.at == '"')
                                skip_string(&walk);
                        else
                                walk.at++;
                }
                buffer_append(buffer, start, (size_t)(walk.at - start));
        }
}
