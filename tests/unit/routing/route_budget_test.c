/*
 * Budgets in the ranking: which candidates they leave, which they make wait and until when, and for which
 * reason.
 */
#include "broker/base/time.h"
#include "workers/routing/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define DAY_MS INT64_C(86400000)
#define NOW_MS (20000 * DAY_MS + 1000)
#define NOW_NS INT64_C(5000)

enum { CHEAP, DEAR, UNPRICED, PLACES };

/* Ten tokens in and ten out at most: 30 at the first, 300 at the second, and nobody knows at the third. */
struct world {
        struct provider provider;
        struct endpoint endpoints[PLACES];
        struct catalog catalog;
        struct demand demand;
        struct route_set set;
        struct route_state states[PLACES];
        struct ledger workspace, first;
        struct route route;
};

static void set_up(struct world *world) {
        static const char *const names[PLACES] = {"p/cheap", "p/dear", "p/unpriced"};
        memset(world, 0, sizeof(*world));
        world->provider = (struct provider){.name = "p", .region = ""};
        for (int i = 0; i < PLACES; i++) {
                int64_t price = (i == DEAR ? 10 : 1) * INT64_C(1000000);
                world->endpoints[i] = (struct endpoint){
                        .name = names[i], .model = "m", .quantization = "unknown", .kinds = 1U << KIND_CHAT};
                world->endpoints[i].price =
                        (struct price){.input = i == UNPRICED ? PRICE_UNKNOWN : price, .output = 2 * price};
                world->states[i].ready_ns = NOW_NS;
                world->states[i].budgets[0] = &world->workspace;
        }
        world->states[CHEAP].budgets[1] = &world->first;
        world->catalog = (struct catalog){.providers = &world->provider,
                                          .providers_count = 1,
                                          .endpoints = world->endpoints,
                                          .endpoints_count = PLACES};
        demand_init(&world->demand, KIND_CHAT);
        world->demand.models[0] = BYTES("m");
        world->demand.models_count = 1;
        world->demand.input_tokens = world->demand.output_tokens_max = 10;
        const struct budget_spec none = {0};
        ledger_init(&world->workspace, &none, false);
        ledger_init(&world->first, &none, false);
        ledger_roll(&world->workspace, NOW_MS);
        ledger_roll(&world->first, NOW_MS);
        route_match(&world->catalog, &world->demand, &world->set);
}

static void spend(struct ledger *ledger, int64_t daily, int64_t settled, int64_t reserved) {
        ledger->limit = (struct budget_spec){0};
        ledger_reserve(ledger, reserved);
        budget_add_settled(&ledger->spend, 20000, settled);
        ledger->limit.daily = daily;
}

static const struct candidate *of(struct world *world, uint32_t endpoint) {
        struct route_moment moment = {.now_unix_ms = NOW_MS, .now_ns = NOW_NS};
        route_rank(&world->catalog, &world->demand, &world->set, world->states, &moment, &world->route);
        for (uint32_t i = 0; i < world->route.count; i++)
                if (world->route.candidates[i].endpoint == endpoint)
                        return &world->route.candidates[i];
        fail();
        return NULL;
}

static void check(struct world *world, uint32_t endpoint, enum exclusion why, int64_t ready_ns) {
        const struct candidate *candidate = of(world, endpoint);
        bool usable = candidate < world->route.candidates + world->route.usable;
        assert_int_equal(candidate->excluded_by, why);
        assert_int_equal(candidate->ready_ns, ready_ns);
        assert_int_equal(usable, !exclusion_is_hard(why) && ready_ns != INT64_MAX);
}

static void includes_and_excludes(void **state) {
        static const struct {
                const char *name;
                int64_t limit, settled, reserved; /* of the workspace; limit 0: none */
                bool fails;
                enum exclusion cheap, dear, unpriced;
                int64_t cheap_ns, dear_ns;
        } table[] = {
                {"none", 0, 500, 500, false, EXCLUSION_NONE, EXCLUSION_NONE, EXCLUSION_NONE, NOW_NS, NOW_NS},
                {"ample", 300, 0, 0, false, EXCLUSION_NONE, EXCLUSION_NONE, EXCLUSION_BUDGET_PRICE_UNKNOWN,
                 NOW_NS, NOW_NS},
                {"never for the dear one", 299, 0, 0, false, EXCLUSION_NONE, EXCLUSION_BUDGET_EXCEEDED,
                 EXCLUSION_BUDGET_PRICE_UNKNOWN, NOW_NS, INT64_MAX},
                {"tomorrow for the dear one", 300, 1, 0, false, EXCLUSION_NONE, EXCLUSION_BUDGET_EXCEEDED,
                 EXCLUSION_BUDGET_PRICE_UNKNOWN, NOW_NS, NOW_NS + (DAY_MS - 1000) * NS_PER_MS},
                {"soon, perhaps", 300, 0, 1, false, EXCLUSION_NONE, EXCLUSION_BUDGET_EXCEEDED,
                 EXCLUSION_BUDGET_PRICE_UNKNOWN, NOW_NS, NOW_NS + NS_PER_S},
                {"tomorrow, but it fails", 300, 271, 0, true, EXCLUSION_BUDGET_EXCEEDED,
                 EXCLUSION_BUDGET_EXCEEDED, EXCLUSION_BUDGET_PRICE_UNKNOWN, INT64_MAX, INT64_MAX},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                struct world world;
                set_up(&world);
                spend(&world.workspace, table[i].limit, table[i].settled, table[i].reserved);
                world.workspace.fails = table[i].fails;
                check(&world, CHEAP, table[i].cheap, table[i].cheap_ns);
                check(&world, DEAR, table[i].dear, table[i].dear_ns);
                assert_int_equal(of(&world, UNPRICED)->excluded_by, table[i].unpriced);
        }
}

static void a_provider_has_its_own(void **state) {
        struct world world;
        (void)state;
        set_up(&world);
        spend(&world.first, 30, 1, 0);
        check(&world, CHEAP, EXCLUSION_BUDGET_EXCEEDED, NOW_NS + (DAY_MS - 1000) * NS_PER_MS);
        check(&world, DEAR, EXCLUSION_NONE, NOW_NS);
        check(&world, UNPRICED, EXCLUSION_NONE, NOW_NS);
        world.states[CHEAP].waiting = EXCLUSION_PAUSED; /* what waits longer says why */
        world.states[CHEAP].ready_ns = NOW_NS + DAY_MS * NS_PER_MS;
        check(&world, CHEAP, EXCLUSION_PAUSED, NOW_NS + DAY_MS * NS_PER_MS);
}

/* As much output as it likes: no bound, though the price is known. */
static void what_has_no_ceiling(void **state) {
        struct world world;
        (void)state;
        set_up(&world);
        world.demand.output_tokens_max = -1;
        check(&world, CHEAP, EXCLUSION_NONE, NOW_NS);
        spend(&world.workspace, 1000000, 0, 0);
        check(&world, CHEAP, EXCLUSION_BUDGET_PRICE_UNKNOWN, NOW_NS);
        world.endpoints[CHEAP].output_max = 100;
        route_match(&world.catalog, &world.demand, &world.set);
        check(&world, CHEAP, EXCLUSION_NONE, NOW_NS);
}

/* Rules and other bounds come first: they say why for good. */
static void rules_come_first(void **state) {
        struct world world;
        (void)state;
        set_up(&world);
        spend(&world.workspace, 1, 0, 0);
        world.demand.max_cost_picousd = 10;
        check(&world, CHEAP, EXCLUSION_MAX_COST, NOW_NS);
        world.demand.prefs.zdr = true;
        route_match(&world.catalog, &world.demand, &world.set);
        check(&world, CHEAP, EXCLUSION_DATA_POLICY_ZDR, NOW_NS);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(includes_and_excludes),
                cmocka_unit_test(a_provider_has_its_own),
                cmocka_unit_test(what_has_no_ceiling),
                cmocka_unit_test(rules_come_first),
        };
        return cmocka_run_group_tests_name("route_budget", tests, NULL, NULL);
}
