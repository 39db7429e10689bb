#pragma once
/*
 * OpenRouter's `provider` object, as `routing` of a job line and as `provider` of a body
 * (schemas/routing_fields.def).
 */
#include "broker/wire/problem.h"
#include "workers/routing/merge.h"

struct yyjson_val;

/*
 * Reads the object as a layer of its own, to be merged with the others (merge.h): what it does not say says
 * nothing. A null is the same as an absent member. The names point into the parsed document, the lists into
 * `room`. false with a problem when the object is wrong.
 */
bool prefs_read(struct yyjson_val *object, const char *field, struct names_room *room,
                struct routing_prefs *out_prefs, struct problem *problem);
