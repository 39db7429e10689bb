/*
 * What a turn of the engine costs while jobs wait and none can move: N jobs in 50 classes, each class at an
 * endpoint where the only call that there may be is under way. Not a test: prints nanoseconds per turn.
 * Usage: waiting-bench [JOBS]
 */
#include "broker/base/time.h"
#include "broker/core/engine.h"

#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 50, TURNS = 50000, ARRIVALS = 256, COMMANDS_MAX = 4 * ARRIVALS };

struct bench {
        struct engine *engine;
        struct job_spec *specs;
        uint32_t jobs;
        char names[CLASSES][8];
        struct endpoint endpoints[CLASSES];
        struct event events[COMMANDS_MAX];
        size_t events_count;
        struct command items[COMMANDS_MAX];
        int64_t now_ns;
};

static void make_spec(struct bench *bench, uint32_t index) {
        struct job_spec *spec = &bench->specs[index];
        uint64_t name = (index + 1) * UINT64_C(0x9e3779b97f4a7c15);
        *spec = (struct job_spec){.key = {name, name ^ 1}, .class_key = {index % CLASSES, 1}};
        if (index % 4 == 0) /* some have a deadline, each another one */
                spec->deadline_unix_ms = INT64_C(1000000000000) + (int64_t)(name >> 40);
        demand_init(&spec->demand, KIND_CHAT);
        spec->demand.models[0] = bytes_of(bench->names[index % CLASSES]);
        spec->demand.models_count = 1;
        spec->demand.input_tokens = spec->demand.output_tokens_max = 100;
}

/* Look-ups and journal writes are answered, calls never. */
static void react(struct bench *bench, const struct command *command) {
        struct event event = {.handle = command->handle, .known.same_fingerprint = true};
        event.kind = command->kind == COMMAND_LOOK_UP ? EVENT_LOOKED_UP : EVENT_OPENED;
        if (command->kind == COMMAND_LOOK_UP || command->kind == COMMAND_OPEN)
                bench->events[bench->events_count++] = event;
}

static void turn(struct bench *bench) {
        struct commands commands = {bench->items, 0, COMMANDS_MAX};
        struct engine_time now = {bench->now_ns += NS_PER_MS, bench->now_ns / NS_PER_MS};
        engine_step(bench->engine, now, bench->events, bench->events_count, &commands);
        bench->events_count = 0;
        for (size_t i = 0; i < commands.count; i++)
                react(bench, &bench->items[i]);
}

static void fill(struct bench *bench) {
        for (uint32_t i = 0; i < bench->jobs;) {
                for (uint32_t more = 0; more < ARRIVALS && i < bench->jobs; more++, i++) {
                        make_spec(bench, i);
                        bench->events[bench->events_count++] =
                                (struct event){.kind = EVENT_JOB, .job = &bench->specs[i]};
                }
                while (bench->events_count > 0)
                        turn(bench);
        }
}

int main(int argc, char **argv) {
        static struct bench bench;
        bench.jobs = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
        struct provider provider = {.name = "p", .region = "", .retention_days = -1};
        for (int i = 0; i < CLASSES; i++) {
                snprintf(bench.names[i], sizeof(bench.names[i]), "m%d", i);
                bench.endpoints[i] = (struct endpoint){.name = bench.names[i],
                                                       .model = bench.names[i],
                                                       .upstream = bench.names[i],
                                                       .quantization = "unknown",
                                                       .limits.concurrency = 1,
                                                       .kinds = 1U << KIND_CHAT};
        }
        struct catalog catalog = {.providers = &provider,
                                  .providers_count = 1,
                                  .endpoints = bench.endpoints,
                                  .endpoints_count = CLASSES};
        struct engine_config config = {.jobs_max = bench.jobs,
                                       .in_flight_max = 1000,
                                       .attempts_max = 5,
                                       .retry_share = 0.1,
                                       .call_timeout_ns = 3600 * NS_PER_S};
        bench.engine = engine_new(&catalog, &config, (struct engine_time){0, 0});
        bench.specs = calloc(bench.jobs, sizeof(*bench.specs));
        if (!bench.engine || !bench.specs)
                return 1;
        int64_t start_ns = clock_now_ns();
        fill(&bench);
        int64_t filled_ns = clock_now_ns();
        for (int i = 0; i < TURNS; i++)
                turn(&bench);
        int64_t took_ns = clock_now_ns() - filled_ns;
        printf("%u waiting: %.0f ns a turn, %.0f ns to take a job in\n", engine_stats(bench.engine)->waiting,
               (double)took_ns / TURNS, (double)(filled_ns - start_ns) / bench.jobs);
        engine_free(bench.engine);
        free(bench.specs);
        return 0;
}
