#pragma once
/*
 * Percentiles of positive numbers over a sliding five minutes, in fixed memory. Numbers fall into buckets
 * that are an eighth of an octave wide and are given back as the middle of theirs: at most 4.5 % off, and
 * cut to the range of 22 octaves that begins at the caller's `low`. Time falls into parts of a minute; an
 * older part counts less (5 to 1), so that nothing ends abruptly. Integers only: the same on every machine.
 *
 * All zero is an empty one. Adding is O(1), with one clearing of buckets per minute; reading looks at all.
 */
#include "workers/routing/demand.h"

#include <stdbool.h>
#include <stdint.h>

enum {
        BUCKETS_PER_OCTAVE = 8,
        PERCENTILES_BUCKETS = 22 * BUCKETS_PER_OCTAVE,
        PERCENTILES_PARTS = 5,
};

struct percentiles {
        int64_t part; /* number of the newest part since the clock began */
        uint16_t counts[PERCENTILES_PARTS][PERCENTILES_BUCKETS];
};

/* Eighths of octaves below a number; 0 for what is below 2. */
int32_t bucket_of(int64_t value);
/* The middle of a bucket. */
int64_t bucket_value(int32_t bucket);

/* `low` is a bucket_of(), and always the same for one of these. */
void percentiles_add(struct percentiles *percentiles, int32_t low, int64_t value, int64_t now_ns);
/*
 * p50, p75, p90, p99; 0 where nothing was seen. What that share of the numbers stays below, or with `reach`,
 * for numbers of which more is better, what that share reaches.
 */
void percentiles_read(const struct percentiles *percentiles, int32_t low, bool reach, int64_t now_ns,
                      int64_t out_values[PERCENTILES_COUNT]);
