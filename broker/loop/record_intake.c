#include "broker/loop/record_intake.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/loop/dead_letter.h"
#include "broker/loop/expiring.h"
#include "broker/loop/job_log.h"
#include "broker/loop/membership.h"
#include "broker/loop/parking.h"
#include "broker/loop/parts.h"
#include "broker/loop/purses.h"
#include "broker/loop/shard.h"
#include "broker/ops/log.h"
#include "broker/wire/result.h"
#include "broker/wire/state_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        PARTITION_BURST = 32,        /* records of one partition before the next has its turn */
        LAST_WORDS_MAX = 16384,      /* on what was spent, at the very end */
        AGAIN_MAX = 4096,            /* jobs that wait for their twin, before no more records are taken */
        COPIED_BYTES_MAX = 64 << 20, /* of what only goes out again; the same */
};
#define HOMELESS                                                                                             \
        "is too large to be sent to its key's partition: raise max.message.bytes of the jobs topic (and "    \
        "kafka.message.max.bytes), or key records as messages are keyed, by murmur2"
#define TICK_NS  NS_PER_S         /* between looks for stragglers and for parked jobs that are due */
#define AGAIN_NS (20 * NS_PER_MS) /* a job whose twin is on its way out */
#define NOTE_NS  (30 * NS_PER_S)  /* a trouble of which nothing was heard for so long is over */
#define DOUBT_NS (2 * NS_PER_S)   /* for the group to say that we are out, after a long stop */

struct part *intake_part_of(const struct record_intake *intake, const struct job_spec *job) {
        const struct origin *origin = job->origin;
        return intake->parts[origin->partition];
}

bool intake_is_current(const struct record_intake *intake, const struct origin *origin) {
        const struct part *part = intake->parts[origin->partition];
        return part && part->owned && part->epoch == origin->epoch;
}

void intake_free_job(struct job_spec *job) {
        origin_free(job->origin);
        job_spec_free(job);
}

void intake_fail(struct record_intake *intake, struct error *error) {
        if (intake->error)
                error_free(error);
        else
                intake->error = error;
}

/* NULL when memory is refused; that ends the shard. */
struct publication *intake_publish(struct record_intake *intake, enum publication_kind kind,
                                   const struct part *part) {
        struct publication *publication = calloc(1, sizeof(*publication));
        if (!publication) {
                intake_fail(intake, error_new(ERROR_MEMORY, "no memory to publish"));
                return NULL;
        }
        publication->kind = kind;
        publication->partition = part->partition;
        publication->epoch = part->epoch;
        buffer_init(&publication->state_key, SIZE_MAX / 4);
        buffer_init(&publication->value, SIZE_MAX / 4);
        atomic_fetch_add(&intake->options.board->pending[part->partition], 1);
        shard_intend(intake->shard, INTENT_PUBLISH)->publication = publication;
        return publication;
}

void intake_publish_mark(struct record_intake *intake, struct part *part) {
        if (!part->started || part->window.mark == part->mark_handed)
                return;
        struct publication *publication = intake_publish(intake, PUBLICATION_MARK, part);
        if (!publication)
                return;
        publication->offset = part->mark_handed = part->window.mark;
}

void intake_give(struct record_intake *intake, struct part *part, struct job_spec *job) {
        part->inside++;
        intake->taken++;
        shard_take(intake->shard, job);
}

/* Takes it again in a while. false: it could not be kept. */
static bool keep_for_again(struct record_intake *intake, struct job_spec *job, bool holds) {
        const struct origin *origin = job->origin;
        struct again_record record = {.partition = origin->partition,
                                      .epoch = origin->epoch,
                                      .offset = origin->record.offset,
                                      .holds = holds,
                                      .job = job};
        if (!again_keep(&intake->again, &record)) {
                intake_fail(intake, error_new(ERROR_MEMORY, "no memory"));
                return false;
        }
        intake->again_ns = clock_now_ns() + AGAIN_NS;
        return true;
}

static void free_inside(void *userdata, struct job_spec *job) {
        (void)userdata;
        intake_free_job(job);
}

static struct key128 record_key(struct record_intake *intake, const struct origin *origin) {
        const struct record_name name = origin_name(origin);
        return job_record_key(*intake->options.decoder, &name);
}

/* The record, or the result of its job, only goes out again: the record is settled under its own name. */
static void copy(struct record_intake *intake, struct part *part, struct publication *publication,
                 struct origin *origin) {
        publication->offset = origin->record.offset;
        publication->key = record_key(intake, origin);
        publication->settled = (struct settled){.partition = part->partition,
                                                .offset = publication->offset,
                                                .settled_unix_ms = clock_now_unix_ms(),
                                                .cost_known = true,
                                                .fingerprint_known = true};
        publication->origin = origin;
        publication->copied_bytes = origin_bytes(origin) + publication->value.size;
        atomic_fetch_add(&intake->options.board->copied_bytes, publication->copied_bytes);
        window_settle(&part->window, origin->record.offset);
}

static void send_home(struct record_intake *intake, struct part *part, struct origin *origin, uint32_t home) {
        struct publication *publication = intake_publish(intake, PUBLICATION_REHOME, part);
        if (!publication) {
                origin_free(origin);
                return;
        }
        publication->home = home;
        copy(intake, part, publication, origin);
        intake->stats.rehomed++;
}

/* A record that was settled under its own name and comes again, because the mark was still before it. */
static bool is_known_record(struct record_intake *intake, const struct part *part,
                            const struct origin *origin) {
        struct store_record record;
        if (origin->record.offset >= part->source_high)
                return false;
        struct error *error =
                store_look_up(intake->options.store, part->partition, record_key(intake, origin), &record);
        if (error) {
                intake_fail(intake, error);
                return true; /* nothing is settled: it comes again */
        }
        return record.found == STORE_SETTLED;
}

/*
 * It is not done here, since duplicates of it would be done where its key belongs. A dead letter, under the
 * record's own name.
 */
static void refuse(struct record_intake *intake, struct job_spec *job) {
        job->failure = FAILURE_INPUT_TOO_LARGE;
        job->failure_message = bytes_of(HOMELESS);
        job->key = record_key(intake, job->origin);
}

static bool fits(const struct record_intake *intake, const struct origin *origin) {
        return origin_bytes(origin) + RECORD_OVERHEAD <= intake->options.home_bytes_max;
}

static void take_job(struct record_intake *intake, struct part *part, struct job_spec *job,
                     struct origin *origin) {
        uint32_t partitions = consumer_partitions(intake->consumer);
        uint32_t home = part->partition;
        job->origin = origin;
        job->memory_bytes += (uint32_t)origin_bytes(origin);
        if (job->idempotency.size > 0)
                home = client_partition_of(job->idempotency, partitions);
        if (is_known_record(intake, part, origin)) {
                if (!intake->error)
                        window_settle(&part->window, origin->record.offset);
                intake_free_job(job);
                return;
        }
        if (home != part->partition && !fits(intake, origin)) {
                refuse(intake, job);
        } else if (home != part->partition) {
                job->origin = NULL;
                job_spec_free(job);
                send_home(intake, part, origin, home);
                return;
        }
        intake_give(intake, part, job);
}

static void take_record(struct record_intake *intake, struct part *part, struct consumer_record *record) {
        struct job_header headers[RECORD_HEADERS_MAX];
        struct job_record job_record = {.key = record->key,
                                        .value = record->value,
                                        .has_key = record->has_key,
                                        .has_value = record->has_value,
                                        .headers = headers,
                                        .headers_count = origin_headers(record, headers, RECORD_HEADERS_MAX),
                                        .partition = part->partition,
                                        .offset = record->offset,
                                        .timestamp_unix_ms = record->timestamp_unix_ms};
        struct job_spec *job = job_decode_record(*intake->options.decoder, &job_record);
        struct origin *origin = job ? origin_new(&job_record, part->partition) : NULL;
        if (!origin) {
                job_spec_free(job);
                intake_fail(intake, error_new(ERROR_MEMORY, "no memory for a record of partition %u",
                                              part->partition));
                return;
        }
        window_receive(&part->window, record->offset);
        origin->epoch = part->epoch;
        origin->open = true;
        origin->received_ns = clock_now_ns();
        intake->stats.records++;
        intake->stats.undecodable += job->failure != FAILURE_NONE;
        take_job(intake, part, job, origin);
}

/* false: none is there, or there is no room for it. */
static bool next_record(struct record_intake *intake, struct part *part) {
        if (!part->has_held) {
                if (part->started && !window_has_room(&part->window, part->window.next))
                        return false;
                if (!consumer_take(intake->consumer, part->partition, &part->held))
                        return false;
                part->has_held = true;
        }
        if (!part->started) {
                window_start(&part->window, part->held.offset);
                part->started = true;
        }
        bool seen = part->held.offset < part->window.next;
        if (!seen && !window_has_room(&part->window, part->held.offset))
                return false; /* behind a gap; kept until there is room */
        if (!seen)
                take_record(intake, part, &part->held);
        consumer_release(&part->held);
        part->has_held = false;
        return true;
}

static void take_records(struct record_intake *intake) {
        bool any = consumer_partitions(intake->consumer) > 0 && intake->again.count < AGAIN_MAX;
        while (any && atomic_load(&intake->options.board->copied_bytes) < COPIED_BYTES_MAX &&
               intake->taken < SHARD_TAKE_MAX && shard_has_room(intake->shard)) {
                any = false;
                for (size_t i = 0; i < intake->owned_count && !intake->error; i++) {
                        size_t at = (intake->turn + i) % intake->owned_count;
                        struct part *part = intake->parts[intake->owned[at]];
                        int records = 0;
                        if (again_holds(&intake->again, part->partition, part->epoch))
                                continue;
                        while (part->active && !part->leaving && intake->taken < SHARD_TAKE_MAX &&
                               records < PARTITION_BURST && !intake->error && next_record(intake, part))
                                records++;
                        any = any || records > 0;
                }
                intake->turn++;
        }
        intake->hungry = any && shard_has_room(intake->shard);
}

static void take_again(struct record_intake *intake) {
        struct again_record records[SHARD_TAKE_MAX];
        if (intake->again.count == 0 || clock_now_ns() < intake->again_ns || !shard_has_room(intake->shard))
                return;
        size_t count = again_take(&intake->again, records, SHARD_TAKE_MAX - intake->taken);
        for (size_t i = 0; i < count; i++) {
                struct job_spec *job = records[i].job;
                if (intake_is_current(intake, job->origin) && !intake_part_of(intake, job)->leaving)
                        intake_give(intake, intake_part_of(intake, job), job);
                else
                        intake_free_job(job);
        }
}

/* After a stop (SIGSTOP, a machine that slept) the group may have given our partitions to somebody else. */
static void doubt(struct record_intake *intake, int64_t now_ns) {
        if (intake->gathered_ns > 0 && now_ns - intake->gathered_ns > intake->options.session_ns / 2)
                intake->doubt_until_ns = now_ns + DOUBT_NS;
        intake->gathered_ns = now_ns;
        shard_hold(intake->shard, now_ns < intake->doubt_until_ns);
}

static struct error *gather(void *userdata, struct shard *shard) {
        struct record_intake *intake = userdata;
        int64_t now_ns = clock_now_ns();
        bool tick = now_ns >= intake->tick_ns;
        if (tick)
                intake->tick_ns = now_ns + TICK_NS;
        intake->shard = shard;
        intake->taken = 0;
        doubt(intake, now_ns);
        if (intake->leaving)
                membership_keep_leaving(intake);
        membership_serve(intake);
        membership_take_restored(intake);
        if (intake->strays)
                membership_sweep(intake);
        if (consumer_partitions(intake->consumer) != intake->whole)
                parts_share(intake); /* the topic has grown */
        if (shard_stopping(shard)) {
                if (!intake->ending)
                        membership_give_parts(intake);
                publisher_flush(intake->publisher);
        } else {
                take_again(intake);
                parking_take_due(intake, tick);
                take_records(intake);
                if (tick)
                        parking_park(intake);
                expiring_serve(intake, tick);
        }
        if (tick)
                purses_rest(intake);
        struct error *error = intake->error;
        intake->error = NULL;
        return error;
}

/*
 * A conflict is settled under its record's name, and was looked for there when it was taken: each record of
 * it becomes a dead letter, also one that was sent back.
 */
static void looked_up(void *userdata, const struct job_spec *job, bool alias, struct store_record *record) {
        const struct origin *origin = job->origin;
        (void)userdata;
        if (alias)
                record->found = STORE_NONE;
        if (record->found != STORE_PARKED || !origin->parked)
                return;
        record->found = record->answered ? STORE_ANSWERED : record->attempted ? STORE_UNKNOWN : STORE_NONE;
}

static void settling(void *userdata, struct intent *intent) {
        struct record_intake *intake = userdata;
        struct origin *origin = intent->job->origin;
        if (!intent->outcome->journaled && dead_letter_is(intent->job, intent->outcome))
                intent->key = record_key(intake, origin);
        job_log_failed(intent->job, intent->outcome);
        origin->handed = true;
        atomic_fetch_add(&intake->options.board->pending[origin->partition], 1);
        if (origin->open && intake_is_current(intake, origin))
                window_settle(&intake_part_of(intake, intent->job)->window, origin->record.offset);
        origin->open = false;
}

/* The job inside, from before a rebalance, is the one of this record again. */
static void adopt(struct record_intake *intake, struct origin *inside, const struct origin *origin) {
        inside->epoch = origin->epoch;
        inside->open = origin->open;
        inside->parked = origin->parked;
        inside->parked_due_unix_ms = origin->parked_due_unix_ms;
        intake->parts[origin->partition]->inside++;
        intake->stats.readopted++;
}

/* What the store says of the record's job now; it may have been settled elsewhere while it was away. */
static enum store_found look_again(struct record_intake *intake, const struct job_spec *job) {
        struct store_record record;
        struct error *error = store_look_up(intake->options.store, job->partition, job->key, &record);
        if (error) {
                intake_fail(intake, error);
                return STORE_NONE;
        }
        return record.found;
}

/*
 * The job inside is from before a rebalance. true: the record is kept until that one has ended. One that is
 * on its way out, with a result that nobody may ever see, leaves its key to whoever comes first then; of one
 * that is being called the store says whose the key is.
 */
static bool meet_stray(struct record_intake *intake, struct part *part, struct job_spec *job,
                       struct origin *inside, bool goes) {
        struct origin *origin = job->origin;
        bool same = inside->record.offset == origin->record.offset;
        if (inside->handed || goes)
                return keep_for_again(intake, job, true);
        enum store_found found = look_again(intake, job);
        if (found == STORE_ANSWERED)
                return keep_for_again(intake, job, false);
        if (found != STORE_SETTLED && same)
                adopt(intake, inside, origin);
        else if (origin->open)
                window_settle(&part->window, origin->record.offset);
        return false;
}

/* Its job has ended, and the store still has what was published of it. */
static bool find_kept(struct record_intake *intake, const struct job_spec *job, struct buffer *out_kept) {
        const struct origin *origin = job->origin;
        struct store_record record;
        bool found = false;
        struct error *error = store_look_up(intake->options.store, origin->partition, job->key, &record);
        bool ended = !error && record.found == STORE_SETTLED && record.settled.fingerprint_known &&
                     memcmp(record.settled.fingerprint, job->fingerprint, sizeof(job->fingerprint)) == 0;
        if (ended && record.settled.offset == origin->record.offset)
                return false; /* the job itself, whose record is read once more */
        if (ended)
                error = store_get_kept(intake->options.store, origin->partition, job->key,
                                       record.settled.settled_unix_ms, out_kept, &found);
        if (error)
                intake_fail(intake, error);
        intake->stats.not_kept += !error && !found;
        return !error && found;
}

/* true: the job is the publication's. */
static bool republish(struct record_intake *intake, struct part *part, struct job_spec *job) {
        struct buffer kept, again;
        struct publication *publication = NULL;
        buffer_init(&kept, SIZE_MAX / 4);
        buffer_init(&again, SIZE_MAX / 4);
        if (find_kept(intake, job, &kept) && result_append_replayed(&again, buffer_view(&kept)))
                publication = intake_publish(intake, PUBLICATION_REPLAY, part);
        if (publication) {
                publication->value = again;
                publication->job = publication->repeat = job;
                copy(intake, part, publication, job->origin);
                job->origin = NULL;
        } else {
                if (again.failed)
                        intake_fail(intake, error_new(ERROR_MEMORY, "no memory to publish a result again"));
                buffer_deinit(&again);
        }
        buffer_deinit(&kept);
        return publication != NULL;
}

/* true: the job is kept. */
static bool duplicate(struct record_intake *intake, struct part *part, const struct command *command) {
        struct job_spec *job = command->job;
        struct origin *origin = job->origin, *inside = command->twin ? command->twin->origin : NULL;
        if (inside && !intake_is_current(intake, inside))
                return meet_stray(intake, part, job, inside, command->twin_goes);
        if (inside && origin->parked && !inside->parked)
                return keep_for_again(intake, job, false); /* that one may end as a duplicate of this one */
        if (!inside && origin->open && intake->options.republish && republish(intake, part, job))
                return true;
        if (origin->open && !intake->error)
                window_settle(&part->window, origin->record.offset);
        return false;
}

static void forgotten(void *userdata, struct shard *shard, const struct command *command) {
        struct record_intake *intake = userdata;
        struct origin *origin = command->job->origin;
        struct part *part = intake_part_of(intake, command->job);
        bool current = intake_is_current(intake, origin), kept = false;
        intake->shard = shard;
        if (part->inside > 0 && current)
                part->inside--;
        if (current && command->duplicate)
                kept = duplicate(intake, part, command);
        if (!kept)
                intake_free_job(command->job);
}

static const struct source_state *moved(void *userdata, struct shard *shard) {
        struct record_intake *intake = userdata;
        intake->shard = shard;
        for (size_t i = 0; i < intake->owned_count; i++)
                if (intake->parts[intake->owned[i]]->active)
                        intake_publish_mark(intake, intake->parts[intake->owned[i]]);
        purses_tell(intake);
        return NULL;
}

static const struct source_state *finish(void *userdata, bool finished) {
        struct record_intake *intake = userdata;
        (void)finished;
        for (size_t i = 0; i < intake->owned_count; i++)
                purses_close(intake, intake->parts[intake->owned[i]]);
        do
                purses_tell(intake);
        while (intake->words_left && shard_intents(intake->shard) < LAST_WORDS_MAX);
        if (!intake->ending)
                membership_give_parts(intake);
        for (size_t i = 0; i < intake->owned_count; i++) {
                struct part *part = intake->parts[intake->owned[i]];
                if (part->claimed && !part->released)
                        membership_tell_owner(intake, part, true);
        }
        publisher_flush(intake->publisher);
        return NULL;
}

static int64_t wake_ns(const void *userdata, const struct shard *shard) {
        const struct record_intake *intake = userdata;
        int64_t until_ns = intake->tick_ns;
        if (intake->words_left || (intake->hungry && shard_has_room(shard)))
                return 0;
        if (intake->leaving && intake->leave_by_ns < until_ns)
                until_ns = intake->leave_by_ns;
        if (intake->again.count > 0 && intake->again_ns < until_ns)
                until_ns = intake->again_ns;
        return until_ns;
}

static void reloaded(void *userdata, struct shard *shard) {
        struct record_intake *intake = userdata;
        intake->shard = shard;
        purses_reloaded(intake);
}

static bool ended(const void *userdata) {
        (void)userdata;
        return false;
}

static bool quiet(const void *userdata) {
        const struct record_intake *intake = userdata;
        return publisher_idle(intake->publisher);
}

static void progress(const void *userdata, struct shard_progress *out_progress) {
        (void)userdata, (void)out_progress;
}

static struct job_decoder **decoder(void *userdata) {
        const struct record_intake *intake = userdata;
        return intake->options.decoder;
}

const struct intake_ops record_intake_ops = {
        .gather = gather,
        .looked_up = looked_up,
        .settling = settling,
        .forgotten = forgotten,
        .free_job = free_inside,
        .moved = moved,
        .finish = finish,
        .wake_ns = wake_ns,
        .decoder = decoder,
        .reloaded = reloaded,
        .ended = ended,
        .quiet = quiet,
        .progress = progress,
};

struct error *record_intake_new(const struct record_intake_options *options,
                                struct record_intake **out_intake) {
        struct record_intake *intake = calloc(1, sizeof(*intake));
        if (!intake)
                return error_new(ERROR_MEMORY, "no memory for the intake");
        intake->options = *options;
        *out_intake = intake;
        return NULL;
}

void record_intake_connect(struct record_intake *intake, struct consumer *consumer,
                           struct publisher *publisher, struct restorer *restorer) {
        intake->consumer = consumer;
        intake->publisher = publisher;
        intake->restorer = restorer;
}

void record_intake_disconnect(struct record_intake *intake) {
        for (size_t i = 0; i < CONSUMER_PARTITIONS_MAX; i++)
                if (intake->parts[i])
                        intake_release_held(intake->parts[i]);
}

struct record_intake *record_intake_free(struct record_intake *intake) {
        if (!intake)
                return NULL;
        for (size_t i = 0; i < CONSUMER_PARTITIONS_MAX; i++) {
                struct part *part = intake->parts[i];
                if (!part)
                        continue;
                intake_release_held(part);
                window_deinit(&part->window);
                buffer_deinit(&part->quotas);
                free(part);
        }
        for (size_t i = 0; i < intake->again.count; i++)
                intake_free_job(intake->again.records[i].job);
        again_deinit(&intake->again);
        expiring_drop(intake);
        error_free(intake->error);
        free(intake);
        return NULL;
}

size_t record_intake_views(const struct record_intake *intake, struct partition_view *out_views, size_t max) {
        size_t count = 0;
        for (size_t i = 0; i < intake->owned_count && count < max; i++) {
                const struct part *part = intake->parts[intake->owned[i]];
                out_views[count++] = (struct partition_view){
                        .partition = part->partition,
                        .restoring = !part->active,
                        .leaving = part->leaving,
                        .mark = part->started ? part->window.mark : 0,
                        .position = part->started ? part->window.next : 0,
                        .log_end = consumer_log_end(intake->consumer, part->partition),
                        .open = part->started ? part->window.open : 0,
                        .parked =
                                part->active ? store_count_parked(intake->options.store, part->partition) : 0,
                        .restore_ns = part->restore_ns,
                        .assigned_ns = part->assigned_ns};
        }
        return count;
}

void record_intake_stats(const struct record_intake *intake, struct record_stats *out_stats) {
        *out_stats = intake->stats;
        if (!intake->stats.failed && clock_now_ns() - intake->noted_ns > NOTE_NS)
                out_stats->message[0] = '\0';
        out_stats->partitions = (uint32_t)intake->owned_count;
        out_stats->restoring = 0;
        for (size_t i = 0; i < intake->owned_count; i++)
                out_stats->restoring += !intake->parts[intake->owned[i]]->active;
}
