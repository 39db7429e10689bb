#pragma once
/*
 * The limits of one endpoint, provider or workspace: those of schemas/quotas.def, each a bound for any
 * window, and how many calls there may be at a time. Only limits that somebody set have a limiter, and these
 * lie in memory that the owner of the gate made beforehand. A call passes the gates of its endpoint, its
 * provider and its workspace, all of them or none.
 */
#include "broker/core/quota.h"
#include "workers/routing/catalog.h"
#include "workers/routing/limiter.h"

enum unit { UNIT_CALLS, UNIT_TOKENS, UNIT_AUDIO_MS, UNIT_IMAGES, UNITS_COUNT };

/* What a call takes of each. */
struct amounts {
        int64_t of[UNITS_COUNT];
};

struct gate {
        struct limiter *limiters;
        uint32_t limiters_count;
        uint32_t in_flight;
        uint32_t opened;          /* jobs OPENING or READY: they will want a permit each */
        int64_t blocked_until_ns; /* the provider said so */
        int64_t concurrency;      /* INT64_MAX: no limit */
        int64_t concurrency_whole;
        struct amounts opened_amounts; /* of all of these together */
        uint8_t quotas[QUOTAS_COUNT];  /* enum quota of each limiter */
        /* bit per quota: its limiter is new, and nobody has said what was taken before */
        uint32_t new_quotas;
        bool untold;     /* it is in engine.untold */
        bool untold_all; /* all sub-windows are to be told, not only those since told_ns */
        int64_t told_ns; /* what was taken before has been told (quotas.h) */
        uint64_t epoch;  /* changes when room may have come up */
};

/* How many of `limits` hold in a window: so many limiters gate_init() takes. */
uint32_t gate_limiters(const struct limits_spec *limits);
/*
 * Gives what stands behind the limiters that it took. now: sub-windows of long windows are those of the wall
 * clock (limiter_align()).
 */
struct gate_clock {
        int64_t now_ns;
        int64_t wall_ahead_ns; /* the wall clock less that */
};
struct limiter *gate_init(struct gate *gate, const struct limits_spec *limits, struct limiter *limiters,
                          struct gate_clock now);
/*
 * The limits are others from here on, with limiters in other memory: a limit that was there before keeps what
 * was taken of it, a new one begins empty. Calls that are opened or under way stay. Of each, these parts are
 * ours (engine_share()); whole 0: all of it.
 */
struct limiter *gate_change(struct gate *gate, const struct limits_spec *limits, struct limiter *limiters,
                            const uint32_t *parts, size_t count, uint32_t whole, struct gate_clock now);

/* gate_when() of a gate with windows. */
int64_t gate_when_limited(struct gate *gate, const struct amounts *amounts, bool behind_opened,
                          int64_t now_ns);
/*
 * When the windows would admit that, all of them: see limiter_when(). With `behind_opened`, after what is
 * opened already. Here, as are others below, because each decision asks at three gates of each candidate,
 * most of which have no limit.
 */
static inline int64_t gate_when(struct gate *gate, const struct amounts *amounts, bool behind_opened,
                                int64_t now_ns) {
        if (gate->limiters_count > 0)
                return gate_when_limited(gate, amounts, behind_opened, now_ns);
        return gate->blocked_until_ns > now_ns ? gate->blocked_until_ns : now_ns;
}
/* How many calls of these amounts the windows let through in an hour; INT64_MAX: no limit. */
int64_t gate_hourly(const struct gate *gate, const struct amounts *amounts);
/*
 * Calls that may begin now by concurrency alone; with `behind_opened`, besides those opened. May be negative.
 */
static inline int64_t gate_room(const struct gate *gate, bool behind_opened) {
        return gate->concurrency - gate->in_flight - (behind_opened ? gate->opened : 0);
}
/* Of its concurrency there is no part here: no call begins, until there is. */
static inline bool gate_closed(const struct gate *gate) {
        return gate->concurrency <= 0;
}
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
 * So much is opened already of a limit that outlives the process that no more should be: after a crash, all
 * that was opened counts as taken.
 */
bool gate_crowded(const struct gate *gate, const struct amounts *amounts);
/* A call of other amounts than it was opened for takes no more of the limits that outlive the process. */
bool gate_covers(const struct gate *gate, const struct amounts *opened, const struct amounts *amounts);

/* gate_tokens() of a gate with windows. */
int64_t gate_tokens_limited(const struct gate *gate, int64_t guess, int64_t said);
/*
 * The largest number of tokens, but not more than `guess`, that a call of surely at most `said` tokens is to
 * be counted with: a guess alone makes no call too large for a limit.
 */
static inline int64_t gate_tokens(const struct gate *gate, int64_t guess, int64_t said) {
        return gate->limiters_count > 0 ? gate_tokens_limited(gate, guess, said) : guess;
}

/* What a gate has of its limits: see engine_share(). */
struct limit_part;
void gate_share(struct gate *gate, const struct limit_part *parts, size_t count, uint32_t whole,
                int64_t now_ns);
/*
 * One of these parts is not ours any more: gives what was taken of it, of limits over more than a minute, by
 * sub-windows.
 */
void gate_release(struct gate *gate, uint32_t part, uint32_t whole, int64_t now_ns,
                  void (*each)(void *userdata, enum quota quota, int64_t until_ns, int64_t amount),
                  void *userdata);
/* Its limiter for the quota; NULL: there is none. */
struct limiter *gate_limiter(const struct gate *gate, enum quota quota);
/* Windows longer than a minute: what a part has used goes with it. */
bool quota_is_long(enum quota quota);
/* What attempts that are opened will take of it, at most. */
int64_t gate_opened(const struct gate *gate, enum quota quota);
