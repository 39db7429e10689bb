/*
 * xoshiro256** 1.0, seeded by splitmix64, after the public-domain reference code of Blackman and Vigna
 * (prng.di.unimi.it). Only integer arithmetic and correctly rounded floating point (+ - * / sqrt) is used, so
 * that a seed gives the same numbers with any C library: log() of two libraries may differ in the last bit,
 * which is why there is one here.
 */
#include "broker/base/prng.h"

#include "broker/base/check.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *state) {
        uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k) {
        return (x << k) | (x >> (64 - k));
}

void prng_init(struct prng *prng, uint64_t seed) {
        for (int i = 0; i < 4; i++)
                prng->s[i] = splitmix64(&seed);
}

uint64_t prng_next(struct prng *prng) {
        uint64_t *s = prng->s;
        uint64_t result = rotate_left(s[1] * 5, 7) * 9;
        uint64_t t = s[1] << 17;

        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotate_left(s[3], 45);
        return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound) {
        uint64_t skip, x;

        CHECK(bound > 0);
        skip = (UINT64_MAX - bound + 1) %
               bound; /* 2^64 mod bound: this many of the lowest values would be one too many */
        do
                x = prng_next(prng);
        while (x < skip);
        return x % bound;
}

double prng_unit(struct prng *prng) {
        return (double)(prng_next(prng) >> 11) * 0x1.0p-53;
}

/* Natural logarithm of x in (0, 1], by ln(m) = 2 artanh((m - 1) / (m + 1)); good to about 1e-16. */
static double log_of_unit(double x) {
        int exponent;
        double m = frexp(x, &exponent), t, t2, term, sum;

        if (m < 0x1.6a09e667f3bcdp-1) { /* sqrt(1/2): keeps |t| below 0.172, so that 12 terms suffice */
                m *= 2;
                exponent--;
        }
        t = (m - 1) / (m + 1);
        t2 = t * t;
        term = sum = t;
        for (int k = 3; k < 27; k += 2) {
                term = term * t2;
                sum = sum + term / k;
        }
        return 2 * sum + exponent * 0x1.62e42fefa39efp-1;
}

/* Marsaglia's polar method. Its second number is thrown away, so that the state stays the four words. */
double prng_normal(struct prng *prng) {
        double u, v, s;

        do {
                u = 2 * prng_unit(prng) - 1;
                v = 2 * prng_unit(prng) - 1;
                s = u * u + v * v;
        } while (s >= 1 || s <= 0);
        return u * sqrt(-2 * log_of_unit(s) / s);
}
