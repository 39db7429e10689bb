#pragma once
/*
 * An output that is never half there: lines go to FILE.part, which gets the name FILE when all is written and
 * synced. With `live`, and on standard output, they go where they belong at once.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

struct outfile;

/* "-" is standard output. What stood in the file is replaced. Two processes on one file: ERROR_BUSY. */
struct error *outfile_open(const char *path, bool live, struct outfile **out_file) MUST_USE;
/* Removes what was not finished. NULL gives NULL. */
struct outfile *outfile_close(struct outfile *file);
/* With a line end behind it. */
struct error *outfile_line(struct outfile *file, struct bytes line) MUST_USE;
/* Hands on what is buffered; for when nothing more comes at the moment. */
struct error *outfile_flush(struct outfile *file) MUST_USE;
/* All is written: the file gets its name. */
struct error *outfile_finish(struct outfile *file) MUST_USE;
