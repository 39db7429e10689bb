#pragma once
/*
 * The durable state: RocksDB through its C API. Everything is written by one thread (the committer) in
 * batches, each one atomic rocksdb_write() with sync; look-ups may come from other threads.
 *
 * What is in it
 *   settled   one row per job that ended: key -> struct settled
 *   begun     one row per batch of attempts that may have been sent:
 *             block number -> {key, fingerprint, attempt, endpoint, exposure}... An attempt is live from
 *             store_batch_begin() until it is settled or ended. A block's row goes when its last attempt is
 *             no longer live. What is live when the store is opened is of unknown outcome: the process died
 *             with the call under way.
 *   bodies    answers that are durable but not yet published (only for sinks that cannot be read back)
 *   sources   how far each source has been settled, and the lengths of the outputs at that moment
 *
 * Facts about RocksDB (reference reliability_performance.md A5): wal_recovery_mode 0, WAL tracking, no fsync
 * is ever retried: after a failed write other than a full disk the store is closed for writing until it has
 * been opened again. A full disk passes by itself: RocksDB looks every 5 s and takes writes again once 8 MB
 * are free.
 *
 * Threads: one writes (store_write, store_expire, store_verify); one fills batches, one after another, so
 * that a later attempt for a key is in a later batch; the hand-over of a batch is the caller's. Look-ups come
 * from any thread.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"
#include "broker/base/key.h"
#include "workers/routing/kind.h"

struct store;
struct store_batch;

struct settled {
        enum failure failure;
        int32_t status; /* HTTP */
        uint32_t attempts;
        bool cost_known, cost_is_estimate;
        int64_t cost_picousd;
        int64_t settled_unix_ms;
        uint8_t fingerprint[32];
        bool fingerprint_known; /* false: the row was written without one, and any fingerprint matches */
        uint32_t sink;          /* which output: 0 results, 1 errors */
        uint64_t offset;        /* of the line there */
        uint32_t size;
};

/* Names an attempt in the journal. block 0: none. */
struct begun_id {
        uint64_t block;
        uint32_t index;
};

struct begun {
        struct key128 key;
        uint8_t fingerprint[32];
        uint32_t attempt;         /* 1-based */
        int64_t exposure_picousd; /* what it may have cost; -1 unknown */
        char endpoint[64];        /* name, cut */
};

enum store_found { STORE_NONE, STORE_SETTLED, STORE_UNKNOWN };

struct store_record {
        enum store_found found;
        struct settled settled; /* STORE_SETTLED */
        struct begun begun;     /* STORE_UNKNOWN: the attempt that was under way */
        struct begun_id begun_id;
};

/* Where a source stands. Everything before `offset` is settled and durable. */
struct source_state {
        uint64_t offset, lines, sequence;
        uint32_t crc;              /* of the bytes before offset (zlib's crc32) */
        uint64_t outputs_bytes[2]; /* lengths of results and errors that belong to the settled rows */
        char outputs[2][512];      /* their absolute paths; "" none, "-" standard output */
        bool finished;
        int64_t updated_unix_ms;
};

struct store_options {
        const char *directory; /* made when absent */
        bool read_only;
        bool strict; /* wal_recovery_mode 1, for tests */
        /*
         * For tests, else NULL: asked before each "open", "look_up", "get", "scan" and "write", and after a
         * write that succeeded ("written"). Gives 0, or the errno that the operation is to fail with. After
         * "written" the rows are on the disk and the caller is told otherwise.
         */
        int (*fault)(void *userdata, const char *operation);
        void *fault_userdata;
};

struct error *store_open(const struct store_options *options, struct store **out_store) MUST_USE;
struct store *store_close(struct store *store); /* takes NULL, returns NULL */

/* Any thread. */
struct error *store_look_up(struct store *store, struct key128 key, struct store_record *out_record) MUST_USE;
/* Many at once: cheaper than one by one. */
struct error *store_look_up_many(struct store *store, const struct key128 *keys, size_t count,
                                 struct store_record *out_records) MUST_USE;

struct store_batch *store_batch_new(struct store *store);
struct store_batch *store_batch_free(struct store_batch *batch);
void store_batch_clear(struct store_batch *batch);
/* The identity it has once store_write() has succeeded. */
struct begun_id store_batch_begin(struct store_batch *batch, const struct begun *begun);
/* The attempt is over without a result (refused, or never sent). block 0 is ignored. */
void store_batch_end(struct store_batch *batch, struct begun_id id);
/* `id`: the attempt that led to it; block 0 when there was none. */
void store_batch_settle(struct store_batch *batch, struct key128 key, const struct settled *settled,
                        struct begun_id id);
void store_batch_body(struct store_batch *batch, struct key128 key, struct bytes body);
void store_batch_body_drop(struct store_batch *batch, struct key128 key);
void store_batch_source(struct store_batch *batch, const char *name, const struct source_state *state);
size_t store_batch_count(const struct store_batch *batch);

/* All or nothing, durable when it returns NULL. Clears the batch then; leaves it for another try when the
 * error is ERROR_FULL. */
struct error *store_write(struct store *store, struct store_batch *batch) MUST_USE;

struct error *store_get_source(struct store *store, const char *name, bool *out_found,
                               struct source_state *out_state) MUST_USE;
struct error *store_get_body(struct store *store, struct key128 key, struct buffer *out_body,
                             bool *out_found) MUST_USE;
/* Calls `each` for the bodies that are not yet published. Stops at the first error. */
struct error *store_each_body(struct store *store,
                              struct error *(*each)(void *userdata, struct key128 key, struct bytes body),
                              void *userdata) MUST_USE;
struct error *store_each_source(struct store *store,
                                struct error *(*each)(void *userdata, const char *name,
                                                      const struct source_state *state),
                                void *userdata) MUST_USE;
/* Attempts of unknown outcome found at opening and not settled since. */
struct error *store_each_unknown(struct store *store,
                                 struct error *(*each)(void *userdata, const struct begun *begun),
                                 void *userdata) MUST_USE;

struct store_stats {
        uint64_t settled, unknown, bodies,
                sources; /* rows; settled is RocksDB's estimate unless counted by store_verify() */
        uint64_t disk_bytes, memory_bytes;
};
struct error *store_stats(struct store *store, struct store_stats *out_stats) MUST_USE;
/* Reads everything, checks checksums, formats and that references agree; out_message gets a line per finding.
 */
struct error *store_verify(struct store *store, struct store_stats *out_stats,
                           struct buffer *out_findings) MUST_USE;
/* Drops settled rows older than that; returns how many. */
struct error *store_expire(struct store *store, int64_t before_unix_ms, uint64_t *out_count) MUST_USE;
