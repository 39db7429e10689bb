#pragma once
/*
 * OpenRouter's `provider` object, as `routing` of a job line and as `provider` of a body
 * (schemas/routing_fields.def).
 */
#include "broker/wire/problem.h"
#include "workers/routing/demand.h"

struct yyjson_val;

/*
 * Lays what the object says over `prefs`, which holds what farther layers said. A null is the same as an
 * absent member. The names point into the parsed document. false with a problem when the object is wrong,
 * or when two layers leave nothing to choose from.
 */
bool prefs_read(struct yyjson_val *object, const char *field, struct routing_prefs *prefs,
                struct problem *problem);
