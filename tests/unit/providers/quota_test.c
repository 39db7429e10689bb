/*
 * No money left, and a day's quota that is used up: what providers say then, and for how long it closes what.
 * It is 09:00 UTC on 22 November 2026.
 */
#include "tests/unit/providers/jobs.h"

#define NOW_MS INT64_C(1795338000000)
#define S      INT64_C(1000000000)

struct row {
        const char *name;
        int32_t status;
        const char *headers, *body;
        enum verdict verdict;
        int64_t wait_ns;
};

static const struct row money[] = {
        {"402 without a word", 402, "", "", VERDICT_PAUSE, -1},
        {"402 with a long wait", 402, "retry-after: 7200\r\n", "", VERDICT_PAUSE, 7200 * S},
        {"402 with a short wait", 402, "retry-after: 2\r\n", "", VERDICT_PAUSE, -1},
        {"anthropic billing", 402, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"billing_error\",\"message\":\"x\"}}", VERDICT_PAUSE, -1},
        {"anthropic enforced spend", 429, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"enforced_spend_limit_reached\",\"message\":\"x\"}}",
         VERDICT_PAUSE, -1},
        {"moonshot quota", 429, "",
         "{\"error\":{\"message\":\"Your account is not active, please check your plan and billing details\","
         "\"type\":\"exceeded_current_quota_error\"}}",
         VERDICT_PAUSE, -1},
        {"dashscope arrears", 400, "",
         "{\"error\":{\"message\":\"Access denied, please make sure your account is in good standing.\","
         "\"type\":\"Arrearage\",\"param\":null,\"code\":\"Arrearage\"}}",
         VERDICT_PAUSE, -1},
        {"together credit", 402, "",
         "{\"error\":{\"message\":\"Credit limit exceeded\",\"type\":\"credit_limit\",\"code\":null}}",
         VERDICT_PAUSE, -1},
        {"xai spending limit", 403, "",
         "{\"code\":\"x\",\"error\":\"Your team has either used all available credits or reached its "
         "monthly spending limit.\"}",
         VERDICT_PAUSE, -1},
        {"spending limit", 403, "", "{\"error\":\"Your team has reached its monthly spending limit.\"}",
         VERDICT_PAUSE, -1},
        {"openrouter limit of the key", 403, "",
         "{\"error\":{\"message\":\"Key limit exceeded (monthly limit).\",\"code\":403}}", VERDICT_PAUSE, -1},
        {"jina balance", 403, "",
         "{\"detail\":\"[ACCOUNT_BALANCE_ERROR] Account balance not enough to run this query\"}",
         VERDICT_PAUSE, -1},
        {"azure call volume", 403, "",
         "{\"error\":{\"code\":\"403\",\"message\":\"Out of call volume quota. Quota will be replenished in "
         "21.05:46:16.\"}}",
         VERDICT_PAUSE, -1},
        {"cohere trial", 429, "",
         "{\"message\":\"You are using a Trial key, which is limited to 1000 API calls / month.\"}",
         VERDICT_PAUSE, -1},
        {"litellm budget", 400, "",
         "{\"error\":{\"message\":\"Budget has been exceeded! Current cost: 10, Max budget: 5\",\"type\":"
         "\"budget_exceeded\",\"param\":null,\"code\":\"400\"}}",
         VERDICT_PAUSE, -1},
};

/*
 * A day's quota: of one endpoint, until the day that it goes by is over, or until what is named. 09:00 UTC.
 */
static const struct row days[] = {
        {"gemini day, though it says seconds", 429, "",
         "{\"error\":{\"code\":429,\"message\":\"quota\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{"
         "\"violations\":[{\"quotaId\":\"GenerateRequestsPerDayPerProjectPerModel-FreeTier\"}]},"
         "{\"retryDelay\":\"34s\"}]}}",
         VERDICT_PAUSE, 23 * 3600 * S},
        {"openrouter free models", 429, "",
         "{\"error\":{\"message\":\"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 "
         "free "
         "model requests per day\",\"code\":429}}",
         VERDICT_PAUSE, 15 * 3600 * S},
        {"openrouter free models, with a time", 429, "",
         "{\"error\":{\"message\":\"Rate limit exceeded: free-models-per-day\",\"code\":429,\"metadata\":{"
         "\"headers\":{\"X-RateLimit-Limit\":\"50\",\"X-RateLimit-Remaining\":\"0\",\"X-RateLimit-Reset\":"
         "\"1795345200000\"}}}}",
         VERDICT_PAUSE, 7200 * S},
        {"groq tokens per day", 429, "",
         "{\"error\":{\"message\":\"Rate limit reached for model `m` on tokens per day (TPD): Limit 100000, "
         "Used "
         "99941, Requested 1234. Please try again in 16m55.2s.\",\"type\":\"tokens\",\"code\":"
         "\"rate_limit_exceeded\"}}",
         VERDICT_PAUSE, 1015200 * (S / 1000)},
        {"groq requests per day, by header", 429,
         "retry-after: 21600\r\nx-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 6h\r\n",
         "{\"error\":{\"message\":\"Rate limit reached on requests per day (RPD)\",\"type\":\"requests\","
         "\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_PAUSE, 21600 * S},
        {"a day's limit that does not say when", 429, "",
         "{\"error\":{\"message\":\"Daily limit reached\",\"type\":\"x\",\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_PAUSE, 15 * 3600 * S},
        {"a long wait without a reason", 429, "retry-after: 3600\r\n", "", VERDICT_PAUSE, 3600 * S},
};

/* These are not, or not the endpoint's alone. */
static const struct row no_days[] = {
        {"openai requests per day that are back soon", 429, "",
         "{\"error\":{\"message\":\"Rate limit reached for m on requests per day (RPD): Limit 200, Used 200, "
         "Requested 1. Please try again in 7m12s.\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_THROTTLED, 432 * S},
        {"openrouter free models per minute", 429, "",
         "{\"error\":{\"message\":\"Rate limit exceeded: free-models-per-min. Add credits for 1000 per day\","
         "\"code\":429}}",
         VERDICT_THROTTLED, -1},
        {"money", 429, "", "{\"error\":{\"message\":\"x\",\"code\":\"insufficient_quota\"}}", VERDICT_PAUSE,
         -1},
        {"a bad request that speaks of days", 400, "",
         "{\"error\":{\"message\":\"hours per day must be below 24\",\"code\":\"invalid\"}}",
         VERDICT_REJECTED, -1},
};

/* Reads it, checks what the row says, and gives the rest. */
static struct answer read_row(const struct row *row) {
        struct job_spec job =
                job_of(KIND_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
        struct response response = {row->status, bytes_of(row->headers), bytes_of(row->body), NOW_MS, false};
        struct answer answer;

        dialect_find(BYTES("openai"))->read(&job, &response, &answer);
        if (answer.verdict != row->verdict || answer.wait_ns != row->wait_ns)
                fail_msg("%s: verdict %d, wait %lld (%s)", row->name, (int)answer.verdict,
                         (long long)answer.wait_ns, answer.message);
        return answer;
}

static void no_money_closes_the_provider(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(money) / sizeof(money[0]); i++)
                if (read_row(&money[i]).endpoint_only)
                        fail_msg("%s: taken for the endpoint's", money[i].name);
}

static void a_quota_of_the_day_closes_its_endpoint_until_then(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++)
                if (!read_row(&days[i]).endpoint_only)
                        fail_msg("%s: closes all of the provider", days[i].name);
        for (size_t i = 0; i < sizeof(no_days) / sizeof(no_days[0]); i++)
                if (read_row(&no_days[i]).endpoint_only)
                        fail_msg("%s: taken for the endpoint's", no_days[i].name);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_money_closes_the_provider),
                cmocka_unit_test(a_quota_of_the_day_closes_its_endpoint_until_then),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
