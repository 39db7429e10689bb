#pragma once
/*
 * Results that are durable and not yet published. Which keys have one is in memory, so that a look-up of a
 * new job does not have to ask RocksDB. That is what was settled within one commit interval of the topics, as
 * long as Kafka can be reached; ANSWERS_MAX is for when it cannot.
 *
 * The rows are named by numbers that are given in order, not by the jobs' keys, which are hashes: so a write
 * buffer takes them at its end, those of a transaction go as ranges, and a flush, which need not sort, writes
 * only what is still there. Rows that were written under their keys stay so until they go.
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
        uint64_t number;       /* of its row; 0: an old one, under its key */
};

struct answers {
        struct answer_entry *entries; /* in no order */
        size_t capacity, reserved;    /* reserved: for batches on their way */
        atomic_size_t count;
        struct map by_key; /* place in entries, by key_in() */
        atomic_uint_fast64_t next_number;
};

/* All of it, also when it failed, goes with answers_deinit(). Of two rows for a key the later one counts. */
struct error *answers_load(struct answers *answers, struct db *db, bool read_only) MUST_USE;
void answers_deinit(struct answers *answers);

/* NULL: none. Valid until the next change. */
struct answer_entry *answers_find(const struct answers *answers, uint32_t partition, struct key128 key);
/* Makes room, so that as many answers_put() cannot fail; or answers_unreserve(). ERROR_FULL: too many. */
struct error *answers_reserve(struct answers *answers, size_t count) MUST_USE;
void answers_unreserve(struct answers *answers, size_t count);
void answers_put(struct answers *answers, const struct answer_entry *entry);
void answers_remove(struct answers *answers, uint32_t partition, struct key128 key); /* absent is fine */

/* Takes rows out of the store: those that are named one behind the other are one deletion. */
struct answers_sweep {
        const struct db *db;
        struct rocksdb_writebatch_t *rows; /* where it is written */
        uint64_t from, until;              /* not yet there */
};
void answers_sweep_add(struct answers_sweep *sweep, const struct answer_entry *entry);
void answers_sweep_end(struct answers_sweep *sweep);
