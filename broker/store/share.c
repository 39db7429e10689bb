/*
 * What was spent for the jobs of each partition: the latest words, as the state topic has them (a struct
 * allowance of budget.h says what they are for). Rows of meta; what they say is the caller's matter. They
 * come and go with the partition's state, so that a topic which is read from its beginning finds none.
 */
#include "broker/base/check.h"
#include "broker/store/inside.h"
#include "broker/store/record.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

/* "share/", five digits and what stands behind them; gives its size. */
static size_t share_key(uint32_t partition, const char *behind, char out_key[SHARE_KEY_MAX]) {
        return (size_t)snprintf(out_key, SHARE_KEY_MAX, SHARE_PREFIX "%05u%s", partition, behind);
}

void store_batch_share(struct store_batch *batch, uint32_t partition, struct bytes name, struct bytes value) {
        char key[SHARE_KEY_MAX], row[1 + STORE_SHARE_BYTES_MAX] = {RECORD_VERSION};
        CHECK(name.size > 0 && name.size <= STORE_SHARE_NAME_MAX && value.size <= STORE_SHARE_BYTES_MAX);
        size_t size = share_key(partition, "/", key);
        memcpy(key + size, name.data, name.size);
        memcpy(row + 1, value.data, value.size);
        rocksdb_writebatch_put_cf(batch->rows, batch->store->db.families[FAMILY_META], key, size + name.size,
                                  row, 1 + value.size);
        batch->count++;
}

void shares_delete(struct store_batch *batch, uint32_t partition) {
        char from[SHARE_KEY_MAX], until[SHARE_KEY_MAX];
        size_t from_size = share_key(partition, "/", from), until_size = share_key(partition, "0", until);
        rocksdb_writebatch_delete_range_cf(batch->rows, batch->store->db.families[FAMILY_META], from,
                                           from_size, until, until_size); /* '0' comes behind '/' */
        batch->count++;
}

struct each_share {
        const struct db *db;
        struct error *(*each)(void *userdata, uint32_t partition, struct bytes value);
        void *userdata;
};

static struct error *give_share(void *userdata, struct bytes key, struct bytes row) {
        struct each_share *each = userdata;
        struct bytes value;
        uint32_t partition;
        enum record_outcome outcome = version_decode(row, &value);
        if (outcome != RECORD_OK || !share_key_decode(key, &partition))
                return db_row_error(each->db, "a row of what was spent of a partition",
                                    outcome == RECORD_NEWER);
        return each->each(each->userdata, partition, value);
}

struct error *store_each_share(struct store *store, uint32_t partition,
                               struct error *(*each)(void *userdata, uint32_t partition, struct bytes value),
                               void *userdata) {
        char prefix[SHARE_KEY_MAX] = SHARE_PREFIX;
        struct each_share shares = {&store->db, each, userdata};
        size_t size = sizeof(SHARE_PREFIX) - 1;
        if (partition != STORE_NO_PARTITION)
                size = share_key(partition, "/", prefix);
        return store_reading(
                store, db_scan(&store->db, FAMILY_META, (struct bytes){prefix, size}, give_share, &shares));
}
