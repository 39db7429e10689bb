#include "broker/sim/answer_error.h"

#include "broker/base/time.h"
#include "broker/sim/headers.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

void sim_error_append(struct buffer *body, const char *message, const char *type, const char *param,
                      const char *code) {
        buffer_append_string(body, "{\"error\":{\"message\":\"");
        buffer_append_json_escaped(body, bytes_of(message));
        buffer_printf(body, "\",\"type\":\"%s\",\"param\":%s%s%s,\"code\":%s%s%s}}\n", type,
                      param == NULL ? "" : "\"", param == NULL ? "null" : param, param == NULL ? "" : "\"",
                      code == NULL ? "" : "\"", code == NULL ? "null" : code, code == NULL ? "" : "\"");
}

/* Refusals whose body is the plain error object. */
static const struct refusal {
        enum sim_fault_kind kind;
        const char *message, *type, *code;
} refusals[] = {
        {SIM_FAULT_RATE_QUOTA, "You exceeded your current quota, please check your plan and billing details.",
         "insufficient_quota", "insufficient_quota"},
        {SIM_FAULT_BAD_REQUEST, "This model's maximum context length is 128000 tokens.",
         "invalid_request_error", "context_length_exceeded"},
        {SIM_FAULT_UNAUTHORIZED, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"},
        {SIM_FAULT_PAYMENT_REQUIRED, "Insufficient credits.", "payment_required", "payment_required"},
        {SIM_FAULT_FORBIDDEN, "Project does not have access to this model.", "invalid_request_error",
         "model_not_allowed"},
        {SIM_FAULT_NOT_FOUND, "The model does not exist or you do not have access to it.",
         "invalid_request_error", "model_not_found"},
        {SIM_FAULT_REQUEST_TIMEOUT, "The request timed out.", "timeout", "request_timeout"},
        {SIM_FAULT_CONFLICT, "The resource was updated by another request.", "conflict", NULL},
        {SIM_FAULT_TOO_LARGE, "The request is too large.", "invalid_request_error", "request_too_large"},
        {SIM_FAULT_UNPROCESSABLE, "The request could not be processed.", "invalid_request_error",
         "unprocessable"},
        {SIM_FAULT_FAILED_DEPENDENCY, "The backend failed.", "backend", NULL},
        {SIM_FAULT_CAPACITY, "Flex tier capacity exceeded.", "capacity_exceeded", "capacity_exceeded"},
        {SIM_FAULT_SERVER_ERROR, "The server had an error while processing your request.", "server_error",
         NULL},
        {SIM_FAULT_BAD_GATEWAY, "Bad gateway.", "server_error", NULL},
        {SIM_FAULT_UNAVAILABLE, "The engine is currently overloaded, please try again later.",
         "service_unavailable_error", "server_is_overloaded"},
        {SIM_FAULT_SLOW_DOWN, "Please reduce your request rate.", "rate_limit_error", "slow_down"},
        {SIM_FAULT_GATEWAY_TIMEOUT, "Gateway timeout.", "server_error", NULL},
};

static void append_wait_headers(enum sim_fault_kind kind, int64_t wait_ns, int64_t now_unix_ms,
                                struct sim_headers *headers) {
        int64_t wait_s = (wait_ns + NS_PER_S - 1) / NS_PER_S, wait_ms = wait_ns / NS_PER_MS;
        time_t date = (time_t)((now_unix_ms + wait_ms + 999) / 1000);
        char text[SIM_HEADER_VALUE_BYTES];
        struct tm parts;

        switch ((int)kind) {
        case SIM_FAULT_RATE_SECONDS:
        case SIM_FAULT_UNAVAILABLE:
        case SIM_FAULT_SLOW_DOWN:
                sim_headers_add(headers, "Retry-After", "%" PRId64, wait_s);
                break;
        case SIM_FAULT_RATE_FLOAT:
                sim_headers_add(headers, "Retry-After", "%" PRId64 ".%03" PRId64, wait_ms / 1000,
                                wait_ms % 1000);
                break;
        case SIM_FAULT_RATE_HTTP_DATE:
                (void)gmtime_r(&date, &parts);
                (void)strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
                sim_headers_add(headers, "Retry-After", "%s", text);
                break;
        case SIM_FAULT_RATE_PAST_DATE:
                sim_headers_add(headers, "Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT");
                break;
        case SIM_FAULT_RATE_MS:
                sim_headers_add(headers, "retry-after-ms", "%" PRId64, wait_ms);
                sim_headers_add(headers, "Retry-After", "%" PRId64, wait_s);
                break;
        case SIM_FAULT_RATE_GARBAGE:
                sim_headers_add(headers, "Retry-After", "a little while");
                break;
        case SIM_FAULT_RATE_HUGE:
                sim_headers_add(headers, "Retry-After", "99999999999999999999");
                break;
        case SIM_FAULT_RATE_NEGATIVE:
                sim_headers_add(headers, "Retry-After", "-5");
                break;
        default:
                break;
        }
}

/* The 429s, and the shapes of other houses. */
static void append_special(struct sim_fault fault, int64_t wait_ns, struct buffer *body) {
        char message[120];
        int64_t wait_ms = wait_ns / NS_PER_MS;

        switch ((int)fault.kind) {
        case SIM_FAULT_RATE_GEMINI_BODY:
                buffer_printf(
                        body,
                        "{\"error\":{\"code\":429,\"message\":\"Resource has been exhausted.\",\"status\":"
                        "\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":\"type.googleapis.com/"
                        "google.rpc.RetryInfo\",\"retryDelay\":\"%" PRId64 ".%03" PRId64 "s\"}]}}\n",
                        wait_ms / 1000, wait_ms % 1000);
                break;
        case SIM_FAULT_RATE_MESSAGE:
                (void)snprintf(message, sizeof(message),
                               "Rate limit reached for requests. Please try again in %" PRId64 ".%03" PRId64
                               "s.",
                               wait_ms / 1000, wait_ms % 1000);
                sim_error_append(body, message, "requests", NULL, "rate_limit_exceeded");
                break;
        case SIM_FAULT_OVERLOADED:
                buffer_append_string(
                        body, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
                              "\"Overloaded\"}}\n");
                break;
        case SIM_FAULT_ERROR_IN_200:
                buffer_append_string(body, "{\"error\":{\"code\":502,\"message\":\"Provider returned error\","
                                           "\"metadata\":{\"error_type\":\"provider_unavailable\"}}}\n");
                break;
        default:
                sim_error_append(body, "Rate limit reached for requests.", "requests", NULL,
                                 "rate_limit_exceeded");
        }
}

const char *sim_error_fault(struct sim_fault fault, int64_t retry_after_ns, int64_t now_unix_ms,
                            struct buffer *body, struct sim_headers *headers) {
        static const char html[] = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
                                   "<body><center><h1>502 Bad Gateway</h1></center><hr></body></html>\n";

        append_wait_headers(fault.kind, retry_after_ns, now_unix_ms, headers);
        if (fault.kind == SIM_FAULT_HTML || fault.kind == SIM_FAULT_HTML_200) {
                buffer_append_string(body, html);
                return "text/html";
        }
        if (fault.kind == SIM_FAULT_NOT_JSON_200)
                buffer_append_string(body, "upstream said hello, this is not JSON");
        if (sim_fault_meaning(fault.kind) != SIM_FAULT_REFUSED)
                return "application/json";
        for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
                const struct refusal *refusal = &refusals[i];

                if (refusal->kind != fault.kind)
                        continue;
                sim_error_append(body, refusal->message, refusal->type, NULL, refusal->code);
                return "application/json";
        }
        append_special(fault, retry_after_ns, body);
        return "application/json";
}

void sim_error_limit(enum sim_verdict verdict, const struct sim_limits_config *config, int64_t wait_ns,
                     struct buffer *body, struct sim_headers *headers) {
        const char *type = verdict == SIM_VERDICT_REQUESTS      ? "requests"
                           : verdict == SIM_VERDICT_CONCURRENCY ? "concurrency"
                                                                : "tokens";
        int64_t limit = verdict == SIM_VERDICT_REQUESTS      ? config->requests_max
                        : verdict == SIM_VERDICT_CONCURRENCY ? config->concurrency_max
                                                             : config->tokens_max;
        int64_t wait_ms = (wait_ns + NS_PER_MS - 1) / NS_PER_MS;
        char message[160];

        if (verdict == SIM_VERDICT_TOO_LARGE) {
                (void)snprintf(message, sizeof(message),
                               "Request too large: limit %" PRId64 " tokens per minute.", limit);
        } else {
                (void)snprintf(message, sizeof(message),
                               "Rate limit reached for %s: limit %" PRId64 ". Please try again in %" PRId64
                               ".%03" PRId64 "s.",
                               type, limit, wait_ms / 1000, wait_ms % 1000);
                sim_headers_add(headers, "Retry-After", "%" PRId64, (wait_ms + 999) / 1000);
                sim_headers_add(headers, "retry-after-ms", "%" PRId64, wait_ms);
        }
        sim_error_append(body, message, type, NULL, "rate_limit_exceeded");
}
