#pragma once
/*
 * Who may start: from the classes to an endpoint (a durable attempt is asked for), and from an endpoint's
 * queue to the wire.
 */
#include "broker/core/engine_state.h"

void dispatch_open(struct engine *engine);
void dispatch_call(struct engine *engine);
/* What routing needs to know of an endpoint for this job now. */
void dispatch_view(struct engine *engine, const struct job *job, uint32_t endpoint,
                   struct route_state *out_view);
/*
 * What the call takes from every limit there is. Audio whose length nobody knows yet is corrected after it.
 */
struct amounts dispatch_amounts(const struct engine *engine, const struct job *job, uint32_t endpoint);
