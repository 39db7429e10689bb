#pragma once
/*
 * One shard: a thread's event loop around one engine. The turn is the only loop there is: read the clock,
 * gather events from the adapters (bounded), step the engine, carry out its commands, hand durable work to
 * the committer, sleep until something happens. Shards share nothing but the store and read-only
 * configuration.
 *
 * The source here is a file: its lines are the log, its mark the watermark (files/source.h).
 */
#include "broker/base/error.h"
#include "broker/core/engine.h"
#include "broker/files/source.h"
#include "broker/loop/calls.h"
#include "broker/loop/committer.h"
#include "broker/wire/job.h"

struct shard;

struct shard_options {
        const struct catalog *catalog;
        struct engine_config engine;
        struct calls_options calls;         /* slots and catalog are filled in */
        struct committer_options committer; /* catalog and event_fd are filled in */
        struct job_decoder_options decoder;
        struct source *source;
        const struct source_state *state; /* what the store knew of the source */
        uint64_t jobs_limit;              /* jobs to take from the source; UINT64_MAX: all */
        size_t memory_max;                /* payload bytes; intake pauses at it */
};

enum shard_end {
        SHARD_FINISHED,    /* every line is settled */
        SHARD_INTERRUPTED, /* drained or stopped; the state is kept */
        SHARD_LIMITED,     /* jobs_limit was reached; the state is kept */
        SHARD_STUCK,       /* no provider can be used until somebody acts; the state is kept */
        SHARD_FAILED,      /* disk or store; the state is kept */
};

/* A copy made by the shard now and then; any thread may read it. */
struct shard_progress {
        struct engine_stats stats;
        uint64_t bytes_read, bytes_total; /* of the source; 0 when not known */
        uint32_t calls_in_flight;
        char last_error[ANSWER_MESSAGE_MAX]; /* of a provider; while nothing has succeeded */
        enum trouble trouble;
        char message[512]; /* of the trouble, or why it is stuck */
};

struct error *shard_new(const struct shard_options *options, struct shard **out_shard) MUST_USE;
struct shard *shard_free(struct shard *shard); /* NULL gives NULL */

/* Runs until the end; on the calling thread. out_error: for SHARD_FAILED. */
enum shard_end shard_run(struct shard *shard, struct error **out_error);
/* From any thread or signal handler: once, finish what is under way; twice, stop at once. */
void shard_drain(struct shard *shard);
void shard_stop(struct shard *shard);

void shard_get_progress(struct shard *shard, struct shard_progress *out_progress);
/* After the run. */
const struct engine *shard_engine(const struct shard *shard);
