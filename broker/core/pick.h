#pragma once
/*
 * Which of the ranked candidates is taken now, or whether the job waits for a better one. Pure: what it looks
 * at is what a decision's record holds, so that a replay comes to the same choice.
 */
#include "workers/routing/record.h"

/*
 * The first candidate that was not tried just now, may start now and is acceptable, or worth its price by the
 * plan; NULL: none, and out_wake_ns, if that is earlier, says when to look again. Only the usable ones count.
 */
const struct candidate *pick(const struct demand *demand, const struct route *route,
                             const struct decision_moment *moment, int64_t *out_wake_ns);
/* None is usable: how a job ends then. The code tells what stopped it where it came farthest. */
enum failure pick_refusal(const struct route *route);
/* It is refused because a budget applies and the most that it can cost is not known. */
bool pick_unbounded(const struct route *route);
