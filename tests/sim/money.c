/*
 * Budgets: the rows of the disk, as store/spend.c and loop/spend_book.c keep them, and the judge's own sums
 * of what providers really billed, by the day in which a call was opened. Whatever a life did and however it
 * ended, no sum of honest providers is above its limit.
 */
#include "world.h"

#include <string.h>

static uint32_t subjects_of(const struct world *world) {
        return world->budgets ? world->catalog.workspaces_count + world->catalog.providers_count : 0;
}

void money_init(struct world *world) {
        for (uint32_t i = 0; i < SUBJECTS_MAX; i++)
                budget_spend_init(&world->disk.spends.rows[i]);
        world->first_day = budget_day(world_time(world).now_unix_ms) - 1;
}

void money_load(struct world *world) {
        uint32_t subjects = budget_subjects(&world->told);
        for (uint32_t i = 0; i < subjects; i++)
                if (budget_is_counted(&world->told, i) && world->plant != PLANT_FORGETS_SPEND)
                        engine_spend_load(world->engine, 0, i, &world->disk.spends.rows[i], false);
}

static void keep(void *userdata, const struct spend_news *news) {
        struct spends *spends = userdata;
        spends->rows[news->subject] = *news->spend;
        spends->changed[news->subject] = true;
}

void money_keep(struct world *world) {
        engine_spend_take(world->engine, SIZE_MAX, keep, &world->disk.spends_pending);
}

void money_write(struct world *world) {
        struct disk *disk = &world->disk;
        for (uint32_t i = 0; i < SUBJECTS_MAX; i++)
                if (disk->spends_working.changed[i])
                        disk->spends.rows[i] = disk->spends_working.rows[i];
}

void money_describe(const struct world *world, const struct command *command, struct begun_row *row) {
        uint32_t workspaces = world->catalog.workspaces_count;
        uint32_t provider = workspaces + world->endpoints[command->endpoint].provider;
        row->hold = command->hold;
        row->subjects[0] = workspaces > 0 ? command->job->demand.workspace : UINT32_MAX;
        row->subjects[1] = budget_is_counted(&world->catalog, provider) ? provider : UINT32_MAX;
}

static int64_t release_ms(const struct world *world, const struct begun_row *row) {
        if (row->subjects[0] == UINT32_MAX)
                return BUDGET_KEPT;
        return budget_release_unix_ms(world_time(world).now_unix_ms,
                                      world->workspaces[row->subjects[0]].release_unknown_ns);
}

void money_recover(struct world *world) {
        struct disk *disk = &world->disk;
        for (uint32_t i = 0; i < disk->attempts_count; i++) {
                struct attempt *attempt = &disk->attempts[i];
                const struct begun_row *row = &attempt->row;
                if (!attempt->live || attempt->counted || !row->hold.any ||
                    world->plant == PLANT_FORGETS_HOLDS)
                        continue;
                attempt->counted = true;
                struct budget_risk risk = {row->hold.day, release_ms(world, row), row->hold.picousd};
                for (int k = 0; k < 2; k++)
                        if (row->subjects[k] != UINT32_MAX)
                                budget_add_risk(&disk->spends.rows[row->subjects[k]], &risk);
        }
}

void money_adopt(struct world *world, struct attempt *attempt, bool cost_known, int64_t cost_picousd) {
        const struct begun_row *row = &attempt->row;
        int64_t spent = row->hold.picousd;
        if (!row->hold.any)
                return;
        if (cost_known && row->exposure_picousd >= row->hold.picousd) {
                int64_t before = row->exposure_picousd - row->hold.picousd;
                spent = cost_picousd > before ? cost_picousd - before : 0;
        }
        for (int k = 0; k < 2; k++) {
                if (row->subjects[k] == UINT32_MAX)
                        continue;
                budget_take_risk(&world->disk.spends.rows[row->subjects[k]], row->hold.day,
                                 row->hold.picousd);
                budget_add_settled(&world->disk.spends.rows[row->subjects[k]], row->hold.day, spent);
        }
}

/* ---- what providers billed ---- */

static const struct budget_spec *budget_of(const struct world *world, uint32_t subject) {
        uint32_t workspaces = world->catalog.workspaces_count;
        return subject < workspaces ? &world->workspaces[subject].budget
                                    : &world->providers[subject - workspaces].budget;
}

static void check_sum(struct world *world, uint32_t subject, const char *period, int64_t sum, int64_t limit) {
        if (limit > 0 && sum > limit)
                judge_broken(world, "subject %u: %lld picodollars were billed in a %s, of %lld", subject,
                             (long long)sum, period, (long long)limit);
}

static void bill(struct world *world, uint32_t subject, int64_t day, int64_t picousd) {
        const struct budget_spec *budget = budget_of(world, subject);
        int64_t month = 0, all = 0, at = day - world->first_day;
        if (at < 0 || at >= DAYS_MAX) {
                judge_broken(world, "a call of a day that is not to be");
                return;
        }
        world->billed[subject][at] += picousd;
        for (int64_t i = 0; i < DAYS_MAX; i++) {
                all += world->billed[subject][i];
                if (budget_month(world->first_day + i) == budget_month(day))
                        month += world->billed[subject][i];
        }
        if (!world->honest || world->releases)
                return;
        check_sum(world, subject, "day", world->billed[subject][at], budget->daily);
        check_sum(world, subject, "month", month, budget->monthly);
        check_sum(world, subject, "lifetime", all, budget->lifetime);
}

void money_billed(struct world *world, const struct call *call) {
        uint32_t workspaces = world->catalog.workspaces_count;
        if (!world->budgets || call->cost_picousd == 0)
                return;
        if (workspaces > 0)
                bill(world, call->workspace, call->day, call->cost_picousd);
        bill(world, workspaces + world->endpoints[call->endpoint].provider, call->day, call->cost_picousd);
}

void money_settled(struct world *world, const struct command *command) {
        const struct outcome *outcome = command->outcome;
        const struct fact *fact = &world->facts[judge_fact(world, command->key)];
        bool said = outcome->failure == FAILURE_NONE && outcome->has_answer && outcome->cost_known &&
                    !outcome->cost_is_estimate;
        bool forgets = command->job->unknown == UNKNOWN_FAIL && fact->crashes_since > 0; /* check_bounds() */
        if (world->honest && said && !forgets && outcome->cost_picousd != fact->billed_picousd)
                judge_broken(world, "a result says that it cost %lld picodollars, and it was %lld",
                             (long long)outcome->cost_picousd, (long long)fact->billed_picousd);
}

static bool is_kept(const struct world *world, uint32_t subject) {
        return subject < budget_subjects(&world->told) && budget_is_counted(&world->told, subject);
}

void money_check(struct world *world) {
        for (uint32_t i = 0; i < subjects_of(world) && world->honest; i++) {
                if (!is_kept(world, i))
                        continue;
                const struct ledger *ledger = engine_ledger(world->engine, world_time(world), 0, i);
                for (unsigned kind = 0; kind < BUDGET_KINDS_COUNT; kind++) {
                        struct budget_view view;
                        ledger_view(ledger, (enum budget_kind)kind, &view);
                        int64_t sum = view.settled_picousd + view.risk_picousd + view.reserved_picousd;
                        if (view.limit_picousd > 0 && sum > view.limit_picousd)
                                judge_broken(
                                        world, "subject %u, period %u: %lld + %lld at risk + %lld of %lld", i,
                                        kind, (long long)view.settled_picousd, (long long)view.risk_picousd,
                                        (long long)view.reserved_picousd, (long long)view.limit_picousd);
                }
        }
}

/* Nothing is under way: nothing is reserved, and no less is counted than was billed. */
void money_check_end(struct world *world) {
        for (uint32_t i = 0; i < subjects_of(world); i++) {
                struct budget_view view;
                int64_t all = 0;
                if (!is_kept(world, i))
                        continue;
                ledger_view(engine_ledger(world->engine, world_time(world), 0, i), BUDGET_LIFETIME, &view);
                for (int k = 0; k < DAYS_MAX; k++)
                        all += world->billed[i][k];
                if (view.reserved_picousd != 0)
                        judge_broken(world, "subject %u: %lld picodollars are reserved though all is done", i,
                                     (long long)view.reserved_picousd);
                if (world->honest && !world->releases && view.settled_picousd + view.risk_picousd < all)
                        judge_broken(
                                world,
                                "subject %u: %lld picodollars were billed, %lld and %lld at risk counted", i,
                                (long long)all, (long long)view.settled_picousd,
                                (long long)view.risk_picousd);
        }
}
