#pragma once
/* The results in a file, for the commands that look back at what was decided and paid. */
#include "broker/cli/input.h"
#include "broker/wire/receipt.h"

struct results {
        struct receipt receipt;  /* the one that is visited */
        uint64_t lines, strange; /* read so far; of them, those that are no results */
};

/* A result; `readable` false: its record of the decision cannot be read. What it returns ends the reading. */
typedef struct error *results_visit(void *userdata, uint64_t line, bool readable);

/* ERROR_INPUT when no line is a result. */
struct error *results_each(struct results *results, const struct input *input, results_visit *visit,
                           void *userdata) MUST_USE;
