#pragma once
/* What the files of this folder see of the store and of a batch. Nobody else includes this. */
#include "broker/store/answers.h"
#include "broker/store/journal.h"
#include "broker/store/late.h"

#include <pthread.h>

struct rocksdb_writebatch_t;

/* The thread of gather.c, and the partitions that wait for it. */
struct gatherer {
        pthread_t thread;
        bool running;
        pthread_mutex_t mutex;
        pthread_cond_t cond; /* something to do, or done */
        bool stopping;
        struct partition *first, *last; /* first come, first served; none: last is stale */
};

struct store {
        struct db db;
        pthread_mutex_t mutex; /* for the journal, the answers and the late rows */
        struct journal journal;
        struct answers answers;
        struct late late;       /* of files */
        atomic_size_t gathered; /* rows of partitions, see gather.h */
        struct gatherer gatherer;
        bool journal_loaded, answers_loaded, read_only, worker;
        pthread_mutex_t keeping;      /* held while ends are kept: one thread at a time */
        pthread_mutex_t partitioning; /* held while a partition is made or dropped */
        atomic_uint_fast64_t rows;    /* written since the cache was fitted */
        _Atomic(char *) failed;       /* why nothing is written any more; NULL: all is well */
};

/* What a batch does to a job of a partition, in order. Its rows are in the batch already, except for those
 * that hang on what is there: see parked.c and store_write(). */
enum change_kind { CHANGE_SETTLE, CHANGE_REMOVE, CHANGE_PARK, CHANGE_UNPARK, CHANGE_ANSWER, CHANGE_DROP };

struct change {
        enum change_kind kind;
        uint32_t partition;
        struct key128 key;
        int64_t due_unix_ms; /* PARK */
        size_t index;        /* PARK: in fingerprints; ANSWER: in answers */
};

/* A partition that a batch has rows of. */
struct batch_partition {
        struct partition *partition;
        bool settles; /* has settled rows, or takes such or parked ones away */
        bool apart;   /* which are in batch->rows each by itself, and not in batch->settled */
        size_t count; /* of those in batch->settled */
        bool gathers; /* while it is written: they are in a packet */
        bool locked;
};

/* A settled row of a partition. */
struct settled_row {
        uint32_t partition;
        struct late_row late;
};

struct store_batch {
        struct store *store;
        struct rocksdb_writebatch_t *rows;
        struct buffer begun; /* the row of the block */
        uint64_t block;
        uint32_t begun_count;
        uint8_t begun_version;
        struct journal_end *ends;
        size_t ends_count, ends_capacity;
        struct change *changes;
        size_t changes_count, changes_capacity;
        struct answer_entry *answers;
        size_t answers_count, answers_capacity;
        uint8_t (*fingerprints)[32]; /* of parked jobs */
        size_t fingerprints_count, fingerprints_capacity;
        struct late_row *late;
        size_t late_count, late_capacity;
        struct settled_row *settled; /* of partitions */
        size_t settled_count, settled_capacity;
        struct buffer packet;
        struct batch_partition *partitions;
        size_t partitions_count, partitions_capacity;
        struct batch_partition no_room; /* where memory for one more was refused */
        size_t count;
        bool catches_up; /* no row may be late once it is written */
        bool removes;    /* settled rows */
        bool parks;      /* or unparks */
        bool failed;     /* memory was refused */
};

/* What a batch changes in the number of parked jobs, per partition that it has rows of. */
struct parked_plan {
        struct parked_change {
                int64_t delta;
                int64_t lowest; /* the first that is due of those that it parks; INT64_MAX: none */
        } * changes;            /* in the order of batch->partitions; NULL: nothing */
};

/* ERROR_IO when the store no longer writes, or never did. */
struct error *store_refuses(const struct store *store) MUST_USE;
/* Remembers a failed write that must not be tried again. Returns the error that it was given. */
struct error *store_fail(struct store *store, struct error *error) MUST_USE;
/* Says whose state could not be read. */
struct error *store_reading(const struct store *store, struct error *error) MUST_USE;
/* Before settled rows are taken away. */
struct error *store_keep_ends(struct store *store) MUST_USE;
/* The partition, which must be open. */
struct partition *store_partition(const struct store *store, uint32_t number);

/*
 * An attempt from before the last opening gives way to what happens to its key now. Gives it; block 0: none.
 */
struct begun_id batch_end_unknown(struct store_batch *batch, uint32_t partition, struct key128 key, bool row);
/* Counts the batch among the users of the partition. Valid until the next call. */
struct batch_partition *batch_partition(struct store_batch *batch, uint32_t number);
/* Its settled rows are in batch->rows each by itself from here on, those of before too. */
void batch_set_apart(struct store_batch *batch, struct batch_partition *partition);

/* Adds to batch->rows what parking and its end ask for. Then exactly one of commit and undo. */
struct error *parked_prepare(struct store_batch *batch, struct parked_plan *out_plan) MUST_USE;
void parked_commit(const struct store_batch *batch, struct parked_plan *plan);
void parked_undo(struct parked_plan *plan);
/* Once the rows can be seen. */
void parked_apply(struct partition *partition, const struct parked_change *change);
/* Rows of a parked job. */
void parked_put_body(struct rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                     struct key128 key, struct bytes value);
void parked_delete_body(struct rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                        struct key128 key);
void parked_put_due(struct rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                    const struct parked_cursor *at);
void parked_delete_due(struct rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                       const struct parked_cursor *at);
/* Rows that are due without a mark that says so, left behind by a load that did not end, go. */
struct error *parked_repair(struct store *store, struct partition *partition) MUST_USE;
struct error *parked_count(const struct db *db, uint32_t partition, uint64_t *out_count) MUST_USE;
/* What was spent of a partition goes. */
void shares_delete(struct store_batch *batch, uint32_t partition);
/* Every row of the partition goes, a few at a time. */
struct error *parked_clear(struct store *store, struct partition *partition) MUST_USE;

/* The partition's state; out_found false: there is none. */
struct error *partition_get_state(const struct db *db, uint32_t partition, bool *out_found,
                                  struct partition_state *out_state) MUST_USE;
/* Whether a load of it did not end. */
struct error *partition_is_loading(const struct db *db, uint32_t partition, bool *out_loading) MUST_USE;
void partition_put_loading(struct rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                           bool loading);
