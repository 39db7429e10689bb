#include "broker/sim/send.h"

#include "broker/base/time.h"
#include "broker/sim/headers.h"
#include "broker/sim/server_state.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>

#define READER_BLOCK_BYTES 16384
#define DRIP_INTERVAL_NS   (20 * NS_PER_MS)

static int socket_of(const struct sim_call *call) {
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

        return info == NULL ? -1 : info->connect_fd;
}

void sim_send_reset(struct sim_call *call) {
        struct sockaddr nobody = {.sa_family = AF_UNSPEC};

        /* On Linux this drops the connection with a RST, whatever was or was not read (tcp_disconnect). */
        (void)connect(socket_of(call), &nobody, sizeof(nobody));
}

bool sim_send_client_gone(const struct sim_call *call) {
        char byte;
        ssize_t got = recv(socket_of(call), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

        return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

/* Half of what was promised, then the connection is closed. */
static ssize_t read_half(void *cls, uint64_t at, char *out, size_t out_bytes) {
        struct sim_call *call = cls;
        size_t left = call->slow.size / 2 - (size_t)at;

        if (left == 0)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        left = left < out_bytes ? left : out_bytes;
        memcpy(out, call->slow.data + at, left);
        return (ssize_t)left;
}

/* {"huge":"aaa…"}, as many bytes as promised. */
static ssize_t read_huge(void *cls, uint64_t at, char *out, size_t out_bytes) {
        static const char start[] = "{\"huge\":\"", end[] = "\"}";
        struct sim_call *call = cls;
        uint64_t left = call->slow_bytes - at;
        size_t bytes = left < out_bytes ? (size_t)left : out_bytes;

        memset(out, 'a', bytes);
        for (size_t i = 0; i < bytes && at + i < strlen(start); i++)
                out[i] = start[at + i];
        for (size_t i = 0; i < strlen(end); i++)
                if (call->slow_bytes - strlen(end) + i >= at &&
                    call->slow_bytes - strlen(end) + i < at + bytes)
                        out[call->slow_bytes - strlen(end) + i - at] = end[i];
        return (ssize_t)bytes;
}

/* A few bytes each 20 ms, or one byte at a longer interval when the rate is below 50 a second. */
static ssize_t read_slowly(void *cls, uint64_t at, char *out, size_t out_bytes) {
        struct sim_call *call = cls;
        int64_t rate = call->server->options.slow_body_bytes_per_s, now_ns = clock_now_ns();
        int64_t piece = rate * DRIP_INTERVAL_NS / NS_PER_S;
        size_t left = call->slow.size - (size_t)at;

        if (call->server->stopping)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (now_ns < call->slow_next_ns) {
                call->state = SIM_CALL_DRIPPING;
                sim_server_suspend(call->server, call, call->slow_next_ns);
                return 0;
        }
        piece = piece < 1 ? 1 : piece;
        call->slow_next_ns = now_ns + piece * NS_PER_S / rate;
        left = left < (size_t)piece ? left : (size_t)piece;
        left = left < out_bytes ? left : out_bytes;
        memcpy(out, call->slow.data + at, left);
        return (ssize_t)left;
}

void sim_send_timer(struct sim_call *call) {
        call->state = SIM_CALL_SENDING;
        MHD_resume_connection(call->connection);
}

static struct MHD_Response *response_by_reader(struct sim_call *call, MHD_ContentReaderCallback reader,
                                               uint64_t bytes, struct buffer *body) {
        call->slow = *body;
        call->slow_bytes = bytes;
        buffer_init(body, 0);
        return MHD_create_response_from_callback(bytes, READER_BLOCK_BYTES, reader, call, NULL);
}

static struct MHD_Response *response_of(struct sim_call *call, struct buffer *body) {
        struct MHD_Response *response;

        switch ((int)call->fault.kind) {
        case SIM_FAULT_HALF_BODY:
                return response_by_reader(call, read_half, body->size, body);
        case SIM_FAULT_SLOW_BODY:
                return response_by_reader(call, read_slowly, body->size, body);
        case SIM_FAULT_HUGE_BODY:
                return response_by_reader(call, read_huge,
                                          call->fault.parameter < 16 ? 16 : (uint64_t)call->fault.parameter,
                                          body);
        case SIM_FAULT_TRUNCATED_JSON:
                body->size /= 2;
                break;
        default:
                break;
        }
        if (body->size == 0)
                return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        response = MHD_create_response_from_buffer(body->size, body->data, MHD_RESPMEM_MUST_FREE);
        if (response != NULL)
                buffer_init(body, 0); /* the response owns the memory now */
        return response;
}

bool sim_send(struct sim_call *call, int status, const char *content_type, struct buffer *body,
              const struct sim_headers *headers) {
        struct MHD_Response *response = body->failed ? NULL : response_of(call, body);
        enum MHD_Result queued;

        buffer_deinit(body);
        if (response == NULL)
                return false;
        (void)MHD_add_response_header(response, "Content-Type", content_type);
        for (size_t i = 0; i < headers->count; i++)
                (void)MHD_add_response_header(response, headers->list[i].name, headers->list[i].value);
        call->state = SIM_CALL_SENDING;
        queued = MHD_queue_response(call->connection, (unsigned)status, response);
        MHD_destroy_response(response);
        return queued == MHD_YES;
}
