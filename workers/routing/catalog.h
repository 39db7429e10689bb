#pragma once
/*
 * What can be called and what it costs: providers, and for each model that one serves, an endpoint. Built
 * once from the configuration, then read-only and shared by all shards. Strings are owned by whoever built
 * the catalog.
 */
#include "workers/routing/demand.h"

enum {
        SERVICE_PRICES = SERVICE_PRIORITY, /* of tiers of service that may have one */
        CATALOG_PROVIDERS_MAX = 256,
        CATALOG_ENDPOINTS_MAX = 4096,
        CATALOG_WORKSPACES_MAX = 1024,
        PRICE_TIERS_MAX = 8, /* of one endpoint; real catalogues have up to 3 */
        PRICE_WINDOWS_MAX = 32,
};

#define PRICE_UNKNOWN INT64_C(-1)

/* Picodollars per million units; PRICE_UNKNOWN where nobody said. An unknown price is never a number. */
struct price {
        int64_t input, cached_input, cache_write, output; /* tokens */
        int64_t audio_minute;                             /* per million minutes */
        int64_t character;
        int64_t image; /* per million images */
        int64_t request;
        int64_t search_unit;
        int64_t reasoning; /* output tokens spent on reasoning; unknown: those cost as other output */
        /* tokens of sound and pictures beside text */
        int64_t audio_input, image_input, audio_output, image_output;
};

/*
 * The price of a request whose input is longer than so many tokens, all of it: what a tier does not name is
 * filled in from the endpoint's price before.
 */
struct price_tier {
        int64_t above_input;
        struct price price;
        struct price service[SERVICE_PRICES]; /* as the endpoint's */
};

/* From then on, clocks of a zone are so far ahead of UTC. */
struct zone_change {
        int64_t from_unix_s;
        int32_t offset_s;
};

/* Clocks of one place: the changes in ascending order, the first from INT64_MIN on. At least one. */
struct zone {
        const char *name; /* "UTC", "+08:00", "Europe/Berlin" */
        const struct zone_change *changes;
        uint32_t changes_count;
};

/*
 * A time of the week, by the clocks of a zone, at which prices are multiplied. On each of its days it begins
 * at `from`; when `to` is not later than that, it ends on the day after.
 */
struct price_window {
        const struct zone *zone;
        uint32_t multiply_millionths;
        uint16_t from_minutes, to_minutes; /* since midnight; 0 to 1439, and 1 to 1440 */
        uint8_t days;                      /* bit set, Monday is bit 0 */
};

/* 0: no limit. In any window of that length, resp. at any moment. */
struct limits_spec {
        int64_t requests_per_minute, tokens_per_minute, concurrency;
        int64_t requests_per_day, tokens_per_day;
        int64_t audio_seconds_per_hour, audio_seconds_per_day;
        int64_t images_per_minute;
};

/* Picodollars; 0: none. Days and months are those of UTC. */
struct budget_spec {
        int64_t daily, monthly, lifetime;
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
        struct budget_spec budget;
};

/* What each decision looks at stands first, and close together. */
struct endpoint {
        int64_t output_max; /* tokens; 0 when not said */
        uint8_t tiers_count, windows_count;
        /*
         * Of a catalog that follows another: 1 and the place in its own configuration, by which draws and
         * records go, so that both can be made again from that alone. 0: its index is that place.
         */
        uint32_t listed;
        int64_t context; /* tokens; 0 when not said */
        struct price price;
        const struct price_tier *tiers; /* in ascending order */
        /* in the order of the configuration: the last that holds counts */
        const struct price_window *windows;
        int64_t quality;  /* 0 to 100; -1 when not said */
        uint32_t kinds;   /* bit set of enum kind that it serves */
        const char *name; /* "openai/gpt-4o-mini" */
        uint32_t provider;
        const char *model;        /* the name that jobs use; "*" serves every model */
        const char *upstream;     /* the provider's own name; for "*" the job's name is sent */
        int64_t dimensions;       /* 0 when not said */
        const char *quantization; /* "unknown" when not said */
        struct limits_spec limits;
        struct price batch; /* of the provider's own batch API */
        /* Of calls that ask for flex or priority: of SERVICE_FLEX first. Nothing of it comes from `price`. */
        struct price service[SERVICE_PRICES];
        const char *region; /* NULL or "": the provider's */
        bool parameters_known;
        uint64_t parameters;                          /* bit set of enum parameter that it supports */
        uint32_t input_modalities, output_modalities; /* bit sets of enum modality; 0 when not said */
};

#define ENDPOINT_GONE UINT32_MAX /* as `listed`: no configuration names it any more */

/* What becomes of a job that the workspace's budget does not cover now. */
enum over_budget {
        OVER_BUDGET_WAIT, /* until the period ends; what no period can cover fails */
        OVER_BUDGET_FAIL,
};

/* Who pays, and whose rules hold. A job cannot loosen them. */
struct workspace {
        const char *name;
        int64_t weight; /* share against other workspaces; 0 counts as 1 */
        struct budget_spec budget;
        enum over_budget over_budget;
        int64_t release_unknown_ns; /* calls of unknown outcome count as spent for so long; 0: for ever */
        struct limits_spec limits;  /* without concurrency of providers: of this workspace's own calls */
        struct routing_prefs prefs;
        bool gone; /* no configuration names it any more; jobs that came before keep to its rules */
};

struct catalog {
        const struct provider *providers;
        uint32_t providers_count;
        const struct endpoint *endpoints;
        uint32_t endpoints_count;
        char id[17]; /* hex: changes with anything that decisions depend on */
        /* Those that the configuration names; jobs of any other fall under workspaces[0], "default". */
        const struct workspace *workspaces;
        uint32_t workspaces_count; /* may be 0: none has rules */
};

/* The place of an endpoint in the configuration; ENDPOINT_GONE. */
static inline uint32_t catalog_listed(const struct catalog *catalog, uint32_t endpoint) {
        if (endpoint == ENDPOINT_GONE)
                return ENDPOINT_GONE;
        uint32_t listed = catalog->endpoints[endpoint].listed;
        return listed == 0 ? endpoint : listed == ENDPOINT_GONE ? ENDPOINT_GONE : listed - 1;
}
