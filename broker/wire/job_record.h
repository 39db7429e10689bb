#pragma once
/*
 * The job as a Kafka record: key, value and headers to struct job_spec, through the same checks as a line
 * (job.h). A record is always a spec: one that is no job says why in `failure`.
 *
 * The encoding of the value is told by the header content-type: application/json and types that end in +json;
 * application/msgpack, application/x-msgpack, application/vnd.msgpack and types that end in +msgpack;
 * application/cloudevents+json, whose member `data` is the job (CloudEvents 1.0, structured mode). Parameters
 * are ignored. Without the header, or with any other type, the first byte tells: that of a MessagePack map
 * (80 to 8f, de, df) or not. Of headers that stand twice the last one counts, as with lastHeader() of the
 * Java client; the case of their names does not matter. limits.job_bytes holds for the value and for its JSON
 * text.
 *
 * The idempotency key is the first of these that there is, raw bytes, 1 to 1024 (longer: invalid_job):
 *   1. the job's own field idempotency_key
 *   2. the record's key, when it has one that is not empty
 *   3. the header idempotency-key, when not empty
 *   4. ce_source "/" ce_id, when there are both; of a structured event its `source` and `id`
 *   5. batch "/" custom_id, or custom_id alone when there is no batch. A record that names no batch has none
 *
 * Names, which stand in stores and must never change (job.h says the rest):
 *   key of a job         "batchferry/key/1" 0 . workspace . 0 . idempotency key, wherever that came from
 *   key of a bad record  "batchferry/record/2" 0 . partition, 4 bytes . offset, 8 bytes . timestamp,
 *                        8 bytes, all big-endian
 *   fingerprint of a bad record: SHA-256 of its value
 *
 * traceparent (W3C Trace Context, level 1) is kept when it is well-formed, tracestate when there is such a
 * traceparent and it has at most 512 bytes; anything else is as if it were not there.
 */
#include "broker/wire/job.h"
#include "broker/wire/job_key.h"

enum { TRACESTATE_BYTES_MAX = 512 };

struct job_header {
        struct bytes name, value; /* a null header: value.data is NULL */
};

struct job_record {
        struct bytes key, value;
        bool has_key, has_value;
        const struct job_header *headers;
        size_t headers_count;
        uint32_t partition;
        uint64_t offset;
        int64_t timestamp_unix_ms;
};

/*
 * The spec is the caller's (job_spec_free()) and holds copies of everything it points to; its `sequence` is
 * the offset. NULL when memory is refused.
 */
struct job_spec *job_decode_record(struct job_decoder *decoder, const struct job_record *record) MUST_USE;

/*
 * The key that a record has when it is no job: for what is settled under the record's own name. A digest that
 * libcrypto refuses to compute shows at the decoder's next decoding, which gives NULL.
 */
struct key128 job_record_key(struct job_decoder *decoder, const struct record_name *name);
