#include "broker/core/engine.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/time.h"
#include "broker/core/admit.h"
#include "broker/core/classes.h"
#include "broker/core/conclude.h"
#include "broker/core/dispatch.h"
#include "broker/core/engine_state.h"
#include "broker/core/order.h"
#include "broker/core/quotas.h"
#include "broker/core/spend.h"

#include <stdlib.h>

uint32_t engine_limiters(const struct catalog *catalog) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < catalog->providers_count; i++)
                count += gate_limiters(&catalog->providers[i].limits);
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                count += gate_limiters(&catalog->endpoints[i].limits);
        for (uint32_t i = 0; i < catalog->workspaces_count; i++)
                count += gate_limiters(&catalog->workspaces[i].limits);
        return count;
}

static void init_gates(struct engine *engine) {
        static const struct limits_spec none;
        const struct catalog *catalog = engine->catalog;
        struct gate_clock now = quotas_clock(engine);
        struct limiter *limiters = engine->limiters;
        for (uint32_t i = 0; i < catalog->providers_count; i++)
                limiters = gate_init(&engine->providers[i], &catalog->providers[i].limits, limiters, now);
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                limiters =
                        gate_init(&engine->endpoints[i].gate, &catalog->endpoints[i].limits, limiters, now);
        for (uint32_t i = 0; i < engine->workspaces_count; i++) {
                bool named = i < catalog->workspaces_count;
                limiters = gate_init(&engine->workspaces[i].gate,
                                     named ? &catalog->workspaces[i].limits : &none, limiters, now);
        }
}

static void init_endpoints(struct engine *engine) {
        int64_t now_ns = engine->time.now_ns;
        for (uint32_t i = 0; i < engine->catalog->endpoints_count; i++) {
                struct endpoint_state *state = &engine->endpoints[i];
                list_init(&state->ready);
                health_init(&state->health, engine->config.in_flight_max, engine->config.retry_share, now_ns);
        }
}

static void init_lists(struct engine *engine) {
        list_init(&engine->free_jobs);
        list_init(&engine->free_classes);
        list_init(&engine->ready_endpoints);
        for (uint32_t i = 0; i < engine->config.jobs_max; i++)
                list_append(&engine->free_jobs, &engine->jobs[i].link);
        engine->states[JOB_FREE] = engine->config.jobs_max;
}

static int64_t wall_ahead_ms(struct engine_time now) {
        return now.now_unix_ms - now.now_ns / NS_PER_MS;
}

bool engine_prices_move(const struct catalog *catalog) {
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                if (catalog->endpoints[i].windows_count > 0)
                        return true;
        return false;
}

int64_t engine_call_ms(const struct engine *engine, const struct job *job) {
        int64_t left_ns = min64(engine->config.call_timeout_ns, job->deadline_ns - engine->time.now_ns);
        return (max64(left_ns, 0) + NS_PER_MS - 1) / NS_PER_MS;
}

struct engine *engine_new(const struct catalog *catalog, const struct engine_config *config,
                          struct engine_time now) {
        struct engine *engine = calloc(1, sizeof(*engine));
        if (!engine)
                return NULL;
        engine->catalog = catalog;
        engine->config = *config;
        engine->time = now;
        engine->wake_ns = NEVER_NS;
        engine->wall_ahead_ms = wall_ahead_ms(now);
        engine->prices_move = engine_prices_move(catalog);
        uint32_t jobs_max = config->jobs_max;
        engine->jobs = calloc(jobs_max, sizeof(*engine->jobs));
        engine->classes = calloc(jobs_max, sizeof(*engine->classes));
        engine->pools = calloc(PLAN_POOLS_MAX, sizeof(*engine->pools));
        engine->endpoints = calloc(catalog->endpoints_count + 1, sizeof(*engine->endpoints));
        engine->providers = calloc(catalog->providers_count + 1, sizeof(*engine->providers));
        engine->workspaces_count = catalog->workspaces_count > 0 ? catalog->workspaces_count : 1;
        engine->workspaces = calloc(engine->workspaces_count, sizeof(*engine->workspaces));
        engine->limiters = calloc(engine_limiters(catalog) + 1, sizeof(*engine->limiters));
        /* touched when used */
        engine->recents = calloc(catalog->endpoints_count + 1, sizeof(*engine->recents));
        if (!engine->jobs || !engine->classes || !engine->pools || !engine->endpoints || !engine->providers ||
            !engine->workspaces || !engine->limiters || !engine->recents ||
            !map_init(&engine->by_key, jobs_max) || !map_init(&engine->by_class, jobs_max) ||
            !heap_init(&engine->timers, jobs_max) || !quotas_init(engine) || !spend_init(engine))
                return engine_free(engine);
        engine->share_since_ns = now.now_ns;
        init_lists(engine);
        init_gates(engine);
        init_endpoints(engine);
        order_init(engine);
        prng_init(&engine->prng, config->seed);
        return engine;
}

struct engine *engine_free(struct engine *engine) {
        if (!engine)
                return NULL;
        map_deinit(&engine->by_key);
        map_deinit(&engine->by_class);
        heap_deinit(&engine->timers);
        free(engine->jobs);
        free(engine->classes);
        free(engine->pools);
        free(engine->endpoints);
        free(engine->recents);
        free(engine->providers);
        free(engine->workspaces);
        free(engine->limiters);
        quotas_deinit(engine);
        spend_deinit(engine);
        free(engine);
        return NULL;
}

void engine_move(struct engine *engine, struct job *job, enum job_state to) {
        engine->trace[engine->traced++ % TRACE_MAX] = (struct trace_entry){
                .now_ns = engine->time.now_ns,
                .slot = engine_slot(engine, job),
                .generation = job->generation,
                .from = job->state,
                .to = to,
        };
        engine->states[job->state]--;
        engine->states[to]++;
        job_move(job, to);
}

bool engine_out_room(const struct engine *engine, size_t commands) {
        return engine->out->capacity - engine->out->count >= commands;
}

struct command *engine_command(struct engine *engine, struct job *job, enum command_kind kind, bool expects) {
        CHECK(engine_out_room(engine, 1));
        if (expects)
                job->generation++;
        struct command *command = &engine->out->items[engine->out->count++];
        *command = (struct command){
                .kind = kind,
                .handle = {engine_slot(engine, job), job->generation},
                .job = job->spec,
                .key = job->key,
        };
        return command;
}

void engine_wake_at(struct engine *engine, int64_t when_ns) {
        if (when_ns < engine->wake_ns)
                engine->wake_ns = when_ns;
}

/* From here on half of the time that it had has gone. */
static int64_t pressed_from_ns(const struct job *job) {
        return job->admitted_ns + (job->deadline_ns - job->admitted_ns + 1) / 2;
}

bool engine_pressed(const struct engine *engine, const struct job *job) {
        return job->deadline_ns != NEVER_NS && engine->time.now_ns >= pressed_from_ns(job);
}

void engine_arm(struct engine *engine, struct job *job) {
        int64_t when_ns = NEVER_NS;
        if (job->state == JOB_SLEEPING)
                when_ns = job->wake_ns < job->deadline_ns ? job->wake_ns : job->deadline_ns;
        else if (job->state == JOB_READY)
                when_ns = job->deadline_ns;
        else if (job->state == JOB_WAITING && job->deadline_ns != NEVER_NS)
                when_ns = engine_pressed(engine, job) ? job->deadline_ns : pressed_from_ns(job);
        if (when_ns == NEVER_NS)
                heap_remove(&engine->timers, engine_slot(engine, job));
        else
                heap_set(&engine->timers, engine_slot(engine, job), when_ns);
}

static void opened(struct engine *engine, struct job *job) {
        struct endpoint_state *state = &engine->endpoints[job->endpoint];
        engine_move(engine, job, JOB_READY);
        engine_arm(engine, job);
        if (!list_linked(&state->ready_link))
                list_append(&engine->ready_endpoints, &state->ready_link);
        list_append(&state->ready, &job->link);
        if (job->revoked)
                conclude_revoked(engine, job);
}

static void looked_up(struct engine *engine, struct job *job, const struct known_job *known) {
        if (job->revoked)
                conclude_revoked(engine, job);
        else
                admit_looked_up(engine, job, known);
}

static void handle(struct engine *engine, const struct event *event) {
        if (event->kind == EVENT_JOB) {
                admit_job(engine, event->job);
                return;
        }
        CHECK(event->handle.slot < engine->config.jobs_max);
        struct job *job = &engine->jobs[event->handle.slot];
        if (job->generation != event->handle.generation)
                return; /* late or doubled */
        if (event->kind == EVENT_LOOKED_UP && job->state == JOB_SEEKING)
                looked_up(engine, job, &event->known);
        else if (event->kind == EVENT_OPENED && job->state == JOB_OPENING)
                opened(engine, job);
        else if (event->kind == EVENT_ANSWER && job->state == JOB_CALLING)
                conclude_answer(engine, job, event->answer);
        else if (event->kind == EVENT_SETTLED && job->state == JOB_SETTLING)
                conclude_settled(engine, job);
}

static void expire(struct engine *engine, struct job *job) {
        if (job->state == JOB_READY) {
                conclude_unsent(engine, job); /* its timer, set anew, ends it in the same turn */
                return;
        }
        if (job->deadline_ns <= engine->time.now_ns) {
                if (job->state == JOB_WAITING)
                        classes_dequeue(engine, job);
                conclude_without_answer(engine, job, FAILURE_DEADLINE_EXCEEDED);
                return;
        }
        job->early = false;
        if (job->state == JOB_WAITING)
                classes_dequeue(engine, job); /* half of its time has gone: it may go where others wait */
        else
                engine_move(engine, job, JOB_WAITING);
        engine_arm(engine, job);
        classes_enqueue(engine, job);
}

static void run_timers(struct engine *engine) {
        struct heap_entry entry;
        while (heap_peek(&engine->timers, &entry) && entry.when <= engine->time.now_ns &&
               engine_out_room(engine, 2)) {
                heap_pop(&engine->timers, &entry);
                expire(engine, &engine->jobs[entry.id]);
        }
}

/*
 * Deadlines and not_before are wall times. The monotonic clock stands still while a machine sleeps, and wall
 * clocks are set.
 */
static void clock_was_set(struct engine *engine) {
        engine->wall_ahead_ms = wall_ahead_ms(engine->time);
        engine->epoch++; /* who waits for a period to end */
        for (uint32_t i = 0; i < engine->config.jobs_max; i++) {
                struct job *job = &engine->jobs[i];
                if (job->state == JOB_FREE)
                        continue;
                admit_reckon(engine, job);
                engine_arm(engine, job);
        }
}

/* Attempts that failed, surely at no cost, are open only to be counted; nobody stops in order to count. */
static void end_failed(struct engine *engine) {
        for (; engine->drained < engine->config.jobs_max && engine_out_room(engine, 2); engine->drained++) {
                struct job *job = &engine->jobs[engine->drained];
                bool waits = job->state == JOB_WAITING || job->state == JOB_SLEEPING;
                if (waits && job->attempts > 0 && job->spent_picousd == 0 && !job->spent_unknown)
                        engine_command(engine, job, COMMAND_END, false);
        }
}

void engine_step(struct engine *engine, struct engine_time now, const struct event *events,
                 size_t events_count, struct commands *out) {
        CHECK(now.now_ns >= engine->time.now_ns);
        CHECK(out->capacity - out->count >= 2 * events_count + 2);
        engine->time = now;
        engine->out = out;
        engine->wake_ns = NEVER_NS;
        int64_t clock_moved_ms = wall_ahead_ms(now) - engine->wall_ahead_ms;
        if (clock_moved_ms > CLOCK_SET_MS || clock_moved_ms < -CLOCK_SET_MS)
                clock_was_set(engine);
        if (now.now_ns - engine->pace_since_ns >= PACE_NS) {
                engine->pace_last = now.now_ns - engine->pace_since_ns < 2 * PACE_NS ? engine->pace_calls : 0;
                engine->pace_calls = 0;
                engine->pace_since_ns = now.now_ns;
        }
        for (size_t i = 0; i < events_count; i++)
                handle(engine, &events[i]);
        run_timers(engine);
        if (engine->draining)
                end_failed(engine);
        dispatch_open(engine);
        dispatch_call(engine);
        struct heap_entry entry;
        if (heap_peek(&engine->timers, &entry))
                engine_wake_at(engine, entry.when);
        if (!engine_out_room(engine, 2))
                engine->wake_ns = now.now_ns;
        engine->out = NULL;
        engine->stats.in_flight = engine->in_flight;
        engine->stats.inside = engine->inside;
        engine->stats.waiting = engine->states[JOB_WAITING] + engine->states[JOB_SLEEPING];
}

int64_t engine_wake_ns(const struct engine *engine) {
        return engine->wake_ns;
}

uint32_t engine_room(const struct engine *engine) {
        return engine->config.jobs_max - engine->inside;
}

static void revoke(struct engine *engine, struct job *job) {
        switch (job->state) {
        case JOB_FREE:
        case JOB_CALLING:
        case JOB_SETTLING:
                return;
        case JOB_SEEKING:
        case JOB_OPENING:
                engine->stats.giving_up += !job->revoked;
                job->revoked = true;
                return;
        case JOB_WAITING:
        case JOB_SLEEPING:
        case JOB_READY:
                conclude_revoked(engine, job);
                return;
        case JOB_STATES_COUNT:
                break;
        }
        CHECK(false);
}

bool engine_revoke(struct engine *engine, struct engine_time now,
                   bool (*gone)(void *userdata, const struct job_spec *job), void *userdata,
                   struct commands *out) {
        CHECK(now.now_ns >= engine->time.now_ns);
        engine->time = now;
        engine->out = out;
        uint32_t slot = 0;
        for (; slot < engine->config.jobs_max && engine_out_room(engine, 2); slot++) {
                struct job *job = &engine->jobs[slot];
                if (job->state != JOB_FREE && gone(userdata, job->spec))
                        revoke(engine, job);
        }
        engine->out = NULL;
        engine->wake_ns = now.now_ns; /* what they held is free for others */
        return slot == engine->config.jobs_max;
}

static int64_t idle_until_ns(const struct engine *engine, const struct job *job) {
        if (job->state == JOB_SLEEPING)
                return job->wake_ns;
        return job->state == JOB_WAITING ? engine->classes[job->job_class].blocked_until_ns : 0;
}

void engine_each_idle(const struct engine *engine, int64_t longer_than_ns,
                      void (*each)(void *userdata, struct job_spec *job, int64_t until_ns), void *userdata) {
        for (uint32_t slot = 0; slot < engine->config.jobs_max; slot++) {
                const struct job *job = &engine->jobs[slot];
                int64_t until_ns = idle_until_ns(engine, job);
                if (until_ns > engine->time.now_ns + longer_than_ns)
                        each(userdata, job->spec, until_ns);
        }
}

void engine_share(struct engine *engine, struct engine_time now, const struct limit_part *parts, size_t count,
                  uint32_t whole) {
        const struct catalog *catalog = engine->catalog;
        CHECK(now.now_ns >= engine->time.now_ns && whole > 0 && count <= whole && count <= PARTS_MAX);
        engine->time = now;
        for (size_t i = 0; i < count; i++)
                engine->parts[i] = parts[i].part;
        engine->parts_count = count;
        engine->parts_whole = whole;
        spend_share(engine, whole);
        for (uint32_t i = 0; i < catalog->providers_count; i++)
                gate_share(&engine->providers[i], parts, count, whole, now.now_ns);
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                gate_share(&engine->endpoints[i].gate, parts, count, whole, now.now_ns);
        for (uint32_t i = 0; i < engine->workspaces_count; i++)
                gate_share(&engine->workspaces[i].gate, parts, count, whole, now.now_ns);
        for (size_t i = 0; i < count; i++)
                quotas_merge(engine, &parts[i]);
        engine->wake_ns = now.now_ns;
}

void engine_drain(struct engine *engine) {
        engine->draining = true;
}

void engine_hold(struct engine *engine, bool held) {
        engine->held = held;
}

bool engine_quiet(const struct engine *engine) {
        if (engine->draining && engine->drained < engine->config.jobs_max)
                return false;
        return engine->states[JOB_SEEKING] + engine->states[JOB_OPENING] + engine->states[JOB_READY] +
                       engine->states[JOB_CALLING] + engine->states[JOB_SETTLING] ==
               0;
}

bool engine_empty(const struct engine *engine) {
        return engine->inside == 0;
}

/*
 * Where a job without fallbacks that was not called yet would go, as its class saw it last; UINT32_MAX: it
 * may go anywhere, or was not seen.
 */
static uint32_t only_endpoint(const struct job *job, const struct job_class *job_class) {
        const struct routing_prefs *prefs = &job_demand(job)->prefs;
        if (prefs->allow_fallbacks || prefs->order.count > 0 || job->state != JOB_WAITING)
                return UINT32_MAX;
        const struct job *head = classes_first(job_class);
        return head->outcome.decision.count > 0 ? head->outcome.decision.candidates[0].endpoint : UINT32_MAX;
}

/* No endpoint that could take the job is free of a pause before `until_ns`. */
static bool job_stuck(const struct engine *engine, const struct job *job, int64_t until_ns,
                      uint32_t *out_endpoint) {
        const struct job_class *job_class = &engine->classes[job->job_class];
        uint32_t closed = job->pinned ? ~(1U << job->place) : job->refused | job_class->closed;
        uint32_t only = only_endpoint(job, job_class);
        bool stuck = false;
        for (uint32_t place = 0; place < job_class->set.count; place++) {
                uint32_t endpoint = job_class->set.endpoints[place];
                if ((closed & (1U << place)) || (only != UINT32_MAX && endpoint != only) ||
                    route_check(engine->catalog, job_demand(job), endpoint, engine->time.now_unix_ms) !=
                            EXCLUSION_NONE)
                        continue;
                if (engine->endpoints[endpoint].health.paused_until_ns < until_ns)
                        return false;
                *out_endpoint = endpoint;
                stuck = true;
        }
        return stuck;
}

bool engine_stuck(const struct engine *engine, struct engine_time now, int64_t patience_ns,
                  uint32_t *out_endpoint) {
        uint32_t endpoint = UINT32_MAX;
        if (!engine_quiet(engine) || engine->inside == 0)
                return false;
        for (uint32_t i = 0; i < engine->config.jobs_max; i++) {
                const struct job *job = &engine->jobs[i];
                if (job->state != JOB_FREE && !job_stuck(engine, job, now.now_ns + patience_ns, &endpoint))
                        return false;
        }
        *out_endpoint = endpoint;
        return true;
}

void engine_each_job(const struct engine *engine, void (*each)(void *userdata, struct job_spec *job),
                     void *userdata) {
        for (uint32_t i = 0; i < engine->config.jobs_max; i++)
                if (engine->jobs[i].state != JOB_FREE)
                        each(userdata, engine->jobs[i].spec);
}

const struct engine_stats *engine_stats(const struct engine *engine) {
        return &engine->stats;
}

const struct endpoint_stats *engine_endpoint_stats(const struct engine *engine, uint32_t endpoint) {
        CHECK(endpoint < engine->catalog->endpoints_count);
        return &engine->endpoints[endpoint].stats;
}

uint32_t engine_state_count(const struct engine *engine, uint32_t state) {
        CHECK(state < JOB_STATES_COUNT);
        return engine->states[state];
}

bool engine_endpoint_open(const struct engine *engine, uint32_t endpoint) {
        CHECK(endpoint < engine->catalog->endpoints_count);
        const struct health *health = &engine->endpoints[endpoint].health;
        return health->state != BREAKER_CLOSED || health->paused_until_ns > engine->time.now_ns;
}

void engine_trace(const struct engine *engine, struct buffer *out_text) {
        uint64_t first = engine->traced > TRACE_MAX ? engine->traced - TRACE_MAX : 0;
        for (uint64_t i = first; i < engine->traced; i++) {
                const struct trace_entry *entry = &engine->trace[i % TRACE_MAX];
                buffer_append_i64(out_text, entry->now_ns);
                buffer_append_string(out_text, " slot ");
                buffer_append_u64(out_text, entry->slot);
                buffer_append_string(out_text, ".");
                buffer_append_u64(out_text, entry->generation);
                buffer_append_string(out_text, " ");
                buffer_append_string(out_text, job_state_text(entry->from));
                buffer_append_string(out_text, " -> ");
                buffer_append_string(out_text, job_state_text(entry->to));
                buffer_append_string(out_text, "\n");
        }
}
