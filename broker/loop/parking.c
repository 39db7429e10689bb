#include "broker/loop/parking.h"

#include "broker/base/time.h"
#include "broker/loop/shard.h"
#include "broker/ops/log.h"
#include "broker/wire/state_record.h"

#include <stdlib.h>
#include <string.h>

enum {
        PARKED_BURST = 64,      /* of a partition, in a turn */
        RESCAN_TICKS = 300,     /* between looks at all parked jobs that are due */
        PARKS_MAX = 1024,       /* stragglers in a turn */
        REST_BURST = 1000,      /* jobs that begin to rest in a turn */
        LOOKS_MAX = 4000,       /* and at whose rows it looks */
        PARKED_OVERHEAD = 4096, /* what a state record adds to the record that it holds */
};
#define IDLE_NS (60 * NS_PER_S) /* what does nothing for longer need not be in memory */
/* Looked at again after so long: somebody may have mended a provider. */
#define IDLE_MAX_NS     (300 * NS_PER_S)
#define PARKED_AHEAD_MS INT64_C(30000) /* a parked job comes back so long before it is due */
#define PARKED_LEAST_MS INT64_C(15000) /* and rests for so long at least */

static void park(struct record_intake *intake, struct part *part, const struct job_spec *job,
                 int64_t due_unix_ms) {
        struct origin *origin = job->origin;
        struct publication *publication = intake_publish(intake, PUBLICATION_PARK, part);
        if (!publication)
                return;
        int64_t now_unix_ms = clock_now_unix_ms();
        struct state_record record = {.kind = STATE_PARKED,
                                      .parked = {.key = job->key,
                                                 .due_unix_ms = due_unix_ms,
                                                 .at_unix_ms = now_unix_ms,
                                                 .spent_known = true,
                                                 .record = origin->record}};
        memcpy(record.parked.fingerprint, job->fingerprint, sizeof(record.parked.fingerprint));
        state_key_append(&publication->state_key, job);
        state_record_append(&publication->value, &record);
        publication->key = job->key;
        publication->offset = origin->record.offset;
        publication->due_unix_ms = due_unix_ms;
        memcpy(publication->settled.fingerprint, job->fingerprint, sizeof(publication->settled.fingerprint));
        if (origin->open)
                window_settle(&part->window, origin->record.offset);
        origin->open = false;
        origin->parked = true;
        origin->parked_due_unix_ms = due_unix_ms;
}

struct reading_parked {
        struct record_intake *intake;
        struct part *part;
        struct state_lists lists;
};

static struct error *take_parked(void *userdata, const struct parked_job *parked) {
        struct reading_parked *reading = userdata;
        struct record_intake *intake = reading->intake;
        struct state_record state;
        reading->part->parked_at = parked->at;
        reading->part->parked_begun = true;
        if (state_record_read(parked->value, &reading->lists, &state) != STATE_RECORD_OK ||
            state.kind != STATE_PARKED) {
                log_write(LOG_LEVEL_ERROR,
                          "a parked job of partition %u cannot be read; see `batchferry state verify`",
                          reading->part->partition);
                return NULL;
        }
        struct job_record record = state.parked.record;
        record.partition = reading->part->partition;
        struct job_spec *job = job_decode_record(*intake->options.decoder, &record);
        struct origin *origin = job ? origin_new(&record, record.partition) : NULL;
        if (!origin) {
                job_spec_free(job);
                return error_new(ERROR_MEMORY, "no memory for a parked job");
        }
        origin->epoch = reading->part->epoch;
        origin->parked = true;
        origin->parked_due_unix_ms = parked->at.due_unix_ms;
        origin->received_ns = clock_now_ns();
        job->origin = origin;
        job->memory_bytes += (uint32_t)origin_bytes(origin);
        intake_give(intake, reading->part, job);
        return NULL;
}

static void take_due(struct record_intake *intake, struct part *part) {
        struct reading_parked *reading = malloc(sizeof(*reading));
        if (!reading) {
                intake_fail(intake, error_new(ERROR_MEMORY, "no memory for parked jobs"));
                return;
        }
        reading->intake = intake;
        reading->part = part;
        size_t before = intake->taken;
        int64_t until_unix_ms = clock_now_unix_ms() + PARKED_AHEAD_MS;
        intake_fail(intake, store_parked(intake->options.store, part->partition,
                                         part->parked_begun ? &part->parked_at : NULL, until_unix_ms,
                                         PARKED_BURST, take_parked, reading));
        part->parked_left = intake->taken - before == PARKED_BURST;
        free(reading);
}

void parking_take_due(struct record_intake *intake, bool tick) {
        for (size_t i = 0; i < intake->owned_count && intake->whole > 0 && !intake->error; i++) {
                struct part *part = intake->parts[intake->owned[i]];
                /* a row that was published late may stand before those that were read already */
                if (tick && ++part->parked_ticks % RESCAN_TICKS == 0)
                        part->parked_begun = false;
                bool look = part->active && !part->leaving &&
                            (tick || part->parked_left || !part->parked_begun) &&
                            store_count_parked(intake->options.store, part->partition) > 0;
                if (look && intake->taken + PARKED_BURST <= SHARD_TAKE_MAX && shard_has_room(intake->shard))
                        take_due(intake, part);
        }
}

/* Holds the offsets of those behind it for too long. */
static void park_straggler(void *userdata, struct job_spec *job) {
        struct record_intake *intake = userdata;
        struct origin *origin = job->origin;
        struct part *part = intake_part_of(intake, job);
        if (intake->parks_left == 0 || !origin->open || origin->handed || job->demand.prefs.zdr ||
            !intake_is_current(intake, origin) || part->leaving ||
            origin_bytes(origin) + PARKED_OVERHEAD > intake->options.park_bytes_max)
                return;
        bool holds = part->window.received - origin->record.offset > 1;
        if (!holds || clock_now_ns() - origin->received_ns <= intake->options.park_after_ns)
                return;
        park(intake, part, job, clock_now_unix_ms());
        intake->parks_left--;
}

/* Until the store knows that it is parked nobody else may have its key. */
static bool is_parked(struct record_intake *intake, const struct job_spec *job) {
        struct store_record record;
        struct error *error = store_look_up(intake->options.store, job->partition, job->key, &record);
        bool parked = !error && record.found == STORE_PARKED;
        intake_fail(intake, error);
        return parked;
}

/* Parked in place first; when that is known it leaves. */
static void rest(struct record_intake *intake, struct part *part, const struct job_spec *job,
                 int64_t wait_ns) {
        struct origin *origin = job->origin;
        int64_t now_unix_ms = clock_now_unix_ms();
        bool early = job->not_before_unix_ms > now_unix_ms;
        if (!early && wait_ns > IDLE_MAX_NS)
                wait_ns = IDLE_MAX_NS;
        park(intake, part, job, early ? job->not_before_unix_ms : now_unix_ms + wait_ns / NS_PER_MS);
        origin->rests = true;
}

static void put_away(void *userdata, struct job_spec *job, int64_t until_ns) {
        struct record_intake *intake = userdata;
        struct origin *origin = job->origin;
        struct part *part = intake_part_of(intake, job);
        if (origin->handed || job->demand.prefs.zdr || !intake_is_current(intake, origin) || part->leaving ||
            origin_bytes(origin) + PARKED_OVERHEAD > intake->options.park_bytes_max)
                return;
        int64_t least_unix_ms = clock_now_unix_ms() + PARKED_AHEAD_MS + PARKED_LEAST_MS;
        if (origin->rests && origin->parked_due_unix_ms >= least_unix_ms)
                origin->away = intake->looks++ < LOOKS_MAX && is_parked(intake, job);
        else if (intake->rests++ < REST_BURST)
                rest(intake, part, job, until_ns - clock_now_ns());
}

static bool is_away(void *userdata, const struct job_spec *job) {
        const struct origin *origin = job->origin;
        (void)userdata;
        return origin->away;
}

static void put_idle_away(struct record_intake *intake) {
        intake->rests = intake->looks = 0;
        engine_each_idle(shard_engine(intake->shard), IDLE_NS, put_away, intake);
        if (intake->looks > 0)
                shard_revoke(intake->shard, is_away, intake);
}

void parking_park(struct record_intake *intake) {
        intake->parks_left = PARKS_MAX;
        engine_each_job(shard_engine(intake->shard), park_straggler, intake);
        if (intake->parks_left == 0)
                intake->tick_ns = 0; /* the next turn goes on */
        put_idle_away(intake);
}
