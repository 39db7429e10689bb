/* The clean-up of old settled rows, some at a time. */
#include "broker/base/check.h"
#include "broker/store/gather.h"
#include "broker/store/inside.h"

#include <rocksdb/c.h>

enum { DELETES_AT_A_TIME = 1000 };

struct sweep {
        struct store *store;
        const struct expiry *expiry;
        rocksdb_writebatch_t *rows;
        rocksdb_column_family_handle_t *family;
        size_t looked_at;
        struct key128 next; /* where it goes on */
        bool paused;        /* by rows_max */
        uint64_t count;
};

static struct error *flush(struct sweep *sweep) {
        if (rocksdb_writebatch_count(sweep->rows) == 0)
                return NULL;
        uint64_t count = (uint64_t)rocksdb_writebatch_count(sweep->rows);
        struct error *error = store_fail(sweep->store, db_write(&sweep->store->db, sweep->rows, false));
        rocksdb_writebatch_clear(sweep->rows);
        if (!error)
                sweep->count += count;
        return error;
}

static struct error *expire(struct sweep *sweep, struct bytes row_key, struct key128 key) {
        const struct expiry *expiry = sweep->expiry;
        if (expiry->each) {
                struct error *error = expiry->each(expiry->userdata, key);
                if (!error)
                        sweep->count++;
                return error;
        }
        rocksdb_writebatch_delete_cf(sweep->rows, sweep->family, row_key.data, row_key.size);
        return rocksdb_writebatch_count(sweep->rows) >= DELETES_AT_A_TIME ? flush(sweep) : NULL;
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
        enum record_outcome outcome = job_row_decode(row, sweep->expiry->partition, &job);
        if (outcome != RECORD_OK)
                return db_row_error(db, "a settled row", outcome == RECORD_NEWER);
        if (job.kind != JOB_ROW_SETTLED || job.settled.settled_unix_ms >= sweep->expiry->before_unix_ms)
                return NULL;
        return expire(sweep, row_key, key);
}

struct error *store_expire(struct store *store, const struct expiry *expiry, uint64_t *out_count) {
        struct error *error = store_refuses(store);
        if (!error && expiry->partition != STORE_NO_PARTITION)
                error = gather_bring_in(store, store_partition(store, expiry->partition));
        if (!error && !expiry->each)
                error = store_keep_ends(store);
        if (error)
                return error;
        struct sweep sweep = {.store = store, .expiry = expiry, .rows = rocksdb_writebatch_create()};
        sweep.family = expiry->partition == STORE_NO_PARTITION
                               ? store->db.families[FAMILY_SETTLED]
                               : store_partition(store, expiry->partition)->family;
        uint8_t from[KEY_BYTES];
        key_encode(expiry->cursor ? *expiry->cursor : (struct key128){0, 0}, from);
        error = db_scan_settled(&store->db, expiry->partition, (struct bytes){(const char *)from, KEY_BYTES},
                                look_at, &sweep);
        if (sweep.paused)
                error = error_free(error);
        if (!error)
                error = flush(&sweep);
        rocksdb_writebatch_destroy(sweep.rows);
        if (error)
                return error;
        if (expiry->cursor)
                *expiry->cursor = sweep.paused ? sweep.next : (struct key128){0, 0};
        *out_count = sweep.count;
        return NULL;
}
