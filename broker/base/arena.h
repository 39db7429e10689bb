#pragma once
/*
 * One malloc'ed block from which small things of one owner are cut, freed together. Grows by chained blocks
 * up to a ceiling. arena_alloc() gives NULL past the ceiling or when memory is refused.
 */
#include "broker/base/bytes.h"

struct arena_block;
struct arena {
        struct arena_block *head;
        size_t used, used_max;
};

void arena_init(struct arena *arena, size_t used_max);
void arena_deinit(struct arena *arena);
void arena_clear(struct arena *arena);                     /* keeps the first block */
void *arena_alloc(struct arena *arena, size_t size);       /* aligned to 16, not zeroed */
char *arena_copy(struct arena *arena, struct bytes bytes); /* terminated */
