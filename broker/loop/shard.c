#include "broker/loop/shard.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/time.h"
#include "broker/loop/audit_watch.h"
#include "broker/loop/busy.h"
#include "broker/loop/known.h"
#include "broker/loop/publisher.h"
#include "broker/loop/quota_book.h"
#include "broker/loop/spend_book.h"
#include "broker/wire/job.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
        TURN_ANSWERS_MAX = 512, /* gathered in a turn, so that a turn stays short */
        TURN_COMPLETIONS_MAX = 2048,
        TURN_LOOK_UPS_MAX = 256,
        TURN_EVENTS_MAX = TURN_ANSWERS_MAX + TURN_COMPLETIONS_MAX + TURN_LOOK_UPS_MAX + SHARD_TAKE_MAX + 2,
        TURN_COMMANDS_MAX = 2 * TURN_EVENTS_MAX + 4096,
        TRACE_TEXT_MAX = 64 << 10,
        /* an OPEN may end an attempt too; the rest are notes for the audit */
        INTENTS_MAX = 2 * TURN_COMMANDS_MAX + TURN_COMMANDS_MAX + TURN_EVENTS_MAX,
};
#define PROGRESS_NS       (50 * NS_PER_MS)
#define STUCK_PATIENCE_NS (60 * NS_PER_S) /* a provider paused for longer is somebody's business */
#define SLEEP_MAX_NS      NS_PER_S

struct slot {
        struct begun_id begun; /* the open attempt, or the one of unknown outcome that the store told of */
        bool unkept_answer;    /* the store told of an answer whose value it does not hold */
};

struct look_up {
        struct handle handle;
        struct key128 key;
        const struct job_spec *job;
};

struct shard {
        struct shard_options options;
        struct engine *engine;
        struct calls *calls;
        struct committer *committer;
        struct audit_watch *watch; /* NULL: not audited */
        int epoll_fd, event_fd;
        bool held, intake_holds;
        bool completions_left; /* more than a turn takes */
        enum trouble trouble;
        _Atomic int stop; /* 1 drain, 2 stop */
        size_t payload_bytes;
        size_t settling_bytes; /* of replies that the committer has */
        struct error *error; /* of the intake or a look-up: ends the run when what is under way is durable */

        struct slot *slots;
        struct event *events;
        size_t events_count;
        struct called *called;
        size_t called_count;
        struct completion *completions;
        struct commands commands;
        struct look_up *look_ups;
        size_t look_ups_count;
        struct key128 *look_up_keys;
        uint32_t *look_up_partitions;
        struct store_record *look_up_records;
        struct intent *intents;
        size_t intents_count;

        pthread_mutex_t mutex;
        struct shard_reload reload;     /* under the mutex */
        atomic_bool reloads;            /* it is to be taken */
        struct shard_progress progress; /* under the mutex */
        int64_t progress_ns;
        struct busy busy;
};

static struct engine_time read_clock(void) {
        return (struct engine_time){.now_ns = clock_now_ns(), .now_unix_ms = clock_now_unix_ms()};
}

static void free_arrays(struct shard *shard) {
        free(shard->slots);
        free(shard->events);
        free(shard->called);
        free(shard->completions);
        free(shard->commands.items);
        free(shard->look_ups);
        free(shard->look_up_keys);
        free(shard->look_up_partitions);
        free(shard->look_up_records);
        free(shard->intents);
}

struct shard *shard_free(struct shard *shard) {
        if (!shard)
                return NULL;
        calls_close(shard->calls);
        audit_watch_free(shard->watch);
        committer_free(shard->committer);
        if (shard->engine)
                engine_each_job(shard->engine, shard->options.intake_ops->free_job, shard->options.intake);
        engine_free(shard->engine);
        job_decoder_free(shard->reload.decoder);
        if (shard->epoll_fd >= 0)
                close(shard->epoll_fd);
        if (shard->event_fd >= 0)
                close(shard->event_fd);
        for (size_t i = 0; i < shard->intents_count; i++)
                intent_deinit(&shard->intents[i]);
        error_free(shard->error);
        free_arrays(shard);
        pthread_mutex_destroy(&shard->mutex);
        free(shard);
        return NULL;
}

static bool make_arrays(struct shard *shard) {
        shard->slots = calloc(shard->options.engine.jobs_max, sizeof(*shard->slots));
        shard->events = calloc(TURN_EVENTS_MAX, sizeof(*shard->events));
        shard->called = calloc(TURN_ANSWERS_MAX, sizeof(*shard->called));
        shard->completions = calloc(TURN_COMPLETIONS_MAX, sizeof(*shard->completions));
        shard->commands.capacity = TURN_COMMANDS_MAX;
        shard->commands.items = calloc(TURN_COMMANDS_MAX, sizeof(*shard->commands.items));
        /*
         * a job inside has one at most; conflicts are looked up twice, so more can come up than a turn asks
         */
        shard->look_ups = calloc(shard->options.engine.jobs_max, sizeof(*shard->look_ups));
        shard->look_up_keys = calloc(TURN_LOOK_UPS_MAX, sizeof(*shard->look_up_keys));
        shard->look_up_partitions = calloc(TURN_LOOK_UPS_MAX, sizeof(*shard->look_up_partitions));
        shard->look_up_records = calloc(TURN_LOOK_UPS_MAX, sizeof(*shard->look_up_records));
        shard->intents = calloc(INTENTS_MAX, sizeof(*shard->intents));
        return shard->slots && shard->events && shard->called && shard->completions &&
               shard->commands.items && shard->look_ups && shard->look_up_keys && shard->look_up_partitions &&
               shard->look_up_records && shard->intents;
}

static struct error *watch(struct shard *shard, int fd) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(shard->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EPERM && errno != EEXIST)
                return error_errno(errno, "cannot wait for events");
        return NULL;
}

static void take_note(void *userdata, struct audit_note *note) {
        shard_intend(userdata, INTENT_AUDIT)->note = note;
}

static struct error *open_watch(struct shard *shard) {
        const struct shard_options *options = &shard->options;
        struct audit_watch_options watch = {.catalog = options->catalog,
                                            .slots = options->engine.jobs_max,
                                            .ended = options->audit_ended,
                                            .ended_userdata = options->audit_userdata,
                                            .tell = take_note,
                                            .tell_userdata = shard};
        if (!options->audited)
                return NULL;
        shard->watch = audit_watch_new(&watch);
        return shard->watch ? NULL : error_new(ERROR_MEMORY, "no memory for the audit");
}

static struct error *open_parts(struct shard *shard) {
        struct shard_options *options = &shard->options;
        options->calls.catalog = options->committer.catalog = options->catalog;
        options->calls.slots = options->engine.jobs_max;
        options->committer.event_fd = shard->event_fd;
        shard->engine = engine_new(options->catalog, &options->engine, read_clock());
        if (!shard->engine || !make_arrays(shard))
                return error_new(ERROR_MEMORY, "no memory for %u jobs", options->engine.jobs_max);
        struct error *error = open_watch(shard);
        if (!error)
                error = calls_open(&options->calls, &shard->calls);
        if (!error)
                error = committer_new(&options->committer, &shard->committer);
        if (!error)
                error = watch(shard, shard->event_fd);
        if (!error)
                error = watch(shard, calls_http_fd(shard->calls));
        if (!error)
                error = watch(shard, calls_fetch_fd(shard->calls));
        return error;
}

struct error *shard_new(const struct shard_options *options, struct shard **out_shard) {
        struct shard *shard = calloc(1, sizeof(*shard));
        if (!shard)
                return error_new(ERROR_MEMORY, "no memory for a shard");
        shard->options = *options;
        pthread_mutex_init(&shard->mutex, NULL);
        shard->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        shard->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct error *error = NULL;
        if (shard->epoll_fd < 0 || shard->event_fd < 0)
                error = error_errno(errno, "cannot make an event loop");
        else
                error = open_parts(shard);
        if (error) {
                shard_free(shard);
                return error;
        }
        *out_shard = shard;
        return NULL;
}

static struct event *add_event(struct shard *shard, enum event_kind kind, struct handle handle) {
        CHECK(shard->events_count < TURN_EVENTS_MAX);
        struct event *event = &shard->events[shard->events_count++];
        *event = (struct event){.kind = kind, .handle = handle};
        return event;
}

static size_t reply_bytes(const struct reply *reply) {
        return reply->headers.capacity + reply->body.capacity;
}

static void gather_completions(struct shard *shard) {
        size_t count = committer_take(shard->committer, shard->completions, TURN_COMPLETIONS_MAX);
        shard->completions_left = count == TURN_COMPLETIONS_MAX;
        for (size_t i = 0; i < count; i++) {
                struct completion *completion = &shard->completions[i];
                shard->settling_bytes -= reply_bytes(&completion->reply);
                reply_deinit(&completion->reply);
                if (completion->kind == INTENT_PUBLISH) {
                        engine_spend_told(shard->engine, completion->partition, completion->word,
                                          completion->stands);
                        continue;
                }
                bool opened = completion->kind == INTENT_OPEN;
                if (opened)
                        shard->slots[completion->handle.slot].begun = completion->begun;
                add_event(shard, opened ? EVENT_OPENED : EVENT_SETTLED, completion->handle);
        }
}

static void gather_answers(struct shard *shard) {
        shard->called_count = calls_poll(shard->calls, shard->called, TURN_ANSWERS_MAX);
        for (size_t i = 0; i < shard->called_count; i++) {
                const struct called *called = &shard->called[i];
                add_event(shard, EVENT_ANSWER, called->handle)->answer = &called->answer;
                if (shard->watch)
                        audit_watch_answered(shard->watch, called->handle.slot, &called->answer);
        }
}

/* Lines have no origin. */
static uint32_t partition_of(const struct job_spec *job) {
        return job->origin ? job->partition : STORE_NO_PARTITION;
}

/* What ends with the next attempt. */
static void remember(struct slot *slot, const struct store_record *record) {
        slot->begun = (struct begun_id){0};
        slot->unkept_answer = record->found == STORE_ANSWERED && !record->kept;
        if (record->found == STORE_UNKNOWN)
                slot->begun = record->begun_id;
}

static struct error *gather_look_ups(struct shard *shard) {
        size_t count = shard->look_ups_count < TURN_LOOK_UPS_MAX ? shard->look_ups_count : TURN_LOOK_UPS_MAX;
        if (count == 0)
                return NULL;
        for (size_t i = 0; i < count; i++) {
                shard->look_up_keys[i] = shard->look_ups[i].key;
                shard->look_up_partitions[i] = partition_of(shard->look_ups[i].job);
        }
        struct error *error = store_look_up_many(shard->options.committer.store, shard->look_up_keys,
                                                 shard->look_up_partitions, count, shard->look_up_records);
        if (error)
                return error;
        for (size_t i = 0; i < count; i++) {
                const struct look_up *look_up = &shard->look_ups[i];
                struct event *event = add_event(shard, EVENT_LOOKED_UP, look_up->handle);
                if (shard->options.intake_ops->looked_up)
                        shard->options.intake_ops->looked_up(shard->options.intake, look_up->job,
                                                             !key128_equal(look_up->key, look_up->job->key),
                                                             &shard->look_up_records[i]);
                if (shard->watch)
                        audit_watch_looked_up(shard->watch, look_up->handle.slot, look_up->job,
                                              &shard->look_up_records[i]);
                event->known = known_from(&shard->look_up_records[i], look_up->job);
                remember(&shard->slots[look_up->handle.slot], &shard->look_up_records[i]);
        }
        shard->look_ups_count -= count;
        memmove(shard->look_ups, shard->look_ups + count, shard->look_ups_count * sizeof(*shard->look_ups));
        return NULL;
}

bool shard_stopping(const struct shard *shard) {
        return shard->error || atomic_load(&shard->stop) > 0;
}

bool shard_has_room(const struct shard *shard) {
        return !shard_stopping(shard) && engine_room(shard->engine) > SHARD_TAKE_MAX &&
               shard_payload_bytes(shard) < shard->options.memory_max;
}

void shard_take(struct shard *shard, struct job_spec *job) {
        shard->payload_bytes += job->memory_bytes;
        calls_measure(shard->calls, job);
        add_event(shard, EVENT_JOB, (struct handle){0})->job = job;
}

struct error *shard_watch_once(struct shard *shard, int fd, bool watched) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};
        if (epoll_ctl(shard->epoll_fd, watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
                return error_errno(errno, "epoll");
        return NULL;
}

struct intent *shard_intend(struct shard *shard, enum intent_kind kind) {
        CHECK(shard->intents_count < INTENTS_MAX);
        struct intent *intent = &shard->intents[shard->intents_count++];
        *intent = (struct intent){.kind = kind};
        return intent;
}

size_t shard_intents(const struct shard *shard) {
        return shard->intents_count;
}

static struct intent *add_intent(struct shard *shard, enum intent_kind kind, const struct command *command) {
        struct intent *intent = shard_intend(shard, kind);
        struct slot *slot = &shard->slots[command->handle.slot];
        intent->handle = command->handle;
        intent->key = command->key;
        intent->job = command->job;
        intent->begun = slot->begun;
        slot->begun = (struct begun_id){0};
        return intent;
}

/* The row of the attempt that the command opens or notes. */
static void describe(const struct shard *shard, const struct command *command, struct begun *out_begun) {
        const struct catalog *catalog = shard->options.catalog;
        const struct endpoint *endpoint = &catalog->endpoints[command->endpoint];
        *out_begun = (struct begun){.key = command->key,
                                    .partition = partition_of(command->job),
                                    .attempt = command->attempt,
                                    .exposure_picousd = command->exposure_picousd,
                                    .holds = command->hold.any || command->kind == COMMAND_NOTE,
                                    .hold_day = command->hold.day,
                                    .hold_picousd = command->hold.picousd};
        memcpy(out_begun->fingerprint, command->job->fingerprint, sizeof(out_begun->fingerprint));
        memcpy(out_begun->endpoint, endpoint->name, /* zeros behind it */
               strnlen(endpoint->name, sizeof(out_begun->endpoint) - 1));
        if (!command->hold.any)
                return;
        if (catalog->workspaces_count > 0)
                out_begun->workspace = bytes_of(catalog->workspaces[command->job->demand.workspace].name);
        if (budget_provider_subject(catalog, command->endpoint) != BUDGET_NO_SUBJECT)
                out_begun->provider = bytes_of(catalog->providers[endpoint->provider].name);
}

static void note_attempt(struct shard *shard, const struct command *command) {
        struct intent *intent = add_intent(shard, INTENT_NOTE, command);
        describe(shard, command, &intent->open);
}

static void open_attempt(struct shard *shard, const struct command *command) {
        /* the attempt of unknown outcome that this one follows ends with it */
        if (shard->slots[command->handle.slot].begun.block)
                add_intent(shard, INTENT_END, command);
        struct intent *intent = add_intent(shard, INTENT_OPEN, command);
        describe(shard, command, &intent->open);
        intent->drops_answer = shard->slots[command->handle.slot].unkept_answer;
        shard->slots[command->handle.slot].unkept_answer = false;
}

static void settle(struct shard *shard, const struct command *command) {
        struct intent *intent = add_intent(shard, INTENT_SETTLE, command);
        intent->outcome = command->outcome;
        calls_take_reply(shard->calls, command->handle.slot, &intent->reply);
        shard->settling_bytes += reply_bytes(&intent->reply);
        if (shard->options.intake_ops->settling)
                shard->options.intake_ops->settling(shard->options.intake, intent);
}

static void forget(struct shard *shard, const struct command *command) {
        shard->payload_bytes -= command->job->memory_bytes;
        shard->options.intake_ops->forgotten(shard->options.intake, shard, command);
}

static void carry_out(struct shard *shard, const struct command *command) {
        if (shard->watch)
                audit_watch_command(shard->watch, command);
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                CHECK(shard->look_ups_count < shard->options.engine.jobs_max);
                shard->look_ups[shard->look_ups_count++] =
                        (struct look_up){.handle = command->handle, .key = command->key, .job = command->job};
                return;
        case COMMAND_OPEN:
                open_attempt(shard, command);
                return;
        case COMMAND_CALL:
                calls_start(shard->calls, command);
                return;
        case COMMAND_END:
                add_intent(shard, INTENT_END, command);
                return;
        case COMMAND_NOTE:
                note_attempt(shard, command);
                return;
        case COMMAND_SETTLE:
                settle(shard, command);
                return;
        case COMMAND_FORGET:
                forget(shard, command);
                return;
        }
        CHECK(false);
}

static void keep_spend(void *userdata, const struct spend_news *news) {
        struct shard *shard = userdata;
        uint32_t subject = budget_lasting(shard->options.catalog, news->subject);
        if (!committer_spend(shard->committer, subject, news->spend) && !shard->error)
                shard->error = error_new(ERROR_MEMORY, "no memory for what was spent");
}

static void keep_quota(void *userdata, const struct quota_use *use) {
        struct shard *shard = userdata;
        struct quota_row row = quota_row_of(shard->options.catalog, use);
        if (!committer_quota(shard->committer, &row) && !shard->error)
                shard->error = error_new(ERROR_MEMORY, "no memory for what limits have given");
}

static struct error *hand_over(struct shard *shard) {
        const struct source_state *state = shard->options.intake_ops->moved(shard->options.intake, shard);
        if (shard->intents_count == 0)
                return NULL;
        if (!shard->options.engine.by_partition) /* else they are the intake's matter */
                engine_spend_take(shard->engine, SIZE_MAX, keep_spend, shard);
        engine_quotas_take(shard->engine, keep_quota, shard);
        if (!committer_submit(shard->committer, shard->intents, shard->intents_count, state))
                return error_new(ERROR_MEMORY, "no memory to make %zu results durable", shard->intents_count);
        shard->intents_count = 0;
        return NULL;
}

void shard_revoke(struct shard *shard, bool (*gone)(void *userdata, const struct job_spec *job),
                  void *userdata) {
        bool all = false;
        while (!all) {
                shard->commands.count = 0;
                all = engine_revoke(shard->engine, read_clock(), gone, userdata, &shard->commands);
                for (size_t i = 0; i < shard->commands.count; i++)
                        carry_out(shard, &shard->commands.items[i]);
                struct error *error = hand_over(shard); /* ends of attempts: as many as jobs */
                if (error && !shard->error)
                        shard->error = error;
                else
                        error_free(error);
        }
}

void shard_hold(struct shard *shard, bool held) {
        shard->intake_holds = held;
}

void shard_share(struct shard *shard, const struct limit_part *parts, size_t count, uint32_t whole) {
        engine_share(shard->engine, read_clock(), parts, count, whole);
}

void shard_release(struct shard *shard, uint32_t part,
                   void (*each)(void *userdata, const struct quota_use *use), void *userdata) {
        engine_release(shard->engine, read_clock(), part, each, userdata);
}

void shard_quotas_load(struct shard *shard, const struct quota_use *uses, size_t count) {
        engine_quotas_load(shard->engine, read_clock(), uses, count);
}

/* Why nothing has succeeded yet, as far as a provider said. */
static const char *first_error(const struct shard *shard) {
        if (engine_stats(shard->engine)->succeeded > 0)
                return "";
        for (uint32_t i = 0; i < shard->options.catalog->endpoints_count; i++) {
                const struct endpoint_stats *stats = engine_endpoint_stats(shard->engine, i);
                if (stats->last_error[0])
                        return stats->last_error;
        }
        return "";
}

static void publish_progress(struct shard *shard, int64_t now_ns, bool now) {
        if (!now && now_ns - shard->progress_ns < PROGRESS_NS)
                return;
        shard->progress_ns = now_ns;
        pthread_mutex_lock(&shard->mutex);
        shard->progress.stats = *engine_stats(shard->engine);
        shard->options.intake_ops->progress(shard->options.intake, &shard->progress);
        shard->progress.calls_in_flight = calls_in_flight(shard->calls);
        snprintf(shard->progress.last_error, sizeof(shard->progress.last_error), "%s", first_error(shard));
        pthread_mutex_unlock(&shard->mutex);
        if (shard->options.report)
                shard->options.report(shard->options.report_userdata);
}

static struct error *watch_trouble(struct shard *shard) {
        char message[512] = "";
        enum trouble trouble = committer_trouble(shard->committer, message, sizeof(message));
        /*
         * no new calls while their answers could not be kept: the disk is full, or slower than the providers
         */
        bool hold = trouble == TROUBLE_FULL || shard->settling_bytes > shard->options.memory_max / 2 ||
                    shard->intake_holds;
        if (hold != shard->held) {
                shard->held = hold;
                engine_hold(shard->engine, hold);
        }
        shard->trouble = trouble;
        if (trouble == TROUBLE_PIPE && !shard->error)
                shard->error = error_new(ERROR_IO, "%s", message);
        pthread_mutex_lock(&shard->mutex);
        shard->progress.trouble = trouble;
        if (trouble != TROUBLE_NONE)
                snprintf(shard->progress.message, sizeof(shard->progress.message), "%s", message);
        pthread_mutex_unlock(&shard->mutex);
        return trouble == TROUBLE_FAILED ? error_new(ERROR_IO, "%s", message) : NULL;
}

static void gather(struct shard *shard) {
        shard->events_count = 0;
        gather_completions(shard);
        gather_answers(shard);
        if (!shard->error)
                shard->error = gather_look_ups(shard);
        if (!shard->error)
                shard->error = shard->options.intake_ops->gather(shard->options.intake, shard);
}

/* The answers of this turn whose jobs go on. */
static struct error *end_watch(struct shard *shard) {
        for (size_t i = 0; i < shard->called_count; i++)
                audit_watch_turned(shard->watch, shard->called[i].handle.slot);
        return audit_watch_failed(shard->watch) ? error_new(ERROR_MEMORY, "no memory for audit records")
                                                : NULL;
}

/* When memory is refused, again in the next turn: until then the one before is in force. */
static void take_reload(struct shard *shard) {
        struct shard_reload reload;
        if (!atomic_load(&shard->reloads))
                return;
        pthread_mutex_lock(&shard->mutex);
        reload = shard->reload;
        bool taken =
                engine_reload(shard->engine, read_clock(), reload.catalog, &reload.engine, reload.spends);
        if (taken) {
                engine_quotas_load(shard->engine, read_clock(), reload.quotas, reload.quotas_count);
                shard->reload.decoder = NULL;
                atomic_store(&shard->reloads, false);
        }
        pthread_mutex_unlock(&shard->mutex);
        if (!taken)
                return;
        shard->options.catalog = reload.catalog;
        calls_follow(shard->calls, reload.catalog, reload.dialects, reload.keys);
        committer_follow(shard->committer, reload.catalog);
        if (shard->watch)
                audit_watch_follow(shard->watch, reload.catalog);
        struct job_decoder **decoder = shard->options.intake_ops->decoder(shard->options.intake);
        job_decoder_free(*decoder);
        *decoder = reload.decoder;
        if (shard->options.intake_ops->reloaded)
                shard->options.intake_ops->reloaded(shard->options.intake, shard);
}

static struct error *turn(struct shard *shard) {
        take_reload(shard);
        gather(shard);
        struct error *error = watch_trouble(shard);
        if (error || shard->error || atomic_load(&shard->stop) > 0)
                engine_drain(shard->engine);
        struct engine_time now = read_clock();
        shard->commands.count = 0;
        engine_step(shard->engine, now, shard->events, shard->events_count, &shard->commands);
        for (size_t i = 0; i < shard->commands.count; i++)
                carry_out(shard, &shard->commands.items[i]);
        if (shard->watch && !error)
                error = end_watch(shard);
        publish_progress(shard, now.now_ns, false);
        return error ? error : hand_over(shard);
}

static int sleep_ms(struct shard *shard) {
        if (shard->completions_left || (shard->look_ups_count > 0 && !shard->error))
                return 0;
        int64_t until_ns = engine_wake_ns(shard->engine), calls_ns = calls_wake_ns(shard->calls);
        int64_t intake_ns = shard->options.intake_ops->wake_ns(shard->options.intake, shard);
        until_ns = min64(until_ns, min64(calls_ns, intake_ns));
        int64_t ns = until_ns == INT64_MAX ? SLEEP_MAX_NS : until_ns - clock_now_ns();
        if (ns <= 0)
                return 0;
        return (int)(((ns < SLEEP_MAX_NS ? ns : SLEEP_MAX_NS) + NS_PER_MS - 1) / NS_PER_MS);
}

static void wait_for_events(struct shard *shard) {
        struct epoll_event events[8];
        int64_t before_ns = clock_now_ns();
        int count = epoll_wait(shard->epoll_fd, events, 8, sleep_ms(shard));
        if (busy_slept(&shard->busy, before_ns, clock_now_ns()))
                committer_pace(shard->committer, shard->busy.is);
        for (int i = 0; i < count; i++) {
                uint64_t ignored;
                if (events[i].data.fd == shard->event_fd &&
                    read(shard->event_fd, &ignored, sizeof(ignored)) < 0)
                        CHECK(errno == EAGAIN);
        }
}

static bool is_idle(struct shard *shard) {
        const struct intake_ops *ops = shard->options.intake_ops;
        return committer_idle(shard->committer) && (!ops->quiet || ops->quiet(shard->options.intake));
}

static bool ended(struct shard *shard, enum shard_end *out_end) {
        int stop = atomic_load(&shard->stop);
        const struct intake_ops *ops = shard->options.intake_ops;
        bool idle = is_idle(shard);
        bool quiet = idle && engine_quiet(shard->engine) && shard->look_ups_count == 0;
        if (shard->error && (stop >= 2 || (idle && calls_in_flight(shard->calls) == 0))) {
                *out_end = SHARD_FAILED;
                return true;
        }
        if (quiet && engine_empty(shard->engine) && ops->ended(shard->options.intake)) {
                *out_end = SHARD_FINISHED;
                return true;
        }
        if (stop >= 2 || (stop == 1 && quiet)) {
                *out_end = SHARD_INTERRUPTED;
                return true;
        }
        uint32_t endpoint;
        if (!quiet || shard->error || shard->options.endless)
                return false;
        if (!engine_stuck(shard->engine, read_clock(), STUCK_PATIENCE_NS, &endpoint))
                return false;
        const struct endpoint *stuck = &shard->options.catalog->endpoints[endpoint];
        pthread_mutex_lock(&shard->mutex);
        snprintf(shard->progress.message, sizeof(shard->progress.message), "%s: %s", stuck->name,
                 engine_endpoint_stats(shard->engine, endpoint)->last_error);
        pthread_mutex_unlock(&shard->mutex);
        *out_end = SHARD_STUCK;
        return true;
}

static void take_last_completions(struct shard *shard) {
        uint64_t ignored;
        if (read(shard->event_fd, &ignored, sizeof(ignored)) < 0)
                CHECK(errno == EAGAIN);
        size_t count = committer_take(shard->committer, shard->completions, TURN_COMPLETIONS_MAX);
        for (size_t i = 0; i < count; i++)
                reply_deinit(&shard->completions[i].reply);
}

/* The last word to the store: where the source stands now. */
static struct error *finish(struct shard *shard, enum shard_end end) {
        const struct intake_ops *ops = shard->options.intake_ops;
        const struct source_state *state = ops->finish(shard->options.intake, end == SHARD_FINISHED);
        engine_quotas_take(shard->engine, keep_quota, shard);
        committer_catch_up(shard->committer);
        if (!committer_submit(shard->committer, shard->intents, shard->intents_count, state))
                return error_new(ERROR_MEMORY, "no memory to finish");
        shard->intents_count = 0;
        struct error *error = NULL;
        while (!error && !is_idle(shard)) {
                if (atomic_load(&shard->stop) >= 2 && committer_durable(shard->committer))
                        break; /* what is not published comes out the next time */
                struct pollfd event = {.fd = shard->event_fd, .events = POLLIN};
                poll(&event, 1, 10); /* not epoll: nobody reads answers any more */
                take_last_completions(shard);
                error = watch_trouble(shard);
                if (!error && shard->trouble == TROUBLE_FULL && atomic_load(&shard->stop) >= 2)
                        error = error_new(ERROR_FULL, "stopped while the disk is full: %s",
                                          shard->progress.message);
        }
        return error ? error : watch_trouble(shard); /* idle it is too when the last commit has failed */
}

/* For a failed CHECK(): what the engine did last, ids and states only. */
static void print_trace(void *userdata) {
        const struct shard *shard = userdata;
        struct buffer text;
        buffer_init(&text, TRACE_TEXT_MAX);
        engine_trace(shard->engine, &text);
        ssize_t ignored = write(STDERR_FILENO, text.data, text.size);
        (void)ignored;
        buffer_deinit(&text);
}

enum shard_end shard_run(struct shard *shard, struct error **out_error) {
        enum shard_end end = SHARD_FAILED;
        struct error *error;
        check_set_hook(print_trace, shard);
        while (!(error = turn(shard)) && !ended(shard, &end))
                wait_for_events(shard);
        if (!error)
                error = finish(shard, end);
        publish_progress(shard, clock_now_ns(), true);
        check_set_hook(NULL, NULL);
        if (shard->error) { /* it came first */
                error_free(error);
                error = shard->error;
                shard->error = NULL;
        }
        if (error) {
                *out_error = error;
                return SHARD_FAILED;
        }
        return end;
}

static void wake(struct shard *shard) {
        uint64_t one = 1;
        ssize_t written = write(shard->event_fd, &one, sizeof(one));
        (void)written; /* a full counter wakes as well */
}

void shard_drain(struct shard *shard) {
        int none = 0;
        atomic_compare_exchange_strong(&shard->stop, &none, 1);
        wake(shard);
}

void shard_stop(struct shard *shard) {
        atomic_store(&shard->stop, 2);
        wake(shard);
}

void shard_reload(struct shard *shard, const struct shard_reload *reload) {
        pthread_mutex_lock(&shard->mutex);
        job_decoder_free(shard->reload.decoder); /* of one that was not taken */
        shard->reload = *reload;
        atomic_store(&shard->reloads, true);
        pthread_mutex_unlock(&shard->mutex);
        wake(shard);
}

bool shard_reload_taken(const struct shard *shard) {
        return !atomic_load(&shard->reloads);
}

void shard_get_progress(struct shard *shard, struct shard_progress *out_progress) {
        pthread_mutex_lock(&shard->mutex);
        *out_progress = shard->progress;
        pthread_mutex_unlock(&shard->mutex);
}

const struct catalog *shard_catalog(const struct shard *shard) {
        return shard->options.catalog;
}

struct engine *shard_engine(const struct shard *shard) {
        return shard->engine;
}

size_t shard_payload_bytes(const struct shard *shard) {
        return shard->payload_bytes + calls_reply_bytes(shard->calls) + shard->settling_bytes;
}

struct committer *shard_committer(struct shard *shard) {
        return shard->committer;
}

int shard_event_fd(const struct shard *shard) {
        return shard->event_fd;
}
