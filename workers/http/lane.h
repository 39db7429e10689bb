#pragma once
/*
 * Lanes: libcurl multi handles of few transfers each, all under one epoll descriptor. libcurl searches the
 * connections of a multi handle one after the other, so a lane stays small; what separates lanes (origin,
 * expected duration) is their user's business.
 *
 * Sockets stay registered with epoll while libcurl keeps their connection, also between requests: a request
 * on a warm connection costs no epoll_ctl() at all. Level-triggered, because libcurl reads a plain connection
 * once per event and may leave bytes in the kernel (lib/transfer.c: data_pending() is false without TLS). An
 * event on a socket that libcurl does not watch (the server closed an idle connection) takes the socket out
 * of epoll, so that it cannot spin; libcurl finds it dead when it wants to use it again.
 *
 * One thread. No function here may be called from inside a libcurl callback, except lane_socket_open() and
 * lane_socket_close().
 */
#include "broker/base/error.h"
#include "broker/base/heap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lane;
struct socket_slot;
struct sockaddr;

struct lane_events {
        /* A transfer ended with that CURLcode; it is still added. */
        void (*done)(void *userdata, struct lane *lane, void *easy, int code);
        /* libcurl has run on that lane; transfers may be added now. NULL: not wanted. */
        void (*ran)(void *userdata, struct lane *lane);
};

struct lanes {
        int epoll_fd;
        struct socket_slot *sockets; /* by descriptor */
        size_t sockets_max;
        uint32_t sockets_open; /* by lane_socket_open(), not yet closed */
        struct lane **lanes;   /* by id */
        uint32_t *ids_free;
        uint32_t ids_free_count, lanes_max;
        struct heap timers; /* lane id -> when libcurl wants to run */
        struct lane_events events;
        void *userdata;
};

struct lane {
        struct lanes *lanes;
        void *multi;
        uint32_t id;
        int64_t timer_ns, armed_ns; /* what libcurl asked for, what the heap has; INT64_MAX: none */
        bool failed;                /* libcurl gave the multi handle up: no new transfers */
};

struct lane_options {
        uint32_t connections_max; /* kept open */
        bool multiplex;
        uint32_t streams_max;
};

struct error *lanes_init(struct lanes *lanes, uint32_t lanes_max, struct lane_events events,
                         void *userdata) MUST_USE;
void lanes_deinit(struct lanes *lanes);           /* after all lanes; also when lanes_init() failed */
int64_t lanes_wake_ns(const struct lanes *lanes); /* INT64_MAX: no timer */
/* Handles a bounded number of ready sockets and what is due. true: perhaps there is more. */
bool lanes_turn(struct lanes *lanes, int64_t now_ns);

struct error *lane_init(struct lane *lane, struct lanes *lanes, const struct lane_options *options) MUST_USE;
void lane_deinit(struct lane *lane); /* all transfers were removed before; closes the connections */
/* Adds an easy handle and runs it as far as it goes. false: it was not added. */
bool lane_add(struct lane *lane, void *easy);
void lane_remove(struct lane *lane, void *easy);

/* For CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION: they keep the table. -1 with errno on
 * failure. */
int lane_socket_open(struct lanes *lanes, int family, int type, int protocol);
int lane_socket_close(struct lanes *lanes, int fd);
