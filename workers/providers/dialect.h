#pragma once
/*
 * One provider dialect: how a job becomes a request and how the bytes that come back become an answer. Pure:
 * text in, text out. The OpenAI shape of each endpoint is what jobs and results have, whatever the dialect
 * speaks.
 */
#include "broker/core/answer.h"
#include "broker/core/job_spec.h"

enum { REQUEST_PARTS_MAX = 64 };

/*
 * A part of a multipart body. The file part has `file` true and no value: the shard attaches the bytes and
 * the name.
 */
struct request_part {
        struct bytes name, value;
        bool file;
};

/* Made by request(); valid until the next request() on the same struct. */
struct request {
        struct buffer body; /* JSON bodies, and the memory of parts */
        struct request_part parts[REQUEST_PARTS_MAX];
        uint32_t parts_count; /* > 0: multipart */
};

struct response {
        int32_t status;
        struct bytes headers; /* the lines that we keep, each "Name: value\r\n" */
        struct bytes body;
        int64_t now_unix_ms;
        bool is_json; /* for render(): what read() has said of it; false: not known */
};

struct dialect {
        const char *name;
        /* The URL for that kind there. false when the dialect does not have it. */
        bool (*url)(const struct provider *provider, const struct endpoint *endpoint, enum kind kind,
                    struct bytes model, struct buffer *out_url);
        /* "Authorization: Bearer KEY" or what it uses instead. */
        void (*auth)(struct bytes key, struct buffer *out_header);
        /*
         * false: the job cannot be said in this dialect; out_answer tells why (VERDICT_REJECTED or
         * OTHER_MODEL).
         */
        bool (*request)(const struct job_spec *job, struct bytes model, struct request *out_request,
                        struct answer *out_answer);
        /* Every status, any bytes. Never fails: what cannot be read is VERDICT_RETRY or VERDICT_UNUSABLE. */
        void (*read)(const struct job_spec *job, const struct response *response, struct answer *out_answer);
        /*
         * Appends the `body` value of the result line: the answer as JSON in the OpenAI shape, converted to
         * what the caller asked for. Error answers that are no JSON become {"error": {"message": "first 500
         * printable characters", ...}}.
         */
        void (*render)(const struct job_spec *job, const struct response *response, struct buffer *out_json);
};

const struct dialect *dialect_find(struct bytes name); /* NULL when there is none */
const char *const *dialect_names(void);                /* NULL-terminated */
