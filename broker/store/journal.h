#pragma once
/*
 * Attempts that may have been sent. Each batch with attempts writes one row, its block. The journal knows
 * which attempts of which block are live, and drops a block's rows in the same write in which its last
 * attempt stops being live.
 *
 * An attempt stops being live when
 *   - it is settled or answered: the settled row or the answer says so, no other is written;
 *   - it is ended, or another attempt for its key takes its place: an end row says so, unless the block
 *     goes in the same write.
 * So, of what stands in the family `begun`, live is what has no end row and whose key has neither a settled
 * row nor an answer. Before settled rows are taken away, the journal has to be told to keep its ends; when an
 * answer is taken away and no settled row comes in its place, its attempt is ended once more, with a row.
 * What is live at opening is of unknown outcome and can be looked up by key.
 *
 * Several batches may be on their way to the disk at the same time. An attempt that one of them ends is
 * `ending` until that one has succeeded, and a block goes only when every attempt of it is over for certain,
 * or ended by the very batch that takes the block away. When the last two ends are in two batches neither
 * can: the block is remembered as dead, and the next batch takes it.
 *
 * Threads: the store's mutex is held around every call but journal_load() and journal_deinit();
 * unknown_live and next_block may be read without it.
 */
#include "broker/base/map.h"
#include "broker/store/db.h"

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
        uint64_t *dead; /* blocks that the next batch takes away */
        size_t dead_count, dead_capacity;
        atomic_uint_fast64_t next_block;

        struct journal_unknown *unknown; /* in order of id */
        size_t unknown_count;
        char **names; /* of workspaces and providers that attempts of unknown outcome hold something of */
        size_t names_count;
        struct map by_key;          /* index in unknown, by key_in() */
        atomic_size_t unknown_live; /* read without the mutex */
};

/* An attempt that stops being live. */
struct journal_end {
        struct begun_id id;
        bool row;     /* needs an end row if its block stays */
        bool applied; /* journal_prepare() has found it live, or over and without the row that it needs */
        bool written; /* its end row is in the batch */
        uint8_t before;
};

enum { DEAD_BLOCKS_MAX = 64 }; /* that one batch takes away */

/* What a batch changes in the journal. */
struct journal_change {
        uint64_t block; /* 0: begins nothing */
        uint32_t begun_count;
        struct bytes begun; /* the block's row */
        struct journal_end *ends;
        size_t ends_count;
        uint64_t dead[DEAD_BLOCKS_MAX];
        size_t dead_count;
};

/* The name of a job among those of all partitions. Files: the key itself. */
struct key128 key_in(uint32_t partition, struct key128 key);

struct answers;
/*
 * Tells the answers which attempts led to them. All of it, also when it failed, goes with journal_deinit().
 */
struct error *journal_load(struct journal *journal, struct db *db, struct answers *answers,
                           bool read_only) MUST_USE;
void journal_deinit(struct journal *journal);

uint64_t journal_next_block(struct journal *journal);
bool journal_find_unknown(const struct journal *journal, uint32_t partition, struct key128 key,
                          struct begun *out_begun, struct begun_id *out_id);

/* Adds the rows of the change to `rows` and takes it as done; then exactly one of commit, which cannot fail,
 * and undo. */
struct error *journal_prepare(struct journal *journal, const struct db *db, struct journal_change *change,
                              struct rocksdb_writebatch_t *rows) MUST_USE;
void journal_commit(struct journal *journal, struct journal_change *change);
void journal_undo(struct journal *journal, struct journal_change *change);

/* Adds an end row for every attempt that is over in a block that stays; once that is written,
 * journal_ends_kept(). One of these at a time. */
void journal_keep_ends(struct journal *journal, const struct db *db, struct rocksdb_writebatch_t *rows);
void journal_ends_kept(struct journal *journal, bool written);
