#pragma once
/*
 * A binary min-heap of (int64_t when, uint32_t id), where each id of 0..ids_max-1 is in it at most once; its
 * place is remembered, so moving and removing are O(log n). Equal times come out in the order of their ids,
 * so runs repeat.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_entry {
        int64_t when;
        uint32_t id;
};

struct heap {
        struct heap_entry *entries;
        uint32_t *places; /* id -> index + 1; 0 is absent */
        size_t count, ids_max;
};

bool heap_init(struct heap *heap, size_t ids_max); /* false when memory is refused */
void heap_deinit(struct heap *heap);
void heap_set(struct heap *heap, uint32_t id, int64_t when); /* inserts or moves */
void heap_remove(struct heap *heap, uint32_t id);            /* absent is fine */
bool heap_contains(const struct heap *heap, uint32_t id);
bool heap_peek(const struct heap *heap, struct heap_entry *out_entry); /* false when empty */
bool heap_pop(struct heap *heap, struct heap_entry *out_entry);
