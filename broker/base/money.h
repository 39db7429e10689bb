#pragma once
/*
 * Money: int64_t picodollars (1e-12 USD), so one dollar is 1e12 and the largest amount 9.2 million dollars.
 * Never binary floating point. Text is an exact decimal number of dollars.
 */
#include "broker/base/bytes.h"
#include "broker/base/check.h"

#define PICOUSD_PER_USD INT64_C(1000000000000)
#define PICOUSD_MAX     INT64_MAX

/*
 * "0.15", "1e-7", "12": non-negative decimal, at most 12 places that count; false when not that or out of
 * range.
 */
bool money_parse(struct bytes text, int64_t *out_picousd);
/* Shortest exact decimal: 120000 -> "0.00000012", 0 -> "0". */
void money_append(struct buffer *buffer, int64_t picousd);

/* Saturating, all arguments >= 0. Here, because a decision needs a hundred of each. */
static inline int64_t money_add(int64_t a_picousd, int64_t b_picousd) {
        int64_t sum;
        CHECK(a_picousd >= 0 && b_picousd >= 0);
        return __builtin_add_overflow(a_picousd, b_picousd, &sum) ? PICOUSD_MAX : sum;
}

static inline int64_t money_multiply(int64_t picousd, int64_t count) {
        int64_t product;
        CHECK(picousd >= 0 && count >= 0);
        return __builtin_mul_overflow(picousd, count, &product) ? PICOUSD_MAX : product;
}

/* money_per_million() of any price. */
int64_t money_per_million_rounded(int64_t picousd_per_million, int64_t units);

/* Whole picodollars for each of the million, as nearly all prices are: nothing is to be rounded. */
static inline bool money_is_whole(int64_t picousd_per_million) {
        return (uint64_t)picousd_per_million % 1000000 == 0;
}

/* price per million units times units, rounded up to the next picodollar, saturating. */
static inline int64_t money_per_million(int64_t picousd_per_million, int64_t units) {
        CHECK(picousd_per_million >= 0);
        if (!money_is_whole(picousd_per_million))
                return money_per_million_rounded(picousd_per_million, units);
        return money_multiply((int64_t)((uint64_t)picousd_per_million / 1000000), units);
}
