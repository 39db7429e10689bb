/*
 * Partitions go while jobs are inside, in whatever state: what they held of their endpoint's and provider's
 * limits is given back, exactly once, whatever the room for commands. The decisions are shown by the golden
 * traces.
 */
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "broker/core/engine_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SPECS = 256, ITEMS = 2048, JOBS_MAX = 64 };

struct fixture {
        struct provider provider;
        struct endpoint endpoints[2];
        struct catalog catalog;
        struct engine_config config;
        struct engine *engine;
        struct prng prng;
        struct job_spec specs[SPECS];
        bool inside[SPECS], gone[SPECS];
        struct handle waiting[SPECS]; /* of the last command that expects an answer */
        enum command_kind wants[SPECS];
        bool has_wish[SPECS];
        uint32_t opened[SPECS], ended[SPECS]; /* attempts in the journal */
        struct command items[ITEMS];
        int64_t now_ns;
        uint32_t revoked, settled;
};

static void set_up(struct fixture *fixture, uint64_t seed) {
        *fixture = (struct fixture){0};
        prng_init(&fixture->prng, seed);
        fixture->provider = (struct provider){.name = "p", .region = "", .retention_days = -1};
        fixture->provider.limits.concurrency = 20;
        for (int i = 0; i < 2; i++) {
                fixture->endpoints[i] = (struct endpoint){.name = i ? "p/n" : "p/m",
                                                          .model = "m",
                                                          .upstream = "m",
                                                          .quantization = "unknown",
                                                          .kinds = 1U << KIND_CHAT};
                fixture->endpoints[i].price =
                        (struct price){.input = 1000000, .output = 2000000, .request = PRICE_UNKNOWN};
                fixture->endpoints[i].limits =
                        (struct limits_spec){.requests_per_minute = 60000, .tokens_per_minute = 6000000};
        }
        fixture->catalog = (struct catalog){.providers = &fixture->provider,
                                            .providers_count = 1,
                                            .endpoints = fixture->endpoints,
                                            .endpoints_count = 2};
        fixture->config = (struct engine_config){.jobs_max = JOBS_MAX,
                                                 .in_flight_max = 16,
                                                 .open_ahead = 8,
                                                 .attempts_max = 3,
                                                 .backoff_base_ns = NS_PER_MS,
                                                 .backoff_cap_ns = NS_PER_S,
                                                 .retry_share = 1,
                                                 .call_timeout_ns = NS_PER_S};
        fixture->engine = engine_new(&fixture->catalog, &fixture->config, (struct engine_time){0, 0});
        assert_non_null(fixture->engine);
        for (uint32_t i = 0; i < SPECS; i++) {
                struct job_spec *spec = &fixture->specs[i];
                spec->key = (struct key128){i + 1, i};
                spec->alias = (struct key128){i + 10000, i};
                spec->class_key = (struct key128){7, i % 3};
                spec->unknown = i % 5 ? UNKNOWN_RETRY : UNKNOWN_FAIL;
                demand_init(&spec->demand, KIND_CHAT);
                spec->demand.models[0] = BYTES("m");
                spec->demand.models_count = 1;
                spec->demand.input_tokens = 10;
                spec->demand.output_tokens_max = 10;
                spec->demand.prefs.allow_fallbacks = true;
        }
}

static uint32_t index_of(const struct fixture *fixture, const struct job_spec *spec) {
        return (uint32_t)(spec - fixture->specs);
}

static void take(struct fixture *fixture, const struct commands *commands) {
        for (size_t i = 0; i < commands->count; i++) {
                const struct command *command = &commands->items[i];
                uint32_t job = index_of(fixture, command->job);
                assert_true(job < SPECS && fixture->inside[job]);
                if (command->kind == COMMAND_FORGET) {
                        assert_false(command->duplicate);
                        /* after a settlement, or as it was given up */
                        assert_int_equal(command->revoked, !(fixture->wants[job] == COMMAND_SETTLE));
                        assert_true(!command->revoked || fixture->gone[job]);
                        fixture->revoked += command->revoked;
                        fixture->settled += !command->revoked;
                        fixture->inside[job] = fixture->gone[job] = fixture->has_wish[job] = false;
                        continue;
                }
                if (command->kind == COMMAND_END) {
                        fixture->ended[job]++;
                        assert_true(fixture->ended[job] <= fixture->opened[job]);
                        continue;
                }
                fixture->opened[job] += command->kind == COMMAND_OPEN;
                fixture->waiting[job] = command->handle;
                fixture->wants[job] = command->kind;
                fixture->has_wish[job] = true;
        }
}

static void random_answer(struct fixture *fixture, bool well, struct answer *out_answer) {
        static const enum verdict verdicts[] = {VERDICT_OK,        VERDICT_OK,      VERDICT_RETRY,
                                                VERDICT_THROTTLED, VERDICT_UNKNOWN, VERDICT_NOT_SENT,
                                                VERDICT_REJECTED,  VERDICT_UNUSABLE};
        answer_init(out_answer);
        out_answer->verdict = well ? VERDICT_OK : verdicts[prng_below(&fixture->prng, 8)];
        out_answer->status = out_answer->verdict == VERDICT_OK ? 200 : 500;
        out_answer->usage.input_tokens = 10;
        out_answer->usage.output_tokens = 5;
}

/* What was wished for is answered, some of it late; with `all`, at once and well. */
static void step(struct fixture *fixture, bool all) {
        static const enum event_kind kinds[] = {[COMMAND_LOOK_UP] = EVENT_LOOKED_UP,
                                                [COMMAND_OPEN] = EVENT_OPENED,
                                                [COMMAND_CALL] = EVENT_ANSWER,
                                                [COMMAND_SETTLE] = EVENT_SETTLED};
        struct event events[SPECS];
        struct answer answers[SPECS];
        struct commands commands = {fixture->items, 0, ITEMS};
        size_t count = 0;
        for (uint32_t i = 0; i < SPECS; i++) {
                if (!fixture->inside[i] && !all && prng_below(&fixture->prng, 40) == 0 &&
                    engine_room(fixture->engine) > count) {
                        fixture->inside[i] = true;
                        fixture->opened[i] = fixture->ended[i] = 0;
                        events[count++] = (struct event){.kind = EVENT_JOB, .job = &fixture->specs[i]};
                        continue;
                }
                if (!fixture->has_wish[i] || (!all && prng_below(&fixture->prng, 2)))
                        continue;
                fixture->has_wish[i] = false;
                random_answer(fixture, all, &answers[count]);
                events[count] = (struct event){.kind = kinds[fixture->wants[i]],
                                               .handle = fixture->waiting[i],
                                               .known.same_fingerprint = true,
                                               .answer = &answers[count]};
                count++;
        }
        fixture->now_ns += all ? NS_PER_S : (int64_t)prng_below(&fixture->prng, 20 * NS_PER_MS);
        engine_step(fixture->engine, (struct engine_time){fixture->now_ns, fixture->now_ns / NS_PER_MS},
                    events, count, &commands);
        take(fixture, &commands);
}

static bool is_gone(void *userdata, const struct job_spec *job) {
        const struct fixture *fixture = userdata;
        return fixture->gone[index_of(fixture, job)];
}

static void revoke_some(struct fixture *fixture) {
        for (uint32_t i = 0; i < SPECS; i++)
                fixture->gone[i] =
                        fixture->gone[i] || (fixture->inside[i] && prng_below(&fixture->prng, 3) == 0);
        size_t capacity = 2 + prng_below(&fixture->prng, 20);
        for (bool all = false; !all;) {
                struct commands commands = {fixture->items, 0, capacity};
                all = engine_revoke(fixture->engine,
                                    (struct engine_time){fixture->now_ns, fixture->now_ns / NS_PER_MS},
                                    is_gone, fixture, &commands);
                assert_true(all || commands.count + 2 > capacity);
                take(fixture, &commands);
        }
        assert_int_equal(engine_wake_ns(fixture->engine), fixture->now_ns);
}

/* The counters are those of the jobs that hold something. */
static void check_gates(const struct fixture *fixture) {
        const struct engine *engine = fixture->engine;
        uint32_t opened[2] = {0}, in_flight[2] = {0}, giving_up = 0;
        int64_t tokens[2] = {0};
        for (uint32_t i = 0; i < JOBS_MAX; i++) {
                const struct job *job = &engine->jobs[i];
                if (job->state == JOB_OPENING || job->state == JOB_READY) {
                        opened[job->endpoint]++;
                        tokens[job->endpoint] += job->amounts.of[UNIT_TOKENS];
                }
                in_flight[job->endpoint] += job->state == JOB_CALLING;
                giving_up += job->state != JOB_FREE && job->revoked;
        }
        for (int i = 0; i < 2; i++) {
                assert_int_equal(engine->endpoints[i].gate.opened, opened[i]);
                assert_int_equal(engine->endpoints[i].gate.opened_amounts.of[UNIT_TOKENS], tokens[i]);
                assert_int_equal(engine->endpoints[i].gate.in_flight, in_flight[i]);
        }
        const struct gate *shared[] = {&engine->providers[0], &engine->workspaces[0].gate};
        for (int i = 0; i < 2; i++) {
                assert_int_equal(shared[i]->opened, opened[0] + opened[1]);
                assert_int_equal(shared[i]->opened_amounts.of[UNIT_CALLS], opened[0] + opened[1]);
                assert_int_equal(shared[i]->opened_amounts.of[UNIT_TOKENS], tokens[0] + tokens[1]);
                assert_int_equal(shared[i]->in_flight, in_flight[0] + in_flight[1]);
        }
        assert_int_equal(engine->opened, opened[0] + opened[1]);
        assert_int_equal(engine->in_flight, in_flight[0] + in_flight[1]);
        assert_int_equal(engine_stats(engine)->giving_up, giving_up);
}

static void gives_back_what_it_held(void **state) {
        uint32_t revoked = 0, settled = 0;
        (void)state;
        for (uint64_t seed = 1; seed <= 60; seed++) {
                struct fixture *fixture = malloc(sizeof(*fixture));
                assert_non_null(fixture);
                set_up(fixture, seed);
                for (int i = 0; i < 400; i++) {
                        step(fixture, false);
                        if (prng_below(&fixture->prng, 8) == 0)
                                revoke_some(fixture);
                        check_gates(fixture);
                }
                for (int i = 0; i < 5000 && !engine_empty(fixture->engine); i++)
                        step(fixture, true);
                assert_true(engine_empty(fixture->engine) && engine_quiet(fixture->engine));
                assert_int_equal(engine_stats(fixture->engine)->giving_up, 0);
                check_gates(fixture);
                for (uint32_t i = 0; i < SPECS; i++)
                        assert_false(fixture->inside[i]);
                revoked += fixture->revoked;
                settled += fixture->settled;
                engine_free(fixture->engine);
                free(fixture);
        }
        assert_true(revoked > 1000 && settled > 1000);
}

/* Parts of each limit over all partitions are whole numbers, and their sum is the limit. */
static void parts_add_up(void **state) {
        static const int64_t limits[] = {1, 2, 3, 7, 60, 100, 999, 1000003};
        static const uint32_t wholes[] = {1, 2, 3, 5, 7, 12, 64, 1000};
        struct limit_part part = {.kind = PART_FRESH};
        (void)state;
        struct fixture *fixture = malloc(sizeof(*fixture));
        assert_non_null(fixture);
        for (size_t i = 0; i < 8; i++) {
                for (size_t j = 0; j < 8; j++) {
                        int64_t requests = 0, concurrency = 0;
                        set_up(fixture, 1);
                        engine_free(fixture->engine);
                        fixture->endpoints[0].limits = (struct limits_spec){.requests_per_minute = limits[i],
                                                                            .concurrency = limits[7 - i]};
                        fixture->engine =
                                engine_new(&fixture->catalog, &fixture->config, (struct engine_time){0, 0});
                        for (part.part = 0; part.part < wholes[j]; part.part++) {
                                const struct gate *gate = &fixture->engine->endpoints[0].gate;
                                engine_share(fixture->engine, (struct engine_time){0, 0}, &part, 1,
                                             wholes[j]);
                                assert_true(gate->limiters[0].limit <= limits[i] / wholes[j] + 1);
                                requests += gate->limiters[0].limit;
                                concurrency += gate->concurrency;
                        }
                        assert_int_equal(requests, limits[i]);
                        assert_int_equal(concurrency, limits[7 - i]);
                        engine_free(fixture->engine);
                }
        }
        free(fixture);
}

/* A topic that grows divides every limit anew: no engine fails over what it keeps. */
static void topics_grow(void **state) {
        struct limit_part parts[4];
        (void)state;
        struct fixture *fixture = malloc(sizeof(*fixture));
        assert_non_null(fixture);
        for (int64_t limit = 1; limit < 40; limit++) {
                set_up(fixture, 1);
                engine_free(fixture->engine);
                fixture->endpoints[0].limits = (struct limits_spec){.requests_per_minute = limit};
                fixture->engine = engine_new(&fixture->catalog, &fixture->config, (struct engine_time){0, 0});
                for (uint32_t whole = 4; whole < 80; whole++) {
                        for (uint32_t i = 0; i < 4; i++)
                                parts[i] = (struct limit_part){.part = i,
                                                               .kind = whole == 4 ? PART_FRESH : PART_KEPT};
                        engine_share(fixture->engine, (struct engine_time){0, 0}, parts, 4, whole);
                        assert_true(fixture->engine->endpoints[0].gate.limiters[0].limit <= limit);
                }
                engine_free(fixture->engine);
        }
        free(fixture);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(gives_back_what_it_held),
                cmocka_unit_test(parts_add_up),
                cmocka_unit_test(topics_grow),
        };
        return cmocka_run_group_tests_name("revoke", tests, NULL, NULL);
}
