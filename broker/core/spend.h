#pragma once
/*
 * Budgets inside the engine: an attempt reserves its ceiling when it is opened, with the job's workspace and
 * with the provider of its endpoint, and what comes of it ends the reservation. All of these do nothing when
 * the catalog has neither workspaces nor budgets.
 *
 * A purse holds the ledgers of all subjects for the jobs of one partition; what is in no partition has one
 * purse with the whole of every budget.
 */
#include "broker/core/engine_state.h"

/* false: memory was refused. */
bool spend_init(struct engine *engine);
void spend_deinit(struct engine *engine);

/*
 * Subjects of the catalog that follows, for each purse, in the place of those of the one before: see
 * engine_reload(). The first is made before anything changes. false: memory was refused.
 */
struct spend_following {
        struct spend_subject **purses; /* by partition; NULL: it has no purse */
        uint32_t purses_count, subjects_count;
};
bool spend_make(const struct engine *engine, const struct catalog *catalog,
                struct spend_following *out_following);
void spend_unmake(struct spend_following *following);
void spend_follow(struct engine *engine, const struct catalog *before, struct spend_following *following,
                  const struct budget_spend *const *spends);
/* So many parts there are of every budget. */
void spend_share(struct engine *engine, uint32_t whole);

/* What routing holds a candidate's ceiling against. Where anything is counted: there are subjects. */
void spend_view(struct engine *engine, const struct job *job, uint32_t endpoint, struct route_state *view);
/* The candidate waits for a budget: it may only be a word that is missing. */
void spend_want(struct engine *engine, const struct job *job, const struct candidate *candidate);
/* For the call that is being opened; its exposure must be covered. */
void spend_reserve(struct engine *engine, struct job *job);
/* The price has not risen above what was reserved, and will not while the call may last. */
bool spend_covers(const struct engine *engine, const struct job *job);
/* Ends the job's reservation, if it still has one: at that cost; at nobody knows what; at nothing. */
void spend_settle(struct engine *engine, struct job *job, int64_t picousd);
void spend_hold(struct engine *engine, struct job *job);
void spend_release(struct engine *engine, struct job *job);
/*
 * Jobs of other partitions have other budgets: the number of the job's partition and 1. 0: it makes no
 * difference for this job.
 */
uint32_t spend_part(const struct engine *engine, const struct job *job);
/* Changes when there may be room again in a workspace's budget; part: of spend_part(). */
uint64_t spend_epoch(const struct engine *engine, uint32_t workspace, uint32_t part);
