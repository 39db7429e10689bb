#pragma once
/*
 * Golden decisions: jobs with the decision of each, as text. Lines:
 *   # anything              a comment
 *   at TIME                 the moment of all decisions from here on
 *   given WORD=VALUE...     of the next job: tokens (of its input, in place of the estimate), spent (USD, by
 *                           earlier attempts)
 *   given ENDPOINT WORD...  of an endpoint when the next job is decided: latency=1.5s and throughput=80
 *                           (tokens per second), also as latency_p90 and so on; success=700 (of a thousand
 *                           calls), in_flight=3, output=200 (tokens of an answer), ratio=0.8 (of estimated
 *                           input), cached=500 (of a thousand tokens), slow, refused, paused=10s,
 *                           breaker=10s, full=10s, never
 *   job {...}               a job's line
 *     ...                   indented: what was decided, written anew
 * What is decided: the size of the job; then the candidates that may be called, in their order, each with
 * what is expected and the most that it can cost, in picodollars ("?": nobody knows), with the model (when
 * there are several), with what puts it behind and what it waits for; then the others, with the code.
 */
#include "book.h"

/* Appends the text with the decisions as they come out now. Fails the test on a line that it cannot read. */
void table_run(const struct book *book, struct bytes text, struct buffer *out_text);
