#pragma once
/*
 * Every way in which providers say "later", as nanoseconds from now (reference: providers.md 12.3).
 * Pure; no text from outside makes it fail: what cannot be understood says nothing (-1), what is absurd
 * is cut to WAIT_MAX_NS.
 */
#include "broker/base/bytes.h"
#include "broker/base/time.h"

#define WAIT_MAX_NS  (24 * 3600 * NS_PER_S) /* nobody is believed beyond a day */
#define WAIT_HELD_NS (15 * 60 * NS_PER_S)   /* beyond this the provider is paused rather than waited for */

enum retry_advice { RETRY_UNSAID, RETRY_YES, RETRY_NO };

/* What the kept header lines say. */
struct header_facts {
        int64_t wait_ns;  /* Retry-After and the like; -1: not said */
        int64_t reset_ns; /* until all that is used up (remaining 0) is whole again; 0: nothing is */
        int64_t requests_blocked_ns; /* until one more request fits; 0: it does */
        int64_t tokens_blocked_ns;   /* until there are tokens again, of limits that come back at once */
        int64_t token_back_ns;       /* until one more token, of limits that refill all the time */
        enum retry_advice retry;     /* x-should-retry */
        struct bytes content_type;   /* may be empty */
};

/*
 * One pass over "Name: value\r\n" lines. Dates are taken against the Date header where there is one,
 * else against now.
 */
void header_facts_read(struct bytes headers, int64_t now_unix_ms, struct header_facts *out_facts);
/*
 * Until as many tokens are back as the call used, so that another one like it fits; at most until the
 * reset; 0: some remain.
 */
int64_t tokens_blocked(const struct header_facts *facts, int64_t tokens);

/* Retry-After: seconds, whole or decimal, or an HTTP-date; a past date is 0. */
int64_t wait_of_retry_after(struct bytes value, int64_t now_unix_ms);
/* retry-after-ms */
int64_t wait_of_milliseconds(struct bytes value);
/*
 * x-ratelimit-reset-*: Go duration ("6m0s"), RFC 3339, seconds, Unix seconds or milliseconds. Seconds of
 * 0 or less say nothing (Azure sends -1 and 0).
 */
int64_t wait_of_reset(struct bytes value, int64_t now_unix_ms);
/* A duration inside a body: RetryInfo.retryDelay "46.5s", or seconds. */
int64_t wait_of_delay(struct bytes value);
/* "Please try again in 41.724s", "Please retry after 6 seconds" */
int64_t wait_of_message(struct bytes message);
/* "You will regain access on 2026-12-01": until then, UTC. */
int64_t wait_of_date_in_message(struct bytes message, int64_t now_unix_ms);
/* Until the day is over that begins so many hours after that of UTC. */
int64_t wait_of_day(int64_t hours_behind_utc, int64_t now_unix_ms);
