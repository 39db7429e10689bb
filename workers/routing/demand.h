#pragma once
/*
 * What routing must know of a job: its kind, the models it accepts, how large it is, and its wishes.
 * Everything here is derived from the job alone; strings point into the job's own memory.
 */
#include "broker/base/money.h"
#include "workers/routing/kind.h"

enum { DEMAND_MODELS_MAX = 8, PREFS_NAMES_MAX = 16 };

enum sort_by { SORT_PRICE, SORT_THROUGHPUT, SORT_LATENCY, SORT_QUALITY, SORT_BALANCED };

/* p50, p75, p90, p99 */
enum { PERCENTILES_COUNT = 4 };

/* Up to PREFS_NAMES_MAX. Whoever makes the list keeps its items, mostly in a names_room (merge.h). */
struct names {
        const struct bytes *items;
        uint8_t count;
};

enum { SPREAD_WHOLE = 1000000, SPREAD_MAX = 10 * SPREAD_WHOLE };

/* Units of wishes, in 1e-12 of what is said: a thousandth of a token per second, and a nanosecond. */
#define WISH_MILLI INT64_C(1000000000)
#define WISH_NANO  INT64_C(1000)

/*
 * One layer of rules, or several that were merged (merge.h): schemas/routing_fields.def. "a" names a
 * provider, "a/b" one of its endpoints, or those in a region.
 */
struct routing_prefs {
        struct names order, only, ignore, regions, quantizations; /* an empty list says nothing */
        bool allow_fallbacks;                                     /* default true */
        bool deny_training;                                       /* data_collection: deny */
        bool zdr;
        enum sort_by sort;
        bool sort_across_models; /* partition "none": a fallback model ranks with the first one */
        /* What this layer says itself, and does not take from a farther one. */
        bool sort_said, partition_said, spread_said;
        /* Millionths of the cheapest cost: the load is shared among those that cost at most so much more. */
        int64_t spread_ppm;
        bool require_parameters; /* only endpoints known to support every parameter that the job sends */
        bool deny_unknown_price; /* only endpoints whose price for this job is known */
        /* Soft: what misses them comes later, never out. 0: none. Thousandths of a token per second; ns */
        int64_t preferred_min_throughput[PERCENTILES_COUNT], preferred_max_latency[PERCENTILES_COUNT];
        int64_t max_price_input, max_price_output;  /* picodollars per million tokens; PICOUSD_MAX: none */
        int64_t max_price_request, max_price_image; /* picodollars per million */
        int64_t max_cost_picousd;                   /* of one job; PICOUSD_MAX: none */
};

#define PARAMETER_BIT(name) (UINT64_C(1) << PARAMETER_##name)
#define MODALITY_BIT(name)  (UINT32_C(1) << MODALITY_##name)
/*
 * Those of which support is preferred though nobody requires it: OpenRouter's (provider-selection), and the
 * schema that makes a response_format hold.
 */
#define DEMAND_SOFT_PARAMETERS                                                                               \
        (PARAMETER_BIT(TOOLS) | PARAMETER_BIT(RESPONSE_FORMAT) | PARAMETER_BIT(STRUCTURED_OUTPUTS) |         \
         PARAMETER_BIT(VERBOSITY))

struct demand {
        enum kind kind;
        struct bytes models[DEMAND_MODELS_MAX]; /* in order of preference, without :floor and :nitro */
        uint8_t models_count;
        int64_t input_tokens;               /* an upper estimate before calibration */
        int64_t audio_tokens, image_tokens; /* which of them are sound and pictures */
        int64_t output_tokens_max; /* what the request allows, all choices together; -1: it does not say */
        int64_t audio_ms;          /* -1: not known before it is fetched */
        int64_t characters;        /* for speech */
        int64_t images;
        int64_t search_units; /* for rerank: one for each query and 100 documents; 0: not said, taken as 1 */
        int64_t max_cost_picousd; /* over all attempts; PICOUSD_MAX: none */
        uint64_t parameters;      /* bit set of enum parameter that it sends */
        enum service_tier service;
        uint32_t input_modalities; /* bit sets of enum modality that it needs */
        uint32_t output_modalities;
        uint32_t workspace; /* index in catalog.workspaces */
        struct routing_prefs prefs;
};

/* Sets every field to "says nothing". */
void prefs_init(struct routing_prefs *prefs);
void demand_init(struct demand *demand, enum kind kind);
