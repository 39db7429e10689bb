#include "table.h"

#include "broker/base/time.h"
#include "broker/core/pick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GIVEN_MAX = 16, LINE_MAX_BYTES = 1 << 16, WORDS_MAX = 16 };

struct table {
        const struct book *book;
        struct buffer *out;
        int64_t at_unix_ms;
        char given[GIVEN_MAX][512]; /* lines that wait for their job */
        uint32_t given_count;
        struct deciding deciding;
};

static const char *name_of(const struct table *table, uint32_t endpoint) {
        return table->book->config->catalog.endpoints[endpoint].name;
}

/* ---- what is given ---- */

static int64_t whole(const char *value) {
        char *end;
        long long number = strtoll(value, &end, 10);
        assert_true(end != value && *end == '\0');
        return number;
}

static int64_t duration(const char *value) {
        int64_t ns;
        assert_true(duration_parse(bytes_of(value), &ns));
        return ns;
}

static bool cut_word(const char *word, const char *name, const char **out_value) {
        size_t size = strlen(name);
        if (strncmp(word, name, size) != 0 || (word[size] != '=' && word[size] != '\0'))
                return false;
        *out_value = word[size] == '=' ? word + size + 1 : "";
        return true;
}

/* "latency", "latency_p90" */
static bool cut_percentile(const char *word, const char *name, unsigned *out_index, const char **out_value) {
        static const char *const ends[PERCENTILES_COUNT] = {"_p50", "_p75", "_p90", "_p99"};
        char whole_name[32];
        *out_index = 0;
        if (cut_word(word, name, out_value))
                return true;
        for (unsigned i = 0; i < PERCENTILES_COUNT; i++) {
                snprintf(whole_name, sizeof whole_name, "%s%s", name, ends[i]);
                *out_index = i;
                if (cut_word(word, whole_name, out_value))
                        return true;
        }
        return false;
}

static bool give_wait(const char *word, struct route_state *state) {
        static const struct {
                const char *name;
                enum exclusion why;
        } waits[] = {
                {"paused", EXCLUSION_PAUSED}, {"breaker", EXCLUSION_BREAKER}, {"full", EXCLUSION_AT_LIMIT}};
        const char *value;
        for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
                if (cut_word(word, waits[i].name, &value)) {
                        state->waiting = waits[i].why;
                        state->ready_ns = duration(value);
                        return true;
                }
        if (!cut_word(word, "never", &value))
                return false;
        state->ready_ns = INT64_MAX;
        return true;
}

static void give_state(struct table *table, const char *word, uint32_t place) {
        struct route_state *state = &table->deciding.states[place];
        const char *value;
        unsigned at;
        if (cut_percentile(word, "latency", &at, &value))
                state->latency_p_ns[at] = duration(value);
        else if (cut_percentile(word, "throughput", &at, &value))
                state->throughput_p_milli[at] = 1000 * whole(value);
        else if (cut_word(word, "success", &value))
                state->success_permille = (int32_t)whole(value);
        else if (cut_word(word, "in_flight", &value))
                state->in_flight = whole(value);
        else if (cut_word(word, "output", &value))
                state->expected_output_tokens = (double)whole(value);
        else if (cut_word(word, "ratio", &value))
                state->tokens_ratio = strtod(value, NULL);
        else if (cut_word(word, "cached", &value))
                state->cached_permille = (int32_t)whole(value);
        else if (cut_word(word, "slow", &value))
                state->slow = true;
        else if (cut_word(word, "refused", &value))
                table->deciding.moment.route.refused |= 1U << place;
        else if (!give_wait(word, state))
                fail_msg("given: no word \"%s\"", word);
}

static void give_job(struct table *table, const char *word) {
        const char *value;
        if (cut_word(word, "tokens", &value))
                table->deciding.job->demand.input_tokens = whole(value);
        else if (!cut_word(word, "spent", &value) ||
                 !money_parse(bytes_of(value), &table->deciding.moment.route.spent_picousd))
                fail_msg("given: no word \"%s\"", word);
}

/* An endpoint, unless it has a "=". */
static void give(struct table *table, char *line) {
        char *rest, *word = strtok_r(line, " ", &rest);
        assert_non_null(word);
        if (strchr(word, '=') != NULL) {
                for (; word != NULL; word = strtok_r(NULL, " ", &rest))
                        give_job(table, word);
                return;
        }
        uint32_t place = 0;
        while (place < table->deciding.set.count &&
               strcmp(name_of(table, table->deciding.set.endpoints[place]), word) != 0)
                place++;
        if (place == table->deciding.set.count)
                fail_msg("given: %s does not serve this job", word);
        while ((word = strtok_r(NULL, " ", &rest)) != NULL)
                give_state(table, word, place);
}

/* ---- what is decided ---- */

static void append_penalties(struct buffer *out, uint8_t penalties) {
        static const struct {
                enum penalty penalty;
                const char *text;
        } texts[] = {{PENALTY_UNKNOWN_PRICE, "unknown price"},
                     {PENALTY_FAILING, "failing"},
                     {PENALTY_SLOW, "slow"},
                     {PENALTY_PARAMETERS, "parameters"},
                     {PENALTY_THROUGHPUT, "throughput"},
                     {PENALTY_LATENCY, "latency"}};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
                if (penalties & texts[i].penalty)
                        buffer_printf(out, ", behind: %s", texts[i].text);
}

static void append_picousd(struct buffer *out, const char *what, bool known, int64_t picousd) {
        if (known)
                buffer_printf(out, "%s %lld", what, (long long)picousd);
        else
                buffer_printf(out, "%s ?", what);
}

static void append_candidate(const struct table *table, uint32_t at) {
        const struct route *route = &table->deciding.route;
        const struct candidate *candidate = &route->candidates[at];
        const struct demand *demand = &table->deciding.job->demand;
        struct buffer *out = table->out;
        bool usable = at < route->usable;
        if (usable)
                buffer_printf(out, "  %2u ", at + 1);
        else
                buffer_append_string(out, "   - ");
        buffer_append_string(out, name_of(table, candidate->endpoint));
        if (demand->models_count > 1)
                buffer_printf(out, " (%.*s)", (int)demand->models[candidate->model].size,
                              demand->models[candidate->model].data);
        buffer_append_string(out, ": ");
        if (usable) {
                append_picousd(out, "expected", candidate->cost_known, candidate->cost_expected_picousd);
                append_picousd(out, ", at most", candidate->ceiling_known, candidate->cost_ceiling_picousd);
                append_penalties(out, candidate->penalties);
                if (candidate->excluded_by != EXCLUSION_NONE)
                        buffer_printf(out, ", waits: %s", exclusion_text(candidate->excluded_by));
        } else {
                buffer_append_string(out, exclusion_text(candidate->excluded_by));
        }
        buffer_append_char(out, '\n');
}

static void append_decision(const struct table *table) {
        const struct route *route = &table->deciding.route;
        const struct demand *demand = &table->deciding.job->demand;
        buffer_printf(table->out, "     %lld tokens in", (long long)demand->input_tokens);
        if (demand->output_tokens_max >= 0)
                buffer_printf(table->out, ", at most %lld out", (long long)demand->output_tokens_max);
        buffer_append_char(table->out, '\n');
        for (uint32_t i = 0; i < route->count; i++)
                append_candidate(table, i);
        if (route->usable == 0)
                buffer_printf(table->out, "     nobody: %s\n",
                              failure_text(route->count == 0 ? FAILURE_NO_PROVIDER : pick_refusal(route)));
}

static void decide(struct table *table, struct bytes line) {
        struct deciding *deciding = &table->deciding;
        if (deciding_begin(table->book, line, table->at_unix_ms, deciding)) {
                for (uint32_t i = 0; i < table->given_count; i++)
                        give(table, table->given[i]);
                deciding_rank(table->book, deciding);
                append_decision(table);
        } else {
                buffer_printf(table->out, "     no job: %s: %.*s\n", failure_text(deciding->job->failure),
                              (int)deciding->job->failure_message.size, deciding->job->failure_message.data);
        }
        deciding_end(deciding);
        table->given_count = 0;
}

/* ---- lines ---- */

static struct bytes behind(struct bytes line, size_t size) {
        return (struct bytes){line.data + size, line.size - size};
}

static void run_line(struct table *table, struct bytes line) {
        if (bytes_starts_with(line, "  "))
                return;
        buffer_append_bytes(table->out, line);
        buffer_append_char(table->out, '\n');
        if (bytes_starts_with(line, "at ")) {
                assert_true(rfc3339_parse(behind(line, 3), &table->at_unix_ms));
        } else if (bytes_starts_with(line, "given ")) {
                struct bytes rest = behind(line, 6);
                assert_true(table->given_count < GIVEN_MAX && rest.size < sizeof table->given[0]);
                snprintf(table->given[table->given_count++], sizeof table->given[0], "%.*s", (int)rest.size,
                         rest.data);
        } else if (bytes_starts_with(line, "job ")) {
                decide(table, behind(line, 4));
        } else if (line.size > 0 && line.data[0] != '#') {
                fail_msg("cannot read: %.*s", (int)line.size, line.data);
        }
}

void table_run(const struct book *book, struct bytes text, struct buffer *out_text) {
        struct table *table = calloc(1, sizeof *table);
        assert_non_null(table);
        *table = (struct table){.book = book, .out = out_text};
        while (text.size > 0) {
                const char *end = memchr(text.data, '\n', text.size);
                struct bytes line = {text.data, end != NULL ? (size_t)(end - text.data) : text.size};
                run_line(table, line);
                text = behind(text, end != NULL ? line.size + 1 : line.size);
        }
        assert_int_equal(table->given_count, 0);
        free(table);
}
