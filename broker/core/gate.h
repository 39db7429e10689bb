#pragma once
/*
 * The limits of one endpoint, provider or workspace: those of schemas/quotas.def, each a bound for any
 * window, and how many calls there may be at a time. Only limits that somebody set have a limiter, and these
 * lie in memory that the owner of the gate made beforehand. A call passes the gates of its endpoint, its
 * provider and its workspace, all of them or none.
 */
#include "workers/routing/catalog.h"
#include "workers/routing/limiter.h"

enum unit { UNIT_CALLS, UNIT_TOKENS, UNIT_AUDIO_MS, UNIT_IMAGES, UNITS_COUNT };

/* What a call takes of each. */
struct amounts {
        int64_t of[UNITS_COUNT];
};

enum quota {
#define QUOTA(member, unit, window) QUOTA_##member,
#include "schemas/quotas.def"
#undef QUOTA
        QUOTAS_COUNT,
};

struct gate {
        struct limiter *limiters;
        uint8_t quotas[QUOTAS_COUNT]; /* enum quota of each limiter */
        uint32_t limiters_count;
        int64_t blocked_until_ns; /* the provider said so */
        int64_t concurrency;      /* INT64_MAX: no limit */
        int64_t concurrency_whole;
        uint32_t in_flight;
        uint32_t opened;               /* jobs OPENING or READY: they will want a permit each */
        struct amounts opened_amounts; /* of all of these together */
        uint64_t epoch;                /* changes when room may have come up */
};

/* How many of `limits` hold in a window: so many limiters gate_init() takes. */
uint32_t gate_limiters(const struct limits_spec *limits);
/* Gives what stands behind the limiters that it took. */
struct limiter *gate_init(struct gate *gate, const struct limits_spec *limits, struct limiter *limiters,
                          int64_t now_ns);
/*
 * The limits are others from here on, with limiters in other memory: a limit that was there before keeps what
 * was taken of it, a new one begins empty. Calls that are opened or under way stay. Of each, these parts are
 * ours (engine_share()); whole 0: all of it.
 */
struct limiter *gate_change(struct gate *gate, const struct limits_spec *limits, struct limiter *limiters,
                            const uint32_t *parts, size_t count, uint32_t whole, int64_t now_ns);

/*
 * When the windows would admit that, all of them: see limiter_when(). With `behind_opened`, after what is
 * opened already.
 */
int64_t gate_when(struct gate *gate, const struct amounts *amounts, bool behind_opened, int64_t now_ns);
/* How many calls of these amounts the windows let through in an hour; INT64_MAX: no limit. */
int64_t gate_hourly(const struct gate *gate, const struct amounts *amounts);
/*
 * Calls that may begin now by concurrency alone; with `behind_opened`, besides those opened. May be negative.
 */
int64_t gate_room(const struct gate *gate, bool behind_opened);
/* An attempt is opened for a call of these amounts, or is not any more. */
void gate_open(struct gate *gate, const struct amounts *amounts);
void gate_unopen(struct gate *gate, const struct amounts *amounts);
/* A call begins: gate_when() has just said that it may. */
void gate_take(struct gate *gate, const struct amounts *amounts, int64_t now_ns);
/* What calls have used besides what they took; never refunds. */
void gate_charge(struct gate *gate, const struct amounts *more, int64_t now_ns);
/* Nothing before then: Retry-After, or remaining 0 with its reset. Only ever moves later. */
void gate_block(struct gate *gate, int64_t until_ns);

/*
 * The largest number of tokens, but not more than `guess`, that a call of surely at most `said` tokens is to
 * be counted with: a guess alone makes no call too large for a limit.
 */
int64_t gate_tokens(const struct gate *gate, int64_t guess, int64_t said);

/* What a gate has of its limits: see engine_share(). */
struct limit_part;
void gate_share(struct gate *gate, const struct limit_part *parts, size_t count, uint32_t whole,
                int64_t now_ns);
