#pragma once
/*
 * What job.c offers to job_record.c: the decoding of a job's JSON text, from wherever it came. Not for
 * others.
 */
#include "broker/wire/job_record.h"
#include "broker/wire/problem.h"

/* What stood around a record's value. */
struct job_envelope {
        bool structured;          /* the text is a CloudEvent, and the job is its `data` */
        struct bytes idempotency; /* the record's key, else the header's; may be empty */
        struct bytes ce_source, ce_id;
        struct bytes traceparent, tracestate;
        uint32_t partition;
        int64_t timestamp_unix_ms;
};

struct job_input {
        const struct job_envelope *envelope; /* NULL: a line */
        const struct problem *problem;       /* not NULL: there is no text, and that is why */
        struct bytes text;                   /* JSON */
        struct bytes raw;                    /* as it came; the name of a bad one is made of it */
        uint64_t line, sequence;
        bool too_long;
};

struct job_spec *job_decode_input(struct job_decoder *decoder, const struct job_input *input);

/* Memory for the text of a value that is transcoded; its size_max is job_bytes_max. It may be input.text. */
struct buffer *job_decoder_text(struct job_decoder *decoder);
