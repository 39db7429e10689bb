/* Every way of saying "later", and every way of saying it wrongly. */
#include "tests/unit/providers/jobs.h"
#include "workers/providers/waits.h"

#define NOW_MS INT64_C(1795338000000) /* 2026-11-22T09:00:00Z */
#define S      NS_PER_S
#define MS     NS_PER_MS
#define DAY    WAIT_MAX_NS

enum reader { RETRY_AFTER, RETRY_AFTER_MS, RESET, DELAY, MESSAGE };

static const struct {
        enum reader reader;
        const char *text;
        int64_t expected_ns;
} rows[] = {
        {RETRY_AFTER, "56", 56 * S},
        {RETRY_AFTER, "0", 0},
        {RETRY_AFTER, "1.5", 1500 * MS},
        {RETRY_AFTER, " 20 ", 20 * S},
        {RETRY_AFTER, "0.0001", 100 * NS_PER_US},
        {RETRY_AFTER, "Sun, 22 Nov 2026 09:01:30 GMT", 90 * S},
        {RETRY_AFTER, "Sun, 22 Nov 2026 08:00:00 GMT", 0},
        {RETRY_AFTER, "Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {RETRY_AFTER, "2026-11-22T09:00:10Z", 10 * S},
        {RETRY_AFTER, "7s", 7 * S},
        {RETRY_AFTER, "900", 900 * S},
        {RETRY_AFTER, "86401", DAY},
        {RETRY_AFTER, "999999999", DAY},
        {RETRY_AFTER, "99999999999999999999999999", DAY},
        {RETRY_AFTER, "1795338010", 10 * S},    /* a moment in seconds */
        {RETRY_AFTER, "1795338010000", 10 * S}, /* a moment in milliseconds */
        {RETRY_AFTER, "1600000000", 0},         /* a moment long past */
        {RETRY_AFTER, "-1", -1},
        {RETRY_AFTER, "+5", -1},
        {RETRY_AFTER, "1e3", -1},
        {RETRY_AFTER, "5 seconds", -1},
        {RETRY_AFTER, "soon", -1},
        {RETRY_AFTER, "", -1},
        {RETRY_AFTER, "NaN", -1},
        {RETRY_AFTER, "inf", -1},
        {RETRY_AFTER, "1,5", -1},
        {RETRY_AFTER, ".", -1},
        {RETRY_AFTER, "Sun, 99 Nov 2026 09:01:30 GMT", -1},

        {RETRY_AFTER_MS, "1500", 1500 * MS},
        {RETRY_AFTER_MS, "0.5", 500 * NS_PER_US},
        {RETRY_AFTER_MS, "99999999999999999999", DAY},
        {RETRY_AFTER_MS, "-20", -1},
        {RETRY_AFTER_MS, "x", -1},

        {RESET, "6m0s", 360 * S},
        {RESET, "7.66s", 7660 * MS},
        {RESET, "12ms", 12 * MS},
        {RESET, "1m2.5s", 62500 * MS},
        {RESET, "2m59.56s", 179560 * MS},
        {RESET, "1h", 3600 * S},
        {RESET, "2026-11-22T09:00:30Z", 30 * S},
        {RESET, "2026-11-22T10:00:30+01:00", 30 * S},
        {RESET, "2026-11-22T08:00:00Z", 0},
        {RESET, "30", 30 * S},
        {RESET, "1795338060", 60 * S},
        {RESET, "1795338060000", 60 * S},
        {RESET, "-1", -1},
        {RESET, "0", -1},
        {RESET, "9999h", DAY},
        {RESET, "99999999999999h", -1},
        {RESET, "6x", -1},
        {RESET, "m", -1},
        {RESET, "", -1},

        {DELAY, "46s", 46 * S},
        {DELAY, "46.5s", 46500 * MS},
        {DELAY, "3", 3 * S},
        {DELAY, "-46s", -1},
        {DELAY, "later", -1},

        {MESSAGE, "Rate limit reached. Please try again in 41.724s. Visit https://x", 41724 * MS},
        {MESSAGE, "Please try again in 20ms.", 20 * MS},
        {MESSAGE, "Please try again in 6m0s.", 360 * S},
        {MESSAGE, "Please try again in 1h2m3s", 3723 * S},
        {MESSAGE, "Please retry after 6 seconds. Please go here", 6 * S},
        {MESSAGE, "Please retry after 1 minute.", 60 * S},
        {MESSAGE, "Please retry in 46.5s.", 46500 * MS},
        {MESSAGE, "Please retry in 10h17m0s.", 37020 * S},
        {MESSAGE, "try again in 500 ms", 500 * MS},
        {MESSAGE, "try again in a moment", -1},
        {MESSAGE, "try again in 5", -1},
        {MESSAGE, "try again in ", -1},
        {MESSAGE, "try again in 99999999999999999999 seconds", DAY},
        {MESSAGE, "Please try again later", -1},
        {MESSAGE, "", -1},
};

static int64_t read_wait(enum reader reader, struct bytes text) {
        switch (reader) {
        case RETRY_AFTER:
                return wait_of_retry_after(text, NOW_MS);
        case RETRY_AFTER_MS:
                return wait_of_milliseconds(text);
        case RESET:
                return wait_of_reset(text, NOW_MS);
        case DELAY:
                return wait_of_delay(text);
        case MESSAGE:
                return wait_of_message(text);
        }
        return -2;
}

static void formats_are_read(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                int64_t got_ns = read_wait(rows[i].reader, bytes_of(rows[i].text));

                if (got_ns != rows[i].expected_ns)
                        fail_msg("reader %d, \"%s\": %lld ns instead of %lld", (int)rows[i].reader,
                                 rows[i].text, (long long)got_ns, (long long)rows[i].expected_ns);
        }
}

static const struct {
        const char *headers;
        int64_t wait_ns, requests_ns, tokens_ns;
        enum retry_advice retry;
} header_rows[] = {
        {"", -1, 0, 0, RETRY_UNSAID},
        {"retry-after: 3\r\n", 3 * S, 0, 0, RETRY_UNSAID},
        {"Retry-After: 3\r\nretry-after-ms: 250\r\n", 250 * MS, 0, 0, RETRY_UNSAID},
        {"retry-after-ms: junk\r\nretry-after: 4\r\n", 4 * S, 0, 0, RETRY_UNSAID},
        {"retry-after: -4\r\n", -1, 0, 0, RETRY_UNSAID},
        {"x-should-retry: true\r\n", -1, 0, 0, RETRY_YES},
        {"X-Should-Retry: FALSE\r\n", -1, 0, 0, RETRY_NO},
        {"x-should-retry: maybe\r\n", -1, 0, 0, RETRY_UNSAID},
        /* only what is used up blocks */
        {"x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1s\r\n"
         "x-ratelimit-remaining-tokens: 149984\r\nx-ratelimit-reset-tokens: 6m0s\r\n",
         -1, 1 * S, 0, RETRY_UNSAID},
        {"x-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n"
         "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 6m0s\r\n",
         -1, 0, 360 * S, RETRY_UNSAID},
        {"x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 2s\r\n"
         "x-ratelimit-remaining-project-tokens: 0\r\nx-ratelimit-reset-project-tokens: 3s\r\n",
         -1, 0, 3 * S, RETRY_UNSAID},
        {"x-ratelimit-remaining-requests: 1\r\nx-ratelimit-reset-requests: 1s\r\n", -1, 0, 0, RETRY_UNSAID},
        /* with the limit beside it the reset is that of the whole bucket: the share of one, rounded up */
        {"x-ratelimit-limit-requests: 300\r\nx-ratelimit-remaining-requests: 0\r\n"
         "x-ratelimit-reset-requests: 60s\r\n",
         -1, 200 * MS, 0, RETRY_UNSAID},
        {"x-ratelimit-limit-requests: 7\r\nx-ratelimit-remaining-requests: 0\r\n"
         "x-ratelimit-reset-requests: 1s\r\n",
         -1, 142857143, 0, RETRY_UNSAID},
        {"x-ratelimit-limit-requests: 300\r\nx-ratelimit-remaining-requests: 1\r\n"
         "x-ratelimit-reset-requests: 60s\r\n",
         -1, 0, 0, RETRY_UNSAID},
        {"anthropic-ratelimit-requests-limit: 50\r\nanthropic-ratelimit-requests-remaining: 0\r\n"
         "anthropic-ratelimit-requests-reset: 2026-11-22T09:01:00Z\r\n",
         -1, 1200 * MS, 0, RETRY_UNSAID},
        {"x-ratelimit-limit-requests: 99999999999999999999\r\nx-ratelimit-remaining-requests: 0\r\n"
         "x-ratelimit-reset-requests: 60s\r\n",
         -1, 1, 0, RETRY_UNSAID},
        {"x-ratelimit-limit-requests: 0\r\nx-ratelimit-remaining-requests: 0\r\n"
         "x-ratelimit-reset-requests: 60s\r\n",
         -1, 60 * S, 0, RETRY_UNSAID},
        {"x-ratelimit-limit-requests: many\r\nx-ratelimit-remaining-requests: 0\r\n"
         "x-ratelimit-reset-requests: 60s\r\n",
         -1, 60 * S, 0, RETRY_UNSAID},
        /* a fixed window has nothing before its end, whatever its limit */
        {"X-RateLimit-Limit: 20\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1795338005\r\n", -1, 5 * S,
         0, RETRY_UNSAID},
        /* tokens: the share of as many as the call used, here 1,000 */
        {"x-ratelimit-limit-tokens: 150000\r\nx-ratelimit-remaining-tokens: 0\r\n"
         "x-ratelimit-reset-tokens: 60s\r\n",
         -1, 0, 400 * MS, RETRY_UNSAID},
        {"x-ratelimit-limit-tokens: 500\r\nx-ratelimit-remaining-tokens: 0\r\n"
         "x-ratelimit-reset-tokens: 60s\r\n",
         -1, 0, 60 * S, RETRY_UNSAID},
        {"x-ratelimit-limit-tokens: 150000\r\nx-ratelimit-remaining-tokens: 0\r\n"
         "x-ratelimit-reset-tokens: 60s\r\nx-ratelimit-limit-project-tokens: 60000\r\n"
         "x-ratelimit-remaining-project-tokens: 0\r\nx-ratelimit-reset-project-tokens: 60s\r\n",
         -1, 0, 1 * S, RETRY_UNSAID},
        /* Azure's zero and minus one; no reset; rubbish */
        {"x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: -1\r\n", -1, 0, 0, RETRY_UNSAID},
        {"x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 0\r\n", -1, 0, 0, RETRY_UNSAID},
        {"x-ratelimit-remaining-requests: 0\r\n", -1, 0, 0, RETRY_UNSAID},
        {"x-ratelimit-remaining-requests: -5\r\nx-ratelimit-reset-requests: 1s\r\n", -1, 0, 0, RETRY_UNSAID},
        {"x-ratelimit-remaining-requests: none\r\nx-ratelimit-reset-requests: 1s\r\n", -1, 0, 0,
         RETRY_UNSAID},
        /* Unix seconds, milliseconds, RFC 3339, seconds of Mistral */
        {"X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1795338005\r\n", -1, 5 * S, 0, RETRY_UNSAID},
        {"X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1795338005000\r\n", -1, 5 * S, 0, RETRY_UNSAID},
        {"anthropic-ratelimit-requests-remaining: 0\r\n"
         "anthropic-ratelimit-requests-reset: 2026-11-22T09:00:07Z\r\n",
         -1, 7 * S, 0, RETRY_UNSAID},
        {"x-ratelimitbysize-remaining-minute: 0\r\nratelimitbysize-reset: 43\r\n", -1, 0, 43 * S,
         RETRY_UNSAID},
        /* the provider's clock is an hour ahead: its own moments are told by it */
        {"date: Sun, 22 Nov 2026 10:00:00 GMT\r\nretry-after: Sun, 22 Nov 2026 10:00:09 GMT\r\n", 9 * S, 0, 0,
         RETRY_UNSAID},
        /* line ends and colons that are not there */
        {"retry-after: 3", 3 * S, 0, 0, RETRY_UNSAID},
        {"retry-after: 3\n\n\nno colon\r\n:\r\n", 3 * S, 0, 0, RETRY_UNSAID},
        {"\r\n\r\n:::\r\nretry-after", -1, 0, 0, RETRY_UNSAID},
};

static void headers_are_read(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(header_rows) / sizeof(header_rows[0]); i++) {
                struct header_facts facts;

                header_facts_read(bytes_of(header_rows[i].headers), NOW_MS, &facts);
                if (facts.wait_ns != header_rows[i].wait_ns ||
                    facts.requests_blocked_ns != header_rows[i].requests_ns ||
                    tokens_blocked(&facts, 1000) != header_rows[i].tokens_ns ||
                    facts.retry != header_rows[i].retry)
                        fail_msg("row %zu: wait %lld, requests %lld, tokens %lld, retry %d\n%s", i,
                                 (long long)facts.wait_ns, (long long)facts.requests_blocked_ns,
                                 (long long)tokens_blocked(&facts, 1000), (int)facts.retry,
                                 header_rows[i].headers);
        }
}

/* At least one, at most the whole limit, and no overflow. */
static void shares_of_tokens_are_bounded(void **state) {
        struct header_facts facts;

        (void)state;
        header_facts_read(BYTES("x-ratelimit-limit-tokens: 60000\r\nx-ratelimit-remaining-tokens: 0\r\n"
                                "x-ratelimit-reset-tokens: 60s\r\n"),
                          NOW_MS, &facts);
        assert_int_equal(facts.reset_ns, 60 * S);
        assert_int_equal(tokens_blocked(&facts, -1), MS);
        assert_int_equal(tokens_blocked(&facts, 0), MS);
        assert_int_equal(tokens_blocked(&facts, 30000), 30 * S);
        assert_int_equal(tokens_blocked(&facts, 60001), 60 * S);
        assert_int_equal(tokens_blocked(&facts, INT64_MAX), 60 * S);
}

static void content_type_is_kept(void **state) {
        struct header_facts facts;

        (void)state;
        header_facts_read(BYTES("Content-Type:  audio/mpeg\r\nx-request-id: 1\r\n"), NOW_MS, &facts);
        assert_text("content type", facts.content_type, BYTES("audio/mpeg"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(formats_are_read),
                cmocka_unit_test(headers_are_read),
                cmocka_unit_test(shares_of_tokens_are_bounded),
                cmocka_unit_test(content_type_is_kept),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
