#include "workers/routing/merge.h"

#include "broker/base/check.h"

#include <string.h>

bool names_add(struct names *names, struct names_room *room, struct bytes name) {
        for (unsigned i = 0; i < names->count; i++)
                if (bytes_equal(names->items[i], name))
                        return true;
        if (names->count == PREFS_NAMES_MAX || room->used == NAMES_ROOM_MAX)
                return false;
        if (names->count == 0)
                names->items = &room->items[room->used];
        CHECK(names->items + names->count == &room->items[room->used]);
        room->items[room->used++] = name;
        names->count++;
        return true;
}

/* "a" is every endpoint of a, so it covers "a/b". */
static bool covers(struct bytes wide, struct bytes narrow) {
        return narrow.size >= wide.size && memcmp(wide.data, narrow.data, wide.size) == 0 &&
               (narrow.size == wide.size || narrow.data[wide.size] == '/');
}

/* The narrower of two names when one covers the other; empty when they have nothing in common. */
static struct bytes common(struct bytes a, struct bytes b, bool slugs) {
        if (slugs ? covers(a, b) : bytes_equal(a, b))
                return b;
        return slugs && covers(b, a) ? a : (struct bytes){NULL, 0};
}

/* `slugs`: names of providers and endpoints, of which one may cover another. */
static enum merge_clash intersect(struct names *names, const struct names *near, struct names_room *room,
                                  bool slugs) {
        struct names both = {.count = 0};
        if (near->count == 0)
                return MERGE_WELL;
        if (names->count == 0) {
                *names = *near;
                return MERGE_WELL;
        }
        for (unsigned i = 0; i < names->count; i++)
                for (unsigned j = 0; j < near->count; j++) {
                        struct bytes name = common(names->items[i], near->items[j], slugs);
                        if (name.size > 0 && !names_add(&both, room, name))
                                return MERGE_FULL;
                }
        *names = both;
        return both.count > 0 ? MERGE_WELL : MERGE_EMPTY;
}

static enum merge_clash unite(struct names *names, const struct names *near, struct names_room *room) {
        const struct names *lists[] = {names, near};
        struct names both = {.count = 0};
        if (names->count == 0 || near->count == 0) {
                *names = near->count > 0 ? *near : *names;
                return MERGE_WELL;
        }
        for (unsigned i = 0; i < 2; i++)
                for (unsigned j = 0; j < lists[i]->count; j++)
                        if (!names_add(&both, room, lists[i]->items[j]))
                                return MERGE_FULL;
        *names = both;
        return MERGE_WELL;
}

static void lower(int64_t *ceiling, int64_t near) {
        if (near < *ceiling)
                *ceiling = near;
}

static void take_wish(int64_t wish[PERCENTILES_COUNT], const int64_t near[PERCENTILES_COUNT]) {
        bool said = false;
        for (unsigned i = 0; i < PERCENTILES_COUNT; i++)
                said = said || near[i] != 0;
        if (said)
                memcpy(wish, near, PERCENTILES_COUNT * sizeof *wish);
}

/* Who sorts or orders wants that order, and no sharing by an older wish. */
static void take_wishes(struct routing_prefs *prefs, const struct routing_prefs *near) {
        if (near->order.count > 0)
                prefs->order = near->order;
        if (near->sort_said || near->order.count > 0)
                prefs->spread_ppm = 0;
        if (near->sort_said)
                prefs->sort = near->sort;
        if (near->partition_said)
                prefs->sort_across_models = near->sort_across_models;
        if (near->spread_said)
                prefs->spread_ppm = near->spread_ppm;
        prefs->sort_said = prefs->sort_said || near->sort_said;
        prefs->partition_said = prefs->partition_said || near->partition_said;
        prefs->spread_said = prefs->spread_said || near->spread_said;
        take_wish(prefs->preferred_min_throughput, near->preferred_min_throughput);
        take_wish(prefs->preferred_max_latency, near->preferred_max_latency);
}

static void restrict_more(struct routing_prefs *prefs, const struct routing_prefs *near) {
        prefs->allow_fallbacks = prefs->allow_fallbacks && near->allow_fallbacks;
        prefs->deny_training = prefs->deny_training || near->deny_training;
        prefs->zdr = prefs->zdr || near->zdr;
        prefs->require_parameters = prefs->require_parameters || near->require_parameters;
        prefs->deny_unknown_price = prefs->deny_unknown_price || near->deny_unknown_price;
        lower(&prefs->max_price_input, near->max_price_input);
        lower(&prefs->max_price_output, near->max_price_output);
        lower(&prefs->max_price_request, near->max_price_request);
        lower(&prefs->max_price_image, near->max_price_image);
        lower(&prefs->max_cost_picousd, near->max_cost_picousd);
}

enum merge_clash prefs_merge(struct routing_prefs *prefs, const struct routing_prefs *near,
                             struct names_room *room, const char **out_field) {
        enum merge_clash clash;
        restrict_more(prefs, near);
        take_wishes(prefs, near);
        *out_field = "only";
        clash = intersect(&prefs->only, &near->only, room, true);
        if (clash == MERGE_WELL) {
                *out_field = "ignore";
                clash = unite(&prefs->ignore, &near->ignore, room);
        }
        if (clash == MERGE_WELL) {
                *out_field = "regions";
                clash = intersect(&prefs->regions, &near->regions, room, false);
        }
        if (clash == MERGE_WELL) {
                *out_field = "quantizations";
                clash = intersect(&prefs->quantizations, &near->quantizations, room, false);
        }
        return clash;
}

const struct names *prefs_names(const struct routing_prefs *prefs, const char *field) {
        const struct {
                const char *field;
                const struct names *names;
        } lists[] = {{"only", &prefs->only},
                     {"ignore", &prefs->ignore},
                     {"regions", &prefs->regions},
                     {"quantizations", &prefs->quantizations}};
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
                if (strcmp(field, lists[i].field) == 0)
                        return lists[i].names;
        return NULL;
}
