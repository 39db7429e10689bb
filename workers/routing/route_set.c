/*
 * Which endpoints serve a class of jobs, and what is remembered of each for all of them; see route.h.
 */
#include "broker/base/check.h"
#include "workers/routing/eligible.h"
#include "workers/routing/route.h"

#include <string.h>

_Static_assert(ROUTE_CANDIDATES_MAX <= 32, "`refused` has a bit per place");
_Static_assert(DEMAND_MODELS_MAX <= UINT8_MAX && ROUTE_CANDIDATES_MAX <= UINT8_MAX, "held in uint8_t");

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
static inline bool same_name(struct bytes a, struct bytes b) {
        if (a.size != b.size || a.size == 0)
                return a.size == b.size;
        return a.data[a.size - 1] == b.data[b.size - 1] && memcmp(a.data, b.data, a.size) == 0;
}

/* How well a name fits an endpoint that names its model. */
static inline enum match match_by_name(struct bytes model, const struct wanted *wanted) {
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

/* What is asked there, of inputs that are not very long, and whether the rule on prices forbids it. */
static unsigned price_facts(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                            struct cost_rates *out_rates) {
        unsigned facts = cost_rates_at(endpoint, demand, now_unix_ms, out_rates) ? PLACE_PLAIN : 0;
        return facts | (eligible_above_max_price(endpoint, demand, now_unix_ms, 0) ? PLACE_DEAR : 0);
}

void route_set_rules(const struct catalog *catalog, const struct demand *demand, struct route_set *set,
                     uint32_t place) {
        const struct endpoint *endpoint = &catalog->endpoints[set->endpoints[place]];
        unsigned facts = 0;
        if (!eligible_price_stays(endpoint, demand))
                facts |= PLACE_PERHAPS_DEAR;
        if (eligible_missed(endpoint, demand) != 0)
                facts |= PLACE_LACKS_SUPPORT;
        if (endpoint->windows_count > 0)
                facts |= PLACE_BY_TIME; /* nothing more before there is a time */
        else
                facts |= price_facts(endpoint, demand, 0, &set->rates[place]);
        set->excluded_by[place] = (uint8_t)eligible_check(catalog, demand, set->endpoints[place]);
        set->orders[place] = (uint8_t)eligible_place(&demand->prefs.order, catalog, endpoint);
        set->facts[place] = (uint8_t)facts;
}

static void set_all_rules(const struct catalog *catalog, const struct demand *demand, struct route_set *set) {
        set->from_unix_ms = set->until_unix_ms = 0;
        for (uint32_t place = 0; place < set->count; place++)
                route_set_rules(catalog, demand, set, place);
}

void route_set_prices(const struct catalog *catalog, const struct demand *demand, struct route_set *set,
                      int64_t now_unix_ms) {
        if (now_unix_ms >= set->from_unix_ms && now_unix_ms < set->until_unix_ms)
                return;
        set->from_unix_ms = now_unix_ms;
        set->until_unix_ms = INT64_MAX;
        for (uint32_t place = 0; place < set->count; place++) {
                unsigned facts = set->facts[place];
                if (!(facts & PLACE_BY_TIME))
                        continue;
                const struct endpoint *endpoint = &catalog->endpoints[set->endpoints[place]];
                int64_t until_unix_ms = price_changes_after(endpoint, now_unix_ms);
                facts &= ~(unsigned)(PLACE_PLAIN | PLACE_DEAR);
                facts |= price_facts(endpoint, demand, now_unix_ms, &set->rates[place]);
                set->facts[place] = (uint8_t)facts;
                if (until_unix_ms < set->until_unix_ms)
                        set->until_unix_ms = until_unix_ms;
        }
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
        out_set->count = 1;
        out_set->truncated = set->truncated;
        out_set->from_unix_ms = set->from_unix_ms;
        out_set->until_unix_ms = set->until_unix_ms;
        out_set->rates[0] = set->rates[place];
        out_set->endpoints[0] = set->endpoints[place];
        out_set->models[0] = set->models[place];
        out_set->excluded_by[0] = set->excluded_by[place];
        out_set->orders[0] = set->orders[place];
        out_set->facts[0] = set->facts[place];
}
