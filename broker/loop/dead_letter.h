#pragma once
/*
 * Jobs that were never accepted: records that are no jobs, or that nobody here could or may do. They go to
 * the dead-letter topic as they came, with the reason in headers (schemas/dead_letter_headers.def), and are
 * remembered under the record's own name, so that sending them back later is a new try.
 */
#include "broker/core/outcome.h"
#include "broker/loop/origin.h"

bool dead_letter_is(const struct job_spec *job, const struct outcome *outcome);

enum { DEAD_LETTER_HEADERS_MAX = 64 + 32 };

/*
 * The record's headers and ours behind them; those of an earlier dead letter are replaced. Texts are appended
 * to `scratch`, which must not have failed and lives as long as the headers. Gives how many.
 */
size_t dead_letter_headers(const struct job_spec *job, const struct outcome *outcome, const char *topic,
                           const char *group_id, struct buffer *scratch,
                           struct kafka_header out_headers[DEAD_LETTER_HEADERS_MAX]);
