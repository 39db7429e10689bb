#pragma once
/* Reads a whole input without calling anybody: what quote, --strict and --dry-run do. */
#include "broker/cli/quote.h"
#include "broker/ops/config.h"
#include "broker/wire/job.h"

struct scan_options {
        const char *input;
        struct job_decoder_options decoder;
        bool quiet;
        struct quote *quote; /* gets every job; NULL: only counted */
};

/* out_bad: lines that are no jobs; the first ones are named on standard error. */
struct error *scan_input(const struct scan_options *options, uint64_t *out_jobs, uint64_t *out_bad) MUST_USE;
