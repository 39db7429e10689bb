#include "workers/routing/percentiles.h"

#include "broker/base/check.h"
#include "workers/routing/limits.h"

#include <string.h>

/* Where the eighths of an octave begin, and their middles: 2^(k/8) and 2^((2k+1)/16), times 2^15. */
static const uint32_t begins[BUCKETS_PER_OCTAVE] = {32768, 35734, 38968, 42495, 46341, 50535, 55109, 60097};
static const uint32_t middles[BUCKETS_PER_OCTAVE] = {34219, 37316, 40693, 44376, 48393, 52773, 57549, 62757};
enum { MANTISSA_BITS = 15 };

int32_t bucket_of(int64_t value) {
        if (value < 2)
                return 0;
        int octave = 63 - __builtin_clzll((uint64_t)value);
        uint64_t mantissa = octave > MANTISSA_BITS ? (uint64_t)value >> (octave - MANTISSA_BITS)
                                                   : (uint64_t)value << (MANTISSA_BITS - octave);
        int32_t eighth = BUCKETS_PER_OCTAVE - 1;
        while (mantissa < begins[eighth])
                eighth--;
        return octave * BUCKETS_PER_OCTAVE + eighth;
}

int64_t bucket_value(int32_t bucket) {
        CHECK(bucket >= 0 && bucket < 63 * BUCKETS_PER_OCTAVE);
        int octave = bucket / BUCKETS_PER_OCTAVE;
        uint64_t middle = middles[bucket % BUCKETS_PER_OCTAVE];
        return (int64_t)(octave > MANTISSA_BITS ? middle << (octave - MANTISSA_BITS)
                                                : middle >> (MANTISSA_BITS - octave));
}

static void roll(struct percentiles *percentiles, int64_t part) {
        int64_t behind = part - percentiles->part;
        if (behind <= 0)
                return;
        if (behind > PERCENTILES_PARTS)
                behind = PERCENTILES_PARTS;
        for (int64_t i = 0; i < behind; i++)
                memset(percentiles->counts[(part - i) % PERCENTILES_PARTS], 0, sizeof *percentiles->counts);
        percentiles->part = part;
}

void percentiles_add(struct percentiles *percentiles, int32_t low, int64_t value, int64_t now_ns) {
        roll(percentiles, now_ns / PERCENTILES_PART_NS);
        int32_t bucket = bucket_of(value) - low;
        bucket = bucket < 0 ? 0 : bucket < PERCENTILES_BUCKETS ? bucket : PERCENTILES_BUCKETS - 1;
        uint16_t *counts = percentiles->counts[percentiles->part % PERCENTILES_PARTS];
        if (counts[bucket] == UINT16_MAX) /* shares are what matters: all of the part by half */
                for (int i = 0; i < PERCENTILES_BUCKETS; i++)
                        counts[i] /= 2;
        counts[bucket]++;
}

/* Of every bucket, what was seen in the parts that are still young enough, by their weights. */
static uint32_t weigh(const struct percentiles *percentiles, int64_t now_ns,
                      uint32_t out_weights[PERCENTILES_BUCKETS]) {
        int64_t age = now_ns / PERCENTILES_PART_NS - percentiles->part;
        uint32_t sum = 0;
        memset(out_weights, 0, PERCENTILES_BUCKETS * sizeof *out_weights);
        for (int64_t i = 0; age + i < PERCENTILES_PARTS && i <= percentiles->part; i++) {
                const uint16_t *counts = percentiles->counts[(percentiles->part - i) % PERCENTILES_PARTS];
                uint32_t weight = (uint32_t)(PERCENTILES_PARTS - age - i);
                for (int bucket = 0; bucket < PERCENTILES_BUCKETS; bucket++) {
                        out_weights[bucket] += counts[bucket] * weight;
                        sum += counts[bucket] * weight;
                }
        }
        return sum;
}

void percentiles_read(const struct percentiles *percentiles, int32_t low, bool reach, int64_t now_ns,
                      int64_t out_values[PERCENTILES_COUNT]) {
        static const uint64_t percents[PERCENTILES_COUNT] = {50, 75, 90, 99};
        uint32_t weights[PERCENTILES_BUCKETS];
        uint64_t sum = weigh(percentiles, now_ns, weights), seen = 0;
        int32_t passed = 0;
        for (int i = 0; i < PERCENTILES_COUNT; i++) {
                while (seen * 100 < sum * percents[i]) {
                        seen += weights[reach ? PERCENTILES_BUCKETS - 1 - passed : passed];
                        passed++;
                }
                int32_t bucket = reach ? PERCENTILES_BUCKETS - passed : passed - 1;
                out_values[i] = passed > 0 ? bucket_value(low + bucket) : 0;
        }
}
