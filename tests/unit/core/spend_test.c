/*
 * Budgets inside the engine: what is reserved when an attempt is opened, what becomes of it with each kind of
 * answer, who waits and who does not, and what whoever keeps the sums is told.
 */
#include "broker/base/time.h"
#include "tests/unit/core/plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SPECS = 16, ITEMS = 256, DEAR = 1 };

/* Ten tokens in and ten out at most: 30 at the first endpoint, 300 at the second. */
#define CEILING   30
#define DAY_MS    INT64_C(86400000)
#define STARTS_MS (DAY_MS * 20000 + DAY_MS / 2)

struct fixture {
        struct provider providers[2];
        struct endpoint endpoints[2];
        struct workspace workspaces[2];
        struct catalog catalog;
        struct engine *engine;
        struct job_spec specs[SPECS];
        struct command items[ITEMS];
        struct commands commands;
        int64_t now_ns, wall_ms;
        struct handle called[SPECS]; /* by spec; slot UINT32_MAX: no call is under way */
        uint32_t calls, notes, ends, settled, endpoint;
        enum failure failure;
        int64_t cost_picousd;
        struct command_hold hold; /* of the last attempt */
        enum service_tier served;
        struct budget_spend spend;
        uint32_t told; /* how often the first workspace's spend was given */
};

static void set_up(struct fixture *fixture, bool workspaces) {
        memset(fixture, 0, sizeof(*fixture));
        static const char *const names[] = {"p", "q"}, *const endpoints[] = {"p/m", "q/m"};
        for (int i = 0; i < 2; i++) {
                fixture->providers[i] =
                        (struct provider){.name = names[i], .region = "", .retention_days = -1};
                fixture->endpoints[i] =
                        plain_endpoint(endpoints[i], (uint32_t)i, (i == DEAR ? 10 : 1) * INT64_C(1000000));
        }
        fixture->workspaces[0].name = "default";
        fixture->workspaces[1].name = "other";
        fixture->catalog = (struct catalog){.providers = fixture->providers,
                                            .providers_count = 2,
                                            .endpoints = fixture->endpoints,
                                            .endpoints_count = 1,
                                            .workspaces = fixture->workspaces,
                                            .workspaces_count = workspaces ? 2 : 0};
        fixture->wall_ms = STARTS_MS;
        fixture->now_ns = NS_PER_S;
        for (uint32_t i = 0; i < SPECS; i++) {
                fixture->called[i].slot = UINT32_MAX;
                fixture->specs[i] = plain_spec(i);
        }
}

static void start(struct fixture *fixture) {
        struct engine_config config = plain_config(SPECS);
        fixture->engine = engine_new(&fixture->catalog, &config,
                                     (struct engine_time){fixture->now_ns, fixture->wall_ms});
        assert_non_null(fixture->engine);
        fixture->commands = (struct commands){fixture->items, 0, ITEMS};
}

static void note_spend(void *userdata, const struct spend_news *news) {
        struct fixture *fixture = userdata;
        if (news->subject != 0)
                return;
        fixture->spend = *news->spend;
        fixture->told++;
}

/* The journal and the store answer at once; calls are left open. Gives what the commands ask for. */
static size_t carry_out(struct fixture *fixture, const struct command *command, struct event *event) {
        *event = (struct event){.handle = command->handle, .known.same_fingerprint = true};
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                event->kind = EVENT_LOOKED_UP;
                return 1;
        case COMMAND_OPEN:
                fixture->hold = command->hold;
                event->kind = EVENT_OPENED;
                return 1;
        case COMMAND_CALL:
                fixture->calls++;
                fixture->endpoint = command->endpoint;
                fixture->called[command->job - fixture->specs] = command->handle;
                return 0;
        case COMMAND_NOTE:
                fixture->notes++;
                return 0;
        case COMMAND_END:
                fixture->ends++;
                return 0;
        case COMMAND_SETTLE:
                fixture->settled++;
                fixture->failure = command->outcome->failure;
                fixture->cost_picousd = command->outcome->cost_picousd;
                event->kind = EVENT_SETTLED;
                return 1;
        case COMMAND_FORGET:
                return 0;
        }
        return 0;
}

static void steps(struct fixture *fixture, struct event *events, size_t count) {
        do {
                fixture->commands.count = 0;
                engine_step(fixture->engine, (struct engine_time){fixture->now_ns, fixture->wall_ms}, events,
                            count, &fixture->commands);
                engine_spend_take(fixture->engine, SIZE_MAX, note_spend, fixture);
                count = 0;
                for (size_t i = 0; i < fixture->commands.count; i++)
                        count += carry_out(fixture, &fixture->commands.items[i], &events[count]);
        } while (fixture->commands.count > 0);
}

static void add(struct fixture *fixture, uint32_t first, uint32_t count) {
        struct event events[ITEMS];
        for (uint32_t i = 0; i < count; i++)
                events[i] = (struct event){.kind = EVENT_JOB, .job = &fixture->specs[first + i]};
        steps(fixture, events, count);
}

static void answer(struct fixture *fixture, uint32_t spec, enum verdict verdict) {
        struct event events[ITEMS];
        struct answer said;
        answer_init(&said);
        said.verdict = verdict;
        said.status = verdict == VERDICT_UNKNOWN ? 0 : 200;
        if (verdict == VERDICT_OK) {
                said.usage.input_tokens = 4;
                said.usage.output_tokens = 3; /* 10 picodollars at the first */
                said.usage.served = true;
                said.usage.service = fixture->served;
        }
        assert_int_not_equal(fixture->called[spec].slot, UINT32_MAX);
        events[0] = (struct event){.kind = EVENT_ANSWER, .handle = fixture->called[spec], .answer = &said};
        fixture->called[spec].slot = UINT32_MAX;
        steps(fixture, events, 1);
}

static void pass(struct fixture *fixture, int64_t ms) {
        struct event events[ITEMS];
        fixture->now_ns += ms * NS_PER_MS;
        fixture->wall_ms += ms;
        steps(fixture, events, 0);
}

static struct budget_view view(struct fixture *fixture, uint32_t subject) {
        struct budget_view out;
        ledger_view(engine_ledger(fixture->engine, (struct engine_time){fixture->now_ns, fixture->wall_ms}, 0,
                                  subject),
                    BUDGET_DAILY, &out);
        return out;
}

static void reserved_then_settled(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, true);
        fixture.workspaces[0].budget.daily = 2 * CEILING + 5;
        start(&fixture);
        add(&fixture, 0, 4); /* two fit at the ceiling */
        assert_int_equal(fixture.calls, 2);
        assert_true(fixture.hold.any && fixture.hold.picousd == CEILING && fixture.hold.day == 20000);
        assert_int_equal(view(&fixture, 0).reserved_picousd, 2 * CEILING);
        answer(&fixture, 0, VERDICT_OK); /* cost 10: 55 left, 30 reserved: the third fits not yet */
        assert_int_equal(fixture.calls, 2);
        assert_int_equal(view(&fixture, 0).settled_picousd, 10);
        answer(&fixture, 1, VERDICT_OK);
        assert_int_equal(fixture.calls, 3);
        answer(&fixture, 2, VERDICT_OK);
        assert_int_equal(fixture.calls, 4);
        answer(&fixture, 3, VERDICT_OK);
        assert_int_equal(view(&fixture, 0).settled_picousd, 40);
        assert_int_equal(view(&fixture, 0).reserved_picousd, 0);
        assert_int_equal(fixture.spend.lifetime_picousd, 40);
        assert_int_equal(fixture.settled, 4);
        engine_free(fixture.engine);
}

/* Priority is reserved at its price, and settled at that of the tier at which it was served. */
static void a_tier_of_service_is_settled_as_served(void **state) {
        static const struct {
                enum service_tier asked, served;
                int64_t reserved, cost;
        } cases[] = {{SERVICE_STANDARD, SERVICE_STANDARD, CEILING, 10},
                     {SERVICE_PRIORITY, SERVICE_PRIORITY, 2 * CEILING, 20},
                     {SERVICE_PRIORITY, SERVICE_STANDARD, 2 * CEILING, 10},
                     {SERVICE_FLEX, SERVICE_FLEX, CEILING, 5},
                     {SERVICE_FLEX, SERVICE_STANDARD, CEILING, 10}};
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fixture fixture;
                set_up(&fixture, true);
                fixture.workspaces[0].budget.daily = 2 * CEILING;
                struct price *services = fixture.endpoints[0].service;
                services[SERVICE_FLEX - 1] = price_scaled(&fixture.endpoints[0].price, 500000);
                services[SERVICE_PRIORITY - 1] = price_scaled(&fixture.endpoints[0].price, 2000000);
                fixture.specs[0].demand.service = cases[i].asked;
                fixture.served = cases[i].served;
                start(&fixture);
                add(&fixture, 0, 1);
                assert_int_equal(fixture.hold.picousd, cases[i].reserved);
                answer(&fixture, 0, VERDICT_OK);
                assert_int_equal(fixture.cost_picousd, cases[i].cost);
                assert_int_equal(view(&fixture, 0).settled_picousd, cases[i].cost);
                engine_free(fixture.engine);
        }
}

/* What ends at one endpoint makes room in the workspace's budget for who waits for another. */
static void room_is_found_at_once(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, true);
        fixture.catalog.endpoints_count = 2;
        fixture.endpoints[DEAR].model = "n";
        fixture.specs[1].demand.models[0] = BYTES("n");
        fixture.specs[1].class_key.hi++;
        fixture.workspaces[0].budget.daily = 10 * CEILING + 10;
        start(&fixture);
        add(&fixture, 0, 2);
        assert_int_equal(fixture.calls, 1);
        answer(&fixture, 0, VERDICT_OK);
        assert_int_equal(fixture.calls, 2);
        assert_int_equal(fixture.endpoint, DEAR);
        engine_free(fixture.engine);
}

static void waits_for_the_next_day_alone(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, true);
        fixture.workspaces[0].budget.daily = CEILING;
        for (uint32_t i = 2; i < 4; i++)
                fixture.specs[i].demand.workspace = 1;
        start(&fixture);
        add(&fixture, 0, 2);
        answer(&fixture, 0, VERDICT_OK); /* 20 are left, 30 are asked for */
        assert_int_equal(fixture.calls, 1);
        assert_true(engine_wake_ns(fixture.engine) >= fixture.now_ns + DAY_MS / 2 * NS_PER_MS);
        assert_true(engine_stats(fixture.engine)->budget_until_ns > fixture.now_ns);
        add(&fixture, 2, 2); /* of another workspace, in a class of the same name */
        assert_int_equal(fixture.calls, 3);
        pass(&fixture, DAY_MS / 2 - 1);
        assert_int_equal(fixture.calls, 3);
        pass(&fixture, 1);
        assert_int_equal(fixture.calls, 4);
        assert_int_equal(fixture.hold.day, 20001);
        engine_free(fixture.engine);
}

static void fails_as_the_policy_says(void **state) {
        struct fixture fixture;
        (void)state;
        for (int fails = 0; fails < 2; fails++) {
                set_up(&fixture, true);
                fixture.workspaces[0].budget.daily = CEILING;
                fixture.workspaces[0].over_budget = fails ? OVER_BUDGET_FAIL : OVER_BUDGET_WAIT;
                start(&fixture);
                add(&fixture, 0, 2); /* while the first one is called, the second waits in any case */
                assert_int_equal(fixture.settled, 0);
                answer(&fixture, 0, VERDICT_OK);
                assert_int_equal(fixture.settled, fails ? 2 : 1);
                assert_int_equal(fixture.failure, fails ? FAILURE_BUDGET_EXCEEDED : FAILURE_NONE);
                engine_free(fixture.engine);
        }
        set_up(&fixture, true);
        fixture.workspaces[0].budget.monthly = CEILING - 1;
        start(&fixture);
        add(&fixture, 0, 1); /* no period can cover it */
        assert_int_equal(fixture.failure, FAILURE_BUDGET_EXCEEDED);
        engine_free(fixture.engine);
}

/* Of each verdict: what is settled and at risk, and whether the journal is told that it is counted. */
static void what_each_answer_leaves(void **state) {
        static const struct {
                enum verdict verdict;
                int64_t settled, risk;
                uint32_t notes;
        } table[] = {
                {VERDICT_OK, 10, 0, 0},
                {VERDICT_REJECTED, 0, 0, 0},
                {VERDICT_CONTENT_REFUSED, 0, 0, 0},
                {VERDICT_RETRY, 0, 0, 1},
                {VERDICT_NOT_SENT, 0, 0, 1},
                {VERDICT_UNUSABLE, 0, CEILING, 1},
                {VERDICT_UNKNOWN, 0, CEILING, 1},
                {VERDICT_INPUT, 0, 0, 0},
                {VERDICT_OTHER_MODEL, 0, 0, 0},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                struct fixture fixture;
                set_up(&fixture, true);
                start(&fixture);
                add(&fixture, 0, 1);
                answer(&fixture, 0, table[i].verdict);
                struct budget_view now = view(&fixture, 0);
                if (now.settled_picousd != table[i].settled || now.risk_picousd != table[i].risk ||
                    now.reserved_picousd != 0 || fixture.notes != table[i].notes)
                        fail_msg("verdict %d: %lld settled, %lld at risk, %lld reserved, %u notes",
                                 (int)table[i].verdict, (long long)now.settled_picousd,
                                 (long long)now.risk_picousd, (long long)now.reserved_picousd, fixture.notes);
                assert_int_equal(fixture.told, table[i].settled + table[i].risk > 0);
                engine_free(fixture.engine);
        }
}

static void risks_are_released(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, true);
        fixture.workspaces[0].budget.lifetime = CEILING;
        fixture.workspaces[0].release_unknown_ns = 3600 * NS_PER_S;
        fixture.specs[0].unknown = UNKNOWN_FAIL;
        start(&fixture);
        add(&fixture, 0, 2);
        answer(&fixture, 0, VERDICT_UNKNOWN);
        assert_int_equal(fixture.calls, 1);
        pass(&fixture, 3600 * 1000);
        assert_int_equal(fixture.calls, 1);
        pass(&fixture, 3600 * 1000 / 8 + 10);
        assert_int_equal(fixture.calls, 2);
        engine_free(fixture.engine);
}

static void providers_have_budgets(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, false);
        fixture.catalog.endpoints_count = 2;
        fixture.providers[0].budget.daily = CEILING - 1;
        start(&fixture);
        add(&fixture, 0, 1); /* never covered there: the dearer one */
        assert_int_equal(fixture.endpoint, DEAR);
        assert_true(fixture.hold.any);
        engine_free(fixture.engine);

        set_up(&fixture, false);
        fixture.catalog.endpoints_count = 2;
        fixture.providers[0].budget.daily = CEILING + 5;
        start(&fixture);
        add(&fixture, 0, 1);
        answer(&fixture, 0, VERDICT_OK);
        add(&fixture, 1, 1); /* not before tomorrow there */
        assert_int_equal(fixture.endpoint, DEAR);
        assert_int_equal(view(&fixture, 0).settled_picousd, 10);
        engine_free(fixture.engine);
}

static void what_has_no_bound_is_excluded(void **state) {
        struct fixture fixture;
        (void)state;
        for (int with = 0; with < 2; with++) {
                set_up(&fixture, true);
                fixture.workspaces[0].budget.daily = with ? 1000 : 0;
                fixture.endpoints[0].price.output = PRICE_UNKNOWN;
                start(&fixture);
                add(&fixture, 0, 1);
                assert_int_equal(fixture.calls, with ? 0 : 1);
                assert_int_equal(fixture.failure, with ? FAILURE_EXCLUDED_BY_POLICY : FAILURE_NONE);
                engine_free(fixture.engine);
        }
        set_up(&fixture, true);
        fixture.workspaces[0].budget.daily = 1000;
        fixture.specs[0].demand.output_tokens_max = -1;
        start(&fixture);
        add(&fixture, 0, 1); /* as much output as it likes */
        assert_int_equal(fixture.calls, 0);
        assert_int_equal(fixture.failure, FAILURE_EXCLUDED_BY_POLICY);
        engine_free(fixture.engine);
}

static void what_was_spent_before_counts(void **state) {
        struct fixture fixture;
        struct budget_spend spend;
        (void)state;
        set_up(&fixture, true);
        fixture.workspaces[0].budget.lifetime = 100;
        start(&fixture);
        budget_spend_init(&spend);
        budget_add_settled(&spend, 19000, 50);
        budget_add_risk(&spend, &(struct budget_risk){19000, BUDGET_KEPT, 21});
        engine_spend_load(fixture.engine, 0, 0, &spend, false);
        add(&fixture, 0, 1);
        assert_int_equal(fixture.failure, FAILURE_BUDGET_EXCEEDED);
        engine_free(fixture.engine);
}

static void without_budgets_nothing_is_counted(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, false);
        start(&fixture);
        add(&fixture, 0, 1);
        assert_false(fixture.hold.any);
        answer(&fixture, 0, VERDICT_RETRY);
        assert_int_equal(fixture.notes + fixture.told, 0);
        engine_free(fixture.engine);
}

/* From 12:01 on all costs three times as much, until 12:05; calls take at most a second. */
static const struct zone_change utc_changes[] = {{INT64_MIN, 0}};
static const struct zone utc = {"UTC", utc_changes, 1};
static const struct price_window dearer = {&utc, 3000000, 12 * 60 + 1, 12 * 60 + 5, 0x7f};

static void set_up_window(struct fixture *fixture, int64_t before_ms) {
        set_up(fixture, true);
        fixture->endpoints[0].windows = &dearer;
        fixture->endpoints[0].windows_count = 1;
        fixture->wall_ms += 60000 - before_ms;
}

/* A call that begins before a dearer window, and may end in it, reserves what it can cost there. */
static void a_dearer_window_is_reserved_for(void **state) {
        static const struct {
                int64_t before_ms, budget, reserved;
        } cases[] = {
                {1001, CEILING, CEILING}, /* ends before it */
                {1000, CEILING, 0},       /* may end at its first moment */
                {1000, 3 * CEILING - 1, 0},
                {1000, 3 * CEILING, 3 * CEILING},
                {1, 3 * CEILING, 3 * CEILING},
                {0, 3 * CEILING, 3 * CEILING}, /* it has begun */
                {-239999, 3 * CEILING, 3 * CEILING},
                {-240000, CEILING, CEILING}, /* it has ended */
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fixture fixture;
                set_up_window(&fixture, cases[i].before_ms);
                fixture.workspaces[0].budget.lifetime = cases[i].budget;
                start(&fixture);
                add(&fixture, 0, 1);
                if (fixture.calls != (cases[i].reserved > 0) || fixture.hold.picousd != cases[i].reserved)
                        fail_msg("row %zu: %u calls, %lld reserved", i, fixture.calls,
                                 (long long)fixture.hold.picousd);
                if (cases[i].reserved == 0)
                        assert_int_equal(fixture.failure, FAILURE_BUDGET_EXCEEDED);
                engine_free(fixture.engine);
        }
}

/*
 * It costs what is asked when its answer comes; what comes late, or by a clock that was set, no more than
 * that.
 */
static void an_answer_in_a_dearer_window(void **state) {
        static const struct {
                int64_t before_ms, later_ms, set_ms, picousd;
        } cases[] = {
                {500, 499, 0, 10},        {500, 500, 0, 30},
                {500, 5000, 0, 30},       {5000, 60000, 0, 10}, /* long after it must have ended */
                {500, 100, 3600000, 30}, /* the clock is set: not what is asked in an hour, but at the end */
                {500, 600, -3600000, 10},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fixture fixture;
                set_up_window(&fixture, cases[i].before_ms);
                fixture.workspaces[0].budget.lifetime = 3 * CEILING;
                start(&fixture);
                add(&fixture, 0, 1);
                fixture.now_ns += cases[i].later_ms * NS_PER_MS;
                fixture.wall_ms += cases[i].later_ms + cases[i].set_ms;
                answer(&fixture, 0, VERDICT_OK);
                if (fixture.cost_picousd != cases[i].picousd)
                        fail_msg("row %zu: %lld", i, (long long)fixture.cost_picousd);
                assert_true(fixture.cost_picousd <= fixture.hold.picousd);
                engine_free(fixture.engine);
        }
}

/* The job's own ceiling is a bound as well, and needs no budget. A deadline ends a call earlier. */
static void a_ceiling_looks_ahead(void **state) {
        struct fixture fixture;
        (void)state;
        for (int with = 0; with < 2; with++) {
                set_up_window(&fixture, 800);
                fixture.catalog.workspaces_count = 0;
                fixture.specs[0].demand.max_cost_picousd = CEILING;
                if (with)
                        fixture.specs[0].deadline_unix_ms = fixture.wall_ms + 700;
                start(&fixture);
                add(&fixture, 0, 1);
                assert_int_equal(fixture.calls, with);
                assert_int_equal(fixture.failure, with ? FAILURE_NONE : FAILURE_MAX_COST_EXCEEDED);
                engine_free(fixture.engine);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reserved_then_settled),
                cmocka_unit_test(a_tier_of_service_is_settled_as_served),
                cmocka_unit_test(room_is_found_at_once),
                cmocka_unit_test(waits_for_the_next_day_alone),
                cmocka_unit_test(fails_as_the_policy_says),
                cmocka_unit_test(what_each_answer_leaves),
                cmocka_unit_test(risks_are_released),
                cmocka_unit_test(providers_have_budgets),
                cmocka_unit_test(what_has_no_bound_is_excluded),
                cmocka_unit_test(what_was_spent_before_counts),
                cmocka_unit_test(without_budgets_nothing_is_counted),
                cmocka_unit_test(a_dearer_window_is_reserved_for),
                cmocka_unit_test(an_answer_in_a_dearer_window),
                cmocka_unit_test(a_ceiling_looks_ahead),
        };
        return cmocka_run_group_tests_name("spend", tests, NULL, NULL);
}
