/*
 * What limits have given, over the lives of engines and between engines that have parts of them: told, kept,
 * loaded; in no window more calls than the limit, and nearly all of it used. What each engine is asked for is
 * answered at once.
 */
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "broker/core/engine_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DAY_NS  (86400 * NS_PER_S)
#define WALL_MS INT64_C(1790000000000)

enum {
        ENGINES = 3,
        PARTS = 7,
        SPECS = 64,
        ITEMS = 1024,
        ROWS = QUOTA_OF_COUNT * 4 * QUOTAS_COUNT,
        USES = 8192
};

struct unit_of_work {
        struct engine *engine;
        struct job_spec specs[SPECS];
        bool inside[SPECS];
        struct event events[2 * SPECS];
        size_t events_count;
        struct command open[SPECS]; /* opened, but not yet told so */
        size_t open_count;
};

struct world {
        struct prng prng;
        struct provider provider;
        struct endpoint endpoints[2];
        struct workspace workspace;
        struct catalog catalog;
        struct engine_config config;
        struct unit_of_work units[ENGINES];
        struct answer answer;
        struct command items[ITEMS];
        int64_t now_ns, wall_ms; /* wall: at 0 */
        int64_t calls;
        struct quota_use rows[ROWS][LIMITER_RING]; /* as the store has them */
        struct quota_use uses[USES];
        size_t uses_count;
};

static struct world world;

static struct engine_time now(void) {
        return (struct engine_time){world.now_ns, world.wall_ms + world.now_ns / NS_PER_MS};
}

static void set_up(uint64_t seed, struct limits_spec limits) {
        memset(&world, 0, sizeof(world));
        prng_init(&world.prng, seed);
        world.now_ns = 5000 * NS_PER_S;
        world.wall_ms = WALL_MS;
        world.provider = (struct provider){.name = "p",
                                           .dialect = "openai",
                                           .base_url = "",
                                           .region = "",
                                           .retention_days = -1,
                                           .limits = limits};
        for (int i = 0; i < 2; i++)
                world.endpoints[i] = (struct endpoint){.name = i ? "p/n" : "p/m",
                                                       .model = "m",
                                                       .upstream = "m",
                                                       .quantization = "unknown",
                                                       .price = {.input = 1, .output = 1 + i},
                                                       .kinds = 1U << KIND_CHAT};
        world.workspace = (struct workspace){.name = "default"};
        world.catalog = (struct catalog){.providers = &world.provider,
                                         .providers_count = 1,
                                         .endpoints = world.endpoints,
                                         .endpoints_count = 2,
                                         .workspaces = &world.workspace,
                                         .workspaces_count = 1};
        world.config = (struct engine_config){.jobs_max = SPECS,
                                              .in_flight_max = 8,
                                              .open_ahead = 16,
                                              .attempts_max = 3,
                                              .backoff_base_ns = NS_PER_MS,
                                              .backoff_cap_ns = NS_PER_S,
                                              .retry_share = 1,
                                              .call_timeout_ns = NS_PER_S,
                                              .quotas_kept = true};
        answer_init(&world.answer);
        world.answer.verdict = VERDICT_OK;
        world.answer.status = 200;
        world.answer.usage.input_tokens = world.answer.usage.output_tokens = 10;
}

/* ---- the store ---- */

static struct quota_use *row_of(const struct quota_use *use) {
        return &world.rows[((uint32_t)use->of * 4 + use->index) * QUOTAS_COUNT + (uint32_t)use->quota]
                          [use->place];
}

static void keep(void *userdata, const struct quota_use *use) {
        (void)userdata;
        assert_true(use->place < LIMITER_RING);
        *row_of(use) = *use;
}

/* Of each limit, what was opened counts as its last row says. */
static void load(struct engine *engine) {
        world.uses_count = 0;
        for (size_t limit = 0; limit < ROWS; limit++) {
                size_t last = 0;
                for (size_t i = 0; i < LIMITER_RING; i++)
                        if (world.rows[limit][i].until_unix_ms > world.rows[limit][last].until_unix_ms)
                                last = i;
                for (size_t i = 0; i < LIMITER_RING; i++) {
                        struct quota_use use = world.rows[limit][i];
                        use.opened = i == last ? use.opened : 0;
                        if (use.amount > 0 || use.opened > 0)
                                world.uses[world.uses_count++] = use;
                }
        }
        engine_quotas_load(engine, now(), world.uses, world.uses_count);
}

/* ---- an engine ---- */

static void begin(struct unit_of_work *unit) {
        unit->engine = engine_new(&world.catalog, &world.config, now());
        assert_non_null(unit->engine);
        for (uint32_t i = 0; i < SPECS; i++) {
                struct job_spec *spec = &unit->specs[i];
                *spec = (struct job_spec){.key = {i + 1, i}, .alias = {i + 10000, i}, .class_key = {7, 7}};
                demand_init(&spec->demand, KIND_CHAT);
                spec->demand.models[0] = BYTES("m");
                spec->demand.models_count = 1;
                spec->demand.input_tokens = spec->demand.output_tokens_max = 10;
                spec->demand.prefs.allow_fallbacks = true;
                unit->inside[i] = false;
        }
        unit->events_count = unit->open_count = 0;
}

static void end(struct unit_of_work *unit) {
        unit->engine = engine_free(unit->engine);
}

static void add(struct unit_of_work *unit, enum event_kind kind, struct handle handle) {
        unit->events[unit->events_count++] =
                (struct event){.kind = kind, .handle = handle, .answer = &world.answer};
}

static void carry_out(struct unit_of_work *unit, const struct command *command) {
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                add(unit, EVENT_LOOKED_UP, command->handle);
                return;
        case COMMAND_OPEN:
                unit->open[unit->open_count++] = *command;
                return;
        case COMMAND_CALL:
                world.calls++;
                add(unit, EVENT_ANSWER, command->handle);
                return;
        case COMMAND_SETTLE:
                add(unit, EVENT_SETTLED, command->handle);
                return;
        case COMMAND_FORGET:
                unit->inside[command->job - unit->specs] = false;
                return;
        case COMMAND_END:
        case COMMAND_NOTE:
                return;
        }
}

/* One turn. What was opened in the last ones is durable now, or not yet. */
static void step(struct unit_of_work *unit, bool kept) {
        struct commands commands = {world.items, 0, ITEMS};
        for (uint32_t i = 0; i < SPECS && unit->events_count < SPECS / 2; i++) {
                if (unit->inside[i] || engine_room(unit->engine) <= unit->events_count)
                        continue;
                unit->inside[i] = true;
                unit->events[unit->events_count++] =
                        (struct event){.kind = EVENT_JOB, .job = &unit->specs[i]};
        }
        for (size_t i = 0; i < unit->open_count; i++)
                add(unit, EVENT_OPENED, unit->open[i].handle);
        unit->open_count = 0;
        struct event events[2 * SPECS];
        size_t count = unit->events_count;
        memcpy(events, unit->events, count * sizeof(*events));
        unit->events_count = 0;
        engine_step(unit->engine, now(), events, count, &commands);
        for (size_t i = 0; i < commands.count; i++)
                carry_out(unit, &commands.items[i]);
        if (kept)
                engine_quotas_take(unit->engine, keep, NULL);
}

static void run(struct unit_of_work *unit, uint32_t steps) {
        for (uint32_t i = 0; i < steps; i++) {
                step(unit, true);
                world.now_ns += (int64_t)prng_below(&world.prng, 3) * NS_PER_MS;
        }
}

/* A process dies at any step, again and again: no more calls than the limit, and 95 % of it. */
static void lives_share_a_limit(void **state) {
        static const struct limits_spec limits[] = {{.requests_per_day = 400},
                                                    {.tokens_per_day = 8000},
                                                    {.requests_per_day = 5000, .tokens_per_day = 8000}};
        (void)state;
        for (uint64_t seed = 1; seed <= 60; seed++) {
                set_up(seed, limits[seed % 3]);
                for (int life = 0; life < 4; life++) {
                        begin(&world.units[0]);
                        load(world.units[0].engine);
                        run(&world.units[0], life < 3 ? (uint32_t)prng_below(&world.prng, 120) : 3000);
                        end(&world.units[0]);
                        world.now_ns += (int64_t)prng_below(&world.prng, 100) * NS_PER_S;
                }
                assert_true(world.calls <= 400);
                if (world.calls < 380)
                        fail_msg("seed %llu: %lld of 400", (unsigned long long)seed, (long long)world.calls);
        }
}

/* What is durable with what was opened covers what is called, whenever it ends. */
static void what_is_kept_is_enough(void **state) {
        (void)state;
        set_up(3, (struct limits_spec){.requests_per_day = 1000, .requests_per_minute = 60000});
        begin(&world.units[0]);
        load(world.units[0].engine);
        for (int i = 0; i < 2000 && world.calls < 900; i++) {
                int64_t kept[2] = {0};
                for (int quota = 0; quota < 2; quota++) {
                        size_t row = QUOTA_OF_PROVIDER * 4 * QUOTAS_COUNT +
                                     (size_t)(quota ? QUOTA_requests_per_day : QUOTA_requests_per_minute);
                        int64_t opened = 0, until_ms = 0;
                        for (size_t place = 0; place < LIMITER_RING; place++) {
                                kept[quota] += world.rows[row][place].amount;
                                if (world.rows[row][place].until_unix_ms > until_ms) {
                                        until_ms = world.rows[row][place].until_unix_ms;
                                        opened = world.rows[row][place].opened;
                                }
                        }
                        kept[quota] += opened;
                }
                step(&world.units[0], true); /* calls are of what was opened before */
                assert_true(world.calls <= kept[0] && world.calls <= kept[1]);
                world.now_ns += 2 * NS_PER_MS;
        }
        assert_true(world.calls >= 900);
        end(&world.units[0]);
}

/* Clocks are set while nobody looks, and the day's limit is still a day's. */
static void clocks_that_are_set(void **state) {
        static const int64_t moves_ms[] = {0, 7200000, -7200000, 40 * INT64_C(86400000),
                                           -400 * INT64_C(86400000)};
        (void)state;
        for (size_t i = 0; i < sizeof(moves_ms) / sizeof(*moves_ms); i++) {
                set_up(i, (struct limits_spec){.requests_per_day = 100});
                begin(&world.units[0]);
                load(world.units[0].engine);
                run(&world.units[0], 80);
                assert_in_range(world.calls, 20, 80);
                world.wall_ms += moves_ms[i];
                run(&world.units[0], 3);
                end(&world.units[0]);
                begin(&world.units[0]);
                load(world.units[0].engine);
                run(&world.units[0], 2000);
                assert_in_range(world.calls, 95, 100);
                end(&world.units[0]);
                world.now_ns += DAY_NS + DAY_NS / 50;
                begin(&world.units[0]);
                load(world.units[0].engine);
                run(&world.units[0], 2000);
                assert_in_range(world.calls, 190, 200);
                end(&world.units[0]);
        }
}

/* A clock that was set while no process was there: back, what was taken counts for another day at most. */
static void a_clock_that_goes_back_meanwhile(void **state) {
        (void)state;
        set_up(1, (struct limits_spec){.requests_per_day = 100});
        begin(&world.units[0]);
        load(world.units[0].engine);
        run(&world.units[0], 2000);
        end(&world.units[0]);
        assert_int_equal(world.calls, 100);
        world.wall_ms -= INT64_C(365) * 86400000;
        for (int i = 0; i < 3; i++) { /* heard once, told anew by the new clock */
                begin(&world.units[0]);
                load(world.units[0].engine);
                run(&world.units[0], 30);
                assert_true(world.calls <= 100);
                engine_quotas_take(world.units[0].engine, keep, NULL);
                end(&world.units[0]);
                world.now_ns += DAY_NS / 4;
        }
        world.now_ns += DAY_NS / 3;
        begin(&world.units[0]);
        load(world.units[0].engine);
        run(&world.units[0], 2000);
        assert_in_range(world.calls, 195, 200);
        end(&world.units[0]);
}

/* ---- parts ---- */

static struct said {
        struct quota_use uses[4 * LIMITER_RING];
        size_t count;
        bool never;
} said[PARTS];

static void note(void *userdata, const struct quota_use *use) {
        struct said *about = userdata;
        assert_true(about->count < sizeof(about->uses) / sizeof(*about->uses) && quota_is_long(use->quota));
        about->uses[about->count++] = *use;
}

static void share(struct unit_of_work *unit, const int *owners, int self, int came) {
        struct limit_part parts[PARTS];
        size_t count = 0;
        for (uint32_t i = 0; i < PARTS; i++) {
                if (owners[i] != self)
                        continue;
                parts[count++] = (struct limit_part){.part = i,
                                                     .kind = (int)i == came ? PART_USED : PART_KEPT,
                                                     .told = true,
                                                     .uses = said[i].uses,
                                                     .uses_count = said[i].count};
        }
        engine_share(unit->engine, now(), parts, count, PARTS);
}

/* Parts go to and fro between engines that live and die in good order. */
static void engines_share_a_limit(void **state) {
        (void)state;
        for (uint64_t seed = 1; seed <= 40; seed++) {
                int owners[PARTS];
                set_up(seed, (struct limits_spec){.requests_per_day = 700});
                world.config.quotas_kept = false;
                memset(said, 0, sizeof(said));
                for (int i = 0; i < ENGINES; i++) {
                        begin(&world.units[i]);
                        engine_share(world.units[i].engine, now(), NULL, 0, PARTS);
                }
                for (int i = 0; i < PARTS; i++)
                        owners[i] = -1;
                for (int i = 0; i < 1500; i++) {
                        uint32_t part = (uint32_t)prng_below(&world.prng, PARTS);
                        int owner = owners[part], to = (int)prng_below(&world.prng, ENGINES);
                        owners[part] = owner >= 0 ? -1 : to;
                        if (owner >= 0) {
                                said[part].count = 0;
                                engine_release(world.units[owner].engine, now(), part, note, &said[part]);
                        } else {
                                share(&world.units[to], owners, to, (int)part);
                        }
                        if (i < 700 || i % 3 == 0)
                                step(&world.units[prng_below(&world.prng, ENGINES)], false);
                        world.now_ns += 5 * NS_PER_S;
                }
                for (uint32_t part = 0; part < PARTS; part++) { /* one has them all in the end */
                        if (owners[part] > 0) {
                                said[part].count = 0;
                                engine_release(world.units[owners[part]].engine, now(), part, note,
                                               &said[part]);
                        }
                        bool came = owners[part] != 0;
                        owners[part] = 0;
                        if (came)
                                share(&world.units[0], owners, 0, (int)part);
                }
                for (int i = 0; i < 1000; i++) {
                        step(&world.units[0], false);
                        world.now_ns += NS_PER_MS;
                }
                if (world.calls > 700 || world.calls < 700 * 95 / 100)
                        fail_msg("seed %llu: %lld of 700", (unsigned long long)seed, (long long)world.calls);
                for (int i = 0; i < ENGINES; i++)
                        end(&world.units[i]);
        }
}

/* What was taken of parts of which nothing is said counts as all that there is. */
static void silence_is_no_news(void **state) {
        struct limit_part part = {.part = 0, .kind = PART_FRESH, .free_ns = 3600 * NS_PER_S};
        (void)state;
        set_up(1, (struct limits_spec){.requests_per_day = 100});
        begin(&world.units[0]);
        engine_share(world.units[0].engine, now(), &part, 1, 1);
        run(&world.units[0], 500);
        assert_int_equal(world.calls, 0);
        engine_release(world.units[0].engine, now(), 3, note, &said[0]); /* one that it has not */
        part.kind = PART_KEPT;
        part.told = true; /* of one that is here already nobody can tell anything */
        engine_share(world.units[0].engine, now(), &part, 1, 1);
        run(&world.units[0], 500);
        assert_int_equal(world.calls, 0);
        end(&world.units[0]);
}

/* A limit that comes with a reload is loaded then; those that were there go on, and are not loaded twice. */
static void a_reload_loads_what_is_new(void **state) {
        (void)state;
        set_up(1, (struct limits_spec){.requests_per_day = 100});
        const int64_t then_ms = now().now_unix_ms;
        struct quota_use uses[] = {{QUOTA_OF_PROVIDER, 0, QUOTA_requests_per_day, 0, then_ms, 60, 0},
                                   {QUOTA_OF_WORKSPACE, 0, QUOTA_requests_per_day, 0, then_ms, 75, 10},
                                   {QUOTA_OF_WORKSPACE, 7, QUOTA_requests_per_day, 0, then_ms, 75, 0},
                                   {QUOTA_OF_PROVIDER, 0, QUOTA_tokens_per_day, 0, then_ms, 75, 0}};
        begin(&world.units[0]);
        engine_quotas_load(world.units[0].engine, now(), uses, 4);
        run(&world.units[0], 1000);
        assert_int_equal(world.calls, 40);
        struct provider wider = world.provider;
        struct workspace bounded = world.workspace;
        struct catalog next = world.catalog;
        wider.limits.requests_per_day = 200;
        bounded.limits.requests_per_day = 100;
        next.providers = &wider;
        next.workspaces = &bounded;
        assert_true(engine_reload(world.units[0].engine, now(), &next, &world.config, NULL));
        engine_quotas_load(world.units[0].engine, now(), uses, 4);
        run(&world.units[0], 1000);
        assert_int_equal(world.calls, 40 + 15); /* of the workspace's */
        end(&world.units[0]);
}

/* Nothing is told where nobody keeps it. */
static void nobody_keeps_it(void **state) {
        (void)state;
        set_up(1, (struct limits_spec){.requests_per_day = 100});
        world.config.quotas_kept = false;
        begin(&world.units[0]);
        run(&world.units[0], 100);
        assert_true(world.calls > 0);
        for (size_t i = 0; i < ROWS; i++)
                assert_int_equal(world.rows[i][0].until_unix_ms, 0);
        end(&world.units[0]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lives_share_a_limit),
                cmocka_unit_test(what_is_kept_is_enough),
                cmocka_unit_test(clocks_that_are_set),
                cmocka_unit_test(a_clock_that_goes_back_meanwhile),
                cmocka_unit_test(engines_share_a_limit),
                cmocka_unit_test(silence_is_no_news),
                cmocka_unit_test(a_reload_loads_what_is_new),
                cmocka_unit_test(nobody_keeps_it),
        };
        return cmocka_run_group_tests_name("quotas", tests, NULL, NULL);
}
