/* One reader per field, found through the table of names. */
#include "broker/wire/prefs.h"

#include "broker/wire/json_value.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

enum { PREFS_NAME_BYTES_MAX = 128, FIELD_PATH_MAX = 160 };

enum routing_field {
#define ROUTING_FIELD(name, text, how) ROUTING_##name,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
        ROUTING_FIELDS_COUNT,
};

static const struct bytes field_names[ROUTING_FIELDS_COUNT] = {
#define ROUTING_FIELD(name, text, how) {text, sizeof(text) - 1},
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
};

static const char *const field_texts[ROUTING_FIELDS_COUNT] = {
#define ROUTING_FIELD(name, text, how) text,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
};

/* "a" is every endpoint of a, so it covers "a/b". */
static bool covers(struct bytes wide, struct bytes narrow) {
        return narrow.size >= wide.size && memcmp(wide.data, narrow.data, wide.size) == 0 &&
               (narrow.size == wide.size || narrow.data[wide.size] == '/');
}

/* false when there are too many. */
static bool add_name(struct names *names, struct bytes name) {
        for (unsigned i = 0; i < names->count; i++)
                if (bytes_equal(names->items[i], name))
                        return true;
        if (names->count == PREFS_NAMES_MAX)
                return false;
        names->items[names->count++] = name;
        return true;
}

static bool read_name(yyjson_val *value, const char *path, struct names *names, struct problem *problem) {
        struct bytes name = json_text(value);
        if (!json_is_string(value) || name.size == 0 || name.size > PREFS_NAME_BYTES_MAX ||
            !text_is_printable(name))
                return problem_in(problem, path, "must hold names of 1 to %d bytes", PREFS_NAME_BYTES_MAX);
        if (!add_name(names, name))
                return problem_in(problem, path, "must hold at most %d names", PREFS_NAMES_MAX);
        return true;
}

static bool read_names(yyjson_val *value, const char *path, struct names *out_names,
                       struct problem *problem) {
        out_names->count = 0;
        if (!yyjson_is_arr(value))
                return problem_in(problem, path, "must be a list of names");
        size_t index, count;
        yyjson_val *item;
        yyjson_arr_foreach(value, index, count, item) {
                if (!read_name(item, path, out_names, problem))
                        return false;
        }
        return true;
}

/* An empty list says nothing. */
static bool read_replacing(yyjson_val *value, const char *path, struct names *names,
                           struct problem *problem) {
        struct names said;
        if (!read_names(value, path, &said, problem))
                return false;
        if (said.count > 0)
                *names = said;
        return true;
}

static bool read_union(yyjson_val *value, const char *path, struct names *names, struct problem *problem) {
        struct names said;
        if (!read_names(value, path, &said, problem))
                return false;
        for (unsigned i = 0; i < said.count; i++)
                if (!add_name(names, said.items[i]))
                        return problem_in(problem, path,
                                          "and the wider rules must hold at most %d names together",
                                          PREFS_NAMES_MAX);
        return true;
}

static bool intersect(const struct names *a, const struct names *b, struct names *out_names) {
        out_names->count = 0;
        for (unsigned i = 0; i < a->count; i++)
                for (unsigned j = 0; j < b->count; j++) {
                        struct bytes x = a->items[i], y = b->items[j];
                        bool fits = true;
                        if (covers(x, y))
                                fits = add_name(out_names, y);
                        else if (covers(y, x))
                                fits = add_name(out_names, x);
                        if (!fits)
                                return false;
                }
        return true;
}

static bool read_intersection(yyjson_val *value, const char *path, struct names *names,
                              struct problem *problem) {
        struct names said, both;
        if (!read_names(value, path, &said, problem))
                return false;
        if (said.count == 0)
                return true;
        if (names->count == 0) {
                *names = said;
                return true;
        }
        if (!intersect(names, &said, &both))
                return problem_in(problem, path, "and the wider rules must hold at most %d names together",
                                  PREFS_NAMES_MAX);
        if (both.count == 0)
                return problem_set(
                        problem, FAILURE_EXCLUDED_BY_POLICY, path,
                        "has no name that the wider rules (body.provider, configuration) allow too");
        *names = both;
        return true;
}

static bool read_flag(yyjson_val *value, const char *path, bool *out_flag, struct problem *problem) {
        if (!yyjson_is_bool(value))
                return problem_in(problem, path, "must be true or false");
        *out_flag = yyjson_get_bool(value);
        return true;
}

static bool read_strict_flag(yyjson_val *value, const char *path, bool *flag, struct problem *problem) {
        bool said = false;
        if (!read_flag(value, path, &said, problem))
                return false;
        *flag = *flag || said;
        return true;
}

static bool read_data_collection(yyjson_val *value, const char *path, bool *deny, struct problem *problem) {
        if (yyjson_equals_str(value, "deny"))
                *deny = true;
        else if (!yyjson_equals_str(value, "allow"))
                return problem_in(problem, path, "must be \"allow\" or \"deny\"");
        return true;
}

/* "price", or {"by": "price", "partition": "model"}: sorting across models is not what this broker does. */
static bool read_sort(yyjson_val *value, const char *path, enum sort_by *out_sort, struct problem *problem) {
        const struct bytes texts[] = {
                [SORT_PRICE] = BYTES("price"),
                [SORT_THROUGHPUT] = BYTES("throughput"),
                [SORT_LATENCY] = BYTES("latency"),
        };
        if (yyjson_is_obj(value)) {
                yyjson_val *partition = yyjson_obj_get(value, "partition");
                if (!json_is_absent(partition) && !yyjson_equals_str(partition, "model"))
                        return problem_in(problem, path, "can have no partition but \"model\"");
                value = yyjson_obj_get(value, "by");
                if (json_is_absent(value))
                        return true;
        }
        size_t count = sizeof texts / sizeof *texts;
        size_t found = json_is_string(value) ? text_find(json_text(value), texts, count) : count;
        if (found == count)
                return problem_in(problem, path, "must be \"price\", \"throughput\" or \"latency\"");
        *out_sort = (enum sort_by)found;
        return true;
}

/*
 * USD per million prompt and completion tokens, per request and per image; numbers, or strings that hold them
 * (OpenRouter's API reference, MaxPrice).
 */
static bool read_max_price(yyjson_val *value, const char *path, struct routing_prefs *prefs,
                           struct problem *problem) {
        const struct {
                struct bytes name;
                int64_t *price;
                int64_t times;
        } prices[] = {
                {BYTES("prompt"), &prefs->max_price_input, 1},
                {BYTES("completion"), &prefs->max_price_output, 1},
                {BYTES("request"), &prefs->max_price_request, 1000000},
                {BYTES("image"), &prefs->max_price_image, 1000000},
        };
        size_t known = sizeof prices / sizeof *prices, index, count;
        yyjson_val *name, *amount;
        if (!yyjson_is_obj(value))
                return problem_in(problem, path, "must be an object");
        yyjson_obj_foreach(value, index, count, name, amount) {
                size_t i = 0;
                int64_t picousd;
                while (i < known && !bytes_equal(prices[i].name, json_text(name)))
                        i++;
                if (i == known)
                        return problem_in(
                                problem, path,
                                "can hold \"prompt\", \"completion\", \"request\" and \"image\" only");
                if (json_is_absent(amount))
                        continue;
                if (!money_parse(json_text(amount), &picousd))
                        return problem_in(
                                problem, path,
                                "must hold amounts of at least 0 USD, with at most 12 decimal places");
                *prices[i].price = money_multiply(picousd, prices[i].times);
        }
        return true;
}

static bool read_field(enum routing_field field, yyjson_val *value, const char *path,
                       struct routing_prefs *prefs, struct problem *problem) {
        bool unused;
        switch (field) {
        case ROUTING_ORDER:
                return read_replacing(value, path, &prefs->order, problem);
        case ROUTING_ONLY:
                return read_intersection(value, path, &prefs->only, problem);
        case ROUTING_IGNORE:
                return read_union(value, path, &prefs->ignore, problem);
        case ROUTING_ALLOW_FALLBACKS:
                return read_flag(value, path, &prefs->allow_fallbacks, problem);
        case ROUTING_REQUIRE_PARAMETERS: /* no catalog says yet which parameters an endpoint supports */
                return read_flag(value, path, &unused, problem);
        case ROUTING_DATA_COLLECTION:
                return read_data_collection(value, path, &prefs->deny_training, problem);
        case ROUTING_ZDR:
                return read_strict_flag(value, path, &prefs->zdr, problem);
        case ROUTING_QUANTIZATIONS:
                return read_replacing(value, path, &prefs->quantizations, problem);
        case ROUTING_SORT:
                return read_sort(value, path, &prefs->sort, problem);
        case ROUTING_MAX_PRICE:
                return read_max_price(value, path, prefs, problem);
        case ROUTING_PREFERRED_MIN_THROUGHPUT: /* soft wishes, which sorting by price or throughput covers */
        case ROUTING_PREFERRED_MAX_LATENCY:
                if (json_is_number(value) || yyjson_is_obj(value))
                        return true;
                return problem_in(problem, path, "must be a number or an object of percentiles");
        case ROUTING_REGIONS:
                return read_intersection(value, path, &prefs->regions, problem);
        case ROUTING_FIELDS_COUNT:
                break;
        }
        return true;
}

static bool refuse_unknown(struct bytes name, const char *field, struct problem *problem) {
        char shown[64], path[FIELD_PATH_MAX];
        problem_quote(name, shown, sizeof shown);
        snprintf(path, sizeof path, "%s.%s", field, shown);
        struct bytes nearest = problem_nearest(name, field_names, ROUTING_FIELDS_COUNT);
        if (nearest.size == 0)
                return problem_in(problem, path, "is not a known field");
        return problem_in(problem, path, "is not a known field; did you mean \"%s\"?", nearest.data);
}

bool prefs_read(struct yyjson_val *object, const char *field, struct routing_prefs *prefs,
                struct problem *problem) {
        size_t index, count;
        yyjson_val *name, *value;
        if (!yyjson_is_obj(object))
                return problem_in(problem, field, "must be an object");
        yyjson_obj_foreach(object, index, count, name, value) {
                char path[FIELD_PATH_MAX];
                size_t found = text_find(json_text(name), field_names, ROUTING_FIELDS_COUNT);
                if (found == ROUTING_FIELDS_COUNT)
                        return refuse_unknown(json_text(name), field, problem);
                if (json_is_absent(value))
                        continue;
                snprintf(path, sizeof path, "%s.%s", field, field_texts[found]);
                if (!read_field((enum routing_field)found, value, path, prefs, problem))
                        return false;
        }
        return true;
}
