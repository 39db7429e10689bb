/*
 * In some of the worlds that are reloaded each reload changes prices as well, several times over, up and
 * down, while calls are under way. A call costs what was asked when it began: by the catalog under which it
 * was opened, since what is opened and not sent when another one comes is opened anew.
 */
#include "workers/routing/price.h"
#include "world.h"

void prices_make(struct world *world) {
        struct prices *prices = &world->prices;
        prng_init(&prices->prng, world->seed ^ UINT64_C(0x9041ce5));
        prices->any = prng_below(&prices->prng, 3) > 0;
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++)
                prices->endpoints[i] = world->endpoints[i].price;
}

void prices_change(struct world *world, bool whole) {
        static const int64_t millionths[] = {50000, 500000, 1000000, 2000000, 20000000};
        struct prices *prices = &world->prices;
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                bool changed = prices->any && !whole;
                int64_t times = changed ? millionths[prng_below(&prices->prng, 5)] : PRICE_MULTIPLY_ONE;
                world->endpoints[i].price = price_scaled(&prices->endpoints[i], times);
        }
}

void prices_tell(const struct world *world, struct endpoint *endpoints) {
        for (uint32_t i = 0; i < world->catalog.endpoints_count && world->plant != PLANT_OLD_PRICES; i++)
                endpoints[i].price = world->endpoints[i].price;
}
