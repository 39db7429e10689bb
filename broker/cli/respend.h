#pragma once
/*
 * What the budgets of a configuration would have left while recorded jobs are decided again, one after the
 * other: nothing was spent before the first one, and each has ended before the next one is decided.
 */
#include "workers/routing/route.h"

struct respend;

/* NULL when memory is refused. The catalog must outlive it. */
struct respend *respend_new(const struct catalog *catalog);
struct respend *respend_free(struct respend *respend);
/* What routing must know, for a job of that workspace. */
void respend_view(struct respend *respend, uint32_t workspace, const struct route_set *set,
                  int64_t now_unix_ms, struct route_state *states);
/* That job went to that endpoint, and cost so much. */
void respend_add(struct respend *respend, uint32_t workspace, uint32_t endpoint, int64_t now_unix_ms,
                 int64_t picousd);
