#pragma once
/*
 * The transactional producer of a shard, used by one thread (its publisher). A transaction holds results,
 * dead letters, state records, rehomed jobs and the offsets that they settle, and is told by its end what to
 * do next; librdkafka's flags decide, nothing else (reference kafka.md 2.1):
 *
 *   PRODUCER_COMMITTED  all of it is there
 *   PRODUCER_ABORTED    none of it is: send it again in a new transaction
 *   PRODUCER_FENCED     none of it is, and this member no longer owns the partitions (generation or member
 *                       unknown): the consumer's next report says which are lost (CONSUMER_LOST); until
 *                       then every commit ends like this. The producer goes on
 *   PRODUCER_GONE       not known, or the producer is dead: close it, open another with the same id, whose
 *                       start ends what this one left open, then read the state topic to learn what is there
 *
 * Two things fence: the generation of the group, by which the brokers refuse offsets of a member that was
 * thrown out, and here, before anything is sent, that the consumer still owns every partition whose offset is
 * to be committed (until consumer_unassign()). So a shard that gives a partition back makes sure that no
 * transaction with its offsets begins after that, and the consumer sees to the rest.
 *
 * Nothing waits for ever: an end takes at most transaction.timeout.ms (30 s unless set) and some seconds;
 * then it is GONE.
 */
#include "broker/kafka/consumer.h"

struct producer;
struct rd_kafka_topic_s;

enum producer_fault { PRODUCER_NO_FAULT, PRODUCER_FAULT_ABORT, PRODUCER_FAULT_FENCED, PRODUCER_FAULT_FATAL };

enum { PRODUCER_TOPICS_MAX = 16, PRODUCER_MESSAGE_MAX = 600 };

struct producer_options {
        struct kafka_properties properties;
        const char *transactional_id; /* stable per shard: a restart fences what it left behind */
        const char *client_id;
        int64_t start_timeout_ns; /* for init_transactions, retried within it */
        /* To be known from the start, so that the first record to each is not late; others may be sent to. */
        const char *const *topics;
        size_t topics_count;
        /*
         * NULL: always. Asked once the group metadata have been read and before offsets are sent under them:
         * false ends the transaction as FENCED. What was revoked before they were read must not be committed.
         */
        bool (*valid)(void *userdata);
        void *valid_userdata;
        /*
         * For tests, else NULL: asked before each step ("begin", "send", "offsets", "commit", "abort") and
         * after a commit that succeeded ("committed"); a step for which it says so fails in that way.
         */
        enum producer_fault (*fault)(void *userdata, const char *step);
        void *fault_userdata;
};

enum producer_end { PRODUCER_COMMITTED, PRODUCER_ABORTED, PRODUCER_FENCED, PRODUCER_GONE };

enum producer_sent {
        PRODUCER_SENT,
        PRODUCER_TOO_LARGE, /* more than message.max.bytes: not in the transaction, which goes on */
        PRODUCER_BROKEN,    /* the transaction must end: producer_commit() tells how */
};

struct producer_message {
        const char *topic;
        int32_t partition; /* -1: by murmur2 of the key */
        bool has_key, has_value;
        struct bytes key, value; /* copied */
        const struct kafka_header *headers;
        size_t headers_count;
        /*
         * NULL, or filled by the time of PRODUCER_COMMITTED; UINT64_MAX when the brokers did not tell (a
         * repeated batch). Must stay valid until the transaction's end is told.
         */
        uint64_t *out_offset;
};

struct producer_offset {
        uint32_t partition;
        uint64_t offset; /* the next to be read */
};

/* Blocks until the id is ours (init_transactions). ERROR_USAGE for properties. */
struct error *producer_open(const struct producer_options *options, struct producer **out_producer) MUST_USE;
/* An open transaction is aborted when that is quick. Bounded in time; NULL gives NULL. */
struct producer *producer_close(struct producer *producer);

/* Opens a transaction when none is open; waits for room in the queue when that is full. */
enum producer_sent producer_send(struct producer *producer, const struct producer_message *message);
/*
 * Adds the offsets under the consumer's current group metadata and commits; blocks. With nothing sent and no
 * offsets nothing happens and the end is PRODUCER_COMMITTED. Any end but COMMITTED leaves no transaction
 * open. Without offsets the consumer may be NULL.
 */
enum producer_end producer_commit(struct producer *producer, struct consumer *consumer, const char *topic,
                                  const struct producer_offset *offsets, size_t count);
/* PRODUCER_ABORTED or PRODUCER_GONE. */
enum producer_end producer_abort(struct producer *producer);
/* Why the last transaction did not commit; "" when it did. */
const char *producer_message(const struct producer *producer);
/* For that a broker found something in it larger than its topic takes. */
bool producer_too_large(const struct producer *producer);

/* For the files of this folder: into the queue of a client. An rd_kafka_resp_err_t. */
int producer_enqueue(struct rd_kafka_s *client, struct rd_kafka_topic_s *topic,
                     const struct producer_message *message, void *opaque);
