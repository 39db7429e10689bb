/*
 * What providers answer when they do not answer, and what follows from it: one row per case of reference
 * providers.md section 12, with bodies as they are seen in the wild, read through the whole dialect.
 */
#include "tests/unit/providers/jobs.h"

#define NOW_MS INT64_C(1795338000000)
#define S      INT64_C(1000000000)

static const char chat_body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
static const char chat_answer[] =
        "{\"id\":\"c1\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
        "\"assistant\",\"content\":\"Hello\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
        "\"completion_tokens\":1,\"total_tokens\":10}}";

static const struct row {
        const char *name;
        int32_t status;
        const char *headers, *body;
        enum verdict verdict;
        int64_t wait_ns;
} rows[] = {
        /* OpenAI */
        {"openai ok", 200, "content-type: application/json\r\n", chat_answer, VERDICT_OK, -1},
        {"openai bad request", 400, "",
         "{\"error\":{\"message\":\"Invalid type for 'messages'\",\"type\":\"invalid_request_error\","
         "\"param\":\"messages\",\"code\":\"invalid_type\"}}",
         VERDICT_REJECTED, -1},
        {"openai missing parameter", 400, "",
         "{\"error\":{\"message\":\"Missing required parameter: 'messages'.\",\"type\":"
         "\"invalid_request_error\",\"param\":\"messages\",\"code\":\"missing_required_parameter\"}}",
         VERDICT_REJECTED, -1},
        {"openai context length", 400, "",
         "{\"error\":{\"message\":\"This model's maximum context length is 128000 tokens. However, your "
         "messages resulted in 130012 tokens.\",\"type\":\"invalid_request_error\",\"param\":\"messages\","
         "\"code\":\"context_length_exceeded\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"openai unsupported parameter", 400, "",
         "{\"error\":{\"message\":\"Unsupported parameter: 'max_tokens' is not supported with this "
         "model.\",\"type\":\"invalid_request_error\",\"param\":\"max_tokens\",\"code\":"
         "\"unsupported_parameter\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"openai image policy", 400, "",
         "{\"error\":{\"code\":\"content_policy_violation\",\"message\":\"Your request was rejected as a "
         "result of our safety system.\",\"param\":null,\"type\":\"image_generation_user_error\"}}",
         VERDICT_CONTENT_REFUSED, -1},
        {"openai moderation blocked", 400, "",
         "{\"error\":{\"message\":\"Your request was rejected by the safety system.\",\"type\":"
         "\"image_generation_user_error\",\"param\":null,\"code\":\"moderation_blocked\"}}",
         VERDICT_CONTENT_REFUSED, -1},
        {"openai invalid prompt", 400, "",
         "{\"error\":{\"message\":\"Invalid prompt: your prompt was flagged as potentially violating our "
         "usage policy.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_prompt\"}}",
         VERDICT_CONTENT_REFUSED, -1},
        {"openai 403 policy without code", 403, "",
         "{\"error\":{\"message\":\"Refused by our content policy\",\"type\":\"x\",\"code\":null}}",
         VERDICT_CONTENT_REFUSED, -1},
        {"openai wrong key", 401, "",
         "{\"error\":{\"message\":\"Incorrect API key provided: sk-abcd*****wxyz.\",\"type\":"
         "\"invalid_request_error\",\"param\":null,\"code\":\"invalid_api_key\"}}",
         VERDICT_AUTH, -1},
        {"openai text/plain 401", 401, "content-type: text/plain\r\n", "Unauthorized", VERDICT_AUTH, -1},
        {"openai country", 403, "",
         "{\"error\":{\"code\":\"unsupported_country_region_territory\",\"message\":\"Country, region, or "
         "territory not supported\",\"param\":null,\"type\":\"request_forbidden\"}}",
         VERDICT_AUTH, -1},
        {"openai model not found", 404, "",
         "{\"error\":{\"message\":\"The model `gpt-9` does not exist or you do not have access to it.\","
         "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"openai 403 model", 403, "",
         "{\"error\":{\"message\":\"Project does not have access to model\",\"type\":"
         "\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"openai too large", 413, "",
         "{\"error\":{\"message\":\"Maximum content size limit (26214400) exceeded\",\"type\":"
         "\"server_error\",\"param\":null,\"code\":null}}",
         VERDICT_OTHER_MODEL, -1},
        {"openai rate limit with header", 429, "retry-after: 2\r\n",
         "{\"error\":{\"message\":\"Rate limit reached for gpt-4o-mini in organization org-x on requests "
         "per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.\",\"type\":\"requests\","
         "\"param\":null,\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_THROTTLED, 2 * S},
        {"openai rate limit by sentence", 429, "",
         "{\"error\":{\"message\":\"Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used "
         "29000, Requested 21862. Please try again in 41.724s.\",\"type\":\"tokens\",\"param\":null,"
         "\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_THROTTLED, 41724 * (S / 1000)},
        {"openai rate limit by reset", 429,
         "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 6m0s\r\n",
         "{\"error\":{\"message\":\"Rate limit reached\",\"type\":\"requests\",\"param\":null,"
         "\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_THROTTLED, 360 * S},
        {"openai rate limit by reset, with its limit", 429,
         "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 0\r\n"
         "x-ratelimit-reset-requests: 6m0s\r\n",
         "{\"error\":{\"message\":\"Rate limit reached\",\"type\":\"requests\",\"param\":null,"
         "\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_THROTTLED, 360 * S},
        /* too many calls at a time */
        {"concurrency by type", 429, "retry-after: 1\r\n",
         "{\"error\":{\"message\":\"Limit 4.\",\"type\":\"concurrency\",\"param\":null,"
         "\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_OVERLOADED, 1 * S},
        {"concurrency by code", 429, "",
         "{\"error\":{\"message\":\"x\",\"type\":\"rate_limit_error\","
         "\"code\":\"Concurrent_request_limit_exceeded\"}}",
         VERDICT_OVERLOADED, -1},
        {"moonshot concurrency", 429, "",
         "{\"error\":{\"message\":\"Your account org-x<ak-x> request reached max organization concurrency: "
         "3, "
         "please try again after 1 seconds\",\"type\":\"rate_limit_reached_error\"}}",
         VERDICT_OVERLOADED, 1 * S},
        {"moonshot requests per minute", 429, "",
         "{\"error\":{\"message\":\"Your account org-x<ak-x> request reached max organization RPM: 3, "
         "please try again after 1 seconds\",\"type\":\"rate_limit_reached_error\"}}",
         VERDICT_THROTTLED, 1 * S},
        {"parallel requests", 429, "retry-after: 2\r\n",
         "{\"error\":{\"message\":\"Max parallel requests reached.\",\"type\":\"throttling_error\","
         "\"code\":\"429\"}}",
         VERDICT_OVERLOADED, 2 * S},
        {"simultaneous", 429, "", "Too many simultaneous requests", VERDICT_OVERLOADED, -1},
        {"concurrency, but no money", 429, "",
         "{\"error\":{\"message\":\"concurrent\",\"type\":\"insufficient_quota\",\"code\":null}}",
         VERDICT_PAUSE, -1},
        {"concurrency is a matter of 429", 400, "",
         "{\"error\":{\"message\":\"concurrency must be an integer\",\"type\":\"x\",\"code\":null}}",
         VERDICT_REJECTED, -1},
        {"openai slow down", 429, "retry-after: 5\r\n",
         "{\"error\":{\"message\":\"Slow down.\",\"type\":\"rate_limit_error\",\"param\":null,"
         "\"code\":\"slow_down\"}}",
         VERDICT_OVERLOADED, 5 * S},
        {"openai slow down before 2026", 503, "",
         "{\"error\":{\"message\":\"Slow down\",\"type\":\"x\",\"param\":null,\"code\":\"slow_down\"}}",
         VERDICT_OVERLOADED, -1},
        {"openai request above the limit", 429, "retry-after: 60\r\n",
         "{\"error\":{\"message\":\"Request too large for gpt-4o in organization org-x on tokens per min "
         "(TPM): Limit 30000, Requested 51234.\",\"type\":\"tokens\",\"param\":null,"
         "\"code\":\"rate_limit_exceeded\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"openai quota", 429, "",
         "{\"error\":{\"message\":\"You exceeded your current quota, please check your plan and billing "
         "details.\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}",
         VERDICT_PAUSE, -1},
        {"openai quota, short wait is not believed", 429, "retry-after: 1\r\nx-should-retry: true\r\n",
         "{\"error\":{\"message\":\"x\",\"type\":\"insufficient_quota\",\"code\":null}}", VERDICT_PAUSE, -1},
        {"openai credit", 429, "",
         "{\"error\":{\"message\":\"x\",\"type\":\"billing\",\"code\":\"credit_balance_exhausted\"}}",
         VERDICT_PAUSE, -1},
        {"openai project spend", 429, "",
         "{\"error\":{\"message\":\"x\",\"type\":\"billing\",\"code\":"
         "\"project_spend_limit_exceeded\"}}",
         VERDICT_PAUSE, -1},
        {"openai hard limit", 400, "",
         "{\"error\":{\"code\":\"billing_hard_limit_reached\",\"message\":\"Billing hard limit has been "
         "reached\",\"param\":null,\"type\":\"invalid_request_error\"}}",
         VERDICT_PAUSE, -1},
        {"openai organization spend", 429, "",
         "{\"error\":{\"message\":\"x\",\"type\":\"billing\",\"code\":"
         "\"organization_spend_limit_exceeded\"}}",
         VERDICT_PAUSE, -1},
        {"openai organization usage", 429, "",
         "{\"error\":{\"message\":\"x\",\"type\":\"billing\",\"code\":"
         "\"organization_usage_limit_exceeded\"}}",
         VERDICT_PAUSE, -1},
        {"openai inactive billing", 429, "",
         "{\"error\":{\"message\":\"Your account is not active\",\"type\":\"billing_not_active\","
         "\"param\":null,\"code\":\"billing_not_active\"}}",
         VERDICT_PAUSE, -1},

        {"openai flex", 429, "",
         "{\"error\":{\"message\":\"Flex is out of capacity\",\"type\":\"flex_unavailable\",\"code\":null}}",
         VERDICT_RETRY, -1},
        {"openai server error", 500, "",
         "{\"error\":{\"message\":\"The server had an error while processing your request.\",\"type\":"
         "\"server_error\",\"param\":null,\"code\":null}}",
         VERDICT_RETRY, -1},
        {"openai overloaded", 503, "retry-after: 8\r\n",
         "{\"error\":{\"message\":\"That model is currently overloaded\",\"type\":"
         "\"service_unavailable_error\",\"param\":null,\"code\":\"server_is_overloaded\"}}",
         VERDICT_OVERLOADED, 8 * S},
        {"timeout", 408, "", "", VERDICT_RETRY, -1},
        {"conflict", 409, "", "{\"error\":{\"message\":\"x\"}}", VERDICT_RETRY, -1},

        /* Azure */
        {"azure rate limit", 429, "retry-after: 6\r\nretry-after-ms: 5250\r\n",
         "{\"error\":{\"code\":\"429\",\"message\":\"Requests to the ChatCompletions_Create Operation have "
         "exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 6 "
         "seconds.\"}}",
         VERDICT_THROTTLED, 5250 * (S / 1000)},
        {"azure rate limit by sentence", 429, "",
         "{\"error\":{\"code\":\"429\",\"message\":\"Please retry after 6 seconds. Please go here\"}}",
         VERDICT_THROTTLED, 6 * S},
        {"azure high demand", 429, "retry-after: 3\r\n",
         "{\"error\":{\"code\":\"429\",\"message\":\"The system is currently experiencing high demand\"}}",
         VERDICT_OVERLOADED, 3 * S},
        {"azure filter", 400, "",
         "{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's "
         "content management policy.\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\","
         "\"status\":400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\","
         "\"content_filter_result\":{\"hate\":{\"filtered\":true}}}}}",
         VERDICT_CONTENT_REFUSED, -1},
        {"azure deployment", 404, "",
         "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The API deployment for this resource "
         "does not exist.\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"azure key", 401, "",
         "{\"statusCode\": 401, \"message\": \"Unauthorized. Access token is missing, invalid\"}",
         VERDICT_AUTH, -1},
        {"azure completion filtered", 200, "",
         "{\"choices\":[{\"index\":0,\"finish_reason\":\"content_filter\",\"message\":{\"role\":"
         "\"assistant\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":0}}",
         VERDICT_CONTENT_REFUSED, -1},

        /* Anthropic, Gemini: behind compatible addresses */
        {"anthropic spend cap", 400, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"You have reached "
         "your specified API usage limits. You will regain access on 2026-12-01.\"}}",
         VERDICT_PAUSE, 86400 * S},
        {"anthropic spend cap until tomorrow", 400, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"You have reached "
         "your specified API usage limits. You will regain access on 2026-11-23 at 00:00 UTC.\"}}",
         VERDICT_PAUSE, 15 * 3600 * S},
        {"anthropic spend cap with a broken date", 400, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"x\",\"message\":\"your specified API usage limits. You "
         "will regain access on 2026-13\"}}",
         VERDICT_PAUSE, -1},
        {"anthropic credit", 400, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit "
         "balance is too low to access the API\"}}",
         VERDICT_PAUSE, -1},
        {"anthropic overloaded", 529, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
         VERDICT_OVERLOADED, -1},
        {"529 without a word", 529, "", "", VERDICT_OVERLOADED, -1},
        {"gemini minute", 429, "",
         "{\"error\":{\"code\":429,\"message\":\"You exceeded your current quota, please check your plan.\","
         "\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":\"type.googleapis.com/"
         "google.rpc.QuotaFailure\",\"violations\":[{\"quotaId\":"
         "\"GenerateRequestsPerMinutePerProject\"}]},{\"@type\":\"type.googleapis.com/"
         "google.rpc.RetryInfo\",\"retryDelay\":\"46.5s\"}]}}",
         VERDICT_THROTTLED, 46500 * (S / 1000)},
        {"gemini minute, in an array", 429, "",
         "[{\"error\":{\"code\":429,\"message\":\"quota\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":["
         "{\"retryDelay\":\"46s\"}]}}]",
         VERDICT_THROTTLED, 46 * S},
        {"gemini day", 429, "",
         "{\"error\":{\"code\":429,\"message\":\"Quota exceeded\",\"status\":\"RESOURCE_EXHAUSTED\","
         "\"details\":[{\"violations\":[{\"quotaId\":\"GenerateRequestsPerDayPerProject\"}]}]}}",
         VERDICT_PAUSE, 23 * 3600 * S},
        {"gemini no quota at all", 429, "",
         "{\"error\":{\"code\":429,\"message\":\"Quota exceeded for metric: x, limit: 0\",\"status\":"
         "\"RESOURCE_EXHAUSTED\"}}",
         VERDICT_PAUSE, -1},
        {"gemini key", 400, "",
         "[{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\","
         "\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"reason\":\"API_KEY_INVALID\"}]}}]",
         VERDICT_AUTH, -1},

        /* Groq */
        {"groq flex", 498, "",
         "{\"error\":{\"message\":\"Flex tier capacity exceeded\",\"type\":\"server_error\",\"code\":"
         "\"capacity_exceeded\"}}",
         VERDICT_RETRY, -1},
        {"groq tokens", 429, "retry-after: 7\r\nx-ratelimit-remaining-tokens: 0\r\n",
         "{\"error\":{\"message\":\"Rate limit reached for model `llama` in organization on tokens per "
         "minute (TPM). Please try again in 7.66s.\",\"type\":\"tokens\",\"code\":"
         "\"rate_limit_exceeded\"}}",
         VERDICT_THROTTLED, 7 * S},
        {"groq too large", 413, "",
         "{\"error\":{\"message\":\"Request too large for model `llama`\",\"type\":\"tokens\",\"code\":"
         "\"request_too_large\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"groq model gone", 400, "",
         "{\"error\":{\"message\":\"The model has been decommissioned\",\"type\":\"invalid_request_error\","
         "\"code\":\"model_decommissioned\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"groq slip", 400, "",
         "{\"error\":{\"message\":\"Failed to call a function.\",\"type\":\"invalid_request_error\","
         "\"code\":\"tool_use_failed\",\"failed_generation\":\"secret prompt\"}}",
         VERDICT_UNUSABLE, -1},

        /* Mistral */
        {"mistral flat", 400, "",
         "{\"object\":\"error\",\"message\":\"Invalid model: mistral-9\",\"type\":\"invalid_model\","
         "\"param\":null,\"code\":\"1500\"}",
         VERDICT_OTHER_MODEL, -1},
        {"mistral 422", 422, "",
         "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"seed\"],\"msg\":\"Extra inputs are "
         "not permitted\",\"input\":5}]}",
         VERDICT_REJECTED, -1},
        {"mistral 429", 429, "",
         "{\"object\":\"error\",\"message\":\"Requests rate limit exceeded\",\"type\":"
         "\"rate_limited\",\"param\":null,\"code\":\"1300\"}",
         VERDICT_THROTTLED, -1},

        /* Together, DeepInfra, Fireworks, DeepSeek */
        {"together overload", 503, "",
         "{\"error\":{\"message\":\"The server is overloaded or not ready yet.\",\"type\":\"x\",\"param\":"
         "null,\"code\":null}}",
         VERDICT_OVERLOADED, -1},
        {"deepinfra detail", 404, "", "{\"detail\":{\"error\":\"Model is not available\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"deepinfra balance", 402, "", "{\"detail\":{\"error\":\"inference prohibited, top up\"}}",
         VERDICT_PAUSE, -1},
        {"fireworks 429", 429, "x-ratelimit-over-limit: yes\r\n",
         "{\"error\":{\"object\":\"error\",\"type\":\"invalid_request_error\",\"message\":\"rate limit "
         "exceeded, please try again later\"}}",
         VERDICT_THROTTLED, -1},
        {"deepseek balance", 402, "",
         "{\"error\":{\"message\":\"Insufficient Balance\",\"type\":\"unknown_error\",\"param\":null,"
         "\"code\":\"invalid_request_error\"}}",
         VERDICT_PAUSE, -1},
        {"deepseek busy", 503, "",
         "{\"error\":{\"message\":\"Service is too busy.\",\"type\":\"x\",\"param\":null,\"code\":null}}",
         VERDICT_OVERLOADED, -1},

        /* OpenRouter */
        {"openrouter 200 with an upstream error", 200, "",
         "{\"error\":{\"code\":502,\"message\":\"Provider returned error\",\"metadata\":{\"error_type\":"
         "\"provider_unavailable\"}}}",
         VERDICT_UNUSABLE, -1},
        {"openrouter 200 with 429", 200, "",
         "{\"error\":{\"code\":429,\"message\":\"Rate limited\",\"metadata\":{\"error_type\":"
         "\"rate_limit_exceeded\"}}}",
         VERDICT_THROTTLED, -1},
        {"openrouter 200 with context length", 200, "",
         "{\"error\":{\"code\":400,\"message\":\"x\",\"metadata\":{\"error_type\":"
         "\"context_length_exceeded\"}}}",
         VERDICT_OTHER_MODEL, -1},
        {"openrouter 200 with a bad request", 200, "",
         "{\"error\":{\"code\":400,\"message\":\"x\",\"metadata\":{\"error_type\":\"invalid_request\"}}}",
         VERDICT_REJECTED, -1},
        {"openrouter balance", 402, "",
         "{\"error\":{\"code\":402,\"message\":\"This request requires more credits\",\"metadata\":{"
         "\"error_type\":\"payment_required\"}}}",
         VERDICT_PAUSE, -1},
        {"openrouter in flight", 402, "retry-after: 4\r\n",
         "{\"error\":{\"code\":402,\"message\":\"x\",\"metadata\":{\"error_type\":\"payment_required\","
         "\"reason\":\"in_flight_budget_exhausted\"}}}",
         VERDICT_THROTTLED, 4 * S},
        {"openrouter weight", 402, "",
         "{\"error\":{\"code\":402,\"message\":\"x\",\"metadata\":{\"error_type\":\"payment_required\","
         "\"reason\":\"weight_exceeds_budget\"}}}",
         VERDICT_REJECTED, -1},
        {"openrouter moderation", 403, "",
         "{\"error\":{\"code\":403,\"message\":\"Input was flagged\",\"metadata\":{\"reasons\":[\"x\"],"
         "\"flagged_input\":\"secret prompt\"}}}",
         VERDICT_CONTENT_REFUSED, -1},
        {"openrouter availability", 503, "",
         "{\"error\":{\"code\":503,\"message\":\"x\",\"availability\":{\"code\":"
         "\"temporarily_unavailable\",\"retryable\":true,\"retry_after\":12}}}",
         VERDICT_RETRY, 12 * S},
        {"openrouter reset in the body", 429, "",
         "{\"error\":{\"code\":429,\"message\":\"Rate limit exceeded: free-models-per-min\",\"metadata\":{"
         "\"headers\":{\"X-RateLimit-Remaining\":\"0\",\"X-RateLimit-Reset\":\"1795338030000\"}}}}",
         VERDICT_THROTTLED, 30 * S},
        {"openrouter model id", 400, "",
         "{\"error\":{\"message\":\"foo/bar is not a valid model ID\",\"code\":400}}", VERDICT_OTHER_MODEL,
         -1},
        {"openrouter broke off", 200, "",
         "{\"choices\":[{\"finish_reason\":\"error\",\"message\":{\"content\":\"half\"},\"error\":{"
         "\"code\":502}}]}",
         VERDICT_UNUSABLE, -1},
        {"edge timeout", 524, "content-type: text/html\r\n", "<html>524</html>", VERDICT_RETRY, -1},

        /* self-hosted */
        {"vllm nested", 400, "",
         "{\"error\":{\"message\":\"This model's maximum context length is 4096 tokens. However, you "
         "requested 5000 tokens\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}}",
         VERDICT_OTHER_MODEL, -1},
        {"vllm flat", 400, "",
         "{\"object\":\"error\",\"message\":\"The decoder prompt (length 5000) is longer than the maximum "
         "model length of 4096\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
         VERDICT_OTHER_MODEL, -1},
        {"vllm flat 404", 404, "",
         "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\",\"type\":\"NotFoundError\","
         "\"param\":null,\"code\":404}",
         VERDICT_OTHER_MODEL, -1},
        {"vllm bad request", 400, "",
         "{\"object\":\"error\",\"message\":\"top_p must be in (0, 1], got 2.0.\",\"type\":"
         "\"BadRequestError\",\"param\":null,\"code\":400}",
         VERDICT_REJECTED, -1},
        {"tei backend", 424, "", "{\"message\":\"Backend error\",\"code\":424,\"type\":\"Backend\"}",
         VERDICT_RETRY, -1},
        {"tei overloaded", 429, "",
         "{\"message\":\"Model is overloaded\",\"code\":429,\"type\":\"Overloaded\"}", VERDICT_OVERLOADED,
         -1},
        {"tei native", 429, "", "{\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}",
         VERDICT_OVERLOADED, -1},
        {"tei tokens", 413, "",
         "{\"message\":\"Input validation error: `inputs` must have less than 512 tokens. Given: 900\","
         "\"code\":413,\"type\":\"Validation\"}",
         VERDICT_OTHER_MODEL, -1},
        {"tei batch", 422, "",
         "{\"message\":\"batch size 64 > maximum allowed batch size 32\",\"code\":422,\"type\":"
         "\"Validation\"}",
         VERDICT_OTHER_MODEL, -1},
        {"tei validation", 422, "",
         "{\"message\":\"Input validation error\",\"code\":422,\"type\":\"Validation\"}", VERDICT_REJECTED,
         -1},
        {"llama.cpp loading", 503, "",
         "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
         VERDICT_OVERLOADED, -1},
        {"llama.cpp context", 400, "",
         "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size\",\"type\":"
         "\"exceed_context_size_error\",\"n_ctx\":4096}}",
         VERDICT_OTHER_MODEL, -1},
        {"llama.cpp batch", 500, "",
         "{\"error\":{\"code\":500,\"message\":\"input is too large to process. increase the physical batch "
         "size\",\"type\":\"server_error\"}}",
         VERDICT_OTHER_MODEL, -1},
        {"ollama queue", 503, "",
         "{\"error\":\"server busy, please try again.  maximum pending requests exceeded\"}",
         VERDICT_OVERLOADED, -1},
        {"ollama model", 404, "", "{\"error\":\"model 'x' not found\"}", VERDICT_OTHER_MODEL, -1},
        {"infinity", 429, "", "{\"detail\":\"model x is currently overloaded\"}", VERDICT_OVERLOADED, -1},
        {"fastapi", 404, "", "{\"detail\":\"Not Found\"}", VERDICT_OTHER_MODEL, -1},

        /* what stands in between */
        {"nginx page", 502, "content-type: text/html\r\n",
         "<html>\r\n<head><title>502 Bad Gateway</title></head></html>", VERDICT_RETRY, -1},
        {"maintenance for an hour", 503, "retry-after: 3600\r\n", "down", VERDICT_PAUSE, 3600 * S},
        {"maintenance for ever", 503, "retry-after: 99999999999999999999\r\n", "", VERDICT_PAUSE, 86400 * S},
        {"a wait of just 15 minutes", 429, "retry-after: 900\r\n", "", VERDICT_THROTTLED, 900 * S},
        {"redirect", 301, "", "", VERDICT_AUTH, -1},
        {"method", 405, "", "", VERDICT_OTHER_MODEL, -1},
        {"teapot", 418, "", "", VERDICT_REJECTED, -1},
        {"early", 425, "", "", VERDICT_RETRY, -1},
        {"not implemented", 501, "", "", VERDICT_OTHER_MODEL, -1},
        {"empty 500", 500, "", "", VERDICT_RETRY, -1},
        {"no such status", 999, "", "", VERDICT_RETRY, -1},
        {"status zero", 0, "", "", VERDICT_RETRY, -1},
        {"negative status", -7, "", "", VERDICT_RETRY, -1},

        /* advice */
        {"told to retry", 400, "x-should-retry: true\r\n", "{\"error\":{\"message\":\"x\"}}", VERDICT_RETRY,
         -1},
        {"told not to retry", 500, "x-should-retry: false\r\n", "{\"error\":{\"message\":\"x\"}}",
         VERDICT_REJECTED, -1},
        {"a limit is no refusal", 429, "x-should-retry: false\r\nretry-after: 3\r\n",
         "{\"error\":{\"message\":\"x\"}}", VERDICT_THROTTLED, 3 * S},
        {"a policy stays one", 400, "x-should-retry: true\r\n",
         "{\"error\":{\"code\":\"content_filter\",\"message\":\"x\"}}", VERDICT_CONTENT_REFUSED, -1},

        /* a 200 that is none */
        {"empty 200", 200, "", "", VERDICT_UNUSABLE, -1},
        {"204", 204, "", "", VERDICT_UNUSABLE, -1},
        {"spaces", 200, "", " \r\n \n", VERDICT_UNUSABLE, -1},
        {"cut", 200, "", "{\"id\":\"c1\",\"choices\":[{\"index\":0,\"mess", VERDICT_UNUSABLE, -1},
        {"html 200", 200, "", "<!doctype html><html>login</html>", VERDICT_UNUSABLE, -1},
        {"not a number", 200, "", "{\"choices\":[{\"message\":{\"content\":\"x\"},\"logprob\":NaN}]}",
         VERDICT_UNUSABLE, -1},
        {"no choices", 200, "", "{\"choices\":[]}", VERDICT_UNUSABLE, -1},
        {"another type", 200, "", "{\"choices\":{\"message\":1}}", VERDICT_UNUSABLE, -1},
        {"no object", 200, "", "[1,2,3]", VERDICT_UNUSABLE, -1},
        {"null", 200, "", "null", VERDICT_UNUSABLE, -1},
        {"null message", 200, "", "{\"choices\":[{\"message\":null}]}", VERDICT_UNUSABLE, -1},
        {"two documents", 200, "", "{\"choices\":[{\"message\":{}}]} {}", VERDICT_UNUSABLE, -1},
        {"lone surrogate", 200, "", "{\"choices\":[{\"message\":{\"content\":\"\\ud83d\"}}]}",
         VERDICT_UNUSABLE, -1},
        {"invalid utf-8", 200, "", "{\"choices\":[{\"message\":{\"content\":\"\xff\"}}]}", VERDICT_UNUSABLE,
         -1},

        /* a 200 that looks odd and is one */
        {"null error", 200, "", "{\"error\":null,\"choices\":[{\"message\":{\"content\":\"x\"}}]}",
         VERDICT_OK, -1},
        {"empty error", 200, "", "{\"error\":{},\"choices\":[{\"message\":{\"content\":\"x\"}}]}", VERDICT_OK,
         -1},
        {"blank lines first", 200, "", "\n\n  {\"choices\":[{\"message\":{\"content\":\"x\"}}]}\n",
         VERDICT_OK, -1},
        {"byte order mark", 200, "", "\xef\xbb\xbf{\"choices\":[{\"message\":{\"content\":\"x\"}}]}",
         VERDICT_OK, -1},
        {"cut by length", 200, "",
         "{\"choices\":[{\"finish_reason\":\"length\",\"message\":{\"content\":\"x\"}}]}", VERDICT_OK, -1},
        {"one of two filtered", 200, "",
         "{\"choices\":[{\"finish_reason\":\"content_filter\",\"message\":{}},{\"finish_reason\":\"stop\","
         "\"message\":{\"content\":\"x\"}}]}",
         VERDICT_OK, -1},
        {"twice the same key", 200, "",
         "{\"choices\":[{\"message\":{}}],\"choices\":[],\"usage\":1,\"usage\":{}}", VERDICT_OK, -1},
        {"a number beyond doubles", 200, "", "{\"choices\":[{\"message\":{},\"x\":1e400}]}", VERDICT_OK, -1},
};

static void check_invariants(const char *name, const struct answer *answer) {
        struct bytes message = bytes_of(answer->message);

        if ((answer->verdict == VERDICT_OK) != (answer->failure == FAILURE_NONE))
                fail_msg("%s: verdict %d with failure %d", name, (int)answer->verdict, (int)answer->failure);
        if ((answer->verdict == VERDICT_OK) != (message.size == 0))
                fail_msg("%s: verdict %d with message \"%s\"", name, (int)answer->verdict, answer->message);
        for (size_t i = 0; i < message.size; i++)
                if ((unsigned char)message.data[i] < 0x20)
                        fail_msg("%s: control character in the message", name);
        if (strstr(answer->message, "secret prompt") != NULL)
                fail_msg("%s: the payload is in the message: %s", name, answer->message);
}

static void read_row(const struct row *row) {
        struct job_spec job = job_of(KIND_CHAT, chat_body);
        struct response response = {row->status, bytes_of(row->headers), bytes_of(row->body), NOW_MS, false};
        struct answer answer;

        dialect_find(BYTES("openai"))->read(&job, &response, &answer);
        if (answer.verdict != row->verdict)
                fail_msg("%s: verdict %d instead of %d (%s)", row->name, (int)answer.verdict,
                         (int)row->verdict, answer.message);
        if (answer.wait_ns != row->wait_ns)
                fail_msg("%s: wait %lld instead of %lld", row->name, (long long)answer.wait_ns,
                         (long long)row->wait_ns);
        assert_int_equal(answer.status, row->status);
        check_invariants(row->name, &answer);
}

static void answers_are_classified(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                read_row(&rows[i]);
}

/* ---- the other kinds ---- */

static const struct {
        const char *name;
        enum kind kind;
        const char *job, *headers, *body;
        enum verdict verdict;
} kind_rows[] = {
        {"completion", KIND_COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"x\"}", "",
         "{\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}", VERDICT_OK},
        {"completion without text", KIND_COMPLETIONS, "{\"model\":\"m\"}", "", "{\"choices\":[{}]}",
         VERDICT_UNUSABLE},
        {"response", KIND_RESPONSES, "{\"model\":\"m\"}", "",
         "{\"status\":\"completed\",\"error\":null,\"output\":[]}", VERDICT_OK},
        {"response failed", KIND_RESPONSES, "{\"model\":\"m\"}", "",
         "{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"x\"},\"output\":[]}",
         VERDICT_UNUSABLE},
        {"response throttled", KIND_RESPONSES, "{\"model\":\"m\"}", "",
         "{\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}}",
         VERDICT_THROTTLED},
        {"response image", KIND_RESPONSES, "{\"model\":\"m\"}", "",
         "{\"status\":\"failed\",\"error\":{\"code\":\"invalid_image_url\",\"message\":\"x\"}}",
         VERDICT_REJECTED},
        {"response policy", KIND_RESPONSES, "{\"model\":\"m\"}", "",
         "{\"status\":\"failed\",\"error\":{\"code\":\"bio_policy\",\"message\":\"x\"}}",
         VERDICT_CONTENT_REFUSED},
        {"response download", KIND_RESPONSES, "{\"model\":\"m\"}", "",
         "{\"status\":\"failed\",\"error\":{\"code\":\"failed_to_download_image\",\"message\":\"x\"}}",
         VERDICT_UNUSABLE},
        {"response cut", KIND_RESPONSES, "{\"model\":\"m\"}", "",
         "{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},"
         "\"output\":[{}]}",
         VERDICT_OK},
        {"response filtered", KIND_RESPONSES, "{\"model\":\"m\"}", "",
         "{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"content_filter\"},\"output\":[]}",
         VERDICT_CONTENT_REFUSED},
        {"response in the background", KIND_RESPONSES, "{\"model\":\"m\"}", "", "{\"status\":\"queued\"}",
         VERDICT_REJECTED},
        {"vector", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", "",
         "{\"data\":[{\"index\":0,\"embedding\":\"AACAPw==\"}]}", VERDICT_OK},
        {"vectors", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"x\",\"[,]\\\"\"]}", "",
         "{\"data\":[{\"embedding\":\"AACAPw==\"},{\"embedding\":[1.0]}]}", VERDICT_OK},
        {"one vector too few", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"x\",\"y\"]}", "",
         "{\"data\":[{\"embedding\":\"AACAPw==\"}]}", VERDICT_UNUSABLE},
        {"one vector too many", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", "",
         "{\"data\":[{\"embedding\":[1]},{\"embedding\":[1]}]}", VERDICT_UNUSABLE},
        {"tokens are one input", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":[1,2,3]}", "",
         "{\"data\":[{\"embedding\":[1]}]}", VERDICT_OK},
        {"lists of tokens", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":[[1,2],[3]]}", "",
         "{\"data\":[{\"embedding\":[1]},{\"embedding\":[2]}]}", VERDICT_OK},
        {"no base64", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", "",
         "{\"data\":[{\"embedding\":\"!!!!\"}]}", VERDICT_UNUSABLE},
        {"half a float", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", "",
         "{\"data\":[{\"embedding\":\"AAA=\"}]}", VERDICT_UNUSABLE},
        {"an empty vector", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", "",
         "{\"data\":[{\"embedding\":[]}]}", VERDICT_UNUSABLE},
        {"no vectors", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", "", "{\"data\":[]}",
         VERDICT_UNUSABLE},
        {"transcript", KIND_TRANSCRIPTIONS, "{\"model\":\"m\"}", "", "{\"text\":\"\"}", VERDICT_OK},
        {"transcript without text", KIND_TRANSCRIPTIONS, "{\"model\":\"m\"}", "", "{\"task\":\"x\"}",
         VERDICT_UNUSABLE},
        {"subtitles", KIND_TRANSCRIPTIONS, "{\"model\":\"m\",\"response_format\":\"srt\"}",
         "content-type: text/plain; charset=utf-8\r\n", "1\n00:00:00,000 --> 00:00:01,000\nhi\n", VERDICT_OK},
        {"text that looks like JSON", KIND_TRANSCRIPTIONS, "{\"model\":\"m\",\"response_format\":\"text\"}",
         "content-type: text/plain\r\n", "{curly} she said", VERDICT_OK},
        {"silence", KIND_TRANSCRIPTIONS, "{\"model\":\"m\",\"response_format\":\"text\"}",
         "content-type: text/plain\r\n", "\n", VERDICT_OK},
        {"no text at all", KIND_TRANSLATIONS, "{\"model\":\"m\",\"response_format\":\"text\"}", "", "",
         VERDICT_UNUSABLE},
        {"page for text", KIND_TRANSLATIONS, "{\"model\":\"m\",\"response_format\":\"text\"}",
         "content-type: text/html\r\n", "<html>", VERDICT_UNUSABLE},
        {"error for text", KIND_TRANSCRIPTIONS, "{\"model\":\"m\",\"response_format\":\"vtt\"}",
         "content-type: application/json\r\n", "{\"error\":{\"message\":\"x\",\"code\":429}}",
         VERDICT_THROTTLED},
        {"JSON for text", KIND_TRANSCRIPTIONS, "{\"model\":\"m\",\"response_format\":\"text\"}",
         "content-type: application/json\r\n", "{\"text\":\"hi\"}", VERDICT_OK},
        {"speech", KIND_SPEECH, "{\"model\":\"m\"}", "content-type: audio/mpeg\r\n", "ID3\x04{}", VERDICT_OK},
        {"speech without a type", KIND_SPEECH, "{\"model\":\"m\"}", "", "RIFF....", VERDICT_OK},
        {"no speech", KIND_SPEECH, "{\"model\":\"m\"}", "content-type: audio/mpeg\r\n", "", VERDICT_UNUSABLE},
        {"JSON for speech", KIND_SPEECH, "{\"model\":\"m\"}", "content-type: application/json\r\n",
         "{\"audio\":\"x\"}", VERDICT_UNUSABLE},
        {"error for speech", KIND_SPEECH, "{\"model\":\"m\"}", "",
         "{\"error\":{\"message\":\"x\",\"code\":\"insufficient_quota\"}}", VERDICT_PAUSE},
        {"page for speech", KIND_SPEECH, "{\"model\":\"m\"}", "content-type: text/html\r\n", "<html>",
         VERDICT_UNUSABLE},
        {"image", KIND_IMAGES, "{\"model\":\"m\"}", "", "{\"data\":[{\"b64_json\":\"AA==\"}]}", VERDICT_OK},
        {"no image", KIND_IMAGE_EDITS, "{\"model\":\"m\"}", "", "{\"data\":[]}", VERDICT_UNUSABLE},
        {"rerank", KIND_RERANK, "{\"model\":\"m\"}", "", "{\"results\":[]}", VERDICT_OK},
        {"rerank at Voyage", KIND_RERANK, "{\"model\":\"m\"}", "", "{\"data\":[]}", VERDICT_OK},
        {"no ranks", KIND_RERANK, "{\"model\":\"m\"}", "", "{}", VERDICT_UNUSABLE},
        {"moderation", KIND_MODERATIONS, "{\"model\":\"m\"}", "", "{\"results\":[{\"flagged\":true}]}",
         VERDICT_OK},
};

static void kinds_are_checked(void **state) {
        const struct dialect *dialect = dialect_find(BYTES("openai"));

        (void)state;
        for (size_t i = 0; i < sizeof(kind_rows) / sizeof(kind_rows[0]); i++) {
                struct job_spec job = job_of(kind_rows[i].kind, kind_rows[i].job);
                struct response response = {200, bytes_of(kind_rows[i].headers), bytes_of(kind_rows[i].body),
                                            NOW_MS, false};
                struct answer answer;

                dialect->read(&job, &response, &answer);
                if (answer.verdict != kind_rows[i].verdict)
                        fail_msg("%s: verdict %d instead of %d (%s)", kind_rows[i].name, (int)answer.verdict,
                                 (int)kind_rows[i].verdict, answer.message);
                check_invariants(kind_rows[i].name, &answer);
        }
}

/* ---- depth, messages ---- */

static enum verdict verdict_of_depth(size_t depth) {
        struct job_spec job = job_of(KIND_CHAT, chat_body);
        struct buffer body;
        struct answer answer;
        struct response response = {.status = 200};

        buffer_init(&body, depth * 2 + 100);
        buffer_append_string(&body, "{\"choices\":[{\"message\":{}}],\"deep\":");
        for (size_t i = 1; i < depth; i++)
                buffer_append_char(&body, '[');
        for (size_t i = 1; i < depth; i++)
                buffer_append_char(&body, ']');
        if (depth == 1)
                buffer_append_char(&body, '1');
        buffer_append_char(&body, '}');
        response.body = buffer_view(&body);
        dialect_find(BYTES("openai"))->read(&job, &response, &answer);
        buffer_deinit(&body);
        return answer.verdict;
}

static void nesting_is_limited(void **state) {
        (void)state;
        assert_int_equal(verdict_of_depth(64), VERDICT_OK);
        assert_int_equal(verdict_of_depth(65), VERDICT_UNUSABLE);
        assert_int_equal(verdict_of_depth(1000000), VERDICT_UNUSABLE);
}

static const struct {
        int32_t status;
        const char *body, *message;
} message_rows[] = {
        {429, "{\"error\":{\"message\":\"Slow\\nthen\\u0000\\u001b[31m red\",\"code\":\"slow_down\"}}",
         "HTTP 429 slow_down: Slow then [31m red"},
        {500, "", "HTTP 500: an empty body"},
        {502, "<html>", "HTTP 502: an HTML page instead of JSON"},
        {503, "upstream connect error\xff", "HTTP 503: upstream connect error?"},
        {400, "{}", "HTTP 400: no message"},
        {200, "{", "HTTP 200: a body that is not JSON, or is cut"},
        {422, "{\"detail\":[{\"msg\":\"Field required\",\"input\":{\"messages\":\"secret prompt\"}}]}",
         "HTTP 422: Field required"},
        /* keys never come through */
        {401,
         "{\"error\":{\"message\":\"Incorrect API key provided: sk-proj-A1b2C3d4E5f6G7h8I9j0. See "
         "x.\",\"code\":\"invalid_api_key\"}}",
         "HTTP 401 invalid_api_key: Incorrect API key provided: [redacted]. See x."},
        {401, "{\"error\":{\"message\":\"bad key 0123456789abcdef0123456789abcdef\"}}",
         "HTTP 401: bad key [redacted]"},
        {400, "{\"error\":{\"message\":\"header Bearer abcdefgh12 is odd\"}}",
         "HTTP 400: header Bearer [redacted] is odd"},
        {500, "{\"error\":{\"message\":\"gsk_A1b2C3d4E5f6G7h8I9j0 in request req_0123456789abcdefghij\"}}",
         "HTTP 500: [redacted] in request req_0123456789abcdefghij"},
        {500, "{\"error\":{\"message\":\"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl\"}}",
         "HTTP 500: [redacted]"},
};

static void messages_are_fit_to_be_shown(void **state) {
        struct job_spec job = job_of(KIND_CHAT, chat_body);

        (void)state;
        for (size_t i = 0; i < sizeof(message_rows) / sizeof(message_rows[0]); i++) {
                struct response response = {.status = message_rows[i].status,
                                            .body = bytes_of(message_rows[i].body)};
                struct answer answer;

                dialect_find(BYTES("openai"))->read(&job, &response, &answer);
                assert_string_equal(answer.message, message_rows[i].message);
        }
}

static void long_messages_are_cut_between_characters(void **state) {
        struct job_spec job = job_of(KIND_CHAT, chat_body);
        struct response response = {.status = 500};
        struct answer answer;
        struct buffer body;
        size_t size;

        (void)state;
        buffer_init(&body, 10000);
        for (int i = 0; i < 1000; i++)
                buffer_append_string(&body, "\xe2\x82\xac");
        response.body = buffer_view(&body);
        dialect_find(BYTES("openai"))->read(&job, &response, &answer);
        size = strlen(answer.message);
        assert_true(size <= ANSWER_MESSAGE_MAX - 1 && size > ANSWER_MESSAGE_MAX - 4);
        assert_memory_equal(answer.message + size - 3, "\xe2\x82\xac", 3);
        buffer_deinit(&body);
}

/* A limit of tokens that is used up blocks for the share of what the call used, or was expected to use. */
static void used_up_tokens_block_for_their_share(void **state) {
        static const char used[] =
                "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},"
                "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1900,\"completion_tokens\":100,"
                "\"prompt_tokens_details\":{\"cached_tokens\":500}}}";
        static const struct {
                int32_t status;
                const char *body;
                int64_t blocked_ns;
        } shares[] = {
                {200, used, 2 * S},
                {400, "{\"error\":{\"message\":\"no\"}}", S / 2},
                {200, "", S / 2},
        };
        struct job_spec job = job_of(KIND_CHAT, chat_body);

        (void)state;
        job.demand.input_tokens = 500;
        for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
                struct response response = {
                        .status = shares[i].status,
                        .headers =
                                BYTES("x-ratelimit-limit-tokens: 60000\r\nx-ratelimit-remaining-tokens: 0\r\n"
                                      "x-ratelimit-reset-tokens: 1m0s\r\n"),
                        .body = bytes_of(shares[i].body)};
                struct answer answer;

                dialect_find(BYTES("openai"))->read(&job, &response, &answer);
                assert_int_equal(answer.tokens_blocked_ns, shares[i].blocked_ns);
                assert_int_equal(answer.requests_blocked_ns, 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(answers_are_classified),
                cmocka_unit_test(kinds_are_checked),
                cmocka_unit_test(nesting_is_limited),
                cmocka_unit_test(messages_are_fit_to_be_shown),
                cmocka_unit_test(long_messages_are_cut_between_characters),
                cmocka_unit_test(used_up_tokens_block_for_their_share),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
