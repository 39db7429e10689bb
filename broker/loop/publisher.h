#pragma once
/*
 * The thread that publishes: it takes what the committer has made durable here, in order, and puts results,
 * dead letters, state records, rehomed jobs and the offsets that they settle into one transaction per commit
 * interval or less (cadence.h): a first part at half of that time, the rest at its end. Only when that is
 * committed does the store learn that the jobs are settled, and the shard with it.
 *
 *   COMMITTED  rows to the store, completions to the shard
 *   ABORTED    the same once more, after a while
 *   FENCED     the same: what no longer belongs here is dropped by its epoch as soon as the shard has noticed
 *   GONE       not known: a new producer under the same id ends what the old one left open, then the state
 *              topic is read to its end, and what turns out to be there is not sent again
 *
 * Audit records go into the transaction of the results that they are about. They are nowhere else until then,
 * so a crash may take some: what was answered by then is told again as `recovered`, what was not as
 * `unknown`.
 *
 * What is dropped stays in the store as an answer, so a partition that comes back finds it there.
 */
#include "broker/kafka/producer.h"
#include "broker/loop/board.h"
#include "broker/loop/committer.h"
#include "broker/loop/publication.h"
#include "broker/loop/restore.h"
#include "broker/ops/metric.h"

struct publisher;

struct publisher_options {
        struct store *store;
        struct board *board;
        struct consumer *consumer;
        struct kafka_properties properties;
        const char *topic_jobs, *topic_results, *topic_dead_letters, *topic_state;
        const char *topic_audit; /* NULL: no audit */
        uint32_t audit_partitions;
        const char *transactional_id, *client_id, *group_id;
        size_t results_bytes_max, dead_letters_bytes_max; /* of a record; SIZE_MAX: not known */
        const struct catalog *catalog;
        int64_t interval_ns;
        bool msgpack;      /* how results are written */
        bool keep_results; /* the store keeps what was published */
        /* Told on the publisher's thread, in order of publication. */
        void (*complete)(void *userdata, const struct completion *completions, size_t count);
        /*
         * It publishes nothing any more: the store has failed (not for a full disk), or a topic takes less
         * than it did. May be called once.
         */
        void (*fail)(void *userdata, const char *message);
        void *complete_userdata; /* of both */
        int event_fd;            /* written to when something has been told */
        enum producer_fault (*fault)(void *userdata, const char *step); /* for tests; NULL */
        void *fault_userdata;
};

struct publisher_stats {
        uint64_t committed, aborted, fenced, replaced, results, dead_letters, rehomed, parked, replayed;
        struct histogram commit;
        char message[CONSUMER_MESSAGE_MAX]; /* why the last transaction did not commit; "" when it did */
};

/* Opens the producer, which ends what an earlier one left behind. */
struct error *publisher_new(const struct publisher_options *options,
                            struct publisher **out_publisher) MUST_USE;
/* Ends the thread, but still takes what is submitted. Once. */
void publisher_stop(struct publisher *publisher);
/* Ends the thread, if it has not; what is not published yet stays in the store. NULL gives NULL. */
struct publisher *publisher_free(struct publisher *publisher);
/* Takes them over. false: memory was refused, nothing was taken. */
bool publisher_submit(struct publisher *publisher, struct publication *items, size_t count);
void publisher_pace(struct publisher *publisher, bool busy); /* whether the shard is; idle at first */
void publisher_flush(struct publisher *publisher);           /* do not wait for the interval, once */
bool publisher_idle(struct publisher *publisher);
void publisher_get_stats(struct publisher *publisher, struct publisher_stats *out_stats);
