#pragma once
/*
 * Money: int64_t picodollars (1e-12 USD), so one dollar is 1e12 and the largest amount 9.2 million dollars.
 * Never binary floating point. Text is an exact decimal number of dollars.
 */
#include "broker/base/bytes.h"

#define PICOUSD_PER_USD INT64_C(1000000000000)
#define PICOUSD_MAX     INT64_MAX

/*
 * "0.15", "1e-7", "12": non-negative decimal, at most 12 places that count; false when not that or out of
 * range.
 */
bool money_parse(struct bytes text, int64_t *out_picousd);
/* Shortest exact decimal: 120000 -> "0.00000012", 0 -> "0". */
void money_append(struct buffer *buffer, int64_t picousd);
/* Saturating, all arguments >= 0. */
int64_t money_add(int64_t a_picousd, int64_t b_picousd);
int64_t money_multiply(int64_t picousd, int64_t count);
/* price per million units times units, rounded up to the next picodollar, saturating. */
int64_t money_per_million(int64_t picousd_per_million, int64_t units);
