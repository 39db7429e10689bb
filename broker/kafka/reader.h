#pragma once
/*
 * Reads whole topics outside any group, committed records only, for `collect` and `dead-letters`: from the
 * beginning (or a time, or one place) to the end at the moment of opening, or on and on. Partitions come
 * mixed, each in its order. One thread.
 *
 * The end is the last stable offset: what was written in a transaction that is still open is not waited for.
 * With `wait_open` it is the high watermark, and the reader waits until all transactions below it have ended
 * (their timeout bounds that), so that everything committed before the opening is seen.
 */
#include "broker/kafka/consumer.h"

struct reader;

struct reader_options {
        struct kafka_properties properties;
        const char *topic, *client_id;
        bool follow;           /* does not end; partitions that are added later are read too */
        bool wait_open;        /* not with follow */
        int64_t since_unix_ms; /* 0: from the beginning */
        /* When `only`: that partition alone, from that offset on. */
        bool only;
        uint32_t only_partition;
        uint64_t only_offset;
};

enum reader_outcome { READER_RECORD, READER_END, READER_LATER, READER_FAILED };

/* Blocks until the cluster has said where the partitions begin and end. */
struct error *reader_open(const struct reader_options *options, struct reader **out_reader) MUST_USE;
struct reader *reader_close(struct reader *reader); /* NULL gives NULL; records are released before */
/* Waits at most so long. The record is given back with consumer_release(). */
enum reader_outcome reader_next(struct reader *reader, int64_t timeout_ns,
                                struct consumer_record *out_record);
/*
 * Gives the records until the end, until `each` gives an error, or until `stops` says so, which is
 * asked all the time (NULL: never). Not with follow.
 */
struct error *reader_each(struct reader *reader, bool (*stops)(void *userdata),
                          struct error *(*each)(void *userdata, const struct consumer_record *record),
                          void *userdata) MUST_USE;
/* Of READER_FAILED; the caller's. */
struct error *reader_error(struct reader *reader) MUST_USE;
/* The brokers did not answer when they were asked last, which is every few seconds while nothing comes. */
bool reader_unanswered(const struct reader *reader);
uint32_t reader_partitions(const struct reader *reader);
/*
 * How far it has come in offsets, and how far there is to go as known at opening, for progress. Offsets count
 * transaction markers and what was taken back too, so they are not records.
 */
void reader_progress(const struct reader *reader, uint64_t *out_read, uint64_t *out_total);
