/*
 * See the header. A subject is a workspace or a provider (budget.h); a job has at most two: its workspace,
 * and the provider of the endpoint that it is opened for.
 */
#include "broker/core/spend.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/money.h"
#include "workers/routing/cost.h"

#include <stdlib.h>

/* ---- purses ---- */

static void init_ledger(const struct engine *engine, const struct purse *purse, uint32_t subject,
                        struct ledger *out_ledger) {
        static const struct budget_spec nothing = {.lifetime = 1};
        uint32_t whole = engine->purses_whole;
        const struct budget_spec *budget = budget_of_subject(engine->catalog, subject);
        budget_subject_ledger(engine->catalog, subject, out_ledger);
        if (ledger_takes_share(budget, purse->partition, whole))
                ledger_share(out_ledger, budget, purse->partition, whole);
        else /* the topic was made anew with fewer partitions */
                out_ledger->limit = nothing;
        out_ledger->allowance.needed = engine->config.by_partition && ledger_bounded(out_ledger);
}

/* Counted from now on, if the catalog asks for it. */
static void begin(struct engine *engine, struct purse *purse, uint32_t subject,
                  const struct budget_spend *spend) {
        struct spend_subject *at = &purse->subjects[subject];
        init_ledger(engine, purse, subject, &at->ledger);
        at->counted = budget_is_counted(engine->catalog, subject);
        at->loaded = false;
        if (spend)
                at->ledger.spend = *spend;
        ledger_roll(&at->ledger, engine->time.now_unix_ms);
}

static void note_bounds(struct engine *engine) {
        const struct catalog *catalog = engine->catalog;
        engine->providers_bounded = false;
        for (uint32_t i = 0; i < catalog->providers_count; i++)
                engine->providers_bounded =
                        engine->providers_bounded || budget_bounds(&catalog->providers[i].budget);
}

/* By partition words cost something: without a budget nothing is counted. */
static uint32_t count_subjects(const struct engine *engine, const struct catalog *catalog) {
        return engine->config.by_partition && !budget_any(catalog) ? 0 : budget_subjects(catalog);
}

static struct purse *make_purse(struct engine *engine, uint32_t partition) {
        struct purse *purse = calloc(1, sizeof(*purse));
        if (!purse)
                return NULL;
        purse->partition = partition;
        purse->subjects = calloc(engine->subjects_count + 1, sizeof(*purse->subjects));
        if (!purse->subjects) {
                free(purse);
                return NULL;
        }
        engine->purses[partition] = purse;
        if (partition >= engine->purses_count)
                engine->purses_count = partition + 1;
        return purse;
}

static void fill(struct engine *engine, struct purse *purse) {
        for (uint32_t i = 0; i < engine->subjects_count; i++)
                begin(engine, purse, i, NULL);
        purse->open = true;
}

bool spend_init(struct engine *engine) {
        list_init(&engine->purses_dirty);
        note_bounds(engine);
        engine->subjects_count = count_subjects(engine, engine->catalog);
        if (engine->config.by_partition)
                return true;
        struct purse *purse = make_purse(engine, 0);
        if (purse)
                fill(engine, purse);
        return purse;
}

void spend_deinit(struct engine *engine) {
        for (uint32_t i = 0; i < engine->purses_count; i++) {
                if (!engine->purses[i])
                        continue;
                free(engine->purses[i]->subjects);
                free(engine->purses[i]);
        }
}

static void clean(struct engine *engine, struct purse *purse) {
        for (uint32_t i = 0; i < engine->subjects_count; i++)
                purse->subjects[i] = (struct spend_subject){.epoch = purse->subjects[i].epoch + 1};
        purse->dirty = 0;
        list_unlink(&purse->link);
}

static void dirty(struct engine *engine, struct purse *purse, uint32_t subject) {
        struct spend_subject *at = &purse->subjects[subject];
        if (at->dirty)
                return;
        at->dirty = true;
        if (purse->dirty++ == 0)
                list_append(&engine->purses_dirty, &purse->link);
}

/* Room may have come up for those that wait for it. */
static void touch(struct engine *engine, struct purse *purse, uint32_t subject) {
        uint32_t workspaces = engine->catalog->workspaces_count;
        if (subject >= workspaces)
                engine->providers[subject - workspaces].epoch++;
        purse->subjects[subject].epoch++;
}

/* ---- another catalog ---- */

void spend_unmake(struct spend_following *following) {
        for (uint32_t i = 0; i < following->purses_count && following->purses; i++)
                free(following->purses[i]);
        free(following->purses);
        *following = (struct spend_following){0};
}

bool spend_make(const struct engine *engine, const struct catalog *catalog,
                struct spend_following *out_following) {
        struct spend_following made = {.purses_count = engine->purses_count,
                                       .subjects_count = count_subjects(engine, catalog)};
        /* what is reserved is still to be settled */
        if (made.subjects_count == 0 && engine->subjects_count > 0)
                made.subjects_count = catalog->workspaces_count + catalog->providers_count;
        made.purses = calloc(engine->purses_count + 1, sizeof(*made.purses));
        bool well = made.purses;
        for (uint32_t i = 0; i < engine->purses_count && well; i++) {
                if (!engine->purses[i])
                        continue;
                made.purses[i] = calloc(made.subjects_count + 1, sizeof(**made.purses));
                well = made.purses[i];
        }
        if (!well)
                spend_unmake(&made);
        *out_following = made;
        return well;
}

static uint32_t moved(const struct engine *engine, const struct catalog *before, uint32_t subject) {
        return subject == BUDGET_NO_SUBJECT
                       ? BUDGET_NO_SUBJECT
                       : budget_of_lasting(engine->catalog, budget_lasting(before, subject));
}

/* What was spent stays; the limits are the new ones. */
static void follow(struct engine *engine, struct purse *purse, uint32_t subject,
                   const struct budget_spend *spend) {
        struct spend_subject *at = &purse->subjects[subject];
        struct ledger limits;
        if (!at->counted) {
                begin(engine, purse, subject, spend);
                return;
        }
        init_ledger(engine, purse, subject, &limits);
        at->ledger.limit = limits.limit;
        at->ledger.part = limits.part;
        at->ledger.whole = limits.whole;
        at->ledger.fails = limits.fails;
        at->ledger.allowance.needed = limits.allowance.needed;
        if (!limits.allowance.needed)
                at->ledger.allowance.left_picousd = at->ledger.allowance.coming_picousd = 0;
        at->epoch++;
}

static void follow_purse(struct engine *engine, const struct catalog *before, struct purse *purse,
                         struct spend_subject *subjects, uint32_t had) {
        for (uint32_t i = 0; i < had; i++)
                subjects[moved(engine, before, i)] = purse->subjects[i];
        free(purse->subjects);
        purse->subjects = subjects;
}

void spend_follow(struct engine *engine, const struct catalog *before, struct spend_following *following,
                  const struct budget_spend *const *spends) {
        uint32_t had = engine->subjects_count;
        for (uint32_t i = 0; i < engine->config.jobs_max; i++)
                for (int k = 0; k < 2 && engine->jobs[i].reserved.open; k++) {
                        uint32_t *subject = &engine->jobs[i].reserved.subjects[k];
                        *subject = moved(engine, before, *subject);
                }
        engine->subjects_count = following->subjects_count;
        note_bounds(engine);
        for (uint32_t p = 0; p < engine->purses_count; p++) {
                struct purse *purse = engine->purses[p];
                if (!purse)
                        continue;
                follow_purse(engine, before, purse, following->purses[p], had);
                following->purses[p] = NULL;
                for (uint32_t i = 0; i < engine->subjects_count; i++)
                        follow(engine, purse, i, spends ? spends[i] : NULL);
        }
        spend_unmake(following);
}

void spend_share(struct engine *engine, uint32_t whole) {
        if (!engine->config.by_partition || whole == engine->purses_whole)
                return;
        engine->purses_whole = whole;
        for (uint32_t p = 0; p < engine->purses_count; p++)
                for (uint32_t i = 0; i < engine->subjects_count && engine->purses[p]; i++)
                        follow(engine, engine->purses[p], i, NULL);
}

/* ---- what a job reserves ---- */

static uint32_t workspace_subject(const struct engine *engine, const struct job *job) {
        return engine->catalog->workspaces_count > 0 ? job_demand(job)->workspace : BUDGET_NO_SUBJECT;
}

/* From which the job is paid; NULL: there is none, as it was never opened, or has gone with its partition. */
static struct purse *purse_of(const struct engine *engine, const struct job *job) {
        struct purse *purse = engine->purses[engine->config.by_partition ? job->spec->partition : 0];
        return purse && purse->open ? purse : NULL;
}

static struct ledger *rolled(struct engine *engine, const struct purse *purse, uint32_t subject) {
        if (subject == BUDGET_NO_SUBJECT)
                return NULL;
        CHECK(subject < engine->subjects_count);
        struct ledger *ledger = &purse->subjects[subject].ledger;
        ledger_roll(ledger, engine->time.now_unix_ms);
        return ledger;
}

/* Of a job whose partition is not here any more: where a budget applies, nothing may be reserved. */
static const struct ledger *no_ledger(const struct engine *engine, uint32_t subject) {
        static const struct ledger nothing = {.limit = {.lifetime = INT64_MAX},
                                              .allowance = {.needed = true}};
        return subject != BUDGET_NO_SUBJECT && budget_bounds(budget_of_subject(engine->catalog, subject))
                       ? &nothing
                       : NULL;
}

void spend_view(struct engine *engine, const struct job *job, uint32_t endpoint, struct route_state *view) {
        const struct purse *purse = purse_of(engine, job);
        uint32_t subjects[2] = {workspace_subject(engine, job),
                                budget_provider_subject(engine->catalog, endpoint)};
        for (int i = 0; i < 2; i++)
                view->budgets[i] =
                        purse ? rolled(engine, purse, subjects[i]) : no_ledger(engine, subjects[i]);
}

void spend_want(struct engine *engine, const struct job *job, const struct candidate *candidate) {
        struct purse *purse = engine->subjects_count > 0 ? purse_of(engine, job) : NULL;
        int64_t most = max64(candidate->cost_ceiling_picousd, candidate->cost_expected_picousd);
        if (!engine->config.by_partition || !purse || purse->closing)
                return;
        uint32_t subjects[2] = {workspace_subject(engine, job),
                                budget_provider_subject(engine->catalog, candidate->endpoint)};
        for (int i = 0; i < 2; i++) {
                struct ledger *ledger = rolled(engine, purse, subjects[i]);
                if (!ledger || !purse->subjects[subjects[i]].loaded)
                        continue;
                ledger_want(ledger, most);
                if (ledger_is_short(ledger))
                        dirty(engine, purse, subjects[i]);
        }
}

static void reserve(struct engine *engine, struct purse *purse, uint32_t subject,
                    const struct spend_reservation *reserved) {
        struct ledger *ledger = rolled(engine, purse, subject);
        if (!ledger)
                return;
        CHECK(ledger_reserve(ledger, reserved->picousd) == reserved->day);
        if (ledger_is_short(ledger) && !purse->closing)
                dirty(engine, purse, subject);
}

void spend_reserve(struct engine *engine, struct job *job) {
        struct spend_reservation *reserved = &job->reserved;
        struct purse *purse = engine->subjects_count > 0 ? purse_of(engine, job) : NULL;
        if (!purse)
                return;
        CHECK(!reserved->open);
        *reserved = (struct spend_reservation){
                .open = true,
                .journaled = !engine->config.by_partition,
                .purse = purse,
                .life = purse->life,
                .subjects = {workspace_subject(engine, job),
                             budget_provider_subject(engine->catalog, job->endpoint)},
                .day = budget_day(engine->time.now_unix_ms),
                .picousd = job->exposure_picousd == SPEND_UNKNOWN ? 0 : job->exposure_picousd,
        };
        for (int i = 0; i < 2; i++)
                reserve(engine, purse, reserved->subjects[i], reserved);
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

/*
 * The purse, if it is the one from which that was reserved; else its partition has been away, and whoever had
 * it counts the amount as at risk.
 */
static struct purse *end_reservation(struct spend_reservation *reserved) {
        bool open = reserved->open && reserved->purse->open && reserved->life == reserved->purse->life;
        reserved->open = false;
        return open ? reserved->purse : NULL;
}

void spend_settle(struct engine *engine, struct job *job, int64_t picousd) {
        struct spend_reservation *reserved = &job->reserved;
        struct purse *purse = reserved->open ? end_reservation(reserved) : NULL;
        for (int i = 0; i < 2 && purse; i++) {
                struct ledger *ledger = rolled(engine, purse, reserved->subjects[i]);
                if (!ledger)
                        continue;
                ledger_settle(ledger, reserved->picousd, reserved->day, picousd);
                touch(engine, purse, reserved->subjects[i]);
                if (picousd > 0 || purse->closing)
                        dirty(engine, purse, reserved->subjects[i]);
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
        struct purse *purse = reserved->open ? end_reservation(reserved) : NULL;
        struct budget_risk risk = {reserved->day, release_time(engine, job), reserved->picousd};
        for (int i = 0; i < 2 && purse; i++) {
                struct ledger *ledger = rolled(engine, purse, reserved->subjects[i]);
                if (!ledger)
                        continue;
                ledger_hold(ledger, reserved->picousd, reserved->day, &risk);
                touch(engine, purse, reserved->subjects[i]);
                dirty(engine, purse, reserved->subjects[i]);
        }
}

uint32_t spend_part(const struct engine *engine, const struct job *job) {
        const struct catalog *catalog = engine->catalog;
        if (!engine->config.by_partition)
                return 0;
        bool bounded = engine->providers_bounded ||
                       (catalog->workspaces_count > 0 &&
                        budget_bounds(&catalog->workspaces[job_demand(job)->workspace].budget));
        return bounded ? job->spec->partition + 1 : 0;
}

uint64_t spend_epoch(const struct engine *engine, uint32_t workspace, uint32_t part) {
        if (engine->subjects_count == 0 || engine->catalog->workspaces_count == 0 ||
            (engine->config.by_partition && part == 0))
                return 0;
        const struct purse *purse = engine->purses[part > 0 ? part - 1 : 0];
        return purse ? purse->subjects[workspace].epoch : 0;
}

/* ---- for whoever keeps it ---- */

void engine_spend_load(struct engine *engine, uint32_t partition, uint32_t subject,
                       const struct budget_spend *spend, bool answers) {
        const struct purse *purse = engine->purses[partition];
        CHECK(purse && subject < engine->subjects_count);
        CHECK(engine->config.by_partition ? !purse->subjects[subject].loaded : engine->inside == 0);
        struct ledger *ledger = &purse->subjects[subject].ledger;
        ledger->spend = *spend;
        ledger->allowance.told_picousd = answers; /* more than is known to be under way */
        ledger_roll(ledger, engine->time.now_unix_ms);
}

bool engine_spend_wanted(const struct engine *engine, uint32_t partition, uint32_t subject) {
        const struct purse *purse = engine->purses[partition];
        return purse && subject < engine->subjects_count && purse->subjects[subject].counted &&
               !purse->subjects[subject].loaded;
}

struct taking {
        size_t left;
        void (*each)(void *userdata, const struct spend_news *news);
        void *userdata;
};

static void give(struct engine *engine, struct purse *purse, uint32_t subject, struct taking *taking) {
        struct spend_subject *at = &purse->subjects[subject];
        struct spend_news news = {
                .partition = purse->partition, .subject = subject, .spend = &at->ledger.spend};
        if (!at->dirty || at->word != 0 || (engine->config.by_partition && !at->loaded))
                return; /* what was spent before is not known: nothing may take its place */
        taking->left--;
        at->dirty = false;
        purse->dirty--;
        if (engine->config.by_partition) {
                if (++engine->words == 0)
                        engine->words = 1;
                news.word = at->word = engine->words;
                rolled(engine, purse, subject);
                ledger_tell(&at->ledger, purse->closing, news.allowed);
        }
        taking->each(taking->userdata, &news);
}

bool engine_spend_take(struct engine *engine, size_t max,
                       void (*each)(void *userdata, const struct spend_news *news), void *userdata) {
        struct list *next;
        struct taking taking = {max, each, userdata};
        for (struct list *link = engine->purses_dirty.next; link != &engine->purses_dirty; link = next) {
                struct purse *purse = LIST_ENTRY(link, struct purse, link);
                next = link->next;
                for (uint32_t i = 0; i < engine->subjects_count && purse->dirty > 0 && taking.left > 0; i++)
                        give(engine, purse, i, &taking);
                if (purse->dirty == 0)
                        list_unlink(link);
        }
        return taking.left > 0;
}

void engine_spend_told(struct engine *engine, uint32_t partition, uint32_t word, bool stands) {
        struct purse *purse = engine->purses[partition];
        uint32_t subject = 0;
        CHECK(purse && word != 0);
        while (subject < engine->subjects_count && purse->subjects[subject].word != word)
                subject++;
        if (subject == engine->subjects_count)
                return; /* of an earlier life of the purse */
        purse->subjects[subject].word = 0;
        ledger_told(&purse->subjects[subject].ledger, stands);
        touch(engine, purse, subject);
        if (!stands)
                dirty(engine, purse, subject);
}

static void sum_up(const struct engine *engine, const struct ledger *ledger, struct spend_sums *sums) {
        struct ledger now = *ledger;
        struct budget_view views[BUDGET_KINDS_COUNT];
        ledger_roll(&now, engine->time.now_unix_ms);
        for (unsigned kind = 0; kind < BUDGET_KINDS_COUNT; kind++)
                ledger_view(&now, (enum budget_kind)kind, &views[kind]);
        sums->day_picousd = money_add(sums->day_picousd, views[BUDGET_DAILY].settled_picousd);
        sums->month_picousd = money_add(sums->month_picousd, views[BUDGET_MONTHLY].settled_picousd);
        sums->lifetime_picousd = money_add(sums->lifetime_picousd, views[BUDGET_LIFETIME].settled_picousd);
        sums->risk_picousd = money_add(sums->risk_picousd, views[BUDGET_LIFETIME].risk_picousd);
        sums->reserved_picousd = money_add(sums->reserved_picousd, now.reserved_picousd);
        sums->allowed_picousd = money_add(sums->allowed_picousd, now.allowance.left_picousd);
        sums->allowed_picousd = money_add(sums->allowed_picousd, now.allowance.coming_picousd);
}

void engine_spend_sums(const struct engine *engine, uint32_t subject, struct spend_sums *out_sums) {
        *out_sums = (struct spend_sums){0};
        for (uint32_t i = 0; i < engine->purses_count && subject < engine->subjects_count; i++)
                if (engine->purses[i] && engine->purses[i]->open)
                        sum_up(engine, &engine->purses[i]->subjects[subject].ledger, out_sums);
}

const struct ledger *engine_ledger(struct engine *engine, struct engine_time now, uint32_t partition,
                                   uint32_t subject) {
        CHECK(subject < engine->subjects_count && engine->purses[partition]);
        ledger_roll(&engine->purses[partition]->subjects[subject].ledger, now.now_unix_ms);
        return &engine->purses[partition]->subjects[subject].ledger;
}

/* ---- partitions ---- */

bool engine_purse_open(struct engine *engine, struct engine_time now, uint32_t partition, uint32_t whole) {
        CHECK(engine->config.by_partition && partition < PARTS_MAX && now.now_ns >= engine->time.now_ns);
        struct purse *purse = engine->purses[partition];
        engine->time = now;
        spend_share(engine, whole);
        if (!purse)
                purse = make_purse(engine, partition);
        if (!purse)
                return false;
        clean(engine, purse);
        purse->closing = false;
        purse->life++;
        fill(engine, purse);
        return true;
}

void engine_purse_ready(struct engine *engine, uint32_t partition) {
        struct purse *purse = engine->purses[partition];
        CHECK(purse && purse->open);
        for (uint32_t i = 0; i < engine->subjects_count; i++)
                purse->subjects[i].loaded = true;
}

void engine_purse_close(struct engine *engine, uint32_t partition) {
        struct purse *purse = engine->purses[partition];
        if (!purse || !purse->open || purse->closing)
                return;
        purse->closing = true;
        for (uint32_t i = 0; i < engine->subjects_count; i++) {
                const struct ledger *ledger = &purse->subjects[i].ledger;
                if (ledger->allowance.told_picousd > ledger->reserved_picousd)
                        dirty(engine, purse, i);
        }
}

bool engine_purse_told(const struct engine *engine, uint32_t partition) {
        const struct purse *purse = engine->purses[partition];
        bool told = true;
        for (uint32_t i = 0; i < engine->subjects_count && purse && purse->open; i++)
                told = told && !purse->subjects[i].dirty && purse->subjects[i].word == 0;
        return told;
}

void engine_purse_rest(struct engine *engine, uint32_t partition) {
        struct purse *purse = engine->purses[partition];
        for (uint32_t i = 0; i < engine->subjects_count && purse && purse->open; i++)
                if (ledger_rests(&purse->subjects[i].ledger))
                        dirty(engine, purse, i);
}

void engine_purse_drop(struct engine *engine, uint32_t partition) {
        struct purse *purse = engine->purses[partition];
        if (!purse || !purse->open)
                return;
        purse->open = false;
        clean(engine, purse);
}
