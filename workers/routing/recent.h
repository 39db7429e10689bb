#pragma once
/*
 * The last five minutes of an endpoint: how many calls succeeded, how long answers took, how fast their
 * output came. What was seen is large and kept apart from the figures, which decisions read: these are made
 * anew a few times per second at most. All zero is an empty one.
 */
#include "workers/routing/percentiles.h"

struct recent {
        struct percentiles latency, throughput;
        int64_t part;
        uint32_t succeeded[PERCENTILES_PARTS], failed[PERCENTILES_PARTS];
};

struct recent_figures {
        int64_t latency_p_ns[PERCENTILES_COUNT], throughput_p_milli[PERCENTILES_COUNT]; /* 0: not known */
        int32_t success_permille;                                                       /* -1: not known */
};

/* A call that speaks about the provider has ended: not one that was refused at the door (429). */
void recent_ended(struct recent *recent, bool succeeded, int64_t now_ns);
/* An answer that is a result. `output_tokens` <= 0: not said. */
void recent_answered(struct recent *recent, int64_t latency_ns, int64_t output_tokens, int64_t now_ns);
void recent_read(const struct recent *recent, int64_t now_ns, struct recent_figures *out_figures);
