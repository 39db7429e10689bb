#pragma once
/* The queues of jobs that may run, one per class: earliest deadline first, else in order of arrival. */
#include "broker/core/engine_state.h"

/*
 * Puts the job into its class (made when it is the first), where it stays until classes_leave(). false: no
 * endpoint serves it.
 */
bool classes_join(struct engine *engine, struct job *job);
void classes_leave(struct engine *engine, struct job *job);
/* Moves a WAITING job to the class of those to which the same places are closed, and that are as pressed. */
void classes_move(struct engine *engine, struct job *job, uint32_t closed);
/*
 * Another catalog is in force. Jobs inside keep their classes, with the numbers of their places; jobs that
 * come from here on form classes of their own, whose places are numbered anew.
 */
void classes_match_again(struct engine *engine);
/* Queues a job that is WAITING; one that waited before keeps its place among its equals. */
void classes_enqueue(struct engine *engine, struct job *job);
void classes_dequeue(struct engine *engine, struct job *job);
/* Whose turn it is; NULL when no job waits. */
struct job *classes_first(const struct job_class *job_class);
/* Changes when room may have come up for a class: at its gates, or altogether. */
uint64_t classes_epoch(const struct engine *engine, const struct job_class *job_class);
