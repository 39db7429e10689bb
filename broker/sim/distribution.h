#pragma once
/*
 * How long an answer takes, or how many tokens it has: fixed, normal or log-normal, never below zero. A value
 * of a duration is in nanoseconds.
 */
#include "broker/base/bytes.h"

struct prng;

enum sim_shape {
        SIM_SHAPE_FIXED,
        SIM_SHAPE_NORMAL,    /* spread is the standard deviation, in the unit of center */
        SIM_SHAPE_LOGNORMAL, /* center is the median; spread is sigma of the logarithm */
};

struct sim_distribution {
        enum sim_shape shape;
        double center, spread;
};

/*
 * "fixed:V", "normal:MEAN,SD", "lognormal:MEDIAN,SIGMA"; a bare V is fixed. V is "200ms" when `durations`,
 * else a plain number. false, and nothing written, for anything else.
 */
bool sim_distribution_parse(struct bytes text, bool durations, struct sim_distribution *out_distribution);
double sim_distribution_draw(const struct sim_distribution *distribution, struct prng *prng);
