#pragma once
/*
 * Whose turn it is: the order in which the classes that may start a job are looked at.
 *
 *   workspace   the one that has had the fewest calls for its weight. A call is what all that is scarce has
 *               in common; tokens and money have limits of their own. What a workspace had long ago is
 *               forgotten (by half every SHARE_HALF_LIFE_NS), and one that had nothing to do begins where the
 *               others are, so that nobody saves up turns
 *   priority    the highest in it
 *   class       earliest deadline first; those without one behind, in turns of CLASS_BURST jobs
 *   job         in a class: earliest deadline first, else in order of arrival (classes.h)
 *
 * So that nothing waits for ever behind what comes again and again, every GUARANTEE-th job of a workspace is
 * of the class that has waited longest for its turn, whatever its rank. And a class before which far more
 * jobs began at its own endpoints than the shares explain goes first: its workspace may have had its share
 * elsewhere. That too counts for its workspace like any other job.
 *
 * A class whose first job can start nowhere is blocked: it is in no queue, and costs one look per turn
 * however many jobs it holds, until its time has come or room has come up where it might go.
 */
#include "broker/core/engine_state.h"

void order_init(struct engine *engine);
/* The weights are the catalog's; workspaces from `known` on are new. */
void order_workspaces(struct engine *engine, uint32_t known);
/* Jobs opened so far where those of the class might have been. */
uint64_t order_openings(const struct engine *engine, const struct job_class *job_class);
/* Its first job is another one, or has come; or there is none any more. Blocked or not, it is judged anew. */
void order_head(struct engine *engine, struct job_class *job_class);
/* Its first job cannot start before that, unless room comes up. */
void order_block(struct engine *engine, struct job_class *job_class, int64_t until_ns);
/* At the start of a turn: what was blocked and may not be any more can be looked at. */
void order_wake(struct engine *engine);

struct turn {
        struct job_class *job_class; /* NULL: nothing can start */
        bool guaranteed;             /* out of its rank */
};
struct turn order_next(const struct engine *engine);
/* A job of that turn is opened at an endpoint. */
void order_opened(struct engine *engine, const struct turn *turn, uint32_t endpoint);
/* One that was opened was never called. */
void order_returned(struct engine *engine, uint32_t workspace);
