#pragma once
/*
 * The HTTP endpoint for those who watch a process: GET or HEAD of
 *
 *   /metrics   the metrics, in the format that Accept asks for (ops/exposition.h)
 *   /healthz   200 "ok", or 503 with one line per reason: restart it
 *   /readyz    200 "ready", or 503 with one line per reason: it does no work yet, or no more
 *
 * One thread of its own (libmicrohttpd's), which takes no signals and waits for nobody. Nothing can be
 * changed through it, and it shows no payload, key or secret; it asks for no password either, so it listens
 * on loopback unless told otherwise. Connections, the size of a request and the time without a byte are
 * bounded.
 */
#include "broker/base/error.h"
#include "broker/ops/metrics.h"

enum {
        LISTENER_CONNECTIONS_MAX = 64, /* a few scrapers and probes; more wait in the kernel's queue */
        LISTENER_REQUEST_BYTES = 8192, /* of a request's headers, and of ours */
        LISTENER_IDLE_S = 30,          /* a connection without a byte for so long is closed */
        LISTENER_PAGE_BYTES_MAX = 64 << 20,
};

struct listener;

struct listener_options {
        const char *address; /* IPv4 or IPv6, or "localhost"; settings.listen_address */
        uint16_t port;       /* 0: any free one */
        struct metrics *metrics;
};

/*
 * Answers when it returns. An address that is none is ERROR_USAGE, a port in use ERROR_BUSY; the message says
 * what to do.
 */
struct error *listener_open(const struct listener_options *options, struct listener **out_listener) MUST_USE;
struct listener *listener_close(struct listener *listener); /* ends its thread; NULL gives NULL */
uint16_t listener_port(const struct listener *listener);
const char *listener_url(const struct listener *listener); /* "http://127.0.0.1:8484" */
