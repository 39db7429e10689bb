/*
 * engine_reload(): see engine.h. All memory is asked for first; then nothing can fail. States of endpoints
 * and workspaces move to larger arrays, and what links to them is linked anew.
 */
#include "broker/base/check.h"
#include "broker/core/classes.h"
#include "broker/core/engine_state.h"
#include "broker/core/order.h"
#include "broker/core/quotas.h"
#include "broker/core/spend.h"

#include <stdlib.h>
#include <string.h>

struct grown {
        struct endpoint_state *endpoints;
        struct recent *recents;
        struct gate *providers;
        struct workspace_state *workspaces;
        struct limiter *limiters;
        struct spend_following spends;
        uint32_t *untold;
        uint32_t workspaces_count;
};

static void grown_free(struct grown *grown) {
        free(grown->endpoints);
        free(grown->recents);
        free(grown->providers);
        free(grown->workspaces);
        free(grown->limiters);
        spend_unmake(&grown->spends);
        free(grown->untold);
}

static bool grown_make(const struct engine *engine, const struct catalog *catalog, struct grown *grown) {
        *grown = (struct grown){0};
        grown->workspaces_count = catalog->workspaces_count > 0 ? catalog->workspaces_count : 1;
        grown->endpoints = calloc(catalog->endpoints_count + 1, sizeof(*grown->endpoints));
        grown->recents = calloc(catalog->endpoints_count + 1, sizeof(*grown->recents));
        grown->providers = calloc(catalog->providers_count + 1, sizeof(*grown->providers));
        grown->workspaces = calloc(grown->workspaces_count, sizeof(*grown->workspaces));
        grown->limiters = calloc(engine_limiters(catalog) + 1, sizeof(*grown->limiters));
        grown->untold = quotas_make(catalog);
        bool spends = spend_make(engine, catalog, &grown->spends);
        if (grown->endpoints && grown->recents && grown->providers && grown->workspaces && grown->limiters &&
            grown->untold && spends)
                return true;
        grown_free(grown);
        return false;
}

/* What was in one list is in the other. */
static void list_take(struct list *to, struct list *from) {
        list_init(to);
        while (!list_empty(from)) {
                struct list *link = from->next;
                list_unlink(link);
                list_append(to, link);
        }
}

static bool is_elsewhere(const struct catalog *before, const struct catalog *now, uint32_t index) {
        const struct endpoint *a = &before->endpoints[index], *b = &now->endpoints[index];
        const struct provider *x = &before->providers[a->provider], *y = &now->providers[b->provider];
        return strcmp(a->upstream, b->upstream) != 0 || strcmp(x->dialect, y->dialect) != 0 ||
               strcmp(x->base_url, y->base_url) != 0;
}

static void move_endpoints(struct engine *engine, const struct catalog *before, struct grown *grown) {
        uint32_t known = before->endpoints_count, count = engine->catalog->endpoints_count;
        int64_t now_ns = engine->time.now_ns;
        struct list ready;
        if (known > 0)
                memcpy(grown->recents, engine->recents, known * sizeof(*grown->recents));
        for (uint32_t i = 0; i < known; i++) {
                struct endpoint_state *state = &grown->endpoints[i];
                *state = engine->endpoints[i];
                state->ready_link = (struct list){0};
                list_take(&state->ready, &engine->endpoints[i].ready);
                health_renew(&state->health, engine->config.retry_share,
                             is_elsewhere(before, engine->catalog, i), now_ns);
        }
        list_take(&ready, &engine->ready_endpoints);
        while (!list_empty(&ready)) { /* in their order */
                struct endpoint_state *old = LIST_ENTRY(ready.next, struct endpoint_state, ready_link);
                list_unlink(&old->ready_link);
                list_append(&engine->ready_endpoints, &grown->endpoints[old - engine->endpoints].ready_link);
        }
        for (uint32_t i = known; i < count; i++) {
                list_init(&grown->endpoints[i].ready);
                health_init(&grown->endpoints[i].health, engine->config.in_flight_max,
                            engine->config.retry_share, now_ns);
        }
}

/* Their heaps hold classes, which stay where they are; they themselves are in one. */
static void move_workspaces(struct engine *engine, struct grown *grown) {
        uint32_t known = engine->workspaces_count;
        for (uint32_t i = 0; i < known; i++)
                if (engine->workspaces[i].priorities != 0)
                        pairing_remove(&engine->by_share, &engine->workspaces[i].node);
        memcpy(grown->workspaces, engine->workspaces, known * sizeof(*grown->workspaces));
        free(engine->workspaces);
        engine->workspaces = grown->workspaces;
        engine->workspaces_count = grown->workspaces_count;
        order_workspaces(engine, known);
        for (uint32_t i = 0; i < known; i++)
                if (engine->workspaces[i].priorities != 0)
                        pairing_put(&engine->by_share, &engine->workspaces[i].node);
}

/* A gate that is new is zeroed. */
static struct limiter *change(struct engine *engine, struct gate *gate, const struct limits_spec *limits,
                              struct limiter *limiters, bool known) {
        if (!known) {
                gate->blocked_until_ns = INT64_MIN;
                gate->told_ns = engine->time.now_ns;
        }
        return gate_change(gate, limits, limiters, engine->parts, engine->parts_count, engine->parts_whole,
                           quotas_clock(engine));
}

static void change_gates(struct engine *engine, const struct catalog *before, struct limiter *limiters) {
        static const struct limits_spec none;
        const struct catalog *catalog = engine->catalog;
        struct limiter *old = engine->limiters;
        engine->limiters = limiters;
        for (uint32_t i = 0; i < catalog->providers_count; i++)
                limiters = change(engine, &engine->providers[i], &catalog->providers[i].limits, limiters,
                                  i < before->providers_count);
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                limiters = change(engine, &engine->endpoints[i].gate, &catalog->endpoints[i].limits, limiters,
                                  i < before->endpoints_count);
        for (uint32_t i = 0; i < engine->workspaces_count; i++) {
                bool named = i < catalog->workspaces_count;
                bool known = i == 0 || i < before->workspaces_count;
                limiters = change(engine, &engine->workspaces[i].gate,
                                  named ? &catalog->workspaces[i].limits : &none, limiters, known);
        }
        free(old);
}

static void take_config(struct engine *engine, const struct engine_config *config) {
        engine->config.attempts_max = config->attempts_max;
        engine->config.backoff_base_ns = config->backoff_base_ns;
        engine->config.backoff_cap_ns = config->backoff_cap_ns;
        engine->config.retry_share = config->retry_share;
        engine->config.call_timeout_ns = config->call_timeout_ns;
}

bool engine_reload(struct engine *engine, struct engine_time now, const struct catalog *catalog,
                   const struct engine_config *config, const struct budget_spend *const *spends) {
        const struct catalog *before = engine->catalog;
        struct grown grown;
        CHECK(!engine->out && now.now_ns >= engine->time.now_ns);
        CHECK(catalog->providers_count >= before->providers_count &&
              catalog->endpoints_count >= before->endpoints_count &&
              catalog->workspaces_count >= before->workspaces_count);
        if (!grown_make(engine, catalog, &grown))
                return false;
        engine->time = now;
        engine->catalog = catalog;
        engine->prices_move = engine_prices_move(catalog);
        take_config(engine, config);
        move_endpoints(engine, before, &grown);
        if (before->providers_count > 0)
                memcpy(grown.providers, engine->providers,
                       before->providers_count * sizeof(*grown.providers));
        free(engine->endpoints);
        free(engine->recents);
        free(engine->providers);
        engine->endpoints = grown.endpoints;
        engine->recents = grown.recents;
        engine->providers = grown.providers;
        move_workspaces(engine, &grown);
        quotas_follow(engine, grown.untold);
        change_gates(engine, before, grown.limiters);
        spend_follow(engine, before, &grown.spends, spends);
        classes_match_again(engine);
        engine->wake_ns = now.now_ns;
        return true;
}
