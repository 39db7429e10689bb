#pragma once
/* The inside of the engine, for the files of this folder only. */
#include "broker/base/heap.h"
#include "broker/base/map.h"
#include "broker/base/pairing.h"
#include "broker/core/engine.h"
#include "broker/core/gate.h"
#include "broker/core/job.h"
#include "broker/core/limits.h"
#include "workers/routing/budget.h"
#include "workers/routing/health.h"

#define NEVER_NS INT64_MAX
#define NO_CLASS UINT32_MAX
#define NO_POOL  UINT32_MAX

struct endpoint_state {
        struct gate gate;
        struct health health;
        struct list ready;      /* jobs with a durable attempt */
        struct list ready_link; /* in engine.ready_endpoints while `ready` is not empty */
        struct endpoint_stats stats;
        uint64_t openings; /* jobs opened here */
};

/* Who pays: its limits, and its turn among the others (order.h). */
struct workspace_state {
        struct gate gate;
        struct pairing_node node;          /* in engine.by_share while `priorities` is not 0 */
        struct pairing ranked[PRIORITIES]; /* classes that may start a job */
        struct pairing by_age;             /* all of these, the one that was served longest ago first */
        uint32_t priorities;               /* bit per priority: there are any */
        uint32_t waiting;                  /* classes with jobs, blocked ones too */
        uint32_t since_guarantee;          /* jobs opened since the last one out of its rank */
        int64_t weight;
        int64_t had, call_cost; /* what it has had of late, and what a call adds to that: by its weight */
};

enum class_place { CLASS_IDLE, CLASS_RUNNABLE, CLASS_BLOCKED }; /* IDLE: no job waits */

/*
 * Jobs that differ in nothing that routing looks at first: one queue, one list of endpoints. A job that
 * cannot start and to which places are closed that are open to the others (too long for a context, refused
 * there) moves to a class of its like, so that it holds only these. So does one whose deadline presses, since
 * it may go where the others wait; and those without a deadline are apart from those with one, behind which
 * they stand but must not starve.
 */
struct job_class {
        struct list link; /* in engine.blocked, or in engine.free_classes */
        /* RUNNABLE: in its workspace's queues, and in engine.by_age */
        struct pairing_node ranked, aged, aged_of_all;
        /*
         * Jobs without a deadline that came one after the other, and all others: the first is the first of
         * one.
         */
        struct list in_order;
        struct pairing waiting;
        struct key128 key;
        struct route_set set;
        uint32_t closed; /* bit per place of the set: not for these jobs */
        uint32_t jobs;   /* inside the engine, in whatever state */
        /* of the catalog for which places are numbered, and of that for which the set was matched last */
        uint32_t generation, matched;
        bool pressed;       /* half of the time that they had has gone */
        uint32_t workspace; /* index in engine.workspaces */
        uint32_t part;      /* spend_part() */
        uint32_t priority;  /* from 0 */
        uint32_t pool;      /* index into engine.pools; NO_POOL */
        enum class_place place;
        int64_t deadline_unix_ms; /* of the first job; 0: none */
        uint64_t round;           /* its place in turn among its like */
        uint64_t served;          /* engine.openings when it had its last turn, or came */
        uint64_t passed;          /* and the sum of openings at its places then */
        uint32_t burst;           /* jobs opened in this turn of its round */
        int64_t blocked_until_ns; /* BLOCKED: the first job cannot start before, unless */
        uint64_t blocked_epoch;   /* classes_epoch() changes */
};

/* Waiting jobs with a deadline that have the same places open to them (broker/core/planning.h). */
struct plan_pool {
        uint32_t classes; /* 0: free */
        uint32_t open;    /* bit per place of the set: the rules allow it */
        struct route_set set;
        /* waiting jobs, by when their time is up: a ring of PLAN_BUCKET_NS each */
        uint32_t due[PLAN_BUCKETS];
        int64_t made_ns;                     /* the last plan; INT64_MIN: none */
        int64_t worth[ROUTE_CANDIDATES_MAX]; /* jobs that a place should still take now */
};

/* A workspace or a provider: what it has spent, may spend and has reserved. */
struct spend_subject {
        struct ledger ledger;
        uint64_t epoch; /* changes when room may have come up */
        bool dirty;     /* what it has spent has changed since engine_spend_take() */
        bool counted;   /* the catalog has asked for it at some time: `ledger` is what was spent */
        bool loaded;    /* by partition: what was spent before is in it */
        uint32_t word;  /* the one that is on its way; 0: none */
};

/* What may be spent for the jobs of a partition; for all jobs where there are none. */
struct purse {
        struct list link; /* in engine.purses_dirty while any subject is */
        uint32_t partition;
        uint32_t life; /* each time that the partition comes */
        bool open, closing;
        uint32_t dirty;                 /* subjects */
        struct spend_subject *subjects; /* budget_subjects() of the catalog */
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
        uint32_t generation; /* of the catalog */
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
        uint32_t classes_made;   /* of `classes`, that were ever used */
        struct plan_pool *pools; /* PLAN_POOLS_MAX */
        struct map by_class;
        struct workspace_state *workspaces; /* one at least */
        uint32_t workspaces_count;
        struct list blocked;             /* classes */
        struct pairing by_share, by_age; /* workspaces and classes that may start a job; see order.h */
        uint64_t arrivals, rounds, openings;
        int64_t weight_waiting; /* of workspaces with jobs that wait, together */
        int64_t share_now;      /* what the workspace had that had the last turn */
        int64_t share_since_ns; /* what workspaces had was halved last */

        struct limiter *limiters; /* of all gates */
        /* Parts of the limits that are ours; parts_whole 0: all of them. */
        uint32_t parts[PARTS_MAX];
        size_t parts_count;
        uint32_t parts_whole;
        uint32_t *untold; /* gates that have given something since engine_quotas_take() */
        uint32_t untold_count;
        int64_t quotas_ahead_ns; /* wall clock less monotonic, by which the times of quotas are reckoned */
        struct endpoint_state *endpoints;
        struct recent *recents; /* per endpoint; apart, since only answers and now and then a look touch it */
        struct gate *providers;
        struct list ready_endpoints;
        bool prices_move; /* some endpoint's price goes by the time */
        /* By partition; NULL: it never was here. They stay where they are. */
        struct purse *purses[PARTS_MAX];
        uint32_t purses_count, purses_whole; /* parts of a budget; 0: a purse has all of it */
        struct list purses_dirty;
        uint32_t subjects_count; /* 0: nothing is counted */
        uint32_t words;
        bool providers_bounded; /* one has a budget */
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

static inline uint32_t engine_workspace(const struct engine *engine, const struct job *job) {
        uint32_t workspace = job_demand(job)->workspace;
        return workspace < engine->workspaces_count ? workspace : 0;
}

enum { GATES_A_CALL = 3 };
/* What a call passes. */
struct gates {
        struct gate *items[GATES_A_CALL];
};

static inline struct gates engine_gates(const struct engine *engine, const struct job *job,
                                        uint32_t endpoint) {
        return (struct gates){{&engine->endpoints[endpoint].gate, engine_provider(engine, endpoint),
                               &engine->workspaces[engine_workspace(engine, job)].gate}};
}

/* Limiters of all gates of a catalog. */
uint32_t engine_limiters(const struct catalog *catalog);
void engine_move(struct engine *engine, struct job *job, enum job_state to);
/*
 * Appends a command for the job; with `expects` its generation is new, so that only the answer to this one
 * counts.
 */
struct command *engine_command(struct engine *engine, struct job *job, enum command_kind kind, bool expects);
bool engine_out_room(const struct engine *engine, size_t commands);
/* Half of the time until the job's deadline has gone: a dearer endpoint will do. */
bool engine_pressed(const struct engine *engine, const struct job *job);
/* The longest that a call of the job takes that begins now: what its answer costs may go by its end. */
int64_t engine_call_ms(const struct engine *engine, const struct job *job);
bool engine_prices_move(const struct catalog *catalog);
/* Sets or clears the job's timer by its state and deadline. */
void engine_arm(struct engine *engine, struct job *job);
void engine_wake_at(struct engine *engine, int64_t when_ns);
