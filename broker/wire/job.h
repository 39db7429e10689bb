#pragma once
/*
 * The job line: bytes to struct job_spec. A line is always a spec: one that is no job says why, and has a
 * key under which its error line is written once. A line is JSON; records, which may be MessagePack or
 * CloudEvents, come through the same checks (job_record.h).
 *
 * Names, as they stand in the store and must never change (schemas/README.md has vectors). All are SHA-256;
 * a key is its first 16 bytes; "." is concatenation and 0 a zero byte:
 *   key          "batchferry/key/1" 0 . workspace . 0 . idempotency_key
 *   default key  "batchferry/id/1" 0 . workspace . 0 . batch . 0 . custom_id
 *   bad line     "batchferry/bad/1" 0 . batch . 0 . line number, 8 bytes, big-endian . text
 *   fingerprint  url . 0 . canonical body (canonical.h); of a bad line: its text
 *   alias        "batchferry/alias/1" 0 . key . fingerprint
 */
#include "broker/base/error.h"
#include "broker/core/job_spec.h"

enum {
        JOB_BYTES_CEILING = 1 << 30, /* spans are 32 bits wide */
        IDEMPOTENCY_BYTES_MAX = 1024,
};

struct job_decoder; /* one per thread */
struct workspace;

struct job_decoder_options {
        const char *batch;             /* for jobs that name none; at most 4 KiB */
        const char *workspace_default; /* NULL: "default" */
        size_t job_bytes_max;          /* at most JOB_BYTES_CEILING */
        const struct routing_prefs
                *prefs_default; /* NULL: none. Copied; its names must outlive the decoder */
        /*
         * catalog.workspaces, whose rules lie between the configuration's and the job's own; it must outlive
         * the decoder. A workspace that is not named there falls under the first one. May be 0.
         */
        const struct workspace *workspaces;
        uint32_t workspaces_count;
};

struct error *job_decoder_new(const struct job_decoder_options *options,
                              struct job_decoder **out_decoder) MUST_USE;
struct job_decoder *job_decoder_free(struct job_decoder *decoder);

/*
 * `line` without its end. `too_long`: it was cut by whoever read it, and is refused as input_too_large. The
 * spec is the caller's (job_spec_free()) and holds copies of everything it points to. NULL when memory is
 * refused.
 */
struct job_spec *job_decode(struct job_decoder *decoder, struct bytes line, uint64_t line_number,
                            uint64_t sequence, bool too_long) MUST_USE;
struct job_spec *job_spec_free(struct job_spec *job); /* takes NULL */

/*
 * The idempotency key of a job: the spec's, or, for a line that names none, batch "/" custom_id (custom_id
 * alone when there is no batch). What a line's record is keyed with; a batch named by a long path can make it
 * longer than the IDEMPOTENCY_BYTES_MAX that a record may have.
 */
void job_idempotency_append(struct buffer *out, const struct job_spec *job);
