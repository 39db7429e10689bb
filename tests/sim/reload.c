/*
 * In some worlds the configuration changes while jobs run: limits become smaller and are as before again,
 * weights change, endpoints go and come back, and some come only later; so do policies and prices. What the
 * judge holds against the calls are the widest limits, and the endpoints that are there at the moment.
 */
#include "broker/base/check.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>

static uint64_t draw(struct world *world, uint64_t below) {
        return prng_below(&world->reloads.prng, below);
}

static int64_t smaller(struct world *world, int64_t limit) {
        return limit > 1 && draw(world, 2) == 0 ? limit - limit / 3 : limit;
}

static struct limits_spec smaller_limits(struct world *world, const struct limits_spec *whole) {
        struct limits_spec limits = *whole;
        limits.requests_per_minute = smaller(world, whole->requests_per_minute);
        limits.tokens_per_minute = smaller(world, whole->tokens_per_minute);
        limits.concurrency = smaller(world, whole->concurrency);
        return limits;
}

/* Another catalog than that which is in force. */
static struct catalog *make_next(struct world *world, uint32_t endpoints, bool whole) {
        struct reloads *reloads = &world->reloads;
        struct told *next = calloc(1, sizeof(*next));
        CHECK(next);
        next->before = reloads->last;
        reloads->last = next;
        reloads->count++;
        next->catalog = world->told;
        next->catalog.providers = next->providers;
        next->catalog.endpoints = next->endpoints;
        next->catalog.endpoints_count = endpoints;
        memcpy(next->providers, world->told_providers, sizeof(next->providers));
        memcpy(next->endpoints, world->told_endpoints, sizeof(next->endpoints));
        memcpy(next->workspaces, world->told_workspaces, sizeof(next->workspaces));
        policies_change(world, whole);
        policies_tell(world, next->providers, next->endpoints);
        prices_change(world, whole);
        prices_tell(world, next->endpoints);
        if (world->told.workspaces_count > 0)
                next->catalog.workspaces = next->workspaces;
        for (uint32_t i = 0; i < PROVIDERS_MAX && !whole; i++)
                next->providers[i].limits = smaller_limits(world, &next->providers[i].limits);
        for (uint32_t i = 0; i < ENDPOINTS_MAX && !whole; i++) {
                next->endpoints[i].limits = smaller_limits(world, &next->endpoints[i].limits);
                if (draw(world, 4) == 0)
                        next->endpoints[i].kinds = 0;
        }
        for (uint32_t i = 0; i < WORKSPACES_MAX && !whole; i++) {
                next->workspaces[i].limits = smaller_limits(world, &next->workspaces[i].limits);
                next->workspaces[i].weight = (int64_t)draw(world, 5);
        }
        return &next->catalog;
}

const struct catalog *reload_begin(struct world *world) {
        struct reloads *reloads = &world->reloads;
        uint32_t count = world->told.endpoints_count;
        reloads->in_force = &world->told;
        policies_change(world, true);
        prices_change(world, true);
        if (reloads->count == 0) {
                prng_init(&reloads->prng, world->seed ^ UINT64_C(0x5e10ad));
                reloads->any = draw(world, 3) == 0 &&
                               (world->plant == PLANT_NONE || world->plant == PLANT_NO_RELOAD ||
                                world->plant == PLANT_OLD_POLICIES || world->plant == PLANT_OLD_PRICES);
        }
        reloads->whole = !reloads->any || world->now_ns >= world->faults_end_ns;
        if (!reloads->whole && draw(world, 2) == 0)
                reloads->in_force = make_next(world, 1 + (uint32_t)draw(world, count), false);
        return reloads->in_force;
}

void reload_now_and_then(struct world *world) {
        struct reloads *reloads = &world->reloads;
        bool last = world->now_ns >= world->faults_end_ns;
        if (reloads->whole || (!last && draw(world, 100) != 0))
                return;
        const struct catalog *next = make_next(world, world->told.endpoints_count, last);
        struct engine_config config = world->config;
        if (config.attempts_max > 1)
                config.attempts_max -= (uint32_t)draw(world, 2);
        if (world->plant != PLANT_NO_RELOAD &&
            !engine_reload(world->engine, world_time(world), next, &config, NULL))
                judge_broken(world, "no memory for a reload");
        given_load(world);
        reloads->in_force = next;
        reloads->whole = last;
        reloads->total++;
}

void reload_deinit(struct world *world) {
        while (world->reloads.last) {
                struct told *told = world->reloads.last;
                world->reloads.last = told->before;
                free(told);
        }
}
