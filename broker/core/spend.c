/*
 * See the header. A subject is a workspace or a provider (budget.h); a job has at most two: its workspace,
 * and the provider of the endpoint that it is opened for.
 */
#include "broker/core/spend.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "workers/routing/cost.h"

#include <stdlib.h>

#define NO_SUBJECT UINT32_MAX

/* Counted from now on, if the catalog asks for it. */
static void begin(struct engine *engine, uint32_t subject, const struct budget_spend *spend) {
        struct spend_subject *at = &engine->subjects[subject];
        budget_subject_ledger(engine->catalog, subject, &at->ledger);
        at->counted = budget_is_counted(engine->catalog, subject);
        if (spend)
                at->ledger.spend = *spend;
        ledger_roll(&at->ledger, engine->time.now_unix_ms);
}

bool spend_init(struct engine *engine) {
        uint32_t count = budget_subjects(engine->catalog);
        if (count == 0 || engine->config.uncounted)
                return true;
        engine->subjects = calloc(count, sizeof(*engine->subjects));
        if (!engine->subjects)
                return false;
        engine->subjects_count = count;
        for (uint32_t i = 0; i < count; i++)
                begin(engine, i, NULL);
        return true;
}

bool spend_make(const struct engine *engine, const struct catalog *catalog,
                struct spend_subject **out_subjects, uint32_t *out_count) {
        uint32_t count = budget_subjects(catalog);
        if (count == 0 && engine->subjects_count > 0) /* what is reserved is still to be settled */
                count = catalog->workspaces_count + catalog->providers_count;
        *out_count = engine->config.uncounted ? 0 : count;
        *out_subjects = *out_count > 0 ? calloc(count, sizeof(**out_subjects)) : NULL;
        return *out_count == 0 || *out_subjects;
}

static uint32_t moved(const struct engine *engine, const struct catalog *before, uint32_t subject) {
        return subject == NO_SUBJECT ? NO_SUBJECT
                                     : budget_of_lasting(engine->catalog, budget_lasting(before, subject));
}

/* What was spent stays; the limits are the new ones. */
static void follow(struct engine *engine, uint32_t subject, const struct budget_spend *spend) {
        struct spend_subject *at = &engine->subjects[subject];
        struct ledger limits;
        if (!at->counted) {
                begin(engine, subject, spend);
                return;
        }
        budget_subject_ledger(engine->catalog, subject, &limits);
        at->ledger.limit = limits.limit;
        at->ledger.fails = limits.fails;
        at->epoch++;
}

void spend_follow(struct engine *engine, const struct catalog *before, struct spend_subject *subjects,
                  uint32_t count, const struct budget_spend *const *spends) {
        for (uint32_t i = 0; i < engine->subjects_count; i++)
                subjects[moved(engine, before, i)] = engine->subjects[i];
        for (uint32_t i = 0; i < engine->config.jobs_max; i++)
                for (int k = 0; k < 2 && engine->jobs[i].reserved.open; k++) {
                        uint32_t *subject = &engine->jobs[i].reserved.subjects[k];
                        *subject = moved(engine, before, *subject);
                }
        free(engine->subjects);
        engine->subjects = subjects;
        engine->subjects_count = count;
        for (uint32_t i = 0; i < count; i++)
                follow(engine, i, spends ? spends[i] : NULL);
}

void spend_deinit(struct engine *engine) {
        free(engine->subjects);
}

static uint32_t workspace_subject(const struct engine *engine, const struct job *job) {
        return engine->catalog->workspaces_count > 0 ? job_demand(job)->workspace : NO_SUBJECT;
}

static uint32_t provider_subject(const struct engine *engine, uint32_t endpoint) {
        const struct catalog *catalog = engine->catalog;
        uint32_t subject = catalog->workspaces_count + catalog->endpoints[endpoint].provider;
        return budget_is_counted(catalog, subject) ? subject : NO_SUBJECT;
}

static struct ledger *rolled(struct engine *engine, uint32_t subject) {
        if (subject == NO_SUBJECT)
                return NULL;
        CHECK(subject < engine->subjects_count);
        struct ledger *ledger = &engine->subjects[subject].ledger;
        ledger_roll(ledger, engine->time.now_unix_ms);
        return ledger;
}

void spend_view(struct engine *engine, const struct job *job, uint32_t endpoint, struct route_state *view) {
        if (engine->subjects_count == 0)
                return;
        view->budgets[0] = rolled(engine, workspace_subject(engine, job));
        view->budgets[1] = rolled(engine, provider_subject(engine, endpoint));
}

void spend_reserve(struct engine *engine, struct job *job) {
        struct spend_reservation *reserved = &job->reserved;
        if (engine->subjects_count == 0)
                return;
        CHECK(!reserved->open);
        *reserved = (struct spend_reservation){
                .open = true,
                .journaled = true,
                .subjects = {workspace_subject(engine, job), provider_subject(engine, job->endpoint)},
                .day = budget_day(engine->time.now_unix_ms),
                .picousd = job->exposure_picousd == SPEND_UNKNOWN ? 0 : job->exposure_picousd,
        };
        for (int i = 0; i < 2; i++) {
                struct ledger *ledger = rolled(engine, reserved->subjects[i]);
                if (ledger)
                        CHECK(ledger_reserve(ledger, reserved->picousd) == reserved->day);
        }
}

bool spend_covers(const struct engine *engine, const struct job *job) {
        int64_t ceiling;
        const struct endpoint *endpoint = &engine->catalog->endpoints[job->endpoint];
        const struct demand *demand = job_demand(job);
        int64_t now_unix_ms = engine->time.now_unix_ms;
        bool bounded = engine->subjects_count > 0 || demand->max_cost_picousd != PICOUSD_MAX;
        if (!bounded || job->exposure_picousd == SPEND_UNKNOWN)
                return true;
        return !cost_ceiling_until(endpoint, demand, now_unix_ms, now_unix_ms + engine_call_ms(engine, job),
                                   demand->input_tokens, &ceiling) ||
               ceiling <= job->exposure_picousd;
}

/* Room may have come up for those that wait for it. */
static void touch(struct engine *engine, uint32_t subject, bool changed) {
        struct spend_subject *at = &engine->subjects[subject];
        uint32_t workspaces = engine->catalog->workspaces_count;
        if (subject >= workspaces)
                engine->providers[subject - workspaces].epoch++;
        at->epoch++;
        if (!changed || at->dirty)
                return;
        at->dirty = true;
        engine->subjects_dirty++;
}

void spend_settle(struct engine *engine, struct job *job, int64_t picousd) {
        struct spend_reservation *reserved = &job->reserved;
        if (!reserved->open)
                return;
        reserved->open = false;
        for (int i = 0; i < 2; i++) {
                struct ledger *ledger = rolled(engine, reserved->subjects[i]);
                if (!ledger)
                        continue;
                ledger_settle(ledger, reserved->picousd, reserved->day, picousd);
                touch(engine, reserved->subjects[i], picousd > 0);
        }
}

void spend_release(struct engine *engine, struct job *job) {
        spend_settle(engine, job, 0);
}

static int64_t release_time(const struct engine *engine, const struct job *job) {
        const struct catalog *catalog = engine->catalog;
        if (catalog->workspaces_count == 0)
                return BUDGET_KEPT;
        return budget_release_unix_ms(engine->time.now_unix_ms,
                                      catalog->workspaces[job_demand(job)->workspace].release_unknown_ns);
}

void spend_hold(struct engine *engine, struct job *job) {
        struct spend_reservation *reserved = &job->reserved;
        if (!reserved->open)
                return;
        reserved->open = false;
        struct budget_risk risk = {reserved->day, release_time(engine, job), reserved->picousd};
        for (int i = 0; i < 2; i++) {
                struct ledger *ledger = rolled(engine, reserved->subjects[i]);
                if (!ledger)
                        continue;
                ledger_hold(ledger, reserved->picousd, reserved->day, &risk);
                touch(engine, reserved->subjects[i], true);
        }
}

uint64_t spend_epoch(const struct engine *engine, uint32_t workspace) {
        return engine->subjects_count > 0 && engine->catalog->workspaces_count > 0
                       ? engine->subjects[workspace].epoch
                       : 0;
}

/* ---- for whoever keeps it ---- */

void engine_spend_load(struct engine *engine, uint32_t subject, const struct budget_spend *spend) {
        CHECK(subject < engine->subjects_count && engine->inside == 0);
        struct ledger *ledger = &engine->subjects[subject].ledger;
        ledger->spend = *spend;
        ledger_roll(ledger, engine->time.now_unix_ms);
}

void engine_spend_take(struct engine *engine,
                       void (*each)(void *userdata, uint32_t subject, const struct budget_spend *spend),
                       void *userdata) {
        for (uint32_t i = 0; i < engine->subjects_count && engine->subjects_dirty > 0; i++) {
                if (!engine->subjects[i].dirty)
                        continue;
                engine->subjects[i].dirty = false;
                engine->subjects_dirty--;
                each(userdata, i, &engine->subjects[i].ledger.spend);
        }
}

const struct ledger *engine_ledger(struct engine *engine, struct engine_time now, uint32_t subject) {
        CHECK(subject < engine->subjects_count);
        ledger_roll(&engine->subjects[subject].ledger, now.now_unix_ms);
        return &engine->subjects[subject].ledger;
}
