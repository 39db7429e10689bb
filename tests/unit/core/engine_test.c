/*
 * The engine's edges that no scenario needs: rooms and bounds, a full output buffer, counters, and that
 * nothing is allocated once it is made. What it decides is shown by the golden traces and the simulator.
 */
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "broker/core/job.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SPECS = 64, ITEMS = 256 };

struct fixture {
        struct provider provider;
        struct endpoint endpoint;
        struct catalog catalog;
        struct engine_config config;
        struct engine *engine;
        struct job_spec specs[SPECS];
        struct command items[ITEMS];
        struct commands commands;
        struct event events[ITEMS];
        size_t events_count;
        struct answer answer;
        int64_t now_ns;
        uint32_t counts[COMMAND_FORGET + 1];
};

static void set_up(struct fixture *fixture, uint32_t jobs_max) {
        *fixture = (struct fixture){0};
        fixture->provider = (struct provider){.name = "p", .region = "", .retention_days = -1};
        fixture->endpoint = (struct endpoint){.name = "p/m",
                                              .model = "m",
                                              .upstream = "m",
                                              .quantization = "unknown",
                                              .kinds = 1U << KIND_CHAT};
        fixture->endpoint.price =
                (struct price){.input = 1000000, .output = 2000000, .request = PRICE_UNKNOWN};
        fixture->catalog = (struct catalog){.providers = &fixture->provider,
                                            .providers_count = 1,
                                            .endpoints = &fixture->endpoint,
                                            .endpoints_count = 1};
        fixture->config = (struct engine_config){.jobs_max = jobs_max,
                                                 .in_flight_max = jobs_max,
                                                 .attempts_max = 2,
                                                 .backoff_base_ns = NS_PER_MS,
                                                 .backoff_cap_ns = NS_PER_S,
                                                 .retry_share = 0.1,
                                                 .call_timeout_ns = NS_PER_S};
        fixture->engine = engine_new(&fixture->catalog, &fixture->config, (struct engine_time){0, 0});
        assert_non_null(fixture->engine);
        fixture->commands = (struct commands){fixture->items, 0, ITEMS};
        answer_init(&fixture->answer);
        fixture->answer.verdict = VERDICT_OK;
        fixture->answer.status = 200;
        fixture->answer.usage.input_tokens = 10;
        fixture->answer.usage.output_tokens = 5;
        for (uint32_t i = 0; i < SPECS; i++) {
                struct job_spec *spec = &fixture->specs[i];
                spec->key = (struct key128){i + 1, i};
                spec->alias = (struct key128){i + 1000, i};
                spec->class_key = (struct key128){7, 7};
                demand_init(&spec->demand, KIND_CHAT);
                spec->demand.models[0] = BYTES("m");
                spec->demand.models_count = 1;
                spec->demand.input_tokens = 10;
                spec->demand.output_tokens_max = 10;
        }
}

static void tear_down(struct fixture *fixture) {
        engine_free(fixture->engine);
}

static void add_jobs(struct fixture *fixture, uint32_t first, uint32_t count) {
        for (uint32_t i = first; i < first + count; i++)
                fixture->events[fixture->events_count++] =
                        (struct event){.kind = EVENT_JOB, .job = &fixture->specs[i]};
}

/* One step with what was gathered; then what the commands want is gathered for the next one. */
static size_t step(struct fixture *fixture, size_t capacity) {
        static const enum event_kind answers[] = {
                [COMMAND_LOOK_UP] = EVENT_LOOKED_UP,
                [COMMAND_OPEN] = EVENT_OPENED,
                [COMMAND_CALL] = EVENT_ANSWER,
                [COMMAND_SETTLE] = EVENT_SETTLED,
        };
        fixture->commands.count = 0;
        fixture->commands.capacity = capacity;
        fixture->now_ns += NS_PER_MS;
        engine_step(fixture->engine, (struct engine_time){fixture->now_ns, fixture->now_ns / NS_PER_MS},
                    fixture->events, fixture->events_count, &fixture->commands);
        fixture->events_count = 0;
        for (size_t i = 0; i < fixture->commands.count; i++) {
                const struct command *command = &fixture->commands.items[i];
                fixture->counts[command->kind]++;
                if (command->kind == COMMAND_FORGET || command->kind == COMMAND_END)
                        continue;
                fixture->events[fixture->events_count++] = (struct event){.kind = answers[command->kind],
                                                                          .handle = command->handle,
                                                                          .known.same_fingerprint = true,
                                                                          .answer = &fixture->answer};
        }
        return fixture->commands.count;
}

static void has_room_for_so_many(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture, 8);
        assert_int_equal(engine_room(fixture.engine), 8);
        assert_true(engine_empty(fixture.engine) && engine_quiet(fixture.engine));
        add_jobs(&fixture, 0, 8);
        step(&fixture, ITEMS);
        assert_int_equal(engine_room(fixture.engine), 0);
        assert_false(engine_quiet(fixture.engine));
        for (int i = 0; i < 4; i++)
                step(&fixture, ITEMS);
        assert_int_equal(engine_room(fixture.engine), 8);
        assert_true(engine_empty(fixture.engine) && engine_quiet(fixture.engine));
        tear_down(&fixture);
}

static void goes_on_when_the_buffer_was_full(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture, SPECS);
        add_jobs(&fixture, 0, 40);
        step(&fixture, 82);
        size_t most = 82, steps = 0;
        while (fixture.counts[COMMAND_FORGET] < 40 && steps++ < 1000) {
                size_t capacity = 2 * fixture.events_count + 2;
                size_t given = step(&fixture, capacity);
                assert_true(given <= capacity);
                if (given + 2 > capacity)
                        assert_int_equal(engine_wake_ns(fixture.engine), fixture.now_ns);
                most = given > most ? given : most;
        }
        assert_int_equal(fixture.counts[COMMAND_CALL], 40);
        assert_int_equal(fixture.counts[COMMAND_SETTLE], 40);
        assert_true(engine_empty(fixture.engine));
        tear_down(&fixture);
}

static void counts_what_happened(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture, SPECS);
        add_jobs(&fixture, 0, 3);
        add_jobs(&fixture, 0, 1);
        fixture.specs[2].failure = FAILURE_INVALID_JOB;
        fixture.specs[2].failure_message = BYTES("what is this");
        for (int i = 0; i < 5; i++)
                step(&fixture, ITEMS);
        const struct engine_stats *stats = engine_stats(fixture.engine);
        assert_int_equal(stats->jobs, 3);
        assert_int_equal(stats->duplicates, 1);
        assert_int_equal(stats->succeeded, 2);
        assert_int_equal(stats->failures[FAILURE_INVALID_JOB], 1);
        assert_int_equal(stats->calls, 2);
        assert_int_equal(stats->retries, 0);
        assert_int_equal(stats->input_tokens, 20);
        assert_int_equal(stats->output_tokens, 10);
        assert_int_equal(stats->cost_picousd, 2 * (10 + 2 * 5));
        assert_false(stats->cost_unknown);
        assert_int_equal(stats->inside + stats->in_flight + stats->waiting, 0);
        const struct endpoint_stats *endpoint = engine_endpoint_stats(fixture.engine, 0);
        assert_int_equal(endpoint->calls, 2);
        assert_int_equal(endpoint->succeeded, 2);
        tear_down(&fixture);
}

static const struct outcome *settled(const struct fixture *fixture) {
        for (size_t i = 0; i < fixture->commands.count; i++)
                if (fixture->items[i].kind == COMMAND_SETTLE)
                        return fixture->items[i].outcome;
        return NULL;
}

/* Usage that no call can have costs what was reserved for it, and says so. */
static void lies_about_usage_cost_what_was_reserved(void **state) {
        static const struct {
                int64_t input, output, context, cost;
                bool believed;
        } rows[] = {
                {10, 5, 0, 20, true},
                {10, 1485, 0, 2980, true},     /* a hundred times: reasoning, tools, a wrong estimate */
                {200000, 10, 0, 200020, true}, /* a long document that is only referred to */
                {8000, 5, 8000, 8010, true},   /* fills the context */
                {9000, 5, 8000, 30, false},    /* does not fit it */
                {2000000000, 5, 0, 30, false},
                {10, 2000000000, 0, 30, false},
                {INT64_MAX, INT64_MAX, 0, 30, false},
        };
        (void)state;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct fixture fixture;
                set_up(&fixture, 4);
                fixture.endpoint.context = rows[i].context;
                fixture.answer.usage.input_tokens = rows[i].input;
                fixture.answer.usage.output_tokens = rows[i].output;
                add_jobs(&fixture, 0, 1);
                for (int k = 0; k < 10 && settled(&fixture) == NULL; k++)
                        step(&fixture, ITEMS);
                const struct outcome *outcome = settled(&fixture);
                assert_non_null(outcome);
                assert_int_equal(outcome->failure, FAILURE_NONE);
                assert_true(outcome->cost_known);
                assert_int_equal(outcome->cost_picousd, rows[i].cost);
                assert_int_equal(outcome->cost_is_estimate, !rows[i].believed);
                assert_int_equal(outcome->list_cost_known, rows[i].believed);
                assert_int_equal(outcome->usage.input_tokens, rows[i].believed ? rows[i].input : -1);
                tear_down(&fixture);
        }
}

static void what_was_never_called_used_nothing_that_is_known(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, 4);
        fixture.specs[0].failure = FAILURE_INVALID_JOB;
        add_jobs(&fixture, 0, 1);
        for (int k = 0; k < 10 && settled(&fixture) == NULL; k++)
                step(&fixture, ITEMS);
        struct usage nothing;
        usage_init(&nothing);
        assert_non_null(settled(&fixture));
        assert_memory_equal(&settled(&fixture)->usage, &nothing, sizeof nothing);
        tear_down(&fixture);
}

static void allocates_nothing_once_made(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture, 16);
        struct mallinfo2 before = mallinfo2();
        for (int round = 0; round < 60; round++) {
                add_jobs(&fixture, 0, 16);
                fixture.answer.verdict = round % 3 ? VERDICT_OK : VERDICT_RETRY;
                for (int i = 0; i < 5000 && (fixture.events_count > 0 || !engine_empty(fixture.engine));
                     i++) {
                        fixture.now_ns += NS_PER_S; /* the breaker opens too */
                        step(&fixture, ITEMS);
                }
                assert_true(engine_empty(fixture.engine));
        }
        struct mallinfo2 after = mallinfo2();
        assert_int_equal(after.uordblks, before.uordblks);
        assert_int_equal(after.hblks, before.hblks);
        tear_down(&fixture);
}

static void count_spec(void *userdata, struct job_spec *job) {
        assert_non_null(job);
        ++*(int *)userdata;
}

static void tells_who_is_inside(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture, 16);
        add_jobs(&fixture, 0, 5);
        step(&fixture, ITEMS);
        int count = 0;
        engine_each_job(fixture.engine, count_spec, &count);
        assert_int_equal(count, 5);
        struct buffer text;
        buffer_init(&text, 1 << 16);
        engine_trace(fixture.engine, &text);
        assert_true(bytes_starts_with(buffer_view(&text), "1000000 slot 0.0 free -> seeking\n"));
        buffer_deinit(&text);
        tear_down(&fixture);
}

/* Numbers from outside that overflow anything that adds them carelessly. */
static void believes_no_absurd_numbers(void **state) {
        (void)state;
        static const int64_t absurd[] = {INT64_MAX, INT64_MIN, -1, 0};
        struct fixture fixture;
        set_up(&fixture, 16);
        for (uint32_t i = 0; i < 4; i++) {
                struct usage *usage = &fixture.answer.usage;
                usage->input_tokens = usage->cached_input_tokens = usage->cache_write_tokens = absurd[i];
                usage->output_tokens = absurd[(i + 1) % 4];
                fixture.answer.wait_ns = absurd[i];
                fixture.answer.latency_ns = absurd[i];
                fixture.answer.verdict = VERDICT_OK;
                fixture.specs[i].demand.output_tokens_max = i % 2 ? INT64_MAX : -1;
                add_jobs(&fixture, i, 1);
                for (int j = 0; j < 5; j++)
                        step(&fixture, ITEMS);
                assert_true(engine_empty(fixture.engine));
        }
        tear_down(&fixture);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(has_room_for_so_many),
                cmocka_unit_test(goes_on_when_the_buffer_was_full),
                cmocka_unit_test(counts_what_happened),
                cmocka_unit_test(lies_about_usage_cost_what_was_reserved),
                cmocka_unit_test(what_was_never_called_used_nothing_that_is_known),
                cmocka_unit_test(allocates_nothing_once_made),
                cmocka_unit_test(tells_who_is_inside),
                cmocka_unit_test(believes_no_absurd_numbers),
        };
        return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
