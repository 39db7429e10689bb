#pragma once
/*
 * The decision: catalog x demand x live state -> candidates, ranked, each with its cost or with what
 * excluded it. Pure and deterministic: the same arguments give the same answer; ties are broken by `seed`.
 *
 * Filters first (kind, rules, price ceiling), then order: by model preference (a fallback model stands
 * behind all endpoints of the models before it), then the job's `order`, then those that are not slow, then
 * `sort` (price: expected cost
 * of this very job; endpoints whose price is unknown come last, in the order of the configuration), then
 * fewer calls in flight, then a hash of `seed` and the endpoint.
 *
 * A place is an index in the route set: an endpoint with the model it is to be asked for. An endpoint that
 * serves every model ("*") has a place for each of the demand's models, so that a fallback model works
 * there too; any other endpoint has one place.
 */
#include "workers/routing/catalog.h"
#include "workers/routing/cost.h"
#include "workers/routing/demand.h"

enum { ROUTE_CANDIDATES_MAX = 32 };

/* What the caller knows about an endpoint at this moment. */
struct route_state {
        /* When it could take this job: <= now means now; INT64_MAX: never (too large for its limit). */
        int64_t ready_ns;
        enum exclusion waiting;        /* why not now: PAUSED, BREAKER, AT_LIMIT; NONE when ready */
        double expected_output_tokens; /* per answer; 0: not known */
        double tokens_ratio;           /* calibration of input_tokens; 1 at the start */
        /* The same for what is expected, and how much of that is cached input; thousandths; 0: not known */
        int32_t input_permille, cached_permille;
        double latency_ns, output_tokens_per_s; /* 0: not known */
        int64_t in_flight;
        /*
         * p50, p75, p90, p99 of the last five minutes; 0: not known. What so many percent of the calls stay
         * below, resp. reach in thousandths of a token per second.
         */
        int64_t latency_p_ns[PERCENTILES_COUNT], throughput_p_milli[PERCENTILES_COUNT];
        int32_t success_permille; /* of calls that speak about the provider; -1: not known */
        bool slow;                /* answers, but far slower than it used to and than its peers */
};

/* What a decision stands on besides catalog, job and endpoints. */
struct route_moment {
        int64_t now_unix_ms;   /* prices may go by the time */
        int64_t spent_picousd; /* what earlier attempts of the job may have cost, taken off its ceiling */
        uint64_t seed;
        uint32_t refused; /* bit per place: endpoints that refused this very job */
};

struct candidate {
        uint32_t endpoint;
        uint8_t model; /* index in demand->models */
        uint8_t place; /* in the set: what `states` and `refused` are indexed by */
        bool cost_known;
        bool slow;          /* stands behind the others for it */
        bool ceiling_known; /* when not, but cost_known: the ceiling is set to what is expected */
        enum exclusion excluded_by;
        int64_t cost_expected_picousd, cost_ceiling_picousd; /* when cost_known, else 0 */
        int64_t ready_ns;
};

struct route {
        /* Usable ones first, best first; then the excluded. */
        struct candidate candidates[ROUTE_CANDIDATES_MAX];
        uint32_t count, usable;
        bool truncated;
};

/*
 * Endpoints that serve one of the demand's models for its kind, in catalog order: found once per class of
 * jobs, then reused. When there are more than fit, those for the first models and with the closest names
 * stay, and `truncated` is set.
 */
struct route_set {
        uint32_t endpoints[ROUTE_CANDIDATES_MAX];
        uint8_t models[ROUTE_CANDIDATES_MAX];
        uint32_t count;
        bool truncated;
};

/*
 * A model matches by its exact name; as `author/model` also an endpoint whose model is the part behind the
 * slash; and "*" is served by every name, unless another endpoint of the same provider has that model by
 * name. The first model that matches counts.
 */
void route_match(const struct catalog *catalog, const struct demand *demand, struct route_set *out_set);

/*
 * `states` is indexed by place in the set. A usable candidate may have ready_ns in the future (then
 * excluded_by tells why it must wait: PAUSED, BREAKER or AT_LIMIT, though it still counts as usable); one
 * whose ready_ns is INT64_MAX is excluded as AT_LIMIT. Only out_route->candidates[0 .. count) are written.
 *
 * allow_fallbacks = false keeps the endpoints in `order` or, without one, the first only; once an endpoint
 * has refused the job there is then no other.
 */
void route_rank(const struct catalog *catalog, const struct demand *demand, const struct route_set *set,
                const struct route_state *states, const struct route_moment *moment, struct route *out_route);

/*
 * Whether a demand's rules let it go to this endpoint at all; EXCLUSION_NONE when they do. Checked again
 * before every attempt. Rules: kind, only, ignore, order without fallbacks, regions, zdr, training,
 * quantizations, max_price. What is not known (a data policy, a price that has a ceiling) does not pass.
 */
enum exclusion route_check(const struct catalog *catalog, const struct demand *demand, uint32_t index,
                           int64_t now_unix_ms);
