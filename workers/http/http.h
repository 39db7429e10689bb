#pragma once
/*
 * The HTTP client of one shard: many libcurl multi handles ("lanes") of few connections each under one epoll
 * descriptor. libcurl looks for an idle connection linearly, and long calls poison short ones, so lanes are
 * small and calls that take long get lanes of their own (measured: architecture.md, "Traps"). Nothing ever
 * queues inside libcurl: the caller bounds calls in flight.
 *
 * One thread. Bodies given are borrowed until the call is done; bodies received are handed over.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

struct http;

struct http_options {
        uint32_t calls_max; /* at a time */
        int64_t connect_timeout_ns;
        int64_t low_speed_ns; /* less than 1 byte/s for that long ends the call */
        const char *ca_file;  /* NULL: the system's bundle */
        bool http2;           /* offer h2 by ALPN on https */
};

/*
 * Where calls go: URL and header lines, prepared once. Keys stay inside libcurl's lists and are wiped on
 * close.
 */
struct http_target {
        const char *url;
        const char *const *headers; /* "Name: value"; control characters are refused */
        uint32_t headers_count;
};

struct http_part {
        struct bytes name, value; /* a field, or the file's content when filename is not NULL */
        const char *filename, *content_type;
        int file_fd; /* >= 0: content is read from there, file_bytes long; stays the caller's */
        int64_t file_bytes;
};

struct http_call {
        uint64_t tag;
        uint32_t target;
        struct bytes body; /* application/json, when there are no parts */
        /* of this call alone, before the target's; with control characters: left out */
        const char *const *headers;
        uint32_t headers_count;
        const struct http_part *parts;
        uint32_t parts_count;
        int64_t timeout_ns;
        size_t response_max;
        bool slow; /* expected to take seconds: keep apart from the quick ones */
};

enum http_outcome {
        HTTP_ANSWERED,  /* status, headers and the whole body are there */
        HTTP_NOT_SENT,  /* DNS, connect, TLS: no byte of the request was taken by the other side */
        HTTP_UNTRUSTED, /* certificate or host name wrong: not sent, and trying again will not help */
        HTTP_UNKNOWN,   /* the request was sent, wholly or in part, and then: timeout, reset, cut body */
        HTTP_TOO_LARGE, /* the answer exceeded response_max */
};

struct http_done {
        uint64_t tag;
        enum http_outcome outcome;
        /* 0 when no status line was read; may be set with HTTP_UNKNOWN and HTTP_TOO_LARGE too */
        int32_t status;
        struct buffer headers; /* the kept lines: rate limits, retry-after, request id, content type, date */
        struct buffer body;
        int64_t latency_ns;
        char message[200]; /* why not HTTP_ANSWERED; "" otherwise */
};

struct error *http_open(const struct http_options *options, struct http **out_http) MUST_USE;
struct http *http_close(struct http *http); /* ends all calls without reports; takes NULL, returns NULL */

struct error *http_add_target(struct http *http, const struct http_target *given,
                              uint32_t *out_index) MUST_USE;

/* An error here means that the call was not started. */
struct error *http_start(struct http *http, const struct http_call *given) MUST_USE;
/*
 * The call will be reported as HTTP_UNKNOWN or HTTP_NOT_SENT at the next http_poll(). Unknown tags are
 * ignored.
 */
void http_cancel(struct http *http, uint64_t tag);

int http_fd(const struct http *http); /* for the shard's epoll: readable when there is something to do */
int64_t http_wake_ns(const struct http *http); /* or at that time of CLOCK_MONOTONIC; INT64_MAX: no timer */
/*
 * Does what is due, without blocking, and moves at most `max` finished calls to `out_done` (their buffers are
 * the caller's then).
 */
size_t http_poll(struct http *http, struct http_done *out_done, size_t max);
uint32_t http_in_flight(const struct http *http);
