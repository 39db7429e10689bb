#pragma once
/*
 * Fields: one value each, with a path, a type, a default and a range, in tables that come from schemas/.
 * Here is what a type means: how its text is read, bounded and written. Tables of settings, providers
 * and models are used by the one reader and the one printer.
 */
#include "broker/base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

enum field_type {
        FIELD_COUNT,
        FIELD_BYTES,
        FIELD_DURATION,
        FIELD_SHARE,
        FIELD_TEXT,
        FIELD_NAME,
        FIELD_CHOICE,
        FIELD_BOOL,
        FIELD_WORDS,    /* a list of the words of `min`: a bit each, in their order */
        FIELD_USD,      /* dollars per million units, as picodollars per million */
        FIELD_USD_EACH, /* dollars per unit, as picodollars per million */
        FIELD_OTHER,    /* has a reader of its own */
};

enum { FIELDS_MAX = 128, FIELD_PROBLEM_MAX = 192, FIELD_TEXT_BYTES_MAX = 4096 };

struct field {
        const char *path; /* "retry.backoff.base" */
        enum field_type type;
        size_t offset; /* in the struct that the table is for */
        const char *default_text, *min, *max, *help;
};

/* A bit for each field of a table, by its place. */
__extension__ typedef unsigned __int128 field_set;
#define FIELD_BIT(number) ((field_set)1 << (number))

static inline bool field_said(field_set said, unsigned number) {
        return (said >> number & 1) != 0;
}

struct field_table {
        const struct field *fields;
        size_t count; /* <= FIELDS_MAX */
};

union field_value {
        int64_t number; /* COUNT, BYTES, DURATION, USD, USD_EACH */
        double share;
        bool flag;
        uint32_t words;
        struct bytes text; /* TEXT, NAME, CHOICE: a view of what was parsed */
};

extern const struct field_table settings_table; /* for struct settings */

/*
 * false with half a sentence ("must be between 1 and 100") when the text is not of that type or out of
 * range. Not for OTHER.
 */
bool field_parse(const struct field *field, struct bytes text, union field_value *out_value,
                 char out_problem[FIELD_PROBLEM_MAX]);
/*
 * Stores a value in its struct; for texts `text` is what the pointer is set to, terminated, and must
 * live as long as the struct.
 */
void field_store(const struct field *field, union field_value value, const char *text, void *base);
/* Sets every field that has a default to it, and texts without one to "". The rest is left alone. */
void fields_default(const struct field_table *table, void *base);
/*
 * Appends the value as text that field_parse() takes to the same value. false, with nothing appended,
 * for what was not said: a text that is empty, a number outside its range.
 */
bool field_append(const struct field *field, const void *base, struct buffer *out_text);
/*
 * The next of words with commas, blanks or brackets between; false when there is none. Moves *rest
 * behind it.
 */
bool field_next_word(struct bytes *rest, struct bytes *out_word);
/* "COUNT" as in the reference: "whole number", "size", ... */
const char *field_type_name(enum field_type type);
