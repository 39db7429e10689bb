/*
 * What limits have given: rows of meta. Whoever counts says what stands in them.
 */
#include "broker/store/inside.h"
#include "broker/store/record.h"

#include <rocksdb/c.h>

void store_batch_quota(struct store_batch *batch, const struct quota_row *row) {
        char key[QUOTA_KEY_MAX];
        uint8_t value[QUOTA_BYTES];
        size_t key_size = quota_key_encode(row, key);
        rocksdb_column_family_handle_t *meta = batch->store->db.families[FAMILY_META];
        if (row->amount > 0 || row->opened > 0) {
                quota_encode(row, value);
                rocksdb_writebatch_put_cf(batch->rows, meta, key, key_size, (const char *)value,
                                          sizeof(value));
        } else {
                rocksdb_writebatch_delete_cf(batch->rows, meta, key, key_size);
        }
        batch->count++;
}

struct each_quota {
        const struct db *db;
        struct error *(*each)(void *userdata, const struct quota_row *row);
        void *userdata;
};

static struct error *give_quota(void *userdata, struct bytes key, struct bytes value) {
        struct each_quota *each = userdata;
        struct quota_row row;
        switch (quota_decode(key, value, &row)) {
        case RECORD_OK:
                return each->each(each->userdata, &row);
        case RECORD_NEWER:
                return NULL;
        case RECORD_DAMAGED:
                break;
        }
        return db_row_error(each->db, "a row of what a limit has given", false);
}

struct error *store_each_quota(struct store *store,
                               struct error *(*each)(void *userdata, const struct quota_row *row),
                               void *userdata) {
        struct each_quota quotas = {&store->db, each, userdata};
        return store_reading(store,
                             db_scan(&store->db, FAMILY_META, BYTES(QUOTA_PREFIX), give_quota, &quotas));
}
