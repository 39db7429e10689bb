#pragma once
/*
 * Attempts that may have been sent. Each batch with attempts writes one row, its block. The journal knows
 * which attempts of which block are live, and drops a block's rows in the same write in which its last
 * attempt stops being live.
 *
 * An attempt stops being live when
 *   - it is settled: the settled row says so, no other is written;
 *   - it is ended, or another attempt for its key takes its place: an end row says so, unless the block
 *     goes in the same write.
 * So, of what stands in the family `begun`, live is what has no end row and whose key has no settled row.
 * Only journal_keep_ends() has to run before settled rows are taken away. What is live at opening is of
 * unknown outcome and can be looked up by key.
 *
 * Threads: the blocks belong to the one that writes. The table of unknown attempts has a mutex, since
 * look-ups come from others.
 */
#include "broker/base/map.h"
#include "broker/store/db.h"

#include <pthread.h>
#include <stdatomic.h>

struct journal_block;

/* In order of id; `block` is NULL when it is gone. */
struct journal_slot {
        uint64_t id;
        struct journal_block *block;
};

struct journal_unknown {
        struct begun begun;
        struct begun_id id;
        bool gone;
};

struct journal {
        struct journal_slot *slots;
        size_t slots_count, slots_capacity, slots_gone;
        atomic_uint_fast64_t next_block;

        pthread_mutex_t mutex;           /* for what follows */
        struct journal_unknown *unknown; /* in order of id */
        size_t unknown_count;
        struct map by_key;          /* index in unknown */
        atomic_size_t unknown_live; /* read without the mutex */
};

/* An attempt that stops being live. */
struct journal_end {
        struct begun_id id;
        bool row;     /* needs an end row if its block stays */
        bool applied; /* journal_prepare() has found it live */
};

/* What a batch changes in the journal. */
struct journal_change {
        uint64_t block; /* 0: begins nothing */
        uint32_t begun_count;
        struct bytes begun; /* the block's row */
        struct journal_end *ends;
        size_t ends_count;
};

/* All of it, also when it failed, goes with journal_deinit(). */
struct error *journal_load(struct journal *journal, struct db *db, bool read_only) MUST_USE;
void journal_deinit(struct journal *journal);

uint64_t journal_next_block(struct journal *journal);
bool journal_find_unknown(struct journal *journal, struct key128 key, struct begun *out_begun,
                          struct begun_id *out_id);

/* Adds the rows of the change to `rows` and takes it as done; then exactly one of commit, which cannot fail,
 * and undo. */
struct error *journal_prepare(struct journal *journal, const struct db *db, struct journal_change *change,
                              struct rocksdb_writebatch_t *rows) MUST_USE;
void journal_commit(struct journal *journal, struct journal_change *change);
void journal_undo(struct journal *journal, struct journal_change *change);

/* Writes an end row for every attempt that is over in a block that stays. */
struct error *journal_keep_ends(struct journal *journal, struct db *db) MUST_USE;
