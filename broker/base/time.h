#pragma once
/*
 * Times and durations as text. Inside the program time is int64_t nanoseconds of a monotonic clock (`_ns`),
 * wall time at the edges is int64_t milliseconds since 1970 UTC (`_unix_ms`). No function here reads a clock
 * but clock_*().
 */
#include "broker/base/bytes.h"

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/*
 * "100ms", "5s", "1m30s", "7d", "6m0s", "7.66s", "12ms", "250us": a sequence of number and unit (us ms s m h
 * d); a bare "0" too.
 */
bool duration_parse(struct bytes text, int64_t *out_ns);
/* Largest units first, exact (below 1 us as a fraction, "0.5us"): 90 s -> "1m30s"; 0 -> "0s". */
void duration_append(struct buffer *buffer, int64_t ns);
/* RFC 3339, with any offset, fraction cut to ms; leap second 60 accepted as 59. */
bool rfc3339_parse(struct bytes text, int64_t *out_unix_ms);
/* Years 1970 to 9999; what lies outside is written as the nearest time inside. */
void rfc3339_append(struct buffer *buffer, int64_t unix_ms); /* "2026-11-23T01:00:00.000Z" */
/* RFC 9110 HTTP-date, all three forms. Years of two digits are 1970 to 2069. */
bool http_date_parse(struct bytes text, int64_t *out_unix_ms);

int64_t clock_now_ns(void);      /* CLOCK_MONOTONIC; edges only */
int64_t clock_now_unix_ms(void); /* CLOCK_REALTIME; edges only */
