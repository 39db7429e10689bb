#pragma once
/*
 * Reads a page of metrics as a strict reader would and fails the test where one would refuse it: the lines of
 * a family stand together, # HELP and # TYPE (and # UNIT) come first, names and labels are well formed, no
 * series comes twice, every value is a plain decimal number, histograms add up. Written from the formats'
 * descriptions, not from broker/ops/exposition.c.
 */
#include "broker/base/bytes.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CHECK_NAME_MAX = 128, CHECK_LABELS_MAX = 512, CHECK_SERIES_MAX = 65536, CHECK_FAMILIES_MAX = 256 };

struct check_sample {
        char name[CHECK_NAME_MAX];
        char labels[CHECK_LABELS_MAX]; /* as written, without the braces */
        char le[32];                   /* of a bucket, else "" */
        double value;
};

struct check_page {
        bool openmetrics;
        const char *at;
        char family[CHECK_NAME_MAX], type[16];
        bool helped;
        char families[CHECK_FAMILIES_MAX][CHECK_NAME_MAX];
        size_t families_count;
        char **series;
        size_t series_count;
        /* of the histogram that is being read */
        double bucket, infinity;
        bool buckets_begun, infinity_seen, count_seen, sum_seen;
};

static void check_fail(const struct check_page *page, const char *what) {
        fail_msg("%s, before: %.120s", what, page->at);
}

static void check_expect(struct check_page *page, const char *text, const char *what) {
        if (strncmp(page->at, text, strlen(text)) != 0)
                check_fail(page, what);
        page->at += strlen(text);
}

static void check_name(struct check_page *page, char out_name[CHECK_NAME_MAX]) {
        size_t size = 0;
        while (isalnum((unsigned char)page->at[size]) || page->at[size] == '_' || page->at[size] == ':')
                size++;
        if (size == 0 || size >= CHECK_NAME_MAX || isdigit((unsigned char)*page->at))
                check_fail(page, "no name");
        memcpy(out_name, page->at, size);
        out_name[size] = '\0';
        page->at += size;
}

static bool check_ends(const char *text, const char *end) {
        return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* What a histogram must have had when its family ends. */
static void check_family_end(struct check_page *page) {
        if (strcmp(page->type, "histogram") == 0 &&
            (!page->infinity_seen || !page->count_seen || !page->sum_seen))
                check_fail(page, "a histogram is not whole");
        page->buckets_begun = page->infinity_seen = page->count_seen = page->sum_seen = false;
}

static void check_family_begin(struct check_page *page) {
        char name[CHECK_NAME_MAX];
        check_family_end(page);
        check_name(page, name);
        check_expect(page, " ", "no blank before the help");
        for (size_t i = 0; i < page->families_count; i++)
                if (strcmp(page->families[i], name) == 0)
                        check_fail(page, "a family comes twice");
        assert_true(page->families_count < CHECK_FAMILIES_MAX);
        strcpy(page->families[page->families_count++], name);
        strcpy(page->family, name);
        page->type[0] = '\0';
        page->helped = true;
        for (; *page->at != '\n'; page->at++) {
                if (*page->at == '\0')
                        check_fail(page, "the help does not end");
                if (*page->at == '\\' && strchr("\\n\"", *++page->at) == NULL)
                        check_fail(page, "an escape that is none");
        }
}

static void check_meta(struct check_page *page) {
        char name[CHECK_NAME_MAX], word[CHECK_NAME_MAX];
        bool type = strncmp(page->at, "# TYPE ", 7) == 0;
        if (strncmp(page->at, "# HELP ", 7) == 0) {
                page->at += 7;
                check_family_begin(page);
                return;
        }
        if (!type && !(page->openmetrics && strncmp(page->at, "# UNIT ", 7) == 0))
                check_fail(page, "a line that is none");
        page->at += 7;
        check_name(page, name);
        if (!page->helped || strcmp(name, page->family) != 0)
                check_fail(page, "not of the family that was begun");
        check_expect(page, " ", "no blank before the type");
        check_name(page, word);
        if (!type) {
                if (!check_ends(page->family, word) ||
                    page->family[strlen(page->family) - strlen(word) - 1] != '_')
                        check_fail(page, "the name does not end with the unit");
                return;
        }
        if (strcmp(word, "counter") != 0 && strcmp(word, "gauge") != 0 && strcmp(word, "histogram") != 0)
                check_fail(page, "no such type");
        strcpy(page->type, word);
}

/* {name="value",...}: the value of `le` is taken out. */
static void check_labels(struct check_page *page, struct check_sample *sample) {
        const char *start = page->at;
        char seen[8][CHECK_NAME_MAX];
        size_t count = 0;
        sample->labels[0] = sample->le[0] = '\0';
        if (*page->at != '{')
                return;
        do {
                const char *value;
                page->at++;
                check_name(page, seen[count]);
                for (size_t i = 0; i < count; i++)
                        if (strcmp(seen[i], seen[count]) == 0)
                                check_fail(page, "a label comes twice");
                check_expect(page, "=\"", "a label without a value");
                for (value = page->at; *page->at != '"'; page->at++) {
                        if (*page->at == '\0' || *page->at == '\n')
                                check_fail(page, "the value of a label does not end");
                        if (*page->at == '\\' && strchr("\\n\"", *++page->at) == NULL)
                                check_fail(page, "an escape that is none");
                }
                if (strcmp(seen[count], "le") == 0)
                        snprintf(sample->le, sizeof(sample->le), "%.*s", (int)(page->at - value), value);
                page->at++;
        } while (*page->at == ',' && ++count < 8);
        snprintf(sample->labels, sizeof(sample->labels), "%.*s", (int)(page->at - start - 1), start + 1);
        assert_true((size_t)(page->at - start) < sizeof(sample->labels));
        check_expect(page, "}", "the labels do not end");
}

/* Digits, a point and digits at most: no exponent, no NaN. */
static double check_value(struct check_page *page) {
        const char *start = page->at;
        unsigned points = 0, digits = 0;
        page->at += *page->at == '-';
        for (; isdigit((unsigned char)*page->at) || (*page->at == '.' && points == 0); page->at++) {
                points += *page->at == '.';
                digits += *page->at != '.';
        }
        if (digits == 0 || page->at[-1] == '.')
                check_fail(page, "no number");
        return strtod(start, NULL);
}

static void check_histogram(struct check_page *page, const struct check_sample *sample, const char *end) {
        if (strcmp(end, "_bucket") == 0) {
                if (sample->le[0] == '\0' || page->infinity_seen ||
                    (page->buckets_begun && sample->value < page->bucket))
                        check_fail(page, "a bucket out of order");
                if (strcmp(sample->le, "+Inf") != 0 && strchr(sample->le, '.') == NULL)
                        check_fail(page, "a bound that is not canonical");
                page->buckets_begun = true;
                page->bucket = sample->value;
                page->infinity_seen = strcmp(sample->le, "+Inf") == 0;
                page->infinity = sample->value;
        } else if (strcmp(end, "_count") == 0) {
                if (!page->infinity_seen || sample->value != page->infinity)
                        check_fail(page, "the count is not that of all buckets");
                page->count_seen = true;
        } else if (strcmp(end, "_sum") == 0) {
                page->sum_seen = true;
        } else {
                check_fail(page, "no sample of a histogram");
        }
}

static void check_series(struct check_page *page, const struct check_sample *sample) {
        size_t size = strlen(sample->name) + strlen(sample->labels) + 2;
        assert_true(page->series_count < CHECK_SERIES_MAX);
        page->series[page->series_count] = malloc(size);
        assert_non_null(page->series[page->series_count]);
        snprintf(page->series[page->series_count++], size, "%s{%s", sample->name, sample->labels);
}

static void check_sample(struct check_page *page, struct check_sample *sample) {
        bool counter = strcmp(page->type, "counter") == 0;
        const char *end;
        check_name(page, sample->name);
        check_labels(page, sample);
        check_expect(page, " ", "no blank before the value");
        sample->value = check_value(page);
        if (page->type[0] == '\0' || strncmp(sample->name, page->family, strlen(page->family)) != 0)
                check_fail(page, "a sample without its family");
        end = sample->name + strlen(page->family);
        if (counter && (!check_ends(sample->name, "_total") || sample->value < 0))
                check_fail(page, "no counter");
        if (strcmp(page->type, "histogram") == 0)
                check_histogram(page, sample, end);
        else if (strcmp(end, counter && page->openmetrics ? "_total" : "") != 0)
                check_fail(page, "a sample of another family");
        check_series(page, sample);
}

static int check_compare(const void *a, const void *b) {
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* `each` is called for every sample; how many there were is returned. */
static size_t check_exposition(const char *text, bool openmetrics,
                               void (*each)(void *userdata, const struct check_sample *sample),
                               void *userdata) {
        struct check_page *page = calloc(1, sizeof(*page));
        size_t count;
        bool ended = false;
        assert_non_null(page);
        page->openmetrics = openmetrics;
        page->at = text;
        page->series = calloc(CHECK_SERIES_MAX, sizeof(*page->series));
        assert_non_null(page->series);
        while (*page->at != '\0') {
                struct check_sample sample;
                if (ended)
                        check_fail(page, "something behind the end");
                ended = openmetrics && strcmp(page->at, "# EOF\n") == 0;
                if (ended) {
                        page->at += strlen("# EOF");
                } else if (*page->at == '#') {
                        check_meta(page);
                } else {
                        check_sample(page, &sample);
                        if (each != NULL)
                                each(userdata, &sample);
                }
                check_expect(page, "\n", "the line does not end");
        }
        if (openmetrics != ended)
                check_fail(page, "no # EOF");
        check_family_end(page);
        count = page->series_count;
        qsort(page->series, count, sizeof(*page->series), check_compare);
        for (size_t i = 1; i < count; i++)
                if (strcmp(page->series[i - 1], page->series[i]) == 0)
                        fail_msg("%s} comes twice", page->series[i]);
        for (size_t i = 0; i < count; i++)
                free(page->series[i]);
        free(page->series);
        free(page);
        return count;
}
