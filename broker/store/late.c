#include "broker/store/late.h"

#include "broker/base/check.h"
#include "broker/store/row_file.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool late_init(struct late *late) {
        late->rows = malloc(LATE_ROWS_MAX * sizeof(*late->rows));
        if (late->rows && map_init(&late->by_key, LATE_ROWS_MAX))
                return true;
        late_deinit(late);
        return false;
}

void late_deinit(struct late *late) {
        free(late->rows);
        if (late->rows)
                map_deinit(&late->by_key);
        late->rows = NULL;
}

void late_put(struct late *late, const struct late_row *row) {
        size_t count = atomic_load(&late->count);
        CHECK(count < LATE_ROWS_MAX);
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

static struct error *write_file(const struct late *late, const struct db *db, const char *path) {
        size_t count = atomic_load(&late->count);
        struct row_item *items = malloc(count * sizeof(*items));
        if (!items)
                return error_new(ERROR_MEMORY, "no memory for a file of %zu rows", count);
        for (size_t i = 0; i < count; i++)
                items[i] = (struct row_item){late->rows[i].key, (uint32_t)i};
        row_items_sort(items, count);
        rocksdb_options_t *options = db_family_options_new(db, FAMILY_SETTLED);
        struct row_file file;
        struct error *error = row_file_open(&file, db, options, path);
        if (!error)
                error = write_sorted(late, items, count, &file);
        row_file_close(&file);
        rocksdb_options_destroy(options);
        free(items);
        return error;
}

struct error *late_bring_in(struct late *late, const struct db *db) {
        char path[4096];
        if (atomic_load(&late->count) == 0)
                return NULL;
        snprintf(path, sizeof(path), "%s/settled.new", db->directory);
        struct error *error = write_file(late, db, path);
        if (!error)
                error = row_file_take(db, path, db->families[FAMILY_SETTLED]);
        if (error)
                unlink(path);
        return error;
}

void late_stage(const struct late_row *rows, size_t count, const struct db *db, rocksdb_writebatch_t *batch) {
        for (size_t i = 0; i < count; i++) {
                uint8_t key[KEY_BYTES];
                key_encode(rows[i].key, key);
                rocksdb_writebatch_put_cf(batch, db->families[FAMILY_SETTLED], (const char *)key, sizeof(key),
                                          (const char *)rows[i].row, SETTLED_BYTES);
        }
}

void late_clear(struct late *late) {
        if (atomic_exchange(&late->count, 0) > 0)
                map_clear(&late->by_key);
}
