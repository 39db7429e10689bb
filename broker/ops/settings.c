/*
 * What each type of field means. Numbers are exact: no type but SHARE ends in floating point, and none
 * is read through it.
 */
#include "broker/ops/settings.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/ops/config.h"
#include "broker/ops/yaml.h"

#include <stdio.h>
#include <string.h>

static const struct field settings_fields[] = {
#define SETTING(name, path, type, default_text, min, max, help)                                              \
        {path, FIELD_##type, offsetof(struct settings, name), default_text, min, max, help},
#include "schemas/settings.def"
#undef SETTING
        /* The sections that have readers of their own. */
        {"kafka", FIELD_OTHER, 0, "", "", "",
         "properties of librdkafka, as they are: bootstrap.servers, ..."},
        {"routing", FIELD_OTHER, 0, "", "", "", "defaults for the `routing` of every job"},
        {"catalog", FIELD_OTHER, 0, "", "", "",
         "catalogue files, one or a list: prices and facts that models of providers do not say themselves"},
        {"providers", FIELD_OTHER, 0, "", "", "", "a list, see below"},
        {"workspaces", FIELD_OTHER, 0, "", "", "",
         "a list, see below: budgets, limits and rules of those who pay"},
};

const struct field_table settings_table = {settings_fields, sizeof settings_fields / sizeof *settings_fields};

_Static_assert(sizeof settings_fields / sizeof *settings_fields <= FIELDS_MAX, "a bit each");

#define MILLION INT64_C(1000000)

/* ---- numbers ---- */

static bool count_parse(struct bytes text, int64_t *out_number) {
        int64_t number = 0;
        if (text.size == 0)
                return false;
        for (size_t i = 0; i < text.size; i++)
                if (text.data[i] < '0' || text.data[i] > '9' ||
                    __builtin_mul_overflow(number, INT64_C(10), &number) ||
                    __builtin_add_overflow(number, text.data[i] - '0', &number))
                        return false;
        *out_number = number;
        return true;
}

static const struct unit {
        const char *name;
        int64_t bytes;
} units[] = {
        {"TiB", INT64_C(1) << 40},
        {"GiB", 1 << 30},
        {"MiB", 1 << 20},
        {"KiB", 1 << 10},
        {"TB", MILLION *MILLION},
        {"GB", 1000 * MILLION},
        {"MB", MILLION},
        {"KB", 1000},
        {"kB", 1000},
        {"B", 1},
        {"", 1},
};

static bool size_parse(struct bytes text, int64_t *out_bytes) {
        size_t digits = 0;
        int64_t number;
        while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9')
                digits++;
        struct bytes unit = {text.data + digits, text.size - digits};
        if (!count_parse((struct bytes){text.data, digits}, &number))
                return false;
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
                if (bytes_equal_string(unit, units[i].name))
                        return !__builtin_mul_overflow(number, units[i].bytes, out_bytes);
        return false;
}

/* The largest binary unit that divides it. */
static void size_append(struct buffer *out_text, int64_t bytes) {
        size_t i = 0;
        while (i < 4 && (bytes < units[i].bytes || bytes % units[i].bytes != 0))
                i++;
        buffer_append_i64(out_text, i < 4 ? bytes / units[i].bytes : bytes);
        buffer_append_string(out_text, i < 4 ? units[i].name : "B");
}

/* A share in picounits, so that 10% and 0.1 are the same number. */
static bool share_parse(struct bytes text, int64_t *out_pico) {
        bool percent = text.size > 0 && text.data[text.size - 1] == '%';
        int64_t pico;
        if (percent)
                text.size--;
        if (!money_parse(text, &pico))
                return false;
        *out_pico = percent ? pico / 100 : pico;
        return true;
}

static bool number_parse(enum field_type type, struct bytes text, int64_t *out_number) {
        int64_t usd;
        switch (type) {
        case FIELD_COUNT:
                return count_parse(text, out_number);
        case FIELD_BYTES:
                return size_parse(text, out_number);
        case FIELD_DURATION:
                return duration_parse(text, out_number);
        case FIELD_SHARE:
                return share_parse(text, out_number);
        case FIELD_USD:
                return money_parse(text, out_number);
        case FIELD_USD_EACH:
                return money_parse(text, &usd) && !__builtin_mul_overflow(usd, MILLION, out_number);
        case FIELD_TEXT:
        case FIELD_NAME:
        case FIELD_CHOICE:
        case FIELD_BOOL:
        case FIELD_WORDS:
        case FIELD_OTHER:
                break;
        }
        return false;
}

static const char *number_problem(enum field_type type) {
        switch (type) {
        case FIELD_COUNT:
                return "must be a whole number";
        case FIELD_BYTES:
                return "must be a size like 64MiB";
        case FIELD_DURATION:
                return "must be a duration like 30s or 1m30s";
        case FIELD_SHARE:
                return "must be a share like 10% or 0.1";
        case FIELD_USD:
                return "must be an amount of USD like 0.15, below 9 million, with at most 12 decimal places";
        case FIELD_USD_EACH:
                return "must be an amount of USD like 0.006, below 9, with at most 12 decimal places";
        case FIELD_TEXT:
        case FIELD_NAME:
        case FIELD_CHOICE:
        case FIELD_BOOL:
        case FIELD_WORDS:
        case FIELD_OTHER:
                break;
        }
        return "cannot be used";
}

/* The bounds of the table; those that it leaves open are the type's. */
static void bounds(const struct field *field, int64_t *out_min, int64_t *out_max) {
        *out_min = 0;
        *out_max = INT64_MAX;
        if (field->min[0] != '\0')
                CHECK(number_parse(field->type, bytes_of(field->min), out_min));
        if (field->max[0] != '\0')
                CHECK(number_parse(field->type, bytes_of(field->max), out_max));
}

static bool parse_number(const struct field *field, struct bytes text, union field_value *out_value,
                         char *out_problem) {
        int64_t number, min, max;
        if (!number_parse(field->type, text, &number)) {
                snprintf(out_problem, FIELD_PROBLEM_MAX, "%s", number_problem(field->type));
                return false;
        }
        bounds(field, &min, &max);
        if (number < min || number > max) {
                snprintf(out_problem, FIELD_PROBLEM_MAX, "must be between %s and %s", field->min, field->max);
                return false;
        }
        if (field->type == FIELD_SHARE)
                out_value->share = (double)number / (double)PICOUSD_PER_USD;
        else
                out_value->number = number;
        return true;
}

/* ---- texts ---- */

static bool is_name_char(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '.' || c == '-';
}

static void text_bounds(const struct field *field, size_t *out_min, size_t *out_max) {
        int64_t min = 0, max = FIELD_TEXT_BYTES_MAX;
        if (field->min[0] != '\0')
                CHECK(count_parse(bytes_of(field->min), &min));
        if (field->max[0] != '\0')
                CHECK(count_parse(bytes_of(field->max), &max));
        *out_min = (size_t)min;
        *out_max = (size_t)max;
}

static bool parse_text(const struct field *field, struct bytes text, union field_value *out_value,
                       char *out_problem) {
        size_t min, max;
        text_bounds(field, &min, &max);
        bool well = text.size >= min && text.size <= max;
        for (size_t i = 0; i < text.size && field->type == FIELD_NAME; i++)
                well = well && is_name_char(text.data[i]);
        if (!well && field->type == FIELD_NAME) {
                snprintf(out_problem, FIELD_PROBLEM_MAX,
                         "must be %zu to %zu letters, digits, \"_\", \".\" and \"-\"", min, max);
                return false;
        }
        if (!well) {
                snprintf(out_problem, FIELD_PROBLEM_MAX, "must have %zu to %zu bytes", min, max);
                return false;
        }
        for (size_t i = 0; i < text.size; i++)
                well = well && (unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7f;
        if (!well || !yaml_is_utf8(text)) {
                snprintf(out_problem, FIELD_PROBLEM_MAX,
                         "must be one line of UTF-8 without control characters");
                return false;
        }
        out_value->text = text;
        return true;
}

/* `number` is the word's place among those of `min`. */
static bool parse_word(const struct field *field, struct bytes text, uint32_t *out_number,
                       char *out_problem) {
        size_t used = 0;
        uint32_t number = 0;
        for (const char *word = field->min; *word != '\0'; number++) {
                size_t size = strcspn(word, "|");
                if (bytes_equal(text, (struct bytes){word, size})) {
                        *out_number = number;
                        return true;
                }
                bool last = word[size] == '\0';
                const char *before = number == 0 ? "must be " : last ? " or " : ", ";
                int count = snprintf(out_problem + used, FIELD_PROBLEM_MAX - used, "%s\"%.*s\"", before,
                                     (int)size, word);
                used += (size_t)count;
                CHECK(used < FIELD_PROBLEM_MAX);
                word += size + (last ? 0 : 1);
        }
        return false;
}

/* "a, b": as a default, or on the command line. */
static bool parse_words(const struct field *field, struct bytes text, uint32_t *out_words,
                        char *out_problem) {
        uint32_t words = 0, number;
        for (struct bytes word; field_next_word(&text, &word);) {
                if (!parse_word(field, word, &number, out_problem))
                        return false;
                words |= 1U << number;
        }
        *out_words = words;
        return true;
}

bool field_next_word(struct bytes *rest, struct bytes *out_word) {
        while (rest->size > 0 && strchr(", []", rest->data[0]) != NULL && rest->data[0] != '\0')
                *rest = (struct bytes){rest->data + 1, rest->size - 1};
        size_t size = 0;
        while (size < rest->size && (rest->data[size] == '\0' || strchr(", []", rest->data[size]) == NULL))
                size++;
        *out_word = (struct bytes){rest->data, size};
        *rest = (struct bytes){rest->data + size, rest->size - size};
        return size > 0;
}

static bool parse_flag(struct bytes text, union field_value *out_value, char *out_problem) {
        out_value->flag = bytes_equal_string(text, "true");
        if (out_value->flag || bytes_equal_string(text, "false"))
                return true;
        snprintf(out_problem, FIELD_PROBLEM_MAX, "must be true or false");
        return false;
}

/* ---- fields ---- */

bool field_parse(const struct field *field, struct bytes text, union field_value *out_value,
                 char out_problem[FIELD_PROBLEM_MAX]) {
        union field_value value = {0};
        uint32_t number;
        bool well = false;
        switch (field->type) {
        case FIELD_COUNT:
        case FIELD_BYTES:
        case FIELD_DURATION:
        case FIELD_SHARE:
        case FIELD_USD:
        case FIELD_USD_EACH:
                well = parse_number(field, text, &value, out_problem);
                break;
        case FIELD_TEXT:
        case FIELD_NAME:
                well = parse_text(field, text, &value, out_problem);
                break;
        case FIELD_CHOICE:
                well = parse_word(field, text, &number, out_problem);
                value.text = text;
                break;
        case FIELD_WORDS:
                well = parse_words(field, text, &value.words, out_problem);
                break;
        case FIELD_BOOL:
                well = parse_flag(text, &value, out_problem);
                break;
        case FIELD_OTHER:
                CHECK(field->type != FIELD_OTHER);
        }
        if (well)
                *out_value = value;
        return well;
}

void field_store(const struct field *field, union field_value value, const char *text, void *base) {
        char *at = (char *)base + field->offset;
        switch (field->type) {
        case FIELD_COUNT:
        case FIELD_BYTES:
        case FIELD_DURATION:
        case FIELD_USD:
        case FIELD_USD_EACH:
                memcpy(at, &value.number, sizeof value.number);
                return;
        case FIELD_SHARE:
                memcpy(at, &value.share, sizeof value.share);
                return;
        case FIELD_TEXT:
        case FIELD_NAME:
        case FIELD_CHOICE:
                memcpy(at, &text, sizeof text);
                return;
        case FIELD_BOOL:
                memcpy(at, &value.flag, sizeof value.flag);
                return;
        case FIELD_WORDS:
                memcpy(at, &value.words, sizeof value.words);
                return;
        case FIELD_OTHER:
                return;
        }
}

static bool is_text(enum field_type type) {
        return type == FIELD_TEXT || type == FIELD_NAME || type == FIELD_CHOICE;
}

void fields_default(const struct field_table *table, void *base) {
        for (size_t i = 0; i < table->count; i++) {
                const struct field *field = &table->fields[i];
                char problem[FIELD_PROBLEM_MAX];
                union field_value value = {0};
                if (field->default_text[0] != '\0')
                        CHECK(field_parse(field, bytes_of(field->default_text), &value, problem));
                if (field->default_text[0] != '\0' || is_text(field->type))
                        field_store(field, value, field->default_text, base);
        }
}

static bool append_number(const struct field *field, int64_t number, struct buffer *out_text) {
        int64_t min, max;
        bounds(field, &min, &max);
        if (number < min || number > max)
                return false;
        if (field->type == FIELD_COUNT)
                buffer_append_i64(out_text, number);
        else if (field->type == FIELD_BYTES)
                size_append(out_text, number);
        else if (field->type == FIELD_DURATION)
                duration_append(out_text, number);
        else
                money_append(out_text, field->type == FIELD_USD_EACH ? number / MILLION : number);
        return true;
}

/*
 * Rounded to the picounit that was read, then a hundred times that: exact for all that share_parse()
 * gives.
 */
static void append_share(double share, struct buffer *out_text) {
        money_append(out_text, (int64_t)(share * (double)PICOUSD_PER_USD + 0.5) * 100);
        buffer_append_char(out_text, '%');
}

static void append_words(const struct field *field, uint32_t words, struct buffer *out_text) {
        const char *before = "[";
        uint32_t number = 0;
        for (const char *word = field->min; *word != '\0'; number++) {
                size_t size = strcspn(word, "|");
                if ((words >> number & 1) != 0) {
                        buffer_append_string(out_text, before);
                        buffer_append(out_text, word, size);
                        before = ", ";
                }
                word += size + (word[size] == '\0' ? 0 : 1);
        }
        buffer_append_string(out_text, words == 0 ? "[]" : "]");
}

bool field_append(const struct field *field, const void *base, struct buffer *out_text) {
        const char *at = (const char *)base + field->offset;
        union field_value value = {0};
        const char *text;
        switch (field->type) {
        case FIELD_COUNT:
        case FIELD_BYTES:
        case FIELD_DURATION:
        case FIELD_USD:
        case FIELD_USD_EACH:
                memcpy(&value.number, at, sizeof value.number);
                return append_number(field, value.number, out_text);
        case FIELD_SHARE:
                memcpy(&value.share, at, sizeof value.share);
                append_share(value.share, out_text);
                return true;
        case FIELD_TEXT:
        case FIELD_NAME:
        case FIELD_CHOICE:
                memcpy(&text, at, sizeof text);
                buffer_append_string(out_text, text);
                return text[0] != '\0';
        case FIELD_BOOL:
                memcpy(&value.flag, at, sizeof value.flag);
                buffer_append_string(out_text, value.flag ? "true" : "false");
                return true;
        case FIELD_WORDS:
                memcpy(&value.words, at, sizeof value.words);
                append_words(field, value.words, out_text);
                return true;
        case FIELD_OTHER:
                break;
        }
        return false;
}

const char *field_type_name(enum field_type type) {
        static const char *const names[] = {
                [FIELD_COUNT] = "whole number",
                [FIELD_BYTES] = "size",
                [FIELD_DURATION] = "duration",
                [FIELD_SHARE] = "share",
                [FIELD_TEXT] = "text",
                [FIELD_NAME] = "name",
                [FIELD_CHOICE] = "word",
                [FIELD_BOOL] = "boolean",
                [FIELD_USD] = "USD",
                [FIELD_USD_EACH] = "USD",
                [FIELD_WORDS] = "list of words",
                [FIELD_OTHER] = "",
        };
        return names[type];
}
