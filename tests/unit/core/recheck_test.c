/*
 * Rules hold on every attempt: whatever the first call ends with, the next one goes to no endpoint that a
 * rule excludes, and a rule that comes to hold between journal and call still stops the call.
 */
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "workers/routing/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ENDPOINTS = 3, ITEMS = 64, STEPS = 3000, VERDICTS = VERDICT_INPUT_RETRY + 1 };

/*
 * The first is the cheapest; the second comes next, were it not for a rule; the third is dear, and allowed.
 */
struct fixture {
        struct provider providers[ENDPOINTS];
        struct endpoint endpoints[ENDPOINTS];
        struct catalog catalog;
        struct engine *engine;
        struct job_spec spec;
        struct command items[ITEMS];
        struct event events[ITEMS];
        size_t events_count;
        int64_t now_ns;
        struct answer failed, well;
        uint32_t calls[ENDPOINTS], calls_count;
        bool ended, dearer_when_opened;
};

typedef void rule(struct fixture *fixture);

static struct names one_name(const char *name) {
        static struct bytes items[64]; /* tests have few lists at a time */
        static unsigned used;
        struct bytes *item = &items[used++ % 64];
        *item = bytes_of(name);
        return (struct names){item, 1};
}

#define RULE(name, statement)                                                                                \
        static void name(struct fixture *fixture) {                                                          \
                struct routing_prefs *prefs = &fixture->spec.demand.prefs;                                   \
                struct endpoint *second = &fixture->endpoints[1];                                            \
                (void)prefs;                                                                                 \
                (void)second;                                                                                \
                statement;                                                                                   \
        }

static const struct bytes allowed[] = {{"a", 1}, {"c/m", 3}}, ordered[] = {{"a", 1}, {"c", 1}};

RULE(no_rule, (void)0)
RULE(kinds, second->kinds = 1U << KIND_EMBEDDINGS)
RULE(only, prefs->only = ((struct names){allowed, 2}))
RULE(ignore, prefs->ignore = one_name("b"))
RULE(order, (prefs->order = ((struct names){ordered, 2}), prefs->allow_fallbacks = false))
RULE(regions, (prefs->regions = one_name("eu"), second->region = "us"))
RULE(zdr, (prefs->zdr = true, fixture->providers[1].zdr = false))
RULE(training, (prefs->deny_training = true, fixture->providers[1].training = true))
RULE(quantizations, (prefs->quantizations = one_name("fp8"), second->quantization = "int4"))
RULE(max_price, (prefs->max_price_output = 100000000, second->price.output = 100000001))
RULE(max_cost, (fixture->spec.demand.max_cost_picousd = 200, second->price.request = 1000000000))
RULE(unknown_price, (prefs->deny_unknown_price = true, second->price.output = PRICE_UNKNOWN))
RULE(modalities, (fixture->spec.demand.input_modalities = 2, second->input_modalities = 1))
RULE(required,
     (prefs->require_parameters = true, fixture->spec.demand.parameters = 3, second->parameters = 1))
RULE(context, second->context = 1)

/* From a minute past midnight on, the first is above the ceiling as well. */
static const struct zone_change utc_changes[] = {{INT64_MIN, 0}};
static const struct zone utc = {"UTC", utc_changes, 1};
static const struct price_window dear_day = {&utc, 1000000000, 1, 1440, 0x7f};

static void max_price_later(struct fixture *fixture) {
        max_price(fixture);
        fixture->endpoints[0].windows = &dear_day;
        fixture->endpoints[0].windows_count = 1;
}

static rule *const rules[] = {kinds,         only,       ignore,        order,     regions,
                              zdr,           training,   quantizations, max_price, max_cost,
                              unknown_price, modalities, required,      context};

static void set_up(struct fixture *fixture, rule *set, enum verdict verdict) {
        static const char *const names[] = {"a", "b", "c"}, *const endpoints[] = {"a/m", "b/m", "c/m"};
        memset(fixture, 0, sizeof *fixture);
        for (uint32_t i = 0; i < ENDPOINTS; i++) {
                fixture->providers[i] = (struct provider){.name = names[i],
                                                          .region = "eu",
                                                          .data_policy_known = true,
                                                          .zdr = true,
                                                          .retention_days = 0};
                fixture->endpoints[i] = (struct endpoint){
                        .name = endpoints[i],
                        .provider = i,
                        .model = "m",
                        .upstream = "m",
                        .quantization = "fp8",
                        .parameters_known = true,
                        .parameters = 3,
                        .price = {.input = 1000000, .output = 1000000 * (i + 1), .request = PRICE_UNKNOWN},
                        .kinds = 1U << KIND_CHAT};
        }
        fixture->catalog = (struct catalog){.providers = fixture->providers,
                                            .providers_count = ENDPOINTS,
                                            .endpoints = fixture->endpoints,
                                            .endpoints_count = ENDPOINTS};
        demand_init(&fixture->spec.demand, KIND_CHAT);
        fixture->spec.key = (struct key128){1, 2};
        fixture->spec.alias = (struct key128){3, 4};
        fixture->spec.class_key = (struct key128){7, 7};
        fixture->spec.demand.models[0] = BYTES("m");
        fixture->spec.demand.models_count = 1;
        fixture->spec.demand.input_tokens = fixture->spec.demand.output_tokens_max = 10;
        set(fixture);
        struct engine_config config = {.jobs_max = 4,
                                       .in_flight_max = 4,
                                       .open_ahead = 4,
                                       .attempts_max = 4,
                                       .backoff_base_ns = NS_PER_MS,
                                       .backoff_cap_ns = NS_PER_S,
                                       .retry_share = 1,
                                       .call_timeout_ns = NS_PER_S};
        fixture->engine = engine_new(&fixture->catalog, &config, (struct engine_time){0, 0});
        assert_non_null(fixture->engine);
        answer_init(&fixture->failed);
        answer_init(&fixture->well);
        fixture->failed.verdict = verdict;
        fixture->failed.failure = FAILURE_PROVIDER_ERROR;
        fixture->failed.status = 500;
        fixture->well.verdict = VERDICT_OK;
        fixture->well.status = 200;
}

static void add_event(struct fixture *fixture, const struct command *command, enum event_kind kind,
                      const struct answer *answer) {
        fixture->events[fixture->events_count++] = (struct event){.kind = kind,
                                                                  .handle = command->handle,
                                                                  .known = {.same_fingerprint = true},
                                                                  .answer = answer};
}

static void react(struct fixture *fixture, const struct command *command) {
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                add_event(fixture, command, EVENT_LOOKED_UP, NULL);
                return;
        case COMMAND_OPEN:
                if (fixture->dearer_when_opened && command->endpoint == 0)
                        fixture->now_ns = 59 * NS_PER_S; /* and then the window begins */
                add_event(fixture, command, EVENT_OPENED, NULL);
                return;
        case COMMAND_CALL:
                fixture->calls[command->endpoint]++;
                add_event(fixture, command, EVENT_ANSWER,
                          fixture->calls_count++ == 0 ? &fixture->failed : &fixture->well);
                return;
        case COMMAND_SETTLE:
                add_event(fixture, command, EVENT_SETTLED, NULL);
                return;
        case COMMAND_FORGET:
                fixture->ended = true;
                return;
        case COMMAND_END:
        case COMMAND_NOTE:
                return;
        }
}

/* To the end of the job, a second at a time. */
static void drive(struct fixture *fixture) {
        fixture->events[fixture->events_count++] = (struct event){.kind = EVENT_JOB, .job = &fixture->spec};
        for (int i = 0; i < STEPS && !fixture->ended; i++) {
                struct commands commands = {fixture->items, 0, ITEMS};
                fixture->now_ns += NS_PER_S;
                engine_step(fixture->engine,
                            (struct engine_time){fixture->now_ns, fixture->now_ns / NS_PER_MS},
                            fixture->events, fixture->events_count, &commands);
                fixture->events_count = 0;
                for (size_t k = 0; k < commands.count; k++)
                        react(fixture, &commands.items[k]);
        }
        engine_free(fixture->engine);
}

static void every_failure_rechecks_every_rule(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
                uint32_t third = 0;
                for (int verdict = 0; verdict < VERDICTS; verdict++) {
                        struct fixture fixture;
                        set_up(&fixture, rules[i], (enum verdict)verdict);
                        drive(&fixture);
                        if (!fixture.ended || fixture.calls[1] > 0 || fixture.calls[0] == 0)
                                fail_msg("rule %zu, verdict %d: ended %d, calls %u %u %u", i, verdict,
                                         fixture.ended, fixture.calls[0], fixture.calls[1], fixture.calls[2]);
                        third += fixture.calls[2] > 0;
                }
                assert_true(third >= 3); /* there were fallbacks, and they went to the one that is left */
        }
}

/* What the test above would not see if nobody fell back. */
static void without_a_rule_the_second_is_next(void **state) {
        (void)state;
        uint32_t second = 0;
        for (int verdict = 0; verdict < VERDICTS; verdict++) {
                struct fixture fixture;
                set_up(&fixture, no_rule, (enum verdict)verdict);
                drive(&fixture);
                second += fixture.calls[1] > 0;
                assert_int_equal(fixture.calls[2], 0);
        }
        assert_true(second >= 3);
}

static void what_changes_before_the_call_stops_it(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture, max_price_later, VERDICT_OK);
        fixture.dearer_when_opened = true;
        drive(&fixture);
        assert_true(fixture.ended);
        assert_int_equal(fixture.calls[0] + fixture.calls[1], 0);
        assert_int_equal(fixture.calls[2], 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_failure_rechecks_every_rule),
                cmocka_unit_test(without_a_rule_the_second_is_next),
                cmocka_unit_test(what_changes_before_the_call_stops_it),
        };
        return cmocka_run_group_tests_name("recheck", tests, NULL, NULL);
}
