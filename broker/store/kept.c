/*
 * Results that stay after they were published (`results.retention`). A row is named by when its job was
 * settled, then by the job: the settled row leads to it, and what is too old is what stands first.
 */
#include "broker/base/check.h"
#include "broker/store/inside.h"

#include <endian.h>
#include <rocksdb/c.h>
#include <string.h>

static void kept_key_encode(int64_t settled_unix_ms, uint32_t partition, struct key128 key,
                            uint8_t out_key[KEPT_KEY_BYTES]) {
        uint64_t time = htobe64((uint64_t)(settled_unix_ms > 0 ? settled_unix_ms : 0));
        partition = htobe32(partition);
        memcpy(out_key, &time, sizeof(time));
        memcpy(out_key + sizeof(time), &partition, sizeof(partition));
        key_encode(key, out_key + sizeof(time) + sizeof(partition));
}

void store_batch_keep(struct store_batch *batch, uint32_t partition, struct key128 key,
                      int64_t settled_unix_ms, struct bytes value) {
        static const char version[1] = {RECORD_VERSION};
        uint8_t row_key[KEPT_KEY_BYTES];
        CHECK(value.size <= STORE_VALUE_BYTES_MAX);
        kept_key_encode(settled_unix_ms, partition, key, row_key);
        const char *keys[1] = {(const char *)row_key},
                   *values[2] = {version, value.size ? value.data : version};
        size_t key_sizes[1] = {sizeof(row_key)}, value_sizes[2] = {sizeof(version), value.size};
        rocksdb_writebatch_putv_cf(batch->rows, batch->store->db.families[FAMILY_KEPT], 1, keys, key_sizes, 2,
                                   values, value_sizes);
        batch->count++;
}

struct error *store_get_kept(struct store *store, uint32_t partition, struct key128 key,
                             int64_t settled_unix_ms, struct buffer *out_value, bool *out_found) {
        uint8_t row_key[KEPT_KEY_BYTES];
        struct buffer row;
        struct bytes value;
        buffer_clear(out_value);
        kept_key_encode(settled_unix_ms, partition, key, row_key);
        buffer_init(&row, SIZE_MAX / 2);
        struct error *error = db_get(&store->db, FAMILY_KEPT,
                                     (struct bytes){(const char *)row_key, sizeof(row_key)}, &row, out_found);
        if (!error && *out_found) {
                enum record_outcome outcome = version_decode(buffer_view(&row), &value);
                if (outcome == RECORD_OK)
                        buffer_append_bytes(out_value, value);
                else
                        error = db_row_error(&store->db, "a kept result", outcome == RECORD_NEWER);
                if (!error && out_value->failed)
                        error = error_new(ERROR_MEMORY, "no memory for a result of %zu bytes", value.size);
        }
        buffer_deinit(&row);
        return error;
}

static struct error *note_one(void *userdata, struct bytes key, struct bytes row) {
        (void)key, (void)row;
        *(bool *)userdata = true;
        return error_new(ERROR_BUSY, "enough");
}

struct error *store_drop_kept(struct store *store, int64_t before_unix_ms) {
        uint8_t from[KEPT_KEY_BYTES], until[KEPT_KEY_BYTES];
        bool any = false;
        kept_key_encode(0, 0, (struct key128){0, 0}, from);
        kept_key_encode(before_unix_ms, 0, (struct key128){0, 0}, until);
        struct error *error = store_refuses(store);
        if (!error)
                error = db_scan_range(&store->db, FAMILY_KEPT,
                                      (struct bytes){(const char *)from, sizeof(from)},
                                      (struct bytes){(const char *)until, sizeof(until)}, note_one, &any);
        if (!any)
                return error;
        error_free(error);
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        rocksdb_writebatch_delete_range_cf(rows, store->db.families[FAMILY_KEPT], (const char *)from,
                                           sizeof(from), (const char *)until, sizeof(until));
        error = store_fail(store, db_write(&store->db, rows, true));
        rocksdb_writebatch_destroy(rows);
        return error;
}
