#pragma once
/*
 * A map from key128 to uint32_t: open addressing, linear probing, backward-shift deletion, sized once for
 * `entries_max` (at most 70 % full), so nothing is allocated after map_init().
 */
#include "broker/base/key.h"

#include <stddef.h>

struct map_entry {
        struct key128 key;
        uint32_t value;
        uint32_t used;
};

struct map {
        struct map_entry *entries;
        size_t mask, count, count_max;
};

bool map_init(struct map *map, size_t entries_max); /* false when memory is refused */
void map_deinit(struct map *map);
bool map_get(const struct map *map, struct key128 key, uint32_t *out_value);
bool map_put(struct map *map, struct key128 key, uint32_t value); /* false when full; replaces */
bool map_remove(struct map *map, struct key128 key);              /* false when absent */
void map_clear(struct map *map);
