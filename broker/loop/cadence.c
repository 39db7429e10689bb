#include "broker/loop/cadence.h"

#include "broker/base/minmax.h"

#include <stdlib.h>

/* Weights as in RFC 6298, which foretells round trips. */
void cadence_committed(struct cadence *cadence, int64_t took_ns) {
        int64_t off_ns = took_ns - cadence->took_ns;
        cadence->took_ns += off_ns / 8;
        cadence->swing_ns += (llabs(off_ns) - cadence->swing_ns) / 4;
}

int64_t cadence_period_ns(const struct cadence *cadence, int64_t interval_ns, bool busy_shard) {
        if (busy_shard)
                return interval_ns;
        int64_t lead_ns = min64(cadence->took_ns + 2 * cadence->swing_ns, interval_ns / 2);
        int64_t spare_ns = interval_ns / 3 * 2 - cadence->took_ns;
        return interval_ns - max64(min64(lead_ns, spare_ns), 0);
}
