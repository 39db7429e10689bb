#include "broker/sim/control.h"

#include "broker/sim/answer_error.h"
#include "broker/sim/server_state.h"

#include <string.h>

static int reset(struct sim_server *server, struct buffer *out_body) {
        if (!sim_identities_reset(&server->identities)) {
                sim_error_append(out_body, "out of memory", "server_error", NULL, NULL);
                return 500;
        }
        server->epoch++;
        sim_stats_reset(&server->stats);
        sim_limits_reset(&server->limits);
        sim_faults_restart(&server->faults);
        buffer_append_string(out_body, "{}\n");
        return 200;
}

static int replace_faults(struct sim_call *call, struct buffer *out_body) {
        struct error *error = sim_faults_replace(&call->server->faults, buffer_view(&call->request.body));

        if (error == NULL) {
                buffer_append_string(out_body, "{}\n");
                return 200;
        }
        sim_error_append(out_body, error->message, "invalid_request_error", NULL, NULL);
        error_free(error);
        return 400;
}

int sim_control(struct sim_call *call, struct buffer *out_body) {
        struct sim_server *server = call->server;

        if (call->get && strcmp(call->url, "/sim/stats") == 0) {
                sim_stats_append_json(&server->stats, &server->identities, &server->limits, out_body);
                return 200;
        }
        if (call->get && strcmp(call->url, "/sim/calls") == 0) {
                sim_identities_append_json(&server->identities, out_body);
                return 200;
        }
        if (!call->get && strcmp(call->url, "/sim/reset") == 0)
                return reset(server, out_body);
        if (!call->get && strcmp(call->url, "/sim/faults") == 0)
                return replace_faults(call, out_body);
        sim_error_append(out_body,
                         "there are GET /sim/stats, GET /sim/calls, POST /sim/reset and POST /sim/faults",
                         "invalid_request_error", NULL, NULL);
        return 404;
}
