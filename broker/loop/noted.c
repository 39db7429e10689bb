#include "broker/loop/noted.h"

#include <stdlib.h>
#include <string.h>

struct noted_attempt {
        struct key128 key;
        struct begun_id begun;
};

void noted_deinit(struct noted *noted) {
        free(noted->items);
        *noted = (struct noted){0};
}

void noted_end(struct noted *noted, struct store_batch *batch, const struct intent *intent) {
        uint32_t slot = intent->handle.slot;
        if (slot >= noted->capacity || noted->items[slot].begun.block == 0)
                return;
        if (key128_equal(noted->items[slot].key, intent->key))
                store_batch_end(batch, noted->items[slot].begun);
        noted->items[slot].begun = (struct begun_id){0};
}

static bool reserve(struct noted *noted, size_t wanted) {
        size_t larger = noted->capacity ? noted->capacity : 64;
        if (wanted <= noted->capacity)
                return true;
        while (larger < wanted)
                larger *= 2;
        void *grown = reallocarray(noted->items, larger, sizeof(*noted->items));
        if (!grown)
                return false;
        noted->items = grown;
        memset(noted->items + noted->capacity, 0, (larger - noted->capacity) * sizeof(*noted->items));
        noted->capacity = larger;
        return true;
}

struct error *noted_stage(struct noted *noted, struct store_batch *batch, const struct intent *intent) {
        size_t slot = intent->handle.slot;
        if (!reserve(noted, slot + 1))
                return error_new(ERROR_MEMORY, "no memory for the attempts of a batch");
        noted_end(noted, batch, intent);
        store_batch_end(batch, intent->begun);
        noted->items[slot] = (struct noted_attempt){intent->key, store_batch_begin(batch, &intent->open)};
        return NULL;
}
