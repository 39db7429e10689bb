#pragma once
/*
 * Jobs from the partitions of the jobs topic that the group gives to this shard.
 *
 * A partition comes (ASSIGNED), is restored from the state topic, and only then gives records. Each record's
 * offset is open in the partition's window until its result, dead letter, rehoming or parking has been handed
 * to the committer; behind these goes the window's mark, which the same transaction commits. When a partition
 * goes (REVOKED) its jobs that are not being called are given up, what has been handed over is published, and
 * then it is let go. Every coming and going raises its epoch, by which all that is late is recognised.
 *
 * A record that comes again while its job is still inside from the time before (its call was kept over a
 * rebalance) takes that job over; when the job's result is on its way under the old epoch already, the record
 * waits until that has ended and then finds the answer in the store, or the key free for the first record
 * that has it. So the records behind it wait too (core/again.h).
 *
 * A job that holds a window's mark for longer than `park_after_ns` is parked in place: its record goes to the
 * state topic as parked, its offset is settled, and it runs on. One that will do nothing for long
 * (not_before, a quota that is gone, a long back-off) is parked and, when the store knows that, leaves memory
 * until it is due.
 *
 * A duplicate of a job that has ended is dropped, or has its result published once more, if the store still
 * keeps that (`republish`).
 *
 * A process that was stopped for longer than half its session may have lost its partitions without knowing:
 * it begins no calls until the group has had time to say so.
 */
#include "broker/core/window.h"
#include "broker/loop/intake.h"
#include "broker/loop/origin.h"
#include "broker/loop/publisher.h"
#include "broker/loop/restore.h"

struct record_intake;

struct record_intake_options {
        struct store *store;
        struct board *board;
        struct job_decoder **decoder; /* where the owner keeps it: another one may come */
        const char *member;           /* who owns a partition, for people */
        int64_t park_after_ns;
        int64_t session_ns;    /* session.timeout.ms */
        size_t park_bytes_max; /* of a record of the state topic; what is larger is not parked */
        size_t home_bytes_max; /* of a record of the jobs topic; what is larger cannot go home */
        int64_t leave_ns;      /* how long a partition that goes may take */
        int64_t retention_ns;  /* how long the keys of finished jobs are known */
        bool republish;        /* a duplicate gets the result once more, while that is kept */
};

/* Of one partition, for the metrics. */
struct partition_view {
        uint32_t partition;
        bool restoring, leaving;
        uint64_t mark, position, log_end;
        uint32_t open;
        uint64_t parked;
        int64_t restore_ns;
        int64_t assigned_ns; /* when it came */
};

struct record_stats {
        uint64_t records, rehomed, undecodable, restores, rebalances, readopted;
        uint64_t forgotten; /* keys */
        uint64_t not_kept;  /* duplicates that are dropped for want of their result */
        struct histogram restore;
        uint32_t partitions, restoring;
        bool joined;                        /* has been given partitions, or none, at least once */
        bool failed;                        /* the consumer, for good */
        char message[CONSUMER_MESSAGE_MAX]; /* of its trouble; "" when there is none */
};

extern const struct intake_ops record_intake_ops;

struct error *record_intake_new(const struct record_intake_options *options,
                                struct record_intake **out_intake) MUST_USE;
/* Before the shard runs. */
void record_intake_connect(struct record_intake *intake, struct consumer *consumer,
                           struct publisher *publisher, struct restorer *restorer);
/* After the run, before the consumer is closed: gives back what it has of it. */
void record_intake_disconnect(struct record_intake *intake);
struct record_intake *record_intake_free(struct record_intake *intake); /* NULL gives NULL */
/* On the shard's thread. Gives how many views were written. */
size_t record_intake_views(const struct record_intake *intake, struct partition_view *out_views, size_t max);
void record_intake_stats(const struct record_intake *intake, struct record_stats *out_stats);
