#pragma once
/*
 * The constants of routing, each with what it protects. Values from reference reliability_performance.md A4
 * where not said otherwise.
 */
#include "broker/base/time.h"

/* Breaker: enough calls to judge a rate by, over a time that forgets an old outage. */
#define BREAKER_HALF_WINDOW_NS (15 * NS_PER_S)
#define BREAKER_OPEN_MIN_NS    (15 * NS_PER_S)
#define BREAKER_OPEN_MAX_NS    (300 * NS_PER_S)
/* Closed for so long, an earlier outage no longer makes the next one longer. */
#define BREAKER_FORGET_NS (300 * NS_PER_S)
/*
 * While every probe is under way: how soon to look again. Bounds the wake-ups, not the probing: an answer
 * wakes anyway.
 */
#define BREAKER_PROBE_LOOK_NS (250 * NS_PER_MS)

/* Two halvings of one window are at least this far apart: one burst of 429 is one signal. */
#define WINDOW_DECREASE_MIN_NS (100 * NS_PER_MS)
/* Where no concurrency is configured. */
#define WINDOW_MAX_DEFAULT INT64_C(1000000)

/* How far a limiter may run ahead of an even flow; providers judge by the second (providers.md 1.2). */
#define LIMITER_AHEAD_NS NS_PER_S
/* Limits over a longer time are quotas, which nobody wants to be spread over a day. */
#define LIMITER_PACED_NS (60 * NS_PER_S)

/*
 * A part of a limit that is too small for an amount is looked at again after so long, if nothing changes
 * before: long enough for a job to go elsewhere.
 */
#define LIMITER_SMALL_PART_NS (120 * NS_PER_S)

/* Figures of an endpoint go back five minutes, as the field's do (gateways.md 1.1), in parts of one. */
#define PERCENTILES_PART_NS (60 * NS_PER_S)
/* Bounds what making them costs; decisions read what was made. */
#define FIGURES_EVERY_NS (500 * NS_PER_MS)

/*
 * Grey failure: an endpoint that answers, but slower than its own usual by SLOW_BUCKETS (eighths of octaves:
 * three times), for so long.
 */
#define SLOW_AFTER_NS NS_PER_S
/* Calls under way for less may be of jobs that are larger than those before them. */
#define SLOW_HANGING_MIN_NS (3 * NS_PER_S)
/* Marked for that long at least; twice as long each time that it comes back within BREAKER_FORGET_NS. */
#define SLOW_FOR_MIN_NS (10 * NS_PER_S)
#define SLOW_FOR_MAX_NS (300 * NS_PER_S)
/* While marked, one call per so long goes there as if it were not: twice what a call takes, within these. */
#define SLOW_PROBE_MIN_NS (1 * NS_PER_S)
#define SLOW_PROBE_MAX_NS (30 * NS_PER_S)
/* A mark behind which no answer stands for so long goes: the field's window. */
#define SLOW_FORGET_NS (300 * NS_PER_S)
/* What is usual follows in about that time; while marked, so that slowness does not become usual soon. */
#define USUAL_NS      (300 * NS_PER_S)
#define USUAL_SLOW_NS (3600 * NS_PER_S)

/*
 * While calls under way hold what is left of a budget: looked at again after so long, sooner when one ends.
 */
#define BUDGET_LOOK_NS NS_PER_S

/* Audio whose length is not known yet is compared as if it were this long. */
#define AUDIO_GUESS_MS INT64_C(60000)

enum {
        BREAKER_CALLS_MIN = 50,        /* fewer calls say nothing about a rate */
        BREAKER_FAILURES_PERCENT = 50, /* of the calls in the window */
        BREAKER_CONSECUTIVE = 10,      /* opens it however few calls there were */
        BREAKER_PROBES_TO_CLOSE = 10,

        RETRY_TOKENS_START = 10, /* lets the first failures be retried before there was a success */
        RETRY_TOKENS_MAX = 100,  /* a long good time must not pay for a storm of retries */

        SLOW_BUCKETS = 13,      /* above the usual: 3.1 times */
        WELL_BUCKETS = 5,       /* above the usual: 1.5 times; below that it has recovered */
        SLOW_IN_ROW = 3,        /* answers in a row, so that one long job is no failure; the same for well */
        USUAL_ANSWERS_MIN = 20, /* fewer say nothing about what is usual */
        SLOW_HANGING_TIMES = 3, /* calls under way for so many times p99 will not be quick any more */
        SLOW_HANGING_CALLS = 2, /* and at least so many of them */

        OUTPUT_TOKENS_GUESS = 256, /* per answer, when no endpoint has answered yet */

        SUCCESS_PERMILLE_MIN = 800, /* below it an endpoint is a fallback only, as at OpenRouter */

        /* `sort: balanced`: weights of price, quality and speeds, of 100; who has no value gets half marks */
        BALANCE_PRICE = 50,
        BALANCE_QUALITY = 20,
        BALANCE_THROUGHPUT = 20,
        BALANCE_LATENCY = 10,
        BALANCE_UNKNOWN = 500, /* thousandths */
};

/* Bounds of the calibration, so that one answer with a wrong usage cannot stop or flood an endpoint. */
#define TOKENS_RATIO_MIN   0.25
#define TOKENS_RATIO_MAX   4.0

#define EWMA_ALPHA         0.1
#define TOKENS_RATIO_ALPHA 0.01 /* downwards only */

_Static_assert(BREAKER_OPEN_MIN_NS <= BREAKER_OPEN_MAX_NS, "the first opening is the shortest");
_Static_assert(BREAKER_CONSECUTIVE < BREAKER_CALLS_MIN,
               "a dead provider is seen before the rate can be judged");
_Static_assert(BALANCE_PRICE + BALANCE_QUALITY + BALANCE_THROUGHPUT + BALANCE_LATENCY == 100,
               "they are percent");
_Static_assert(WELL_BUCKETS < SLOW_BUCKETS, "recovered is well below slow, or it would flap");
_Static_assert(RETRY_TOKENS_START <= RETRY_TOKENS_MAX, "starts within its bound");
