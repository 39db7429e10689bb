/*
 * A scanner over valid JSON text: strings are passed over eight bytes at a time, containers by counting
 * their brackets, so depth costs nothing and there is no recursion.
 */
#include "broker/wire/json_span.h"

#include <string.h>

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_blanks(struct bytes text, size_t at) {
        while (at < text.size && is_blank(text.data[at]))
                at++;
        return at;
}

static uint64_t zero_bytes(uint64_t word) {
        return (word - ONES) & ~word & HIGHS;
}

/* The place of the next quote or backslash. */
static size_t find_special(struct bytes text, size_t at) {
        while (at + 8 <= text.size) {
                uint64_t word;
                memcpy(&word, text.data + at, 8);
                if (zero_bytes(word ^ (ONES * '"')) | zero_bytes(word ^ (ONES * '\\')))
                        break;
                at += 8;
        }
        while (at < text.size && text.data[at] != '"' && text.data[at] != '\\')
                at++;
        return at;
}

/* `at` is on the opening quote; gives the place behind the closing one. */
static size_t skip_string(struct bytes text, size_t at) {
        at = find_special(text, at + 1);
        while (at < text.size && text.data[at] == '\\')
                at = at + 2 <= text.size ? find_special(text, at + 2) : text.size;
        return at < text.size ? at + 1 : text.size;
}

/* `at` is on the opening bracket; gives the place behind the closing one. */
static size_t skip_container(struct bytes text, size_t at) {
        size_t depth = 0;
        while (at < text.size) {
                char c = text.data[at];
                if (c == '"') {
                        at = skip_string(text, at);
                        continue;
                }
                at++;
                if (c == '{' || c == '[')
                        depth++;
                else if ((c == '}' || c == ']') && --depth == 0)
                        break;
        }
        return at;
}

static size_t skip_value(struct bytes text, size_t at) {
        if (at >= text.size)
                return at;
        char c = text.data[at];
        if (c == '"')
                return skip_string(text, at);
        if (c == '{' || c == '[')
                return skip_container(text, at);
        while (at < text.size && !is_blank(text.data[at]) && text.data[at] != ',' && text.data[at] != '}')
                at++;
        return at;
}

static struct span make_span(size_t from, size_t to) {
        return (struct span){(uint32_t)from, (uint32_t)(to - from)};
}

void json_members_init(struct json_members *members, struct bytes object) {
        members->text = object;
        members->at = skip_blanks(object, 0);
        if (object.size > UINT32_MAX || members->at >= object.size || object.data[members->at] != '{')
                members->at = object.size;
        else
                members->at++;
}

bool json_members_next(struct json_members *members, struct json_member *out_member) {
        struct bytes text = members->text;
        size_t at = skip_blanks(text, members->at);
        if (at < text.size && text.data[at] == ',')
                at = skip_blanks(text, at + 1);
        members->at = text.size;
        if (at >= text.size || text.data[at] != '"')
                return false;
        size_t key_end = skip_string(text, at);
        size_t colon = skip_blanks(text, key_end);
        if (colon >= text.size || text.data[colon] != ':')
                return false;
        size_t value = skip_blanks(text, colon + 1);
        size_t end = skip_value(text, value);
        if (end == value)
                return false;
        *out_member = (struct json_member){make_span(at, end), make_span(at, key_end), make_span(value, end)};
        members->at = end;
        return true;
}
