/* What keeps its index when a configuration follows another, and what is told of the difference. */
#include "broker/ops/succession.h"
#include "workers/routing/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROVIDER(name, key, models)                                                                          \
        "{name: " name ", kind: openai, base_url: 'http://h/" name "', api_key: " key ", models: [" models   \
        "]}"
#define FIRST                                                                                                \
        "providers: [" PROVIDER("a", "sk-aaaaaaaa", "{model: m}, {model: n}") ", " PROVIDER(                 \
                "b", "sk-bbbbbbbb", "{model: m}") "]\n"                                                      \
                                                  "workspaces: [{name: x}, {name: y, budget: {daily: 1}}]\n"
#define SECOND                                                                                               \
        "providers: [" PROVIDER("c", "sk-cccccccc", "{model: m}") ", " PROVIDER(                             \
                "b", "sk-dddddddd",                                                                          \
                "{model: m, price: {input: 7}}") "]\n"                                                       \
                                                 "workspaces: [{name: z}, {name: y, budget: {daily: 2}}]\n"

static struct config *loaded(const char *text) {
        struct config_options options = {0};
        struct config *config = NULL;
        struct error *error = config_load_text(&options, "f", bytes_of(text), &config);
        if (error)
                fail_msg("%s", error->message);
        return config;
}

static void make(const struct catalog *before, const char *const *keys, const struct config *config,
                 struct succession *out) {
        struct error *error = succession_make(before, keys, config, out);
        if (error)
                fail_msg("%s", error->message);
}

static void indexes_stay(void **state) {
        (void)state;
        struct config *first = loaded(FIRST), *second = loaded(SECOND);
        struct succession one, two;
        make(&first->catalog, first->keys, second, &one);
        const struct catalog *catalog = &one.catalog;
        assert_string_equal(catalog->id, second->catalog.id);
        assert_int_equal(catalog->providers_count, 3);
        assert_string_equal(catalog->providers[2].name, "c");
        assert_string_equal(one.keys[0], "sk-aaaaaaaa");
        assert_string_equal(one.keys[1], "sk-dddddddd");
        assert_int_equal(catalog->endpoints_count, 4);
        assert_string_equal(catalog->endpoints[0].name, "a/m");
        assert_true(catalog->endpoints[0].kinds == 0 && catalog->endpoints[1].kinds == 0);
        assert_string_equal(catalog->endpoints[2].name, "b/m");
        assert_true(catalog->endpoints[2].kinds != 0 && catalog->endpoints[2].provider == 1);
        assert_int_equal(catalog->endpoints[2].price.input, INT64_C(7000000000000));
        assert_true(catalog->endpoints[3].kinds != 0 && catalog->endpoints[3].provider == 2);
        assert_int_equal(catalog->workspaces_count, 4);
        assert_true(!catalog->workspaces[0].gone && catalog->workspaces[1].gone);
        assert_int_equal(catalog->workspaces[2].budget.daily, INT64_C(2000000000000));
        assert_string_equal(catalog->workspaces[3].name, "z");
        make(catalog, one.keys, first, &two); /* what was gone comes back where it was */
        assert_true(two.catalog.endpoints[0].kinds != 0 && two.catalog.endpoints[3].kinds == 0);
        assert_true(!two.catalog.workspaces[1].gone && two.catalog.workspaces[3].gone);
        assert_int_equal(two.catalog.endpoints_count, 4);
        succession_deinit(&two);
        succession_deinit(&one);
        config_free(first);
        config_free(second);
}

/* The rules of "default" go with the last workspace. */
static void workspaces_go(void **state) {
        (void)state;
        struct config *first = loaded(FIRST "\n");
        struct config *second = loaded("providers: [" PROVIDER("a", "sk-aaaaaaaa", "{model: m}") "]\n");
        struct succession one;
        make(&first->catalog, first->keys, second, &one);
        assert_int_equal(one.catalog.workspaces_count, 3);
        assert_true(!one.catalog.workspaces[0].gone && one.catalog.workspaces[1].gone &&
                    one.catalog.workspaces[2].gone);
        assert_true(one.catalog.workspaces[0].prefs.allow_fallbacks);
        succession_deinit(&one);
        config_free(first);
        config_free(second);
}

static void full(void **state) {
        (void)state;
        struct config *config = loaded(FIRST);
        static struct endpoint endpoints[CATALOG_ENDPOINTS_MAX];
        for (size_t i = 0; i < CATALOG_ENDPOINTS_MAX; i++)
                endpoints[i].name = "other";
        struct catalog before = {.endpoints = endpoints, .endpoints_count = CATALOG_ENDPOINTS_MAX - 3};
        struct succession made;
        make(&before, NULL, config, &made);
        succession_deinit(&made);
        before.endpoints_count++;
        struct error *error = succession_make(&before, NULL, config, &made);
        assert_non_null(error);
        assert_non_null(strstr(error->message, "start again"));
        error_free(error);
        config_free(config);
}

static void differences(void **state) {
        (void)state;
        static const struct {
                const char *text, *later;
                bool same;
        } rows[] = {
                {FIRST, "", true},
                {FIRST "retry: {attempts: 7}\n", "", false},
                {FIRST "timeouts: {total: 7s, connect: 1s}\n", "timeouts.connect", false},
                {FIRST "limits: {memory: 1GiB}\nshards: 1\n", "shards, limits.memory", true},
                {FIRST "kafka: {linger.ms: 7}\n", "kafka", true},
                {SECOND, "", false},
                {FIRST "routing: {zdr: true}\n", "", false},
        };
        struct config *first = loaded(FIRST);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                struct config *other = loaded(rows[i].text);
                struct buffer later;
                buffer_init(&later, 1024);
                if (succession_is_same(first, other, &later) != rows[i].same)
                        fail_msg("row %zu", i);
                buffer_append_char(&later, '\0');
                assert_string_equal(later.data, rows[i].later);
                buffer_deinit(&later);
                config_free(other);
        }
        config_free(first);
}

/* A key stands in no catalog's id. */
static void another_key(void **state) {
        (void)state;
        struct config *a = loaded("providers: [" PROVIDER("a", "sk-aaaaaaaa", "{model: m}") "]\n");
        struct config *b = loaded("providers: [" PROVIDER("a", "sk-bbbbbbbb", "{model: m}") "]\n");
        struct buffer later;
        buffer_init(&later, 1024);
        assert_string_equal(a->catalog.id, b->catalog.id);
        assert_false(succession_is_same(a, b, &later));
        assert_int_equal(later.size, 0);
        config_free(a);
        config_free(b);
}

/* ---- decided again by the configuration alone ---- */

#define PRICED(name) PROVIDER(name, "sk-aaaaaaaa", "{model: m, price: {input: 1, output: 1}}")
/* Equal prices, so that all is drawn; one goes, one comes, and none is where it was. */
#define BEFORE "providers: [" PRICED("a") ", " PRICED("b") ", " PRICED("c") "]\n"
#define AFTER  "providers: [" PRICED("c") ", " PRICED("d") ", " PRICED("b") "]\n"

static void make_demand(struct demand *demand) {
        demand_init(demand, KIND_CHAT);
        demand->models[0] = BYTES("m");
        demand->models_count = 1;
        demand->input_tokens = demand->output_tokens_max = 100;
}

/* As the engine does it, and as replay does it: the same names in the same order. */
static void decide_twice(const struct catalog *then, const struct catalog *now, const struct route_set *set,
                         uint64_t seed) {
        struct demand demand;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct decision_moment moment = {.route.seed = seed, .audio_ms = -1};
        struct route route, again;
        static struct decision_inputs inputs;
        uint8_t text[4096];
        make_demand(&demand);
        for (uint32_t i = 0; i < set->count; i++)
                states[i] = (struct route_state){.tokens_ratio = 1, .success_permille = -1};
        route_rank(then, &demand, set, states, &moment.route, &route);
        struct record_writer writer = {text, text + sizeof text};
        record_write_demand(&writer, &demand);
        record_write_places(&writer, then, &moment, 0, set, states, &route);
        assert_true(record_read((struct bytes){(char *)text, (size_t)(writer.at - text)}, &inputs));
        assert_true(record_bind(now, &inputs));
        inputs.moment.route.seed = seed;
        route_rank(now, &inputs.demand, &inputs.set, inputs.states, &inputs.moment.route, &again);
        assert_int_equal(again.count, route.count);
        assert_int_equal(again.usable, route.usable);
        assert_int_equal(again.usable, 3);
        for (uint32_t i = 0; i < route.count; i++) {
                const struct candidate *a = &route.candidates[i], *b = &again.candidates[i];
                assert_int_equal(a->place, b->place);
                assert_int_equal(a->excluded_by, b->excluded_by);
                if (b->endpoint == ENDPOINT_GONE)
                        assert_string_equal(then->endpoints[a->endpoint].name, "a/m");
                else
                        assert_string_equal(then->endpoints[a->endpoint].name,
                                            now->endpoints[b->endpoint].name);
        }
}

static void ties_are_drawn_alike(void **state) {
        struct config *first = loaded(BEFORE), *second = loaded(AFTER);
        struct succession one, two;
        struct demand demand;
        struct route_set fresh, moved;
        (void)state;
        make(&first->catalog, first->keys, second, &one);
        make_demand(&demand);
        route_match(&one.catalog, &demand, &fresh); /* of a job that came after the reload */
        route_match(&first->catalog, &demand, &moved);
        route_match_again(&one.catalog, &demand, &moved); /* of one that was there */
        assert_int_equal(fresh.count, 3);
        assert_int_equal(moved.count, 4);
        for (uint64_t seed = 0; seed < 500; seed++) {
                decide_twice(&one.catalog, &second->catalog, &fresh, seed * 7919);
                decide_twice(&one.catalog, &second->catalog, &moved, seed * 7919);
        }
        make(&one.catalog, one.keys, first, &two); /* and back: its places are as they were */
        route_match(&two.catalog, &demand, &fresh);
        for (uint64_t seed = 0; seed < 100; seed++)
                decide_twice(&two.catalog, &first->catalog, &fresh, seed);
        succession_deinit(&two);
        succession_deinit(&one);
        config_free(second);
        config_free(first);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(indexes_stay), cmocka_unit_test(workspaces_go),
                cmocka_unit_test(full),         cmocka_unit_test(differences),
                cmocka_unit_test(another_key),  cmocka_unit_test(ties_are_drawn_alike),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
