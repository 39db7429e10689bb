#pragma once
/*
 * Everything that is said instead of an answer: OpenAI's error object, and what the faults send in its
 * place.
 */
#include "broker/base/bytes.h"
#include "broker/sim/faults.h"
#include "broker/sim/limits.h"

struct sim_headers;

/* {"error":{"message","type","param","code"}}; param and code may be NULL. */
void sim_error_append(struct buffer *body, const char *message, const char *type, const char *param,
                      const char *code);
/*
 * The body of a REFUSED or JUNK fault, and the headers by which it says how long to wait. now_unix_ms is
 * for the form that is a date. Gives the content type.
 */
const char *sim_error_fault(struct sim_fault fault, int64_t retry_after_ns, int64_t now_unix_ms,
                            struct buffer *body, struct sim_headers *headers);
/* What a rate limit that was run into says. */
void sim_error_limit(enum sim_verdict verdict, const struct sim_limits_config *config, int64_t wait_ns,
                     struct buffer *body, struct sim_headers *headers);
