/*
 * Batches and look-ups.
 *
 * Invariants
 *   1. A batch is filled by one thread and written by one thread; the hand-over between the two is the
 *      caller's. Batches with attempts are filled one after another: a later attempt for a key has the
 *      higher block number.
 *   2. What a batch does to the journal is worked out in store_write(), in the order of writing, and is
 *      part of the same write.
 *   3. The journal in memory follows the disk: it changes for good when the write has succeeded, and is put
 *      back when it has not.
 *   4. After a failed write other than a full disk nothing is known about what is on it (fsync may have
 *      dropped pages), so nothing is written until somebody opens the store again, which reads from the
 *      disk.
 */
#include "broker/store/store.h"

#include "broker/base/check.h"
#include "broker/store/inside.h"
#include "broker/store/record.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

#define BEGUN_ROW_BYTES_MAX (64u << 20)
#define ENDS_MAX            (1u << 24)
#define FIT_CACHE_ROWS      (1u << 20)

struct store_batch {
        struct store *store;
        rocksdb_writebatch_t *rows;
        struct buffer begun; /* the row of the block */
        uint64_t block;
        uint32_t begun_count;
        struct journal_end *ends;
        size_t ends_count, ends_capacity;
        size_t count;
        bool failed; /* memory was refused */
};

struct error *store_refuses(const struct store *store) {
        if (store->read_only)
                return error_new(ERROR_IO, "state directory %s is open for reading only",
                                 store->db.directory);
        if (store->failed)
                return error_new(ERROR_IO,
                                 "state directory %s is closed for writing since a write failed (%s); "
                                 "stop, look at the disk, and run again to continue",
                                 store->db.directory, store->failed);
        return NULL;
}

struct error *store_fail(struct store *store, struct error *error) {
        if (error && error->kind != ERROR_FULL && error->kind != ERROR_MEMORY && !store->failed) {
                store->failed = strdup(error->message);
                if (!store->failed)
                        store->failed = strdup("");
                CHECK(store->failed);
        }
        return error;
}

/* Says whose state could not be read. */
static struct error *reading(const struct store *store, struct error *error) {
        return error_wrap(error, "cannot read the state directory %s", store->db.directory);
}

struct error *store_open(const struct store_options *options, struct store **out_store) {
        struct store *store = calloc(1, sizeof(*store));
        if (!store)
                return error_new(ERROR_MEMORY, "no memory to open the state");
        store->read_only = options->read_only;
        struct error *error = db_open(&store->db, options);
        if (!error) {
                store->journal_loaded = true;
                error = reading(store, journal_load(&store->journal, &store->db, options->read_only));
        }
        if (error) {
                store_close(store);
                return error;
        }
        *out_store = store;
        return NULL;
}

struct store *store_close(struct store *store) {
        if (!store)
                return NULL;
        if (store->journal_loaded)
                journal_deinit(&store->journal);
        db_close(&store->db);
        free(store->failed);
        free(store);
        return NULL;
}

/* ---- look-ups ---- */

struct error *store_look_up(struct store *store, struct key128 key, struct store_record *out_record) {
        return store_look_up_many(store, &key, 1, out_record);
}

enum { LOOK_UPS_AT_A_TIME = 128 };

/*
 * The journal first: when an attempt leaves it because it was settled, the settled row can already be seen.
 * The other way round both could be missed.
 */
static struct error *look_up_some(struct store *store, const struct key128 *keys, size_t count,
                                  struct store_record *out_records) {
        bool found[LOOK_UPS_AT_A_TIME];
        struct settled settled[LOOK_UPS_AT_A_TIME];
        bool unknown[LOOK_UPS_AT_A_TIME];
        struct error *error;
        for (size_t i = 0; i < count; i++)
                unknown[i] = journal_find_unknown(&store->journal, keys[i], &out_records[i].begun,
                                                  &out_records[i].begun_id);
        error = db_look_up(&store->db, keys, count, found, settled);
        if (error)
                return error;
        for (size_t i = 0; i < count; i++) {
                out_records[i].found = found[i] ? STORE_SETTLED : unknown[i] ? STORE_UNKNOWN : STORE_NONE;
                if (found[i])
                        out_records[i].settled = settled[i];
        }
        return NULL;
}

struct error *store_look_up_many(struct store *store, const struct key128 *keys, size_t count,
                                 struct store_record *out_records) {
        struct error *error = NULL;
        for (size_t done = 0; done < count && !error; done += LOOK_UPS_AT_A_TIME) {
                size_t some = count - done < LOOK_UPS_AT_A_TIME ? count - done : LOOK_UPS_AT_A_TIME;
                error = look_up_some(store, keys + done, some, out_records + done);
        }
        return reading(store, error);
}

/* ---- batches ---- */

struct store_batch *store_batch_new(struct store *store) {
        struct store_batch *batch = calloc(1, sizeof(*batch));
        if (!batch)
                return NULL;
        batch->store = store;
        batch->rows = rocksdb_writebatch_create();
        buffer_init(&batch->begun, BEGUN_ROW_BYTES_MAX);
        return batch;
}

struct store_batch *store_batch_free(struct store_batch *batch) {
        if (!batch)
                return NULL;
        rocksdb_writebatch_destroy(batch->rows);
        buffer_deinit(&batch->begun);
        free(batch->ends);
        free(batch);
        return NULL;
}

void store_batch_clear(struct store_batch *batch) {
        rocksdb_writebatch_clear(batch->rows);
        buffer_clear(&batch->begun);
        batch->block = 0;
        batch->begun_count = 0;
        batch->ends_count = 0;
        batch->count = 0;
        batch->failed = false;
}

static void add_end(struct store_batch *batch, struct begun_id id, bool row) {
        if (batch->ends_count == batch->ends_capacity) {
                size_t capacity = batch->ends_capacity ? batch->ends_capacity * 2 : 256;
                struct journal_end *ends =
                        capacity > ENDS_MAX ? NULL : realloc(batch->ends, capacity * sizeof(*ends));
                if (!ends) {
                        batch->failed = true;
                        return;
                }
                batch->ends = ends;
                batch->ends_capacity = capacity;
        }
        batch->ends[batch->ends_count++] = (struct journal_end){.id = id, .row = row};
}

/* An attempt from before the last opening gives way to what happens to its key now. */
static void end_unknown(struct store_batch *batch, struct key128 key, bool row) {
        struct begun begun;
        struct begun_id id;
        if (journal_find_unknown(&batch->store->journal, key, &begun, &id))
                add_end(batch, id, row);
}

struct begun_id store_batch_begin(struct store_batch *batch, const struct begun *begun) {
        uint8_t entry[BEGUN_BYTES_MAX];
        CHECK(begun->attempt > 0 && begun->exposure_picousd >= -1);
        if (batch->begun_count == 0) {
                batch->block = journal_next_block(&batch->store->journal);
                buffer_append_char(&batch->begun, RECORD_VERSION);
        }
        end_unknown(batch, begun->key, true);
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

void store_batch_settle(struct store_batch *batch, struct key128 key, const struct settled *settled,
                        struct begun_id id) {
        uint8_t row_key[KEY_BYTES], row[SETTLED_BYTES];
        key_encode(key, row_key);
        settled_encode(settled, row);
        rocksdb_writebatch_put_cf(batch->rows, db_settled(&batch->store->db, key), (const char *)row_key,
                                  sizeof(row_key), (const char *)row, sizeof(row));
        if (id.block != 0)
                add_end(batch, id, false);
        end_unknown(batch, key, false);
        batch->count++;
}

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

/* The key of a source's row; the size, or 0 when the name is too long. */
static size_t source_key(const char *name, char out_key[sizeof(SOURCE_PREFIX) + SOURCE_NAME_MAX]) {
        size_t prefix = sizeof(SOURCE_PREFIX) - 1, size = strnlen(name, SOURCE_NAME_MAX + 1);
        if (size > SOURCE_NAME_MAX)
                return 0;
        memcpy(out_key, SOURCE_PREFIX, prefix);
        memcpy(out_key + prefix, name, size);
        return prefix + size;
}

void store_batch_source(struct store_batch *batch, const char *name, const struct source_state *state) {
        char key[sizeof(SOURCE_PREFIX) + SOURCE_NAME_MAX];
        uint8_t row[SOURCE_BYTES_MAX];
        size_t key_size = source_key(name, key);
        CHECK(key_size > 0);
        rocksdb_writebatch_put_cf(batch->rows, batch->store->db.families[FAMILY_META], key, key_size,
                                  (const char *)row, source_encode(state, row));
        batch->count++;
}

size_t store_batch_count(const struct store_batch *batch) {
        return batch->count;
}

static void count_rows(struct store *store, size_t count) {
        store->rows += count;
        if (store->rows < FIT_CACHE_ROWS)
                return;
        store->rows = 0;
        db_fit_cache(&store->db);
}

struct error *store_write(struct store *store, struct store_batch *batch) {
        CHECK(batch->store == store);
        struct error *error = store_refuses(store);
        if (error)
                return error;
        if (batch->failed || batch->begun.failed)
                return error_new(ERROR_MEMORY, "no memory for a batch of %zu rows", batch->count);
        if (batch->count == 0)
                return NULL;
        struct journal_change change = {
                .block = batch->block,
                .begun_count = batch->begun_count,
                .begun = buffer_view(&batch->begun),
                .ends = batch->ends,
                .ends_count = batch->ends_count,
        };
        rocksdb_writebatch_set_save_point(batch->rows);
        error = journal_prepare(&store->journal, &store->db, &change, batch->rows);
        if (!error) {
                error = rocksdb_writebatch_count(batch->rows) > 0 ? db_write(&store->db, batch->rows) : NULL;
                if (!error) {
                        journal_commit(&store->journal, &change);
                        count_rows(store, batch->count);
                        store_batch_clear(batch);
                        return NULL;
                }
                journal_undo(&store->journal, &change);
        }
        char *message = NULL;
        rocksdb_writebatch_rollback_to_save_point(batch->rows, &message);
        CHECK(!message);
        return error_wrap(store_fail(store, error), "cannot write to the state directory %s",
                          store->db.directory);
}

/* ---- sources and bodies ---- */

struct error *store_get_source(struct store *store, const char *name, bool *out_found,
                               struct source_state *out_state) {
        char key[sizeof(SOURCE_PREFIX) + SOURCE_NAME_MAX];
        size_t key_size = source_key(name, key);
        if (key_size == 0)
                return error_new(ERROR_INPUT, "the name of the source is longer than %d bytes",
                                 SOURCE_NAME_MAX);
        struct buffer row;
        bool found = false;
        buffer_init(&row, SOURCE_BYTES_MAX + 1024);
        struct error *error = db_get(&store->db, FAMILY_META, (struct bytes){key, key_size}, &row, &found);
        if (!error && found) {
                enum record_outcome outcome = source_decode(buffer_view(&row), out_state);
                if (outcome != RECORD_OK)
                        error = db_row_error(&store->db, "the row of a source", outcome == RECORD_NEWER);
        }
        buffer_deinit(&row);
        if (!error)
                *out_found = found;
        return reading(store, error);
}

struct error *store_get_body(struct store *store, struct key128 key, struct buffer *out_body,
                             bool *out_found) {
        uint8_t row_key[KEY_BYTES];
        struct buffer row;
        struct bytes body;
        bool found = false;
        key_encode(key, row_key);
        buffer_init(&row, SIZE_MAX / 2);
        struct error *error = db_get(&store->db, FAMILY_BODIES,
                                     (struct bytes){(const char *)row_key, sizeof(row_key)}, &row, &found);
        if (!error && found) {
                enum record_outcome outcome = version_decode(buffer_view(&row), &body);
                if (outcome != RECORD_OK)
                        error = db_row_error(&store->db, "a body", outcome == RECORD_NEWER);
                else
                        buffer_append_bytes(out_body, body);
                if (!error && out_body->failed)
                        error = error_new(ERROR_MEMORY, "no memory for a body of %zu bytes", body.size);
        }
        buffer_deinit(&row);
        if (!error)
                *out_found = found;
        return error;
}

struct each_body {
        const struct db *db;
        struct error *(*each)(void *userdata, struct key128 key, struct bytes body);
        void *userdata;
};

static struct error *give_body(void *userdata, struct bytes row_key, struct bytes row) {
        struct each_body *each = userdata;
        struct key128 key;
        struct bytes body;
        if (!key_decode(row_key, &key))
                return db_row_error(each->db, "the key of a body", false);
        enum record_outcome outcome = version_decode(row, &body);
        if (outcome != RECORD_OK)
                return db_row_error(each->db, "a body", outcome == RECORD_NEWER);
        return each->each(each->userdata, key, body);
}

struct error *store_each_body(struct store *store,
                              struct error *(*each)(void *userdata, struct key128 key, struct bytes body),
                              void *userdata) {
        struct each_body bodies = {&store->db, each, userdata};
        return db_scan(&store->db, FAMILY_BODIES, BYTES(""), give_body, &bodies);
}

struct each_source {
        const struct db *db;
        struct error *(*each)(void *userdata, const char *name, const struct source_state *state);
        void *userdata;
};

static struct error *give_source(void *userdata, struct bytes key, struct bytes row) {
        struct each_source *each = userdata;
        char name[SOURCE_NAME_MAX + 1];
        struct source_state state;
        size_t prefix = sizeof(SOURCE_PREFIX) - 1, size = key.size - prefix;
        enum record_outcome outcome = source_decode(row, &state);
        if (outcome != RECORD_OK || size > SOURCE_NAME_MAX)
                return db_row_error(each->db, "the row of a source", outcome == RECORD_NEWER);
        memcpy(name, key.data + prefix, size);
        name[size] = 0;
        return each->each(each->userdata, name, &state);
}

struct error *store_each_source(struct store *store,
                                struct error *(*each)(void *userdata, const char *name,
                                                      const struct source_state *state),
                                void *userdata) {
        struct each_source sources = {&store->db, each, userdata};
        return db_scan(&store->db, FAMILY_META, BYTES(SOURCE_PREFIX), give_source, &sources);
}

/* Without the mutex: only the writer changes the table, and this is for the time before anything is written
 * or for a reader. */
struct error *store_each_unknown(struct store *store,
                                 struct error *(*each)(void *userdata, const struct begun *begun),
                                 void *userdata) {
        for (size_t i = 0; i < store->journal.unknown_count; i++) {
                if (store->journal.unknown[i].gone)
                        continue;
                struct error *error = each(userdata, &store->journal.unknown[i].begun);
                if (error)
                        return error;
        }
        return NULL;
}
