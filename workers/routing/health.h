#pragma once
/*
 * How an endpoint is doing, as seen from here: breaker, adaptive concurrency, retry budget, speed. Pure;
 * every function takes the time. Values from reference reliability_performance.md A4, in
 * workers/routing/limits.h.
 *
 * Calls that started before the breaker opened end after it. While it is open their ends are ignored; while
 * it is half-open they cannot be told from probes, and count as such as long as a probe is under way.
 */
#include "broker/base/prng.h"
#include "workers/routing/pace.h"
#include "workers/routing/recent.h"

#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

/* Requests that do not say how much output they allow; then up to 16, 64, 256, ... tokens, and more. */
enum { OUTPUT_BOUNDS = 8 };

/* What each decision looks at stands first, and close together: it reads no more of the twenty. */
struct health {
        /* the last minutes, as of some moment ago: see health_look() */
        struct recent_figures figures;
        int64_t figures_ns;
        enum breaker_state state;
        bool figures_old; /* something ended since */
        /* paused: billing, keys, a wait above the cap */
        int64_t paused_until_ns;
        /* adaptive concurrency: additive increase, multiplicative decrease, once per round trip */
        double window;
        /* smoothed */
        double latency_ns;    /* of successes */
        double output_tokens; /* per answer; 0 before the first */
        double output_tokens_per_s;
        double tokens_ratio; /* reported input tokens over our estimate; rises at once, falls slowly */
        double tokens_mean;  /* the same, smoothed: what is expected; 0 before the first */
        double cached_share; /* of reported input tokens; 0 to 1 */
        struct pace pace;
        /* per answer, by what the request allowed: see health_output_tokens() */
        double outputs[OUTPUT_BOUNDS];
        /*
         * breaker: opens after >= 50 calls with >= 50 % failed in 30 s, or 10 consecutive failures; open for
         * 15 s. Half-open lets 1, 2, 4, 8 probes through and closes after 10 that succeeded; a failed one
         * opens it for twice the time, up to 5 min. Closed for 5 min, it opens for 15 s again.
         */
        int64_t open_until_ns, open_for_ns;
        int64_t window_start_ns;
        int64_t window_calls, window_failures; /* of this half window */
        int64_t last_calls, last_failures;     /* of the one before */
        int64_t closed_since_ns;
        int32_t consecutive_failures;
        int32_t probes_in_flight, probes_allowed, probes_succeeded;
        /* of the adaptive concurrency */
        double window_max;
        int64_t decreased_ns;
        /* retry budget: +budget per success, -1 per retry */
        double retry_tokens;
        double retry_share;
};

/* What an answer told of tokens; all of the input with the cached ones. -1 or 0: it did not. */
struct observed_tokens {
        int64_t estimated; /* demand.input_tokens */
        int64_t input, cached_input, output;
        int64_t output_max; /* demand.output_tokens_max */
};

/* window_max <= 0: none. The window starts there. */
void health_init(struct health *health, int64_t window_max, double retry_share, int64_t now_ns);

/*
 * When a call may be tried as far as breaker and pause say: <= now means now. Moves open to half-open when
 * it is time. While all probes are under way it says a little later than now: the answer of a probe may
 * come before.
 */
int64_t health_when(struct health *health, int64_t now_ns);
/*
 * Brings figures and mark of slowness up to date, when it is time. `recent` is of the same endpoint, and the
 * caller's: it is large.
 */
void health_look(struct health *health, const struct recent *recent, int64_t now_ns);
/* A call starts (counts a probe when half-open). */
void health_started(struct health *health, int64_t now_ns);
/* A call that was to start, or started, did not count (cancelled, our own fault). */
void health_abandoned(struct health *health);
/* A call that started then is over, in whatever way; what it says of the provider is told apart from that. */
void health_ended(struct health *health, int64_t started_ns);
void health_succeeded(struct health *health, int64_t latency_ns, int64_t now_ns);
/*
 * Calibrates tokens_ratio and tokens_mean (between 0.25 and 4), cached_share, outputs and
 * output_tokens_per_s.
 */
void health_observe_tokens(struct health *health, const struct observed_tokens *tokens, int64_t latency_ns);
/*
 * Output tokens to expect of a request that allows so many (-1: it does not say): the mean of those that
 * allowed about as many (within a factor of four), else of all; 0 before the first answer.
 */
double health_output_tokens(const struct health *health, int64_t output_max);
/* It failed in a way that speaks about the provider (5xx, connect, timeout, rubbish). */
void health_failed(struct health *health, int64_t now_ns);
/* 429 and "overloaded": does not count for the breaker; shrinks the window when `reduce`. */
void health_throttled(struct health *health, bool reduce, int64_t now_ns);
void health_pause(struct health *health, int64_t until_ns);
/*
 * Somebody has changed what is known of the endpoint: a pause ends, and with `elsewhere` (calls go to another
 * place now) the breaker closes too.
 */
void health_renew(struct health *health, double retry_share, bool elsewhere, int64_t now_ns);
/* Takes one retry out of the budget; false when it is empty (the retry must wait or go elsewhere). */
bool health_take_retry(struct health *health);
/* calls that may be in flight, >= 1 */
static inline int64_t health_window(const struct health *health) {
        return (int64_t)health->window;
}
