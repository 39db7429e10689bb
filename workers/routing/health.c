/*
 * See the header. Breaker, retry budget and calibration are sections of their own; the rest ties them
 * together.
 */
#include "workers/routing/health.h"

#include "broker/base/check.h"
#include "workers/routing/limits.h"

#include <string.h>

static double clamp(double value, double min, double max) {
        return value < min ? min : value > max ? max : value;
}

/* 0 stands for "not known yet": the first value is taken whole. */
static void smooth(double *average, double value) {
        *average = *average > 0 ? *average + EWMA_ALPHA * (value - *average) : value;
}

/* Breaker. */

static void breaker_forget_calls(struct health *health, int64_t now_ns) {
        health->window_start_ns = now_ns;
        health->window_calls = health->window_failures = 0;
        health->last_calls = health->last_failures = 0;
        health->consecutive_failures = 0;
}

static void breaker_roll(struct health *health, int64_t now_ns) {
        int64_t age_ns = now_ns - health->window_start_ns;
        if (age_ns < BREAKER_HALF_WINDOW_NS)
                return;
        bool follows = age_ns < 2 * BREAKER_HALF_WINDOW_NS;
        health->last_calls = follows ? health->window_calls : 0;
        health->last_failures = follows ? health->window_failures : 0;
        health->window_calls = health->window_failures = 0;
        health->window_start_ns += age_ns - age_ns % BREAKER_HALF_WINDOW_NS;
}

static void breaker_open(struct health *health, int64_t now_ns) {
        health->state = BREAKER_OPEN;
        health->open_until_ns = now_ns + health->open_for_ns;
        breaker_forget_calls(health, now_ns);
}

static void breaker_close(struct health *health, int64_t now_ns) {
        health->state = BREAKER_CLOSED;
        health->closed_since_ns = now_ns;
        breaker_forget_calls(health, now_ns);
}

static bool breaker_tripped(const struct health *health) {
        int64_t calls = health->window_calls + health->last_calls;
        int64_t failures = health->window_failures + health->last_failures;
        return health->consecutive_failures >= BREAKER_CONSECUTIVE ||
               (calls >= BREAKER_CALLS_MIN && failures * 100 >= calls * BREAKER_FAILURES_PERCENT);
}

/* Whether the call that ended was a probe, as far as can be told; it is none any more. */
static bool breaker_probe_ended(struct health *health) {
        if (health->state != BREAKER_HALF_OPEN || health->probes_in_flight == 0)
                return false;
        health->probes_in_flight--;
        return true;
}

static void breaker_succeeded(struct health *health, int64_t now_ns) {
        if (health->state == BREAKER_CLOSED) {
                breaker_roll(health, now_ns);
                health->window_calls++;
                health->consecutive_failures = 0;
        }
        if (!breaker_probe_ended(health))
                return;
        if (++health->probes_succeeded >= BREAKER_PROBES_TO_CLOSE)
                breaker_close(health, now_ns);
        else if (health->probes_succeeded >= 2 * health->probes_allowed - 1)
                health->probes_allowed *= 2;
}

static void breaker_failed(struct health *health, int64_t now_ns) {
        if (health->state == BREAKER_CLOSED) {
                breaker_roll(health, now_ns);
                health->window_calls++;
                health->window_failures++;
                health->consecutive_failures++;
                if (!breaker_tripped(health))
                        return;
                if (now_ns - health->closed_since_ns >= BREAKER_FORGET_NS)
                        health->open_for_ns = BREAKER_OPEN_MIN_NS;
                breaker_open(health, now_ns);
        } else if (breaker_probe_ended(health)) {
                int64_t twice_ns = 2 * health->open_for_ns;
                health->open_for_ns = twice_ns < BREAKER_OPEN_MAX_NS ? twice_ns : BREAKER_OPEN_MAX_NS;
                breaker_open(health, now_ns);
        }
}

static int64_t breaker_when(struct health *health, int64_t now_ns) {
        if (health->state == BREAKER_CLOSED)
                return now_ns;
        if (health->state == BREAKER_OPEN) {
                if (now_ns < health->open_until_ns)
                        return health->open_until_ns;
                health->state = BREAKER_HALF_OPEN;
                health->probes_in_flight = health->probes_succeeded = 0;
                health->probes_allowed = 1;
        }
        return health->probes_in_flight < health->probes_allowed ? now_ns : now_ns + BREAKER_PROBE_LOOK_NS;
}

/* The whole. */

void health_init(struct health *health, int64_t window_max, double retry_share, int64_t now_ns) {
        CHECK(retry_share >= 0);
        memset(health, 0, sizeof *health);
        breaker_close(health, now_ns);
        health->open_for_ns = BREAKER_OPEN_MIN_NS;
        health->paused_until_ns = INT64_MIN;
        health->window_max = (double)(window_max > 0 ? window_max : WINDOW_MAX_DEFAULT);
        health->window = health->window_max;
        health->decreased_ns = now_ns - BREAKER_FORGET_NS;
        health->figures_ns = now_ns - PERCENTILES_PART_NS;
        health->retry_tokens = RETRY_TOKENS_START;
        health->retry_share = retry_share;
        health->tokens_ratio = 1;
        health->figures.success_permille = -1;
        pace_init(&health->pace, now_ns);
}

void health_look(struct health *health, const struct recent *recent, int64_t now_ns) {
        int64_t every_ns = health->figures_old ? FIGURES_EVERY_NS : PERCENTILES_PART_NS / 4;
        if (now_ns - health->figures_ns >= every_ns) {
                recent_read(recent, now_ns, &health->figures);
                health->figures_ns = now_ns;
                health->figures_old = false;
        }
        pace_look(&health->pace, health->figures.latency_p_ns[PERCENTILES_COUNT - 1], now_ns);
}

int64_t health_when(struct health *health, int64_t now_ns) {
        int64_t when_ns = breaker_when(health, now_ns);
        return when_ns > health->paused_until_ns ? when_ns : health->paused_until_ns;
}

void health_started(struct health *health, int64_t now_ns) {
        (void)breaker_when(health, now_ns);
        if (health->state == BREAKER_HALF_OPEN)
                health->probes_in_flight++;
        pace_started(&health->pace, now_ns);
}

void health_ended(struct health *health, int64_t started_ns) {
        pace_ended(&health->pace, started_ns);
        health->figures_old = true;
}

void health_abandoned(struct health *health) {
        (void)breaker_probe_ended(health);
}

void health_succeeded(struct health *health, int64_t latency_ns, int64_t now_ns) {
        breaker_succeeded(health, now_ns);
        health->window = clamp(health->window + 1 / health->window, 1, health->window_max);
        health->retry_tokens = clamp(health->retry_tokens + health->retry_share, 0, RETRY_TOKENS_MAX);
        if (latency_ns > 0)
                smooth(&health->latency_ns, (double)latency_ns);
}

void health_failed(struct health *health, int64_t now_ns) {
        breaker_failed(health, now_ns);
}

void health_throttled(struct health *health, bool reduce, int64_t now_ns) {
        (void)breaker_probe_ended(health);
        double apart_ns = (double)WINDOW_DECREASE_MIN_NS;
        if (health->latency_ns > apart_ns)
                apart_ns = health->latency_ns;
        if (!reduce || (double)(now_ns - health->decreased_ns) < apart_ns)
                return;
        health->window = clamp(health->window / 2, 1, health->window_max);
        health->decreased_ns = now_ns;
}

void health_pause(struct health *health, int64_t until_ns) {
        if (health->paused_until_ns < until_ns)
                health->paused_until_ns = until_ns;
}

void health_renew(struct health *health, double retry_share, bool elsewhere, int64_t now_ns) {
        health->paused_until_ns = INT64_MIN;
        health->retry_share = retry_share;
        if (!elsewhere)
                return;
        breaker_close(health, now_ns);
        health->open_for_ns = BREAKER_OPEN_MIN_NS;
        health->probes_in_flight = 0;
}

/* Retry budget. The hair below 1 takes up the rounding of adding a tenth ten times. */

bool health_take_retry(struct health *health) {
        if (health->retry_tokens < 1 - 1e-9)
                return false;
        health->retry_tokens = clamp(health->retry_tokens - 1, 0, RETRY_TOKENS_MAX);
        return true;
}

/* Calibration. */

static uint32_t bound_of(int64_t output_max) {
        if (output_max < 0)
                return 0;
        uint32_t bound = 1;
        for (int64_t most = 16; output_max > most && bound < OUTPUT_BOUNDS - 1; most *= 4)
                bound++;
        return bound;
}

double health_output_tokens(const struct health *health, int64_t output_max) {
        double seen = health->outputs[bound_of(output_max)];
        return seen > 0 ? seen : health->output_tokens;
}

static void observe_input(struct health *health, const struct observed_tokens *tokens) {
        double ratio = (double)tokens->input / (double)tokens->estimated;
        ratio = clamp(ratio, TOKENS_RATIO_MIN, TOKENS_RATIO_MAX);
        double alpha = ratio > health->tokens_ratio ? 1 : TOKENS_RATIO_ALPHA;
        health->tokens_ratio += alpha * (ratio - health->tokens_ratio);
        smooth(&health->tokens_mean, ratio);
}

void health_observe_tokens(struct health *health, const struct observed_tokens *tokens, int64_t latency_ns) {
        if (tokens->estimated > 0 && tokens->input > 0)
                observe_input(health, tokens);
        if (tokens->input > 0) {
                double share = clamp((double)tokens->cached_input / (double)tokens->input, 0, 1);
                health->cached_share += EWMA_ALPHA * (share - health->cached_share);
        }
        if (tokens->output <= 0)
                return;
        smooth(&health->output_tokens, (double)tokens->output);
        smooth(&health->outputs[bound_of(tokens->output_max)], (double)tokens->output);
        if (latency_ns > 0)
                smooth(&health->output_tokens_per_s,
                       (double)tokens->output * (double)NS_PER_S / (double)latency_ns);
}
