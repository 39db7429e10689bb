#pragma once
/*
 * The Kafka world: shards of worker processes around the real engine and the real window, a modelled cluster,
 * and disks, made from a seed. A process may die, be stopped, lose its partitions or its disk between any two
 * steps; transactions fail at each of theirs. Time moves only from one thing that happens to the next. A
 * judge who sees everything writes down the first promise that is broken.
 *
 *   scenario.c   what the seed decides beforehand: catalog, sizes, lines, how often what goes wrong
 *   cluster.c    logs with transactions: producers, epochs, markers, what a reader of committed records sees
 *   group.c      generations, cooperative assignment, evictions
 *   disk.c       the local store: rows, unsynced writes, what is left of them after a crash
 *   process.c    a shard: its turn, engine, records, commands. One or two shards make a process: they live
 *                and die together and share a disk
 *   partition.c  assignment, restore, leaving; what a partition's epoch is there for
 *   parts.c      parts of the limits, and what was taken of them
 *   publisher.c  the committer and the publisher: journal, then transaction, then store
 *   provider.c   calls and what comes of them
 *   money.c      budgets: words on what was spent, and what was really billed
 *   rules.c      providers with policies, and jobs with rules about them
 *   judge.c      the promises
 *   world.c      time, faults, the end
 *
 * What the model does not have: compaction and retention of topics, records that are too large, librdkafka's
 * queues, limits of a minute by partition share, and attempts told to the state topic before they are sent (a
 * job that must not be repeated is watched on its own disk only). A commit request may be lost, applied
 * without an answer, or arrive late.
 */
#include "broker/base/map.h"
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "broker/core/again.h"
#include "broker/core/engine.h"
#include "broker/core/window.h"
#include "broker/wire/job.h"

enum {
        PARTITIONS_MAX = 6,
        PROCESSES_MAX = 4,
        LINES_MAX = 120,
        FACTS_MAX = 512,
        LOG_MAX = 3000,
        TXNS_MAX = 6000,
        OUTPUTS_MAX = 2000,
        ANSWERS_MAX = 2000,
        CALLS_MAX = 4000,
        JOBS_MAX = 48,
        EVENTS_MAX = 256,
        COMMANDS_MAX = 1024,
        ITEMS_MAX = 1024,
        WRITES_MAX = 4096,
        REPORTS_MAX = 64,
        NOTES_MAX = 1 << 14,
        WORKSPACES_COUNT = 2,
        SUBJECTS_MAX = WORKSPACES_COUNT + 2,
        WORDS_MAX = 20000,
        DAYS_MAX = 4,
        SAIDS_MAX = 4000,
        OWNER_NEAR = 4, /* entries */
};
#define NOBODY UINT32_MAX

/* Mistakes that can be planted into the workers, to see that the judge finds them. */
#define PLANTS(X)                                                                                            \
        X(NONE, "nothing is wrong")                                                                          \
        X(MARK_FIRST, "the mark is handed over before its item")                                             \
        X(BLIND_RESEND, "after an indefinite commit the items are sent again without reading the state")     \
        X(CHECK_TOO_SOON, "after an indefinite commit the state is read before the new producer is there")   \
        X(FEWER_AGAIN, "what may have been committed is sent again in smaller pieces")                       \
        X(NO_RESTORE, "records are taken before the state is restored")                                      \
        X(UNSTABLE, "the committed offset is read while a transaction can still change it")                  \
        X(UNCOMMITTED, "aborted state records are believed")                                                 \
        X(EPOCH_IGNORED, "an answer counts under whatever epoch its partition has now")                      \
        X(DUPLICATE_SETTLES, "a duplicate settles its offset though it is the job inside itself")            \
        X(ADOPTED_UNSEEN, "a job is taken over again though another one has settled it meanwhile")           \
        X(SWEPT_LATE, "jobs of a partition that has gone are given up after the step, not before")           \
        X(FIRST_SWAPPED, "records are taken while jobs from before are still being looked up")               \
        X(SHARED_ROWS, "two shards of one process write to the rows of one partition at a time")             \
        X(PARKED_GONE_EARLY, "the parked row goes when the job is called again")                             \
        X(PARK_ANYTHING, "a job is parked before it is known whose its key is")                              \
        X(PARKED_WAITING, "a record is parked while it waits for its job from before")                       \
        X(ANSWERS_DROPPED, "answers leave the journal before the commit")                                    \
        X(NO_JOURNAL, "answers are published without having been journaled")                                 \
        X(OPEN_UNWRITTEN, "attempts are not durable when they are called")                                   \
        X(REHOME_OUTSIDE, "a record is rehomed after the transaction that settles it")                       \
        X(UNASSIGN_EARLY, "a partition is given back while a transaction with its items is open")            \
        X(UNFENCED, "a transaction whose marks have not moved sends no offsets")                             \
        X(FORGOTTEN, "a job given up whose record came again meanwhile is not taken up again")               \
        X(AGAIN_BACKWARDS, "records that are taken once more come in the opposite order")                    \
        X(AGAIN_PASSED, "records are taken past one that waits for its job from before")                     \
        X(ORPHANS_GO_ON, "a job of a partition that has gone is called again")                               \
        X(NO_RECORD_NAMES, "dead letters are not remembered by the record")                                  \
        X(WHOLE_BUDGETS, "each partition has all of every budget")                                           \
        X(WORD_NOT_AWAITED, "what a word allows is spent before it stands in the state topic")               \
        X(WORD_ABORTED, "what a word allows is spent though its transaction was aborted")                    \
        X(ALLOWANCE_FORGOTTEN, "who takes a partition over forgets what was allowed there")                  \
        X(SPEND_FORGOTTEN, "who takes a partition over forgets what was spent there")                        \
        X(RELEASED_EARLY, "a partition is given back before the last words on its money are out")            \
        X(PART_KEPT, "a part of the limits is used on after it was said what was taken of it")               \
        X(PART_EMPTY, "what was taken of a part of the limits is not believed")                              \
        X(UNCLAIMED, "a part of the limits is used before the state topic says whose it is")                 \
        X(CLAIM_UNSEEN, "what an owner said of its part is believed though another one came after it")       \
        X(PARK_PRIVATE, "jobs with zdr are parked like others")                                              \
        X(KEEP_PRIVATE, "answers of jobs with zdr are journaled like others")                                \
        X(NO_POLICIES, "the engine takes every provider for one that keeps to all rules")                    \
        X(NO_LISTS, "the engine is not told whom a job names or ignores")

enum plant {
#define X(name, text) PLANT_##name,
        PLANTS(X)
#undef X
                PLANTS_COUNT,
};

/* --- the cluster --- */

enum txn_status { TXN_OPEN, TXN_PREPARED, TXN_COMMITTED, TXN_ABORTED };

struct txn {
        uint32_t producer, epoch;
        enum txn_status status;
        int64_t started_ns, end_ns; /* end_ns: PREPARED: when its markers are written */
        uint32_t jobs, state;       /* bit per partition that it has written to */
        uint32_t moves;             /* bit per partition whose offset it commits */
        uint64_t offsets[PARTITIONS_MAX];
        uint32_t first_output;
};

enum entry_kind { ENTRY_JOB, ENTRY_STATE, ENTRY_MARKER };
enum entry_state { STATE_SETTLED, STATE_PARKED, STATE_DELETED, STATE_MONEY, STATE_OWNER };

struct entry {
        uint32_t txn; /* index + 1; 0: written outside */
        enum entry_kind kind;
        enum entry_state state;
        uint32_t line; /* of the job; PARKED too */
        uint32_t fact;
        uint64_t print;
        uint64_t offset; /* PARKED: of the record */
        uint32_t word;   /* MONEY: index + 1 */
};

struct log {
        struct entry entries[LOG_MAX];
        uint32_t end, stable; /* before `stable` all transactions have ended */
};

struct output {
        uint32_t txn; /* index + 1 */
        uint32_t fact, answer;
        uint64_t print;
        bool dead;
};

struct producer {
        uint32_t epoch;
        uint32_t txn; /* index + 1 of the one that is not over, as far as the coordinator knows */
};

/* A commit request that is still on its way. */
struct late_commit {
        bool there;
        uint32_t txn, epoch;
        int64_t at_ns;
};

enum report_kind { REPORT_ASSIGNED, REPORT_REVOKED, REPORT_LOST, REPORT_KEPT };

struct report {
        enum report_kind kind;
        uint32_t partitions; /* bits */
        uint32_t generation;
        int64_t at_ns;
};

struct member {
        bool joined;
        uint32_t incarnation;
        int64_t silent_ns;  /* since then nothing was heard; INT64_MAX: it is well */
        int64_t release_ns; /* has to give back by then; INT64_MAX: nothing */
        struct report reports[REPORTS_MAX];
        uint32_t reports_count;
};

struct cluster {
        uint32_t partitions;
        struct log jobs[PARTITIONS_MAX], state[PARTITIONS_MAX];
        uint64_t committed[PARTITIONS_MAX];
        struct txn *txns;
        uint32_t txns_count, txns_first; /* all before have ended */
        struct output *outputs;
        uint32_t outputs_count;
        struct producer producers[PROCESSES_MAX];
        struct late_commit late[PROCESSES_MAX];
        /* the group */
        uint32_t generation;
        uint32_t owner[PARTITIONS_MAX], target[PARTITIONS_MAX];
        struct member members[PROCESSES_MAX];
};

/* --- disks --- */

struct row {
        bool settled, parked, attempt_live;
        bool unkept;     /* it was answered, and only what that cost may be written down */
        uint32_t answer; /* index + 1 */
        uint64_t settled_print, parked_print, attempt_print;
        uint32_t attempt, attempt_by; /* by: the shard */
        int64_t exposure_picousd;
        uint32_t parked_line, parked_partition;
        uint64_t parked_offset;
};

enum write_kind {
        WRITE_OPEN,
        WRITE_END,
        WRITE_ANSWER,
        WRITE_UNKEPT,
        WRITE_DROP_ANSWER,
        WRITE_SETTLED,
        WRITE_PARKED,
        WRITE_DELETED,
        WRITE_CHANGELOG,
        WRITE_WORD,
};

struct write {
        enum write_kind kind;
        uint32_t group; /* written together or not at all */
        uint32_t fact, answer, attempt, line, partition, shard, word;
        uint64_t print, offset;
        int64_t exposure_picousd;
};

struct store {
        struct row rows[FACTS_MAX];
        uint64_t changelog[PARTITIONS_MAX];           /* the next state record to be read */
        uint32_t words[PARTITIONS_MAX][SUBJECTS_MAX]; /* index + 1 of the last one */
};

struct disk {
        struct store live, durable;
        struct write *unsynced;
        uint32_t unsynced_count, group;
};

/* --- processes --- */

enum item_kind { ITEM_RESULT, ITEM_PARK, ITEM_REHOME, ITEM_MARK, ITEM_DELETE, ITEM_WORD, ITEM_OWNER };

/* An owner's record: entry.fact and item.fact are its index + 1. */
struct said {
        bool told; /* what was taken of the part, which is free; else: the part is somebody's */
        struct quota_use *uses;
        size_t count;
};

/* What the publisher sends; each with the mark of its partition after it. */
struct item {
        enum item_kind kind;
        uint32_t partition, epoch;
        uint64_t offset, mark;
        uint32_t fact, line, answer;
        uint32_t word; /* index + 1 */
        uint64_t print;
        struct handle handle; /* RESULT: the engine waits for it */
        bool dead, current;   /* current: under the partition's epoch when it was handed over */
};

enum intent_kind { INTENT_OPEN, INTENT_END, INTENT_ITEM };

struct intent {
        enum intent_kind kind;
        struct handle handle;
        struct item item; /* OPEN, END: fact and print */
        uint32_t attempt;
        int64_t exposure_picousd;
        bool journaled;
};

enum commit_step { COMMIT_IDLE, COMMIT_WRITE, COMMIT_SYNC, COMMIT_TELL };

struct committer {
        struct intent *pending, *working;
        uint32_t pending_count, working_count;
        enum commit_step step;
        int64_t due_ns;
};

enum publish_step {
        PUBLISH_CLOSED, /* no producer: the next step opens one */
        PUBLISH_CHECK,  /* the state is to be read: the last transaction may have been committed */
        PUBLISH_IDLE,
        PUBLISH_SEND,
        PUBLISH_OFFSETS,
        PUBLISH_COMMIT,
        PUBLISH_STORE,
};

struct publisher {
        struct item *queue;
        uint32_t count, taken; /* the first `taken` are in the transaction */
        uint32_t least;        /* that many at least: they were in one that may have been committed */
        enum publish_step step;
        uint32_t epoch, txn; /* of the producer; index + 1 */
        bool unsure;         /* the last transaction may have been committed */
        uint64_t state_end[PARTITIONS_MAX];
        uint32_t state_touched;
        int64_t due_ns;
};

enum part_state { PART_NONE, PART_OFFSET, PART_RESTORE, PART_OWNED, PART_LEAVING };

struct part {
        enum part_state state;
        uint32_t epoch;
        struct window window;
        bool window_made, lost;
        bool claims;  /* RESTORE: it is read, and the topic is being told whose the partition is */
        bool claimed; /* and it has been told */
        bool owns;    /* it was OWNED in this epoch */
        bool shared, given, never; /* its part of the limits; never: nobody ever had it */
        uint32_t heard;            /* index + 1 of what the last owner said was taken of it */
        uint64_t position, handed; /* handed: the last mark */
        uint64_t restore_begin, restore_end;
        int64_t due_ns, leave_ns;
};

struct track {
        uint32_t epoch;
        bool inside;  /* a job of this record is in the engine */
        bool own;     /* looked up under its own key, and the key is its */
        bool handed;  /* its job is being settled, under whatever epoch */
        bool parking; /* on the way to the state topic */
        bool parked;
        int64_t taken_ns;
        int64_t opened_day; /* of its last attempt */
};

struct look_up {
        struct handle handle;
        struct key128 key;
        const struct job_spec *job;
};

/* A shard; its slot names its member of the group and its producer. */
struct process {
        uint32_t slot;
        bool alive, dies, left;
        uint32_t incarnation;
        uint32_t generation; /* as the client knows it; NOBODY: it is no member */
        int64_t stopped_ns;  /* stopped until; 0: runs */
        int64_t back_ns;     /* dead: starts again then */
        uint32_t steps, crash_at;
        bool reloaded; /* has world.later */
        bool leaves;   /* drains and leaves the group, at the latest at leave_ns; then starts again */
        int64_t leave_ns;

        struct engine *engine;
        uint32_t machine;  /* whose disk it has */
        struct disk *disk; /* that of the machine, shared by its shards */
        struct committer committer;
        struct publisher publisher;
        struct part parts[PARTITIONS_MAX];
        struct track *tracks[PARTITIONS_MAX];
        struct report reports[REPORTS_MAX];
        uint32_t reports_count;
        struct look_up look_ups[EVENTS_MAX];
        uint32_t look_ups_count;
        int64_t look_up_ns;
        struct event *told;
        uint32_t told_count;
        struct again again; /* records to be admitted later, or parked */
        int64_t again_ns;
        uint32_t calls; /* under way */
        bool sweep;
        int64_t park_ns;
};

/* --- what the judge knows --- */

enum fact_kind { FACT_JOB, FACT_CONFLICT, FACT_BAD };

struct fact {
        struct key128 key;
        enum fact_kind kind;
        uint32_t line; /* one that has it */
        uint32_t home;
        uint64_t print;   /* of the first record in its home; 0: none yet */
        uint32_t outputs; /* committed */
        bool expected, settled, parked;
        uint32_t calls, succeeded;
        uint32_t calling[PROCESSES_MAX];     /* under way there */
        uint32_t answered_by[PROCESSES_MAX]; /* incarnation + 1 that had a last answer */
        bool durable[PROCESSES_MAX];         /* an answer became durable on the disk of that machine */
        bool unknown[PROCESSES_MAX]; /* must_not_repeat: its disk knows of a call of unknown outcome */
};

struct line {
        char *text;
        bool bad;
        bool copied;          /* a rehomed copy is committed */
        bool private;         /* zdr */
        uint32_t fact, alias; /* bad: fact is made with the record */
        uint64_t print;
};

struct answer_made {
        uint32_t fact;
        uint64_t print;
        enum failure failure;
        int32_t status;
        uint32_t attempts;
        bool private; /* of a job with zdr */
};

struct call {
        struct handle handle;
        uint32_t process, incarnation, fact, partition, provider;
        uint64_t offset, print;
        int64_t start_ns, end_ns;
        struct answer answer;
        int64_t cost_picousd; /* what it really costs */
        bool open;
};

/* What is said of the money of a partition. */
struct word {
        uint32_t partition, subject, name;
        struct budget_spend spend;
        struct budget_allowed allowed[2];
};

/* Budgets: none; more than enough; too little; nearly used up today, and enough tomorrow. */
enum money { MONEY_NONE, MONEY_AMPLE, MONEY_SCARCE, MONEY_TOMORROW };

struct note {
        int64_t now_ns;
        const char *text; /* names the three numbers */
        uint64_t a, b, c;
        uint32_t process;
};

struct world {
        uint64_t seed;
        struct prng prng;
        enum plant plant;
        struct engine_config config;
        struct provider providers[2];
        struct endpoint endpoints[4], later_endpoints[4];
        char names[8][16];
        struct catalog catalog;
        enum money money;
        struct workspace workspaces[WORKSPACES_COUNT], later_workspaces[WORKSPACES_COUNT + 1];
        struct catalog later; /* follows: other prices, and one workspace more, which nobody names */
        struct budget_spec limits[SUBJECTS_MAX]; /* as they are meant */
        int64_t wall_base_ms, first_day;
        struct word *words;
        uint32_t words_count, unknown_calls;
        bool money_lost; /* somebody has gone without its last words */
        int64_t billed[SUBJECTS_MAX][PARTITIONS_MAX][DAYS_MAX];
        uint32_t covers[SUBJECTS_MAX][PARTITIONS_MAX]; /* index + 1 of the last word committed */
        struct prng rules_prng;                        /* of their own: other worlds stay as they are */
        bool rules;
        struct prng contest_prng;          /* of their own as well */
        bool contested;                    /* most records are in conflict with another one */
        struct provider told_providers[2]; /* what the engine is told, where that is something else */
        struct endpoint told_endpoints[4];
        struct catalog told;
        int faults_percent, crashes_percent; /* of calls; of faults that are crashes */
        int transaction_faults_percent, slow_percent, slow_disk_percent;
        uint32_t faults_left, processes_count, span_max;
        bool calm; /* nothing but calls and transactions goes wrong */
        int64_t next_fault_ns, faults_end_ns;
        int64_t interval_ns, session_ns, transaction_ns, park_ns;

        struct line lines[LINES_MAX];
        uint32_t lines_count, produced;
        int64_t produce_ns;

        int64_t now_ns;
        struct cluster cluster;
        struct process processes[PROCESSES_MAX];
        struct disk disks[PROCESSES_MAX];
        uint32_t shards; /* of one process: they live and die together, and share a disk */
        struct job_decoder *decoder;
        struct map keys;
        struct fact facts[FACTS_MAX];
        uint32_t facts_count;
        uint64_t checked[PARTITIONS_MAX]; /* records below are settled, as the judge saw */
        struct said *saids;
        uint32_t saids_count;
        bool days;   /* there is a limit of the day */
        bool claims; /* takers wait until it is known that they are; else they are quicker */
        struct answer_made *answers;
        uint32_t answers_count;
        struct call *calls;
        uint32_t calls_count, calls_first;

        struct event *events;
        struct answer *events_answers;
        uint32_t events_count;
        struct commands commands;

        uint64_t hash, turns;
        struct counts {
                uint64_t calls, crashes, stops, moves, commits, aborts, fenced, gone, parked, rehomed;
                uint64_t repeated; /* answered calls made again, by another process or life */
                uint64_t late_answers, adopted, again, dropped, given_up, left, usurped;
                /* calls in parts that went; parts of which nothing is known */
                uint64_t parts_told, parts_used_up;
                uint64_t cut_off;            /* partitions that went with calls or results under way */
                uint64_t unkept, not_parked; /* of jobs with zdr: answers, and stragglers */
                uint64_t words, broke;       /* on money; jobs that failed for want of it */
                uint64_t reloads, by_workspaces, by_providers; /* by: calls that were paid so */
        } counts;
        struct note *notes;
        uint64_t notes_count;
        char violation[400];
};

bool world_run(uint64_t seed, enum plant plant, struct world *out_world);
void world_deinit(struct world *world);
void world_print(const struct world *world, uint32_t notes_max);
/* A step that may be the last one: true when the process dies here. */
bool world_dies(struct world *world, struct process *process);
/* Remembered for a failure, and part of the hash: what happened, to up to three numbers. */
void world_note(struct world *world, uint32_t process, const char *text, uint64_t a, uint64_t b, uint64_t c);

static inline bool chance(struct world *world, int percent) {
        return (int)prng_below(&world->prng, 100) < percent;
}
static inline int64_t between(struct world *world, int64_t least, int64_t most) {
        return least + (int64_t)prng_below(&world->prng, (uint64_t)(most - least + 1));
}
static inline int64_t in_ms(struct world *world, int64_t least_ms, int64_t most_ms) {
        return world->now_ns + between(world, least_ms * 1000, most_ms * 1000) * NS_PER_US;
}
static inline bool faulty(const struct world *world) {
        return world->now_ns < world->faults_end_ns;
}
static inline struct engine_time world_time(const struct world *world) {
        return (struct engine_time){.now_ns = world->now_ns,
                                    .now_unix_ms = world->wall_base_ms + world->now_ns / NS_PER_MS};
}
static inline bool broken(const struct world *world) {
        return world->violation[0] != '\0';
}

/* scenario.c */
void scenario_make(struct world *world);
/* More lines come into the topic, if it is time. */
void scenario_produce(struct world *world);

/* cluster.c */
void cluster_init(struct world *world);
void cluster_append(struct world *world, struct log *log, const struct entry *entry);
/* What a reader of committed records may see: all before. */
uint32_t cluster_stable(struct world *world, struct log *log);
bool cluster_visible(const struct world *world, const struct entry *entry);
bool cluster_open_until(struct world *world, struct log *log, uint64_t end);
/* Starts a producer: ends what an earlier one left open. false: not yet. */
bool cluster_start(struct world *world, uint32_t producer, uint32_t *out_epoch);
/* false: the one before is still being completed, or the producer is fenced (out_dead). */
/* Somebody else starts a producer with its id. */
void cluster_usurp(struct world *world, uint32_t producer);
bool cluster_begin(struct world *world, uint32_t producer, uint32_t epoch, uint32_t *out_txn, bool *out_dead);
bool cluster_alive(const struct world *world, uint32_t producer, uint32_t epoch, uint32_t txn);
void cluster_send(struct world *world, uint32_t txn, const struct item *item);
void cluster_commit(struct world *world, uint32_t txn);
void cluster_abort(struct world *world, uint32_t txn);
/* A transaction could still change the offset of the partition. */
bool cluster_unstable(const struct world *world, uint32_t partition);
void cluster_tick(struct world *world);
int64_t cluster_wake_ns(const struct world *world);

/* group.c */
void group_init(struct world *world);
void group_join(struct world *world, struct process *process);
void group_released(struct world *world, struct process *process, uint32_t partitions, bool lost);
void group_silent(struct world *world, uint32_t slot, bool silent);
/* What was reported while it was stopped takes a while to arrive. */
void group_hears_late(struct world *world, uint32_t slot);
void group_leave(struct world *world, uint32_t slot);
void group_shuffle(struct world *world);
/* The commit of offsets under this generation would be taken. */
bool group_takes(const struct world *world, const struct process *process);
void group_tick(struct world *world);
int64_t group_wake_ns(const struct world *world);

/* disk.c */
void disk_write(struct world *world, struct disk *disk, struct write write);
void disk_next_group(struct disk *disk);
void disk_sync(struct world *world, uint32_t machine);
void disk_crash(struct world *world, uint32_t machine);
void disk_delete(struct world *world, uint32_t machine);
struct known_job disk_look_up(struct world *world, struct process *process, const struct look_up *look_up);

/* process.c */
void process_start(struct world *world, struct process *process);
/* Of the memory; the disk is another matter. */
void process_end(struct world *world, struct process *process);
void process_drop_again(struct process *process);
/* Another shard of the process has the partition: at all, or so that it takes records. */
bool process_sibling_has(const struct world *world, const struct process *process, uint32_t partition,
                         bool takes);
void process_turn(struct world *world, struct process *process);
int64_t process_wake_ns(struct world *world, struct process *process);
void process_end_told(struct world *world, struct process *process, struct handle handle);
struct job_spec *process_decode(struct world *world, uint32_t line, uint32_t partition, uint64_t offset,
                                bool parked);
bool process_current(const struct process *process, uint32_t partition, uint64_t offset);
/* A record, or what of it is parked; `holds`: nothing behind it is admitted before it. */
void process_admit_again(struct world *world, struct process *process, uint32_t partition, uint64_t offset,
                         bool parked, bool holds);

/* partition.c */
void partition_report(struct world *world, struct process *process);
void partition_leave(struct world *world, struct process *process);
bool partition_step(struct world *world, struct process *process);
int64_t partition_wake_ns(const struct world *world, const struct process *process);
/* Applies committed state records from where the store stands; false: died. */
void partition_read_state(struct world *world, struct process *process, uint32_t partition, uint64_t end);
void partition_hand_mark(struct world *world, struct process *process, uint32_t partition);

/* parts.c */
/* After partitions have come or gone. */
void parts_share(struct world *world, struct process *process);
void parts_claim(struct world *world, struct process *process, uint32_t partition);
/* What the last owner has said, in the state topic up to where it is restored; `from`: what is new. */
void parts_heard(struct world *world, struct process *process, uint32_t partition, uint64_t from);
void parts_give(struct world *world, struct process *process, uint32_t partition);
void parts_deinit(struct world *world);

/* publisher.c */
void committer_add(struct world *world, struct process *process, const struct intent *intent);
bool committer_step(struct world *world, struct process *process);
int64_t committer_wake_ns(const struct process *process);
bool publisher_step(struct world *world, struct process *process);
int64_t publisher_wake_ns(const struct process *process);
bool committer_idle(const struct process *process);
bool publisher_in_transaction(const struct process *process);
/* Items of the partition are on the way. */
bool publisher_has(const struct process *process, uint32_t partition);
void publisher_drop_stale(struct world *world, struct process *process);
void publisher_put(struct world *world, struct process *process, const struct item *item);

/* provider.c */
void provider_call(struct world *world, struct process *process, const struct command *command);
/* Some are under way for the partition. */
bool provider_calls(const struct world *world, const struct process *process, uint32_t partition);
void provider_gather(struct world *world, struct process *process);
int64_t provider_wake_ns(const struct world *world, const struct process *process);
void provider_crash(struct world *world, struct process *process);

/* money.c */
void money_make(struct world *world);
void money_say(const struct world *world, uint32_t number, struct buffer *line);
void money_own(struct world *world, struct process *process, uint32_t partition);
void money_tell(struct world *world, struct process *process);
void money_told(struct world *world, struct process *process, const struct item *item, bool stands);
void money_rest(struct world *world, struct process *process);
/* Now and then another catalog follows. */
void money_reload(struct world *world, struct process *process);
/* The commit of the transaction is sure to be seen by whoever takes its partitions over. */
void money_accepted(struct world *world, uint32_t txn);
void money_call(struct world *world, struct process *process, const struct command *command,
                struct call *call);
void money_check_settled(struct world *world, enum failure failure);
void money_check_end(struct world *world);
/* rules.c */
void rules_make(struct world *world);
void rules_append(struct world *world, struct buffer *line);
void rules_hide(const struct world *world, struct job_spec *job); /* a planted mistake */

/* judge.c */
__attribute__((format(printf, 2, 3))) void judge_broken(struct world *world, const char *format, ...);
uint32_t judge_fact(struct world *world, struct key128 key); /* made when it is new */
struct key128 judge_record_key(uint32_t partition, uint64_t offset);
void judge_produced(struct world *world, uint32_t partition, uint64_t offset, uint32_t line);
/* A record of a jobs topic can be read from now on. */
void judge_record(struct world *world, uint32_t partition, const struct entry *entry, uint64_t offset);
void judge_committed(struct world *world, uint32_t txn);
void judge_offsets(struct world *world, const struct process *process, uint32_t partitions);
void judge_call(struct world *world, struct process *process, const struct command *command,
                struct call *call);
void judge_answered(struct world *world, struct process *process, const struct call *call);
void judge_final(struct world *world, struct process *process, uint32_t fact, const struct call *call);
void judge_durable(struct world *world, uint32_t machine, const struct write *write);
/* To a disk, synced or not. */
void judge_written(struct world *world, const struct write *write);
bool judge_done(struct world *world);
void judge_end(struct world *world);
