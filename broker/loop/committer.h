#pragma once
/*
 * The thread that makes things durable, so that the shard's loop never waits for a disk. It takes everything
 * that has come up since the last commit as one batch: renders the result lines, appends them to the outputs
 * and syncs these, then writes attempts, settled rows and the source's position to the store in one synced
 * write. Only then are the shard's handles told.
 *
 * What is in files the store need not say at once: see ahead.h.
 *
 * Results for a topic are journaled in the store as answers and handed on to the publisher, in order
 * (publisher.h); their completions come from there.
 *
 * Audit records are synced before the results that they are about.
 *
 * A regular file is synced before the store says that its lines are there; for a pipe the order is the other
 * way round, with the lines kept in the store until they are written (see files/sink.h).
 *
 * What a job with `zdr` was answered is written to nothing but its output: no body stands in the store, and
 * no value in its answer's row, only what it cost. For a pipe such lines are written first and settled behind
 * them; a crash between leaves an attempt of unknown outcome whose cost is known.
 *
 * A full disk is waited for: the batch is tried again until there is room, or until the patience ends. Any
 * other failure is final. Either way committer_trouble() tells.
 */
#include "broker/base/error.h"
#include "broker/core/engine.h"
#include "broker/files/sink.h"
#include "broker/loop/intent.h"
#include "broker/ops/metric.h"
#include "broker/store/store.h"

enum { SINK_RESULTS, SINK_ERRORS, SINKS_COUNT };

struct audit_log;
struct committer;
struct publisher;

struct committer_options {
        struct store *store;
        struct sink *sinks[SINKS_COUNT]; /* errors may be NULL: failures go to the results then */
        struct audit_log *audit;         /* NULL: none; where results go to a topic, so do the records */
        const struct catalog *catalog;
        const char *source_name;
        int64_t spacing_ns;      /* between the starts of two commits */
        int64_t spacing_busy_ns; /* the same while the shard is busy: larger batches cost less CPU each */
        int64_t patience_ns;     /* with a full disk */
        int64_t retry_ns;        /* between two tries then; 0: half a second */
        int event_fd;            /* written to when there are completions; the shard's */
};

struct completion {
        enum intent_kind kind; /* OPEN, SETTLE, or PUBLISH of a PUBLICATION_SPEND */
        struct handle handle;
        struct begun_id begun; /* OPEN */
        /* PUBLISH: the word of that partition stands in the state topic, or never will */
        uint32_t partition, word;
        bool stands;
        struct reply reply; /* SETTLE: back to the thread that made it, whose allocator has it at hand */
};

struct error *committer_new(const struct committer_options *options,
                            struct committer **out_committer) MUST_USE;
/* Finishes what was handed over, if it can, and ends the thread. NULL gives NULL. */
struct committer *committer_free(struct committer *committer);

/*
 * Before anything is submitted, where results go to topics and not to sinks. The publisher must outlive the
 * committer.
 */
void committer_publish_to(struct committer *committer, struct publisher *publisher);
/* For the publisher: these are done; nothing will be any more (TROUBLE_FAILED). */
void committer_complete(void *userdata, const struct completion *completions, size_t count);
void committer_fail(void *userdata, const char *message);
/*
 * Hands over the intents (they are the committer's then) and the source's state, if that changed (else NULL).
 * false: memory was refused; nothing was taken.
 */
bool committer_submit(struct committer *committer, const struct intent *intents, size_t count,
                      const struct source_state *state);
/* Whether the shard is busy; idle at first. By the thread that submits. */
void committer_pace(struct committer *committer, bool busy);
/* With what is submitted next: the store is to say all that the outputs say. For the end of a run. */
void committer_catch_up(struct committer *committer);
/* From here on that catalog is in force, with the same indexes. It must outlive the committer. */
void committer_follow(struct committer *committer, const struct catalog *catalog);
/*
 * Before committer_submit(), by the same thread: what a subject of the catalog (its lasting number:
 * budget_lasting()) has spent, as of the intents
 * that are submitted then. Becomes durable with them. false: memory was refused.
 */
bool committer_spend(struct committer *committer, uint32_t subject, const struct budget_spend *spend);
/* The same for what a limit has given. The row's name must outlive the committer. */
bool committer_quota(struct committer *committer, const struct quota_row *row);
/* Moves at most `max` completions out. */
size_t committer_take(struct committer *committer, struct completion *out_completions, size_t max);
/* Everything that was handed over is durable and every completion was taken. */
bool committer_idle(struct committer *committer);
/* Everything that was handed over is durable here; the publisher may still have it. */
bool committer_durable(struct committer *committer);

struct committer_stats {
        struct histogram writes; /* to the store, each synced */
};
void committer_get_stats(struct committer *committer, struct committer_stats *out_stats);

enum trouble {
        TROUBLE_NONE,
        TROUBLE_FULL, /* waiting for space */
        TROUBLE_PIPE, /* a pipe takes no more; results are still made durable, and come out the next time */
        TROUBLE_FAILED,
};
/* The sentence is copied; it is empty without trouble. */
enum trouble committer_trouble(struct committer *committer, char *out_message, size_t message_size);
