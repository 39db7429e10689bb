#include "broker/store/gather.h"

#include "broker/base/check.h"
#include "broker/store/inside.h"
#include "broker/store/packet.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
        FILE_ROWS = 1 << 15, /* 3 MB: smaller files are merged more often */
        ROWS_MAX = 1 << 18,  /* of all partitions, 33 MB of memory; from half of it on files are smaller */
        LOWEST_PRIORITY = 19,
};

/* ---- packets ---- */

static void delete_before(rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                          uint64_t number) {
        uint8_t from[PACKET_KEY_BYTES], until[PACKET_KEY_BYTES];
        packet_key_encode(partition, 0, from);
        packet_key_encode(partition, number, until);
        rocksdb_writebatch_delete_range_cf(rows, db->families[FAMILY_GATHERED], (const char *)from,
                                           sizeof(from), (const char *)until, sizeof(until));
}

void gather_delete(rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition) {
        delete_before(rows, db, partition, UINT64_MAX);
}

static bool is_of(const struct settled_row *row, const struct batch_partition *of) {
        return row->partition == of->partition->number;
}

/* false: memory was refused. */
static bool put_packet(struct store_batch *batch, const struct batch_partition *of) {
        uint8_t key[PACKET_KEY_BYTES];
        packet_begin(&batch->packet);
        for (size_t i = 0; i < batch->settled_count; i++) {
                if (is_of(&batch->settled[i], of))
                        packet_append(&batch->settled[i].late, &batch->packet);
        }
        if (batch->packet.failed)
                return false;
        packet_key_encode(of->partition->number, of->partition->next_packet, key);
        rocksdb_writebatch_put_cf(batch->rows, batch->store->db.families[FAMILY_GATHERED], (const char *)key,
                                  sizeof(key), batch->packet.data, batch->packet.size);
        return true;
}

/* ---- into the family ---- */

static void forget(struct store *store, struct partition *partition, struct late *late) {
        pthread_mutex_lock(&partition->gathering);
        atomic_fetch_sub(&store->gathered, atomic_load(&late->count));
        late_deinit(late);
        pthread_mutex_unlock(&partition->gathering);
}

/* Synced: files of rows that come after it may not be older than what it takes away. */
static struct error *bring(struct store *store, struct partition *partition, struct late *late,
                           uint64_t packet) {
        size_t count = atomic_load(&late->count);
        struct error *error = NULL;
        if (count == 0)
                return NULL;
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        if (count > LATE_FEW)
                error = late_bring_in(late, &store->db, partition->number);
        else
                late_stage(late->rows, count, partition->family, rows);
        delete_before(rows, &store->db, partition->number, packet);
        if (!error)
                error = db_write(&store->db, rows, false);
        rocksdb_writebatch_destroy(rows);
        if (!error)
                forget(store, partition, late);
        return store_fail(store, error);
}

void gather_wait(struct store *store, const struct partition *partition) {
        struct gatherer *gatherer = &store->gatherer;
        pthread_mutex_lock(&gatherer->mutex);
        while (partition->sent_off > 0)
                pthread_cond_wait(&gatherer->cond, &gatherer->mutex);
        pthread_mutex_unlock(&gatherer->mutex);
}

void gather_forget(struct store *store, struct partition *partition) {
        gather_wait(store, partition);
        forget(store, partition, &partition->leaving);
        forget(store, partition, &partition->gathered);
}

/* With `settling` held. What the gatherer could not bring in is tried again first. */
static struct error *bring_in(struct store *store, struct partition *partition) {
        gather_wait(store, partition);
        struct error *error = bring(store, partition, &partition->leaving, partition->leaving_packet);
        return error ? error : bring(store, partition, &partition->gathered, partition->next_packet);
}

struct error *gather_bring_in(struct store *store, struct partition *partition) {
        pthread_mutex_lock(&partition->settling);
        struct error *error = bring_in(store, partition);
        pthread_mutex_unlock(&partition->settling);
        return error;
}

/* ---- the gatherer: the thread that brings in while others go on ---- */

/* With `settling` held. */
static void send_off(struct store *store, struct partition *partition) {
        struct gatherer *gatherer = &store->gatherer;
        pthread_mutex_lock(&partition->gathering);
        late_move(&partition->leaving, &partition->gathered);
        partition->leaving_packet = partition->next_packet;
        pthread_mutex_unlock(&partition->gathering);
        pthread_mutex_lock(&gatherer->mutex);
        partition->sent_off++;
        partition->next_leaving = NULL;
        if (gatherer->first)
                gatherer->last->next_leaving = partition;
        else
                gatherer->first = partition;
        gatherer->last = partition;
        pthread_cond_broadcast(&gatherer->cond);
        pthread_mutex_unlock(&gatherer->mutex);
}

static void *run(void *userdata) {
        struct store *store = userdata;
        struct gatherer *gatherer = &store->gatherer;
        pthread_setname_np(pthread_self(), "gatherer");
        setpriority(PRIO_PROCESS, (id_t)gettid(), LOWEST_PRIORITY); /* as RocksDB's threads, see db.c */
        pthread_mutex_lock(&gatherer->mutex);
        while (!gatherer->stopping) {
                struct partition *partition = gatherer->first;
                if (!partition) {
                        pthread_cond_wait(&gatherer->cond, &gatherer->mutex);
                        continue;
                }
                gatherer->first = partition->next_leaving;
                pthread_mutex_unlock(&gatherer->mutex);
                /* whoever writes next has the same error, or tries again */
                error_free(bring(store, partition, &partition->leaving, partition->leaving_packet));
                pthread_mutex_lock(&gatherer->mutex);
                partition->sent_off--;
                pthread_cond_broadcast(&gatherer->cond);
        }
        pthread_mutex_unlock(&gatherer->mutex);
        return NULL;
}

struct error *gather_start(struct store *store) {
        struct gatherer *gatherer = &store->gatherer;
        int code = pthread_create(&gatherer->thread, NULL, run, store);
        gatherer->running = code == 0;
        return code ? error_errno(code, "cannot start a thread") : NULL;
}

void gather_stop(struct store *store) {
        struct gatherer *gatherer = &store->gatherer;
        if (!gatherer->running)
                return;
        pthread_mutex_lock(&gatherer->mutex);
        gatherer->stopping = true;
        pthread_cond_broadcast(&gatherer->cond);
        pthread_mutex_unlock(&gatherer->mutex);
        pthread_join(gatherer->thread, NULL);
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

static bool is_enough(const struct store *store, const struct partition *partition) {
        size_t count = atomic_load(&partition->gathered.count);
        return count >= FILE_ROWS || (count > LATE_FEW && atomic_load(&store->gathered) > ROWS_MAX / 2);
}

static bool can_gather(const struct store_batch *batch, const struct batch_partition *of) {
        bool is_full = atomic_load(&of->partition->leaving.count) > 0 &&
                       atomic_load(&of->partition->gathered.count) >= 2 * FILE_ROWS;
        return !must_be_apart(of) && is_room(batch, of->count) && !is_full;
}

/* Beside what is gathered nothing goes into the family. */
static struct error *make_way(struct store_batch *batch, struct batch_partition *of) {
        struct partition *partition = of->partition;
        of->gathers = can_gather(batch, of);
        if (!of->gathers) {
                struct error *error = bring_in(batch->store, partition);
                of->gathers = !error && can_gather(batch, of);
                return error;
        }
        if (atomic_load(&partition->leaving.count) == 0 && is_enough(batch->store, partition))
                send_off(batch->store, partition);
        return NULL;
}

static struct error *prepare(struct store_batch *batch, struct batch_partition *of) {
        struct error *error = make_way(batch, of);
        if (error)
                return error;
        of->gathers = of->gathers && of->count > 0;
        if (!of->gathers)
                stage_apart(batch, of);
        else if (!reserve(of) || !put_packet(batch, of))
                return error_new(ERROR_MEMORY, "no memory for %zu settled rows", of->count);
        return NULL;
}

static int compare_partitions(const void *a, const void *b) {
        const struct batch_partition *x = a, *y = b;
        return x->partition->number < y->partition->number ? -1 : 1;
}

/* In the order of the numbers, so that no two threads wait for each other. */
struct error *gather_prepare(struct store_batch *batch) {
        struct error *error = NULL;
        if (batch->partitions_count > 1)
                qsort(batch->partitions, batch->partitions_count, sizeof(*batch->partitions),
                      compare_partitions);
        for (size_t i = 0; i < batch->partitions_count && !error; i++) {
                struct batch_partition *of = &batch->partitions[i];
                if (!of->settles)
                        continue;
                pthread_mutex_lock(&of->partition->settling);
                of->locked = true;
                error = prepare(batch, of);
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
        partition->next_packet++;
        pthread_mutex_unlock(&partition->gathering);
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
