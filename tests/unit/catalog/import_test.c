/*
 * Excerpts of the real catalogues against golden files; single entries, by what is in them; texts that are no
 * catalogue.
 */
#include "broker/base/money.h"
#include "broker/catalog/import.h"
#include "broker/ops/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA  TEST_SOURCE_DIR "/tests/unit/catalog/data/"
#define U     PRICE_UNKNOWN
#define MEDIA U, U, U, U
#define USD   PICOUSD_PER_USD
#define EACH  (PICOUSD_PER_USD * 1000000)

enum { TEXT_MAX = 1 << 20 };

static struct bytes read_data(const char *name) {
        char path[512];
        snprintf(path, sizeof path, DATA "%s", name);
        FILE *file = fopen(path, "rb");
        char *text = malloc(TEXT_MAX);
        if (file == NULL || text == NULL)
                fail_msg("cannot read %s", path);
        size_t size = fread(text, 1, TEXT_MAX, file);
        fclose(file);
        return (struct bytes){text, size};
}

static void free_data(struct bytes text) {
        free((char *)(uintptr_t)text.data);
}

/* Behind the first line of the golden file, which counts. */
static void assert_golden(const char *what, struct bytes got, const char *name, bool skip_first) {
        struct bytes wanted = read_data(name);
        const char *start = wanted.data;
        if (skip_first)
                start = (const char *)memchr(wanted.data, '\n', wanted.size) + 1;
        struct bytes rest = {start, wanted.size - (size_t)(start - wanted.data)};
        if (!bytes_equal(got, rest))
                fail_msg("%s is not as %s:\n%.*s", what, name, (int)got.size, got.data);
        free_data(wanted);
}

static void check_excerpt(import_format *format, const char *input, const char *yaml, const char *report) {
        struct import *import = malloc(sizeof *import);
        struct bytes text = read_data(input);
        struct catalog catalog, again;
        struct buffer printed, said;
        assert_non_null(import);
        import_init(import);
        assert_null(format(import, input, text));
        assert_null(import_finish(import, &catalog));
        buffer_init(&printed, TEXT_MAX);
        listing_print(&catalog, &printed);
        assert_golden("the catalogue", buffer_view(&printed), yaml, true);
        struct zones zones = {.arena = &import->arena};
        assert_null(listing_load_text("again", buffer_view(&printed), &import->arena, &zones, &again));
        assert_int_equal(again.endpoints_count, catalog.endpoints_count);
        for (uint32_t i = 0; i < again.endpoints_count; i++) {
                assert_memory_equal(&again.endpoints[i].price, &catalog.endpoints[i].price,
                                    sizeof(struct price));
                assert_memory_equal(&again.endpoints[i].batch, &catalog.endpoints[i].batch,
                                    sizeof(struct price));
                assert_memory_equal(again.endpoints[i].service, catalog.endpoints[i].service,
                                    sizeof again.endpoints[i].service);
                assert_int_equal(again.endpoints[i].tiers_count, catalog.endpoints[i].tiers_count);
                for (unsigned k = 0; k < again.endpoints[i].tiers_count; k++)
                        assert_memory_equal(&again.endpoints[i].tiers[k], &catalog.endpoints[i].tiers[k],
                                            sizeof(struct price_tier));
        }
        buffer_init(&said, TEXT_MAX);
        import_report(import, true, &said);
        assert_golden("the report", buffer_view(&said), report, false);
        buffer_deinit(&said);
        buffer_deinit(&printed);
        free_data(text);
        import_deinit(import);
        free(import);
}

static void litellm_excerpt(void **state) {
        (void)state;
        check_excerpt(import_litellm, "litellm.json", "litellm.yaml", "litellm.report");
}

static void openrouter_excerpt(void **state) {
        (void)state;
        check_excerpt(import_openrouter, "openrouter.json", "openrouter.yaml", "openrouter.report");
}

/* ---- single entries ---- */

struct imported {
        struct import *import;
        struct catalog catalog;
};

static struct imported import_text(import_format *format, const char *text) {
        struct imported imported = {.import = malloc(sizeof *imported.import)};
        assert_non_null(imported.import);
        import_init(imported.import);
        struct error *error = format(imported.import, "f", bytes_of(text));
        if (error != NULL)
                fail_msg("%s: %s", text, error->message);
        assert_null(import_finish(imported.import, &imported.catalog));
        return imported;
}

static void imported_deinit(struct imported *imported) {
        import_deinit(imported->import);
        free(imported->import);
}

static bool has_note(const struct import *import, bool left_out, const char *reason, const char *detail) {
        for (uint32_t i = 0; i < import->notes_count; i++)
                if (import->notes[i].left_out == left_out &&
                    strstr(import->notes[i].reason, reason) != NULL &&
                    strcmp(import->notes[i].detail, detail) == 0)
                        return true;
        return false;
}

static const struct price_row {
        const char *fields;
        struct price price;
} price_rows[] = {
        {"\"mode\":\"chat\",\"input_cost_per_token\":1e-06,\"output_cost_per_token\":2.5e-06",
         {USD, U, U, USD * 5 / 2, U, U, U, U, U, U, MEDIA}},
        /* 0 is not taken, -1 neither, nor what is no number */
        {"\"mode\":\"chat\",\"input_cost_per_token\":0.0,\"output_cost_per_token\":2e-06",
         {U, U, U, USD * 2, U, U, U, U, U, U, MEDIA}},
        {"\"mode\":\"chat\",\"input_cost_per_token\":-1,\"output_cost_per_token\":\"cheap\"",
         {U, U, U, U, U, U, U, U, U, U, MEDIA}},
        {"\"mode\":\"chat\",\"input_cost_per_token\":null,\"output_cost_per_token\":[1]",
         {U, U, U, U, U, U, U, U, U, U, MEDIA}},
        {"\"mode\":\"chat\",\"cache_read_input_token_cost\":1e-07,\"input_cost_per_token_cache_hit\":2e-07,"
         "\"cache_creation_input_token_cost\":3e-07,\"output_cost_per_reasoning_token\":4e-06,"
         "\"input_cost_per_request\":0.005",
         {U, USD / 10, USD * 3 / 10, U, U, U, U, EACH / 200, U, USD * 4, MEDIA}},
        {"\"mode\":\"chat\",\"input_cost_per_token_cache_hit\":2e-07",
         {U, USD / 5, U, U, U, U, U, U, U, U, MEDIA}},
        /* reasoning at the output price is not said */
        {"\"mode\":\"chat\",\"output_cost_per_token\":2e-06,\"output_cost_per_reasoning_token\":2e-06",
         {U, U, U, USD * 2, U, U, U, U, U, U, MEDIA}},
        /* the same price said twice is one price; 0 for one side is none */
        {"\"mode\":\"audio_transcription\",\"input_cost_per_second\":0.0001,\"output_cost_per_second\":0."
         "0001",
         {U, U, U, U, EACH / 1000 * 6, U, U, U, U, U, MEDIA}},
        {"\"mode\":\"audio_transcription\",\"input_cost_per_second\":0.0,\"output_cost_per_second\":0.0002",
         {U, U, U, U, EACH / 1000 * 12, U, U, U, U, U, MEDIA}},
        {"\"mode\":\"audio_transcription\",\"input_cost_per_token\":1e-06,\"input_cost_per_audio_token\":6e-"
         "06",
         {USD, U, U, U, U, U, U, U, U, U, USD * 6, U, U, U}},
        {"\"mode\":\"chat\",\"input_cost_per_token\":1e-06,\"input_cost_per_audio_token\":6e-06",
         {USD, U, U, U, U, U, U, U, U, U, USD * 6, U, U, U}},
        {"\"mode\":\"chat\",\"input_cost_per_second\":0.01", {U, U, U, U, U, U, U, U, U, U, MEDIA}},
        {"\"mode\":\"audio_speech\",\"input_cost_per_character\":1.5e-05",
         {U, U, U, U, U, USD * 15, U, U, U, U, MEDIA}},
        {"\"mode\":\"image_generation\",\"output_cost_per_image\":0.04",
         {U, U, U, U, U, U, EACH / 25, U, U, U, MEDIA}},
        {"\"mode\":\"image_generation\",\"input_cost_per_image\":0.02",
         {U, U, U, U, U, U, EACH / 50, U, U, U, MEDIA}},
        {"\"mode\":\"image_generation\",\"input_cost_per_image\":0.02,\"input_cost_per_token\":1e-06",
         {USD, U, U, U, U, U, U, U, U, U, MEDIA}},
        {"\"mode\":\"image_generation\",\"output_cost_per_token\":1e-06,\"output_cost_per_image_token\":4e-"
         "05",
         {U, U, U, USD, U, U, U, U, U, U, U, U, U, USD * 40}},
        {"\"mode\":\"rerank\",\"input_cost_per_query\":0.002,\"input_cost_per_token\":0.0",
         {U, U, U, U, U, U, U, U, EACH / 500, U, MEDIA}},
        {"\"mode\":\"chat\",\"input_cost_per_token\":1e400", {U, U, U, U, U, U, U, U, U, U, MEDIA}},
        {"\"mode\":\"chat\",\"tiered_pricing\":[{\"range\":[0,1000.0],\"input_cost_per_token\":1e-06}]",
         {USD, U, U, U, U, U, U, U, U, U, MEDIA}},
};

static void litellm_prices(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof price_rows / sizeof *price_rows; i++) {
                char text[1024];
                snprintf(text, sizeof text, "{\"p/m\":{\"litellm_provider\":\"p\",%s}}",
                         price_rows[i].fields);
                struct imported imported = import_text(import_litellm, text);
                assert_int_equal(imported.catalog.endpoints_count, 1);
                const struct endpoint *endpoint = &imported.catalog.endpoints[0];
                assert_string_equal(endpoint->model, "m");
                if (memcmp(&endpoint->price, &price_rows[i].price, sizeof(struct price)) != 0)
                        fail_msg("row %zu: %s", i, price_rows[i].fields);
                imported_deinit(&imported);
        }
}

static void litellm_tiers(void **state) {
        (void)state;
        struct imported imported = import_text(
                import_litellm,
                "{\"m\":{\"litellm_provider\":\"p\",\"mode\":\"chat\",\"input_cost_per_token\":1e-06,"
                "\"output_cost_per_token\":2e-06,\"input_cost_per_token_above_512k_tokens\":4e-06,"
                "\"input_cost_per_token_above_200k_tokens\":3e-06,\"output_cost_per_token_above_200k_"
                "tokens\":5e-06,"
                "\"input_cost_per_token_above_200k_tokens_priority\":9e-06,\"input_cost_per_token_priority\":"
                "5e-06,"
                "\"output_cost_per_token_priority\":8e-06,\"input_cost_per_audio_token_flex\":7e-06,\"output_"
                "cost_per_token_flex\":0,\"input_cost_per_token_above_1hr\":9,"
                "\"output_cost_per_token_above_128k_tokens\":0,\"input_cost_per_character_above_1k_tokens\":"
                "1}}");
        const struct endpoint *endpoint = &imported.catalog.endpoints[0];
        assert_int_equal(endpoint->tiers_count, 2); /* that of 128k says nothing */
        assert_int_equal(endpoint->tiers[0].above_input, 200000);
        assert_true(endpoint->tiers[0].price.input == 3 * USD && endpoint->tiers[0].price.output == 5 * USD);
        assert_int_equal(endpoint->tiers[1].above_input, 512000);
        assert_true(endpoint->tiers[1].price.input == 4 * USD && endpoint->tiers[1].price.output == 2 * USD);
        const struct price *flex = &endpoint->service[SERVICE_FLEX - 1];
        const struct price *priority = &endpoint->service[SERVICE_PRIORITY - 1];
        assert_true(flex->audio_input == 7 * USD && flex->output == U && flex->input == U);
        assert_true(priority->input == 5 * USD && priority->output == 8 * USD && priority->cached_input == U);
        priority = &endpoint->tiers[0].service[SERVICE_PRIORITY - 1];
        assert_true(priority->input == 9 * USD && priority->output == 8 * USD);
        /* where nothing is said of long inputs, nothing is known */
        assert_true(endpoint->tiers[1].service[SERVICE_PRIORITY - 1].input == U);
        assert_true(endpoint->tiers[0].service[SERVICE_FLEX - 1].audio_input == U);
        assert_true(has_note(imported.import, false, "lasts an hour", "input_cost_per_token_above_1hr"));
        assert_true(has_note(imported.import, false, "no place", "input_cost_per_character_above_1k_tokens"));
        imported_deinit(&imported);
}

static void litellm_entries_that_are_left_out(void **state) {
        static const struct {
                const char *name, *fields, *reason, *detail;
        } cases[] = {
                {"sample_spec", "\"mode\":\"chat\",\"litellm_provider\":\"p\"", "explains the file", ""},
                {"m", "\"mode\":\"chat\"", "names no provider", ""},
                {"m", "\"litellm_provider\":\"p\"", "what it does", ""},
                {"m", "\"litellm_provider\":\"p\",\"mode\":\"ocr\"", "cannot ask for", "ocr"},
                {"hd/1024-x-1792/m", "\"litellm_provider\":\"p\",\"mode\":\"image_generation\"", "size", ""},
                {"x/50-steps/m", "\"litellm_provider\":\"p\",\"mode\":\"image_generation\"", "size", ""},
                {"p/a/1-month-commitment/m", "\"litellm_provider\":\"p\",\"mode\":\"chat\"", "rented", ""},
                {"a b", "\"litellm_provider\":\"p\",\"mode\":\"chat\"", "model's name", ""},
                {"*", "\"litellm_provider\":\"p\",\"mode\":\"chat\"", "model's name", ""},
                {"m\\n", "\"litellm_provider\":\"p\",\"mode\":\"chat\"", "model's name", ""},
                {"m", "\"litellm_provider\":\"P q\",\"mode\":\"chat\"", "provider's name", ""},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char text[512];
                snprintf(text, sizeof text, "{\"%s\":{%s}}", cases[i].name, cases[i].fields);
                struct imported imported = import_text(import_litellm, text);
                assert_int_equal(imported.catalog.endpoints_count, 0);
                if (!has_note(imported.import, true, cases[i].reason, cases[i].detail))
                        fail_msg("row %zu: %s", i, text);
                imported_deinit(&imported);
        }
}

static void litellm_names(void **state) {
        static const struct {
                const char *entry, *provider, *ours, *model;
        } cases[] = {
                {"deepseek/deepseek-chat", "deepseek", "deepseek", "deepseek-chat"},
                {"openrouter/a/b", "openrouter", "openrouter", "a/b"},
                {"a/b", "openrouter", "openrouter", "a/b"},
                {"vertex_ai/x", "vertex_ai-language-models", "vertex_ai", "x"},
                {"x", "vertex_ai-language-models", "vertex_ai", "x"},
                {"text-completion-codestral/x", "text-completion-codestral", "codestral", "x"},
                {"command", "cohere_chat", "cohere", "command"},
                {"x", "bedrock_converse", "bedrock", "x"},
                {"azure/x", "azure_text", "azure", "x"},
                {"fireworks_ai/x", "fireworks_ai-embedding-models", "fireworks_ai", "x"},
                {"p/", "p", "p", "p/"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char text[512];
                snprintf(text, sizeof text, "{\"%s\":{\"litellm_provider\":\"%s\",\"mode\":\"chat\"}}",
                         cases[i].entry, cases[i].provider);
                struct imported imported = import_text(import_litellm, text);
                assert_int_equal(imported.catalog.endpoints_count, 1);
                assert_string_equal(imported.catalog.providers[0].name, cases[i].ours);
                assert_string_equal(imported.catalog.endpoints[0].model, cases[i].model);
                imported_deinit(&imported);
        }
}

static void facts(void **state) {
        (void)state;
        struct imported imported = import_text(
                import_litellm,
                "{\"m\":{\"litellm_provider\":\"p\",\"mode\":\"chat\",\"max_input_tokens\":1e6,"
                "\"max_output_tokens\":\"many\",\"max_tokens\":2000000,\"rpm\":5,\"tpm\":1.5,"
                "\"supported_endpoints\":[\"/v1/responses\",\"/v1/batch\",7],\"supports_vision\":true,"
                "\"supports_pdf_input\":false,\"supported_output_modalities\":[\"text\",\"code\"]},"
                "\"e\":{\"litellm_provider\":\"p\",\"mode\":\"embedding\",\"max_tokens\":512,"
                "\"output_vector_size\":1536}}");
        const struct endpoint *e = &imported.catalog.endpoints[0], *m = &imported.catalog.endpoints[1];
        assert_int_equal(m->context, 1000000);
        assert_int_equal(m->output_max, 1000000); /* cut */
        assert_int_equal(m->limits.requests_per_minute, 5);
        assert_int_equal(m->limits.tokens_per_minute, 0);
        assert_int_equal(m->kinds, 1 << KIND_CHAT | 1 << KIND_RESPONSES);
        assert_int_equal(m->input_modalities, 1 << MODALITY_TEXT | 1 << MODALITY_IMAGE);
        assert_int_equal(m->output_modalities, 1 << MODALITY_TEXT);
        assert_false(m->parameters_known);
        assert_true(has_note(imported.import, false, "modality", "code"));
        assert_int_equal(e->context, 512);
        assert_int_equal(e->output_max, 0);
        assert_int_equal(e->dimensions, 1536);
        imported_deinit(&imported);
}

/* What nothing is billed by is counted by its key, under what it is; never lumped together. */
static void prices_that_are_not_used(void **state) {
        static const struct {
                const char *key, *reason;
        } cases[] = {
                {"input_cost_per_query_priority", "another tier of service"},
                {"input_cost_per_token_cache_hit_flex", "another tier of service"},
                {"cache_creation_input_token_cost_above_1hr", "lasts an hour"},
                {"search_context_cost_per_query", "own tools"},
                {"code_interpreter_cost_per_session", "own tools"},
                {"cache_read_input_audio_token_cost", "audio from a cache"},
                {"input_cost_per_audio_per_second", "by its length beside text"},
                {"input_cost_per_image", "images beside text"},
                {"output_cost_per_pixel", "images beside text"},
                {"input_cost_per_video_per_second", "video beside text"},
                {"regional_processing_uplift_multiplier_eu", "by region"},
                {"input_dbu_cost_per_token", "another currency"},
                {"input_cost_per_character", "no place"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char text[512];
                snprintf(text, sizeof text,
                         "{\"m\":{\"litellm_provider\":\"p\",\"mode\":\"chat\",\"%s\":0.001}}", cases[i].key);
                struct imported imported = import_text(import_litellm, text);
                if (!has_note(imported.import, false, cases[i].reason, cases[i].key))
                        fail_msg("row %zu: %s", i, text);
                imported_deinit(&imported);
        }
}

static void litellm_parameters(void **state) {
        (void)state;
        struct imported imported = import_text(
                import_litellm,
                "{\"a\":{\"litellm_provider\":\"p\",\"mode\":\"chat\",\"supported_openai_params\":[\"tools\","
                "\"max_tokens\",\"telepathy\",7],\"supports_function_calling\":true},"
                "\"b\":{\"litellm_provider\":\"p\",\"mode\":\"chat\",\"supported_openai_params\":null,"
                "\"supports_function_calling\":true,\"supports_reasoning\":false,\"supports_vision\":true}}");
        const struct endpoint *a = &imported.catalog.endpoints[0], *b = &imported.catalog.endpoints[1];
        assert_true(a->parameters_known &&
                    a->parameters == (1 << PARAMETER_TOOLS | 1 << PARAMETER_MAX_TOKENS));
        assert_false(b->parameters_known);
        assert_true(has_note(imported.import, false, "parameter that is not known", "telepathy"));
        assert_true(has_note(imported.import, false, "single flags", "supports_function_calling"));
        for (uint32_t i = 0; i < imported.import->notes_count; i++) /* of b, and nothing else */
                assert_true(strstr(imported.import->notes[i].reason, "single flags") == NULL ||
                            (imported.import->notes[i].count == 1 &&
                             strcmp(imported.import->notes[i].detail, "supports_function_calling") == 0));
        imported_deinit(&imported);
}

static void openrouter_models(void **state) {
        (void)state;
        struct imported imported = import_text(
                import_openrouter,
                "{\"data\":[{\"id\":\"a/"
                "b\",\"pricing\":{\"prompt\":\"-1\",\"completion\":\"0\",\"request\":\"0.01\","
                "\"web_search\":\"1\"},\"context_length\":100,\"top_provider\":{\"context_length\":50,"
                "\"max_completion_tokens\":60},\"supported_parameters\":[\"tools\",\"telepathy\"],"
                "\"benchmarks\":{\"artificial_analysis\":{\"intelligence_index\":49.5}}},"
                "{\"id\":\"c/"
                "d\",\"pricing\":{\"prompt\":\"0.000001\",\"completion\":\"0.000002\",\"overrides\":"
                "[{\"min_prompt_tokens\":200,\"prompt\":\"0.000003\"},{\"weekday\":1,\"prompt\":\"0\"}]}},"
                "{\"id\":\"e/f\",\"architecture\":{\"output_modalities\":[\"image\"]}},"
                "{\"name\":\"g\"},7]}");
        assert_int_equal(imported.catalog.endpoints_count, 2);
        const struct endpoint *b = &imported.catalog.endpoints[0], *d = &imported.catalog.endpoints[1];
        assert_true(b->price.input == PRICE_UNKNOWN && b->price.output == 0 &&
                    b->price.request == EACH / 100);
        assert_int_equal(b->context, 50);
        assert_int_equal(b->output_max, 50);
        assert_true(b->parameters_known && b->parameters == 1 << PARAMETER_TOOLS);
        assert_int_equal(b->quality, 50);
        assert_false(d->parameters_known);
        assert_int_equal(d->quality, -1);
        assert_int_equal(d->tiers_count, 1);
        assert_int_equal(d->tiers[0].above_input, 199);
        assert_true(d->tiers[0].price.input == 3 * USD && d->tiers[0].price.output == 2 * USD);
        assert_true(has_note(imported.import, false, "parameter", "telepathy"));
        assert_true(has_note(imported.import, false, "override", ""));
        assert_true(has_note(imported.import, true, "answer with text", ""));
        assert_true(has_note(imported.import, true, "no id", ""));
        imported_deinit(&imported);
}

static void texts_that_are_no_catalogue(void **state) {
        static const struct {
                import_format *format;
                const char *text, *message;
        } cases[] = {
                {import_litellm, "", "f:1:1: "},
                {import_litellm, "{\n  \"a\": }", "f:2:8: "},
                {import_litellm, "[]", "f:1:1: not LiteLLM's price map"},
                {import_litellm, "{\"a\": NaN}", "f:1:7: "},
                {import_openrouter, "{}", "f:1:1: not OpenRouter's list"},
                {import_openrouter, "[]", "f:1:1: not OpenRouter's list"},
                {import_openrouter, "{\"data\": {}}", "f:1:1: not OpenRouter's list"},
                {import_openrouter, "{\"data\": [", "f:1:"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct import *import = malloc(sizeof *import);
                assert_non_null(import);
                import_init(import);
                struct error *error = cases[i].format(import, "f", bytes_of(cases[i].text));
                if (error == NULL || strncmp(error->message, cases[i].message, strlen(cases[i].message)) != 0)
                        fail_msg("row %zu: %s", i, error == NULL ? "taken" : error->message);
                error_free(error);
                import_deinit(import);
                free(import);
        }
}

/* So many reasons that they are not told apart any more, and more entries than a catalogue may have. */
static void too_much_of_it(void **state) {
        struct buffer text;
        (void)state;
        buffer_init(&text, 8 << 20);
        buffer_append_string(&text, "{");
        for (unsigned i = 0; i < 9000; i++)
                buffer_printf(&text,
                              "%s\"m%u\":{\"litellm_provider\":\"p%u\",\"mode\":\"%s\",\"x_cost_%u\":1}",
                              i > 0 ? "," : "", i, i % 90, i < 600 ? "odd" : "chat", i);
        buffer_append_string(&text, "}");
        struct import *import = malloc(sizeof *import);
        struct catalog catalog;
        assert_non_null(import);
        import_init(import);
        assert_null(import_litellm(import, "f", buffer_view(&text)));
        assert_int_equal(import->notes_count, IMPORT_NOTES_MAX);
        struct error *error = import_finish(import, &catalog);
        assert_non_null(error);
        assert_non_null(strstr(error->message, "more than 8192 entries"));
        error_free(error);
        import_deinit(import);
        free(import);
        buffer_deinit(&text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(litellm_excerpt),
                cmocka_unit_test(openrouter_excerpt),
                cmocka_unit_test(litellm_prices),
                cmocka_unit_test(litellm_tiers),
                cmocka_unit_test(litellm_entries_that_are_left_out),
                cmocka_unit_test(litellm_names),
                cmocka_unit_test(facts),
                cmocka_unit_test(prices_that_are_not_used),
                cmocka_unit_test(litellm_parameters),
                cmocka_unit_test(openrouter_models),
                cmocka_unit_test(texts_that_are_no_catalogue),
                cmocka_unit_test(too_much_of_it),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
