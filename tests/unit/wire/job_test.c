/*
 * What is read from good lines: names, rules from several layers, sizes, and that a spec stands on its own.
 */
#include "broker/wire/json_span.h"
#include "wire_fixture.h"
#include "workers/routing/catalog.h"

#include <stdio.h>
#include <string.h>

static struct job_spec *decode_good(struct job_decoder *decoder, const char *line) {
        struct job_spec *job = decode(decoder, line);
        if (job->failure != FAILURE_NONE)
                fail_msg("%s\n%.*s: %.*s", line, (int)job->failure_field.size, job->failure_field.data,
                         (int)job->failure_message.size, job->failure_message.data);
        return job;
}

/* Which of two jobs' names are the same. */
static const struct {
        const char *a, *b;
        bool same_key, same_class;
} pairs[] = {
        {JOB(""), JOB(""), true, true},
        {JOB(""), JOB(",\"priority\":0,\"metadata\":{}"), true, true},
        {JOB(""), JOB(",\"priority\":1"), true, false},
        {JOB(""), JOB(",\"routing\":{\"zdr\":true}"), true, false},
        {JOB(",\"routing\":{\"only\":[\"a\",\"b\"]}"),
         JOB(",\"routing\":{\"only\":[\"a\"],\"order\":[\"b\"]}"), true, false},
        {JOB(",\"routing\":{\"only\":[\"ab\"]}"), JOB(",\"routing\":{\"only\":[\"a\",\"b\"]}"), true, false},
        {JOB(",\"batch\":\"x\""), JOB(",\"batch\":\"y\""), false, true},
        {JOB(",\"workspace\":\"x\""), JOB(",\"workspace\":\"y\""), false, true},
        {JOB(",\"idempotency_key\":\"k\""), JOB(",\"idempotency_key\":\"k\",\"batch\":\"y\""), true, true},
        {JOB(",\"idempotency_key\":\"k\",\"workspace\":\"x\""),
         JOB(",\"idempotency_key\":\"k\",\"workspace\":\"y\""), false, true},
        {JOB(",\"idempotency_key\":\"a\""), JOB(""), false, true},
        {JOB(",\"idempotency_key\":\"jobs.jsonl\\u0000a\""), JOB(""), false, true},
        {JOB(",\"batch\":null,\"idempotency_key\":null,\"routing\":null"), JOB(""), true, true},
        {JOB(",\"max_cost_usd\":1"), JOB(""), true, true},
};

static void keys_tell_jobs_apart(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
                struct job_spec *a = decode_good(decoder, pairs[i].a), *b = decode_good(decoder, pairs[i].b);
                if (key128_equal(a->key, b->key) != pairs[i].same_key ||
                    key128_equal(a->class_key, b->class_key) != pairs[i].same_class)
                        fail_msg("%s\n%s", pairs[i].a, pairs[i].b);
                assert_false(key128_equal(a->key, a->alias));
                job_spec_free(a);
                job_spec_free(b);
        }
        job_decoder_free(decoder);
}

/* The same key with another body: the conflict has a name of its own. */
static void the_alias_depends_on_the_body(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *a = decode_good(decoder, CHAT("")), *b = decode_good(decoder, CHAT(",\"n\":2"));
        assert_true(key128_equal(a->key, b->key));
        assert_false(key128_equal(a->alias, b->alias));
        job_spec_free(a);
        job_spec_free(b);
        job_decoder_free(decoder);
}

static void the_body_is_untouched(void **state) {
        (void)state;
        static const char body[] = "{ \"model\":\"a\\u0062\",\t\"input\" : \"\\u00e9\\/\", \"x\":1.50 }";
        char line[256];
        snprintf(line, sizeof line, " { \"body\" :%s , \"custom_id\":\"a\",\"url\":\"/v1/embeddings\"} ",
                 body);
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *job = decode_good(decoder, line);
        assert_bytes(job->body, body);
        assert_bytes(job->demand.models[0], "ab");
        assert_bytes(span_of(job->body, job->model_value), "\"a\\u0062\"");
        assert_int_equal(job->memory_bytes, sizeof *job + sizeof body - 1 + strlen("a") + strlen("default") +
                                                    strlen("jobs.jsonl") + strlen("ab"));
        job_spec_free(job);
        job_decoder_free(decoder);
}

static bool has_names(const struct names *names, const char *joined) {
        char text[512] = "";
        for (unsigned i = 0; i < names->count; i++)
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.*s", i > 0 ? " " : "",
                         (int)names->items[i].size, names->items[i].data);
        return strcmp(text, joined) == 0;
}

/* Three layers: configuration, body.provider, routing. */
static const struct {
        const char *provider, *routing;
        const char *order, *only, *ignore, *regions;
        enum sort_by sort;
        bool deny_training, zdr, allow_fallbacks;
} layers[] = {
        {"null", "null", "p", "a b/x c", "z", "", SORT_LATENCY, true, false, true},
        {"{}", "{}", "p", "a b/x c", "z", "", SORT_LATENCY, true, false, true},
        {"{\"order\":[\"q\"]}", "{}", "q", "a b/x c", "z", "", SORT_LATENCY, true, false, true},
        {"{\"order\":[\"q\"]}", "{\"order\":[\"r\",\"q\",\"r\"]}", "r q", "a b/x c", "z", "", SORT_LATENCY,
         true, false, true},
        {"{\"order\":[]}", "{\"only\":[]}", "p", "a b/x c", "z", "", SORT_LATENCY, true, false, true},
        {"{\"only\":[\"b\",\"c\",\"d\"]}", "{}", "p", "b/x c", "z", "", SORT_LATENCY, true, false, true},
        {"{\"only\":[\"b\",\"c\"]}", "{\"only\":[\"c/1\",\"b/x\"]}", "p", "b/x c/1", "z", "", SORT_LATENCY,
         true, false, true},
        {"{\"ignore\":[\"y\"]}", "{\"ignore\":[\"x\",\"z\"]}", "p", "a b/x c", "z y x", "", SORT_LATENCY,
         true, false, true},
        {"{\"regions\":[\"eu\",\"us\"]}", "{\"regions\":[\"us\",\"cn\"]}", "p", "a b/x c", "z", "us",
         SORT_LATENCY, true, false, true},
        {"{\"data_collection\":\"allow\",\"zdr\":true}", "{\"data_collection\":\"allow\",\"zdr\":false}", "p",
         "a b/x c", "z", "", SORT_LATENCY, true, true, true},
        {"{\"allow_fallbacks\":false,\"sort\":\"price\"}", "{\"sort\":{\"by\":\"throughput\"}}", "p",
         "a b/x c", "z", "", SORT_THROUGHPUT, true, false, false},
        {"{\"allow_fallbacks\":false}", "{\"allow_fallbacks\":true,\"require_parameters\":true}", "p",
         "a b/x c", "z", "", SORT_LATENCY, true, false, false},
};

static void rules_of_layers_are_merged(void **state) {
        (void)state;
        struct demand defaults;
        demand_init(&defaults, KIND_CHAT);
        struct routing_prefs *prefs = &defaults.prefs;
        prefs->order = (struct names){(const struct bytes[]){BYTES("p")}, 1};
        prefs->only = (struct names){(const struct bytes[]){BYTES("a"), BYTES("b/x"), BYTES("c")}, 3};
        prefs->ignore = (struct names){(const struct bytes[]){BYTES("z")}, 1};
        prefs->sort = SORT_LATENCY;
        prefs->deny_training = true;
        struct job_decoder *decoder = new_decoder(prefs);
        for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
                char line[1024];
                snprintf(line, sizeof line,
                         "{\"custom_id\":\"a\",\"url\":\"/v1/"
                         "embeddings\",\"body\":{\"model\":\"m\",\"input\":\"x\","
                         "\"provider\":%s},\"routing\":%s}",
                         layers[i].provider, layers[i].routing);
                struct job_spec *job = decode_good(decoder, line);
                const struct routing_prefs *got = &job->demand.prefs;
                if (!has_names(&got->order, layers[i].order) || !has_names(&got->only, layers[i].only) ||
                    !has_names(&got->ignore, layers[i].ignore) ||
                    !has_names(&got->regions, layers[i].regions) || got->sort != layers[i].sort ||
                    got->deny_training != layers[i].deny_training || got->zdr != layers[i].zdr ||
                    got->allow_fallbacks != layers[i].allow_fallbacks)
                        fail_msg("%s", line);
                assert_true(job->provider_member.size > 0);
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

#define WORKSPACE_JOB(workspace, routing)                                                                    \
        "{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"workspace\":\"" workspace                          \
        "\",\"body\":{\"model\":\"m\"},\"routing\":" routing "}"

static struct workspace workspace_named(const char *name) {
        struct workspace workspace = {.name = name};
        prefs_init(&workspace.prefs);
        return workspace;
}

/* What the decoder reads next changes nothing of them. */
static void lists_are_the_jobs_own(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *jobs[3];
        for (int i = 0; i < 3; i++) {
                char line[512];
                snprintf(line, sizeof line,
                         "{\"custom_id\":\"a\",\"url\":\"/v1/embeddings\",\"body\":{\"model\":\"m\","
                         "\"input\":\"x\",\"provider\":{\"order\":[\"o%d\"],\"only\":[\"a\",\"b%d\"]}},"
                         "\"routing\":{\"only\":[\"b%d\",\"a\"],\"ignore\":[\"c%d\"],\"regions\":[\"r%d\"]}}",
                         i, i, i, i, i);
                jobs[i] = decode_good(decoder, line);
        }
        job_decoder_free(decoder);
        for (int i = 0; i < 3; i++) {
                const struct routing_prefs *prefs = &jobs[i]->demand.prefs;
                const char *end = (const char *)jobs[i] + jobs[i]->memory_bytes;
                char only[16], ignore[8];
                snprintf(only, sizeof only, "a b%d", i);
                snprintf(ignore, sizeof ignore, "c%d", i);
                assert_true(has_names(&prefs->only, only) && has_names(&prefs->ignore, ignore));
                assert_int_equal(prefs->order.count + prefs->regions.count, 2);
                assert_true((const char *)prefs->only.items > (const char *)jobs[i] &&
                            (const char *)(prefs->regions.items + 1) <= end);
                job_spec_free(jobs[i]);
        }
}

/*
 * A job cannot loosen its workspace, nor that the configuration; who is not named falls under the first one.
 */
static void workspaces_have_a_layer(void **state) {
        (void)state;
        static struct workspace workspaces[3];
        struct routing_prefs configuration;
        prefs_init(&configuration);
        configuration.only = (struct names){(const struct bytes[]){BYTES("a"), BYTES("b")}, 2};
        configuration.max_price_input = 500;
        workspaces[0] = workspace_named("default");
        workspaces[1] = workspace_named("strict");
        workspaces[1].prefs.zdr = true;
        workspaces[1].prefs.allow_fallbacks = false;
        workspaces[1].prefs.only = (struct names){(const struct bytes[]){BYTES("b/x"), BYTES("c")}, 2};
        workspaces[1].prefs.max_price_input = 900;
        workspaces[1].prefs.max_cost_picousd = PICOUSD_PER_USD;
        workspaces[2] = workspace_named("hopeless");
        workspaces[2].prefs.only = (struct names){(const struct bytes[]){BYTES("c")}, 1};
        struct job_decoder_options options = {.job_bytes_max = TEST_JOB_BYTES_MAX,
                                              .prefs_default = &configuration,
                                              .workspaces = workspaces,
                                              .workspaces_count = 3};
        struct job_decoder *decoder;
        assert_null(job_decoder_new(&options, &decoder));
        for (int round = 0; round < 2; round++) {
                struct job_spec *job = decode_good(decoder, WORKSPACE_JOB("nobody", "{\"zdr\":false}"));
                assert_int_equal(job->demand.workspace, 0);
                assert_false(job->demand.prefs.zdr);
                assert_true(has_names(&job->demand.prefs.only, "a b"));
                struct job_spec *other = decode_good(
                        decoder,
                        WORKSPACE_JOB("strict", "{\"zdr\":false,\"allow_fallbacks\":true,\"max_price\":"
                                                "{\"prompt\":7},\"max_cost_usd\":2}"));
                assert_int_equal(other->demand.workspace, 1);
                assert_true(other->demand.prefs.zdr && !other->demand.prefs.allow_fallbacks);
                assert_true(has_names(&other->demand.prefs.only, "b/x"));
                assert_int_equal(other->demand.prefs.max_price_input, 500);
                assert_true(other->demand.max_cost_picousd == PICOUSD_PER_USD);
                assert_false(key128_equal(job->class_key, other->class_key));
                job_spec_free(job);
                job_spec_free(other);
                job = decode(decoder, WORKSPACE_JOB("strict", "{\"only\":[\"a\"]}"));
                assert_int_equal(job->failure, FAILURE_EXCLUDED_BY_POLICY);
                assert_bytes(job->failure_message,
                             "leaves nothing to choose from: no name stands in all of the "
                             "configuration, workspace \"strict\", routing");
                job_spec_free(job);
                job = decode(decoder, WORKSPACE_JOB("hopeless", "null"));
                assert_int_equal(job->failure, FAILURE_EXCLUDED_BY_POLICY);
                assert_bytes(job->failure_message,
                             "leaves nothing to choose from: no name stands in all of the "
                             "configuration, workspace \"hopeless\"");
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

static const struct {
        const char *body; /* of a chat, after its model */
        uint64_t parameters;
        uint32_t input, output;
} needs[] = {
#define ASKS(parts) "\"messages\":[{\"role\":\"user\",\"content\":[" parts "]}]"
#define IN(name)    MODALITY_BIT(name)
#define P(name)     PARAMETER_BIT(name)
        {ASKS("\"x\""), 0, IN(TEXT), IN(TEXT)},
        {ASKS("\"x\"") ",\"temperature\":1,\"tools\":[],\"seed\":null", P(TEMPERATURE) | P(TOOLS), IN(TEXT),
         IN(TEXT)},
        {ASKS("\"x\"") ",\"response_format\":{\"type\":\"json_object\"}", P(RESPONSE_FORMAT), IN(TEXT),
         IN(TEXT)},
        {ASKS("\"x\"") ",\"response_format\":{\"type\":\"json_schema\"}",
         P(RESPONSE_FORMAT) | P(STRUCTURED_OUTPUTS), IN(TEXT), IN(TEXT)},
        {ASKS("{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}}"), 0, IN(TEXT) | IN(IMAGE), IN(TEXT)},
        {ASKS("{\"input_audio\":{\"data\":\"\"}},{\"video_url\":\"u\"}"), 0, IN(TEXT) | IN(AUDIO) | IN(VIDEO),
         IN(TEXT)},
        {ASKS("{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}") ",\"modalities\":[\"text\",\"audio\"]", 0,
         IN(TEXT) | IN(FILE), IN(TEXT) | IN(AUDIO)},
#undef ASKS
#undef IN
#undef P
};

static void bodies_tell_what_they_need(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
                char line[1024];
                snprintf(line, sizeof line,
                         "{\"custom_id\":\"a\",\"url\":\"/v1/chat/"
                         "completions\",\"body\":{\"model\":\"m\",%s}}",
                         needs[i].body);
                struct job_spec *job = decode_good(decoder, line);
                if (job->demand.parameters != needs[i].parameters ||
                    job->demand.input_modalities != needs[i].input ||
                    job->demand.output_modalities != needs[i].output)
                        fail_msg("%s", line);
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

/* Whatever routing looks at makes a class of its own; what it does not look at makes none. */
static void classes_tell_rules_apart(void **state) {
        (void)state;
        static const struct {
                const char *body, *routing;
                bool apart;
        } rows[] = {
                {"\"temperature\":1", "{}", false},
                {"\"max_output_tokens\":9", "{\"max_cost_usd\":3}", false},
                {"\"tools\":[{}]", "{}", true},
                {"\"verbosity\":\"low\"", "{}", true},
                {"\"temperature\":1", "{\"require_parameters\":true}", true},
                {"\"input\":[{\"image_url\":\"u\"}]", "{}", true},
                {"\"modalities\":[\"audio\"]", "{}", true},
                {"\"service_tier\":\"auto\"", "{}", false},
                {"\"service_tier\":\"flex\"", "{}", true},
                {"\"service_tier\":\"scale\"", "{}", true},
                {"\"service_tier\":null", "{}", false},
                {"\"n\":1", "{\"sort\":{\"partition\":\"none\"}}", true},
                {"\"n\":1", "{\"sort\":\"quality\"}", true},
                {"\"n\":1", "{\"unknown_price\":\"deny\"}", true},
                {"\"n\":1", "{\"spread\":0.1}", true},
                {"\"n\":1", "{\"preferred_max_latency\":{\"p99\":1}}", true},
                {"\"n\":1", "{\"preferred_min_throughput\":1}", true},
                {"\"n\":1", "{\"zdr\":true}", true},
                {"\"n\":1", "{\"regions\":[\"eu\"]}", true},
        };
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *plain = decode_good(
                decoder, "{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"body\":{\"model\":\"m\"}}");
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                char line[512];
                snprintf(line, sizeof line,
                         "{\"custom_id\":\"a\",\"url\":\"/v1/"
                         "responses\",\"body\":{\"model\":\"m\",%s},\"routing\":%s}",
                         rows[i].body, rows[i].routing);
                struct job_spec *job = decode_good(decoder, line);
                if (key128_equal(job->class_key, plain->class_key) == rows[i].apart)
                        fail_msg("%s", line);
                job_spec_free(job);
        }
        job_spec_free(plain);
        job_decoder_free(decoder);
}

static const struct {
        const char *model, *routing;
        enum sort_by sort;
        const char *name;
} suffixes[] = {
        {"m", "null", SORT_PRICE, "m"},
        {"m:nitro", "null", SORT_THROUGHPUT, "m"},
        {"m:floor", "null", SORT_PRICE, "m"},
        {"m:nitro", "{\"sort\":\"latency\"}", SORT_LATENCY, "m"},
        {"llama3:8b", "null", SORT_PRICE, "llama3:8b"},
        {"meta/llama3:8b:nitro", "null", SORT_THROUGHPUT, "meta/llama3:8b"},
        {"m:free", "null", SORT_PRICE, "m:free"},
};

static void suffixes_sort(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
                char line[512];
                snprintf(line, sizeof line,
                         "{\"custom_id\":\"a\",\"url\":\"/v1/"
                         "responses\",\"body\":{\"model\":\"%s\"},\"routing\":%s}",
                         suffixes[i].model, suffixes[i].routing);
                struct job_spec *job = decode_good(decoder, line);
                assert_bytes(job->demand.models[0], suffixes[i].name);
                assert_int_equal(job->demand.prefs.sort, suffixes[i].sort);
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

static const struct {
        const char *line;
        int64_t input, output;
} sizes[] = {
        {CHAT(""), 8 + 2, -1}, /* "user" and "x": 5 bytes */
        {CHAT(",\"max_tokens\":10"), 10, 10},
        {CHAT(",\"max_tokens\":10,\"max_completion_tokens\":20,\"n\":2"), 10, 40},
        {CHAT(",\"max_tokens\":null,\"n\":null"), 10, -1},
        {CHAT(",\"max_tokens\":\"10\",\"n\":-1"), 10, -1},
        {CHAT(",\"max_tokens\":99999999999999999999"), 10, -1},
        {CHAT(",\"response_format\":{\"type\":\"text\"}"), 10 + 3 + 3, -1},
        {CHAT(",\"tools\":[{\"f\":\"abc\"}]"), 10 + 8 + 3 + 2, -1},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/"
         "completions\",\"body\":{\"model\":\"m\",\"prompt\":[\"abc\",\"def\"],"
         "\"max_tokens\":5}}",
         2, 10},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/completions\",\"body\":{\"model\":\"m\",\"prompt\":[1,2,3],"
         "\"max_tokens\":5}}",
         3, 5},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"body\":{\"model\":\"m\",\"input\":\"abc\","
         "\"instructions\":\"def\",\"max_output_tokens\":9}}",
         2, 9},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"body\":{\"model\":\"m\",\"input\":[{\"image_url\":"
         "\"data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"},{\"file_data\":"
         "\"data:application/pdf;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}}",
         16 + 2200, -1},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\",\"messages\":[{"
         "\"input_audio\":{\"data\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"format\":\"wav\"}}]}}",
         8 + 2, -1},
        {JOB(""), 1, 0},
};

static void sizes_are_estimated(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                struct job_spec *job = decode_good(decoder, sizes[i].line);
                if (job->demand.input_tokens != sizes[i].input ||
                    job->demand.output_tokens_max != sizes[i].output)
                        fail_msg("%s\n%lld in, %lld out", sizes[i].line, (long long)job->demand.input_tokens,
                                 (long long)job->demand.output_tokens_max);
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

/* Those of sound and pictures may have prices of their own. */
static void what_is_no_text_is_counted_apart(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *job = decode_good(
                decoder,
                "{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\","
                "\"messages\":[{\"content\":[{\"image_url\":{\"url\":\"u\"}},{\"text\":\"abc\"},"
                "{\"input_audio\":{\"data\":\"AAAAAAAAAAAAAAAA\"}},{\"video_url\":{\"url\":\"u\"}}]}]}}");
        assert_int_equal(job->demand.audio_tokens, 1);
        assert_int_equal(job->demand.image_tokens, 1100);
        assert_true(job->demand.input_tokens >= 2200 + 1 + 1);
        job_spec_free(job);
        job_decoder_free(decoder);
}

/* FLAC by its header, of 90 seconds and of 10 ms. */
#define MINUTE_AND_HALF "ZkxhQwAAACIAAAAAAAAAAAAACsRC8AA8j+gAAAAAAAAAAAAAAAAAAAAA"
#define MOMENT          "ZkxhQwAAACIAAAAAAAAAAAAACsRC8AAAAbkAAAAAAAAAAAAAAAAAAAAA"

/* At 32 tokens a second, not by its bytes; and never less than bytes can play. */
static void sound_counts_by_its_length(void **state) {
        (void)state;
        static char line[40000];
        static const struct {
                const char *begin;
                int more; /* characters behind it */
                int64_t tokens;
        } rows[] = {
                {MINUTE_AND_HALF, 0, 90 * 32 + 1},
                {MINUTE_AND_HALF, 12000, 90 * 32 + 1},
                {"data:audio/flac;base64," MINUTE_AND_HALF, 0, 90 * 32 + 1},
                {"data:;base64,", 0, 1},
                {MOMENT, 0, 1},
                {MOMENT, 16000 - 56, 3},
                {"AAAA", 12000, 121}, /* nobody knows how long it plays */
                {"", 0, 1},
        };
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                snprintf(line, sizeof line,
                         "{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\","
                         "\"messages\":[{\"content\":[{\"input_audio\":{\"data\":\"%s\"}}]}]}}",
                         rows[i].begin);
                char *end = strstr(line, "\"}}]}]}}");
                memmove(end + rows[i].more, end, strlen(end) + 1);
                memset(end, 'A', (size_t)rows[i].more);
                struct job_spec *job = decode_good(decoder, line);
                assert_int_equal(job->demand.audio_tokens, rows[i].tokens);
                assert_int_equal(job->demand.input_tokens, rows[i].tokens + 16); /* a message, a part */
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

static const struct {
        const char *member;
        enum vector_format format;
        const char *value;
} formats[] = {
        {"", VECTOR_UNSAID, ""},
        {",\"encoding_format\":\"float\"", VECTOR_FLOAT, "\"float\""},
        {",\"encoding_format\": \"base64\" ", VECTOR_BASE64, "\"base64\""},
        {",\"encoding_format\":null", VECTOR_OTHER, "null"},
        {",\"encoding_format\":\"int8\"", VECTOR_OTHER, "\"int8\""},
};

static void vector_formats(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
                char line[256];
                snprintf(line, sizeof line,
                         "{\"custom_id\":\"a\",\"url\":\"/v1/"
                         "embeddings\",\"body\":{\"model\":\"m\",\"input\":\"x\"%s}}",
                         formats[i].member);
                struct job_spec *job = decode_good(decoder, line);
                assert_int_equal(job->vector_format, formats[i].format);
                assert_bytes(span_of(job->body, job->encoding_format_value), formats[i].value);
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

/* A data: URL without escapes is not kept twice. */
static void large_urls_stay_in_the_body(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *plain = decode_good(
                decoder,
                "{\"custom_id\":\"a\",\"url\":\"/v1/audio/transcriptions\",\"body\":{\"model\":\"w\","
                "\"file_url\":\"data:audio/wav;base64,AAAA\"}}");
        assert_bytes(plain->file_url, "data:audio/wav;base64,AAAA");
        assert_true(plain->file_url.data > plain->body.data &&
                    plain->file_url.data < plain->body.data + plain->body.size);
        struct job_spec *escaped = decode_good(
                decoder,
                "{\"custom_id\":\"a\",\"url\":\"/v1/audio/transcriptions\",\"body\":{\"model\":\"w\","
                "\"file_url\":\"data:audio\\/wav;base64,AAAA\"}}");
        assert_bytes(escaped->file_url, "data:audio/wav;base64,AAAA");
        assert_bytes(span_of(escaped->body, escaped->file_url_member),
                     "\"file_url\":\"data:audio\\/wav;base64,AAAA\"");
        job_spec_free(plain);
        job_spec_free(escaped);
        job_decoder_free(decoder);
}

static void the_first_millisecond_is_a_time(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *job = decode_good(decoder, JOB(",\"deadline\":\"1970-01-01T00:00:00Z\""));
        assert_int_equal(job->deadline_unix_ms, 1);
        assert_int_equal(job->not_before_unix_ms, 0);
        job_spec_free(job);
        job_decoder_free(decoder);
}

static void odd_but_good_lines(void **state) {
        (void)state;
        static const char *const lines[] = {
                JOB(",\"priority\":-10"),
                JOB(",\"priority\":10,\"method\":null"),
                JOB(",\"max_cost_usd\":0"),
                JOB(",\"max_cost_usd\":1e-12"),
                JOB(",\"metadata\":{\"\":\"\"}"),
                JOB(",\"routing\":{\"preferred_max_latency\":{\"p50\":1},\"preferred_min_throughput\":3}"),
                JOB(",\"routing\":{\"max_price\":{\"prompt\":null,\"image\":\"0.04\"},\"sort\":null}"),
                JOB(",\"workspace\":\"caf\xc3\xa9\""),
                CHAT(",\"stream\":false,\"stream_options\":null"),
                CHAT(",\"models\":null"),
                CHAT(",\"models\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"m\",\"7\"]"),
                "{\"custom_id\":\"a\",\"url\":\"/v1/"
                "embeddings\",\"body\":{\"model\":\"m\",\"messages\":[{}]}}",
                "{\"custom_id\":\"a\",\"url\":\"/v1/audio/"
                "speech\",\"body\":{\"model\":\"m\",\"input\":\"x\",\"voice\":"
                "{\"id\":\"v\"}}}",
                "\xef\xbb\xbf" /* left by a reader that does not know of it */,
        };
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i + 1 < sizeof lines / sizeof *lines; i++)
                job_spec_free(decode_good(decoder, lines[i]));
        struct job_spec *mark = decode(decoder, lines[sizeof lines / sizeof *lines - 1]);
        assert_int_equal(mark->failure, FAILURE_INVALID_JOB);
        job_spec_free(mark);
        job_decoder_free(decoder);
}

static void specs_outlive_their_decoder(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *job =
                job_decode(decoder, BYTES(JOB(",\"routing\":{\"only\":[\"p\"]}")), 7, 6, false);
        job_decoder_free(decoder);
        assert_non_null(job);
        assert_int_equal(job->line, 7);
        assert_int_equal(job->sequence, 6);
        assert_bytes(job->workspace, "default");
        assert_bytes(job->demand.prefs.only.items[0], "p");
        job_spec_free(job);
        assert_null(job_spec_free(NULL));
        assert_null(job_decoder_free(NULL));
}

static void options_are_checked(void **state) {
        (void)state;
        struct job_decoder *decoder = NULL;
        struct error *error = job_decoder_new(&(struct job_decoder_options){.batch = "b"}, &decoder);
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_USAGE);
        assert_null(decoder);
        error_free(error);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keys_tell_jobs_apart),
                cmocka_unit_test(the_alias_depends_on_the_body),
                cmocka_unit_test(the_body_is_untouched),
                cmocka_unit_test(rules_of_layers_are_merged),
                cmocka_unit_test(lists_are_the_jobs_own),
                cmocka_unit_test(workspaces_have_a_layer),
                cmocka_unit_test(bodies_tell_what_they_need),
                cmocka_unit_test(classes_tell_rules_apart),
                cmocka_unit_test(suffixes_sort),
                cmocka_unit_test(sizes_are_estimated),
                cmocka_unit_test(what_is_no_text_is_counted_apart),
                cmocka_unit_test(sound_counts_by_its_length),
                cmocka_unit_test(vector_formats),
                cmocka_unit_test(large_urls_stay_in_the_body),
                cmocka_unit_test(the_first_millisecond_is_a_time),
                cmocka_unit_test(odd_but_good_lines),
                cmocka_unit_test(specs_outlive_their_decoder),
                cmocka_unit_test(options_are_checked),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
