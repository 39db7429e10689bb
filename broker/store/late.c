#include "broker/store/late.h"

#include "broker/base/check.h"
#include "broker/store/db.h"
#include "broker/store/row_file.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CAPACITY_FIRST = 1024 };

static bool grow(struct late *late, size_t capacity) {
        size_t count = atomic_load(&late->count);
        struct map by_key;
        struct late_row *rows = realloc(late->rows, capacity * sizeof(*rows));
        if (!rows)
                return false;
        late->rows = rows;
        if (!map_init(&by_key, capacity))
                return false;
        for (size_t i = 0; i < count; i++)
                CHECK(map_put(&by_key, rows[i].key, (uint32_t)i));
        map_deinit(&late->by_key);
        late->by_key = by_key;
        late->capacity = capacity;
        return true;
}

bool late_reserve(struct late *late, size_t more) {
        size_t wanted = atomic_load(&late->count) + more;
        size_t capacity = late->capacity ? late->capacity : CAPACITY_FIRST;
        while (capacity < wanted)
                capacity *= 2;
        return late->capacity >= wanted || grow(late, capacity);
}

/* Its rows are somebody else's, or nobody's. */
static void forget(struct late *late) {
        late->rows = NULL;
        late->by_key = (struct map){0};
        late->capacity = 0;
        atomic_store(&late->count, 0);
}

void late_deinit(struct late *late) {
        free(late->rows);
        map_deinit(&late->by_key);
        forget(late);
}

void late_move(struct late *to, struct late *from) {
        CHECK(to->capacity == 0);
        to->rows = from->rows;
        to->by_key = from->by_key;
        to->capacity = from->capacity;
        atomic_store(&to->count, atomic_load(&from->count));
        forget(from);
}

void late_put(struct late *late, const struct late_row *row) {
        size_t count = atomic_load(&late->count);
        CHECK(count < late->capacity);
        late->rows[count] = *row;
        CHECK(map_put(&late->by_key, row->key, (uint32_t)count));
        atomic_store(&late->count, count + 1);
}

const struct late_row *late_find(const struct late *late, struct key128 key) {
        uint32_t row;
        if (atomic_load(&late->count) == 0 || !map_get(&late->by_key, key, &row))
                return NULL;
        return &late->rows[row];
}

static struct error *write_sorted(const struct late *late, const struct row_item *items, size_t count,
                                  struct row_file *file) {
        struct error *error = NULL;
        for (size_t i = 0; i < count && !error; i++) {
                uint8_t key[KEY_BYTES];
                if (i + 1 < count && key128_equal(items[i].key, items[i + 1].key))
                        continue; /* the last one counts */
                key_encode(items[i].key, key);
                error = row_file_put(
                        file, (struct bytes){(const char *)key, sizeof(key)},
                        (struct bytes){(const char *)late->rows[items[i].row].row, SETTLED_BYTES});
        }
        return error ? error : row_file_finish(file);
}

static struct error *write_file(const struct late *late, const struct db *db,
                                const rocksdb_options_t *options, const char *path) {
        size_t count = atomic_load(&late->count);
        struct row_item *items = malloc(count * sizeof(*items));
        if (!items)
                return error_new(ERROR_MEMORY, "no memory for a file of %zu rows", count);
        for (size_t i = 0; i < count; i++)
                items[i] = (struct row_item){late->rows[i].key, (uint32_t)i};
        row_items_sort(items, count);
        struct row_file file;
        struct error *error = row_file_open(&file, db, options, path);
        if (!error)
                error = write_sorted(late, items, count, &file);
        row_file_close(&file);
        free(items);
        return error;
}

struct error *late_bring_in(const struct late *late, const struct db *db, uint32_t partition) {
        char path[4096];
        if (atomic_load(&late->count) == 0)
                return NULL;
        bool of_file = partition == STORE_NO_PARTITION;
        rocksdb_options_t *options =
                of_file ? db_family_options_new(db, FAMILY_SETTLED) : db_partition_options_new(db);
        if (of_file)
                snprintf(path, sizeof(path), "%s/settled.new", db->directory);
        else
                snprintf(path, sizeof(path), "%s/settled-%05u.new", db->directory, partition);
        struct error *error = write_file(late, db, options, path);
        if (!error)
                error = row_file_take(db, path, db_settled_family(db, partition));
        if (error)
                unlink(path);
        rocksdb_options_destroy(options);
        return error;
}

void late_stage(const struct late_row *rows, size_t count, rocksdb_column_family_handle_t *family,
                rocksdb_writebatch_t *batch) {
        for (size_t i = 0; i < count; i++) {
                uint8_t key[KEY_BYTES];
                key_encode(rows[i].key, key);
                rocksdb_writebatch_put_cf(batch, family, (const char *)key, sizeof(key),
                                          (const char *)rows[i].row, SETTLED_BYTES);
        }
}

void late_clear(struct late *late) {
        if (atomic_exchange(&late->count, 0) > 0)
                map_clear(&late->by_key);
}
