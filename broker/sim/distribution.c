#include "broker/sim/distribution.h"

#include "broker/base/prng.h"
#include "broker/base/time.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 1e18 /* 31 years in nanoseconds: keeps every draw inside int64_t */

static bool number_parse(struct bytes text, double *out_value) {
        char copy[40], *end;
        double value;

        if (text.size == 0 || text.size >= sizeof(copy) || strchr("0123456789.", text.data[0]) == NULL)
                return false;
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        errno = 0;
        value = strtod(copy, &end);
        if (*end != '\0' || errno != 0 || !isfinite(value) || value > VALUE_MAX)
                return false;
        *out_value = value;
        return true;
}

static bool value_parse(struct bytes text, bool durations, double *out_value) {
        int64_t ns;

        if (!durations)
                return number_parse(text, out_value);
        if (!duration_parse(text, &ns) || ns < 0 || (double)ns > VALUE_MAX)
                return false;
        *out_value = (double)ns;
        return true;
}

static struct bytes bytes_after(struct bytes text, size_t skip) {
        return (struct bytes){text.data + skip, text.size - skip};
}

bool sim_distribution_parse(struct bytes text, bool durations, struct sim_distribution *out_distribution) {
        struct sim_distribution result = {.shape = SIM_SHAPE_FIXED};
        struct bytes rest = text, second;
        const char *comma;

        if (bytes_starts_with(text, "fixed:"))
                rest = bytes_after(text, strlen("fixed:"));
        else if (bytes_starts_with(text, "normal:"))
                result.shape = SIM_SHAPE_NORMAL, rest = bytes_after(text, strlen("normal:"));
        else if (bytes_starts_with(text, "lognormal:"))
                result.shape = SIM_SHAPE_LOGNORMAL, rest = bytes_after(text, strlen("lognormal:"));
        if (result.shape != SIM_SHAPE_FIXED) {
                comma = rest.size == 0 ? NULL : memchr(rest.data, ',', rest.size);
                if (comma == NULL)
                        return false;
                second = bytes_after(rest, (size_t)(comma - rest.data) + 1);
                rest.size = (size_t)(comma - rest.data);
                if (!value_parse(second, durations && result.shape == SIM_SHAPE_NORMAL, &result.spread))
                        return false;
        }
        if (!value_parse(rest, durations, &result.center))
                return false;
        *out_distribution = result;
        return true;
}

double sim_distribution_draw(const struct sim_distribution *distribution, struct prng *prng) {
        double value = distribution->center;

        switch (distribution->shape) {
        case SIM_SHAPE_FIXED:
                break;
        case SIM_SHAPE_NORMAL:
                value += distribution->spread * prng_normal(prng);
                break;
        case SIM_SHAPE_LOGNORMAL:
                value *= exp(distribution->spread * prng_normal(prng));
                break;
        }
        return value < 0 ? 0 : value > VALUE_MAX ? VALUE_MAX : value;
}
