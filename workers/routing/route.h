#pragma once
/*
 * The decision: catalog x demand x live state -> candidates, ranked, each with its cost or with what
 * excluded it. Pure and deterministic: the same arguments give the same answer; ties are broken by `seed`.
 *
 * Filters first (the rules of eligible.h; then what the job was refused, the context, its ceiling of cost,
 * limits). The rest is ordered by, each deciding where those before are equal:
 *   1. group: the model (a fallback model stands behind all endpoints of the models before it, unless sorting
 *      goes across models), then the place in the job's `order`;
 *   2. penalties, as a number: a price that is not known when sorting goes by it, failing, slow, parameters,
 *      throughput, latency. A penalty moves behind, never out;
 *   3. measure: what `sort` names, lower first. price: expected cost of this very job. throughput: minus the
 *      median, in thousandths of a token per second. latency: the median, in ns. quality: minus the catalog's
 *      mark. balanced: minus the sum of 50 x price + 20 x quality + 20 x throughput + 10 x latency, each in
 *      thousandths of the best usable endpoint's (1000 for the best one itself, 500 where it is not known).
 *      Who has no measure comes behind who has one;
 *   4. expected cost; endpoints whose cost is not known stay in the order of the configuration;
 *   5. model, calls in flight, and a hash of `seed` and the endpoint.
 *
 * With a `spread`, sorting by price and without an `order`, one of the first endpoints is then drawn to the
 * front: of those of the cheapest one's group and penalties that cost at most so much more, each with the
 * inverse square of its cost as weight, by `seed`. A draw moves nothing else, so the cheapest comes next.
 *
 * A place is an index in the route set: an endpoint with the model it is to be asked for. An endpoint that
 * serves every model ("*") has a place for each of the demand's models, so that a fallback model works
 * there too; any other endpoint has one place.
 */
#include "workers/routing/budget.h"
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
        const struct ledger *budgets[2]; /* of the workspace, of the provider, rolled to this moment; NULL */
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
        int64_t now_unix_ms;   /* prices may go by the time, and budgets do */
        int64_t now_ns;        /* the same moment, for ready_ns */
        int64_t spent_picousd; /* what earlier attempts of the job may have cost, taken off its ceiling */
        uint64_t seed;
        uint32_t refused; /* bit per place: endpoints that refused this very job */
        int64_t call_ms;  /* the longest that a call takes: the dearest price until then bounds it */
};

/* What moves a candidate behind its peers. The heavier one counts more than all lighter ones together. */
enum penalty {
        PENALTY_LATENCY = 1,    /* misses preferred_max_latency */
        PENALTY_THROUGHPUT = 2, /* misses preferred_min_throughput */
        /* is known not to support tools, response_format or verbosity of the request */
        PENALTY_PARAMETERS = 4,
        PENALTY_SLOW = 8,          /* grey failure: route_state.slow */
        PENALTY_FAILING = 16,      /* fewer than SUCCESS_PERMILLE_MIN of its calls succeed */
        PENALTY_UNKNOWN_PRICE = 32 /* where price is sorted by */
};

struct candidate {
        uint32_t endpoint;
        uint8_t model; /* index in demand->models */
        uint8_t place; /* in the set: what `states` and `refused` are indexed by */
        bool cost_known;
        bool ceiling_known; /* when not, but cost_known: the ceiling is set to what is expected */
        enum exclusion excluded_by;
        int64_t cost_expected_picousd, cost_ceiling_picousd; /* when cost_known, else 0 */
        int64_t ready_ns;
        /* What it was sorted by; all 0 when it was excluded. */
        uint16_t group;     /* 256 x model (0 when sorting goes across models), plus the place in `order` */
        uint8_t penalties;  /* set of enum penalty */
        bool measure_known; /* when not, measure is 0 */
        bool shares;        /* costs little enough to take part in the spread */
        int64_t measure;
        int64_t in_flight;
};

struct route {
        /* Usable ones first, best first; then the excluded. */
        struct candidate candidates[ROUTE_CANDIDATES_MAX];
        uint32_t count, usable;
        bool truncated;
};

/* What holds of a place for all jobs of a class: a set of these. */
enum place_facts {
        /* cost_rates_at(): `rates` is what it asks, and PLACE_DEAR holds, as far as these reach */
        PLACE_PLAIN = 1,
        PLACE_DEAR = 2, /* its price is above max_price */
        /* that goes by the time or by the length of the input: to be asked where the rates do not reach */
        PLACE_PERHAPS_DEAR = 4,
        PLACE_LACKS_SUPPORT = 8, /* known not to support what the request softly needs */
        /* its price goes by the time: what is remembered of it is of the set's time */
        PLACE_BY_TIME = 16,
};

/*
 * Endpoints that serve one of the demand's models for its kind, in catalog order: found once per class of
 * jobs, then reused. When there are more than fit, those that the rules allow stay, of these those for the
 * first models, of these those with the closest names; and `truncated` is set.
 */
struct route_set {
        uint32_t endpoints[ROUTE_CANDIDATES_MAX];
        uint8_t models[ROUTE_CANDIDATES_MAX];
        /*
         * What the class's rules say of each place, and what is asked there, so that a decision compares
         * neither names nor sets and visits no endpoint: it holds as long as the catalog does, and nothing of
         * it goes by size, nor by time but for PLACE_BY_TIME. By route_set_rules().
         */
        uint8_t excluded_by[ROUTE_CANDIDATES_MAX]; /* enum exclusion */
        uint8_t orders[ROUTE_CANDIDATES_MAX];      /* place in `order` */
        uint8_t facts[ROUTE_CANDIDATES_MAX];       /* enum place_facts */
        uint32_t count;
        bool truncated;
        /* What goes by the time is that of from <= time < until; by route_set_prices(). 0 and 0: of none */
        int64_t from_unix_ms, until_unix_ms;
        struct cost_rates rates[ROUTE_CANDIDATES_MAX]; /* where PLACE_PLAIN */
};

/* The set that holds one place of another only. */
void route_set_one(const struct route_set *set, uint32_t place, struct route_set *out_set);

/*
 * A model matches by its exact name; as `author/model` also an endpoint whose model is the part behind the
 * slash; and "*" is served by every name, unless another endpoint of the same provider has that model by
 * name. The first model that matches counts.
 */
void route_match(const struct catalog *catalog, const struct demand *demand, struct route_set *out_set);

/*
 * The set that was matched for the demand in the catalog before, which this one follows with the same
 * indexes: places keep their numbers, those that are gone are excluded, and new ones come behind while there
 * is room.
 */
void route_match_again(const struct catalog *catalog, const struct demand *demand, struct route_set *set);

/*
 * What the demand's rules say of a place of the set; when the catalog is another one, they are to be asked
 * anew.
 */
void route_set_rules(const struct catalog *catalog, const struct demand *demand, struct route_set *set,
                     uint32_t place);

/*
 * Remembers what is asked at that moment where prices go by the time, until the first of them may change. A
 * decision at a time for which nothing is remembered comes to the same, but takes longer.
 */
void route_set_prices(const struct catalog *catalog, const struct demand *demand, struct route_set *set,
                      int64_t now_unix_ms);

/*
 * `set` was matched for a demand with the same kind, models, modalities, parameters and prefs. `states` is
 * indexed by place in it. A usable candidate may have ready_ns in the future (then excluded_by tells why it
 * must wait: PAUSED, BREAKER or AT_LIMIT, though it still counts as usable); one whose ready_ns is INT64_MAX
 * is excluded as AT_LIMIT. Only out_route->candidates[0 .. count) are written.
 *
 * allow_fallbacks = false keeps the endpoints in `order` or, without one, the first only; once an endpoint
 * has refused the job there is then no other.
 */
void route_rank(const struct catalog *catalog, const struct demand *demand, const struct route_set *set,
                const struct route_state *states, const struct route_moment *moment, struct route *out_route);

/*
 * Whether a demand's rules let it go to this endpoint at all; EXCLUSION_NONE when they do. Checked again
 * before every attempt. Rules: kind, only, ignore, regions, zdr, training, quantizations, modalities,
 * require_parameters, order without fallbacks, max_price, unknown_price. What is not known (a data policy, a
 * price that has a ceiling, parameters) does not pass, but for modalities that nobody stated. What depends on
 * the state of the endpoint or on earlier attempts (context, max_cost, refusals) is route_rank()'s.
 */
enum exclusion route_check(const struct catalog *catalog, const struct demand *demand, uint32_t index,
                           int64_t now_unix_ms);

/*
 * What a rule on prices says of one job there need not hold for others of its class: where the price goes by
 * the length of the input.
 */
static inline bool route_goes_by_size(const struct endpoint *endpoint, enum exclusion why) {
        return endpoint->tiers_count > 0 && (why == EXCLUSION_MAX_PRICE || why == EXCLUSION_UNKNOWN_PRICE);
}
