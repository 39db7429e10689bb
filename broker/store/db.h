#pragma once
/*
 * RocksDB as this program uses it: its options, its column families, one process at a time, and its errors
 * turned into ours. Owned by struct store; everything but opening and closing may be called from any thread,
 * as RocksDB allows.
 */
#include "broker/store/store.h"

struct rocksdb_t;
struct rocksdb_cache_t;
struct rocksdb_column_family_handle_t;
struct rocksdb_iterator_t;
struct rocksdb_readoptions_t;
struct rocksdb_writebatch_t;
struct rocksdb_writeoptions_t;

enum family {
        FAMILY_META,    /* "default": format version and sources */
        FAMILY_SETTLED, /* "settled-0" */
        FAMILY_BEGUN,
        FAMILY_BODIES,
        FAMILIES_COUNT,
};

struct db {
        struct rocksdb_t *rocks;
        struct rocksdb_column_family_handle_t *families[FAMILIES_COUNT];
        struct rocksdb_readoptions_t *read, *scan;
        struct rocksdb_writeoptions_t *write;
        struct rocksdb_cache_t *cache;
        char *directory;
        int lock_fd; /* the file `owner`, locked; -1 when read-only */
        int (*fault)(void *userdata, const char *operation);
        void *fault_userdata;
};

struct error *db_open(struct db *db, const struct store_options *options) MUST_USE;
void db_close(struct db *db); /* also after a failed db_open() */

/* The family with the settled rows of that key. One for all now; one per partition when there are partitions.
 */
struct rocksdb_column_family_handle_t *db_settled(const struct db *db, struct key128 key);

/* Takes RocksDB's message (and frees it): ERROR_FULL, ERROR_CORRUPT or ERROR_IO. NULL stays NULL. */
struct error *db_error(char *message, const char *doing) MUST_USE;
/* Asks the hook of the tests whether this operation is to fail. */
struct error *db_fault(const struct db *db, const char *operation) MUST_USE;

/* Writes and syncs. */
struct error *db_write(struct db *db, struct rocksdb_writebatch_t *rows) MUST_USE;
/* out_value is cleared first. */
struct error *db_get(const struct db *db, enum family family, struct bytes key, struct buffer *out_value,
                     bool *out_found) MUST_USE;
/* Calls `each` for every row whose key starts with `prefix`, in order. Stops at the first error. */
struct error *db_scan(const struct db *db, enum family family, struct bytes prefix,
                      struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                      void *userdata) MUST_USE;
/* Settled rows, many keys in one go. */
struct error *db_look_up(const struct db *db, const struct key128 *keys, size_t count, bool *out_found,
                         struct settled *out_settled) MUST_USE;
/* The error for a row that does not decode. */
struct error *db_row_error(const struct db *db, const char *what, bool newer) MUST_USE;
void db_usage(const struct db *db, uint64_t *out_disk_bytes, uint64_t *out_memory_bytes);
/* Gives the filters of the settled rows room. Now and then, as they become more. */
void db_fit_cache(struct db *db);
uint64_t db_estimate(const struct db *db, enum family family);
