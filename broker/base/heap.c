/*
 * A binary heap in an array. Invariants: no entry comes before its parent, and places[entries[i].id] == i + 1
 * for each i below count; every other place is 0. An id of ids_max or more is a bug of the caller.
 */
#include "broker/base/heap.h"

#include "broker/base/check.h"

#include <stdlib.h>

static bool entry_before(struct heap_entry a, struct heap_entry b) {
        return a.when != b.when ? a.when < b.when : a.id < b.id;
}

static void heap_place(struct heap *heap, size_t i, struct heap_entry entry) {
        heap->entries[i] = entry;
        heap->places[entry.id] = (uint32_t)i + 1;
}

/* Puts `entry` at the free place `i` or above it. */
static void heap_up(struct heap *heap, size_t i, struct heap_entry entry) {
        while (i > 0 && entry_before(entry, heap->entries[(i - 1) / 2])) {
                heap_place(heap, i, heap->entries[(i - 1) / 2]);
                i = (i - 1) / 2;
        }
        heap_place(heap, i, entry);
}

/* Puts `entry` at the free place `i` or below it. */
static void heap_down(struct heap *heap, size_t i, struct heap_entry entry) {
        for (size_t child = 2 * i + 1; child < heap->count; child = 2 * i + 1) {
                if (child + 1 < heap->count && entry_before(heap->entries[child + 1], heap->entries[child]))
                        child++;
                if (!entry_before(heap->entries[child], entry))
                        break;
                heap_place(heap, i, heap->entries[child]);
                i = child;
        }
        heap_place(heap, i, entry);
}

static void heap_settle(struct heap *heap, size_t i, struct heap_entry entry) {
        if (i > 0 && entry_before(entry, heap->entries[(i - 1) / 2]))
                heap_up(heap, i, entry);
        else
                heap_down(heap, i, entry);
}

bool heap_init(struct heap *heap, size_t ids_max) {
        size_t allocated = ids_max == 0 ? 1 : ids_max;
        struct heap_entry *entries;
        uint32_t *places;

        CHECK(ids_max < UINT32_MAX);
        entries = calloc(allocated, sizeof(*entries));
        places = calloc(allocated, sizeof(*places));
        if (entries == NULL || places == NULL) {
                free(entries);
                free(places);
                return false;
        }
        *heap = (struct heap){.entries = entries, .places = places, .ids_max = ids_max};
        return true;
}

void heap_deinit(struct heap *heap) {
        free(heap->entries);
        free(heap->places);
        *heap = (struct heap){0};
}

void heap_set(struct heap *heap, uint32_t id, int64_t when) {
        struct heap_entry entry = {.when = when, .id = id};

        CHECK(id < heap->ids_max);
        if (heap->places[id] != 0)
                heap_settle(heap, heap->places[id] - 1, entry);
        else
                heap_up(heap, heap->count++, entry);
}

void heap_remove(struct heap *heap, uint32_t id) {
        size_t i;

        CHECK(id < heap->ids_max);
        if (heap->places[id] == 0)
                return;
        i = heap->places[id] - 1;
        heap->places[id] = 0;
        heap->count--;
        if (i < heap->count)
                heap_settle(heap, i, heap->entries[heap->count]);
}

bool heap_contains(const struct heap *heap, uint32_t id) {
        CHECK(id < heap->ids_max);
        return heap->places[id] != 0;
}

bool heap_peek(const struct heap *heap, struct heap_entry *out_entry) {
        if (heap->count == 0)
                return false;
        *out_entry = heap->entries[0];
        return true;
}

bool heap_pop(struct heap *heap, struct heap_entry *out_entry) {
        if (!heap_peek(heap, out_entry))
                return false;
        heap_remove(heap, out_entry->id);
        return true;
}
