#pragma once
/*
 * Decimal numbers as other people's catalogues write them ("1e-07", "0.00000100000000000000015"), read digit
 * by digit. Their tails come from somebody's floating point, so what is finer than the unit is rounded, and
 * said.
 */
#include "broker/base/bytes.h"

enum exact {
        EXACT_WHOLE,     /* no digit was lost */
        EXACT_ROUNDED,   /* to the nearest, halves up */
        EXACT_NEGATIVE,  /* below 0 */
        EXACT_TOO_LARGE, /* beyond 64 bits */
        EXACT_NO_NUMBER,
};

enum { EXACT_TEXT_MAX = 128 };

/* The number times `times` (1 to 1000) times 10^places. out_value is set for WHOLE and ROUNDED. */
enum exact exact_parse(struct bytes text, unsigned places, unsigned times, int64_t *out_value);
