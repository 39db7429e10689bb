/*
 * Whose turn it is, in worlds made from seeds: workspaces with weights and limits, priorities, deadlines,
 * models of which some are slow. Nothing fails here and the store answers at once; what is judged is who
 * begins when, at every opening and in every window. SIM_SEED=N runs one seed, SIM_SEEDS=N so many.
 *
 *   CONTENDED  all want the same model, and have enough to do: shares by weight, limits used up
 *   APART      one workspace has a model for itself besides, and may not wait for ever for that
 *   MIXED      limits of everything
 */
#include "broker/base/check.h"
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "broker/core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MINUTE_NS (60 * NS_PER_S)
#define HOUR_NS   (60 * MINUTE_NS)
#define DAY_NS    (24 * HOUR_NS)

enum {
        SEEDS_DEFAULT = 2000,
        PLANT_SEEDS_MAX = 400,
        JOBS_MAX = 3000,
        WORKSPACES_MAX = 4,
        MODELS_MAX = 3,
        RANKS = 3, /* priorities that are used */
        CLASSES_MAX = WORKSPACES_MAX * RANKS * MODELS_MAX * 2,
        EVENTS_MAX = 4096,
        ARRIVALS_A_TURN = 200,
        TURNS_MAX = 100000,
};

/* Mistakes that can be planted, to see that the judge finds them. */
enum plant {
        PLANT_NONE,
        PLANT_EQUAL_WEIGHTS, /* the engine is not told of weights */
        PLANT_NO_LIMITS,     /* nor of the limits of workspaces */
        PLANT_NO_DEADLINES,
        PLANT_ONE_PRIORITY,
        PLANT_ONE_WORKSPACE, /* all jobs fall under the first one */
        PLANTS_COUNT,
};

enum form { FORM_CONTENDED, FORM_APART, FORM_MIXED };

enum state { STATE_NEW, STATE_INSIDE, STATE_WAITING, STATE_OPENED, STATE_CALLED, STATE_DONE };

struct sim_job {
        struct job_spec spec; /* as the engine is told */
        enum state state;
        uint32_t workspace, rank, model, order; /* order: of becoming ready to run */
        int64_t deadline_unix_ms, start_ns, end_ns;
        struct handle handle;
};

struct sim_class {
        uint32_t waiting, passed; /* jobs; openings at its model since its last one */
};

struct world {
        struct prng prng;
        enum plant plant;
        enum form form;
        struct provider provider;
        struct endpoint endpoints[MODELS_MAX];
        struct workspace workspaces[WORKSPACES_MAX], told[WORKSPACES_MAX];
        struct catalog catalog;
        struct engine *engine;
        struct sim_job jobs[JOBS_MAX];
        uint32_t jobs_count, arrived, ready, done, in_flight_max;
        uint32_t open[JOBS_MAX]; /* calls under way, by job */
        uint32_t open_count, running[WORKSPACES_MAX];
        struct sim_class classes[CLASSES_MAX];
        struct event events[EVENTS_MAX], next[EVENTS_MAX];
        size_t next_count;
        struct command items[EVENTS_MAX * 4];
        struct answer answer;
        int64_t now_ns;
        uint32_t openings, out_of_rank, had[WORKSPACES_MAX];
        bool shares_end; /* some workspace has no more to do soon */
        char violation[300];
};

static struct world world_memory;

static const char *const model_names[MODELS_MAX] = {"m0", "m1", "m2"};
static const int priorities[RANKS] = {-10, 0, 3};

__attribute__((format(printf, 2, 3))) static void broken(struct world *world, const char *format, ...) {
        va_list arguments;
        if (world->violation[0])
                return;
        va_start(arguments, format);
        vsnprintf(world->violation, sizeof(world->violation), format, arguments);
        va_end(arguments);
}

static uint32_t below(struct world *world, uint32_t bound) {
        return (uint32_t)prng_below(&world->prng, bound);
}

static int64_t pick(struct world *world, const int64_t *values, uint32_t count) {
        return values[below(world, count)];
}
#define PICK(world, ...)                                                                                     \
        pick(world, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static struct engine_time time_of(const struct world *world) {
        return (struct engine_time){world->now_ns, world->now_ns / NS_PER_MS};
}

/* ---- the scenario ---- */

static struct limits_spec make_limits(struct world *world) {
        struct limits_spec limits = {0};
        limits.requests_per_minute = PICK(world, 0, 0, 40, 200);
        limits.tokens_per_minute = PICK(world, 0, 0, 5000, 20000);
        limits.requests_per_day = PICK(world, 0, 0, 0, 90);
        limits.tokens_per_day = PICK(world, 0, 0, 0, 30000);
        limits.images_per_minute = PICK(world, 0, 0, 10);
        limits.concurrency = PICK(world, 0, 0, 1, 3);
        return limits;
}

static void make_catalog(struct world *world) {
        uint32_t workspaces = 2 + below(world, WORKSPACES_MAX - 1);
        uint32_t models = world->form == FORM_MIXED ? 1 + below(world, MODELS_MAX) : 2;
        world->provider = (struct provider){.name = "p", .region = "", .retention_days = -1};
        if (world->form == FORM_APART)
                workspaces = 2;
        for (uint32_t i = 0; i < models; i++) {
                struct endpoint *endpoint = &world->endpoints[i];
                *endpoint = (struct endpoint){.name = model_names[i],
                                              .model = model_names[i],
                                              .upstream = model_names[i],
                                              .quantization = "unknown",
                                              .kinds = (1U << KIND_CHAT) | (1U << KIND_IMAGES)};
                if (world->form == FORM_MIXED)
                        endpoint->limits = make_limits(world);
        }
        if (world->form == FORM_APART)
                world->endpoints[0].limits.requests_per_minute = 600;
        else if (world->form == FORM_CONTENDED)
                world->endpoints[0].limits.requests_per_minute = PICK(world, 120, 300, 1000);
        for (uint32_t i = 0; i < workspaces; i++) {
                world->workspaces[i] = (struct workspace){.name = "w", .weight = PICK(world, 0, 1, 2, 3, 10)};
                if (world->form == FORM_APART)
                        world->workspaces[i].weight = 1;
                if (world->form == FORM_MIXED && below(world, 2) == 0)
                        world->workspaces[i].limits = make_limits(world);
                world->told[i] = world->workspaces[i];
                if (world->plant == PLANT_EQUAL_WEIGHTS)
                        world->told[i].weight = 1;
                if (world->plant == PLANT_NO_LIMITS)
                        world->told[i].limits = (struct limits_spec){0};
        }
        world->catalog = (struct catalog){.providers = &world->provider,
                                          .providers_count = 1,
                                          .endpoints = world->endpoints,
                                          .endpoints_count = models,
                                          .workspaces = world->told,
                                          .workspaces_count = workspaces};
}

static void make_job(struct world *world, uint32_t index, uint32_t workspace, uint32_t model) {
        struct sim_job *job = &world->jobs[index];
        struct job_spec *spec = &job->spec;
        *job = (struct sim_job){.workspace = workspace, .model = model};
        /* most say that they are urgent */
        job->rank = below(world, 10) < 8 ? RANKS - 1 : below(world, RANKS);
        if (below(world, 3) == 0)
                job->deadline_unix_ms = (40 + (int64_t)below(world, 30)) * DAY_NS / NS_PER_MS;
        if (world->form == FORM_APART)
                job->rank = 0, job->deadline_unix_ms = 0;
        *spec = (struct job_spec){.key = {index + 1, 1}, .alias = {index + 1, 2}, .sequence = index};
        demand_init(&spec->demand, model == 2 ? KIND_IMAGES : KIND_CHAT);
        spec->demand.models[0] = bytes_of(model_names[model]);
        spec->demand.models_count = 1;
        spec->demand.input_tokens = 50;
        spec->demand.output_tokens_max = 50 + 30 * (int64_t)model;
        spec->demand.images = model == 2;
        spec->demand.prefs.allow_fallbacks = true;
        spec->demand.workspace = world->plant == PLANT_ONE_WORKSPACE ? 0 : workspace;
        spec->priority = world->plant == PLANT_ONE_PRIORITY ? 0 : priorities[job->rank];
        spec->deadline_unix_ms = world->plant == PLANT_NO_DEADLINES ? 0 : job->deadline_unix_ms;
        spec->class_key = (struct key128){model + 1, (uint64_t)(spec->priority + 100)};
}

static void make_jobs(struct world *world) {
        uint32_t workspaces = world->catalog.workspaces_count, models = world->catalog.endpoints_count;
        CHECK(workspaces > 0);
        if (world->form == FORM_APART) { /* model 0 is scarce; the first one has model 1 for itself */
                world->jobs_count = JOBS_MAX;
                for (uint32_t i = 0; i < JOBS_MAX; i++)
                        make_job(world, i, i % 8 == 0, i % 8 > 1);
                return;
        }
        world->jobs_count = world->form == FORM_CONTENDED ? 150 * workspaces : 50 + below(world, 200);
        for (uint32_t i = 0; i < world->jobs_count; i++)
                if (world->form == FORM_CONTENDED)
                        make_job(world, i, i % workspaces, 0);
                else
                        make_job(world, i, below(world, workspaces), below(world, models));
}

static bool make_world(struct world *world, uint64_t seed, enum plant plant) {
        memset(world, 0, sizeof(*world));
        prng_init(&world->prng, seed);
        world->plant = plant;
        world->form = seed % 40 == 0 ? FORM_APART : seed % 2 == 0 ? FORM_MIXED : FORM_CONTENDED;
        make_catalog(world);
        make_jobs(world);
        world->in_flight_max = world->form == FORM_MIXED ? (uint32_t)PICK(world, 2, 8, 32) : 64;
        if (world->form == FORM_APART)
                world->in_flight_max = 16;
        struct engine_config config = {.jobs_max = JOBS_MAX,
                                       .in_flight_max = world->in_flight_max,
                                       .open_ahead = (uint32_t)PICK(world, 0, 4),
                                       .attempts_max = 2,
                                       .retry_share = 0.1,
                                       .backoff_base_ns = NS_PER_MS,
                                       .backoff_cap_ns = NS_PER_S,
                                       .call_timeout_ns = 60 * NS_PER_S,
                                       .seed = seed};
        world->now_ns = NS_PER_S;
        world->engine = engine_new(&world->catalog, &config, time_of(world));
        answer_init(&world->answer);
        world->answer.verdict = VERDICT_OK;
        world->answer.status = 200;
        world->answer.latency_ns = NS_PER_MS;
        return world->engine != NULL;
}

/* ---- the judge ---- */

static struct sim_class *class_of(struct world *world, const struct sim_job *job) {
        uint32_t index = (job->workspace * RANKS + job->rank) * MODELS_MAX + job->model;
        return &world->classes[index * 2 + (job->deadline_unix_ms != 0)];
}

static bool due_before(const struct sim_job *a, const struct sim_job *b) {
        int64_t x = a->deadline_unix_ms ? a->deadline_unix_ms : INT64_MAX;
        int64_t y = b->deadline_unix_ms ? b->deadline_unix_ms : INT64_MAX;
        return x != y ? x < y : a->order < b->order;
}

/* Of the same workspace and model, so that whatever let one of them start would have let the other. */
static void check_rank(struct world *world, const struct sim_job *job) {
        bool out_of_rank = false;
        for (uint32_t i = 0; i < world->arrived; i++) {
                const struct sim_job *other = &world->jobs[i];
                if (other->state != STATE_WAITING || other->workspace != job->workspace ||
                    other->model != job->model)
                        continue;
                bool like = other->rank == job->rank;
                bool same_class = like && !other->deadline_unix_ms == !job->deadline_unix_ms;
                if (same_class && due_before(other, job))
                        broken(world, "a job began before another of its class that comes first");
                out_of_rank = out_of_rank || other->rank > job->rank || (like && due_before(other, job));
        }
        world->out_of_rank += out_of_rank;
}

static int64_t weight_of(const struct world *world, uint32_t workspace) {
        int64_t weight = world->workspaces[workspace].weight;
        return weight > 0 ? weight : 1;
}

static int64_t weights(const struct world *world) {
        int64_t sum = 0;
        for (uint32_t i = 0; i < world->catalog.workspaces_count; i++)
                sum += weight_of(world, i);
        return sum;
}

/* Others began at the model of a class that waits: not more than shares, guarantee and turns explain. */
static void check_starvation(struct world *world, const struct sim_job *opened) {
        if (world->form == FORM_MIXED)
                return; /* what limits hold is not runnable */
        for (uint32_t i = 0; i < CLASSES_MAX; i++) {
                struct sim_class *sim_class = &world->classes[i];
                uint32_t workspace = i / (CLASSES_MAX / WORKSPACES_MAX);
                if (i / 2 % MODELS_MAX != opened->model || sim_class->waiting == 0)
                        continue;
                int64_t shares = weights(world) / weight_of(world, workspace) + 1;
                int64_t most = GUARANTEE * shares * (world->form == FORM_APART ? 6 : RANKS * 2 + 1);
                if (++sim_class->passed > most)
                        broken(world, "%u jobs began before one of workspace %u, %lld would do",
                               sim_class->passed, workspace, (long long)most);
        }
}

static void judge_open(struct world *world, struct sim_job *job) {
        world->openings++;
        if (world->form != FORM_APART)
                check_rank(world, job);
        class_of(world, job)->waiting--;
        check_starvation(world, job);
        class_of(world, job)->passed = 0;
}

static void judge_call(struct world *world, const struct sim_job *job) {
        int64_t most = world->workspaces[job->workspace].limits.concurrency;
        if (++world->running[job->workspace] > most && most > 0)
                broken(world, "%u calls at a time of workspace %u", world->running[job->workspace],
                       job->workspace);
        if (!world->shares_end)
                world->had[job->workspace]++;
        uint32_t left = 0;
        for (uint32_t i = 0; i < CLASSES_MAX; i++)
                if (i / (CLASSES_MAX / WORKSPACES_MAX) == job->workspace)
                        left += world->classes[i].waiting;
        world->shares_end = world->shares_end || left < 10;
}

/* What each workspace had while all of them had enough to do. */
static void check_shares(struct world *world) {
        int64_t all = 0;
        for (uint32_t i = 0; i < world->catalog.workspaces_count; i++)
                all += world->had[i];
        for (uint32_t i = 0; i < world->catalog.workspaces_count; i++) {
                double wanted = (double)all * (double)weight_of(world, i) / (double)weights(world);
                double off = world->had[i] - wanted;
                if (off > wanted / 10 + 2 || off < -wanted / 10 - 2)
                        broken(world, "workspace %u of weight %lld of %lld had %u of %lld calls", i,
                               (long long)weight_of(world, i), (long long)weights(world), world->had[i],
                               (long long)all);
        }
}

static const struct window_limit {
        const char *name;
        size_t member;
        int64_t window_ns;
        enum { COUNTS_CALLS, COUNTS_TOKENS, COUNTS_IMAGES } counts;
} quotas[] = {
        {"requests a minute", offsetof(struct limits_spec, requests_per_minute), MINUTE_NS, COUNTS_CALLS},
        {"tokens a minute", offsetof(struct limits_spec, tokens_per_minute), MINUTE_NS, COUNTS_TOKENS},
        {"requests a day", offsetof(struct limits_spec, requests_per_day), DAY_NS, COUNTS_CALLS},
        {"tokens a day", offsetof(struct limits_spec, tokens_per_day), DAY_NS, COUNTS_TOKENS},
        {"images a minute", offsetof(struct limits_spec, images_per_minute), MINUTE_NS, COUNTS_IMAGES},
};

static int64_t amount_of(const struct sim_job *job, const struct window_limit *quota) {
        const struct demand *demand = &job->spec.demand;
        if (quota->counts == COUNTS_TOKENS)
                return demand->input_tokens + demand->output_tokens_max;
        return quota->counts == COUNTS_IMAGES ? demand->images : 1;
}

static int by_start(const void *a, const void *b) {
        const struct sim_job *x = *(const struct sim_job *const *)a, *y = *(const struct sim_job *const *)b;
        return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

/* In any window: no more than the limit. Jobs by their start. */
static void check_window(struct world *world, const struct sim_job *const *jobs, uint32_t count,
                         const struct limits_spec *limits, const char *name) {
        for (size_t i = 0; i < sizeof(quotas) / sizeof(*quotas); i++) {
                int64_t limit = *(const int64_t *)(const void *)((const char *)limits + quotas[i].member);
                int64_t sum = 0;
                uint32_t first = 0;
                for (uint32_t j = 0; limit > 0 && j < count; j++) {
                        sum += amount_of(jobs[j], &quotas[i]);
                        while (jobs[j]->start_ns - jobs[first]->start_ns > quotas[i].window_ns)
                                sum -= amount_of(jobs[first++], &quotas[i]);
                        if (sum > limit)
                                broken(world, "%s: %lld %s of %lld", name, (long long)sum, quotas[i].name,
                                       (long long)limit);
                }
        }
}

static void check_limits(struct world *world) {
        static const struct sim_job *all[JOBS_MAX], *some[JOBS_MAX];
        for (uint32_t i = 0; i < world->jobs_count; i++)
                all[i] = &world->jobs[i];
        qsort(all, world->jobs_count, sizeof(*all), by_start);
        for (uint32_t i = 0; i < world->catalog.workspaces_count + world->catalog.endpoints_count; i++) {
                uint32_t count = 0, model = i - world->catalog.workspaces_count;
                bool is_workspace = i < world->catalog.workspaces_count;
                for (uint32_t j = 0; j < world->jobs_count; j++)
                        if (is_workspace ? all[j]->workspace == i : all[j]->model == model)
                                some[count++] = all[j];
                check_window(world, some, count,
                             is_workspace ? &world->workspaces[i].limits : &world->endpoints[model].limits,
                             is_workspace ? "a workspace" : "an endpoint");
        }
        /* where one limit is all there is, it is used */
        int64_t limit = world->endpoints[0].limits.requests_per_minute;
        int64_t took_ns = all[world->jobs_count - 1]->start_ns - all[0]->start_ns;
        if (world->form == FORM_CONTENDED &&
            (double)took_ns * 0.95 > (double)world->jobs_count / (double)limit * (double)MINUTE_NS)
                broken(world, "%u calls at %lld a minute took %lld ms", world->jobs_count, (long long)limit,
                       (long long)(took_ns / NS_PER_MS));
}

static void judge_end(struct world *world) {
        check_limits(world);
        if (world->form == FORM_CONTENDED)
                check_shares(world);
        if (world->out_of_rank > world->openings / (world->form == FORM_MIXED ? 8 : 12) + 8)
                broken(world, "%u of %u jobs began out of their rank", world->out_of_rank, world->openings);
}

/* ---- the turn ---- */

static void expect(struct world *world, enum event_kind kind, const struct sim_job *job) {
        CHECK(world->next_count < EVENTS_MAX);
        world->next[world->next_count++] = (struct event){.kind = kind,
                                                          .handle = job->handle,
                                                          .known.same_fingerprint = true,
                                                          .answer = &world->answer};
}

static void react(struct world *world, const struct command *command) {
        struct sim_job *job = &world->jobs[command->job->sequence];
        job->handle = command->handle;
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                expect(world, EVENT_LOOKED_UP, job);
                return;
        case COMMAND_OPEN:
                judge_open(world, job);
                job->state = STATE_OPENED;
                expect(world, EVENT_OPENED, job);
                return;
        case COMMAND_CALL:
                judge_call(world, job);
                job->state = STATE_CALLED;
                job->start_ns = world->now_ns;
                job->end_ns = world->now_ns + (int64_t)(1 + below(world, 200)) * NS_PER_MS;
                world->open[world->open_count++] = (uint32_t)command->job->sequence;
                return;
        case COMMAND_SETTLE:
                if (command->outcome->failure != FAILURE_NONE && world->plant == PLANT_NONE)
                        broken(world, "a job failed: %s", command->outcome->message);
                expect(world, EVENT_SETTLED, job);
                return;
        case COMMAND_NOTE:
                return;
        case COMMAND_END: /* its permit has moved away */
                if (job->state == STATE_OPENED) {
                        job->state = STATE_WAITING;
                        class_of(world, job)->waiting++;
                }
                return;
        case COMMAND_FORGET:
                job->state = STATE_DONE;
                world->done++;
                return;
        }
}

static void gather(struct world *world) {
        for (uint32_t i = 0; i < world->open_count;) {
                struct sim_job *job = &world->jobs[world->open[i]];
                if (job->end_ns > world->now_ns || world->next_count > EVENTS_MAX / 2) {
                        i++;
                        continue;
                }
                world->running[job->workspace]--;
                expect(world, EVENT_ANSWER, job);
                world->open[i] = world->open[--world->open_count];
        }
        uint32_t most = world->form == FORM_MIXED ? below(world, 20) : ARRIVALS_A_TURN;
        for (; most > 0 && world->arrived < world->jobs_count; most--) {
                struct sim_job *job = &world->jobs[world->arrived++];
                job->state = STATE_INSIDE;
                world->next[world->next_count++] = (struct event){.kind = EVENT_JOB, .job = &job->spec};
        }
}

static void note_ready(struct world *world, const struct event *event) {
        if (event->kind != EVENT_LOOKED_UP)
                return;
        for (uint32_t i = 0; i < world->arrived; i++) {
                struct sim_job *job = &world->jobs[i];
                if (job->state != STATE_INSIDE || job->handle.slot != event->handle.slot ||
                    job->handle.generation != event->handle.generation)
                        continue;
                job->state = STATE_WAITING;
                job->order = ++world->ready;
                struct sim_class *sim_class = class_of(world, job);
                if (sim_class->waiting++ == 0)
                        sim_class->passed = 0;
                return;
        }
}

static void turn(struct world *world) {
        gather(world);
        size_t count = world->next_count;
        memcpy(world->events, world->next, count * sizeof(*world->events));
        world->next_count = 0;
        for (size_t i = 0; i < count; i++)
                note_ready(world, &world->events[i]);
        struct commands commands = {world->items, 0, sizeof(world->items) / sizeof(*world->items)};
        engine_step(world->engine, time_of(world), world->events, count, &commands);
        for (size_t i = 0; i < commands.count; i++)
                react(world, &world->items[i]);
}

static void pass_time(struct world *world) {
        int64_t next_ns = engine_wake_ns(world->engine);
        if (world->next_count > 0 || world->arrived < world->jobs_count || next_ns <= world->now_ns)
                next_ns = world->now_ns + NS_PER_MS;
        for (uint32_t i = 0; i < world->open_count; i++) {
                int64_t end_ns = world->jobs[world->open[i]].end_ns;
                next_ns = end_ns < next_ns ? end_ns : next_ns;
        }
        if (world->done == world->jobs_count)
                return;
        if (next_ns == INT64_MAX)
                broken(world, "%u of %u jobs are done, and nothing will ever happen", world->done,
                       world->jobs_count);
        else if (next_ns > world->now_ns)
                world->now_ns = next_ns;
}

/* true: no promise was broken. */
static bool run(struct world *world, uint64_t seed, enum plant plant) {
        if (!make_world(world, seed, plant))
                return false;
        uint32_t turns = 0;
        while (world->done < world->jobs_count && !world->violation[0]) {
                turn(world);
                pass_time(world);
                if (++turns > TURNS_MAX)
                        broken(world, "too many turns");
        }
        if (!world->violation[0])
                judge_end(world);
        world->engine = engine_free(world->engine);
        return !world->violation[0];
}

static uint64_t setting(const char *name, uint64_t otherwise) {
        const char *text = getenv(name);
        return text ? strtoull(text, NULL, 10) : otherwise;
}

static void everybody_has_his_turn(void **state) {
        struct world *world = &world_memory;
        uint64_t first = setting("SIM_SEED", setting("SIM_FIRST", 1));
        uint64_t count = getenv("SIM_SEED") ? 1 : setting("SIM_SEEDS", SEEDS_DEFAULT);
        uint32_t failed = 0, openings = 0, out_of_rank = 0;
        (void)state;
        for (uint64_t seed = first; seed < first + count && failed < 10; seed++) {
                if (!run(world, seed, PLANT_NONE)) {
                        print_message("SIM_SEED=%llu: %s\n", (unsigned long long)seed, world->violation);
                        failed++;
                }
                openings += world->openings;
                out_of_rank += world->out_of_rank;
        }
        print_message("%u openings, %u out of rank\n", openings, out_of_rank);
        assert_int_equal(failed, 0);
}

static void finds_planted_bugs(void **state) {
        struct world *world = &world_memory;
        (void)state;
        if (getenv("SIM_SEED"))
                return;
        for (int plant = PLANT_NONE + 1; plant < PLANTS_COUNT; plant++) {
                uint64_t seed = 1;
                while (seed < PLANT_SEEDS_MAX && run(world, seed, (enum plant)plant))
                        seed++;
                if (!world->violation[0])
                        fail_msg("planted bug %d was not found", plant);
                print_message("plant %d, seed %llu: %s\n", plant, (unsigned long long)seed, world->violation);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(everybody_has_his_turn),
                cmocka_unit_test(finds_planted_bugs),
        };
        return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
