/* What is found in a catalog and what is not, one case for each code each way; how it is said; the table. */
#include "broker/base/arena.h"
#include "broker/base/money.h"
#include "broker/catalog/check.h"
#include "broker/catalog/table.h"
#include "broker/ops/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARENA = 16 << 20 };

/* A model of which nothing is wrong, but for what `extra` says. */
#define WELL "model: m, context: 10, parameters: [], kinds: [chat], limits: {concurrency: 1}"

static struct catalog catalog_of(const char *text, struct arena *arena) {
        struct catalog catalog;
        arena_init(arena, ARENA);
        struct zones zones = {.arena = arena};
        struct error *error = listing_load_text("l", bytes_of(text), arena, &zones, &catalog);
        if (error != NULL)
                fail_msg("%s: %s", text, error->message);
        return catalog;
}

static void one_model(void **state) {
        static const struct {
                const char *model, *found; /* JSON of all findings, without the endpoint */
        } cases[] = {
                {WELL ", price: {input: 1, output: 2}", ""},
                {WELL ", price: {input: 1, output: 2}, input_modalities: [audio], output_modalities: [text, "
                      "audio, "
                      "image]",
                 "no_media_price audio_input;no_media_price audio_output;no_media_price image_output;"},
                {WELL ", price: {input: 1, output: 2, audio_input: 3, audio_output: 4, image_output: 5}, "
                      "input_modalities: [audio, image], output_modalities: [text, audio, image]",
                 ""},
                {WELL ", price: {input: 1}", "no_price chat;"},
                {WELL, "no_price chat;"},
                {"model: m, kinds: [chat, rerank], context: 1, parameters: [], limits: {concurrency: 1}, "
                 "price: "
                 "{search_unit: 1}",
                 "no_price chat;"},
                {"model: m, context: 1, parameters: [], limits: {concurrency: 1}, price: {image: 1}", ""},
                {"model: m, context: 1, parameters: [], limits: {concurrency: 1}", "no_price ;"},
                {"model: m, kinds: [embeddings], price: {input: 1}", "no_context ;no_limits ;"},
                {"model: m, kinds: [chat], price: {input: 1, output: 1}",
                 "no_context ;no_parameters ;no_limits ;"},
                {"model: m, kinds: [speech], price: {character: 1}, limits: {images_per_minute: 1}", ""},
                {WELL ", price: {input: 1, output: 2, batch: {input: 1, output: 2}}", ""},
                {WELL ", price: {input: 1, output: 2, batch: {input: 1.1, output: 3}}",
                 "batch_dearer input;batch_dearer output;"},
                {WELL ", price: {input: 1, output: 2, batch: {image: 3}}", ""},
                {WELL ", price: {input: 100, output: 1}", ""},
                {WELL ", price: {input: 100, output: 0.99}", "output_cheap output;"},
                {WELL ", price: {input: 0, output: 0}", ""},
                {WELL ", price: {input: 1, cached_input: 1, output: 2}", ""},
                {WELL ", price: {input: 1, cached_input: 1.1, output: 2}", "cache_dearer cached_input;"},
                {WELL ", price: {input: 1, output: 2}, price_tiers: [{above_input: 5, input: 1}]", ""},
                {WELL ", price: {input: 1, output: 2}, price_tiers: [{above_input: 5, input: 0.9}]",
                 "tier_cheaper input;"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct check_findings findings;
                struct buffer text, found;
                struct arena arena;
                buffer_init(&text, 4096);
                buffer_init(&found, 4096);
                buffer_printf(&text, "providers: [{name: p, models: [{%s}]}]\n%c", cases[i].model, '\0');
                struct catalog catalog = catalog_of(text.data, &arena);
                check_catalog(&catalog, 0, &findings);
                for (uint32_t k = 0; k < findings.count; k++)
                        buffer_printf(&found, "%s %s;", check_code(findings.items[k].check),
                                      findings.items[k].part);
                if (!bytes_equal_string(buffer_view(&found), cases[i].found))
                        fail_msg("%s: %.*s", cases[i].model, (int)found.size,
                                 found.data == NULL ? "" : found.data);
                check_findings_deinit(&findings);
                arena_deinit(&arena);
                buffer_deinit(&text);
                buffer_deinit(&found);
        }
}

/* Behind the last slash, whatever the case; only other providers, only the same kind of work. */
static const char market[] =
        "providers:\n"
        "  - {name: a, models: [{model: x/Big, price: {input: 1, output: 4}, kinds: [chat]},\n"
        "                       {model: v2/big, price: {input: 1, output: 4}, kinds: [chat]}]}\n"
        "  - {name: b, models: [{model: big, price: {input: 2, output: 4}, kinds: [chat]}]}\n"
        "  - {name: c, models: [{model: y/z/big, price: {input: 10, output: 39}, kinds: [chat]}]}\n"
        "  - {name: d, models: [{model: big, price: {input: 0.1, output: 0.4}, kinds: [chat]}]}\n"
        "  - {name: e, models: [{model: big, price: {input: 0, output: 0}, kinds: [chat]}]}\n"
        "  - {name: f, models: [{model: big, price: {input: 5000}, kinds: [embeddings]}]}\n"
        "  - {name: g, models: [{model: lone, price: {input: 500, output: 500}, kinds: [chat]}]}\n"
        "  - {name: h, models: [{model: lone, price: {input: 1, output: 1}, kinds: [chat]}]}\n";

static uint32_t holes(void) {
        static const char *const codes[] = {"no_price", "no_context", "no_parameters", "no_limits"};
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
                enum check check;
                assert_true(check_from_code(bytes_of(codes[i]), &check));
                bits |= 1U << check;
        }
        return bits;
}

static void the_same_model_elsewhere(void **state) {
        struct check_findings findings;
        struct arena arena;
        struct buffer text;
        (void)state;
        struct catalog catalog = catalog_of(market, &arena);
        check_catalog(&catalog, holes(), &findings);
        buffer_init(&text, 1 << 16);
        check_append(&catalog, &findings, false, &text);
        static const char wanted[] = "off_input  c/y/z/big: input 10 against 1, the median of 4 others\n"
                                     "off_input  d/big: input 0.1 against 1, the median of 4 others\n"
                                     "off_output  d/big: output 0.4 against 4, the median of 4 others\n";
        if (!bytes_equal_string(buffer_view(&text), wanted))
                fail_msg("%.*s", (int)text.size, text.data);
        check_findings_deinit(&findings);
        buffer_clear(&text);
        check_catalog(&catalog, holes() | 1U << CHECK_OFF_INPUT, &findings);
        check_append_json(&catalog, &findings, &text);
        assert_true(
                bytes_equal_string(buffer_view(&text),
                                   "{\"endpoint\":\"d/big\",\"code\":\"off_output\",\"message\":\"output 0.4 "
                                   "against 4, the median of 4 others\"}\n"));
        check_findings_deinit(&findings);
        buffer_deinit(&text);
        arena_deinit(&arena);
}

static void holes_are_said_together(void **state) {
        static const char listing[] =
                "providers:\n  - name: p\n    models:\n"
                "      - {model: a, kinds: [speech], price: {character: 1}}\n"
                "      - {model: b, kinds: [speech], price: {character: 1}}\n"
                "      - {model: c, kinds: [speech], price: {character: 1}}\n"
                "      - {model: d, kinds: [speech]}\n"
                "  - {name: q, models: [{model: e, kinds: [speech], price: {character: 1}}]}\n";
        struct check_findings findings;
        struct arena arena;
        struct buffer text;
        (void)state;
        struct catalog catalog = catalog_of(listing, &arena);
        check_catalog(&catalog, 0, &findings);
        buffer_init(&text, 1 << 16);
        check_append(&catalog, &findings, false, &text);
        static const char together[] =
                "no_price  p/d: no price by which a kind that it serves could be billed: speech\n"
                "no_limits  p: 4: a, b, c, ... (-v names all)\n"
                "no_limits  q/e: no limits, neither of the model nor of its provider\n";
        if (!bytes_equal_string(buffer_view(&text), together))
                fail_msg("%.*s", (int)text.size, text.data);
        buffer_clear(&text);
        check_append(&catalog, &findings, true, &text);
        unsigned lines = 0;
        for (size_t i = 0; i < text.size; i++)
                lines += text.data[i] == '\n';
        assert_int_equal(lines, 6);
        check_findings_deinit(&findings);
        buffer_deinit(&text);
        arena_deinit(&arena);
}

/* ---- the table ---- */

static const char shop[] =
        "providers:\n"
        "  - name: one\n    models:\n"
        "      - {model: cheap, price: {input: 0.1, cached_input: 0.01, output: 0.2, batch: {input: 0.05}}, "
        "context: "
        "1000,\n"
        "         kinds: [chat, responses], quality: 7, parameters: [tools, seed],\n"
        "         price_tiers: [{above_input: 100, input: 0.3}],\n"
        "         price_windows: [{when: UTC, multiply: 0.5}]}\n"
        "      - {model: a-model-with-a-name-that-is-too-long-for-a-narrow-terminal, price: {input: 5, "
        "output: 25}}\n"
        "  - name: two\n    models:\n"
        "      - {model: ear, price: {audio_minute: 0.006}, kinds: [transcriptions], region: eu}\n";

static const struct table_filter all = {.max_input_price = PICOUSD_MAX, .max_output_price = PICOUSD_MAX};

static void filters(void **state) {
        const struct {
                struct table_filter filter;
                const char *models;
        } cases[] = {
                {all, "cheap a-model-with-a-name-that-is-too-long-for-a-narrow-terminal ear "},
                {{.provider = "t*", .max_input_price = PICOUSD_MAX, .max_output_price = PICOUSD_MAX}, "ear "},
                {{.model = "*a*r*", .max_input_price = PICOUSD_MAX, .max_output_price = PICOUSD_MAX},
                 "a-model-with-a-name-that-is-too-long-for-a-narrow-terminal ear "},
                {{.kinds = 1 << KIND_TRANSCRIPTIONS,
                  .max_input_price = PICOUSD_MAX,
                  .max_output_price = PICOUSD_MAX},
                 "a-model-with-a-name-that-is-too-long-for-a-narrow-terminal ear "},
                {{.max_input_price = PICOUSD_PER_USD / 10, .max_output_price = PICOUSD_MAX}, "cheap "},
                {{.max_input_price = PICOUSD_PER_USD / 10 - 1, .max_output_price = PICOUSD_MAX}, ""},
                {{.max_input_price = PICOUSD_MAX, .max_output_price = PICOUSD_PER_USD}, "cheap "},
                {{.min_context = 1000, .max_input_price = PICOUSD_MAX, .max_output_price = PICOUSD_MAX},
                 "cheap "},
                {{.min_context = 1001, .max_input_price = PICOUSD_MAX, .max_output_price = PICOUSD_MAX}, ""},
                {{.parameters = 1 << PARAMETER_TOOLS,
                  .max_input_price = PICOUSD_MAX,
                  .max_output_price = PICOUSD_MAX},
                 "cheap "},
                {{.parameters = 1 << PARAMETER_TOOLS | 1 << PARAMETER_STOP,
                  .max_input_price = PICOUSD_MAX,
                  .max_output_price = PICOUSD_MAX},
                 ""},
        };
        struct arena arena;
        (void)state;
        struct catalog catalog = catalog_of(shop, &arena);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct buffer text;
                buffer_init(&text, 4096);
                for (uint32_t k = 0; k < catalog.endpoints_count; k++)
                        if (table_takes(&cases[i].filter, &catalog, &catalog.endpoints[k]))
                                buffer_printf(&text, "%s ", catalog.endpoints[k].model);
                if (!bytes_equal_string(buffer_view(&text), cases[i].models))
                        fail_msg("row %zu: %.*s", i, (int)text.size, text.data == NULL ? "" : text.data);
                buffer_deinit(&text);
        }
        arena_deinit(&arena);
}

static void assert_table(const struct catalog *catalog, unsigned width, const char *wanted) {
        struct buffer text;
        buffer_init(&text, 1 << 16);
        table_append(catalog, &all, width, &text);
        if (!bytes_equal_string(buffer_view(&text), wanted))
                fail_msg("%u:\n%.*s", width, (int)text.size, text.data);
        buffer_deinit(&text);
}

static void tables(void **state) {
        struct arena arena;
        struct buffer text;
        (void)state;
        struct catalog catalog = catalog_of(shop, &arena);
        assert_table(
                &catalog, 0,
                "PROVIDER\tMODEL\tINPUT\tOUTPUT\tCACHED\tOTHER\tCONTEXT\tQUALITY\tALSO\tKINDS\n"
                "one\tcheap\t0.1\t0.2\t0.01\t-\t1000\t7\tbatch,tiers,windows\tchat,responses\n"
                "one\ta-model-with-a-name-that-is-too-long-for-a-narrow-terminal\t5\t25\t-\t-\t-\t-\t-\tall\n"
                "two\tear\t-\t-\t-\t0.006/minute\t-\t-\t-\ttranscriptions\n");
        assert_table(&catalog, 80,
                     "PROVIDER  MODEL                     INPUT  OUTPUT  CACHED  OTHER         CONTEXT\n"
                     "one       cheap                       0.1     0.2    0.01  -                1000\n"
                     "one       a-model-with-a-name-tha~      5      25       -  -                   -\n"
                     "two       ear                           -       -       -  0.006/minute        -\n");
        buffer_init(&text, 1 << 16);
        table_append_json(&catalog, &all, &text);
        static const char json[] =
                "{\"provider\":\"one\",\"model\":\"cheap\",\"upstream\":\"cheap\",\"price\":{\"input\":0.1,"
                "\"cached_input\":0.01,\"output\":0.2},\"batch\":{\"input\":0.05},\"price_tiers\":[{\"above_"
                "input\":"
                "100,\"price\":{\"input\":0.3,\"cached_input\":0.01,\"output\":0.2}}],\"price_windows\":[{"
                "\"when\":"
                "\"00:00-24:00 UTC\",\"multiply\":0.5}],\"context\":1000,\"quality\":7,\"kinds\":[\"chat\","
                "\"responses\"],\"parameters\":[\"tools\",\"seed\"]}\n"
                "{\"provider\":\"one\",\"model\":\"a-model-with-a-name-that-is-too-long-for-a-narrow-"
                "terminal\","
                "\"upstream\":\"a-model-with-a-name-that-is-too-long-for-a-narrow-terminal\",\"price\":{"
                "\"input\":5,"
                "\"output\":25}}\n"
                "{\"provider\":\"two\",\"model\":\"ear\",\"upstream\":\"ear\",\"price\":{\"audio_minute\":0."
                "006},"
                "\"region\":\"eu\",\"kinds\":[\"transcriptions\"]}\n";
        if (!bytes_equal_string(buffer_view(&text), json))
                fail_msg("%.*s", (int)text.size, text.data);
        buffer_deinit(&text);
        arena_deinit(&arena);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(one_model),
                                           cmocka_unit_test(the_same_model_elsewhere),
                                           cmocka_unit_test(holes_are_said_together),
                                           cmocka_unit_test(filters), cmocka_unit_test(tables)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
