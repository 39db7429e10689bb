/*
 * One reader per field, as for the routing of a job line; here a later layer replaces, since there is
 * none before.
 */
#include "broker/ops/rules.h"

#include "broker/base/nearest.h"
#include "broker/ops/substitute.h"

#include <string.h>

enum { NAME_BYTES_MAX = 128 };

enum rule {
#define ROUTING_FIELD(name, text, how) RULE_##name,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
        RULE_SPREAD,
};

static const struct field rule_fields[] = {
#define ROUTING_FIELD(name, text, how) {text, FIELD_OTHER, 0, "", "", "", ""},
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
        {"spread", FIELD_OTHER, 0, "", "", "", ""},
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
static const struct field sort_field = {"", FIELD_CHOICE, 0, "", "price|throughput|latency", "", ""};
static const struct field collection_field = {"", FIELD_CHOICE, 0, "", "allow|deny", "", ""};

void rules_init(struct routing_prefs *prefs) {
        struct demand demand;
        demand_init(&demand, KIND_CHAT);
        *prefs = demand.prefs;
}

/* ---- reading ---- */

static bool add_name(struct reader *reader, const struct yaml_node *node, struct bytes name,
                     struct names *names) {
        for (unsigned i = 0; i < names->count; i++)
                if (bytes_equal(names->items[i], name))
                        return true;
        if (names->count == PREFS_NAMES_MAX) {
                reader_find(reader, node, "must hold at most %d names", PREFS_NAMES_MAX);
                return false;
        }
        names->items[names->count++] = bytes_of(reader_keep(reader, name));
        return true;
}

/* "a,b" on the command line. */
static void read_words(struct reader *reader, const struct yaml_node *node, struct names *names) {
        struct reader_text text;
        struct bytes word;
        if (!reader_text(reader, node, &text))
                return;
        while (field_next_word(&text.value, &word))
                if (!add_name(reader, node, word, names))
                        return;
}

static void read_names(struct reader *reader, const struct yaml_node *node, struct names *out_names) {
        struct names names = {0};
        uint32_t index = 0;
        if (reader->command_line && node->kind == YAML_TEXT) {
                read_words(reader, node, &names);
        } else if (!reader_is_list(reader, node, "such as [one, another]")) {
                return;
        }
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                const char *name;
                size_t place = reader_enter_item(reader, index++);
                bool well = reader_field(reader, &name_field, item, &name) &&
                            add_name(reader, item, bytes_of(name), &names);
                reader_leave(reader, place);
                if (!well)
                        return;
        }
        *out_names = names;
}

static void read_sort(struct reader *reader, const struct yaml_node *node, enum sort_by *out_sort) {
        const char *text;
        if (!reader_field(reader, &sort_field, node, &text))
                return;
        *out_sort = text[0] == 'p' ? SORT_PRICE : text[0] == 't' ? SORT_THROUGHPUT : SORT_LATENCY;
}

static void read_collection(struct reader *reader, const struct yaml_node *node, bool *out_deny) {
        const char *text;
        if (reader_field(reader, &collection_field, node, &text))
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
        uint64_t said = 0;
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

/*
 * A soft wish, which sorting by price or throughput covers: a number, or numbers by percentile. Checked
 * and left.
 */
static void read_wish(struct reader *reader, const struct yaml_node *node) {
        int64_t number;
        if (node->kind != YAML_MAP) {
                read_number(reader, node, &number);
                return;
        }
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                size_t place = reader_enter(reader, item->name);
                read_number(reader, item, &number);
                reader_leave(reader, place);
        }
}

static void read_spread(struct reader *reader, const struct yaml_node *node) {
        int64_t spread = 0;
        if (read_number(reader, node, &spread) && spread > 0)
                reader_find(reader, node,
                            "spreading is not done by this version yet: remove \"spread\", or write 0");
}

static void read_rule(struct reader *reader, const struct field *field, const struct yaml_node *node,
                      void *base) {
        struct routing_prefs *prefs = base;
        bool unused;
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
        case RULE_REQUIRE_PARAMETERS: /* no catalog says yet which parameters an endpoint supports */
                reader_field(reader, &flag_field, node, &unused);
                return;
        case RULE_DATA_COLLECTION:
                read_collection(reader, node, &prefs->deny_training);
                return;
        case RULE_ZDR:
                reader_field(reader, &flag_field, node, &prefs->zdr);
                return;
        case RULE_QUANTIZATIONS:
                read_names(reader, node, &prefs->quantizations);
                return;
        case RULE_SORT:
                read_sort(reader, node, &prefs->sort);
                return;
        case RULE_MAX_PRICE:
                read_max_price(reader, node, prefs);
                return;
        case RULE_PREFERRED_MIN_THROUGHPUT:
        case RULE_PREFERRED_MAX_LATENCY:
                read_wish(reader, node);
                return;
        case RULE_REGIONS:
                read_names(reader, node, &prefs->regions);
                return;
        case RULE_SPREAD:
                read_spread(reader, node);
                return;
        }
}

void rules_read(struct reader *reader, const struct yaml_node *map, struct routing_prefs *prefs) {
        uint64_t said = 0;
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

void rules_print(const struct routing_prefs *prefs, struct buffer *out_text) {
        static const char *const sorts[] = {
                [SORT_PRICE] = "price", [SORT_THROUGHPUT] = "throughput", [SORT_LATENCY] = "latency"};
        buffer_printf(out_text, "  sort: %s\n", sorts[prefs->sort]);
        buffer_printf(out_text, "  allow_fallbacks: %s\n", prefs->allow_fallbacks ? "true" : "false");
        buffer_printf(out_text, "  data_collection: %s\n", prefs->deny_training ? "deny" : "allow");
        buffer_printf(out_text, "  zdr: %s\n", prefs->zdr ? "true" : "false");
        print_names("order", &prefs->order, out_text);
        print_names("only", &prefs->only, out_text);
        print_names("ignore", &prefs->ignore, out_text);
        print_names("regions", &prefs->regions, out_text);
        print_names("quantizations", &prefs->quantizations, out_text);
        print_max_price(prefs, out_text);
}
