#include "broker/loop/committer.h"

#include "broker/base/array.h"
#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/loop/ahead.h"
#include "broker/loop/audit_log.h"
#include "broker/loop/dead_letter.h"
#include "broker/loop/noted.h"
#include "broker/loop/publisher.h"
#include "broker/loop/quota_rows.h"
#include "broker/loop/spend_book.h"
#include "broker/loop/spends.h"
#include "broker/loop/told.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TROUBLE_MESSAGE_MAX = 512 };
#define RETRY_NS     (500 * NS_PER_MS)
#define LINES_MAX    (SIZE_MAX / 4) /* bounded by the calls in flight times the largest answer */
#define SCRATCH_KEEP (4U << 20)     /* a larger buffer is given back after its batch */

struct intents {
        struct intent *items;
        size_t count, capacity;
};

/* A result of a job with zdr on its way to a pipe. */
struct unkept {
        struct key128 key;
        struct settled settled;
        struct begun_id begun;
};

struct committer {
        struct committer_options options;
        _Atomic(const struct catalog *) catalog; /* the last one */
        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        /* under the mutex */
        struct intents pending;
        struct spends spends;
        struct quota_rows quotas;
        struct source_state state;
        bool state_pending, stopping, busy;
        bool busy_shard; /* the shard is busy */
        bool catch_up;   /* at the next commit the store is to say all that the outputs say */
        bool pipe_gone;  /* the thread's own: lines for pipes stay in the store */
        bool waiting;    /* for work: then a signal is worth its price */
        struct completion *completions;
        size_t completions_count, completions_capacity;
        size_t promised; /* completions that are still to come */
        enum trouble trouble;
        char message[TROUBLE_MESSAGE_MAX];
        struct committer_stats stats;
        /* the thread's own */
        struct intents working;
        struct store_batch *batch;
        struct spends spending;
        struct quota_rows giving; /* not yet in a batch */
        struct ahead ahead;
        struct noted noted;
        struct buffer lines[SINKS_COUNT], scratch;
        struct key128 *published; /* bodies that a pipe has taken; dropped with the next batch */
        size_t published_count, published_capacity;
        struct unkept *unkept; /* lines that no store may hold: settled once the pipe has taken them */
        size_t unkept_count, unkept_capacity;
        bool unkept_lost;            /* a pipe has not taken such a line: no mark may pass its job */
        struct publisher *publisher; /* NULL: lines go to the sinks */
        struct publication *outgoing;
        size_t outgoing_count, outgoing_capacity;
        int64_t started_ns;
        struct spends told; /* the submitter's own: not yet submitted */
        struct quota_rows told_quotas;
};

static void set_trouble(struct committer *committer, enum trouble trouble, const char *message) {
        pthread_mutex_lock(&committer->mutex);
        committer->trouble = trouble;
        snprintf(committer->message, sizeof(committer->message), "%s", message);
        pthread_mutex_unlock(&committer->mutex);
        uint64_t one = 1;
        if (write(committer->options.event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
                CHECK(false);
}

static uint32_t sink_for(const struct committer *committer, const struct intent *intent) {
        bool failed = intent->outcome->failure != FAILURE_NONE;
        return failed && committer->options.sinks[SINK_ERRORS] ? SINK_ERRORS : SINK_RESULTS;
}

static bool is_private(const struct job_spec *job) {
        return job->demand.prefs.zdr;
}

/* The attempt stays open, with what it has cost in place of what it could have cost. */
static struct begun_id stage_cost(struct committer *committer, const struct intent *intent) {
        const struct outcome *outcome = intent->outcome;
        if (outcome->attempts == 0)
                return intent->begun;
        struct begun begun = {.key = intent->key,
                              .partition = STORE_NO_PARTITION,
                              .attempt = outcome->attempts,
                              .exposure_picousd = outcome->cost_known ? outcome->cost_picousd : -1};
        memcpy(begun.fingerprint, intent->job->fingerprint, sizeof(begun.fingerprint));
        if (outcome->decision.chosen)
                snprintf(begun.endpoint, sizeof(begun.endpoint), "%s",
                         told_catalog(outcome, atomic_load(&committer->catalog))
                                 ->endpoints[outcome->decision.chosen_endpoint]
                                 .name);
        store_batch_end(committer->batch, intent->begun);
        return store_batch_begin(committer->batch, &begun);
}

static void stage_unkept(struct committer *committer, const struct intent *intent,
                         const struct settled *settled) {
        if (!array_reserve((void **)&committer->unkept, &committer->unkept_capacity,
                           committer->unkept_count + 1, sizeof(struct unkept))) {
                committer->lines[settled->sink].failed = true;
                return;
        }
        committer->unkept[committer->unkept_count++] = (struct unkept){
                .key = intent->key, .settled = *settled, .begun = stage_cost(committer, intent)};
}

static void stage_settle(struct committer *committer, struct intent *intent) {
        struct settled settled;
        told_settled(intent, &settled);
        settled.sink = sink_for(committer, intent);
        struct buffer *lines = &committer->lines[settled.sink];
        size_t before = lines->size;
        told_result(intent, atomic_load(&committer->catalog), true, &committer->scratch, lines);
        settled.offset = sink_bytes(committer->options.sinks[settled.sink]) + before;
        settled.size = (uint32_t)(lines->size - before);
        if (sink_is_file(committer->options.sinks[settled.sink])) {
                ahead_settle(&committer->ahead, committer->batch, intent->key, &settled, intent->begun);
                return;
        }
        if (is_private(intent->job)) {
                stage_unkept(committer, intent, &settled);
                return;
        }
        store_batch_settle(committer->batch, intent->key, &settled, intent->begun);
        store_batch_body(committer->batch, intent->key,
                         (struct bytes){lines->data + lines->size - settled.size, settled.size});
        if (array_reserve((void **)&committer->published, &committer->published_capacity,
                          committer->published_count + 1, sizeof(struct key128)))
                committer->published[committer->published_count++] = intent->key;
}

/* The result as bought before stands in the store. */
static struct error *fetch_answer(struct committer *committer, struct publication *publication) {
        bool dead_letter, found;
        struct error *error =
                store_get_answer(committer->options.store, publication->partition, publication->key,
                                 &publication->settled, &dead_letter, &publication->value, &found);
        if (!error && !found)
                error = error_new(ERROR_CORRUPT,
                                  "an answer in the store has gone; run `batchferry state verify`");
        return error;
}

/*
 * A result on its way to the topics: what was bought becomes durable here first. What cost nothing need not:
 * it would come out the same again.
 */
static struct error *stage_answer(struct committer *committer, const struct intent *intent,
                                  struct publication *out_publication) {
        const struct origin *origin = intent->job->origin;
        *out_publication = (struct publication){.kind = PUBLICATION_RESULT,
                                                .partition = origin->partition,
                                                .epoch = origin->epoch,
                                                .offset = origin->record.offset,
                                                .handle = intent->handle,
                                                .key = intent->key,
                                                .begun = intent->begun,
                                                .job = intent->job,
                                                .outcome = intent->outcome,
                                                .reply = intent->reply};
        buffer_init(&out_publication->value, LINES_MAX);
        if (intent->outcome->journaled) {
                return fetch_answer(committer, out_publication);
        }
        told_settled(intent, &out_publication->settled);
        out_publication->settled.partition = origin->partition;
        out_publication->settled.offset = origin->record.offset;
        if (dead_letter_is(intent->job, intent->outcome)) {
                out_publication->kind = PUBLICATION_DEAD_LETTER;
                return NULL;
        }
        told_result(intent, atomic_load(&committer->catalog), false, &committer->scratch,
                    &out_publication->value);
        if (out_publication->value.failed)
                return error_new(ERROR_MEMORY, "no memory for a result");
        if (intent->outcome->attempts == 0)
                return NULL;
        struct answer_row row = {.key = intent->key,
                                 .settled = out_publication->settled,
                                 .value = is_private(intent->job) ? BYTES("")
                                                                  : buffer_view(&out_publication->value)};
        store_batch_answer(committer->batch, &row, intent->begun);
        out_publication->begun = (struct begun_id){0};
        return NULL;
}

static struct error *stage_publication(struct committer *committer, struct intent *intent) {
        if (!array_reserve((void **)&committer->outgoing, &committer->outgoing_capacity,
                           committer->outgoing_count + 1, sizeof(struct publication)))
                return error_new(ERROR_MEMORY, "no memory for a batch of results");
        struct publication *publication = &committer->outgoing[committer->outgoing_count++];
        if (intent->kind == INTENT_AUDIT) {
                *publication = (struct publication){.kind = PUBLICATION_AUDIT, .note = intent->note};
                intent->note = NULL;
                return NULL;
        }
        if (intent->kind == INTENT_PUBLISH) {
                *publication = *intent->publication;
                free(intent->publication);
                intent->publication = NULL;
                return NULL;
        }
        struct error *error = stage_answer(committer, intent, publication);
        intent->reply = (struct reply){0}; /* goes on with it */
        return error;
}

static struct error *stage_one(struct committer *committer, struct intent *intent) {
        switch (intent->kind) {
        case INTENT_OPEN:
                noted_end(&committer->noted, committer->batch, intent);
                if (intent->drops_answer)
                        store_batch_answer_drop(committer->batch, intent->open.partition, intent->open.key);
                intent->begun = store_batch_begin(committer->batch, &intent->open);
                return NULL;
        case INTENT_END:
                noted_end(&committer->noted, committer->batch, intent);
                store_batch_end(committer->batch, intent->begun);
                return NULL;
        case INTENT_NOTE:
                return noted_stage(&committer->noted, committer->batch, intent);
        case INTENT_SETTLE:
                noted_end(&committer->noted, committer->batch, intent);
                if (committer->publisher)
                        return stage_publication(committer, intent);
                stage_settle(committer, intent);
                return NULL;
        case INTENT_AUDIT:
                if (committer->publisher)
                        return stage_publication(committer, intent);
                audit_log_add(committer->options.audit, intent->note);
                free(intent->note);
                intent->note = NULL;
                return NULL;
        case INTENT_PUBLISH:
                return stage_publication(committer, intent);
        }
        CHECK(false);
}

static struct error *stage(struct committer *committer) {
        struct error *error = NULL;
        store_batch_clear(committer->batch);
        for (size_t i = 0; i < committer->published_count; i++)
                store_batch_body_drop(committer->batch, committer->published[i]);
        committer->published_count = 0;
        committer->unkept_count = 0;
        for (size_t i = 0; i < SINKS_COUNT; i++)
                buffer_clear(&committer->lines[i]);
        for (size_t i = 0; i < committer->working.count && !error; i++)
                error = stage_one(committer, &committer->working.items[i]);
        if (committer->spending.count > 0) {
                ahead_end(&committer->ahead, committer->batch);
                spends_stage(&committer->spending, atomic_load(&committer->catalog), committer->batch);
        }
        return error;
}

static void stage_state(struct committer *committer, struct source_state *state) {
        for (size_t i = 0; i < SINKS_COUNT; i++) {
                const struct sink *sink = committer->options.sinks[i];
                if (sink)
                        state->outputs_bytes[i] =
                                sink_bytes(sink) + (sink_is_file(sink) ? committer->lines[i].size : 0);
        }
        if (committer->unkept_lost) { /* every line is looked up again */
                state->offset = state->lines = state->sequence = 0;
                state->crc = 0;
                state->finished = false;
        }
        state->updated_unix_ms = clock_now_unix_ms();
        store_batch_source(committer->batch, committer->options.source_name, state);
}

/* Before anything is written: of a pipe, the store has the lines first. */
static struct error *check_lines(const struct committer *committer) {
        for (size_t i = 0; i < SINKS_COUNT; i++)
                if (committer->lines[i].failed)
                        return error_new(ERROR_MEMORY, "no memory for a batch of result lines");
        return NULL;
}

static struct error *append(struct committer *committer, bool files) {
        for (size_t i = 0; i < SINKS_COUNT; i++) {
                struct sink *sink = committer->options.sinks[i];
                struct buffer *lines = &committer->lines[i];
                if (!sink || sink_is_file(sink) != files || lines->size == 0)
                        continue;
                struct error *error = sink_append(sink, buffer_view(lines));
                if (!error && files)
                        error = sink_sync(sink);
                if (error)
                        return error;
                buffer_clear(lines); /* not again, if a later step fails and is tried again */
        }
        return NULL;
}

/* A pipe that failed takes nothing more. What it should have got is durable already. */
static void give_up_pipe(struct committer *committer, struct error *error) {
        if (!error)
                return;
        committer->pipe_gone = true;
        set_trouble(committer, TROUBLE_PIPE, error->message);
        error_free(error);
}

static struct error *write_batch(struct committer *committer) {
        int64_t started_ns = clock_now_ns();
        struct error *error = store_write(committer->options.store, committer->batch);
        if (error)
                return error;
        pthread_mutex_lock(&committer->mutex);
        histogram_observe(&committer->stats.writes, clock_now_ns() - started_ns);
        pthread_mutex_unlock(&committer->mutex);
        return NULL;
}

/* What the pipe has taken is settled; what it has not is of unknown outcome, and its cost is known. */
static struct error *settle_unkept(struct committer *committer) {
        for (size_t i = 0; i < committer->unkept_count && !committer->pipe_gone; i++) {
                const struct unkept *unkept = &committer->unkept[i];
                store_batch_settle(committer->batch, unkept->key, &unkept->settled, unkept->begun);
        }
        if (committer->pipe_gone && committer->unkept_count > 0)
                committer->unkept_lost = true;
        committer->unkept_count = 0;
        return store_batch_count(committer->batch) > 0 ? write_batch(committer) : NULL;
}

static struct error *commit_once(struct committer *committer) {
        struct error *error = check_lines(committer);
        if (!error && committer->options.audit)
                error = audit_log_commit(committer->options.audit);
        if (!error)
                error = append(committer, true);
        if (!error && store_batch_count(committer->batch) > 0)
                error = write_batch(committer);
        if (!error && !committer->pipe_gone)
                give_up_pipe(committer, append(committer, false));
        if (committer->pipe_gone)
                committer->published_count = 0; /* nothing to drop: the lines in the store are all there is */
        return error ? error : settle_unkept(committer);
}

/* Waits, under the mutex, at most until `until_ns`. */
static void wait_until(struct committer *committer, int64_t until_ns) {
        struct timespec at = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
        pthread_cond_timedwait(&committer->cond, &committer->mutex, &at);
}

/* true when it is durable. */
static bool commit(struct committer *committer) {
        int64_t give_up_ns = clock_now_ns() + committer->options.patience_ns;
        for (;;) {
                struct error *error = commit_once(committer);
                if (!error)
                        break;
                bool full = error->kind == ERROR_FULL, wait = full && clock_now_ns() < give_up_ns;
                if (full && !wait)
                        error = error_wrap(error, "no room after %lld s of waiting; make some and run again",
                                           (long long)(committer->options.patience_ns / NS_PER_S));
                set_trouble(committer, wait ? TROUBLE_FULL : TROUBLE_FAILED, error->message);
                error_free(error);
                if (!wait)
                        return false;
                pthread_mutex_lock(&committer->mutex);
                if (committer->stopping)
                        give_up_ns = 0;
                wait_until(committer, clock_now_ns() + committer->options.retry_ns);
                pthread_mutex_unlock(&committer->mutex);
        }
        pthread_mutex_lock(&committer->mutex);
        bool troubled = committer->trouble == TROUBLE_FULL; /* not what the publisher has met meanwhile */
        pthread_mutex_unlock(&committer->mutex);
        if (troubled)
                set_trouble(committer, TROUBLE_NONE, "");
        return true;
}

/* Under the mutex. Room was made by committer_submit(). */
static void tell(struct committer *committer, const struct completion *completion) {
        CHECK(committer->completions_count < committer->completions_capacity && committer->promised > 0);
        committer->completions[committer->completions_count++] = *completion;
        committer->promised--;
}

/* Under the mutex. */
static void complete(struct committer *committer) {
        for (size_t i = 0; i < committer->working.count; i++) {
                struct intent *intent = &committer->working.items[i];
                bool told = intent->kind == INTENT_OPEN ||
                            (intent->kind == INTENT_SETTLE && !committer->publisher);
                if (!told)
                        continue;
                struct completion completion = {
                        .kind = intent->kind, .handle = intent->handle, .begun = intent->begun};
                if (intent->kind == INTENT_SETTLE)
                        completion.reply = intent->reply;
                tell(committer, &completion);
        }
        committer->working.count = 0;
}

void committer_complete(void *userdata, const struct completion *completions, size_t count) {
        struct committer *committer = userdata;
        pthread_mutex_lock(&committer->mutex);
        for (size_t i = 0; i < count; i++)
                tell(committer, &completions[i]);
        pthread_mutex_unlock(&committer->mutex);
}

void committer_fail(void *userdata, const char *message) {
        set_trouble(userdata, TROUBLE_FAILED, message);
}

static struct error *hand_on(struct committer *committer) {
        if (committer->outgoing_count == 0)
                return NULL;
        if (!publisher_submit(committer->publisher, committer->outgoing, committer->outgoing_count))
                return error_new(ERROR_MEMORY, "no memory to publish %zu results", committer->outgoing_count);
        committer->outgoing_count = 0;
        return NULL;
}

static void give_back(struct buffer *buffer) {
        if (buffer->capacity <= SCRATCH_KEEP)
                return;
        buffer_deinit(buffer);
        buffer_init(buffer, LINES_MAX);
}

/* What limits have given is written with the attempts that may take it: other batches may need no sync. */
static bool opens(const struct committer *committer) {
        for (size_t i = 0; i < committer->working.count; i++)
                if (committer->working.items[i].kind == INTENT_OPEN)
                        return true;
        return false;
}

/* One batch; called and returns with the mutex held. false: it failed for good. */
static bool work(struct committer *committer) {
        struct intents taken = committer->pending;
        committer->pending = committer->working;
        committer->working = taken;
        bool catch_up = committer->catch_up;
        if (committer->state_pending)
                ahead_moved(&committer->ahead, &committer->state);
        committer->state_pending = committer->catch_up = false;
        spends_swap(&committer->spends, &committer->spending);
        bool told = quota_rows_merge(&committer->giving, &committer->quotas);
        committer->busy = true;
        pthread_mutex_unlock(&committer->mutex);
        committer->started_ns = clock_now_ns();
        struct error *error = told ? stage(committer) : error_new(ERROR_MEMORY, "no memory for a batch");
        if (!error && (catch_up || opens(committer)))
                quota_rows_stage(&committer->giving, committer->batch);
        if (ahead_due(&committer->ahead, committer->started_ns, catch_up))
                stage_state(committer, &committer->ahead.place);
        else if (catch_up)
                store_batch_catch_up(committer->batch);
        bool done = !error && commit(committer);
        error = done ? hand_on(committer) : error;
        if (error) {
                set_trouble(committer, TROUBLE_FAILED, error->message);
                error_free(error);
                done = false;
        }
        for (size_t i = 0; i < SINKS_COUNT; i++)
                give_back(&committer->lines[i]);
        give_back(&committer->scratch);
        pthread_mutex_lock(&committer->mutex);
        if (done)
                complete(committer);
        committer->busy = false;
        pthread_mutex_unlock(&committer->mutex); /* the shard takes it as soon as it wakes */
        uint64_t one = 1;
        if (write(committer->options.event_fd, &one, sizeof(one)) < 0)
                CHECK(errno == EAGAIN);
        pthread_mutex_lock(&committer->mutex);
        return done;
}

/* Under the mutex. */
static int64_t due_ns(const struct committer *committer) {
        const struct committer_options *options = &committer->options;
        return committer->started_ns +
               (committer->busy_shard ? options->spacing_busy_ns : options->spacing_ns);
}

static void *run(void *userdata) {
        struct committer *committer = userdata;
        pthread_setname_np(pthread_self(), "committer");
        bool well = true;
        pthread_mutex_lock(&committer->mutex);
        while (well) {
                committer->waiting = true;
                while (committer->pending.count == 0 && !committer->state_pending && !committer->stopping)
                        pthread_cond_wait(&committer->cond, &committer->mutex);
                committer->waiting = false;
                if (committer->pending.count == 0 && !committer->state_pending)
                        break;
                while (!committer->stopping && clock_now_ns() < due_ns(committer))
                        wait_until(committer, due_ns(committer));
                well = work(committer);
        }
        pthread_mutex_unlock(&committer->mutex);
        if (well && committer->published_count > 0) { /* else the lines may not be where they belong */
                error_free(stage(committer));         /* of bodies to be dropped: cannot fail */
                commit(committer);
        }
        return NULL;
}

void committer_follow(struct committer *committer, const struct catalog *catalog) {
        atomic_store(&committer->catalog, catalog);
}

void committer_pace(struct committer *committer, bool busy) {
        pthread_mutex_lock(&committer->mutex);
        bool changed = committer->busy_shard != busy;
        committer->busy_shard = busy;
        struct publisher *publisher = committer->publisher;
        pthread_mutex_unlock(&committer->mutex);
        if (changed)
                pthread_cond_signal(&committer->cond);
        if (publisher)
                publisher_pace(publisher, busy);
}

void committer_catch_up(struct committer *committer) {
        pthread_mutex_lock(&committer->mutex);
        committer->catch_up = true;
        pthread_mutex_unlock(&committer->mutex);
}

void committer_publish_to(struct committer *committer, struct publisher *publisher) {
        pthread_mutex_lock(&committer->mutex);
        committer->publisher = publisher;
        bool busy = committer->busy_shard;
        pthread_mutex_unlock(&committer->mutex);
        publisher_pace(publisher, busy);
}

struct error *committer_new(const struct committer_options *options, struct committer **out_committer) {
        struct committer *committer = calloc(1, sizeof(*committer));
        if (!committer)
                return error_new(ERROR_MEMORY, "no memory for the committer");
        committer->options = *options;
        atomic_init(&committer->catalog, options->catalog);
        if (committer->options.retry_ns == 0)
                committer->options.retry_ns = RETRY_NS;
        committer->batch = store_batch_new(options->store);
        ahead_init(&committer->ahead, options->sinks, SINKS_COUNT);
        for (size_t i = 0; i < SINKS_COUNT; i++)
                buffer_init(&committer->lines[i], LINES_MAX);
        buffer_init(&committer->scratch, LINES_MAX);
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&committer->cond, &attributes);
        pthread_condattr_destroy(&attributes);
        pthread_mutex_init(&committer->mutex, NULL);
        int code = committer->batch ? pthread_create(&committer->thread, NULL, run, committer) : ENOMEM;
        if (code) {
                store_batch_free(committer->batch);
                pthread_cond_destroy(&committer->cond);
                pthread_mutex_destroy(&committer->mutex);
                free(committer);
                return error_errno(code, "cannot start the committer");
        }
        *out_committer = committer;
        return NULL;
}

struct committer *committer_free(struct committer *committer) {
        if (!committer)
                return NULL;
        pthread_mutex_lock(&committer->mutex);
        committer->stopping = true;
        pthread_cond_signal(&committer->cond);
        pthread_mutex_unlock(&committer->mutex);
        pthread_join(committer->thread, NULL);
        struct intents *lists[] = {&committer->pending, &committer->working};
        for (size_t i = 0; i < 2; i++) {
                for (size_t j = 0; j < lists[i]->count; j++)
                        intent_deinit(&lists[i]->items[j]);
                free(lists[i]->items);
        }
        for (size_t i = 0; i < committer->outgoing_count; i++)
                publication_deinit(&committer->outgoing[i]);
        free(committer->outgoing);
        for (size_t i = 0; i < SINKS_COUNT; i++)
                buffer_deinit(&committer->lines[i]);
        buffer_deinit(&committer->scratch);
        store_batch_free(committer->batch);
        for (size_t i = 0; i < committer->completions_count; i++)
                reply_deinit(&committer->completions[i].reply);
        free(committer->completions);
        free(committer->published);
        noted_deinit(&committer->noted);
        spends_deinit(&committer->told);
        spends_deinit(&committer->spends);
        spends_deinit(&committer->spending);
        quota_rows_deinit(&committer->told_quotas);
        quota_rows_deinit(&committer->quotas);
        quota_rows_deinit(&committer->giving);
        free(committer->unkept);
        pthread_cond_destroy(&committer->cond);
        pthread_mutex_destroy(&committer->mutex);
        free(committer);
        return NULL;
}

static size_t count_promised(const struct intent *intents, size_t count) {
        size_t promised = 0;
        for (size_t i = 0; i < count; i++) {
                enum intent_kind kind = intents[i].kind;
                promised += kind == INTENT_OPEN || kind == INTENT_SETTLE ||
                            (kind == INTENT_PUBLISH && intents[i].publication->kind == PUBLICATION_SPEND);
        }
        return promised;
}

/* Room for all subjects in each of the three places, from the first time that one is told. */
static bool make_spends(struct committer *committer) {
        struct spends made[3] = {{0}};
        bool well = true;
        for (size_t i = 0; i < 3; i++)
                well = spends_init(&made[i], BUDGET_LASTING_MAX) && well;
        for (size_t i = 0; i < 3 && !well; i++)
                spends_deinit(&made[i]);
        if (!well)
                return false;
        committer->told = made[0];
        pthread_mutex_lock(&committer->mutex);
        committer->spends = made[1];
        committer->spending = made[2]; /* the thread's own, which has none to take yet */
        pthread_mutex_unlock(&committer->mutex);
        return true;
}

bool committer_spend(struct committer *committer, uint32_t subject, const struct budget_spend *spend) {
        if (!committer->told.rows && !make_spends(committer))
                return false;
        spends_put(&committer->told, subject, spend);
        return true;
}

bool committer_quota(struct committer *committer, const struct quota_row *row) {
        return quota_rows_put(&committer->told_quotas, row);
}

bool committer_submit(struct committer *committer, const struct intent *intents, size_t count,
                      const struct source_state *state) {
        pthread_mutex_lock(&committer->mutex);
        struct intents *pending = &committer->pending;
        size_t promised = committer->promised + count_promised(intents, count);
        size_t completions = committer->completions_count + promised;
        bool room = array_reserve((void **)&pending->items, &pending->capacity, pending->count + count,
                                  sizeof(struct intent)) &&
                    array_reserve((void **)&committer->completions, &committer->completions_capacity,
                                  completions, sizeof(struct completion)) &&
                    quota_rows_merge(&committer->quotas, &committer->told_quotas);
        if (room) {
                if (count)
                        memcpy(pending->items + pending->count, intents, count * sizeof(*intents));
                pending->count += count;
                committer->promised = promised;
                if (state) {
                        committer->state = *state;
                        committer->state_pending = true;
                }
                spends_merge(&committer->spends, &committer->told);
        }
        bool wake = room && committer->waiting;
        pthread_mutex_unlock(&committer->mutex);
        if (wake)
                pthread_cond_signal(&committer->cond);
        return room;
}

size_t committer_take(struct committer *committer, struct completion *out_completions, size_t max) {
        pthread_mutex_lock(&committer->mutex);
        size_t count = committer->completions_count < max ? committer->completions_count : max;
        if (count) {
                memcpy(out_completions, committer->completions, count * sizeof(*out_completions));
                committer->completions_count -= count;
                memmove(committer->completions, committer->completions + count,
                        committer->completions_count * sizeof(*out_completions));
        }
        pthread_mutex_unlock(&committer->mutex);
        return count;
}

bool committer_idle(struct committer *committer) {
        pthread_mutex_lock(&committer->mutex);
        bool idle = !committer->busy && committer->pending.count == 0 && !committer->state_pending &&
                    committer->completions_count == 0 && committer->promised == 0;
        pthread_mutex_unlock(&committer->mutex);
        return idle;
}

bool committer_durable(struct committer *committer) {
        pthread_mutex_lock(&committer->mutex);
        bool durable = !committer->busy && committer->pending.count == 0 && !committer->state_pending;
        pthread_mutex_unlock(&committer->mutex);
        return durable;
}

void committer_get_stats(struct committer *committer, struct committer_stats *out_stats) {
        pthread_mutex_lock(&committer->mutex);
        *out_stats = committer->stats;
        pthread_mutex_unlock(&committer->mutex);
}

enum trouble committer_trouble(struct committer *committer, char *out_message, size_t message_size) {
        pthread_mutex_lock(&committer->mutex);
        enum trouble trouble = committer->trouble;
        if (trouble != TROUBLE_NONE)
                snprintf(out_message, message_size, "%s", committer->message);
        pthread_mutex_unlock(&committer->mutex);
        return trouble;
}
