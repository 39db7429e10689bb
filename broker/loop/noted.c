#include "broker/loop/noted.h"

#include "broker/base/array.h"

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

struct error *noted_stage(struct noted *noted, struct store_batch *batch, const struct intent *intent) {
        size_t slot = intent->handle.slot, before = noted->capacity;
        if (!array_reserve((void **)&noted->items, &noted->capacity, slot + 1, sizeof(*noted->items)))
                return error_new(ERROR_MEMORY, "no memory for the attempts of a batch");
        memset(noted->items + before, 0, (noted->capacity - before) * sizeof(*noted->items));
        noted_end(noted, batch, intent);
        store_batch_end(batch, intent->begun);
        noted->items[slot] = (struct noted_attempt){intent->key, store_batch_begin(batch, &intent->open)};
        return NULL;
}
