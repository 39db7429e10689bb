/*
 * See the header. route_rank() makes one candidate per place, gives each usable one a sort key, and sorts
 * by insertion: there are at most ROUTE_CANDIDATES_MAX, mostly fewer than five. Keys hold integers only, so
 * that the order is the same on every machine.
 */
#include "workers/routing/route.h"

#include "broker/base/check.h"
#include "workers/routing/limits.h"

#include <string.h>

_Static_assert(ROUTE_CANDIDATES_MAX <= 32, "`refused` has a bit per place");
_Static_assert(DEMAND_MODELS_MAX <= UINT8_MAX && ROUTE_CANDIDATES_MAX <= UINT8_MAX, "held in uint8_t");

/* Which endpoints serve it. */

enum match { MATCH_EXACT, MATCH_BEHIND_SLASH, MATCH_ANY, MATCH_NONE };

/* How well a name fits an endpoint that names its model. */
static enum match match_by_name(const char *model, struct bytes wanted) {
        if (bytes_equal_string(wanted, model))
                return MATCH_EXACT;
        const char *slash = wanted.size > 0 ? memchr(wanted.data, '/', wanted.size) : NULL;
        if (!slash)
                return MATCH_NONE;
        size_t behind = (size_t)(slash - wanted.data) + 1;
        struct bytes rest = {wanted.data + behind, wanted.size - behind};
        return rest.size > 0 && bytes_equal_string(rest, model) ? MATCH_BEHIND_SLASH : MATCH_NONE;
}

static bool serves_kind(const struct endpoint *endpoint, enum kind kind) {
        return endpoint->kinds >> (unsigned)kind & 1U;
}

static bool serves_all(const struct endpoint *endpoint) {
        return endpoint->model[0] == '*' && endpoint->model[1] == '\0';
}

static bool provider_names_model(const struct catalog *catalog, uint32_t provider, enum kind kind,
                                 struct bytes wanted) {
        for (uint32_t i = 0; i < catalog->endpoints_count; i++) {
                const struct endpoint *endpoint = &catalog->endpoints[i];
                if (endpoint->provider == provider && serves_kind(endpoint, kind) && !serves_all(endpoint) &&
                    match_by_name(endpoint->model, wanted) != MATCH_NONE)
                        return true;
        }
        return false;
}

struct matching {
        struct route_set *set;
        uint32_t ranks[ROUTE_CANDIDATES_MAX]; /* model and closeness of each place; lower is better */
};

/* Appends, so that catalog order stays; a full set loses its last worst place when the new one is better. */
static void matching_add(struct matching *matching, uint32_t endpoint, uint32_t model, enum match match) {
        struct route_set *set = matching->set;
        uint32_t rank = model * MATCH_NONE + (uint32_t)match;
        if (set->count == ROUTE_CANDIDATES_MAX) {
                set->truncated = true;
                uint32_t worst = 0;
                for (uint32_t i = 1; i < set->count; i++)
                        if (matching->ranks[i] >= matching->ranks[worst])
                                worst = i;
                if (matching->ranks[worst] <= rank)
                        return;
                for (uint32_t i = worst + 1; i < set->count; i++) {
                        set->endpoints[i - 1] = set->endpoints[i];
                        set->models[i - 1] = set->models[i];
                        matching->ranks[i - 1] = matching->ranks[i];
                }
                set->count--;
        }
        set->endpoints[set->count] = endpoint;
        set->models[set->count] = (uint8_t)model;
        matching->ranks[set->count++] = rank;
}

static void match_endpoint(struct matching *matching, const struct catalog *catalog,
                           const struct demand *demand, uint32_t place) {
        const struct endpoint *endpoint = &catalog->endpoints[place];
        bool all = serves_all(endpoint);
        for (uint32_t model = 0; model < demand->models_count; model++) {
                struct bytes wanted = demand->models[model];
                enum match match = all ? MATCH_ANY : match_by_name(endpoint->model, wanted);
                if (match == MATCH_NONE ||
                    (all && provider_names_model(catalog, endpoint->provider, demand->kind, wanted)))
                        continue;
                matching_add(matching, place, model, match);
                if (!all)
                        return;
        }
}

void route_match(const struct catalog *catalog, const struct demand *demand, struct route_set *out_set) {
        CHECK(demand->models_count <= DEMAND_MODELS_MAX);
        memset(out_set, 0, sizeof *out_set);
        struct matching matching = {.set = out_set};
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                if (serves_kind(&catalog->endpoints[i], demand->kind))
                        match_endpoint(&matching, catalog, demand, i);
}

/* Rules. */

static bool names_text(const struct names *names, const char *text) {
        for (uint32_t i = 0; i < names->count; i++)
                if (bytes_equal_string(names->items[i], text))
                        return true;
        return false;
}

/* Index of the first name that means this endpoint; names->count when none does. */
static uint32_t names_endpoint(const struct names *names, const struct provider *provider,
                               const struct endpoint *endpoint) {
        uint32_t i = 0;
        while (i < names->count && !bytes_equal_string(names->items[i], provider->name) &&
               !bytes_equal_string(names->items[i], endpoint->name))
                i++;
        return i;
}

/* A price that nobody said passes no ceiling, unless this kind need not be billed by it. */
static bool above(int64_t price, int64_t max, bool needed) {
        if (max == PICOUSD_MAX)
                return false;
        return price == PRICE_UNKNOWN ? needed : price > max;
}

static bool above_max_price(const struct endpoint *endpoint, const struct demand *demand,
                            int64_t now_unix_ms) {
        struct price scratch;
        const struct price *price = price_at(endpoint, now_unix_ms, demand->input_tokens, &scratch);
        const struct routing_prefs *prefs = &demand->prefs;
        bool writes = demand->kind == KIND_CHAT || demand->kind == KIND_RESPONSES ||
                      demand->kind == KIND_COMPLETIONS;
        bool reads = demand->kind == KIND_EMBEDDINGS || demand->kind == KIND_MODERATIONS ||
                     (demand->kind == KIND_RERANK && price->search_unit == PRICE_UNKNOWN);
        bool paints = demand->kind == KIND_IMAGES || demand->kind == KIND_IMAGE_EDITS;
        bool by_request = price->request != PRICE_UNKNOWN;
        bool by_tokens = price->input != PRICE_UNKNOWN && price->output != PRICE_UNKNOWN;
        return above(price->input, prefs->max_price_input, writes || (reads && !by_request)) ||
               above(price->output, prefs->max_price_output, writes) ||
               above(price->request, prefs->max_price_request, false) ||
               above(price->image, prefs->max_price_image, paints && !by_tokens);
}

enum exclusion route_check(const struct catalog *catalog, const struct demand *demand, uint32_t index,
                           int64_t now_unix_ms) {
        CHECK(index < catalog->endpoints_count);
        const struct endpoint *endpoint = &catalog->endpoints[index];
        const struct provider *provider = &catalog->providers[endpoint->provider];
        const struct routing_prefs *prefs = &demand->prefs;
        if (!serves_kind(endpoint, demand->kind))
                return EXCLUSION_WRONG_ENDPOINT;
        if (prefs->only.count > 0 && names_endpoint(&prefs->only, provider, endpoint) == prefs->only.count)
                return EXCLUSION_ALLOWED_PROVIDERS;
        if (prefs->ignore.count > 0 &&
            names_endpoint(&prefs->ignore, provider, endpoint) < prefs->ignore.count)
                return EXCLUSION_IGNORED;
        if (prefs->regions.count > 0 && !names_text(&prefs->regions, provider->region))
                return EXCLUSION_DATA_REGION;
        if (prefs->zdr && (!provider->data_policy_known || !provider->zdr))
                return EXCLUSION_DATA_POLICY_ZDR;
        if (prefs->deny_training && (!provider->data_policy_known || provider->training))
                return EXCLUSION_DATA_POLICY_TRAINING;
        if (prefs->quantizations.count > 0 && !names_text(&prefs->quantizations, endpoint->quantization))
                return EXCLUSION_QUANTIZATION;
        if (above_max_price(endpoint, demand, now_unix_ms))
                return EXCLUSION_MAX_PRICE;
        if (!prefs->allow_fallbacks && prefs->order.count > 0 &&
            names_endpoint(&prefs->order, provider, endpoint) == prefs->order.count)
                return EXCLUSION_FALLBACKS_OFF;
        return EXCLUSION_NONE;
}

/* Order. Compared field by field, lower first. */

struct key {
        uint32_t group; /* model, then place in `order` */
        bool slow;
        bool unknown; /* what is sorted by */
        bool cost_unknown;
        int64_t measure;
        int64_t cost_picousd;
        int64_t in_flight;
};

static uint64_t mixed(uint64_t seed, uint32_t endpoint) {
        uint64_t z = seed + (uint64_t)endpoint * UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

static bool key_before(const struct key *a, const struct key *b, uint32_t a_endpoint, uint32_t b_endpoint,
                       uint64_t seed) {
        if (a->group != b->group)
                return a->group < b->group;
        if (a->slow != b->slow)
                return b->slow;
        if (a->unknown != b->unknown)
                return b->unknown;
        if (a->measure != b->measure)
                return a->measure < b->measure;
        if (a->cost_unknown != b->cost_unknown)
                return b->cost_unknown;
        if (a->cost_unknown)
                return false; /* stays in the order of the configuration */
        if (a->cost_picousd != b->cost_picousd)
                return a->cost_picousd < b->cost_picousd;
        if (a->in_flight != b->in_flight)
                return a->in_flight < b->in_flight;
        return mixed(seed, a_endpoint) < mixed(seed, b_endpoint);
}

/* A measured value as an integer; what is out of range, or no number, counts as not known: 0. */
static int64_t whole(double value) {
        return value > 0 && value < 9e18 ? (int64_t)value : 0;
}

static struct key key_of(const struct catalog *catalog, const struct demand *demand,
                         const struct candidate *candidate, const struct route_state *state) {
        const struct routing_prefs *prefs = &demand->prefs;
        struct key key = {.group = (uint32_t)candidate->model << 8,
                          .cost_unknown = !candidate->cost_known,
                          .cost_picousd = candidate->cost_expected_picousd,
                          .slow = state->slow,
                          .in_flight = state->in_flight};
        if (prefs->order.count > 0) {
                const struct endpoint *endpoint = &catalog->endpoints[candidate->endpoint];
                key.group += names_endpoint(&prefs->order, &catalog->providers[endpoint->provider], endpoint);
        }
        switch (prefs->sort) {
        case SORT_PRICE:
        case SORT_BALANCED:
                break;
        case SORT_QUALITY:
                key.measure = -catalog->endpoints[candidate->endpoint].quality;
                key.unknown = key.measure > 0;
                break;
        case SORT_THROUGHPUT:
                key.measure = -whole(state->output_tokens_per_s * 1000);
                key.unknown = key.measure == 0;
                break;
        case SORT_LATENCY:
                key.measure = whole(state->latency_ns);
                key.unknown = key.measure == 0;
                break;
        }
        return key;
}

/* Ranking. */

struct ranking {
        const struct catalog *catalog;
        const struct demand *demand;
        const struct route_set *set;
        const struct route_state *states;
        const struct route_moment *moment;
        int64_t output_guess; /* for endpoints that have not answered: one for all, so that they compare */
};

/* Does not round down: a calibrated estimate stays an upper one. */
static int64_t scaled(int64_t tokens, double ratio) {
        double value = (double)tokens * ratio;
        return value < 9e18 ? (int64_t)value + (value > (double)(int64_t)value) : INT64_MAX;
}

static int64_t output_guess(const struct ranking *ranking) {
        int64_t guess = 0;
        for (uint32_t i = 0; i < ranking->set->count; i++) {
                int64_t seen = whole(ranking->states[i].expected_output_tokens + 0.5);
                guess = seen > guess ? seen : guess;
        }
        return guess > 0 ? guess : OUTPUT_TOKENS_GUESS;
}

static void candidate_cost(const struct ranking *ranking, const struct endpoint *endpoint,
                           const struct route_state *state, struct candidate *candidate) {
        const struct demand *demand = ranking->demand;
        double ratio = state->tokens_ratio > 0 ? state->tokens_ratio : 1;
        int64_t input_tokens = scaled(demand->input_tokens, ratio);
        int64_t input_ceiling = ratio > 1 ? input_tokens : demand->input_tokens;
        int64_t seen = whole(state->expected_output_tokens + 0.5);
        int64_t output_tokens = seen > 0 ? seen : ranking->output_guess;
        candidate->cost_expected_picousd = candidate->cost_ceiling_picousd = 0;
        int64_t expected = input_tokens;
        if (state->input_permille > 0)
                expected = scaled(demand->input_tokens, (double)state->input_permille / 1000);
        int64_t cached = scaled(expected, (double)state->cached_permille / 1000);
        candidate->cost_known =
                cost_expected_cached_at(endpoint, demand, ranking->moment->now_unix_ms, expected, cached,
                                        output_tokens, &candidate->cost_expected_picousd);
        candidate->ceiling_known =
                candidate->cost_known && cost_ceiling_at(endpoint, demand, ranking->moment->now_unix_ms,
                                                         input_ceiling, &candidate->cost_ceiling_picousd);
        if (!candidate->ceiling_known)
                candidate->cost_ceiling_picousd = candidate->cost_expected_picousd;
}

/*
 * Only the input is held against the context, and only where the context holds all of it: estimates are
 * rough, and a list of texts to embed or to rank shares no context.
 */
static bool exceeds_context(const struct endpoint *endpoint, const struct demand *demand, double ratio) {
        bool one_context = demand->kind == KIND_CHAT || demand->kind == KIND_RESPONSES ||
                           demand->kind == KIND_COMPLETIONS;
        return one_context && endpoint->context > 0 &&
               scaled(demand->input_tokens, ratio > 0 ? ratio : 1) > endpoint->context;
}

static bool exceeds_max_cost(const struct ranking *ranking, const struct candidate *candidate) {
        int64_t max_picousd = ranking->demand->max_cost_picousd;
        if (max_picousd == PICOUSD_MAX)
                return false;
        return !candidate->cost_known ||
               money_add(candidate->cost_ceiling_picousd, ranking->moment->spent_picousd) > max_picousd;
}

static void candidate_init(const struct ranking *ranking, uint32_t place, bool refused,
                           struct candidate *candidate) {
        const struct demand *demand = ranking->demand;
        const struct route_state *state = &ranking->states[place];
        candidate->endpoint = ranking->set->endpoints[place];
        candidate->model = ranking->set->models[place];
        candidate->place = (uint8_t)place;
        candidate->ready_ns = state->ready_ns;
        candidate->slow = state->slow;
        const struct endpoint *endpoint = &ranking->catalog->endpoints[candidate->endpoint];
        candidate_cost(ranking, endpoint, state, candidate);
        candidate->excluded_by =
                route_check(ranking->catalog, demand, candidate->endpoint, ranking->moment->now_unix_ms);
        if (candidate->excluded_by != EXCLUSION_NONE)
                return;
        if (refused)
                candidate->excluded_by = EXCLUSION_REFUSED;
        else if (exceeds_context(endpoint, demand, state->tokens_ratio))
                candidate->excluded_by = EXCLUSION_CONTEXT_LENGTH;
        else if (exceeds_max_cost(ranking, candidate))
                candidate->excluded_by = EXCLUSION_MAX_COST;
        else
                candidate->excluded_by = state->ready_ns == INT64_MAX ? EXCLUSION_AT_LIMIT : state->waiting;
}

static bool is_usable(const struct candidate *candidate) {
        return !exclusion_is_hard(candidate->excluded_by) && candidate->ready_ns != INT64_MAX;
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
        struct ranking ranking = {catalog, demand, set, states, moment, 0};
        ranking.output_guess = output_guess(&ranking);
        struct key keys[ROUTE_CANDIDATES_MAX];
        struct candidate excluded[ROUTE_CANDIDATES_MAX];
        struct candidate *candidates = out_route->candidates;
        uint32_t usable = 0, excluded_count = 0;
        for (uint32_t place = 0; place < set->count; place++) {
                struct candidate candidate;
                candidate_init(&ranking, place, moment->refused >> place & 1U, &candidate);
                if (!is_usable(&candidate)) {
                        excluded[excluded_count++] = candidate;
                        continue;
                }
                struct key key = key_of(catalog, demand, &candidate, &states[place]);
                uint32_t at = usable++;
                for (; at > 0 && key_before(&key, &keys[at - 1], candidate.endpoint,
                                            candidates[at - 1].endpoint, moment->seed);
                     at--) {
                        keys[at] = keys[at - 1];
                        candidates[at] = candidates[at - 1];
                }
                keys[at] = key;
                candidates[at] = candidate;
        }
        memcpy(candidates + usable, excluded, excluded_count * sizeof *excluded);
        out_route->usable = usable;
        out_route->count = set->count;
        out_route->truncated = set->truncated;
        if (!demand->prefs.allow_fallbacks && demand->prefs.order.count == 0)
                drop_fallbacks(out_route, moment->refused);
}
