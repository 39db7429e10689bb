/*
 * Any bytes as a catalogue of others; the first says of which kind. Refused with a message, or taken; and
 * what is taken prints as a catalogue file that loads to the same, whatever names and numbers were in it.
 */
#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/catalog/check.h"
#include "broker/catalog/import.h"
#include "broker/catalog/table.h"
#include "broker/ops/listing.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_BYTES_MAX = 64 << 20 };

static void look(const struct catalog *catalog) {
        const struct table_filter all = {.max_input_price = PICOUSD_MAX, .max_output_price = PICOUSD_MAX};
        struct check_findings findings;
        struct buffer text;
        buffer_init(&text, TEXT_BYTES_MAX);
        table_append(catalog, &all, 0, &text);
        table_append(catalog, &all, 40, &text);
        table_append_json(catalog, &all, &text);
        check_catalog(catalog, 0, &findings);
        check_append(catalog, &findings, false, &text);
        check_append_json(catalog, &findings, &text);
        CHECK(!text.failed);
        check_findings_deinit(&findings);
        buffer_deinit(&text);
}

static void print_and_load(struct import *import, const struct catalog *catalog) {
        struct catalog again;
        struct buffer first, second;
        struct zones zones = {.arena = &import->arena};
        buffer_init(&first, TEXT_BYTES_MAX);
        buffer_init(&second, TEXT_BYTES_MAX);
        listing_print(catalog, &first);
        struct error *error =
                listing_load_text("printed", buffer_view(&first), &import->arena, &zones, &again);
        CHECK(error == NULL);
        listing_print(&again, &second);
        CHECK(bytes_equal(buffer_view(&first), buffer_view(&second)));
        CHECK(again.endpoints_count == catalog->endpoints_count);
        for (uint32_t i = 0; i < again.endpoints_count; i++)
                CHECK(memcmp(&again.endpoints[i].price, &catalog->endpoints[i].price, sizeof(struct price)) ==
                      0);
        buffer_deinit(&first);
        buffer_deinit(&second);
        look(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0;
        struct import *import = malloc(sizeof *import);
        struct catalog catalog;
        if (import == NULL)
                return 0;
        import_init(import);
        struct bytes text = {(const char *)data + 1, size - 1};
        struct error *error =
                data[0] == 'o' ? import_openrouter(import, "f", text) : import_litellm(import, "f", text);
        if (error == NULL)
                error = import_finish(import, &catalog);
        if (error == NULL) {
                struct buffer report;
                buffer_init(&report, TEXT_BYTES_MAX);
                import_report(import, true, &report);
                CHECK(!report.failed);
                buffer_deinit(&report);
                print_and_load(import, &catalog);
        } else {
                CHECK(error->message[0] != '\0');
                error_free(error);
        }
        import_deinit(import);
        free(import);
        return 0;
}
