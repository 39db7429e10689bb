/*
 * In some worlds providers have policies, places and quantizations, jobs have rules about them, and reloads
 * change them. The judge's catalog has those that are in force; what the engine is told are the same, unless
 * a mistake is planted.
 */
#include "world.h"

#include <string.h>

static uint64_t draw(struct world *world, uint64_t below) {
        return prng_below(&world->policies.prng, below);
}

static const char *some_region(struct world *world) {
        static const char *const regions[] = {"eu", "us", ""};
        return regions[draw(world, 3)];
}

/* Written over what the judge holds to be true. */
static void change(struct world *world) {
        static const char *const quantizations[] = {"fp8", "bf16", "unknown"};
        for (uint32_t i = 0; i < world->catalog.providers_count; i++) {
                struct provider *provider = &world->providers[i];
                uint64_t policy = draw(world, 5);
                provider->data_policy_known = policy > 0;
                provider->zdr = policy >= 3;
                provider->training = policy == 1;
                provider->region = some_region(world);
        }
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                world->endpoints[i].quantization = quantizations[draw(world, 3)];
                world->endpoints[i].region = draw(world, 4) == 0 ? some_region(world) : "";
        }
}

static void copy(const struct world *world, struct provider *providers, struct endpoint *endpoints,
                 const struct provider *from_providers, const struct endpoint *from_endpoints) {
        for (uint32_t i = 0; i < world->catalog.providers_count; i++) {
                providers[i].data_policy_known = from_providers[i].data_policy_known;
                providers[i].zdr = from_providers[i].zdr;
                providers[i].training = from_providers[i].training;
                providers[i].region = from_providers[i].region;
        }
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                endpoints[i].quantization = from_endpoints[i].quantization;
                endpoints[i].region = from_endpoints[i].region;
        }
}

void policies_make(struct world *world) {
        struct policies *policies = &world->policies;
        prng_init(&policies->prng, world->seed ^ UINT64_C(0x9011c1e5));
        policies->any = draw(world, 2) == 0;
        if (policies->any)
                change(world);
        memcpy(policies->providers, world->providers, sizeof(policies->providers));
        memcpy(policies->endpoints, world->endpoints, sizeof(policies->endpoints));
}

static void lie(const struct world *world, struct provider *provider) {
        if (world->plant == PLANT_NO_RULES)
                provider->training = false;
        if (world->plant == PLANT_NO_ZDR)
                provider->zdr = true;
        if (world->plant == PLANT_NO_RULES || world->plant == PLANT_NO_ZDR)
                provider->data_policy_known = true;
        if (world->plant == PLANT_NO_REGIONS)
                provider->region = "eu";
}

void policies_tell(const struct world *world, struct provider *providers, struct endpoint *endpoints) {
        bool old = world->plant == PLANT_OLD_POLICIES;
        copy(world, providers, endpoints, old ? world->policies.providers : world->providers,
             old ? world->policies.endpoints : world->endpoints);
        for (uint32_t i = 0; i < world->catalog.providers_count; i++)
                lie(world, &providers[i]);
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                if (world->plant == PLANT_NO_REGIONS)
                        endpoints[i].region = "";
                if (world->plant == PLANT_NO_QUANTIZATIONS)
                        endpoints[i].quantization = "fp8";
        }
}

void policies_change(struct world *world, bool whole) {
        copy(world, world->providers, world->endpoints, world->policies.providers, world->policies.endpoints);
        if (world->policies.any && !whole)
                change(world);
}

bool policies_append_rules(struct world *world, struct buffer *line) {
        static const char *const rules[] = {
                "{\"zdr\":true}",
                "{\"zdr\":true,\"regions\":[\"eu\"]}",
                "{\"zdr\":true,\"ignore\":[\"p2\"],\"sort\":\"latency\"}",
                "{\"data_collection\":\"deny\"}",
                "{\"data_collection\":\"deny\",\"order\":[\"p1\"],\"allow_fallbacks\":false}",
                "{\"regions\":[\"eu\"]}",
                "{\"regions\":[\"us\",\"eu\"],\"quantizations\":[\"fp8\",\"unknown\"]}",
                "{\"quantizations\":[\"fp8\"]}",
                "{\"only\":[\"p0\",\"p2\"]}",
                "{\"only\":[\"p1/eu\",\"p0/eu\"]}",
                "{\"ignore\":[\"p0/us\",\"p2\"]}",
                "{\"ignore\":[\"p1\"],\"order\":[\"p2\",\"p1\"]}",
        };
        if (!world->policies.any || draw(world, 100) >= 70)
                return false;
        buffer_printf(line, ",\"routing\":%s", rules[draw(world, sizeof(rules) / sizeof(*rules))]);
        return true;
}
