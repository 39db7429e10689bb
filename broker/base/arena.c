/*
 * Blocks are chained newest first; only the newest is cut from. What is counted in `used`, and held against
 * the ceiling, is what was cut, rounded up to 16. Room left behind in an older block is smaller than the
 * request that did not fit there, so the memory held stays below about twice the ceiling.
 */
#include "broker/base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 16, ARENA_BLOCK_MIN = 4096 };

struct arena_block {
        struct arena_block *next; /* older */
        size_t size, used;
        alignas(ARENA_ALIGN) char data[];
};

void arena_init(struct arena *arena, size_t used_max) {
        *arena = (struct arena){.used_max = used_max};
}

void arena_clear(struct arena *arena) {
        while (arena->head != NULL && arena->head->next != NULL) {
                struct arena_block *older = arena->head->next;

                free(arena->head);
                arena->head = older;
        }
        if (arena->head != NULL)
                arena->head->used = 0;
        arena->used = 0;
}

void arena_deinit(struct arena *arena) {
        arena_clear(arena);
        free(arena->head);
        *arena = (struct arena){0};
}

/* Each block is twice the one before it, but no bigger than what may still be cut. */
static bool arena_grow(struct arena *arena, size_t need) {
        size_t left = arena->used_max - arena->used;
        size_t size = arena->head == NULL || arena->head->size > SIZE_MAX / 2 ? ARENA_BLOCK_MIN
                                                                              : arena->head->size * 2;
        struct arena_block *block;

        size = size > left ? left : size;
        size = size < need ? need : size;
        if (size > PTRDIFF_MAX - sizeof(*block))
                return false;
        block = malloc(sizeof(*block) + size);
        if (block == NULL)
                return false;
        block->next = arena->head;
        block->size = size;
        block->used = 0;
        arena->head = block;
        return true;
}

void *arena_alloc(struct arena *arena, size_t size) {
        size_t left = arena->used_max - arena->used, need;
        void *cut;

        if (size > left || size > SIZE_MAX - ARENA_ALIGN)
                return NULL;
        need = size == 0 ? ARENA_ALIGN : (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
        if (need > left)
                return NULL;
        if ((arena->head == NULL || need > arena->head->size - arena->head->used) && !arena_grow(arena, need))
                return NULL;
        cut = arena->head->data + arena->head->used;
        arena->head->used += need;
        arena->used += need;
        return cut;
}

char *arena_copy(struct arena *arena, struct bytes bytes) {
        char *copy = bytes.size == SIZE_MAX ? NULL : arena_alloc(arena, bytes.size + 1);

        if (copy == NULL)
                return NULL;
        if (bytes.size > 0)
                memcpy(copy, bytes.data, bytes.size);
        copy[bytes.size] = '\0';
        return copy;
}
