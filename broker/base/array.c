#include "broker/base/array.h"

#include <stdint.h>
#include <stdlib.h>

enum { CAPACITY_FIRST = 64 };

bool array_reserve(void **items, size_t *capacity, size_t wanted, size_t item_size) {
        if (wanted <= *capacity)
                return true;
        if (wanted > SIZE_MAX / 4 / item_size)
                return false;
        size_t larger = *capacity ? *capacity : CAPACITY_FIRST;
        while (larger < wanted)
                larger *= 2;
        void *grown = reallocarray(*items, larger, item_size);
        if (!grown)
                return false;
        *items = grown;
        *capacity = larger;
        return true;
}
