#pragma once
/*
 * Lets the engine spend as little as the deadlines allow. Jobs with a deadline whose classes have the same
 * endpoints open to them form a pool; every few seconds a plan (workers/routing/plan.h) says how many of a
 * pool's jobs each endpoint is worth using for now. A job that could go to an endpoint that is not worth it
 * waits: cheaper capacity comes in time. One whose time is nearly up is not planned: it takes what there is.
 *
 * Pools are few; when there are none left, or nothing to choose from, jobs go by the plain rule of
 * dispatch.c. Plans of pools that share an endpoint do not know of one another, and limits change: what a
 * plan gets wrong, the next one, made from what still waits, puts right; and the plain rule of deadlines is
 * behind it.
 */
#include "broker/core/engine_state.h"

/* Jobs of the class come under the pool of those with the same places; called when it is made. */
void planning_join(struct engine *engine, struct job_class *job_class, const struct job *job);
void planning_leave(struct engine *engine, struct job_class *job_class); /* when it goes */

/* All pools are gone, and who waits is counted in none: each class is to join anew. */
void planning_dissolve(struct engine *engine);

/* The job waits in its class from now on, resp. no longer. */
void planning_waits(struct engine *engine, struct job *job);
void planning_waits_no_more(struct engine *engine, struct job *job);

/*
 * The pool that decides for this job now, its plan made anew if that is old; NULL: the plain rule does.
 * `route` is the job's ranking.
 */
struct plan_pool *planning_pool(struct engine *engine, const struct job *job, const struct route *route);
/* An endpoint is worth using now. */
bool planning_allows(const struct plan_pool *pool, uint32_t place);
void planning_take(struct engine *engine, const struct job *job, uint32_t place); /* a job goes there */
