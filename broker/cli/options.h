#pragma once
/* The options that every command has, as an argp child, and what follows from them. */
#include "broker/ops/config.h"

#include <stdbool.h>

enum exit_code {
        EXIT_WELL = 0,
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_JOBS_FAILED = 3,
        EXIT_INTERRUPTED = 130
};

enum { SETS_MAX = 64 };

struct options {
        const char *config_path, *state;
        const char *sets[SETS_MAX];
        size_t sets_count;
        const char *base_url, *api_key_env;
        bool quiet, verbose;
        const char *log_format;
};

struct argp;
extern const struct argp options_argp; /* input: struct options */

/* Loads the configuration that the options name. */
struct error *options_load(const struct options *options, struct config **out_config) MUST_USE;
/* Prints "batchferry: message" on standard error, frees the error, and gives the exit code of its class. */
int options_fail(struct error *error);
