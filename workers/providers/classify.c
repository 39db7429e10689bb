/*
 * Three tables, asked in this order: sentences that overrule the words beside them, words (code, type,
 * status, reasons), sentences where there was no word; then the status alone. First match wins, so what
 * is specific stands above what is general.
 */
#include "workers/providers/classify.h"

enum { STATUS_ANY_LOW = 0, STATUS_ANY_HIGH = 599 };

struct rule {
        const char *text; /* a word: whole, any case. A sentence: a part of it, lower case */
        int32_t low, high;
        enum verdict verdict;
};

#define ANY     STATUS_ANY_LOW, STATUS_ANY_HIGH
#define REFUSED 200, 499

static const struct rule overruling_sentences[] = {
        {"request too large for", 429, 429,
         VERDICT_OTHER_MODEL},                         /* OpenAI: one request above the whole limit */
        {"limit: 0", 429, 429, VERDICT_PAUSE},         /* Gemini: the tier has no quota at all */
        {"api usage limits", 400, 429, VERDICT_PAUSE}, /* Anthropic's spend cap is a 400 */
};

static const struct rule words[] = {
        /* content policy */
        {"content_filter", REFUSED, VERDICT_CONTENT_REFUSED},
        {"content_policy_violation", REFUSED, VERDICT_CONTENT_REFUSED},
        {"content_policy", REFUSED, VERDICT_CONTENT_REFUSED},
        {"ResponsibleAIPolicyViolation", REFUSED, VERDICT_CONTENT_REFUSED},
        {"image_content_policy_violation", REFUSED, VERDICT_CONTENT_REFUSED},
        {"moderation_blocked", REFUSED, VERDICT_CONTENT_REFUSED},
        {"invalid_prompt", REFUSED, VERDICT_CONTENT_REFUSED},
        {"bio_policy", REFUSED, VERDICT_CONTENT_REFUSED},
        {"cyber_policy", REFUSED, VERDICT_CONTENT_REFUSED},
        {"policy_violation", REFUSED, VERDICT_CONTENT_REFUSED},
        {"refusal", REFUSED, VERDICT_CONTENT_REFUSED},
        {"safety", REFUSED, VERDICT_CONTENT_REFUSED},

        /* the two kinds of OpenRouter's 402 that no pause would help */
        {"in_flight_budget_exhausted", ANY, VERDICT_THROTTLED},
        {"weight_exceeds_budget", ANY, VERDICT_REJECTED},

        /* money and long quotas */
        {"insufficient_quota", ANY, VERDICT_PAUSE},
        {"credit_balance_exhausted", ANY, VERDICT_PAUSE},
        {"organization_spend_limit_exceeded", ANY, VERDICT_PAUSE},
        {"project_spend_limit_exceeded", ANY, VERDICT_PAUSE},
        {"organization_usage_limit_exceeded", ANY, VERDICT_PAUSE},
        {"billing_hard_limit_reached", ANY, VERDICT_PAUSE},
        {"billing_not_active", ANY, VERDICT_PAUSE},
        {"billing_error", ANY, VERDICT_PAUSE},
        {"enforced_spend_limit_reached", ANY, VERDICT_PAUSE},
        {"payment_required", ANY, VERDICT_PAUSE},
        {"insufficient_balance", ANY, VERDICT_PAUSE},
        {"insufficient_credits", ANY, VERDICT_PAUSE},
        {"exceeded_current_quota_error", ANY, VERDICT_PAUSE}, /* Moonshot */
        {"Arrearage", ANY, VERDICT_PAUSE},                    /* DashScope */
        {"credit_limit", ANY, VERDICT_PAUSE},                 /* Together */
        {"budget_exceeded", ANY, VERDICT_PAUSE},              /* LiteLLM's proxy */
        {"quota_exceeded", ANY, VERDICT_PAUSE},
        {"quota_per_day", ANY, VERDICT_PAUSE},

        /* too large for, or unknown to, this model here */
        {"context_length_exceeded", ANY, VERDICT_OTHER_MODEL},
        {"max_tokens_exceeded", ANY, VERDICT_OTHER_MODEL},
        {"exceed_context_size_error", ANY, VERDICT_OTHER_MODEL}, /* llama.cpp */
        {"string_above_max_length", ANY, VERDICT_OTHER_MODEL},
        {"tokens_limit_reached", ANY, VERDICT_OTHER_MODEL},
        {"request_too_large", ANY, VERDICT_OTHER_MODEL},
        {"payload_too_large", ANY, VERDICT_OTHER_MODEL},
        {"model_not_found", ANY, VERDICT_OTHER_MODEL},
        {"model_not_available", ANY, VERDICT_OTHER_MODEL},
        {"model_not_supported", ANY, VERDICT_OTHER_MODEL},
        {"model_decommissioned", ANY, VERDICT_OTHER_MODEL}, /* Groq */
        {"model_permission_blocked_org", ANY, VERDICT_OTHER_MODEL},
        {"invalid_model", ANY, VERDICT_OTHER_MODEL}, /* Mistral */
        {"DeploymentNotFound", ANY, VERDICT_OTHER_MODEL},
        {"OperationNotSupported", ANY, VERDICT_OTHER_MODEL},
        {"unsupported_model", ANY, VERDICT_OTHER_MODEL},
        {"unsupported_parameter", ANY, VERDICT_OTHER_MODEL},
        {"unsupported_value", ANY, VERDICT_OTHER_MODEL},
        {"not_found_error", 200, 404, VERDICT_OTHER_MODEL},
        {"not_found", 200, 404, VERDICT_OTHER_MODEL},

        /* keys and configuration */
        {"invalid_api_key", ANY, VERDICT_AUTH},
        {"API_KEY_INVALID", ANY, VERDICT_AUTH},
        {"authentication_error", ANY, VERDICT_AUTH},
        {"invalid_authentication", ANY, VERDICT_AUTH},
        {"authentication", ANY, VERDICT_AUTH},
        {"account_deactivated", ANY, VERDICT_AUTH},
        {"organization_restricted", ANY, VERDICT_AUTH}, /* Groq */
        {"unsupported_country_region_territory", ANY, VERDICT_AUTH},
        {"FAILED_PRECONDITION", ANY, VERDICT_AUTH}, /* Gemini: region or billing not set up */
        {"permission_denied", 200, 403, VERDICT_AUTH},
        {"permission_error", 200, 403, VERDICT_AUTH},

        /* too much at a time */
        {"slow_down", ANY, VERDICT_OVERLOADED},
        {"server_is_overloaded", ANY, VERDICT_OVERLOADED},
        {"service_unavailable_error", ANY, VERDICT_OVERLOADED},
        {"overloaded_error", ANY, VERDICT_OVERLOADED},
        {"engine_overloaded", ANY, VERDICT_OVERLOADED},
        {"engine_overloaded_error", ANY, VERDICT_OVERLOADED},
        {"model_overloaded", ANY, VERDICT_OVERLOADED},
        {"provider_overloaded", ANY, VERDICT_OVERLOADED},
        {"overloaded", ANY, VERDICT_OVERLOADED}, /* TEI */
        {"NoCapacity", ANY, VERDICT_OVERLOADED}, /* Azure */
        {"flex_unavailable", ANY, VERDICT_RETRY},
        {"resource_unavailable", ANY, VERDICT_RETRY},
        {"capacity_exceeded", 498, 498, VERDICT_RETRY}, /* Groq's flex tier */
        {"capacity_exceeded", ANY, VERDICT_OVERLOADED},

        /* too much per minute */
        {"rate_limit_exceeded", ANY, VERDICT_THROTTLED},
        {"rate_limit_error", ANY, VERDICT_THROTTLED},
        {"rate_limit_reached", ANY, VERDICT_THROTTLED},
        {"RateLimitReached", ANY, VERDICT_THROTTLED},
        {"too_many_requests", ANY, VERDICT_THROTTLED},
        {"capacity_exhausted", ANY, VERDICT_THROTTLED}, /* OpenRouter */
        {"RESOURCE_EXHAUSTED", ANY, VERDICT_THROTTLED}, /* Gemini */

        /* the model slipped, not the caller: it may do better */
        {"tool_use_failed", ANY, VERDICT_UNUSABLE},
        {"json_validate_failed", ANY, VERDICT_UNUSABLE},

        /* it may pass */
        {"failed_to_download_image", ANY, VERDICT_RETRY},
        {"vector_store_timeout", ANY, VERDICT_RETRY},
        {"temporarily_unavailable", ANY, VERDICT_RETRY},
        {"provider_unavailable", ANY, VERDICT_RETRY},

        /* a 200 that says it was the caller's fault */
        {"invalid_request_error", 200, 299, VERDICT_REJECTED},
        {"invalid_request", 200, 299, VERDICT_REJECTED},
        {"unprocessable", 200, 299, VERDICT_REJECTED},
        {"data_residency_mismatch", 200, 299, VERDICT_REJECTED},
        {"invalid_image", 200, 299, VERDICT_REJECTED},
        {"invalid_image_format", 200, 299, VERDICT_REJECTED},
        {"invalid_base64_image", 200, 299, VERDICT_REJECTED},
        {"invalid_image_url", 200, 299, VERDICT_REJECTED},
        {"invalid_image_mode", 200, 299, VERDICT_REJECTED},
        {"image_too_large", 200, 299, VERDICT_REJECTED},
        {"image_too_small", 200, 299, VERDICT_REJECTED},
        {"image_parse_error", 200, 299, VERDICT_REJECTED},
        {"image_file_too_large", 200, 299, VERDICT_REJECTED},
        {"image_file_not_found", 200, 299, VERDICT_REJECTED},
        {"unsupported_image_media_type", 200, 299, VERDICT_REJECTED},
        {"empty_image_file", 200, 299, VERDICT_REJECTED},
};

static const struct rule sentences[] = {
        {"content management policy", 400, 403, VERDICT_CONTENT_REFUSED}, /* Azure */
        {"safety system", 400, 403, VERDICT_CONTENT_REFUSED},
        {"usage polic", 400, 403, VERDICT_CONTENT_REFUSED},
        {"content policy", 400, 403, VERDICT_CONTENT_REFUSED},
        {"flagged", 400, 403, VERDICT_CONTENT_REFUSED}, /* OpenRouter's moderation */

        {"exceeded your current quota", 402, 429, VERDICT_PAUSE},
        {"credit balance is too low", 400, 429, VERDICT_PAUSE}, /* Anthropic */
        {"insufficient balance", 400, 429, VERDICT_PAUSE},      /* DeepSeek */
        {"insufficient credit", 400, 429, VERDICT_PAUSE},
        {"out of credits", 400, 429, VERDICT_PAUSE},
        {"spend limit", 400, 429, VERDICT_PAUSE},
        {"spending limit", 400, 429, VERDICT_PAUSE},             /* xAI's is a 403 */
        {"used all available credits", 400, 429, VERDICT_PAUSE}, /* xAI */
        {"key limit exceeded", 402, 403, VERDICT_PAUSE},         /* OpenRouter's limit of a key is a 403 */
        {"account balance", 402, 429, VERDICT_PAUSE},            /* Jina */
        {"out of call volume quota", 403, 429, VERDICT_PAUSE},   /* Azure */
        {"api calls / month", 429, 429, VERDICT_PAUSE},          /* Cohere's trial keys */
        {"budget has been exceeded", 400, 429, VERDICT_PAUSE},   /* LiteLLM's proxy */
        {"billing hard limit", 400, 429, VERDICT_PAUSE},

        {"maximum context length", 400, 500, VERDICT_OTHER_MODEL}, /* vLLM, OpenAI */
        {"maximum model length", 400, 500, VERDICT_OTHER_MODEL},   /* vLLM */
        {"context length", 400, 500, VERDICT_OTHER_MODEL},         /* Ollama */
        {"context window", 400, 500, VERDICT_OTHER_MODEL},
        {"context size", 400, 500, VERDICT_OTHER_MODEL}, /* llama.cpp */
        {"too many tokens", 400, 422, VERDICT_OTHER_MODEL},
        {"prompt is too long", 400, 422, VERDICT_OTHER_MODEL},
        {"maximum allowed batch size", 400, 422, VERDICT_OTHER_MODEL},       /* TEI */
        {"increase the physical batch size", 400, 500, VERDICT_OTHER_MODEL}, /* llama.cpp */
        {"not a valid model", 400, 422, VERDICT_OTHER_MODEL},                /* OpenRouter */
        {"invalid model", 400, 422, VERDICT_OTHER_MODEL},
        {"unknown model", 400, 422, VERDICT_OTHER_MODEL},
        {"model not found", 400, 422, VERDICT_OTHER_MODEL},
        {"not supported with this model", 400, 422, VERDICT_OTHER_MODEL},
        {"not supported for this model", 400, 422, VERDICT_OTHER_MODEL},
        {"does not support", 400, 422, VERDICT_OTHER_MODEL},

        {"api key not valid", 400, 400, VERDICT_AUTH}, /* Gemini */
        {"incorrect api key", 400, 403, VERDICT_AUTH},
        {"invalid api key", 400, 403, VERDICT_AUTH},

        {"overloaded", 429, 529, VERDICT_OVERLOADED},
        {"at capacity", 429, 529, VERDICT_OVERLOADED},
        {"high demand", 429, 529, VERDICT_OVERLOADED}, /* Azure */
        {"server busy", 429, 529, VERDICT_OVERLOADED}, /* Ollama */
        {"too busy", 429, 529, VERDICT_OVERLOADED},    /* DeepSeek */
        {"maximum pending requests", 429, 529, VERDICT_OVERLOADED},
        {"queue is full", 429, 529, VERDICT_OVERLOADED},
        {"queue full", 429, 529, VERDICT_OVERLOADED},
        {"loading model", 500, 503, VERDICT_OVERLOADED}, /* llama.cpp: minutes, not attempts */
        {"currently loading", 500, 503, VERDICT_OVERLOADED},
        {"resource unavailable", 429, 429, VERDICT_RETRY}, /* OpenAI's flex tier */
};

/* Ranges in which the first that holds the status decides. */
static const struct {
        int32_t low, high;
        enum verdict verdict;
} statuses[] = {
        {200, 299, VERDICT_UNUSABLE},
        {300, 399, VERDICT_AUTH}, /* nothing redirects a POST: the base URL is wrong */
        {401, 401, VERDICT_AUTH},
        {402, 402, VERDICT_PAUSE},
        {403, 403, VERDICT_AUTH},
        {404, 405, VERDICT_OTHER_MODEL}, /* another endpoint may serve it */
        {407, 407, VERDICT_AUTH},
        {408, 409, VERDICT_RETRY},
        {410, 410, VERDICT_OTHER_MODEL},
        {413, 413, VERDICT_OTHER_MODEL},
        {421, 421, VERDICT_RETRY},
        {424, 425, VERDICT_RETRY}, /* 424: TEI's and Bedrock's own backend failed */
        {429, 429, VERDICT_THROTTLED},
        {498, 499, VERDICT_RETRY}, /* Groq's flex tier is full; Cohere */
        {400, 499, VERDICT_REJECTED},
        {501, 501, VERDICT_OTHER_MODEL},
        {529, 529, VERDICT_OVERLOADED},
        {500, 599, VERDICT_RETRY},
};

static char lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* `part` is lower case. */
static bool contains(struct bytes text, const char *part) {
        struct bytes wanted = bytes_of(part);

        for (size_t i = 0; i + wanted.size <= text.size; i++) {
                size_t k = 0;

                while (k < wanted.size && lower(text.data[i + k]) == wanted.data[k])
                        k++;
                if (k == wanted.size)
                        return true;
        }
        return false;
}

static bool holds_word(const struct refusal *refusal, const char *word) {
        for (uint32_t i = 0; i < refusal->words_count; i++)
                if (bytes_equal_nocase(refusal->words[i], word))
                        return true;
        return false;
}

enum { MESSAGE_SEARCHED_MAX = 2000 };

static bool by_sentence(const struct rule *rules, size_t count, int32_t status, const struct refusal *refusal,
                        enum verdict *out_verdict) {
        struct bytes message = refusal->message;

        if (message.size > MESSAGE_SEARCHED_MAX)
                message.size = MESSAGE_SEARCHED_MAX;
        for (size_t i = 0; i < count; i++)
                if (status >= rules[i].low && status <= rules[i].high && contains(message, rules[i].text)) {
                        *out_verdict = rules[i].verdict;
                        return true;
                }
        return false;
}

static bool by_word(int32_t status, const struct refusal *refusal, enum verdict *out_verdict) {
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
                if (status >= words[i].low && status <= words[i].high && holds_word(refusal, words[i].text)) {
                        *out_verdict = words[i].verdict;
                        return true;
                }
        return false;
}

static bool speaks_of(const struct refusal *refusal, const char *const *parts, size_t count) {
        struct bytes message = refusal->message;

        if (message.size > MESSAGE_SEARCHED_MAX)
                message.size = MESSAGE_SEARCHED_MAX;
        for (size_t i = 0; i < count; i++)
                if (contains(message, parts[i]))
                        return true;
        return false;
}

/*
 * Too many calls at a time rather than per minute: Moonshot ("max organization concurrency: 3"), Zhipu ("High
 * concurrency usage of this API"), Anthropic ("concurrent connections"). Codes name it too.
 */
static bool speaks_of_concurrency(const struct refusal *refusal) {
        static const char *const parts[] = {"concurren", "parallel requests", "too many simultaneous"};

        if (speaks_of(refusal, parts, sizeof(parts) / sizeof(parts[0])))
                return true;
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
                for (uint32_t k = 0; k < refusal->words_count; k++)
                        if (contains(refusal->words[k], parts[i]))
                                return true;
        }
        return false;
}

static enum verdict by_status(int32_t status) {
        for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
                if (status >= statuses[i].low && status <= statuses[i].high)
                        return statuses[i].verdict;
        return VERDICT_RETRY;
}

static enum verdict by_tables(int32_t status, const struct refusal *refusal) {
        enum verdict verdict;

        if (by_sentence(overruling_sentences, sizeof(overruling_sentences) / sizeof(overruling_sentences[0]),
                        status, refusal, &verdict) ||
            by_word(status, refusal, &verdict) ||
            by_sentence(sentences, sizeof(sentences) / sizeof(sentences[0]), status, refusal, &verdict))
                return verdict;
        return by_status(status);
}

/*
 * x-should-retry is advice to a client that retries within seconds. "true" lifts what would be final;
 * "false" ends what would be tried again at once, but says nothing against coming back when a limit or a
 * quota has passed.
 */
static enum verdict advised(enum verdict verdict, enum retry_advice advice) {
        bool is_final = verdict == VERDICT_REJECTED || verdict == VERDICT_OTHER_MODEL;
        bool again = verdict == VERDICT_RETRY || verdict == VERDICT_UNUSABLE;

        if (advice == RETRY_YES && is_final)
                return VERDICT_RETRY;
        if (advice == RETRY_NO && again)
                return VERDICT_REJECTED;
        return verdict;
}

enum verdict classify(int32_t status, const struct refusal *refusal, enum retry_advice advice) {
        bool succeeded = status >= 200 && status <= 299;
        int32_t effective = succeeded && refusal->status != 0 ? refusal->status : status;
        enum verdict verdict = advised(by_tables(effective, refusal), advice);

        if (verdict == VERDICT_THROTTLED && effective == 429 && speaks_of_concurrency(refusal))
                verdict = VERDICT_OVERLOADED; /* waiting alone does not help: fewer calls at a time do */
        return succeeded && verdict == VERDICT_RETRY ? VERDICT_UNUSABLE : verdict;
}

/*
 * What is used up until the day is over, and of which day. A sentence that names a minute too speaks of that,
 * and tells of the day what could be bought (OpenRouter).
 */
static const char *const daily_parts[] = {
        "per day", "per-day", "(rpd)", "(tpd)", "daily limit", "daily quota", "daily free", "calls / day",
};

enum quota_day classify_day(const struct refusal *refusal) {
        static const char *const minutes[] = {"per-min", "per min"};

        if (holds_word(refusal, "quota_per_day"))
                return QUOTA_DAY_PACIFIC;
        if (speaks_of(refusal, daily_parts, sizeof(daily_parts) / sizeof(daily_parts[0])) &&
            !speaks_of(refusal, minutes, sizeof(minutes) / sizeof(minutes[0])))
                return QUOTA_DAY_UTC;
        return QUOTA_DAY_NONE;
}

enum failure classify_failure(enum verdict verdict) {
        switch (verdict) {
        case VERDICT_OK:
                return FAILURE_NONE;
        case VERDICT_REJECTED:
        case VERDICT_OTHER_MODEL:
                return FAILURE_PROVIDER_REJECTED;
        case VERDICT_CONTENT_REFUSED:
                return FAILURE_CONTENT_REFUSED;
        case VERDICT_UNUSABLE:
                return FAILURE_PROVIDER_ERROR;
        case VERDICT_UNKNOWN:
                return FAILURE_UNKNOWN_OUTCOME;
        case VERDICT_INPUT:
        case VERDICT_INPUT_RETRY:
                return FAILURE_INPUT_UNAVAILABLE;
        case VERDICT_RETRY:
        case VERDICT_THROTTLED:
        case VERDICT_OVERLOADED:
        case VERDICT_PAUSE:
        case VERDICT_AUTH:
        case VERDICT_NOT_SENT:
                return FAILURE_ATTEMPTS_EXHAUSTED;
        }
        return FAILURE_INTERNAL;
}
