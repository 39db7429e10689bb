#pragma once
/*
 * Times of the week as text, "Mon-Fri 16:30-00:30 UTC": days (left out: all), hours (left out: whole days),
 * and the zone whose clocks count (left out: UTC), in this order, with blanks between.
 */
#include "broker/ops/zone.h"

enum { WINDOW_PROBLEM_MAX = ZONE_PROBLEM_MAX };

/* Sets days, hours and zone. false with half a sentence. */
bool window_parse(struct bytes text, struct zones *zones, struct price_window *window,
                  char out_problem[WINDOW_PROBLEM_MAX]);
/* So that window_parse() gives the same. */
void window_append(struct buffer *buffer, const struct price_window *window);
/* "0.5": at most 6 places, 0 to 1000. */
bool multiply_parse(struct bytes text, uint32_t *out_millionths);
void multiply_append(struct buffer *buffer, uint32_t millionths);
