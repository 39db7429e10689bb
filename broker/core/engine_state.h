#pragma once
/* The inside of the engine, for the files of this folder only. */
#include "broker/base/heap.h"
#include "broker/base/map.h"
#include "broker/core/engine.h"
#include "broker/core/job.h"
#include "broker/core/limits.h"
#include "workers/routing/health.h"
#include "workers/routing/limiter.h"

#define NEVER_NS INT64_MAX
#define NO_CLASS UINT32_MAX

/* Calls per minute, tokens per minute and calls at a time, of an endpoint or of a provider. */
struct gate {
        struct limiter requests, tokens;
        int64_t concurrency; /* INT64_MAX: no limit */
        uint32_t in_flight;
        uint32_t opened;       /* jobs OPENING or READY: they will want a permit each */
        int64_t opened_tokens; /* and these tokens together */
        uint64_t epoch;        /* changes when room may have come up */
};

struct endpoint_state {
        struct gate gate;
        struct health health;
        struct list ready;      /* jobs with a durable attempt */
        struct list ready_link; /* in engine.ready_endpoints while `ready` is not empty */
        struct endpoint_stats stats;
};

/*
 * Jobs that differ in nothing that routing looks at first: one queue, one list of endpoints. A job that
 * cannot start and to which places are closed that are open to the others (too long for a context, refused
 * there) moves to a class of its like, so that it holds only these.
 */
struct job_class {
        struct list link; /* in engine.active[priority] while jobs wait, else in engine.idle_classes */
        struct list waiting;
        struct key128 key;
        struct route_set set;
        uint32_t closed;          /* bit per place of the set: not for these jobs */
        uint32_t jobs;            /* inside the engine, in whatever state */
        uint32_t priority;        /* index into engine.active */
        int64_t blocked_until_ns; /* the head cannot start before, unless */
        uint64_t blocked_epoch;   /* classes_epoch() changes */
};

struct trace_entry {
        int64_t now_ns;
        uint32_t slot, generation;
        enum job_state from, to;
};

struct engine {
        const struct catalog *catalog;
        struct engine_config config;
        struct engine_time time;
        int64_t wake_ns;
        bool draining, held;
        uint32_t drained;     /* slots whose open attempts were looked at, while draining */
        struct commands *out; /* during a step */
        bool out_full;

        struct job *jobs;
        struct list free_jobs;
        struct map by_key;  /* jobs inside, by the key under which they settle */
        struct heap timers; /* by slot: when SLEEPING ends, or the deadline */
        uint32_t inside, states[JOB_STATES_COUNT];

        struct job_class *classes;
        struct list free_classes;
        struct map by_class;
        struct list active[PRIORITIES]; /* highest priority last */

        struct endpoint_state *endpoints;
        struct recent *recents; /* per endpoint; apart, since only answers and now and then a look touch it */
        struct gate *providers;
        struct list ready_endpoints;
        uint32_t in_flight, opened;
        uint64_t epoch;                 /* changes when there is room again under in_flight_max */
        int64_t pace_since_ns;          /* start of the current window of PACE_NS */
        uint32_t pace_calls, pace_last; /* calls begun in it, and in the one before */
        int64_t wall_ahead_ms;          /* wall clock less monotonic, by which deadlines were reckoned */

        struct prng prng;
        struct engine_stats stats;
        struct trace_entry trace[TRACE_MAX];
        uint64_t traced;
};

static inline uint32_t engine_slot(const struct engine *engine, const struct job *job) {
        return (uint32_t)(job - engine->jobs);
}

/* The spec's demand, for short. */
static inline const struct demand *job_demand(const struct job *job) {
        return &job->spec->demand;
}

/* The gate of the provider behind an endpoint. */
static inline struct gate *engine_provider(const struct engine *engine, uint32_t endpoint) {
        return &engine->providers[engine->catalog->endpoints[endpoint].provider];
}

void engine_move(struct engine *engine, struct job *job, enum job_state to);
/*
 * Appends a command for the job; with `expects` its generation is new, so that only the answer to this one
 * counts.
 */
struct command *engine_command(struct engine *engine, struct job *job, enum command_kind kind, bool expects);
bool engine_out_room(const struct engine *engine, size_t commands);
/* Half of the time until the job's deadline has gone: a dearer endpoint will do. */
bool engine_pressed(const struct engine *engine, const struct job *job);
/* Sets or clears the job's timer by its state and deadline. */
void engine_arm(struct engine *engine, struct job *job);
void engine_wake_at(struct engine *engine, int64_t when_ns);
