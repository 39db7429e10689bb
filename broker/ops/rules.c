/*
 * One reader per field, as for the routing of a job line; here a later layer replaces, since there is
 * none before.
 */
#include "broker/ops/rules.h"

#include "broker/base/nearest.h"
#include "broker/ops/substitute.h"
#include "workers/routing/merge.h"

#include <string.h>

enum { NAME_BYTES_MAX = 128 };

enum rule {
#define ROUTING_FIELD(name, text, how, meaning) RULE_##name,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
};

static const struct field rule_fields[] = {
#define ROUTING_FIELD(name, text, how, meaning) {text, FIELD_OTHER, 0, "", "", "", ""},
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
};

static const struct field_table rule_table = {rule_fields, sizeof rule_fields / sizeof *rule_fields};

/*
 * OpenRouter's API reference, MaxPrice: USD per million prompt and completion tokens, per request and
 * per image.
 */
static const struct field max_price_fields[] = {
        {"prompt", FIELD_USD, offsetof(struct routing_prefs, max_price_input), "", "", "", ""},
        {"completion", FIELD_USD, offsetof(struct routing_prefs, max_price_output), "", "", "", ""},
        {"request", FIELD_USD_EACH, offsetof(struct routing_prefs, max_price_request), "", "", "", ""},
        {"image", FIELD_USD_EACH, offsetof(struct routing_prefs, max_price_image), "", "", "", ""},
};

static const struct field_table max_price_table = {max_price_fields,
                                                   sizeof max_price_fields / sizeof *max_price_fields};

static const struct field name_field = {"", FIELD_TEXT, 0, "", "1", "128", ""};
static const struct field flag_field = {"", FIELD_BOOL, 0, "", "", "", ""};
static const struct field sort_field = {
        "", FIELD_CHOICE, 0, "", "price|throughput|latency|quality|balanced", "", ""};
static const struct field partition_field = {"", FIELD_CHOICE, 0, "", "model|none", "", ""};
static const struct field denial_field = {"", FIELD_CHOICE, 0, "", "allow|deny", "", ""};
static const char *const sort_texts[] = {[SORT_PRICE] = "price",
                                         [SORT_THROUGHPUT] = "throughput",
                                         [SORT_LATENCY] = "latency",
                                         [SORT_QUALITY] = "quality",
                                         [SORT_BALANCED] = "balanced"};
static const char *const percentile_texts[PERCENTILES_COUNT] = {"p50", "p75", "p90", "p99"};

/* ---- reading ---- */

static bool add_name(struct reader *reader, const struct yaml_node *node, struct bytes name,
                     struct names_room *room, struct names *names) {
        if (names_add(names, room, bytes_of(reader_keep(reader, name))))
                return true;
        reader_find(reader, node, "must hold at most %d names", PREFS_NAMES_MAX);
        return false;
}

/* "a,b" on the command line. */
static void read_words(struct reader *reader, const struct yaml_node *node, struct names_room *room,
                       struct names *names) {
        struct reader_text text;
        struct bytes word;
        if (!reader_text(reader, node, &text))
                return;
        while (field_next_word(&text.value, &word))
                if (!add_name(reader, node, word, room, names))
                        return;
}

/* As long as it is. */
static void keep_names(struct reader *reader, const struct names *names, struct names *out_names) {
        struct bytes *items = names->count > 0 ? reader_alloc(reader, names->count * sizeof *items) : NULL;
        if (items != NULL)
                memcpy(items, names->items, names->count * sizeof *items);
        *out_names = (struct names){items, items != NULL ? names->count : 0};
}

static void read_names(struct reader *reader, const struct yaml_node *node, struct names *out_names) {
        struct names_room room = {.used = 0};
        struct names names = {.count = 0};
        uint32_t index = 0;
        if (reader->command_line && node->kind == YAML_TEXT) {
                read_words(reader, node, &room, &names);
        } else if (!reader_is_list(reader, node, "such as [one, another]")) {
                return;
        }
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                const char *name;
                size_t place = reader_enter_item(reader, index++);
                bool well = reader_field(reader, &name_field, item, &name) &&
                            add_name(reader, item, bytes_of(name), &room, &names);
                reader_leave(reader, place);
                if (!well)
                        return;
        }
        keep_names(reader, &names, out_names);
}

static void read_sort_by(struct reader *reader, const struct yaml_node *node, struct routing_prefs *prefs) {
        const char *text;
        unsigned i = 0;
        if (!reader_field(reader, &sort_field, node, &text))
                return;
        while (strcmp(text, sort_texts[i]) != 0)
                i++;
        prefs->sort = (enum sort_by)i;
        prefs->sort_said = true;
}

static void read_partition(struct reader *reader, const struct yaml_node *node, struct routing_prefs *prefs) {
        const char *text;
        if (!reader_field(reader, &partition_field, node, &text))
                return;
        prefs->sort_across_models = strcmp(text, "none") == 0;
        prefs->partition_said = true;
}

/* A word, or {by: a word, partition: model or none}. */
static void read_sort(struct reader *reader, const struct yaml_node *node, struct routing_prefs *prefs) {
        prefs->sort_across_models = false;
        prefs->partition_said = true;
        if (node->kind != YAML_MAP) {
                read_sort_by(reader, node, prefs);
                return;
        }
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                size_t place = reader_enter(reader, item->name);
                if (bytes_equal_string(item->name, "by"))
                        read_sort_by(reader, item, prefs);
                else if (bytes_equal_string(item->name, "partition"))
                        read_partition(reader, item, prefs);
                else
                        reader_find_name(reader, item, "there are \"by\" and \"partition\" only");
                reader_leave(reader, place);
        }
}

static void read_denial(struct reader *reader, const struct yaml_node *node, bool *out_deny) {
        const char *text;
        if (reader_field(reader, &denial_field, node, &text))
                *out_deny = strcmp(text, "deny") == 0;
}

/* The table of max_price has no field of that type. */
static void read_nothing(struct reader *reader, const struct field *field, const struct yaml_node *node,
                         void *base) {
        (void)reader;
        (void)field;
        (void)node;
        (void)base;
}

static void read_max_price(struct reader *reader, const struct yaml_node *node, struct routing_prefs *prefs) {
        field_set said = 0;
        if (reader_is_map(reader, node, "of prompt, completion, request and image"))
                reader_fields(reader, &max_price_table, node, prefs, read_nothing, &said);
}

/* An exact decimal, in units of 1e-12. */
static bool read_number(struct reader *reader, const struct yaml_node *node, int64_t *out_pico) {
        struct reader_text text;
        if (!reader_text(reader, node, &text))
                return false;
        if (money_parse(text.value, out_pico))
                return true;
        reader_find_value(reader, node, &text, "must be a number, 0 or more");
        return false;
}

static void read_wish_number(struct reader *reader, const struct yaml_node *node, int64_t unit,
                             int64_t *out_wish) {
        int64_t pico;
        if (read_number(reader, node, &pico))
                *out_wish = pico / unit + (pico % unit > 0); /* what is said is never nothing */
}

/* A soft wish: a number, which is the median, or numbers by percentile; in units of `unit` times 1e-12. */
static void read_wish(struct reader *reader, const struct yaml_node *node, int64_t unit,
                      int64_t out_wish[PERCENTILES_COUNT]) {
        memset(out_wish, 0, PERCENTILES_COUNT * sizeof *out_wish);
        if (node->kind != YAML_MAP) {
                read_wish_number(reader, node, unit, &out_wish[0]);
                return;
        }
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                size_t place = reader_enter(reader, item->name);
                unsigned i = 0;
                while (i < PERCENTILES_COUNT && !bytes_equal_string(item->name, percentile_texts[i]))
                        i++;
                if (i < PERCENTILES_COUNT)
                        read_wish_number(reader, item, unit, &out_wish[i]);
                else
                        reader_find_name(reader, item, "there are p50, p75, p90 and p99 only");
                reader_leave(reader, place);
        }
}

static void read_spread(struct reader *reader, const struct yaml_node *node, struct routing_prefs *prefs) {
        int64_t pico;
        if (!read_number(reader, node, &pico))
                return;
        prefs->spread_ppm = pico / (PICOUSD_PER_USD / SPREAD_WHOLE);
        prefs->spread_said = true;
        if (prefs->spread_ppm > SPREAD_MAX)
                reader_find(reader, node,
                            "must be a number from 0 to %d: 0.2 is 20 %% dearer than the cheapest",
                            SPREAD_MAX / SPREAD_WHOLE);
}

static void read_distillable(struct reader *reader, const struct yaml_node *node) {
        bool wanted = false;
        if (reader_field(reader, &flag_field, node, &wanted) && wanted)
                reader_find(reader, node,
                            "cannot be kept: no catalog says whose authors permit distillation; name the "
                            "models or "
                            "providers in \"only\" instead");
}

static void read_rule(struct reader *reader, const struct field *field, const struct yaml_node *node,
                      void *base) {
        struct routing_prefs *prefs = base;
        if (node->nothing)
                return;
        switch ((enum rule)(field - rule_fields)) {
        case RULE_ORDER:
                read_names(reader, node, &prefs->order);
                return;
        case RULE_ONLY:
                read_names(reader, node, &prefs->only);
                return;
        case RULE_IGNORE:
                read_names(reader, node, &prefs->ignore);
                return;
        case RULE_ALLOW_FALLBACKS:
                reader_field(reader, &flag_field, node, &prefs->allow_fallbacks);
                return;
        case RULE_REQUIRE_PARAMETERS:
                reader_field(reader, &flag_field, node, &prefs->require_parameters);
                return;
        case RULE_DATA_COLLECTION:
                read_denial(reader, node, &prefs->deny_training);
                return;
        case RULE_ZDR:
                reader_field(reader, &flag_field, node, &prefs->zdr);
                return;
        case RULE_QUANTIZATIONS:
                read_names(reader, node, &prefs->quantizations);
                return;
        case RULE_SORT:
                read_sort(reader, node, prefs);
                return;
        case RULE_MAX_PRICE:
                read_max_price(reader, node, prefs);
                return;
        case RULE_PREFERRED_MIN_THROUGHPUT:
                read_wish(reader, node, WISH_MILLI, prefs->preferred_min_throughput);
                return;
        case RULE_PREFERRED_MAX_LATENCY:
                read_wish(reader, node, WISH_NANO, prefs->preferred_max_latency);
                return;
        case RULE_REGIONS:
                read_names(reader, node, &prefs->regions);
                return;
        case RULE_MAX_COST_USD:
                read_number(reader, node, &prefs->max_cost_picousd);
                return;
        case RULE_UNKNOWN_PRICE:
                read_denial(reader, node, &prefs->deny_unknown_price);
                return;
        case RULE_SPREAD:
                read_spread(reader, node, prefs);
                return;
        case RULE_ENFORCE_DISTILLABLE_TEXT:
                read_distillable(reader, node);
                return;
        }
}

void rules_read(struct reader *reader, const struct yaml_node *map, struct routing_prefs *prefs) {
        field_set said = 0;
        if (reader_is_map(reader, map, "such as {sort: price}"))
                reader_fields(reader, &rule_table, map, prefs, read_rule, &said);
}

/* ---- checking ---- */

static struct bytes provider_of(struct bytes name) {
        const char *slash = name.size > 0 ? memchr(name.data, '/', name.size) : NULL;
        return slash == NULL ? name : (struct bytes){name.data, (size_t)(slash - name.data)};
}

static void check_provider(struct reader *reader, const struct yaml_node *item,
                           const struct catalog *catalog) {
        struct bytes name = provider_of(item->text);
        struct nearest nearest;
        nearest_init(&nearest, name);
        for (uint32_t i = 0; i < catalog->providers_count; i++) {
                if (bytes_equal_string(name, catalog->providers[i].name))
                        return;
                nearest_offer(&nearest, bytes_of(catalog->providers[i].name));
        }
        if (nearest.best.size > 0)
                reader_find(reader, item, "there is no provider \"%.*s\"; did you mean \"%.*s\"?",
                            (int)name.size, name.data, (int)nearest.best.size, nearest.best.data);
        else
                reader_find(reader, item, "there is no provider \"%.*s\"", (int)name.size, name.data);
}

static bool is_substituted(struct bytes text) {
        return text.size > 0 && memchr(text.data, '$', text.size) != NULL;
}

/* Lists of names that a variable gave are left: what it holds does not belong into a message. */
void rules_check(struct reader *reader, const struct yaml_node *map, const struct catalog *catalog) {
        static const char *const lists[] = {"order", "only", "ignore"};
        if (catalog->providers_count == 0)
                return;
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
                const struct yaml_node *list = yaml_child(map, bytes_of(lists[i]));
                uint32_t index = 0;
                if (list == NULL)
                        continue;
                size_t place = reader_enter(reader, bytes_of(lists[i]));
                for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
                        size_t inner = reader_enter_item(reader, index++);
                        if (item->kind == YAML_TEXT && item->text.size <= NAME_BYTES_MAX &&
                            !is_substituted(item->text))
                                check_provider(reader, item, catalog);
                        reader_leave(reader, inner);
                }
                reader_leave(reader, place);
        }
}

/* ---- printing ---- */

static void print_names(const char *name, const struct names *names, struct buffer *out_text) {
        if (names->count == 0)
                return;
        buffer_printf(out_text, "  %s:\n", name);
        for (unsigned i = 0; i < names->count; i++) {
                struct buffer quoted;
                buffer_init(&quoted, 4 * NAME_BYTES_MAX);
                substitute_quote(names->items[i], &quoted);
                buffer_append_string(out_text, "    - ");
                yaml_append_text(out_text, buffer_view(&quoted));
                buffer_append_char(out_text, '\n');
                buffer_deinit(&quoted);
        }
}

static void print_max_price(const struct routing_prefs *prefs, struct buffer *out_text) {
        const char *before = "  max_price: {";
        for (size_t i = 0; i < max_price_table.count; i++) {
                const struct field *field = &max_price_fields[i];
                int64_t price;
                memcpy(&price, (const char *)prefs + field->offset, sizeof price);
                if (price == PICOUSD_MAX)
                        continue;
                buffer_printf(out_text, "%s%s: ", before, field->path);
                field_append(field, prefs, out_text);
                before = ", ";
        }
        if (before[0] == ',')
                buffer_append_string(out_text, "}\n");
}

static void print_wish(const char *name, const int64_t wish[PERCENTILES_COUNT], int64_t unit,
                       struct buffer *out_text) {
        const char *before = "{";
        bool said = false;
        for (unsigned i = 0; i < PERCENTILES_COUNT; i++)
                said = said || wish[i] > 0;
        if (!said)
                return;
        buffer_printf(out_text, "  %s: ", name);
        for (unsigned i = 0; i < PERCENTILES_COUNT; i++) {
                if (wish[i] == 0)
                        continue;
                buffer_printf(out_text, "%s%s: ", before, percentile_texts[i]);
                money_append(out_text, money_multiply(wish[i], unit));
                before = ", ";
        }
        buffer_append_string(out_text, "}\n");
}

static void print_wishes(const struct routing_prefs *prefs, struct buffer *out_text) {
        if (prefs->sort_across_models)
                buffer_printf(out_text, "  sort: {by: %s, partition: none}\n", sort_texts[prefs->sort]);
        else
                buffer_printf(out_text, "  sort: %s\n", sort_texts[prefs->sort]);
        if (prefs->spread_said) {
                buffer_append_string(out_text, "  spread: ");
                money_append(out_text, money_multiply(prefs->spread_ppm, PICOUSD_PER_USD / SPREAD_WHOLE));
                buffer_append_char(out_text, '\n');
        }
        print_wish("preferred_min_throughput", prefs->preferred_min_throughput, WISH_MILLI, out_text);
        print_wish("preferred_max_latency", prefs->preferred_max_latency, WISH_NANO, out_text);
}

void rules_print(const struct routing_prefs *prefs, struct buffer *out_text) {
        print_wishes(prefs, out_text);
        buffer_printf(out_text, "  allow_fallbacks: %s\n", prefs->allow_fallbacks ? "true" : "false");
        buffer_printf(out_text, "  data_collection: %s\n", prefs->deny_training ? "deny" : "allow");
        buffer_printf(out_text, "  zdr: %s\n", prefs->zdr ? "true" : "false");
        if (prefs->require_parameters)
                buffer_append_string(out_text, "  require_parameters: true\n");
        if (prefs->deny_unknown_price)
                buffer_append_string(out_text, "  unknown_price: deny\n");
        if (prefs->max_cost_picousd != PICOUSD_MAX) {
                buffer_append_string(out_text, "  max_cost_usd: ");
                money_append(out_text, prefs->max_cost_picousd);
                buffer_append_char(out_text, '\n');
        }
        print_names("order", &prefs->order, out_text);
        print_names("only", &prefs->only, out_text);
        print_names("ignore", &prefs->ignore, out_text);
        print_names("regions", &prefs->regions, out_text);
        print_names("quantizations", &prefs->quantizations, out_text);
        print_max_price(prefs, out_text);
}
