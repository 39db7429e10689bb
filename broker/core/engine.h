#pragma once
/*
 * The engine decides. It takes a batch of events with the time and appends commands; it reads no clock, draws
 * no entropy but from its seed, opens nothing and allocates nothing after engine_new(). The shard carries the
 * commands out and answers each with an event. The same events at the same times give the same commands, so a
 * simulator can drive it through any number of crashes.
 *
 * A handle names an operation, not a job: its generation changes with every command that expects an answer,
 * so an answer that comes late or twice is recognised and dropped.
 *
 *   JOB ─► LOOK_UP ─► LOOKED_UP ─► OPEN ─► OPENED ─► CALL ─► ANSWER ─► SETTLE ─► SETTLED ─► FORGET
 */
#include "broker/base/error.h"
#include "broker/core/job_spec.h"
#include "broker/core/outcome.h"
#include "broker/core/quota.h"
#include "workers/routing/budget.h"
#include "workers/routing/route.h"

struct engine;

struct handle {
        uint32_t slot, generation;
};

struct engine_time {
        int64_t now_ns;      /* monotonic; never goes back */
        int64_t now_unix_ms; /* wall; may jump */
};

struct engine_config {
        uint32_t jobs_max;      /* in memory at a time */
        uint32_t in_flight_max; /* calls under way */
        /* attempts journaled before they can be sent, at most; of jobs that may be repeated */
        uint32_t open_ahead;
        uint32_t attempts_max; /* calls per job, over all endpoints */
        int64_t backoff_base_ns, backoff_cap_ns;
        double retry_share; /* retries as a share of successes, per endpoint */
        int64_t call_timeout_ns;
        bool by_partition; /* budgets are divided over the partitions of the jobs: engine_purse_open() */
        bool quotas_kept;  /* somebody takes what limits have given (engine_quotas_take()) */
        uint64_t seed;
};

/* What the store knows of a key. */
enum known {
        KNOWN_NOTHING,
        KNOWN_SETTLED,
        KNOWN_UNKNOWN,  /* an attempt was under way when the process died */
        KNOWN_ANSWERED, /* its result is durable here, but not published: it needs no call */
        KNOWN_PARKED,   /* it waits in the store and will come back by itself */
};

struct known_job {
        enum known known;
        bool same_fingerprint;
        uint32_t attempts;        /* UNKNOWN: with that attempt; ANSWERED */
        int64_t exposure_picousd; /* UNKNOWN: what the job may have cost up to and with it; SPEND_UNKNOWN */
        enum failure failure;     /* ANSWERED, as all that follows */
        int32_t status;
        bool cost_known, cost_is_estimate;
        int64_t cost_picousd;
};

enum event_kind { EVENT_JOB, EVENT_LOOKED_UP, EVENT_OPENED, EVENT_ANSWER, EVENT_SETTLED };

struct event {
        enum event_kind kind;
        struct handle handle;        /* all but JOB */
        struct job_spec *job;        /* JOB: the engine's until FORGET */
        struct known_job known;      /* LOOKED_UP */
        const struct answer *answer; /* ANSWER; read during the step only */
};

/* OPEN and SETTLE end the attempt that is open until then, if there is one. */
enum command_kind {
        COMMAND_LOOK_UP, /* ask the store for `key`; answer LOOKED_UP */
        COMMAND_OPEN,    /* journal that `attempt` on `endpoint` may be sent; answer OPENED when durable */
        COMMAND_CALL,    /* send it; answer ANSWER */
        COMMAND_END,     /* the open attempt ended without a result, or was never sent; no answer */
        /* what the open attempt has cost is known: journal it anew, without a hold; no answer */
        COMMAND_NOTE,
        COMMAND_SETTLE, /* write result line and settled row under `key`; answer SETTLED when durable */
        /* done with `job`: settled, known already (duplicate), or given up (revoked). The handle is dead */
        COMMAND_FORGET,
};

/* What an attempt has reserved with the budgets of its job's workspace and of its endpoint's provider. */
struct command_hold {
        bool any;
        int64_t day, picousd;
};

struct command {
        enum command_kind kind;
        struct handle handle;
        struct job_spec *job;
        struct key128 key; /* all but CALL and FORGET */
        uint32_t endpoint; /* OPEN, NOTE, CALL */
        uint8_t model;     /* CALL: index in demand.models */
        uint32_t attempt;  /* OPEN, NOTE: 1-based */
        /* OPEN: ceiling of what the job may have cost with this call; NOTE: so far; SPEND_UNKNOWN */
        int64_t exposure_picousd;
        struct command_hold hold;      /* OPEN */
        int64_t timeout_ns;            /* CALL */
        const struct outcome *outcome; /* SETTLE; valid until SETTLED is given */
        bool duplicate, revoked;       /* FORGET */
        struct job_spec *twin;         /* FORGET, duplicate: the job inside that it repeats; else NULL */
        bool twin_goes;                /* that one is to be given up (giving_up) */
};

struct commands {
        struct command *items;
        size_t count, capacity;
};

/* NULL when memory is refused. The catalog must outlive it. */
struct engine *engine_new(const struct catalog *catalog, const struct engine_config *config,
                          struct engine_time now);
struct engine *
engine_free(struct engine *engine); /* jobs still inside are not forgotten: the caller frees them */

/* Another EVENT_JOB may be given. */
uint32_t engine_room(const struct engine *engine);
/*
 * Handles the events in order, then decides what may start. Stops starting when `out` is full; then
 * engine_wake_ns() is now. `out` must have room for two commands per event.
 */
void engine_step(struct engine *engine, struct engine_time now, const struct event *events,
                 size_t events_count, struct commands *out);
/* When to step again if no event comes; INT64_MAX: not before an event. */
int64_t engine_wake_ns(const struct engine *engine);

/* Start nothing new: attempts that are open but unsent end, calls under way are waited for. */
void engine_drain(struct engine *engine);
/* While held (a full disk), nothing is opened or called; answers are still taken. */
void engine_hold(struct engine *engine, bool held);
/*
 * Gives up the jobs for which `gone` says so (their partition has gone elsewhere): FORGET with `revoked`, now
 * or when the answer to their look-up or journal write has come. Not those being called, whose answers still
 * count, nor those being settled; a call that fails may be repeated unless this is called again, which is
 * cheap enough for every turn. false: `out` was full, call again.
 */
bool engine_revoke(struct engine *engine, struct engine_time now,
                   bool (*gone)(void *userdata, const struct job_spec *job), void *userdata,
                   struct commands *out);
/*
 * Gives every job that is sure to do nothing for longer than that, with the time when it may go on: asleep,
 * or in a class for which no endpoint has room before. INT64_MAX: nobody knows.
 */
void engine_each_idle(const struct engine *engine, int64_t longer_than_ns,
                      void (*each)(void *userdata, struct job_spec *job, int64_t until_ns), void *userdata);
/*
 * Every limit of the catalog is divided into `whole` parts, one per partition of the jobs, and this engine
 * may use these (in order of part, without repeats). Without this call it has all of every limit. The sum
 * over all engines stays under the limit in every window while parts move: what a lost part has used goes
 * with it, and a new one counts as used up for a window, unless nobody had it within the last one (fresh: for
 * `free_ns`, and for a minute at least). A limit smaller than `whole` gives some parts nothing. A job that
 * takes more than the parts together, but not more than the limit, waits.
 */
enum part_kind { PART_KEPT, PART_FRESH, PART_USED };
struct limit_part {
        uint32_t part;
        enum part_kind kind;
        int64_t free_ns; /* FRESH: nobody has had it for so long */
        /*
         * Of limits over more than a minute it is known what was taken of the part: that, and no more, is
         * used. May hold what does not concern these limits; read during the call only.
         */
        bool told;
        const struct quota_use *uses;
        size_t uses_count;
};
void engine_share(struct engine *engine, struct engine_time now, const struct limit_part *parts, size_t count,
                  uint32_t whole);
/*
 * A part is not ours from here on: gives what was taken of it, of limits over more than a minute, for whoever
 * has the part next (`told`). What it gives and what stays is together what there was.
 */
void engine_release(struct engine *engine, struct engine_time now, uint32_t part,
                    void (*each)(void *userdata, const struct quota_use *use), void *userdata);
/*
 * Between two steps: from here on that catalog is in force, in which all that the one before had has its
 * index (catalog_succeed()), and of `config` what bounds calls and retries: attempts_max, backoff_*,
 * retry_share, call_timeout_ns. The catalogs before must outlive the engine too.
 *
 * Jobs inside stay. Those that wait are decided anew; an attempt that is opened, but not sent, is called
 * where that is still right; what is being called goes on. Of limits, what was taken in their windows stays
 * taken; what was spent stays spent; pauses end, as somebody may have mended what they were for.
 *
 * spends: per subject of the new catalog what is known of it, or NULL; it counts for those that nobody has
 * counted until now. May be NULL. false: memory is refused, and nothing has changed.
 */
bool engine_reload(struct engine *engine, struct engine_time now, const struct catalog *catalog,
                   const struct engine_config *config, const struct budget_spend *const *spends) MUST_USE;
/*
 * Budgets. Subjects are those of budget.h; there are none when the catalog has neither workspaces nor
 * budgets. Where they are not divided there is one partition, 0. Before the first job: what a subject has
 * spent and has at risk (else nothing). `answers`: by partition; the last word, by whoever said it, allows
 * something, which is at risk now, and soon there should be another word that says so.
 */
void engine_spend_load(struct engine *engine, uint32_t partition, uint32_t subject,
                       const struct budget_spend *spend, bool answers);
/*
 * Gives what has changed since the last call. With the commands given until then it is one whole: it must
 * become durable together with their END, NOTE and SETTLE. By partition it is a word (struct allowance) and
 * must become durable where whoever takes the partition over will read it; engine_spend_told() when it has.
 */
struct spend_news {
        uint32_t partition, subject;
        const struct budget_spend *spend;
        struct budget_allowed allowed[2]; /* by partition: what the purse answers for besides */
        uint32_t word;                    /* by partition: its name */
};
/* At most so many. false: there are more. */
bool engine_spend_take(struct engine *engine, size_t max,
                       void (*each)(void *userdata, const struct spend_news *news), void *userdata);
/* Before a step: the word stands there, or never will. One of an earlier life of the purse is passed over. */
void engine_spend_told(struct engine *engine, uint32_t partition, uint32_t word, bool stands);
/* Of all purses that are open: what a subject has spent in this day, this month and in all, and the rest. */
struct spend_sums {
        int64_t day_picousd, month_picousd, lifetime_picousd, risk_picousd, reserved_picousd;
        int64_t allowed_picousd; /* by partition: what the last words allow beyond what is reserved */
};
void engine_spend_sums(const struct engine *engine, uint32_t subject, struct spend_sums *out_sums);
/*
 * What limits have given outlives the process. Before the first job, and after a reload: what was taken
 * before, of limits that nobody has been told of until now; in `uses` may be what concerns nobody.
 */
void engine_quotas_load(struct engine *engine, struct engine_time now, const struct quota_use *uses,
                        size_t count);
/*
 * Gives what has changed since the last call: of a limiter's sub-window, in the place of what was said of its
 * place before. It must become durable together with the commands given until then, or before them: so what
 * is durable is never less than what calls have taken, since it counts what is opened.
 */
void engine_quotas_take(struct engine *engine, void (*each)(void *userdata, const struct quota_use *use),
                        void *userdata);
/* How a subject stands now. */
const struct ledger *engine_ledger(struct engine *engine, struct engine_time now, uint32_t partition,
                                   uint32_t subject);
/*
 * By partition, where there is a budget at all: each has its part of every budget, one of `whole`
 * (engine_share() tells another number), in a purse of its own, and a job is paid from that of its partition
 * alone. A purse that comes is empty until engine_spend_load() has said what was spent of it, and
 * engine_purse_ready() that this was all; without a ready purse no job of the partition is called where a
 * budget applies. After engine_reload() the same for what is engine_spend_wanted(). false: memory was
 * refused.
 */
bool engine_purse_open(struct engine *engine, struct engine_time now, uint32_t partition,
                       uint32_t whole) MUST_USE;
bool engine_spend_wanted(const struct engine *engine, uint32_t partition, uint32_t subject);
void engine_purse_ready(struct engine *engine, uint32_t partition);
/* The partition goes: nothing more is reserved, and the last words say what is still under way. */
void engine_purse_close(struct engine *engine, uint32_t partition);
/* All that is to be said of it has been taken, and stands. */
bool engine_purse_told(const struct engine *engine, uint32_t partition);
/* It has gone; what is still under way is at risk with whoever has it now. */
void engine_purse_drop(struct engine *engine, uint32_t partition);
/* Every second or so: what was allowed and is not used is given back. */
void engine_purse_rest(struct engine *engine, uint32_t partition);
/*
 * Nothing is on the way: no look-up, journal write, call or settlement. With engine_drain(): the shard may
 * stop.
 */
bool engine_quiet(const struct engine *engine);
/* No job is inside. */
bool engine_empty(const struct engine *engine);
/*
 * Nothing is on the way, and the only endpoints that could take any of the jobs inside, asleep or not, are
 * paused for longer than `patience_ns`: somebody must act (key, billing). out_endpoint: one of them.
 */
bool engine_stuck(const struct engine *engine, struct engine_time now, int64_t patience_ns,
                  uint32_t *out_endpoint);

/* Every job inside, for freeing at the end. */
void engine_each_job(const struct engine *engine, void (*each)(void *userdata, struct job_spec *job),
                     void *userdata);

struct endpoint_stats {
        uint64_t calls, succeeded, failed, throttled, unknown;
        uint64_t input_tokens, output_tokens;
        int64_t cost_picousd;
        char last_error[ANSWER_MESSAGE_MAX];
        enum verdict last_verdict;
};

struct engine_stats {
        uint64_t jobs, duplicates, succeeded, failures[FAILURES_COUNT];
        uint64_t calls, retries;
        int64_t cost_picousd, list_cost_picousd;
        bool cost_unknown; /* some calls have no known price */
        uint64_t input_tokens, output_tokens, cached_tokens;
        uint32_t in_flight, inside, waiting;
        /* jobs that go as soon as the answer to their look-up or journal write is there */
        uint32_t giving_up;
        int64_t budget_until_ns; /* jobs that were looked at last wait for a budget until then; 0: none did */
};
const struct engine_stats *engine_stats(const struct engine *engine);
const struct endpoint_stats *engine_endpoint_stats(const struct engine *engine, uint32_t endpoint);
/* Jobs in a state (broker/core/job.h). */
uint32_t engine_state_count(const struct engine *engine, uint32_t state);
/* Its breaker keeps calls away, or it is paused. */
bool engine_endpoint_open(const struct engine *engine, uint32_t endpoint);
/* The last state changes, a line each, oldest first: ids and states only, for a failed CHECK(). */
void engine_trace(const struct engine *engine, struct buffer *out_text);
