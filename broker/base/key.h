#pragma once
/*
 * The 128-bit name of a job: the first half of a SHA-256 over its idempotency key. Made in wire/, used
 * everywhere as a map key; already uniformly distributed, so its first bytes serve as hash.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct key128 {
        uint64_t hi, lo;
};

static inline bool key128_equal(struct key128 a, struct key128 b) {
        return a.hi == b.hi && a.lo == b.lo;
}
