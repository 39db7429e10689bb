#pragma once
/*
 * How large a request is before anybody has counted: an upper estimate of its input tokens, for
 * reservations and limits. Three bytes to a token holds for every common tokenizer on prose in any script;
 * what providers report calibrates it later.
 */
#include "broker/base/bytes.h"

struct yyjson_val;

struct estimate {
        int64_t tokens, audio_tokens, image_tokens; /* all, and which of them are sound and pictures */
        uint32_t media; /* the bit of each enum modality other than text that a part of it is */
};

/* Adds text, message lists, token lists and content parts, however nested (depth has been checked). */
void estimate_add(struct yyjson_val *content, struct estimate *sum);
/* The same for things that are sent as a schema: names count as well. A mere word counts nothing. */
int64_t estimate_schema_tokens(struct yyjson_val *schema);
