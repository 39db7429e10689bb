#pragma once
/*
 * Small questions about parsed JSON values. Numbers are read as raw text, so that amounts stay exact. NULL
 * is an absent value.
 */
#include "broker/base/bytes.h"

struct yyjson_val;

bool json_is_absent(struct yyjson_val *value); /* NULL or null */
bool json_is_string(struct yyjson_val *value);
bool json_is_number(struct yyjson_val *value);
struct bytes json_text(struct yyjson_val *value); /* of a string or a number; empty for others */
/* A number without fraction or exponent, from min to max. */
bool json_integer(struct yyjson_val *value, int64_t min, int64_t max, int64_t *out_number);
/* No control characters; they have no place in names. */
bool text_is_printable(struct bytes text);
/* Code points of valid UTF-8. */
size_t text_characters(struct bytes text);
/* The index of the table's entry that equals `name`, or `count`. */
size_t text_find(struct bytes name, const struct bytes *table, size_t count);
