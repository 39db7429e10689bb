#pragma once
/*
 * Settled rows that are not in their family yet. Thousands of them are brought in together, sorted, as a
 * file, which costs a tenth of what a row costs that goes through a write buffer: keys are hashes, so each
 * one misses the caches there, and is sorted when the buffer is written out.
 * Those of files are in memory only: their result lines are durable in the outputs, and what is behind the
 * recorded length of an output is adopted from there after a crash. Those of partitions: see gather.h.
 *
 * Threads: one writes (late_reserve(), late_put(), late_bring_in(), late_clear()), holding the owner's mutex
 * where it changes something; late_find() under the mutex from any.
 */
#include "broker/base/map.h"
#include "broker/store/record.h"

#include <stdatomic.h>

enum {
        LATE_ROWS_MAX = 1 << 16,
        LATE_FEW = 4096, /* no file for so few */
};

struct db;
struct rocksdb_column_family_handle_t;
struct rocksdb_writebatch_t;

struct late_row {
        struct key128 key;
        uint8_t row[SETTLED_BYTES];
};

struct late {
        struct late_row *rows;
        size_t capacity;     /* of both */
        struct map by_key;   /* the last row of each key */
        atomic_size_t count; /* read without the mutex */
};

/* Room for so many more. false: memory was refused, and there is what there was. */
bool late_reserve(struct late *late, size_t more);
/* Empty, without memory. */
void late_deinit(struct late *late);
/* To an empty one. At no time are both counts 0. */
void late_move(struct late *to, struct late *from);
/* There must be room. */
void late_put(struct late *late, const struct late_row *row);
const struct late_row *late_find(const struct late *late, struct key128 key); /* NULL: none */
/*
 * Makes all of them durable rows of the partition's family (STORE_NO_PARTITION: of that of files); they stay
 * here until they are cleared.
 */
struct error *late_bring_in(const struct late *late, const struct db *db, uint32_t partition) MUST_USE;
/* Few of them: into a batch that is about to be written. */
void late_stage(const struct late_row *rows, size_t count, struct rocksdb_column_family_handle_t *family,
                struct rocksdb_writebatch_t *batch);
void late_clear(struct late *late);
