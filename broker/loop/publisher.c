#include "broker/loop/publisher.h"

#include "broker/base/array.h"
#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/loop/audit_topic.h"
#include "broker/loop/cadence.h"
#include "broker/loop/expiry.h"
#include "broker/loop/sending.h"
#include "broker/ops/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        TRANSACTION_ITEMS_MAX = 20000, /* bounds a transaction's memory and the time it takes */
        ROOM_MIN = 1024,               /* for items that come while a transaction is open */
        TOO_LARGE_MAX = 3,             /* transactions in a row that fail for a size */
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
        bool flush, stopping, busy;
        bool busy_shard; /* the shard is busy */
        bool waiting;    /* for work: then a signal is worth its price */
        bool ahead;      /* the first part of a transaction is sent, the second is waited for */
        struct publisher_stats stats;
        /* the thread's own */
        struct items working;
        size_t in_transaction; /* the first so many of them */
        /* of those, in the open transaction; stay where they are while it is open */
        size_t sent;
        bool unfit, too_large;       /* the open transaction must not commit; for a record's size */
        bool was_unfit;              /* the one before was aborted for that */
        unsigned were_too_large;     /* so many in a row, here or for a broker */
        struct sending sending;      /* with the producer */
        struct changelog *changelog; /* opened when it is needed */
        struct store_batch *batch;
        struct partition_state *states;
        struct mark *marks; /* by partition */
        struct producer_offset *sent_offsets;
        struct completion *completions;
        size_t completions_capacity;
        int64_t cut_ns; /* when the last transaction got its last item */
        struct cadence cadence;
        int64_t again_ns;
        atomic_bool stop; /* as `stopping`, for what blocks */
};

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

/* Into the transaction, what is not sent yet. What it could not send its end tells, which is not well. */
static void send_on(struct publisher *publisher) {
        publisher->in_transaction = fill_transaction(publisher);
        while (publisher->sent < publisher->in_transaction && !publisher->unfit) {
                struct publication *item = &publisher->working.items[publisher->sent];
                enum producer_sent sent = sending_send(&publisher->sending, item);
                publisher->too_large = sent == PRODUCER_TOO_LARGE; /* the sizes were looked at before */
                publisher->unfit = publisher->too_large || publisher->sending.refused;
                if (sent == PRODUCER_BROKEN)
                        break;
                publisher->sent++;
        }
}

/* What was revoked since it was sent goes with nothing: offsets are not always there to tell. */
static enum producer_end abort_revoked(struct publisher *publisher) {
        enum producer_end end = producer_abort(publisher->sending.producer);
        return end == PRODUCER_ABORTED ? PRODUCER_FENCED : end;
}

static enum producer_end end_transaction(struct publisher *publisher) {
        if (publisher->unfit)
                return producer_abort(publisher->sending.producer);
        if (!still_ours(publisher))
                return abort_revoked(publisher);
        size_t offsets = marks_collect(publisher->marks, publisher->options.board, publisher->working.items,
                                       publisher->in_transaction, publisher->sent_offsets);
        return producer_commit(publisher->sending.producer, publisher->options.consumer,
                               publisher->options.topic_jobs, publisher->sent_offsets, offsets);
}

static enum producer_end transact(struct publisher *publisher) {
        send_on(publisher);
        enum producer_end end = end_transaction(publisher);
        publisher->sent = 0;
        bool too_large = end != PRODUCER_COMMITTED && publisher->sending.producer &&
                         (publisher->too_large || producer_too_large(publisher->sending.producer));
        publisher->were_too_large = too_large ? publisher->were_too_large + 1 : 0;
        publisher->was_unfit = publisher->unfit;
        publisher->unfit = publisher->too_large = publisher->sending.refused = false;
        return end;
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
                atomic_fetch_sub(&publisher->options.board->copied_bytes, item->copied_bytes);
                if (item->kind == PUBLICATION_FORGET)
                        atomic_fetch_sub(&publisher->options.board->forgetting, 1);
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

/* Before a transaction is begun. false: no memory; what cannot be released would be sent twice. */
static bool release_stale(struct publisher *publisher) {
        if (!array_reserve((void **)&publisher->completions, &publisher->completions_capacity,
                           publisher->working.count, sizeof(*publisher->completions)))
                return false;
        if (publisher->sent == 0)
                release(publisher, is_stale);
        return true;
}

static void pause_for(struct publisher *publisher, int64_t ns) {
        int64_t until_ns = clock_now_ns() + ns;
        struct timespec at = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
        pthread_mutex_lock(&publisher->mutex);
        while (!publisher->stopping && clock_now_ns() < until_ns)
                pthread_cond_timedwait(&publisher->cond, &publisher->mutex, &at);
        pthread_mutex_unlock(&publisher->mutex);
}

/* It leaves a settled row. */
static bool settles(const struct publication *item) {
        return publication_is_result(item) || item->kind == PUBLICATION_REHOME ||
               item->kind == PUBLICATION_REPLAY;
}

static void know_partition(struct publisher *publisher, uint32_t partition) {
        bool found;
        struct error *error = store_partition_open(publisher->options.store, partition, &found,
                                                   &publisher->states[partition]);
        error_free(error); /* the next write will say it again */
}

/* Of the jobs topic, in the state record that it leaves. */
static bool names_a_record(const struct publication *item) {
        return settles(item) || item->kind == PUBLICATION_PARK;
}

static void note_state(struct publisher *publisher, const struct publication *item) {
        struct partition_state *state = &publisher->states[item->partition];
        if (item->kind == PUBLICATION_AUDIT)
                return;
        if (item->kind == PUBLICATION_OWNER)
                know_partition(publisher, item->partition);
        bool stateful = item->kind != PUBLICATION_MARK;
        /*
         * where it is not known, that record is read once more some day; so is what was said of the owner,
         * who may come back
         */
        if (stateful && item->kind != PUBLICATION_OWNER && item->state_offset != UINT64_MAX &&
            item->state_offset >= state->changelog_offset)
                state->changelog_offset = item->state_offset + 1;
        if (names_a_record(item) && item->offset >= state->source_high)
                state->source_high = item->offset + 1;
        state->updated_unix_ms = clock_now_unix_ms();
}

/* What no store may hold is not there a second time either. */
static void keep_result(const struct publisher *publisher, const struct publication *item) {
        if (publisher->options.keep_results && !item->job->demand.prefs.zdr)
                store_batch_keep(publisher->batch, item->partition, item->key, item->settled.settled_unix_ms,
                                 buffer_view(&item->value));
}

static void remove_keys(struct store_batch *batch, const struct publication *item) {
        struct expired expired;
        struct bytes rest = buffer_view(&item->value);
        while (expired_take(&rest, &expired))
                store_batch_remove(batch, item->partition, expired.key);
}

static void stage_rows(struct publisher *publisher) {
        struct store_batch *batch = publisher->batch;
        store_batch_clear(batch);
        audit_topic_stage(publisher->sending.audit, batch);
        for (size_t i = 0; i < publisher->in_transaction; i++) {
                struct publication *item = &publisher->working.items[i];
                note_state(publisher, item);
                if (settles(item))
                        store_batch_settle(batch, item->key, &item->settled, item->begun);
                if (item->kind == PUBLICATION_RESULT)
                        keep_result(publisher, item);
                else if (item->kind == PUBLICATION_FORGET)
                        remove_keys(batch, item);
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
                stats->replayed += kind == PUBLICATION_REPLAY;
        }
        pthread_mutex_unlock(&publisher->mutex);
}

static void count_failed(struct publisher *publisher, enum producer_end end) {
        const char *message =
                publisher->sending.producer ? producer_message(publisher->sending.producer) : "";
        if (publisher->was_unfit)
                message = publisher->were_too_large > 0 ? "a record is larger than message.max.bytes"
                                                        : "memory is short";
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
        return producer_open(&producer, &publisher->sending.producer);
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
        if (!settles(item) && item->kind != PUBLICATION_PARK)
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
        audit_topic_end(publisher->sending.audit, there ? AUDIT_COMMITTED : AUDIT_LOST);
}

static void replace_producer(struct publisher *publisher) {
        publisher->sending.producer = producer_close(publisher->sending.producer);
        while (!atomic_load(&publisher->stop)) {
                struct error *error =
                        publisher->sending.producer ? NULL : open_producer(publisher, REOPEN_NS);
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

/* What topics take was asked for at the start, and is asked for again by the next one. */
static bool gives_up(struct publisher *publisher) {
        if (publisher->were_too_large < TOO_LARGE_MAX)
                return false;
        publisher->options.fail(
                publisher->options.complete_userdata,
                "a record is larger than its topic takes; was max.message.bytes made smaller? "
                "Start the worker again: it reads what topics take, and goes on from here");
        return true;
}

/* Publishes all that is in `working`. false: for good no more. */
static bool publish(struct publisher *publisher) {
        publisher->again_ns = AGAIN_MIN_NS;
        while (!atomic_load(&publisher->stop)) {
                if (!release_stale(publisher)) {
                        pause_for(publisher, publisher->again_ns);
                        continue;
                }
                if (publisher->working.count == 0)
                        return true;
                int64_t started_ns = clock_now_ns();
                enum producer_end end = transact(publisher);
                if (end == PRODUCER_COMMITTED) {
                        int64_t took_ns = clock_now_ns() - started_ns;
                        cadence_committed(&publisher->cadence, took_ns);
                        count_committed(publisher, took_ns);
                        audit_topic_end(publisher->sending.audit, AUDIT_COMMITTED);
                        if (!write_rows(publisher))
                                return false;
                        tell_owners(publisher);
                        release(publisher, is_committed);
                        publisher->in_transaction = 0;
                        continue;
                }
                count_failed(publisher, end);
                if (gives_up(publisher))
                        return false;
                if (end == PRODUCER_GONE)
                        replace_producer(publisher);
                else
                        audit_topic_end(publisher->sending.audit, AUDIT_ABORTED);
                pause_for(publisher, publisher->again_ns);
                publisher->again_ns =
                        publisher->again_ns * 2 < AGAIN_MAX_NS ? publisher->again_ns * 2 : AGAIN_MAX_NS;
        }
        return false;
}

/*
 * Under the mutex. The first part of a transaction is sent at half of the period, the second at its end, with
 * the commit. What takes a broker long is to begin: it looks up the transaction for the first records of each
 * partition. Opened much sooner, it would hold up what others have committed in these partitions.
 */
static int64_t due_ns(const struct publisher *publisher, int64_t part_of_two) {
        int64_t period_ns =
                cadence_period_ns(&publisher->cadence, publisher->options.interval_ns, publisher->busy_shard);
        return publisher->cut_ns + period_ns / 2 * part_of_two;
}

/* Under the mutex: until then, unless somebody is in a hurry. */
static void wait_until(struct publisher *publisher, int64_t until_ns) {
        struct timespec at = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
        while (!publisher->stopping && !publisher->flush && clock_now_ns() < until_ns)
                pthread_cond_timedwait(&publisher->cond, &publisher->mutex, &at);
}

/* Under the mutex: waits until there is something and its time has come. */
static void wait_for_items(struct publisher *publisher) {
        publisher->waiting = true;
        while (publisher->pending.count == 0 && !publisher->stopping)
                pthread_cond_wait(&publisher->cond, &publisher->mutex);
        publisher->waiting = false;
        wait_until(publisher, due_ns(publisher, 1));
}

/* Delivery reports know the items by their place, so there must be room for those that come. */
static bool make_room(struct publisher *publisher) {
        struct items *working = &publisher->working;
        size_t wanted = 4 * working->count + ROOM_MIN;
        return working->count < TRANSACTION_ITEMS_MAX &&
               array_reserve((void **)&working->items, &working->capacity,
                             wanted < TRANSACTION_ITEMS_MAX ? wanted : TRANSACTION_ITEMS_MAX,
                             sizeof(*working->items));
}

/* Under the mutex. All or nothing: what belongs together was submitted together. */
static void take_more(struct publisher *publisher) {
        struct items *working = &publisher->working, *pending = &publisher->pending;
        size_t count = working->count + pending->count;
        if (count > working->capacity || count > TRANSACTION_ITEMS_MAX)
                return;
        memcpy(working->items + working->count, pending->items, pending->count * sizeof(*pending->items));
        working->count = count;
        pending->count = 0;
}

/* Called and returns with the mutex held; it is let go meanwhile. */
static void send_ahead(struct publisher *publisher) {
        if (publisher->flush || clock_now_ns() >= due_ns(publisher, 2) || !make_room(publisher))
                return;
        publisher->ahead = true;
        pthread_mutex_unlock(&publisher->mutex);
        if (release_stale(publisher))
                send_on(publisher);
        pthread_mutex_lock(&publisher->mutex);
        wait_until(publisher, due_ns(publisher, 2));
        publisher->ahead = false;
        take_more(publisher);
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
                send_ahead(publisher);
                publisher->flush = false;
                pthread_mutex_unlock(&publisher->mutex);
                publisher->cut_ns = clock_now_ns();
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
        publisher->sending.marks = publisher->marks;
        publisher->sent_offsets = calloc(CONSUMER_PARTITIONS_MAX, sizeof(*publisher->sent_offsets));
        if (!publisher->batch || !publisher->states || !publisher->marks || !publisher->sent_offsets)
                return error_new(ERROR_MEMORY, "no memory for the publisher");
        struct audit_topic_options audit = {.topic = publisher->options.topic_audit,
                                            .partitions = publisher->options.audit_partitions,
                                            .writer = publisher->options.transactional_id,
                                            .store = publisher->options.store};
        struct error *error = audit.topic ? audit_topic_new(&audit, &publisher->sending.audit) : NULL;
        return error ? error : open_producer(publisher, OPEN_NS);
}

static void deinit(struct publisher *publisher) {
        struct items *lists[] = {&publisher->pending, &publisher->working};
        for (size_t i = 0; i < 2; i++) {
                for (size_t j = 0; j < lists[i]->count; j++)
                        publication_deinit(&lists[i]->items[j]);
                free(lists[i]->items);
        }
        producer_close(publisher->sending.producer);
        changelog_close(publisher->changelog);
        audit_topic_free(publisher->sending.audit);
        store_batch_free(publisher->batch);
        sending_deinit(&publisher->sending);
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
        sending_init(&publisher->sending, &publisher->options);
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

void publisher_pace(struct publisher *publisher, bool busy) {
        pthread_mutex_lock(&publisher->mutex);
        publisher->busy_shard = busy;
        pthread_mutex_unlock(&publisher->mutex);
}

void publisher_flush(struct publisher *publisher) {
        pthread_mutex_lock(&publisher->mutex);
        publisher->flush = publisher->pending.count > 0 || publisher->ahead;
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
