#include "broker/core/planning.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/core/dispatch.h"
#include "workers/routing/limits.h"
#include "workers/routing/plan.h"

_Static_assert((int)PLAN_OPTIONS_MAX >= (int)ROUTE_CANDIDATES_MAX, "an option per place");

#define HOUR_NS (3600 * NS_PER_S)

/* ---- pools ---- */

static uint32_t open_places(const struct engine *engine, const struct job_class *job_class,
                            const struct job *job) {
        uint32_t open = 0;
        for (uint32_t place = 0; place < job_class->set.count; place++)
                if ((job_class->closed & (1U << place)) == 0 &&
                    route_check(engine->catalog, job_demand(job), job_class->set.endpoints[place],
                                engine->time.now_unix_ms) == EXCLUSION_NONE)
                        open |= 1U << place;
        return open;
}

static bool same_places(const struct plan_pool *pool, const struct route_set *set, uint32_t open) {
        if (pool->open != open || pool->set.count != set->count)
                return false;
        for (uint32_t i = 0; i < set->count; i++)
                if (pool->set.endpoints[i] != set->endpoints[i] || pool->set.models[i] != set->models[i])
                        return false;
        return true;
}

void planning_join(struct engine *engine, struct job_class *job_class, const struct job *job) {
        const struct routing_prefs *prefs = &job_demand(job)->prefs;
        uint32_t open = 0, found = NO_POOL;
        job_class->pool = NO_POOL;
        if (job->spec->deadline_unix_ms == 0 || prefs->sort != SORT_PRICE || prefs->order.count > 0)
                return;
        open = open_places(engine, job_class, job);
        for (uint32_t i = 0; i < PLAN_POOLS_MAX; i++) {
                struct plan_pool *pool = &engine->pools[i];
                if (pool->classes > 0 && same_places(pool, &job_class->set, open))
                        found = i;
                else if (pool->classes == 0 && found == NO_POOL)
                        found = i;
                if (found == i && pool->classes > 0)
                        break;
        }
        if (found == NO_POOL)
                return;
        struct plan_pool *pool = &engine->pools[found];
        if (pool->classes == 0)
                *pool = (struct plan_pool){.open = open, .set = job_class->set, .made_ns = INT64_MIN};
        pool->classes++;
        job_class->pool = found;
}

void planning_leave(struct engine *engine, struct job_class *job_class) {
        if (job_class->pool != NO_POOL)
                engine->pools[job_class->pool].classes--;
        job_class->pool = NO_POOL;
}

void planning_dissolve(struct engine *engine) {
        for (uint32_t i = 0; i < PLAN_POOLS_MAX; i++)
                engine->pools[i].classes = 0;
        for (uint32_t i = 0; i < engine->config.jobs_max; i++)
                engine->jobs[i].due_bucket = 0;
}

static struct plan_pool *pool_of(struct engine *engine, const struct job *job) {
        uint32_t pool = engine->classes[job->job_class].pool;
        return pool == NO_POOL || job->deadline_ns == NEVER_NS ? NULL : &engine->pools[pool];
}

/* A deadline beyond the ring counts as its end. */
static uint32_t due_bucket_of(const struct engine *engine, const struct job *job) {
        int64_t now = engine->time.now_ns / PLAN_BUCKET_NS;
        int64_t bucket = min64(job->deadline_ns / PLAN_BUCKET_NS, now + PLAN_BUCKETS - 1);
        return (uint32_t)(bucket % PLAN_BUCKETS);
}

void planning_waits(struct engine *engine, struct job *job) {
        struct plan_pool *pool = pool_of(engine, job);
        if (!pool)
                return;
        uint32_t bucket = due_bucket_of(engine, job);
        pool->due[bucket]++;
        job->due_bucket = bucket + 1;
}

void planning_waits_no_more(struct engine *engine, struct job *job) {
        if (job->due_bucket == 0)
                return;
        struct plan_pool *pool = &engine->pools[engine->classes[job->job_class].pool];
        pool->due[job->due_bucket - 1]--;
        job->due_bucket = 0;
}

/* ---- plans ---- */

static int64_t latency_of(const struct health *health) {
        return health->latency_ns >= 1e6 ? (int64_t)health->latency_ns : PLAN_LATENCY_NS;
}

/* What the limits let through in an hour, of jobs like this one. */
static int64_t hourly_of_place(const struct engine *engine, const struct job *job, uint32_t endpoint) {
        int64_t latency_ns = latency_of(&engine->endpoints[endpoint].health), most = INT64_MAX;
        struct amounts amounts = dispatch_amounts(engine, job, endpoint);
        struct gates gates = engine_gates(engine, job, endpoint);
        for (size_t i = 0; i < GATES_A_CALL; i++) {
                most = min64(most, gate_hourly(gates.items[i], &amounts));
                if (gates.items[i]->concurrency != INT64_MAX)
                        most = min64(most, gates.items[i]->concurrency * (HOUR_NS / latency_ns + 1));
        }
        return most;
}

/*
 * Jobs begun until then; what is counted on in a slice is the difference, so that no part of a job is lost.
 */
static int64_t begun_by(int64_t per_hour, int64_t until_ns) {
        int64_t seconds = until_ns / NS_PER_S, most = INT64_MAX / 100 / (seconds + 1);
        return (min64(per_hour, most) * PLAN_CAPACITY_PERCENT * seconds + 359999) / 360000;
}

static int64_t in_slice(int64_t per_hour, int64_t begin_ns, int64_t end_ns) {
        return per_hour == INT64_MAX ? INT64_MAX : begun_by(per_hour, end_ns) - begun_by(per_hour, begin_ns);
}

/*
 * What a plan orders by: a fallback model comes behind all that the models before it can do, whatever it
 * costs (route.h), and a price that nobody knows behind those that are known.
 */
static int64_t plan_cost(const struct candidate *candidate, bool known, int64_t cost_picousd) {
        int64_t model = candidate->group >> 8, most = INT64_C(1) << 55;
        return model << 56 | (known ? min64(cost_picousd, most - 1) : most);
}

/* A place that is not to be had before a slice ends has no capacity in it. */
static void fill_option(const struct engine *engine, const struct job *job, const struct candidate *candidate,
                        struct plan_option *out_option) {
        const struct endpoint *endpoint = &engine->catalog->endpoints[candidate->endpoint];
        int64_t per_hour = hourly_of_place(engine, job, candidate->endpoint), begin_ns = 0;
        if (candidate->penalties & (PENALTY_SLOW | PENALTY_FAILING))
                per_hour = min64(per_hour / 10, PLAN_UNFIT_HOURLY);
        double seen = engine->endpoints[candidate->endpoint].health.output_tokens;
        int64_t output_tokens = seen >= 1 ? (int64_t)seen : OUTPUT_TOKENS_GUESS;
        for (uint32_t slice = 0; slice < PLAN_SLICES; slice++) {
                int64_t end_ns = plan_slice_end_ns(slice), middle_ns = begin_ns + (end_ns - begin_ns) / 2;
                int64_t at_unix_ms = engine->time.now_unix_ms + (slice > 0 ? middle_ns / NS_PER_MS : 0);
                bool late = candidate->ready_ns - engine->time.now_ns > end_ns;
                int64_t cost_picousd = 0;
                bool known =
                        cost_expected(endpoint, job_demand(job), at_unix_ms, output_tokens, &cost_picousd);
                out_option->capacity[slice] = late ? 0 : in_slice(per_hour, begin_ns, end_ns);
                out_option->cost_picousd[slice] = plan_cost(candidate, known, cost_picousd);
                begin_ns = end_ns;
        }
}

/* Time that must be left when a job is begun, so that it is done by its deadline. */
static int64_t margin_ns(const struct engine *engine, const struct plan_pool *pool) {
        int64_t longest_ns = 0;
        for (uint32_t place = 0; place < pool->set.count; place++) {
                int64_t latency_ns = latency_of(&engine->endpoints[pool->set.endpoints[place]].health);
                longest_ns = latency_ns > longest_ns ? latency_ns : longest_ns;
        }
        return 2 * longest_ns + PLAN_AGE_NS;
}

/* What is due before the first slice ends is left out: it is not planned. */
static void fill_due(const struct engine *engine, const struct plan_pool *pool, struct plan *plan) {
        int64_t first = engine->time.now_ns / PLAN_BUCKET_NS, margin = margin_ns(engine, pool);
        for (int64_t i = 0; i < PLAN_BUCKETS; i++) {
                uint32_t jobs = pool->due[(first + i) % PLAN_BUCKETS], slice;
                int64_t until_ns = (first + i) * PLAN_BUCKET_NS - engine->time.now_ns - margin;
                if (jobs > 0 && plan_due_slice(until_ns, &slice))
                        plan->due[slice] += jobs;
        }
}

static void make_plan(struct engine *engine, struct plan_pool *pool, const struct job *job,
                      const struct route *route) {
        struct plan_option options[ROUTE_CANDIDATES_MAX];
        struct plan plan = {.options = options, .options_count = route->usable};
        struct plan_result result;
        for (uint32_t i = 0; i < route->usable; i++)
                fill_option(engine, job, &route->candidates[i], &options[i]);
        fill_due(engine, pool, &plan);
        plan_make(&plan, &result);
        memset(pool->worth, 0, sizeof(pool->worth));
        for (uint32_t i = 0; i < route->usable; i++)
                pool->worth[route->candidates[i].place] = result.now[i];
        pool->made_ns = engine->time.now_ns;
}

/* Nothing to choose from: one place, whose price does not go by the time. */
static bool has_no_choice(const struct engine *engine, const struct route *route) {
        return route->usable == 0 ||
               (route->usable == 1 &&
                engine->catalog->endpoints[route->candidates[0].endpoint].windows_count == 0);
}

struct plan_pool *planning_pool(struct engine *engine, const struct job *job, const struct route *route) {
        struct plan_pool *pool = pool_of(engine, job);
        uint32_t slice;
        if (!pool || job->due_bucket == 0 || job->pinned || has_no_choice(engine, route) ||
            !plan_due_slice(job->deadline_ns - engine->time.now_ns - PLAN_BUCKET_NS - margin_ns(engine, pool),
                            &slice))
                return NULL;
        if (pool->made_ns == INT64_MIN || engine->time.now_ns - pool->made_ns >= PLAN_AGE_NS)
                make_plan(engine, pool, job, route);
        return pool;
}

bool planning_allows(const struct plan_pool *pool, uint32_t place) {
        return pool->worth[place] > 0;
}

void planning_take(struct engine *engine, const struct job *job, uint32_t place) {
        struct plan_pool *pool = job->due_bucket > 0 ? pool_of(engine, job) : NULL;
        if (pool && pool->worth[place] > 0 && pool->worth[place] != INT64_MAX)
                pool->worth[place]--;
}
