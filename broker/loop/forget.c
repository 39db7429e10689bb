#include "broker/loop/forget.h"

#include "broker/base/time.h"

#include <endian.h>
#include <string.h>

#define NOTE     "settled-since"  /* unix ms, 8 bytes, little-endian */
#define NOTE_ANY "keys-forgotten" /* is there, empty, before the first row goes */

enum {
        PERIOD_PARTS = 8, /* of the retention, between two readings of all rows: so long rows may stay on */
        ROWS_AT_A_TIME = 1 << 18,
};

/* 0 when nothing is known: any row may be there. */
static struct error *read_since(struct store *store, int64_t *out_since_unix_ms, bool *out_found) {
        struct buffer note;
        uint64_t since = 0;
        buffer_init(&note, (size_t)4 * STORE_NOTE_MAX);
        struct error *error = store_get_note(store, NOTE, &note, out_found);
        if (!error && *out_found && note.size == sizeof(since))
                memcpy(&since, note.data, sizeof(since));
        buffer_deinit(&note);
        if (!error)
                *out_since_unix_ms = (int64_t)le64toh(since);
        return error;
}

static void note_since(struct store_batch *batch, int64_t since_unix_ms) {
        uint64_t since = htole64((uint64_t)since_unix_ms);
        store_batch_note(batch, NOTE, (struct bytes){(const char *)&since, sizeof(since)});
}

struct sources {
        bool any, unfinished;
};

static struct error *see_source(void *userdata, const char *name, const struct source_state *state) {
        struct sources *sources = userdata;
        (void)name;
        sources->any = true;
        sources->unfinished = sources->unfinished || !state->finished;
        return NULL;
}

/* Without a source there never was a row. */
struct error *forget_prepare(struct store *store, int64_t now_unix_ms, struct store_batch *batch) {
        int64_t since_unix_ms = 0;
        bool found = false;
        struct sources sources = {0};
        struct error *error = read_since(store, &since_unix_ms, &found);
        if (!error && !found)
                error = store_each_source(store, see_source, &sources);
        if (error)
                return error;
        bool is_new = !found && !sources.any;
        if (is_new || since_unix_ms > now_unix_ms)
                note_since(batch, now_unix_ms);
        return NULL;
}

/* Through all rows. out_since_unix_ms: what the note may say then; untouched when it was enough before. */
static struct error *sweep(const struct forgetting *forgetting, int64_t before_unix_ms, uint64_t *out_count,
                           int64_t *out_since_unix_ms) {
        struct key128 cursor = {0, 0};
        int64_t oldest_unix_ms = forgetting->now_unix_ms; /* what comes later is younger */
        size_t some = forgetting->rows_at_a_time;
        struct expiry expiry = {.before_unix_ms = before_unix_ms,
                                .cursor = &cursor,
                                .rows_max = some ? some : ROWS_AT_A_TIME,
                                .oldest_unix_ms = &oldest_unix_ms};
        do {
                uint64_t count = 0;
                if (forgetting->enough && forgetting->enough(forgetting->userdata))
                        return NULL;
                struct error *error = store_expire(forgetting->store, &expiry, &count);
                if (error)
                        return error;
                *out_count += count;
        } while (cursor.hi || cursor.lo);
        *out_since_unix_ms = oldest_unix_ms;
        return NULL;
}

struct error *forget_any(struct store *store, bool *out_any) {
        struct buffer note;
        buffer_init(&note, (size_t)4 * STORE_NOTE_MAX);
        struct error *error = store_get_note(store, NOTE_ANY, &note, out_any);
        buffer_deinit(&note);
        return error;
}

static struct error *note_any(struct store *store) {
        bool any = false;
        struct error *error = forget_any(store, &any);
        if (error || any)
                return error;
        struct store_batch *batch = store_batch_new(store);
        if (!batch)
                return error_new(ERROR_MEMORY, "no memory for a note");
        store_batch_note(batch, NOTE_ANY, BYTES(""));
        error = store_write(store, batch);
        store_batch_free(batch);
        return error;
}

/* The note comes after the rows: a crash between them leaves one that is too early. */
static struct error *write_since(struct store *store, int64_t since_unix_ms) {
        struct store_batch *batch = store_batch_new(store);
        if (!batch)
                return error_new(ERROR_MEMORY, "no memory for a note");
        note_since(batch, since_unix_ms);
        struct error *error = store_write(store, batch);
        store_batch_free(batch);
        return error;
}

struct error *forget_old(const struct forgetting *forgetting, uint64_t *out_count, bool *out_blocked) {
        int64_t retention_ms = forgetting->retention_ns / NS_PER_MS, since_unix_ms = 0, swept_unix_ms = -1;
        bool found = false;
        struct sources sources = {0};
        *out_count = 0;
        *out_blocked = false;
        struct error *error = read_since(forgetting->store, &since_unix_ms, &found);
        if (error)
                return error;
        if (since_unix_ms >= forgetting->now_unix_ms - retention_ms - retention_ms / PERIOD_PARTS)
                return NULL;
        error = store_each_source(forgetting->store, see_source, &sources);
        if (error)
                return error;
        *out_blocked = sources.unfinished;
        if (sources.unfinished)
                return NULL;
        error = note_any(forgetting->store);
        if (!error)
                error = sweep(forgetting, forgetting->now_unix_ms - retention_ms, out_count, &swept_unix_ms);
        if (error || swept_unix_ms < 0)
                return error;
        return write_since(forgetting->store, swept_unix_ms);
}
