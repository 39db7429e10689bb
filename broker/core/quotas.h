#pragma once
/*
 * What limits have given, told to whoever keeps it beyond the life of the engine, and heard from there. Of
 * attempts that are opened the amounts count as taken when they are told, so that what was told with the
 * attempts that became durable then is never less than what calls have taken.
 */
#include "broker/core/engine_state.h"

bool quotas_init(struct engine *engine); /* false when memory is refused */
/* For the gates of that catalog; NULL when memory is refused. */
uint32_t *quotas_make(const struct catalog *catalog);
/* Takes what quotas_make() made. */
void quotas_follow(struct engine *engine, uint32_t *untold);
void quotas_deinit(struct engine *engine);

struct gate_clock quotas_clock(struct engine *engine);
/* What the job's gates at its endpoint have given, or will to what is opened, has changed. */
void quotas_touch(struct engine *engine, const struct job *job);
/* The call may take that: it is no more than what was told when it was opened. */
bool quotas_cover(const struct engine *engine, const struct job *job, const struct gates *gates,
                  const struct amounts *amounts);
/* Where quotas are kept: no more should be opened at these gates ahead of calls. */
bool quotas_crowded(const struct gates *gates, const struct amounts *amounts);
/* A call begins, for which the job was opened: there may be room for others to be opened. */
void quotas_called(struct engine *engine, const struct gates *gates, const struct amounts *opened);
/* What is said of a part that came. */
void quotas_merge(struct engine *engine, const struct limit_part *part);
