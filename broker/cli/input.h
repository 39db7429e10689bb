#pragma once
/*
 * The input of the commands that only look: which file it is, reading it from its start to its end with a bar
 * on long ones, and what to say of a line that is no job. Standard input is waited for. Nothing is kept of a
 * line that was visited.
 */
#include "broker/base/error.h"
#include "broker/cli/options.h"
#include "broker/files/source.h"

struct job_spec;

/* One file, --json, and the common options, as an argp child. `missing` is set beforehand. */
struct input {
        struct options options;
        const char *path; /* "-": standard input */
        bool json;
        const char *missing; /* what is said when no file was given */
};

struct argp;
extern const struct argp input_argp; /* input: struct input */

struct input_lines {
        const char *path;
        const char *things; /* for the bar: "jobs" */
        size_t line_max;
        bool quiet;
};

/* What it returns ends the reading; NULL: go on. */
typedef struct error *input_visit(void *userdata, const struct source_line *line);

struct error *input_each(const struct input_lines *lines, input_visit *visit, void *userdata) MUST_USE;

/* "jobs.jsonl line 7: body.model: must be ..." */
void input_say_bad(const char *path, const struct job_spec *job);
