/*
 * Parked jobs.
 *
 * Three rows each: the mark among the settled rows of the partition, which a look-up finds; in the family
 * `parked` one in order of the time, and one with what the caller gave. So what is due is found, and counted,
 * without reading what is parked. Which time a key is parked for only its mark knows; who parks, unparks or
 * settles therefore looks at the marks first, but only while jobs of the partition are parked at all.
 *
 * RocksDB walks over rows that were taken away before it gets to the first that is there. parked_from keeps a
 * scan from doing so again and again: nothing is due before it. A scan from the beginning moves it up, unless
 * something was parked meanwhile.
 */
#include "broker/base/check.h"
#include "broker/store/inside.h"

#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

static const char version_row[1] = {RECORD_VERSION};

/* ---- rows ---- */

void parked_put_body(rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition, struct key128 key,
                     struct bytes value) {
        uint8_t row_key[PARKED_KEY_BYTES];
        parked_key_encode(partition, key, row_key);
        const char *keys[1] = {(const char *)row_key};
        const char *values[2] = {version_row, value.size ? value.data : version_row};
        size_t key_sizes[1] = {sizeof(row_key)}, value_sizes[2] = {sizeof(version_row), value.size};
        rocksdb_writebatch_putv_cf(rows, db->families[FAMILY_PARKED], 1, keys, key_sizes, 2, values,
                                   value_sizes);
}

void parked_delete_body(rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                        struct key128 key) {
        uint8_t row_key[PARKED_KEY_BYTES];
        parked_key_encode(partition, key, row_key);
        rocksdb_writebatch_delete_cf(rows, db->families[FAMILY_PARKED], (const char *)row_key,
                                     sizeof(row_key));
}

void parked_put_due(rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                    const struct parked_cursor *at) {
        uint8_t row_key[DUE_KEY_BYTES];
        due_key_encode(partition, at, row_key);
        rocksdb_writebatch_put_cf(rows, db->families[FAMILY_PARKED], (const char *)row_key, sizeof(row_key),
                                  version_row, sizeof(version_row));
}

void parked_delete_due(rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition,
                       const struct parked_cursor *at) {
        uint8_t row_key[DUE_KEY_BYTES];
        due_key_encode(partition, at, row_key);
        rocksdb_writebatch_delete_cf(rows, db->families[FAMILY_PARKED], (const char *)row_key,
                                     sizeof(row_key));
}

static void put_mark(rocksdb_writebatch_t *rows, const struct partition *partition, struct key128 key,
                     int64_t due_unix_ms, const uint8_t fingerprint[32]) {
        uint8_t row_key[KEY_BYTES], row[MARK_BYTES];
        key_encode(key, row_key);
        mark_encode(due_unix_ms, fingerprint, row);
        rocksdb_writebatch_put_cf(rows, partition->family, (const char *)row_key, sizeof(row_key),
                                  (const char *)row, sizeof(row));
}

static void delete_mark(rocksdb_writebatch_t *rows, const struct partition *partition, struct key128 key) {
        uint8_t row_key[KEY_BYTES];
        key_encode(key, row_key);
        rocksdb_writebatch_delete_cf(rows, partition->family, (const char *)row_key, sizeof(row_key));
}

/* ---- what a batch does ---- */

struct planning {
        struct store_batch *batch;
        uint32_t *order; /* the changes that matter, those of a key together and in their order */
        size_t count;
        struct parked_change *changes;
};

static int compare_changes(const void *a, const void *b, void *userdata) {
        uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
        const struct change *changes = userdata, *x = &changes[i], *y = &changes[k];
        if (x->partition != y->partition)
                return x->partition < y->partition ? -1 : 1;
        if (x->key.hi != y->key.hi)
                return x->key.hi < y->key.hi ? -1 : 1;
        if (x->key.lo != y->key.lo)
                return x->key.lo < y->key.lo ? -1 : 1;
        return i < k ? -1 : i > k;
}

static bool same_job(const struct change *a, const struct change *b) {
        return a->partition == b->partition && key128_equal(a->key, b->key);
}

static const struct change *change_at(const struct planning *planning, size_t place) {
        return &planning->batch->changes[planning->order[place]];
}

/* What comes of the changes of one key, given its row now. */
static void plan_key(struct planning *planning, size_t from, size_t to, const struct job_row *row) {
        struct store_batch *batch = planning->batch;
        const struct db *db = &batch->store->db;
        const struct change *first = change_at(planning, from), *park = NULL;
        enum job_row_kind kind = row->kind;
        bool body = false;
        for (size_t i = from; i < to; i++) {
                const struct change *change = change_at(planning, i);
                body = body || change->kind == CHANGE_PARK;
                if (change->kind == CHANGE_SETTLE) {
                        kind = JOB_ROW_SETTLED;
                } else if (change->kind == CHANGE_REMOVE) {
                        kind = JOB_ROW_NONE;
                } else if (change->kind == CHANGE_UNPARK && kind == JOB_ROW_PARKED) {
                        kind = JOB_ROW_NONE;
                } else if (change->kind == CHANGE_PARK && kind != JOB_ROW_SETTLED) {
                        kind = JOB_ROW_PARKED;
                        park = change;
                }
        }
        const struct partition *partition = store_partition(batch->store, first->partition);
        struct parked_cursor was = {row->due_unix_ms, first->key};
        bool was_parked = row->kind == JOB_ROW_PARKED, is_parked = kind == JOB_ROW_PARKED && park;
        if (was_parked && !(is_parked && park->due_unix_ms == was.due_unix_ms))
                parked_delete_due(batch->rows, db, first->partition, &was);
        if (is_parked) {
                parked_put_due(batch->rows, db, first->partition,
                               &(struct parked_cursor){park->due_unix_ms, park->key});
                put_mark(batch->rows, partition, park->key, park->due_unix_ms,
                         batch->fingerprints[park->index]);
        } else if (was_parked || body) {
                parked_delete_body(batch->rows, db, first->partition, first->key);
        }
        if (was_parked && kind == JOB_ROW_NONE)
                delete_mark(batch->rows, partition, first->key);
        for (size_t i = 0; i < batch->partitions_count; i++) {
                struct parked_change *change = &planning->changes[i];
                if (batch->partitions[i].partition != partition)
                        continue;
                change->delta += (int64_t)is_parked - was_parked;
                if (is_parked && park->due_unix_ms < change->lowest)
                        change->lowest = park->due_unix_ms;
        }
}

enum { KEYS_AT_A_TIME = 128 };

static struct error *plan_all(struct planning *planning) {
        const struct db *db = &planning->batch->store->db;
        for (size_t done = 0; done < planning->count;) {
                struct key128 keys[KEYS_AT_A_TIME];
                uint32_t partitions[KEYS_AT_A_TIME];
                size_t starts[KEYS_AT_A_TIME + 1], count = 0;
                struct job_row rows[KEYS_AT_A_TIME];
                for (; done < planning->count; done++) {
                        const struct change *change = change_at(planning, done);
                        if (count > 0 && same_job(change, change_at(planning, done - 1)))
                                continue;
                        if (count == KEYS_AT_A_TIME)
                                break;
                        starts[count] = done;
                        keys[count] = change->key;
                        partitions[count++] = change->partition;
                }
                starts[count] = done;
                struct error *error = db_look_up(db, keys, partitions, count, rows);
                if (error)
                        return store_reading(planning->batch->store, error);
                for (size_t i = 0; i < count; i++)
                        plan_key(planning, starts[i], starts[i + 1], &rows[i]);
        }
        return NULL;
}

static bool anything_parked(const struct store_batch *batch) {
        for (size_t i = 0; i < batch->partitions_count; i++) {
                if (atomic_load(&batch->partitions[i].partition->parked) > 0)
                        return true;
        }
        return false;
}

struct error *parked_prepare(struct store_batch *batch, struct parked_plan *out_plan) {
        *out_plan = (struct parked_plan){0};
        if (batch->changes_count == 0 || (!batch->parks && !anything_parked(batch)))
                return NULL;
        struct planning planning = {.batch = batch,
                                    .order = malloc(batch->changes_count * sizeof(*planning.order)),
                                    .changes = calloc(batch->partitions_count, sizeof(*planning.changes))};
        if (!planning.order || !planning.changes) {
                free(planning.order);
                free(planning.changes);
                return error_new(ERROR_MEMORY, "no memory for a batch of %zu rows", batch->count);
        }
        for (size_t i = 0; i < batch->partitions_count; i++)
                planning.changes[i].lowest = INT64_MAX;
        for (size_t i = 0; i < batch->changes_count; i++) {
                enum change_kind kind = batch->changes[i].kind;
                if (kind != CHANGE_ANSWER && kind != CHANGE_DROP)
                        planning.order[planning.count++] = (uint32_t)i;
        }
        qsort_r(planning.order, planning.count, sizeof(*planning.order), compare_changes, batch->changes);
        struct error *error = plan_all(&planning);
        free(planning.order);
        if (error)
                free(planning.changes);
        else
                out_plan->changes = planning.changes;
        return error;
}

void parked_apply(struct partition *partition, const struct parked_change *change) {
        atomic_fetch_add(&partition->parked, (uint64_t)change->delta);
        if (change->lowest == INT64_MAX)
                return;
        pthread_mutex_lock(&partition->parking);
        partition->parks++;
        if (change->lowest < partition->parked_from)
                partition->parked_from = change->lowest;
        pthread_mutex_unlock(&partition->parking);
}

void parked_commit(const struct store_batch *batch, struct parked_plan *plan) {
        for (size_t i = 0; plan->changes && i < batch->partitions_count; i++)
                parked_apply(batch->partitions[i].partition, &plan->changes[i]);
        parked_undo(plan);
}

void parked_undo(struct parked_plan *plan) {
        free(plan->changes);
        plan->changes = NULL;
}

/* ---- what is due ---- */

struct scan {
        const struct store *store;
        uint32_t partition;
        size_t left;
        struct error *(*each)(void *userdata, const struct parked_job *job);
        void *userdata;
        struct buffer body;
        bool found; /* a row, given or not */
        int64_t first_due;
        bool ended; /* by `left` */
};

/* The rows of a partition from `after` on (which itself does not count, when strict) and before `until`. */
static struct error *scan_due(const struct db *db, uint32_t partition, const struct parked_cursor *after,
                              bool strict, int64_t until_unix_ms,
                              struct error *(*each)(void *userdata, struct bytes key, struct bytes row),
                              void *userdata) {
        uint8_t from[DUE_KEY_BYTES + 1], until[DUE_KEY_BYTES + 1] = {0};
        struct parked_cursor last = {until_unix_ms, {UINT64_MAX, UINT64_MAX}};
        due_key_encode(partition, after, from);
        from[DUE_KEY_BYTES] = 0;
        due_key_encode(partition, &last, until);
        return db_scan_range(db, FAMILY_PARKED,
                             (struct bytes){(const char *)from, DUE_KEY_BYTES + (strict ? 1 : 0)},
                             (struct bytes){(const char *)until, sizeof(until)}, each, userdata);
}

static struct error *get_body(struct scan *scan, struct key128 key, struct bytes *out_value) {
        const struct db *db = &scan->store->db;
        uint8_t row_key[PARKED_KEY_BYTES];
        bool found = false;
        parked_key_encode(scan->partition, key, row_key);
        struct error *error =
                db_get(db, FAMILY_PARKED, (struct bytes){(const char *)row_key, sizeof(row_key)}, &scan->body,
                       &found);
        if (error)
                return error;
        if (!found || version_decode(buffer_view(&scan->body), out_value) != RECORD_OK)
                return db_row_error(db, "a parked job", false);
        return NULL;
}

/* An error without a message of its own: the scan is over. */
static struct error *enough(struct scan *scan) {
        scan->ended = true;
        return error_new(ERROR_BUSY, "enough");
}

static struct error *give_job(void *userdata, struct bytes row_key, struct bytes row) {
        struct scan *scan = userdata;
        struct parked_job job;
        uint32_t partition;
        (void)row;
        if (!due_key_decode(row_key, &partition, &job.at))
                return db_row_error(&scan->store->db, "the key of a parked job", false);
        if (!scan->found)
                scan->first_due = job.at.due_unix_ms;
        scan->found = true;
        if (scan->left == 0)
                return enough(scan);
        if (!scan->each) /* only asks when */
                return enough(scan);
        scan->left--;
        struct error *error = get_body(scan, job.at.key, &job.value);
        return error ? error : scan->each(scan->userdata, &job);
}

/* Not when something was parked since the scan began, which need not have seen it. */
static void raise_parked_from(struct partition *partition, uint64_t parks, int64_t from) {
        pthread_mutex_lock(&partition->parking);
        if (partition->parks == parks && from > partition->parked_from)
                partition->parked_from = from;
        pthread_mutex_unlock(&partition->parking);
}

/* Runs the scan from where it makes sense, and remembers where the next one has to begin. */
static struct error *run_scan(struct scan *scan, const struct parked_cursor *after, int64_t until_unix_ms) {
        struct partition *partition = store_partition(scan->store, scan->partition);
        pthread_mutex_lock(&partition->parking);
        uint64_t parks = partition->parks;
        int64_t from = partition->parked_from;
        pthread_mutex_unlock(&partition->parking);
        struct parked_cursor begin = {from, {0, 0}};
        bool from_beginning = !after || after->due_unix_ms < from;
        if (from == INT64_MAX || (from_beginning && from > until_unix_ms))
                return NULL;
        buffer_init(&scan->body, SIZE_MAX / 2);
        struct error *error = scan_due(&scan->store->db, scan->partition, from_beginning ? &begin : after,
                                       !from_beginning, until_unix_ms, give_job, scan);
        buffer_deinit(&scan->body);
        if (scan->ended)
                error = error_free(error);
        if (error || !from_beginning)
                return error;
        if (scan->found)
                raise_parked_from(partition, parks, scan->first_due);
        else
                raise_parked_from(partition, parks,
                                  until_unix_ms == INT64_MAX ? INT64_MAX : until_unix_ms + 1);
        return NULL;
}

struct error *store_parked(struct store *store, uint32_t partition, const struct parked_cursor *after,
                           int64_t until_unix_ms, size_t max,
                           struct error *(*each)(void *userdata, const struct parked_job *job),
                           void *userdata) {
        struct scan scan = {
                .store = store, .partition = partition, .left = max, .each = each, .userdata = userdata};
        if (until_unix_ms < 0 || max == 0)
                return NULL;
        return run_scan(&scan, after, until_unix_ms);
}

struct error *store_parked_next(struct store *store, uint32_t partition, const struct parked_cursor *after,
                                int64_t *out_due_unix_ms) {
        struct scan scan = {.store = store, .partition = partition};
        struct error *error = run_scan(&scan, after, INT64_MAX);
        if (!error)
                *out_due_unix_ms = scan.found ? scan.first_due : INT64_MAX;
        return error;
}

uint64_t store_count_parked(struct store *store, uint32_t partition) {
        return atomic_load(&store_partition(store, partition)->parked);
}

/* ---- all rows of a partition ---- */

static struct error *count_row(void *userdata, struct bytes key, struct bytes row) {
        (void)key;
        (void)row;
        ++*(uint64_t *)userdata;
        return NULL;
}

static const struct parked_cursor beginning = {0, {0, 0}};

struct error *parked_count(const struct db *db, uint32_t partition, uint64_t *out_count) {
        uint64_t count = 0;
        struct error *error = scan_due(db, partition, &beginning, false, INT64_MAX, count_row, &count);
        if (!error)
                *out_count = count;
        return error;
}

enum { DELETES_AT_A_TIME = 1000 };

struct sweep {
        struct store *store;
        struct partition *partition;
        rocksdb_writebatch_t *rows;
        bool all;
        uint64_t count;
};

static struct error *flush_sweep(struct sweep *sweep) {
        struct error *error = NULL;
        if (rocksdb_writebatch_count(sweep->rows) > 0)
                error = store_fail(sweep->store, db_write(&sweep->store->db, sweep->rows, true));
        rocksdb_writebatch_clear(sweep->rows);
        return error;
}

/* Without its mark for that time the row goes; without any mark what was parked goes too. */
static struct error *sweep_due(void *userdata, struct bytes row_key, struct bytes row) {
        struct sweep *sweep = userdata;
        const struct db *db = &sweep->store->db;
        struct parked_cursor at;
        uint32_t partition;
        struct job_row mark = {.kind = JOB_ROW_NONE};
        (void)row;
        if (!due_key_decode(row_key, &partition, &at))
                return db_row_error(db, "the key of a parked job", false);
        struct error *error = sweep->all ? NULL : db_look_up(db, &at.key, &partition, 1, &mark);
        if (error || (mark.kind == JOB_ROW_PARKED && mark.due_unix_ms == at.due_unix_ms))
                return error;
        parked_delete_due(sweep->rows, db, partition, &at);
        if (mark.kind != JOB_ROW_PARKED)
                parked_delete_body(sweep->rows, db, partition, at.key);
        sweep->count++;
        return rocksdb_writebatch_count(sweep->rows) >= DELETES_AT_A_TIME ? flush_sweep(sweep) : NULL;
}

static struct error *run_sweep(struct sweep *sweep) {
        sweep->rows = rocksdb_writebatch_create();
        struct error *error = scan_due(&sweep->store->db, sweep->partition->number, &beginning, false,
                                       INT64_MAX, sweep_due, sweep);
        if (!error)
                error = flush_sweep(sweep);
        rocksdb_writebatch_destroy(sweep->rows);
        return error;
}

struct error *parked_repair(struct store *store, struct partition *partition) {
        struct sweep sweep = {.store = store, .partition = partition};
        uint64_t count = 0;
        struct error *error = run_sweep(&sweep);
        if (!error)
                error = parked_count(&store->db, partition->number, &count);
        if (!error)
                atomic_store(&partition->parked, count);
        return error;
}

struct error *parked_clear(struct store *store, struct partition *partition) {
        struct sweep sweep = {.store = store, .partition = partition, .all = true};
        struct error *error = run_sweep(&sweep);
        if (error)
                return error;
        atomic_store(&partition->parked, 0);
        return NULL;
}
