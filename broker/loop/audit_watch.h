#pragma once
/*
 * Sees a shard's commands and answers go by and says what belongs into the audit: each call when it has
 * ended, each job that is refused without one, and what a former process left without an end. The engine
 * knows nothing of it. By the engine's slots, on the shard's thread. A shard that is not audited has none.
 */
#include "broker/core/engine.h"
#include "broker/loop/audit_note.h"
#include "broker/store/store.h"

struct audit_watch;

struct audit_watch_options {
        const struct catalog *catalog;
        uint32_t slots;
        /* The audit says already how this attempt ended. NULL: never. */
        bool (*ended)(const void *userdata, struct key128 job, uint32_t attempt);
        const void *ended_userdata;
        /* Takes the note over. */
        void (*tell)(void *userdata, struct audit_note *note);
        void *tell_userdata;
};

struct audit_watch *audit_watch_new(const struct audit_watch_options *options); /* NULL: no memory */
struct audit_watch *audit_watch_free(struct audit_watch *watch);                /* NULL gives NULL */
/* From here on that catalog is in force, with the same indexes. */
void audit_watch_follow(struct audit_watch *watch, const struct catalog *catalog);
/* Memory was refused: something is missing in the audit. */
bool audit_watch_failed(const struct audit_watch *watch);

/* The store has told of a job that begins. */
void audit_watch_looked_up(struct audit_watch *watch, uint32_t slot, const struct job_spec *job,
                           const struct store_record *record);
/* `answer` is kept until it is told: by the command that follows from it, or at the end of the turn. */
void audit_watch_answered(struct audit_watch *watch, uint32_t slot, const struct answer *answer);
/* Before it is carried out. */
void audit_watch_command(struct audit_watch *watch, const struct command *command);
/* The end of the turn, for each slot that was answered in it. */
void audit_watch_turned(struct audit_watch *watch, uint32_t slot);
