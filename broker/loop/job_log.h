#pragma once
/* What the log says of a job: a line with its names, never with what it holds. */
#include "broker/core/outcome.h"

struct job_spec;

/* A job of a topic has ended without a result; nothing for one that has not. At most some lines a second. */
void job_log_failed(const struct job_spec *job, const struct outcome *outcome);
