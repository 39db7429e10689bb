/*
 * The five formats of waiting. Numbers are read here by hand: no locale, no floating point, nothing that
 * overflows.
 */
#include "workers/providers/waits.h"

#include "broker/base/minmax.h"

#include <string.h>

/* Numbers from here on are moments, not spans: 2001-09-09 in seconds resp. milliseconds since 1970. */
#define EPOCH_SECONDS_MIN INT64_C(1000000000)
#define EPOCH_MS_MIN      INT64_C(1000000000000)

enum { DATE_CHARS = 10 }; /* "2026-12-01" */

static int64_t capped(int64_t wait_ns) {
        return wait_ns > WAIT_MAX_NS ? WAIT_MAX_NS : wait_ns;
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static struct bytes trimmed(struct bytes text) {
        while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
                text = (struct bytes){text.data + 1, text.size - 1};
        while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
                text.size--;
        return text;
}

/* "12", "12.5": times unit, saturating. false for a sign, an exponent, nothing, or anything else. */
static bool decimal(struct bytes text, int64_t unit, int64_t *out_value) {
        int64_t value = 0, place = unit;
        size_t i = 0;

        for (; i < text.size && is_digit(text.data[i]); i++)
                if (__builtin_mul_overflow(value, INT64_C(10), &value) ||
                    __builtin_add_overflow(value, (text.data[i] - '0') * unit, &value))
                        value = INT64_MAX;
        if (i == 0)
                return false;
        if (i < text.size && text.data[i] == '.') {
                for (i++; i < text.size && is_digit(text.data[i]); i++) {
                        place /= 10;
                        if (__builtin_add_overflow(value, (text.data[i] - '0') * place, &value))
                                value = INT64_MAX;
                }
        }
        if (i < text.size)
                return false;
        *out_value = value;
        return true;
}

static int64_t until(int64_t unix_ms, int64_t now_unix_ms) {
        int64_t ms;

        if (__builtin_sub_overflow(unix_ms, now_unix_ms, &ms))
                return -1;
        return ms <= 0 ? 0 : ms >= WAIT_MAX_NS / NS_PER_MS ? WAIT_MAX_NS : ms * NS_PER_MS;
}

/* A number of seconds, or a moment when it is that large. */
static bool seconds_or_moment(struct bytes value, int64_t now_unix_ms, int64_t *out_wait_ns) {
        int64_t whole, ns;

        if (!decimal(value, 1, &whole) || !decimal(value, NS_PER_S, &ns))
                return false;
        if (whole >= EPOCH_MS_MIN)
                *out_wait_ns = until(whole, now_unix_ms);
        else if (whole >= EPOCH_SECONDS_MIN)
                *out_wait_ns = until(whole * 1000, now_unix_ms);
        else
                *out_wait_ns = capped(ns);
        return true;
}

int64_t wait_of_milliseconds(struct bytes value) {
        int64_t ns;

        return decimal(trimmed(value), NS_PER_MS, &ns) ? capped(ns) : -1;
}

int64_t wait_of_retry_after(struct bytes value, int64_t now_unix_ms) {
        int64_t wait_ns, unix_ms;

        value = trimmed(value);
        if (seconds_or_moment(value, now_unix_ms, &wait_ns))
                return wait_ns;
        if (http_date_parse(value, &unix_ms) || rfc3339_parse(value, &unix_ms))
                return until(unix_ms, now_unix_ms);
        return duration_parse(value, &wait_ns) ? capped(wait_ns) : -1;
}

int64_t wait_of_reset(struct bytes value, int64_t now_unix_ms) {
        int64_t wait_ns, unix_ms;

        value = trimmed(value);
        if (seconds_or_moment(value, now_unix_ms, &wait_ns))
                return wait_ns > 0 ? wait_ns : -1;
        if (duration_parse(value, &wait_ns))
                return capped(wait_ns);
        return rfc3339_parse(value, &unix_ms) ? until(unix_ms, now_unix_ms) : -1;
}

int64_t wait_of_delay(struct bytes value) {
        int64_t wait_ns;

        value = trimmed(value);
        if (decimal(value, NS_PER_S, &wait_ns) || duration_parse(value, &wait_ns))
                return capped(wait_ns);
        return -1;
}

/* ---- inside a sentence ---- */

static const struct {
        const char *word;
        int64_t ns;
} spelled_units[] = {
        {"second", NS_PER_S},      {"sec", NS_PER_S}, {"minute", 60 * NS_PER_S},
        {"hour", 3600 * NS_PER_S}, {"ms", NS_PER_MS}, {"millisecond", NS_PER_MS},
        {"day", 86400 * NS_PER_S},
};

/* The run of characters that a duration is made of, without the full stop behind it. */
static struct bytes duration_run(struct bytes text) {
        size_t size = 0;

        while (size < text.size && (is_digit(text.data[size]) || text.data[size] == '.' ||
                                    (text.data[size] >= 'a' && text.data[size] <= 'z')))
                size++;
        while (size > 0 && text.data[size - 1] == '.')
                size--;
        return (struct bytes){text.data, size};
}

/* "41.724s", "6m0s", "6 seconds" at the start of the text. */
static int64_t wait_at(struct bytes text) {
        struct bytes run = duration_run(text), rest;
        int64_t ns;

        if (run.size == 0 || !is_digit(run.data[0]))
                return -1;
        if (!decimal(run, 1, &ns))
                return duration_parse(run, &ns) ? capped(ns) : -1;
        rest = trimmed((struct bytes){text.data + run.size, text.size - run.size});
        for (size_t i = 0; i < sizeof(spelled_units) / sizeof(spelled_units[0]); i++)
                if (bytes_starts_with(rest, spelled_units[i].word))
                        return decimal(run, spelled_units[i].ns, &ns) ? capped(ns) : -1;
        return -1;
}

int64_t wait_of_message(struct bytes message) {
        static const char *const leads[] = {"try again in ", "retry after ", "retry in ", "try again after "};

        for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++) {
                size_t size = strlen(leads[i]);
                const char *found =
                        message.size == 0 ? NULL : memmem(message.data, message.size, leads[i], size);
                struct bytes rest;
                int64_t wait_ns;

                if (found == NULL)
                        continue;
                rest.data = found + size;
                rest.size = message.size - (size_t)(rest.data - message.data);
                wait_ns = wait_at(rest);
                if (wait_ns >= 0)
                        return wait_ns;
        }
        return -1;
}

int64_t wait_of_date_in_message(struct bytes message, int64_t now_unix_ms) {
        static const char lead[] = "regain access on ";
        const char *found =
                message.size == 0 ? NULL : memmem(message.data, message.size, lead, sizeof(lead) - 1);
        char time[] = "0000-00-00T00:00:00Z";
        int64_t unix_ms;

        if (found == NULL || message.size - (size_t)(found - message.data) < sizeof(lead) - 1 + DATE_CHARS)
                return -1;
        memcpy(time, found + sizeof(lead) - 1, DATE_CHARS);
        return rfc3339_parse(bytes_of(time), &unix_ms) ? until(unix_ms, now_unix_ms) : -1;
}

int64_t wait_of_day(int64_t hours_behind_utc, int64_t now_unix_ms) {
        const int64_t hour_ms = INT64_C(3600) * 1000, day_ms = 24 * hour_ms;
        int64_t into_ms = (now_unix_ms - hours_behind_utc * hour_ms) % day_ms;

        return (day_ms - (into_ms < 0 ? into_ms + day_ms : into_ms)) * NS_PER_MS;
}

/* ---- headers ---- */

enum header {
        HEADER_RETRY_AFTER_MS,
        HEADER_RETRY_AFTER,
        HEADER_SHOULD_RETRY,
        HEADER_DATE,
        HEADER_CONTENT_TYPE,
        /* remaining, reset and limit of a dimension are neighbours, in this order */
        HEADER_REQUESTS_REMAINING,
        HEADER_REQUESTS_RESET,
        HEADER_REQUESTS_LIMIT,
        HEADER_ANY_REMAINING,
        HEADER_ANY_RESET,
        HEADER_ANY_LIMIT, /* has no name: see unit_back() */
        HEADER_TOKENS_REMAINING,
        HEADER_TOKENS_RESET,
        HEADER_TOKENS_LIMIT,
        HEADER_PROJECT_REMAINING,
        HEADER_PROJECT_RESET,
        HEADER_PROJECT_LIMIT,
        HEADER_INPUT_REMAINING,
        HEADER_INPUT_RESET,
        HEADER_INPUT_LIMIT,
        HEADER_OUTPUT_REMAINING,
        HEADER_OUTPUT_RESET,
        HEADER_OUTPUT_LIMIT,
        HEADER_SIZE_REMAINING,
        HEADER_SIZE_RESET,
        HEADER_SIZE_LIMIT, /* has no name: see unit_back() */
        HEADERS_COUNT,
};

enum { HEADER_NAME_MAX = 48 };

#define NAMED(text, header)                                                                                  \
        { (text), sizeof(text) - 1, (header) }

static const struct header_name {
        const char *name;
        size_t size;
        enum header header;
} header_names[] = {
        NAMED("retry-after-ms", HEADER_RETRY_AFTER_MS),
        NAMED("retry-after", HEADER_RETRY_AFTER),
        NAMED("x-should-retry", HEADER_SHOULD_RETRY),
        NAMED("date", HEADER_DATE),
        NAMED("content-type", HEADER_CONTENT_TYPE),
        NAMED("x-ratelimit-remaining-requests", HEADER_REQUESTS_REMAINING),
        NAMED("x-ratelimit-reset-requests", HEADER_REQUESTS_RESET),
        NAMED("x-ratelimit-limit-requests", HEADER_REQUESTS_LIMIT),
        NAMED("anthropic-ratelimit-requests-remaining", HEADER_REQUESTS_REMAINING),
        NAMED("anthropic-ratelimit-requests-reset", HEADER_REQUESTS_RESET),
        NAMED("anthropic-ratelimit-requests-limit", HEADER_REQUESTS_LIMIT),
        NAMED("x-ratelimit-remaining", HEADER_ANY_REMAINING), /* Cohere, OpenRouter */
        NAMED("x-ratelimit-reset", HEADER_ANY_RESET),
        NAMED("x-ratelimit-remaining-tokens", HEADER_TOKENS_REMAINING),
        NAMED("x-ratelimit-reset-tokens", HEADER_TOKENS_RESET),
        NAMED("x-ratelimit-limit-tokens", HEADER_TOKENS_LIMIT),
        NAMED("anthropic-ratelimit-tokens-remaining", HEADER_TOKENS_REMAINING),
        NAMED("anthropic-ratelimit-tokens-reset", HEADER_TOKENS_RESET),
        NAMED("anthropic-ratelimit-tokens-limit", HEADER_TOKENS_LIMIT),
        NAMED("x-ratelimit-remaining-project-tokens", HEADER_PROJECT_REMAINING),
        NAMED("x-ratelimit-reset-project-tokens", HEADER_PROJECT_RESET),
        NAMED("x-ratelimit-limit-project-tokens", HEADER_PROJECT_LIMIT),
        NAMED("anthropic-ratelimit-input-tokens-remaining", HEADER_INPUT_REMAINING),
        NAMED("anthropic-ratelimit-input-tokens-reset", HEADER_INPUT_RESET),
        NAMED("anthropic-ratelimit-input-tokens-limit", HEADER_INPUT_LIMIT),
        NAMED("anthropic-ratelimit-output-tokens-remaining", HEADER_OUTPUT_REMAINING),
        NAMED("anthropic-ratelimit-output-tokens-reset", HEADER_OUTPUT_RESET),
        NAMED("anthropic-ratelimit-output-tokens-limit", HEADER_OUTPUT_LIMIT),
        NAMED("x-ratelimitbysize-remaining-minute", HEADER_SIZE_REMAINING), /* Mistral */
        NAMED("ratelimitbysize-reset", HEADER_SIZE_RESET),
};

/* The value of every header that matters; the last one counts when a name comes twice. */
struct header_values {
        struct bytes of[HEADERS_COUNT];
};

static void note_line(struct bytes line, struct header_values *values) {
        const char *colon = line.size == 0 ? NULL : memchr(line.data, ':', line.size);
        char name[HEADER_NAME_MAX];
        size_t size;

        if (colon == NULL || (size = (size_t)(colon - line.data)) > sizeof(name))
                return;
        /* lower case, for all characters that our names have */
        for (size_t i = 0; i < size; i++)
                name[i] = (char)(line.data[i] | 0x20);
        for (size_t i = 0; i < sizeof(header_names) / sizeof(header_names[0]); i++)
                if (size == header_names[i].size && memcmp(name, header_names[i].name, size) == 0) {
                        values->of[header_names[i].header] =
                                trimmed((struct bytes){colon + 1, line.size - size - 1});
                        return;
                }
}

static void note_lines(struct bytes headers, struct header_values *values) {
        while (headers.size > 0) {
                const char *end = memchr(headers.data, '\n', headers.size);
                size_t size = end == NULL ? headers.size : (size_t)(end - headers.data);
                size_t step = end == NULL ? size : size + 1;
                struct bytes line = {headers.data, size};

                while (line.size > 0 && line.data[line.size - 1] == '\r')
                        line.size--;
                note_line(line, values);
                headers = (struct bytes){headers.data + step, headers.size - step};
        }
}

/* Until the reset of a dimension that is used up: only when nothing remains of it. */
static int64_t used_up(const struct header_values *values, enum header remaining, int64_t now_unix_ms) {
        struct bytes left = values->of[remaining], reset = values->of[remaining + 1];
        int64_t count, wait_ns;

        if (left.size == 0 || reset.size == 0 || !decimal(left, 1, &count) || count > 0)
                return 0;
        wait_ns = wait_of_reset(reset, now_unix_ms);
        return wait_ns > 0 ? wait_ns : 0;
}

/*
 * Where the limit is said beside it, the reset is the time until the limit is full again (OpenAI and those
 * who copied it: providers.md 1.2; Anthropic: section 3). It refills all the time, so the first unit is back
 * after reset / limit, rounded up. Waiting for the whole reset would leave a limit unused that is met
 * exactly; waiting too little costs a 429, which says how long (12.3). Else the reset is the end of a fixed
 * window (Cohere, OpenRouter, Mistral), before which nothing comes back.
 */
static int64_t unit_back(const struct header_values *values, enum header remaining, int64_t reset_ns) {
        int64_t limit;

        if (!decimal(values->of[remaining + 2], 1, &limit) || limit <= 0)
                return -1;
        return reset_ns / limit + (reset_ns % limit > 0);
}

static void note_requests(const struct header_values *values, enum header remaining, int64_t now_unix_ms,
                          struct header_facts *facts) {
        int64_t reset_ns = used_up(values, remaining, now_unix_ms);
        int64_t unit_ns = unit_back(values, remaining, reset_ns);

        facts->reset_ns = max64(facts->reset_ns, reset_ns);
        facts->requests_blocked_ns = max64(facts->requests_blocked_ns, unit_ns < 0 ? reset_ns : unit_ns);
}

static void note_tokens(const struct header_values *values, enum header remaining, int64_t now_unix_ms,
                        struct header_facts *facts) {
        int64_t reset_ns = used_up(values, remaining, now_unix_ms);
        int64_t unit_ns = unit_back(values, remaining, reset_ns);

        facts->reset_ns = max64(facts->reset_ns, reset_ns);
        if (unit_ns < 0)
                facts->tokens_blocked_ns = max64(facts->tokens_blocked_ns, reset_ns);
        else
                facts->token_back_ns = max64(facts->token_back_ns, unit_ns);
}

int64_t tokens_blocked(const struct header_facts *facts, int64_t tokens) {
        int64_t back_ns;

        if (__builtin_mul_overflow(facts->token_back_ns, max64(tokens, 1), &back_ns) ||
            back_ns > facts->reset_ns)
                back_ns = facts->reset_ns;
        return max64(facts->tokens_blocked_ns, back_ns);
}

/* The clock that the provider's moments are told by; only looked at when there may be one. */
static int64_t providers_now(const struct header_values *values, int64_t now_unix_ms) {
        bool told = values->of[HEADER_RETRY_AFTER].size > 0;
        int64_t date_unix_ms;

        for (int i = HEADER_REQUESTS_REMAINING; i < HEADERS_COUNT && !told; i += 3)
                told = bytes_equal_string(values->of[i], "0");
        if (told && values->of[HEADER_DATE].size > 0 &&
            http_date_parse(values->of[HEADER_DATE], &date_unix_ms))
                return date_unix_ms;
        return now_unix_ms;
}

void header_facts_read(struct bytes headers, int64_t now_unix_ms, struct header_facts *out_facts) {
        static const enum header tokens[] = {HEADER_TOKENS_REMAINING, HEADER_PROJECT_REMAINING,
                                             HEADER_INPUT_REMAINING, HEADER_OUTPUT_REMAINING,
                                             HEADER_SIZE_REMAINING};
        struct header_values values = {0};
        struct header_facts facts = {.wait_ns = -1};

        note_lines(headers, &values);
        now_unix_ms = providers_now(&values, now_unix_ms);
        if (values.of[HEADER_RETRY_AFTER_MS].size > 0)
                facts.wait_ns = wait_of_milliseconds(values.of[HEADER_RETRY_AFTER_MS]);
        if (facts.wait_ns < 0 && values.of[HEADER_RETRY_AFTER].size > 0)
                facts.wait_ns = wait_of_retry_after(values.of[HEADER_RETRY_AFTER], now_unix_ms);
        note_requests(&values, HEADER_REQUESTS_REMAINING, now_unix_ms, &facts);
        note_requests(&values, HEADER_ANY_REMAINING, now_unix_ms, &facts);
        for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++)
                note_tokens(&values, tokens[i], now_unix_ms, &facts);
        if (bytes_equal_nocase(values.of[HEADER_SHOULD_RETRY], "true"))
                facts.retry = RETRY_YES;
        else if (bytes_equal_nocase(values.of[HEADER_SHOULD_RETRY], "false"))
                facts.retry = RETRY_NO;
        facts.content_type = values.of[HEADER_CONTENT_TYPE];
        *out_facts = facts;
}
