/*
 * The effective configuration as YAML, and the reference of all names as Markdown: both walk the tables
 * that the readers walk.
 */
#include "broker/ops/print.h"

#include "broker/ops/provider.h"
#include "broker/ops/rules.h"
#include "broker/ops/substitute.h"
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

static void print_kinds(uint32_t kinds, size_t indent, struct buffer *out_text) {
        const char *before = "kinds: [";
        if (kinds == (1U << KINDS_COUNT) - 1)
                return;
        append_indent(out_text, indent);
        for (unsigned i = 0; i < KINDS_COUNT; i++)
                if ((kinds >> i & 1) != 0) {
                        buffer_printf(out_text, "%s%s", before, provider_kind_name((enum kind)i));
                        before = ", ";
                }
        buffer_append_string(out_text, "]\n");
}

/* What was not said is left out. */
static void print_model(const struct config *config, uint32_t i, struct buffer *out_text) {
        struct model_draft draft = {.endpoint = config->catalog.endpoints[i], .notes = config->notes[i]};
        const size_t indent = 4 * INDENT, start = out_text->size;
        if (strcmp(draft.endpoint.upstream, draft.endpoint.model) == 0)
                draft.endpoint.upstream = "";
        if (strcmp(draft.endpoint.quantization, "unknown") == 0)
                draft.endpoint.quantization = "";
        print_fields(&model_table, &draft, indent, NULL, out_text);
        print_kinds(draft.endpoint.kinds, indent, out_text);
        print_make_item(out_text, start, indent);
}

static void print_provider(const struct config *config, uint32_t i, struct buffer *out_text) {
        const struct provider_draft draft = {.provider = config->catalog.providers[i]};
        const size_t indent = 2 * INDENT, start = out_text->size;
        print_fields(&provider_table, &draft, indent,
                     draft.provider.data_policy_known ? NULL : "data_policy.", out_text);
        print_make_item(out_text, start, indent);
        if (config->keys[i] != NULL)
                buffer_append_string(out_text, "    api_key: \"***\"\n");
        buffer_append_string(out_text, "    models:\n");
        for (uint32_t k = 0; k < config->catalog.endpoints_count; k++)
                if (config->catalog.endpoints[k].provider == i)
                        print_model(config, k, out_text);
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
        buffer_append_string(out_text, "\n## Workspaces\n\nEach item of `workspaces`:\n\n");
        append_table(&workspace_table, out_text);
}
