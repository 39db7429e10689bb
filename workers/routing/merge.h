#pragma once
/*
 * Layers of rules made one. Strictest wins: lists that allow intersect, lists that forbid unite, ceilings
 * take the lower, restrictions add up, so no layer can loosen another. What is a wish and no rule (order,
 * sort, spread, preferred speeds) is the nearest layer's. The one place where this is decided: configuration,
 * workspace, model suffix, body.provider and routing all go through it.
 */
#include "broker/base/error.h"
#include "workers/routing/demand.h"

/* Where items of lists stand, one list behind the other: room for the lists of some layers. */
enum { NAMES_ROOM_MAX = 20 * PREFS_NAMES_MAX };
struct names_room {
        uint32_t used;
        struct bytes items[NAMES_ROOM_MAX];
};

enum merge_clash {
        MERGE_WELL,
        MERGE_EMPTY, /* nothing is in both lists of names */
        MERGE_FULL,  /* together they hold more than PREFS_NAMES_MAX names */
};

/*
 * Lays `near` over `prefs`, which holds what farther layers say together. Its lists are those of the layers
 * or stand in `room`. On a clash, *out_field is the name of the field ("only"), and `prefs` is half merged.
 */
enum merge_clash prefs_merge(struct routing_prefs *prefs, const struct routing_prefs *near,
                             struct names_room *room, const char **out_field) MUST_USE;
/* The list that a field of that name is; NULL when it is no list. */
const struct names *prefs_names(const struct routing_prefs *prefs, const char *field);
/*
 * To a list that is empty, or stands last in the room. false when there are too many. A name that is there
 * already is not added twice.
 */
bool names_add(struct names *names, struct names_room *room, struct bytes name);
