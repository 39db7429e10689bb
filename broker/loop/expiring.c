#include "broker/loop/expiring.h"

#include "broker/base/minmax.h"
#include "broker/base/time.h"
#include "broker/ops/log.h"

enum { FORGET_MAX = 2048 };          /* keys in a transaction */
#define FIRST_NS     (30 * NS_PER_S) /* after a partition has come */
#define PERIOD_PARTS 16              /* of the retention, between two passes */
#define PERIOD_MIN   NS_PER_S
#define PERIOD_MAX   (3600 * NS_PER_S)
#define AGAIN_NS     (60 * NS_PER_S) /* after a failure */

static int64_t period_ns(const struct record_intake *intake) {
        int64_t part_ns = intake->options.retention_ns / PERIOD_PARTS;
        return max64(PERIOD_MIN, min64(part_ns, PERIOD_MAX));
}

void expiring_begin(const struct record_intake *intake, struct part *part) {
        part->expiry_from = 0;
        part->expiry_ns = clock_now_ns() + min64(period_ns(intake), FIRST_NS);
}

static bool may_expire(const struct part *part) {
        return part->active && part->started && !part->leaving;
}

/* The one that has waited longest; NULL: none is due. */
static struct part *next_due(const struct record_intake *intake) {
        struct part *next = NULL;
        for (size_t i = 0; i < intake->owned_count; i++) {
                struct part *part = intake->parts[intake->owned[i]];
                if (may_expire(part) && (!next || part->expiry_ns < next->expiry_ns))
                        next = part;
        }
        return next && next->expiry_ns <= clock_now_ns() ? next : NULL;
}

static void ask(struct record_intake *intake) {
        const struct part *part = next_due(intake);
        intake->expiry_more = false;
        if (!part)
                return;
        int64_t before_unix_ms = clock_now_unix_ms() - intake->options.retention_ns / NS_PER_MS;
        restorer_expire(intake->restorer, &(struct expiry_slice){.partition = part->partition,
                                                                 .epoch = part->epoch,
                                                                 .from = part->expiry_from,
                                                                 .before_unix_ms = before_unix_ms});
        intake->expiry_asked = true;
}

static void take(struct record_intake *intake, struct expiry_slice *slice) {
        struct part *part = intake->parts[slice->partition];
        intake->expiry_asked = false;
        intake->expiry = *slice;
        if (!part->owned || part->epoch != slice->epoch) {
                expiring_drop(intake);
        } else if (slice->error) {
                log_write(LOG_LEVEL_WARNING,
                          "old keys of partition %u cannot be forgotten yet, trying again: %s",
                          slice->partition, slice->error->message);
                part->expiry_ns = clock_now_ns() + AGAIN_NS;
                expiring_drop(intake);
        } else {
                part->expiry_from = slice->from;
                intake->expiry_more = slice->more;
                if (!slice->more)
                        part->expiry_ns = clock_now_ns() + period_ns(intake);
                intake->expired = buffer_view(&slice->keys);
        }
}

void expiring_drop(struct record_intake *intake) {
        expiry_slice_deinit(&intake->expiry);
        intake->expiry = (struct expiry_slice){0};
        intake->expired = (struct bytes){0};
}

/*
 * A record behind the mark comes again when this process dies, and is known by its row alone: its key waits
 * for the mark, and is found again.
 */
static size_t take_some(struct record_intake *intake, struct part *part, struct buffer *out_keys) {
        struct expired expired;
        struct bytes rest = intake->expired;
        size_t count = 0;
        while (count < FORGET_MAX && expired_take(&rest, &expired)) {
                if (expired.offset < part->window.mark) {
                        expired_append(out_keys, &expired);
                        count++;
                        continue;
                }
                if (expired.state_offset < part->expiry_from)
                        part->expiry_from = expired.state_offset;
                part->expiry_ns = clock_now_ns() + period_ns(intake);
        }
        intake->expired = rest;
        return count;
}

static void publish(struct record_intake *intake, struct part *part, struct buffer *keys, size_t count) {
        if (keys->failed) {
                intake_fail(intake, error_new(ERROR_MEMORY, "no memory for keys that are forgotten"));
                return;
        }
        intake_publish_mark(intake, part);
        struct publication *publication = intake_publish(intake, PUBLICATION_FORGET, part);
        if (!publication)
                return;
        publication->value = *keys;
        *keys = (struct buffer){0};
        atomic_fetch_add(&intake->options.board->forgetting, 1);
        intake->stats.forgotten += count;
}

static void publish_some(struct record_intake *intake) {
        struct part *part = intake->parts[intake->expiry.partition];
        struct buffer keys;
        if (!part->owned || part->epoch != intake->expiry.epoch || !may_expire(part)) {
                expiring_drop(intake);
                return;
        }
        buffer_init(&keys, SIZE_MAX / 4);
        size_t count = take_some(intake, part, &keys);
        if (count > 0)
                publish(intake, part, &keys, count);
        buffer_deinit(&keys);
        if (intake->expired.size == 0)
                expiring_drop(intake);
}

void expiring_serve(struct record_intake *intake, bool tick) {
        struct expiry_slice slice;
        if (atomic_load(&intake->options.board->forgetting) > 0)
                return; /* the last ones are on their way */
        if (intake->expired.size > 0)
                publish_some(intake);
        else if (!intake->expiry_asked && (tick || intake->expiry_more))
                ask(intake);
        else if (intake->expiry_asked && restorer_take_expired(intake->restorer, &slice))
                take(intake, &slice);
}
