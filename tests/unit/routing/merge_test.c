/* Strictest wins: what two layers allow together, each of them allows; and wishes are the nearest layer's. */
#include "broker/base/prng.h"
#include "workers/routing/merge.h"
#include "workers/routing/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PROVIDERS = 3, ENDPOINTS = 24, ROUNDS = 20000 };

static const char *const slugs[] = {"a", "b", "c", "a/1", "a/2", "b/1", "b/eu", "c/us", "bb"};
static const char *const regions[] = {"eu", "us", ""};
static const char *const quantizations[] = {"fp8", "bf16", "unknown"};

static uint64_t below(struct prng *prng, uint64_t end) {
        return prng_below(prng, end);
}

static void random_names(struct prng *prng, const char *const *words, uint64_t count, struct names_room *room,
                         struct names *out_names) {
        out_names->count = 0;
        if (below(prng, 2))
                return;
        for (uint64_t i = 1 + below(prng, 3); i > 0; i--)
                names_add(out_names, room, bytes_of(words[below(prng, count)]));
}

static int64_t random_ceiling(struct prng *prng) {
        return below(prng, 2) ? PICOUSD_MAX : (int64_t)below(prng, 4);
}

static struct routing_prefs random_layer(struct prng *prng, struct names_room *room) {
        struct routing_prefs prefs;
        prefs_init(&prefs);
        random_names(prng, slugs, 9, room, &prefs.only);
        random_names(prng, slugs, 9, room, &prefs.ignore);
        random_names(prng, regions, 2, room, &prefs.regions);
        random_names(prng, quantizations, 3, room, &prefs.quantizations);
        prefs.zdr = below(prng, 4) == 0;
        prefs.deny_training = below(prng, 4) == 0;
        prefs.require_parameters = below(prng, 4) == 0;
        prefs.deny_unknown_price = below(prng, 4) == 0;
        prefs.max_price_input = random_ceiling(prng);
        prefs.max_price_output = random_ceiling(prng);
        return prefs;
}

static void make_catalog(struct prng *prng, struct provider *providers, struct endpoint *endpoints) {
        static const char *const names[] = {"a", "b", "c"};
        static char texts[ENDPOINTS][16];
        for (uint32_t i = 0; i < PROVIDERS; i++)
                providers[i] = (struct provider){.name = names[i],
                                                 .region = regions[below(prng, 3)],
                                                 .data_policy_known = below(prng, 3) > 0,
                                                 .zdr = below(prng, 2),
                                                 .training = below(prng, 2)};
        for (uint32_t i = 0; i < ENDPOINTS; i++) {
                uint32_t provider = (uint32_t)below(prng, PROVIDERS);
                snprintf(texts[i], sizeof texts[i], "%s/%u", names[provider], i % 3);
                endpoints[i] = (struct endpoint){.name = texts[i],
                                                 .provider = provider,
                                                 .model = "m",
                                                 .quantization = quantizations[below(prng, 3)],
                                                 .region = below(prng, 2) ? NULL : regions[below(prng, 3)],
                                                 .parameters_known = below(prng, 2),
                                                 .parameters = below(prng, 4),
                                                 .price = {.input = (int64_t)below(prng, 4) - 1,
                                                           .output = (int64_t)below(prng, 4),
                                                           .request = PRICE_UNKNOWN},
                                                 .kinds = 1U << KIND_CHAT};
        }
}

static bool allows(const struct catalog *catalog, const struct routing_prefs *prefs, uint32_t endpoint) {
        struct demand demand;
        demand_init(&demand, KIND_CHAT);
        demand.input_tokens = 5;
        demand.parameters = 1;
        demand.prefs = *prefs;
        return route_check(catalog, &demand, endpoint, 0) == EXCLUSION_NONE;
}

/*
 * Together they allow what each of them allows alone, but for a provider's region and its endpoint, which are
 * different names: there they may allow less, never more.
 */
static void no_layer_loosens_another(void **state) {
        (void)state;
        struct prng prng;
        prng_init(&prng, 11);
        uint32_t both = 0, fewer = 0, empty = 0;
        for (int round = 0; round < ROUNDS; round++) {
                struct provider providers[PROVIDERS];
                struct endpoint endpoints[ENDPOINTS];
                make_catalog(&prng, providers, endpoints);
                struct catalog catalog = {providers, PROVIDERS, endpoints, ENDPOINTS, "0", NULL, 0};
                struct names_room room = {.used = 0};
                struct routing_prefs far = random_layer(&prng, &room), near = random_layer(&prng, &room);
                struct routing_prefs merged = far;
                const char *field;
                if (prefs_merge(&merged, &near, &room, &field) != MERGE_WELL) {
                        empty++;
                        assert_true(prefs_names(&far, field)->count > 0 &&
                                    prefs_names(&near, field)->count > 0);
                        continue;
                }
                for (uint32_t i = 0; i < ENDPOINTS; i++) {
                        bool each = allows(&catalog, &far, i) && allows(&catalog, &near, i);
                        bool together = allows(&catalog, &merged, i);
                        if (together)
                                assert_true(each);
                        both += together;
                        fewer += each && !together;
                }
        }
        assert_true(both > 1000 && empty > 100);
        assert_true(fewer < both / 20);
}

static void wishes_are_the_nearest(void **state) {
        (void)state;
        struct routing_prefs far, near, prefs;
        struct names_room room = {.used = 0};
        const char *field;
        prefs_init(&far);
        prefs_init(&near);
        far.sort = SORT_LATENCY;
        far.sort_said = true;
        far.spread_ppm = 7;
        far.spread_said = true;
        far.preferred_max_latency[1] = 5;
        far.order = (struct names){(const struct bytes[]){BYTES("a")}, 1};
        prefs = far;
        assert_int_equal(prefs_merge(&prefs, &near, &room, &field), MERGE_WELL); /* says nothing */
        assert_int_equal(prefs.sort, SORT_LATENCY);
        assert_int_equal(prefs.spread_ppm, 7);
        assert_int_equal(prefs.order.count, 1);
        near.sort_said = true; /* price: as OpenRouter does, it switches the sharing of load off */
        near.preferred_max_latency[0] = 3;
        assert_int_equal(prefs_merge(&prefs, &near, &room, &field), MERGE_WELL);
        assert_int_equal(prefs.sort, SORT_PRICE);
        assert_int_equal(prefs.spread_ppm, 0);
        assert_int_equal(prefs.preferred_max_latency[0], 3);
        assert_int_equal(prefs.preferred_max_latency[1], 0);
        near.spread_said = true;
        near.spread_ppm = 9;
        assert_int_equal(prefs_merge(&prefs, &near, &room, &field), MERGE_WELL);
        assert_int_equal(prefs.spread_ppm, 9);
}

static void too_many_names_are_told(void **state) {
        (void)state;
        static char texts[2 * PREFS_NAMES_MAX][8];
        struct routing_prefs far, near;
        struct names_room room = {.used = 0};
        const char *field;
        prefs_init(&far);
        prefs_init(&near);
        for (int i = 0; i < 2 * PREFS_NAMES_MAX; i++) {
                snprintf(texts[i], sizeof texts[i], "n%d", i);
                names_add(i < PREFS_NAMES_MAX ? &far.ignore : &near.ignore, &room, bytes_of(texts[i]));
        }
        assert_int_equal(prefs_merge(&far, &near, &room, &field), MERGE_FULL);
        assert_string_equal(field, "ignore");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_layer_loosens_another),
                cmocka_unit_test(wishes_are_the_nearest),
                cmocka_unit_test(too_many_names_are_told),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
