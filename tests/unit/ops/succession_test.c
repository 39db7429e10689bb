/* What keeps its index when a configuration follows another, and what is told of the difference. */
#include "broker/ops/succession.h"

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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(indexes_stay), cmocka_unit_test(workspaces_go), cmocka_unit_test(full),
                cmocka_unit_test(differences),  cmocka_unit_test(another_key),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
