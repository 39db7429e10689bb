#pragma once
/*
 * Time zones for prices by time: "UTC", fixed offsets such as "+08:00", and names of the system's zoneinfo
 * (RFC 9636, in $TZDIR or /usr/share/zoneinfo), read once into the changes that evaluation needs. The rule
 * that a file ends with is written out until 2100.
 */
#include "broker/base/arena.h"
#include "workers/routing/catalog.h"

enum { ZONE_PROBLEM_MAX = 192, ZONE_NAME_BYTES_MAX = 64, ZONE_FILE_BYTES_MAX = 256 << 10 };

/* Those that were asked for already; zeroed but for the arena, in which they are made. */
struct zones {
        struct arena *arena;
        struct zone_node *first;
        bool memory_refused;
};

/* NULL with half a sentence when there is no such zone. */
const struct zone *zones_get(struct zones *zones, struct bytes name, char out_problem[ZONE_PROBLEM_MAX]);
/*
 * From the bytes of a zoneinfo file; the changes are cut from the arena. false when they are none, or when
 * memory is refused (*out_memory_refused).
 */
bool zone_parse(struct bytes file, struct arena *arena, struct zone *out_zone, bool *out_memory_refused);
