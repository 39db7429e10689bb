/*
 * The options, and why (reference reliability_performance.md A5 and B5, measured with 7.8.3):
 *   - wal_recovery_mode 0: a torn end is dropped, damage is refused. The default lost half of the synced rows
 *     without a word. log_check() does what is missing in mode 0.
 *   - memory is bounded: 32 MB of write buffers over all families, 32 MB of block cache that also holds
 *     filters and indexes, 256 open files. From 16 million settled rows on the cache grows by 2 bytes a
 *     row, so that the filters stay in it: reading one takes 60 us.
 *   - Bloom filters of 10 bits, on the memtable too: nearly all look-ups are for keys that are not there.
 *   - hashes do not compress: only bodies are, and they live in blob files, so that compaction does not carry
 *     them around.
 *   - writers take turns: no concurrent memtable writes, which saves the atomics. Writes that come together
 *     share one fsync.
 *   - answers stand in order of their numbers: an ordered list takes them at its end, and is what a flush
 *     wants. Those that are gone by then, nearly all, are not written; what says so is a range per commit.
 *   - packets of gathered rows are large and in order, and gone before long: as answers are.
 *   - a partition's family is small when it is idle: a short table of buckets, allocated in small pieces.
 *     With 100 of them and the large pieces of the files' family the empty write buffers alone would be over
 *     their bound, and every write would flush.
 *   - a log that any family still needs stays, so the bound on logs makes all of them flush. Answers are in
 *     the logs too; the bound of a worker is larger, so that its partitions do not write many small files.
 * A full disk: RocksDB looks every 5 s and takes writes again once a write buffer's worth (8 MB) is free.
 */
#include "broker/store/db.h"

#include "broker/base/check.h"
#include "broker/store/directory.h"
#include "broker/store/record.h"

#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITE_BUFFERS_BYTES    (32u << 20) /* all families together */
#define WRITE_BUFFER_BYTES     (8u << 20)  /* 16 MB cost the writer 0.7 us more a row, in cache misses */
#define MEMTABLE_BUCKETS       65536       /* about one row in each when the buffer is full */
#define CACHE_BYTES_MIN        (32u << 20)
#define CACHE_BYTES_PER_ROW    2 /* the filter has 1.25 */
#define LOGS_BYTES_MAX         (64u << 20)
#define PARTITION_BUFFER_BYTES (4u << 20)
#define PARTITION_BUCKETS      4096
#define PARTITION_ARENA_BYTES  (32u << 10)
#define ANSWERS_BUFFER_BYTES   (8u << 20)
#define WORKER_LOGS_BYTES_MAX  (256u << 20)
#define WORKER_OPEN_FILES_MAX  1024
#define MANIFEST_BYTES_MAX     (4u << 20)
#define BLOOM_BITS             10
#define OPEN_FILES_MAX         256
#define BLOB_BYTES_MIN         1024

static const char *const family_names[FAMILIES_COUNT] = {
        "default", "settled-0", "begun", "bodies", "answers-2", "parked", "gathered", "kept", "answers"};

struct error *db_error(char *message, const char *doing) {
        if (!message)
                return NULL;
        enum error_class kind = ERROR_IO;
        if (strstr(message, "No space left") || strstr(message, "Disk quota exceeded"))
                kind = ERROR_FULL;
        else if (strncmp(message, "Corruption", 10) == 0 || strstr(message, "checksum mismatch"))
                kind = ERROR_CORRUPT;
        struct error *error = error_new(kind, "%s: %s", doing, message);
        rocksdb_free(message);
        return error;
}

struct error *db_fault(const struct db *db, const char *operation) {
        int code = db->fault ? db->fault(db->fault_userdata, operation) : 0;
        return code ? error_errno(code, "%s", operation) : NULL;
}

struct error *db_row_error(const struct db *db, const char *what, bool newer) {
        if (newer)
                return error_new(ERROR_INPUT,
                                 "state directory %s: %s was written by a newer version of batchferry; "
                                 "run that version, or use another state directory",
                                 db->directory, what);
        return error_new(ERROR_CORRUPT,
                         "state directory %s: %s is damaged; run 'batchferry state verify' on it",
                         db->directory, what);
}

static void set_bounds(rocksdb_options_t *options, bool worker) {
        rocksdb_options_set_db_write_buffer_size(options, WRITE_BUFFERS_BYTES);
        rocksdb_options_set_max_total_wal_size(options, worker ? WORKER_LOGS_BYTES_MAX : LOGS_BYTES_MAX);
        rocksdb_options_set_max_manifest_file_size(options, MANIFEST_BYTES_MAX);
        rocksdb_options_set_max_open_files(options, worker ? WORKER_OPEN_FILES_MAX : OPEN_FILES_MAX);
        rocksdb_options_set_max_background_jobs(options, 2);
        /*
         * Fatal only: what is wrong comes back as an error, and a RocksDB 7.8 with asserts (Debian's) aborts
         * when a line of its own log meets a full disk.
         */
        rocksdb_options_set_info_log_level(options, 4);
        rocksdb_options_set_keep_log_file_num(options, 3);
        rocksdb_options_set_max_log_file_size(options, 1u << 20);
        rocksdb_options_set_stats_dump_period_sec(options, 0);
        rocksdb_options_set_stats_persist_period_sec(options, 0);
}

/* Options that the C API has no call for go through a string. */
static struct error *options_new(const struct store_options *wanted, rocksdb_options_t **out_options) {
        rocksdb_options_t *plain = rocksdb_options_create(), *options = rocksdb_options_create();
        char *message = NULL;
        rocksdb_get_options_from_string(plain,
                                        "track_and_verify_wals_in_manifest=true;"
                                        "verify_sst_unique_id_in_manifest=true",
                                        options, &message);
        rocksdb_options_destroy(plain);
        if (message) {
                rocksdb_options_destroy(options);
                return db_error(message, "this RocksDB does not know an option that is needed");
        }
        rocksdb_options_set_create_missing_column_families(options, 1);
        rocksdb_options_set_paranoid_checks(options, 1);
        rocksdb_options_set_wal_recovery_mode(options, wanted->strict ? 1 : 0);
        rocksdb_options_set_allow_concurrent_memtable_write(options, 0);
        set_bounds(options, wanted->worker);
        *out_options = options;
        return NULL;
}

/* Few shards: a filter of several hundred KB must fit into one of them many times over, or each look-up reads
 * it anew. */
static rocksdb_cache_t *cache_new(void) {
        rocksdb_lru_cache_options_t *options = rocksdb_lru_cache_options_create();
        rocksdb_lru_cache_options_set_capacity(options, CACHE_BYTES_MIN);
        rocksdb_lru_cache_options_set_num_shard_bits(options, 2);
        rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(options);
        rocksdb_lru_cache_options_destroy(options);
        return cache;
}

void db_fit_cache(struct db *db) {
        uint64_t rows = db_estimate(db, FAMILY_SETTLED);
        for (uint32_t i = 0; i < STORE_PARTITIONS_MAX; i++) {
                if (db_partition(db, i))
                        rows += db_estimate_settled(db, i);
        }
        uint64_t wanted = rows * CACHE_BYTES_PER_ROW;
        rocksdb_cache_set_capacity(db->cache, wanted > CACHE_BYTES_MIN ? (size_t)wanted : CACHE_BYTES_MIN);
}

static void set_table(const struct db *db, rocksdb_options_t *options) {
        rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
        rocksdb_block_based_options_set_block_cache(table, db->cache);
        rocksdb_block_based_options_set_block_size(table, 16384);
        rocksdb_block_based_options_set_format_version(table, 5);
        rocksdb_block_based_options_set_filter_policy(table,
                                                      rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
        rocksdb_block_based_options_set_whole_key_filtering(table, 1);
        rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
        rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
        rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
        rocksdb_options_set_block_based_table_factory(options, table);
        rocksdb_block_based_options_destroy(table);
}

/*
 * Keys are hashes: a table of them takes a row at a third of what an ordered list costs. Scans sort
 * (total_order_seek). The prefix is the whole key, so the filters hold nothing twice.
 */
static void set_hashed(rocksdb_options_t *options, size_t key_bytes, size_t buckets) {
        rocksdb_slicetransform_t *whole_key = rocksdb_slicetransform_create_fixed_prefix(key_bytes);
        rocksdb_options_set_prefix_extractor(options, whole_key);
        rocksdb_options_set_hash_link_list_rep(options, buckets);
}

static rocksdb_options_t *family_options_new(const struct db *db, rocksdb_options_t *base,
                                             enum family family) {
        rocksdb_options_t *options = rocksdb_options_create_copy(base);
        set_table(db, options);
        rocksdb_options_set_compression(options, rocksdb_no_compression);
        rocksdb_options_set_write_buffer_size(options, family == FAMILY_META ? 1u << 20 : WRITE_BUFFER_BYTES);
        rocksdb_options_set_max_write_buffer_number(options, 2);
        if (family == FAMILY_SETTLED) {
                set_hashed(options, KEY_BYTES, MEMTABLE_BUCKETS);
        }
        if (family == FAMILY_ANSWERS) { /* mostly gone before the buffer is full; blob files cost more then */
                rocksdb_options_set_write_buffer_size(options, ANSWERS_BUFFER_BYTES);
        }
        if (family == FAMILY_BODIES || family == FAMILY_PARKED || family == FAMILY_KEPT) {
                rocksdb_options_set_enable_blob_files(options, 1);
                rocksdb_options_set_min_blob_size(options, BLOB_BYTES_MIN);
                rocksdb_options_set_blob_compression_type(options, rocksdb_lz4_compression);
                rocksdb_options_set_enable_blob_gc(options, 1);
                rocksdb_options_set_compression(options, rocksdb_lz4_compression);
        }
        return options;
}

rocksdb_options_t *db_family_options_new(const struct db *db, enum family family) {
        return family_options_new(db, db->options, family);
}

rocksdb_options_t *db_partition_options_new(const struct db *db) {
        rocksdb_options_t *options = family_options_new(db, db->options, FAMILIES_COUNT);
        set_hashed(options, KEY_BYTES, PARTITION_BUCKETS);
        rocksdb_options_set_write_buffer_size(options, PARTITION_BUFFER_BYTES);
        rocksdb_options_set_arena_block_size(options, PARTITION_ARENA_BYTES);
        return options;
}

/* ---- opening ---- */

/* The families that are to be opened. */
struct families {
        char **listed;
        size_t listed_count;
        const char **names;
        rocksdb_options_t **options;
        rocksdb_column_family_handle_t **handles;
        size_t count;
};

static bool is_listed(const struct families *families, const char *name) {
        for (size_t i = 0; i < families->listed_count; i++) {
                if (strcmp(families->listed[i], name) == 0)
                        return true;
        }
        return false;
}

static void add_family(struct families *families, const char *name, rocksdb_options_t *options) {
        CHECK(families->names && families->options);
        families->names[families->count] = name;
        families->options[families->count++] = options;
}

/* A family that we do not know was made by a version that knows more. */
static struct error *choose_families(const struct db *db, bool exists, const struct store_options *wanted,
                                     struct families *families) {
        for (enum family i = 0; i < FAMILIES_COUNT; i++) {
                bool made = !wanted->read_only && i < (wanted->worker ? FAMILY_OLD_ANSWERS : FAMILY_ANSWERS);
                if (made || (exists && is_listed(families, family_names[i])))
                        add_family(families, family_names[i], family_options_new(db, db->options, i));
        }
        for (size_t i = 0; i < families->listed_count; i++) {
                const char *name = families->listed[i];
                uint32_t number;
                bool known = false;
                for (size_t k = 0; k < FAMILIES_COUNT; k++)
                        known = known || strcmp(name, family_names[k]) == 0;
                if (known)
                        continue;
                if (!number_of_name(bytes_of(name), PARTITION_FAMILY, &number))
                        return db_row_error(db, name, true);
                add_family(families, name, db_partition_options_new(db));
        }
        return NULL;
}

static struct error *add_partition(struct db *db, uint32_t number, rocksdb_column_family_handle_t *family,
                                   struct partition **out_partition) {
        struct partition *partition = calloc(1, sizeof(*partition));
        if (!partition)
                return error_new(ERROR_MEMORY, "no memory for partition %u", number);
        partition->number = number;
        partition->family = family;
        pthread_mutex_init(&partition->parking, NULL);
        pthread_mutex_init(&partition->settling, NULL);
        pthread_mutex_init(&partition->gathering, NULL);
        partition->next_packet = 1;
        atomic_store(&db->partitions[number], partition);
        *out_partition = partition;
        return NULL;
}

static void free_partition(struct partition *partition) {
        pthread_mutex_destroy(&partition->parking);
        pthread_mutex_destroy(&partition->settling);
        pthread_mutex_destroy(&partition->gathering);
        late_deinit(&partition->gathered);
        late_deinit(&partition->leaving);
        free(partition);
}

static struct error *take_handles(struct db *db, const struct families *families) {
        struct error *error = NULL;
        for (size_t i = 0; i < families->count; i++) {
                uint32_t number;
                struct partition *partition;
                for (size_t k = 0; k < FAMILIES_COUNT; k++) {
                        if (strcmp(families->names[i], family_names[k]) == 0)
                                db->families[k] = families->handles[i];
                }
                if (!number_of_name(bytes_of(families->names[i]), PARTITION_FAMILY, &number))
                        continue;
                struct error *refused =
                        error ? NULL : add_partition(db, number, families->handles[i], &partition);
                if (error || refused)
                        rocksdb_column_family_handle_destroy(families->handles[i]);
                error = error ? error : refused;
        }
        return error;
}

static struct error *open_families(struct db *db, struct families *families, bool read_only) {
        char *message = NULL;
        const rocksdb_options_t *const *options = (const rocksdb_options_t *const *)families->options;
        if (read_only)
                db->rocks = rocksdb_open_for_read_only_column_families(
                        db->options, db->directory, (int)families->count, families->names, options,
                        families->handles, 0, &message);
        else
                db->rocks =
                        rocksdb_open_column_families(db->options, db->directory, (int)families->count,
                                                     families->names, options, families->handles, &message);
        return message ? db_error(message, "RocksDB") : take_handles(db, families);
}

static struct error *open_rocks(struct db *db, bool exists, const struct store_options *wanted) {
        struct families families = {0};
        char *message = NULL;
        if (exists)
                families.listed = rocksdb_list_column_families(db->options, db->directory,
                                                               &families.listed_count, &message);
        if (message) {
                rocksdb_list_column_families_destroy(families.listed, families.listed_count);
                return db_error(message, "cannot read the MANIFEST");
        }
        size_t count = families.listed_count + FAMILIES_COUNT;
        families.names = calloc(count, sizeof(*families.names));
        families.options = calloc(count, sizeof(*families.options));
        families.handles = calloc(count, sizeof(*families.handles));
        struct error *error = NULL;
        if (!families.names || !families.options || !families.handles)
                error = error_new(ERROR_MEMORY, "no memory to open the state");
        if (!error)
                error = choose_families(db, exists, wanted, &families);
        if (!error)
                error = open_families(db, &families, wanted->read_only);
        for (size_t i = 0; families.options && i < families.count; i++)
                rocksdb_options_destroy(families.options[i]);
        free(families.names);
        free(families.options);
        free(families.handles);
        if (families.listed)
                rocksdb_list_column_families_destroy(families.listed, families.listed_count);
        return error;
}

static struct error *nothing_seen(void *userdata, struct bytes key, struct bytes value) {
        (void)value;
        const struct db *db = userdata;
        return error_new(
                ERROR_INPUT,
                "%s holds a RocksDB that is not BatchFerry's (a row '%.*s'); use another state directory",
                db->directory, (int)(key.size < 40 ? key.size : 40), key.data);
}

static struct error *write_format(struct db *db) {
        uint8_t value[FORMAT_VALUE_BYTES];
        format_encode(FORMAT_VERSION, value);
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        rocksdb_writebatch_put_cf(rows, db->families[FAMILY_META], FORMAT_KEY, strlen(FORMAT_KEY),
                                  (const char *)value, sizeof(value));
        struct error *error = db_write(db, rows, false);
        rocksdb_writebatch_destroy(rows);
        return error;
}

/* The format is the first row that is ever written; without it the database must be empty. */
static struct error *check_format(struct db *db, bool read_only) {
        struct buffer value;
        bool found = false;
        uint32_t version;
        buffer_init(&value, 1024);
        struct error *error = db_get(db, FAMILY_META, BYTES(FORMAT_KEY), &value, &found);
        if (!error && !found) {
                error = db_scan(db, FAMILY_META, BYTES(""), nothing_seen, db);
                if (!error && !read_only)
                        error = write_format(db);
        } else if (!error && !format_decode(buffer_view(&value), &version)) {
                error = db_row_error(db, "its format", false);
        } else if (!error && version != FORMAT_VERSION) {
                error = error_new(
                        ERROR_INPUT,
                        "state directory %s has format %u and this version of batchferry knows format %u; "
                        "run the version that wrote it, or use another state directory",
                        db->directory, version, FORMAT_VERSION);
        }
        buffer_deinit(&value);
        return error;
}

/* One sentence with what to do next. */
static struct error *say_damaged(struct error *error, const char *directory) {
        if (!error || error->kind != ERROR_CORRUPT)
                return error;
        struct error *damaged = error_new(ERROR_CORRUPT,
                                          "state directory %s is damaged and was left as it is (%s); restore "
                                          "a copy of it, or move it away and "
                                          "run again: results that stand in the output are kept",
                                          directory, error->message);
        error_free(error);
        return damaged;
}

static struct error *prepare_directory(struct db *db, bool read_only, bool *out_exists) {
        if (read_only) {
                struct error *error = directory_check(db->directory, out_exists);
                /* The process that writes may be in the middle of a record. */
                if (error && error->kind == ERROR_CORRUPT) {
                        struct error *locked = directory_lock(db->directory, &db->lock_fd);
                        bool alive = locked && locked->kind == ERROR_BUSY;
                        error_free(locked);
                        *out_exists = true;
                        return alive ? error_free(error) : error;
                }
                return error;
        }
        struct error *error = directory_make(db->directory);
        if (!error)
                error = directory_lock(db->directory, &db->lock_fd);
        return error ? error : directory_check(db->directory, out_exists);
}

static struct error *open_steps(struct db *db, const struct store_options *store_options) {
        bool exists = false;
        struct error *error = db_fault(db, "open");
        if (!error)
                error = prepare_directory(db, store_options->read_only, &exists);
        if (!error && store_options->read_only && !exists)
                error = error_new(ERROR_INPUT, "there is no state in %s", db->directory);
        if (!error)
                error = options_new(store_options, &db->options);
        if (error)
                return error;
        rocksdb_options_set_create_if_missing(db->options, !exists);
        error = open_rocks(db, exists, store_options);
        if (!error)
                error = check_format(db, store_options->read_only);
        if (!error)
                db_fit_cache(db);
        return error;
}

/*
 * Flushes and compactions, of the whole process, run when nobody else wants the core: a flush of 0.1 s beside
 * the loop is what the slowest hundredth of a worker's answers waits for (beyond the interval 120, 131 and 65
 * ms without this, 57, 70 and 50 with it). A thread takes it with its next piece of work. Writers wait for
 * them where memory is full, which frees the core.
 */
static void give_way(void) {
        rocksdb_env_t *environment = rocksdb_create_default_env();
        rocksdb_env_lower_thread_pool_cpu_priority(environment);
        rocksdb_env_lower_high_priority_thread_pool_cpu_priority(environment);
        rocksdb_env_destroy(environment);
}

struct error *db_open(struct db *db, const struct store_options *options) {
        *db = (struct db){
                .lock_fd = -1,
                .fault = options->fault,
                .fault_userdata = options->fault_userdata,
                .directory = strdup(options->directory),
                .read = rocksdb_readoptions_create(),
                .scan = rocksdb_readoptions_create(),
                .write = rocksdb_writeoptions_create(),
                .write_lazy = rocksdb_writeoptions_create(),
                .cache = cache_new(),
                .partitions = calloc(STORE_PARTITIONS_MAX, sizeof(*db->partitions)),
        };
        if (!db->directory || !db->partitions)
                return error_new(ERROR_MEMORY, "no memory to open the state");
        rocksdb_readoptions_set_fill_cache(db->scan, 0);
        rocksdb_readoptions_set_total_order_seek(db->scan, 1);
        rocksdb_writeoptions_set_sync(db->write, 1);
        give_way();
        struct error *error = say_damaged(open_steps(db, options), db->directory);
        if (error && error->kind != ERROR_CORRUPT && error->kind != ERROR_BUSY && error->kind != ERROR_INPUT)
                error = error_wrap(error, "cannot open the state directory %s", db->directory);
        return error;
}

void db_close(struct db *db) {
        for (size_t i = 0; i < FAMILIES_COUNT; i++) {
                if (db->families[i])
                        rocksdb_column_family_handle_destroy(db->families[i]);
        }
        for (uint32_t i = 0; db->partitions && i < STORE_PARTITIONS_MAX; i++) {
                struct partition *partition = db_partition(db, i);
                if (!partition)
                        continue;
                rocksdb_column_family_handle_destroy(partition->family);
                free_partition(partition);
        }
        free(db->partitions);
        if (db->rocks)
                rocksdb_close(db->rocks);
        if (db->options)
                rocksdb_options_destroy(db->options);
        if (db->read)
                rocksdb_readoptions_destroy(db->read);
        if (db->scan)
                rocksdb_readoptions_destroy(db->scan);
        if (db->write)
                rocksdb_writeoptions_destroy(db->write);
        if (db->write_lazy)
                rocksdb_writeoptions_destroy(db->write_lazy);
        if (db->cache)
                rocksdb_cache_destroy(db->cache);
        if (db->lock_fd >= 0)
                close(db->lock_fd);
        free(db->directory);
        *db = (struct db){.lock_fd = -1};
}

/* ---- partitions ---- */

struct partition *db_partition(const struct db *db, uint32_t number) {
        return number < STORE_PARTITIONS_MAX ? atomic_load(&db->partitions[number]) : NULL;
}

static struct error *make_family(struct db *db, const char *name, rocksdb_options_t *options,
                                 rocksdb_column_family_handle_t **out_handle) {
        char *message = NULL;
        struct error *error = db_fault(db, "family");
        rocksdb_column_family_handle_t *handle = NULL;
        if (!error) {
                handle = rocksdb_create_column_family(db->rocks, options, name, &message);
                error = message ? db_error(message, "cannot make a column family") : NULL;
        }
        rocksdb_options_destroy(options);
        if (!error)
                *out_handle = handle;
        return error;
}

struct error *db_partition_make(struct db *db, uint32_t number, struct partition **out_partition) {
        char name[NUMBER_NAME_MAX];
        rocksdb_column_family_handle_t *family = NULL;
        number_name(PARTITION_FAMILY, number, name);
        struct error *error = make_family(db, name, db_partition_options_new(db), &family);
        if (error)
                return error;
        error = add_partition(db, number, family, out_partition);
        if (error)
                rocksdb_column_family_handle_destroy(family);
        return error;
}

struct error *db_partition_drop(struct db *db, struct partition *partition, bool again) {
        char *message = NULL;
        char name[NUMBER_NAME_MAX];
        struct error *error = db_fault(db, "family");
        if (!error) {
                rocksdb_drop_column_family(db->rocks, partition->family, &message);
                error = message ? db_error(message, "cannot drop a column family") : NULL;
        }
        if (error)
                return error;
        rocksdb_column_family_handle_t *old = partition->family;
        number_name(PARTITION_FAMILY, partition->number, name);
        if (again)
                error = make_family(db, name, db_partition_options_new(db), &partition->family);
        rocksdb_column_family_handle_destroy(old);
        if (again && !error)
                return NULL;
        atomic_store(&db->partitions[partition->number], NULL);
        free_partition(partition);
        return error;
}

/* ---- reading and writing ---- */

struct error *db_write(struct db *db, struct rocksdb_writebatch_t *rows, bool lazy) {
        struct error *error = db_fault(db, "write");
        if (error)
                return error;
        char *message = NULL;
        rocksdb_write(db->rocks, lazy ? db->write_lazy : db->write, rows, &message);
        return message ? db_error(message, "write") : db_fault(db, "written");
}

struct error *db_get(const struct db *db, enum family family, struct bytes key, struct buffer *out_value,
                     bool *out_found) {
        struct error *error = db_fault(db, "get");
        if (error)
                return error;
        if (!db->families[family]) {
                *out_found = false;
                return NULL;
        }
        char *message = NULL;
        rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(db->rocks, db->read, db->families[family],
                                                               key.data, key.size, &message);
        if (message)
                return db_error(message, "cannot read the state");
        buffer_clear(out_value);
        if (slice) {
                size_t size = 0;
                const char *data = rocksdb_pinnableslice_value(slice, &size);
                buffer_append(out_value, data, size);
                rocksdb_pinnableslice_destroy(slice);
        }
        if (out_value->failed)
                return error_new(ERROR_MEMORY, "a row of the state is too large for the memory");
        *out_found = slice != NULL;
        return NULL;
}

/* Rows from `from` on, as long as they start with `prefix`. */
static struct error *scan_rows(rocksdb_iterator_t *rows, struct bytes from, struct bytes prefix,
                               struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                               void *userdata) {
        for (rocksdb_iter_seek(rows, from.data, from.size); rocksdb_iter_valid(rows);
             rocksdb_iter_next(rows)) {
                struct bytes key, value;
                key.data = rocksdb_iter_key(rows, &key.size);
                value.data = rocksdb_iter_value(rows, &value.size);
                if (key.size < prefix.size || memcmp(key.data, prefix.data, prefix.size) != 0)
                        return NULL;
                struct error *error = each(userdata, key, value);
                if (error)
                        return error;
        }
        char *message = NULL;
        rocksdb_iter_get_error(rows, &message);
        return db_error(message, "cannot read the state");
}

static struct error *scan_family(const struct db *db, rocksdb_column_family_handle_t *family,
                                 struct bytes from, struct bytes prefix,
                                 struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                                 void *userdata) {
        struct error *error = db_fault(db, "scan");
        if (error || !family)
                return error;
        rocksdb_iterator_t *rows = rocksdb_create_iterator_cf(db->rocks, db->scan, family);
        error = scan_rows(rows, from, prefix, each, userdata);
        rocksdb_iter_destroy(rows);
        return error;
}

struct error *db_scan(const struct db *db, enum family family, struct bytes prefix,
                      struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                      void *userdata) {
        return scan_family(db, db->families[family], prefix, prefix, each, userdata);
}

rocksdb_column_family_handle_t *db_settled_family(const struct db *db, uint32_t partition) {
        const struct partition *known = db_partition(db, partition);
        if (partition == STORE_NO_PARTITION)
                return db->families[FAMILY_SETTLED];
        return known ? known->family : NULL;
}

struct error *db_scan_settled(const struct db *db, uint32_t partition, struct bytes from,
                              struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                              void *userdata) {
        return scan_family(db, db_settled_family(db, partition), from, BYTES(""), each, userdata);
}

struct error *db_scan_range(const struct db *db, enum family family, struct bytes from, struct bytes until,
                            struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                            void *userdata) {
        struct error *error = db_fault(db, "scan");
        if (error || !db->families[family])
                return error;
        rocksdb_readoptions_t *options = rocksdb_readoptions_create();
        rocksdb_readoptions_set_fill_cache(options, 0);
        rocksdb_readoptions_set_iterate_upper_bound(options, until.data, until.size);
        rocksdb_iterator_t *rows = rocksdb_create_iterator_cf(db->rocks, options, db->families[family]);
        error = scan_rows(rows, from, BYTES(""), each, userdata);
        rocksdb_iter_destroy(rows);
        rocksdb_readoptions_destroy(options);
        return error;
}

/* ---- figures ---- */

static uint64_t family_figure(const struct db *db, rocksdb_column_family_handle_t *family, const char *name) {
        uint64_t value = 0;
        if (family)
                rocksdb_property_int_cf(db->rocks, family, name, &value);
        return value;
}

uint64_t db_estimate(const struct db *db, enum family family) {
        return family_figure(db, db->families[family], "rocksdb.estimate-num-keys");
}

uint64_t db_estimate_settled(const struct db *db, uint32_t partition) {
        return family_figure(db, db_settled_family(db, partition), "rocksdb.estimate-num-keys");
}

static uint64_t family_memory(const struct db *db, rocksdb_column_family_handle_t *family) {
        return family_figure(db, family, "rocksdb.cur-size-all-mem-tables") +
               family_figure(db, family, "rocksdb.estimate-table-readers-mem");
}

void db_usage(const struct db *db, uint64_t *out_disk_bytes, uint64_t *out_memory_bytes) {
        uint64_t memory = rocksdb_cache_get_usage(db->cache);
        for (size_t i = 0; i < FAMILIES_COUNT; i++)
                memory += family_memory(db, db->families[i]);
        for (uint32_t i = 0; i < STORE_PARTITIONS_MAX; i++) {
                const struct partition *partition = db_partition(db, i);
                if (partition)
                        memory += family_memory(db, partition->family);
        }
        *out_disk_bytes = directory_bytes(db->directory);
        *out_memory_bytes = memory;
}
