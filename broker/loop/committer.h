#pragma once
/*
 * The thread that makes things durable, so that the shard's loop never waits for a disk. It takes everything
 * that has come up since the last commit as one batch: renders the result lines, appends them to the outputs
 * and syncs these, then writes attempts, settled rows and the source's position to the store in one synced
 * write. Only then are the shard's handles told.
 *
 * A regular file is synced before the store says that its lines are there; for a pipe the order is the other
 * way round, with the lines kept in the store until they are written (see files/sink.h).
 *
 * A full disk is waited for: the batch is tried again until there is room, or until the patience ends. Any
 * other failure is final. Either way committer_trouble() tells.
 */
#include "broker/base/error.h"
#include "broker/core/engine.h"
#include "broker/files/sink.h"
#include "broker/loop/reply.h"
#include "broker/store/store.h"

enum { SINK_RESULTS, SINK_ERRORS, SINKS_COUNT };

struct committer;

struct committer_options {
        struct store *store;
        struct sink *sinks[SINKS_COUNT]; /* errors may be NULL: failures go to the results then */
        const struct catalog *catalog;
        const char *source_name;
        int64_t spacing_ns;  /* between the starts of two commits: what makes batches */
        int64_t patience_ns; /* with a full disk */
        int64_t retry_ns;    /* between two tries then; 0: half a second */
        int event_fd;        /* written to when there are completions; the shard's */
};

enum intent_kind { INTENT_OPEN, INTENT_END, INTENT_SETTLE };

struct intent {
        enum intent_kind kind;
        struct handle handle;
        struct begun_id begun;         /* END, SETTLE: the attempt */
        struct begun open;             /* OPEN */
        const struct job_spec *job;    /* SETTLE; read until the completion is taken */
        const struct outcome *outcome; /* the same */
        struct key128 key;
        struct reply reply;
};

struct completion {
        enum intent_kind kind; /* OPEN or SETTLE */
        struct handle handle;
        struct begun_id begun; /* OPEN */
        struct reply reply;    /* SETTLE: back to the thread that made it, whose allocator has it at hand */
};

struct error *committer_new(const struct committer_options *options,
                            struct committer **out_committer) MUST_USE;
/* Finishes what was handed over, if it can, and ends the thread. NULL gives NULL. */
struct committer *committer_free(struct committer *committer);

/*
 * Hands over the intents (they are the committer's then) and the source's state, if that changed (else NULL).
 * false: memory was refused; nothing was taken.
 */
bool committer_submit(struct committer *committer, const struct intent *intents, size_t count,
                      const struct source_state *state);
/* Moves at most `max` completions out. */
size_t committer_take(struct committer *committer, struct completion *out_completions, size_t max);
/* Everything that was handed over is durable and every completion was taken. */
bool committer_idle(struct committer *committer);

enum trouble {
        TROUBLE_NONE,
        TROUBLE_FULL, /* waiting for space */
        TROUBLE_PIPE, /* a pipe takes no more; results are still made durable, and come out the next time */
        TROUBLE_FAILED,
};
/* The sentence is copied; it is empty without trouble. */
enum trouble committer_trouble(struct committer *committer, char *out_message, size_t message_size);
