#pragma once
/* What was asked of the simulator, counted; GET /sim/stats. */
#include "broker/sim/faults.h"
#include "broker/sim/identities.h"
#include "broker/sim/limits.h"
#include "broker/sim/request.h"

#define SIM_STATUS_MAX 600

struct sim_stats {
        uint64_t requests;                     /* fully read, or reset before; without those to /sim/ */
        uint64_t endpoints[SIM_ENDPOINTS + 1]; /* the last: none of them */
        uint64_t statuses[SIM_STATUS_MAX];
        uint64_t faults[SIM_FAULT_KINDS];
        uint64_t executed; /* an answer was generated: would be billed */
        uint64_t answered; /* and handed to the kernel whole and true */
        int64_t prompt_tokens, completion_tokens, cost_picousd;
        int64_t prompt_audio_tokens, completion_audio_tokens; /* which of them are sound */
        uint64_t tiered;                   /* executed at another tier of service than the standard one */
        uint64_t in_flight, in_flight_max; /* fully read, not yet ended */
        uint64_t connections_accepted, connections_open;
        uint64_t clients_gone; /* closed their connection while they waited */
};

void sim_stats_reset(struct sim_stats *stats); /* keeps what is open now */
void sim_stats_begin(struct sim_stats *stats);
void sim_stats_end(struct sim_stats *stats);
void sim_stats_append_json(const struct sim_stats *stats, const struct sim_identities *identities,
                           const struct sim_limits *limits, struct buffer *buffer);
