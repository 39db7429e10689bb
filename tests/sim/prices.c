/*
 * In some of the worlds that are reloaded each reload changes prices as well, several times over, up and
 * down, while calls are under way. A call costs what was asked when it began: by the catalog under which it
 * was opened, since what is opened and not sent when another one comes is opened anew.
 *
 * In some worlds sound and tiers of service have prices of their own, at some endpoints, and jobs ask for
 * them; who asks for a tier may be served at the standard one.
 */
#include "workers/routing/price.h"
#include "world.h"

static uint64_t draw(struct world *world, uint64_t below) {
        return prng_below(&world->prices.prng, below);
}

static void set_apart(struct world *world, struct asked *asked) {
        struct price *price = &asked->price;
        if (price->input != PRICE_UNKNOWN && draw(world, 3) > 0) {
                price->audio_input = 8 * price->input;
                price->audio_output = 4 * price->output;
        }
        if (draw(world, 3) > 0)
                asked->service[SERVICE_FLEX - 1] = price_scaled(price, 500000);
        if (draw(world, 3) > 0)
                asked->service[SERVICE_PRIORITY - 1] = price_scaled(price, 5000000);
}

static void ask(struct endpoint *endpoint, const struct asked *asked) {
        endpoint->price = asked->price;
        for (int i = 0; i < SERVICE_PRICES; i++)
                endpoint->service[i] = asked->service[i];
}

struct asked prices_asked(const struct world *world, uint32_t endpoint) {
        struct asked asked = {.price = world->endpoints[endpoint].price};
        for (int i = 0; i < SERVICE_PRICES; i++)
                asked.service[i] = world->endpoints[endpoint].service[i];
        return asked;
}

void prices_make(struct world *world) {
        struct prices *prices = &world->prices;
        prng_init(&prices->prng, world->seed ^ UINT64_C(0x9041ce5));
        prices->any = draw(world, 3) > 0;
        prices->apart = draw(world, 3) == 0;
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                struct asked *asked = &prices->endpoints[i];
                asked->price = world->endpoints[i].price;
                price_services_init(asked->service);
                if (prices->apart)
                        set_apart(world, asked);
                ask(&world->endpoints[i], asked);
        }
}

void prices_change(struct world *world, bool whole) {
        static const int64_t millionths[] = {50000, 500000, 1000000, 2000000, 20000000};
        struct prices *prices = &world->prices;
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                bool changed = prices->any && !whole;
                int64_t times = changed ? millionths[draw(world, 5)] : PRICE_MULTIPLY_ONE;
                struct asked asked = prices->endpoints[i];
                asked.price = price_scaled(&asked.price, times);
                for (int k = 0; k < SERVICE_PRICES; k++)
                        asked.service[k] = price_scaled(&asked.service[k], times);
                ask(&world->endpoints[i], &asked);
        }
}

void prices_lie(const struct world *world, struct endpoint *endpoints) {
        for (uint32_t i = 0; i < world->catalog.endpoints_count && world->plant == PLANT_ALL_TEXT; i++) {
                endpoints[i].price.audio_input = endpoints[i].price.input;
                endpoints[i].price.audio_output = endpoints[i].price.output;
                for (int k = 0; k < SERVICE_PRICES; k++)
                        endpoints[i].service[k] = endpoints[i].price;
        }
}

void prices_tell(const struct world *world, struct endpoint *endpoints) {
        for (uint32_t i = 0; i < world->catalog.endpoints_count && world->plant != PLANT_OLD_PRICES; i++) {
                struct asked asked = prices_asked(world, i);
                ask(&endpoints[i], &asked);
        }
        prices_lie(world, endpoints);
}

void prices_append(struct world *world, struct buffer *line) {
        static const char *const wishes[] = {"", ",\"service_tier\":\"flex\"",
                                             ",\"service_tier\":\"priority\"",
                                             ",\"modalities\":[\"text\",\"audio\"]",
                                             ",\"service_tier\":\"flex\",\"modalities\":[\"audio\"]"};
        if (world->prices.apart)
                buffer_append_string(line, wishes[draw(world, 5)]);
}

void prices_use(struct world *world, const struct demand *demand, struct usage *usage) {
        if (!world->prices.apart)
                return;
        if (demand->output_modalities & MODALITY_BIT(AUDIO))
                usage->audio_output_tokens = (int64_t)draw(world, (uint64_t)usage->output_tokens + 1);
        usage->served = draw(world, 2) == 0;
        usage->service = draw(world, 2) == 0 ? SERVICE_STANDARD : demand->service;
}
