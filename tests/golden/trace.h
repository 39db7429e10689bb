#pragma once
/*
 * A golden trace: a scenario as text, and what the engine commands at each step. Lines:
 *   # anything                           a comment
 *   engine NAME=VALUE...                 jobs, in_flight, ahead, attempts, base, cap, retry (percent),
 *                                        timeout, seed
 *   provider NAME NAME=VALUE...          rpm, tpm, rpd, tpd, concurrency, region, zdr, training
 *   endpoint PROVIDER MODEL NAME=VALUE...  input, output (USD per million tokens), the limits
 *                                          as above, context, output_max; tier (tokens of input),
                                          tier_input, tier_output: what longer inputs cost
 *   workspace NAME NAME=VALUE...         weight, rpm, tpm, rpd, tpd, concurrency; any other falls under the
 *                                        first one
 *   at TIME [wall=TIME]                  since the start: "at 1s"; the wall clock is set forward by that much
 *                                        more
 *   > job NAME {"custom_id": ...}        a job line; NAME is how the trace calls it
 *   > looked_up NAME nothing | settled [other] | parked [other] | unknown ATTEMPTS [other]
 *   > looked_up NAME answered [attempts=N] [status=N] [failure=N] [cost=PICOUSD] [other]
 *   > opened NAME | settled NAME
 *   > answer|stale_answer NAME VERDICT [status=N] [wait=TIME] [alone=1] [in=N] [out=N] [latency=TIME]; stale:
 *   under the handle
 *                                        of the call before the last one
 *   > drain | hold | go_on
 *   > revoke NAME...                     their partition has gone elsewhere; what is given up is said at once
 *   > share WHOLE PART:kept|fresh|used...  the parts of every limit that this engine has
 *   < COMMAND ...                        what the engine answers to the events above it
 * Events that stand together are one step; a lone "at" is a step without events.
 */
#include "broker/base/bytes.h"

/*
 * Runs the trace; appends it with the commands that the engine really gave. Fails the test on a line that it
 * cannot read.
 */
void trace_run(struct bytes text, struct buffer *out_text);
