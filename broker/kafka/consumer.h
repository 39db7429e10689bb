#pragma once
/*
 * A member of the consumer group: reads the jobs topic, one thread (its shard's). Every partition has a queue
 * of its own that is served only when the shard asks for it, so a full window or a partition that is not yet
 * restored needs no pausing, and nothing that was prefetched is thrown away (reference kafka.md 2.4).
 * Membership lives on consumer_poll(), which never blocks and is called on every turn.
 *
 * Rebalances are incremental (cooperative-sticky) unless partition.assignment.strategy says otherwise; then
 * ASSIGNED and REVOKED name all partitions of this member. The consumer reports, the shard answers when it is
 * ready, and until then nothing changes hands. Offsets are committed by the producer, in its transactions,
 * never here. Reading begins where the group stands; a partition without a committed offset begins by the
 * property auto.offset.reset, by default at its beginning, so that no job is skipped.
 *
 * Prefetched records are bounded per partition by queued.min.messages and queued.max.messages.kbytes. The
 * event_fd is written to when a queue that was empty gets something, so a partition that gave a record is
 * asked again, until it gives none, without waiting to be woken.
 */
#include "broker/kafka/client.h"

struct consumer;
struct rd_kafka_consumer_group_metadata_s;
struct rd_kafka_message_s;

struct consumer_options {
        struct kafka_properties properties; /* with group.id */
        const char *topic;
        const char *client_id; /* short */
        int event_fd;          /* written to (8 bytes, 1) when there is something to poll or to take */
};

enum consumer_event {
        CONSUMER_NOTHING,
        CONSUMER_ASSIGNED, /* these partitions come; answer with consumer_assign() at once */
        /*
         * These go; finish, then consumer_unassign() within seconds: until then librdkafka fetches nothing
         * for any partition of this member, and it has thrown away what it had fetched (it comes again).
         */
        CONSUMER_REVOKED,
        /*
         * These are gone already: commit nothing; consumer_unassign() at once. May come after REVOKED, for
         * the same partitions, when that took too long; one answer is for both.
         */
        CONSUMER_LOST,
        CONSUMER_FAILED,  /* for good: out->message; the consumer is to be closed */
        CONSUMER_TROUBLE, /* passes by itself (all brokers down, ...): out->message, for the log */
};

enum { CONSUMER_PARTITIONS_MAX = 4096, CONSUMER_MESSAGE_MAX = 400, CONSUMER_HEADERS_MAX = 64 };

struct consumer_report {
        enum consumer_event event;
        const uint32_t *partitions; /* until the next call of this consumer */
        size_t partitions_count;
        char message[CONSUMER_MESSAGE_MAX];
};

/*
 * A record; everything it points to lives until consumer_release(). It keeps the whole batch that it came in
 * (up to a megabyte) in memory, so it should be released soon, and before its consumer is closed.
 */
struct consumer_record {
        uint32_t partition;
        uint64_t offset;
        int64_t timestamp_unix_ms; /* -1: none */
        bool has_key, has_value;
        struct bytes key, value;
        const struct kafka_header *headers;
        size_t headers_count; /* at most CONSUMER_HEADERS_MAX are given; more is told by headers_cut */
        bool headers_cut;
        struct rd_kafka_message_s *message;
        struct kafka_header *headers_owned;
};

struct error *consumer_open(const struct consumer_options *options, struct consumer **out_consumer) MUST_USE;
/*
 * Leaves the group, within a deadline whatever the brokers do (a client that hangs is left behind and told in
 * the log). Partitions that are still assigned are given back; the caller has committed what it wants to. No
 * other thread may be inside a call of this consumer any more (producer_commit(), consumer_committed()).
 * NULL gives NULL.
 */
struct consumer *consumer_close(struct consumer *consumer, int64_t limit_ns);

/* One report at a time; CONSUMER_NOTHING when there is none. */
void consumer_poll(struct consumer *consumer, struct consumer_report *out_report);
struct error *consumer_assign(struct consumer *consumer) MUST_USE;   /* the partitions of the last report */
struct error *consumer_unassign(struct consumer *consumer) MUST_USE; /* the same */
/* false: nothing there now. Partitions that are not assigned give nothing. */
bool consumer_take(struct consumer *consumer, uint32_t partition, struct consumer_record *out_record);
void consumer_release(struct consumer_record *record);
/*
 * Where the log of the partition ends, as last heard of; 0 when not yet known. Cheap. Markers of transactions
 * and records that were taken back count, so the last record may be some offsets before the end.
 */
uint64_t consumer_log_end(const struct consumer *consumer, uint32_t partition);
/* Of the topic; 0 until known. Looked up again every minute; a topic may grow. */
uint32_t consumer_partitions(const struct consumer *consumer);
/*
 * Where the group stands in the partition, after every transaction that could still change it has ended
 * (require_stable). Blocks; any thread. out_found false: no commit yet.
 */
struct error *consumer_committed(struct consumer *consumer, uint32_t partition, int64_t timeout_ns,
                                 uint64_t *out_offset, bool *out_found) MUST_USE;

/* For the files of this folder. */
/*
 * As what this member may commit offsets now; NULL when it was thrown out of the group. To be destroyed. Any
 * thread; so is consumer_owns(), which is true from consumer_assign() to consumer_unassign().
 */
struct rd_kafka_consumer_group_metadata_s *consumer_membership(struct consumer *consumer);
bool consumer_owns(const struct consumer *consumer, uint32_t partition);
/* Takes the message, which has no error, into the record. */
void consumer_record_fill(struct rd_kafka_message_s *message, struct consumer_record *out_record);
