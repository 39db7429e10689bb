#pragma once
/*
 * A job as decoded: immutable, in one piece of memory that wire/ makes and frees (job_spec_free()). The
 * engine only reads the few fields that decisions need and hands the pointer back when it has done with the
 * job.
 *
 * A line that is no job is a spec too: `failure` says what is wrong with it. It still has a key, so that its
 * error line is written exactly once.
 */
#include "broker/base/key.h"
#include "workers/routing/demand.h"

/* A part of `body`: offset and size in bytes; size 0 when the member is absent. */
struct span {
        uint32_t offset, size;
};

enum vector_format { VECTOR_UNSAID, VECTOR_FLOAT, VECTOR_BASE64, VECTOR_OTHER };

struct job_spec {
        struct key128 key;       /* of the idempotency key */
        struct key128 alias;     /* of key and fingerprint: the name under which a conflict is settled */
        struct key128 class_key; /* jobs with equal kind, models, wishes and priority */
        uint8_t fingerprint[32]; /* SHA-256 over url and canonical body */

        uint64_t sequence;         /* place in the source: from 0 without gaps; of a record, its offset */
        uint64_t line;             /* 1-based line number; 0 when the source has none */
        uint32_t partition;        /* of a record, else 0 */
        int64_t timestamp_unix_ms; /* of a record, else 0 */

        enum failure failure;         /* FAILURE_NONE for a job */
        struct bytes failure_field;   /* "body.model"; may be empty */
        struct bytes failure_message; /* one sentence */

        struct bytes custom_id; /* may be empty when `failure` */
        struct bytes workspace, batch;
        struct bytes metadata; /* JSON object text, or empty */
        /*
         * What makes two jobs of a workspace one: 1 to 1024 bytes of any value for a record that is a job,
         * whichever of its parts named it. Of a line only what it says itself, else empty.
         */
        struct bytes idempotency;
        struct bytes traceparent, tracestate; /* W3C trace context of a record, or empty */
        int32_t priority;
        int64_t not_before_unix_ms, deadline_unix_ms; /* 0: none */
        enum unknown_policy unknown;
        struct demand demand;

        struct bytes body;                                           /* the JSON object text as it came */
        struct span model_value;                                     /* with its quotes */
        struct span models_member, provider_member, file_url_member; /* "name": value, without commas */
        struct span encoding_format_value;
        enum vector_format vector_format;
        struct bytes file_url;        /* unescaped */
        struct bytes response_format; /* of audio; empty when not said */
        uint32_t memory_bytes;        /* of the whole piece */
        void *origin;                 /* what the intake must remember of it; the intake's, NULL for a line */
};
