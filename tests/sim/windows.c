/*
 * In some worlds prices go by the time, and change within minutes of the beginning; not where the clock of
 * the process is set, as providers' clocks are right. A call costs what is asked when it ends.
 */
#include "workers/routing/price.h"
#include "world.h"

static const struct zone_change utc_changes[] = {{INT64_MIN, 0}};
static const struct zone utc = {"UTC", utc_changes, 1};

enum { MINUTES_PER_DAY = 1440, MS_PER_MINUTE = 60000 };

void windows_make(struct world *world) {
        static const uint32_t multiply[] = {500000, 2000000, 3000000};
        struct prng prng;
        prng_init(&prng, world->seed ^ UINT64_C(0x317d0375));
        if (world->jump_ns > 0 || prng_below(&prng, 2) == 0)
                return;
        int64_t minute = world_time(world).now_unix_ms / MS_PER_MINUTE % MINUTES_PER_DAY;
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                uint32_t from = (uint32_t)minute + (uint32_t)prng_below(&prng, 4);
                uint32_t to = from + 1 + (uint32_t)prng_below(&prng, 4);
                world->windows[i] =
                        (struct price_window){.zone = &utc,
                                              .multiply_millionths = multiply[prng_below(&prng, 3)],
                                              .from_minutes = (uint16_t)(from % MINUTES_PER_DAY),
                                              .to_minutes = (uint16_t)((to - 1) % MINUTES_PER_DAY + 1),
                                              .days = 0x7f};
                world->endpoints[i].windows = &world->windows[i];
                world->endpoints[i].windows_count = prng_below(&prng, 3) > 0;
        }
}

void windows_bill(const struct world *world, struct call *call, int64_t at_ns) {
        struct endpoint endpoint = world->endpoints[call->endpoint];
        struct price scratch;
        endpoint.price = call->asked.price;
        for (int i = 0; i < SERVICE_PRICES; i++)
                endpoint.service[i] = call->asked.service[i];
        const struct price *price =
                price_at(&endpoint, usage_service(&call->used, &call->job->demand),
                         at_ns / NS_PER_MS + world->wall_offset_ms, call->used.input_tokens, &scratch);
        if (!call->executed ||
            !cost_of_usage(price, call->job->demand.kind, &call->used, &call->cost_picousd))
                call->cost_picousd = 0;
}
