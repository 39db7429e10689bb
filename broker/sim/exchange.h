#pragma once
/*
 * The life of one call: read it, decide (key, limits, identity, fault, latency), wait, answer, count. The
 * functions that libmicrohttpd calls are registered by server.c.
 */
#include <stddef.h>

struct MHD_Connection;
struct sim_call;
struct sim_server;

/* As MHD_AccessHandlerCallback, but for the result: false closes the connection. */
_Bool sim_exchange_step(struct sim_server *server, struct MHD_Connection *connection, const char *url,
                        const char *method, const char *data, size_t *data_bytes, void **call);
/* The call's timer has come. */
void sim_exchange_timer(struct sim_call *call);
/* The connection has done with the call; `sent` when the response went out in full. */
void sim_exchange_end(struct sim_call *call, _Bool sent);
