#pragma once
/*
 * What a provider says was used, normalised (reference providers.md 13.2): input tokens without the
 * cached ones. Lies are not believed: negative numbers, fractions of a token below zero and anything
 * above USAGE_MAX say nothing (-1), so that the caller falls back to its own estimate; more cached
 * tokens than tokens are cut.
 */
#include "workers/routing/cost.h"

#define USAGE_MAX INT64_C(2000000000) /* no single call uses that much of anything */

struct yyjson_val;

/* From the root of an answer, any kind. out_usage must be initialised; what is not said is left. */
void usage_read(struct yyjson_val *root, struct usage *out_usage);
/*
 * usage.cost, which OpenRouter tells in dollars. `text` is the same answer: the amount is read from its
 * digits. Digits beyond the picodollar are rounded up.
 */
bool usage_cost_read(struct yyjson_val *root, struct bytes text, int64_t *out_picousd);
