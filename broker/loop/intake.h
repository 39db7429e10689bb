#pragma once
/*
 * Where a shard's jobs come from, and who is told what becomes of them: a file (line_intake.h) or the
 * partitions of a topic (record_intake.h). Called on the shard's thread only, within its turn.
 */
#include "broker/base/error.h"
#include "broker/core/engine.h"
#include "broker/loop/committer.h"

struct shard;
struct job_decoder;
struct shard_progress;

struct intake_ops {
        /* Gives new jobs to shard_take(). An error ends the run once what is under way is durable. */
        struct error *(*gather)(void *intake, struct shard *shard);
        /* What the store said of a job's key, or of its alias, before the engine hears it. May be NULL. */
        void (*looked_up)(void *intake, const struct job_spec *job, bool alias, struct store_record *record);
        /* The job's result is about to be handed to the committer. May be NULL. */
        void (*settling)(void *intake, struct intent *intent);
        /* The engine has done with the job, which is freed here. */
        void (*forgotten)(void *intake, struct shard *shard, const struct command *command);
        /* The run is over, and the job is still inside. */
        void (*free_job)(void *intake, struct job_spec *job);
        /*
         * All intents of this turn are there: the last to be added (shard_intend()). Gives the source's state
         * if that goes with them, else NULL.
         */
        const struct source_state *(*moved)(void *intake, struct shard *shard);
        /* The same at the very end. */
        const struct source_state *(*finish)(void *intake, bool finished);
        /* when to gather again; INT64_MAX */
        int64_t (*wake_ns)(const void *intake, const struct shard *shard);
        /* Where it keeps the decoder of its jobs. NULL: it has none */
        struct job_decoder **(*decoder)(void *intake);
        /* The shard has another catalog. May be NULL. */
        void (*reloaded)(void *intake, struct shard *shard);
        bool (*ended)(const void *intake); /* no more jobs will come */
        bool (*quiet)(const void *intake); /* nothing of its own is on the way. May be NULL */
        void (*progress)(const void *intake, struct shard_progress *out_progress);
};
