#pragma once
/*
 * When transactions follow each other. A result may wait for the next one for the whole of their period, and
 * then for its commit. So that both together take no longer than the commit interval, what a commit takes,
 * and how far it strays from that, is taken off the period: up to half of it, and less the more of the
 * interval a commit needs. From two thirds on the brokers have enough to do without more transactions. A
 * shard that is busy keeps the whole interval: more transactions cost CPU.
 */
#include <stdbool.h>
#include <stdint.h>

struct cadence {
        int64_t took_ns, swing_ns; /* of commits of late: the mean, and the mean distance from it */
};

void cadence_committed(struct cadence *cadence, int64_t took_ns);
/* From one transaction to the next: half of the interval to all of it. */
int64_t cadence_period_ns(const struct cadence *cadence, int64_t interval_ns, bool busy_shard);
