/*
 * What a route set remembers of its places for all jobs of a class: decisions by it are those that would be
 * made if each asked anew, whatever the time, the sizes and the catalog that followed.
 */
#include "broker/base/prng.h"
#include "workers/routing/price.h"
#include "workers/routing/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ENDPOINTS = 24, DAY_MS = 86400000 };

#define U   PRICE_UNKNOWN
#define USD PICOUSD_PER_USD

static const struct zone_change changes[] = {{INT64_MIN, 0}};
static const struct zone utc = {"UTC", changes, 1};
static const struct price_window windows[] = {{&utc, 500000, 0, 360, 0x7f}, {&utc, 3000000, 600, 720, 0x7f}};
static const struct price_tier tiers[] = {
        {1000, {2 * USD, U, U, 2 * USD, U, U, U, U, U, U, U, U, U, U}, {{0}}}};
static const struct provider provider = {.name = "p", .region = "", .retention_days = -1};

struct world {
        struct endpoint endpoints[ENDPOINTS];
        struct catalog catalog;
        struct demand demand;
        struct route_set set;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct route_moment moment;
        struct route route;
};

/* Cents per million tokens; now and then a price that nobody knows, or no whole number for each token. */
static int64_t some_price(struct prng *prng) {
        if (prng_below(prng, 6) == 0)
                return U;
        int64_t price = (int64_t)prng_below(prng, 200) * USD / 100;
        return prng_below(prng, 6) == 0 ? price + 7 : price;
}

static void some_endpoint(struct prng *prng, struct endpoint *endpoint) {
        *endpoint = (struct endpoint){.name = "p/m", .model = "m", .quantization = "unknown", .kinds = ~0U};
        endpoint->price = price_unknown;
        endpoint->price.input = some_price(prng);
        endpoint->price.output = some_price(prng);
        endpoint->price.image_input = some_price(prng);
        endpoint->price.audio_output = some_price(prng);
        for (int i = 0; i < SERVICE_PRICES; i++)
                endpoint->service[i] = endpoint->price;
        endpoint->price.image = some_price(prng);
        if (prng_below(prng, 2) == 0)
                endpoint->price.cached_input = some_price(prng);
        if (prng_below(prng, 3) == 0)
                endpoint->price.cache_write = some_price(prng);
        if (prng_below(prng, 3) == 0)
                endpoint->price.reasoning = some_price(prng);
        if (prng_below(prng, 6) == 0)
                endpoint->price.request = some_price(prng);
        if (prng_below(prng, 5) == 0) {
                endpoint->windows = windows;
                endpoint->windows_count = 2;
        }
        if (prng_below(prng, 5) == 0) {
                endpoint->tiers = tiers;
                endpoint->tiers_count = 1;
        }
        endpoint->context = (int64_t)prng_below(prng, 3) * 3000;
        endpoint->output_max = (int64_t)prng_below(prng, 3) * 500;
        endpoint->parameters_known = prng_below(prng, 2) == 0;
}

static void some_moment(struct prng *prng, struct world *world) {
        for (uint32_t i = 0; i < ROUTE_CANDIDATES_MAX; i++)
                world->states[i] =
                        (struct route_state){.expected_output_tokens = (double)prng_below(prng, 900) / 7,
                                             .tokens_ratio = (double)prng_below(prng, 3000) / 1000,
                                             .input_permille = (int32_t)prng_below(prng, 2000),
                                             .cached_permille = (int32_t)prng_below(prng, 3) * 500};
        world->demand.input_tokens = (int64_t)prng_below(prng, 4000);
        world->demand.output_tokens_max = (int64_t)prng_below(prng, 900) - 1;
        world->demand.image_tokens = prng_below(prng, 5) == 0 ? 100 : 0;
        world->moment = (struct route_moment){.now_unix_ms = (int64_t)prng_below(prng, 3 * DAY_MS),
                                              .seed = prng_next(prng),
                                              .call_ms = (int64_t)prng_below(prng, DAY_MS / 4)};
}

static void world_init(struct prng *prng, struct world *world) {
        struct routing_prefs *prefs = &world->demand.prefs;
        for (uint32_t i = 0; i < ENDPOINTS; i++)
                some_endpoint(prng, &world->endpoints[i]);
        world->catalog = (struct catalog){&provider, 1, world->endpoints, ENDPOINTS, "0", NULL, 0};
        demand_init(&world->demand, prng_below(prng, 4) == 0 ? KIND_IMAGES : KIND_CHAT);
        world->demand.models[world->demand.models_count++] = BYTES("m");
        if (prng_below(prng, 4) == 0)
                world->demand.service = (enum service_tier)prng_below(prng, 4);
        if (prng_below(prng, 4) == 0)
                world->demand.input_modalities = MODALITY_BIT(TEXT) | MODALITY_BIT(IMAGE);
        if (prng_below(prng, 6) == 0)
                world->demand.output_modalities = MODALITY_BIT(TEXT) | MODALITY_BIT(AUDIO);
        world->demand.parameters = prng_below(prng, 2) == 0 ? PARAMETER_BIT(TOOLS) : 0;
        if (prng_below(prng, 3) > 0)
                prefs->max_price_input = (int64_t)prng_below(prng, 3) * USD / 2;
        if (prng_below(prng, 3) > 0)
                prefs->max_price_output = USD + (int64_t)prng_below(prng, 3) * USD / 2;
        if (prng_below(prng, 2) == 0)
                world->demand.max_cost_picousd = (int64_t)prng_below(prng, USD / 100);
        prefs->deny_unknown_price = prng_below(prng, 2) == 0;
        route_match(&world->catalog, &world->demand, &world->set);
}

static void rank(struct world *world, const struct route_set *set, struct route *out_route) {
        memset(out_route, 0, sizeof *out_route);
        route_rank(&world->catalog, &world->demand, set, world->states, &world->moment, out_route);
}

/* Nothing is remembered but what a catalog says of support: each decision asks the endpoints. */
static struct route_set forgetful(const struct route_set *set) {
        struct route_set asked = *set;
        for (uint32_t i = 0; i < set->count; i++)
                asked.facts[i] = (uint8_t)((set->facts[i] & PLACE_LACKS_SUPPORT) | PLACE_PERHAPS_DEAR);
        return asked;
}

static bool same_candidate(const struct candidate *a, const struct candidate *b) {
        return a->place == b->place && a->excluded_by == b->excluded_by && a->cost_known == b->cost_known &&
               a->ceiling_known == b->ceiling_known && a->cost_expected_picousd == b->cost_expected_picousd &&
               a->cost_ceiling_picousd == b->cost_ceiling_picousd && a->penalties == b->penalties &&
               a->measure == b->measure && a->group == b->group;
}

static void compare(struct world *world, uint64_t seed, const char *when) {
        struct route_set asked = forgetful(&world->set);
        struct route again;
        if (seed % 3 > 0) /* else at times for which nothing is remembered */
                route_set_prices(&world->catalog, &world->demand, &world->set, world->moment.now_unix_ms);
        rank(world, &world->set, &world->route);
        rank(world, &asked, &again);
        assert_int_equal(world->route.usable, again.usable);
        for (uint32_t i = 0; i < again.count; i++)
                if (!same_candidate(&world->route.candidates[i], &again.candidates[i]))
                        fail_msg("seed %llu, %s: candidate %u differs", (unsigned long long)seed, when, i);
}

static void what_is_remembered_changes_no_decision(void **state) {
        (void)state;
        uint32_t plain = 0, dear = 0, moving = 0, timed = 0, tiers_too = 0;
        for (uint64_t seed = 0; seed < 2000; seed++) {
                static struct world world;
                struct prng prng;
                prng_init(&prng, seed);
                world_init(&prng, &world);
                for (int i = 0; i < 4; i++) { /* other jobs of the class, at other times */
                        some_moment(&prng, &world);
                        compare(&world, seed, "one catalog");
                }
                for (uint32_t i = 0; i < world.set.count; i++) {
                        plain += (world.set.facts[i] & PLACE_PLAIN) != 0;
                        dear += (world.set.facts[i] & PLACE_DEAR) != 0;
                        moving += (world.set.facts[i] & PLACE_PERHAPS_DEAR) != 0;
                        timed += (world.set.facts[i] & PLACE_BY_TIME) && (world.set.facts[i] & PLACE_PLAIN);
                        tiers_too += (world.set.facts[i] & PLACE_PLAIN) &&
                                     world.set.rates[i].input_limit < COST_TOKENS_MAX;
                }
        }
        assert_true(plain > 1000 && dear > 1000 && moving > 1000);
        assert_true(timed > 500 && tiers_too > 500);
}

static void another_catalog_is_asked_anew(void **state) {
        (void)state;
        for (uint64_t seed = 0; seed < 2000; seed++) {
                static struct world world;
                struct prng prng;
                struct route_set fresh;
                prng_init(&prng, seed);
                world_init(&prng, &world);
                for (uint32_t i = 0; i < ENDPOINTS; i++)
                        if (prng_below(&prng, 2) == 0)
                                some_endpoint(&prng, &world.endpoints[i]);
                route_match_again(&world.catalog, &world.demand, &world.set);
                route_match(&world.catalog, &world.demand, &fresh);
                assert_int_equal(world.set.count, fresh.count);
                assert_memory_equal(world.set.facts, fresh.facts, fresh.count);
                assert_true(world.set.from_unix_ms == 0 && world.set.until_unix_ms == 0);
                assert_memory_equal(world.set.excluded_by, fresh.excluded_by, fresh.count);
                some_moment(&prng, &world);
                compare(&world, seed, "another catalog");
        }
}

/* A job without fallbacks keeps to its place, with what holds of that place. */
static void one_place_keeps_its_facts(void **state) {
        (void)state;
        static struct world world;
        struct prng prng;
        prng_init(&prng, 1);
        world_init(&prng, &world);
        for (uint32_t place = 0; place < world.set.count; place++) {
                struct route_set one;
                route_set_one(&world.set, place, &one);
                assert_int_equal(one.facts[0], world.set.facts[place]);
                assert_int_equal(one.excluded_by[0], world.set.excluded_by[place]);
                assert_memory_equal(&one.rates[0], &world.set.rates[place], sizeof one.rates[0]);
                assert_true(one.from_unix_ms == world.set.from_unix_ms &&
                            one.until_unix_ms == world.set.until_unix_ms);
        }
}

/* What is decided again from its record is decided by the same facts. */
static void record_is_bound_to_the_same_facts(void **state) {
        (void)state;
        for (uint64_t seed = 0; seed < 200; seed++) {
                static struct world world;
                static struct decision_inputs inputs;
                struct prng prng;
                prng_init(&prng, seed);
                world_init(&prng, &world);
                memset(&inputs, 0, sizeof inputs);
                inputs.demand = world.demand;
                inputs.set = world.set;
                memset(inputs.set.facts, 0xff, sizeof inputs.set.facts);
                memset(inputs.set.excluded_by, 0xff, sizeof inputs.set.excluded_by);
                memset(inputs.set.rates, 0xff, sizeof inputs.set.rates);
                assert_true(record_bind(&world.catalog, &inputs));
                assert_memory_equal(inputs.set.facts, world.set.facts, world.set.count);
                assert_memory_equal(inputs.set.excluded_by, world.set.excluded_by, world.set.count);
        }
}

/*
 * The rule on prices holds at one hour and not at another, for one length of the input and not for another.
 */
static void price_rule_goes_by_hour_and_length(void **state) {
        (void)state;
        static struct world world;
        memset(&world, 0, sizeof world);
        world.endpoints[0] = (struct endpoint){.name = "p/m",
                                               .model = "m",
                                               .quantization = "unknown",
                                               .price = {USD, U, U, USD, U, U, U, U, U, U, U, U, U, U},
                                               .windows = windows,
                                               .windows_count = 2,
                                               .kinds = ~0U};
        world.endpoints[1] = world.endpoints[0];
        world.endpoints[1].windows_count = 0;
        world.endpoints[1].tiers = tiers;
        world.endpoints[1].tiers_count = 1;
        world.catalog = (struct catalog){&provider, 1, world.endpoints, 2, "0", NULL, 0};
        demand_init(&world.demand, KIND_CHAT);
        world.demand.models[world.demand.models_count++] = BYTES("m");
        world.demand.prefs.max_price_input = USD;
        route_match(&world.catalog, &world.demand, &world.set);
        static const struct {
                int64_t hour, input_tokens;
                uint32_t usable;
                int64_t cheapest_picousd; /* of input alone */
        } cases[] = {{1, 1000, 2, 500000000},  {8, 1000, 2, 1000000000}, {11, 1000, 1, 1000000000},
                     {8, 1001, 1, 1001000000}, {11, 1001, 0, 0},         {1, 1001, 1, 500500000}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                world.demand.input_tokens = cases[i].input_tokens;
                world.demand.output_tokens_max = 0;
                world.moment.now_unix_ms = cases[i].hour * 3600000;
                rank(&world, &world.set, &world.route);
                assert_int_equal(world.route.usable, cases[i].usable);
                if (cases[i].usable > 0)
                        assert_int_equal(world.route.candidates[0].cost_expected_picousd,
                                         cases[i].cheapest_picousd);
        }
}

/* One endpoint, a dollar per million tokens of input, half of that by night and thrice from ten to twelve. */
static void one_by_the_hour(struct world *world) {
        memset(world, 0, sizeof *world);
        world->endpoints[0] = (struct endpoint){.name = "p/m",
                                                .model = "m",
                                                .quantization = "unknown",
                                                .price = {USD, U, U, USD, U, U, U, U, U, U, U, U, U, U},
                                                .windows = windows,
                                                .windows_count = 2,
                                                .kinds = ~0U};
        world->catalog = (struct catalog){&provider, 1, world->endpoints, 1, "0", NULL, 0};
        demand_init(&world->demand, KIND_CHAT);
        world->demand.models[world->demand.models_count++] = BYTES("m");
        world->demand.input_tokens = 1000;
        world->demand.output_tokens_max = 0;
        route_match(&world->catalog, &world->demand, &world->set);
}

/* As a class does, time after time: what its set remembers then, and what the decision comes to. */
static void costs_at(struct world *world, int64_t now_unix_ms, int64_t rate, int64_t until_unix_ms) {
        route_set_prices(&world->catalog, &world->demand, &world->set, now_unix_ms);
        world->moment.now_unix_ms = now_unix_ms;
        rank(world, &world->set, &world->route);
        assert_true((world->set.facts[0] & PLACE_PLAIN) && (world->set.facts[0] & PLACE_BY_TIME));
        assert_int_equal(world->set.rates[0].input, rate);
        assert_int_equal(world->set.until_unix_ms, until_unix_ms);
        assert_int_equal(world->route.candidates[0].cost_expected_picousd, 1000 * rate);
        assert_int_equal(world->route.candidates[0].cost_ceiling_picousd, 1000 * rate);
}

static void what_is_asked_is_renewed_where_a_window_begins_or_ends(void **state) {
        (void)state;
        static struct world world;
        const int64_t hour = 3600000, whole = 1000000;
        one_by_the_hour(&world);
        assert_false(world.set.facts[0] & PLACE_PLAIN); /* before there is a time */
        costs_at(&world, 0, whole / 2, 6 * hour);
        costs_at(&world, 6 * hour - 1, whole / 2, 6 * hour);
        costs_at(&world, 6 * hour, whole, 10 * hour);
        costs_at(&world, 10 * hour - 1, whole, 10 * hour);
        costs_at(&world, 10 * hour, 3 * whole, 12 * hour);
        costs_at(&world, 12 * hour, whole, 24 * hour);
        costs_at(&world, 11 * hour, 3 * whole, 12 * hour); /* a clock that was set back */
        /* a call that may last into the next window costs at most what is asked there; nothing is renewed */
        costs_at(&world, 9 * hour, whole, 10 * hour);
        world.moment.call_ms = hour;
        rank(&world, &world.set, &world.route);
        assert_int_equal(world.route.candidates[0].cost_expected_picousd, 1000 * whole);
        assert_int_equal(world.route.candidates[0].cost_ceiling_picousd, 3000 * whole);
        world.moment.call_ms = hour - 1;
        rank(&world, &world.set, &world.route);
        assert_int_equal(world.route.candidates[0].cost_ceiling_picousd, 1000 * whole);
        /* and at another time than that of the set, what is asked then */
        world.moment.now_unix_ms = 3 * hour;
        rank(&world, &world.set, &world.route);
        assert_int_equal(world.route.candidates[0].cost_expected_picousd, 500 * whole);
}

/* The time for which the set remembers prices goes on; the catalog by which it does is another one. */
static void what_is_asked_is_renewed_by_a_reload(void **state) {
        (void)state;
        static struct world world;
        const int64_t hour = 3600000, whole = 1000000;
        one_by_the_hour(&world);
        costs_at(&world, hour, whole / 2, 6 * hour);
        world.endpoints[0].price.input = 4 * USD;
        route_match_again(&world.catalog, &world.demand, &world.set);
        costs_at(&world, hour, 2 * whole, 6 * hour);
        world.endpoints[0].windows_count = 0;
        route_match_again(&world.catalog, &world.demand, &world.set);
        route_set_prices(&world.catalog, &world.demand, &world.set, hour);
        rank(&world, &world.set, &world.route);
        assert_int_equal(world.set.rates[0].input, 4 * whole);
        assert_int_equal(world.route.candidates[0].cost_expected_picousd, 4000 * whole);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_remembered_changes_no_decision),
                cmocka_unit_test(another_catalog_is_asked_anew),
                cmocka_unit_test(one_place_keeps_its_facts),
                cmocka_unit_test(record_is_bound_to_the_same_facts),
                cmocka_unit_test(price_rule_goes_by_hour_and_length),
                cmocka_unit_test(what_is_asked_is_renewed_where_a_window_begins_or_ends),
                cmocka_unit_test(what_is_asked_is_renewed_by_a_reload),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
