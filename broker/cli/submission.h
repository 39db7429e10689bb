#pragma once
/*
 * A line of a job file as the record that `submit` makes of it, which `collect --jobs` makes again to know
 * what to look for: key is the idempotency key, value the line with its batch named in it, so that every
 * consumer sees the batch, whoever it is.
 */
#include "broker/files/source.h"
#include "broker/wire/job_record.h"

enum { SUBMISSION_PROBLEM_MAX = 700, BATCH_BYTES_MAX = 512 };

struct submission; /* one per thread */

struct submission_options {
        const char *batch; /* for lines that name none; its size is checked */
        size_t job_bytes_max;
        bool msgpack;
};

enum submission_outcome { SUBMISSION_JOB, SUBMISSION_BAD, SUBMISSION_NO_MEMORY };

/* Until the next line. */
struct submitted {
        struct bytes key, value;
        struct bytes custom_id;
        struct key128 job;                    /* of its result, wherever it is settled ... */
        struct key128 alias;                  /* ... and of that of a conflict; both only with `identify` */
        char problem[SUBMISSION_PROBLEM_MAX]; /* of SUBMISSION_BAD: "field: what is wrong" */
};

struct error *submission_new(const struct submission_options *options,
                             struct submission **out_submission) MUST_USE;
struct submission *submission_free(struct submission *submission); /* NULL gives NULL */
/* `with_names`: with the names under which it is settled, at the price of another decoding. */
enum submission_outcome submission_read(struct submission *submission, const struct source_line *line,
                                        bool with_names, struct submitted *out_submitted);
/* The name without directories; "stdin" for "-". */
void submission_batch_of(const char *path, char *out_batch, size_t size);
