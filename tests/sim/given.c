/*
 * What limits have given, as store/quota.c and loop/quota_rows.c keep it: a row for each sub-window's place,
 * durable with the attempts that may take it. A new life begins with what is there. The judge holds the calls
 * of all lives against the limits (judge.c).
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

/* Where the row of a use stands. */
static struct quota_use *row_of(struct world *world, const struct quota_use *use) {
        uint32_t index = (uint32_t)use->of * ENDPOINTS_MAX + use->index;
        return &world->disk.quotas[(index * QUOTAS_COUNT + (uint32_t)use->quota) * LIMITER_RING + use->place];
}

_Static_assert(PROVIDERS_MAX <= ENDPOINTS_MAX && WORKSPACES_MAX <= ENDPOINTS_MAX, "endpoints are most");

static void put(struct quota_list *list, const struct quota_use *use) {
        if (list->count == list->capacity) {
                list->capacity = list->capacity ? 2 * list->capacity : 256;
                list->items = reallocarray(list->items, list->capacity, sizeof(*list->items));
        }
        list->items[list->count++] = *use;
}

static void keep(void *userdata, const struct quota_use *use) {
        struct world *world = userdata;
        struct quota_use kept = *use;
        if (world->plant == PLANT_NO_OPENED)
                kept.opened = 0;
        put(&world->disk.quotas_pending, &kept);
}

void given_keep(struct world *world) {
        engine_quotas_take(world->engine, keep, world);
}

static void move(struct quota_list *into, struct quota_list *from) {
        for (size_t i = 0; i < from->count; i++)
                put(into, &from->items[i]);
        from->count = 0;
}

void given_stage(struct disk *disk) {
        move(&disk->quotas_working, &disk->quotas_pending);
}

static bool opens(const struct disk *disk) {
        for (uint32_t i = 0; i < disk->working_count; i++)
                if (disk->working[i].kind == INTENT_OPEN)
                        return true;
        return false;
}

/* As the committer does: with what opens attempts. */
void given_write(struct world *world, bool all) {
        struct disk *disk = &world->disk;
        if (!all && !opens(disk))
                return;
        /* planted: one batch late */
        struct quota_list *written =
                world->plant == PLANT_QUOTAS_LATE ? &disk->quotas_late : &disk->quotas_working;
        for (size_t i = 0; i < written->count; i++) {
                *row_of(world, &written->items[i]) = written->items[i];
                world->quota_rows++;
        }
        written->count = 0;
        move(&disk->quotas_late, &disk->quotas_working);
}

void given_crash(struct disk *disk) {
        disk->quotas_pending.count = disk->quotas_working.count = disk->quotas_late.count = 0;
}

/* The rows of one limit: what was opened counts as the last one says. */
static void read_limit(struct world *world, struct quota_use limit, struct quota_list *out_uses) {
        size_t first = out_uses->count;
        struct quota_use *last = NULL;
        for (limit.place = 0; limit.place < LIMITER_RING; limit.place++) {
                const struct quota_use *row = row_of(world, &limit);
                if (row->amount > 0 || row->opened > 0)
                        put(out_uses, row);
        }
        for (size_t i = first; i < out_uses->count; i++)
                if (!last || out_uses->items[i].until_unix_ms > last->until_unix_ms)
                        last = &out_uses->items[i];
        for (size_t i = first; i < out_uses->count; i++)
                if (&out_uses->items[i] != last)
                        out_uses->items[i].opened = 0;
}

void given_load(struct world *world) {
        struct quota_list uses = {0};
        for (int of = 0; of < QUOTA_OF_COUNT && world->plant != PLANT_FORGETS_QUOTAS; of++)
                for (uint32_t index = 0; index < ENDPOINTS_MAX; index++)
                        for (int quota = 0; quota < QUOTAS_COUNT; quota++)
                                read_limit(world,
                                           (struct quota_use){.of = (enum quota_of)of,
                                                              .index = index,
                                                              .quota = (enum quota)quota},
                                           &uses);
        engine_quotas_load(world->engine, world_time(world), uses.items, uses.count);
        free(uses.items);
}

void given_init(struct disk *disk) {
        disk->quotas = calloc(QUOTA_ROWS, sizeof(*disk->quotas));
}

void given_deinit(struct disk *disk) {
        free(disk->quotas);
        free(disk->quotas_pending.items);
        free(disk->quotas_working.items);
        free(disk->quotas_late.items);
}
