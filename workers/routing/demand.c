/* A demand that asks for nothing in particular: what a job that only names its url starts from. */
#include "workers/routing/demand.h"

#include "broker/base/check.h"

#include <string.h>

void demand_init(struct demand *demand, enum kind kind) {
        CHECK((unsigned)kind < KINDS_COUNT);
        memset(demand, 0, sizeof *demand);
        demand->kind = kind;
        demand->output_tokens_max = -1;
        demand->audio_ms = -1;
        demand->max_cost_picousd = PICOUSD_MAX;
        demand->prefs.allow_fallbacks = true;
        demand->prefs.sort = SORT_PRICE;
        demand->prefs.max_price_input = PICOUSD_MAX;
        demand->prefs.max_price_output = PICOUSD_MAX;
        demand->prefs.max_price_request = PICOUSD_MAX;
        demand->prefs.max_price_image = PICOUSD_MAX;
}
