/*
 * Budgets: words on what was spent of each partition go to the state topic and come back with it. The judge
 * bills what providers really charge, by the day in which an attempt was opened, and holds it, at every call,
 * against every budget of the whole fleet, and against what the last committed word of the partition answers
 * for: who takes the partition over knows nothing else.
 */
#include "workers/routing/cost.h"
#include "world.h"

#include <stdio.h>
#include <string.h>

/* More than any job of this world costs. */
#define MOST_PICOUSD (INT64_C(1) << 36)

static const char *const names[WORKSPACES_COUNT] = {"default", "other"};

static uint32_t subjects_of(const struct world *world) {
        return budget_any(&world->catalog) ? budget_subjects(&world->catalog) : 0;
}

static const struct budget_spec *limit_of(const struct world *world, uint32_t subject) {
        return &world->limits[subject];
}

/* ---- the scenario ---- */

static int64_t few(struct world *world) {
        return (int64_t)world->cluster.partitions * between(world, 1, 40) * (MOST_PICOUSD >> 10);
}

static struct budget_spec make_budget(struct world *world) {
        int64_t ample = (int64_t)world->cluster.partitions * LINES_MAX * MOST_PICOUSD;
        struct budget_spec budget = {.daily = ample};
        if (world->money != MONEY_SCARCE)
                return budget;
        budget.daily = chance(world, 70) ? few(world) : 0;
        budget.monthly = chance(world, 20) ? few(world) + budget.daily : 0;
        budget.lifetime = chance(world, 40) ? few(world) + budget.daily : 0;
        return budget;
}

/* Of this day nearly nothing is left in any partition, and the state topic says so already. */
static void use_up(struct world *world, uint32_t subject) {
        int64_t day = budget_day(world_time(world).now_unix_ms);
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                struct ledger ledger;
                struct word *word = &world->words[world->words_count++];
                *word = (struct word){.partition = p, .subject = subject};
                ledger_init(&ledger, limit_of(world, subject), false);
                ledger_share(&ledger, limit_of(world, subject), p, world->cluster.partitions);
                int64_t spent = ledger.limit.daily - between(world, 0, 20) * (MOST_PICOUSD >> 10);
                budget_spend_init(&word->spend);
                budget_add_settled(&word->spend, day, spent);
                world->billed[subject][p][day - world->first_day] = spent;
                struct entry entry = {.kind = ENTRY_STATE, .state = STATE_MONEY, .word = world->words_count};
                cluster_append(world, &world->cluster.state[p], &entry);
        }
        money_accepted(world, 0);
}

/* Without rules of its own: those of no demand. */
static struct workspace make_workspace(const char *name) {
        struct demand nothing;
        demand_init(&nothing, KIND_CHAT);
        return (struct workspace){.name = name, .prefs = nothing.prefs};
}

/* Another workspace, and other prices while calls are under way. */
static void make_later(struct world *world) {
        static const int64_t millionths[] = {100000, 4000000};
        uint32_t count = world->catalog.workspaces_count;
        memcpy(world->later_workspaces, world->workspaces, sizeof(world->workspaces));
        world->later_workspaces[count] = make_workspace("later");
        world->later_workspaces[count].budget.daily = MOST_PICOUSD;
        world->later = world->catalog;
        world->later.workspaces = world->later_workspaces;
        world->later.workspaces_count = count + 1;
        world->later.endpoints = world->later_endpoints;
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                world->later_endpoints[i] = world->endpoints[i];
                world->later_endpoints[i].price =
                        price_scaled(&world->endpoints[i].price, millionths[prng_below(&world->prng, 2)]);
        }
}

static void multiply_budgets(struct world *world) {
        struct budget_spec *mine[] = {&world->workspaces[0].budget, &world->workspaces[1].budget,
                                      &world->providers[0].budget};
        for (int i = 0; i < 3; i++) {
                mine[i]->daily *= world->cluster.partitions;
                mine[i]->monthly *= world->cluster.partitions;
                mine[i]->lifetime *= world->cluster.partitions;
        }
}

void money_make(struct world *world) {
        static const enum money kinds[] = {MONEY_NONE,  MONEY_NONE,   MONEY_NONE,
                                           MONEY_AMPLE, MONEY_SCARCE, MONEY_TOMORROW};
        world->wall_base_ms = INT64_C(1790000000000);
        world->money = kinds[prng_below(&world->prng, sizeof(kinds) / sizeof(*kinds))];
        if (world->days || world->plant == PLANT_NO_POLICIES) /* too many days; another catalog */
                world->money = MONEY_NONE;
        if (world->money == MONEY_NONE)
                return;
        if (world->money == MONEY_TOMORROW || chance(world, 30)) { /* midnight is near */
                int64_t now_ms = world_time(world).now_unix_ms;
                world->wall_base_ms +=
                        budget_day_starts_unix_ms(budget_day(now_ms) + 1) - now_ms - between(world, 1, 60000);
        }
        world->first_day = budget_day(world_time(world).now_unix_ms);
        world->catalog.workspaces = world->workspaces;
        world->catalog.workspaces_count = (uint32_t)between(world, 0, WORKSPACES_COUNT);
        for (uint32_t i = 0; i < world->catalog.workspaces_count; i++) {
                world->workspaces[i] = make_workspace(names[i]);
                if (world->money == MONEY_SCARCE)
                        world->workspaces[i].over_budget = OVER_BUDGET_FAIL;
                if (i == 0 || chance(world, 70))
                        world->workspaces[i].budget = make_budget(world);
        }
        if (world->catalog.workspaces_count == 0 || chance(world, 40)) {
                world->providers[0].budget = make_budget(world);
                if (world->money == MONEY_SCARCE) /* a provider's job waits for the next day, which is far */
                        world->providers[0].budget = (struct budget_spec){.lifetime = few(world)};
        }
        for (uint32_t i = 0; i < subjects_of(world); i++)
                world->limits[i] = *budget_of_subject(&world->catalog, i);
        for (uint32_t i = 0; i < subjects_of(world) && world->money == MONEY_TOMORROW; i++)
                if (budget_bounds(limit_of(world, i)))
                        use_up(world, i);
        if (world->plant == PLANT_WHOLE_BUDGETS)
                multiply_budgets(world);
        world->told.workspaces = world->catalog.workspaces;
        world->told.workspaces_count = world->catalog.workspaces_count;
        make_later(world);
}

void money_say(const struct world *world, uint32_t number, struct buffer *line) {
        if (world->money != MONEY_NONE)
                buffer_printf(line, ",\"workspace\":\"%s\"", names[number % WORKSPACES_COUNT]);
}

/* ---- workers ---- */

/* Of the world's catalog and of a process's own; UINT32_MAX: nobody has jobs for it. */
static uint32_t subject_of(const struct world *world, const struct process *process, uint32_t own) {
        uint32_t count = world->catalog.workspaces_count;
        if (!process->reloaded || own < count)
                return own;
        return own == count ? UINT32_MAX : own - 1;
}

static uint32_t own_subject(const struct world *world, const struct process *process, uint32_t subject) {
        return process->reloaded && subject >= world->catalog.workspaces_count ? subject + 1 : subject;
}

void money_reload(struct world *world, struct process *process) {
        if (world->money == MONEY_NONE || world->catalog.workspaces_count == 0 || process->reloaded ||
            !chance(world, 1))
                return;
        if (!engine_reload(process->engine, world_time(world), &world->later, &world->config, NULL)) {
                judge_broken(world, "no memory");
                return;
        }
        process->reloaded = true;
        world->counts.reloads++;
        for (uint32_t p = 0; p < world->cluster.partitions; p++)
                if (process->parts[p].state == PART_OWNED)
                        engine_purse_ready(process->engine, p);
}

void money_own(struct world *world, struct process *process, uint32_t partition) {
        uint32_t whole = world->cluster.partitions;
        if (!engine_purse_open(process->engine, world_time(world), partition, whole)) {
                judge_broken(world, "no memory");
                return;
        }
        for (uint32_t i = 0; i < subjects_of(world); i++) {
                uint32_t index = process->disk->live.words[partition][i];
                uint32_t own = own_subject(world, process, i);
                if (index == 0 || !engine_spend_wanted(process->engine, partition, own) ||
                    world->plant == PLANT_SPEND_FORGOTTEN)
                        continue;
                const struct word *word = &world->words[index - 1];
                struct budget_spend spend = word->spend;
                if (world->plant != PLANT_ALLOWANCE_FORGOTTEN)
                        budget_take_over(&spend, word->allowed, BUDGET_KEPT);
                engine_spend_load(process->engine, partition, own, &spend,
                                  word->allowed[0].picousd + word->allowed[1].picousd > 0);
        }
        engine_purse_ready(process->engine, partition);
}

struct telling {
        struct world *world;
        struct process *process;
};

static void tell(void *userdata, const struct spend_news *news) {
        const struct telling *telling = userdata;
        struct world *world = telling->world;
        const struct part *part = &telling->process->parts[news->partition];
        uint32_t subject = subject_of(world, telling->process, news->subject);
        if (subject == UINT32_MAX) {
                judge_broken(world, "a word on a workspace that has no jobs");
                return;
        }
        if (world->words_count == WORDS_MAX) {
                judge_broken(world, "more words on money than any run needs");
                return;
        }
        world->words[world->words_count++] = (struct word){.partition = news->partition,
                                                           .subject = subject,
                                                           .spend = *news->spend,
                                                           .allowed = {news->allowed[0], news->allowed[1]},
                                                           .name = news->word};
        struct intent intent = {.kind = INTENT_ITEM,
                                .item = {.kind = ITEM_WORD,
                                         .partition = news->partition,
                                         .epoch = part->epoch,
                                         .mark = part->window.mark,
                                         .word = world->words_count}};
        world->counts.words++;
        world_note(world, telling->process->slot, "word (partition, subject, allowed)", news->partition,
                   subject, (uint64_t)news->allowed[0].picousd);
        committer_add(world, telling->process, &intent);
        if (world->plant == PLANT_WORD_NOT_AWAITED)
                engine_spend_told(telling->process->engine, news->partition, news->word, true);
}

void money_tell(struct world *world, struct process *process) {
        struct telling telling = {world, process};
        if (world->money != MONEY_NONE)
                engine_spend_take(process->engine, SIZE_MAX, tell, &telling);
}

void money_told(struct world *world, struct process *process, const struct item *item, bool stands) {
        if (item->kind == ITEM_WORD)
                engine_spend_told(process->engine, item->partition, world->words[item->word - 1].name,
                                  stands);
}

/* Now and then, as membership does every second. */
void money_rest(struct world *world, struct process *process) {
        for (uint32_t p = 0; p < world->cluster.partitions && world->money != MONEY_NONE; p++)
                engine_purse_rest(process->engine, p);
}

/* ---- what providers charge ---- */

void money_accepted(struct world *world, uint32_t txn) {
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                const struct log *log = &world->cluster.state[p];
                if (txn > 0 && (world->cluster.txns[txn - 1].state >> p & 1) == 0)
                        continue;
                for (uint32_t i = 0; i < log->end; i++) {
                        const struct entry *entry = &log->entries[i];
                        if (entry->txn == txn && entry->kind == ENTRY_STATE && entry->state == STATE_MONEY)
                                world->covers[world->words[entry->word - 1].subject][p] = entry->word;
                }
        }
}

/* What the word answers for, of a day, or, with BUDGET_NO_PERIOD, of all time. */
static int64_t covered(const struct word *word, int64_t day) {
        const struct budget_spend *spend = &word->spend;
        int64_t sum = day == BUDGET_NO_PERIOD ? spend->lifetime_picousd : 0;
        for (int i = 0; i < 2; i++) {
                if (day != BUDGET_NO_PERIOD && spend->days[i].number == day)
                        sum += spend->days[i].settled_picousd;
                if (day == BUDGET_NO_PERIOD || word->allowed[i].day == day)
                        sum += word->allowed[i].picousd;
        }
        for (uint32_t i = 0; i < spend->risks_count; i++)
                if (day == BUDGET_NO_PERIOD || spend->risks[i].day == day)
                        sum += spend->risks[i].picousd;
        return sum;
}

static int64_t billed_of(const struct world *world, uint32_t subject, uint32_t partition) {
        int64_t sum = 0;
        for (int i = 0; i < DAYS_MAX; i++)
                sum += world->billed[subject][partition][i];
        return sum;
}

static void check_cover(struct world *world, uint32_t subject, uint32_t partition, int64_t day) {
        static const struct word nothing;
        uint32_t index = world->covers[subject][partition];
        const struct word *word = index > 0 ? &world->words[index - 1] : &nothing;
        int64_t of_day = world->billed[subject][partition][day - world->first_day];
        int64_t all = billed_of(world, subject, partition);
        if (!budget_bounds(limit_of(world, subject)))
                return;
        if (of_day > covered(word, day) || all > covered(word, BUDGET_NO_PERIOD))
                judge_broken(world,
                             "partition %u, subject %u: %lld picodollars were billed in a day, %lld in all, "
                             "and the state topic answers for %lld and %lld",
                             partition, subject, (long long)of_day, (long long)all,
                             (long long)covered(word, day), (long long)covered(word, BUDGET_NO_PERIOD));
}

static void check_limit(struct world *world, uint32_t subject, const char *period, int64_t sum,
                        int64_t limit) {
        if (limit > 0 && sum > limit)
                judge_broken(world, "subject %u: %lld picodollars were billed in a %s, of %lld", subject,
                             (long long)sum, period, (long long)limit);
}

static void check_budget(struct world *world, uint32_t subject, int64_t day) {
        const struct budget_spec *limit = limit_of(world, subject);
        int64_t of_day = 0, month = 0, all = 0;
        for (uint32_t p = 0; p < world->cluster.partitions; p++)
                for (int i = 0; i < DAYS_MAX; i++) {
                        int64_t sum = world->billed[subject][p][i];
                        all += sum;
                        of_day += world->first_day + i == day ? sum : 0;
                        month += budget_month(world->first_day + i) == budget_month(day) ? sum : 0;
                }
        check_limit(world, subject, "day", of_day, limit->daily);
        check_limit(world, subject, "month", month, limit->monthly);
        check_limit(world, subject, "lifetime", all, limit->lifetime);
}

static void bill(struct world *world, uint32_t subject, const struct call *call, int64_t day) {
        if (day < world->first_day || day >= world->first_day + DAYS_MAX) {
                judge_broken(world, "a call of a day that is not to be");
                return;
        }
        world->billed[subject][call->partition][day - world->first_day] += call->cost_picousd;
        if (subject < world->catalog.workspaces_count)
                world->counts.by_workspaces++;
        else
                world->counts.by_providers++;
        check_cover(world, subject, call->partition, day);
        check_budget(world, subject, day);
}

static bool may_cost(enum verdict verdict) {
        return verdict == VERDICT_OK || verdict == VERDICT_UNUSABLE || verdict == VERDICT_UNKNOWN;
}

/* What it costs by its usage, at most all that is allowed; the provider says the one or the other. */
static void use(struct world *world, const struct job_spec *job, const struct endpoint *endpoint,
                struct call *call) {
        bool all = chance(world, 20);
        struct usage *usage = &call->answer.usage;
        int64_t input = job->demand.input_tokens, output = job->demand.output_tokens_max;
        usage->input_tokens = all ? input : between(world, 0, input);
        usage->output_tokens = all || output <= 0 ? output : between(world, 0, output);
        usage->images = 1;
        if (!cost_of_usage(&endpoint->price, job->demand.kind, usage, &call->cost_picousd))
                judge_broken(world, "usage without a price");
        call->answer.cost_known = chance(world, 50);
}

/* It is billed when it begins: whatever becomes of its process, the provider does it. */
void money_call(struct world *world, struct process *process, const struct command *command,
                struct call *call) {
        const struct job_spec *job = command->job;
        int64_t ceiling;
        if (world->money == MONEY_NONE)
                return;
        int64_t day = process->tracks[call->partition][call->offset].opened_day;
        const struct endpoint *endpoint =
                &(process->reloaded ? world->later_endpoints : world->endpoints)[command->endpoint];
        if (!cost_ceiling(endpoint, &job->demand, world_time(world).now_unix_ms, &ceiling)) {
                judge_broken(world, "a call of which nobody knows what it may cost");
                return;
        }
        if (may_cost(call->answer.verdict))
                call->cost_picousd = chance(world, 20) ? ceiling : between(world, 0, ceiling);
        call->answer.cost_known = call->answer.verdict == VERDICT_OK || chance(world, 50);
        if (call->answer.verdict == VERDICT_OK && chance(world, 50))
                use(world, job, endpoint, call);
        if (call->answer.verdict == VERDICT_UNKNOWN)
                call->answer.cost_known = false;
        call->answer.cost_picousd = call->answer.cost_known ? call->cost_picousd : 0;
        uint32_t workspaces = world->catalog.workspaces_count;
        uint32_t provider = workspaces + world->endpoints[command->endpoint].provider;
        if (workspaces > 0)
                bill(world, job->demand.workspace, call, day);
        if (budget_is_counted(&world->catalog, provider))
                bill(world, provider, call, day);
}

/* Where there was money, nobody has failed for want of it. */
void money_check_settled(struct world *world, enum failure failure) {
        if (world->money != MONEY_SCARCE && failure == FAILURE_BUDGET_EXCEEDED)
                judge_broken(world, "a job failed for want of money, and there was enough");
}

/* Nothing was lost or cut off: all that was spent is known, and nothing is at risk that has an answer. */
static void check_exact(struct world *world, uint32_t subject, uint32_t partition) {
        uint32_t slot = world->cluster.owner[partition];
        const struct process *owner = slot == NOBODY ? NULL : &world->processes[slot];
        struct budget_view view;
        if (!owner || owner->parts[partition].state != PART_OWNED)
                return;
        ledger_view(engine_ledger(owner->engine, world_time(world), partition,
                                  own_subject(world, owner, subject)),
                    BUDGET_LIFETIME, &view);
        int64_t billed = billed_of(world, subject, partition);
        if (view.reserved_picousd != 0)
                judge_broken(world, "partition %u: something is reserved though all is done", partition);
        if (!budget_bounds(limit_of(world, subject)))
                return; /* counted, but nobody answers for it: a crash takes what was under way */
        if (view.settled_picousd + view.risk_picousd < billed)
                judge_broken(world,
                             "partition %u, subject %u: %lld were billed, %lld and %lld at risk counted",
                             partition, subject, (long long)billed, (long long)view.settled_picousd,
                             (long long)view.risk_picousd);
        if (!world->money_lost && world->unknown_calls == 0 &&
            view.settled_picousd + view.risk_picousd != billed)
                judge_broken(world, "partition %u: %lld are at risk though nothing was lost", partition,
                             (long long)view.risk_picousd);
}

void money_check_end(struct world *world) {
        for (uint32_t i = 0; i < subjects_of(world); i++)
                for (uint32_t p = 0; p < world->cluster.partitions; p++)
                        if (budget_is_counted(&world->catalog, i))
                                check_exact(world, i, p);
}
