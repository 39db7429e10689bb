/*
 * What the engine's parts cost, in CPU time. Not a test: prints nanoseconds.
 *   engine-bench [JOBS] [INSIDE]     a job inside the engine alone, from JOB to FORGET: one endpoint, no
 *                                    limits, everything else answered at once
 *   engine-bench decision [COUNT]    one decision, route_rank(), in a catalog of 400 models and 2,000
 *                                    endpoints: 20 candidates under rules, for 100 classes of jobs in turn.
 *                                    Jobs of a class have other sizes each time, endpoints another load. And
 *                                    the first decision of a class, which has its candidates to find
 *   engine-bench choosing [JOBS]     a job inside the engine, as above, but of these classes in that catalog
 *                                    and with limits: what is between the two is looking at the state of 20
 *                                    endpoints, the decision, and its record
 */
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "workers/routing/route.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURN_MAX = 256, EVENTS_MAX = 8192, COMMANDS_MAX = 4 * EVENTS_MAX };

struct bench {
        struct engine *engine;
        struct job_spec *specs;
        uint32_t *free_specs, free_count;
        struct event *events, *next;
        uint32_t events_count, next_count;
        struct commands commands;
        struct answer answer;
        uint64_t made, forgotten;
};

static void make_demand(struct demand *demand) {
        static const struct bytes model = {"m", 1};
        demand_init(demand, KIND_CHAT);
        demand->models[0] = model;
        demand->models_count = 1;
        demand->input_tokens = 100;
        demand->output_tokens_max = 100;
}

static void add_jobs(struct bench *bench, uint64_t jobs) {
        for (int i = 0; i < TURN_MAX && bench->made < jobs && bench->free_count > 0; i++) {
                struct job_spec *spec = &bench->specs[bench->free_specs[--bench->free_count]];
                uint64_t name = ++bench->made * UINT64_C(0x9e3779b97f4a7c15);
                spec->key = (struct key128){name, name ^ 1};
                bench->next[bench->next_count++] = (struct event){.kind = EVENT_JOB, .job = spec};
        }
}

static void react(struct bench *bench, const struct command *command) {
        static const enum event_kind answers[] = {
                [COMMAND_LOOK_UP] = EVENT_LOOKED_UP,
                [COMMAND_OPEN] = EVENT_OPENED,
                [COMMAND_CALL] = EVENT_ANSWER,
                [COMMAND_SETTLE] = EVENT_SETTLED,
        };
        if (command->kind == COMMAND_FORGET) {
                bench->free_specs[bench->free_count++] = (uint32_t)(command->job - bench->specs);
                bench->forgotten++;
        } else if (command->kind != COMMAND_END) {
                bench->next[bench->next_count++] = (struct event){.kind = answers[command->kind],
                                                                  .handle = command->handle,
                                                                  .known.same_fingerprint = true,
                                                                  .answer = &bench->answer};
        }
}

static void turn(struct bench *bench, uint64_t jobs, int64_t now_ns) {
        struct event *events = bench->events;
        bench->events = bench->next;
        bench->events_count = bench->next_count;
        bench->next = events;
        bench->next_count = 0;
        bench->commands.count = 0;
        struct engine_time now = {.now_ns = now_ns, .now_unix_ms = now_ns / NS_PER_MS};
        engine_step(bench->engine, now, bench->events, bench->events_count, &bench->commands);
        for (size_t i = 0; i < bench->commands.count; i++)
                react(bench, &bench->commands.items[i]);
        add_jobs(bench, jobs);
}

static int64_t cpu_ns(void) {
        struct timespec time;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

enum { MODELS = 400, OFFERS = 5, ENDPOINTS = MODELS * OFFERS, PROVIDERS = 70, CLASSES = MODELS / 4 };

struct market {
        char names[PROVIDERS][16], models[MODELS][24], endpoint_names[ENDPOINTS][48];
        struct provider providers[PROVIDERS];
        struct endpoint endpoints[ENDPOINTS];
        struct catalog catalog;
        struct demand demands[CLASSES];
        struct route_set sets[CLASSES];
        struct price_tier tiers[ENDPOINTS];
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct route route;
};

static const struct zone_change utc_changes[] = {{INT64_MIN, 0}};
static const struct zone utc = {"UTC", utc_changes, 1};
static const struct price_window night = {&utc, 500000, 0, 360, 0x7f};

/* Of twenty endpoints, one is dearer for a long input, and one cheaper at night. */
static void make_price(struct market *market, int i) {
        struct endpoint *endpoint = &market->endpoints[i];
        endpoint->price = (struct price){.input = 100000000000 + i * INT64_C(9000000),
                                         .cached_input = i % 2 ? 10000000000 : PRICE_UNKNOWN,
                                         .cache_write = i % 3 ? PRICE_UNKNOWN : 120000000000,
                                         .output = 400000000000 - i * INT64_C(7000000),
                                         .request = PRICE_UNKNOWN,
                                         .reasoning = PRICE_UNKNOWN,
                                         .audio_input = PRICE_UNKNOWN,
                                         .image_input = PRICE_UNKNOWN,
                                         .audio_output = PRICE_UNKNOWN,
                                         .image_output = PRICE_UNKNOWN};
        if (i * 7 % 20 == 3) {
                market->tiers[i] = (struct price_tier){.above_input = 1500, .price = endpoint->price};
                market->tiers[i].price.input *= 2;
                endpoint->tiers = &market->tiers[i];
                endpoint->tiers_count = 1;
        }
        if (i * 7 % 20 == 9) {
                endpoint->windows = &night;
                endpoint->windows_count = 1;
        }
}

static void make_catalog(struct market *market) {
        for (int i = 0; i < PROVIDERS; i++) {
                snprintf(market->names[i], sizeof market->names[i], "provider-%d", i);
                market->providers[i] = (struct provider){
                        .name = market->names[i], .region = i % 2 ? "eu" : "us", .data_policy_known = true};
        }
        for (int i = 0; i < ENDPOINTS; i++) {
                int model = i % MODELS, provider = i * 7 % PROVIDERS;
                snprintf(market->models[model], sizeof market->models[model], "maker/model-%d", model);
                snprintf(market->endpoint_names[i], sizeof market->endpoint_names[i], "%s/%s",
                         market->names[provider], market->models[model]);
                market->endpoints[i] =
                        (struct endpoint){.name = market->endpoint_names[i],
                                          .model = market->models[model],
                                          .provider = (uint32_t)provider,
                                          .quantization = i % 3 ? "fp8" : "bf16",
                                          .context = 131072,
                                          .quality = i % 100,
                                          .kinds = 1U << KIND_CHAT,
                                          .parameters_known = true,
                                          .parameters = UINT64_MAX,
                                          .input_modalities = 3,
                                          .output_modalities = 1,
                                          .limits = {.requests_per_minute = i % 2 ? 10000000 : 0,
                                                     .tokens_per_minute = i % 2 ? INT64_C(10000000000) : 0}};
                make_price(market, i);
        }
        market->catalog =
                (struct catalog){market->providers, PROVIDERS, market->endpoints, ENDPOINTS, "0", NULL, 0};
}

static const struct bytes ignored[] = {{"provider-1", 10}, {"provider-2/eu", 13}},
                          regions[] = {{"eu", 2}, {"us", 2}}, quantizations[] = {{"bf16", 4}, {"fp8", 3}};

static void make_classes(struct market *market) {
        for (int i = 0; i < CLASSES; i++) {
                struct demand *demand = &market->demands[i];
                struct routing_prefs *prefs = &demand->prefs;
                demand_init(demand, KIND_CHAT);
                for (int k = 0; k < 4; k++)
                        demand->models[demand->models_count++] = bytes_of(market->models[4 * i + k]);
                demand->input_tokens = 1000 + i;
                demand->output_tokens_max = 500;
                demand->input_modalities = demand->output_modalities = 1;
                demand->parameters = 7;
                demand->max_cost_picousd = PICOUSD_PER_USD;
                prefs->ignore = (struct names){ignored, 2};
                prefs->regions = (struct names){regions, 2};
                prefs->quantizations = (struct names){quantizations, 2};
                prefs->deny_training = prefs->require_parameters = prefs->deny_unknown_price = true;
                prefs->max_price_input = prefs->max_price_output = PICOUSD_PER_USD;
                prefs->preferred_max_latency[0] = NS_PER_S;
                prefs->spread_ppm = SPREAD_WHOLE / 5;
                route_match(&market->catalog, demand, &market->sets[i]);
        }
        for (int i = 0; i < ROUTE_CANDIDATES_MAX; i++)
                market->states[i] =
                        (struct route_state){.expected_output_tokens = 200 + i,
                                             .tokens_ratio = 1.1,
                                             .latency_p_ns = {NS_PER_S / 2 + i % 4 * NS_PER_S / 4},
                                             .throughput_p_milli = {50000},
                                             .in_flight = i % 3,
                                             .success_permille = 1000};
}

/* Another job of the class, and what has become of the endpoints since the last decision. */
static void next_job(struct market *market, struct demand *demand, uint64_t i) {
        uint64_t draw = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        const struct candidate *chosen = &market->route.candidates[0];
        struct route_state *state = &market->states[draw >> 59];
        demand->input_tokens = (int64_t)(200 + (draw >> 20) % 2000);
        demand->output_tokens_max = (int64_t)(draw >> 40) % 4 == 0 ? -1 : (int64_t)(100 + (draw >> 42) % 900);
        market->states[chosen->place].in_flight++;
        state->in_flight = (int64_t)(draw >> 50) % 8;
        state->expected_output_tokens = (double)(150 + (draw >> 30) % 200);
        state->tokens_ratio = 1 + (double)((draw >> 10) % 256) / 1024;
        state->input_permille = (int32_t)(800 + (draw >> 10) % 400);
        state->cached_permille = (int32_t)(draw % 3) * 200;
        state->latency_p_ns[0] = NS_PER_S / 2 + (int64_t)(draw >> 45) % 4 * NS_PER_S / 4;
}

static uint64_t decide(struct market *market, uint64_t at, uint64_t i) {
        struct route_moment moment = {.now_unix_ms = (int64_t)i * 1000, .seed = i, .call_ms = 600000};
        next_job(market, &market->demands[at], i);
        route_set_prices(&market->catalog, &market->demands[at], &market->sets[at], moment.now_unix_ms);
        route_rank(&market->catalog, &market->demands[at], &market->sets[at], market->states, &moment,
                   &market->route);
        return market->route.usable;
}

static int bench_decision(uint64_t count) {
        struct market *market = calloc(1, sizeof *market);
        uint64_t usable = 0, candidates = 0, classes = count < CLASSES ? count : CLASSES;
        if (!market || count == 0)
                return 1;
        make_catalog(market);
        make_classes(market);
        size_t before = mallinfo2().uordblks;
        int64_t start_ns = cpu_ns();
        for (uint64_t i = 0; i < count; i++) {
                usable += decide(market, i % CLASSES, i);
                candidates += market->route.count;
        }
        int64_t took_ns = cpu_ns() - start_ns;
        start_ns = cpu_ns();
        for (uint64_t i = 0; i < classes; i++) {
                route_match(&market->catalog, &market->demands[i], &market->sets[i]);
                (void)decide(market, i, i);
        }
        int64_t first_ns = cpu_ns() - start_ns;
        printf("%llu decisions, %d models, %d endpoints, %.1f candidates, %.1f usable: %.0f ns a decision, "
               "%zu bytes allocated; %.0f ns the first of a class\n",
               (unsigned long long)count, MODELS, ENDPOINTS, (double)candidates / (double)count,
               (double)usable / (double)count, (double)took_ns / (double)count, mallinfo2().uordblks - before,
               (double)first_ns / (double)classes);
        free(market);
        return 0;
}

static int bench_jobs(const struct catalog *catalog, const struct demand *demands, uint32_t classes,
                      uint64_t jobs, uint32_t inside) {
        struct engine_config config = {.jobs_max = inside,
                                       .in_flight_max = inside,
                                       .open_ahead = 64,
                                       .attempts_max = 5,
                                       .retry_share = 0.1,
                                       .call_timeout_ns = NS_PER_S};
        struct bench bench = {.engine = engine_new(catalog, &config, (struct engine_time){0, 0})};
        bench.specs = calloc(inside, sizeof(*bench.specs));
        bench.free_specs = calloc(inside, sizeof(*bench.free_specs));
        bench.events = calloc(EVENTS_MAX, sizeof(*bench.events));
        bench.next = calloc(EVENTS_MAX, sizeof(*bench.next));
        bench.commands.capacity = COMMANDS_MAX;
        bench.commands.items = calloc(COMMANDS_MAX, sizeof(*bench.commands.items));
        if (!bench.engine || !bench.specs || !bench.free_specs || !bench.events || !bench.next ||
            !bench.commands.items)
                return 1;
        for (uint32_t i = 0; i < inside; i++) {
                bench.specs[i] =
                        (struct job_spec){.demand = demands[i % classes], .class_key = {1 + i % classes, 2}};
                bench.free_specs[bench.free_count++] = i;
        }
        answer_init(&bench.answer);
        bench.answer.verdict = VERDICT_OK;
        bench.answer.status = 200;
        bench.answer.usage.input_tokens = 60;
        bench.answer.usage.output_tokens = 40;
        bench.answer.latency_ns = NS_PER_MS;
        int64_t start_ns = cpu_ns(), now_ns = 0;
        while (bench.forgotten < jobs)
                turn(&bench, jobs, now_ns += NS_PER_MS);
        int64_t took_ns = cpu_ns() - start_ns;
        printf("%llu jobs, %u inside: %.0f ns a job\n", (unsigned long long)jobs, inside,
               (double)took_ns / (double)jobs);
        engine_free(bench.engine);
        free(bench.specs);
        free(bench.free_specs);
        free(bench.events);
        free(bench.next);
        free(bench.commands.items);
        return 0;
}

static int bench_one(uint64_t jobs, uint32_t inside) {
        struct provider provider = {.name = "p", .region = "", .retention_days = -1};
        struct endpoint endpoint = {
                .name = "p/m",
                .model = "m",
                .upstream = "m",
                .quantization = "unknown",
                .price = {.input = 100000000000, .output = 200000000000, .request = PRICE_UNKNOWN},
                .kinds = 1U << KIND_CHAT};
        struct catalog catalog = {
                .providers = &provider, .providers_count = 1, .endpoints = &endpoint, .endpoints_count = 1};
        struct demand demand;
        make_demand(&demand);
        return bench_jobs(&catalog, &demand, 1, jobs, inside);
}

static int bench_choosing(uint64_t jobs) {
        struct market *market = calloc(1, sizeof *market);
        if (!market)
                return 1;
        make_catalog(market);
        make_classes(market);
        int status = bench_jobs(&market->catalog, market->demands, CLASSES, jobs, 2048);
        free(market);
        return status;
}

int main(int argc, char **argv) {
        if (argc > 1 && strcmp(argv[1], "decision") == 0)
                return bench_decision(argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000);
        if (argc > 1 && strcmp(argv[1], "choosing") == 0)
                return bench_choosing(argc > 2 ? strtoull(argv[2], NULL, 10) : 200000);
        return bench_one(argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000,
                         argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2048);
}
