#pragma once
/*
 * Inputs by reference: what `body.file_url` names (audio), from data:, file: or http(s): URLs, with a size
 * limit and the rules against server-side request forgery (reference reliability_performance.md A7):
 * addresses are checked when the socket is opened, on connections of its own that carry no credentials.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

struct fetch;

struct fetch_options {
        bool allow_https, allow_http, allow_file; /* data: is always allowed */
        const char *file_root; /* file: URLs and relative paths must stay under it; NULL: none */
        bool allow_private_addresses;
        int64_t bytes_max;
        int64_t timeout_ns, connect_timeout_ns;
        uint32_t fetches_max; /* at a time over http(s) */
};

enum fetch_outcome {
        FETCH_OK,
        FETCH_UNAVAILABLE, /* will not get better: not allowed, not found, malformed, forbidden address */
        FETCH_FAILED,      /* may pass: network, 5xx */
        FETCH_TOO_LARGE,
};

struct fetched {
        uint64_t tag;
        enum fetch_outcome outcome;
        struct buffer content; /* the caller's; empty for file: URLs */
        int file_fd;           /* >= 0 for file: URLs: the caller's to close */
        int64_t file_bytes;
        char filename[128]; /* for the multipart part; its ending tells providers the format */
        char content_type[64];
        char message[200];
};

struct error *fetch_open(const struct fetch_options *options, struct fetch **out_fetch) MUST_USE;
struct fetch *fetch_close(struct fetch *fetch);
/*
 * true: *out_fetched is filled at once (data:, file:, or refused). false: it comes from fetch_poll() later.
 */
bool fetch_start(struct fetch *fetch, uint64_t tag, struct bytes url, struct fetched *out_fetched);
/*
 * How long the input of a data: or file: URL plays, as far as its headers tell, without fetching it; -1: not
 * known, or it would have to be fetched first.
 */
int64_t fetch_audio_ms(struct fetch *fetch, struct bytes url);
void fetch_cancel(struct fetch *fetch, uint64_t tag);
int fetch_fd(const struct fetch *fetch);
int64_t fetch_wake_ns(const struct fetch *fetch);
size_t fetch_poll(struct fetch *fetch, struct fetched *out_fetched, size_t max);
