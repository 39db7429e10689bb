/* Cells are made once for all rows, since columns are as wide as their widest cell. */
#include "broker/catalog/table.h"

#include "broker/base/money.h"
#include "broker/ops/model.h"
#include "broker/ops/window.h"
#include "workers/routing/eligible.h"
#include "workers/routing/price.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS_BYTES_MAX = 64 << 20, MODEL_WIDTH_MIN = 24, MILLION = 1000000 };
/* Of what is kept as picodollars per million. */
enum { PER_USD = 1, PER_USD_EACH = MILLION };

enum column { PROVIDER, MODEL, INPUT, OUTPUT, CACHED, OTHER, CONTEXT, QUALITY, ALSO, KINDS, COLUMNS };

static const char *const titles[COLUMNS] = {
        [PROVIDER] = "PROVIDER", [MODEL] = "MODEL", [INPUT] = "INPUT",     [OUTPUT] = "OUTPUT",
        [CACHED] = "CACHED",     [OTHER] = "OTHER", [CONTEXT] = "CONTEXT", [QUALITY] = "QUALITY",
        [ALSO] = "ALSO",         [KINDS] = "KINDS",
};

bool table_takes(const struct table_filter *filter, const struct catalog *catalog,
                 const struct endpoint *endpoint) {
        const char *provider = catalog->providers[endpoint->provider].name;
        const struct price *price = &endpoint->price;
        if (filter->provider != NULL && fnmatch(filter->provider, provider, 0) != 0)
                return false;
        if (filter->model != NULL && fnmatch(filter->model, endpoint->model, 0) != 0)
                return false;
        if (filter->kinds != 0 && (endpoint->kinds & filter->kinds) == 0)
                return false;
        if ((filter->parameters & ~parameters_supported(endpoint->parameters)) != 0)
                return false;
        if (filter->max_input_price != PICOUSD_MAX &&
            (price->input == PRICE_UNKNOWN || price->input > filter->max_input_price))
                return false;
        if (filter->max_output_price != PICOUSD_MAX &&
            (price->output == PRICE_UNKNOWN || price->output > filter->max_output_price))
                return false;
        return endpoint->context >= filter->min_context &&
               eligible_policy(catalog, endpoint, &filter->prefs) == EXCLUSION_NONE;
}

/* ---- cells ---- */

static void append_price(struct buffer *text, int64_t price) {
        if (price == PRICE_UNKNOWN)
                buffer_append_char(text, '-');
        else
                money_append(text, price);
}

/* A cell begins behind the end of the one before. */
static bool is_begun(const struct buffer *text) {
        return text->size > 0 && text->data[text->size - 1] != '\0';
}

static void append_each(struct buffer *text, int64_t price, int64_t divisor, const char *unit) {
        if (price == PRICE_UNKNOWN)
                return;
        if (is_begun(text))
                buffer_append_char(text, ' ');
        money_append(text, price / divisor);
        buffer_append_string(text, unit);
}

static void append_other(struct buffer *text, const struct price *price) {
        append_each(text, price->audio_minute, MILLION, "/minute");
        append_each(text, price->character, 1, "/Mchar");
        append_each(text, price->image, MILLION, "/image");
        append_each(text, price->request, MILLION, "/request");
        append_each(text, price->search_unit, MILLION, "/search");
        append_each(text, price->audio_input, 1, "/Maudio-in");
        append_each(text, price->audio_output, 1, "/Maudio-out");
        append_each(text, price->image_input, 1, "/Mimage-in");
        append_each(text, price->image_output, 1, "/Mimage-out");
}

static void append_word(struct buffer *text, bool it_is, const char *word) {
        if (!it_is)
                return;
        if (is_begun(text))
                buffer_append_char(text, ',');
        buffer_append_string(text, word);
}

static void append_also(struct buffer *text, const struct endpoint *endpoint) {
        const struct price *batch = &endpoint->batch;
        append_word(text, batch->input != PRICE_UNKNOWN || batch->output != PRICE_UNKNOWN, "batch");
        append_word(text, !price_is_unknown(&endpoint->service[SERVICE_FLEX - 1]), "flex");
        append_word(text, !price_is_unknown(&endpoint->service[SERVICE_PRIORITY - 1]), "priority");
        append_word(text, endpoint->tiers_count > 0, "tiers");
        append_word(text, endpoint->windows_count > 0, "windows");
}

static void append_kinds(struct buffer *text, uint32_t kinds) {
        if (kinds == (1U << KINDS_COUNT) - 1) {
                buffer_append_string(text, "all");
                return;
        }
        for (unsigned i = 0; i < KINDS_COUNT; i++)
                append_word(text, (kinds >> i & 1) != 0, model_kind_name((enum kind)i));
}

static void append_number(struct buffer *text, int64_t number, int64_t unsaid) {
        if (number == unsaid)
                buffer_append_char(text, '-');
        else
                buffer_append_i64(text, number);
}

/* Appends the cell, terminated. */
static void append_cell(struct buffer *text, enum column column, const struct catalog *catalog,
                        const struct endpoint *endpoint) {
        size_t start = text->size;
        switch (column) {
        case PROVIDER:
                buffer_append_string(text, catalog->providers[endpoint->provider].name);
                break;
        case MODEL:
                buffer_append_string(text, endpoint->model);
                break;
        case INPUT:
                append_price(text, endpoint->price.input);
                break;
        case OUTPUT:
                append_price(text, endpoint->price.output);
                break;
        case CACHED:
                append_price(text, endpoint->price.cached_input);
                break;
        case OTHER:
                append_other(text, &endpoint->price);
                break;
        case CONTEXT:
                append_number(text, endpoint->context, 0);
                break;
        case QUALITY:
                append_number(text, endpoint->quality, -1);
                break;
        case ALSO:
                append_also(text, endpoint);
                break;
        case KINDS:
                append_kinds(text, endpoint->kinds);
                break;
        case COLUMNS:
                break;
        }
        if (text->size == start)
                buffer_append_char(text, '-');
        buffer_append_char(text, '\0');
}

/* ---- lines ---- */

/* How wide each column is, 0 for those that are left out, so that a line has at most `width`. */
static void fit(unsigned width, size_t widths[COLUMNS]) {
        size_t total = 0;
        for (unsigned i = 0; i < COLUMNS; i++)
                total += widths[i] + (i > 0 ? 2 : 0);
        if (total <= width)
                return;
        size_t excess = total - width;
        size_t spare = widths[MODEL] > MODEL_WIDTH_MIN ? widths[MODEL] - MODEL_WIDTH_MIN : 0;
        size_t cut = excess < spare ? excess : spare;
        widths[MODEL] -= cut;
        total -= cut;
        for (unsigned i = COLUMNS - 1; i > INPUT && total > width; i--) {
                total -= widths[i] + 2;
                widths[i] = 0;
        }
}

static bool is_number_column(unsigned column) {
        return column == INPUT || column == OUTPUT || column == CACHED || column == CONTEXT ||
               column == QUALITY;
}

static void append_aligned(struct buffer *out_text, unsigned column, const char *cell, size_t width) {
        size_t size = strlen(cell);
        if (size > width) {
                buffer_append(out_text, cell, width - 1);
                buffer_append_string(out_text, "~");
                return;
        }
        for (size_t i = size; i < width && is_number_column(column); i++)
                buffer_append_char(out_text, ' ');
        buffer_append_string(out_text, cell);
        for (size_t i = size; i < width && !is_number_column(column); i++)
                buffer_append_char(out_text, ' ');
}

/* The cells of one row, one behind the other; gives the first of the next row. */
static const char *append_line(struct buffer *out_text, const char *cells, const size_t widths[COLUMNS]) {
        for (unsigned i = 0; i < COLUMNS; i++) {
                if (widths == NULL) {
                        buffer_append_string(out_text, i > 0 ? "\t" : "");
                        buffer_append_string(out_text, cells);
                } else if (widths[i] > 0) {
                        buffer_append_string(out_text, i > 0 ? "  " : "");
                        append_aligned(out_text, i, cells, widths[i]);
                }
                cells += strlen(cells) + 1;
        }
        while (widths != NULL && !out_text->failed && out_text->data[out_text->size - 1] == ' ')
                out_text->size--;
        buffer_append_char(out_text, '\n');
        return cells;
}

void table_append(const struct catalog *catalog, const struct table_filter *filter, unsigned width,
                  struct buffer *out_text) {
        struct buffer cells;
        size_t widths[COLUMNS] = {0}, rows = 1;
        buffer_init(&cells, CELLS_BYTES_MAX);
        for (unsigned i = 0; i < COLUMNS; i++)
                buffer_append(&cells, titles[i], strlen(titles[i]) + 1);
        for (uint32_t k = 0; k < catalog->endpoints_count; k++) {
                if (!table_takes(filter, catalog, &catalog->endpoints[k]))
                        continue;
                for (unsigned i = 0; i < COLUMNS; i++)
                        append_cell(&cells, (enum column)i, catalog, &catalog->endpoints[k]);
                rows++;
        }
        out_text->failed = out_text->failed || cells.failed;
        const char *at = cells.data;
        for (size_t row = 0; row < rows && !cells.failed; row++)
                for (unsigned i = 0; i < COLUMNS; i++) {
                        size_t size = strlen(at);
                        widths[i] = size > widths[i] ? size : widths[i];
                        at += size + 1;
                }
        if (width > 0)
                fit(width, widths);
        at = cells.data;
        for (size_t row = 0; row < rows && !cells.failed; row++)
                at = append_line(out_text, at, width > 0 ? widths : NULL);
        buffer_deinit(&cells);
}

/* ---- JSON ---- */

/* Puts a comma behind what stands before in the same object or list. */
static void separate(struct buffer *out_text) {
        char before = out_text->size > 0 ? out_text->data[out_text->size - 1] : '{';
        if (before != '{' && before != '[' && before != '\n')
                buffer_append_char(out_text, ',');
}

static void append_text(struct buffer *out_text, const char *name, const char *value) {
        if (value == NULL || value[0] == '\0')
                return;
        separate(out_text);
        buffer_printf(out_text, "\"%s\":\"", name);
        buffer_append_json_escaped(out_text, bytes_of(value));
        buffer_append_char(out_text, '"');
}

static void append_count(struct buffer *out_text, const char *name, int64_t value, int64_t unsaid) {
        if (value == unsaid)
                return;
        separate(out_text);
        buffer_printf(out_text, "\"%s\":", name);
        buffer_append_i64(out_text, value);
}

static void append_usd(struct buffer *out_text, const char *name, int64_t price, int64_t divisor) {
        if (price == PRICE_UNKNOWN)
                return;
        separate(out_text);
        buffer_printf(out_text, "\"%s\":", name);
        money_append(out_text, price / divisor);
}

static void append_prices(struct buffer *out_text, const char *name, const struct price *price) {
        size_t start = out_text->size;
        separate(out_text);
        buffer_printf(out_text, "\"%s\":{", name);
        size_t empty = out_text->size;
#define TOKEN_PART(id, member, text, help)      append_usd(out_text, text, price->member, 1);
#define UNIT_PART(id, member, text, type, help) append_usd(out_text, text, price->member, PER_##type);
#include "schemas/price_parts.def"
        if (out_text->size == empty)
                out_text->size = start;
        else
                buffer_append_char(out_text, '}');
}

static void append_services(struct buffer *out_text, const struct price services[SERVICE_PRICES]) {
        append_prices(out_text, "flex", &services[SERVICE_FLEX - 1]);
        append_prices(out_text, "priority", &services[SERVICE_PRIORITY - 1]);
}

static void append_tiers(struct buffer *out_text, const struct endpoint *endpoint) {
        if (endpoint->tiers_count == 0)
                return;
        separate(out_text);
        buffer_append_string(out_text, "\"price_tiers\":[");
        for (unsigned i = 0; i < endpoint->tiers_count; i++) {
                separate(out_text);
                buffer_append_char(out_text, '{');
                append_count(out_text, "above_input", endpoint->tiers[i].above_input, -1);
                append_prices(out_text, "price", &endpoint->tiers[i].price);
                append_services(out_text, endpoint->tiers[i].service);
                buffer_append_char(out_text, '}');
        }
        buffer_append_char(out_text, ']');
}

static void append_windows(struct buffer *out_text, const struct endpoint *endpoint) {
        if (endpoint->windows_count == 0)
                return;
        separate(out_text);
        buffer_append_string(out_text, "\"price_windows\":[");
        for (unsigned i = 0; i < endpoint->windows_count; i++) {
                separate(out_text);
                buffer_append_string(out_text, "{\"when\":\"");
                window_append(out_text, &endpoint->windows[i]);
                buffer_append_string(out_text, "\",\"multiply\":");
                multiply_append(out_text, endpoint->windows[i].multiply_millionths);
                buffer_append_char(out_text, '}');
        }
        buffer_append_char(out_text, ']');
}

static const char *kind_word(unsigned i) {
        return model_kind_name((enum kind)i);
}

static const char *parameter_word(unsigned i) {
        return parameter_text((enum parameter)i);
}

static const char *modality_word(unsigned i) {
        return modality_text((enum modality)i);
}

static void append_words(struct buffer *out_text, const char *name, uint64_t words,
                         const char *(*word)(unsigned)) {
        separate(out_text);
        buffer_printf(out_text, "\"%s\":[", name);
        for (unsigned i = 0; i < 64; i++)
                if ((words >> i & 1) != 0) {
                        separate(out_text);
                        buffer_printf(out_text, "\"%s\"", word(i));
                }
        buffer_append_char(out_text, ']');
}

static void append_sets(struct buffer *out_text, const struct endpoint *endpoint) {
        if (endpoint->kinds != (1U << KINDS_COUNT) - 1)
                append_words(out_text, "kinds", endpoint->kinds, kind_word);
        if (endpoint->parameters_known)
                append_words(out_text, "parameters", endpoint->parameters, parameter_word);
        if (endpoint->input_modalities != 0)
                append_words(out_text, "input_modalities", endpoint->input_modalities, modality_word);
        if (endpoint->output_modalities != 0)
                append_words(out_text, "output_modalities", endpoint->output_modalities, modality_word);
}

static void append_limits(struct buffer *out_text, const struct limits_spec *limits) {
        size_t start = out_text->size;
        separate(out_text);
        buffer_append_string(out_text, "\"limits\":{");
        size_t empty = out_text->size;
        append_count(out_text, "requests_per_minute", limits->requests_per_minute, 0);
        append_count(out_text, "tokens_per_minute", limits->tokens_per_minute, 0);
        append_count(out_text, "concurrency", limits->concurrency, 0);
        append_count(out_text, "requests_per_day", limits->requests_per_day, 0);
        append_count(out_text, "tokens_per_day", limits->tokens_per_day, 0);
        append_count(out_text, "audio_seconds_per_hour", limits->audio_seconds_per_hour, 0);
        append_count(out_text, "audio_seconds_per_day", limits->audio_seconds_per_day, 0);
        append_count(out_text, "images_per_minute", limits->images_per_minute, 0);
        if (out_text->size == empty)
                out_text->size = start;
        else
                buffer_append_char(out_text, '}');
}

static void append_data_policy(struct buffer *out_text, const struct provider *provider) {
        if (!provider->data_policy_known)
                return;
        separate(out_text);
        buffer_printf(out_text, "\"data_policy\":{\"zdr\":%s,\"training\":%s",
                      provider->zdr ? "true" : "false", provider->training ? "true" : "false");
        append_count(out_text, "retention_days", provider->retention_days, -1);
        buffer_append_char(out_text, '}');
}

static void append_endpoint(struct buffer *out_text, const struct catalog *catalog,
                            const struct endpoint *endpoint) {
        const struct provider *provider = &catalog->providers[endpoint->provider];
        buffer_append_char(out_text, '{');
        append_text(out_text, "provider", provider->name);
        append_text(out_text, "model", endpoint->model);
        append_text(out_text, "upstream", endpoint->upstream);
        append_prices(out_text, "price", &endpoint->price);
        append_prices(out_text, "batch", &endpoint->batch);
        append_services(out_text, endpoint->service);
        append_tiers(out_text, endpoint);
        append_windows(out_text, endpoint);
        append_count(out_text, "context", endpoint->context, 0);
        append_count(out_text, "output_max", endpoint->output_max, 0);
        append_count(out_text, "dimensions", endpoint->dimensions, 0);
        append_count(out_text, "quality", endpoint->quality, -1);
        append_text(out_text, "quantization",
                    strcmp(endpoint->quantization, "unknown") == 0 ? "" : endpoint->quantization);
        append_text(out_text, "region", eligible_region(catalog, endpoint));
        append_data_policy(out_text, provider);
        append_sets(out_text, endpoint);
        append_limits(out_text, &endpoint->limits);
        buffer_append_string(out_text, "}\n");
}

void table_append_json(const struct catalog *catalog, const struct table_filter *filter,
                       struct buffer *out_text) {
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                if (table_takes(filter, catalog, &catalog->endpoints[i]))
                        append_endpoint(out_text, catalog, &catalog->endpoints[i]);
}
