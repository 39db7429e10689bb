#pragma once
/*
 * What jobs will cost and how long they will take, before anything is sent: each job at the endpoint that is
 * the best for it when all are fit and have room, which is where it goes unless limits or failures say
 * otherwise. Sums by endpoint and model; memory does not grow with the number of jobs.
 *
 * low       half of the estimated input, a quarter of the expected output: estimates are upper ones
 * expected  the estimated input; output as expected of an endpoint that nobody has called yet
 * ceiling   all the output that a request allows; one call for each job
 *
 * Budgets are as the state directory of the configuration has left them.
 */
#include "broker/base/error.h"
#include "broker/core/job_spec.h"
#include "broker/ops/config.h"

struct quote;

struct quote_options {
        const struct config *config;
        int64_t latency_ns; /* of a call; 0: QUOTE_LATENCY_NS and the time that the output takes */
        int64_t at_unix_ms; /* at whose prices */
        bool workers;       /* do the jobs: what budgets have left is read from the state topic */
};

#define QUOTE_LATENCY_NS INT64_C(1000000000)
enum { QUOTE_TOKENS_PER_S = 60 };

struct error *quote_new(const struct quote_options *options, struct quote **out_quote) MUST_USE;
struct quote *quote_free(struct quote *quote);
void quote_add(struct quote *quote, const struct job_spec *job); /* also one that is no job */
void quote_print(const struct quote *quote, struct buffer *out);
void quote_print_json(const struct quote *quote, struct buffer *out);
