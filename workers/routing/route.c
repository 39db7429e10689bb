/*
 * See the header. route_rank() makes one candidate per place, gives each usable one its score parts, and
 * sorts places by them as one number: there are at most ROUTE_CANDIDATES_MAX, mostly fewer than five. Scores
 * are integers, so that the order is the same on every machine. It is made of plain passes over the places:
 * twenty of them cost as much as the branches that are foretold wrongly, and as what waits for one another.
 */
#include "workers/routing/route.h"

#include "broker/base/check.h"
#include "workers/routing/eligible.h"
#include "workers/routing/limits.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

enum exclusion route_check(const struct catalog *catalog, const struct demand *demand, uint32_t index,
                           int64_t now_unix_ms) {
        CHECK(index < catalog->endpoints_count);
        const struct endpoint *endpoint = &catalog->endpoints[index];
        int64_t unused;
        enum exclusion why = eligible_check(catalog, demand, index);
        if (why != EXCLUSION_NONE)
                return why;
        if (eligible_above_max_price(endpoint, demand, now_unix_ms, demand->input_tokens))
                return EXCLUSION_MAX_PRICE;
        bool priced = !demand->prefs.deny_unknown_price ||
                      cost_expected(endpoint, demand, now_unix_ms, OUTPUT_TOKENS_GUESS, &unused);
        return priced ? EXCLUSION_NONE : EXCLUSION_UNKNOWN_PRICE;
}

/* Candidates. */

struct ranking {
        const struct catalog *catalog;
        const struct demand *demand;
        const struct route_set *set;
        const struct route_state *states;
        const struct route_moment *moment;
        bool writes, bounded; /* bounded: by max_cost_usd */
        int64_t left_picousd; /* of that, then */
        unsigned asked;       /* of these facts of a place, PLACE_PLAIN alone says that its rates hold */
        struct cost_tokens tokens[ROUTE_CANDIDATES_MAX]; /* by place: what is expected there */
        int64_t inputs[ROUTE_CANDIDATES_MAX];            /* the estimate, by what was seen of such there */
        int64_t output_most;                             /* that is expected anywhere */
        uint32_t throughputs, latencies; /* preferred ones that are said, a bit per percentile */
};

/* A measured value as an integer; what is out of range, or no number, counts as not known: 0. */
static int64_t whole(double value) {
        return value > 0 && value < 9e18 ? (int64_t)value : 0;
}

/* Does not round down: a calibrated estimate stays an upper one. */
static int64_t scaled(int64_t tokens, double ratio) {
        double value = (double)tokens * ratio;
        return value < 9e18 ? (int64_t)value + (value > (double)(int64_t)value) : INT64_MAX;
}

/* Endpoints that have not answered get one guess for all, so that they compare. */
static void look_at_outputs(struct ranking *ranking) {
        int64_t most = 0;
        for (uint32_t i = 0; i < ranking->set->count; i++) {
                int64_t seen = whole(ranking->states[i].expected_output_tokens + 0.5);
                ranking->tokens[i].output = seen;
                most = seen > most ? seen : most;
        }
        ranking->output_most = most > 0 ? most : OUTPUT_TOKENS_GUESS;
}

/* By what was seen at each place of estimates, of caches and of answers. */
static void look_at_sizes(struct ranking *ranking) {
        int64_t estimate = ranking->demand->input_tokens;
        look_at_outputs(ranking);
        for (uint32_t i = 0; i < ranking->set->count; i++) {
                const struct route_state *state = &ranking->states[i];
                struct cost_tokens *tokens = &ranking->tokens[i];
                int64_t input = scaled(estimate, state->tokens_ratio > 0 ? state->tokens_ratio : 1);
                int32_t cached_permille = state->cached_permille > 0 ? state->cached_permille : 0;
                ranking->inputs[i] = input;
                tokens->input_most = input > estimate ? input : estimate;
                if (state->input_permille > 0)
                        input = scaled(estimate, (double)state->input_permille / 1000);
                tokens->input = input;
                tokens->cached = scaled(input, (double)cached_permille / 1000);
                if (tokens->output == 0)
                        tokens->output = ranking->output_most;
        }
}

static void look_at_wishes(struct ranking *ranking) {
        const struct routing_prefs *prefs = &ranking->demand->prefs;
        ranking->throughputs = ranking->latencies = 0;
        for (unsigned i = 0; i < PERCENTILES_COUNT; i++) {
                ranking->throughputs |= (uint32_t)(prefs->preferred_min_throughput[i] > 0) << i;
                ranking->latencies |= (uint32_t)(prefs->preferred_max_latency[i] > 0) << i;
        }
}

/* Whether what the set remembers of prices holds of such a job, and where they go by the time, now. */
static void look_at_prices(struct ranking *ranking) {
        const struct demand *demand = ranking->demand;
        const struct route_moment *moment = ranking->moment;
        int64_t from_unix_ms = ranking->set->from_unix_ms, until_unix_ms = ranking->set->until_unix_ms;
        bool text = demand->audio_tokens <= 0 && demand->image_tokens <= 0;
        bool small = demand->output_tokens_max <= COST_TOKENS_MAX && ranking->output_most <= COST_TOKENS_MAX;
        bool now = moment->now_unix_ms >= from_unix_ms && moment->now_unix_ms < until_unix_ms &&
                   (uint64_t)until_unix_ms - (uint64_t)moment->now_unix_ms > (uint64_t)moment->call_ms;
        ranking->asked = text && small ? PLACE_PLAIN | (now ? 0 : PLACE_BY_TIME) : 0;
        ranking->bounded = demand->max_cost_picousd != PICOUSD_MAX;
        ranking->left_picousd = demand->max_cost_picousd - moment->spent_picousd;
}

/* What a candidate's exclusion goes by. */
struct asked {
        int64_t context;
        bool dear;
};

/* Of any price. */
static void ask_endpoint(const struct ranking *ranking, struct candidate *candidate,
                         struct asked *out_asked) {
        const struct demand *demand = ranking->demand;
        const struct cost_tokens *tokens = &ranking->tokens[candidate->place];
        const struct endpoint *endpoint = &ranking->catalog->endpoints[candidate->endpoint];
        unsigned facts = ranking->set->facts[candidate->place];
        int64_t now_unix_ms = ranking->moment->now_unix_ms;
        candidate->cost_known =
                cost_expected_cached_at(endpoint, demand, now_unix_ms, tokens->input, tokens->cached,
                                        tokens->output, &candidate->cost_expected_picousd);
        candidate->ceiling_known =
                candidate->cost_known &&
                cost_ceiling_until(endpoint, demand, now_unix_ms, now_unix_ms + ranking->moment->call_ms,
                                   tokens->input_most, &candidate->cost_ceiling_picousd);
        out_asked->context = endpoint->context;
        out_asked->dear = facts & PLACE_PERHAPS_DEAR ? eligible_above_max_price(endpoint, demand, now_unix_ms,
                                                                                demand->input_tokens)
                                                     : (facts & PLACE_DEAR) != 0;
}

/* What it costs there, by what the set remembers if that reaches so far. */
static void candidate_cost(const struct ranking *ranking, struct candidate *candidate,
                           struct asked *out_asked) {
        uint32_t place = candidate->place;
        const struct cost_rates *rates = &ranking->set->rates[place];
        unsigned facts = ranking->set->facts[place];
        const struct cost_tokens *tokens = &ranking->tokens[place];
        if ((facts & ranking->asked) == PLACE_PLAIN && tokens->input <= rates->input_limit &&
            tokens->input_most <= rates->input_limit) {
                struct cost_bounds cost = cost_plain(rates, ranking->demand->output_tokens_max, tokens);
                candidate->cost_known = true;
                candidate->cost_expected_picousd = cost.expected_picousd;
                candidate->ceiling_known = cost.ceiling_known;
                candidate->cost_ceiling_picousd = cost.ceiling_picousd;
                out_asked->context = rates->context;
                out_asked->dear = (facts & PLACE_DEAR) != 0;
        } else {
                ask_endpoint(ranking, candidate, out_asked);
        }
        if (!candidate->ceiling_known)
                candidate->cost_ceiling_picousd = candidate->cost_expected_picousd;
}

/*
 * Only the input is held against the context, and only where the context holds all of it: estimates are
 * rough, and a list of texts to embed or to rank shares no context.
 */
static bool exceeds_context(const struct ranking *ranking, uint32_t place, int64_t context) {
        return ranking->writes && context > 0 && ranking->inputs[place] > context;
}

static bool exceeds_max_cost(const struct ranking *ranking, const struct candidate *candidate) {
        return ranking->bounded &&
               (!candidate->cost_known || candidate->cost_ceiling_picousd > ranking->left_picousd);
}

/*
 * What may be spent is held against the most that the call may cost; a period that ends is waited for. What
 * has no bound cannot be reserved.
 */
static void check_budgets(const struct ranking *ranking, const struct route_state *state,
                          struct candidate *candidate) {
        const struct route_moment *moment = ranking->moment;
        int64_t ceiling = candidate->cost_ceiling_picousd, expected = candidate->cost_expected_picousd;
        for (int i = 0; i < 2; i++) {
                int64_t when_unix_ms, ready_ns = INT64_MAX;
                const struct ledger *ledger = state->budgets[i];
                if (!ledger || !ledger_bounded(ledger))
                        continue;
                if (!candidate->ceiling_known) {
                        candidate->excluded_by = EXCLUSION_BUDGET_PRICE_UNKNOWN;
                        return;
                }
                switch (ledger_when(ledger, ceiling > expected ? ceiling : expected, &when_unix_ms)) {
                case BUDGET_NOW:
                        continue;
                case BUDGET_SOON:
                        ready_ns = moment->now_ns + BUDGET_LOOK_NS; /* sooner when a call ends */
                        break;
                case BUDGET_LATER:
                        if (__builtin_mul_overflow(when_unix_ms - moment->now_unix_ms, INT64_C(1000000),
                                                   &ready_ns) ||
                            __builtin_add_overflow(ready_ns, moment->now_ns, &ready_ns))
                                ready_ns = INT64_MAX - 1;
                        break;
                case BUDGET_NEVER:
                        break;
                }
                if (ready_ns <= candidate->ready_ns)
                        continue;
                candidate->ready_ns = ready_ns;
                candidate->excluded_by = EXCLUSION_BUDGET_EXCEEDED;
        }
}

static enum exclusion exclusion_of(const struct ranking *ranking, const struct candidate *candidate,
                                   const struct route_state *state, const struct asked *asked) {
        enum exclusion why = (enum exclusion)ranking->set->excluded_by[candidate->place];
        if (why != EXCLUSION_NONE)
                return why;
        if (asked->dear)
                return EXCLUSION_MAX_PRICE;
        if (ranking->demand->prefs.deny_unknown_price && !candidate->cost_known)
                return EXCLUSION_UNKNOWN_PRICE;
        if (ranking->moment->refused >> candidate->place & 1U)
                return EXCLUSION_REFUSED;
        if (exceeds_context(ranking, candidate->place, asked->context))
                return EXCLUSION_CONTEXT_LENGTH;
        if (exceeds_max_cost(ranking, candidate))
                return EXCLUSION_MAX_COST;
        return state->ready_ns == INT64_MAX ? EXCLUSION_AT_LIMIT : state->waiting;
}

static void candidate_init(const struct ranking *ranking, uint32_t place, struct candidate *candidate) {
        const struct route_state *state = &ranking->states[place];
        *candidate = (struct candidate){.endpoint = ranking->set->endpoints[place],
                                        .model = ranking->set->models[place],
                                        .place = (uint8_t)place,
                                        .in_flight = state->in_flight,
                                        .ready_ns = state->ready_ns};
        if (candidate->endpoint == ENDPOINT_GONE) { /* of a record that is decided again */
                candidate->excluded_by = EXCLUSION_WRONG_ENDPOINT;
                return;
        }
        struct asked asked;
        candidate_cost(ranking, candidate, &asked);
        candidate->excluded_by = exclusion_of(ranking, candidate, state, &asked);
        if ((state->budgets[0] || state->budgets[1]) && !exclusion_is_hard(candidate->excluded_by))
                check_budgets(ranking, state, candidate);
}

static bool is_usable(const struct candidate *candidate) {
        return !exclusion_is_hard(candidate->excluded_by) && candidate->ready_ns != INT64_MAX;
}

/* Score parts. */

/* The median of the last minutes where it is known, else the smoothed value. */
static int64_t throughput_milli(const struct route_state *state) {
        return state->throughput_p_milli[0] > 0 ? state->throughput_p_milli[0]
                                                : whole(state->output_tokens_per_s * 1000);
}

static int64_t latency_ns(const struct route_state *state) {
        return state->latency_p_ns[0] > 0 ? state->latency_p_ns[0] : whole(state->latency_ns);
}

static uint32_t wishes_missed(const struct ranking *ranking, const struct route_state *state) {
        const struct routing_prefs *prefs = &ranking->demand->prefs;
        uint32_t missed = 0;
        for (uint32_t said = ranking->throughputs; said != 0; said &= said - 1) {
                int i = __builtin_ctz(said);
                int64_t speed = state->throughput_p_milli[i];
                if (prefs->preferred_min_throughput[i] > speed && speed > 0)
                        missed |= PENALTY_THROUGHPUT;
        }
        for (uint32_t said = ranking->latencies; said != 0; said &= said - 1) {
                int i = __builtin_ctz(said);
                /* no branch: as often so as not */
                missed |= PENALTY_LATENCY *
                          (uint32_t)(state->latency_p_ns[i] > prefs->preferred_max_latency[i]);
        }
        return missed;
}

static uint8_t penalties_of(const struct ranking *ranking, const struct candidate *candidate,
                            const struct route_state *state) {
        const struct routing_prefs *prefs = &ranking->demand->prefs;
        uint32_t penalties = wishes_missed(ranking, state);
        if (ranking->set->facts[candidate->place] & PLACE_LACKS_SUPPORT)
                penalties |= PENALTY_PARAMETERS;
        if (state->slow)
                penalties |= PENALTY_SLOW;
        if (state->success_permille >= 0 && state->success_permille < SUCCESS_PERMILLE_MIN)
                penalties |= PENALTY_FAILING;
        if (!candidate->cost_known && (prefs->sort == SORT_PRICE || prefs->sort == SORT_BALANCED))
                penalties |= PENALTY_UNKNOWN_PRICE;
        return (uint8_t)penalties;
}

/* The best of each among the usable; 0 (for cost: -1) when nobody knows it. */
struct best {
        int64_t cost_picousd, throughput_milli, latency_ns, quality;
};

static struct best best_of(const struct ranking *ranking, const struct candidate *candidates,
                           const uint8_t *usable, uint32_t count) {
        struct best best = {-1, 0, 0, 0};
        for (uint32_t i = 0; i < count; i++) {
                const struct candidate *candidate = &candidates[usable[i]];
                const struct route_state *state = &ranking->states[candidate->place];
                int64_t cost = candidate->cost_expected_picousd, latency = latency_ns(state);
                int64_t speed = throughput_milli(state);
                int64_t quality = ranking->catalog->endpoints[candidate->endpoint].quality;
                if (candidate->cost_known && (best.cost_picousd < 0 || cost < best.cost_picousd))
                        best.cost_picousd = cost;
                if (latency > 0 && (best.latency_ns == 0 || latency < best.latency_ns))
                        best.latency_ns = latency;
                best.throughput_milli = speed > best.throughput_milli ? speed : best.throughput_milli;
                best.quality = quality > best.quality ? quality : best.quality;
        }
        return best;
}

/* part / all in thousandths, rounded down; 0 <= part <= all, and all of nothing is all. */
static int64_t permille(int64_t part, int64_t all) {
        if (all == 0)
                return 1000;
        return part <= INT64_MAX / 1000 ? part * 1000 / all : (int64_t)((wide)part * 1000 / (wide)all);
}

/* 0 to 100,000, more is better: thousandths of the best, weighted. */
static int64_t balance(const struct ranking *ranking, const struct candidate *candidate,
                       const struct best *best) {
        const struct route_state *state = &ranking->states[candidate->place];
        int64_t quality = ranking->catalog->endpoints[candidate->endpoint].quality;
        int64_t speed = throughput_milli(state), latency = latency_ns(state), score = 0;
        if (candidate->cost_known)
                score += BALANCE_PRICE * permille(best->cost_picousd, candidate->cost_expected_picousd);
        score += BALANCE_QUALITY * (quality >= 0 ? permille(quality, best->quality) : BALANCE_UNKNOWN);
        score += BALANCE_THROUGHPUT * (speed > 0 ? permille(speed, best->throughput_milli) : BALANCE_UNKNOWN);
        score += BALANCE_LATENCY * (latency > 0 ? permille(best->latency_ns, latency) : BALANCE_UNKNOWN);
        return score;
}

static void candidate_measure(const struct ranking *ranking, const struct best *best,
                              struct candidate *candidate) {
        const struct route_state *state = &ranking->states[candidate->place];
        int64_t value;
        switch (ranking->demand->prefs.sort) {
        case SORT_PRICE:
                candidate->measure_known = candidate->cost_known;
                candidate->measure = candidate->cost_expected_picousd;
                return;
        case SORT_THROUGHPUT:
                value = throughput_milli(state);
                candidate->measure_known = value > 0;
                candidate->measure = -value;
                return;
        case SORT_LATENCY:
                candidate->measure = latency_ns(state);
                candidate->measure_known = candidate->measure > 0;
                return;
        case SORT_QUALITY:
                value = ranking->catalog->endpoints[candidate->endpoint].quality;
                candidate->measure_known = value >= 0;
                candidate->measure = value >= 0 ? -value : 0;
                return;
        case SORT_BALANCED:
                candidate->measure_known = true;
                candidate->measure = -balance(ranking, candidate, best);
                return;
        }
}

static void candidates_score(const struct ranking *ranking, struct candidate *candidates,
                             const uint8_t *usable, uint32_t count) {
        const struct routing_prefs *prefs = &ranking->demand->prefs;
        struct best best = {-1, 0, 0, 0};
        if (prefs->sort == SORT_BALANCED)
                best = best_of(ranking, candidates, usable, count);
        for (uint32_t i = 0; i < count; i++) {
                struct candidate *candidate = &candidates[usable[i]];
                uint32_t model = prefs->sort_across_models ? 0 : candidate->model;
                candidate->group = (uint16_t)(model << 8 | ranking->set->orders[candidate->place]);
                candidate->penalties = penalties_of(ranking, candidate, &ranking->states[candidate->place]);
                candidate_measure(ranking, &best, candidate);
        }
}

/* Order. */

static uint64_t mixed(uint64_t seed, uint32_t endpoint) {
        uint64_t z = seed + (uint64_t)endpoint * UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

/*
 * What decides nearly always, as one number: group, penalties, whether there is a measure, and the measure as
 * far as it fits; below that the place. Keys that differ in no more than the place are a draw, which
 * comes_before() decides.
 */
enum { KEY_PLACE_BITS = 5, KEY_MEASURE_BITS = 44, KEY_ORDER_BITS = 5, KEY_PENALTY_BITS = 6 };

_Static_assert(ROUTE_CANDIDATES_MAX == 1 << KEY_PLACE_BITS, "a place is its last part");
_Static_assert(PREFS_NAMES_MAX < 1 << KEY_ORDER_BITS, "a place in `order` fits");
_Static_assert(2 * PENALTY_UNKNOWN_PRICE == 1 << KEY_PENALTY_BITS, "penalties fit");
_Static_assert(KEY_PLACE_BITS + KEY_MEASURE_BITS + 1 + KEY_PENALTY_BITS + KEY_ORDER_BITS + 3 == 64 &&
                       DEMAND_MODELS_MAX <= 1 << 3,
               "and all of it together");

static uint64_t key_of(const struct candidate *candidate) {
        const int64_t most = (INT64_C(1) << (KEY_MEASURE_BITS - 1)) - 1;
        uint64_t key = candidate->group >> 8;
        int64_t measure = candidate->measure < most ? candidate->measure : most;
        measure = measure > -most ? measure : -most;
        key = key << KEY_ORDER_BITS | (candidate->group & 0xff);
        key = key << KEY_PENALTY_BITS | candidate->penalties;
        key = key << 1 | !candidate->measure_known;
        key = key << KEY_MEASURE_BITS | (uint64_t)(measure + most);
        return key << KEY_PLACE_BITS | candidate->place;
}

static uint32_t place_of(uint64_t key) {
        return key & (ROUTE_CANDIDATES_MAX - 1);
}

static bool is_draw(uint64_t a, uint64_t b) {
        return (a ^ b) >> KEY_PLACE_BITS == 0;
}

/* Of two in a draw. */
static bool comes_before(const struct ranking *ranking, const struct candidate *a,
                         const struct candidate *b) {
        if (a->measure != b->measure)
                return a->measure < b->measure;
        if (a->cost_known != b->cost_known)
                return a->cost_known;
        if (!a->cost_known)
                return false; /* stays in the order of the configuration */
        if (a->cost_expected_picousd != b->cost_expected_picousd)
                return a->cost_expected_picousd < b->cost_expected_picousd;
        if (a->model != b->model)
                return a->model < b->model;
        if (a->in_flight != b->in_flight)
                return a->in_flight < b->in_flight;
        uint64_t seed = ranking->moment->seed;
        return mixed(seed, catalog_listed(ranking->catalog, a->endpoint)) <
               mixed(seed, catalog_listed(ranking->catalog, b->endpoint));
}

/* By counting who stands before each: keys are all different, and nobody can foretell how two compare. */
static void sort_keys(const uint64_t *keys, uint32_t count, uint64_t *out_sorted) {
        for (uint32_t i = 0; i < count; i++) {
                uint32_t before = 0;
                for (uint32_t j = 0; j < count; j += 4) /* behind them are more that are behind all */
                        before += (uint32_t)(keys[j] < keys[i]) + (uint32_t)(keys[j + 1] < keys[i]) +
                                  (uint32_t)(keys[j + 2] < keys[i]) + (uint32_t)(keys[j + 3] < keys[i]);
                out_sorted[before] = keys[i];
        }
}

/* Moves the one at `at` before those of its draw that it comes before; they are in order. */
static void settle_draws(const struct ranking *ranking, const struct candidate *candidates, uint64_t *sorted,
                         uint32_t at) {
        uint64_t key = sorted[at];
        for (; at > 0 && is_draw(key, sorted[at - 1]) &&
               comes_before(ranking, &candidates[place_of(key)], &candidates[place_of(sorted[at - 1])]);
             at--)
                sorted[at] = sorted[at - 1];
        sorted[at] = key;
}

/* Puts the places of the usable ones in order, best first. */
static void sort(const struct ranking *ranking, const struct candidate *candidates, uint8_t *usable,
                 uint32_t count) {
        uint64_t keys[ROUTE_CANDIDATES_MAX + 3], sorted[ROUTE_CANDIDATES_MAX];
        for (uint32_t i = 0; i < count; i++)
                keys[i] = key_of(&candidates[usable[i]]);
        keys[count] = keys[count + 1] = keys[count + 2] = UINT64_MAX;
        sort_keys(keys, count, sorted);
        for (uint32_t i = 1; i < count; i++)
                if (is_draw(sorted[i - 1], sorted[i]))
                        settle_draws(ranking, candidates, sorted, i);
        for (uint32_t i = 0; i < count; i++)
                usable[i] = (uint8_t)place_of(sorted[i]);
}

/* The inverse square of the price, the cheapest having 2^32. */
static uint64_t weight_of(int64_t cheapest_picousd, int64_t cost_picousd) {
        if (cost_picousd == cheapest_picousd)
                return UINT64_C(1) << 32;
        uint64_t share = cheapest_picousd >> 47 == 0
                                 ? ((uint64_t)cheapest_picousd << 16) / (uint64_t)cost_picousd
                                 : (uint64_t)(((wide)cheapest_picousd << 16) / (wide)cost_picousd);
        return share * share;
}

/* How many of the first ones share the load: the cheapest, and who costs little more. */
static uint32_t mark_sharers(const struct ranking *ranking, struct route *route) {
        const struct routing_prefs *prefs = &ranking->demand->prefs;
        const struct candidate *first = &route->candidates[0];
        uint32_t count = 0;
        if (prefs->sort != SORT_PRICE || prefs->spread_ppm <= 0 || prefs->order.count > 0 ||
            !first->cost_known)
                return 0;
        int64_t most = money_add(first->cost_expected_picousd,
                                 money_per_million(first->cost_expected_picousd, prefs->spread_ppm));
        for (; count < route->usable; count++) {
                struct candidate *candidate = &route->candidates[count];
                if (candidate->group != first->group || candidate->penalties != first->penalties ||
                    candidate->cost_expected_picousd > most)
                        break;
                candidate->shares = true;
        }
        return count;
}

/* Draws one of the first `count`, with the inverse square of the price as weight. */
static uint32_t draw(const struct route *route, uint32_t count, uint64_t seed) {
        uint64_t weights[ROUTE_CANDIDATES_MAX], sum = 0;
        int64_t cheapest_picousd = route->candidates[0].cost_expected_picousd;
        for (uint32_t i = 0; i < count; i++) {
                weights[i] = weight_of(cheapest_picousd, route->candidates[i].cost_expected_picousd);
                sum += weights[i];
        }
        uint64_t at = (uint64_t)(((wide)mixed(seed, UINT32_MAX) * sum) >> 64);
        uint32_t drawn = 0;
        while (drawn + 1 < count && at >= weights[drawn])
                at -= weights[drawn++];
        return drawn;
}

static void spread(const struct ranking *ranking, struct route *route) {
        uint32_t count = route->usable > 0 ? mark_sharers(ranking, route) : 0;
        if (count < 2)
                return;
        uint32_t drawn = draw(route, count, ranking->moment->seed);
        struct candidate first = route->candidates[drawn];
        memmove(&route->candidates[1], &route->candidates[0], drawn * sizeof first);
        route->candidates[0] = first;
}

/*
 * Without fallbacks and without an order, only the best place may ever be asked: none is left when that one
 * refused.
 */
static void drop_fallbacks(struct route *route, uint32_t refused) {
        uint32_t stay = refused ? 0 : 1;
        for (uint32_t i = stay; i < route->usable; i++)
                route->candidates[i].excluded_by = EXCLUSION_FALLBACKS_OFF;
        if (route->usable > stay)
                route->usable = stay;
}

void route_rank(const struct catalog *catalog, const struct demand *demand, const struct route_set *set,
                const struct route_state *states, const struct route_moment *moment,
                struct route *out_route) {
        CHECK(set->count <= ROUTE_CANDIDATES_MAX && moment->spent_picousd >= 0 && demand->input_tokens >= 0);
        struct ranking ranking;
        ranking.catalog = catalog;
        ranking.demand = demand;
        ranking.set = set;
        ranking.states = states;
        ranking.moment = moment;
        ranking.writes = kind_writes(demand->kind);
        look_at_sizes(&ranking);
        look_at_prices(&ranking);
        look_at_wishes(&ranking);
        struct candidate candidates[ROUTE_CANDIDATES_MAX]; /* by place */
        uint8_t usable[ROUTE_CANDIDATES_MAX], excluded[ROUTE_CANDIDATES_MAX];
        uint32_t usable_count = 0, excluded_count = 0;
        for (uint32_t place = 0; place < set->count; place++) {
                candidate_init(&ranking, place, &candidates[place]);
                if (is_usable(&candidates[place]))
                        usable[usable_count++] = (uint8_t)place;
                else
                        excluded[excluded_count++] = (uint8_t)place;
        }
        candidates_score(&ranking, candidates, usable, usable_count);
        sort(&ranking, candidates, usable, usable_count);
        for (uint32_t i = 0; i < usable_count; i++)
                out_route->candidates[i] = candidates[usable[i]];
        for (uint32_t i = 0; i < excluded_count; i++)
                out_route->candidates[usable_count + i] = candidates[excluded[i]];
        out_route->usable = usable_count;
        out_route->count = set->count;
        out_route->truncated = set->truncated;
        spread(&ranking, out_route);
        if (!demand->prefs.allow_fallbacks && demand->prefs.order.count == 0)
                drop_fallbacks(out_route, moment->refused);
}
