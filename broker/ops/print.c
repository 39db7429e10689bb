/*
 * The effective configuration as YAML, and the reference of all names as Markdown: both walk the tables
 * that the readers walk.
 */
#include "broker/ops/print.h"

#include "broker/ops/model.h"
#include "broker/ops/provider.h"
#include "broker/ops/rules.h"
#include "broker/ops/substitute.h"
#include "broker/ops/window.h"
#include "broker/ops/workspaces.h"

#include <string.h>

enum { INDENT = 2, GROUPS_MAX = 8 };

static void append_indent(struct buffer *text, size_t indent) {
        for (size_t i = 0; i < indent; i++)
                buffer_append_char(text, ' ');
}

/* A text so that reading gives it back, whatever is in it. */
static void append_text(struct bytes value, struct buffer *out_text) {
        struct buffer quoted;
        buffer_init(&quoted, 2 * SUBSTITUTE_TEXT_BYTES_MAX);
        substitute_quote(value, &quoted);
        out_text->failed = out_text->failed || quoted.failed;
        yaml_append_text(out_text, buffer_view(&quoted));
        buffer_deinit(&quoted);
}

/* ---- fields ---- */

/* How many bytes of both are the same groups: up to and with the last common dot. */
static size_t common_groups(const char *a, const char *b) {
        size_t common = 0;
        for (size_t i = 0; a[i] != '\0' && a[i] == b[i]; i++)
                if (a[i] == '.')
                        common = i + 1;
        return common;
}

/* "limits:" and so on, for the groups of the path that are not open yet; then the name. */
static void open_groups(const char *path, size_t open, size_t indent, struct buffer *out_text) {
        for (size_t i = 0; i < open; i++)
                indent += path[i] == '.' ? INDENT : 0;
        for (const char *at = path + open; *at != '\0';) {
                size_t size = strcspn(at, ".");
                append_indent(out_text, indent);
                buffer_append(out_text, at, size);
                buffer_append_string(out_text, at[size] == '.' ? ":\n" : ": ");
                indent += INDENT;
                at += at[size] == '.' ? size + 1 : size;
        }
}

void print_fields(const struct field_table *table, const void *base, size_t indent, const char *skip,
                  struct buffer *out_text) {
        const char *before = "";
        for (size_t i = 0; i < table->count; i++) {
                const struct field *field = &table->fields[i];
                struct buffer value;
                if (skip != NULL && strncmp(field->path, skip, strlen(skip)) == 0)
                        continue;
                buffer_init(&value, 2 * FIELD_TEXT_BYTES_MAX);
                if (field_append(field, base, &value)) {
                        open_groups(field->path, common_groups(field->path, before), indent, out_text);
                        before = field->path;
                        if (field->type == FIELD_WORDS)
                                buffer_append_bytes(out_text, buffer_view(&value));
                        else if (field->type == FIELD_BOOL)
                                buffer_append_bytes(out_text, buffer_view(&value));
                        else
                                append_text(buffer_view(&value), out_text);
                        buffer_append_char(out_text, '\n');
                }
                buffer_deinit(&value);
        }
}

/* ---- providers ---- */

void print_make_item(struct buffer *text, size_t start, size_t indent) {
        if (!text->failed && text->size > start + indent)
                text->data[start + indent - INDENT] = '-';
}

static const char *parameter_word(unsigned number) {
        return parameter_text((enum parameter)number);
}

static const char *modality_word(unsigned number) {
        return modality_text((enum modality)number);
}

static const char *kind_word(unsigned number) {
        return model_kind_name((enum kind)number);
}

/* "kinds: [chat, rerank]" */
static void print_words(const char *name, uint64_t words, const char *(*word)(unsigned), size_t indent,
                        struct buffer *out_text) {
        const char *before = "";
        append_indent(out_text, indent);
        buffer_printf(out_text, "%s: [", name);
        for (unsigned i = 0; i < 64; i++)
                if ((words >> i & 1) != 0) {
                        buffer_printf(out_text, "%s%s", before, word(i));
                        before = ", ";
                }
        buffer_append_string(out_text, "]\n");
}

static void print_sets(const struct endpoint *endpoint, size_t indent, struct buffer *out_text) {
        if (endpoint->kinds != (1U << KINDS_COUNT) - 1)
                print_words("kinds", endpoint->kinds, kind_word, indent, out_text);
        if (endpoint->parameters_known)
                print_words("parameters", endpoint->parameters, parameter_word, indent, out_text);
        if (endpoint->input_modalities != 0)
                print_words("input_modalities", endpoint->input_modalities, modality_word, indent, out_text);
        if (endpoint->output_modalities != 0)
                print_words("output_modalities", endpoint->output_modalities, modality_word, indent,
                            out_text);
}

static void print_tiers(const struct endpoint *endpoint, size_t indent, struct buffer *out_text) {
        if (endpoint->tiers_count > 0) {
                append_indent(out_text, indent);
                buffer_append_string(out_text, "price_tiers:\n");
        }
        for (unsigned i = 0; i < endpoint->tiers_count; i++) {
                size_t start = out_text->size;
                print_fields(&tier_table, &endpoint->tiers[i], indent + 2 * INDENT, NULL, out_text);
                print_make_item(out_text, start, indent + 2 * INDENT);
        }
}

static void print_windows(const struct endpoint *endpoint, size_t indent, struct buffer *out_text) {
        if (endpoint->windows_count > 0) {
                append_indent(out_text, indent);
                buffer_append_string(out_text, "price_windows:\n");
        }
        for (unsigned i = 0; i < endpoint->windows_count; i++) {
                append_indent(out_text, indent + INDENT);
                buffer_append_string(out_text, "- {when: \"");
                window_append(out_text, &endpoint->windows[i]);
                buffer_append_string(out_text, "\", multiply: ");
                multiply_append(out_text, endpoint->windows[i].multiply_millionths);
                buffer_append_string(out_text, "}\n");
        }
}

void print_model(const struct endpoint *endpoint, size_t indent, struct buffer *out_text) {
        struct model_draft draft = {.endpoint = *endpoint};
        const size_t start = out_text->size;
        if (strcmp(draft.endpoint.upstream, draft.endpoint.model) == 0)
                draft.endpoint.upstream = "";
        if (strcmp(draft.endpoint.quantization, "unknown") == 0)
                draft.endpoint.quantization = "";
        print_fields(&model_table, &draft, indent, NULL, out_text);
        print_tiers(endpoint, indent, out_text);
        print_windows(endpoint, indent, out_text);
        print_sets(endpoint, indent, out_text);
        print_make_item(out_text, start, indent);
}

static void print_provider(const struct config *config, uint32_t i, struct buffer *out_text) {
        const struct provider_draft draft = {.provider = config->catalog.providers[i],
                                             .catalog = config->provider_catalogs[i]};
        const size_t indent = 2 * INDENT, start = out_text->size;
        print_fields(&provider_table, &draft, indent,
                     draft.provider.data_policy_known ? NULL : "data_policy.", out_text);
        print_make_item(out_text, start, indent);
        if (config->keys[i] != NULL)
                buffer_append_string(out_text, "    api_key: \"***\"\n");
        buffer_append_string(out_text, "    models:\n");
        for (uint32_t k = 0; k < config->catalog.endpoints_count; k++)
                if (config->catalog.endpoints[k].provider == i)
                        print_model(&config->catalog.endpoints[k], 4 * INDENT, out_text);
}

void config_print(const struct config *config, struct buffer *out_text) {
        print_fields(&settings_table, &config->settings, 0, NULL, out_text);
        if (config->kafka_count > 0)
                buffer_append_string(out_text, "kafka:\n");
        for (size_t i = 0; i < config->kafka_count; i++) {
                buffer_printf(out_text, "  %s: ", config->kafka[i].name);
                if (config->kafka[i].secret)
                        buffer_append_string(out_text, "\"***\"");
                else
                        append_text(bytes_of(config->kafka[i].value), out_text);
                buffer_append_char(out_text, '\n');
        }
        buffer_append_string(out_text, "routing:\n");
        rules_print(&config->prefs, out_text);
        for (unsigned i = 0; i < config->catalog_files_count; i++)
                buffer_printf(out_text, "# catalog %s: filled in below\n", config->catalog_files[i]);
        if (config->catalog.workspaces_count > 0)
                buffer_append_string(out_text, "workspaces:\n");
        workspaces_print(&config->catalog, out_text);
        if (config->catalog.providers_count > 0)
                buffer_append_string(out_text, "providers:\n");
        for (uint32_t i = 0; i < config->catalog.providers_count; i++)
                print_provider(config, i, out_text);
}

/* ---- the reference ---- */

static void append_range(const struct field *field, struct buffer *out_text) {
        bool words = field->type == FIELD_CHOICE || field->type == FIELD_WORDS;
        bool text = field->type == FIELD_TEXT || field->type == FIELD_NAME;
        if (words) {
                for (const char *at = field->min; *at != '\0'; at++)
                        if (*at == '|')
                                buffer_append_string(out_text, ", ");
                        else
                                buffer_append_char(out_text, *at);
        } else if (text && field->max[0] != '\0') {
                buffer_printf(out_text, "%s to %s bytes", field->min[0] != '\0' ? field->min : "0",
                              field->max);
        } else if (!text && field->max[0] != '\0') {
                buffer_printf(out_text, "%s to %s", field->min, field->max);
        } else if (field->type == FIELD_USD || field->type == FIELD_USD_EACH) {
                buffer_append_string(out_text, "0 or more");
        }
}

static void append_table(const struct field_table *table, struct buffer *out_text) {
        buffer_append_string(out_text, "| name | type | default | range | |\n|---|---|---|---|---|\n");
        for (size_t i = 0; i < table->count; i++) {
                const struct field *field = &table->fields[i];
                buffer_printf(out_text, "| `%s` | %s | ", field->path, field_type_name(field->type));
                if (field->default_text[0] != '\0')
                        buffer_printf(out_text, "`%s`", field->default_text);
                buffer_append_string(out_text, " | ");
                append_range(field, out_text);
                buffer_printf(out_text, " | %s |\n", field->help);
        }
}

void config_reference(struct buffer *out_text) {
        buffer_append_string(out_text, "## Settings\n\n");
        append_table(&settings_table, out_text);
        buffer_append_string(out_text, "\n## Providers\n\nEach item of `providers`:\n\n");
        append_table(&provider_table, out_text);
        buffer_append_string(out_text, "\n## Models\n\nEach item of a provider's `models`:\n\n");
        append_table(&model_table, out_text);
        buffer_append_string(out_text, "\nEach item of a model's `price_tiers`:\n\n");
        append_table(&tier_table, out_text);
        buffer_append_string(out_text,
                             "\nEach item of a model's `price_windows`; the last that holds counts:\n\n");
        append_table(&window_table, out_text);
        buffer_append_string(out_text, "\n## Workspaces\n\nEach item of `workspaces`:\n\n");
        append_table(&workspace_table, out_text);
}
