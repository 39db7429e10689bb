#include "broker/sim/exchange.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/sim/answer_error.h"
#include "broker/sim/answers.h"
#include "broker/sim/bomb.h"
#include "broker/sim/control.h"
#include "broker/sim/hash.h"
#include "broker/sim/headers.h"
#include "broker/sim/send.h"
#include "broker/sim/server_state.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <string.h>

#define CONTROL_BODY_BYTES_MAX ((size_t)1 << 32)
#define FORM_PARSER_BYTES      1024
#define HANG_LOOK_NS           NS_PER_S
#define STATUS_TIMEOUT         408

static uint64_t draw_seed(const struct sim_call *call, uint32_t seen) {
        return sim_hash_mix(sim_hash_mix(call->server->options.settings.seed, call->identity.hi),
                            call->identity.lo ^ seen);
}

static double draw_of(const struct sim_call *call, uint32_t seen) {
        return (double)(draw_seed(call, seen) >> 11) * 0x1.0p-53;
}

static const char *header_of(const struct sim_call *call, const char *name) {
        return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

/* ---- reading ---- */

static enum MHD_Result form_piece(void *cls, enum MHD_ValueKind kind, const char *name, const char *filename,
                                  const char *content_type, const char *encoding, const char *data,
                                  uint64_t at, size_t size) {
        struct sim_call *call = cls;

        (void)kind, (void)content_type, (void)encoding;
        if (name != NULL)
                sim_form_add(&call->request.form, name, filename != NULL, at == 0,
                             (struct bytes){data, size});
        return MHD_YES;
}

/* With a job named, the reset comes before the body is read; else the body must be read to know who asks. */
static bool is_reset_early(struct sim_call *call) {
        struct sim_server *server = call->server;
        uint32_t seen = sim_identities_seen(&server->identities, call->identity);

        if (sim_faults_pick_rate(&server->faults, draw_of(call, seen)).kind != SIM_FAULT_RESET_BEFORE)
                return false;
        (void)sim_identities_see(&server->identities, call->identity, call->job);
        server->stats.requests++;
        server->stats.endpoints[call->request.endpoint]++;
        server->stats.faults[SIM_FAULT_RESET_BEFORE]++;
        return true;
}

static bool begin(struct sim_server *server, struct MHD_Connection *connection, const char *url,
                  const char *method, void **out_call) {
        struct sim_call *call = sim_server_take_call(server);
        struct bytes deployment;
        enum sim_endpoint endpoint;

        if (call == NULL)
                return false;
        *out_call = call;
        call->connection = connection;
        call->url = url;
        call->get = strcmp(method, "GET") == 0;
        call->control = strncmp(url, "/sim/", strlen("/sim/")) == 0;
        endpoint = sim_endpoint_of(url, &deployment);
        call->refused = endpoint == SIM_ENDPOINTS || (!call->get && strcmp(method, "POST") != 0) ||
                        call->get != (sim_endpoint_body(endpoint) == SIM_BODY_NONE);
        sim_request_init(&call->request, endpoint,
                         call->control ? CONTROL_BODY_BYTES_MAX : server->options.body_bytes_max);
        call->request.deployment = deployment;
        if (call->control || call->refused)
                return true;
        call->job = bytes_of(header_of(call, "x-batchferry-job"));
        if (call->job.size > 0) {
                call->identity = sim_hash_of(1, call->job);
                if (is_reset_early(call)) {
                        sim_send_reset(call);
                        return false;
                }
        }
        /* NULL where the content type is that of no form: the body is kept, then */
        if (sim_endpoint_body(endpoint) == SIM_BODY_FORM || sim_endpoint_body(endpoint) == SIM_BODY_EITHER)
                call->form_parser =
                        MHD_create_post_processor(connection, FORM_PARSER_BYTES, form_piece, call);
        return true;
}

static void read_piece(struct sim_call *call, struct bytes piece) {
        if (call->form_parser != NULL)
                (void)MHD_post_process(call->form_parser, piece.data, piece.size);
        else if (!call->refused || call->control)
                buffer_append_bytes(&call->request.body, piece);
}

/* ---- answering ---- */

static void add_window_headers(struct sim_server *server, struct sim_window *window,
                               const char *const names[3], struct sim_headers *headers) {
        int64_t now_ns = clock_now_ns(), reset_ns = sim_limits_reset_ns(&server->limits, window, now_ns);
        struct buffer text;

        if (window->limit <= 0)
                return;
        buffer_init(&text, SIM_HEADER_VALUE_BYTES);
        duration_append(&text, (reset_ns + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS);
        sim_headers_add(headers, names[0], "%" PRId64, window->limit);
        sim_headers_add(headers, names[1], "%" PRId64, sim_limits_remaining(&server->limits, window, now_ns));
        sim_headers_add(headers, names[2], "%.*s", (int)text.size, text.data);
        buffer_deinit(&text);
}

static void add_common_headers(struct sim_call *call, struct sim_headers *headers) {
        static const char *const requests[] = {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
                                               "x-ratelimit-reset-requests"};
        static const char *const tokens[] = {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
                                             "x-ratelimit-reset-tokens"};
        struct sim_server *server = call->server;

        sim_headers_add(headers, "x-request-id", "req_%016" PRIx64,
                        sim_hash_mix(server->options.settings.seed ^ 0x5eed, ++server->answers));
        sim_headers_add(headers, "openai-processing-ms", "%" PRId64,
                        (clock_now_ns() - call->received_ns) / NS_PER_MS);
        if (sim_limits_active(&server->limits)) {
                add_window_headers(server, &server->limits.requests, requests, headers);
                add_window_headers(server, &server->limits.tokens, tokens, headers);
        }
}

static bool send_counted(struct sim_call *call, int status, const char *content_type, struct buffer *body,
                         struct sim_headers *headers) {
        add_common_headers(call, headers);
        call->server->stats.statuses[status]++;
        return sim_send(call, status, content_type, body, headers);
}

static bool send_problem(struct sim_call *call, struct sim_problem problem) {
        struct sim_headers headers = {0};
        struct buffer body;

        buffer_init(&body, 4096);
        sim_error_append(&body, problem.message, "invalid_request_error", problem.param, problem.code);
        return send_counted(call, problem.status, "application/json", &body, &headers);
}

static void count_executed(struct sim_call *call, const struct sim_answer *answer) {
        struct sim_stats *stats = &call->server->stats;

        if (call->epoch != call->server->epoch)
                return;
        stats->executed++;
        stats->prompt_tokens += answer->prompt_tokens;
        stats->completion_tokens += answer->completion_tokens;
        stats->prompt_audio_tokens += answer->prompt_audio_tokens;
        stats->completion_audio_tokens += answer->completion_audio_tokens;
        stats->tiered += answer->tier != NULL;
        stats->cost_picousd = money_add(stats->cost_picousd, answer->cost_picousd);
        sim_identities_executed(&call->server->identities, call->identity);
}

static bool send_answer(struct sim_call *call) {
        struct sim_order order = {&call->server->options.settings, &call->request, call->fault};
        struct sim_headers headers = {0};
        struct sim_answer answer;

        sim_answer_init(&answer);
        sim_answer_make(&order, &answer);
        count_executed(call, &answer);
        if (call->state == SIM_CALL_DUE && sim_send_client_gone(call)) {
                call->server->stats.clients_gone++;
                sim_answer_deinit(&answer);
                return false;
        }
        if (call->fault.kind == SIM_FAULT_RESET_AFTER) {
                sim_send_reset(call);
                sim_answer_deinit(&answer);
                return false;
        }
        if (call->fault.kind == SIM_FAULT_GZIP_BOMB) {
                buffer_clear(&answer.body);
                sim_bomb_append((uint64_t)call->fault.parameter, &answer.body);
                sim_headers_add(&headers, "Content-Encoding", "gzip");
        }
        call->whole = sim_fault_meaning(call->fault.kind) == SIM_FAULT_TWISTED;
        return send_counted(call, 200, answer.content_type, &answer.body, &headers);
}

static bool send_fault(struct sim_call *call) {
        struct sim_headers headers = {0};
        struct buffer body;
        const char *content_type;

        if (call->fault.kind == SIM_FAULT_RESET_BEFORE) {
                sim_send_reset(call);
                return false;
        }
        buffer_init(&body, 65536);
        content_type = sim_error_fault(call->fault, call->server->options.settings.retry_after_ns,
                                       clock_now_unix_ms(), &body, &headers);
        return send_counted(call, sim_fault_status(call->fault.kind), content_type, &body, &headers);
}

static bool respond(struct sim_call *call) {
        switch (sim_fault_meaning(call->fault.kind)) {
        case SIM_FAULT_REFUSED:
        case SIM_FAULT_JUNK:
                return send_fault(call);
        case SIM_FAULT_SPOILED:
        case SIM_FAULT_TWISTED:
                break;
        }
        return send_answer(call);
}

/* ---- deciding ---- */

static bool is_authorized(const struct sim_call *call) {
        const char *wanted = call->server->options.require_key, *bearer = header_of(call, "Authorization");
        const char *key = header_of(call, "api-key");

        if (wanted == NULL || (key != NULL && strcmp(key, wanted) == 0))
                return true;
        return bearer != NULL && strncmp(bearer, "Bearer ", strlen("Bearer ")) == 0 &&
               strcmp(bearer + strlen("Bearer "), wanted) == 0;
}

static bool send_limit(struct sim_call *call, enum sim_verdict verdict, int64_t wait_ns) {
        struct sim_headers headers = {0};
        struct buffer body;

        buffer_init(&body, 4096);
        sim_error_limit(verdict, &call->server->options.limits, wait_ns, &body, &headers);
        return send_counted(call, 429, "application/json", &body, &headers);
}

/* What the request is charged at the door: its estimate or its largest output, as OpenAI does. */
static int64_t tokens_at_admission(const struct sim_request *request) {
        return request->prompt_tokens > request->output_max ? request->prompt_tokens : request->output_max;
}

static bool pick_fault(struct sim_call *call, uint32_t *out_seen) {
        struct sim_server *server = call->server;
        struct sim_identity *identity = sim_identities_see(&server->identities, call->identity, call->job);
        struct sim_fault_subject subject;

        if (identity == NULL)
                return false;
        subject = (struct sim_fault_subject){
                .identity = call->identity,
                .seen = identity->seen - 1,
                .job = call->job,
                .body = buffer_view(&call->request.body),
                .draw = draw_of(call, identity->seen - 1),
        };
        call->fault = sim_faults_pick(&server->faults, &subject);
        server->stats.faults[call->fault.kind] += call->fault.kind != SIM_FAULT_NONE;
        *out_seen = subject.seen;
        return true;
}

static bool is_refused_at_once(struct sim_fault fault) {
        int status = sim_fault_status(fault.kind);

        return fault.kind == SIM_FAULT_RESET_BEFORE ||
               (status >= 400 && status < 500 && status != STATUS_TIMEOUT);
}

static bool answer_in_time(struct sim_call *call, uint32_t seen) {
        struct sim_server *server = call->server;
        struct prng prng;
        int64_t latency_ns;

        if (call->fault.kind == SIM_FAULT_HANG) {
                call->state = SIM_CALL_HANGING;
                sim_server_suspend(server, call, call->received_ns + HANG_LOOK_NS);
                return true;
        }
        prng_init(&prng, draw_seed(call, seen) ^ UINT64_C(0x1a7e9c4));
        latency_ns = (int64_t)sim_distribution_draw(&server->options.latency, &prng);
        if (latency_ns == 0 || is_refused_at_once(call->fault))
                return respond(call);
        call->state = SIM_CALL_WAITING;
        sim_server_suspend(server, call, call->received_ns + latency_ns);
        return true;
}

static bool send_control(struct sim_call *call) {
        struct sim_headers headers = {0};
        struct buffer body;
        int status;

        buffer_init(&body, CONTROL_BODY_BYTES_MAX);
        status = sim_control(call, &body);
        return sim_send(call, status, "application/json", &body, &headers);
}

static bool decide(struct sim_call *call) {
        static const struct sim_problem no_key = {401, "invalid_api_key", NULL,
                                                  "Incorrect API key provided."};
        static const struct sim_problem no_path = {404, "unknown_url", NULL, "Invalid URL or method."};
        struct sim_server *server = call->server;
        struct sim_problem problem;
        enum sim_verdict verdict;
        uint32_t seen = 0;
        int64_t wait_ns = 0;

        call->received_ns = clock_now_ns();
        if (call->control)
                return send_control(call);
        server->stats.requests++;
        server->stats.endpoints[call->request.endpoint]++;
        call->in_flight = true;
        sim_stats_begin(&server->stats);
        if (call->refused)
                return send_problem(call, no_path);
        problem = sim_request_read(&call->request);
        if (call->job.size == 0)
                call->identity = call->request.content;
        if (!is_authorized(call))
                return send_problem(call, no_key);
        if (problem.message != NULL)
                return send_problem(call, problem);
        if (call->request.endpoint != SIM_ENDPOINT_MODELS) {
                verdict = sim_limits_admit(&server->limits, call->received_ns,
                                           tokens_at_admission(&call->request), &wait_ns);
                if (verdict != SIM_VERDICT_ADMITTED)
                        return send_limit(call, verdict, wait_ns);
                call->admitted = true;
                if (!pick_fault(call, &seen))
                        return false;
        }
        return answer_in_time(call, seen);
}

/* ---- what the server calls ---- */

bool sim_exchange_step(struct sim_server *server, struct MHD_Connection *connection, const char *url,
                       const char *method, const char *data, size_t *data_bytes, void **call_place) {
        struct sim_call *call = *call_place;

        if (server->stopping)
                return false;
        if (call == NULL)
                return begin(server, connection, url, method, call_place);
        switch (call->state) {
        case SIM_CALL_READING:
                if (*data_bytes == 0)
                        return decide(call);
                read_piece(call, (struct bytes){data, *data_bytes});
                *data_bytes = 0;
                return true;
        case SIM_CALL_DUE:
                return respond(call);
        case SIM_CALL_ABORTED:
                return false;
        case SIM_CALL_WAITING:
        case SIM_CALL_HANGING:
        case SIM_CALL_SENDING:
        case SIM_CALL_DRIPPING:
                break;
        }
        return true;
}

void sim_exchange_timer(struct sim_call *call) {
        if (call->state == SIM_CALL_DRIPPING) {
                sim_send_timer(call);
                return;
        }
        if (call->state == SIM_CALL_HANGING && !sim_send_client_gone(call)) {
                heap_set(&call->server->timers, call->slot, clock_now_ns() + HANG_LOOK_NS);
                return;
        }
        call->server->stats.clients_gone += call->state == SIM_CALL_HANGING;
        call->state = call->state == SIM_CALL_WAITING ? SIM_CALL_DUE : SIM_CALL_ABORTED;
        MHD_resume_connection(call->connection);
}

void sim_exchange_end(struct sim_call *call, bool sent) {
        struct sim_server *server = call->server;

        if (sent && call->whole && call->epoch == server->epoch) {
                server->stats.answered++;
                sim_identities_answered(&server->identities, call->identity);
        }
        if (call->in_flight)
                sim_stats_end(&server->stats);
        if (call->admitted)
                sim_limits_finish(&server->limits);
        if (call->form_parser != NULL)
                MHD_destroy_post_processor(call->form_parser);
        sim_request_deinit(&call->request);
        buffer_deinit(&call->slow);
        sim_server_give_call(server, call);
}
