#pragma once
/*
 * A job's JSON body as it is sent: the caller's bytes, with nothing changed but the places that must change.
 */
#include "broker/core/job_spec.h"

/*
 * Appends the body with the model's upstream name, without `models` and `provider`, and, for embeddings
 * that the caller wants as numbers, with encoding_format "base64": vectors travel in that form and are
 * converted back by render().
 */
void splice_body(const struct job_spec *job, struct bytes model, struct buffer *out_body);
