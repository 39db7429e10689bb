/*
 * The order of candidates, held against the one that route.h states, rule by rule: of prices, speeds and
 * marks that are alike, unknown, or larger than any that there are.
 */
#include "broker/base/prng.h"
#include "workers/routing/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ENDPOINTS = 28, MODELS = 3 };

#define U   PRICE_UNKNOWN
#define USD PICOUSD_PER_USD

struct market {
        char names[ENDPOINTS][16];
        struct provider provider;
        struct endpoint endpoints[ENDPOINTS];
        struct catalog catalog;
        struct demand demand;
        struct route_set set;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct route_moment moment;
        struct route route;
};

/* Few different ones; some make a job cost more than 8.8 dollars, or tell apart what costs much. */
static int64_t some_price(struct prng *prng) {
        static const int64_t prices[] = {U,          0,          USD,        2 * USD, 2 * USD + 1,
                                         3000 * USD, 9000 * USD, 9001 * USD, 2 * USD, INT64_MAX};
        return prices[prng_below(prng, sizeof prices / sizeof *prices)];
}

static const struct price nothing = {U, U, U, U, U, U, U, U, U, U, U, U, U, U};

static void some_endpoints(struct prng *prng, struct market *market) {
        static const char *const models[MODELS] = {"a", "b", "c"};
        market->provider = (struct provider){.name = "p", .region = "", .retention_days = -1};
        for (uint32_t i = 0; i < ENDPOINTS; i++) {
                struct endpoint *endpoint = &market->endpoints[i];
                snprintf(market->names[i], sizeof market->names[i], "p/%u", (unsigned)i);
                *endpoint = (struct endpoint){.name = market->names[i],
                                              .model = models[prng_below(prng, MODELS)],
                                              .quantization = "unknown",
                                              .price = nothing,
                                              .quality = (int64_t)prng_below(prng, 4) - 1,
                                              .parameters_known = prng_below(prng, 2) == 0,
                                              .kinds = 1U << KIND_CHAT};
                endpoint->price.input = endpoint->price.output = some_price(prng);
        }
        market->catalog = (struct catalog){&market->provider, 1, market->endpoints, ENDPOINTS, "0", NULL, 0};
}

static void some_states(struct prng *prng, struct market *market) {
        for (uint32_t i = 0; i < ROUTE_CANDIDATES_MAX; i++)
                market->states[i] = (struct route_state){
                        .in_flight = (int64_t)prng_below(prng, 3),
                        .latency_ns = (double)prng_below(prng, 3) * 1e9,
                        .output_tokens_per_s = prng_below(prng, 9) == 0 ? 8e15 : (double)prng_below(prng, 3),
                        .success_permille = prng_below(prng, 4) == 0 ? 100 : 1000,
                        .slow = prng_below(prng, 4) == 0};
}

static void some_market(struct prng *prng, struct market *market) {
        const struct bytes models[MODELS] = {BYTES("a"), BYTES("b"), BYTES("c")};
        static const struct bytes places[] = {{"p/3", 3}, {"p/9", 3}, {"p/17", 4}};
        struct demand *demand = &market->demand;
        some_endpoints(prng, market);
        some_states(prng, market);
        demand_init(demand, KIND_CHAT);
        for (int i = 0; i < MODELS; i++)
                demand->models[demand->models_count++] = models[i];
        demand->input_tokens = 900;
        demand->output_tokens_max = (int64_t)prng_below(prng, 2) * 100;
        demand->parameters = PARAMETER_BIT(TOOLS);
        demand->prefs.sort = (enum sort_by)prng_below(prng, SORT_BALANCED + 1);
        demand->prefs.sort_across_models = prng_below(prng, 2) == 0;
        for (uint32_t i = 0; i < 3 && prng_below(prng, 2) == 0; i++)
                demand->prefs.order = (struct names){places, (uint8_t)(i + 1)};
        market->moment = (struct route_moment){.seed = prng_next(prng)};
        route_match(&market->catalog, demand, &market->set);
        route_rank(&market->catalog, demand, &market->set, market->states, &market->moment, &market->route);
}

static int compared(int64_t a, int64_t b) {
        return (a > b) - (a < b);
}

/* By the numbers 1 to 5 of route.h, all but the last draw; below 0: a comes first. */
static int stated_order(const struct candidate *a, const struct candidate *b) {
        const int rules[] = {
                compared(a->group, b->group),
                compared(a->penalties, b->penalties),
                compared(b->measure_known, a->measure_known),
                compared(a->measure, b->measure),
                compared(b->cost_known, a->cost_known),
                a->cost_known ? compared(a->cost_expected_picousd, b->cost_expected_picousd)
                              : compared(a->place, b->place),
                compared(a->model, b->model),
                compared(a->in_flight, b->in_flight),
        };
        for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
                if (rules[i] != 0)
                        return rules[i];
        return 0;
}

static void candidates_stand_as_stated(void **state) {
        (void)state;
        uint32_t draws = 0, large = 0;
        for (uint64_t seed = 0; seed < 4000; seed++) {
                static struct market market;
                struct prng prng;
                prng_init(&prng, seed);
                memset(&market, 0, sizeof market);
                some_market(&prng, &market);
                assert_int_equal(market.route.usable, ENDPOINTS);
                for (uint32_t i = 1; i < market.route.usable; i++) {
                        const struct candidate *before = &market.route.candidates[i - 1], *it = before + 1;
                        int order = stated_order(before, it);
                        if (order > 0)
                                fail_msg("seed %llu: place %u before %u", (unsigned long long)seed,
                                         before->place, it->place);
                        draws += order == 0;
                        large += before->measure != it->measure && before->measure > 9 * USD;
                }
        }
        assert_true(draws > 1000 && large > 1000);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(candidates_stand_as_stated),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
