/*
 * Batches and look-ups.
 *
 * Invariants
 *   1. A batch is filled by one thread and written by one thread; the hand-over between the two is the
 *      caller's. Several threads have batches; blocks may be written in another order than their numbers.
 *   2. What a batch does to the journal and to the answers is worked out in store_write(), under the mutex,
 *      in the order in which they come to it, and is part of the same write. The write itself is done without
 *      the mutex, so that writes that come together share an fsync; what is on its way then is known to the
 *      journal as such.
 *   3. The journal in memory follows the disk: it changes for good when the write has succeeded, and is put
 *      back when it has not.
 *   4. After a failed write other than a full disk nothing is known about what is on it (fsync may have
 *      dropped pages), so nothing is written until somebody opens the store again, which reads from the
 *      disk.
 */
#include "broker/store/store.h"

#include "broker/base/check.h"
#include "broker/store/gather.h"
#include "broker/store/inside.h"
#include "broker/store/record.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIT_CACHE_ROWS (1u << 20)

struct error *store_refuses(const struct store *store) {
        if (store->read_only)
                return error_new(ERROR_IO, "state directory %s is open for reading only",
                                 store->db.directory);
        const char *failed = atomic_load(&store->failed);
        if (failed)
                return error_new(ERROR_IO,
                                 "state directory %s is closed for writing since a write failed (%s); "
                                 "stop, look at the disk, and run again to continue",
                                 store->db.directory, failed);
        return NULL;
}

struct error *store_fail(struct store *store, struct error *error) {
        if (!error || error->kind == ERROR_FULL || error->kind == ERROR_MEMORY)
                return error;
        char *first = NULL, *message = strdup(error->message);
        if (!message)
                message = strdup("");
        CHECK(message);
        if (!atomic_compare_exchange_strong(&store->failed, &first, message))
                free(message);
        return error;
}

struct error *store_reading(const struct store *store, struct error *error) {
        return error_wrap(error, "cannot read the state directory %s", store->db.directory);
}

struct error *store_open(const struct store_options *options, struct store **out_store) {
        struct store *store = calloc(1, sizeof(*store));
        if (!store)
                return error_new(ERROR_MEMORY, "no memory to open the state");
        store->read_only = options->read_only;
        store->worker = options->worker;
        pthread_mutex_init(&store->mutex, NULL);
        pthread_mutex_init(&store->keeping, NULL);
        pthread_mutex_init(&store->partitioning, NULL);
        pthread_mutex_init(&store->gatherer.mutex, NULL);
        pthread_cond_init(&store->gatherer.cond, NULL);
        struct error *error = db_open(&store->db, options);
        if (!error) {
                store->answers_loaded = true;
                error = store_reading(store, answers_load(&store->answers, &store->db, options->read_only));
        }
        if (!error)
                error = store_reading(store, gather_load(store));
        if (!error) {
                store->journal_loaded = true;
                error = store_reading(store, journal_load(&store->journal, &store->db, &store->answers,
                                                          options->read_only));
        }
        if (!error && store->worker && !store->read_only)
                error = gather_start(store);
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
        gather_stop(store);
        if (store->journal_loaded)
                journal_deinit(&store->journal);
        if (store->answers_loaded)
                answers_deinit(&store->answers);
        late_deinit(&store->late);
        db_close(&store->db);
        pthread_mutex_destroy(&store->mutex);
        pthread_mutex_destroy(&store->keeping);
        pthread_mutex_destroy(&store->partitioning);
        pthread_mutex_destroy(&store->gatherer.mutex);
        pthread_cond_destroy(&store->gatherer.cond);
        free(atomic_load(&store->failed));
        free(store);
        return NULL;
}

struct error *store_bind(struct store *store, const char *identity) {
        char row[1 + IDENTITY_BYTES_MAX] = {RECORD_VERSION};
        size_t size = strnlen(identity, IDENTITY_BYTES_MAX);
        struct buffer value;
        bool found = false;
        CHECK(size < IDENTITY_BYTES_MAX);
        memcpy(row + 1, identity, size);
        buffer_init(&value, sizeof(row) + 1024);
        struct error *error = db_get(&store->db, FAMILY_META, BYTES(IDENTITY_KEY), &value, &found);
        if (!error && found && !bytes_equal(buffer_view(&value), (struct bytes){row, size + 1}))
                error = error_new(ERROR_USAGE,
                                  "the state directory %s belongs to %.*s, and this is %s; use another state "
                                  "directory, one for each",
                                  store->db.directory, (int)(value.size - 1), value.data + 1, identity);
        else if (!error && !found)
                error = store_refuses(store);
        buffer_deinit(&value);
        if (error || found)
                return error;
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        rocksdb_writebatch_put_cf(rows, store->db.families[FAMILY_META], IDENTITY_KEY, strlen(IDENTITY_KEY),
                                  row, size + 1);
        error = store_fail(store, db_write(&store->db, rows, false));
        rocksdb_writebatch_destroy(rows);
        return error_wrap(error, "cannot write to the state directory %s", store->db.directory);
}

/* ---- look-ups ---- */

struct error *store_look_up(struct store *store, uint32_t partition, struct key128 key,
                            struct store_record *out_record) {
        return store_look_up_many(store, &key, &partition, 1, out_record);
}

enum { LOOK_UPS_AT_A_TIME = 128 };

/* What is known in memory. */
static void look_up_memory(struct store *store, const struct key128 *keys, const uint32_t *partitions,
                           size_t count, struct store_record *out_records) {
        for (size_t i = 0; i < count; i++)
                out_records[i].answered = out_records[i].attempted = false;
        if (atomic_load(&store->journal.unknown_live) == 0 && atomic_load(&store->answers.count) == 0)
                return;
        pthread_mutex_lock(&store->mutex);
        for (size_t i = 0; i < count; i++) {
                struct store_record *record = &out_records[i];
                uint32_t partition = partitions ? partitions[i] : STORE_NO_PARTITION;
                const struct answer_entry *answer = answers_find(&store->answers, partition, keys[i]);
                if (answer) {
                        record->answered = true;
                        record->settled = answer->settled;
                        record->dead_letter = answer->dead_letter;
                        record->kept = answer->kept;
                }
                if (atomic_load(&store->journal.unknown_live) > 0)
                        record->attempted = journal_find_unknown(&store->journal, partition, keys[i],
                                                                 &record->begun, &record->begun_id);
        }
        pthread_mutex_unlock(&store->mutex);
}

/* Before the disk is asked: rows go from here to there. */
static void look_up_late(struct store *store, const struct key128 *keys, const uint32_t *partitions,
                         size_t count, struct job_row *out_rows) {
        for (size_t i = 0; i < count; i++)
                out_rows[i].kind = JOB_ROW_NONE;
        if (atomic_load(&store->late.count) == 0)
                return;
        pthread_mutex_lock(&store->mutex);
        for (size_t i = 0; i < count; i++) {
                bool of_file = !partitions || partitions[i] == STORE_NO_PARTITION;
                const struct late_row *row = of_file ? late_find(&store->late, keys[i]) : NULL;
                if (!row)
                        continue;
                out_rows[i].kind = JOB_ROW_SETTLED;
                CHECK(settled_decode((struct bytes){(const char *)row->row, sizeof(row->row)},
                                     &out_rows[i].settled) == RECORD_OK);
        }
        pthread_mutex_unlock(&store->mutex);
}

static void merge_row(const struct job_row *row, struct store_record *record) {
        record->found = record->answered ? STORE_ANSWERED : record->attempted ? STORE_UNKNOWN : STORE_NONE;
        switch (row->kind) {
        case JOB_ROW_NONE:
                return;
        case JOB_ROW_SETTLED:
                record->found = STORE_SETTLED;
                record->settled = row->settled;
                record->answered = record->attempted = false;
                return;
        case JOB_ROW_PARKED:
                record->found = STORE_PARKED;
                record->due_unix_ms = row->due_unix_ms;
                memcpy(record->parked_fingerprint, row->fingerprint, sizeof(record->parked_fingerprint));
                return;
        }
}

/*
 * What is in memory first: when an attempt or an answer leaves it because it was settled, the settled row can
 * already be seen. The other way round both could be missed.
 */
static struct error *look_up_some(struct store *store, const struct key128 *keys, const uint32_t *partitions,
                                  size_t count, struct store_record *out_records) {
        struct job_row rows[LOOK_UPS_AT_A_TIME], late[LOOK_UPS_AT_A_TIME];
        look_up_memory(store, keys, partitions, count, out_records);
        look_up_late(store, keys, partitions, count, late);
        struct error *error = db_look_up(&store->db, keys, partitions, count, rows);
        for (size_t i = 0; i < count && !error; i++)
                merge_row(late[i].kind != JOB_ROW_NONE ? &late[i] : &rows[i], &out_records[i]);
        return error;
}

struct error *store_look_up_many(struct store *store, const struct key128 *keys, const uint32_t *partitions,
                                 size_t count, struct store_record *out_records) {
        struct error *error = NULL;
        for (size_t done = 0; done < count && !error; done += LOOK_UPS_AT_A_TIME) {
                size_t some = count - done < LOOK_UPS_AT_A_TIME ? count - done : LOOK_UPS_AT_A_TIME;
                error = look_up_some(store, keys + done, partitions ? partitions + done : NULL, some,
                                     out_records + done);
        }
        return store_reading(store, error);
}

/* ---- writing ---- */

/* Not while somebody makes or drops a partition: the next million of rows comes. */
static void count_rows(struct store *store, size_t count) {
        uint64_t rows = atomic_fetch_add(&store->rows, count) + count;
        if (rows < FIT_CACHE_ROWS || !atomic_compare_exchange_strong(&store->rows, &rows, 0))
                return;
        if (pthread_mutex_trylock(&store->partitioning) != 0)
                return;
        db_fit_cache(&store->db);
        pthread_mutex_unlock(&store->partitioning);
}

struct error *store_keep_ends(struct store *store) {
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        pthread_mutex_lock(&store->keeping);
        pthread_mutex_lock(&store->mutex);
        journal_keep_ends(&store->journal, &store->db, rows);
        pthread_mutex_unlock(&store->mutex);
        struct error *error = NULL;
        if (rocksdb_writebatch_count(rows) > 0)
                error = store_fail(store, db_write(&store->db, rows, false));
        pthread_mutex_lock(&store->mutex);
        journal_ends_kept(&store->journal, !error);
        pthread_mutex_unlock(&store->mutex);
        pthread_mutex_unlock(&store->keeping);
        rocksdb_writebatch_destroy(rows);
        return error;
}

/* The row of the answer that the change makes an end of, and of those of the batch before it. */
static void drop_answer(const struct store *store, const struct store_batch *batch,
                        const struct change *change, size_t before, struct answers_sweep *sweep) {
        const struct answer_entry *known = answers_find(&store->answers, change->partition, change->key);
        if (known)
                answers_sweep_add(sweep, known);
        for (size_t i = 0; i < before && change->kind != CHANGE_ANSWER; i++) {
                const struct answer_entry *answer = &batch->answers[i];
                if (answer->partition == change->partition && key128_equal(answer->key, change->key))
                        answers_sweep_add(sweep, answer);
        }
}

/*
 * What is settled, or answered anew, has its answer no more. Where answers and ends of answers stand in one
 * batch, which is when attempts are repeated, they are few.
 */
static void drop_answers(struct store *store, struct store_batch *batch) {
        struct answers_sweep sweep = {.db = &store->db, .rows = batch->rows};
        size_t before = 0;
        if (store->answers.count == 0 && batch->answers_count == 0)
                return;
        for (size_t i = 0; i < batch->changes_count; i++) {
                const struct change *change = &batch->changes[i];
                if (change->kind == CHANGE_ANSWER || change->kind == CHANGE_SETTLE ||
                    change->kind == CHANGE_DROP)
                        drop_answer(store, batch, change, before, &sweep);
                before += change->kind == CHANGE_ANSWER;
        }
        answers_sweep_end(&sweep);
}

static struct error *prepare(struct store *store, struct store_batch *batch, struct journal_change *change) {
        pthread_mutex_lock(&store->mutex);
        struct error *error = answers_reserve(&store->answers, batch->answers_count);
        if (!error) {
                error = journal_prepare(&store->journal, &store->db, change, batch->rows);
                if (error)
                        answers_unreserve(&store->answers, batch->answers_count);
                else
                        drop_answers(store, batch);
        }
        pthread_mutex_unlock(&store->mutex);
        return error;
}

static void commit_answers(struct store *store, const struct store_batch *batch) {
        answers_unreserve(&store->answers, batch->answers_count);
        for (size_t i = 0; i < batch->changes_count; i++) {
                const struct change *change = &batch->changes[i];
                if (change->kind == CHANGE_ANSWER)
                        answers_put(&store->answers, &batch->answers[change->index]);
                else if (change->kind == CHANGE_SETTLE || change->kind == CHANGE_DROP)
                        answers_remove(&store->answers, change->partition, change->key);
        }
}

/*
 * First what the others give way to: a look-up never finds neither the attempt nor its answer nor what came
 * of it.
 */
static void finish(struct store *store, struct store_batch *batch, struct journal_change *change,
                   struct parked_plan *plan, bool written) {
        if (written)
                gather_commit(batch);
        pthread_mutex_lock(&store->mutex);
        if (written) {
                commit_answers(store, batch);
                journal_commit(&store->journal, change);
        } else {
                answers_unreserve(&store->answers, batch->answers_count);
                journal_undo(&store->journal, change);
        }
        pthread_mutex_unlock(&store->mutex);
        if (written)
                parked_commit(batch, plan);
        else
                parked_undo(plan);
}

/* ---- late rows ---- */

size_t store_count_late(struct store *store) {
        return atomic_load(&store->late.count);
}

static void forget_late(struct store *store) {
        pthread_mutex_lock(&store->mutex);
        late_clear(&store->late);
        pthread_mutex_unlock(&store->mutex);
}

static struct error *bring_in(struct store *store) {
        struct error *error = store_fail(store, late_bring_in(&store->late, &store->db, STORE_NO_PARTITION));
        if (!error)
                forget_late(store);
        return error;
}

/*
 * Those of before and of this batch go to the disk: what a source's row claims to be there must be; few in
 * the same write, many in a file before it.
 */
static struct error *stage_late(struct store *store, struct store_batch *batch) {
        struct error *error = store_count_late(store) > LATE_FEW ? bring_in(store) : NULL;
        if (error)
                return error;
        rocksdb_column_family_handle_t *family = store->db.families[FAMILY_SETTLED];
        late_stage(store->late.rows, store_count_late(store), family, batch->rows);
        late_stage(batch->late, batch->late_count, family, batch->rows);
        return NULL;
}

/* Its rows go to the disk with it, be it that more than half of the room were too many to come late. */
static bool brings_rows(const struct store_batch *batch) {
        return batch->catches_up || batch->late_count > LATE_ROWS_MAX / 2;
}

static bool reserve_late(struct store *store, size_t count) {
        pthread_mutex_lock(&store->mutex);
        bool reserved = late_reserve(&store->late, count);
        pthread_mutex_unlock(&store->mutex);
        return reserved;
}

static struct error *prepare_late(struct store *store, struct store_batch *batch) {
        struct error *error = NULL;
        if (brings_rows(batch))
                return stage_late(store, batch);
        if (store_count_late(store) + batch->late_count > LATE_ROWS_MAX)
                error = bring_in(store);
        if (!error && batch->late_count > 0 && !reserve_late(store, batch->late_count))
                error = error_new(ERROR_MEMORY, "no memory for %zu settled rows", batch->late_count);
        return error;
}

/* Once the batch is written. */
static void keep_late(struct store *store, struct store_batch *batch) {
        if (brings_rows(batch)) {
                forget_late(store);
                return;
        }
        if (batch->late_count == 0)
                return;
        pthread_mutex_lock(&store->mutex);
        for (size_t i = 0; i < batch->late_count; i++)
                late_put(&store->late, &batch->late[i]);
        pthread_mutex_unlock(&store->mutex);
}

/* ---- writing a batch ---- */

static struct error *write_rows(struct store *store, struct store_batch *batch, bool lazy) {
        struct parked_plan plan = {0};
        struct journal_change change = {
                .block = batch->block,
                .begun_count = batch->begun_count,
                .begun = buffer_view(&batch->begun),
                .ends = batch->ends,
                .ends_count = batch->ends_count,
        };
        struct error *error = batch->removes ? store_keep_ends(store) : NULL;
        if (!error)
                error = parked_prepare(batch, &plan);
        if (error)
                return error;
        error = prepare(store, batch, &change);
        if (error) {
                parked_undo(&plan);
                return error;
        }
        if (rocksdb_writebatch_count(batch->rows) > 0)
                error = store_fail(store, db_write(&store->db, batch->rows, lazy));
        finish(store, batch, &change, &plan, !error);
        return error;
}

static struct error *write_batch(struct store *store, struct store_batch *batch, bool lazy) {
        CHECK(batch->store == store);
        struct error *error = store_refuses(store);
        if (error)
                return error;
        if (batch->failed || batch->begun.failed)
                return error_new(ERROR_MEMORY, "no memory for a batch of %zu rows", batch->count);
        if (batch->count == 0)
                return NULL;
        rocksdb_writebatch_set_save_point(batch->rows);
        error = gather_prepare(batch);
        if (!error)
                error = prepare_late(store, batch);
        if (!error)
                error = write_rows(store, batch, lazy);
        gather_release(batch);
        if (!error) {
                keep_late(store, batch);
                count_rows(store, batch->count);
                store_batch_clear(batch);
                return NULL;
        }
        char *message = NULL;
        rocksdb_writebatch_rollback_to_save_point(batch->rows, &message);
        CHECK(!message);
        return error_wrap(error, "cannot write to the state directory %s", store->db.directory);
}

struct error *store_write(struct store *store, struct store_batch *batch) {
        return write_batch(store, batch, false);
}

struct error *store_write_lazy(struct store *store, struct store_batch *batch) {
        return write_batch(store, batch, true);
}

/* ---- sources and bodies ---- */

struct error *store_get_source(struct store *store, const char *name, bool *out_found,
                               struct source_state *out_state) {
        char key[SOURCE_KEY_MAX];
        size_t key_size = source_key_encode(name, key);
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
        return store_reading(store, error);
}

struct error *store_get_note(struct store *store, const char *name, struct buffer *out_note,
                             bool *out_found) {
        char key[sizeof(NOTE_PREFIX) + STORE_NOTE_MAX];
        CHECK(strlen(name) <= STORE_NOTE_MAX);
        int size = snprintf(key, sizeof(key), NOTE_PREFIX "%s", name);
        struct bytes note;
        struct buffer row;
        bool found = false;
        buffer_init(&row, (size_t)4 * STORE_NOTE_MAX);
        struct error *error =
                db_get(&store->db, FAMILY_META, (struct bytes){key, (size_t)size}, &row, &found);
        if (!error && found) {
                enum record_outcome outcome = version_decode(buffer_view(&row), &note);
                if (outcome != RECORD_OK)
                        error = db_row_error(&store->db, "a note", outcome == RECORD_NEWER);
                else
                        buffer_append_bytes(out_note, note);
        }
        buffer_deinit(&row);
        if (!error)
                *out_found = found;
        return store_reading(store, error);
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
        return store_reading(store,
                             db_scan(&store->db, FAMILY_META, BYTES(SOURCE_PREFIX), give_source, &sources));
}

struct error *store_each_unknown(struct store *store,
                                 struct error *(*each)(void *userdata, const struct begun *begun),
                                 void *userdata) {
        for (size_t i = 0; i < store->journal.unknown_count; i++) {
                pthread_mutex_lock(&store->mutex);
                struct journal_unknown unknown = store->journal.unknown[i];
                pthread_mutex_unlock(&store->mutex);
                struct error *error = unknown.gone ? NULL : each(userdata, &unknown.begun);
                if (error)
                        return error;
        }
        return NULL;
}

/* ---- answers ---- */

static bool find_answer(struct store *store, uint32_t partition, struct key128 key,
                        struct answer_entry *out_entry) {
        pthread_mutex_lock(&store->mutex);
        const struct answer_entry *known = answers_find(&store->answers, partition, key);
        if (known)
                *out_entry = *known;
        pthread_mutex_unlock(&store->mutex);
        return known;
}

/* `entry` says which. What is read into it points into the row. */
static struct error *read_answer(const struct store *store, struct answer_entry *entry, struct buffer *row,
                                 struct bytes *out_value, bool *out_found) {
        uint8_t key[ANSWER_KEY_BYTES];
        bool old = entry->number == 0;
        if (old)
                answer_key_encode(entry->partition, entry->key, key);
        else
                answer_number_encode(entry->number, key);
        struct bytes name = {(const char *)key, old ? ANSWER_KEY_BYTES : ANSWER_NUMBER_BYTES};
        struct error *error =
                db_get(&store->db, old ? FAMILY_OLD_ANSWERS : FAMILY_ANSWERS, name, row, out_found);
        if (error || !*out_found)
                return error;
        struct key128 owner = entry->key;
        uint32_t partition = entry->partition;
        enum record_outcome outcome =
                answer_decode(buffer_view(row), &entry->settled, &entry->dead_letter, out_value);
        if (outcome == RECORD_OK && !old && !answer_take_owner(out_value, &partition, &owner))
                outcome = RECORD_DAMAGED;
        if (outcome == RECORD_OK && (partition != entry->partition || !key128_equal(owner, entry->key)))
                outcome = RECORD_DAMAGED;
        entry->settled.partition = entry->partition;
        return outcome == RECORD_OK ? NULL : db_row_error(&store->db, "an answer", outcome == RECORD_NEWER);
}

struct error *store_get_answer(struct store *store, uint32_t partition, struct key128 key,
                               struct settled *out_settled, bool *out_dead_letter, struct buffer *out_value,
                               bool *out_found) {
        struct buffer row;
        struct answer_entry entry;
        struct bytes value;
        bool found = false;
        *out_found = false;
        if (!find_answer(store, partition, key, &entry))
                return NULL;
        buffer_init(&row, SIZE_MAX / 2);
        struct error *error = read_answer(store, &entry, &row, &value, &found);
        if (!error && found) {
                buffer_clear(out_value);
                buffer_append_bytes(out_value, value);
                if (out_value->failed)
                        error = error_new(ERROR_MEMORY, "no memory for an answer of %zu bytes", value.size);
        }
        if (!error && found) {
                *out_found = true;
                *out_settled = entry.settled;
                *out_dead_letter = entry.dead_letter;
        }
        buffer_deinit(&row);
        return store_reading(store, error);
}

struct error *store_each_answer(struct store *store, uint32_t partition,
                                struct error *(*each)(void *userdata, struct key128 key,
                                                      const struct settled *settled, bool dead_letter),
                                void *userdata) {
        struct error *error = NULL;
        pthread_mutex_lock(&store->mutex);
        for (size_t i = 0; i < store->answers.count && !error; i++) {
                const struct answer_entry *entry = &store->answers.entries[i];
                if (entry->partition == partition)
                        error = each(userdata, entry->key, &entry->settled, entry->dead_letter);
        }
        pthread_mutex_unlock(&store->mutex);
        return error;
}

size_t store_count_answers(struct store *store) {
        return atomic_load(&store->answers.count);
}
