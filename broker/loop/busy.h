#pragma once
/*
 * Whether a loop is busy: asleep for less than a fifth of the last tenth of a second. With time to spare
 * results need not wait for each other; without, fewer commits leave more of it.
 */
#include <stdbool.h>
#include <stdint.h>

struct busy {
        bool is; /* at first it is not */
        int64_t since_ns, asleep_ns;
};

/* The loop has slept from then to now, or not at all. true: `is` has changed. */
bool busy_slept(struct busy *busy, int64_t before_ns, int64_t now_ns);
