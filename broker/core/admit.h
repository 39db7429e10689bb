#pragma once
/*
 * From the source to the queue: a job arrives, is looked up, and either is known, is refused, or waits to
 * run.
 */
#include "broker/core/engine_state.h"

void admit_job(struct engine *engine, struct job_spec *spec);
/* Deadline and not_before in monotonic time, by what the wall clock says now. */
void admit_reckon(const struct engine *engine, struct job *job);
void admit_looked_up(struct engine *engine, struct job *job, const struct known_job *known);
