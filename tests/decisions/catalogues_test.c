/*
 * What holds of every entry of the whole catalogues, where they are at hand: BATCHFERRY_CATALOGUES names the
 * directory of litellm_model_prices.json and openrouter_models.json. Else the test is skipped, and says so.
 */
#include "book.h"
#include "broker/catalog/import.h"
#include "broker/ops/listing.h"
#include "workers/routing/cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SKIPPED = 77, NOON_MS = 1000 };

static char litellm[4096], openrouter[4096];
static struct book book;

/* Nothing goes lost without a word: an entry is taken, or left out for a reason that is told. */
static void check_entries(import_format *format, const char *path, struct buffer *configuration,
                          const char *except) {
        struct import *import = malloc(sizeof *import);
        struct bytes text = book_read(path);
        struct catalog catalog;
        uint32_t left_out = 0;
        assert_non_null(import);
        import_init(import);
        assert_null(format(import, path, text));
        assert_null(import_finish(import, &catalog));
        for (uint32_t i = 0; i < import->notes_count; i++)
                left_out += import->notes[i].left_out ? import->notes[i].count : 0;
        assert_int_equal(import->entries_seen, left_out + catalog.endpoints_count);
        assert_true(catalog.endpoints_count * 10 > import->entries_seen * 9);
        assert_true(import->notes_count < IMPORT_NOTES_MAX); /* each kind of what is not used is counted */
        for (uint32_t i = 0; i < catalog.providers_count; i++)
                if (strcmp(catalog.providers[i].name, except) != 0)
                        buffer_printf(configuration,
                                      "  - {name: %s, kind: openai, base_url: \"http://127.0.0.1:9\", "
                                      "models: catalog}\n",
                                      catalog.providers[i].name);
        print_message("%s: %u of %u entries taken\n", path, catalog.endpoints_count, import->entries_seen);
        import_deinit(import);
        free(import);
        free((char *)(uintptr_t)text.data);
}

static int open_book(void **state) {
        struct buffer configuration;
        (void)state;
        buffer_init(&configuration, BOOK_TEXT_MAX);
        buffer_append_string(&configuration, "catalog: [litellm.yaml, openrouter.yaml]\nproviders:\n");
        check_entries(import_litellm, litellm, &configuration, "");
        check_entries(import_openrouter, openrouter, &configuration, "openrouter"); /* both files have it */
        book_open(&book, litellm, openrouter, buffer_view(&configuration));
        buffer_deinit(&configuration);
        return 0;
}

static int close_book(void **state) {
        (void)state;
        book_close(&book);
        return 0;
}

/* The smallest body of each kind, behind the model. */
static const char *const bodies[KINDS_COUNT] = {
        [KIND_CHAT] = "\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]",
        [KIND_RESPONSES] = "\"max_output_tokens\":100,\"input\":\"Hello\"",
        [KIND_COMPLETIONS] = "\"max_tokens\":100,\"prompt\":\"Hello\"",
        [KIND_EMBEDDINGS] = "\"input\":\"Hello\"",
        [KIND_TRANSCRIPTIONS] = "\"file_url\":\"https://example.org/a.mp3\"",
        [KIND_TRANSLATIONS] = "\"file_url\":\"https://example.org/a.mp3\"",
        [KIND_SPEECH] = "\"input\":\"Hello\",\"voice\":\"alloy\"",
        [KIND_IMAGES] = "\"prompt\":\"Hello\"",
        [KIND_IMAGE_EDITS] = "\"prompt\":\"Hello\",\"image\":\"data:image/png;base64,AAAA\"",
        [KIND_RERANK] = "\"query\":\"Hello\",\"documents\":[\"a\"]",
        [KIND_MODERATIONS] = "\"input\":\"Hello\"",
};

/* Under rules that let a job go to this endpoint alone. */
static void make_line(const struct endpoint *endpoint, enum kind kind, const char *wish,
                      struct buffer *line) {
        buffer_clear(line);
        buffer_printf(line, "{\"custom_id\":\"c\",\"url\":\"%s\",\"body\":{\"model\":\"",
                      kind_facts[kind].url);
        buffer_append_json_escaped(line, bytes_of(endpoint->model));
        buffer_printf(line, "\",%s},\"routing\":{\"only\":[\"", bodies[kind]);
        buffer_append_json_escaped(line, bytes_of(endpoint->name));
        buffer_printf(line, "\"]%s}}", wish);
}

static const struct candidate *candidate_of(const struct deciding *deciding, uint32_t endpoint) {
        for (uint32_t i = 0; i < deciding->route.count; i++)
                if (deciding->route.candidates[i].endpoint == endpoint)
                        return &deciding->route.candidates[i];
        fail_msg("%s is no candidate for its own model", book.config->catalog.endpoints[endpoint].name);
        return NULL;
}

static enum exclusion decide(uint32_t index, enum kind kind, const char *wish, bool *out_priced) {
        static struct deciding deciding;
        const struct endpoint *endpoint = &book.config->catalog.endpoints[index];
        struct buffer line;
        buffer_init(&line, 1 << 16);
        make_line(endpoint, kind, wish, &line);
        if (!deciding_begin(&book, buffer_view(&line), NOON_MS, &deciding))
                fail_msg("%.*s: %.*s", (int)line.size, line.data, (int)deciding.job->failure_message.size,
                         deciding.job->failure_message.data);
        deciding_rank(&book, &deciding);
        const struct candidate *candidate = candidate_of(&deciding, index);
        enum exclusion why = candidate->excluded_by;
        *out_priced = candidate->cost_known;
        if (why == EXCLUSION_NONE) {
                assert_ptr_equal(candidate, &deciding.route.candidates[0]);
                assert_int_equal(deciding.route.usable, 1);
        }
        if (candidate->ceiling_known)
                assert_true(candidate->cost_expected_picousd <= candidate->cost_ceiling_picousd);
        deciding_end(&deciding);
        buffer_deinit(&line);
        return why;
}

/* What needs no more than the model can do goes there, and costs what can be told by its prices. */
static void every_model_is_routable(void **state) {
        const struct catalog *catalog = &book.config->catalog;
        uint32_t decisions = 0, unpriced = 0;
        (void)state;
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                for (unsigned kind = 0; kind < KINDS_COUNT; kind++) {
                        bool priced, tells;
                        if (!(catalog->endpoints[i].kinds >> kind & 1U))
                                continue;
                        enum exclusion why = decide(i, (enum kind)kind, "", &priced);
                        if (why != EXCLUSION_NONE && why != EXCLUSION_MODALITY)
                                fail_msg("%s: %s", catalog->endpoints[i].name, exclusion_text(why));
                        if (why == EXCLUSION_MODALITY)
                                assert_true(catalog->endpoints[i].output_modalities != 0 ||
                                            catalog->endpoints[i].input_modalities != 0);
                        enum exclusion denied =
                                decide(i, (enum kind)kind, ",\"unknown_price\":\"deny\"", &tells);
                        assert_int_equal(tells, priced);
                        if (why == EXCLUSION_NONE)
                                assert_int_equal(denied, priced ? EXCLUSION_NONE : EXCLUSION_UNKNOWN_PRICE);
                        if (priced)
                                assert_true(import_is_priced(&catalog->endpoints[i], (enum kind)kind));
                        decisions++;
                        unpriced += !priced;
                }
        print_message("%u decisions for %u models, %u of them without a known price\n", decisions,
                      catalog->endpoints_count, unpriced);
        assert_true(decisions >= catalog->endpoints_count);
}

/* Catalogues say nothing of policies: whoever asks for one goes nowhere, and is told why. */
static void what_nobody_says_passes_no_rule(void **state) {
        static const struct {
                const char *wish;
                enum exclusion why;
        } cases[] = {{",\"zdr\":true", EXCLUSION_DATA_POLICY_ZDR},
                     {",\"data_collection\":\"deny\"", EXCLUSION_DATA_POLICY_TRAINING},
                     {",\"regions\":[\"eu\"]", EXCLUSION_DATA_REGION},
                     {",\"quantizations\":[\"fp8\"]", EXCLUSION_QUANTIZATION}};
        const struct catalog *catalog = &book.config->catalog;
        (void)state;
        for (uint32_t i = 0; i < catalog->endpoints_count; i += 7)
                for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
                        unsigned kind = 0;
                        bool priced;
                        while (!(catalog->endpoints[i].kinds >> kind & 1U))
                                kind++;
                        assert_int_equal(decide(i, (enum kind)kind, cases[at].wish, &priced), cases[at].why);
                }
}

int main(void) {
        const char *directory = getenv("BATCHFERRY_CATALOGUES");
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_model_is_routable),
                cmocka_unit_test(what_nobody_says_passes_no_rule),
        };
        if (directory == NULL) {
                printf("skipped: BATCHFERRY_CATALOGUES names no directory with the whole catalogues\n");
                return SKIPPED;
        }
        snprintf(litellm, sizeof litellm, "%s/litellm_model_prices.json", directory);
        snprintf(openrouter, sizeof openrouter, "%s/openrouter_models.json", directory);
        return cmocka_run_group_tests(tests, open_book, close_book);
}
