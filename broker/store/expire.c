/* The clean-up of old settled rows of files, some at a time. */
#include "broker/base/check.h"
#include "broker/store/inside.h"
#include "broker/store/row_file.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <unistd.h>

enum {
        DELETES_AT_A_TIME = 1 << 18,
        DELETES_FEW = 4096, /* no file for so few */
};

struct sweep {
        struct store *store;
        const struct expiry *expiry;
        struct buffer keys; /* of rows that are to go, in order */
        size_t looked_at;
        struct key128 next; /* where it goes on */
        bool paused;        /* by rows_max */
        uint64_t count;
        int64_t oldest_unix_ms; /* of those that stay */
};

static struct bytes key_at(const struct sweep *sweep, size_t i) {
        return (struct bytes){sweep->keys.data + i * KEY_BYTES, KEY_BYTES};
}

/* Not synced: a row that a crash brings back is old, and goes the next time. */
static struct error *delete_few(struct sweep *sweep, size_t count) {
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        for (size_t i = 0; i < count; i++) {
                struct bytes key = key_at(sweep, i);
                rocksdb_writebatch_delete_cf(rows, sweep->store->db.families[FAMILY_SETTLED], key.data,
                                             key.size);
        }
        struct error *error = db_write(&sweep->store->db, rows, true);
        rocksdb_writebatch_destroy(rows);
        return error;
}

static struct error *write_file(const struct sweep *sweep, size_t count, const rocksdb_options_t *options,
                                const char *path) {
        struct row_file file;
        struct error *error = row_file_open(&file, &sweep->store->db, options, path);
        for (size_t i = 0; i < count && !error; i++)
                error = row_file_delete(&file, key_at(sweep, i));
        if (!error)
                error = row_file_finish(&file);
        row_file_close(&file);
        return error;
}

/*
 * The buffer for writing would hold them up: it is no list in order, and what is in it is sorted for scans.
 */
static struct error *delete_many(struct sweep *sweep, size_t count) {
        const struct db *db = &sweep->store->db;
        char path[4096];
        rocksdb_options_t *options = db_family_options_new(db, FAMILY_SETTLED);
        snprintf(path, sizeof(path), "%s/expired.new", db->directory);
        struct error *error = write_file(sweep, count, options, path);
        if (!error)
                error = row_file_take(db, path, db->families[FAMILY_SETTLED]);
        if (error)
                unlink(path);
        rocksdb_options_destroy(options);
        return error;
}

static struct error *flush(struct sweep *sweep) {
        size_t count = sweep->keys.size / KEY_BYTES;
        if (sweep->keys.failed)
                return error_new(ERROR_MEMORY, "no memory for the keys of old rows");
        if (count == 0)
                return NULL;
        struct error *error = store_fail(sweep->store, count <= DELETES_FEW ? delete_few(sweep, count)
                                                                            : delete_many(sweep, count));
        buffer_clear(&sweep->keys);
        if (!error)
                sweep->count += count;
        return error;
}

static struct error *expire(struct sweep *sweep, struct bytes row_key) {
        buffer_append_bytes(&sweep->keys, row_key);
        return sweep->keys.size >= (size_t)DELETES_AT_A_TIME * KEY_BYTES ? flush(sweep) : NULL;
}

static struct error *look_at(void *userdata, struct bytes row_key, struct bytes row) {
        struct sweep *sweep = userdata;
        const struct db *db = &sweep->store->db;
        struct job_row job;
        struct key128 key;
        if (!key_decode(row_key, &key))
                return db_row_error(db, "the key of a settled row", false);
        if (sweep->expiry->cursor && sweep->expiry->rows_max > 0 &&
            sweep->looked_at == sweep->expiry->rows_max) {
                sweep->next = key;
                sweep->paused = true;
                return error_new(ERROR_BUSY, "enough");
        }
        sweep->looked_at++;
        enum record_outcome outcome = job_row_decode(row, STORE_NO_PARTITION, &job);
        if (outcome != RECORD_OK)
                return db_row_error(db, "a settled row", outcome == RECORD_NEWER);
        if (job.kind != JOB_ROW_SETTLED)
                return NULL;
        if (job.settled.settled_unix_ms < sweep->expiry->before_unix_ms)
                return expire(sweep, row_key);
        if (job.settled.settled_unix_ms < sweep->oldest_unix_ms)
                sweep->oldest_unix_ms = job.settled.settled_unix_ms;
        return NULL;
}

/* What is in memory only has an age too. */
static struct error *bring_in(struct store *store) {
        if (store_count_late(store) == 0)
                return NULL;
        struct store_batch *batch = store_batch_new(store);
        if (!batch)
                return error_new(ERROR_MEMORY, "no memory for settled rows that come late");
        store_batch_catch_up(batch);
        struct error *error = store_write(store, batch);
        store_batch_free(batch);
        return error;
}

struct error *store_expire(struct store *store, const struct expiry *expiry, uint64_t *out_count) {
        struct error *error = store_refuses(store);
        if (!error)
                error = bring_in(store);
        if (!error)
                error = store_keep_ends(store);
        if (error)
                return error;
        struct sweep sweep = {.store = store, .expiry = expiry, .oldest_unix_ms = INT64_MAX};
        buffer_init(&sweep.keys, (size_t)DELETES_AT_A_TIME * KEY_BYTES);
        uint8_t from[KEY_BYTES];
        key_encode(expiry->cursor ? *expiry->cursor : (struct key128){0, 0}, from);
        error = db_scan_settled(&store->db, STORE_NO_PARTITION, (struct bytes){(const char *)from, KEY_BYTES},
                                look_at, &sweep);
        if (sweep.paused)
                error = error_free(error);
        if (!error)
                error = flush(&sweep);
        buffer_deinit(&sweep.keys);
        if (error)
                return error;
        if (expiry->cursor)
                *expiry->cursor = sweep.paused ? sweep.next : (struct key128){0, 0};
        if (expiry->oldest_unix_ms && sweep.oldest_unix_ms < *expiry->oldest_unix_ms)
                *expiry->oldest_unix_ms = sweep.oldest_unix_ms;
        *out_count = sweep.count;
        return NULL;
}
