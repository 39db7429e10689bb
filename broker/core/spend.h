#pragma once
/*
 * Budgets inside the engine: an attempt reserves its ceiling when it is opened, with the job's workspace and
 * with the provider of its endpoint, and what comes of it ends the reservation. All of these do nothing when
 * the catalog has neither workspaces nor budgets.
 */
#include "broker/core/engine_state.h"

/* false: memory was refused. */
bool spend_init(struct engine *engine);
void spend_deinit(struct engine *engine);

/*
 * Subjects of the catalog that follows, in the place of those of the one before: see engine_reload(). The
 * first is made before anything changes; NULL with *out_count 0 when nothing is counted. false: memory was
 * refused.
 */
bool spend_make(const struct engine *engine, const struct catalog *catalog,
                struct spend_subject **out_subjects, uint32_t *out_count);
void spend_follow(struct engine *engine, const struct catalog *before, struct spend_subject *subjects,
                  uint32_t count, const struct budget_spend *const *spends);

/* What routing holds a candidate's ceiling against. */
void spend_view(struct engine *engine, const struct job *job, uint32_t endpoint, struct route_state *view);
/* For the call that is being opened; its exposure must be covered. */
void spend_reserve(struct engine *engine, struct job *job);
/* The price has not risen above what was reserved, and will not while the call may last. */
bool spend_covers(const struct engine *engine, const struct job *job);
/* Ends the job's reservation, if it still has one: at that cost; at nobody knows what; at nothing. */
void spend_settle(struct engine *engine, struct job *job, int64_t picousd);
void spend_hold(struct engine *engine, struct job *job);
void spend_release(struct engine *engine, struct job *job);
/* Changes when there may be room again in a workspace's budget. */
uint64_t spend_epoch(const struct engine *engine, uint32_t workspace);
