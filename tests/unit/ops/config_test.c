/* What a right configuration becomes; that print and load are inverse; that no secret gets out. */
#include "broker/base/time.h"
#include "broker/ops/config.h"
#include "broker/ops/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define EXAMPLE TEST_SOURCE_DIR "/tests/unit/ops/data/example.yaml"
#define CANARY  "sk-canary-0123456789"
#define MICRO   INT64_C(1000000) /* picodollars per microdollar */

enum { ALL_KINDS = (1 << KINDS_COUNT) - 1 };

static const struct config_options no_options;

static struct config *loaded(const struct config_options *options, const char *text) {
        struct config *config = NULL;
        struct error *error = config_load_text(options, "f", bytes_of(text), &config);
        if (error != NULL)
                fail_msg("%s", error->message);
        return config;
}

static char *printed(const struct config *config) {
        struct buffer text;
        buffer_init(&text, 1 << 20);
        config_print(config, &text);
        buffer_append_char(&text, '\0');
        assert_false(text.failed);
        return text.data;
}

/* Two configurations are the same when they print the same and route the same. */
static void assert_round_trip(const struct config *config, const char *print) {
        struct config *again = loaded(&no_options, print);
        char *second = printed(again);
        assert_string_equal(print, second);
        assert_string_equal(config->catalog.id, again->catalog.id);
        free(second);
        config_free(again);
}

/* ---- settings ---- */

static void defaults(void **state) {
        struct config *config = loaded(&no_options, "");
        const struct settings *settings = &config->settings;
        (void)state;
        assert_string_equal(settings->state, "./batchferry-state");
        assert_int_equal(settings->in_flight, 4096);
        assert_int_equal(settings->job_bytes, 1 << 20);
        assert_int_equal(settings->memory, INT64_C(2) << 30);
        assert_int_equal(settings->disk_patience, 300 * NS_PER_S);
        assert_true(settings->retry_budget == 0.1);
        assert_string_equal(settings->topic_dead_letters, "batchferry.dead-letters");
        assert_string_equal(settings->ca_file, "");
        assert_false(settings->http2);
        assert_true(config->fetch_https);
        assert_false(config->fetch_http || config->fetch_file || config->fetch_s3);
        assert_true(config->prefs.allow_fallbacks);
        assert_int_equal(config->prefs.sort, SORT_PRICE);
        assert_true(config->prefs.max_price_image == PICOUSD_MAX);
        assert_int_equal(config->catalog.providers_count, 0);
        assert_int_equal(strlen(config->catalog.id), 16);
        config_free(config);
}

static void values(void **state) {
        struct config *config =
                loaded(&no_options, "state: /var/lib/batchferry\n"
                                    "limits: {in_flight: \"64\", job_bytes: 2KB, memory: 3GiB}\n"
                                    "timeouts: {total: 1m30s, connect: 250ms}\n"
                                    "retry: {budget: 0.25, backoff: , attempts: 7}\n"
                                    "fetch: {allow: [http, s3], private_addresses: allow}\n"
                                    "http: {http2: true}\n"
                                    "results: {encoding: msgpack}\n"
                                    "topics:\n"
                                    "workspaces: [{name: research, weight: 2}]\n");
        const struct settings *settings = &config->settings;
        (void)state;
        assert_string_equal(settings->state, "/var/lib/batchferry");
        assert_int_equal(settings->in_flight, 64);
        assert_int_equal(settings->job_bytes, 2000);
        assert_int_equal(settings->memory, INT64_C(3) << 30);
        assert_int_equal(settings->timeout_total, 90 * NS_PER_S);
        assert_int_equal(settings->timeout_connect, 250 * NS_PER_MS);
        assert_true(settings->retry_budget == 0.25);
        assert_int_equal(settings->retry_attempts, 7);
        assert_true(config->fetch_http && config->fetch_s3);
        assert_false(config->fetch_https || config->fetch_file);
        assert_string_equal(settings->fetch_private_addresses, "allow");
        assert_string_equal(settings->results_encoding, "msgpack");
        assert_true(settings->http2);
        config_free(config);
}

static void command_line_is_over_the_file(void **state) {
        const char *const sets[] = {
                "limits.in_flight=65", "limits.in_flight=66", "routing.sort=latency",
                "routing.only=a, b",   "fetch.allow=[]",      "kafka.group.id=other",
                "kafka.client.id=x=y", "http.ca_file=",       "routing.max_price.prompt=0.5"};
        const struct config_options options = {.sets = sets, .sets_count = sizeof sets / sizeof *sets};
        struct config *config = loaded(&options, "limits: {in_flight: 64}\nkafka: {group.id: one}\n"
                                                 "http: {ca_file: /x}\nrouting: {sort: price, only: [c]}\n");
        (void)state;
        assert_int_equal(config->settings.in_flight, 66);
        assert_int_equal(config->prefs.sort, SORT_LATENCY);
        assert_int_equal(config->prefs.only.count, 2);
        assert_true(bytes_equal_string(config->prefs.only.items[1], "b"));
        assert_true(config->prefs.max_price_input == PICOUSD_PER_USD / 2);
        assert_false(config->fetch_https);
        assert_int_equal(config->kafka_count, 2);
        assert_string_equal(config->kafka[0].name, "group.id");
        assert_string_equal(config->kafka[0].value, "other");
        assert_string_equal(config->kafka[1].value, "x=y");
        assert_string_equal(config->settings.ca_file, "");
        config_free(config);
}

static void routing(void **state) {
        struct config *config = loaded(
                &no_options, "routing:\n"
                             "  order: [b, a/m]\n  ignore: [c]\n  regions: [us, eu]\n"
                             "  quantizations: [fp8]\n  allow_fallbacks: false\n  data_collection: deny\n"
                             "  zdr: true\n  sort: {by: throughput, partition: none}\n  spread: 0.25\n"
                             "  require_parameters: true\n  unknown_price: deny\n  max_cost_usd: 0.5\n"
                             "  enforce_distillable_text: false\n"
                             "  max_price: {completion: 2, request: 0.01}\n"
                             "  preferred_max_latency: {p50: 1.5}\n  preferred_min_throughput: 20\n");
        const struct routing_prefs *prefs = &config->prefs;
        (void)state;
        assert_int_equal(prefs->order.count, 2);
        assert_true(bytes_equal_string(prefs->order.items[1], "a/m"));
        assert_int_equal(prefs->regions.count, 2);
        assert_int_equal(prefs->quantizations.count, 1);
        assert_false(prefs->allow_fallbacks);
        assert_true(prefs->deny_training && prefs->zdr);
        assert_int_equal(prefs->sort, SORT_THROUGHPUT);
        assert_true(prefs->sort_across_models && prefs->require_parameters && prefs->deny_unknown_price);
        assert_int_equal(prefs->spread_ppm, SPREAD_WHOLE / 4);
        assert_true(prefs->max_cost_picousd == PICOUSD_PER_USD / 2);
        assert_int_equal(prefs->preferred_max_latency[0], 1500000000);
        assert_int_equal(prefs->preferred_max_latency[1], 0);
        assert_int_equal(prefs->preferred_min_throughput[0], 20000);
        assert_true(prefs->max_price_output == 2 * PICOUSD_PER_USD);
        assert_true(prefs->max_price_request == 10000 * MICRO * 1000000);
        char *print = printed(config);
        assert_round_trip(config, print);
        free(print);
        config_free(config);
}

/* ---- providers ---- */

static void contract(void **state) {
        struct config *config = NULL;
        const struct config_options options = {.path = EXAMPLE};
        (void)state;
        setenv("OPENAI_API_KEY", CANARY, 1);
        setenv("DEEPSEEK_API_KEY", CANARY "-2", 1);
        struct error *error = config_load(&options, &config);
        if (error != NULL)
                fail_msg("%s", error->message);
        const struct catalog *catalog = &config->catalog;
        assert_string_equal(config->path, EXAMPLE);
        assert_int_equal(catalog->providers_count, 2);
        assert_int_equal(catalog->endpoints_count, 4);
        const struct provider *openai = &catalog->providers[0], *deepseek = &catalog->providers[1];
        assert_string_equal(openai->name, "openai");
        assert_string_equal(openai->base_url, "https://api.openai.com/v1");
        assert_int_equal(openai->retention_days, 30);
        assert_true(openai->data_policy_known && !openai->zdr && !openai->training);
        assert_int_equal(openai->limits.concurrency, 512);
        assert_true(deepseek->training);
        assert_int_equal(deepseek->retention_days, -1);
        assert_string_equal(config->keys[1], CANARY "-2");

        const struct endpoint *small = &catalog->endpoints[0], *mini = &catalog->endpoints[1];
        const struct endpoint *whisper = &catalog->endpoints[2];
        assert_string_equal(small->name, "openai/text-embedding-3-small");
        assert_int_equal(small->dimensions, 1536);
        assert_true(small->price.input == 20000 * MICRO);
        assert_true(small->price.output == PRICE_UNKNOWN);
        assert_true(small->batch.input == 10000 * MICRO);
        assert_true(mini->price.cached_input == 75000 * MICRO);
        assert_int_equal(mini->context, 128000);
        assert_int_equal(mini->limits.requests_per_minute, 5000);
        assert_int_equal(mini->quality, 62);
        assert_string_equal(mini->upstream, "gpt-4o-mini");
        assert_string_equal(mini->quantization, "unknown");
        assert_int_equal(mini->kinds, ALL_KINDS);
        assert_true(whisper->price.audio_minute == 6000 * MICRO * 1000000);
        const struct endpoint *flash = &catalog->endpoints[3];
        assert_int_equal(flash->provider, 1);
        assert_int_equal(flash->windows_count, 1);
        assert_int_equal(flash->windows[0].multiply_millionths, 500000);
        assert_int_equal(flash->windows[0].from_minutes, 16 * 60 + 30);
        assert_int_equal(flash->windows[0].to_minutes, 30);
        assert_int_equal(flash->windows[0].days, 0x1f);
        assert_string_equal(flash->windows[0].zone->name, "UTC");
        config_free(config);
}

static void data_policies(void **state) {
        static const struct {
                const char *policy;
                bool known, zdr, training;
        } cases[] = {
                {"", false, false, false},
                {"data_policy: {}", false, false, false},
                {"data_policy: {zdr: true}", true, true, false},
                {"data_policy: {zdr: true, retention_days: 0}", true, true, false},
                {"data_policy: {zdr: false}", true, false, true},
                {"data_policy: {training: false}", true, false, false},
                {"data_policy: {retention_days: 30}", true, false, true},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char text[256];
                snprintf(text, sizeof text,
                         "providers:\n  - name: a\n    kind: x\n    base_url: https://h///\n    models: "
                         "[{model: m}]\n"
                         "    %s\n",
                         cases[i].policy);
                struct config *config = loaded(&no_options, text);
                const struct provider *provider = &config->catalog.providers[0];
                assert_string_equal(provider->base_url, "https://h");
                assert_int_equal(provider->data_policy_known, cases[i].known);
                assert_int_equal(provider->zdr, cases[i].zdr);
                assert_int_equal(provider->training, cases[i].training);
                config_free(config);
        }
}

static void default_provider(void **state) {
        struct config *config;
        (void)state;
        unsetenv("OPENAI_API_KEY");
        setenv("BATCHFERRY_TEST_KEY", CANARY, 1);
        config = loaded(&(struct config_options){.base_url = "http://localhost:8000/v1/"}, "");
        assert_null(config->keys[0]);
        assert_string_equal(config->catalog.providers[0].base_url, "http://localhost:8000/v1");
        assert_string_equal(config->catalog.endpoints[0].name, "default/*");
        assert_string_equal(config->catalog.endpoints[0].model, "*");
        assert_true(config->catalog.endpoints[0].price.input == PRICE_UNKNOWN);
        assert_int_equal(config->catalog.endpoints[0].kinds, ALL_KINDS);
        char *print = printed(config);
        assert_round_trip(config, print);
        free(print);
        config_free(config);

        /* With a file, its settings count, and its providers, whose keys may be missing, do not. */
        config =
                loaded(&(struct config_options){.base_url = "http://h", .api_key_env = "BATCHFERRY_TEST_KEY"},
                       "shards: 3\nproviders: [{name: a, api_key: '${BATCHFERRY_TEST_UNSET}'}]\n");
        assert_string_equal(config->keys[0], CANARY);
        assert_int_equal(config->settings.shards, 3);
        assert_int_equal(config->catalog.providers_count, 1);
        config_free(config);
}

static void azure_may_have_a_version(void **state) {
        struct config *config = loaded(
                &no_options,
                "providers: [{name: a, kind: azure, base_url: 'https://n.openai.azure.com?api-version=1', "
                "models: [{model: m}]}]");
        (void)state;
        assert_string_equal(config->catalog.providers[0].base_url,
                            "https://n.openai.azure.com?api-version=1");
        config_free(config);
}

/* The id follows what decisions depend on, and not keys. */
/* What each of these changes in a model, in its provider, must change the id. */
static void catalog_id_of_models(void **state) {
        static const char *const models[] = {
                "m}]",
                "m, region: eu}]",
                "m, parameters: []}]",
                "m, parameters: [seed]}]",
                "m, input_modalities: [text]}]",
                "m, output_modalities: [text]}]",
                "m, price: {reasoning: 1}}]",
                "m, price: {batch: {input: 1}}}]",
                "m, limits: {requests_per_day: 1}}]",
                "m, limits: {tokens_per_day: 1}}]",
                "m, limits: {audio_seconds_per_hour: 1}}]",
                "m, limits: {audio_seconds_per_day: 1}}]",
                "m, limits: {images_per_minute: 1}}]",
                "m, price_tiers: [{above_input: 1, input: 1}]}]",
                "m, price_tiers: [{above_input: 2, input: 1}]}]",
                "m, price_tiers: [{above_input: 1, input: 2}]}]",
                "m, price_windows: [{when: 'Mon UTC', multiply: 2}]}]",
                "m, price_windows: [{when: 'Tue UTC', multiply: 2}]}]",
                "m, price_windows: [{when: 'Mon UTC', multiply: 3}]}]",
                "m, price_windows: [{when: 'Mon +01:00', multiply: 2}]}]",
                "m, price_windows: [{when: 'Mon 01:00-24:00 UTC', multiply: 2}]}]",
                "m, price_windows: [{when: 'Mon 00:00-23:00 UTC', multiply: 2}]}]",
                "m}], budget: {daily: 1}",
                "m}], budget: {monthly: 1}",
                "m}], budget: {lifetime: 1}",
        };
        char ids[sizeof models / sizeof *models][17];
        (void)state;
        for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
                char text[512];
                snprintf(text, sizeof text,
                         "providers: [{name: a, kind: k, base_url: 'http://h', models: [{model: %s}]\n",
                         models[i]);
                struct config *config = loaded(&no_options, text);
                memcpy(ids[i], config->catalog.id, sizeof ids[i]);
                for (size_t k = 0; k < i; k++)
                        if (strcmp(ids[i], ids[k]) == 0)
                                fail_msg("%s and %s have one id", models[i], models[k]);
                config_free(config);
        }
}

static void catalog_id(void **state) {
        static const char format[] =
                "providers: [{name: %s, kind: k, base_url: 'http://h', api_key: %s, models: "
                "[{model: m, quality: %d, price: {input: %s}}]}]\nrouting: {sort: %s}\n";
        static const struct {
                const char *name, *key;
                int quality;
                const char *price, *sort;
                bool same;
        } cases[] = {
                {"a", "key1", 1, "1", "price", true},    {"a", "key2", 1, "1", "price", true},
                {"a", "key1", 1, "1.0", "price", true},  {"b", "key1", 1, "1", "price", false},
                {"a", "key1", 1, "1.1", "price", false}, {"a", "key1", 1, "1", "latency", false},
                {"a", "key1", 2, "1", "price", false},
        };
        char first[17] = "";
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char text[512];
                snprintf(text, sizeof text, format, cases[i].name, cases[i].key, cases[i].quality,
                         cases[i].price, cases[i].sort);
                struct config *config = loaded(&no_options, text);
                if (i == 0)
                        memcpy(first, config->catalog.id, sizeof first);
                assert_int_equal(strcmp(first, config->catalog.id) == 0, cases[i].same);
                config_free(config);
        }
}

/* ---- printing ---- */

static void round_trip(void **state) {
        struct config *config = loaded(
                &no_options,
                "state: 'with \"quotes\", a # and $${NAME}: yes'\n"
                "retry: {budget: 33.3333%, backoff: {base: 1s500ms}}\n"
                "limits: {job_bytes: 1025, memory: 1536MiB}\n"
                "fetch: {allow: []}\nlog: {format: json}\n"
                "http: {ca_file: \"/tmp/caf\xc3\xa9/\\u2028\\U0001F600\"}\n"
                "kafka:\n  ssl.ca.pem: |\n    line one\n    line two\n  client.id: 'null'\n  "
                "group.id: ''\n  a.b: '~'\n"
                "  c: ' padded '\n  d: '- x'\n  e: '@x'\n  f: 'a: b'\n  g: '...'\n  h: '---'\n  i: "
                "\"tab\\there\"\n"
                "  j: 'true'\n  k: ${BATCHFERRY_TEST_YAML}\n"
                "providers:\n"
                "  - {name: a, kind: openai, base_url: 'http://[::1]:8000', region: us, data_policy: "
                "{zdr: true},\n"
                "     limits: {tokens_per_minute: 1000000000000},\n"
                "     models: [{model: '*', kinds: [chat, /v1/rerank], price: {image: 0.04, request: "
                "0.000001}},\n"
                "              {model: 'maker/m:free', upstream: u, quantization: fp8, output_max: 5, "
                "context: 9,\n"
                "               price: {character: 15, search_unit: 0, audio_minute: 0.000001, batch: "
                "{output: 1}},\n"
                "               quality: 0}]}\n"
                "  - {name: b, kind: azure, base_url: 'https://h', models: [{model: 'null'}]}\n"
                "  - name: c\n    kind: openai\n    base_url: 'https://h'\n    catalog: other\n"
                "    budget: {daily: 0.5, lifetime: 9000000}\n"
                "    limits: {requests_per_day: 1, tokens_per_day: 2, audio_seconds_per_hour: 3,\n"
                "             audio_seconds_per_day: 4, images_per_minute: 5}\n"
                "    models:\n"
                "      - model: m\n        region: eu\n        quality: 71\n        parameters: "
                "[seed, tools]\n"
                "        input_modalities: [text, video]\n        output_modalities: [audio]\n"
                "        limits: {requests_per_day: 6, tokens_per_day: 7, audio_seconds_per_hour: 8,\n"
                "                 audio_seconds_per_day: 9, images_per_minute: 10}\n"
                "        price: {input: 1, output: 3, reasoning: 4, audio_second: 0.0001, batch: "
                "{reasoning: 2},\n"
                "                flex: {input: 0.5, output: 1.5}, priority: {output: 6, audio_input: 7}}\n"
                "        price_tiers: [{above_input: 5, input: 2}, {above_input: 6, output: 9, "
                "reasoning: 1, priority: {input: 8}}]\n"
                "        price_windows: [{when: 'Sat,Sun +08:00', multiply: 0.123456},\n"
                "                        {when: '22:00-06:00 Europe/Berlin', multiply: 2}]\n"
                "      - {model: n, parameters: []}\n");
        char *print = printed(config);
        (void)state;
        assert_round_trip(config, print);
        assert_string_equal(config->settings.state, "with \"quotes\", a # and ${NAME}: yes");
        assert_true(config->catalog.endpoints[0].price.image == 40000 * MICRO * 1000000);
        assert_true(config->catalog.endpoints[1].price.search_unit == 0);
        assert_int_equal(config->catalog.endpoints[0].kinds, 1 << KIND_CHAT | 1 << KIND_RERANK);
        assert_string_equal(config->kafka[config->kafka_count - 1].value, "a: [1, *x]\n# no");

        const struct provider *c = &config->catalog.providers[2];
        const struct endpoint *m = &config->catalog.endpoints[3], *n = &config->catalog.endpoints[4];
        assert_true(c->budget.daily == PICOUSD_PER_USD / 2 && c->budget.monthly == 0);
        assert_true(c->budget.lifetime == 9000000 * PICOUSD_PER_USD);
        assert_int_equal(c->limits.audio_seconds_per_day, 4);
        assert_int_equal(m->limits.images_per_minute, 10);
        assert_string_equal(m->region, "eu");
        assert_int_equal(m->quality, 71);
        assert_true(m->parameters_known && m->parameters == (1 << PARAMETER_SEED | 1 << PARAMETER_TOOLS));
        assert_int_equal(m->input_modalities, 1 << MODALITY_TEXT | 1 << MODALITY_VIDEO);
        assert_true(m->price.audio_minute == 6000 * MICRO * 1000000);
        assert_int_equal(m->tiers_count, 2);
        assert_true(m->tiers[0].price.input == 2 * PICOUSD_PER_USD);
        assert_true(m->tiers[1].price.input == PICOUSD_PER_USD); /* of the model, not of the tier before */
        assert_true(m->tiers[1].price.audio_minute == m->price.audio_minute);
        assert_true(m->service[SERVICE_FLEX - 1].output == PICOUSD_PER_USD * 3 / 2);
        assert_true(m->service[SERVICE_PRIORITY - 1].audio_input == 7 * PICOUSD_PER_USD);
        assert_true(m->service[SERVICE_PRIORITY - 1].input == PRICE_UNKNOWN);
        assert_true(m->tiers[1].service[SERVICE_PRIORITY - 1].input == 8 * PICOUSD_PER_USD);
        assert_true(m->tiers[1].service[SERVICE_PRIORITY - 1].output == 6 * PICOUSD_PER_USD);
        assert_true(m->tiers[0].service[SERVICE_PRIORITY - 1].output == PRICE_UNKNOWN);
        assert_int_equal(m->windows_count, 2);
        assert_true(n->parameters_known && n->parameters == 0);
        assert_false(config->catalog.endpoints[2].parameters_known);
        assert_int_equal(config->catalog.endpoints[2].quality, -1);

        struct config *again = loaded(&no_options, print);
        assert_string_equal(again->settings.state, config->settings.state);
        assert_string_equal(again->settings.ca_file, config->settings.ca_file);
        assert_int_equal(again->kafka_count, config->kafka_count);
        for (size_t i = 0; i < config->kafka_count; i++)
                assert_string_equal(again->kafka[i].value, config->kafka[i].value);
        assert_memory_equal(&again->catalog.endpoints[1].price, &config->catalog.endpoints[1].price,
                            sizeof(struct price));
        assert_true(again->catalog.endpoints[1].batch.output == PICOUSD_PER_USD);
        assert_memory_equal(again->catalog.endpoints[3].service, m->service, sizeof m->service);
        assert_memory_equal(&again->catalog.endpoints[3].tiers[1], &m->tiers[1], sizeof m->tiers[1]);
        assert_true(again->settings.retry_budget == config->settings.retry_budget);
        config_free(again);
        free(print);
        config_free(config);
}

static void shows_no_secret(void **state) {
        char path[] = "/tmp/batchferry-test-XXXXXX";
        int fd = mkstemp(path);
        (void)state;
        assert_true(fd >= 0);
        assert_int_equal(write(fd, CANARY "\n", strlen(CANARY) + 1), (ssize_t)strlen(CANARY) + 1);
        close(fd);
        setenv("BATCHFERRY_TEST_KEY", CANARY, 1);
        const char *const keys[] = {CANARY, "${BATCHFERRY_TEST_KEY}", path};
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
                char text[512];
                snprintf(text, sizeof text,
                         "kafka: {sasl.password: '%s%s%s'}\n"
                         "providers: [{name: a, kind: openai, base_url: 'http://h', api_key: '%s%s%s', "
                         "models: [{model: "
                         "m}]}]",
                         keys[i][0] == '/' ? "${file:" : "", keys[i], keys[i][0] == '/' ? "}" : "",
                         keys[i][0] == '/' ? "${file:" : "", keys[i], keys[i][0] == '/' ? "}" : "");
                struct config *config = loaded(&no_options, text);
                assert_string_equal(config->keys[0], CANARY);
                assert_string_equal(config->kafka[0].value, CANARY);
                char *print = printed(config);
                assert_null(strstr(print, "canary"));
                assert_non_null(strstr(print, "api_key: \"***\"\n"));
                assert_non_null(strstr(print, "sasl.password: \"***\"\n"));
                free(print);
                config_free(config);
        }
        unlink(path);

        struct buffer safe;
        buffer_init(&safe, 256);
        log_redact(BYTES("the key is " CANARY "!"), &safe);
        assert_true(bytes_equal(buffer_view(&safe), BYTES("the key is ***!")));
        buffer_deinit(&safe);
}

/* Wherever a secret stands that is wrong there: the message has the text of the file, not of the variable. */
static void messages_hold_no_secret(void **state) {
        static const char *const places[] = {
                "state: \"\\n%s\"\n",
                "limits: {in_flight: %s}\n",
                "limits: {memory: %s}\n",
                "timeouts: {total: %s}\n",
                "retry: {budget: %s}\n",
                "log: {level: %s}\n",
                "http: {http2: %s}\n",
                "topics: {jobs: '%s %s'}\n",
                "fetch: {allow: ['%s']}\n",
                "routing: {sort: '%s'}\n",
                "routing: {max_price: {prompt: '%s'}}\n",
                "routing: {spread: '%s'}\n",
                "routing: {only: ['%s'], order: ['%s/x']}\nproviders: [{name: a, kind: openai, base_url: "
                "'http://h', "
                "models: [{model: m}], api_key: '%s %s'}]\n",
                "providers: [{name: '%s %s', kind: '%s', base_url: 'http://u:%s@h', api_key: \"%s\\n\", "
                "region: \"\\n%s\"}]\n",
                "providers: [{name: a, kind: openai, base_url: '%s', models: [{model: '%s x', price: {input: "
                "'%s'}, "
                "kinds: ['%s'], quality: '%s', quantization: '%s !'}]}]\n",
                "kafka: {sasl.password: ['%s'], group.id: {a: '%s'}}\n",
                "workspaces: [{name: '%s !', budget: '%s', weight: '%s'}]\n",
                "state: ${file:/nonexistent%s}\nshards: '%s'\n",
        };
        static const char *const dialects[] = {"openai", NULL};
        const struct config_options options = {.dialect_names = dialects};
        (void)state;
        setenv("BATCHFERRY_TEST_KEY", CANARY, 1);
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
                struct buffer text;
                struct config *config;
                buffer_init(&text, 4096);
                for (const char *at = places[i]; *at != '\0'; at++)
                        if (at[0] == '%')
                                buffer_append_string(&text, at++[1] == 's' ? "${BATCHFERRY_TEST_KEY}" : "");
                        else
                                buffer_append_char(&text, *at);
                struct error *error = config_load_text(&options, "f", buffer_view(&text), &config);
                if (error == NULL) {
                        config_free(config); /* only the lists of names may hold anything */
                        assert_non_null(strstr(places[i], "routing"));
                } else {
                        if (strstr(error->message, "canary") != NULL)
                                fail_msg("%s", error->message);
                        error_free(error);
                }
                buffer_deinit(&text);
        }
}

/* ---- files ---- */

static void write_file(const char *path, const char *text) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static void search_order(void **state) {
        char root[] = "/tmp/batchferry-test-XXXXXX", before[4096], path[256];
        struct config *config = NULL;
        (void)state;
        assert_non_null(getcwd(before, sizeof before));
        assert_non_null(mkdtemp(root));
        assert_int_equal(chdir(root), 0);
        setenv("XDG_CONFIG_HOME", root, 1);

        assert_null(config_load(&no_options, &config));
        assert_null(config->path);
        config_free(config);

        assert_int_equal(mkdir("batchferry", 0700), 0);
        write_file("batchferry/batchferry.yaml", "shards: 2\n");
        assert_null(config_load(&no_options, &config));
        assert_int_equal(config->settings.shards, 2);
        config_free(config);

        write_file("batchferry.yaml", "shards: 3\n");
        assert_null(config_load(&no_options, &config));
        assert_int_equal(config->settings.shards, 3);
        assert_string_equal(config->path, "batchferry.yaml");
        config_free(config);

        snprintf(path, sizeof path, "%s/batchferry/batchferry.yaml", root);
        assert_null(config_load(&(struct config_options){.path = path}, &config));
        assert_int_equal(config->settings.shards, 2);
        config_free(config);

        /* With a base URL no file is looked for. */
        assert_null(config_load(&(struct config_options){.base_url = "http://h"}, &config));
        assert_int_equal(config->settings.shards, 0);
        config_free(config);

        struct error *error = config_load(&(struct config_options){.path = "missing.yaml"}, &config);
        assert_string_equal(error->message, "cannot read missing.yaml: No such file or directory");
        assert_int_equal(error->kind, ERROR_USAGE);
        error_free(error);
        error = config_load(&(struct config_options){.path = root}, &config);
        assert_non_null(strstr(error->message, ": Is a directory"));
        error_free(error);

        unlink("batchferry.yaml");
        unlink("batchferry/batchferry.yaml");
        rmdir("batchferry");
        assert_int_equal(chdir(before), 0);
        rmdir(root);
}

static void reference(void **state) {
        struct buffer text;
        (void)state;
        buffer_init(&text, 1 << 20);
        config_reference(&text);
        buffer_append_char(&text, '\0');
        assert_non_null(strstr(text.data,
                               "\n| `limits.in_flight` | whole number | `4096` | 1 to 100000 | calls under "
                               "way at a time, per process |\n"));
        assert_non_null(strstr(text.data, "\n| `log.format` | word | `text` | text, json | "));
        assert_non_null(strstr(
                text.data, "\n| `price.audio_minute` | USD |  | 0 or more | USD per minute of audio |\n"));
        assert_non_null(strstr(text.data,
                               "\n| `base_url` | text |  | 1 to 2048 bytes | http or https; required |\n"));
        buffer_deinit(&text);
}

static int environment(void **state) {
        (void)state;
        unsetenv("BATCHFERRY_TEST_UNSET");
        setenv("BATCHFERRY_TEST_YAML", "a: [1, *x]\n# no", 1);
        return 0;
}

static int forget(void **state) {
        (void)state;
        log_forget();
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(defaults),
                cmocka_unit_test(values),
                cmocka_unit_test(command_line_is_over_the_file),
                cmocka_unit_test(routing),
                cmocka_unit_test(contract),
                cmocka_unit_test(data_policies),
                cmocka_unit_test(default_provider),
                cmocka_unit_test(azure_may_have_a_version),
                cmocka_unit_test(catalog_id),
                cmocka_unit_test(catalog_id_of_models),
                cmocka_unit_test(round_trip),
                cmocka_unit_test(shows_no_secret),
                cmocka_unit_test(messages_hold_no_secret),
                cmocka_unit_test(search_order),
                cmocka_unit_test(reference),
        };
        return cmocka_run_group_tests(tests, environment, forget);
}
