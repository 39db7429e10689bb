/*
 * Filling a batch: rows whose key and value are known go into RocksDB's batch at once; what hangs on what is
 * in the store (attempts, answers, parked jobs) is noted, and becomes rows in store_write().
 */
#include "broker/base/check.h"
#include "broker/store/inside.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEGUN_ROW_BYTES_MAX (64u << 20)
#define ITEMS_MAX           (1u << 24)

struct store_batch *store_batch_new(struct store *store) {
        struct store_batch *batch = calloc(1, sizeof(*batch));
        if (!batch)
                return NULL;
        batch->store = store;
        batch->rows = rocksdb_writebatch_create();
        buffer_init(&batch->begun, BEGUN_ROW_BYTES_MAX);
        buffer_init(&batch->packet, SIZE_MAX / 2);
        return batch;
}

struct store_batch *store_batch_free(struct store_batch *batch) {
        if (!batch)
                return NULL;
        store_batch_clear(batch);
        rocksdb_writebatch_destroy(batch->rows);
        buffer_deinit(&batch->begun);
        free(batch->ends);
        free(batch->changes);
        free(batch->answers);
        free(batch->fingerprints);
        free(batch->late);
        free(batch->settled);
        buffer_deinit(&batch->packet);
        free(batch->partitions);
        free(batch);
        return NULL;
}

void store_batch_clear(struct store_batch *batch) {
        rocksdb_writebatch_clear(batch->rows);
        buffer_clear(&batch->begun);
        for (size_t i = 0; i < batch->partitions_count; i++)
                atomic_fetch_sub(&batch->partitions[i].partition->batches, 1);
        batch->partitions_count = 0;
        batch->settled_count = 0;
        batch->block = 0;
        batch->begun_count = 0;
        batch->ends_count = 0;
        batch->changes_count = 0;
        batch->answers_count = 0;
        batch->fingerprints_count = 0;
        batch->late_count = 0;
        batch->count = 0;
        batch->catches_up = batch->removes = batch->parks = batch->failed = false;
}

size_t store_batch_count(const struct store_batch *batch) {
        return batch->count;
}

/* Room for one more; false: memory was refused. */
static bool grow(struct store_batch *batch, void **items, size_t count, size_t *capacity, size_t size) {
        if (count < *capacity)
                return true;
        size_t more = *capacity ? *capacity * 2 : 256;
        void *grown = more > ITEMS_MAX ? NULL : realloc(*items, more * size);
        if (!grown) {
                batch->failed = true;
                return false;
        }
        *items = grown;
        *capacity = more;
        return true;
}

static void add_end(struct store_batch *batch, struct begun_id id, bool row) {
        if (grow(batch, (void **)&batch->ends, batch->ends_count, &batch->ends_capacity,
                 sizeof(*batch->ends)))
                batch->ends[batch->ends_count++] = (struct journal_end){.id = id, .row = row};
}

static void add_change(struct store_batch *batch, const struct change *change) {
        if (grow(batch, (void **)&batch->changes, batch->changes_count, &batch->changes_capacity,
                 sizeof(*batch->changes)))
                batch->changes[batch->changes_count++] = *change;
}

struct partition *store_partition(const struct store *store, uint32_t number) {
        struct partition *partition = db_partition(&store->db, number);
        CHECK(partition && partition->open);
        return partition;
}

/* The one that was used last comes first, since rows of a partition stand together. */
struct batch_partition *batch_partition(struct store_batch *batch, uint32_t number) {
        for (size_t i = batch->partitions_count; i > 0; i--) {
                struct batch_partition *known = &batch->partitions[i - 1];
                struct batch_partition *last = &batch->partitions[batch->partitions_count - 1];
                if (known->partition->number != number)
                        continue;
                struct batch_partition found = *known;
                *known = *last;
                *last = found;
                return last;
        }
        struct batch_partition added = {.partition = store_partition(batch->store, number)};
        if (!grow(batch, (void **)&batch->partitions, batch->partitions_count, &batch->partitions_capacity,
                  sizeof(*batch->partitions))) {
                batch->no_room = added;
                return &batch->no_room;
        }
        atomic_fetch_add(&added.partition->batches, 1);
        batch->partitions[batch->partitions_count] = added;
        return &batch->partitions[batch->partitions_count++];
}

/* ---- attempts ---- */

struct begun_id batch_end_unknown(struct store_batch *batch, uint32_t partition, struct key128 key,
                                  bool row) {
        struct store *store = batch->store;
        struct begun begun;
        struct begun_id id = {0};
        if (atomic_load(&store->journal.unknown_live) == 0)
                return id;
        pthread_mutex_lock(&store->mutex);
        bool found = journal_find_unknown(&store->journal, partition, key, &begun, &id);
        pthread_mutex_unlock(&store->mutex);
        if (found)
                add_end(batch, id, row);
        return id;
}

struct begun_id store_batch_begin(struct store_batch *batch, const struct begun *begun) {
        uint8_t entry[BEGUN_BYTES_MAX];
        CHECK(begun->attempt > 0 && begun->exposure_picousd >= -1);
        if (begun->partition != STORE_NO_PARTITION)
                batch_partition(batch, begun->partition);
        if (batch->begun_count == 0) {
                batch->block = journal_next_block(&batch->store->journal);
                batch->begun_version = block_version(begun);
                buffer_append_char(&batch->begun, (char)batch->begun_version);
        }
        CHECK(batch->begun_version == block_version(begun));
        batch_end_unknown(batch, begun->partition, begun->key, true);
        buffer_append(&batch->begun, entry, begun_encode(begun, entry));
        batch->count++;
        return (struct begun_id){batch->block, batch->begun_count++};
}

void store_batch_end(struct store_batch *batch, struct begun_id id) {
        if (id.block == 0)
                return;
        add_end(batch, id, true);
        batch->count++;
}

/* ---- settled rows ---- */

static void settle_in(struct store_batch *batch, uint32_t number, const struct late_row *row) {
        struct batch_partition *partition = batch_partition(batch, number);
        partition->settles = true;
        add_change(batch, &(struct change){CHANGE_SETTLE, number, row->key, 0, 0});
        if (partition->apart) {
                late_stage(row, 1, partition->partition->family, batch->rows);
        } else if (grow(batch, (void **)&batch->settled, batch->settled_count, &batch->settled_capacity,
                        sizeof(*batch->settled))) {
                batch->settled[batch->settled_count++] = (struct settled_row){number, *row};
                partition->count++;
        }
}

void store_batch_settle(struct store_batch *batch, struct key128 key, const struct settled *settled,
                        struct begun_id id) {
        struct late_row row = {.key = key};
        settled_encode(settled, row.row);
        if (settled->partition != STORE_NO_PARTITION)
                settle_in(batch, settled->partition, &row);
        else
                late_stage(&row, 1, batch->store->db.families[FAMILY_SETTLED], batch->rows);
        if (id.block != 0)
                add_end(batch, id, false);
        batch_end_unknown(batch, settled->partition, key, false);
        batch->count++;
}

/* In the order in which they came. */
void batch_set_apart(struct store_batch *batch, struct batch_partition *partition) {
        size_t kept = 0;
        partition->settles = partition->apart = true;
        for (size_t i = 0; i < batch->settled_count && partition->count > 0; i++) {
                const struct settled_row *row = &batch->settled[i];
                if (row->partition == partition->partition->number)
                        late_stage(&row->late, 1, partition->partition->family, batch->rows);
                else
                        batch->settled[kept++] = *row;
        }
        if (partition->count > 0)
                batch->settled_count = kept;
        partition->count = 0;
}

void store_batch_settle_late(struct store_batch *batch, struct key128 key, const struct settled *settled,
                             struct begun_id id) {
        CHECK(settled->partition == STORE_NO_PARTITION);
        if (grow(batch, (void **)&batch->late, batch->late_count, &batch->late_capacity,
                 sizeof(*batch->late))) {
                struct late_row *row = &batch->late[batch->late_count++];
                row->key = key;
                settled_encode(settled, row->row);
        }
        if (id.block != 0)
                add_end(batch, id, false);
        batch_end_unknown(batch, STORE_NO_PARTITION, key, false);
        batch->count++;
}

void store_batch_remove(struct store_batch *batch, uint32_t partition, struct key128 key) {
        uint8_t row_key[KEY_BYTES];
        rocksdb_column_family_handle_t *family = batch->store->db.families[FAMILY_SETTLED];
        if (partition != STORE_NO_PARTITION) {
                struct batch_partition *entry = batch_partition(batch, partition);
                family = entry->partition->family;
                batch_set_apart(batch, entry);
                add_change(batch, &(struct change){CHANGE_REMOVE, partition, key, 0, 0});
        }
        key_encode(key, row_key);
        rocksdb_writebatch_delete_cf(batch->rows, family, (const char *)row_key, sizeof(row_key));
        batch->removes = true;
        batch->count++;
}

void store_batch_partition(struct store_batch *batch, uint32_t partition,
                           const struct partition_state *state) {
        char name[NUMBER_NAME_MAX];
        uint8_t row[STATE_BYTES];
        batch_partition(batch, partition);
        partition_state_encode(state, row);
        rocksdb_writebatch_put_cf(batch->rows, batch->store->db.families[FAMILY_META], name,
                                  number_name(STATE_PREFIX, partition, name), (const char *)row, sizeof(row));
        batch->count++;
}

void store_batch_catch_up(struct store_batch *batch) {
        batch->catches_up = true;
        batch->count++;
}

/* ---- answers ---- */

/* An answer that is taken away says no longer that the attempt which led to it is over. */
static void end_answered(struct store_batch *batch, uint32_t partition, struct key128 key) {
        struct store *store = batch->store;
        struct begun_id id = {0};
        if (store_count_answers(store) == 0)
                return;
        pthread_mutex_lock(&store->mutex);
        const struct answer_entry *answer = answers_find(&store->answers, partition, key);
        if (answer)
                id = answer->begun;
        pthread_mutex_unlock(&store->mutex);
        if (id.block != 0)
                add_end(batch, id, true);
}

static void put_answer(struct store_batch *batch, uint64_t number, const struct answer_row *answer) {
        uint8_t key[ANSWER_NUMBER_BYTES], head[ANSWER_HEAD_BYTES + ANSWER_KEY_BYTES];
        answer_number_encode(number, key);
        answer_head_encode(&answer->settled, answer->dead_letter, head);
        answer_key_encode(answer->settled.partition, answer->key, head + ANSWER_HEAD_BYTES);
        const char *keys[1] = {(const char *)key};
        const char *values[2] = {(const char *)head, answer->value.size ? answer->value.data : ""};
        size_t key_sizes[1] = {sizeof(key)}, value_sizes[2] = {sizeof(head), answer->value.size};
        rocksdb_writebatch_putv_cf(batch->rows, batch->store->db.families[FAMILY_ANSWERS], 1, keys, key_sizes,
                                   2, values, value_sizes);
}

void store_batch_answer(struct store_batch *batch, const struct answer_row *answer, struct begun_id id) {
        uint32_t partition = answer->settled.partition;
        uint64_t number = atomic_fetch_add(&batch->store->answers.next_number, 1);
        CHECK(answer->value.size <= STORE_VALUE_BYTES_MAX);
        batch_partition(batch, partition);
        put_answer(batch, number, answer);
        end_answered(batch, partition, answer->key);
        if (id.block != 0)
                add_end(batch, id, false);
        struct begun_id unknown = batch_end_unknown(batch, partition, answer->key, id.block != 0);
        batch->count++;
        if (!grow(batch, (void **)&batch->answers, batch->answers_count, &batch->answers_capacity,
                  sizeof(*batch->answers)))
                return;
        batch->answers[batch->answers_count] = (struct answer_entry){.partition = partition,
                                                                     .key = answer->key,
                                                                     .settled = answer->settled,
                                                                     .dead_letter = answer->dead_letter,
                                                                     .kept = answer->value.size > 0,
                                                                     .begun = id.block ? id : unknown,
                                                                     .number = number};
        add_change(batch, &(struct change){CHANGE_ANSWER, partition, answer->key, 0, batch->answers_count++});
}

void store_batch_answer_drop(struct store_batch *batch, uint32_t partition, struct key128 key) {
        batch_partition(batch, partition);
        end_answered(batch, partition, key);
        add_change(batch, &(struct change){CHANGE_DROP, partition, key, 0, 0});
        batch->count++;
}

/* ---- parked jobs ---- */

void store_batch_park(struct store_batch *batch, uint32_t partition, int64_t due_unix_ms, struct key128 key,
                      const uint8_t fingerprint[32], struct bytes value) {
        CHECK(due_unix_ms >= 0 && due_unix_ms < INT64_MAX && value.size <= STORE_VALUE_BYTES_MAX);
        batch_set_apart(batch, batch_partition(batch, partition));
        parked_put_body(batch->rows, &batch->store->db, partition, key, value);
        batch->parks = true;
        batch->count++;
        if (!grow(batch, (void **)&batch->fingerprints, batch->fingerprints_count,
                  &batch->fingerprints_capacity, sizeof(*batch->fingerprints)))
                return;
        memcpy(batch->fingerprints[batch->fingerprints_count], fingerprint, 32);
        add_change(batch,
                   &(struct change){CHANGE_PARK, partition, key, due_unix_ms, batch->fingerprints_count++});
}

void store_batch_unpark(struct store_batch *batch, uint32_t partition, struct key128 key) {
        batch_set_apart(batch, batch_partition(batch, partition));
        add_change(batch, &(struct change){CHANGE_UNPARK, partition, key, 0, 0});
        batch->parks = true;
        batch->count++;
}

/* ---- sources and bodies: of files ---- */

void store_batch_body(struct store_batch *batch, struct key128 key, struct bytes body) {
        static const char version[1] = {RECORD_VERSION};
        uint8_t row_key[KEY_BYTES];
        key_encode(key, row_key);
        const char *keys[1] = {(const char *)row_key},
                   *values[2] = {version, body.size ? body.data : version};
        size_t key_sizes[1] = {sizeof(row_key)}, value_sizes[2] = {sizeof(version), body.size};
        rocksdb_writebatch_putv_cf(batch->rows, batch->store->db.families[FAMILY_BODIES], 1, keys, key_sizes,
                                   2, values, value_sizes);
        batch->count++;
}

void store_batch_body_drop(struct store_batch *batch, struct key128 key) {
        uint8_t row_key[KEY_BYTES];
        key_encode(key, row_key);
        rocksdb_writebatch_delete_cf(batch->rows, batch->store->db.families[FAMILY_BODIES],
                                     (const char *)row_key, sizeof(row_key));
        batch->count++;
}

void store_batch_source(struct store_batch *batch, const char *name, const struct source_state *state) {
        char key[SOURCE_KEY_MAX];
        uint8_t row[SOURCE_BYTES_MAX];
        size_t key_size = source_key_encode(name, key);
        CHECK(key_size > 0);
        rocksdb_writebatch_put_cf(batch->rows, batch->store->db.families[FAMILY_META], key, key_size,
                                  (const char *)row, source_encode(state, row));
        batch->catches_up = true;
        batch->count++;
}

void store_batch_note(struct store_batch *batch, const char *name, struct bytes note) {
        char key[sizeof(NOTE_PREFIX) + STORE_NOTE_MAX], row[1 + STORE_NOTE_MAX] = {RECORD_VERSION};
        CHECK(strlen(name) <= STORE_NOTE_MAX && note.size <= STORE_NOTE_MAX);
        int size = snprintf(key, sizeof(key), NOTE_PREFIX "%s", name);
        memcpy(row + 1, note.data, note.size);
        rocksdb_writebatch_put_cf(batch->rows, batch->store->db.families[FAMILY_META], key, (size_t)size, row,
                                  1 + note.size);
        batch->count++;
}
