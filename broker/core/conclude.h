#pragma once
/*
 * What follows from an answer: a result, another try somewhere or later, or a failure. And the end of a job.
 */
#include "broker/core/engine_state.h"

void conclude_answer(struct engine *engine, struct job *job, const struct answer *answer);
/* Ends a job for which no call is under way. */
void conclude_without_answer(struct engine *engine, struct job *job, enum failure failure);
/* The sentence for the failure that follows, in place of the usual one. */
void conclude_say(struct job *job, const char *sentence);
/* Ends the unsent attempt of a READY job, which then waits (or ends, by what the caller does next). */
void conclude_unsent(struct engine *engine, struct job *job);
/* Settles a job whose result stands in the store already. */
void conclude_journaled(struct engine *engine, struct job *job, enum failure failure);
/* Gives a job up that is neither being called nor settled, nor waits for the journal. */
void conclude_revoked(struct engine *engine, struct job *job);
void conclude_settled(struct engine *engine, struct job *job);
/* Frees the slot; the caller has told the shard to forget the job. */
void conclude_release(struct engine *engine, struct job *job);
/* Puts a job that failed to sleep, before it may be tried at the same place again. It is in no queue. */
void conclude_back_off(struct engine *engine, struct job *job);
