#pragma once
/*
 * How large a request is before anybody has counted: an upper estimate of its input tokens, for
 * reservations and limits. Three bytes to a token holds for every common tokenizer on prose in any script;
 * what providers report calibrates it later.
 */
#include "broker/base/bytes.h"

struct yyjson_val;

/*
 * Text, message lists, token lists and content parts, however nested (depth has been checked). *media gets
 * the bit of each enum modality other than text that a part of it is; it is not cleared before.
 */
int64_t estimate_tokens(struct yyjson_val *content, uint32_t *media);
/* The same for things that are sent as a schema: names count as well. A mere word counts nothing. */
int64_t estimate_schema_tokens(struct yyjson_val *schema);
