/*
 * What a call cost is only known to the engine, and told as a sum over the job: SETTLE less what the calls
 * before it cost. Of a call that is followed by another one it is clear without the engine: nothing, or, when
 * it may have been executed, the reserved bound.
 */
#include "broker/loop/audit_watch.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/base/time.h"

#include <stdlib.h>
#include <string.h>

struct watched {
        const struct job_spec *job;    /* of the attempt; valid while one is open */
        const struct catalog *catalog; /* in force when it was opened */
        uint32_t endpoint, attempt;
        int64_t reserved_picousd, spent_picousd; /* SPEND_UNKNOWN */
        const struct answer *answer;             /* of this turn, not yet told */
};

struct audit_watch {
        struct audit_watch_options options;
        struct watched *slots;
        bool failed;
};

static const char *const verdicts[] = {
        [VERDICT_OK] = "ok",
        [VERDICT_REJECTED] = "rejected",
        [VERDICT_CONTENT_REFUSED] = "content_refused",
        [VERDICT_OTHER_MODEL] = "other_model",
        [VERDICT_RETRY] = "retry",
        [VERDICT_UNUSABLE] = "unusable",
        [VERDICT_THROTTLED] = "throttled",
        [VERDICT_OVERLOADED] = "overloaded",
        [VERDICT_PAUSE] = "pause",
        [VERDICT_AUTH] = "auth",
        [VERDICT_NOT_SENT] = "not_sent",
        [VERDICT_UNKNOWN] = "unknown",
};

static struct audit_event event_of(const struct audit_watch *watch, enum audit_kind kind,
                                   const struct job_spec *job) {
        struct audit_event event = {.kind = kind,
                                    .at_unix_ms = clock_now_unix_ms(),
                                    .workspace = job->workspace,
                                    .batch = job->batch,
                                    .job = job->key,
                                    .policy = job->class_key.hi,
                                    .catalog = bytes_of(watch->options.catalog->id),
                                    .reserved_picousd = SPEND_UNKNOWN};
        memcpy(event.fingerprint, job->fingerprint, sizeof(event.fingerprint));
        return event;
}

static void tell(struct audit_watch *watch, const struct audit_event *event) {
        struct audit_note *note = audit_note_new(event);
        if (note)
                watch->options.tell(watch->options.tell_userdata, note);
        else
                watch->failed = true;
}

/* ---- calls ---- */

static bool may_have_cost(enum verdict verdict) {
        return verdict == VERDICT_UNKNOWN || verdict == VERDICT_UNUSABLE;
}

/* `settled`: the job ends with this answer; NULL: it goes on. */
static void reckon(const struct watched *watched, const struct answer *answer, const struct outcome *settled,
                   struct audit_event *event) {
        event->cost_known = true;
        if (answer->verdict == VERDICT_OK && settled) {
                event->cost_known = settled->cost_known && watched->spent_picousd != SPEND_UNKNOWN;
                event->cost_is_estimate = settled->cost_is_estimate;
                event->cost_picousd = event->cost_known ? settled->cost_picousd - watched->spent_picousd : 0;
        } else if (may_have_cost(answer->verdict)) {
                event->cost_is_estimate = !answer->cost_known;
                event->cost_picousd = answer->cost_known ? answer->cost_picousd : watched->reserved_picousd;
                event->cost_known = event->cost_picousd != SPEND_UNKNOWN;
        }
}

static void spend(struct watched *watched, const struct audit_event *event) {
        if (watched->spent_picousd == SPEND_UNKNOWN)
                return;
        watched->spent_picousd =
                event->cost_known ? money_add(watched->spent_picousd, event->cost_picousd) : SPEND_UNKNOWN;
}

static void tell_call(struct audit_watch *watch, struct watched *watched, const struct outcome *settled) {
        const struct answer *answer = watched->answer;
        watched->answer = NULL;
        if (!answer || answer->verdict == VERDICT_INPUT || answer->verdict == VERDICT_INPUT_RETRY)
                return; /* nobody was called */
        const struct endpoint *endpoint = &watched->catalog->endpoints[watched->endpoint];
        const struct provider *provider = &watched->catalog->providers[endpoint->provider];
        struct audit_event event = event_of(watch, AUDIT_CALL, watched->job);
        event.endpoint = bytes_of(endpoint->name);
        event.provider = bytes_of(provider->name);
        event.region = bytes_of(provider->region);
        event.catalog = bytes_of(watched->catalog->id);
        event.attempt = watched->attempt;
        event.outcome = verdicts[answer->verdict];
        event.status = answer->status;
        event.reserved_picousd = watched->reserved_picousd;
        reckon(watched, answer, settled, &event);
        spend(watched, &event);
        tell(watch, &event);
}

static void opened(const struct audit_watch *watch, struct watched *watched, const struct command *command) {
        watched->catalog = watch->options.catalog;
        watched->job = command->job;
        watched->endpoint = command->endpoint;
        watched->attempt = command->attempt;
        watched->reserved_picousd = SPEND_UNKNOWN;
        if (command->exposure_picousd != SPEND_UNKNOWN && watched->spent_picousd != SPEND_UNKNOWN)
                watched->reserved_picousd = command->exposure_picousd - watched->spent_picousd;
}

/* ---- refusals ---- */

/* Such a job is refused before a call, whatever became of an earlier one. */
static bool is_refusal(enum failure failure) {
        return failure == FAILURE_NO_PROVIDER || failure == FAILURE_EXCLUDED_BY_POLICY ||
               failure == FAILURE_BUDGET_EXCEEDED || failure == FAILURE_MAX_COST_EXCEEDED;
}

/* The job ends as it does because of that answer, and not because nobody may be called any more. */
static bool follows_from(const struct outcome *outcome, const struct answer *answer) {
        if (!answer || answer->verdict == VERDICT_INPUT || answer->verdict == VERDICT_INPUT_RETRY)
                return false;
        return !is_refusal(outcome->failure) && outcome->has_answer == (answer->status != 0) &&
               outcome->status == answer->status;
}

static void tell_end(struct audit_watch *watch, const struct command *command, enum audit_kind kind) {
        const struct outcome *outcome = command->outcome;
        struct audit_event event = event_of(watch, kind, command->job);
        event.job = command->key;
        event.attempt = outcome->attempts;
        event.outcome = outcome->failure == FAILURE_NONE ? "ok" : failure_text(outcome->failure);
        event.status = outcome->status;
        event.cost_known = true;
        if (kind == AUDIT_RECOVERED) {
                event.cost_known = outcome->cost_known;
                event.cost_is_estimate = outcome->cost_is_estimate;
                event.cost_picousd = outcome->cost_picousd;
        }
        tell(watch, &event);
}

static void settling(struct audit_watch *watch, struct watched *watched, const struct command *command) {
        const struct outcome *outcome = command->outcome;
        const struct answer *answer = watched->answer;
        tell_call(watch, watched, outcome);
        if (outcome->journaled)
                tell_end(watch, command, AUDIT_RECOVERED);
        else if (outcome->failure != FAILURE_NONE && !follows_from(outcome, answer))
                tell_end(watch, command, AUDIT_REFUSAL);
}

/* ---- what the shard shows ---- */

void audit_watch_looked_up(struct audit_watch *watch, uint32_t slot, const struct job_spec *job,
                           const struct store_record *record) {
        struct watched *watched = &watch->slots[slot];
        *watched = (struct watched){0};
        bool unkept = record->found == STORE_ANSWERED && !record->kept;
        if (record->found != STORE_UNKNOWN && !unkept)
                return;
        struct audit_event event = event_of(watch, AUDIT_UNKNOWN, job);
        event.outcome = failure_text(FAILURE_UNKNOWN_OUTCOME);
        if (unkept) {
                event.attempt = record->settled.attempts;
                event.reserved_picousd =
                        record->settled.cost_known ? record->settled.cost_picousd : SPEND_UNKNOWN;
        } else {
                event.endpoint = bytes_of(record->begun.endpoint);
                event.attempt = record->begun.attempt;
                event.reserved_picousd = record->begun.exposure_picousd;
        }
        watched->spent_picousd = event.reserved_picousd;
        const uint8_t *fingerprint = unkept ? record->settled.fingerprint : record->begun.fingerprint;
        if (memcmp(fingerprint, job->fingerprint, sizeof(job->fingerprint)) != 0)
                return; /* another job's: it will be told with that one */
        const struct audit_watch_options *options = &watch->options;
        if (!options->ended || !options->ended(options->ended_userdata, event.job, event.attempt))
                tell(watch, &event);
}

void audit_watch_answered(struct audit_watch *watch, uint32_t slot, const struct answer *answer) {
        watch->slots[slot].answer = answer;
}

void audit_watch_command(struct audit_watch *watch, const struct command *command) {
        struct watched *watched = &watch->slots[command->handle.slot];
        switch (command->kind) {
        case COMMAND_SETTLE:
                settling(watch, watched, command);
                return;
        case COMMAND_OPEN:
                tell_call(watch, watched, NULL);
                opened(watch, watched, command);
                return;
        case COMMAND_FORGET:
                if (!command->duplicate) /* that may never have had a slot */
                        tell_call(watch, watched, NULL);
                return;
        case COMMAND_LOOK_UP:
        case COMMAND_CALL:
        case COMMAND_END:
        case COMMAND_NOTE:
                return;
        }
        CHECK(false);
}

void audit_watch_turned(struct audit_watch *watch, uint32_t slot) {
        tell_call(watch, &watch->slots[slot], NULL);
}

struct audit_watch *audit_watch_new(const struct audit_watch_options *options) {
        struct audit_watch *watch = calloc(1, sizeof(*watch));
        if (!watch)
                return NULL;
        watch->options = *options;
        watch->slots = calloc(options->slots, sizeof(*watch->slots));
        return watch->slots ? watch : audit_watch_free(watch);
}

struct audit_watch *audit_watch_free(struct audit_watch *watch) {
        if (!watch)
                return NULL;
        free(watch->slots);
        free(watch);
        return NULL;
}

void audit_watch_follow(struct audit_watch *watch, const struct catalog *catalog) {
        watch->options.catalog = catalog;
}

bool audit_watch_failed(const struct audit_watch *watch) {
        return watch->failed;
}
