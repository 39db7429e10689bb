/* One reader per field, found through the table of names. */
#include "broker/wire/prefs.h"

#include "broker/wire/json_value.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

enum { PREFS_NAME_BYTES_MAX = 128, FIELD_PATH_MAX = 160 };

enum routing_field {
#define ROUTING_FIELD(name, text, how, meaning) ROUTING_##name,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
        ROUTING_FIELDS_COUNT,
};

static const struct bytes field_names[ROUTING_FIELDS_COUNT] = {
#define ROUTING_FIELD(name, text, how, meaning) {text, sizeof(text) - 1},
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
};

static const char *const field_texts[ROUTING_FIELDS_COUNT] = {
#define ROUTING_FIELD(name, text, how, meaning) text,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
};

static bool read_name(yyjson_val *value, const char *path, struct names *names, struct names_room *room,
                      struct problem *problem) {
        struct bytes name = json_text(value);
        if (!json_is_string(value) || name.size == 0 || name.size > PREFS_NAME_BYTES_MAX ||
            !text_is_printable(name))
                return problem_in(problem, path, "must hold names of 1 to %d bytes", PREFS_NAME_BYTES_MAX);
        if (!names_add(names, room, name))
                return problem_in(problem, path, "must hold at most %d names", PREFS_NAMES_MAX);
        return true;
}

static bool read_names(yyjson_val *value, const char *path, struct names *out_names, struct names_room *room,
                       struct problem *problem) {
        out_names->count = 0;
        if (!yyjson_is_arr(value))
                return problem_in(problem, path, "must be a list of names");
        size_t index, count;
        yyjson_val *item;
        yyjson_arr_foreach(value, index, count, item) {
                if (!read_name(item, path, out_names, room, problem))
                        return false;
        }
        return true;
}

static bool read_flag(yyjson_val *value, const char *path, bool *out_flag, struct problem *problem) {
        if (!yyjson_is_bool(value))
                return problem_in(problem, path, "must be true or false");
        *out_flag = yyjson_get_bool(value);
        return true;
}

/* One of two words. */
static bool read_denial(yyjson_val *value, const char *path, bool *out_deny, struct problem *problem) {
        *out_deny = yyjson_equals_str(value, "deny");
        if (*out_deny || yyjson_equals_str(value, "allow"))
                return true;
        return problem_in(problem, path, "must be \"allow\" or \"deny\"");
}

static bool read_sort_by(yyjson_val *value, const char *path, struct routing_prefs *prefs,
                         struct problem *problem) {
        const struct bytes texts[] = {
                [SORT_PRICE] = BYTES("price"),       [SORT_THROUGHPUT] = BYTES("throughput"),
                [SORT_LATENCY] = BYTES("latency"),   [SORT_QUALITY] = BYTES("quality"),
                [SORT_BALANCED] = BYTES("balanced"),
        };
        size_t count = sizeof texts / sizeof *texts;
        size_t found = json_is_string(value) ? text_find(json_text(value), texts, count) : count;
        if (found == count)
                return problem_in(
                        problem, path,
                        "must be \"price\", \"throughput\", \"latency\", \"quality\" or \"balanced\"");
        prefs->sort = (enum sort_by)found;
        prefs->sort_said = true;
        return true;
}

static bool read_partition(yyjson_val *value, const char *path, struct routing_prefs *prefs,
                           struct problem *problem) {
        prefs->sort_across_models = yyjson_equals_str(value, "none");
        prefs->partition_said = true;
        if (prefs->sort_across_models || yyjson_equals_str(value, "model"))
                return true;
        return problem_in(problem, path, "must have \"model\" or \"none\" as partition");
}

/* A word, or {"by": a word, "partition": "model" or "none"}. A word alone sorts within each model. */
static bool read_sort(yyjson_val *value, const char *path, struct routing_prefs *prefs,
                      struct problem *problem) {
        size_t index, count;
        yyjson_val *name, *member;
        if (!yyjson_is_obj(value)) {
                prefs->partition_said = true;
                return read_sort_by(value, path, prefs, problem);
        }
        yyjson_obj_foreach(value, index, count, name, member) {
                bool by = yyjson_equals_str(name, "by");
                if (!by && !yyjson_equals_str(name, "partition"))
                        return problem_in(problem, path, "can hold \"by\" and \"partition\" only");
                if (json_is_absent(member))
                        continue;
                if (!(by ? read_sort_by : read_partition)(member, path, prefs, problem))
                        return false;
        }
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

/* An exact decimal in units of 1e-12, divided by `unit`. */
static bool read_number(yyjson_val *value, int64_t unit, int64_t *out_number) {
        int64_t pico;
        if (!json_is_number(value) || !money_parse(json_text(value), &pico))
                return false;
        *out_number = pico / unit + (pico % unit > 0); /* what is said is never nothing */
        return true;
}

/* A number, which is the median, or an object of percentiles; in units of `unit` times 1e-12. */
static bool read_percentiles(yyjson_val *value, const char *path, int64_t unit,
                             int64_t out_wish[PERCENTILES_COUNT], struct problem *problem) {
        const struct bytes names[PERCENTILES_COUNT] = {BYTES("p50"), BYTES("p75"), BYTES("p90"),
                                                       BYTES("p99")};
        size_t index, count;
        yyjson_val *name, *number;
        if (read_number(value, unit, &out_wish[0]))
                return true;
        if (!yyjson_is_obj(value))
                return problem_in(problem, path,
                                  "must be a number of at least 0, or an object of percentiles");
        yyjson_obj_foreach(value, index, count, name, number) {
                size_t found = text_find(json_text(name), names, PERCENTILES_COUNT);
                if (found == PERCENTILES_COUNT)
                        return problem_in(problem, path,
                                          "can hold \"p50\", \"p75\", \"p90\" and \"p99\" only");
                if (!json_is_absent(number) && !read_number(number, unit, &out_wish[found]))
                        return problem_in(problem, path, "must hold numbers of at least 0");
        }
        return true;
}

static bool read_max_cost(yyjson_val *value, const char *path, int64_t *out_picousd,
                          struct problem *problem) {
        if (json_is_number(value) && money_parse(json_text(value), out_picousd))
                return true;
        return problem_in(problem, path, "must be a number of at least 0 with at most 12 decimal places");
}

static bool read_spread(yyjson_val *value, const char *path, struct routing_prefs *prefs,
                        struct problem *problem) {
        if (!read_number(value, PICOUSD_PER_USD / SPREAD_WHOLE, &prefs->spread_ppm) ||
            prefs->spread_ppm > SPREAD_MAX)
                return problem_in(problem, path, "must be a number from 0 to %d", SPREAD_MAX / SPREAD_WHOLE);
        prefs->spread_said = true;
        return true;
}

static bool read_distillable(yyjson_val *value, const char *path, struct problem *problem) {
        bool wanted = false;
        if (!read_flag(value, path, &wanted, problem))
                return false;
        if (!wanted)
                return true;
        return problem_in(
                problem, path,
                "cannot be kept: no catalog says whose authors permit distillation; name the models or "
                "providers in \"only\" instead");
}

static bool read_field(enum routing_field field, yyjson_val *value, const char *path,
                       struct routing_prefs *prefs, struct names_room *room, struct problem *problem) {
        switch (field) {
        case ROUTING_ORDER:
                return read_names(value, path, &prefs->order, room, problem);
        case ROUTING_ONLY:
                return read_names(value, path, &prefs->only, room, problem);
        case ROUTING_IGNORE:
                return read_names(value, path, &prefs->ignore, room, problem);
        case ROUTING_ALLOW_FALLBACKS:
                return read_flag(value, path, &prefs->allow_fallbacks, problem);
        case ROUTING_REQUIRE_PARAMETERS:
                return read_flag(value, path, &prefs->require_parameters, problem);
        case ROUTING_DATA_COLLECTION:
                return read_denial(value, path, &prefs->deny_training, problem);
        case ROUTING_ZDR:
                return read_flag(value, path, &prefs->zdr, problem);
        case ROUTING_QUANTIZATIONS:
                return read_names(value, path, &prefs->quantizations, room, problem);
        case ROUTING_SORT:
                return read_sort(value, path, prefs, problem);
        case ROUTING_MAX_PRICE:
                return read_max_price(value, path, prefs, problem);
        case ROUTING_PREFERRED_MIN_THROUGHPUT:
                return read_percentiles(value, path, WISH_MILLI, prefs->preferred_min_throughput, problem);
        case ROUTING_PREFERRED_MAX_LATENCY:
                return read_percentiles(value, path, WISH_NANO, prefs->preferred_max_latency, problem);
        case ROUTING_REGIONS:
                return read_names(value, path, &prefs->regions, room, problem);
        case ROUTING_MAX_COST_USD:
                return read_max_cost(value, path, &prefs->max_cost_picousd, problem);
        case ROUTING_UNKNOWN_PRICE:
                return read_denial(value, path, &prefs->deny_unknown_price, problem);
        case ROUTING_SPREAD:
                return read_spread(value, path, prefs, problem);
        case ROUTING_ENFORCE_DISTILLABLE_TEXT:
                return read_distillable(value, path, problem);
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

bool prefs_read(struct yyjson_val *object, const char *field, struct names_room *room,
                struct routing_prefs *out_prefs, struct problem *problem) {
        size_t index, count;
        yyjson_val *name, *value;
        prefs_init(out_prefs);
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
                if (!read_field((enum routing_field)found, value, path, out_prefs, room, problem))
                        return false;
        }
        return true;
}
