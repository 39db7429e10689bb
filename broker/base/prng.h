#pragma once
/*
 * Seeded pseudo-random numbers (xoshiro256**, seeded by splitmix64; Blackman and Vigna 2018). Same seed, same
 * numbers, everywhere.
 */
#include <stdint.h>

struct prng {
        uint64_t s[4];
};

void prng_init(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);
uint64_t prng_below(struct prng *prng, uint64_t bound); /* uniform in [0, bound); bound > 0 */
double prng_unit(struct prng *prng);                    /* [0, 1) */
double prng_normal(struct prng *prng);                  /* mean 0, deviation 1 */
