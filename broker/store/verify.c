/* What `state stats` and `state verify` do: they walk over the whole store. */
#include "broker/base/check.h"
#include "broker/store/directory.h"
#include "broker/store/inside.h"
#include "broker/store/packet.h"
#include "broker/store/record.h"

#include <errno.h>
#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FINDINGS_MAX = 100 };

static struct error *count_source(void *userdata, const char *name, const struct source_state *state) {
        (void)name;
        (void)state;
        ++*(uint64_t *)userdata;
        return NULL;
}

static struct error *add_partition(void *userdata, uint32_t number, const struct partition_stats *partition) {
        struct store_stats *stats = userdata;
        (void)number;
        stats->partitions++;
        stats->settled += partition->settled;
        stats->parked += partition->parked;
        stats->answers += partition->answers;
        return NULL;
}

static void measure(struct store *store, struct store_stats *stats) {
        pthread_mutex_lock(&store->partitioning);
        db_usage(&store->db, &stats->disk_bytes, &stats->memory_bytes);
        pthread_mutex_unlock(&store->partitioning);
}

struct error *store_stats(struct store *store, struct store_stats *out_stats) {
        struct store_stats stats = {
                .settled = db_estimate(&store->db, FAMILY_SETTLED) + store_count_late(store),
                .unknown = atomic_load(&store->journal.unknown_live),
                .bodies = db_estimate(&store->db, FAMILY_BODIES),
                .kept = db_estimate(&store->db, FAMILY_KEPT),
        };
        struct error *error = store_each_source(store, count_source, &stats.sources);
        if (!error)
                error = store_each_partition(store, add_partition, &stats);
        if (error)
                return error;
        measure(store, &stats);
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
        uint32_t partition; /* the one whose rows are read */
        uint64_t marks;     /* of it */
        uint64_t bodies;    /* of parked jobs */
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
        struct job_row job = {.kind = JOB_ROW_NONE};
        bool named = key_decode(key, &name);
        enum record_outcome outcome = job_row_decode(row, verify->partition, &job);
        if (!named)
                find(verify, "settled: a key of %zu bytes", key.size);
        if (outcome != RECORD_OK)
                find(verify, "settled %016" PRIx64 "%016" PRIx64 ": the row is %s", name.hi, name.lo,
                     outcome_text(outcome));
        if (job.kind == JOB_ROW_PARKED)
                verify->marks++;
        else
                verify->stats.settled++;
        return NULL;
}

static struct error *verify_packet(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct bytes rest = {0};
        uint64_t number;
        uint32_t partition;
        enum record_outcome outcome = packet_decode(row, &rest);
        if (!packet_key_decode(key, &partition, &number))
                find(verify, "packet of settled rows: a key of %zu bytes", key.size);
        else if (!db_partition(&verify->store->db, partition))
                find(verify, "packet %u/%" PRIu64 ": there is no such partition", partition, number);
        else if (outcome != RECORD_OK)
                find(verify, "packet %u/%" PRIu64 ": the row is %s", partition, number,
                     outcome_text(outcome));
        verify->stats.settled += rest.size / PACKET_ROW_BYTES;
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

static struct error *verify_kept(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct bytes value;
        enum record_outcome outcome = version_decode(row, &value);
        if (key.size != KEPT_KEY_BYTES)
                find(verify, "kept result: a key of %zu bytes", key.size);
        if (outcome != RECORD_OK)
                find(verify, "kept result: the row is %s", outcome_text(outcome));
        verify->stats.kept++;
        return NULL;
}

static void verify_block(struct verify *verify, uint64_t block, struct bytes row) {
        struct bytes rest;
        struct begun begun;
        uint8_t version;
        enum record_outcome outcome = block_decode(row, &version, &rest);
        uint32_t count = 0;
        while (outcome == RECORD_OK && rest.size > 0) {
                outcome = begun_decode(version, &rest, &begun);
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

static void verify_source(struct verify *verify, struct bytes key, struct bytes row) {
        struct source_state state;
        char name[256];
        size_t prefix = sizeof(SOURCE_PREFIX) - 1;
        verify->stats.sources++;
        snprintf(name, sizeof(name), "%.*s", (int)(key.size - prefix), key.data + prefix);
        enum record_outcome outcome = source_decode(row, &state);
        if (outcome != RECORD_OK) {
                find(verify, "source %s: the row is %s", name, outcome_text(outcome));
                return;
        }
        if (state.sequence > state.lines || state.lines > state.offset)
                find(verify, "source %s: the counts do not agree", name);
        for (size_t i = 0; i < 2; i++)
                verify_output(verify, name, state.outputs[i], state.outputs_bytes[i]);
}

static void verify_spend(struct verify *verify, struct bytes key, struct bytes row) {
        struct budget_spend spend;
        enum spend_kind kind;
        struct bytes name;
        enum record_outcome outcome = spend_decode(row, &spend);
        if (outcome != RECORD_OK || !spend_key_decode(key, &kind, &name))
                find(verify, "%.*s: the row is %s", (int)key.size, key.data, outcome_text(outcome));
}

static void verify_quota(struct verify *verify, struct bytes key, struct bytes row) {
        struct quota_row read;
        if (quota_decode(key, row, &read) == RECORD_DAMAGED)
                find(verify, "%.*s: the row is damaged", (int)key.size, key.data);
}

static struct error *verify_meta(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct partition_state state;
        uint32_t partition;
        if (bytes_equal_string(key, FORMAT_KEY) || bytes_equal_string(key, IDENTITY_KEY) ||
            bytes_equal_string(key, COUNTED_KEY) || bytes_starts_with(key, NOTE_PREFIX) ||
            number_of_name(key, LOADING_PREFIX, &partition) || share_key_decode(key, &partition))
                return NULL;
        if (bytes_starts_with(key, SOURCE_PREFIX)) {
                verify_source(verify, key, row);
        } else if (bytes_starts_with(key, SPEND_PREFIX)) {
                verify_spend(verify, key, row);
        } else if (bytes_starts_with(key, QUOTA_PREFIX)) {
                verify_quota(verify, key, row);
        } else if (!number_of_name(key, STATE_PREFIX, &partition)) {
                find(verify, "meta: an unknown row");
        } else {
                enum record_outcome outcome = partition_state_decode(row, &state);
                if (outcome != RECORD_OK)
                        find(verify, "state of partition %u: the row is %s", partition,
                             outcome_text(outcome));
                if (!db_partition(&verify->store->db, partition))
                        find(verify, "partition %u: it has a state and no rows", partition);
        }
        return NULL;
}

static void verify_answer_partition(struct verify *verify, uint32_t partition, struct key128 name) {
        if (!db_partition(&verify->store->db, partition))
                find(verify, "answer %u/%016" PRIx64 "%016" PRIx64 ": there is no such partition", partition,
                     name.hi, name.lo);
}

static struct error *verify_answer(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct key128 name;
        uint32_t partition;
        uint64_t number = 0;
        struct settled settled;
        struct bytes rest;
        bool dead_letter;
        verify->stats.answers++;
        if (!answer_number_decode(key, &number)) {
                find(verify, "answer: a key of %zu bytes", key.size);
                return NULL;
        }
        enum record_outcome outcome = answer_decode(row, &settled, &dead_letter, &rest);
        if (outcome == RECORD_OK && !answer_take_owner(&rest, &partition, &name))
                outcome = RECORD_DAMAGED;
        if (outcome != RECORD_OK)
                find(verify, "answer %" PRIu64 ": the row is %s", number, outcome_text(outcome));
        else
                verify_answer_partition(verify, partition, name);
        return NULL;
}

static struct error *verify_old_answer(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct key128 name = {0};
        uint32_t partition = 0;
        struct settled settled;
        struct bytes value;
        bool dead_letter;
        verify->stats.answers++;
        if (!answer_key_decode(key, &partition, &name)) {
                find(verify, "answer: a key of %zu bytes", key.size);
                return NULL;
        }
        enum record_outcome outcome = answer_decode(row, &settled, &dead_letter, &value);
        if (outcome != RECORD_OK)
                find(verify, "answer %u/%016" PRIx64 "%016" PRIx64 ": the row is %s", partition, name.hi,
                     name.lo, outcome_text(outcome));
        verify_answer_partition(verify, partition, name);
        return NULL;
}

/* What is due must be marked so, unless the partition is still to be loaded. */
static struct error *verify_due(struct verify *verify, uint32_t partition, const struct parked_cursor *at) {
        const struct db *db = &verify->store->db;
        struct job_row row = {.kind = JOB_ROW_NONE};
        bool loading = false;
        struct error *error = db_look_up(db, &at->key, &partition, 1, &row);
        if (!error && row.kind == JOB_ROW_PARKED && row.due_unix_ms == at->due_unix_ms)
                return NULL;
        if (!error)
                error = partition_is_loading(db, partition, &loading);
        if (!error && !loading)
                find(verify, "parked %u/%016" PRIx64 "%016" PRIx64 ": due at %" PRId64 ", and not marked so",
                     partition, at->key.hi, at->key.lo, at->due_unix_ms);
        return error;
}

static struct error *verify_parked(void *userdata, struct bytes key, struct bytes row) {
        struct verify *verify = userdata;
        struct parked_cursor at;
        struct bytes value;
        uint32_t partition;
        enum record_outcome outcome = version_decode(row, &value);
        if (outcome != RECORD_OK)
                find(verify, "parked: a row is %s", outcome_text(outcome));
        if (parked_key_decode(key, &partition, &at.key)) {
                verify->bodies++;
        } else if (due_key_decode(key, &partition, &at)) {
                verify->stats.parked++;
                return verify_due(verify, partition, &at);
        } else {
                find(verify, "parked: a key of %zu bytes", key.size);
        }
        return NULL;
}

static struct error *verify_partition(struct verify *verify, const struct partition *partition) {
        const struct db *db = &verify->store->db;
        uint64_t parked = 0;
        bool loading = false;
        verify->partition = partition->number;
        verify->marks = 0;
        verify->stats.partitions++;
        struct error *error = db_scan_settled(db, partition->number, BYTES(""), verify_settled, verify);
        if (!error)
                error = parked_count(db, partition->number, &parked);
        if (!error)
                error = partition_is_loading(db, partition->number, &loading);
        if (!error && parked != verify->marks && !loading)
                find(verify, "partition %u: %" PRIu64 " jobs are marked as parked, and %" PRIu64 " are due",
                     partition->number, verify->marks, parked);
        return error;
}

/* The attempts that are live must be those that the rows say; the rows were read at opening, so this reads
 * them once more. */
static struct error *verify_unknown(void *userdata, const struct begun *begun) {
        struct verify *verify = userdata;
        struct job_row row = {.kind = JOB_ROW_NONE};
        struct error *error = db_look_up(&verify->store->db, &begun->key, &begun->partition, 1, &row);
        if (error)
                return error;
        if (row.kind == JOB_ROW_SETTLED)
                find(verify, "attempt %016" PRIx64 "%016" PRIx64 ": of unknown outcome, and settled",
                     begun->key.hi, begun->key.lo);
        return NULL;
}

/* What cannot be read is a finding; anything else ends it. */
static struct error *note(struct verify *verify, struct error *error) {
        if (!error || error->kind != ERROR_CORRUPT)
                return error;
        find(verify, "%s", error->message);
        return error_free(error);
}

static struct error *verify_families(struct verify *verify) {
        static struct error *(*const each[FAMILIES_COUNT])(void *, struct bytes, struct bytes) = {
                [FAMILY_META] = verify_meta,
                [FAMILY_SETTLED] = verify_settled,
                [FAMILY_BEGUN] = verify_begun,
                [FAMILY_BODIES] = verify_body,
                [FAMILY_ANSWERS] = verify_answer,
                [FAMILY_PARKED] = verify_parked,
                [FAMILY_GATHERED] = verify_packet,
                [FAMILY_KEPT] = verify_kept,
                [FAMILY_OLD_ANSWERS] = verify_old_answer,
        };
        const struct db *db = &verify->store->db;
        struct error *error = NULL;
        for (enum family i = 0; i < FAMILIES_COUNT && !error; i++)
                error = note(verify, db_scan(db, i, BYTES(""), each[i], verify));
        for (uint32_t i = 0; i < STORE_PARTITIONS_MAX && !error; i++) {
                const struct partition *partition = db_partition(db, i);
                if (partition)
                        error = note(verify, verify_partition(verify, partition));
        }
        return error;
}

struct error *store_verify(struct store *store, struct store_stats *out_stats, struct buffer *out_findings) {
        struct verify verify = {.store = store, .findings = out_findings, .partition = STORE_NO_PARTITION};
        pthread_mutex_lock(&store->partitioning);
        struct error *error = verify_families(&verify);
        pthread_mutex_unlock(&store->partitioning);
        if (!error)
                error = note(&verify, store_each_unknown(store, verify_unknown, &verify));
        if (error)
                return error;
        if (verify.bodies != verify.stats.parked)
                find(&verify, "parked: %" PRIu64 " jobs are due, and %" PRIu64 " are there",
                     verify.stats.parked, verify.bodies);
        if (verify.findings_count > FINDINGS_MAX)
                buffer_printf(out_findings, "and %zu more\n", verify.findings_count - FINDINGS_MAX);
        if (out_findings->failed)
                return error_new(ERROR_MEMORY, "no memory for what was found");
        verify.stats.unknown = atomic_load(&store->journal.unknown_live);
        measure(store, &verify.stats);
        *out_stats = verify.stats;
        return NULL;
}
