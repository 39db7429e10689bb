#pragma once
/*
 * The rules of a job in layers: the configuration's, its workspace's, its body's (`provider`, the suffix of
 * the model), and `routing`; merged as merge.h says. What the first two say together is kept for the
 * workspace that was asked for last: jobs of one come in long runs. For one decoder.
 */
#include "broker/wire/job_body.h"

struct layers;
struct workspace;

/*
 * `configuration`: NULL for none; copied, its names must outlive the layers, and so must the workspaces. A
 * workspace that is not named falls under the first. NULL when memory is refused.
 */
struct layers *layers_new(const struct routing_prefs *configuration, const struct workspace *workspaces,
                          uint32_t workspaces_count) MUST_USE;
void layers_free(struct layers *layers); /* takes NULL */

/*
 * Sets demand.workspace, and demand.prefs to what every job of that workspace must keep. false with a problem
 * when those rules leave nothing.
 */
bool layers_enter(struct layers *layers, struct bytes workspace, struct demand *demand,
                  struct problem *problem);
/*
 * Lays the job's own over them, in demand.prefs and demand.max_cost_picousd; `routing` may be NULL. The names
 * point into the documents, the lists into the layers, until the next job. false with a problem: wrong
 * (invalid_job), or nothing is left to choose from (excluded_by_policy; its sentence names the layers that
 * said the field).
 */
bool layers_read(struct layers *layers, const struct job_wishes *wishes, struct yyjson_val *routing,
                 struct demand *demand, struct problem *problem);
