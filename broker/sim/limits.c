/*
 * Slices are numbered from SIM_LIMITS_SLICES at time zero, so that none before it is negative: slice k
 * covers [(k - SLICES) * slice_ns, (k - SLICES + 1) * slice_ns) and leaves the window at k * slice_ns. At
 * slice `newest` the window holds the slices newest - SLICES + 1 to newest; `used` is their sum.
 */
#include "broker/sim/limits.h"

#include "broker/base/time.h"

#include <string.h>

void sim_limits_init(struct sim_limits *limits, struct sim_limits_config config) {
        memset(limits, 0, sizeof(*limits));
        limits->config = config;
        if (limits->config.window_ns < SIM_LIMITS_SLICES)
                limits->config.window_ns = 60 * NS_PER_S;
        limits->requests.limit = config.requests_max;
        limits->tokens.limit = config.tokens_max;
}

void sim_limits_reset(struct sim_limits *limits) {
        int64_t running = limits->running;

        sim_limits_init(limits, limits->config);
        limits->running = running;
}

bool sim_limits_active(const struct sim_limits *limits) {
        const struct sim_limits_config *config = &limits->config;

        return config->requests_max > 0 || config->tokens_max > 0 || config->concurrency_max > 0;
}

static int64_t slice_ns(const struct sim_limits *limits) {
        return limits->config.window_ns / SIM_LIMITS_SLICES;
}

static void window_move(const struct sim_limits *limits, struct sim_window *window, int64_t now_ns) {
        int64_t slice = now_ns / slice_ns(limits) + SIM_LIMITS_SLICES;

        if (slice - window->newest >= SIM_LIMITS_SLICES) {
                memset(window->slices, 0, sizeof(window->slices));
                window->used = 0;
                window->newest = slice;
        }
        while (window->newest < slice) {
                int64_t *oldest = &window->slices[++window->newest % SIM_LIMITS_SLICES];

                window->used -= *oldest;
                *oldest = 0;
        }
}

/* When enough will have left the window that `more` fits. */
static int64_t window_wait_ns(const struct sim_limits *limits, const struct sim_window *window, int64_t more,
                              int64_t now_ns) {
        int64_t used = window->used, slice = window->newest - SIM_LIMITS_SLICES;

        while (used + more > window->limit && slice < window->newest) {
                slice++;
                used -= window->slices[slice % SIM_LIMITS_SLICES];
        }
        return slice * slice_ns(limits) - now_ns;
}

static void window_add(struct sim_window *window, int64_t amount) {
        window->slices[window->newest % SIM_LIMITS_SLICES] += amount;
        window->used += amount;
}

enum sim_verdict sim_limits_admit(struct sim_limits *limits, int64_t now_ns, int64_t tokens,
                                  int64_t *out_wait_ns) {
        const struct sim_limits_config *config = &limits->config;

        window_move(limits, &limits->requests, now_ns);
        window_move(limits, &limits->tokens, now_ns);
        if (config->concurrency_max > 0 && limits->running >= config->concurrency_max) {
                limits->refused_concurrency++;
                *out_wait_ns = NS_PER_S;
                return SIM_VERDICT_CONCURRENCY;
        }
        if (config->requests_max > 0 && limits->requests.used >= config->requests_max) {
                limits->refused_requests++;
                *out_wait_ns = window_wait_ns(limits, &limits->requests, 1, now_ns);
                return SIM_VERDICT_REQUESTS;
        }
        if (config->tokens_max > 0 && limits->tokens.used + tokens > config->tokens_max) {
                limits->refused_tokens++;
                *out_wait_ns = window_wait_ns(limits, &limits->tokens, tokens, now_ns);
                return tokens > config->tokens_max ? SIM_VERDICT_TOO_LARGE : SIM_VERDICT_TOKENS;
        }
        window_add(&limits->requests, 1);
        window_add(&limits->tokens, tokens);
        limits->running++;
        return SIM_VERDICT_ADMITTED;
}

void sim_limits_finish(struct sim_limits *limits) {
        limits->running--;
}

int64_t sim_limits_remaining(struct sim_limits *limits, struct sim_window *window, int64_t now_ns) {
        window_move(limits, window, now_ns);
        return window->used > window->limit ? 0 : window->limit - window->used;
}

int64_t sim_limits_reset_ns(struct sim_limits *limits, struct sim_window *window, int64_t now_ns) {
        int64_t slice;

        window_move(limits, window, now_ns);
        slice = window->newest;
        while (slice > window->newest - SIM_LIMITS_SLICES && window->slices[slice % SIM_LIMITS_SLICES] == 0)
                slice--;
        if (slice == window->newest - SIM_LIMITS_SLICES)
                return 0;
        return slice * slice_ns(limits) - now_ns;
}
