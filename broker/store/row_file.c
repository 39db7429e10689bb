#include "broker/store/row_file.h"

#include <rocksdb/c.h>
#include <stdlib.h>

static int compare_items(const void *a, const void *b) {
        const struct row_item *x = a, *y = b;
        if (x->key.hi != y->key.hi)
                return x->key.hi < y->key.hi ? -1 : 1;
        if (x->key.lo != y->key.lo)
                return x->key.lo < y->key.lo ? -1 : 1;
        return x->row < y->row ? -1 : x->row > y->row;
}

void row_items_sort(struct row_item *items, size_t count) {
        qsort(items, count, sizeof(*items), compare_items);
}

struct error *row_file_open(struct row_file *file, const struct db *db,
                            const struct rocksdb_options_t *options, const char *path) {
        char *message = NULL;
        *file = (struct row_file){.db = db, .path = path};
        struct error *error = db_fault(db, "file");
        if (error)
                return error;
        rocksdb_envoptions_t *environment = rocksdb_envoptions_create();
        file->writer = rocksdb_sstfilewriter_create(environment, options);
        rocksdb_envoptions_destroy(environment);
        rocksdb_sstfilewriter_open(file->writer, path, &message);
        return db_error(message, "cannot make a file of rows");
}

static struct error *written(char *message) {
        return db_error(message, "cannot write a file of rows");
}

struct error *row_file_put(struct row_file *file, struct bytes key, struct bytes row) {
        char *message = NULL;
        rocksdb_sstfilewriter_put(file->writer, key.data, key.size, row.data, row.size, &message);
        return written(message);
}

struct error *row_file_delete(struct row_file *file, struct bytes key) {
        char *message = NULL;
        rocksdb_sstfilewriter_delete(file->writer, key.data, key.size, &message);
        return written(message);
}

struct error *row_file_finish(struct row_file *file) {
        char *message = NULL;
        rocksdb_sstfilewriter_finish(file->writer, &message);
        return written(message);
}

void row_file_close(struct row_file *file) {
        if (file->writer)
                rocksdb_sstfilewriter_destroy(file->writer);
        file->writer = NULL;
}

struct error *row_file_take(const struct db *db, const char *path,
                            struct rocksdb_column_family_handle_t *family) {
        char *message = NULL;
        const char *const files[1] = {path};
        struct error *error = db_fault(db, "ingest");
        if (error)
                return error;
        rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
        rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
        rocksdb_ingest_external_file_cf(db->rocks, family, files, 1, options, &message);
        rocksdb_ingestexternalfileoptions_destroy(options);
        return db_error(message, "cannot take a file of rows");
}
