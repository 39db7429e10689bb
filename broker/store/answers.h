#pragma once
/*
 * Results that are durable and not yet published. The rows are in the family `answers`; which keys have one
 * is in memory too, so that a look-up of a new job does not have to ask RocksDB. That is what was settled
 * within one commit interval of the topics, as long as Kafka can be reached; ANSWERS_MAX is for when it
 * cannot.
 *
 * Threads: the store's mutex is held around every call but answers_load() and answers_deinit(); `count` may
 * be read without it.
 */
#include "broker/base/map.h"
#include "broker/store/db.h"

/* Some 50 MB. Nothing more is answered then before something has been published. */
enum { ANSWERS_MAX = 1 << 18 };

struct answer_entry {
        uint32_t partition;
        struct key128 key;
        struct settled settled;
        bool dead_letter;
        bool kept;             /* its value is there */
        struct begun_id begun; /* the attempt that led to it; block 0: none, or not known */
};

struct answers {
        struct answer_entry *entries; /* in no order */
        size_t capacity, reserved;    /* reserved: for batches on their way */
        atomic_size_t count;
        struct map by_key; /* place in entries, by key_in() */
};

/* All of it, also when it failed, goes with answers_deinit(). */
struct error *answers_load(struct answers *answers, const struct db *db) MUST_USE;
void answers_deinit(struct answers *answers);

/* NULL: none. Valid until the next change. */
struct answer_entry *answers_find(const struct answers *answers, uint32_t partition, struct key128 key);
/* Makes room, so that as many answers_put() cannot fail; or answers_unreserve(). ERROR_FULL: too many. */
struct error *answers_reserve(struct answers *answers, size_t count) MUST_USE;
void answers_unreserve(struct answers *answers, size_t count);
void answers_put(struct answers *answers, const struct answer_entry *entry);
void answers_remove(struct answers *answers, uint32_t partition, struct key128 key); /* absent is fine */
