#pragma once
/* What is divided into parts: whole numbers whose sum is the whole. */
#include <stdint.h>

/* Part i of so many, of an amount that is not negative. */
static inline int64_t part_of(int64_t amount, uint32_t part, uint32_t whole) {
        int64_t each = amount / whole, rest = amount % whole;
        return each + rest * (part + 1) / whole - rest * part / whole;
}
