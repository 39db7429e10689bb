/*
 * Linear probing in a power-of-two table that is never more than 70 % full, so each probe ends at an empty
 * slot. Deletion shifts the rest of the run back instead of leaving a tombstone: between the home slot of a
 * key and its place there is never an empty slot, and look-ups stay as short after a billion put-and-removes
 * as at the start.
 */
#include "broker/base/map.h"

#include "broker/base/check.h"

#include <stdlib.h>
#include <string.h>

/*
 * Keys are hashes, either half would do; both are taken so that hand-made keys, which differ in one half,
 * spread too.
 */
static size_t map_home(const struct map *map, struct key128 key) {
        return (size_t)(key.hi + key.lo * UINT64_C(0x9e3779b97f4a7c15)) & map->mask;
}

/* The slot of the key, or the empty slot where it would go. */
static size_t map_find(const struct map *map, struct key128 key) {
        size_t i = map_home(map, key);

        while (map->entries[i].used && !key128_equal(map->entries[i].key, key))
                i = (i + 1) & map->mask;
        return i;
}

bool map_init(struct map *map, size_t entries_max) {
        size_t slots = 8;
        struct map_entry *entries;

        if (entries_max > SIZE_MAX / 4 / sizeof(*entries))
                return false;
        while (slots / 10 * 7 < entries_max)
                slots *= 2;
        entries = calloc(slots, sizeof(*entries));
        if (entries == NULL)
                return false;
        *map = (struct map){.entries = entries, .mask = slots - 1, .count_max = entries_max};
        return true;
}

void map_deinit(struct map *map) {
        free(map->entries);
        *map = (struct map){0};
}

void map_clear(struct map *map) {
        memset(map->entries, 0, (map->mask + 1) * sizeof(*map->entries));
        map->count = 0;
}

bool map_get(const struct map *map, struct key128 key, uint32_t *out_value) {
        const struct map_entry *entry = &map->entries[map_find(map, key)];

        if (!entry->used)
                return false;
        *out_value = entry->value;
        return true;
}

bool map_put(struct map *map, struct key128 key, uint32_t value) {
        struct map_entry *entry = &map->entries[map_find(map, key)];

        if (!entry->used) {
                if (map->count >= map->count_max)
                        return false;
                map->count++;
        }
        *entry = (struct map_entry){.key = key, .value = value, .used = 1};
        return true;
}

bool map_remove(struct map *map, struct key128 key) {
        size_t hole = map_find(map, key);

        if (!map->entries[hole].used)
                return false;
        for (size_t i = (hole + 1) & map->mask; map->entries[i].used; i = (i + 1) & map->mask) {
                size_t from_home = (i - map_home(map, map->entries[i].key)) & map->mask;

                /* It may move back only as far as its home. */
                if (from_home < ((i - hole) & map->mask))
                        continue;
                map->entries[hole] = map->entries[i];
                hole = i;
        }
        map->entries[hole].used = 0;
        CHECK(map->count > 0);
        map->count--;
        return true;
}
