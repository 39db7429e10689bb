/*
 * What workspaces and providers have spent. Rows of meta; whoever counts keeps the sums, the store only what
 * they are. What attempts hold stands in `begun`, and a row says up to which block it has been added.
 */
#include "broker/store/inside.h"
#include "broker/store/record.h"

#include <rocksdb/c.h>

void store_batch_spend(struct store_batch *batch, enum spend_kind kind, struct bytes name,
                       const struct budget_spend *spend) {
        char key[SPEND_KEY_MAX];
        uint8_t row[SPEND_BYTES_MAX];
        size_t key_size = spend_key_encode(kind, name, key);
        rocksdb_writebatch_put_cf(batch->rows, batch->store->db.families[FAMILY_META], key, key_size,
                                  (const char *)row, spend_encode(spend, row));
        batch->count++;
}

/* Blocks to come may have lower numbers than those that are gone, never than one that is there. */
void store_batch_count_holds(struct store_batch *batch) {
        uint8_t row[COUNTED_BYTES];
        struct store *store = batch->store;
        counted_encode(atomic_load(&store->journal.next_block), row);
        rocksdb_writebatch_put_cf(batch->rows, store->db.families[FAMILY_META], COUNTED_KEY,
                                  sizeof(COUNTED_KEY) - 1, (const char *)row, sizeof(row));
        batch->count++;
}

struct each_spend {
        const struct db *db;
        struct error *(*each)(void *userdata, enum spend_kind kind, struct bytes name,
                              const struct budget_spend *spend);
        void *userdata;
};

static struct error *give_spend(void *userdata, struct bytes key, struct bytes row) {
        struct each_spend *each = userdata;
        struct budget_spend spend;
        enum spend_kind kind;
        struct bytes name;
        enum record_outcome outcome = spend_decode(row, &spend);
        if (outcome != RECORD_OK || !spend_key_decode(key, &kind, &name))
                return db_row_error(each->db, "a row of what was spent", outcome == RECORD_NEWER);
        return each->each(each->userdata, kind, name, &spend);
}

struct error *store_each_spend(struct store *store,
                               struct error *(*each)(void *userdata, enum spend_kind kind, struct bytes name,
                                                     const struct budget_spend *spend),
                               void *userdata) {
        struct each_spend spends = {&store->db, each, userdata};
        return store_reading(store,
                             db_scan(&store->db, FAMILY_META, BYTES(SPEND_PREFIX), give_spend, &spends));
}
