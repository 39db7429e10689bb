#pragma once
/* Whether a 200 holds a result of its kind, and what it says about itself. */
#include "broker/core/answer.h"
#include "broker/core/job_spec.h"

struct yyjson_val;

/*
 * VERDICT_OK, VERDICT_UNUSABLE, VERDICT_CONTENT_REFUSED or VERDICT_REJECTED for a JSON answer that
 * carries no error. *out_message says why when it is not OK. Counts images into out_usage.
 */
enum verdict usable_json(const struct job_spec *job, struct yyjson_val *root, struct usage *out_usage,
                         const char **out_message);
/* How many inputs an embeddings job has; 0: not an array, so one. */
size_t usable_inputs(struct bytes body);
/* Whether the answer to this job is text (srt, vtt, text) rather than JSON. */
bool usable_is_text(const struct job_spec *job);
