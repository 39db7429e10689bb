#pragma once
/*
 * One call in flight: an easy handle with all options that never change set once, the answer as it comes in,
 * and the limits that end it.
 *
 * Whether the request left is what retries and bills hang on, so libcurl is not allowed to repeat it behind
 * our back: 7.88.1 silently sends a request again when a reused connection dies before the first byte of an
 * answer (lib/transfer.c, Curl_retry_request), although the server may have read and executed it. Here a
 * second request of one call is refused, unless not one byte of the first was taken by the socket.
 *
 * Time limits are ours and not libcurl's: its own cost timers per request, and a wake-up per second and call
 * for the speed limit.
 */
#include "broker/base/list.h"
#include "workers/http/http.h"
#include "workers/http/lane.h"
#include "workers/http/target.h"

enum { CALL_HEADERS_MAX = 8192, CALL_HEADERS_READ_MAX = 128 * 1024, CALL_ERROR_MAX = 256 };

enum call_state {
        CALL_FREE,
        CALL_HELD, /* in its lane, not yet given to libcurl */
        CALL_RUNNING,
        CALL_DONE, /* to be reported */
};

struct call_lane;
struct part_reader;

struct call_setup {
        struct lanes *lanes;
        const char *ca_file;
        void *share;
        bool http2;
        int64_t connect_timeout_ns, low_speed_ns;
};

struct call {
        struct list link; /* free, held by the lane, or done */
        const struct call_setup *setup;
        struct call_lane *lane;
        void *easy, *form;
        struct part_reader *readers;
        struct curl_slist *own_headers; /* their last one is followed by the target's; NULL: none */
        const struct target *target;    /* what the easy handle is set up for */
        enum call_state state;
        uint32_t slot;
        uint64_t tag;

        bool resolved, wide, formed;
        uint32_t requests; /* how often a connection was ready for it */
        bool too_large, no_memory, flooded;
        bool in_body;
        size_t response_max, headers_read;
        struct buffer headers, body;

        int64_t started_ns, deadline_ns, window_start_ns, stalled_ns; /* stalled_ns 0: not stalled */
        uint64_t window_bytes;

        enum http_outcome outcome;
        int32_t status;
        int64_t latency_ns;
        char error[CALL_ERROR_MAX];
};

/* Makes the easy handle when there is none yet, and sets what this call needs. False: no memory. */
bool call_prepare(struct call *call, const struct target *target, const struct http_call *given,
                  int64_t now_ns);
/* When to look at its limits next. */
int64_t call_check_first_ns(const struct call *call);
/* True: a limit has ended it, and call->error says which. False: look again at *out_next_ns. */
bool call_check(struct call *call, int64_t now_ns, int64_t *out_next_ns);
/* Decides the outcome by `result`, a CURLcode; before the easy handle leaves its lane. */
void call_conclude(struct call *call, int result, int64_t now_ns);
/* Ended by us; call->error says why. */
void call_conclude_stopped(struct call *call, int64_t now_ns);
void call_unprepare(
        struct call *call); /* after its easy handle left the lane: gives back what was this call's */
void call_deinit(struct call *call);
