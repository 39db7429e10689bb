#pragma once
/*
 * What the broker must know of a job's body: models, spans of what a dialect replaces or takes out, size,
 * and the few checks that save a call which could only be refused. All other members pass through.
 */
#include "broker/core/job_spec.h"
#include "broker/wire/problem.h"

struct yyjson_val;

struct job_wishes {
        struct yyjson_val *provider; /* body.provider, or NULL */
        bool sort_said;              /* by the suffix of the model's name */
        enum sort_by sort;
};

/*
 * `spec` has its kind and `body`, the text of which `body` was parsed; duplicate names have been refused.
 * Sets spans, models and sizes. Strings point into the parsed document or the text. false with a problem.
 */
bool job_body_read(struct yyjson_val *body, struct job_spec *spec, struct job_wishes *out_wishes,
                   struct problem *problem);
