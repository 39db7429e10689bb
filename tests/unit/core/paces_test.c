/*
 * What an endpoint's answers do to where the next calls go: the engine in virtual time with endpoints that
 * become slow, hang, fail or refuse. Jobs come at an even pace; each call is counted where it went and in
 * which second.
 */
#include "broker/base/time.h"
#include "broker/core/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SPECS = 2048, EVENTS = 4096, ENDPOINTS = 2, SECONDS_MAX = 900, ATTEMPTS = 3 };

struct call {
        bool open;
        struct handle handle;
        uint32_t endpoint;
        int64_t started_ns, ends_ns, size;
};

typedef int64_t latency_fn(uint32_t endpoint, int64_t now_ns);
typedef enum verdict verdict_fn(int64_t now_ns);

struct world {
        struct provider providers[ENDPOINTS];
        struct endpoint endpoints[ENDPOINTS];
        struct catalog catalog;
        struct engine_config config;
        struct engine *engine;
        struct job_spec specs[SPECS];
        struct call calls[SPECS];
        bool used[SPECS];
        struct event events[EVENTS];
        struct answer answers[EVENTS];
        size_t events_count;
        struct command items[EVENTS];
        int64_t now_ns;
        latency_fn *latency;
        verdict_fn *verdict; /* of endpoint 0; NULL: all is well */
        int64_t tokens;
        uint32_t sent[SECONDS_MAX][ENDPOINTS]; /* calls that began in that second */
        uint32_t failed, failed_uncalled, done;
        bool opened; /* endpoint 0 was kept away from at some time */
};

static void add_endpoint(struct world *world, uint32_t i, const char *name, int64_t price) {
        world->providers[i] = (struct provider){.name = name, .region = "", .retention_days = -1};
        world->endpoints[i] = (struct endpoint){.name = name,
                                                .provider = i,
                                                .model = "m",
                                                .upstream = "m",
                                                .quantization = "unknown",
                                                .quality = -1,
                                                .kinds = 1U << KIND_CHAT};
        world->endpoints[i].price = (struct price){.input = price, .output = price, .request = PRICE_UNKNOWN};
}

static struct world *world_new(latency_fn *latency, uint32_t endpoints, int64_t dearer) {
        struct world *world = calloc(1, sizeof(*world));
        assert_non_null(world);
        add_endpoint(world, 0, "a", 1000000);
        add_endpoint(world, 1, "b", 1000000 + dearer);
        world->catalog = (struct catalog){.providers = world->providers,
                                          .providers_count = ENDPOINTS,
                                          .endpoints = world->endpoints,
                                          .endpoints_count = endpoints};
        world->config = (struct engine_config){.jobs_max = SPECS,
                                               .in_flight_max = SPECS,
                                               .open_ahead = 16,
                                               .attempts_max = ATTEMPTS,
                                               .backoff_base_ns = 250 * NS_PER_MS,
                                               .backoff_cap_ns = 30 * NS_PER_S,
                                               .retry_share = 0.1,
                                               .call_timeout_ns = 600 * NS_PER_S,
                                               .seed = 7};
        world->engine = engine_new(&world->catalog, &world->config, (struct engine_time){0, 0});
        assert_non_null(world->engine);
        world->latency = latency;
        world->tokens = 50;
        return world;
}

static void world_free(struct world *world) {
        engine_free(world->engine);
        free(world);
}

static void add_job(struct world *world) {
        uint32_t slot = 0;
        while (world->used[slot])
                assert_true(++slot < SPECS);
        static uint64_t keys;
        struct job_spec *spec = &world->specs[slot];
        keys++;
        *spec = (struct job_spec){.key = {keys, slot}, .alias = {keys, ~slot}, .class_key = {7, 7}};
        demand_init(&spec->demand, KIND_CHAT);
        spec->demand.models[0] = BYTES("m");
        spec->demand.models_count = 1;
        spec->demand.input_tokens = 10;
        spec->demand.output_tokens_max = 1000;
        world->used[slot] = true;
        world->events[world->events_count++] = (struct event){.kind = EVENT_JOB, .job = spec};
}

static void begin_call(struct world *world, const struct command *command) {
        struct call *call = &world->calls[command->handle.slot];
        assert_false(call->open);
        *call = (struct call){true, command->handle, command->endpoint, world->now_ns, 0, world->tokens};
        /* the more output, the longer: 50 tokens take what the scenario says */
        call->ends_ns = world->now_ns + world->latency(command->endpoint, world->now_ns) * call->size / 50;
        world->sent[world->now_ns / NS_PER_S][command->endpoint]++;
}

static void obey(struct world *world, const struct command *command) {
        static const enum event_kind answers[] = {
                [COMMAND_LOOK_UP] = EVENT_LOOKED_UP,
                [COMMAND_OPEN] = EVENT_OPENED,
                [COMMAND_SETTLE] = EVENT_SETTLED,
        };
        if (command->kind == COMMAND_CALL) {
                begin_call(world, command);
        } else if (command->kind == COMMAND_FORGET) {
                world->used[command->job - world->specs] = false;
                world->done++;
        } else if (command->kind != COMMAND_END) {
                bool failed = command->kind == COMMAND_SETTLE && command->outcome->failure != FAILURE_NONE;
                world->failed += failed;
                world->failed_uncalled += failed && command->outcome->attempts < ATTEMPTS;
                world->events[world->events_count++] =
                        (struct event){.kind = answers[command->kind], .handle = command->handle};
        }
}

static void end_calls(struct world *world) {
        for (uint32_t i = 0; i < SPECS; i++) {
                struct call *call = &world->calls[i];
                if (!call->open || call->ends_ns > world->now_ns)
                        continue;
                call->open = false;
                struct answer *answer = &world->answers[world->events_count];
                answer_init(answer);
                answer->verdict =
                        call->endpoint == 0 && world->verdict ? world->verdict(world->now_ns) : VERDICT_OK;
                answer->latency_ns = world->now_ns - call->started_ns;
                answer->usage.input_tokens = 10;
                answer->usage.output_tokens = call->size;
                world->events[world->events_count++] =
                        (struct event){.kind = EVENT_ANSWER, .handle = call->handle, .answer = answer};
        }
}

static void turn(struct world *world) {
        struct commands commands = {world->items, 0, EVENTS};
        end_calls(world);
        size_t count = world->events_count;
        engine_step(world->engine, (struct engine_time){world->now_ns, world->now_ns / NS_PER_MS},
                    world->events, count, &commands);
        world->events_count = 0;
        world->opened = world->opened || engine_endpoint_open(world->engine, 0);
        for (size_t i = 0; i < commands.count; i++)
                obey(world, &commands.items[i]);
}

static uint32_t calls(const struct world *world, uint32_t endpoint, int64_t from_s, int64_t to_s) {
        uint32_t sum = 0;
        for (int64_t s = from_s; s < to_s; s++)
                sum += world->sent[s][endpoint];
        return sum;
}

/* Ten milliseconds a turn, a job in every `apart_ns`. */
static void run_until(struct world *world, int64_t until_ns, int64_t apart_ns) {
        for (; world->now_ns < until_ns; world->now_ns += 10 * NS_PER_MS) {
                if (world->now_ns % apart_ns == 0)
                        add_job(world);
                turn(world);
        }
}

/* Percent of the calls in these seconds that went there. */
static int share(const struct world *world, uint32_t endpoint, int64_t from_s, int64_t to_s) {
        uint32_t here = calls(world, endpoint, from_s, to_s), all = 0;
        for (uint32_t i = 0; i < ENDPOINTS; i++)
                all += calls(world, i, from_s, to_s);
        assert_true(all > 0);
        return (int)(here * 100 / all);
}

/*
 * How often the endpoint went from being avoided (a tenth at most) to being used, and back, by the 5 seconds.
 */
static int switches(const struct world *world, uint32_t endpoint, int64_t from_s, int64_t to_s) {
        bool avoided = false;
        int count = 0;
        for (int64_t s = from_s; s + 5 <= to_s; s += 5) {
                bool now = share(world, endpoint, s, s + 5) < 10;
                count += now != avoided;
                avoided = now;
        }
        return count;
}

static int64_t slow_for_two_minutes(uint32_t endpoint, int64_t now_ns) {
        bool slow = endpoint == 0 && now_ns >= 60 * NS_PER_S && now_ns < 180 * NS_PER_S;
        return slow ? 5 * NS_PER_S : 200 * NS_PER_MS;
}

/* At 50 and at 4 jobs a second; the slow one costs as much as the other, or less. */
static void traffic_leaves_a_slow_endpoint_and_comes_back(void **state) {
        (void)state;
        static const struct {
                int64_t apart_ns, dearer;
        } rows[] = {
                {20 * NS_PER_MS, 0}, {20 * NS_PER_MS, 1000}, {250 * NS_PER_MS, 0}, {250 * NS_PER_MS, 1000}};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct world *world = world_new(slow_for_two_minutes, 2, rows[i].dearer);
                run_until(world, 300 * NS_PER_S, rows[i].apart_ns);
                assert_true(share(world, 0, 30, 60) >= 40);
                assert_true(share(world, 0, 70, 180) < 10);
                assert_true(calls(world, 0, 120, 180) >= 3); /* it is asked now and then */
                assert_true(share(world, 0, 210, 300) >= 40);
                assert_int_equal(switches(world, 0, 0, 300), 2);
                assert_int_equal(world->failed, 0);
                world_free(world);
        }
}

static int64_t hangs_for_two_minutes(uint32_t endpoint, int64_t now_ns) {
        bool hangs = endpoint == 0 && now_ns >= 60 * NS_PER_S && now_ns < 180 * NS_PER_S;
        return hangs ? 400 * NS_PER_S : 200 * NS_PER_MS;
}

/* Nothing comes back from it: it is seen by the calls that are under way, long before these time out. */
static void traffic_leaves_an_endpoint_that_hangs(void **state) {
        (void)state;
        for (int dearer = 0; dearer <= 1000; dearer += 1000) {
                struct world *world = world_new(hangs_for_two_minutes, 2, dearer);
                run_until(world, 300 * NS_PER_S, 20 * NS_PER_MS);
                assert_true(share(world, 0, 70, 180) < 10);
                assert_true(calls(world, 0, 120, 180) >= 2);
                assert_true(calls(world, 0, 180, 300) >= 3);
                /* with calls that still hang, which count against it where the costs are equal */
                assert_true(dearer == 0 || share(world, 0, 230, 300) >= 90);
                assert_true(dearer == 0 || switches(world, 0, 0, 300) == 2);
                world_free(world);
        }
}

/* No other place: slow is better than not at all, and nothing waits longer than the calls take. */
static void the_last_way_stays_open(void **state) {
        (void)state;
        struct world *world = world_new(slow_for_two_minutes, 1, 0);
        run_until(world, 200 * NS_PER_S, 100 * NS_PER_MS);
        assert_int_equal(world->sent[100][0] + world->sent[101][0], 20);
        assert_int_equal(world->failed, 0);
        world_free(world);
}

/* The quick one is small: what it cannot take still goes to the slow one, and nothing piles up. */
static void a_slow_endpoint_takes_what_the_others_cannot(void **state) {
        (void)state;
        struct world *world = world_new(slow_for_two_minutes, 2, 1000);
        engine_free(world->engine);
        world->endpoints[1].limits.concurrency = 2;
        world->engine = engine_new(&world->catalog, &world->config, (struct engine_time){0, 0});
        run_until(world, 180 * NS_PER_S, 50 * NS_PER_MS);
        assert_in_range(share(world, 1, 80, 180), 40, 60);
        assert_in_range(calls(world, 0, 80, 180) + calls(world, 1, 80, 180), 1980, 2020);
        world_free(world);
}

static int64_t all_slow(uint32_t endpoint, int64_t now_ns) {
        (void)endpoint;
        return now_ns >= 60 * NS_PER_S ? 5 * NS_PER_S : 200 * NS_PER_MS;
}

/* When all became slow, none is avoided for it: the cheaper one keeps its work. */
static void slow_like_its_peers_is_not_slow(void **state) {
        (void)state;
        struct world *world = world_new(all_slow, 2, 1000);
        run_until(world, 300 * NS_PER_S, 20 * NS_PER_MS);
        assert_true(share(world, 0, 100, 300) >= 90);
        world_free(world);
}

static int64_t every_ten_seconds(uint32_t endpoint, int64_t now_ns) {
        bool slow = endpoint == 0 && now_ns >= 60 * NS_PER_S && now_ns / (10 * NS_PER_S) % 2 == 0;
        return slow ? 3 * NS_PER_S : 200 * NS_PER_MS;
}

/* An endpoint that goes up and down is believed less and less: 14 minutes hold few switches. */
static void an_unsteady_endpoint_makes_few_switches(void **state) {
        (void)state;
        struct world *world = world_new(every_ten_seconds, 2, 0);
        run_until(world, 880 * NS_PER_S, 50 * NS_PER_MS);
        assert_in_range(switches(world, 0, 60, 880), 2, 14);
        world_free(world);
}

static int64_t steady(uint32_t endpoint, int64_t now_ns) {
        (void)endpoint;
        (void)now_ns;
        return 200 * NS_PER_MS;
}

/* Twenty times the output takes twenty times as long, and so does twenty times less: nobody became slow. */
static void other_jobs_are_no_slowness(void **state) {
        (void)state;
        struct world *world = world_new(steady, 2, 1000);
        run_until(world, 60 * NS_PER_S, 100 * NS_PER_MS);
        world->tokens = 1000;
        run_until(world, 120 * NS_PER_S, 100 * NS_PER_MS);
        world->tokens = 50;
        run_until(world, 180 * NS_PER_S, 100 * NS_PER_MS);
        assert_int_equal(share(world, 0, 0, 180), 100);
        world_free(world);
}

static enum verdict refuses_for_a_minute(int64_t now_ns) {
        return now_ns >= 20 * NS_PER_S && now_ns < 80 * NS_PER_S ? VERDICT_THROTTLED : VERDICT_OK;
}

static enum verdict fails_for_a_minute(int64_t now_ns) {
        return now_ns >= 20 * NS_PER_S && now_ns < 80 * NS_PER_S ? VERDICT_RETRY : VERDICT_OK;
}

/*
 * A 429 says that there is too much of us, not that the provider is ill: hundreds in a row open no breaker.
 */
static void refusals_are_no_failures(void **state) {
        (void)state;
        static const struct {
                verdict_fn *verdict;
                bool opens;
        } rows[] = {{refuses_for_a_minute, false}, {fails_for_a_minute, true}};
        for (size_t i = 0; i < 2; i++) {
                struct world *world = world_new(steady, 1, 0);
                world->verdict = rows[i].verdict;
                run_until(world, 100 * NS_PER_S, 200 * NS_PER_MS);
                assert_true(calls(world, 0, 20, 80) >= 10);
                assert_int_equal(world->opened, rows[i].opens);
                world_free(world);
        }
}

/*
 * The breaker of the only endpoint opens: jobs wait for it; none fails but those that were called themselves.
 */
static void an_open_breaker_is_waited_for(void **state) {
        (void)state;
        struct world *world = world_new(steady, 1, 0);
        world->verdict = fails_for_a_minute;
        run_until(world, 100 * NS_PER_S, 200 * NS_PER_MS);
        run_until(world, 300 * NS_PER_S, 10 * NS_PER_S);
        assert_true(world->opened);
        assert_int_equal(world->failed_uncalled, 0);
        assert_in_range(world->failed, 0, 20); /* 300 came while it failed */
        assert_true(world->done >= 515);
        world_free(world);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(traffic_leaves_a_slow_endpoint_and_comes_back),
                cmocka_unit_test(traffic_leaves_an_endpoint_that_hangs),
                cmocka_unit_test(the_last_way_stays_open),
                cmocka_unit_test(a_slow_endpoint_takes_what_the_others_cannot),
                cmocka_unit_test(slow_like_its_peers_is_not_slow),
                cmocka_unit_test(an_unsteady_endpoint_makes_few_switches),
                cmocka_unit_test(other_jobs_are_no_slowness),
                cmocka_unit_test(refusals_are_no_failures),
                cmocka_unit_test(an_open_breaker_is_waited_for),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
