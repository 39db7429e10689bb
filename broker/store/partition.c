/*
 * Partitions: made, cleared and dropped.
 *
 * A family without a state is one that was never finished, or is being taken away: whoever opens it begins
 * with an empty one. So the state goes first and the family last, and a crash in between is of no account.
 */
#include "broker/base/check.h"
#include "broker/store/gather.h"
#include "broker/store/inside.h"

#include <rocksdb/c.h>
#include <stdlib.h>

/* ---- rows ---- */

struct error *partition_get_state(const struct db *db, uint32_t partition, bool *out_found,
                                  struct partition_state *out_state) {
        char name[NUMBER_NAME_MAX];
        struct buffer row;
        bool found = false;
        buffer_init(&row, 1024);
        size_t size = number_name(STATE_PREFIX, partition, name);
        struct error *error = db_get(db, FAMILY_META, (struct bytes){name, size}, &row, &found);
        if (!error && found) {
                enum record_outcome outcome = partition_state_decode(buffer_view(&row), out_state);
                if (outcome != RECORD_OK)
                        error = db_row_error(db, "the state of a partition", outcome == RECORD_NEWER);
        }
        buffer_deinit(&row);
        if (!error)
                *out_found = found;
        return error;
}

struct error *partition_is_loading(const struct db *db, uint32_t partition, bool *out_loading) {
        char name[NUMBER_NAME_MAX];
        struct buffer row;
        buffer_init(&row, 1024);
        size_t size = number_name(LOADING_PREFIX, partition, name);
        struct error *error = db_get(db, FAMILY_META, (struct bytes){name, size}, &row, out_loading);
        buffer_deinit(&row);
        return error;
}

void partition_put_loading(rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                           bool loading) {
        static const char value[1] = {RECORD_VERSION};
        char name[NUMBER_NAME_MAX];
        size_t size = number_name(LOADING_PREFIX, partition, name);
        if (loading)
                rocksdb_writebatch_put_cf(rows, db->families[FAMILY_META], name, size, value, sizeof(value));
        else
                rocksdb_writebatch_delete_cf(rows, db->families[FAMILY_META], name, size);
}

static void delete_state(struct store_batch *batch, uint32_t partition) {
        char name[NUMBER_NAME_MAX];
        const struct db *db = &batch->store->db;
        rocksdb_writebatch_delete_cf(batch->rows, db->families[FAMILY_META], name,
                                     number_name(STATE_PREFIX, partition, name));
        partition_put_loading(batch->rows, db, partition, false);
        shares_delete(batch, partition);
        gather_delete(batch->rows, db, partition);
        batch->count++;
}

/* ---- taking away ---- */

/* Settled and parked rows and the state; `batch` holds what else is to go, in the same write as the state. */
static struct error *empty(struct store *store, struct partition *partition, struct store_batch *batch,
                           bool again) {
        gather_wait(store, partition);
        delete_state(batch, partition->number);
        struct error *error = store_keep_ends(store);
        if (!error)
                error = store_write(store, batch);
        store_batch_clear(batch);
        if (!error) {
                gather_forget(store, partition);
                error = parked_clear(store, partition);
        }
        return error ? error : store_fail(store, db_partition_drop(&store->db, partition, again));
}

static struct error *refuse_use(const struct partition *partition) {
        if (atomic_load(&partition->batches) == 0)
                return NULL;
        return error_new(ERROR_BUSY, "partition %u still has rows on their way to the state",
                         partition->number);
}

static struct error *clear(struct store *store, struct partition *partition) {
        struct error *error = refuse_use(partition);
        if (error)
                return error;
        struct store_batch *batch = store_batch_new(store);
        if (!batch)
                return error_new(ERROR_MEMORY, "no memory for clearing a partition");
        error = empty(store, partition, batch, true);
        store_batch_free(batch);
        if (!error)
                partition->loading = false;
        return error;
}

struct error *store_partition_clear(struct store *store, uint32_t number) {
        struct error *error = store_refuses(store);
        if (error)
                return error;
        pthread_mutex_lock(&store->partitioning);
        error = clear(store, store_partition(store, number));
        pthread_mutex_unlock(&store->partitioning);
        return error_wrap(error, "cannot clear partition %u in the state directory %s", number,
                          store->db.directory);
}

/* The next answer of the partition; false: there is none. */
static bool next_answer(struct store *store, uint32_t partition, size_t *place, struct key128 *out_key) {
        bool found = false;
        pthread_mutex_lock(&store->mutex);
        for (; *place < store->answers.count && !found; ++*place) {
                const struct answer_entry *entry = &store->answers.entries[*place];
                found = entry->partition == partition;
                if (found)
                        *out_key = entry->key;
        }
        pthread_mutex_unlock(&store->mutex);
        return found;
}

struct ending {
        struct store_batch *batch;
        uint32_t partition;
};

static struct error *end_unknown(void *userdata, const struct begun *begun) {
        struct ending *ending = userdata;
        if (begun->partition == ending->partition)
                batch_end_unknown(ending->batch, begun->partition, begun->key, true);
        return NULL;
}

static struct error *drop(struct store *store, struct partition *partition) {
        struct error *error = refuse_use(partition);
        if (error)
                return error;
        struct store_batch *batch = store_batch_new(store);
        if (!batch)
                return error_new(ERROR_MEMORY, "no memory for dropping a partition");
        struct key128 key;
        size_t place = 0;
        partition->open = true; /* for the batch, if it was not */
        while (next_answer(store, partition->number, &place, &key))
                store_batch_answer_drop(batch, partition->number, key);
        struct ending ending = {batch, partition->number};
        error = store_each_unknown(store, end_unknown, &ending);
        if (!error)
                error = empty(store, partition, batch, false);
        store_batch_free(batch);
        return error;
}

struct error *store_partition_drop(struct store *store, uint32_t number) {
        struct error *error = store_refuses(store);
        if (error)
                return error;
        pthread_mutex_lock(&store->partitioning);
        struct partition *partition = db_partition(&store->db, number);
        error = partition ? drop(store, partition) : NULL;
        pthread_mutex_unlock(&store->partitioning);
        return error_wrap(error, "cannot drop partition %u from the state directory %s", number,
                          store->db.directory);
}

/* ---- opening ---- */

static struct error *find_or_make(struct store *store, uint32_t number, struct partition **out_partition) {
        struct partition *partition = db_partition(&store->db, number);
        bool found, loading;
        struct partition_state state;
        uint64_t parked = 0;
        struct error *error = NULL;
        if (!partition) {
                error = store_fail(store, db_partition_make(&store->db, number, &partition));
                if (!error)
                        partition->open = true;
                *out_partition = partition;
                return error;
        }
        *out_partition = partition;
        if (partition->open)
                return NULL;
        error = partition_get_state(&store->db, number, &found, &state);
        if (!error)
                error = partition_is_loading(&store->db, number, &loading);
        if (!error && !found)
                error = clear(store, partition);
        else if (!error)
                partition->loading = loading;
        if (!error)
                error = parked_count(&store->db, number, &parked);
        if (error)
                return error;
        atomic_store(&partition->parked, parked);
        partition->open = true;
        return NULL;
}

struct error *store_partition_open(struct store *store, uint32_t number, bool *out_found,
                                   struct partition_state *out_state) {
        struct partition *partition;
        CHECK(store->worker);
        struct error *error = store_refuses(store);
        if (error)
                return error;
        if (number >= STORE_PARTITIONS_MAX)
                return error_new(ERROR_USAGE,
                                 "the jobs topic has a partition %u: more than %d are not handled", number,
                                 STORE_PARTITIONS_MAX);
        pthread_mutex_lock(&store->partitioning);
        error = find_or_make(store, number, &partition);
        if (!error)
                error = partition_get_state(&store->db, number, out_found, out_state);
        pthread_mutex_unlock(&store->partitioning);
        return error_wrap(error, "cannot open partition %u in the state directory %s", number,
                          store->db.directory);
}

/* ---- what there is ---- */

static uint64_t count_answers(struct store *store, uint32_t partition) {
        uint64_t count = 0;
        pthread_mutex_lock(&store->mutex);
        for (size_t i = 0; i < store->answers.count; i++)
                count += store->answers.entries[i].partition == partition;
        pthread_mutex_unlock(&store->mutex);
        return count;
}

static struct error *measure(struct store *store, const struct partition *partition,
                             struct partition_stats *out_stats) {
        struct partition_stats stats = {.settled = db_estimate_settled(&store->db, partition->number) +
                                                   atomic_load(&partition->gathered.count) +
                                                   atomic_load(&partition->leaving.count),
                                        .parked = atomic_load(&partition->parked),
                                        .answers = count_answers(store, partition->number)};
        struct error *error =
                partition_get_state(&store->db, partition->number, &stats.has_state, &stats.state);
        if (!error && !partition->open)
                error = parked_count(&store->db, partition->number, &stats.parked);
        if (!error)
                *out_stats = stats;
        return error;
}

struct error *store_each_partition(struct store *store,
                                   struct error *(*each)(void *userdata, uint32_t partition,
                                                         const struct partition_stats *stats),
                                   void *userdata) {
        struct error *error = NULL;
        pthread_mutex_lock(&store->partitioning);
        for (uint32_t i = 0; i < STORE_PARTITIONS_MAX && !error; i++) {
                const struct partition *partition = db_partition(&store->db, i);
                struct partition_stats stats;
                if (!partition)
                        continue;
                error = measure(store, partition, &stats);
                if (!error)
                        error = each(userdata, i, &stats);
        }
        pthread_mutex_unlock(&store->partitioning);
        return error;
}
