#pragma once
/*
 * Reads a file of lines from its start to its end, with a bar on long ones, for the commands that only look.
 * Standard input is waited for. Nothing is kept of a line that was visited.
 */
#include "broker/base/error.h"
#include "broker/files/source.h"

enum { RESULT_LINE_MAX = 1 << 30 }; /* a result holds a whole answer */

struct lines_options {
        const char *path; /* "-": standard input */
        const char *things;
        size_t line_max;
        bool quiet;
};

/* What it returns ends the reading; NULL: go on. */
typedef struct error *lines_visit(void *userdata, const struct source_line *line);

struct error *lines_each(const struct lines_options *options, lines_visit *visit, void *userdata) MUST_USE;
