#include "broker/loop/restore.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/ops/log.h"
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

/* ---- reading the state topic into the store ---- */

struct reading {
        struct store_load *load;
        struct restored *restored;
        uint32_t partition;
        uint64_t owner_offset; /* of the last owner's record; UINT64_MAX: none */
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

static struct error *load_record(void *userdata, const struct changelog_record *record) {
        struct reading *reading = userdata;
        struct state_record state;
        if (!record->has_value)
                return NULL; /* what is forgotten there may be kept here a while longer */
        reading->restored->records++;
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
        struct reading *reading = malloc(sizeof(*reading));
        struct partition_state state = {0};
        bool found;
        if (!reading)
                return error_new(ERROR_MEMORY, "no memory to restore partition %u", partition);
        struct error *error = store_partition_open(store, partition, &found, &state);
        if (error)
                goto out;
        out_restored->source_high = state.source_high;
        /* without news of an owner, the last one was this store's, which did not say that it has gone */
        out_restored->free_ms = found ? 0 : INT64_MAX;
        *reading = (struct reading){
                .restored = out_restored, .partition = partition, .owner_offset = UINT64_MAX};
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
};

static void restore(struct restorer *restorer, struct restored *restored) {
        const struct restore_options *options = &restorer->options;
        restored->error = consumer_committed(options->consumer, restored->partition, COMMITTED_TIMEOUT_NS,
                                             &restored->offset, &restored->committed);
        if (!restored->error && !restorer->changelog) {
                struct changelog_options changelog = {.properties = options->properties,
                                                      .topic = options->topic_state,
                                                      .client_id = options->client_id};
                restored->error = changelog_open(&changelog, &restorer->changelog);
        }
        if (!restored->error)
                restored->error = restore_catch_up(options->store, restorer->changelog, restored->partition,
                                                   &restorer->stop, restored);
        restored->took_ns = clock_now_ns() - restored->asked_ns;
}

static void *run(void *userdata) {
        struct restorer *restorer = userdata;
        pthread_setname_np(pthread_self(), "restorer");
        pthread_mutex_lock(&restorer->mutex);
        while (!atomic_load(&restorer->stop)) {
                if (restorer->wanted_count == 0) {
                        pthread_cond_wait(&restorer->cond, &restorer->mutex);
                        continue;
                }
                struct restored restored = restorer->wanted[0];
                restorer->wanted_count--;
                memmove(restorer->wanted, restorer->wanted + 1,
                        restorer->wanted_count * sizeof(*restorer->wanted));
                pthread_mutex_unlock(&restorer->mutex);
                restore(restorer, &restored);
                pthread_mutex_lock(&restorer->mutex);
                CHECK(restorer->ended_count < 2 * CONSUMER_PARTITIONS_MAX);
                restorer->ended[restorer->ended_count++] = restored;
                uint64_t one = 1;
                if (write(restorer->options.event_fd, &one, sizeof(one)) < 0)
                        CHECK(errno == EAGAIN);
        }
        pthread_mutex_unlock(&restorer->mutex);
        return NULL;
}

static void deinit(struct restorer *restorer) {
        for (size_t i = 0; i < restorer->ended_count; i++)
                restored_deinit(&restorer->ended[i]);
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
        pthread_cond_init(&restorer->cond, NULL);
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
