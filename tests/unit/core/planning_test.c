/*
 * Where jobs with deadlines go when the cheapest endpoint cannot do them all: the real engine in virtual
 * time.
 */
#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/core/engine_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { JOBS_MAX = 512, EVENTS_MAX = 1024 };
#define MINUTE_NS (60 * NS_PER_S)
#define USD       INT64_C(1000000000000)

struct market {
        struct provider providers[2];
        struct endpoint endpoints[2]; /* cheap, dear */
        struct catalog catalog;
        struct engine *engine;
        struct job_spec specs[JOBS_MAX];
        struct event events[EVENTS_MAX];
        size_t events_count;
        struct answer answer;
        struct commands commands;
        int64_t now_ns;
        uint32_t settled, late, fail_first; /* of that many calls none is answered */
};

static void set_up(struct market *market, int64_t cheap_per_minute) {
        *market = (struct market){0};
        const char *names[] = {"cheap", "dear"};
        for (int i = 0; i < 2; i++) {
                market->providers[i] =
                        (struct provider){.name = names[i], .region = "", .retention_days = -1};
                market->endpoints[i] = (struct endpoint){.name = names[i],
                                                         .provider = (uint32_t)i,
                                                         .model = "m",
                                                         .upstream = "m",
                                                         .quantization = "unknown",
                                                         .price = {.input = (i + 1) * USD,
                                                                   .output = (i + 1) * USD,
                                                                   .request = PRICE_UNKNOWN,
                                                                   .reasoning = PRICE_UNKNOWN},
                                                         .kinds = 1U << KIND_CHAT};
        }
        market->endpoints[0].limits.requests_per_minute = cheap_per_minute;
        market->catalog = (struct catalog){.providers = market->providers,
                                           .providers_count = 2,
                                           .endpoints = market->endpoints,
                                           .endpoints_count = 2};
        struct engine_config config = {.jobs_max = JOBS_MAX,
                                       .in_flight_max = 64,
                                       .open_ahead = 8,
                                       .attempts_max = 5,
                                       .backoff_base_ns = NS_PER_S,
                                       .backoff_cap_ns = 10 * NS_PER_S,
                                       .retry_share = 1,
                                       .call_timeout_ns = MINUTE_NS};
        market->engine = engine_new(&market->catalog, &config, (struct engine_time){0, 0});
        market->commands.capacity = 4 * EVENTS_MAX;
        market->commands.items = calloc(market->commands.capacity, sizeof(*market->commands.items));
        assert_true(market->engine && market->commands.items);
        answer_init(&market->answer);
        market->answer.verdict = VERDICT_OK;
        market->answer.status = 200;
        market->answer.latency_ns = NS_PER_S;
        market->answer.usage.input_tokens = market->answer.usage.output_tokens = 100;
}

static void tear_down(struct market *market) {
        engine_free(market->engine);
        free(market->commands.items);
}

static struct event *add(struct market *market, enum event_kind kind, struct handle handle) {
        CHECK(market->events_count < EVENTS_MAX);
        struct event *event = &market->events[market->events_count++];
        *event = (struct event){
                .kind = kind, .handle = handle, .known.same_fingerprint = true, .answer = &market->answer};
        return event;
}

/* Jobs first to first + count, of a class of their own, due then; 0: whenever. */
static void arrive(struct market *market, uint32_t first, uint32_t count, int64_t due_ns) {
        for (uint32_t i = first; i < first + count; i++) {
                struct job_spec *spec = &market->specs[i];
                *spec = (struct job_spec){
                        .key = {i + 1, 7}, .class_key = {1, first}, .deadline_unix_ms = due_ns / NS_PER_MS};
                demand_init(&spec->demand, KIND_CHAT);
                spec->demand.models[0] = BYTES("m");
                spec->demand.models_count = 1;
                spec->demand.input_tokens = spec->demand.output_tokens_max = 100;
                add(market, EVENT_JOB, (struct handle){0})->job = spec;
        }
}

static void react(struct market *market, const struct command *command) {
        static struct answer failed;
        if (command->kind == COMMAND_LOOK_UP)
                add(market, EVENT_LOOKED_UP, command->handle);
        else if (command->kind == COMMAND_OPEN)
                add(market, EVENT_OPENED, command->handle);
        else if (command->kind == COMMAND_CALL && market->fail_first > 0) {
                market->fail_first--;
                answer_init(&failed);
                failed.latency_ns = NS_PER_S;
                add(market, EVENT_ANSWER, command->handle)->answer = &failed;
        } else if (command->kind == COMMAND_CALL)
                add(market, EVENT_ANSWER, command->handle);
        else if (command->kind == COMMAND_SETTLE) {
                market->settled++;
                market->late += command->outcome->failure != FAILURE_NONE;
                add(market, EVENT_SETTLED, command->handle);
        }
}

static void run_until(struct market *market, int64_t until_ns) {
        while (market->now_ns < until_ns) {
                struct event events[EVENTS_MAX];
                size_t count = market->events_count;
                memcpy(events, market->events, count * sizeof(*events));
                market->events_count = market->commands.count = 0;
                struct engine_time now = {market->now_ns, market->now_ns / NS_PER_MS};
                engine_step(market->engine, now, events, count, &market->commands);
                for (size_t i = 0; i < market->commands.count; i++)
                        react(market, &market->commands.items[i]);
                int64_t wake_ns = engine_wake_ns(market->engine);
                int64_t next_ns = market->events_count > 0 ? market->now_ns + NS_PER_MS : wake_ns;
                market->now_ns =
                        next_ns < until_ns ? (next_ns > market->now_ns ? next_ns : market->now_ns) : until_ns;
        }
}

static uint64_t calls(const struct market *market, uint32_t endpoint) {
        return engine_endpoint_stats(market->engine, endpoint)->calls;
}

/* 80 jobs in an hour, at two a minute: there is time enough, and nothing goes to the dear one. */
static void what_is_cheap_is_waited_for(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 2);
        arrive(&market, 0, 80, 60 * MINUTE_NS);
        run_until(&market, 61 * MINUTE_NS);
        assert_int_equal(market.settled, 80);
        assert_int_equal(market.late, 0);
        assert_int_equal(calls(&market, 1), 0);
        tear_down(&market);
}

/* 300 jobs in an hour, at two a minute: the rest goes to the dear one, and not only when time is short. */
static void what_is_too_much_goes_elsewhere(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 2);
        arrive(&market, 0, 300, 60 * MINUTE_NS);
        run_until(&market, MINUTE_NS);
        assert_in_range(calls(&market, 1), 180, 215);
        run_until(&market, 61 * MINUTE_NS);
        assert_int_equal(market.settled, 300);
        assert_int_equal(market.late, 0);
        assert_in_range(calls(&market, 0), 85, 120);
        tear_down(&market);
}

/* Work that is due sooner takes its turn first, and both are done as cheaply as can be. */
static void pools_are_shared_by_classes(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 10);
        arrive(&market, 0, 300, 60 * MINUTE_NS);
        run_until(&market, 2 * MINUTE_NS);
        arrive(&market, 300, 150, 22 * MINUTE_NS);
        run_until(&market, 61 * MINUTE_NS);
        assert_int_equal(market.settled, 450);
        assert_int_equal(market.late, 0);
        assert_in_range(calls(&market, 1), 0, 10);
        tear_down(&market);
}

/* Something urgent does not wait for a plan. */
static void the_urgent_take_what_there_is(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 1);
        arrive(&market, 0, 50, 6 * MINUTE_NS);
        run_until(&market, 6 * MINUTE_NS);
        assert_int_equal(market.settled, 50);
        assert_int_equal(market.late, 0);
        assert_in_range(calls(&market, 0), 3, 7);
        tear_down(&market);
}

/* A job that failed at the cheap one tries it again rather than pay more. */
static void a_failure_is_no_reason_to_pay_more(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 10);
        market.fail_first = 3;
        arrive(&market, 0, 20, 60 * MINUTE_NS);
        run_until(&market, 61 * MINUTE_NS);
        assert_int_equal(market.settled, 20);
        assert_int_equal(calls(&market, 0), 23);
        assert_int_equal(calls(&market, 1), 0);
        tear_down(&market);
}

/* What nobody knows the price of is dearer than the rest, and used all the same. */
static void unknown_prices_come_last_but_come(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 2);
        market.endpoints[1].price.output = PRICE_UNKNOWN;
        arrive(&market, 0, 300, 60 * MINUTE_NS);
        run_until(&market, MINUTE_NS);
        assert_in_range(calls(&market, 1), 180, 215);
        run_until(&market, 61 * MINUTE_NS);
        assert_int_equal(market.settled, 300);
        assert_int_equal(market.late, 0);
        tear_down(&market);
}

/* Two endpoints of which nobody knows the price: nothing is waited for. */
static void without_prices_nothing_waits(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 0);
        market.endpoints[0].price.output = market.endpoints[1].price.output = PRICE_UNKNOWN;
        arrive(&market, 0, 100, 60 * MINUTE_NS);
        run_until(&market, MINUTE_NS);
        assert_int_equal(market.settled, 100);
        tear_down(&market);
}

/* A fallback model that is cheaper is no reason to leave the model that was asked for. */
static void a_fallback_model_is_no_bargain(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 0);
        market.endpoints[0].model = "fallback";
        market.endpoints[1].limits.requests_per_minute = 0;
        arrive(&market, 0, 100, 60 * MINUTE_NS);
        for (int i = 0; i < 100; i++) {
                market.specs[i].demand.models[1] = BYTES("fallback");
                market.specs[i].demand.models_count = 2;
        }
        run_until(&market, 61 * MINUTE_NS);
        assert_int_equal(market.settled, 100);
        assert_int_equal(calls(&market, 0), 0);
        tear_down(&market);
}

/* The cheap one said "not before": what cannot wait for that goes elsewhere at once. */
static void what_is_blocked_for_long_is_not_counted_on(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 600);
        gate_block(&market.engine->endpoints[0].gate, 40 * MINUTE_NS);
        arrive(&market, 0, 50, 30 * MINUTE_NS);
        arrive(&market, 50, 50, 90 * MINUTE_NS);
        run_until(&market, 5 * MINUTE_NS);
        assert_in_range(calls(&market, 1), 50, 54); /* every 16th job is out of its rank (order.h) */
        run_until(&market, 91 * MINUTE_NS);
        assert_int_equal(market.settled, 100);
        assert_int_equal(market.late, 0);
        assert_int_equal(calls(&market, 0) + calls(&market, 1), 100);
        tear_down(&market);
}

/* Nothing is left of pools when the jobs have gone. */
static void pools_end_with_their_jobs(void **state) {
        (void)state;
        static struct market market;
        set_up(&market, 2);
        arrive(&market, 0, 100, 20 * MINUTE_NS);
        arrive(&market, 100, 100, 400 * 60 * MINUTE_NS); /* farther than a plan looks */
        run_until(&market, MINUTE_NS);
        uint32_t waiting = 0, classes = 0;
        for (int i = 0; i < PLAN_POOLS_MAX; i++)
                for (int bucket = 0; bucket < PLAN_BUCKETS; bucket++)
                        waiting += market.engine->pools[i].due[bucket];
        assert_in_range(waiting, 100, 200);
        run_until(&market, 150 * MINUTE_NS);
        assert_int_equal(market.settled, 200);
        assert_int_equal(market.late, 0);
        for (int i = 0; i < PLAN_POOLS_MAX; i++) {
                classes += market.engine->pools[i].classes;
                for (int bucket = 0; bucket < PLAN_BUCKETS; bucket++)
                        assert_true(market.engine->pools[i].classes == 0 ||
                                    market.engine->pools[i].due[bucket] == 0);
        }
        assert_int_equal(classes, 0);
        tear_down(&market);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_cheap_is_waited_for),
                cmocka_unit_test(what_is_too_much_goes_elsewhere),
                cmocka_unit_test(pools_are_shared_by_classes),
                cmocka_unit_test(the_urgent_take_what_there_is),
                cmocka_unit_test(a_failure_is_no_reason_to_pay_more),
                cmocka_unit_test(unknown_prices_come_last_but_come),
                cmocka_unit_test(without_prices_nothing_waits),
                cmocka_unit_test(a_fallback_model_is_no_bargain),
                cmocka_unit_test(what_is_blocked_for_long_is_not_counted_on),
                cmocka_unit_test(pools_end_with_their_jobs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
