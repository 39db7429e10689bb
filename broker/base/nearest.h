#pragma once
/*
 * The known name that a wrong one was probably meant to be, for messages. Candidates are offered one by
 * one; the first of the nearest stays. Upper and lower case count as the same.
 */
#include "broker/base/bytes.h"

enum { NEAREST_NAME_MAX = 64, NEAREST_DISTANCE_MAX = 2, NEAREST_PREFIX_MIN = 3 };

struct nearest {
        struct bytes name; /* what was written; of more than NEAREST_NAME_MAX bytes nothing is near */
        struct bytes best; /* empty: nothing is near */
        size_t distance;   /* of the best */
};

void nearest_init(struct nearest *nearest, struct bytes name);
/*
 * Near is: at most NEAREST_DISTANCE_MAX bytes to insert, delete, replace or swap with their neighbour
 * (optimal string alignment), and fewer than half of the name; or one of the two begins with the other,
 * with at least NEAREST_PREFIX_MIN bytes in common. The candidate's bytes are kept as a view.
 */
void nearest_offer(struct nearest *nearest, struct bytes candidate);
