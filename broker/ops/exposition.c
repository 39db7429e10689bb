/*
 * A family is the lines of one metric: HELP, TYPE, and its samples together, as both formats demand. The
 * tables say what a family's samples are told apart by, so there is one loop per set of labels.
 */
#include "broker/ops/exposition.h"

#include "broker/ops/yaml.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DECIMALS_OF_SECONDS = 9, DECIMALS_OF_USD = 12, NUMBER_BYTES = 12, QUALITY_ONE = 1000 };

static const char *const type_texts[] = {"counter", "gauge", "histogram"};

static const char *const state_texts[METRIC_STATES] = {
#define STATE(name, text, meaning) text,
#include "schemas/states.def"
#undef STATE
};

/* ---- pieces ---- */

/*
 * HELP: a backslash and a line feed are escaped; OpenMetrics escapes quotes as well, as in values of labels.
 */
static void append_escaped(struct buffer *text, const char *value, bool quotes) {
        bool utf8 = yaml_is_utf8(bytes_of(value));
        for (const char *at = value; *at != '\0'; at++) {
                if (*at == '\n')
                        buffer_append_string(text, "\\n");
                else if (*at == '\\' || (*at == '"' && quotes))
                        buffer_printf(text, "\\%c", *at);
                else
                        buffer_append_char(text, (unsigned char)*at < 0x80 || utf8 ? *at : '?');
        }
}

/* value / 10^decimals, exact, without zeros at the end. */
static void append_decimal(struct buffer *text, int64_t value, unsigned decimals) {
        uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value, unit = 1;
        char digits[24];
        for (unsigned i = 0; i < decimals; i++)
                unit *= 10;
        buffer_printf(text, "%s%" PRIu64, value < 0 ? "-" : "", rest / unit);
        rest %= unit;
        if (rest == 0)
                return;
        for (unsigned i = decimals; i > 0; i--, rest /= 10)
                digits[i - 1] = (char)('0' + rest % 10);
        while (digits[decimals - 1] == '0')
                decimals--;
        buffer_append_char(text, '.');
        buffer_append(text, digits, decimals);
}

static void append_value(struct buffer *text, const struct metric *metric, int64_t value, int64_t now_ns) {
        switch (metric->unit) {
        case METRIC_UNIT_AGE:
                append_decimal(text, value < now_ns ? now_ns - value : 0, DECIMALS_OF_SECONDS);
                return;
        case METRIC_UNIT_SECONDS:
                append_decimal(text, value, DECIMALS_OF_SECONDS);
                return;
        case METRIC_UNIT_USD:
                append_decimal(text, value, DECIMALS_OF_USD);
                return;
        case METRIC_UNIT_COUNT:
        case METRIC_UNIT_BYTES:
        case METRIC_UNITS_COUNT:
                buffer_append_i64(text, value);
                return;
        }
}

/* The family's name: OpenMetrics takes _total as the end of a counter's sample, not of its family. */
static void append_family(struct buffer *text, const struct metric *metric, enum exposition_format format) {
        size_t size = strlen(metric->name);
        if (format == EXPOSITION_OPENMETRICS && metric->type == METRIC_TYPE_COUNTER)
                size -= strlen("_total");
        buffer_append(text, metric->name, size);
}

static void append_head(struct buffer *text, const struct metric *metric, enum exposition_format format) {
        const char *unit = metric_unit_texts[metric->unit];
        buffer_append_string(text, "# HELP ");
        append_family(text, metric, format);
        buffer_append_char(text, ' ');
        append_escaped(text, metric->help, format == EXPOSITION_OPENMETRICS);
        buffer_append_string(text, "\n# TYPE ");
        append_family(text, metric, format);
        buffer_printf(text, " %s\n", type_texts[metric->type]);
        if (format == EXPOSITION_PROMETHEUS || unit[0] == '\0')
                return;
        buffer_append_string(text, "# UNIT ");
        append_family(text, metric, format);
        buffer_printf(text, " %s\n", unit);
}

/* One or two labels; `first` NULL: none. */
struct labels {
        const char *first, *first_value, *second, *second_value;
};

static void append_sample(struct buffer *text, const struct metric *metric, const struct labels *labels,
                          int64_t value, int64_t now_ns) {
        if (value == METRIC_NOT_KNOWN)
                return;
        buffer_append_string(text, metric->name);
        if (labels->first != NULL) {
                buffer_printf(text, "{%s=\"", labels->first);
                append_escaped(text, labels->first_value, true);
                buffer_append_char(text, '"');
        }
        if (labels->second != NULL) {
                buffer_printf(text, ",%s=\"", labels->second);
                append_escaped(text, labels->second_value, true);
                buffer_append_char(text, '"');
        }
        buffer_append_string(text, labels->first == NULL ? " " : "} ");
        append_value(text, metric, value, now_ns);
        buffer_append_char(text, '\n');
}

/* Buckets are cumulative. */
static void append_histogram(struct buffer *text, const struct metric *metric,
                             const struct histogram *histogram) {
        uint64_t count = 0;
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                int64_t bound_ns = histogram_bounds_ns[i];
                count += histogram->counts[i];
                buffer_printf(text, "%s_bucket{le=\"", metric->name);
                append_decimal(text, bound_ns, DECIMALS_OF_SECONDS);
                buffer_printf(text, "%s\"} %" PRIu64 "\n", bound_ns % 1000000000 == 0 ? ".0" : "", count);
        }
        count += histogram->counts[HISTOGRAM_BUCKETS];
        buffer_printf(text, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_count %" PRIu64 "\n%s_sum ", metric->name,
                      count, metric->name, count, metric->name);
        append_decimal(text, histogram->sum_ns, DECIMALS_OF_SECONDS);
        buffer_append_char(text, '\n');
}

/* ---- samples, by what tells them apart ---- */

/* What the first value of an array stands for (no failure, a free slot) is none. */
static void append_array(struct buffer *text, const struct exposition_view *view, const struct metric *metric,
                         const void *base) {
        bool states = metric->labels == METRIC_LABELS_STATE;
        for (uint32_t i = 1; i < metric->values; i++) {
                struct labels labels = {states ? "state" : "code",
                                        states ? state_texts[i] : failure_text((enum failure)i), NULL, NULL};
                append_sample(text, metric, &labels, metric_get(metric, base, i), view->now_ns);
        }
}

static void append_shards(struct buffer *text, const struct exposition_view *view,
                          const struct metric *metric) {
        for (uint32_t i = 0; i < view->shards_count; i++) {
                char number[NUMBER_BYTES];
                struct labels labels = {"shard", number, NULL, NULL};
                (void)snprintf(number, sizeof(number), "%" PRIu32, i);
                append_sample(text, metric, &labels, metric_get(metric, &view->shards[i], 0), view->now_ns);
        }
}

static void append_partitions(struct buffer *text, const struct exposition_view *view,
                              const struct metric *metric) {
        for (uint32_t i = 0; i < view->total->partitions_count; i++) {
                const struct partition_metrics *partition = &view->total->partitions[i];
                char number[NUMBER_BYTES];
                struct labels labels = {"topic", partition->topic, "partition", number};
                (void)snprintf(number, sizeof(number), "%" PRIu32, partition->partition);
                append_sample(text, metric, &labels, metric_get(metric, partition, 0), view->now_ns);
        }
}

static void append_endpoints(struct buffer *text, const struct exposition_view *view,
                             const struct metric *metric) {
        const struct catalog *catalog = view->catalog;
        for (uint32_t i = 0; i < view->total->endpoints_count; i++) {
                const struct endpoint *endpoint = &catalog->endpoints[i];
                struct labels labels = {"provider", catalog->providers[endpoint->provider].name, "model",
                                        endpoint->model};
                append_sample(text, metric, &labels, metric_get(metric, &view->total->endpoints[i], 0),
                              view->now_ns);
        }
}

static void append_subjects(struct buffer *text, const struct exposition_view *view,
                            const struct metric *metric) {
        const struct catalog *catalog = view->catalog;
        for (uint32_t i = 0; i < view->total->spends_count; i++) {
                bool workspace = i < catalog->workspaces_count;
                struct labels labels = {"kind", workspace ? "workspace" : "provider", "name",
                                        workspace ? catalog->workspaces[i].name
                                                  : catalog->providers[i - catalog->workspaces_count].name};
                append_sample(text, metric, &labels, metric_get(metric, &view->total->spends[i], 0),
                              view->now_ns);
        }
}

static void append_single(struct buffer *text, const struct exposition_view *view,
                          const struct metric *metric, const void *base) {
        struct labels labels = {metric->labels == METRIC_LABELS_VERSION ? "version" : NULL, view->version,
                                NULL, NULL};
        if (metric->type == METRIC_TYPE_HISTOGRAM)
                append_histogram(text, metric, metric_histogram(metric, base));
        else
                append_sample(text, metric, &labels, metric_get(metric, base, 0), view->now_ns);
}

/* `base`: the struct of the table, where there is one and not many. */
static void append_table(struct buffer *text, const struct exposition_view *view,
                         const struct metric_table *table, const void *base, enum exposition_format format) {
        for (size_t i = 0; i < table->count; i++) {
                const struct metric *metric = &table->metrics[i];
                append_head(text, metric, format);
                switch (metric->labels) {
                case METRIC_LABELS_NONE:
                case METRIC_LABELS_VERSION:
                        append_single(text, view, metric, base);
                        break;
                case METRIC_LABELS_CODE:
                case METRIC_LABELS_STATE:
                        append_array(text, view, metric, base);
                        break;
                case METRIC_LABELS_SHARD:
                        append_shards(text, view, metric);
                        break;
                case METRIC_LABELS_PARTITION:
                        append_partitions(text, view, metric);
                        break;
                case METRIC_LABELS_ENDPOINT:
                        append_endpoints(text, view, metric);
                        break;
                case METRIC_LABELS_SUBJECT:
                        append_subjects(text, view, metric);
                        break;
                }
        }
}

void exposition_append(const struct exposition_view *view, enum exposition_format format,
                       struct buffer *out_text) {
        append_table(out_text, view, &process_table, view->process, format);
        append_table(out_text, view, &shard_table, view->total, format);
        append_table(out_text, view, &partition_table, NULL, format);
        append_table(out_text, view, &endpoint_table, NULL, format);
        append_table(out_text, view, &spend_table, NULL, format);
        if (format == EXPOSITION_OPENMETRICS)
                buffer_append_string(out_text, "# EOF\n");
}

/* ---- which format ---- */

const char *exposition_content_type(enum exposition_format format) {
        return format == EXPOSITION_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                                : "text/plain; version=0.0.4; charset=utf-8";
}

static struct bytes trimmed(struct bytes text) {
        while (text.size > 0 && (*text.data == ' ' || *text.data == '\t'))
                text = (struct bytes){text.data + 1, text.size - 1};
        while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
                text.size--;
        return text;
}

/* Takes what stands before the next `end` off *rest; false: nothing was left. */
static bool next_part(struct bytes *rest, char end, struct bytes *out_part) {
        const char *found;
        size_t size;
        if (rest->size == 0)
                return false;
        found = memchr(rest->data, end, rest->size);
        size = found == NULL ? rest->size : (size_t)(found - rest->data);
        *out_part = trimmed((struct bytes){rest->data, size});
        size += found == NULL ? 0 : 1;
        *rest = (struct bytes){rest->data + size, rest->size - size};
        return true;
}

/* "0.5" is 500, "1" is QUALITY_ONE; what is no quality counts as none. */
static int quality_of(struct bytes text) {
        int quality = 0, digit = QUALITY_ONE;
        for (size_t i = 0; i < text.size; i++) {
                if (i == 1 && text.data[i] == '.')
                        continue;
                if (text.data[i] < '0' || text.data[i] > '9' || digit == 0)
                        return 0;
                quality += (text.data[i] - '0') * digit;
                digit /= 10;
        }
        return quality > QUALITY_ONE ? QUALITY_ONE : quality;
}

/* A media range with its parameters: "application/openmetrics-text; version=1.0.0; q=0.5". */
struct range {
        struct bytes type, version;
        int quality;
};

static struct range range_of(struct bytes text) {
        struct range range = {.quality = QUALITY_ONE};
        struct bytes part;
        (void)next_part(&text, ';', &range.type);
        while (next_part(&text, ';', &part)) {
                if (part.size > 2 && bytes_equal_nocase((struct bytes){part.data, 2}, "q="))
                        range.quality = quality_of((struct bytes){part.data + 2, part.size - 2});
                if (part.size > 8 && bytes_equal_nocase((struct bytes){part.data, 8}, "version="))
                        range.version = (struct bytes){part.data + 8, part.size - 8};
        }
        return range;
}

enum exposition_format exposition_negotiate(const char *accept) {
        struct bytes rest = bytes_of(accept), part;
        int text = 0, openmetrics = 0;
        while (next_part(&rest, ',', &part)) {
                struct range range = range_of(part);
                bool any_version = range.version.size == 0;
                if (bytes_equal_nocase(range.type, "application/openmetrics-text") &&
                    (any_version || bytes_equal_string(range.version, "1.0.0")) &&
                    range.quality > openmetrics)
                        openmetrics = range.quality;
                if (bytes_equal_nocase(range.type, "text/plain") &&
                    (any_version || bytes_equal_string(range.version, "0.0.4")) && range.quality > text)
                        text = range.quality;
        }
        return openmetrics > 0 && openmetrics >= text ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS;
}
