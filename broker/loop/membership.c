#include "broker/loop/membership.h"

#include "broker/base/time.h"
#include "broker/loop/expiring.h"
#include "broker/loop/parts.h"
#include "broker/loop/purses.h"
#include "broker/loop/shard.h"
#include "broker/ops/log.h"
#include "broker/wire/state_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        WINDOW_SPAN = 1 << 16, /* offsets of a partition that may lie between its mark and its last record */
        REPORTS_MAX = 16,      /* of the group, in a turn */
};
#define RESTORE_AGAIN_NS (5 * NS_PER_S) /* after a failed one */
void membership_tell_owner(struct record_intake *intake, struct part *part, bool released) {
        struct publication *publication = intake_publish(intake, PUBLICATION_OWNER, part);
        if (!publication)
                return;
        struct state_record record = {.kind = STATE_OWNER,
                                      .owner = {.member = bytes_of(intake->options.member),
                                                .since_unix_ms = clock_now_unix_ms(),
                                                .released = released,
                                                .quotas = parts_said(intake, part, released)}};
        if (record.owner.member.size > STATE_NAME_BYTES_MAX)
                record.owner.member.size = STATE_NAME_BYTES_MAX;
        state_key_append_owner(&publication->state_key);
        state_record_append(&publication->value, &record);
        part->released = released;
}

static int by_partition(const void *a, const void *b) {
        const uint32_t *x = a, *y = b;
        return (*x > *y) - (*x < *y);
}

static void list_owned(struct record_intake *intake) {
        intake->owned_count = 0;
        for (uint32_t i = 0; i < CONSUMER_PARTITIONS_MAX; i++)
                if (intake->parts[i] && intake->parts[i]->owned)
                        intake->owned[intake->owned_count++] = i;
        qsort(intake->owned, intake->owned_count, sizeof(*intake->owned), by_partition);
}

static uint32_t next_epoch(struct record_intake *intake, struct part *part) {
        part->epoch++;
        atomic_store(&intake->options.board->epoch[part->partition], part->epoch);
        return part->epoch;
}

static struct error *come(struct record_intake *intake, uint32_t partition) {
        struct part *part = intake->parts[partition];
        if (!part) {
                part = calloc(1, sizeof(*part));
                if (!part || !window_init(&part->window, WINDOW_SPAN)) {
                        free(part);
                        return error_new(ERROR_MEMORY, "no memory for partition %u", partition);
                }
                part->partition = partition;
                intake->parts[partition] = part;
        }
        if (part->owned)
                return NULL;
        part->owned = true;
        part->active = part->leaving = part->started = part->shared = part->released = false;
        part->claimed = part->given = false;
        buffer_clear(&part->quotas);
        part->parked_begun = false;
        part->inside = 0;
        part->restore_again_ns = 0;
        part->assigned_ns = clock_now_ns();
        return restorer_submit(intake->restorer, partition, next_epoch(intake, part));
}

void intake_release_held(struct part *part) {
        if (part->has_held)
                consumer_release(&part->held);
        part->has_held = false;
}

static void go(struct record_intake *intake, struct part *part) {
        part->owned = part->active = part->leaving = part->shared = part->claimed = false;
        purses_drop(intake, part);
        part->restore_again_ns = 0; /* else a later life of it would be restored twice */
        next_epoch(intake, part);
        intake_release_held(part);
}

static bool is_leaving(void *userdata, const struct job_spec *job) {
        struct record_intake *intake = userdata;
        const struct part *part = intake_part_of(intake, job);
        bool leaving = part->leaving || !intake_is_current(intake, job->origin);
        intake->strays_seen += leaving;
        return leaving;
}

void membership_sweep(struct record_intake *intake) {
        intake->strays_seen = 0;
        shard_revoke(intake->shard, is_leaving, intake);
        intake->strays = intake->strays_seen > 0;
}

static void assigned(struct record_intake *intake, const struct consumer_report *report) {
        intake->stats.joined = true;
        intake->stats.rebalances++;
        for (size_t i = 0; i < report->partitions_count; i++)
                intake_fail(intake, come(intake, report->partitions[i]));
        list_owned(intake);
        intake_fail(intake, consumer_assign(intake->consumer));
}

static void mark_leaving(struct record_intake *intake, const struct consumer_report *report) {
        intake->stats.rebalances++;
        for (size_t i = 0; i < report->partitions_count; i++) {
                struct part *part = intake->parts[report->partitions[i]];
                if (!part || !part->owned)
                        continue;
                part->leaving = true;
                purses_close(intake, part);
        }
}

/*
 * Its part of the limits goes at once, and whoever has it next may use what is left of it, though calls may
 * be under way for long.
 */
static void give_part(struct record_intake *intake, struct part *part) {
        if (parts_give(intake, part))
                membership_tell_owner(intake, part, false);
}

void membership_give_parts(struct record_intake *intake) {
        for (size_t i = 0; i < intake->owned_count; i++)
                give_part(intake, intake->parts[intake->owned[i]]);
        intake->ending = true;
}

/* Nothing is taken or begun for them any more; what is under way may end. */
static void leave(struct record_intake *intake, const struct consumer_report *report) {
        mark_leaving(intake, report);
        intake->leaving = true;
        intake->leave_by_ns = clock_now_ns() + intake->options.leave_ns;
        for (size_t i = 0; i < intake->owned_count; i++)
                if (intake->parts[intake->owned[i]]->leaving)
                        give_part(intake, intake->parts[intake->owned[i]]);
        membership_sweep(intake);
}

static void let_go(struct record_intake *intake) {
        for (size_t i = 0; i < intake->owned_count; i++) {
                struct part *part = intake->parts[intake->owned[i]];
                if (part->leaving)
                        go(intake, part);
        }
        intake->leaving = false;
        list_owned(intake);
        parts_share(intake);
        membership_sweep(intake);
        intake_fail(intake, consumer_unassign(intake->consumer));
}

static void lost(struct record_intake *intake, const struct consumer_report *report) {
        mark_leaving(intake, report);
        let_go(intake);
}

/* Everything of the partition has been published, and its release told to whoever takes it next. */
static bool has_left(struct record_intake *intake, struct part *part) {
        if (part->inside > 0 || atomic_load(&intake->options.board->pending[part->partition]) > 0)
                return false;
        if (part->released || !part->claimed)
                return true;
        if (!purses_closed(intake, part))
                return false; /* its last words are not out */
        intake_publish_mark(intake, part);
        membership_tell_owner(intake, part, true);
        return false;
}

void membership_keep_leaving(struct record_intake *intake) {
        bool left = true;
        for (size_t i = 0; i < intake->owned_count; i++) {
                struct part *part = intake->parts[intake->owned[i]];
                if (part->leaving && !has_left(intake, part))
                        left = false;
        }
        publisher_flush(intake->publisher);
        if (left || clock_now_ns() >= intake->leave_by_ns)
                let_go(intake);
}

static void note(struct record_intake *intake, const char *message) {
        snprintf(intake->stats.message, sizeof(intake->stats.message), "%s", message);
        intake->noted_ns = clock_now_ns();
}

void membership_serve(struct record_intake *intake) {
        struct consumer_report report;
        for (int i = 0; i < REPORTS_MAX && !intake->error; i++) {
                consumer_poll(intake->consumer, &report);
                switch (report.event) {
                case CONSUMER_NOTHING:
                        return;
                case CONSUMER_ASSIGNED:
                        assigned(intake, &report);
                        break;
                case CONSUMER_REVOKED:
                        leave(intake, &report);
                        break;
                case CONSUMER_LOST:
                        log_write(LOG_LEVEL_WARNING,
                                  "partitions were taken away: this worker did not answer the group in time");
                        lost(intake, &report);
                        break;
                case CONSUMER_FAILED:
                        intake->stats.failed = true;
                        note(intake, report.message);
                        intake_fail(intake, error_new(ERROR_NETWORK, "%s", report.message));
                        break;
                case CONSUMER_TROUBLE:
                        log_fields_limited(LOG_LEVEL_WARNING, "trouble with the consumer group",
                                           (struct log_field[]){LOG_TEXT("reason", bytes_of(report.message))},
                                           1);
                        note(intake, report.message);
                        break;
                }
        }
}

static void restored(struct record_intake *intake, struct restored *restored) {
        struct part *part = intake->parts[restored->partition];
        if (!part->owned || part->epoch != restored->epoch)
                return;
        if (restored->error) {
                log_write(LOG_LEVEL_ERROR, "partition %u cannot be taken over yet, trying again: %s",
                          restored->partition, restored->error->message);
                part->restore_again_ns = clock_now_ns() + RESTORE_AGAIN_NS;
                return;
        }
        part->claimed = true;
        part->free_ms = restored->free_ms;
        parts_heard(intake, part, &restored->quotas);
        part->source_high = restored->source_high;
        part->restore_ns = restored->took_ns;
        part->started = restored->committed;
        part->mark_handed = UINT64_MAX; /* it is told at once, wherever it stands */
        if (restored->committed)
                window_start(&part->window, restored->offset);
        intake->stats.restores++;
        histogram_observe(&intake->stats.restore, restored->took_ns);
        expiring_begin(intake, part);
        intake_publish_mark(intake, part);
        membership_tell_owner(intake, part, false);
        log_write(LOG_LEVEL_INFO, "partition %u: %llu state records read in %lld ms", part->partition,
                  (unsigned long long)restored->records, (long long)(restored->took_ns / NS_PER_MS));
}

/*
 * Records are let in, and its part of the limits used, once the state topic says that it is ours: else, after
 * a crash, nobody would know. And once no job from before has its key without anybody having decided that:
 * when such a one goes, a record that was taken as its conflict would have the key in its place.
 */
static void activate(struct record_intake *intake, struct part *part) {
        if (part->active || !part->claimed || part->leaving ||
            engine_stats(shard_engine(intake->shard))->giving_up > 0 ||
            atomic_load(&intake->options.board->owner[part->partition]) != part->epoch)
                return;
        part->active = true;
        intake->hungry = true;
        if (!intake->ending)
                parts_share(intake);
}

void membership_take_restored(struct record_intake *intake) {
        struct restored one;
        while (restorer_take(intake->restorer, &one)) {
                restored(intake, &one);
                restored_deinit(&one);
        }
        for (size_t i = 0; i < intake->owned_count; i++) {
                struct part *part = intake->parts[intake->owned[i]];
                activate(intake, part);
                if (part->active || part->restore_again_ns == 0 || part->restore_again_ns > clock_now_ns())
                        continue;
                part->restore_again_ns = 0;
                intake_fail(intake, restorer_submit(intake->restorer, part->partition, part->epoch));
        }
}
