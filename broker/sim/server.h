#pragma once
/*
 * The simulator as a server: an HTTP/1.1 daemon, its timers, and one thread that runs both in
 * sim_server_run(). Nothing blocks in it, so ten thousand calls that wait cost memory only.
 */
#include "broker/base/error.h"
#include "broker/sim/answer.h"
#include "broker/sim/distribution.h"
#include "broker/sim/faults.h"
#include "broker/sim/limits.h"

struct sim_server_options {
        const char *address;                   /* IPv4; NULL is 127.0.0.1 */
        uint16_t port;                         /* 0: any free one */
        const char *tls_certificate, *tls_key; /* PEM text; NULL: plain HTTP. Must outlive the server */
        const char *require_key;               /* NULL: every key is welcome */
        struct sim_settings settings;
        struct sim_limits_config limits;
        struct sim_distribution latency; /* in nanoseconds */
        int64_t slow_body_bytes_per_s;
        unsigned connections_max;
        size_t body_bytes_max; /* of a JSON body; files are not kept */
};

struct sim_server;

/* Sensible values everywhere: port 0, no latency, limits, prices or faults. */
void sim_server_options_init(struct sim_server_options *options);
/* Listens when it returns. Takes what is in *faults, which is left empty. */
struct error *sim_server_open(const struct sim_server_options *options, struct sim_faults *faults,
                              struct sim_server **out_server) MUST_USE;
uint16_t sim_server_port(const struct sim_server *server);
/* Until sim_server_stop(). */
struct error *sim_server_run(struct sim_server *server) MUST_USE;
void sim_server_stop(struct sim_server *server);                /* from any thread or a signal handler */
struct sim_server *sim_server_close(struct sim_server *server); /* takes NULL; returns NULL */
