/*
 * See the header. route_rank() makes one candidate per place, gives each usable one its score parts, and
 * sorts places by insertion: there are at most ROUTE_CANDIDATES_MAX, mostly fewer than five. Scores are
 * integers, so that the order is the same on every machine.
 */
#include "workers/routing/route.h"

#include "broker/base/check.h"
#include "workers/routing/eligible.h"
#include "workers/routing/limits.h"

#include <string.h>

_Static_assert(ROUTE_CANDIDATES_MAX <= 32, "`refused` has a bit per place");
__extension__ typedef unsigned __int128 wide;

_Static_assert(DEMAND_MODELS_MAX <= UINT8_MAX && ROUTE_CANDIDATES_MAX <= UINT8_MAX, "held in uint8_t");

/* Which endpoints serve it. */

enum match { MATCH_EXACT, MATCH_BEHIND_SLASH, MATCH_ANY, MATCH_NONE };

/* A model that a job names, and the part behind the first slash; that is empty where there is none. */
struct wanted {
        struct bytes name, behind;
};

static struct wanted wanted_of(struct bytes name) {
        struct wanted wanted = {.name = name};
        const char *slash = name.size > 0 ? memchr(name.data, '/', name.size) : NULL;
        if (slash)
                wanted.behind = (struct bytes){slash + 1, name.size - (size_t)(slash - name.data) - 1};
        return wanted;
}

/* Names of one length differ at their ends, mostly. */
static bool same_name(struct bytes a, struct bytes b) {
        if (a.size != b.size || a.size == 0)
                return a.size == b.size;
        return a.data[a.size - 1] == b.data[b.size - 1] && memcmp(a.data, b.data, a.size) == 0;
}

/* How well a name fits an endpoint that names its model. */
static enum match match_by_name(struct bytes model, const struct wanted *wanted) {
        if (same_name(model, wanted->name))
                return MATCH_EXACT;
        return wanted->behind.size > 0 && same_name(model, wanted->behind) ? MATCH_BEHIND_SLASH : MATCH_NONE;
}

static bool serves_kind(const struct endpoint *endpoint, enum kind kind) {
        return endpoint->kinds >> (unsigned)kind & 1U;
}

static bool serves_all(const struct endpoint *endpoint) {
        return endpoint->model[0] == '*' && endpoint->model[1] == '\0';
}

static bool provider_names_model(const struct catalog *catalog, uint32_t provider, enum kind kind,
                                 const struct wanted *wanted) {
        for (uint32_t i = 0; i < catalog->endpoints_count; i++) {
                const struct endpoint *endpoint = &catalog->endpoints[i];
                if (endpoint->provider == provider && serves_kind(endpoint, kind) && !serves_all(endpoint) &&
                    match_by_name(bytes_of(endpoint->model), wanted) != MATCH_NONE)
                        return true;
        }
        return false;
}

struct matching {
        struct route_set *set;
        struct wanted wanted[DEMAND_MODELS_MAX];
        uint32_t ranks[ROUTE_CANDIDATES_MAX]; /* rules, model and closeness of each place; lower is better */
};

/* The last of the worst places makes room. */
static void drop_worst(struct matching *matching) {
        struct route_set *set = matching->set;
        uint32_t worst = 0;
        for (uint32_t i = 1; i < set->count; i++)
                if (matching->ranks[i] >= matching->ranks[worst])
                        worst = i;
        for (uint32_t i = worst + 1; i < set->count; i++) {
                set->endpoints[i - 1] = set->endpoints[i];
                set->models[i - 1] = set->models[i];
                matching->ranks[i - 1] = matching->ranks[i];
        }
        set->count--;
}

static uint32_t worst_rank(const struct matching *matching) {
        uint32_t worst = 0;
        for (uint32_t i = 0; i < matching->set->count; i++)
                worst = matching->ranks[i] > worst ? matching->ranks[i] : worst;
        return worst;
}

/* Appends, so that catalog order stays; a full set loses a worse place when there is one. */
static void matching_add(struct matching *matching, uint32_t endpoint, uint32_t model, enum match match,
                         enum exclusion why) {
        struct route_set *set = matching->set;
        uint32_t behind = why == EXCLUSION_NONE ? 0 : DEMAND_MODELS_MAX; /* only to be told why not */
        uint32_t rank = (behind + model) * MATCH_NONE + (uint32_t)match;
        if (set->count == ROUTE_CANDIDATES_MAX) {
                set->truncated = true;
                if (worst_rank(matching) <= rank)
                        return;
                drop_worst(matching);
        }
        set->endpoints[set->count] = endpoint;
        set->models[set->count] = (uint8_t)model;
        matching->ranks[set->count++] = rank;
}

static void match_endpoint(struct matching *matching, const struct catalog *catalog,
                           const struct demand *demand, uint32_t index) {
        const struct endpoint *endpoint = &catalog->endpoints[index];
        struct bytes name = bytes_of(endpoint->model);
        bool all = serves_all(endpoint);
        for (uint32_t model = 0; model < demand->models_count; model++) {
                const struct wanted *wanted = &matching->wanted[model];
                enum match match = all ? MATCH_ANY : match_by_name(name, wanted);
                if (match == MATCH_NONE ||
                    (all && provider_names_model(catalog, endpoint->provider, demand->kind, wanted)))
                        continue;
                matching_add(matching, index, model, match, eligible_check(catalog, demand, index));
                if (!all)
                        return;
        }
}

void route_set_rules(const struct catalog *catalog, const struct demand *demand, struct route_set *set,
                     uint32_t place) {
        const struct endpoint *endpoint = &catalog->endpoints[set->endpoints[place]];
        unsigned facts = 0;
        if (cost_is_plain(endpoint, demand))
                facts |= PLACE_PLAIN;
        if (!eligible_price_stays(endpoint, demand))
                facts |= PLACE_PERHAPS_DEAR;
        else if (eligible_above_max_price(endpoint, demand, 0))
                facts |= PLACE_DEAR;
        if (eligible_missed(endpoint, demand) != 0)
                facts |= PLACE_LACKS_SUPPORT;
        set->excluded_by[place] = (uint8_t)eligible_check(catalog, demand, set->endpoints[place]);
        set->orders[place] = (uint8_t)eligible_place(&demand->prefs.order, catalog, endpoint);
        set->facts[place] = (uint8_t)facts;
}

static void set_all_rules(const struct catalog *catalog, const struct demand *demand, struct route_set *set) {
        for (uint32_t place = 0; place < set->count; place++)
                route_set_rules(catalog, demand, set, place);
}

void route_match(const struct catalog *catalog, const struct demand *demand, struct route_set *out_set) {
        CHECK(demand->models_count <= DEMAND_MODELS_MAX);
        memset(out_set, 0, sizeof *out_set);
        struct matching matching = {.set = out_set};
        for (uint32_t model = 0; model < demand->models_count; model++)
                matching.wanted[model] = wanted_of(demand->models[model]);
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                if (serves_kind(&catalog->endpoints[i], demand->kind))
                        match_endpoint(&matching, catalog, demand, i);
        set_all_rules(catalog, demand, out_set);
}

static bool has_place(const struct route_set *set, uint32_t endpoint, uint32_t model) {
        for (uint32_t i = 0; i < set->count; i++)
                if (set->endpoints[i] == endpoint && set->models[i] == model)
                        return true;
        return false;
}

void route_match_again(const struct catalog *catalog, const struct demand *demand, struct route_set *set) {
        struct route_set fresh;
        route_match(catalog, demand, &fresh);
        set->truncated = set->truncated || fresh.truncated;
        for (uint32_t i = 0; i < fresh.count; i++) {
                if (has_place(set, fresh.endpoints[i], fresh.models[i]))
                        continue;
                if (set->count == ROUTE_CANDIDATES_MAX) {
                        set->truncated = true;
                        break;
                }
                set->endpoints[set->count] = fresh.endpoints[i];
                set->models[set->count++] = fresh.models[i];
        }
        set_all_rules(catalog, demand, set);
}

void route_set_one(const struct route_set *set, uint32_t place, struct route_set *out_set) {
        CHECK(place < set->count);
        *out_set = (struct route_set){.count = 1, .truncated = set->truncated};
        out_set->endpoints[0] = set->endpoints[place];
        out_set->models[0] = set->models[place];
        out_set->excluded_by[0] = set->excluded_by[place];
        out_set->orders[0] = set->orders[place];
        out_set->facts[0] = set->facts[place];
}

enum exclusion route_check(const struct catalog *catalog, const struct demand *demand, uint32_t index,
                           int64_t now_unix_ms) {
        CHECK(index < catalog->endpoints_count);
        const struct endpoint *endpoint = &catalog->endpoints[index];
        int64_t unused;
        enum exclusion why = eligible_check(catalog, demand, index);
        if (why != EXCLUSION_NONE)
                return why;
        if (eligible_above_max_price(endpoint, demand, now_unix_ms))
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
        bool writes;
        bool of_text; /* none of the input is said to be sound or pictures */
        const struct endpoint *endpoints[ROUTE_CANDIDATES_MAX]; /* NULL: gone */
        int64_t outputs[ROUTE_CANDIDATES_MAX]; /* tokens of an answer, by what was seen at the place; or 0 */
        int64_t output_guess; /* for endpoints that have not answered: one for all, so that they compare */
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

/* Endpoints lie far apart: they are on their way while the first ones are looked at. */
static void look_at_endpoints(struct ranking *ranking) {
        for (uint32_t i = 0; i < ranking->set->count; i++) {
                uint32_t index = ranking->set->endpoints[i];
                const struct endpoint *endpoint = NULL;
                if (index != ENDPOINT_GONE) { /* of a record that is decided again */
                        endpoint = &ranking->catalog->endpoints[index];
                        __builtin_prefetch(&endpoint->price);
                }
                ranking->endpoints[i] = endpoint;
        }
}

static void look_at_outputs(struct ranking *ranking) {
        int64_t guess = 0;
        for (uint32_t i = 0; i < ranking->set->count; i++) {
                int64_t seen = whole(ranking->states[i].expected_output_tokens + 0.5);
                ranking->outputs[i] = seen;
                guess = seen > guess ? seen : guess;
        }
        ranking->output_guess = guess > 0 ? guess : OUTPUT_TOKENS_GUESS;
}

static void look_at_wishes(struct ranking *ranking) {
        const struct routing_prefs *prefs = &ranking->demand->prefs;
        ranking->throughputs = ranking->latencies = 0;
        for (unsigned i = 0; i < PERCENTILES_COUNT; i++) {
                ranking->throughputs |= (uint32_t)(prefs->preferred_min_throughput[i] > 0) << i;
                ranking->latencies |= (uint32_t)(prefs->preferred_max_latency[i] > 0) << i;
        }
}

/* By what was seen of the estimates there. */
static int64_t calibrated_input(const struct demand *demand, const struct route_state *state) {
        double ratio = state->tokens_ratio > 0 ? state->tokens_ratio : 1;
        return scaled(demand->input_tokens, ratio);
}

/* Of any price. */
static void look_up_cost(const struct ranking *ranking, const struct endpoint *endpoint,
                         const struct cost_tokens *tokens, struct candidate *candidate) {
        const struct demand *demand = ranking->demand;
        int64_t now_unix_ms = ranking->moment->now_unix_ms;
        candidate->cost_known =
                cost_expected_cached_at(endpoint, demand, now_unix_ms, tokens->input, tokens->cached,
                                        tokens->output, &candidate->cost_expected_picousd);
        candidate->ceiling_known =
                candidate->cost_known &&
                cost_ceiling_until(endpoint, demand, now_unix_ms, now_unix_ms + ranking->moment->call_ms,
                                   tokens->input_most, &candidate->cost_ceiling_picousd);
}

static void candidate_cost(const struct ranking *ranking, const struct endpoint *endpoint,
                           const struct route_state *state, int64_t input_tokens,
                           struct candidate *candidate) {
        int64_t estimate = ranking->demand->input_tokens, seen = ranking->outputs[candidate->place];
        struct cost_tokens tokens = {.input = input_tokens,
                                     .output = seen > 0 ? seen : ranking->output_guess,
                                     .input_most = input_tokens > estimate ? input_tokens : estimate};
        if (state->input_permille > 0)
                tokens.input = scaled(estimate, (double)state->input_permille / 1000);
        if (state->cached_permille > 0)
                tokens.cached = scaled(tokens.input, (double)state->cached_permille / 1000);
        if (ranking->of_text && (ranking->set->facts[candidate->place] & PLACE_PLAIN)) {
                struct cost_bounds cost = cost_plain(endpoint, ranking->demand, &tokens);
                candidate->cost_known = true;
                candidate->cost_expected_picousd = cost.expected_picousd;
                candidate->ceiling_known = cost.ceiling_known;
                candidate->cost_ceiling_picousd = cost.ceiling_picousd;
        } else {
                look_up_cost(ranking, endpoint, &tokens, candidate);
        }
        if (!candidate->ceiling_known)
                candidate->cost_ceiling_picousd = candidate->cost_expected_picousd;
}

/*
 * Only the input is held against the context, and only where the context holds all of it: estimates are
 * rough, and a list of texts to embed or to rank shares no context.
 */
static bool exceeds_context(const struct ranking *ranking, const struct endpoint *endpoint,
                            int64_t input_tokens) {
        return ranking->writes && endpoint->context > 0 && input_tokens > endpoint->context;
}

static bool exceeds_max_cost(const struct ranking *ranking, const struct candidate *candidate) {
        int64_t max_picousd = ranking->demand->max_cost_picousd;
        if (max_picousd == PICOUSD_MAX)
                return false;
        return !candidate->cost_known ||
               money_add(candidate->cost_ceiling_picousd, ranking->moment->spent_picousd) > max_picousd;
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

static enum exclusion check_price(const struct ranking *ranking, const struct candidate *candidate,
                                  const struct endpoint *endpoint) {
        unsigned facts = ranking->set->facts[candidate->place];
        if ((facts & PLACE_DEAR) ||
            ((facts & PLACE_PERHAPS_DEAR) &&
             eligible_above_max_price(endpoint, ranking->demand, ranking->moment->now_unix_ms)))
                return EXCLUSION_MAX_PRICE;
        return ranking->demand->prefs.deny_unknown_price && !candidate->cost_known ? EXCLUSION_UNKNOWN_PRICE
                                                                                   : EXCLUSION_NONE;
}

static enum exclusion exclusion_of(const struct ranking *ranking, const struct candidate *candidate,
                                   const struct route_state *state, int64_t input_tokens) {
        const struct endpoint *endpoint = ranking->endpoints[candidate->place];
        enum exclusion why = (enum exclusion)ranking->set->excluded_by[candidate->place];
        if (why == EXCLUSION_NONE)
                why = check_price(ranking, candidate, endpoint);
        if (why != EXCLUSION_NONE)
                return why;
        if (ranking->moment->refused >> candidate->place & 1U)
                return EXCLUSION_REFUSED;
        if (exceeds_context(ranking, endpoint, input_tokens))
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
        const struct endpoint *endpoint = ranking->endpoints[place];
        if (!endpoint) {
                candidate->excluded_by = EXCLUSION_WRONG_ENDPOINT;
                return;
        }
        int64_t input_tokens = calibrated_input(ranking->demand, state);
        candidate_cost(ranking, endpoint, state, input_tokens, candidate);
        candidate->excluded_by = exclusion_of(ranking, candidate, state, input_tokens);
        if (!exclusion_is_hard(candidate->excluded_by) && (state->budgets[0] || state->budgets[1]))
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
                if (state->latency_p_ns[i] > prefs->preferred_max_latency[i])
                        missed |= PENALTY_LATENCY;
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

/* What decides nearly always: the group, the penalties, and whether there is a measure, as one number. */
static uint32_t tier_of(const struct candidate *candidate) {
        return (uint32_t)candidate->group << 16 | (uint32_t)candidate->penalties << 8 |
               !candidate->measure_known;
}

/* Of two in the same tier. */
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

/* Puts the places of the usable ones in order, best first. */
static void sort(const struct ranking *ranking, const struct candidate *candidates, uint8_t *usable,
                 uint32_t count) {
        uint32_t tiers[ROUTE_CANDIDATES_MAX];
        for (uint32_t i = 0; i < count; i++) {
                uint8_t place = usable[i];
                uint32_t tier = tier_of(&candidates[place]), at = i;
                for (; at > 0 && tier <= tiers[at - 1]; at--) {
                        if (tier == tiers[at - 1] &&
                            !comes_before(ranking, &candidates[place], &candidates[usable[at - 1]]))
                                break;
                        tiers[at] = tiers[at - 1];
                        usable[at] = usable[at - 1];
                }
                tiers[at] = tier;
                usable[at] = place;
        }
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
        ranking.of_text = demand->audio_tokens <= 0 && demand->image_tokens <= 0;
        look_at_endpoints(&ranking);
        look_at_outputs(&ranking);
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
