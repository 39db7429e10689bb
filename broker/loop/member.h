#pragma once
/*
 * One shard of a worker: the loop with everything that it needs of Kafka: a member of the consumer group, a
 * transactional producer behind the publisher, the restorer. A process has `shards` of them; they share the
 * store and nothing else.
 */
#include "broker/loop/publisher.h"
#include "broker/loop/record_intake.h"
#include "broker/loop/shard.h"

struct member;

struct member_options {
        struct shard_options shard; /* without intake; endless is set */
        struct job_decoder_options decoder;
        struct kafka_properties properties;
        const char *topic_jobs, *topic_results, *topic_dead_letters, *topic_state;
        const char *topic_audit; /* NULL: no audit */
        uint32_t audit_partitions;
        const char *group_id;
        const char *name; /* stable and unique in the cluster: names the producer and who owns a partition */
        size_t jobs_bytes_max, results_bytes_max, dead_letters_bytes_max, state_bytes_max; /* of a record */
        int64_t interval_ns, park_after_ns, leave_ns, session_ns;
        int64_t retention_ns; /* of the keys of finished jobs */
        int64_t keep_for_ns;  /* results, after publication */
        bool republish;       /* for a duplicate */
        bool msgpack;
        enum producer_fault (*fault)(void *userdata, const char *step); /* for tests; NULL */
        void *fault_userdata;
};

struct error *member_open(const struct member_options *options, struct member **out_member) MUST_USE;
/* On a thread of its own, until it is drained, stopped, or fails for good. */
enum shard_end member_run(struct member *member, struct error **out_error);
/* From any thread. */
void member_drain(struct member *member);
void member_stop(struct member *member);
/* After the run: leaves the group and ends all threads. NULL gives NULL. */
struct member *member_close(struct member *member, int64_t limit_ns);

struct shard *member_shard(struct member *member);
/* On the member's thread, or after its run. */
const struct record_intake *member_intake(const struct member *member);
void member_publisher_stats(struct member *member, struct publisher_stats *out_stats);
