/* A demand that asks for nothing in particular: what a job that only names its url starts from. */
#include "workers/routing/demand.h"

#include "broker/base/check.h"

#include <string.h>

void prefs_init(struct routing_prefs *prefs) {
        memset(prefs, 0, sizeof *prefs);
        prefs->allow_fallbacks = true;
        prefs->sort = SORT_PRICE;
        prefs->max_price_input = PICOUSD_MAX;
        prefs->max_price_output = PICOUSD_MAX;
        prefs->max_price_request = PICOUSD_MAX;
        prefs->max_price_image = PICOUSD_MAX;
        prefs->max_cost_picousd = PICOUSD_MAX;
}

void demand_init(struct demand *demand, enum kind kind) {
        CHECK((unsigned)kind < KINDS_COUNT);
        memset(demand, 0, sizeof *demand);
        demand->kind = kind;
        demand->output_tokens_max = -1;
        demand->audio_ms = -1;
        demand->max_cost_picousd = PICOUSD_MAX;
        prefs_init(&demand->prefs);
}
