#pragma once
/* Reads a whole input without calling anybody: what --strict and --dry-run do. */
#include "broker/ops/config.h"
#include "broker/wire/job.h"

struct scan_options {
        const char *input;
        const struct config *config;
        struct job_decoder_options decoder;
        bool report; /* --dry-run: print models, counts and costs on standard output */
};

/* out_bad: lines that are no jobs; the first ones are named on standard error. */
struct error *scan_input(const struct scan_options *options, uint64_t *out_jobs, uint64_t *out_bad) MUST_USE;
