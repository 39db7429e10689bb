/* What `state stats`, `state verify` and the clean-up of old rows do: everything that walks over the whole
 * store. */
#include "broker/base/check.h"
#include "broker/store/directory.h"
#include "broker/store/inside.h"
#include "broker/store/record.h"

#include <errno.h>
#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FINDINGS_MAX = 100, DELETES_AT_A_TIME = 1000 };

static struct error *count_source(void *userdata, const char *name, const struct source_state *state) {
        (void)name;
        (void)state;
        ++*(uint64_t *)userdata;
        return NULL;
}

struct error *store_stats(struct store *store, struct store_stats *out_stats) {
        struct store_stats stats = {
                .settled = db_estimate(&store->db, FAMILY_SETTLED),
                .unknown = atomic_load(&store->journal.unknown_live),
                .bodies = db_estimate(&store->db, FAMILY_BODIES),
        };
        struct error *error = store_each_source(store, count_source, &stats.sources);
        if (error)
                return error;
        db_usage(&store->db, &stats.disk_bytes, &stats.memory_bytes);
        *out_stats = stats;
        return NULL;
}

struct verify {
        struct store *store;
        struct store_stats stats;
        struct buffer *findings;
        size_t findings_count;
        uint64_t block; /* last one read, and how many attempts it holds */
        uint32_t attempts;
};

static void find(struct verify *verify, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void find(struct verify *verify, const char *fmt, ...) {
        char text[1024];
        va_list args;
        if (++verify->findings_count > FINDINGS_MAX)
                return;
        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        buffer_append_string(verify->findings, text);
        buffer_append_char(verify->findings, '\n');
}

static const char *outcome_text(enum record_outcome outcome) {
        switch (outcome) {
        case RECORD_OK:
                return "well";
        case RECORD_NEWER:
                return "of a newer version";
        case RECORD_DAMAGED:
                return "damaged";
        }
        CHECK(false);
}

static struct error *verify_settled(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct key128 name = {0};
        struct settled settled;
        bool named = key_decode(key, &name);
        enum record_outcome outcome = settled_decode(row, &settled);
        if (!named)
                find(verify, "settled: a key of %zu bytes", key.size);
        if (outcome != RECORD_OK)
                find(verify, "settled %016" PRIx64 "%016" PRIx64 ": the row is %s", name.hi, name.lo,
                     outcome_text(outcome));
        verify->stats.settled++;
        return NULL;
}

static struct error *verify_body(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct key128 name = {0};
        struct bytes body;
        if (!key_decode(key, &name))
                find(verify, "body: a key of %zu bytes", key.size);
        enum record_outcome outcome = version_decode(row, &body);
        if (outcome != RECORD_OK)
                find(verify, "body %016" PRIx64 "%016" PRIx64 ": the row is %s", name.hi, name.lo,
                     outcome_text(outcome));
        verify->stats.bodies++;
        return NULL;
}

static void verify_block(struct verify *verify, uint64_t block, struct bytes row) {
        struct bytes rest;
        struct begun begun;
        enum record_outcome outcome = version_decode(row, &rest);
        uint32_t count = 0;
        while (outcome == RECORD_OK && rest.size > 0) {
                outcome = begun_decode(&rest, &begun);
                count++;
        }
        if (outcome != RECORD_OK)
                find(verify, "begun, block %" PRIu64 ": the row is %s", block, outcome_text(outcome));
        verify->block = block;
        verify->attempts = count;
}

static struct error *verify_begun(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct begun_id id;
        struct bytes rest;
        bool is_end;
        if (!begun_key_decode(key, &id, &is_end))
                find(verify, "begun: a key of %zu bytes", key.size);
        else if (!is_end)
                verify_block(verify, id.block, row);
        else if (version_decode(row, &rest) != RECORD_OK || rest.size > 0)
                find(verify, "end of %" PRIu64 "/%u: the row is damaged", id.block, id.index);
        else if (id.block == verify->block && id.index >= verify->attempts)
                find(verify, "end of %" PRIu64 "/%u: there is no such attempt", id.block, id.index);
        return NULL;
}

static void verify_output(struct verify *verify, const char *source, const char *path, uint64_t bytes) {
        struct stat status;
        if (path[0] == 0 || strcmp(path, "-") == 0)
                return;
        if (stat(path, &status) < 0) {
                if (bytes > 0)
                        find(verify, "source %s: its output %s cannot be read: %s", source, path,
                             strerror(errno));
        } else if (S_ISREG(status.st_mode) && (uint64_t)status.st_size < bytes) {
                find(verify, "source %s: its output %s has %lld bytes, and %" PRIu64 " were written", source,
                     path, (long long)status.st_size, bytes);
        }
}

static struct error *verify_meta(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct source_state state;
        char name[256];
        size_t prefix = sizeof(SOURCE_PREFIX) - 1;
        if (bytes_equal_string(key, FORMAT_KEY))
                return NULL;
        if (!bytes_starts_with(key, SOURCE_PREFIX)) {
                find(verify, "meta: an unknown row");
                return NULL;
        }
        verify->stats.sources++;
        snprintf(name, sizeof(name), "%.*s", (int)(key.size - prefix), key.data + prefix);
        enum record_outcome outcome = source_decode(row, &state);
        if (outcome != RECORD_OK) {
                find(verify, "source %s: the row is %s", name, outcome_text(outcome));
                return NULL;
        }
        if (state.sequence > state.lines || state.lines > state.offset)
                find(verify, "source %s: the counts do not agree", name);
        for (size_t i = 0; i < 2; i++)
                verify_output(verify, name, state.outputs[i], state.outputs_bytes[i]);
        return NULL;
}

/* The attempts that are live must be those that the rows say; the rows were read at opening, so this reads
 * them once more. */
static struct error *verify_unknown(void *userdata, const struct begun *begun) {
        struct verify *verify = userdata;
        struct settled settled;
        bool found = false;
        struct error *error = db_look_up(&verify->store->db, &begun->key, 1, &found, &settled);
        if (error)
                return error;
        if (found)
                find(verify, "attempt %016" PRIx64 "%016" PRIx64 ": of unknown outcome, and settled",
                     begun->key.hi, begun->key.lo);
        return NULL;
}

struct error *store_verify(struct store *store, struct store_stats *out_stats, struct buffer *out_findings) {
        static struct error *(*const each[FAMILIES_COUNT])(void *, struct bytes, struct bytes) = {
                [FAMILY_META] = verify_meta,
                [FAMILY_SETTLED] = verify_settled,
                [FAMILY_BEGUN] = verify_begun,
                [FAMILY_BODIES] = verify_body,
        };
        struct verify verify = {.store = store, .findings = out_findings};
        struct error *error = NULL;
        for (size_t i = 0; i <= FAMILIES_COUNT; i++) {
                if (i < FAMILIES_COUNT)
                        error = db_scan(&store->db, (enum family)i, BYTES(""), each[i], &verify);
                else
                        error = store_each_unknown(store, verify_unknown, &verify);
                if (error && error->kind != ERROR_CORRUPT)
                        return error;
                if (error)
                        find(&verify, "%s", error->message);
                error_free(error);
        }
        if (verify.findings_count > FINDINGS_MAX)
                buffer_printf(out_findings, "and %zu more\n", verify.findings_count - FINDINGS_MAX);
        if (out_findings->failed)
                return error_new(ERROR_MEMORY, "no memory for what was found");
        verify.stats.unknown = atomic_load(&store->journal.unknown_live);
        db_usage(&store->db, &verify.stats.disk_bytes, &verify.stats.memory_bytes);
        *out_stats = verify.stats;
        return NULL;
}

/* ---- old rows ---- */

struct expiry {
        struct store *store;
        rocksdb_writebatch_t *rows;
        int64_t before_unix_ms;
        uint64_t count;
};

static struct error *flush_deletes(struct expiry *expiry) {
        if (rocksdb_writebatch_count(expiry->rows) == 0)
                return NULL;
        uint64_t count = (uint64_t)rocksdb_writebatch_count(expiry->rows);
        struct error *error = store_fail(expiry->store, db_write(&expiry->store->db, expiry->rows));
        rocksdb_writebatch_clear(expiry->rows);
        if (!error)
                expiry->count += count;
        return error;
}

static struct error *expire_row(void *userdata, struct bytes key, struct bytes row) {
        struct expiry *expiry = userdata;
        struct settled settled;
        enum record_outcome outcome = settled_decode(row, &settled);
        if (outcome != RECORD_OK)
                return db_row_error(&expiry->store->db, "a settled row", outcome == RECORD_NEWER);
        if (settled.settled_unix_ms >= expiry->before_unix_ms)
                return NULL;
        rocksdb_writebatch_delete_cf(expiry->rows, expiry->store->db.families[FAMILY_SETTLED], key.data,
                                     key.size);
        return rocksdb_writebatch_count(expiry->rows) >= DELETES_AT_A_TIME ? flush_deletes(expiry) : NULL;
}

struct error *store_expire(struct store *store, int64_t before_unix_ms, uint64_t *out_count) {
        struct error *error = store_refuses(store);
        if (error)
                return error;
        error = store_fail(store, journal_keep_ends(&store->journal, &store->db));
        if (error)
                return error;
        struct expiry expiry = {store, rocksdb_writebatch_create(), before_unix_ms, 0};
        error = db_scan(&store->db, FAMILY_SETTLED, BYTES(""), expire_row, &expiry);
        if (!error)
                error = flush_deletes(&expiry);
        rocksdb_writebatch_destroy(expiry.rows);
        if (!error)
                *out_count = expiry.count;
        return error;
}
