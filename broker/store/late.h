#pragma once
/*
 * Settled rows of files that are in memory only: their result lines are durable in the outputs, and what is
 * behind the recorded length of an output is adopted from there after a crash. Thousands of them are brought
 * in together, sorted, as a file, which costs a tenth of what a row costs that goes through log and write
 * buffer: keys are hashes, so each one misses the caches there, twice.
 *
 * Threads: one writes (late_put(), late_bring_in(), late_clear()), holding the store's mutex where it
 * changes something; late_find() under the mutex from any.
 */
#include "broker/base/map.h"
#include "broker/store/db.h"
#include "broker/store/record.h"

enum {
        LATE_ROWS_MAX = 1 << 16,
        LATE_FEW = 4096, /* no file for so few */
};

struct rocksdb_writebatch_t;

struct late_row {
        struct key128 key;
        uint8_t row[SETTLED_BYTES];
};

struct late {
        struct late_row *rows;
        struct map by_key;   /* the last row of each key */
        atomic_size_t count; /* read without the mutex */
};

/* Room for so many more, once: before the first late_put(). false: memory was refused. */
bool late_init(struct late *late);
void late_deinit(struct late *late);
/* There must be room. */
void late_put(struct late *late, const struct late_row *row);
const struct late_row *late_find(const struct late *late, struct key128 key); /* NULL: none */
/* Makes all of them durable rows of the family; they stay here until late_clear(). */
struct error *late_bring_in(struct late *late, const struct db *db) MUST_USE;
/* Few of them: into a batch that is about to be written. */
void late_stage(const struct late_row *rows, size_t count, const struct db *db,
                struct rocksdb_writebatch_t *batch);
void late_clear(struct late *late);
