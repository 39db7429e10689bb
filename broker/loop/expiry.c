#include "broker/loop/expiry.h"

#include "broker/base/time.h"
#include "broker/wire/state_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
        KEYS_MAX = 1 << 14,    /* of a slice; about what a client of Kafka fetches ahead */
        RECORDS_MAX = 1 << 16, /* that are looked at for it */
        AT_A_TIME = 128,       /* look-ups */
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

struct candidate {
        struct expired expired; /* without its state key, which stands in the texts */
        int64_t at_unix_ms;
        size_t text, text_bytes;
};

struct reading {
        struct store *store;
        struct expiry_slice *slice;
        int64_t now_unix_ms;
        uint64_t next;                /* behind what has been looked at */
        struct candidate *candidates; /* KEYS_MAX */
        size_t count, records;
        struct buffer texts;
        bool enough;
        struct state_lists lists;
};

void expiry_slice_deinit(struct expiry_slice *slice) {
        error_free(slice->error);
        buffer_deinit(&slice->keys);
}

static struct error *no_memory(void) {
        return error_new(ERROR_MEMORY, "no memory to look for old keys");
}

static struct error *stop_at(struct reading *reading, const struct changelog_record *record, bool more) {
        reading->slice->from = record->offset;
        reading->slice->more = more;
        reading->enough = true;
        return error_new(ERROR_BUSY, "enough");
}

static struct error *look_at(void *userdata, const struct changelog_record *record) {
        struct reading *reading = userdata;
        struct state_record state;
        if (reading->count == KEYS_MAX || reading->records++ == RECORDS_MAX)
                return stop_at(reading, record, true);
        reading->next = record->offset + 1;
        if (!record->has_value ||
            state_record_read(record->value, &reading->lists, &state) != STATE_RECORD_OK ||
            state.kind != STATE_SETTLED)
                return NULL;
        if (state.settled.at_unix_ms > reading->now_unix_ms)
                return NULL; /* a clock was wrong: that says nothing of those behind it */
        if (state.settled.at_unix_ms >= reading->slice->before_unix_ms)
                return stop_at(reading, record, false);
        reading->candidates[reading->count++] =
                (struct candidate){.expired = {.key = state.settled.key,
                                               .offset = state.settled.offset,
                                               .state_offset = record->offset},
                                   .at_unix_ms = state.settled.at_unix_ms,
                                   .text = reading->texts.size,
                                   .text_bytes = record->key.size};
        buffer_append_bytes(&reading->texts, record->key);
        return reading->texts.failed ? no_memory() : NULL;
}

/* ---- which of them the store still has ---- */

static int by_key(const void *a, const void *b) {
        const struct key128 x = ((const struct candidate *)a)->expired.key;
        const struct key128 y = ((const struct candidate *)b)->expired.key;
        if (x.hi != y.hi)
                return x.hi < y.hi ? -1 : 1;
        return x.lo < y.lo ? -1 : x.lo > y.lo;
}

static void keep(struct reading *reading, const struct candidate *candidate,
                 const struct store_record *known) {
        struct expired expired = candidate->expired;
        bool same = known->found == STORE_SETTLED &&
                    known->settled.settled_unix_ms == candidate->at_unix_ms &&
                    known->settled.offset == expired.offset;
        expired.state_key = (struct bytes){reading->texts.data + candidate->text, candidate->text_bytes};
        if (same)
                expired_append(&reading->slice->keys, &expired);
}

/* In order, and many at a time: rows that stand together are read together. */
static struct error *look_up(struct reading *reading) {
        struct key128 keys[AT_A_TIME];
        uint32_t partitions[AT_A_TIME];
        struct store_record known[AT_A_TIME];
        struct error *error = NULL;
        qsort(reading->candidates, reading->count, sizeof(*reading->candidates), by_key);
        for (size_t done = 0; done < reading->count && !error; done += AT_A_TIME) {
                const struct candidate *some = &reading->candidates[done];
                size_t count = reading->count - done < AT_A_TIME ? reading->count - done : AT_A_TIME;
                for (size_t i = 0; i < count; i++) {
                        keys[i] = some[i].expired.key;
                        partitions[i] = reading->slice->partition;
                }
                error = store_look_up_many(reading->store, keys, partitions, count, known);
                for (size_t i = 0; i < count && !error; i++)
                        keep(reading, &some[i], &known[i]);
        }
        return !error && reading->slice->keys.failed ? no_memory() : error;
}

void expiry_read(struct store *store, struct changelog *changelog, struct expiry_slice *slice,
                 const atomic_bool *stop) {
        struct reading *reading = calloc(1, sizeof(*reading));
        struct candidate *candidates = malloc(KEYS_MAX * sizeof(*candidates));
        buffer_init(&slice->keys, LIST_BYTES_MAX);
        slice->more = false;
        if (!reading || !candidates) {
                slice->error = no_memory();
                goto out;
        }
        reading->store = store;
        reading->slice = slice;
        reading->now_unix_ms = clock_now_unix_ms();
        reading->next = slice->from;
        reading->candidates = candidates;
        buffer_init(&reading->texts, LIST_BYTES_MAX);
        slice->error = changelog_read(changelog, slice->partition, slice->from, stop, look_at, reading,
                                      &slice->from);
        if (slice->error && slice->error->code == ECANCELED) {
                slice->from = reading->next;
                slice->more = reading->enough = true;
        }
        if (reading->enough)
                slice->error = error_free(slice->error);
        if (!slice->error)
                slice->error = look_up(reading);
        buffer_deinit(&reading->texts);
out:
        free(candidates);
        free(reading);
}
