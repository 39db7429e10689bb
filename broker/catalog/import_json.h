#pragma once
/*
 * What the readers of JSON catalogues share: values with numbers as their text, prices from text, words that
 * become bits. Only for the files of this folder.
 */
#include "broker/catalog/exact.h"
#include "broker/catalog/import.h"

struct yyjson_val;

/* What an amount is for; catalogues of this kind count tokens and characters singly. */
enum unit { PER_TOKEN, PER_UNIT, PER_SECOND };

/* The text of a number or a string; empty for what is neither. */
struct bytes import_text(struct yyjson_val *value);
/* A whole number above 0, also as "256000.0" or "1e6"; 0 for all else. */
int64_t import_count(struct yyjson_val *value);
/*
 * A price in picodollars per million, in steps that the configuration can say; PRICE_UNKNOWN with a note when
 * it is none. A negative one is unknown.
 */
int64_t import_price(struct import *import, struct bytes entry, struct yyjson_val *value, enum unit unit);
/*
 * A list of the request's parameters that are supported makes them known: what is not in it is not supported.
 * What is no list says nothing. Words that are not known here get a note.
 */
void import_parameters(struct import *import, struct bytes entry, struct yyjson_val *list,
                       struct endpoint *endpoint);
/* Says of a price, by its key, that nothing here is billed by it, and why that is. */
void import_unused_price(struct import *import, struct bytes entry, struct bytes key);
/* The bits of a list's words of modalities; others get a note. */
uint32_t import_modalities(struct import *import, struct bytes entry, struct yyjson_val *list);
/* context and output limit, the second cut to the first. */
void import_limits(struct import *import, struct bytes entry, struct endpoint *endpoint, int64_t context,
                   int64_t output_max);
