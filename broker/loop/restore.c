#include "broker/loop/restore.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/time.h"
#include "broker/ops/log.h"
#include "broker/wire/job_key.h"
#include "broker/wire/state_record.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        QUOTAS_BYTES_MAX = 16 << 20,
        OWNER_NEAR = 256, /* an owner's record so near to the end is read again the next time */
};
#define COMMITTED_TIMEOUT_NS (60 * NS_PER_S)
#define AWAY_MIN_NS          (3600 * NS_PER_S) /* no job from before is inside by then */
#define DROP_MIN_NS          NS_PER_S          /* between two looks at what was kept */
#define DROP_MAX_NS          (60 * NS_PER_S)

/* ---- reading the state topic into the store ---- */

struct reading {
        struct store_load *load;
        struct restored *restored;
        uint32_t partition;
        uint64_t owner_offset; /* of the last owner's record; UINT64_MAX: none */
        struct digest *digest;
        struct state_lists lists;
};

void restored_deinit(struct restored *restored) {
        error_free(restored->error);
        buffer_deinit(&restored->quotas);
}

static struct error *load_settled(struct reading *reading, const struct state_settled *from) {
        struct settled settled = {.partition = reading->partition,
                                  .failure = from->failure,
                                  .status = from->status,
                                  .attempts = from->attempts,
                                  .cost_known = from->cost_known,
                                  .cost_is_estimate = from->cost_is_estimate,
                                  .cost_picousd = from->cost_picousd,
                                  .settled_unix_ms = from->at_unix_ms,
                                  .fingerprint_known = true,
                                  .sink = from->dead_letter,
                                  .offset = from->offset};
        memcpy(settled.fingerprint, from->fingerprint, sizeof(settled.fingerprint));
        if (from->offset >= reading->restored->source_high)
                reading->restored->source_high = from->offset + 1;
        return store_load_settled(reading->load, from->key, &settled);
}

static void note_owner(struct reading *reading, const struct state_owner *owner, uint64_t offset) {
        struct restored *restored = reading->restored;
        reading->owner_offset = offset;
        restored->free_ms = owner->released ? clock_now_unix_ms() - owner->since_unix_ms : 0;
        buffer_deinit(&restored->quotas);
        buffer_init(&restored->quotas, QUOTAS_BYTES_MAX);
        buffer_append_bytes(&restored->quotas, owner->quotas);
}

/* What is known of it, under the name that it says itself: who else writes to the topic may say a lot. */
static struct error *load_spend(struct reading *reading, const struct state_record *word) {
        struct buffer key, value;
        struct error *error = NULL;
        buffer_init(&key, STORE_SHARE_NAME_MAX);
        buffer_init(&value, STORE_SHARE_BYTES_MAX);
        state_key_append_spend(&key, word->spend.provider, word->spend.name);
        state_record_append(&value, word);
        if (key.failed || value.failed)
                error = error_new(ERROR_MEMORY, "no memory for what was spent of partition %u",
                                  reading->partition);
        else
                error = store_load_share(reading->load, buffer_view(&key), buffer_view(&value));
        buffer_deinit(&key);
        buffer_deinit(&value);
        return error;
}

static struct error *load_tombstone(struct reading *reading, const struct changelog_record *record) {
        struct key128 key;
        if (!job_key_of_state(reading->digest, reading->partition, record->key, &key))
                return NULL;
        if (digest_failed(reading->digest))
                return error_new(ERROR_MEMORY, "no memory to restore partition %u", reading->partition);
        return store_load_remove(reading->load, key);
}

static struct error *load_record(void *userdata, const struct changelog_record *record) {
        struct reading *reading = userdata;
        struct state_record state;
        reading->restored->records++;
        if (!record->has_value)
                return load_tombstone(reading, record);
        switch (state_record_read(record->value, &reading->lists, &state)) {
        case STATE_RECORD_OK:
                break;
        case STATE_RECORD_NEWER:
                return error_new(ERROR_INPUT,
                                 "the state topic holds records of a newer version (offset %llu of partition "
                                 "%u); upgrade this worker",
                                 (unsigned long long)record->offset, reading->partition);
        case STATE_RECORD_DAMAGED:
                log_write(LOG_LEVEL_WARNING,
                          "offset %llu of partition %u of the state topic is no state record; passed over",
                          (unsigned long long)record->offset, reading->partition);
                return NULL;
        }
        switch (state.kind) {
        case STATE_SETTLED:
                return load_settled(reading, &state.settled);
        case STATE_PARKED:
                if (state.parked.record.offset >= reading->restored->source_high)
                        reading->restored->source_high = state.parked.record.offset + 1;
                return store_load_park(reading->load, state.parked.due_unix_ms, state.parked.key,
                                       state.parked.fingerprint, record->value);
        case STATE_SPEND:
                return load_spend(reading, &state);
        case STATE_OWNER:
                note_owner(reading, &state.owner, record->offset);
                return NULL;
        case STATE_BEGUN:
        case STATE_KINDS_COUNT:
                return NULL;
        }
        CHECK(false);
}

struct error *restore_catch_up(struct store *store, struct changelog *changelog, uint32_t partition,
                               const atomic_bool *stop, struct restored *out_restored) {
        struct partition_state state = {0};
        bool found;
        struct error *error = store_partition_open(store, partition, &found, &state);
        if (error)
                return error;
        struct reading *reading = malloc(sizeof(*reading));
        struct digest *digest = digest_new();
        if (!reading || !digest) {
                error = error_new(ERROR_MEMORY, "no memory to restore partition %u", partition);
                goto out;
        }
        out_restored->source_high = state.source_high;
        /* without news of an owner, the last one was this store's, which did not say that it has gone */
        out_restored->free_ms = found ? 0 : INT64_MAX;
        *reading = (struct reading){.restored = out_restored,
                                    .partition = partition,
                                    .owner_offset = UINT64_MAX,
                                    .digest = digest};
        error = store_load_begin(store, partition, &reading->load);
        if (error)
                goto out;
        error = changelog_read(changelog, partition, state.changelog_offset, stop, load_record, reading,
                               &state.changelog_offset);
        if (error) {
                store_load_abort(reading->load);
                goto out;
        }
        if (reading->owner_offset < state.changelog_offset &&
            state.changelog_offset - reading->owner_offset <= OWNER_NEAR)
                state.changelog_offset = reading->owner_offset;
        state.source_high = out_restored->source_high;
        state.updated_unix_ms = clock_now_unix_ms();
        error = store_load_end(reading->load, &state);
out:
        digest_free(digest);
        free(reading);
        return error;
}

/* ---- the thread ---- */

struct restorer {
        struct restore_options options;
        struct changelog *changelog;
        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        atomic_bool stop;
        /* under the mutex */
        struct restored *wanted, *ended; /* CONSUMER_PARTITIONS_MAX each */
        size_t wanted_count, ended_count;
        enum { EXPIRY_NONE, EXPIRY_WANTED, EXPIRY_READING, EXPIRY_READ } expiry;
        struct expiry_slice slice;
        /* the thread's own */
        int64_t drop_ns;        /* when kept results are looked at */
        atomic_bool waited_for; /* by a partition, or by who wants to stop it: for what takes long */
};

static struct error *open_changelog(struct restorer *restorer) {
        struct changelog_options changelog = {.properties = restorer->options.properties,
                                              .topic = restorer->options.topic_state,
                                              .client_id = restorer->options.client_id};
        return restorer->changelog ? NULL : changelog_open(&changelog, &restorer->changelog);
}

/*
 * A partition that was away for longer than keys are known: none of those here need be, and that they were
 * forgotten meanwhile the topic may not say any more (tombstones go). So it is read from its beginning.
 */
static struct error *clear_old(const struct restore_options *options, uint32_t partition) {
        struct partition_state state = {0};
        bool found;
        int64_t away_ms = max64(options->retention_ns, AWAY_MIN_NS) / NS_PER_MS;
        struct error *error = store_partition_open(options->store, partition, &found, &state);
        if (error || !found || clock_now_unix_ms() - state.updated_unix_ms <= away_ms)
                return error;
        return store_partition_clear(options->store, partition);
}

static void restore(struct restorer *restorer, struct restored *restored) {
        const struct restore_options *options = &restorer->options;
        restored->error = consumer_committed(options->consumer, restored->partition, COMMITTED_TIMEOUT_NS,
                                             &restored->offset, &restored->committed);
        if (!restored->error)
                restored->error = open_changelog(restorer);
        if (!restored->error)
                restored->error = clear_old(options, restored->partition);
        if (!restored->error)
                restored->error = restore_catch_up(options->store, restorer->changelog, restored->partition,
                                                   &restorer->stop, restored);
        restored->took_ns = clock_now_ns() - restored->asked_ns;
}

static void wake_shard(const struct restorer *restorer) {
        uint64_t one = 1;
        if (write(restorer->options.event_fd, &one, sizeof(one)) < 0)
                CHECK(errno == EAGAIN);
}

/* The mutex is held before and after, not meanwhile; so in those below. */
static void restore_next(struct restorer *restorer) {
        struct restored restored = restorer->wanted[0];
        restorer->wanted_count--;
        memmove(restorer->wanted, restorer->wanted + 1, restorer->wanted_count * sizeof(*restorer->wanted));
        atomic_store(&restorer->waited_for, restorer->wanted_count > 0 || atomic_load(&restorer->stop));
        pthread_mutex_unlock(&restorer->mutex);
        restore(restorer, &restored);
        pthread_mutex_lock(&restorer->mutex);
        CHECK(restorer->ended_count < 2 * CONSUMER_PARTITIONS_MAX);
        restorer->ended[restorer->ended_count++] = restored;
        wake_shard(restorer);
}

static void expire(struct restorer *restorer) {
        restorer->expiry = EXPIRY_READING;
        pthread_mutex_unlock(&restorer->mutex);
        restorer->slice.error = open_changelog(restorer);
        if (!restorer->slice.error)
                expiry_read(restorer->options.store, restorer->changelog, &restorer->slice,
                            &restorer->waited_for);
        pthread_mutex_lock(&restorer->mutex);
        restorer->expiry = EXPIRY_READ;
        wake_shard(restorer);
}

/* At the start too: nothing stays longer than the setting of now says. What fails is tried again. */
static void drop_kept(struct restorer *restorer) {
        int64_t keep_ms = restorer->options.keep_for_ns / NS_PER_MS;
        pthread_mutex_unlock(&restorer->mutex);
        struct error *error = store_drop_kept(restorer->options.store, clock_now_unix_ms() - keep_ms);
        int64_t period_ns = max64(DROP_MIN_NS, min64(restorer->options.keep_for_ns / 16, DROP_MAX_NS));
        bool over = !error && keep_ms == 0; /* nothing more comes */
        restorer->drop_ns = over ? INT64_MAX : clock_now_ns() + period_ns;
        error_free(error);
        pthread_mutex_lock(&restorer->mutex);
}

static void wait_for_work(struct restorer *restorer) {
        struct timespec at = {.tv_sec = restorer->drop_ns / NS_PER_S,
                              .tv_nsec = restorer->drop_ns % NS_PER_S};
        pthread_cond_timedwait(&restorer->cond, &restorer->mutex, &at);
}

static void *run(void *userdata) {
        struct restorer *restorer = userdata;
        pthread_setname_np(pthread_self(), "restorer");
        pthread_mutex_lock(&restorer->mutex);
        while (!atomic_load(&restorer->stop)) {
                if (restorer->wanted_count > 0)
                        restore_next(restorer);
                else if (restorer->expiry == EXPIRY_WANTED)
                        expire(restorer);
                else if (clock_now_ns() >= restorer->drop_ns)
                        drop_kept(restorer);
                else
                        wait_for_work(restorer);
        }
        pthread_mutex_unlock(&restorer->mutex);
        return NULL;
}

static void deinit(struct restorer *restorer) {
        for (size_t i = 0; i < restorer->ended_count; i++)
                restored_deinit(&restorer->ended[i]);
        expiry_slice_deinit(&restorer->slice);
        changelog_close(restorer->changelog);
        free(restorer->wanted);
        free(restorer->ended);
        pthread_cond_destroy(&restorer->cond);
        pthread_mutex_destroy(&restorer->mutex);
        free(restorer);
}

struct error *restorer_new(const struct restore_options *options, struct restorer **out_restorer) {
        struct restorer *restorer = calloc(1, sizeof(*restorer));
        if (!restorer)
                return error_new(ERROR_MEMORY, "no memory for the restorer");
        restorer->options = *options;
        pthread_mutex_init(&restorer->mutex, NULL);
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&restorer->cond, &attributes);
        pthread_condattr_destroy(&attributes);
        restorer->wanted = calloc(CONSUMER_PARTITIONS_MAX, sizeof(*restorer->wanted));
        restorer->ended = calloc(2 * (size_t)CONSUMER_PARTITIONS_MAX, sizeof(*restorer->ended));
        bool room = restorer->wanted && restorer->ended;
        int code = room ? pthread_create(&restorer->thread, NULL, run, restorer) : ENOMEM;
        if (code) {
                deinit(restorer);
                return error_errno(code, "cannot start the restorer");
        }
        *out_restorer = restorer;
        return NULL;
}

struct restorer *restorer_free(struct restorer *restorer) {
        if (!restorer)
                return NULL;
        atomic_store(&restorer->stop, true);
        pthread_mutex_lock(&restorer->mutex);
        atomic_store(&restorer->waited_for, true);
        pthread_cond_signal(&restorer->cond);
        pthread_mutex_unlock(&restorer->mutex);
        pthread_join(restorer->thread, NULL);
        deinit(restorer);
        return NULL;
}

struct error *restorer_submit(struct restorer *restorer, uint32_t partition, uint32_t epoch) {
        size_t at = 0;
        pthread_mutex_lock(&restorer->mutex);
        while (at < restorer->wanted_count && restorer->wanted[at].partition != partition)
                at++;
        bool room = at < CONSUMER_PARTITIONS_MAX;
        restorer->wanted_count += room && at == restorer->wanted_count;
        if (room) /* an older wish for it counts no more */
                restorer->wanted[at] =
                        (struct restored){.partition = partition, .epoch = epoch, .asked_ns = clock_now_ns()};
        atomic_store(&restorer->waited_for, restorer->wanted_count > 0);
        pthread_cond_signal(&restorer->cond);
        pthread_mutex_unlock(&restorer->mutex);
        return room ? NULL
                    : error_new(ERROR_BUSY, "more than %d partitions wait to be restored",
                                CONSUMER_PARTITIONS_MAX);
}

bool restorer_take(struct restorer *restorer, struct restored *out_restored) {
        pthread_mutex_lock(&restorer->mutex);
        bool any = restorer->ended_count > 0;
        if (any)
                *out_restored = restorer->ended[--restorer->ended_count];
        pthread_mutex_unlock(&restorer->mutex);
        return any;
}

void restorer_expire(struct restorer *restorer, const struct expiry_slice *slice) {
        pthread_mutex_lock(&restorer->mutex);
        CHECK(restorer->expiry == EXPIRY_NONE);
        restorer->slice = *slice;
        restorer->expiry = EXPIRY_WANTED;
        pthread_cond_signal(&restorer->cond);
        pthread_mutex_unlock(&restorer->mutex);
}

bool restorer_take_expired(struct restorer *restorer, struct expiry_slice *out_slice) {
        pthread_mutex_lock(&restorer->mutex);
        bool read = restorer->expiry == EXPIRY_READ;
        if (read) {
                *out_slice = restorer->slice;
                restorer->slice = (struct expiry_slice){0};
                restorer->expiry = EXPIRY_NONE;
        }
        pthread_mutex_unlock(&restorer->mutex);
        return read;
}
