#pragma once
/*
 * The durable state: RocksDB through its C API. Everything is written in batches, each one atomic
 * rocksdb_write().
 *
 * What is in it
 *   settled   one row per job that ended: key -> struct settled. Those of files stand in one column family,
 *             those of each jobs partition in one of their own, so that a partition can be let go as a whole.
 *             A key is a name within its partition: the same in two partitions is two jobs.
 *             Rows of files may come late, see store_batch_settle_late(); those of partitions are gathered,
 *             as durable, until they are many (gather.h): up to 33 MB of memory.
 *   begun     one row per batch of attempts that may have been sent:
 *             block number -> {key, partition, fingerprint, attempt, endpoint, exposure}... An attempt is
 *             live from store_batch_begin() until it is settled, answered or ended. A block's row goes when
 *             its last attempt is no longer live. What is live when the store is opened is of unknown
 *             outcome: the process died with the call under way.
 *   answers   results of jobs of partitions that are durable and not yet published, by numbers in order; of
 *             jobs whose answers may not be written down (zdr) only what they cost
 *   parked    jobs of partitions that wait for a time, in order of it; a mark among the settled rows says so
 *   kept      published results of jobs of partitions, for a time (kept.c)
 *   bodies    answers of files that are durable but not yet published (only for sinks that cannot be read
 *             back)
 *   sources   how far each source has been settled, and the lengths of the outputs at that moment
 *   spend     what each workspace and provider has spent and has at risk, in the same write as the rows of
 *             the jobs that spent it. What attempts have reserved stands with them in `begun`: of those that
 *             are of unknown outcome it must be added, once (store_batch_count_holds())
 *   quotas    what limits have given, by sub-windows (broker/core/quota.h), in the same write as the attempts
 *             that may take it
 *   partition states   how far the state topic has been read into a partition's rows; written with them
 *
 * Facts about RocksDB (reference reliability_performance.md A5): wal_recovery_mode 0, WAL tracking, no fsync
 * is ever retried: after a failed write other than a full disk the store is closed for writing, for all
 * threads, until it has been opened again. A full disk passes by itself: RocksDB looks every 5 s and takes
 * writes again once 8 MB are free.
 *
 * Threads: each has batches of its own and writes them at any time; writes that come together share an fsync.
 * What happens to one job happens in order: a later attempt for a key is begun after the batch with the
 * earlier one was written, and two threads never write rows of the same key at the same time. Look-ups come
 * from any thread. store_verify() and store_each_...() may run beside writers and then see some of their
 * rows.
 * Nobody uses a partition while it is opened, cleared, dropped or loaded.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"
#include "broker/base/key.h"
#include "broker/core/quota.h"
#include "workers/routing/budget.h"
#include "workers/routing/kind.h"

#define STORE_NO_PARTITION    UINT32_MAX /* the jobs of files */
#define STORE_PARTITIONS_MAX  16384      /* a partition's number is below that */
#define STORE_VALUE_BYTES_MAX (256u << 20)
#define STORE_NOTE_MAX        512

struct store;
struct store_batch;
struct store_load;

struct settled {
        uint32_t partition; /* of the job; STORE_NO_PARTITION */
        enum failure failure;
        int32_t status; /* HTTP */
        uint32_t attempts;
        bool cost_known, cost_is_estimate;
        int64_t cost_picousd;
        int64_t settled_unix_ms;
        uint8_t fingerprint[32];
        bool fingerprint_known; /* false: the row was written without one, and any fingerprint matches */
        uint32_t sink;          /* which output: 0 results, 1 errors or dead letters */
        uint64_t offset;        /* files: of the line there; partitions: of the job in the jobs topic */
        uint32_t size;
};

/* Names an attempt in the journal. block 0: none. */
struct begun_id {
        uint64_t block;
        uint32_t index;
};

struct begun {
        struct key128 key;
        uint32_t partition; /* STORE_NO_PARTITION */
        uint8_t fingerprint[32];
        uint32_t attempt;         /* 1-based */
        int64_t exposure_picousd; /* what it may have cost; -1 unknown */
        char endpoint[64];        /* name, cut */
        /*
         * What it has reserved with the budgets of these two; names are the caller's or, of what the store
         * gives, the store's. The attempts of a batch all hold something, be it nothing of nobody, or none do
         */
        bool holds;
        bool hold_counted; /* of what the store gives: it is part of the spend rows already */
        struct bytes workspace, provider;
        int64_t hold_picousd, hold_day;
};

/* In the order in which they are looked for: SETTLED, PARKED, ANSWERED, UNKNOWN. */
enum store_found { STORE_NONE, STORE_SETTLED, STORE_UNKNOWN, STORE_ANSWERED, STORE_PARKED };

struct store_record {
        enum store_found found;
        struct settled settled; /* SETTLED, and `answered` */
        /* A parked job may have an answer that is not yet published, or an attempt of unknown outcome. */
        bool answered;      /* ANSWERED, perhaps PARKED: `settled` is what it will be settled with */
        bool dead_letter;   /* the answer */
        bool kept;          /* its value is there: else all that is known of it is `settled` */
        bool attempted;     /* UNKNOWN, perhaps PARKED: `begun` and `begun_id` */
        struct begun begun; /* the attempt that was under way */
        struct begun_id begun_id;
        int64_t due_unix_ms; /* PARKED */
        uint8_t parked_fingerprint[32];
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

/* How far the rows of a partition go. */
struct partition_state {
        uint64_t changelog_offset; /* of the state topic: where reading goes on */
        uint64_t source_high;      /* the highest offset of the jobs topic that a row names, and one more */
        int64_t updated_unix_ms;
};

/* A result that is not yet published. */
struct answer_row {
        struct key128 key;
        struct settled settled; /* what the job will be settled with; its partition must be one */
        bool dead_letter;
        struct bytes value; /* the caller's; empty: not kept */
};

struct store_options {
        const char *directory; /* made when absent */
        bool read_only;
        bool worker; /* has partitions: larger logs, so that many families are not flushed all the time */
        bool strict; /* wal_recovery_mode 1, for tests */
        /*
         * For tests, else NULL: asked before each "open", "look_up", "get", "scan", "family" (made or
         * dropped), "file" (of a load), "ingest" and "write", from whatever thread, and
         * after a write that succeeded ("written"). Gives 0, or the errno that the operation is to fail with.
         * After "written" the rows are on the disk and the caller is told otherwise.
         */
        int (*fault)(void *userdata, const char *operation);
        void *fault_userdata;
};

struct error *store_open(const struct store_options *options, struct store **out_store) MUST_USE;
struct store *store_close(struct store *store); /* takes NULL, returns NULL */

/* Ties the directory to something, e.g. "cluster id/jobs topic/state topic", at the first call; ERROR_USAGE
 * when it is tied to something else. */
struct error *store_bind(struct store *store, const char *identity) MUST_USE;

/* Any thread. partition may be one that is not there: nothing is known of its jobs then. */
struct error *store_look_up(struct store *store, uint32_t partition, struct key128 key,
                            struct store_record *out_record) MUST_USE;
/* Many at once: cheaper than one by one, the more so when those of a partition stand together. partitions
 * NULL: files. */
struct error *store_look_up_many(struct store *store, const struct key128 *keys, const uint32_t *partitions,
                                 size_t count, struct store_record *out_records) MUST_USE;

/* ---- partitions ---- */

/*
 * Makes it, if it is not there. Before anything else is done with a partition, but look-ups. Without a state
 * (found false) there are no settled and no parked rows in it, only answers and attempts of unknown outcome
 * may have been kept.
 */
struct error *store_partition_open(struct store *store, uint32_t number, bool *out_found,
                                   struct partition_state *out_state) MUST_USE;
/* Forgets its settled and parked rows and its state, to read them anew; keeps answers and attempts. It stays
 * open. */
struct error *store_partition_clear(struct store *store, uint32_t number) MUST_USE;
/* Forgets all there is of it. ERROR_BUSY while a batch holds rows of it. None there: fine. */
struct error *store_partition_drop(struct store *store, uint32_t number) MUST_USE;

struct partition_stats {
        bool has_state;
        struct partition_state state;
        uint64_t settled, parked, answers; /* rows; settled is RocksDB's estimate */
};
/* In order. Also those that this process has not opened. Stops at the first error. */
struct error *store_each_partition(struct store *store,
                                   struct error *(*each)(void *userdata, uint32_t partition,
                                                         const struct partition_stats *stats),
                                   void *userdata) MUST_USE;

/* ---- batches ---- */

struct store_batch *store_batch_new(struct store *store);
struct store_batch *store_batch_free(struct store_batch *batch);
void store_batch_clear(struct store_batch *batch);
/* The identity it has once store_write() has succeeded. The attempts of one batch are all of files or all of
 * partitions. */
struct begun_id store_batch_begin(struct store_batch *batch, const struct begun *begun);
/* The attempt is over without a result (refused, or never sent). block 0 is ignored. */
void store_batch_end(struct store_batch *batch, struct begun_id id);
/* `id`: the attempt that led to it; block 0 when there was none. The key's answer and its being parked end
 * with it. */
void store_batch_settle(struct store_batch *batch, struct key128 key, const struct settled *settled,
                        struct begun_id id);
/*
 * The same for a job of a file whose result line is durable in an output that can be read back: the row is
 * in memory only until a batch with the place of a source is written, or one that is to catch up. After a
 * crash it is missing, and the line is behind the recorded length of the output. Nothing of it may be counted
 * in the spend rows.
 */
void store_batch_settle_late(struct store_batch *batch, struct key128 key, const struct settled *settled,
                             struct begun_id id);
void store_batch_catch_up(struct store_batch *batch);
/* Takes the settled row away (the state topic has forgotten it too). Costs an end row for every attempt that
 * is over in the journal: not in every batch. */
void store_batch_remove(struct store_batch *batch, uint32_t partition, struct key128 key);
/* `id`: the attempt that led to it, which is over then; block 0 when there was none. Another answer for the
 * key takes the place of the first. value: up to STORE_VALUE_BYTES_MAX. */
void store_batch_answer(struct store_batch *batch, const struct answer_row *answer, struct begun_id id);
void store_batch_answer_drop(struct store_batch *batch, uint32_t partition, struct key128 key);
/* Parks it, or parks it anew for another time. A key that is settled stays settled. value: the caller's, up
 * to STORE_VALUE_BYTES_MAX. due_unix_ms is neither negative nor INT64_MAX. */
void store_batch_park(struct store_batch *batch, uint32_t partition, int64_t due_unix_ms, struct key128 key,
                      const uint8_t fingerprint[32], struct bytes value);
/* No longer parked, whatever the time it was parked for. Nothing when it is not parked. */
void store_batch_unpark(struct store_batch *batch, uint32_t partition, struct key128 key);
void store_batch_partition(struct store_batch *batch, uint32_t partition,
                           const struct partition_state *state);
void store_batch_body(struct store_batch *batch, struct key128 key, struct bytes body);
void store_batch_body_drop(struct store_batch *batch, struct key128 key);
void store_batch_source(struct store_batch *batch, const char *name, const struct source_state *state);
/* A few bytes of the caller's under a name (both up to STORE_NOTE_MAX); the last ones count. */
void store_batch_note(struct store_batch *batch, const char *name, struct bytes note);
size_t store_batch_count(const struct store_batch *batch);

/* All or nothing, durable when it returns NULL. Clears the batch then; leaves it for another try when the
 * error is ERROR_FULL. */
struct error *store_write(struct store *store, struct store_batch *batch) MUST_USE;
size_t store_count_late(struct store *store); /* rows in memory only; any thread */
/* The same without waiting for the disk, for rows that can be read again from the state topic: they survive
 * the death of the process, and that of the machine once a later store_write() has succeeded. */
struct error *store_write_lazy(struct store *store, struct store_batch *batch) MUST_USE;

/* ---- answers and parked jobs ---- */

/* out_value is cleared first. */
struct error *store_get_answer(struct store *store, uint32_t partition, struct key128 key,
                               struct settled *out_settled, bool *out_dead_letter, struct buffer *out_value,
                               bool *out_found) MUST_USE;
/* Gives the keys of a partition's unpublished answers, in no order. Stops at the first error. `each` may not
 * call the store. */
struct error *store_each_answer(struct store *store, uint32_t partition,
                                struct error *(*each)(void *userdata, struct key128 key,
                                                      const struct settled *settled, bool dead_letter),
                                void *userdata) MUST_USE;
size_t store_count_answers(struct store *store); /* of all partitions */

/*
 * A published result that stays for a time, named by when the job was settled: its settled row leads to it.
 * value: the caller's, up to STORE_VALUE_BYTES_MAX. out_value is cleared first.
 */
void store_batch_keep(struct store_batch *batch, uint32_t partition, struct key128 key,
                      int64_t settled_unix_ms, struct bytes value);
struct error *store_get_kept(struct store *store, uint32_t partition, struct key128 key,
                             int64_t settled_unix_ms, struct buffer *out_value, bool *out_found) MUST_USE;
/* Those that were settled before that go. Any thread; cheap when there are none. */
struct error *store_drop_kept(struct store *store, int64_t before_unix_ms) MUST_USE;

struct parked_cursor {
        int64_t due_unix_ms;
        struct key128 key;
};
struct parked_job {
        struct parked_cursor at;
        struct bytes value;
};
/*
 * Gives at most `max` parked jobs in order of their time, those behind `after` (NULL: from the beginning) and
 * due until then. Rows that were taken away are not walked over again. Stops at the first error.
 */
struct error *store_parked(struct store *store, uint32_t partition, const struct parked_cursor *after,
                           int64_t until_unix_ms, size_t max,
                           struct error *(*each)(void *userdata, const struct parked_job *job),
                           void *userdata) MUST_USE;
/* When the next one behind `after` is due; INT64_MAX: none. */
struct error *store_parked_next(struct store *store, uint32_t partition, const struct parked_cursor *after,
                                int64_t *out_due_unix_ms) MUST_USE;
/* Of a partition that is open. Any thread, cheap. */
uint64_t store_count_parked(struct store *store, uint32_t partition);

/* ---- loading a partition from the state topic ---- */

/*
 * The last thing said of a key counts. Rows are collected, sorted and put in as whole files (SST); the state
 * is durable only after them, so loading again after a crash gives the same. A key that turns out to be
 * settled loses its answer, its being parked and its attempts of unknown outcome. One thread per load;
 * several partitions may be loaded at the same time. Memory: up to 40 MB a load.
 */
struct error *store_load_begin(struct store *store, uint32_t partition,
                               struct store_load **out_load) MUST_USE;
struct error *store_load_settled(struct store_load *load, struct key128 key,
                                 const struct settled *settled) MUST_USE;
/* Neither settled nor parked. */
struct error *store_load_remove(struct store_load *load, struct key128 key) MUST_USE;
struct error *store_load_park(struct store_load *load, int64_t due_unix_ms, struct key128 key,
                              const uint8_t fingerprint[32], struct bytes value) MUST_USE;
struct error *store_load_unpark(struct store_load *load, struct key128 key) MUST_USE;
/* Frees the load, also when it fails. */
struct error *store_load_end(struct store_load *load, const struct partition_state *state) MUST_USE;
struct store_load *store_load_abort(struct store_load *load); /* takes NULL, returns NULL */

/* ---- sources ---- */

struct error *store_get_source(struct store *store, const char *name, bool *out_found,
                               struct source_state *out_state) MUST_USE;
struct error *store_get_note(struct store *store, const char *name, struct buffer *out_note,
                             bool *out_found) MUST_USE;

/* ---- spend ---- */

enum spend_kind { SPEND_WORKSPACE, SPEND_PROVIDER };
enum { SPEND_NAME_MAX = 64 };

/*
 * Of a partition: words on what was spent for its jobs, the caller's bytes under a name of 1 to
 * STORE_SHARE_NAME_MAX; the last ones count. store_load_share(): as store_load_settled().
 */
enum { STORE_SHARE_NAME_MAX = 160, STORE_SHARE_BYTES_MAX = 2048 };
void store_batch_share(struct store_batch *batch, uint32_t partition, struct bytes name, struct bytes value);
struct error *store_load_share(struct store_load *load, struct bytes name, struct bytes value) MUST_USE;
/* Of one partition, or, with STORE_NO_PARTITION, of all. */
struct error *store_each_share(struct store *store, uint32_t partition,
                               struct error *(*each)(void *userdata, uint32_t partition, struct bytes value),
                               void *userdata) MUST_USE;

/* Takes the place of what was there for it. name: 1 to SPEND_NAME_MAX bytes. */
void store_batch_spend(struct store_batch *batch, enum spend_kind kind, struct bytes name,
                       const struct budget_spend *spend);
/* From here on the holds of the attempts that are of unknown outcome now are part of the spend rows. */
void store_batch_count_holds(struct store_batch *batch);
struct error *store_each_spend(struct store *store,
                               struct error *(*each)(void *userdata, enum spend_kind kind, struct bytes name,
                                                     const struct budget_spend *spend),
                               void *userdata) MUST_USE;

/* ---- quotas ---- */

/* place: below 1000. Takes the place of what was there for it; nothing taken: no row. */
void store_batch_quota(struct store_batch *batch, const struct quota_row *row);
/* Rows of limits that this program does not know are passed over. */
struct error *store_each_quota(struct store *store,
                               struct error *(*each)(void *userdata, const struct quota_row *row),
                               void *userdata) MUST_USE;

/* ---- bodies ---- */

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
        /* rows; settled (of files and partitions) and kept are RocksDB's estimate unless counted by
         * store_verify() */
        uint64_t settled, unknown, bodies, sources, kept;
        uint64_t partitions, parked, answers;
        uint64_t disk_bytes, memory_bytes;
};
struct error *store_stats(struct store *store, struct store_stats *out_stats) MUST_USE;
/* Reads everything, checks checksums, formats and that references agree; out_findings gets a line per
 * finding. */
struct error *store_verify(struct store *store, struct store_stats *out_stats,
                           struct buffer *out_findings) MUST_USE;

/*
 * Drops settled rows of files that are older than that; a crash may bring some back until something else is
 * written. `cursor` (NULL: all in one go) is where this call begins and then where the next one goes on,
 * {0, 0} at first and when it is through; at most rows_max rows are looked at. Called by the thread that
 * writes them, since those that are late are brought in first.
 */
struct expiry {
        int64_t before_unix_ms;
        struct key128 *cursor;
        size_t rows_max;         /* 0: no limit */
        int64_t *oldest_unix_ms; /* NULL, or lowered to when the oldest of the younger rows was settled */
};
struct error *store_expire(struct store *store, const struct expiry *expiry, uint64_t *out_count) MUST_USE;
