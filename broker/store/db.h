#pragma once
/*
 * RocksDB as this program uses it: its options, its column families, one process at a time, and its errors
 * turned into ours. Owned by struct store; everything but opening and closing may be called from any thread,
 * as RocksDB allows.
 */
#include "broker/store/late.h"
#include "broker/store/record.h"
#include "broker/store/store.h"

#include <pthread.h>
#include <stdatomic.h>

struct rocksdb_t;
struct rocksdb_cache_t;
struct rocksdb_column_family_handle_t;
struct rocksdb_iterator_t;
struct rocksdb_options_t;
struct rocksdb_readoptions_t;
struct rocksdb_writebatch_t;
struct rocksdb_writeoptions_t;

enum family {
        FAMILY_META,    /* "default": format version and sources */
        FAMILY_SETTLED, /* "settled-0" */
        FAMILY_BEGUN,
        FAMILY_BODIES,
        FAMILY_ANSWERS, /* these four are there in a worker's; else NULL, and empty then */
        FAMILY_PARKED,
        FAMILY_GATHERED,
        FAMILY_KEPT,
        FAMILY_OLD_ANSWERS, /* where a version that gave no numbers has made it; nothing is put into it */
        FAMILIES_COUNT,
};

#define PARTITION_FAMILY "partition-"

/* A jobs partition: its family, and what parked.c and gather.c know of it. */
struct partition {
        uint32_t number;
        bool open;                                     /* store_partition_open() has been called */
        struct rocksdb_column_family_handle_t *family; /* changed only while nobody uses the partition */
        atomic_uint batches;                           /* that hold rows of it */
        atomic_uint_fast64_t parked;                   /* jobs; 0 until it is open */
        pthread_mutex_t parking;                       /* for these two */
        uint64_t parks;                                /* how often something was parked */
        int64_t parked_from;                           /* none is due before that */
        bool loading;              /* its rows need not agree before they have been loaded */
        pthread_mutex_t settling;  /* held by the one that writes settled rows of it */
        pthread_mutex_t gathering; /* for the rows in these two, and the numbers */
        struct late gathered;
        struct late leaving;     /* rows from before, on their way into the family; changed by nobody */
        uint64_t leaving_packet; /* their packets are before this one */
        uint64_t next_packet;
        unsigned sent_off; /* so often, and not done with yet: under the mutex of the gatherer (gather.c) */
        struct partition *next_leaving; /* the same */
};

struct db {
        struct rocksdb_t *rocks;
        struct rocksdb_column_family_handle_t *families[FAMILIES_COUNT];
        _Atomic(struct partition *) *partitions; /* by number; STORE_PARTITIONS_MAX of them */
        struct rocksdb_options_t *options;       /* of the database, from which those of a family are made */
        struct rocksdb_readoptions_t *read, *scan;
        struct rocksdb_writeoptions_t *write, *write_lazy;
        struct rocksdb_cache_t *cache;
        char *directory;
        int lock_fd; /* the file `owner`, locked; -1 when read-only */
        int (*fault)(void *userdata, const char *operation);
        void *fault_userdata;
};

struct error *db_open(struct db *db, const struct store_options *options) MUST_USE;
void db_close(struct db *db); /* also after a failed db_open() */

/* NULL when there is none of that number. */
struct partition *db_partition(const struct db *db, uint32_t number);
/* Makes the family. */
struct error *db_partition_make(struct db *db, uint32_t number, struct partition **out_partition) MUST_USE;
/* Drops the family; `again`: and makes it anew, else `partition` is freed. */
struct error *db_partition_drop(struct db *db, struct partition *partition, bool again) MUST_USE;
/* The options of a partition's family; the caller's. */
struct rocksdb_options_t *db_partition_options_new(const struct db *db);
struct rocksdb_options_t *db_family_options_new(const struct db *db, enum family family);

/* Takes RocksDB's message (and frees it): ERROR_FULL, ERROR_CORRUPT or ERROR_IO. NULL stays NULL. */
struct error *db_error(char *message, const char *doing) MUST_USE;
/* Asks the hook of the tests whether this operation is to fail. */
struct error *db_fault(const struct db *db, const char *operation) MUST_USE;

/* Writes and, unless `lazy`, syncs. */
struct error *db_write(struct db *db, struct rocksdb_writebatch_t *rows, bool lazy) MUST_USE;
/* out_value is cleared first. */
struct error *db_get(const struct db *db, enum family family, struct bytes key, struct buffer *out_value,
                     bool *out_found) MUST_USE;
/* Calls `each` for every row whose key starts with `prefix`, in order. Stops at the first error. */
struct error *db_scan(const struct db *db, enum family family, struct bytes prefix,
                      struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                      void *userdata) MUST_USE;
/* The same for a partition's rows, and from `from` on. `each` may write. */
struct error *db_scan_settled(const struct db *db, uint32_t partition, struct bytes from,
                              struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                              void *userdata) MUST_USE;
/* Rows of the family from `from` on, and before `until`: beyond that nothing is read. */
struct error *db_scan_range(const struct db *db, enum family family, struct bytes from, struct bytes until,
                            struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                            void *userdata) MUST_USE;
/* The family of its settled rows, or that of files; NULL: there is none. */
struct rocksdb_column_family_handle_t *db_settled_family(const struct db *db, uint32_t partition);
/* Settled rows, gathered ones too, and marks; many keys in one go; partitions NULL: files. */
struct error *db_look_up(const struct db *db, const struct key128 *keys, const uint32_t *partitions,
                         size_t count, struct job_row *out_rows) MUST_USE;
/* The error for a row that does not decode. */
struct error *db_row_error(const struct db *db, const char *what, bool newer) MUST_USE;
void db_usage(const struct db *db, uint64_t *out_disk_bytes, uint64_t *out_memory_bytes);
/* Gives the filters of the settled rows room. Now and then, as they become more. */
void db_fit_cache(struct db *db);
uint64_t db_estimate(const struct db *db, enum family family);
uint64_t db_estimate_settled(const struct db *db, uint32_t partition);
