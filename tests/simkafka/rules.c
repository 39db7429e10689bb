/*
 * In half of the worlds there are two providers with policies, places and quantizations, and jobs have rules
 * about them. In all of them some jobs have zdr, and all providers retain nothing where there are no rules.
 */
#include "world.h"

static uint64_t draw(struct world *world, uint64_t below) {
        return prng_below(&world->rules_prng, below);
}

static void make_policies(struct world *world) {
        static const char *const regions[] = {"eu", "us", ""}, *const quantizations[] = {"fp8", "bf16",
                                                                                         "unknown"};
        world->catalog.providers_count = 2;
        world->providers[1] = world->providers[0];
        world->providers[1].name = "p1";
        for (int i = 0; i < 2; i++) {
                uint64_t policy = draw(world, 5);
                world->providers[i].data_policy_known = policy > 0;
                world->providers[i].zdr = policy >= 3;
                world->providers[i].training = policy == 1;
                world->providers[i].region = regions[draw(world, 3)];
        }
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                world->endpoints[i].provider = (uint32_t)draw(world, 2);
                world->endpoints[i].quantization = quantizations[draw(world, 3)];
        }
}

/* What the engine would be told by one that takes no policy seriously. */
static void lie(struct world *world) {
        for (int i = 0; i < 2; i++) {
                world->told_providers[i] = world->providers[i];
                world->told_providers[i].zdr = world->told_providers[i].data_policy_known = true;
                world->told_providers[i].training = false;
                world->told_providers[i].region = "eu";
        }
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                world->told_endpoints[i] = world->endpoints[i];
                world->told_endpoints[i].quantization = "fp8";
        }
        world->told.providers = world->told_providers;
        world->told.endpoints = world->told_endpoints;
}

void rules_make(struct world *world) {
        prng_init(&world->rules_prng, world->seed ^ UINT64_C(0x901c1e5));
        world->rules = draw(world, 2) == 0;
        world->providers[0].zdr = true;
        if (world->rules)
                make_policies(world);
        world->told = world->catalog;
        if (world->plant == PLANT_NO_POLICIES)
                lie(world);
}

void rules_append(struct world *world, struct buffer *line) {
        static const char *const rules[] = {
                "{\"zdr\":true}",
                "{\"zdr\":true,\"ignore\":[\"p1\"]}",
                "{\"data_collection\":\"deny\"}",
                "{\"regions\":[\"eu\"]}",
                "{\"zdr\":true,\"regions\":[\"us\",\"eu\"]}",
                "{\"quantizations\":[\"fp8\"]}",
                "{\"only\":[\"p0\"]}",
                "{\"ignore\":[\"p0/eu\"]}",
                "{\"only\":[\"p1/eu\",\"p1/us\"]}",
                "{\"order\":[\"p1\"],\"allow_fallbacks\":false}",
        };
        uint64_t percent = draw(world, 100);
        if (world->rules && percent < 60)
                buffer_printf(line, ",\"routing\":%s", rules[draw(world, sizeof(rules) / sizeof(*rules))]);
        else if (percent < 15)
                buffer_printf(line, ",\"routing\":%s", rules[0]);
}

void rules_hide(const struct world *world, struct job_spec *job) {
        if (world->plant == PLANT_NO_LISTS)
                job->demand.prefs.only.count = job->demand.prefs.ignore.count = 0;
}
