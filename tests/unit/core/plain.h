#pragma once
/* What tests of the engine share: plain jobs of one model, an endpoint for them, and a configuration. */
#include "broker/base/time.h"
#include "broker/core/engine.h"

/* Ten tokens in and ten out at most. */
static inline struct job_spec plain_spec(uint32_t number) {
        struct job_spec spec = {
                .key = {number + 1, number}, .alias = {number + 1000, number}, .class_key = {7, 7}};
        demand_init(&spec.demand, KIND_CHAT);
        spec.demand.models[0] = BYTES("m");
        spec.demand.models_count = 1;
        spec.demand.input_tokens = spec.demand.output_tokens_max = 10;
        return spec;
}

/* price: of a million tokens in; one out costs twice as much. */
static inline struct endpoint plain_endpoint(const char *name, uint32_t provider, int64_t price) {
        return (struct endpoint){.name = name,
                                 .provider = provider,
                                 .model = "m",
                                 .upstream = "m",
                                 .quantization = "unknown",
                                 .kinds = 1U << KIND_CHAT,
                                 .price = {.input = price, .output = 2 * price, .request = PRICE_UNKNOWN}};
}

static inline struct engine_config plain_config(uint32_t jobs_max) {
        return (struct engine_config){.jobs_max = jobs_max,
                                      .in_flight_max = jobs_max,
                                      .attempts_max = 3,
                                      .backoff_base_ns = NS_PER_MS,
                                      .backoff_cap_ns = NS_PER_S,
                                      .retry_share = 0.1,
                                      .call_timeout_ns = NS_PER_S};
}
