#pragma once
/*
 * Reads a file from its beginning line by line, in bounded memory: of a line that is too long the first part
 * is given, the rest is passed over.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

struct lines;

enum lines_outcome {
        LINES_LINE, /* without its end */
        LINES_TAIL, /* what stands behind the last line end; then comes the end */
        LINES_END,
        LINES_FAILED,
};

/* "-" is standard input. */
struct error *lines_open(const char *path, size_t line_max, struct lines **out_lines) MUST_USE;
struct lines *lines_close(struct lines *lines); /* NULL gives NULL */
/* out_line is valid until the next call. */
enum lines_outcome lines_next(struct lines *lines, struct bytes *out_line);
/* Of LINES_FAILED; the caller's. */
struct error *lines_error(struct lines *lines) MUST_USE;
uint64_t lines_number(const struct lines *lines); /* of the line that was given last, from 1 */
uint64_t lines_bytes(const struct lines *lines);  /* up to the last line end that was read */
