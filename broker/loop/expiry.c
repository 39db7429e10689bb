#include "broker/loop/expiry.h"

#include "broker/wire/state_record.h"

#include <stdlib.h>
#include <string.h>

enum {
        KEYS_MAX = 1 << 14,    /* of a slice; about what a client of Kafka fetches ahead */
        RECORDS_MAX = 1 << 16, /* that are looked at for it */
        LIST_BYTES_MAX = 64 << 20,
};

/* ---- lists ---- */

struct entry {
        struct key128 key;
        uint64_t offset, state_offset, size; /* of the state key, which stands behind it */
};

void expired_append(struct buffer *list, const struct expired *expired) {
        struct entry entry = {.key = expired->key,
                              .offset = expired->offset,
                              .state_offset = expired->state_offset,
                              .size = expired->state_key.size};
        buffer_append(list, &entry, sizeof(entry));
        buffer_append_bytes(list, expired->state_key);
}

bool expired_take(struct bytes *rest, struct expired *out_expired) {
        struct entry entry;
        if (rest->size < sizeof(entry))
                return false;
        memcpy(&entry, rest->data, sizeof(entry));
        *out_expired = (struct expired){.key = entry.key,
                                        .offset = entry.offset,
                                        .state_offset = entry.state_offset,
                                        .state_key = {rest->data + sizeof(entry), (size_t)entry.size}};
        rest->data += sizeof(entry) + entry.size;
        rest->size -= sizeof(entry) + (size_t)entry.size;
        return true;
}

/* ---- reading a slice ---- */

struct reading {
        struct store *store;
        struct expiry_slice *slice;
        const atomic_bool *waited_for;
        size_t keys, records;
        bool enough;
        struct state_lists lists;
};

void expiry_slice_deinit(struct expiry_slice *slice) {
        error_free(slice->error);
        buffer_deinit(&slice->keys);
}

static struct error *stop_at(struct reading *reading, const struct changelog_record *record, bool more) {
        reading->slice->from = record->offset;
        reading->slice->more = more;
        reading->enough = true;
        return error_new(ERROR_BUSY, "enough");
}

static struct error *add(struct reading *reading, const struct changelog_record *record,
                         const struct state_settled *settled) {
        struct expiry_slice *slice = reading->slice;
        struct store_record known;
        struct error *error = store_look_up(reading->store, slice->partition, settled->key, &known);
        if (error)
                return error;
        bool same = known.found == STORE_SETTLED && known.settled.settled_unix_ms == settled->at_unix_ms &&
                    known.settled.offset == settled->offset;
        if (!same)
                return NULL;
        expired_append(&slice->keys, &(struct expired){.key = settled->key,
                                                       .offset = settled->offset,
                                                       .state_offset = record->offset,
                                                       .state_key = record->key});
        reading->keys++;
        return slice->keys.failed ? error_new(ERROR_MEMORY, "no memory for keys that are forgotten") : NULL;
}

static struct error *look_at(void *userdata, const struct changelog_record *record) {
        struct reading *reading = userdata;
        struct state_record state;
        if (reading->keys == KEYS_MAX || reading->records++ == RECORDS_MAX ||
            atomic_load_explicit(reading->waited_for, memory_order_relaxed))
                return stop_at(reading, record, true);
        if (!record->has_value ||
            state_record_read(record->value, &reading->lists, &state) != STATE_RECORD_OK ||
            state.kind != STATE_SETTLED)
                return NULL;
        if (state.settled.at_unix_ms >= reading->slice->before_unix_ms)
                return stop_at(reading, record, false);
        return add(reading, record, &state.settled);
}

void expiry_read(struct store *store, struct changelog *changelog, struct expiry_slice *slice,
                 const atomic_bool *stop, const atomic_bool *waited_for) {
        struct reading *reading = malloc(sizeof(*reading));
        if (!reading) {
                slice->error = error_new(ERROR_MEMORY, "no memory to look for old keys");
                return;
        }
        reading->store = store;
        reading->slice = slice;
        reading->waited_for = waited_for;
        reading->keys = reading->records = 0;
        reading->enough = false;
        buffer_init(&slice->keys, LIST_BYTES_MAX);
        slice->more = false;
        slice->error = changelog_read(changelog, slice->partition, slice->from, stop, look_at, reading,
                                      &slice->from);
        if (reading->enough)
                slice->error = error_free(slice->error);
        free(reading);
}
