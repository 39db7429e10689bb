/*
 * What a job costs inside the engine alone, from JOB to FORGET: one endpoint, no limits, everything else
 * answered at once. Not a test: prints nanoseconds per job. Usage: engine-bench [JOBS] [INSIDE]
 */
#include "broker/base/time.h"
#include "broker/core/engine.h"

#include <stdio.h>
#include <stdlib.h>

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

static void make_spec(struct job_spec *spec) {
        static const struct bytes model = {"m", 1};
        *spec = (struct job_spec){.class_key = {1, 2}};
        demand_init(&spec->demand, KIND_CHAT);
        spec->demand.models[0] = model;
        spec->demand.models_count = 1;
        spec->demand.input_tokens = 100;
        spec->demand.output_tokens_max = 100;
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

int main(int argc, char **argv) {
        uint64_t jobs = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
        uint32_t inside = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2048;
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
        struct engine_config config = {.jobs_max = inside,
                                       .in_flight_max = inside,
                                       .open_ahead = 64,
                                       .attempts_max = 5,
                                       .retry_share = 0.1,
                                       .call_timeout_ns = NS_PER_S};
        struct bench bench = {.engine = engine_new(&catalog, &config, (struct engine_time){0, 0})};
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
                make_spec(&bench.specs[i]);
                bench.free_specs[bench.free_count++] = i;
        }
        answer_init(&bench.answer);
        bench.answer.verdict = VERDICT_OK;
        bench.answer.status = 200;
        bench.answer.usage.input_tokens = 60;
        bench.answer.usage.output_tokens = 40;
        bench.answer.latency_ns = NS_PER_MS;
        int64_t start_ns = clock_now_ns(), now_ns = 0;
        while (bench.forgotten < jobs)
                turn(&bench, jobs, now_ns += NS_PER_MS);
        int64_t took_ns = clock_now_ns() - start_ns;
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
