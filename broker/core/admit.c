#include "broker/core/admit.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/core/classes.h"
#include "broker/core/conclude.h"

#include <stddef.h>
#include <string.h>

_Static_assert(offsetof(struct job, outcome) + sizeof(struct outcome) == sizeof(struct job),
               "what stands before the outcome is cleared, and nothing stands behind it");

static int64_t wall_to_ns(const struct engine *engine, int64_t unix_ms) {
        int64_t ahead_ms = unix_ms - engine->time.now_unix_ms;
        if (ahead_ms > INT64_MAX / 2 / NS_PER_MS)
                return NEVER_NS;
        if (ahead_ms < 0)
                return engine->time.now_ns;
        return engine->time.now_ns + ahead_ms * NS_PER_MS;
}

static bool same_job(const struct job_spec *a, const struct job_spec *b) {
        return memcmp(a->fingerprint, b->fingerprint, sizeof(a->fingerprint)) == 0;
}

/* The job inside that has the key; NULL when there is none. */
static const struct job *holder_of(const struct engine *engine, struct key128 key) {
        uint32_t slot;
        return map_get(&engine->by_key, key, &slot) ? &engine->jobs[slot] : NULL;
}

static void repeats(struct command *command, const struct job *twin) {
        command->duplicate = true;
        command->twin = twin ? twin->spec : NULL;
        command->twin_goes = twin && twin->revoked;
}

static void forget_unadmitted(struct engine *engine, struct job_spec *spec, struct key128 key) {
        engine->stats.duplicates++;
        struct command *command = &engine->out->items[engine->out->count++];
        *command = (struct command){.kind = COMMAND_FORGET, .job = spec};
        repeats(command, holder_of(engine, key));
}

static void forget(struct engine *engine, struct job *job, const struct job *twin) {
        engine->stats.duplicates++;
        repeats(engine_command(engine, job, COMMAND_FORGET, false), twin);
        conclude_release(engine, job);
}

static void look_up(struct engine *engine, struct job *job) {
        engine_move(engine, job, JOB_SEEKING);
        engine_command(engine, job, COMMAND_LOOK_UP, true);
}

/*
 * Two jobs with one key: the second one is settled as a conflict, under a name of its own, so that this too
 * happens once.
 */
static bool become_conflict(struct engine *engine, struct job *job) {
        job->conflict = true;
        job->key = job->spec->alias;
        uint32_t other;
        return !map_get(&engine->by_key, job->key, &other);
}

void admit_reckon(const struct engine *engine, struct job *job) {
        const struct job_spec *spec = job->spec;
        job->deadline_ns = spec->deadline_unix_ms ? wall_to_ns(engine, spec->deadline_unix_ms) : NEVER_NS;
        if (job->early)
                job->wake_ns = wall_to_ns(engine, spec->not_before_unix_ms);
}

void admit_job(struct engine *engine, struct job_spec *spec) {
        CHECK(!list_empty(&engine->free_jobs));
        uint32_t slot;
        struct job *job = LIST_ENTRY(engine->free_jobs.next, struct job, link);
        bool known = map_get(&engine->by_key, spec->key, &slot);
        if (known && same_job(engine->jobs[slot].spec, spec)) {
                forget_unadmitted(engine, spec, spec->key);
                return;
        }
        list_unlink(&job->link);
        uint32_t generation = job->generation;
        memset(job, 0, offsetof(struct job, outcome));
        outcome_init(&job->outcome, engine->catalog);
        job->spec = spec;
        job->key = spec->key;
        job->generation = generation;
        job->job_class = NO_CLASS;
        job->admitted_ns = engine->time.now_ns;
        admit_reckon(engine, job);
        job->contested = known && engine->jobs[slot].state == JOB_SEEKING;
        if (known && !become_conflict(engine, job)) {
                list_append(&engine->free_jobs, &job->link);
                forget_unadmitted(engine, spec, spec->alias);
                return;
        }
        CHECK(map_put(&engine->by_key, job->key, engine_slot(engine, job)));
        engine->inside++;
        engine->states[JOB_FREE]--;
        engine->states[job->state]++;
        engine->stats.jobs++;
        look_up(engine, job);
}

static void start_waiting(struct engine *engine, struct job *job) {
        if (job->spec->not_before_unix_ms > engine->time.now_unix_ms) {
                job->early = true;
                job->wake_ns = wall_to_ns(engine, job->spec->not_before_unix_ms);
        }
        engine_move(engine, job, job->early ? JOB_SLEEPING : JOB_WAITING);
        engine_arm(engine, job);
        if (!job->early)
                classes_enqueue(engine, job);
}

static void admit_unknown(struct job *job, const struct known_job *known) {
        job->attempts = known->attempts;
        if (known->exposure_picousd == SPEND_UNKNOWN)
                job->spent_unknown = true;
        else
                job->spent_picousd = known->exposure_picousd; /* of all attempts up to that one */
        job->outcome.cost_is_estimate = true;
}

/* Its result was bought and made durable before: all that is left is to publish it. */
static void admit_answered(struct engine *engine, struct job *job, const struct known_job *known) {
        job->attempts = known->attempts;
        job->outcome.journaled = true;
        job->outcome.status = known->status;
        job->outcome.cost_known = known->cost_known;
        job->outcome.cost_is_estimate = known->cost_is_estimate;
        job->outcome.cost_picousd = known->cost_picousd;
        conclude_journaled(engine, job, known->failure);
}

static enum failure refusal(const struct engine *engine, const struct job *job,
                            const struct known_job *known) {
        if (job->conflict)
                return FAILURE_IDEMPOTENCY_CONFLICT;
        if (job->spec->failure != FAILURE_NONE)
                return job->spec->failure;
        if (known->known == KNOWN_UNKNOWN) {
                if (job->spec->unknown == UNKNOWN_FAIL || job->attempts >= engine->config.attempts_max)
                        return FAILURE_UNKNOWN_OUTCOME;
        }
        if (job->deadline_ns <= engine->time.now_ns)
                return FAILURE_DEADLINE_EXCEEDED;
        return FAILURE_NONE;
}

/* The key is another job's: looked up again under the alias, unless this conflict too is inside already. */
static void rename_conflict(struct engine *engine, struct job *job) {
        map_remove(&engine->by_key, job->key);
        if (!become_conflict(engine, job)) {
                job->key = job->spec->key; /* the alias stays the other one's */
                forget(engine, job, holder_of(engine, job->spec->alias));
                return;
        }
        CHECK(map_put(&engine->by_key, job->key, engine_slot(engine, job)));
        look_up(engine, job);
}

/*
 * The job that held the key when this one arrived was itself still being looked up. If it has gone, or has
 * become the conflict, the key may be this one's: it is looked up like any other. true: not decided yet.
 */
static bool contest(struct engine *engine, struct job *job) {
        uint32_t holder;
        if (map_get(&engine->by_key, job->spec->key, &holder)) {
                const struct job *other = &engine->jobs[holder];
                if (same_job(other->spec, job->spec))
                        forget(engine, job, other);
                else if (other->state == JOB_SEEKING)
                        look_up(engine, job);
                else
                        return false;
                return true;
        }
        map_remove(&engine->by_key, job->key);
        job->key = job->spec->key;
        job->conflict = job->contested = false;
        CHECK(map_put(&engine->by_key, job->key, engine_slot(engine, job)));
        look_up(engine, job);
        return true;
}

void admit_looked_up(struct engine *engine, struct job *job, const struct known_job *known) {
        bool done = known->known == KNOWN_SETTLED || known->known == KNOWN_PARKED;
        if (done && (known->same_fingerprint || job->conflict)) {
                forget(engine, job, NULL);
                return;
        }
        if (known->known != KNOWN_NOTHING && !known->same_fingerprint && !job->conflict) {
                rename_conflict(engine, job);
                return;
        }
        if (job->contested && contest(engine, job))
                return;
        if (known->known == KNOWN_ANSWERED) {
                admit_answered(engine, job, known);
                return;
        }
        if (known->known == KNOWN_UNKNOWN)
                admit_unknown(job, known);
        enum failure failure = refusal(engine, job, known);
        if (failure == FAILURE_NONE && !classes_join(engine, job))
                failure = FAILURE_NO_PROVIDER;
        if (failure != FAILURE_NONE)
                conclude_without_answer(engine, job, failure);
        else
                start_waiting(engine, job);
}
