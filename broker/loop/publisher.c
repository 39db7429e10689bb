#include "broker/loop/publisher.h"

#include "broker/base/array.h"
#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/loop/audit_topic.h"
#include "broker/loop/dead_letter.h"
#include "broker/loop/marks.h"
#include "broker/ops/log.h"
#include "broker/wire/msgpack.h"
#include "broker/wire/result.h"
#include "broker/wire/state_record.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        TRANSACTION_ITEMS_MAX = 20000, /* bounds a transaction's memory and the time it takes */
        SCRATCH_MAX = 64 << 20,
        RECORD_OVERHEAD = 2048, /* what headers and framing may add to key and value */
};
#define AGAIN_MIN_NS (50 * NS_PER_MS)
#define AGAIN_MAX_NS (2 * NS_PER_S)
#define OPEN_NS      (60 * NS_PER_S)
#define REOPEN_NS    (10 * NS_PER_S) /* a try; between two of them it can be stopped */

struct items {
        struct publication *items;
        size_t count, capacity;
};

struct publisher {
        struct publisher_options options;
        pthread_t thread;
        bool running;
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        /* under the mutex */
        struct items pending;
        bool flush, stopping, busy, waiting;
        struct publisher_stats stats;
        /* the thread's own */
        struct items working;
        size_t in_transaction; /* the first so many of them */
        bool refused;          /* memory, for something that belongs into this transaction */
        struct producer *producer;
        struct audit_topic *audit;   /* NULL: none */
        struct changelog *changelog; /* opened when it is needed */
        struct store_batch *batch;
        struct partition_state *states;
        struct mark *marks; /* by partition */
        struct producer_offset *sent_offsets;
        struct completion *completions;
        size_t completions_capacity;
        struct buffer key, value, texts;
        int64_t started_ns, again_ns;
        atomic_bool stop; /* as `stopping`, for what blocks */
};

/* ---- what is sent ---- */

static struct kafka_header text_header(const char *name, struct bytes value) {
        return (struct kafka_header){bytes_of(name), value};
}

/* The producer knows nothing of that, and would commit without it. */
static enum producer_sent refused(struct publisher *publisher) {
        publisher->refused = true;
        return PRODUCER_BROKEN;
}

static enum producer_sent send_state(struct publisher *publisher, struct publication *item) {
        struct producer_message message = {.topic = publisher->options.topic_state,
                                           .partition = (int32_t)item->partition,
                                           .has_key = true,
                                           .has_value = true,
                                           .key = buffer_view(&publisher->key),
                                           .value = buffer_view(&publisher->value),
                                           .out_offset = &item->state_offset};
        if (publisher->key.failed || publisher->value.failed)
                return refused(publisher);
        return producer_send(publisher->producer, &message);
}

static enum producer_sent send_settled(struct publisher *publisher, struct publication *item) {
        const struct settled *settled = &item->settled;
        struct state_record record = {.kind = STATE_SETTLED,
                                      .settled = {.key = item->key,
                                                  .offset = item->offset,
                                                  .failure = settled->failure,
                                                  .status = settled->status,
                                                  .attempts = settled->attempts,
                                                  .cost_known = settled->cost_known,
                                                  .cost_is_estimate = settled->cost_is_estimate,
                                                  .cost_picousd = settled->cost_picousd,
                                                  .dead_letter = item->kind == PUBLICATION_DEAD_LETTER,
                                                  .at_unix_ms = settled->settled_unix_ms}};
        memcpy(record.settled.fingerprint, settled->fingerprint, sizeof(record.settled.fingerprint));
        buffer_clear(&publisher->key);
        buffer_clear(&publisher->value);
        if (item->kind != PUBLICATION_RESULT)
                state_key_append_record(&publisher->key, item->offset);
        else
                state_key_append(&publisher->key, item->job);
        state_record_append(&publisher->value, &record);
        return send_state(publisher, item);
}

/* The value as it is to be written; JSON when it cannot be said otherwise (content-type tells). */
static struct bytes encode(struct publisher *publisher, struct bytes json, bool *out_msgpack) {
        struct problem problem;
        *out_msgpack = false;
        if (!publisher->options.msgpack)
                return json;
        buffer_clear(&publisher->value);
        if (msgpack_from_json(json, &publisher->value, &problem) != MSGPACK_DONE)
                return json;
        *out_msgpack = true;
        return buffer_view(&publisher->value);
}

static enum producer_sent send_value(struct publisher *publisher, const struct publication *item,
                                     struct bytes json) {
        const struct job_spec *job = item->job;
        struct kafka_header headers[3];
        size_t count = 0;
        bool msgpack;
        struct bytes value = encode(publisher, json, &msgpack);
        headers[count++] = text_header("content-type",
                                       msgpack ? BYTES("application/msgpack") : BYTES("application/json"));
        if (job->traceparent.size > 0)
                headers[count++] = text_header("traceparent", job->traceparent);
        if (job->tracestate.size > 0)
                headers[count++] = text_header("tracestate", job->tracestate);
        if (job->idempotency.size + value.size + RECORD_OVERHEAD > publisher->options.results_bytes_max)
                return PRODUCER_TOO_LARGE;
        struct producer_message message = {.topic = publisher->options.topic_results,
                                           .partition = -1,
                                           .has_key = true,
                                           .has_value = true,
                                           .key = job->idempotency,
                                           .value = value,
                                           .headers = headers,
                                           .headers_count = count};
        return producer_send(publisher->producer, &message);
}

/* An answer that no topic takes: the job has failed, with a sentence instead of the answer. */
static enum producer_sent send_shortened(struct publisher *publisher, struct publication *item) {
        struct outcome outcome = *item->outcome;
        struct buffer json;
        size_t size = item->value.size;
        outcome.failure = item->settled.failure = FAILURE_PROVIDER_ERROR;
        outcome.has_answer = false;
        snprintf(outcome.message, sizeof(outcome.message),
                 "the result of %zu bytes is larger than the topic takes (max.message.bytes); it is not kept",
                 size);
        const struct catalog *made = outcome.decision.catalog; /* under which the decision was made */
        struct result_source source = {
                .job = item->job, .outcome = &outcome, .catalog = made ? made : publisher->options.catalog};
        buffer_init(&json, SCRATCH_MAX);
        result_append_value(&json, &source);
        enum producer_sent sent =
                json.failed ? refused(publisher) : send_value(publisher, item, buffer_view(&json));
        buffer_deinit(&json);
        return sent;
}

static enum producer_sent send_result(struct publisher *publisher, struct publication *item) {
        enum producer_sent sent = send_value(publisher, item, buffer_view(&item->value));
        if (sent == PRODUCER_TOO_LARGE)
                sent = send_shortened(publisher, item);
        return sent == PRODUCER_SENT ? send_settled(publisher, item) : sent;
}

static enum producer_sent send_dead_letter(struct publisher *publisher, struct publication *item) {
        const struct origin *origin = item->job->origin;
        struct kafka_header headers[DEAD_LETTER_HEADERS_MAX];
        buffer_clear(&publisher->texts);
        size_t count = dead_letter_headers(item->job, item->outcome, publisher->options.topic_jobs,
                                           publisher->options.group_id, &publisher->texts, headers);
        if (publisher->texts.failed)
                return refused(publisher);
        struct producer_message message = {.topic = publisher->options.topic_dead_letters,
                                           .partition = -1,
                                           .has_key = origin->record.has_key,
                                           .has_value = origin->record.has_value,
                                           .key = origin->record.key,
                                           .value = origin->record.value,
                                           .headers = headers,
                                           .headers_count = count};
        size_t bytes = origin_bytes(origin) + publisher->texts.size + RECORD_OVERHEAD;
        if (bytes > publisher->options.dead_letters_bytes_max) { /* our headers say where the value is */
                message.has_value = false;
                message.value = (struct bytes){0};
        }
        enum producer_sent sent = producer_send(publisher->producer, &message);
        return sent == PRODUCER_SENT ? send_settled(publisher, item) : sent;
}

/* And a record under its own name: read once more (the mark was before it), it must not go home twice. */
static enum producer_sent send_home(struct publisher *publisher, struct publication *item) {
        const struct job_record *record = &item->origin->record;
        struct kafka_header headers[RECORD_HEADERS_MAX];
        for (size_t i = 0; i < record->headers_count; i++)
                headers[i] = (struct kafka_header){record->headers[i].name, record->headers[i].value};
        struct producer_message message = {.topic = publisher->options.topic_jobs,
                                           .partition = (int32_t)item->home,
                                           .has_key = record->has_key,
                                           .has_value = record->has_value,
                                           .key = record->key,
                                           .value = record->value,
                                           .headers = headers,
                                           .headers_count = record->headers_count};
        enum producer_sent sent = producer_send(publisher->producer, &message);
        return sent == PRODUCER_SENT ? send_settled(publisher, item) : sent;
}

static enum producer_sent send_prepared(struct publisher *publisher, struct publication *item) {
        struct producer_message message = {.topic = publisher->options.topic_state,
                                           .partition = (int32_t)item->partition,
                                           .has_key = true,
                                           .has_value = true,
                                           .key = buffer_view(&item->state_key),
                                           .value = buffer_view(&item->value),
                                           .out_offset = &item->state_offset};
        return producer_send(publisher->producer, &message);
}

static enum producer_sent send_item(struct publisher *publisher, struct publication *item) {
        switch (item->kind) {
        case PUBLICATION_RESULT:
                return send_result(publisher, item);
        case PUBLICATION_DEAD_LETTER:
                return send_dead_letter(publisher, item);
        case PUBLICATION_REHOME:
                return send_home(publisher, item);
        case PUBLICATION_PARK:
        case PUBLICATION_OWNER:
        case PUBLICATION_SPEND:
                return send_prepared(publisher, item);
        case PUBLICATION_MARK:
                publisher->marks[item->partition] =
                        (struct mark){.offset = item->offset, .epoch = item->epoch};
                return PRODUCER_SENT;
        case PUBLICATION_AUDIT: {
                enum producer_sent sent = audit_topic_send(publisher->audit, publisher->producer, item->note);
                return sent == PRODUCER_TOO_LARGE ? refused(publisher) : sent;
        }
        }
        CHECK(false);
}

/* A call that was made stands in the audit, whoever has its partition now. */
static bool is_stale(struct publisher *publisher, struct publication *item) {
        return item->kind != PUBLICATION_AUDIT &&
               !board_current(publisher->options.board, item->partition, item->epoch);
}

/*
 * Asked when the group's generation has been read: what was revoked since must not be committed under a newer
 * one.
 */
static bool still_ours(void *userdata) {
        struct publisher *publisher = userdata;
        for (size_t i = 0; i < publisher->in_transaction; i++) {
                struct publication *item = &publisher->working.items[i];
                if (is_stale(publisher, item))
                        return false;
        }
        return true;
}

/* What is said of a result goes with it. */
static size_t fill_transaction(const struct publisher *publisher) {
        size_t count = publisher->working.count;
        size_t filled = count < TRANSACTION_ITEMS_MAX ? count : TRANSACTION_ITEMS_MAX;
        while (filled > 0 && filled < count && publisher->working.items[filled - 1].kind == PUBLICATION_AUDIT)
                filled++;
        return filled;
}

static enum producer_end transact(struct publisher *publisher) {
        publisher->in_transaction = fill_transaction(publisher);
        publisher->refused = false;
        for (size_t i = 0; i < publisher->in_transaction; i++) {
                enum producer_sent sent = send_item(publisher, &publisher->working.items[i]);
                if (sent == PRODUCER_TOO_LARGE || publisher->refused) /* the sizes were looked at before */
                        return producer_abort(publisher->producer);
                if (sent == PRODUCER_BROKEN)
                        break; /* the commit tells how it ends, which is not well */
        }
        size_t offsets = marks_collect(publisher->marks, publisher->options.board, publisher->working.items,
                                       publisher->in_transaction, publisher->sent_offsets);
        return producer_commit(publisher->producer, publisher->options.consumer,
                               publisher->options.topic_jobs, publisher->sent_offsets, offsets);
}

/* ---- what comes after ---- */

static void wake_shard(const struct publisher *publisher) {
        uint64_t one = 1;
        if (write(publisher->options.event_fd, &one, sizeof(one)) < 0)
                CHECK(errno == EAGAIN);
}

static bool is_committed(struct publisher *publisher, struct publication *item) {
        return item < publisher->working.items + publisher->in_transaction;
}

/* Takes the items that `gone` marks out of the queue: the shard is told, and no longer waits for them. */
static void release(struct publisher *publisher, bool (*gone)(struct publisher *, struct publication *)) {
        size_t kept = 0, told = 0;
        CHECK(publisher->working.count <= publisher->completions_capacity);
        for (size_t i = 0; i < publisher->working.count; i++) {
                struct publication *item = &publisher->working.items[i];
                if (!gone(publisher, item)) {
                        publisher->working.items[kept++] = *item;
                        continue;
                }
                if (publication_completes(item, gone == is_committed, &publisher->completions[told]))
                        told++;
                if (item->origin)
                        atomic_fetch_sub(&publisher->options.board->rehoming_bytes,
                                         origin_bytes(item->origin));
                if (item->kind != PUBLICATION_AUDIT)
                        atomic_fetch_sub(&publisher->options.board->pending[item->partition], 1);
                publication_deinit(item);
        }
        publisher->working.count = kept;
        if (told > 0)
                publisher->options.complete(publisher->options.complete_userdata, publisher->completions,
                                            told);
        wake_shard(publisher);
}

static void pause_for(struct publisher *publisher, int64_t ns) {
        int64_t until_ns = clock_now_ns() + ns;
        struct timespec at = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
        pthread_mutex_lock(&publisher->mutex);
        while (!publisher->stopping && clock_now_ns() < until_ns)
                pthread_cond_timedwait(&publisher->cond, &publisher->mutex, &at);
        pthread_mutex_unlock(&publisher->mutex);
}

static void know_partition(struct publisher *publisher, uint32_t partition) {
        bool found;
        struct error *error = store_partition_open(publisher->options.store, partition, &found,
                                                   &publisher->states[partition]);
        error_free(error); /* the next write will say it again */
}

static void note_state(struct publisher *publisher, const struct publication *item) {
        struct partition_state *state = &publisher->states[item->partition];
        if (item->kind == PUBLICATION_AUDIT)
                return;
        if (item->kind == PUBLICATION_OWNER)
                know_partition(publisher, item->partition);
        bool stateful = item->kind != PUBLICATION_MARK;
        bool of_a_job = stateful && item->kind != PUBLICATION_OWNER && item->kind != PUBLICATION_SPEND;
        /*
         * where it is not known, that record is read once more some day; so is what was said of the owner,
         * who may come back
         */
        if (stateful && item->kind != PUBLICATION_OWNER && item->state_offset != UINT64_MAX &&
            item->state_offset >= state->changelog_offset)
                state->changelog_offset = item->state_offset + 1;
        if (of_a_job && item->offset >= state->source_high)
                state->source_high = item->offset + 1;
        state->updated_unix_ms = clock_now_unix_ms();
}

static void stage_rows(struct publisher *publisher) {
        struct store_batch *batch = publisher->batch;
        store_batch_clear(batch);
        audit_topic_stage(publisher->audit, batch);
        for (size_t i = 0; i < publisher->in_transaction; i++) {
                struct publication *item = &publisher->working.items[i];
                note_state(publisher, item);
                if (publication_is_result(item) || item->kind == PUBLICATION_REHOME)
                        store_batch_settle(batch, item->key, &item->settled, item->begun);
                else if (item->kind == PUBLICATION_PARK)
                        store_batch_park(batch, item->partition, item->due_unix_ms, item->key,
                                         item->settled.fingerprint, buffer_view(&item->value));
                else if (item->kind == PUBLICATION_SPEND)
                        store_batch_share(batch, item->partition, buffer_view(&item->state_key),
                                          buffer_view(&item->value));
        }
        for (size_t i = 0; i < publisher->in_transaction; i++) {
                uint32_t partition = publisher->working.items[i].partition;
                struct partition_state *state = &publisher->states[partition];
                if (state->updated_unix_ms == 0)
                        continue;
                store_batch_partition(batch, partition, state);
                state->updated_unix_ms = 0;
        }
}

/*
 * The rows need no sync: what a crash takes away is read again from the state topic. false: the store takes
 * nothing any more; nobody would wait for the completions in vain.
 */
static bool write_rows(struct publisher *publisher) {
        stage_rows(publisher);
        for (;;) {
                struct error *error = store_write_lazy(publisher->options.store, publisher->batch);
                if (!error)
                        return true;
                bool full = error->kind == ERROR_FULL;
                log_write(LOG_LEVEL_ERROR, "results are published, but the store does not take it: %s",
                          error->message);
                if (!full)
                        publisher->options.fail(publisher->options.complete_userdata, error->message);
                error_free(error);
                if (!full || atomic_load(&publisher->stop))
                        return false;
                pause_for(publisher, AGAIN_MAX_NS);
        }
}

/* What an owner said is durable: see membership.c. */
static void tell_owners(struct publisher *publisher) {
        for (size_t i = 0; i < publisher->in_transaction; i++) {
                const struct publication *item = &publisher->working.items[i];
                if (item->kind == PUBLICATION_OWNER)
                        atomic_store(&publisher->options.board->owner[item->partition], item->epoch);
        }
}

static void count_committed(struct publisher *publisher, int64_t took_ns) {
        pthread_mutex_lock(&publisher->mutex);
        struct publisher_stats *stats = &publisher->stats;
        stats->committed++;
        histogram_observe(&stats->commit, took_ns);
        stats->message[0] = '\0';
        for (size_t i = 0; i < publisher->in_transaction; i++) {
                enum publication_kind kind = publisher->working.items[i].kind;
                stats->results += kind == PUBLICATION_RESULT;
                stats->dead_letters += kind == PUBLICATION_DEAD_LETTER;
                stats->rehomed += kind == PUBLICATION_REHOME;
                stats->parked += kind == PUBLICATION_PARK;
        }
        pthread_mutex_unlock(&publisher->mutex);
}

static void count_failed(struct publisher *publisher, enum producer_end end) {
        const char *message = publisher->producer ? producer_message(publisher->producer) : "";
        pthread_mutex_lock(&publisher->mutex);
        struct publisher_stats *stats = &publisher->stats;
        stats->aborted += end == PRODUCER_ABORTED;
        stats->fenced += end == PRODUCER_FENCED;
        stats->replaced += end == PRODUCER_GONE;
        snprintf(stats->message, sizeof(stats->message), "%s", message);
        pthread_mutex_unlock(&publisher->mutex);
        log_write(LOG_LEVEL_WARNING, "a transaction did not commit, its results are sent again: %s", message);
}

/* ---- a producer that is gone ---- */

static struct error *open_producer(struct publisher *publisher, int64_t timeout_ns) {
        const struct publisher_options *options = &publisher->options;
        const char *topics[] = {options->topic_results, options->topic_state, options->topic_dead_letters,
                                options->topic_jobs, options->topic_audit};
        size_t topics_count = sizeof(topics) / sizeof(*topics);
        struct producer_options producer = {.properties = options->properties,
                                            .transactional_id = options->transactional_id,
                                            .client_id = options->client_id,
                                            .start_timeout_ns = timeout_ns,
                                            .topics = topics,
                                            .topics_count =
                                                    options->topic_audit ? topics_count : topics_count - 1,
                                            .valid = still_ours,
                                            .valid_userdata = publisher,
                                            .fault = options->fault,
                                            .fault_userdata = options->fault_userdata};
        return producer_open(&producer, &publisher->producer);
}

static struct error *catch_up(struct publisher *publisher, uint32_t partition) {
        struct restored restored = {.partition = partition};
        struct error *error = NULL;
        if (!publisher->changelog) {
                struct changelog_options options = {.properties = publisher->options.properties,
                                                    .topic = publisher->options.topic_state,
                                                    .client_id = publisher->options.client_id};
                error = changelog_open(&options, &publisher->changelog);
        }
        if (!error)
                error = restore_catch_up(publisher->options.store, publisher->changelog, partition,
                                         &publisher->stop, &restored);
        know_partition(publisher, partition);
        restored_deinit(&restored);
        return error;
}

static bool is_there(struct publisher *publisher, struct publication *item) {
        (void)publisher;
        return item->there;
}

/*
 * Whether the lost transaction was committed with it. A parking sent again behind the job's result would
 * bring the job back for whoever reads the state topic. The other kinds may be repeated.
 */
static struct error *look_for(struct publisher *publisher, struct publication *item) {
        struct store_record record;
        if (!publication_is_result(item) && item->kind != PUBLICATION_PARK &&
            item->kind != PUBLICATION_REHOME)
                return NULL;
        struct error *error = store_look_up(publisher->options.store, item->partition, item->key, &record);
        if (!error)
                item->there = record.found == STORE_SETTLED ||
                              (item->kind == PUBLICATION_PARK && record.found == STORE_PARKED &&
                               record.due_unix_ms == item->due_unix_ms);
        return error;
}

/* Reads what the lost transaction may have left, for each partition that it touched. */
static struct error *learn_what_is_there(struct publisher *publisher) {
        struct error *error = NULL;
        for (size_t i = 0; i < publisher->in_transaction; i++)
                if (publisher->working.items[i].kind != PUBLICATION_AUDIT)
                        publisher->marks[publisher->working.items[i].partition].touched = true;
        for (size_t i = 0; i < publisher->in_transaction; i++) {
                uint32_t partition = publisher->working.items[i].partition;
                if (!publisher->marks[partition].touched)
                        continue;
                publisher->marks[partition].touched = false;
                if (!error)
                        error = catch_up(publisher, partition);
        }
        for (size_t i = 0; i < publisher->in_transaction && !error; i++)
                error = look_for(publisher, &publisher->working.items[i]);
        return error;
}

/* If anything of the lost transaction is there, its audit records are; else they are sent again. */
static void learn_of_audit(struct publisher *publisher) {
        bool there = false;
        for (size_t i = 0; i < publisher->in_transaction; i++)
                there = there || publisher->working.items[i].there;
        for (size_t i = 0; i < publisher->in_transaction; i++)
                if (publisher->working.items[i].kind == PUBLICATION_AUDIT)
                        publisher->working.items[i].there = there;
        audit_topic_end(publisher->audit, there ? AUDIT_COMMITTED : AUDIT_LOST);
}

static void replace_producer(struct publisher *publisher) {
        publisher->producer = producer_close(publisher->producer);
        while (!atomic_load(&publisher->stop)) {
                struct error *error = publisher->producer ? NULL : open_producer(publisher, REOPEN_NS);
                if (!error)
                        error = learn_what_is_there(publisher);
                if (!error)
                        break;
                log_write(LOG_LEVEL_WARNING, "cannot publish yet, trying again: %s", error->message);
                error_free(error);
                pause_for(publisher, AGAIN_MAX_NS);
        }
        if (atomic_load(&publisher->stop))
                return;
        learn_of_audit(publisher);
        release(publisher, is_there);
}

/* ---- the thread ---- */

/* Publishes all that is in `working`. false: for good no more. */
static bool publish(struct publisher *publisher) {
        publisher->again_ns = AGAIN_MIN_NS;
        while (!atomic_load(&publisher->stop)) {
                /* what cannot be released would be sent twice */
                if (!array_reserve((void **)&publisher->completions, &publisher->completions_capacity,
                                   publisher->working.count, sizeof(*publisher->completions))) {
                        pause_for(publisher, publisher->again_ns);
                        continue;
                }
                release(publisher, is_stale);
                if (publisher->working.count == 0)
                        return true;
                int64_t started_ns = clock_now_ns();
                enum producer_end end = transact(publisher);
                if (end == PRODUCER_COMMITTED) {
                        count_committed(publisher, clock_now_ns() - started_ns);
                        audit_topic_end(publisher->audit, AUDIT_COMMITTED);
                        if (!write_rows(publisher))
                                return false;
                        tell_owners(publisher);
                        release(publisher, is_committed);
                        publisher->in_transaction = 0;
                        continue;
                }
                count_failed(publisher, end);
                if (end == PRODUCER_GONE)
                        replace_producer(publisher);
                else
                        audit_topic_end(publisher->audit, AUDIT_ABORTED);
                pause_for(publisher, publisher->again_ns);
                publisher->again_ns =
                        publisher->again_ns * 2 < AGAIN_MAX_NS ? publisher->again_ns * 2 : AGAIN_MAX_NS;
        }
        return false;
}

/* Under the mutex: waits until there is something and its time has come. */
static void wait_for_items(struct publisher *publisher) {
        publisher->waiting = true;
        while (publisher->pending.count == 0 && !publisher->stopping)
                pthread_cond_wait(&publisher->cond, &publisher->mutex);
        int64_t due_ns = publisher->started_ns + publisher->options.interval_ns;
        struct timespec at = {.tv_sec = due_ns / NS_PER_S, .tv_nsec = due_ns % NS_PER_S};
        while (!publisher->stopping && !publisher->flush && clock_now_ns() < due_ns)
                pthread_cond_timedwait(&publisher->cond, &publisher->mutex, &at);
        publisher->waiting = publisher->flush = false;
}

static void *run(void *userdata) {
        struct publisher *publisher = userdata;
        pthread_setname_np(pthread_self(), "publisher");
        bool well = true;
        pthread_mutex_lock(&publisher->mutex);
        while (well) {
                wait_for_items(publisher);
                if (publisher->stopping)
                        break;
                struct items taken = publisher->pending;
                publisher->pending = publisher->working;
                publisher->working = taken;
                publisher->busy = true;
                pthread_mutex_unlock(&publisher->mutex);
                publisher->started_ns = clock_now_ns();
                well = publish(publisher);
                pthread_mutex_lock(&publisher->mutex);
                publisher->busy = !well; /* what could not be published is not done */
        }
        pthread_mutex_unlock(&publisher->mutex);
        return NULL;
}

static struct error *make(struct publisher *publisher) {
        publisher->batch = store_batch_new(publisher->options.store);
        publisher->states = calloc(CONSUMER_PARTITIONS_MAX, sizeof(*publisher->states));
        publisher->marks = calloc(CONSUMER_PARTITIONS_MAX, sizeof(*publisher->marks));
        publisher->sent_offsets = calloc(CONSUMER_PARTITIONS_MAX, sizeof(*publisher->sent_offsets));
        if (!publisher->batch || !publisher->states || !publisher->marks || !publisher->sent_offsets)
                return error_new(ERROR_MEMORY, "no memory for the publisher");
        struct audit_topic_options audit = {.topic = publisher->options.topic_audit,
                                            .partitions = publisher->options.audit_partitions,
                                            .writer = publisher->options.transactional_id,
                                            .store = publisher->options.store};
        struct error *error = audit.topic ? audit_topic_new(&audit, &publisher->audit) : NULL;
        return error ? error : open_producer(publisher, OPEN_NS);
}

static void deinit(struct publisher *publisher) {
        struct items *lists[] = {&publisher->pending, &publisher->working};
        for (size_t i = 0; i < 2; i++) {
                for (size_t j = 0; j < lists[i]->count; j++)
                        publication_deinit(&lists[i]->items[j]);
                free(lists[i]->items);
        }
        producer_close(publisher->producer);
        changelog_close(publisher->changelog);
        audit_topic_free(publisher->audit);
        store_batch_free(publisher->batch);
        buffer_deinit(&publisher->key);
        buffer_deinit(&publisher->value);
        buffer_deinit(&publisher->texts);
        free(publisher->states);
        free(publisher->marks);
        free(publisher->sent_offsets);
        free(publisher->completions);
        pthread_cond_destroy(&publisher->cond);
        pthread_mutex_destroy(&publisher->mutex);
        free(publisher);
}

struct error *publisher_new(const struct publisher_options *options, struct publisher **out_publisher) {
        struct publisher *publisher = calloc(1, sizeof(*publisher));
        if (!publisher)
                return error_new(ERROR_MEMORY, "no memory for the publisher");
        publisher->options = *options;
        buffer_init(&publisher->key, SCRATCH_MAX);
        buffer_init(&publisher->value, SIZE_MAX / 4);
        buffer_init(&publisher->texts, SCRATCH_MAX);
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&publisher->cond, &attributes);
        pthread_condattr_destroy(&attributes);
        pthread_mutex_init(&publisher->mutex, NULL);
        struct error *error = make(publisher);
        int code = error ? 0 : pthread_create(&publisher->thread, NULL, run, publisher);
        if (code)
                error = error_errno(code, "cannot start the publisher");
        if (error) {
                deinit(publisher);
                return error;
        }
        publisher->running = true;
        *out_publisher = publisher;
        return NULL;
}

void publisher_stop(struct publisher *publisher) {
        atomic_store(&publisher->stop, true);
        pthread_mutex_lock(&publisher->mutex);
        publisher->stopping = true;
        pthread_cond_broadcast(&publisher->cond);
        pthread_mutex_unlock(&publisher->mutex);
        if (publisher->running)
                pthread_join(publisher->thread, NULL);
        publisher->running = false;
}

struct publisher *publisher_free(struct publisher *publisher) {
        if (!publisher)
                return NULL;
        publisher_stop(publisher);
        deinit(publisher);
        return NULL;
}

bool publisher_submit(struct publisher *publisher, struct publication *items, size_t count) {
        pthread_mutex_lock(&publisher->mutex);
        struct items *pending = &publisher->pending;
        bool room = array_reserve((void **)&pending->items, &pending->capacity, pending->count + count,
                                  sizeof(*pending->items));
        if (room) {
                memcpy(pending->items + pending->count, items, count * sizeof(*items));
                pending->count += count;
        }
        bool wake = room && publisher->waiting;
        pthread_mutex_unlock(&publisher->mutex);
        if (wake)
                pthread_cond_signal(&publisher->cond);
        return room;
}

void publisher_flush(struct publisher *publisher) {
        pthread_mutex_lock(&publisher->mutex);
        publisher->flush = publisher->pending.count > 0;
        if (publisher->flush)
                pthread_cond_signal(&publisher->cond);
        pthread_mutex_unlock(&publisher->mutex);
}

bool publisher_idle(struct publisher *publisher) {
        pthread_mutex_lock(&publisher->mutex);
        bool idle = !publisher->busy && publisher->pending.count == 0;
        pthread_mutex_unlock(&publisher->mutex);
        return idle;
}

void publisher_get_stats(struct publisher *publisher, struct publisher_stats *out_stats) {
        pthread_mutex_lock(&publisher->mutex);
        *out_stats = publisher->stats;
        pthread_mutex_unlock(&publisher->mutex);
}
