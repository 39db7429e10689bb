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
 *   - one thread writes: no concurrent memtable writes, which saves the atomics.
 * A full disk: RocksDB looks every 5 s and takes writes again once a write buffer's worth (8 MB) is free.
 */
#include "broker/store/db.h"

#include "broker/store/directory.h"
#include "broker/store/record.h"

#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITE_BUFFERS_BYTES (32u << 20) /* all families together */
#define WRITE_BUFFER_BYTES  (8u << 20)  /* 16 MB cost the writer 0.7 us more a row, in cache misses */
#define MEMTABLE_BUCKETS    65536       /* about one row in each when the buffer is full */
#define CACHE_BYTES_MIN     (32u << 20)
#define CACHE_BYTES_PER_ROW 2 /* the filter has 1.25 */
#define LOGS_BYTES_MAX      (64u << 20)
#define MANIFEST_BYTES_MAX  (4u << 20)
#define BLOOM_BITS          10
#define OPEN_FILES_MAX      256
#define BLOB_BYTES_MIN      1024
#define LOOK_UPS_MAX        256 /* at a time: arrays on the stack */

static const char *const family_names[FAMILIES_COUNT] = {"default", "settled-0", "begun", "bodies"};

struct rocksdb_column_family_handle_t *db_settled(const struct db *db, struct key128 key) {
        (void)key;
        return db->families[FAMILY_SETTLED];
}

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

static void set_bounds(rocksdb_options_t *options) {
        rocksdb_options_set_db_write_buffer_size(options, WRITE_BUFFERS_BYTES);
        rocksdb_options_set_max_total_wal_size(options, LOGS_BYTES_MAX);
        rocksdb_options_set_max_manifest_file_size(options, MANIFEST_BYTES_MAX);
        rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
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
static struct error *options_new(bool strict, rocksdb_options_t **out_options) {
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
        rocksdb_options_set_wal_recovery_mode(options, strict ? 1 : 0);
        rocksdb_options_set_allow_concurrent_memtable_write(options, 0);
        set_bounds(options);
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
        uint64_t wanted = db_estimate(db, FAMILY_SETTLED) * CACHE_BYTES_PER_ROW;
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
static void set_hashed(rocksdb_options_t *options) {
        rocksdb_slicetransform_t *whole_key = rocksdb_slicetransform_create_fixed_prefix(KEY_BYTES);
        rocksdb_options_set_prefix_extractor(options, whole_key);
        rocksdb_options_set_hash_link_list_rep(options, MEMTABLE_BUCKETS);
}

static rocksdb_options_t *family_options_new(const struct db *db, rocksdb_options_t *base,
                                             enum family family) {
        rocksdb_options_t *options = rocksdb_options_create_copy(base);
        set_table(db, options);
        rocksdb_options_set_compression(options, rocksdb_no_compression);
        rocksdb_options_set_write_buffer_size(options, family == FAMILY_META ? 1u << 20 : WRITE_BUFFER_BYTES);
        rocksdb_options_set_max_write_buffer_number(options, 2);
        if (family == FAMILY_SETTLED) {
                set_hashed(options);
        }
        if (family == FAMILY_BODIES) {
                rocksdb_options_set_enable_blob_files(options, 1);
                rocksdb_options_set_min_blob_size(options, BLOB_BYTES_MIN);
                rocksdb_options_set_blob_compression_type(options, rocksdb_lz4_compression);
                rocksdb_options_set_enable_blob_gc(options, 1);
                rocksdb_options_set_compression(options, rocksdb_lz4_compression);
        }
        return options;
}

/* A family that we do not know was made by a version that knows more. */
static struct error *check_families(const struct db *db, const rocksdb_options_t *options) {
        size_t count = 0;
        char *message = NULL;
        char **names = rocksdb_list_column_families(options, db->directory, &count, &message);
        struct error *error = db_error(message, "cannot read the MANIFEST");
        for (size_t i = 0; i < count && !error; i++) {
                bool known = false;
                for (size_t k = 0; k < FAMILIES_COUNT; k++)
                        known = known || strcmp(names[i], family_names[k]) == 0;
                if (!known)
                        error = db_row_error(db, names[i], true);
        }
        rocksdb_list_column_families_destroy(names, count);
        return error;
}

static struct error *open_rocks(struct db *db, rocksdb_options_t *options, bool read_only) {
        rocksdb_options_t *families[FAMILIES_COUNT];
        char *message = NULL;
        for (size_t i = 0; i < FAMILIES_COUNT; i++)
                families[i] = family_options_new(db, options, (enum family)i);
        if (read_only)
                db->rocks = rocksdb_open_for_read_only_column_families(
                        options, db->directory, FAMILIES_COUNT, family_names,
                        (const rocksdb_options_t *const *)families, db->families, 0, &message);
        else
                db->rocks = rocksdb_open_column_families(options, db->directory, FAMILIES_COUNT, family_names,
                                                         (const rocksdb_options_t *const *)families,
                                                         db->families, &message);
        for (size_t i = 0; i < FAMILIES_COUNT; i++)
                rocksdb_options_destroy(families[i]);
        return db_error(message, "RocksDB");
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
        struct error *error = db_write(db, rows);
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
        rocksdb_options_t *options = NULL;
        bool exists = false;
        struct error *error = db_fault(db, "open");
        if (!error)
                error = prepare_directory(db, store_options->read_only, &exists);
        if (!error && store_options->read_only && !exists)
                error = error_new(ERROR_INPUT, "there is no state in %s", db->directory);
        if (!error)
                error = options_new(store_options->strict, &options);
        if (error)
                return error;
        rocksdb_options_set_create_if_missing(options, !exists);
        if (exists)
                error = check_families(db, options);
        if (!error)
                error = open_rocks(db, options, store_options->read_only);
        if (!error)
                error = check_format(db, store_options->read_only);
        rocksdb_options_destroy(options);
        if (!error)
                db_fit_cache(db);
        return error;
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
                .cache = cache_new(),
        };
        if (!db->directory)
                return error_new(ERROR_MEMORY, "no memory to open the state");
        rocksdb_readoptions_set_fill_cache(db->scan, 0);
        rocksdb_readoptions_set_total_order_seek(db->scan, 1);
        rocksdb_writeoptions_set_sync(db->write, 1);
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
        if (db->rocks)
                rocksdb_close(db->rocks);
        if (db->read)
                rocksdb_readoptions_destroy(db->read);
        if (db->scan)
                rocksdb_readoptions_destroy(db->scan);
        if (db->write)
                rocksdb_writeoptions_destroy(db->write);
        if (db->cache)
                rocksdb_cache_destroy(db->cache);
        if (db->lock_fd >= 0)
                close(db->lock_fd);
        free(db->directory);
        *db = (struct db){.lock_fd = -1};
}

struct error *db_write(struct db *db, struct rocksdb_writebatch_t *rows) {
        struct error *error = db_fault(db, "write");
        if (error)
                return error;
        char *message = NULL;
        rocksdb_write(db->rocks, db->write, rows, &message);
        return message ? db_error(message, "write") : db_fault(db, "written");
}

struct error *db_get(const struct db *db, enum family family, struct bytes key, struct buffer *out_value,
                     bool *out_found) {
        struct error *error = db_fault(db, "get");
        if (error)
                return error;
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

static struct error *scan_rows(rocksdb_iterator_t *rows, struct bytes prefix,
                               struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                               void *userdata) {
        for (rocksdb_iter_seek(rows, prefix.data, prefix.size); rocksdb_iter_valid(rows);
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

struct error *db_scan(const struct db *db, enum family family, struct bytes prefix,
                      struct error *(*each)(void *userdata, struct bytes key, struct bytes value),
                      void *userdata) {
        struct error *error = db_fault(db, "scan");
        if (error)
                return error;
        rocksdb_iterator_t *rows = rocksdb_create_iterator_cf(db->rocks, db->scan, db->families[family]);
        error = scan_rows(rows, prefix, each, userdata);
        rocksdb_iter_destroy(rows);
        return error;
}

static enum record_outcome take_slice(rocksdb_pinnableslice_t *slice, bool *out_found,
                                      struct settled *out_settled) {
        struct bytes row;
        row.data = rocksdb_pinnableslice_value(slice, &row.size);
        *out_found = true;
        return settled_decode(row, out_settled);
}

static struct error *look_up_some(const struct db *db, const struct key128 *keys, size_t count,
                                  bool *out_found, struct settled *out_settled) {
        uint8_t rows[LOOK_UPS_MAX][KEY_BYTES];
        const char *pointers[LOOK_UPS_MAX];
        size_t sizes[LOOK_UPS_MAX];
        rocksdb_pinnableslice_t *slices[LOOK_UPS_MAX];
        char *messages[LOOK_UPS_MAX];
        for (size_t i = 0; i < count; i++) {
                key_encode(keys[i], rows[i]);
                pointers[i] = (const char *)rows[i];
                sizes[i] = KEY_BYTES;
        }
        rocksdb_batched_multi_get_cf(db->rocks, db->read, db_settled(db, keys[0]), count, pointers, sizes,
                                     slices, messages, false);
        struct error *error = NULL;
        for (size_t i = 0; i < count; i++) {
                out_found[i] = false;
                if (messages[i] && error)
                        rocksdb_free(messages[i]);
                else if (messages[i])
                        error = db_error(messages[i], "cannot read the state");
                if (!slices[i])
                        continue;
                enum record_outcome outcome = take_slice(slices[i], &out_found[i], &out_settled[i]);
                rocksdb_pinnableslice_destroy(slices[i]);
                if (outcome != RECORD_OK && !error)
                        error = db_row_error(db, "a settled row", outcome == RECORD_NEWER);
        }
        return error;
}

struct error *db_look_up(const struct db *db, const struct key128 *keys, size_t count, bool *out_found,
                         struct settled *out_settled) {
        struct error *error = db_fault(db, "look_up");
        for (size_t done = 0; done < count && !error; done += LOOK_UPS_MAX) {
                size_t some = count - done < LOOK_UPS_MAX ? count - done : LOOK_UPS_MAX;
                error = look_up_some(db, keys + done, some, out_found + done, out_settled + done);
        }
        return error;
}

uint64_t db_estimate(const struct db *db, enum family family) {
        uint64_t value = 0;
        rocksdb_property_int_cf(db->rocks, db->families[family], "rocksdb.estimate-num-keys", &value);
        return value;
}

void db_usage(const struct db *db, uint64_t *out_disk_bytes, uint64_t *out_memory_bytes) {
        static const char *const parts[] = {"rocksdb.cur-size-all-mem-tables",
                                            "rocksdb.estimate-table-readers-mem"};
        uint64_t memory = rocksdb_cache_get_usage(db->cache);
        for (size_t i = 0; i < FAMILIES_COUNT * 2; i++) {
                uint64_t value = 0;
                rocksdb_property_int_cf(db->rocks, db->families[i / 2], parts[i % 2], &value);
                memory += value;
        }
        *out_disk_bytes = directory_bytes(db->directory);
        *out_memory_bytes = memory;
}
