/*
 * Loading a partition.
 *
 * Rows are collected in chunks, sorted, and put into the partition's family as one file each, which RocksDB
 * takes in whole: no log, no write buffer, a third of the CPU. What else hangs on them (parked jobs, answers,
 * attempts) goes through a batch after each file, without sync. The state is written last, with sync, when
 * the files are on the disk and the log before it is too.
 *
 * In between the rows need not agree, and a row in meta says so as long as that is so: a load that did not
 * end may leave rows of parked jobs behind whose marks it has overwritten. The next load takes them away
 * before it begins. A load that is small enough is one batch instead, together with its state, and none of
 * that happens.
 */
#include "broker/base/check.h"
#include "broker/store/gather.h"
#include "broker/store/inside.h"
#include "broker/store/row_file.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS_MAX = 1 << 17, VALUES_BYTES = 16 << 20, SMALL_ROWS_MAX = 20000 };

/* UNPARK: nothing else has been said of the key. */
enum load_kind { LOAD_SETTLE, LOAD_REMOVE, LOAD_PARK, LOAD_UNPARK };

struct load_row {
        enum load_kind kind;
        union {
                uint8_t settled[SETTLED_BYTES];
                struct {
                        int64_t due_unix_ms;
                        uint8_t fingerprint[32];
                        size_t value, value_bytes; /* in load->values */
                } parked;
        } is;
};

struct store_load {
        struct store *store;
        struct partition *partition;
        struct store_batch *batch;
        struct load_row *rows;
        struct row_item *items;
        size_t count;
        struct buffer values;
        bool again; /* another did not end: there may be marks whose rows in `parked` are missing */
        bool files; /* some have been put in */
        struct parked_change parking; /* of the chunk */
        char path[4096];              /* of the file */
};

struct store_load *store_load_abort(struct store_load *load) {
        if (!load)
                return NULL;
        unlink(load->path);
        store_batch_free(load->batch);
        buffer_deinit(&load->values);
        free(load->rows);
        free(load->items);
        free(load);
        return NULL;
}

static void clear_chunk(struct store_load *load) {
        load->count = 0;
        buffer_clear(&load->values);
        store_batch_clear(load->batch);
        load->parking = (struct parked_change){0, INT64_MAX};
}

struct error *store_load_begin(struct store *store, uint32_t partition, struct store_load **out_load) {
        struct error *error = store_refuses(store);
        if (error)
                return error;
        struct store_load *load = calloc(1, sizeof(*load));
        if (!load)
                return error_new(ERROR_MEMORY, "no memory for loading partition %u", partition);
        load->store = store;
        load->partition = store_partition(store, partition);
        load->batch = store_batch_new(store);
        load->rows = malloc(ROWS_MAX * sizeof(*load->rows));
        load->items = malloc(ROWS_MAX * sizeof(*load->items));
        buffer_init(&load->values, (size_t)VALUES_BYTES + STORE_VALUE_BYTES_MAX);
        snprintf(load->path, sizeof(load->path), "%s/load-%05u.new", store->db.directory, partition);
        if (!load->batch || !load->rows || !load->items)
                error = error_new(ERROR_MEMORY, "no memory for loading partition %u", partition);
        if (!error && load->partition->loading) {
                load->again = true;
                error = parked_repair(store, load->partition);
        }
        if (error) {
                store_load_abort(load);
                return error;
        }
        clear_chunk(load);
        *out_load = load;
        return NULL;
}

/* ---- a chunk ---- */

/* Sorts, and leaves one item per key: the last one, but for what unparking takes back. */
static void resolve(struct store_load *load) {
        row_items_sort(load->items, load->count);
        size_t kept = 0;
        for (size_t i = 0; i < load->count; i++) {
                struct row_item item = load->items[i];
                struct load_row *row = &load->rows[item.row];
                if (kept == 0 || !key128_equal(load->items[kept - 1].key, item.key)) {
                        load->items[kept++] = item;
                        continue;
                }
                struct load_row *before = &load->rows[load->items[kept - 1].row];
                if (row->kind != LOAD_UNPARK)
                        load->items[kept - 1] = item;
                else if (before->kind == LOAD_PARK)
                        before->kind = LOAD_REMOVE;
        }
        load->count = kept;
}

static struct bytes value_of(const struct store_load *load, const struct load_row *row) {
        return (struct bytes){load->values.data + row->is.parked.value, row->is.parked.value_bytes};
}

/* What is settled has no answer any more, and its attempts are over: the settled row says so. */
static void end_settled(struct store_load *load, struct key128 key) {
        struct store *store = load->store;
        uint32_t partition = load->partition->number;
        batch_end_unknown(load->batch, partition, key, false);
        if (store_count_answers(store) == 0)
                return;
        pthread_mutex_lock(&store->mutex);
        bool answered = answers_find(&store->answers, partition, key);
        pthread_mutex_unlock(&store->mutex);
        if (answered)
                store_batch_answer_drop(load->batch, partition, key);
}

/* The rows in `parked`, given the row of the key now. */
static void park_or_unpark(struct store_load *load, const struct row_item *item, const struct job_row *now) {
        const struct load_row *row = &load->rows[item->row];
        const struct db *db = &load->store->db;
        uint32_t partition = load->partition->number;
        bool was_parked = now->kind == JOB_ROW_PARKED, is_parked = row->kind == LOAD_PARK;
        struct parked_cursor was = {now->due_unix_ms, item->key};
        if (was_parked)
                parked_delete_due(load->batch->rows, db, partition, &was);
        if (is_parked) {
                struct parked_cursor at = {row->is.parked.due_unix_ms, item->key};
                parked_put_body(load->batch->rows, db, partition, item->key, value_of(load, row));
                parked_put_due(load->batch->rows, db, partition, &at);
                if (at.due_unix_ms < load->parking.lowest)
                        load->parking.lowest = at.due_unix_ms;
        } else if (was_parked) {
                parked_delete_body(load->batch->rows, db, partition, item->key);
        }
        load->parking.delta += (int64_t)is_parked - was_parked;
        load->batch->count += was_parked || is_parked;
}

/* out_put: whether there was one to put. */
static struct error *put_row(struct row_file *file, const struct row_item *item, const struct load_row *row,
                             const struct job_row *now, bool *out_put) {
        uint8_t key[KEY_BYTES], mark[MARK_BYTES];
        struct bytes named = {(const char *)key, sizeof(key)};
        key_encode(item->key, key);
        *out_put = true;
        switch (row->kind) {
        case LOAD_SETTLE:
                return row_file_put(file, named,
                                    (struct bytes){(const char *)row->is.settled, SETTLED_BYTES});
        case LOAD_PARK:
                mark_encode(row->is.parked.due_unix_ms, row->is.parked.fingerprint, mark);
                return row_file_put(file, named, (struct bytes){(const char *)mark, sizeof(mark)});
        case LOAD_UNPARK:
                *out_put = now->kind == JOB_ROW_PARKED;
                return *out_put ? row_file_delete(file, named) : NULL;
        case LOAD_REMOVE:
                return row_file_delete(file, named);
        }
        CHECK(false);
}

enum { KEYS_AT_A_TIME = 128 };

/* As long as nothing is parked nobody has to look. */
static struct error *rows_now(const struct store_load *load, size_t from, size_t count,
                              struct job_row out_rows[KEYS_AT_A_TIME]) {
        struct key128 keys[KEYS_AT_A_TIME];
        uint32_t partitions[KEYS_AT_A_TIME];
        for (size_t i = 0; i < count; i++) {
                keys[i] = load->items[from + i].key;
                partitions[i] = load->partition->number;
                out_rows[i].kind = JOB_ROW_NONE;
        }
        if (!load->again && atomic_load(&load->partition->parked) == 0)
                return NULL;
        return db_look_up(&load->store->db, keys, partitions, count, out_rows);
}

static struct error *write_some(struct store_load *load, struct row_file *file, size_t from, size_t count,
                                size_t *put) {
        struct job_row now[KEYS_AT_A_TIME];
        struct error *error = rows_now(load, from, count, now);
        for (size_t i = 0; i < count && !error; i++) {
                const struct row_item *item = &load->items[from + i];
                const struct load_row *row = &load->rows[item->row];
                bool is_put;
                error = put_row(file, item, row, &now[i], &is_put);
                *put += is_put;
                park_or_unpark(load, item, &now[i]);
                if (row->kind == LOAD_SETTLE)
                        end_settled(load, item->key);
        }
        return error;
}

/* out_count: of its rows; 0: there is no file. */
static struct error *write_file(struct store_load *load, size_t *out_count) {
        rocksdb_options_t *options = db_partition_options_new(&load->store->db);
        struct row_file file;
        size_t put = 0;
        struct error *error = row_file_open(&file, &load->store->db, options, load->path);
        for (size_t done = 0; done < load->count && !error; done += KEYS_AT_A_TIME) {
                size_t count = load->count - done < KEYS_AT_A_TIME ? load->count - done : KEYS_AT_A_TIME;
                error = write_some(load, &file, done, count, &put);
        }
        if (!error && put > 0)
                error = row_file_finish(&file);
        row_file_close(&file);
        rocksdb_options_destroy(options);
        *out_count = put;
        return error;
}

static struct error *take_file(struct store_load *load) {
        return store_fail(load->store, row_file_take(&load->store->db, load->path, load->partition->family));
}

/* Durable before the first file is. */
static struct error *mark_loading(struct store_load *load) {
        struct store *store = load->store;
        if (load->partition->loading)
                return NULL;
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        partition_put_loading(rows, &store->db, load->partition->number, true);
        struct error *error = store_fail(store, db_write(&store->db, rows, false));
        rocksdb_writebatch_destroy(rows);
        if (!error)
                load->partition->loading = true;
        return error;
}

static bool has_removals(const struct store_load *load) {
        for (size_t i = 0; i < load->count; i++) {
                if (load->rows[load->items[i].row].kind == LOAD_REMOVE)
                        return true;
        }
        return false;
}

static struct error *flush(struct store_load *load) {
        size_t count = 0;
        struct error *error = store_refuses(load->store);
        resolve(load);
        if (!error)
                error = gather_bring_in(load->store, load->partition);
        if (!error)
                error = mark_loading(load);
        if (!error && has_removals(load))
                error = store_keep_ends(load->store);
        if (!error)
                error = write_file(load, &count);
        if (!error && count > 0)
                error = take_file(load);
        if (!error)
                error = store_write_lazy(load->store, load->batch);
        if (!error)
                parked_apply(load->partition, &load->parking);
        load->files = true;
        clear_chunk(load);
        return error_wrap(error, "cannot load partition %u", load->partition->number);
}

/* ---- what is said ---- */

static struct error *add(struct store_load *load, struct key128 key, enum load_kind kind,
                         struct load_row **out_row) {
        if (load->count == ROWS_MAX || load->values.size >= VALUES_BYTES) {
                struct error *error = flush(load);
                if (error)
                        return error;
        }
        load->items[load->count] = (struct row_item){key, (uint32_t)load->count};
        *out_row = &load->rows[load->count++];
        (*out_row)->kind = kind;
        return NULL;
}

struct error *store_load_settled(struct store_load *load, struct key128 key, const struct settled *settled) {
        struct load_row *row;
        struct error *error = add(load, key, LOAD_SETTLE, &row);
        if (!error)
                settled_encode(settled, row->is.settled);
        return error;
}

struct error *store_load_remove(struct store_load *load, struct key128 key) {
        struct load_row *row;
        return add(load, key, LOAD_REMOVE, &row);
}

struct error *store_load_park(struct store_load *load, int64_t due_unix_ms, struct key128 key,
                              const uint8_t fingerprint[32], struct bytes value) {
        struct load_row *row;
        CHECK(due_unix_ms >= 0 && due_unix_ms < INT64_MAX && value.size <= STORE_VALUE_BYTES_MAX);
        struct error *error = add(load, key, LOAD_PARK, &row);
        if (error)
                return error;
        row->is.parked.due_unix_ms = due_unix_ms;
        memcpy(row->is.parked.fingerprint, fingerprint, sizeof(row->is.parked.fingerprint));
        row->is.parked.value = load->values.size;
        row->is.parked.value_bytes = value.size;
        buffer_append_bytes(&load->values, value);
        if (load->values.failed)
                return error_new(ERROR_MEMORY, "no memory for a parked job of %zu bytes", value.size);
        return NULL;
}

struct error *store_load_unpark(struct store_load *load, struct key128 key) {
        struct load_row *row;
        return add(load, key, LOAD_UNPARK, &row);
}

struct error *store_load_share(struct store_load *load, struct bytes name, struct bytes value) {
        struct error *error = store_batch_count(load->batch) < ROWS_MAX ? NULL : flush(load);
        if (!error)
                store_batch_share(load->batch, load->partition->number, name, value);
        return error;
}

/* ---- the end ---- */

static void add_to_batch(struct store_load *load, const struct row_item *item) {
        const struct load_row *row = &load->rows[item->row];
        uint32_t partition = load->partition->number;
        struct settled settled;
        switch (row->kind) {
        case LOAD_SETTLE:
                CHECK(settled_decode((struct bytes){(const char *)row->is.settled, SETTLED_BYTES},
                                     &settled) == RECORD_OK);
                settled.partition = partition;
                store_batch_settle(load->batch, item->key, &settled, (struct begun_id){0});
                return;
        case LOAD_PARK: /* also what was settled */
                store_batch_remove(load->batch, partition, item->key);
                store_batch_park(load->batch, partition, row->is.parked.due_unix_ms, item->key,
                                 row->is.parked.fingerprint, value_of(load, row));
                return;
        case LOAD_UNPARK:
                store_batch_unpark(load->batch, partition, item->key);
                return;
        case LOAD_REMOVE:
                store_batch_remove(load->batch, partition, item->key);
                return;
        }
        CHECK(false);
}

static struct error *end(struct store_load *load, const struct partition_state *state) {
        if (load->files || load->count > SMALL_ROWS_MAX) {
                struct error *error = flush(load);
                if (error)
                        return error;
                partition_put_loading(load->batch->rows, &load->store->db, load->partition->number, false);
        } else {
                resolve(load);
                for (size_t i = 0; i < load->count; i++)
                        add_to_batch(load, &load->items[i]);
                if (load->partition->loading) /* what an earlier load left behind has been seen to */
                        partition_put_loading(load->batch->rows, &load->store->db, load->partition->number,
                                              false);
        }
        store_batch_partition(load->batch, load->partition->number, state);
        struct error *error = store_write(load->store, load->batch);
        uint64_t parked;
        if (!error && load->again) /* the marks that were there did not tell how many */
                error = parked_count(&load->store->db, load->partition->number, &parked);
        if (!error && load->again)
                atomic_store(&load->partition->parked, parked);
        if (!error)
                load->partition->loading = false;
        return error_wrap(error, "cannot load partition %u", load->partition->number);
}

struct error *store_load_end(struct store_load *load, const struct partition_state *state) {
        struct error *error = end(load, state);
        store_load_abort(load);
        return error;
}
