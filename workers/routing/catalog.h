#pragma once
/*
 * What can be called and what it costs: providers, and for each model that one serves, an endpoint. Built
 * once from the configuration, then read-only and shared by all shards. Strings are owned by whoever built
 * the catalog.
 */
#include "workers/routing/kind.h"

enum { CATALOG_PROVIDERS_MAX = 256, CATALOG_ENDPOINTS_MAX = 4096 };

#define PRICE_UNKNOWN INT64_C(-1)

/* Picodollars per million units; PRICE_UNKNOWN where nobody said. An unknown price is never a number. */
struct price {
        int64_t input, cached_input, cache_write, output; /* tokens */
        int64_t audio_minute;                             /* per million minutes */
        int64_t character;
        int64_t image; /* per million images */
        int64_t request;
        int64_t search_unit;
};

/* 0: no limit. In any window of a minute, resp. at any moment. */
struct limits_spec {
        int64_t requests_per_minute, tokens_per_minute, concurrency;
};

struct provider {
        const char *name;
        const char *dialect;  /* "openai", "azure", ... */
        const char *base_url; /* without a trailing slash */
        const char *region;   /* "" when not said */
        bool zdr, training;
        bool data_policy_known; /* when not, a job that asks for zdr or no training is not sent there */
        int64_t retention_days; /* -1 when not said */
        struct limits_spec limits;
};

struct endpoint {
        const char *name; /* "openai/gpt-4o-mini" */
        uint32_t provider;
        const char *model;    /* the name that jobs use; "*" serves every model */
        const char *upstream; /* the provider's own name; for "*" the job's name is sent */
        struct price price;
        int64_t context;          /* tokens; 0 when not said */
        int64_t output_max;       /* tokens; 0 when not said */
        int64_t dimensions;       /* 0 when not said */
        const char *quantization; /* "unknown" when not said */
        struct limits_spec limits;
        uint32_t kinds; /* bit set of enum kind that it serves */
};

struct catalog {
        const struct provider *providers;
        uint32_t providers_count;
        const struct endpoint *endpoints;
        uint32_t endpoints_count;
        char id[17]; /* hex: changes with anything that decisions depend on */
};
