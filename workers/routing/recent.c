#include "workers/routing/recent.h"

#include "workers/routing/limits.h"

enum {
        LATENCY_LOW = 20 * BUCKETS_PER_OCTAVE,   /* 2^20 ns: a millisecond, up to 73 minutes */
        THROUGHPUT_LOW = 6 * BUCKETS_PER_OCTAVE, /* 0.064 tokens per second, up to 268,000 */
};

/* Thousandths of a token per second. */
static int64_t rate_milli(int64_t tokens, int64_t time_ns) {
        double rate = (double)tokens * 1000 * (double)NS_PER_S / (double)time_ns;
        return rate < 1 ? 1 : rate < 9e18 ? (int64_t)rate : INT64_MAX;
}

void recent_ended(struct recent *recent, bool succeeded, int64_t now_ns) {
        int64_t part = now_ns / PERCENTILES_PART_NS;
        for (int64_t i = recent->part + 1; i <= part && i <= recent->part + PERCENTILES_PARTS; i++)
                recent->succeeded[i % PERCENTILES_PARTS] = recent->failed[i % PERCENTILES_PARTS] = 0;
        if (part > recent->part)
                recent->part = part;
        uint32_t *count = succeeded ? recent->succeeded : recent->failed;
        if (count[recent->part % PERCENTILES_PARTS] < UINT32_MAX)
                count[recent->part % PERCENTILES_PARTS]++;
}

void recent_answered(struct recent *recent, int64_t latency_ns, int64_t output_tokens, int64_t now_ns) {
        if (latency_ns <= 0)
                return;
        percentiles_add(&recent->latency, LATENCY_LOW, latency_ns, now_ns);
        if (output_tokens > 0)
                percentiles_add(&recent->throughput, THROUGHPUT_LOW, rate_milli(output_tokens, latency_ns),
                                now_ns);
}

static int32_t success_permille(const struct recent *recent, int64_t now_ns) {
        int64_t age = now_ns / PERCENTILES_PART_NS - recent->part;
        uint64_t succeeded = 0, all = 0;
        for (int64_t i = 0; age + i < PERCENTILES_PARTS && i <= recent->part; i++) {
                int64_t at = (recent->part - i) % PERCENTILES_PARTS;
                uint64_t weight = (uint64_t)(PERCENTILES_PARTS - age - i);
                succeeded += weight * recent->succeeded[at];
                all += weight * ((uint64_t)recent->succeeded[at] + recent->failed[at]);
        }
        return all > 0 ? (int32_t)(succeeded * 1000 / all) : -1;
}

void recent_read(const struct recent *recent, int64_t now_ns, struct recent_figures *out_figures) {
        percentiles_read(&recent->latency, LATENCY_LOW, false, now_ns, out_figures->latency_p_ns);
        percentiles_read(&recent->throughput, THROUGHPUT_LOW, true, now_ns, out_figures->throughput_p_milli);
        out_figures->success_permille = success_permille(recent, now_ns);
}
