/*
 * Catalogue files: what a configuration takes from them and what it keeps, which file counts, what is wrong
 * with a file, and that print and load are inverse.
 */
#include "broker/base/money.h"
#include "broker/ops/config.h"
#include "broker/ops/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define USD PICOUSD_PER_USD

enum { ARENA = 16 << 20 };

static const struct config_options no_options;

static const char first[] = "providers:\n"
                            "  - name: deep\n"
                            "    models:\n"
                            "      - model: chatty\n"
                            "        upstream: chatty-v4\n"
                            "        price: {input: 1, cached_input: 0.1, output: 2, batch: {input: 0.5}}\n"
                            "        price_tiers: [{above_input: 100, output: 4}]\n"
                            "        price_windows: [{when: 'Mon-Fri 16:30-00:30 UTC', multiply: 0.5}]\n"
                            "        context: 1000\n"
                            "        output_max: 500\n"
                            "        kinds: [chat]\n"
                            "        parameters: [tools, seed]\n"
                            "        input_modalities: [text]\n"
                            "        quality: 50\n"
                            "        quantization: fp8\n"
                            "        region: cn\n"
                            "        limits: {requests_per_minute: 10, images_per_minute: 3}\n"
                            "      - {model: small, price: {input: 0.25}}\n"
                            "      - {model: dark}\n"
                            "  - name: other\n"
                            "    models: [{model: chatty, price: {input: 77}}]\n";

static const char second[] =
        "providers:\n  - name: deep\n    models:\n"
        "      - {model: chatty, upstream: chatty-v4, price: {input: 9}, dimensions: 8, quality: 99}\n"
        "      - {model: dark, price: {input: 3}}\n"
        "      - {model: late, price: {input: 4}}\n";

struct files {
        char paths[2][64];
};

static void make_files(struct files *files) {
        const char *const texts[] = {first, second};
        for (size_t i = 0; i < 2; i++) {
                snprintf(files->paths[i], sizeof files->paths[i], "/tmp/batchferry-listing-XXXXXX");
                int fd = mkstemp(files->paths[i]);
                assert_true(fd >= 0);
                assert_int_equal(write(fd, texts[i], strlen(texts[i])), (ssize_t)strlen(texts[i]));
                close(fd);
        }
}

static void remove_files(const struct files *files) {
        unlink(files->paths[0]);
        unlink(files->paths[1]);
}

/* `catalog` stands behind the providers: order does not matter. */
static struct config *loaded(const struct files *files, const char *provider) {
        char text[2048];
        struct config *config = NULL;
        snprintf(text, sizeof text,
                 "providers:\n  - {name: deep, kind: k, base_url: 'http://h', %s}\ncatalog: [%s, %s]\n",
                 provider, files->paths[0], files->paths[1]);
        struct error *error = config_load_text(&no_options, "f", bytes_of(text), &config);
        if (error != NULL)
                fail_msg("%s", error->message);
        return config;
}

static void what_is_not_said_is_filled_in(void **state) {
        struct files files;
        (void)state;
        make_files(&files);
        struct config *config = loaded(&files, "models: [{model: mine, upstream: chatty-v4}]");
        const struct endpoint *mine = &config->catalog.endpoints[0];
        assert_int_equal(config->catalog.endpoints_count, 1);
        assert_string_equal(mine->name, "deep/mine");
        assert_string_equal(mine->upstream, "chatty-v4");
        assert_true(mine->price.input == USD && mine->price.cached_input == USD / 10);
        assert_true(mine->price.output == 2 * USD && mine->price.request == PRICE_UNKNOWN);
        assert_true(mine->batch.input == USD / 2 && mine->batch.output == PRICE_UNKNOWN);
        assert_int_equal(mine->tiers_count, 1);
        assert_true(mine->tiers[0].price.output == 4 * USD && mine->tiers[0].price.input == USD);
        assert_int_equal(mine->windows_count, 1);
        assert_int_equal(mine->context, 1000);
        assert_int_equal(mine->output_max, 500);
        assert_int_equal(mine->kinds, 1 << KIND_CHAT);
        assert_true(mine->parameters_known);
        assert_int_equal(mine->input_modalities, 1 << MODALITY_TEXT);
        assert_int_equal(mine->quality, 50);   /* of the first file */
        assert_int_equal(mine->dimensions, 8); /* of the second */
        assert_string_equal(mine->quantization, "fp8");
        assert_string_equal(mine->region, "cn");
        assert_int_equal(mine->limits.requests_per_minute, 10);
        assert_int_equal(mine->limits.images_per_minute, 3);
        config_free(config);
        remove_files(&files);
}

static void what_is_said_stays(void **state) {
        struct files files;
        (void)state;
        make_files(&files);
        struct config *config = loaded(
                &files, "models: [{model: chatty, price: {input: 5}, context: 300, kinds: [embeddings], "
                        "parameters: [], quality: 1, quantization: int4, region: eu, input_modalities: "
                        "[image], limits: {requests_per_minute: 4}}]");
        const struct endpoint *chatty = &config->catalog.endpoints[0];
        assert_string_equal(chatty->upstream, "chatty-v4"); /* found by the name that jobs use */
        assert_true(chatty->price.input == 5 * USD);
        assert_true(chatty->price.output == PRICE_UNKNOWN); /* prices are one */
        assert_true(chatty->batch.input == PRICE_UNKNOWN);
        assert_int_equal(chatty->tiers_count, 0);
        assert_int_equal(chatty->windows_count, 0);
        assert_int_equal(chatty->context, 300);
        assert_int_equal(chatty->output_max, 300); /* 500 does not fit into it */
        assert_int_equal(chatty->kinds, 1 << KIND_EMBEDDINGS);
        assert_true(chatty->parameters_known && chatty->parameters == 0);
        assert_int_equal(chatty->quality, 1);
        assert_string_equal(chatty->quantization, "int4");
        assert_string_equal(chatty->region, "eu");
        assert_int_equal(chatty->input_modalities, 1 << MODALITY_IMAGE);
        assert_int_equal(chatty->limits.requests_per_minute, 4);
        assert_int_equal(chatty->limits.images_per_minute, 3);
        config_free(config);

        config = loaded(&files, "models: [{model: chatty, price_tiers: [{above_input: 7, input: 6}]}]");
        assert_true(config->catalog.endpoints[0].price.input == PRICE_UNKNOWN);
        assert_int_equal(config->catalog.endpoints[0].tiers[0].above_input, 7);
        config_free(config);

        /* Windows and batch prices of one's own go with the catalogue's prices. */
        config = loaded(&files, "models: [{model: chatty, price: {batch: {output: 7}}, price_windows: []}]");
        chatty = &config->catalog.endpoints[0];
        assert_true(chatty->price.input == USD && chatty->batch.output == 7 * USD);
        assert_true(chatty->batch.input == PRICE_UNKNOWN);
        assert_int_equal(chatty->windows_count, 0);
        assert_int_equal(chatty->tiers_count, 1);
        config_free(config);
        remove_files(&files);
}

static void unknown_prices_come_from_the_next_file(void **state) {
        struct files files;
        (void)state;
        make_files(&files);
        struct config *config = loaded(&files, "models: [{model: dark}, {model: nobody}, {model: '*'}]");
        assert_true(config->catalog.endpoints[0].price.input == 3 * USD);
        assert_true(config->catalog.endpoints[1].price.input == PRICE_UNKNOWN);
        assert_true(config->catalog.endpoints[2].price.input == PRICE_UNKNOWN);
        config_free(config);
        remove_files(&files);
}

static void all_that_files_have(void **state) {
        struct files files;
        (void)state;
        make_files(&files);
        struct config *config = loaded(&files, "models: catalog");
        static const char *const names[] = {"deep/chatty", "deep/small", "deep/dark", "deep/late"};
        assert_int_equal(config->catalog.endpoints_count, 4);
        for (size_t i = 0; i < 4; i++)
                assert_string_equal(config->catalog.endpoints[i].name, names[i]);
        assert_string_equal(config->catalog.endpoints[0].upstream, "chatty-v4");
        assert_true(config->catalog.endpoints[0].price.input == USD);
        assert_true(config->catalog.endpoints[2].price.input == 3 * USD);
        config_free(config);

        config = loaded(&files, "models: [{model: small, price: {input: 8}}, catalog, {model: own}]");
        assert_int_equal(config->catalog.endpoints_count, 5);
        assert_true(config->catalog.endpoints[0].price.input == 8 * USD);
        assert_string_equal(config->catalog.endpoints[1].name, "deep/own");
        config_free(config);

        config = loaded(&files, "catalog: other, models: catalog");
        assert_int_equal(config->catalog.endpoints_count, 1);
        assert_true(config->catalog.endpoints[0].price.input == 77 * USD);
        assert_string_equal(config->catalog.endpoints[0].name, "deep/chatty");
        config_free(config);
        remove_files(&files);
}

/* What is printed holds all of it, and needs no file. */
static void a_filled_configuration_prints_whole(void **state) {
        struct files files;
        struct buffer text, again;
        struct config *second_config = NULL;
        (void)state;
        make_files(&files);
        struct config *config = loaded(&files, "models: catalog");
        remove_files(&files);
        buffer_init(&text, 1 << 20);
        buffer_init(&again, 1 << 20);
        config_print(config, &text);
        assert_non_null(memmem(text.data, text.size, "# catalog /tmp/", 15));
        struct error *error = config_load_text(&no_options, "p", buffer_view(&text), &second_config);
        if (error != NULL)
                fail_msg("%s", error->message);
        assert_string_equal(config->catalog.id, second_config->catalog.id);
        config_free(second_config);
        config_free(config);
        buffer_deinit(&again);
        buffer_deinit(&text);
}

static void the_command_line_names_other_files(void **state) {
        struct files files;
        char set[128];
        const char *sets[] = {set};
        const struct config_options options = {.sets = sets, .sets_count = 1};
        struct config *config = NULL;
        (void)state;
        make_files(&files);
        snprintf(set, sizeof set, "catalog=%s", files.paths[1]);
        struct error *error = config_load_text(&options, "f",
                                               BYTES("catalog: /nowhere\nproviders: [{name: deep, kind: k, "
                                                     "base_url: 'http://h', models: catalog}]"),
                                               &config);
        if (error != NULL)
                fail_msg("%s", error->message);
        assert_int_equal(config->catalog.endpoints_count, 3);
        config_free(config);
        remove_files(&files);
}

static void files_print_and_load(void **state) {
        struct arena arena;
        struct catalog listing, again;
        struct buffer text, twice;
        (void)state;
        arena_init(&arena, ARENA);
        struct zones zones = {.arena = &arena};
        assert_null(listing_load_text("l", bytes_of(first), &arena, &zones, &listing));
        assert_int_equal(listing.endpoints_count, 4);
        assert_string_equal(listing.endpoints[3].name, "other/chatty");
        buffer_init(&text, 1 << 20);
        buffer_init(&twice, 1 << 20);
        listing_print(&listing, &text);
        struct error *error = listing_load_text("l", buffer_view(&text), &arena, &zones, &again);
        if (error != NULL)
                fail_msg("%s\n%.*s", error->message, (int)text.size, text.data);
        listing_print(&again, &twice);
        assert_true(bytes_equal(buffer_view(&text), buffer_view(&twice)));
        buffer_deinit(&text);
        buffer_deinit(&twice);
        arena_deinit(&arena);
}

static void what_is_wrong_with_a_file(void **state) {
        static const struct {
                const char *text, *message;
        } cases[] = {
                {"[]", "l:1:1: must be a group of names, providers:"},
                {"provider: []\n", "l:1:1: provider: unknown setting; did you mean \"providers\"?"},
                {"providers: [{models: []}]\n",
                 "l:1:13: providers[0]: name is missing: that of the provider, or of its \"catalog\""},
                {"providers: [{name: a, api_key: x}]\n",
                 "l:1:23: providers[0].api_key: unknown setting; known here: name, models"},
                {"providers: [{name: a}, {name: a}]\n",
                 "l:1:31: providers[1].name: there is a provider of this name already"},
                {"providers: [{name: a, models: [{model: m}, {model: m}, {model: '*'}]}]\n",
                 "l:1:52: providers[0].models[1].model: this provider has a model of this name already\n"
                 "l:1:64: providers[0].models[2].model: must name one model here"},
                {"providers: [{name: a, models: [{model: m, price: {input: -1}}]}]\n",
                 "l:1:58: providers[0].models[0].price.input: must be an amount of USD like 0.15, below 9 "
                 "million, with at most 12 decimal places, is -1"},
                {"providers: [{name: a, models: [{model: '${HOME}'}]}]\n",
                 "l:1:40: providers[0].models[0].model: takes no variables here; a literal \"${\" is written "
                 "\"$${\""},
                {"a: &b c\n", "l:1:4: anchors (&name) are not supported: write the value out"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct arena arena;
                struct catalog listing;
                arena_init(&arena, ARENA);
                struct zones zones = {.arena = &arena};
                struct error *error =
                        listing_load_text("l", bytes_of(cases[i].text), &arena, &zones, &listing);
                if (error == NULL || error->kind != ERROR_USAGE)
                        fail_msg("%s is taken", cases[i].text);
                if (strcmp(error->message, cases[i].message) != 0)
                        fail_msg("%s: %s", cases[i].text, error->message);
                error_free(error);
                arena_deinit(&arena);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_not_said_is_filled_in),
                cmocka_unit_test(what_is_said_stays),
                cmocka_unit_test(unknown_prices_come_from_the_next_file),
                cmocka_unit_test(all_that_files_have),
                cmocka_unit_test(a_filled_configuration_prints_whole),
                cmocka_unit_test(the_command_line_names_other_files),
                cmocka_unit_test(files_print_and_load),
                cmocka_unit_test(what_is_wrong_with_a_file),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
