#pragma once
/*
 * What came of one call, as far as decisions go: the dialect reads bytes, this is what it says. The bytes of
 * the answer stay with the shard. Classes follow reference providers.md section 12.
 */
#include "workers/routing/cost.h"

enum verdict {
        VERDICT_OK,              /* a result */
        VERDICT_REJECTED,        /* permanent for this request (4xx) */
        VERDICT_CONTENT_REFUSED, /* permanent: content policy */
        /* permanent for this model here (context length, unsupported): a fallback may do it */
        VERDICT_OTHER_MODEL,
        VERDICT_RETRY,       /* the provider failed; nothing was billed */
        VERDICT_UNUSABLE,    /* 200, but no usable answer; perhaps billed; few retries */
        VERDICT_THROTTLED,   /* 429: later; does not count as an attempt */
        VERDICT_OVERLOADED,  /* later, and with fewer calls at a time; does not count as an attempt */
        VERDICT_PAUSE,       /* billing or quota gone for long: pause the provider, or the endpoint alone */
        VERDICT_AUTH,        /* key or configuration wrong: pause the provider, tell somebody */
        VERDICT_NOT_SENT,    /* connect, DNS, TLS: the request never left */
        VERDICT_UNKNOWN,     /* timeout or reset after the request was sent: perhaps executed and billed */
        VERDICT_INPUT,       /* an input file could not be had; `failure` says which way; no call was made */
        VERDICT_INPUT_RETRY, /* the same, but may pass; no call was made */
};

enum { ANSWER_MESSAGE_MAX = 200 };

struct answer {
        enum verdict verdict;
        enum failure failure; /* what the job ends as if this is the last answer */
        int32_t status;       /* HTTP; 0 when there was none */
        int64_t wait_ns;      /* the provider's minimum; -1: it does not say */
        int64_t requests_blocked_ns,
                tokens_blocked_ns; /* limit used up for that long (headers with remaining 0); 0: no */
        bool endpoint_only;        /* PAUSE: what is used up is this model's, not all of the provider's */
        bool is_json;              /* the body was parsed: to render it, it need not be again */
        bool cost_known;           /* the provider itself said the cost */
        int64_t cost_picousd;
        struct usage usage;
        int64_t latency_ns;               /* set by the shard */
        char message[ANSWER_MESSAGE_MAX]; /* one printable sentence, cut, terminated; never the payload */
};

void answer_init(struct answer *answer); /* VERDICT_RETRY, nothing known */
