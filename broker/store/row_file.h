#pragma once
/*
 * Many rows at once: a file of sorted rows that a family takes in whole, past its log and its write buffer,
 * for a fraction of the CPU. Taking it in replaces rows of the same keys.
 */
#include "broker/store/db.h"

/* A row to be sorted, and its number among the caller's. */
struct row_item {
        struct key128 key;
        uint32_t row;
};
/* As a file wants them: by key, and rows of one key by their number. */
void row_items_sort(struct row_item *items, size_t count);

struct rocksdb_sstfilewriter_t;

struct row_file {
        const struct db *db;
        const char *path; /* the caller's, in the state directory; what stands there is overwritten */
        struct rocksdb_sstfilewriter_t *writer;
};

/* options: of the family, as for its opening. Then row_file_close(), whatever happens. */
struct error *row_file_open(struct row_file *file, const struct db *db,
                            const struct rocksdb_options_t *options, const char *path) MUST_USE;
/* In order of the keys, each once. */
struct error *row_file_put(struct row_file *file, struct bytes key, struct bytes row) MUST_USE;
struct error *row_file_delete(struct row_file *file, struct bytes key) MUST_USE;
/* At least one of the two has been called. */
struct error *row_file_finish(struct row_file *file) MUST_USE;
void row_file_close(struct row_file *file);
/* The rows can be seen and are durable when it returns NULL. The file is gone then. */
struct error *row_file_take(const struct db *db, const char *path,
                            struct rocksdb_column_family_handle_t *family) MUST_USE;
