#pragma once
/*
 * The result line: what messages.md calls a result, as one line of JSON. It is a superset of the OpenAI
 * Batch output line. A line is also read back: when a process died between the output's sync and the
 * store's, the lines behind the recorded length are adopted.
 */
#include "broker/core/job_spec.h"
#include "broker/core/outcome.h"

struct result_source {
        const struct job_spec *job;
        const struct outcome *outcome;
        const struct catalog *catalog;
        struct bytes request_id; /* the provider's; may be empty */
        struct bytes body_json;  /* the rendered body: valid JSON, or empty; line ends in it become spaces */
};

/*
 * Appends the whole line with its line end, or nothing; out->failed tells when memory is refused.
 *
 * `error` is null for a success and, as at OpenAI, for a 4xx that ends as provider_rejected or
 * content_refused. A line that is no job has `line` and `field` in its error as well.
 */
void result_append(struct buffer *out, const struct result_source *source);
/* The same without a line end: the value of a record. */
void result_append_value(struct buffer *out, const struct result_source *source);
/*
 * A result that was written before, once more: appends it with receipt.replayed true and without a line end.
 * false, and nothing appended, when `result` is no result of ours, or when memory is refused (out->failed).
 */
bool result_append_replayed(struct buffer *out, struct bytes result);

/* The key under which a job's result is settled: what stands in `id`. */
struct key128 result_key(const struct job_spec *job, const struct outcome *outcome);

/* What the store must know of a line that it has not heard of. */
struct result_head {
        struct key128 key;
        enum failure failure; /* a 4xx without an error reads as provider_rejected */
        int32_t status;       /* 0 when there is no response */
        uint32_t attempts;
        bool cost_known, cost_is_estimate;
        int64_t cost_picousd;
        uint8_t fingerprint[32]; /* the job's */
};

/* false when it is not a whole result line of ours, or when memory is refused; then out_head is untouched. */
bool result_read_head(struct bytes line, struct result_head *out_head);
