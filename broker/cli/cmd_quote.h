#pragma once
/* `batchferry quote`: what jobs will cost and how long they will take. Gives the exit code. */
#include "broker/cli/scan.h"

int cmd_quote(int argc, char **argv);
/* For `run --dry-run` too: reads all of the input and prints the quote. */
struct error *quote_input(const struct scan_options *scan, const struct quote_options *options, bool json,
                          uint64_t *out_jobs, uint64_t *out_bad) MUST_USE;
