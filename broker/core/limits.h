#pragma once
/* Bounds of the engine that no setting changes, each with what it protects. */
#include "workers/routing/budget.h"

enum {
        /*
         * Calls that were refused with "later" do not count as attempts; this many end a job all the same, so
         * that no job lives for ever.
         */
        THROTTLES_MAX = 10000,
        /*
         * 200 answers that cannot be used may have been billed each time: fewer tries than for plain
         * failures.
         */
        UNUSABLES_MAX = 2,
        /*
         * Failed fetches of an input file before the job ends: no provider is involved, and somebody waits
         * for word.
         */
        INPUT_TRIES_MAX = 4,
        /*
         * Jobs opened for one class before the next one has its turn: keeps one model's backlog from starving
         * another's.
         */
        CLASS_BURST = 16,
        /* One job in so many is of the class that has waited longest: a low priority is late, not never. */
        GUARANTEE = 16,
        /* Of workspaces: the most that one can have of another's turns. */
        WEIGHT_MAX = 1000000,
        /* Priorities of messages.md, -10 to 10. */
        PRIORITY_MIN = -10,
        PRIORITY_MAX = 10,
        PRIORITIES = PRIORITY_MAX - PRIORITY_MIN + 1,
        /*
         * Attempts that may be open ahead of their permits however slow the calls are: keeps a first burst
         * going.
         */
        OPEN_AHEAD_MIN = 8,
        /*
         * Usage that costs more than so many times the most that a call can cost is no usage: keeps a
         * provider's slip out of bills and budgets.
         */
        USAGE_BELIEVED_TIMES = 100,
        /*
         * Groups of classes that are planned for together; the jobs of more go by the plain rule. Bounds the
         * memory and the time of plans.
         */
        PLAN_POOLS_MAX = 64,
        PLAN_BUCKETS = 1936, /* of PLAN_BUCKET_NS: what a plan looks ahead, and a little more */
        /*
         * Of an endpoint that is slow or failing a plan counts on a trickle, by which it is seen to recover.
         */
        PLAN_UNFIT_HOURLY = 60,
        /* Parts into which limits are divided: one per partition of the jobs. */
        PARTS_MAX = 4096,
        /*
         * Of a limit over more than a minute, so small a part may be opened ahead: a crash takes no more of
         * it away, and one call can always be opened.
         */
        OPENED_PART = 128,
        /* State changes remembered for a failed CHECK(). */
        TRACE_MAX = 256,
};
_Static_assert((int)PARTS_MAX == (int)BUDGET_PARTS_MAX, "both are partitions of the jobs");
_Static_assert(UNUSABLES_MAX < THROTTLES_MAX, "an unusable answer costs more than a refusal");

/*
 * A job waits that long for the cheapest endpoint before a dearer one will do: the longest that a limit per
 * minute takes to slide.
 */
#define PATIENCE_NS (INT64_C(60) * 1000000000)
/* How finely a plan tells deadlines apart. */
#define PLAN_BUCKET_NS (INT64_C(60) * 1000000000)
/* A plan is that old at most: bounds both its cost and how long a mistake lasts. */
#define PLAN_AGE_NS (INT64_C(5) * 1000000000)
/* What a call takes where none was answered yet. */
#define PLAN_LATENCY_NS (INT64_C(10) * 1000000000)
/* Of a limit, what a plan counts on: the rest is for calls that fail, and for jobs that come later. */
#define PLAN_CAPACITY_PERCENT 93
/* A provider without credit is asked again after an hour, unless it said when. */
#define PAUSE_NS (INT64_C(3600) * 1000000000)
/* A refused key is tried again after five minutes: somebody may have mended it. */
#define PAUSE_AUTH_NS (INT64_C(300) * 1000000000)
/*
 * How long before its permit an attempt may be journaled: hides the wait for the disk, and binds no job to an
 * endpoint for longer than that.
 */
#define OPEN_AHEAD_NS (INT64_C(1) * 1000000000)
/*
 * Attempts are opened ahead for as many calls as began in about that time: what the journal needs to keep up,
 * and no more, since a crash leaves all of them of unknown outcome.
 */
#define PACE_NS (INT64_C(50) * 1000000)
/*
 * A durable attempt whose permit has moved farther away than that (the provider named a wait) is withdrawn:
 * another endpoint may do.
 */
#define READY_PATIENCE_NS (INT64_C(10) * 1000000000)
/*
 * A wait beyond this is no matter of pace: the endpoint is paused, so that jobs go elsewhere and somebody is
 * told (providers.md 12.3).
 */
#define WAIT_HELD_NS (INT64_C(900) * 1000000000)
/*
 * What a provider says is believed up to here, so that sums stay far from overflow: a day, and more tokens
 * than any context.
 */
#define WAIT_BELIEVED_NS (INT64_C(86400) * 1000000000)
#define TOKENS_BELIEVED  (INT64_C(1) << 40)
/* Tokens of the largest context there is (Llama 4 Scout), for endpoints that do not say theirs. */
#define CONTEXT_BELIEVED INT64_C(10000000)
/*
 * A wall clock that moves by more than that against the monotonic one was set: deadlines are reckoned anew.
 */
#define CLOCK_SET_MS 250
/*
 * A job whose own history blocks it looks again that often, so that it does not hold the others of its class.
 */
#define LOOK_AGAIN_NS (INT64_C(1) * 1000000000)
/*
 * The shares of workspaces look back about that long: whoever could not use its share, or used what nobody
 * else wanted, is even with the others again soon.
 */
#define SHARE_HALF_LIFE_NS (INT64_C(30) * 1000000000)
