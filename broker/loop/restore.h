#pragma once
/*
 * Takes a partition over: reads its part of the state topic, from where the store stands to its end, into the
 * store. Before that, where the group stands in the jobs is asked, which waits for every transaction that
 * could still change it; so what a former owner committed is in what is read.
 *
 * restorer: a thread that does so for the partitions that a shard is given, one after the other. While it has
 * none, it looks for old keys (expiry.h), and lets results go that were kept long enough.
 */
#include "broker/kafka/changelog.h"
#include "broker/kafka/consumer.h"
#include "broker/loop/expiry.h"
#include "broker/store/store.h"

struct restored {
        uint32_t partition, epoch;
        struct error *error; /* NULL: done. The taker's */
        bool committed;      /* the group has an offset */
        uint64_t offset;
        uint64_t source_high; /* no row names an offset of the jobs from here on */
        int64_t free_ms;      /* nobody has had the partition for so long; INT64_MAX: ever */
        /* what the last owner said was taken of its part; the taker's; empty: nothing */
        struct buffer quotas;
        uint64_t records;
        int64_t asked_ns, took_ns; /* from being asked for, so waiting behind others counts */
};

struct restore_options {
        struct store *store;
        struct consumer *consumer;
        struct kafka_properties properties;
        const char *topic_state, *client_id;
        int event_fd;         /* written to when a partition is restored, or old keys are found */
        int64_t keep_for_ns;  /* results, after publication */
        int64_t retention_ns; /* of the keys of finished jobs */
};

/* Reads the state topic to its end into the store. For one thread at a time per changelog. */
struct error *restore_catch_up(struct store *store, struct changelog *changelog, uint32_t partition,
                               const atomic_bool *stop, struct restored *out_restored) MUST_USE;

void restored_deinit(struct restored *restored);

struct restorer;

struct error *restorer_new(const struct restore_options *options, struct restorer **out_restorer) MUST_USE;
/* Stops what is under way. NULL gives NULL. */
struct restorer *restorer_free(struct restorer *restorer);
struct error *restorer_submit(struct restorer *restorer, uint32_t partition, uint32_t epoch) MUST_USE;
/* false: nothing has ended. */
bool restorer_take(struct restorer *restorer, struct restored *out_restored);
/* Asks for a slice, one at a time. */
void restorer_expire(struct restorer *restorer, const struct expiry_slice *slice);
bool restorer_take_expired(struct restorer *restorer, struct expiry_slice *out_slice);
