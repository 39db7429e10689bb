/*
 * A day of mixed work in virtual time: three providers with prices, price windows and limits of their own,
 * work with deadlines from ten minutes to a day, five calls in a hundred that fail. The engine that ships
 * decides; what it paid is held against the cheapest way that a linear program finds, which knows the whole
 * day beforehand (scripts/bench day). Not a test: prints JSON.
 *
 * Output, amounts in picodollars:
 *   {"paid": N, "late": N, "failed": N, "calls": N, "success": 0.95,
 *    "places": [{"name": "p/m", "hourly": N}...],
 *    "groups": [{"count": N, "first": hour, "last": hour,
 *                "costs": [[a place's cost in each hour, or -1]...]}...]}
 */
#include "broker/base/check.h"
#include "broker/base/heap.h"
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "workers/routing/cost.h"

#include <stdio.h>
#include <stdlib.h>

enum {
        JOBS_MAX = 1 << 17,
        EVENTS_MAX = 4096,
        COMMANDS_MAX = 4 * EVENTS_MAX,
        HOURS = 24,
        GROUPS_MAX = 64,
        FAILURES_PERCENT = 5,
        ARRIVALS_MAX = 512, /* in a turn */
};
#define HOUR_NS         (INT64_C(3600) * NS_PER_S)
#define MINUTE_NS       (60 * NS_PER_S)
#define LATENCY_NS      (2 * NS_PER_S)
#define DAY_UNIX_MS     (INT64_C(20423) * 24 * 3600 * 1000) /* 2025-12-01, a Monday, 00:00 UTC */
#define USD(millionths) ((millionths)*INT64_C(1000000))

static const struct provider providers[] = {
        {.name = "thrifty", .region = "", .retention_days = -1},
        {.name = "nightly", .region = "", .retention_days = -1},
        {.name = "ample", .region = "", .retention_days = -1},
};

#define PRICE(in, out)                                                                                       \
        {                                                                                                    \
                .input = USD(in), .cached_input = PRICE_UNKNOWN, .cache_write = PRICE_UNKNOWN,               \
                .output = USD(out), .audio_minute = PRICE_UNKNOWN, .character = PRICE_UNKNOWN,               \
                .image = PRICE_UNKNOWN, .request = PRICE_UNKNOWN, .search_unit = PRICE_UNKNOWN,              \
                .reasoning = PRICE_UNKNOWN, .audio_input = PRICE_UNKNOWN, .image_input = PRICE_UNKNOWN,      \
                .audio_output = PRICE_UNKNOWN, .image_output = PRICE_UNKNOWN                                 \
        }

/* 22:00 to 06:00 UTC, for 60 %. */
static const struct zone_change no_change = {INT64_MIN, 0};
static const struct zone utc = {.name = "UTC", .changes = &no_change, .changes_count = 1};
static const struct price_window nights[] = {{.zone = &utc,
                                              .multiply_millionths = 600000,
                                              .from_minutes = 22 * 60,
                                              .to_minutes = 6 * 60,
                                              .days = 0x7f}};

#define PLACE(at, provider_name, model_name, in, out, rpm)                                                   \
        {                                                                                                    \
                .name = provider_name "/" model_name, .provider = (at), .model = model_name,                 \
                .upstream = model_name, .quantization = "unknown", .price = PRICE(in, out),                  \
                .kinds = 1U << KIND_CHAT, .limits = {                                                        \
                        .requests_per_minute = (rpm)                                                         \
                }                                                                                            \
        }

static const struct endpoint endpoints[] = {
        PLACE(0, "thrifty", "small", 50000, 100000, 30),  PLACE(1, "nightly", "small", 100000, 200000, 60),
        PLACE(2, "ample", "small", 200000, 400000, 200),  PLACE(1, "nightly", "large", 1000000, 2000000, 15),
        PLACE(2, "ample", "large", 1500000, 3000000, 60),
};
enum { PLACES = sizeof endpoints / sizeof *endpoints };

static const struct work {
        const char *model;
        int hour, hours; /* from which on, and for how many, such a group arrives each hour */
        uint32_t count;  /* in each */
        int64_t within_ns;
        bool spread; /* over the hour, not at once */
        int64_t input_tokens, output_tokens;
} works[] = {
        {"small", 0, 1, 50000, 24 * HOUR_NS, false, 2000, 300},
        {"small", 0, 22, 600, 2 * HOUR_NS, true, 1000, 200},
        {"small", 0, 23, 100, 10 * MINUTE_NS, true, 500, 100},
        {"large", 10, 1, 7000, 8 * HOUR_NS, false, 3000, 800},
};

struct call {
        struct handle handle;
        struct answer answer;
};

struct day {
        struct engine *engine;
        struct catalog catalog;
        struct prng prng;
        struct job_spec *specs;
        int64_t *arrives_ns;
        uint32_t specs_count, arrived, settled, late, failed;
        struct call *calls;
        struct heap ends; /* by slot */
        struct event *events, *next;
        uint32_t events_count, next_count;
        struct commands commands;
        int64_t now_ns, paid_picousd;
};

static struct engine_time time_of(int64_t now_ns) {
        return (struct engine_time){.now_ns = now_ns, .now_unix_ms = DAY_UNIX_MS + now_ns / NS_PER_MS};
}

static void make_spec(const struct work *work, int64_t at_ns, uint64_t name, struct job_spec *spec) {
        *spec = (struct job_spec){.key = {name * UINT64_C(0x9e3779b97f4a7c15), name},
                                  .class_key = {1, (uint64_t)(work - works) + 1},
                                  .deadline_unix_ms = time_of(at_ns + work->within_ns).now_unix_ms,
                                  .unknown = UNKNOWN_RETRY};
        demand_init(&spec->demand, KIND_CHAT);
        spec->demand.models[0] = bytes_of(work->model);
        spec->demand.models_count = 1;
        spec->demand.input_tokens = work->input_tokens;
        spec->demand.output_tokens_max = work->output_tokens;
}

static int compare_arrival(const void *a, const void *b) {
        const int64_t *left = a, *right = b;
        return (*left > *right) - (*left < *right);
}

/* In order of arrival: of each work a list, merged by sorting pairs of time and place. */
static void make_jobs(struct day *day) {
        int64_t(*order)[2] = calloc(JOBS_MAX, sizeof(*order));
        CHECK(order);
        uint32_t count = 0;
        for (size_t w = 0; w < sizeof works / sizeof *works; w++)
                for (int hour = 0; hour < works[w].hours; hour++)
                        for (uint32_t i = 0; i < works[w].count; i++) {
                                int64_t into = works[w].spread ? HOUR_NS / works[w].count * i : 0;
                                order[count][0] = (works[w].hour + hour) * HOUR_NS + into;
                                order[count++][1] = (int64_t)w;
                        }
        CHECK(count <= JOBS_MAX);
        qsort(order, count, sizeof(*order), compare_arrival);
        for (uint32_t i = 0; i < count; i++) {
                day->arrives_ns[i] = order[i][0];
                make_spec(&works[order[i][1]], order[i][0], i + 1, &day->specs[i]);
        }
        day->specs_count = count;
        free(order);
}

static struct event *add_event(struct day *day, enum event_kind kind, struct handle handle) {
        CHECK(day->next_count < EVENTS_MAX);
        struct event *event = &day->next[day->next_count++];
        *event = (struct event){.kind = kind, .handle = handle, .known.same_fingerprint = true};
        return event;
}

static void begin_call(struct day *day, const struct command *command) {
        struct call *call = &day->calls[command->handle.slot];
        const struct demand *demand = &command->job->demand;
        call->handle = command->handle;
        answer_init(&call->answer);
        call->answer.latency_ns = LATENCY_NS;
        call->answer.status = 500;
        if (prng_below(&day->prng, 100) >= FAILURES_PERCENT) {
                call->answer.verdict = VERDICT_OK;
                call->answer.status = 200;
                call->answer.usage.input_tokens = demand->input_tokens;
                call->answer.usage.output_tokens = demand->output_tokens_max;
        }
        heap_set(&day->ends, command->handle.slot, day->now_ns + LATENCY_NS);
}

static void react(struct day *day, const struct command *command) {
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                add_event(day, EVENT_LOOKED_UP, command->handle);
                return;
        case COMMAND_OPEN:
                add_event(day, EVENT_OPENED, command->handle);
                return;
        case COMMAND_CALL:
                begin_call(day, command);
                return;
        case COMMAND_SETTLE:
                day->paid_picousd = money_add(day->paid_picousd, command->outcome->cost_picousd);
                day->late += command->outcome->failure == FAILURE_DEADLINE_EXCEEDED;
                day->failed += command->outcome->failure != FAILURE_NONE;
                day->settled++;
                add_event(day, EVENT_SETTLED, command->handle);
                return;
        case COMMAND_END:
        case COMMAND_NOTE:
        case COMMAND_FORGET:
                return;
        }
}

static void gather(struct day *day) {
        struct heap_entry end;
        uint32_t budget = ARRIVALS_MAX;
        while (day->arrived < day->specs_count && day->arrives_ns[day->arrived] <= day->now_ns &&
               budget-- > 0)
                add_event(day, EVENT_JOB, (struct handle){0})->job = &day->specs[day->arrived++];
        for (budget = ARRIVALS_MAX; budget > 0 && heap_peek(&day->ends, &end) && end.when <= day->now_ns;
             budget--) {
                heap_pop(&day->ends, &end);
                add_event(day, EVENT_ANSWER, day->calls[end.id].handle)->answer = &day->calls[end.id].answer;
        }
}

static void turn(struct day *day) {
        struct event *events = day->events;
        gather(day);
        day->events = day->next;
        day->events_count = day->next_count;
        day->next = events;
        day->next_count = 0;
        day->commands.count = 0;
        engine_step(day->engine, time_of(day->now_ns), day->events, day->events_count, &day->commands);
        for (size_t i = 0; i < day->commands.count; i++)
                react(day, &day->commands.items[i]);
        int64_t next_ns = engine_wake_ns(day->engine);
        struct heap_entry end;
        if (heap_peek(&day->ends, &end) && end.when < next_ns)
                next_ns = end.when;
        if (day->arrived < day->specs_count && day->arrives_ns[day->arrived] < next_ns)
                next_ns = day->arrives_ns[day->arrived];
        if (day->next_count > 0)
                next_ns = day->now_ns + NS_PER_MS;
        CHECK(next_ns != INT64_MAX || day->settled == day->specs_count);
        if (next_ns > day->now_ns)
                day->now_ns = next_ns;
}

/* ---- what the linear program must know ---- */

static void print_costs(const struct day *day, const struct job_spec *spec) {
        for (uint32_t place = 0; place < PLACES; place++) {
                const struct endpoint *endpoint = &day->catalog.endpoints[place];
                printf("%s[", place > 0 ? ", " : "");
                for (int hour = 0; hour < HOURS; hour++) {
                        int64_t cost = -1;
                        if (bytes_equal_string(spec->demand.models[0], endpoint->model))
                                CHECK(cost_ceiling(endpoint, &spec->demand,
                                                   time_of(hour * HOUR_NS + HOUR_NS / 2).now_unix_ms, &cost));
                        printf("%s%lld", hour > 0 ? ", " : "", (long long)cost);
                }
                printf("]");
        }
}

static int last_hour(const struct work *work, int hour) {
        int64_t last_ns = hour * HOUR_NS + (work->spread ? HOUR_NS - 1 : 0) + work->within_ns - 1;
        return last_ns / HOUR_NS < HOURS ? (int)(last_ns / HOUR_NS) : HOURS - 1;
}

static void print_groups(const struct day *day) {
        const char *before = "";
        for (size_t w = 0; w < sizeof works / sizeof *works; w++)
                for (int hour = works[w].hour; hour < works[w].hour + works[w].hours; hour++) {
                        struct job_spec spec;
                        make_spec(&works[w], 0, 1, &spec);
                        printf("%s\n  {\"count\": %u, \"first\": %d, \"last\": %d, \"costs\": [", before,
                               works[w].count, hour, last_hour(&works[w], hour));
                        print_costs(day, &spec);
                        printf("]}");
                        before = ",";
                }
}

static void print_day(const struct day *day) {
        printf("{\"paid\": %lld, \"late\": %u, \"failed\": %u, \"calls\": %llu, \"success\": %.2f, "
               "\"places\": [",
               (long long)day->paid_picousd, day->late, day->failed,
               (unsigned long long)engine_stats(day->engine)->calls, 1 - FAILURES_PERCENT / 100.0);
        for (uint32_t i = 0; i < PLACES; i++)
                printf("%s{\"name\": \"%s\", \"hourly\": %lld, \"calls\": %llu}", i > 0 ? ", " : "",
                       endpoints[i].name, (long long)(60 * endpoints[i].limits.requests_per_minute),
                       (unsigned long long)engine_endpoint_stats(day->engine, i)->calls);
        printf("], \"groups\": [");
        print_groups(day);
        printf("]}\n");
}

static bool day_init(struct day *day) {
        static struct endpoint priced[PLACES];
        for (uint32_t i = 0; i < PLACES; i++) {
                priced[i] = endpoints[i];
                if (priced[i].provider == 1) {
                        priced[i].windows = nights;
                        priced[i].windows_count = 1;
                }
        }
        day->catalog = (struct catalog){
                .providers = providers, .providers_count = 3, .endpoints = priced, .endpoints_count = PLACES};
        struct engine_config config = {.jobs_max = JOBS_MAX,
                                       .in_flight_max = 4096,
                                       .open_ahead = 64,
                                       .attempts_max = 20,
                                       .backoff_base_ns = 250 * NS_PER_MS,
                                       .backoff_cap_ns = 30 * NS_PER_S,
                                       .retry_share = 0.1,
                                       .call_timeout_ns = 600 * NS_PER_S,
                                       .seed = 1};
        day->engine = engine_new(&day->catalog, &config, time_of(0));
        day->specs = calloc(JOBS_MAX, sizeof(*day->specs));
        day->arrives_ns = calloc(JOBS_MAX, sizeof(*day->arrives_ns));
        day->calls = calloc(JOBS_MAX, sizeof(*day->calls));
        day->events = calloc(EVENTS_MAX, sizeof(*day->events));
        day->next = calloc(EVENTS_MAX, sizeof(*day->next));
        day->commands.capacity = COMMANDS_MAX;
        day->commands.items = calloc(COMMANDS_MAX, sizeof(*day->commands.items));
        prng_init(&day->prng, 1);
        return day->engine && day->specs && day->arrives_ns && day->calls && day->events && day->next &&
               day->commands.items && heap_init(&day->ends, JOBS_MAX);
}

int main(void) {
        static struct day day;
        if (!day_init(&day))
                return 1;
        make_jobs(&day);
        while (day.settled < day.specs_count)
                turn(&day);
        print_day(&day);
        return 0;
}
