#pragma once
/*
 * Rate limits as a strict sliding window: at most so many requests and tokens in *any* window (a minute),
 * at most so many calls at once. Time is given, never read. A refused call does not count against the
 * window.
 *
 * The window is kept in SIM_LIMITS_SLICES slices, and a slice leaves the window as one, up to one slice
 * early (a tenth of a second in a minute), so a client that keeps to the limit exactly is never refused.
 */
#include "broker/base/bytes.h"

#define SIM_LIMITS_SLICES 600

struct sim_limits_config {
        int64_t requests_max, tokens_max, concurrency_max; /* per window; 0 is no limit */
        int64_t window_ns;                                 /* 0 is a minute */
};

struct sim_window {
        int64_t limit, used;
        int64_t slices[SIM_LIMITS_SLICES];
        int64_t newest; /* number of the slice that was last moved to, counted from time zero */
};

struct sim_limits {
        struct sim_limits_config config;
        struct sim_window requests, tokens;
        int64_t running;
        uint64_t refused_requests, refused_tokens, refused_concurrency;
};

enum sim_verdict {
        SIM_VERDICT_ADMITTED,
        SIM_VERDICT_REQUESTS,
        SIM_VERDICT_TOKENS,
        SIM_VERDICT_TOO_LARGE, /* more tokens than a whole window holds: never succeeds */
        SIM_VERDICT_CONCURRENCY,
};

void sim_limits_init(struct sim_limits *limits, struct sim_limits_config config);
void sim_limits_reset(struct sim_limits *limits); /* forgets the past; calls that run go on */
bool sim_limits_active(const struct sim_limits *limits);
/*
 * Admitted: counted, and sim_limits_finish() must follow. Refused: counted as a violation of that limit;
 * *out_wait_ns says when the same call would pass if nothing else came.
 */
enum sim_verdict sim_limits_admit(struct sim_limits *limits, int64_t now_ns, int64_t tokens,
                                  int64_t *out_wait_ns);
void sim_limits_finish(struct sim_limits *limits);
/* What the headers tell, now. The reset is the time until the window is empty. */
int64_t sim_limits_remaining(struct sim_limits *limits, struct sim_window *window, int64_t now_ns);
int64_t sim_limits_reset_ns(struct sim_limits *limits, struct sim_window *window, int64_t now_ns);
