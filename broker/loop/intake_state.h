#pragma once
/*
 * The inside of the record intake, for the files that are it: record_intake.c takes records and hears what
 * becomes of them, membership.c lets partitions come and go, parking.c parks jobs and brings them back,
 * expiring.c lets old keys be forgotten.
 */
#include "broker/core/again.h"
#include "broker/loop/record_intake.h"

struct part {
        uint32_t partition, epoch;
        bool owned, active, leaving, released;
        bool claimed;    /* its state is read, and the state topic is being told that it is ours */
        bool started;    /* the window has its beginning */
        bool shared;     /* its part of the limits is in use here */
        bool purse;      /* and that of the budgets */
        bool given;      /* its part of the limits is no longer ours */
        int64_t free_ms; /* nobody had it for so long before it came; INT64_MAX: ever */
        /* quota_list.h; what was taken of its part when it came, or when it was given; empty: not known */
        struct buffer quotas;
        struct window window;
        uint64_t mark_handed, source_high;
        uint32_t inside; /* jobs of it in the engine */
        struct consumer_record held;
        bool has_held;
        struct parked_cursor parked_at;
        bool parked_begun, parked_left;
        uint32_t parked_ticks;
        int64_t restore_again_ns, restore_ns, assigned_ns;
        uint64_t expiry_from; /* where old keys are looked for next, in the state topic */
        int64_t expiry_ns;    /* and when */
};

struct record_intake {
        struct record_intake_options options;
        struct consumer *consumer;
        struct publisher *publisher;
        struct restorer *restorer;
        struct part *parts[CONSUMER_PARTITIONS_MAX]; /* NULL: never had it */
        uint32_t owned[CONSUMER_PARTITIONS_MAX];
        size_t owned_count, turn;
        struct limit_part shares[CONSUMER_PARTITIONS_MAX];
        bool leaving, ending; /* ending: all parts of the limits were given */
        bool strays;          /* jobs of partitions that have gone, or are going, may be inside */
        size_t strays_seen;   /* by the last sweep */
        size_t rests, looks;  /* jobs that began to rest in this turn, and others that do */
        int64_t gathered_ns, doubt_until_ns;
        int64_t leave_by_ns, tick_ns, again_ns;
        int64_t noted_ns;   /* of stats.message */
        struct again again; /* records that wait until the job inside has gone */
        size_t taken;       /* in this turn */
        size_t parks_left;  /* in this turn */
        bool expiry_asked;  /* the restorer looks for old keys */
        bool expiry_more;   /* the last slice did not end for want of them */
        struct expiry_slice expiry;
        struct bytes expired;  /* of its keys, those that are not handed on yet */
        uint32_t whole;        /* partitions of the topic, when the limits were shared */
        uint32_t purses_whole; /* the same, when purses were opened last */
        bool hungry;           /* there may be more at once */
        bool words_left;       /* on what was spent, more than a turn takes */
        struct shard *shard;   /* during a call */
        struct error *error;
        struct record_stats stats;
};

struct part *intake_part_of(const struct record_intake *intake, const struct job_spec *job);
/* Its partition is this shard's, and has been since it was taken. */
bool intake_is_current(const struct record_intake *intake, const struct origin *origin);
void intake_free_job(struct job_spec *job);
/* Ends the shard once what is under way is durable; NULL is fine. The first one counts. */
void intake_fail(struct record_intake *intake, struct error *error);
/* Behind all that was handed over before. NULL when memory is refused, which ends the shard. */
struct publication *intake_publish(struct record_intake *intake, enum publication_kind kind,
                                   const struct part *part);
/* Where the window stands, if that has not been told. */
void intake_publish_mark(struct record_intake *intake, struct part *part);
void intake_give(struct record_intake *intake, struct part *part, struct job_spec *job); /* to the shard */
void intake_release_held(struct part *part);
