#pragma once
/* Models of a catalog for a person or a program: chosen by filters, as a table or as lines of JSON. */
#include "workers/routing/catalog.h"

struct table_filter {
        const char *provider, *model; /* globs; NULL: all */
        uint32_t kinds;               /* bit set, of which one must be served; 0: all */
        uint64_t parameters;          /* bit set, all of which must be known to be supported */
        /* picodollars per million; PICOUSD_MAX: none; unknown is above */
        int64_t max_input_price, max_output_price;
        int64_t min_context;        /* 0: none; not said is below */
        struct routing_prefs prefs; /* regions, zdr, deny_training and quantizations, as jobs ask for them */
};

bool table_takes(const struct table_filter *filter, const struct catalog *catalog,
                 const struct endpoint *endpoint);
/*
 * A line of names, then a line for each model. `width` is that of the terminal: columns are aligned, and what
 * does not fit is cut. 0: no terminal; cells with tabs between, whole.
 */
void table_append(const struct catalog *catalog, const struct table_filter *filter, unsigned width,
                  struct buffer *out_text);
/* An object in each line; names and units as in the configuration, what is not said is left out. */
void table_append_json(const struct catalog *catalog, const struct table_filter *filter,
                       struct buffer *out_text);
