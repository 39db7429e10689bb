#include "broker/store/gather.h"

#include "broker/base/check.h"
#include "broker/store/inside.h"
#include "broker/store/packet.h"

#include <rocksdb/c.h>
#include <stdlib.h>

enum {
        FILE_ROWS = 1 << 15, /* 3 MB: smaller files are merged more often */
        ROWS_MAX = 1 << 17,  /* of all partitions, 17 MB of memory and 12 of packets; about */
};

/* ---- packets ---- */

void gather_delete(rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition) {
        uint8_t from[PACKET_KEY_BYTES], until[PACKET_KEY_BYTES];
        packet_key_encode(partition, 0, from);
        packet_key_encode(partition, UINT64_MAX, until);
        rocksdb_writebatch_delete_range_cf(rows, db->families[FAMILY_GATHERED], (const char *)from,
                                           sizeof(from), (const char *)until, sizeof(until));
}

static bool is_of(const struct settled_row *row, const struct batch_partition *of) {
        return row->partition == of->partition->number;
}

static void put_packet(struct store_batch *batch, const struct batch_partition *of) {
        uint8_t key[PACKET_KEY_BYTES];
        packet_begin(&batch->packet);
        for (size_t i = 0; i < batch->settled_count; i++) {
                if (is_of(&batch->settled[i], of))
                        packet_append(&batch->settled[i].late, &batch->packet);
        }
        packet_key_encode(of->partition->number, of->partition->next_packet, key);
        rocksdb_writebatch_put_cf(batch->rows, batch->store->db.families[FAMILY_GATHERED], (const char *)key,
                                  sizeof(key), batch->packet.data, batch->packet.size);
}

/* ---- into the family ---- */

void gather_forget(struct store *store, struct partition *partition) {
        pthread_mutex_lock(&partition->gathering);
        atomic_fetch_sub(&store->gathered, atomic_load(&partition->gathered.count));
        late_deinit(&partition->gathered);
        pthread_mutex_unlock(&partition->gathering);
}

/* With `settling` held. Synced: files of rows that come after it may not be older than what it takes away. */
static struct error *bring_in(struct store *store, struct partition *partition) {
        const struct late *late = &partition->gathered;
        size_t count = atomic_load(&late->count);
        struct error *error = NULL;
        if (count == 0)
                return NULL;
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        if (count > LATE_FEW)
                error = late_bring_in(late, &store->db, partition->number);
        else
                late_stage(late->rows, count, partition->family, rows);
        gather_delete(rows, &store->db, partition->number);
        if (!error)
                error = db_write(&store->db, rows, false);
        rocksdb_writebatch_destroy(rows);
        if (!error)
                gather_forget(store, partition);
        return store_fail(store, error);
}

struct error *gather_bring_in(struct store *store, struct partition *partition) {
        pthread_mutex_lock(&partition->settling);
        struct error *error = bring_in(store, partition);
        pthread_mutex_unlock(&partition->settling);
        return error;
}

/* ---- a batch ---- */

static bool reserve(struct batch_partition *of) {
        pthread_mutex_lock(&of->partition->gathering);
        bool reserved = late_reserve(&of->partition->gathered, of->count);
        pthread_mutex_unlock(&of->partition->gathering);
        return reserved;
}

static bool must_be_apart(const struct batch_partition *of) {
        return of->apart || of->partition->loading || atomic_load(&of->partition->parked) > 0;
}

static bool is_room(const struct store_batch *batch, size_t count) {
        return atomic_load(&batch->store->gathered) + count <= ROWS_MAX;
}

static void stage_apart(const struct store_batch *batch, const struct batch_partition *of) {
        for (size_t i = 0; i < batch->settled_count; i++) {
                if (is_of(&batch->settled[i], of))
                        late_stage(&batch->settled[i].late, 1, of->partition->family, batch->rows);
        }
}

/* One file per write is enough, so that nobody waits for several. */
static struct error *prepare(struct store_batch *batch, struct batch_partition *of, bool *made_file) {
        struct partition *partition = of->partition;
        bool apart = must_be_apart(of), full = !is_room(batch, of->count);
        bool enough = !*made_file && atomic_load(&partition->gathered.count) >= FILE_ROWS;
        if (apart || full || enough) {
                struct error *error = bring_in(batch->store, partition);
                if (error)
                        return error;
        }
        *made_file = *made_file || enough;
        if (of->count == 0)
                return NULL;
        of->gathers = !apart && is_room(batch, of->count);
        if (!of->gathers)
                stage_apart(batch, of);
        else if (reserve(of))
                put_packet(batch, of);
        else
                return error_new(ERROR_MEMORY, "no memory for %zu settled rows", of->count);
        return batch->packet.failed ? error_new(ERROR_MEMORY, "no memory for %zu settled rows", of->count)
                                    : NULL;
}

static int compare_partitions(const void *a, const void *b) {
        const struct batch_partition *x = a, *y = b;
        return x->partition->number < y->partition->number ? -1 : 1;
}

/* In the order of the numbers, so that no two threads wait for each other. */
struct error *gather_prepare(struct store_batch *batch) {
        struct error *error = NULL;
        bool made_file = false;
        if (batch->partitions_count > 1)
                qsort(batch->partitions, batch->partitions_count, sizeof(*batch->partitions),
                      compare_partitions);
        for (size_t i = 0; i < batch->partitions_count && !error; i++) {
                struct batch_partition *of = &batch->partitions[i];
                if (!of->settles)
                        continue;
                pthread_mutex_lock(&of->partition->settling);
                of->locked = true;
                error = prepare(batch, of, &made_file);
        }
        return error;
}

static void keep(struct store_batch *batch, const struct batch_partition *of) {
        struct partition *partition = of->partition;
        pthread_mutex_lock(&partition->gathering);
        for (size_t i = 0; i < batch->settled_count; i++) {
                if (is_of(&batch->settled[i], of))
                        late_put(&partition->gathered, &batch->settled[i].late);
        }
        pthread_mutex_unlock(&partition->gathering);
        partition->next_packet++;
        atomic_fetch_add(&batch->store->gathered, of->count);
}

void gather_commit(struct store_batch *batch) {
        for (size_t i = 0; i < batch->partitions_count; i++) {
                if (batch->partitions[i].gathers)
                        keep(batch, &batch->partitions[i]);
        }
}

void gather_release(struct store_batch *batch) {
        for (size_t i = 0; i < batch->partitions_count; i++) {
                struct batch_partition *of = &batch->partitions[i];
                if (of->locked)
                        pthread_mutex_unlock(&of->partition->settling);
                of->locked = of->gathers = false;
        }
}

/* ---- opening ---- */

static struct error *load_packet(void *userdata, struct bytes key, struct bytes row) {
        struct store *store = userdata;
        struct late_row late;
        struct bytes rest;
        uint64_t number;
        uint32_t of;
        if (!packet_key_decode(key, &of, &number) || !db_partition(&store->db, of))
                return db_row_error(&store->db, "the key of a packet of settled rows", false);
        struct partition *partition = db_partition(&store->db, of);
        enum record_outcome outcome = packet_decode(row, &rest);
        size_t count = rest.size / PACKET_ROW_BYTES;
        if (outcome != RECORD_OK)
                return db_row_error(&store->db, "a packet of settled rows", outcome == RECORD_NEWER);
        if (!late_reserve(&partition->gathered, count))
                return error_new(ERROR_MEMORY, "no memory for %zu settled rows", count);
        while (packet_take(&rest, &late))
                late_put(&partition->gathered, &late);
        atomic_fetch_add(&store->gathered, count);
        partition->next_packet = number + 1;
        return NULL;
}

struct error *gather_load(struct store *store) {
        return db_scan(&store->db, FAMILY_GATHERED, BYTES(""), load_packet, store);
}
