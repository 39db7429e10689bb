/* Rows of the state from any bytes: no crash, and what decodes encodes to the same bytes. The first byte
 * picks the kind of row. */
#include "broker/base/check.h"
#include "broker/store/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_settled(struct bytes row) {
        struct settled settled;
        uint8_t again[SETTLED_BYTES];
        if (settled_decode(row, &settled) != RECORD_OK)
                return;
        settled_encode(&settled, again);
        CHECK(row.size == sizeof(again) && memcmp(row.data, again, row.size) == 0);
}

static void try_begun(struct bytes row) {
        struct bytes rest;
        struct begun begun;
        uint8_t again[BEGUN_BYTES_MAX];
        if (version_decode(row, &rest) != RECORD_OK)
                return;
        for (struct bytes before = rest; rest.size > 0 && begun_decode(&rest, &begun) == RECORD_OK;
             before = rest) {
                size_t size = begun_encode(&begun, again);
                CHECK(size == before.size - rest.size && memcmp(before.data, again, size) == 0);
        }
}

static void try_source(struct bytes row) {
        struct source_state state;
        uint8_t again[SOURCE_BYTES_MAX];
        if (source_decode(row, &state) != RECORD_OK)
                return;
        size_t size = source_encode(&state, again);
        CHECK(size == row.size && memcmp(row.data, again, size) == 0);
}

static void try_keys(struct bytes row) {
        struct begun_id id;
        struct key128 key;
        uint32_t version;
        uint8_t again[KEY_BYTES];
        bool is_end;
        if (begun_key_decode(row, &id, &is_end)) {
                end_key_encode(id, again);
                CHECK(memcmp(row.data, again, row.size) == 0);
        }
        if (key_decode(row, &key)) {
                key_encode(key, again);
                CHECK(memcmp(row.data, again, KEY_BYTES) == 0);
        }
        if (format_decode(row, &version)) {
                format_encode(version, again);
                CHECK(memcmp(row.data, again, FORMAT_VALUE_BYTES) == 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static void (*const tries[])(struct bytes) = {try_settled, try_begun, try_source, try_keys};
        if (size == 0)
                return 0;
        tries[data[0] % 4]((struct bytes){(const char *)data + 1, size - 1});
        return 0;
}
