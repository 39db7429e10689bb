/*
 * Another catalog while jobs are inside: what was used and spent stays, jobs that wait are decided anew,
 * calls under way go on.
 */
#include "broker/base/time.h"
#include "tests/unit/core/plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SPECS = 16, ITEMS = 256, CALLS_MAX = 64, CATALOGS = 3 };

struct fixture {
        struct tables {
                struct provider providers[3];
                struct endpoint endpoints[3];
                struct workspace workspaces[3];
                struct catalog catalog;
        } tables[CATALOGS]; /* the first, and those that follow */
        struct engine_config config;
        struct engine *engine;
        struct job_spec specs[SPECS];
        struct command items[ITEMS];
        struct commands commands;
        int64_t now_ns, wall_ms;
        struct handle called[SPECS];
        uint32_t endpoints[CALLS_MAX], calls, settled;
        enum failure failure;
        const struct catalog *decided;
        int64_t cost_picousd;
};

static void set_up(struct fixture *fixture) {
        static const char *const providers[] = {"p", "q", "r"}, *const endpoints[] = {"p/m", "q/m", "r/m"};
        static const char *const workspaces[] = {"default", "x", "y"};
        memset(fixture, 0, sizeof(*fixture));
        struct tables *tables = &fixture->tables[0];
        for (uint32_t i = 0; i < 3; i++) {
                tables->providers[i] = (struct provider){.name = providers[i],
                                                         .dialect = "openai",
                                                         .base_url = "http://h",
                                                         .region = "",
                                                         .retention_days = -1};
                tables->endpoints[i] = plain_endpoint(endpoints[i], i, INT64_C(1000000) * (i + 1));
                tables->workspaces[i].name = workspaces[i];
                prefs_init(&tables->workspaces[i].prefs);
        }
        tables->catalog = (struct catalog){.providers_count = 2, .endpoints_count = 2, .workspaces_count = 1};
        fixture->now_ns = NS_PER_S;
        fixture->wall_ms = INT64_C(86400000) * 20000;
        fixture->config = plain_config(SPECS);
        fixture->config.open_ahead = SPECS;
        for (uint32_t i = 0; i < SPECS; i++) {
                fixture->called[i].slot = UINT32_MAX;
                fixture->specs[i] = plain_spec(i);
        }
}

static struct catalog *sealed(struct tables *tables) {
        tables->catalog.providers = tables->providers;
        tables->catalog.endpoints = tables->endpoints;
        tables->catalog.workspaces = tables->workspaces;
        return &tables->catalog;
}

static struct engine_time time_of(const struct fixture *fixture) {
        return (struct engine_time){fixture->now_ns, fixture->wall_ms};
}

static void start(struct fixture *fixture) {
        fixture->engine = engine_new(sealed(&fixture->tables[0]), &fixture->config, time_of(fixture));
        assert_non_null(fixture->engine);
        fixture->commands = (struct commands){fixture->items, 0, ITEMS};
}

/* The n-th catalog begins as the one before. */
static struct tables *following(struct fixture *fixture, uint32_t n) {
        fixture->tables[n] = fixture->tables[n - 1];
        sealed(&fixture->tables[n]);
        return &fixture->tables[n];
}

static size_t carry_out(struct fixture *fixture, const struct command *command, struct event *event) {
        *event = (struct event){.handle = command->handle, .known.same_fingerprint = true};
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                event->kind = EVENT_LOOKED_UP;
                return 1;
        case COMMAND_OPEN:
                event->kind = EVENT_OPENED;
                return 1;
        case COMMAND_CALL:
                fixture->endpoints[fixture->calls++ % CALLS_MAX] = command->endpoint;
                fixture->called[command->job - fixture->specs] = command->handle;
                return 0;
        case COMMAND_SETTLE:
                fixture->settled++;
                fixture->failure = command->outcome->failure;
                fixture->decided = command->outcome->decision.catalog;
                fixture->cost_picousd = command->outcome->cost_picousd;
                event->kind = EVENT_SETTLED;
                return 1;
        case COMMAND_NOTE:
        case COMMAND_END:
        case COMMAND_FORGET:
                return 0;
        }
        return 0;
}

static void steps(struct fixture *fixture, struct event *events, size_t count) {
        do {
                fixture->commands.count = 0;
                engine_step(fixture->engine, time_of(fixture), events, count, &fixture->commands);
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
        said.status = 200;
        said.usage.input_tokens = 4;
        said.usage.output_tokens = 3;
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

static void reload(struct fixture *fixture, const struct tables *tables) {
        assert_true(
                engine_reload(fixture->engine, time_of(fixture), &tables->catalog, &fixture->config, NULL));
        pass(fixture, 0);
}

static uint32_t calls_at(const struct fixture *fixture, uint32_t endpoint) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < fixture->calls; i++)
                count += fixture->endpoints[i] == endpoint;
        return count;
}

/* Half of a limit is used; then it is raised, lowered, and counted on. */
static void used_limits_stay_used(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        fixture.tables[0].catalog.endpoints_count = 1;
        fixture.tables[0].endpoints[0].limits.requests_per_day = 2;
        start(&fixture);
        add(&fixture, 0, 8);
        assert_int_equal(fixture.calls, 2);
        struct tables *next = following(&fixture, 1);
        next->endpoints[0].limits.requests_per_day = 5;
        next->providers[0].limits.concurrency = 4;
        reload(&fixture, next);
        assert_int_equal(fixture.calls, 4); /* those under way count for the new limit of concurrency */
        answer(&fixture, 0, VERDICT_OK);
        assert_int_equal(fixture.calls, 5);
        answer(&fixture, 1, VERDICT_OK);
        assert_int_equal(fixture.calls, 5); /* the day's five */
        struct tables *last = following(&fixture, 2);
        last->endpoints[0].limits.requests_per_day = 4;
        reload(&fixture, last);
        pass(&fixture, 3600 * 1000);
        assert_int_equal(fixture.calls, 5);
        engine_free(fixture.engine);
}

/* A part of a limit stays a part of the new one. */
static void parts_stay_parts(void **state) {
        struct fixture fixture;
        struct limit_part part = {.part = 1, .kind = PART_FRESH, .free_ns = INT64_MAX};
        (void)state;
        set_up(&fixture);
        fixture.tables[0].catalog.endpoints_count = 1;
        start(&fixture);
        engine_share(fixture.engine, time_of(&fixture), &part, 1, 4);
        struct tables *next = following(&fixture, 1);
        next->endpoints[0].limits.requests_per_day = 12;
        reload(&fixture, next);
        add(&fixture, 0, 8);
        assert_int_equal(fixture.calls, 3);
        engine_free(fixture.engine);
}

/* Its call goes on and counts; who waits for it goes where it may, or ends when nobody serves it. */
static void an_endpoint_goes(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        fixture.tables[0].endpoints[0].limits.concurrency = 1;
        fixture.tables[0].endpoints[1].limits.concurrency = 1;
        start(&fixture);
        add(&fixture, 0, 2); /* the second waits for the cheaper one */
        assert_true(fixture.calls == 1 && fixture.endpoints[0] == 0);
        struct tables *next = following(&fixture, 1);
        next->endpoints[0].kinds = 0;
        reload(&fixture, next);
        assert_true(fixture.calls == 2 && fixture.endpoints[1] == 1);
        answer(&fixture, 0, VERDICT_OK);
        assert_true(fixture.settled == 1 && fixture.failure == FAILURE_NONE);
        assert_ptr_equal(fixture.decided, &fixture.tables[0].catalog);
        add(&fixture, 2, 1);
        struct tables *last = following(&fixture, 2);
        last->endpoints[1].kinds = 0;
        reload(&fixture, last);
        assert_true(fixture.settled == 2 && fixture.failure == FAILURE_NO_PROVIDER);
        answer(&fixture, 1, VERDICT_RETRY); /* under way when it went: there is nowhere to try again */
        pass(&fixture, 5000);
        assert_true(fixture.settled == 3 && fixture.failure != FAILURE_NONE);
        assert_true(engine_empty(fixture.engine));
        engine_free(fixture.engine);
}

/* Jobs that waited at a full endpoint are taken by one that comes, as are those that come after them. */
static void an_endpoint_comes(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        for (int i = 0; i < 3; i++)
                fixture.tables[0].endpoints[i].limits.concurrency = 1;
        fixture.tables[0].catalog.endpoints_count = 1;
        start(&fixture);
        add(&fixture, 0, 2);
        assert_int_equal(fixture.calls, 1);
        answer(&fixture, 0, VERDICT_OTHER_MODEL); /* the first refuses it: that place stays closed to it */
        assert_true(fixture.settled == 1 && fixture.calls == 2);
        struct tables *next = following(&fixture, 1);
        next->catalog.providers_count = next->catalog.endpoints_count = 3;
        next->endpoints[2].price = (struct price){.input = 1, .output = 1, .request = PRICE_UNKNOWN};
        reload(&fixture, next);
        add(&fixture, 2, 2);
        assert_true(fixture.calls == 3 && fixture.endpoints[2] == 2);
        answer(&fixture, 2, VERDICT_OK);
        assert_ptr_equal(fixture.decided, &next->catalog);
        assert_int_equal(calls_at(&fixture, 2), 2);
        engine_free(fixture.engine);
}

/* A job that a place has refused knows that place by its number. */
static void refusals_stay(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        fixture.tables[0].endpoints[1].limits.concurrency = 1;
        start(&fixture);
        add(&fixture, 0, 1);
        answer(&fixture, 0, VERDICT_OTHER_MODEL);
        assert_true(fixture.calls == 2 && fixture.endpoints[1] == 1);
        answer(&fixture, 0, VERDICT_RETRY);
        struct tables *next = following(&fixture, 1);
        next->catalog.providers_count = next->catalog.endpoints_count = 3;
        next->endpoints[1].kinds = 0;
        reload(&fixture, next);
        pass(&fixture, 5000);
        assert_true(fixture.calls == 3 && fixture.endpoints[2] == 2);
        engine_free(fixture.engine);
}

static void another_price_is_another_choice(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        start(&fixture);
        add(&fixture, 0, 1);
        struct tables *next = following(&fixture, 1);
        next->endpoints[0].price = next->endpoints[1].price;
        next->endpoints[1].price = fixture.tables[0].endpoints[0].price;
        reload(&fixture, next);
        add(&fixture, 1, 1);
        assert_true(fixture.calls == 2 && fixture.endpoints[0] == 0 && fixture.endpoints[1] == 1);
        engine_free(fixture.engine);
}

/* 30 picodollars a call at most; more workspaces than before move the subjects of providers. */
static void a_budget_is_raised(void **state) {
        struct fixture fixture;
        struct budget_view view;
        (void)state;
        set_up(&fixture);
        fixture.tables[0].catalog.endpoints_count = 1;
        fixture.tables[0].workspaces[0].budget.daily = 40;
        fixture.tables[0].providers[0].budget.daily = 1000;
        start(&fixture);
        add(&fixture, 0, 3);
        assert_int_equal(fixture.calls, 1);
        struct tables *next = following(&fixture, 1);
        next->catalog.workspaces_count = 3;
        next->workspaces[0].budget.daily = 75;
        reload(&fixture, next);
        assert_int_equal(fixture.calls, 2);
        answer(&fixture, 0, VERDICT_OK); /* 10 */
        assert_int_equal(fixture.calls, 3);
        answer(&fixture, 1, VERDICT_OK);
        answer(&fixture, 2, VERDICT_OK);
        for (uint32_t subject = 0; subject <= 3; subject += 3) { /* the workspace, and the first provider */
                ledger_view(engine_ledger(fixture.engine, time_of(&fixture), 0, subject), BUDGET_DAILY,
                            &view);
                assert_true(view.settled_picousd == 30 && view.reserved_picousd == 0);
        }
        engine_free(fixture.engine);
}

/* Settled is what was reserved for it, whatever its endpoint costs by then. */
static void a_call_costs_what_it_was_opened_at(void **state) {
        static const int64_t factors[] = {100, 0};
        (void)state;
        for (int i = 0; i < 2; i++) {
                struct fixture fixture;
                struct budget_view view;
                set_up(&fixture);
                fixture.tables[0].catalog.endpoints_count = 1;
                fixture.tables[0].workspaces[0].budget.daily = 30;
                start(&fixture);
                add(&fixture, 0, 1);
                struct tables *next = following(&fixture, 1);
                next->endpoints[0].price.input *= factors[i];
                next->endpoints[0].price.output *= factors[i];
                next->endpoints[0].kinds *= i == 0;
                reload(&fixture, next);
                answer(&fixture, 0, VERDICT_OK);
                assert_ptr_equal(fixture.decided, &fixture.tables[0].catalog);
                assert_int_equal(fixture.cost_picousd, 10);
                ledger_view(engine_ledger(fixture.engine, time_of(&fixture), 0, 0), BUDGET_DAILY, &view);
                assert_true(view.settled_picousd == 10 && view.reserved_picousd == 0);
                engine_free(fixture.engine);
        }
}

/* Opened ahead, and not yet sent when the price changes, up or down: it is decided anew. */
static void what_is_not_sent_yet_has_the_new_price(void **state) {
        static const int64_t prices[] = {3, 0};
        (void)state;
        for (int i = 0; i < 2; i++) {
                struct fixture fixture;
                set_up(&fixture);
                fixture.tables[0].catalog.endpoints_count = 1;
                fixture.tables[0].endpoints[0].limits.concurrency = 1;
                start(&fixture);
                add(&fixture, 0, 2);
                assert_int_equal(fixture.calls, 1);
                struct tables *next = following(&fixture, 1);
                next->endpoints[0].price.input *= prices[i];
                next->endpoints[0].price.output *= prices[i];
                reload(&fixture, next);
                answer(&fixture, 0, VERDICT_OK);
                assert_int_equal(fixture.cost_picousd, 10);
                answer(&fixture, 1, VERDICT_OK);
                assert_ptr_equal(fixture.decided, &next->catalog);
                assert_int_equal(fixture.cost_picousd, 10 * prices[i]);
                engine_free(fixture.engine);
        }
}

/* A pause ends, and what an older call says does not begin it anew. */
static void pauses_end(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        fixture.tables[0].catalog.endpoints_count = 1;
        start(&fixture);
        add(&fixture, 0, 2);
        assert_int_equal(fixture.calls, 2);
        answer(&fixture, 0, VERDICT_AUTH);
        assert_int_equal(fixture.calls, 2);
        reload(&fixture, following(&fixture, 1));
        assert_int_equal(fixture.calls, 3);
        answer(&fixture, 1, VERDICT_AUTH);
        assert_int_equal(fixture.calls, 4);
        answer(&fixture, 1, VERDICT_AUTH); /* that one began under the new catalog */
        assert_int_equal(fixture.calls, 4);
        add(&fixture, 2, 1);
        assert_int_equal(fixture.calls, 4);
        engine_free(fixture.engine);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(used_limits_stay_used),
                cmocka_unit_test(parts_stay_parts),
                cmocka_unit_test(an_endpoint_goes),
                cmocka_unit_test(an_endpoint_comes),
                cmocka_unit_test(refusals_stay),
                cmocka_unit_test(another_price_is_another_choice),
                cmocka_unit_test(a_budget_is_raised),
                cmocka_unit_test(a_call_costs_what_it_was_opened_at),
                cmocka_unit_test(what_is_not_sent_yet_has_the_new_price),
                cmocka_unit_test(pauses_end),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
