#pragma once
/* The response on the wire: whole, cut, slow or endless. */
#include "broker/base/bytes.h"

struct sim_call;
struct sim_headers;

/* Takes the body. The fault of the call says in which way it is sent. false closes the connection. */
bool sim_send(struct sim_call *call, int status, const char *content_type, struct buffer *body,
              const struct sim_headers *headers);
/* The next piece of a slow body is due. */
void sim_send_timer(struct sim_call *call);
/* A TCP reset, now. The connection must be closed next. */
void sim_send_reset(struct sim_call *call);
/* The client has closed its side: nobody will read the answer. */
bool sim_send_client_gone(const struct sim_call *call);
