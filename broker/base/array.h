#pragma once
/* An array that grows as it is filled. */
#include <stdbool.h>
#include <stddef.h>

/*
 * Room for `wanted` items of that size at *items, which is NULL at first with *capacity 0; capacities double.
 * What is new is not set. false: memory was refused, and nothing has changed.
 */
bool array_reserve(void **items, size_t *capacity, size_t wanted, size_t item_size);
