#pragma once
/*
 * The jobs of a file, and which of them have ended: what `collect --jobs` waits for. A job is known by the
 * key under which the worker settles it, that of a conflict, or the key of its record. Memory: about 150
 * bytes a job.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"
#include "broker/base/key.h"

struct wanted;

enum wanted_is { WANTED_NOT, WANTED_NEW, WANTED_AGAIN }; /* of no job of the file; its first; another one */

/* Reads the file as `submit` does. `batch`: of lines that name none. */
struct error *wanted_load(const char *path, const char *batch, size_t job_bytes_max,
                          struct wanted **out_wanted) MUST_USE;
struct wanted *wanted_free(struct wanted *wanted); /* NULL gives NULL */
/* Something has ended a job. */
enum wanted_is wanted_take(struct wanted *wanted, struct key128 key);
enum wanted_is wanted_take_record(struct wanted *wanted, struct bytes record_key);
uint64_t wanted_count(const struct wanted *wanted);   /* jobs with different keys */
uint64_t wanted_missing(const struct wanted *wanted); /* of which nothing has come yet */
uint64_t wanted_bad(const struct wanted *wanted);     /* lines that are no jobs */
/* custom_ids of the first few that are missing, with commas between. */
void wanted_name_missing(const struct wanted *wanted, struct buffer *out_text);
