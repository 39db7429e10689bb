#pragma once
/*
 * Where a job of a topic came from, and the record as it came: for dead letters, parking and sending home,
 * which need it unchanged. One piece of memory.
 */
#include "broker/kafka/consumer.h"
#include "broker/wire/job_record.h"

enum { RECORD_HEADERS_MAX = 64 }; /* of a record; what is more is not kept */

enum { RECORD_OVERHEAD = 2048 }; /* what our headers and framing may add to a record that goes out */

struct origin {
        uint32_t partition;
        uint32_t epoch; /* of the partition, when it was taken */
        bool open;      /* its offset is open in the window */
        bool handed;    /* its result has been handed to the committer */
        /* its job does nothing for long: parked, and out of memory once the store knows that */
        bool rests;
        bool away;   /* now */
        bool parked; /* it stands in the state topic, and comes back from there */
        int64_t parked_due_unix_ms;
        int64_t received_ns;
        struct job_record record; /* points into this piece */
};

/* NULL when memory is refused. The record is copied. */
struct origin *origin_new(const struct job_record *record, uint32_t partition) MUST_USE;
struct origin *origin_free(struct origin *origin); /* NULL gives NULL */
size_t origin_bytes(const struct origin *origin);
struct record_name origin_name(const struct origin *origin);
/* The record's headers in the words of the wire; `out_headers` has room for that many. */
size_t origin_headers(const struct consumer_record *record, struct job_header *out_headers, size_t max);
