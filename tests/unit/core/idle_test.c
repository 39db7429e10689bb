/* engine_each_idle(): what is sure to do nothing for long, and only that. */
#include "broker/base/time.h"
#include "broker/core/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { JOBS_MAX = 8, ITEMS = 64 };

struct fixture {
        struct provider provider;
        struct endpoint endpoint;
        struct catalog catalog;
        struct engine *engine;
        struct job_spec specs[2];
        struct command items[ITEMS];
        size_t idle;
        int64_t until_ns;
};

static void set_up(struct fixture *fixture) {
        *fixture = (struct fixture){0};
        fixture->provider = (struct provider){.name = "p", .region = "", .retention_days = -1};
        fixture->endpoint = (struct endpoint){.name = "p/m",
                                              .model = "m",
                                              .upstream = "m",
                                              .quantization = "unknown",
                                              .kinds = 1U << KIND_CHAT};
        fixture->catalog = (struct catalog){.providers = &fixture->provider,
                                            .providers_count = 1,
                                            .endpoints = &fixture->endpoint,
                                            .endpoints_count = 1};
        struct engine_config config = {.jobs_max = JOBS_MAX,
                                       .in_flight_max = 1,
                                       .attempts_max = 3,
                                       .backoff_base_ns = NS_PER_MS,
                                       .backoff_cap_ns = NS_PER_S,
                                       .retry_share = 1,
                                       .call_timeout_ns = NS_PER_S};
        fixture->engine = engine_new(&fixture->catalog, &config, (struct engine_time){0, 0});
        assert_non_null(fixture->engine);
        for (uint64_t i = 0; i < 2; i++) {
                struct job_spec *spec = &fixture->specs[i];
                spec->key = (struct key128){i + 1, i};
                spec->alias = (struct key128){i + 10, i};
                spec->class_key = (struct key128){7, 7};
                demand_init(&spec->demand, KIND_CHAT);
                spec->demand.models[0] = BYTES("m");
                spec->demand.models_count = 1;
                spec->demand.prefs.allow_fallbacks = true;
        }
}

/* Gives the jobs to the engine and answers their look-ups with "not known". */
static void admit(struct fixture *fixture, int64_t now_ns) {
        struct commands commands = {fixture->items, 0, ITEMS};
        struct engine_time now = {now_ns, now_ns / NS_PER_MS};
        struct event events[2] = {{.kind = EVENT_JOB, .job = &fixture->specs[0]},
                                  {.kind = EVENT_JOB, .job = &fixture->specs[1]}};
        engine_step(fixture->engine, now, events, 2, &commands);
        assert_int_equal(commands.count, 2);
        for (size_t i = 0; i < 2; i++)
                events[i] = (struct event){.kind = EVENT_LOOKED_UP,
                                           .handle = fixture->items[i].handle,
                                           .known = {.known = KNOWN_NOTHING, .same_fingerprint = true}};
        commands.count = 0;
        engine_step(fixture->engine, now, events, 2, &commands);
}

static void see_idle(void *userdata, struct job_spec *job, int64_t until_ns) {
        struct fixture *fixture = userdata;
        assert_non_null(job);
        fixture->idle++;
        fixture->until_ns = until_ns;
}

static size_t count_idle(struct fixture *fixture) {
        fixture->idle = 0;
        engine_each_idle(fixture->engine, 60 * NS_PER_S, see_idle, fixture);
        return fixture->idle;
}

/* They wait for nothing but for being looked at: nobody knows of a time before which they cannot go. */
static void what_may_run_is_not_idle(void **state) {
        struct fixture *fixture = malloc(sizeof(*fixture));
        (void)state;
        assert_non_null(fixture);
        set_up(fixture);
        engine_hold(fixture->engine, true);
        admit(fixture, NS_PER_S);
        assert_int_equal(engine_stats(fixture->engine)->waiting, 2);
        assert_int_equal(count_idle(fixture), 0);
        engine_free(fixture->engine);
        free(fixture);
}

static void what_is_early_is_idle(void **state) {
        struct fixture *fixture = malloc(sizeof(*fixture));
        (void)state;
        assert_non_null(fixture);
        set_up(fixture);
        fixture->specs[0].not_before_unix_ms = 61 * 1000;
        fixture->specs[1].not_before_unix_ms = 62 * 1000;
        admit(fixture, NS_PER_S);
        assert_int_equal(count_idle(fixture), 1);
        assert_int_equal(fixture->until_ns, 62 * NS_PER_S);
        engine_free(fixture->engine);
        free(fixture);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_may_run_is_not_idle),
                cmocka_unit_test(what_is_early_is_idle),
        };
        return cmocka_run_group_tests_name("idle", tests, NULL, NULL);
}
