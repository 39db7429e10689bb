#include "broker/cli/quote.h"

#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/cli/quote_budgets.h"
#include "broker/cli/redecide.h"
#include "broker/cli/table.h"
#include "broker/core/pick.h"
#include "workers/routing/limits.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 4096, MODEL_MAX = 128 };

/* What goes to one place, or to several of them. */
struct sum {
        uint64_t jobs, unknown_price, unknown_ceiling;
        int64_t low_picousd, expected_picousd, ceiling_picousd;
        int64_t input_tokens, output_tokens, limit_tokens, audio_ms, images;
        double busy_ns; /* of one call after the other */
};

struct row {
        uint32_t endpoint;
        char model[MODEL_MAX]; /* as jobs name it */
        struct sum sum;
};

struct quote {
        struct quote_options options;
        struct quote_budgets *budgets;
        struct sum *endpoints;
        struct row *rows;
        size_t rows_count, last;
        uint64_t jobs, bad, failures[FAILURES_COUNT];
        uint64_t excluded[EXCLUSIONS_COUNT]; /* jobs that nobody can take, by what excludes an endpoint */
};

struct error *quote_new(const struct quote_options *options, struct quote **out_quote) {
        struct quote *quote = calloc(1, sizeof *quote);
        if (!quote)
                return error_new(ERROR_MEMORY, "no memory for a quote");
        quote->options = *options;
        quote->endpoints = calloc(options->config->catalog.endpoints_count + 1, sizeof *quote->endpoints);
        quote->rows = calloc(ROWS_MAX, sizeof *quote->rows);
        if (!quote->endpoints || !quote->rows) {
                quote_free(quote);
                return error_new(ERROR_MEMORY, "no memory for a quote");
        }
        struct error *error =
                quote_budgets_new(options->config, options->at_unix_ms, options->workers, &quote->budgets);
        if (error)
                quote = quote_free(quote);
        *out_quote = quote;
        return error;
}

struct quote *quote_free(struct quote *quote) {
        if (!quote)
                return NULL;
        quote_budgets_free(quote->budgets);
        free(quote->endpoints);
        free(quote->rows);
        free(quote);
        return NULL;
}

/* ---- adding up ---- */

static bool is_row(const struct row *row, uint32_t endpoint, struct bytes model) {
        struct bytes shown = {model.data, model.size < MODEL_MAX - 1 ? model.size : MODEL_MAX - 1};
        return row->endpoint == endpoint && bytes_equal_string(shown, row->model);
}

/* Jobs of one kind come in long runs. When there is no row left, the last one takes the rest. */
static struct row *row_of(struct quote *quote, uint32_t endpoint, struct bytes model) {
        if (quote->last < quote->rows_count && is_row(&quote->rows[quote->last], endpoint, model))
                return &quote->rows[quote->last];
        for (size_t i = 0; i < quote->rows_count; i++)
                if (is_row(&quote->rows[i], endpoint, model)) {
                        quote->last = i;
                        return &quote->rows[i];
                }
        if (quote->rows_count == ROWS_MAX)
                return &quote->rows[ROWS_MAX - 1];
        struct row *row = &quote->rows[quote->rows_count++];
        size_t size = model.size < MODEL_MAX - 1 ? model.size : MODEL_MAX - 1;
        row->endpoint = endpoint;
        memcpy(row->model, model.data, size);
        quote->last = quote->rows_count - 1;
        return row;
}

static int64_t expected_output(const struct demand *demand) {
        if (demand->kind == KIND_EMBEDDINGS || demand->kind == KIND_RERANK ||
            demand->kind == KIND_MODERATIONS)
                return 0;
        bool less = demand->output_tokens_max >= 0 && demand->output_tokens_max < OUTPUT_TOKENS_GUESS;
        return less ? demand->output_tokens_max : OUTPUT_TOKENS_GUESS;
}

static void sum_job(const struct quote *quote, const struct demand *demand, const struct candidate *taken,
                    struct sum *sum) {
        const struct endpoint *endpoint = &quote->options.config->catalog.endpoints[taken->endpoint];
        int64_t output = expected_output(demand), low = taken->cost_expected_picousd;
        int64_t latency_ns = quote->options.latency_ns;
        sum->jobs++;
        sum->unknown_price += !taken->cost_known;
        sum->unknown_ceiling += !taken->ceiling_known;
        sum->input_tokens = money_add(sum->input_tokens, demand->input_tokens);
        sum->output_tokens = money_add(sum->output_tokens, output);
        int64_t most = demand->output_tokens_max >= 0 ? demand->output_tokens_max : output;
        sum->limit_tokens = money_add(sum->limit_tokens, money_add(demand->input_tokens, most));
        sum->audio_ms = money_add(sum->audio_ms, demand->audio_ms > 0 ? demand->audio_ms : 0);
        sum->images = money_add(sum->images, demand->images);
        if (latency_ns == 0)
                latency_ns = QUOTE_LATENCY_NS + output * NS_PER_S / QUOTE_TOKENS_PER_S;
        sum->busy_ns += (double)latency_ns;
        if (!taken->cost_known)
                return;
        cost_expected_at(endpoint, demand, quote->options.at_unix_ms, demand->input_tokens / 2, output / 4,
                         &low);
        sum->low_picousd = money_add(sum->low_picousd, low);
        sum->expected_picousd = money_add(sum->expected_picousd, taken->cost_expected_picousd);
        sum->ceiling_picousd = money_add(sum->ceiling_picousd, taken->cost_ceiling_picousd);
}

static void sum_add(struct sum *total, const struct sum *sum) {
        total->jobs += sum->jobs;
        total->unknown_price += sum->unknown_price;
        total->unknown_ceiling += sum->unknown_ceiling;
        total->low_picousd = money_add(total->low_picousd, sum->low_picousd);
        total->expected_picousd = money_add(total->expected_picousd, sum->expected_picousd);
        total->ceiling_picousd = money_add(total->ceiling_picousd, sum->ceiling_picousd);
        total->input_tokens = money_add(total->input_tokens, sum->input_tokens);
        total->output_tokens = money_add(total->output_tokens, sum->output_tokens);
        total->limit_tokens = money_add(total->limit_tokens, sum->limit_tokens);
        total->audio_ms = money_add(total->audio_ms, sum->audio_ms);
        total->images = money_add(total->images, sum->images);
        total->busy_ns += sum->busy_ns;
}

static void add_refused(struct quote *quote, const struct route *route) {
        bool seen[EXCLUSIONS_COUNT] = {false};
        quote->failures[pick_refusal(route)]++;
        for (uint32_t i = 0; i < route->count; i++)
                seen[route->candidates[i].excluded_by] = true;
        for (int i = EXCLUSION_NONE + 1; i < EXCLUSIONS_COUNT; i++)
                quote->excluded[i] += seen[i];
}

void quote_add(struct quote *quote, const struct job_spec *job) {
        const struct catalog *catalog = &quote->options.config->catalog;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct route_set set;
        struct route route;
        quote->jobs++;
        if (job->failure != FAILURE_NONE) {
                quote->bad++;
                return;
        }
        route_match(catalog, &job->demand, &set);
        redecide_fresh(&set, states);
        for (uint32_t i = 0; i < set.count; i++)
                quote_budgets_view(quote->budgets, job->demand.workspace, set.endpoints[i], &states[i]);
        const struct route_moment moment = {.now_unix_ms = quote->options.at_unix_ms,
                                            .call_ms =
                                                    quote->options.config->settings.timeout_total / NS_PER_MS,
                                            .seed = job->key.lo}; /* as explain draws */
        route_rank(catalog, &job->demand, &set, states, &moment, &route);
        if (route.usable == 0) {
                add_refused(quote, &route);
                return;
        }
        const struct candidate *taken = &route.candidates[0];
        struct sum sum = {0};
        sum_job(quote, &job->demand, taken, &sum);
        quote_budgets_add(quote->budgets, job->demand.workspace, taken);
        sum_add(&quote->endpoints[taken->endpoint], &sum);
        sum_add(&row_of(quote, taken->endpoint, job->demand.models[taken->model])->sum, &sum);
}

/* ---- duration ---- */

struct span_ns {
        double ns;
        const char *bound_by;
};

static void bound(struct span_ns *span, int64_t units, int64_t limit, double window_ns, const char *name) {
        double ns = limit > 0 ? (double)units / (double)limit * window_ns : 0;
        if (ns > span->ns)
                *span = (struct span_ns){ns, name};
}

/* Limits of a minute and more let through as much as their windows do. */
static void bound_by_limits(struct span_ns *span, const struct sum *sum, const struct limits_spec *limits) {
        const double minute = 60.0 * (double)NS_PER_S, hour = 60 * minute, day = 24 * hour;
        int64_t audio_s = sum->audio_ms / 1000;
        bound(span, (int64_t)sum->jobs, limits->requests_per_minute, minute, "requests per minute");
        bound(span, sum->limit_tokens, limits->tokens_per_minute, minute, "tokens per minute");
        bound(span, (int64_t)sum->jobs, limits->requests_per_day, day, "requests per day");
        bound(span, sum->limit_tokens, limits->tokens_per_day, day, "tokens per day");
        bound(span, audio_s, limits->audio_seconds_per_hour, hour, "audio per hour");
        bound(span, audio_s, limits->audio_seconds_per_day, day, "audio per day");
        bound(span, sum->images, limits->images_per_minute, minute, "images per minute");
        if (limits->concurrency > 0)
                bound(span, 1, limits->concurrency, sum->busy_ns, "concurrency");
}

static void bound_by_flight(const struct quote *quote, struct span_ns *span, const struct sum *sum) {
        int64_t in_flight = quote->options.config->settings.in_flight;
        double longest = sum->jobs > 0 ? sum->busy_ns / (double)sum->jobs : 0;
        bound(span, 1, in_flight, sum->busy_ns, "limits.in_flight");
        bound(span, 1, 1, longest, "one call");
}

static struct sum provider_sum(const struct quote *quote, uint32_t provider, struct span_ns *out_span) {
        const struct catalog *catalog = &quote->options.config->catalog;
        struct sum total = {0};
        struct span_ns span = {0, ""};
        for (uint32_t i = 0; i < catalog->endpoints_count; i++) {
                if (catalog->endpoints[i].provider != provider || quote->endpoints[i].jobs == 0)
                        continue;
                bound_by_limits(&span, &quote->endpoints[i], &catalog->endpoints[i].limits);
                sum_add(&total, &quote->endpoints[i]);
        }
        bound_by_limits(&span, &total, &catalog->providers[provider].limits);
        bound_by_flight(quote, &span, &total);
        *out_span = span;
        return total;
}

static int64_t whole_seconds_ns(double ns) {
        double seconds = ns / (double)NS_PER_S;
        if (!(seconds < 9e9))
                return INT64_C(9000000000) * NS_PER_S;
        return ((int64_t)seconds + (seconds > (double)(int64_t)seconds)) * NS_PER_S;
}

static struct sum total_sum(const struct quote *quote, struct span_ns *out_span) {
        struct sum total = {0};
        struct span_ns longest = {0, ""};
        for (uint32_t i = 0; i < quote->options.config->catalog.providers_count; i++) {
                struct span_ns span;
                struct sum sum = provider_sum(quote, i, &span);
                sum_add(&total, &sum);
                if (span.ns > longest.ns)
                        longest = span;
        }
        bound_by_flight(quote, &longest, &total);
        *out_span = longest;
        return total;
}

/* ---- text ---- */

static void add_money(struct table *table, const struct sum *sum) {
        bool priced = sum->unknown_price < sum->jobs || sum->jobs == 0;
        table_money(table, priced, sum->low_picousd);
        table_money(table, priced, sum->expected_picousd);
        table_money(table, priced, sum->ceiling_picousd);
        table_count(table, sum->unknown_price);
}

static void add_duration(struct table *table, const struct span_ns *span) {
        struct buffer text;
        buffer_init(&text, 128);
        duration_append(&text, whole_seconds_ns(span->ns));
        table_bytes(table, buffer_view(&text));
        table_cell(table, "%s", span->bound_by);
        buffer_deinit(&text);
}

static void print_providers(const struct quote *quote, struct buffer *out) {
        static const char *const headers[] = {"provider", "jobs",          "low",   "expected",
                                              "at most",  "unknown price", "takes", "bound by"};
        static const bool right[] = {false, true, true, true, true, true, true, false};
        struct table table;
        struct span_ns span;
        table_init(&table, headers, right, 8);
        for (uint32_t i = 0; i < quote->options.config->catalog.providers_count; i++) {
                struct sum sum = provider_sum(quote, i, &span);
                if (sum.jobs == 0)
                        continue;
                table_cell(&table, "%s", quote->options.config->catalog.providers[i].name);
                table_count(&table, sum.jobs);
                add_money(&table, &sum);
                add_duration(&table, &span);
        }
        struct sum total = total_sum(quote, &span);
        table_cell(&table, "total");
        table_count(&table, total.jobs);
        add_money(&table, &total);
        add_duration(&table, &span);
        table_finish(&table, out);
}

static void print_rows(const struct quote *quote, struct buffer *out) {
        static const char *const headers[] = {"endpoint", "model",    "jobs",    "tokens in",    "tokens out",
                                              "low",      "expected", "at most", "unknown price"};
        static const bool right[] = {false, false, true, true, true, true, true, true, true};
        struct table table;
        table_init(&table, headers, right, 9);
        for (size_t i = 0; i < quote->rows_count; i++) {
                const struct row *row = &quote->rows[i];
                table_cell(&table, "%s", quote->options.config->catalog.endpoints[row->endpoint].name);
                table_cell(&table, "%s", row->model);
                table_count(&table, row->sum.jobs);
                table_count(&table, (uint64_t)row->sum.input_tokens);
                table_count(&table, (uint64_t)row->sum.output_tokens);
                add_money(&table, &row->sum);
        }
        table_finish(&table, out);
}

static void print_refused(const struct quote *quote, struct buffer *out) {
        for (int i = 0; i < FAILURES_COUNT; i++)
                if (quote->failures[i] > 0)
                        buffer_printf(out, "%llu jobs nobody can take: %s\n",
                                      (unsigned long long)quote->failures[i], failure_text((enum failure)i));
        for (int i = 0; i < EXCLUSIONS_COUNT; i++)
                if (quote->excluded[i] > 0)
                        buffer_printf(out, "    %s excludes an endpoint for %llu of them\n",
                                      exclusion_text((enum exclusion)i),
                                      (unsigned long long)quote->excluded[i]);
        if (quote->bad > 0)
                buffer_printf(out, "%llu lines are no jobs and would fail\n", (unsigned long long)quote->bad);
}

static uint64_t unknown_ceilings(const struct quote *quote) {
        uint64_t count = 0;
        for (size_t i = 0; i < quote->rows_count; i++)
                count += quote->rows[i].sum.unknown_ceiling - quote->rows[i].sum.unknown_price;
        return count;
}

void quote_print(const struct quote *quote, struct buffer *out) {
        print_providers(quote, out);
        buffer_append_char(out, '\n');
        print_rows(quote, out);
        buffer_append_char(out, '\n');
        quote_budgets_print(quote->budgets, out);
        print_refused(quote, out);
        uint64_t open_ended = unknown_ceilings(quote);
        if (open_ended > 0)
                buffer_printf(
                        out,
                        "%llu jobs say no limit to their output and their endpoint has none: \"at most\" "
                        "holds what is expected of them\n",
                        (unsigned long long)open_ended);
        if (quote->options.latency_ns > 0) {
                buffer_append_string(out, "Assumed: a call takes ");
                duration_append(out, quote->options.latency_ns);
        } else {
                buffer_printf(out, "Assumed: a call takes 1 s and a second for each %d tokens of output",
                              QUOTE_TOKENS_PER_S);
        }
        buffer_printf(out,
                      "; %d tokens of output where a job allows more; no retries; every job at the best "
                      "endpoint for it.\nNothing was called and nothing was written.\n",
                      OUTPUT_TOKENS_GUESS);
}

/* ---- JSON ---- */

static void append_sum(struct buffer *out, const struct sum *sum) {
        bool priced = sum->unknown_price < sum->jobs || sum->jobs == 0;
        json_count(out, "jobs", sum->jobs);
        json_money(out, "low_usd", priced, sum->low_picousd);
        json_money(out, "expected_usd", priced, sum->expected_picousd);
        json_money(out, "ceiling_usd", priced, sum->ceiling_picousd);
        json_count(out, "unknown_price", sum->unknown_price);
        json_count(out, "unknown_ceiling", sum->unknown_ceiling);
        json_count(out, "input_tokens", (uint64_t)sum->input_tokens);
        json_count(out, "output_tokens", (uint64_t)sum->output_tokens);
}

static void append_span(struct buffer *out, const struct span_ns *span) {
        json_count(out, "seconds", (uint64_t)(whole_seconds_ns(span->ns) / NS_PER_S));
        json_string(out, "bound_by", bytes_of(span->bound_by));
}

static void append_providers(const struct quote *quote, struct buffer *out) {
        struct span_ns span;
        json_name(out, "providers");
        buffer_append_char(out, '[');
        for (uint32_t i = 0; i < quote->options.config->catalog.providers_count; i++) {
                struct sum sum = provider_sum(quote, i, &span);
                if (sum.jobs == 0)
                        continue;
                json_comma(out);
                buffer_append_char(out, '{');
                json_string(out, "provider", bytes_of(quote->options.config->catalog.providers[i].name));
                append_sum(out, &sum);
                append_span(out, &span);
                buffer_append_char(out, '}');
        }
        buffer_append_char(out, ']');
}

static void append_rows(const struct quote *quote, struct buffer *out) {
        json_name(out, "endpoints");
        buffer_append_char(out, '[');
        for (size_t i = 0; i < quote->rows_count; i++) {
                const struct row *row = &quote->rows[i];
                json_comma(out);
                buffer_append_char(out, '{');
                json_string(out, "endpoint",
                            bytes_of(quote->options.config->catalog.endpoints[row->endpoint].name));
                json_string(out, "model", bytes_of(row->model));
                append_sum(out, &row->sum);
                buffer_append_char(out, '}');
        }
        buffer_append_char(out, ']');
}

static void append_refused(const struct quote *quote, struct buffer *out) {
        json_name(out, "nobody");
        buffer_append_char(out, '{');
        for (int i = 0; i < FAILURES_COUNT; i++)
                if (quote->failures[i] > 0)
                        json_count(out, failure_text((enum failure)i), quote->failures[i]);
        buffer_append_char(out, '}');
        json_name(out, "excluded_by");
        buffer_append_char(out, '{');
        for (int i = 0; i < EXCLUSIONS_COUNT; i++)
                if (quote->excluded[i] > 0)
                        json_count(out, exclusion_text((enum exclusion)i), quote->excluded[i]);
        buffer_append_char(out, '}');
}

void quote_print_json(const struct quote *quote, struct buffer *out) {
        struct span_ns span;
        struct sum total = total_sum(quote, &span);
        buffer_append_char(out, '{');
        json_string(out, "catalog", bytes_of(quote->options.config->catalog.id));
        json_count(out, "lines", quote->jobs);
        json_count(out, "no_jobs", quote->bad);
        append_refused(quote, out);
        append_providers(quote, out);
        append_rows(quote, out);
        quote_budgets_print_json(quote->budgets, out);
        json_name(out, "total");
        buffer_append_char(out, '{');
        append_sum(out, &total);
        append_span(out, &span);
        buffer_append_string(out, "}}\n");
}
