#pragma once
/*
 * A world around the real engine, made from a seed: jobs, a disk with the durability protocol of
 * loop/committer.c and store/store.h, providers, and a clock that moves only from one thing that happens to
 * the next. The process may die between any two steps; what the disk holds then is what a disk may hold. A
 * judge who sees everything writes down the first promise that is broken.
 *
 *   scenario.c  what the seed decides beforehand: catalog, limits, lines, crashes
 *   disk.c      output lines, journal of attempts, settled rows, and the committer's steps
 *   provider.c  calls and what comes of them
 *   shard.c     the turn: gather, step, carry out, as loop/shard.c does; recovery as cli/run_files.c does
 *   reload.c    other catalogs while jobs run
 *   given.c     what limits have given, over lives
 *   windows.c   prices that go by the time
 *   prices.c    prices that reloads change, and those of sound and of tiers of service
 *   policies.c  data policies, places and quantizations, and jobs with rules about them
 *   money.c     budgets: what is durable of them, and what providers really billed
 *   judge.c     the promises
 */
#include "broker/base/bytes.h"
#include "broker/base/map.h"
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "broker/core/quota.h"
#include "broker/wire/job.h"
#include "workers/routing/limiter.h"

enum {
        LINES_MAX = 400,
        KEYS_MAX = 4 * LINES_MAX,
        PROVIDERS_MAX = 3,
        ENDPOINTS_MAX = 8,
        JOBS_MAX = 256,
        CALLS_MAX = 20000,
        EVENTS_MAX = 1024,
        COMMANDS_MAX = 4096,
        INTENTS_MAX = 2 * COMMANDS_MAX,
        LATE_MAX = 64,
        CRASHES_MAX = 8,
        LINES_A_TURN = 8,
        WORKSPACES_MAX = 3,
        SUBJECTS_MAX = WORKSPACES_MAX + PROVIDERS_MAX,
        DAYS_MAX = 1200,
        QUOTA_ROWS = QUOTA_OF_COUNT * ENDPOINTS_MAX * QUOTAS_COUNT * LIMITER_RING,
};
#define NO_KEY         UINT32_MAX
#define CLOCK_SLACK_MS INT64_C(300) /* wall clocks that move by less are not noticed */

/* Mistakes that can be planted into the world, to see that the judge finds them. */
enum plant {
        PLANT_NONE,
        PLANT_NO_LOOK_UP,          /* the store never knows anything */
        PLANT_OPEN_UNWRITTEN,      /* OPENED is told before the attempt is durable */
        PLANT_NO_END,              /* attempts never end in the journal */
        PLANT_SETTLE_TWICE,        /* a result line is written twice now and then */
        PLANT_NO_ADOPTION,         /* lines behind the recorded length are left as they are */
        PLANT_RECORDED_TOO_FAR,    /* the recorded length passes lines whose rows are late */
        PLANT_MARK_TOO_FAR,        /* the source's mark moves when a line is read */
        PLANT_STORE_BEFORE_OUTPUT, /* rows are written before the lines are synced */
        PLANT_NO_LIMITS,           /* the engine is not told of the limits */
        PLANT_NO_DEADLINE,         /* the engine is not told of deadlines */
        PLANT_FORGETS_UNKNOWN,     /* recovery drops live attempts */
        /* an answer that was given already comes again under the handle of the slot's present call */
        PLANT_FRESH_LATE,
        PLANT_NO_RULES,       /* the engine is not told of data policies */
        PLANT_BLIND_ADOPTION, /* a line of a job that was never called is adopted without its fingerprint */
        PLANT_NO_WORKSPACE_LIMITS, /* the engine is not told of the limits of workspaces */
        PLANT_ONE_WORKSPACE,       /* every job falls under the first one */
        PLANT_NO_RESERVATION,      /* budgets learn of a cost when it is there, not before */
        PLANT_FORGETS_SPEND,       /* recovery begins with nothing spent */
        PLANT_FORGETS_HOLDS,       /* recovery drops what attempts of unknown outcome have reserved */
        PLANT_NO_NOTE,        /* attempts that failed keep their hold in the journal, though it is counted */
        PLANT_NO_RELOAD,      /* the engine is not told of another catalog */
        PLANT_FORGETS_QUOTAS, /* recovery begins with nothing given of any limit */
        PLANT_NO_OPENED,      /* of attempts that are opened nothing is kept */
        PLANT_QUOTAS_LATE,    /* what limits have given is durable after the attempts that may take it */
        PLANT_NO_ZDR,         /* the engine takes every provider to retain nothing */
        PLANT_NO_REGIONS,     /* and to be in Europe */
        PLANT_NO_QUANTIZATIONS, /* and every endpoint to be of one quantization */
        PLANT_NO_LISTS,         /* the engine is not told whom a job names or ignores */
        PLANT_NO_WINDOWS,       /* the engine is not told that prices go by the time */
        PLANT_OLD_POLICIES,     /* of another catalog the engine is told all but its policies and places */
        PLANT_OLD_PRICES,       /* or all but its prices */
        PLANT_ALL_TEXT,         /* the engine is told that everything costs what text does */
        PLANTS_COUNT,
};

/* What the judge knows of a key. */
struct fact {
        struct key128 key;
        uint8_t fingerprint[32];
        bool settled;           /* a settled row is durable */
        bool fingerprint_known; /* of the settled row */
        bool late;              /* that row is in memory only */
        bool answered;          /* a line for it is durable */
        bool expected, is_alias, is_bad, must_not_repeat, failed_unknown;
        bool owned; /* some line of the input has it as its own key, with `fingerprint` */
        uint32_t in_flight, calls, crashes_in_flight, crashes_since, lines;
        uint32_t pinned; /* endpoint + 1 */
        int64_t billed_picousd;
        uint32_t attempt_row;  /* live attempt of an earlier life; index + 1 */
        uint32_t late_attempt; /* that ended with the late row; index + 1 */
        uint32_t succeeded;
};

struct attempt {
        struct begun_row {
                struct key128 key;
                uint8_t fingerprint[32];
                uint32_t attempt;
                int64_t exposure_picousd;
                struct command_hold hold;
                uint32_t subjects[2]; /* of the hold; UINT32_MAX: none */
        } row;
        bool durable, live;
        bool counted; /* the hold is in the spend rows */
};

struct output_line {
        struct key128 key;
        uint32_t offset, size;
        enum failure failure;
        uint8_t fingerprint[32];
};

enum intent_kind { INTENT_OPEN, INTENT_END, INTENT_NOTE, INTENT_SETTLE };

struct intent {
        enum intent_kind kind;
        struct handle handle;
        struct job_spec *job;
        const struct outcome *outcome;
        struct key128 key;
        struct begun_row open;
        uint32_t attempt; /* index + 1; END, NOTE, SETTLE: which one; OPEN: once staged */
        uint32_t made;    /* index + 1; NOTE: once staged */
        uint32_t noted;   /* index + 1; an attempt that was noted and ends with this, once staged */
};

enum commit_step { COMMIT_IDLE, COMMIT_APPEND, COMMIT_SYNC, COMMIT_WRITE, COMMIT_TELL };

/* What the subjects of the catalog have spent. */
struct spends {
        struct budget_spend rows[SUBJECTS_MAX];
        bool changed[SUBJECTS_MAX];
};

struct quota_list {
        struct quota_use *items;
        size_t count, capacity;
};

struct disk {
        /* durable */
        struct spends spends;
        struct quota_use *quotas; /* QUOTA_ROWS */
        struct buffer text;
        struct output_line *lines;
        uint32_t lines_count, lines_synced, lines_recorded;
        struct attempt *attempts;
        uint32_t attempts_count;
        uint32_t mark, mark_lines; /* index of the first line of the input that is not settled */
        /* of the process */
        struct spends spends_pending, spends_working;
        struct quota_list quotas_pending, quotas_working, quotas_late;
        uint32_t noted[JOBS_MAX]; /* by slot: index of the attempt + 1 */
        struct intent *pending, *working;
        uint32_t pending_count, working_count;
        bool mark_pending, mark_working;
        uint32_t mark_next, mark_staged, recorded_staged, mark_late, commits;
        enum commit_step step;
        int64_t due_ns, started_ns;
        bool full; /* waiting for space */
        struct event *told;
        uint32_t told_count, told_attempts[EVENTS_MAX];
};

/* What an endpoint asks. */
struct asked {
        struct price price, service[SERVICE_PRICES];
};

struct call {
        struct handle handle;
        const struct job_spec *job;
        uint32_t fact, endpoint, life, workspace;
        int64_t start_ns, end_ns;
        struct answer answer;
        bool open, executed, counts;
        int64_t cost_picousd, tokens;
        struct usage used;  /* in truth */
        struct asked asked; /* when it began */
        int64_t day;        /* in which it was opened */
};

/* A catalog that the engine is told of in the place of another. All of them stay, as in the program. */
struct told {
        struct catalog catalog;
        struct provider providers[PROVIDERS_MAX];
        struct endpoint endpoints[ENDPOINTS_MAX];
        struct workspace workspaces[WORKSPACES_MAX];
        struct told *before;
};

struct reloads {
        struct prng prng; /* of its own: other worlds stay as they are */
        bool any, whole;  /* whole: all is there, and stays so */
        uint32_t count, total;
        const struct catalog *in_force;
        struct told *last;
};

struct prices {
        struct prng prng;                      /* of its own, as that of reloads */
        bool any, apart;                       /* apart: there is more than text at the standard tier */
        struct asked endpoints[ENDPOINTS_MAX]; /* as they are in the beginning, and when all is well */
};

struct policies {
        struct prng prng; /* of its own, as that of reloads */
        bool any;
        struct provider providers[PROVIDERS_MAX]; /* as they are in the beginning, and when all is well */
        struct endpoint endpoints[ENDPOINTS_MAX];
};

struct world {
        uint64_t seed;
        struct prng prng;
        enum plant plant;
        struct engine_config config;
        struct provider providers[PROVIDERS_MAX], told_providers[PROVIDERS_MAX];
        struct endpoint endpoints[ENDPOINTS_MAX], told_endpoints[ENDPOINTS_MAX];
        struct workspace workspaces[WORKSPACES_MAX], told_workspaces[WORKSPACES_MAX];
        char names[PROVIDERS_MAX + ENDPOINTS_MAX][32];
        struct catalog catalog, told;
        struct reloads reloads;
        struct policies policies;
        struct prices prices;
        struct price_window windows[ENDPOINTS_MAX];
        bool budgets;  /* there are some */
        bool releases; /* what is at risk may be forgotten */
        int64_t first_day, billed[SUBJECTS_MAX][DAYS_MAX];
        int64_t slot_days[JOBS_MAX];
        bool costly; /* what goes wrong is mostly billed, and many jobs have a ceiling */
        bool honest; /* providers report what they used; estimates are never too low */
        int faults_percent, crashes_left;
        int64_t faults_end_ns, spacing_ns;
        int64_t liveness_ns; /* after the last fault, all is done by then */
        uint32_t models;

        char *lines[LINES_MAX];
        uint32_t lines_count, read, file;
        bool line_settled[LINES_MAX];

        int64_t now_ns, wall_offset_ms, wall_start_ms, jump_ns; /* start: the offset before any jump */
        bool jumped;
        struct engine *engine;
        struct job_decoder *decoder;
        struct disk disk;
        struct map keys;
        struct fact *facts;
        uint32_t facts_count;
        struct call *calls;
        uint32_t calls_count, calls_open_first, in_flight;
        struct event late[LATE_MAX];
        struct answer late_answers[LATE_MAX];
        uint32_t late_count;
        uint32_t slot_attempts[JOBS_MAX], slot_calls[JOBS_MAX];
        struct look_up {
                struct handle handle;
                struct key128 key;
                const struct job_spec *job;
        } look_ups[EVENTS_MAX];
        uint32_t look_ups_count;
        struct event *events;
        uint32_t events_count;
        struct answer *answers;
        struct commands commands;
        struct intent *intents;
        uint32_t intents_count;
        bool held, drained;
        uint32_t drains; /* lives that were drained, or crashed while they were */
        uint32_t life, steps, crash_at;
        int64_t full_from_ns, full_until_ns;

        uint64_t hash;
        uint64_t turns, crashes, calls_total, quota_rows;
        char violation[512];
};

/* Runs the whole; true when no promise was broken, else world->violation says which. */
bool world_run(uint64_t seed, enum plant plant, struct world *out_world);
void world_deinit(struct world *world);

static inline bool chance(struct world *world, int percent) {
        return (int)prng_below(&world->prng, 100) < percent;
}
static inline int64_t between(struct world *world, int64_t least, int64_t most) {
        return least + (int64_t)prng_below(&world->prng, (uint64_t)(most - least + 1));
}
static inline struct engine_time world_time(const struct world *world) {
        return (struct engine_time){.now_ns = world->now_ns,
                                    .now_unix_ms = world->now_ns / NS_PER_MS + world->wall_offset_ms};
}
/* A step that may be the last one: true when the process dies here. */
bool world_dies(struct world *world);

/* scenario.c */
void scenario_make(struct world *world);
uint32_t scenario_workspace(const struct world *world, const struct job_spec *job);
/* Another input with some of the same jobs, shuffled, for the same state. */
void scenario_next_file(struct world *world);

/* disk.c */
void disk_init(struct disk *disk);
void disk_deinit(struct disk *disk);
void disk_submit(struct world *world);
/* Does the committer's next step if it is due; true when the process died at it. */
bool disk_work(struct world *world);
int64_t disk_wake_ns(const struct world *world);
bool disk_idle(const struct world *world);
void disk_finish(struct world *world); /* a process that ends well leaves nothing late */
void disk_crash(struct world *world);
/* false: died again before the store was written. */
bool disk_recover(struct world *world);
struct known_job disk_look_up(struct world *world, struct key128 key, const struct job_spec *job,
                              uint32_t *out_attempt);

/* provider.c */
void provider_call(struct world *world, const struct command *command);
/* Appends the answers that are due as events. */
void provider_gather(struct world *world);
int64_t provider_wake_ns(const struct world *world);
void provider_crash(struct world *world);

/* money.c */
void money_init(struct world *world);
void money_load(struct world *world);    /* into a new engine */
void money_keep(struct world *world);    /* what changed goes with the intents of this turn */
void money_write(struct world *world);   /* with the rows of a commit */
void money_recover(struct world *world); /* holds of a dead process become risks */
void money_adopt(struct world *world, struct attempt *attempt, bool cost_known, int64_t cost_picousd);
void money_describe(const struct world *world, const struct command *command, struct begun_row *row);
void money_billed(struct world *world, const struct call *call);
/* What its result says that it cost. */
void money_settled(struct world *world, const struct command *command);
void money_check(struct world *world); /* after a turn */
void money_check_end(struct world *world);

/* given.c */
void given_init(struct disk *disk);
void given_deinit(struct disk *disk);
void given_load(struct world *world); /* into a new engine, or one with new limits */
void given_keep(struct world *world); /* what changed goes with the intents of this turn */
void given_stage(struct disk *disk);
void given_write(struct world *world, bool all); /* with the rows of a commit */
void given_crash(struct disk *disk);

/* reload.c */
const struct catalog *reload_begin(struct world *world); /* of a new engine */
void reload_now_and_then(struct world *world);           /* between two turns */
void reload_deinit(struct world *world);

/* windows.c */
void windows_make(struct world *world);
void windows_bill(const struct world *world, struct call *call, int64_t at_ns); /* what it costs then */

/* prices.c */
void prices_make(struct world *world);
void prices_change(struct world *world, bool whole); /* others are asked from now on; whole: the first ones */
void prices_tell(const struct world *world, struct endpoint *endpoints);
void prices_lie(const struct world *world, struct endpoint *endpoints); /* where that is planted */
struct asked prices_asked(const struct world *world, uint32_t endpoint);
void prices_append(struct world *world, struct buffer *line); /* to the body of a chat */
void prices_use(struct world *world, const struct demand *demand, struct usage *usage);

/* policies.c */
void policies_make(struct world *world);
/* What the engine is told of those that are in force. */
void policies_tell(const struct world *world, struct provider *providers, struct endpoint *endpoints);
/* Others are in force from now on; whole: those of the beginning. */
void policies_change(struct world *world, bool whole);
bool policies_append_rules(struct world *world, struct buffer *line); /* false: this job has none */

/* judge.c */
__attribute__((format(printf, 2, 3))) void judge_broken(struct world *world, const char *format, ...);
uint32_t judge_fact(struct world *world, struct key128 key); /* made when it is new */
void judge_file(struct world *world);                        /* what the input must lead to */
void judge_open(struct world *world, const struct command *command);
void judge_call(struct world *world, const struct command *command, struct call *call);
void judge_answered(struct world *world, const struct call *call);
void judge_line(struct world *world, const struct output_line *line);
void judge_lost_line(struct world *world, const struct output_line *line);
void judge_note(struct world *world, uint64_t value);
void judge_end_of_file(struct world *world);
void judge_end(struct world *world);
