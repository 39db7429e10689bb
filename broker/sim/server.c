/*
 * libmicrohttpd (0.9.75) without a thread of its own: we wait on its epoll descriptor and call MHD_run(). A
 * call that must wait suspends its connection; a heap of times, by slot, says when to resume it.
 *
 * Resuming anything makes the daemon look through all suspended connections once per run (daemon.c,
 * resume_suspended_connections), so with many of them timers fire in steps of TICK_NS.
 */
#include "broker/sim/server.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/sim/exchange.h"
#include "broker/sim/server_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG          4096
#define CONNECTION_MEMORY_BYTES ((size_t)8192) /* request and response headers, and a window of the body */
#define TICK_NS                 NS_PER_MS
#define TICK_FROM_SUSPENDED     256
#define WAIT_MAX_MS             1000

void sim_server_options_init(struct sim_server_options *options) {
        *options = (struct sim_server_options){
                .settings = {.reply_tokens = {SIM_SHAPE_FIXED, 32, 0},
                             .dimensions = 1536,
                             .retry_after_ns = NS_PER_S},
                .slow_body_bytes_per_s = 10,
                .connections_max = 16000,
                .body_bytes_max = (size_t)64 << 20,
        };
}

/* ---- slots and timers ---- */

struct sim_call *sim_server_take_call(struct sim_server *server) {
        struct sim_call *call;
        uint32_t slot;

        if (server->slots_free_count == 0 && server->slots_used == server->slots_max)
                return NULL;
        slot = server->slots_free_count > 0 ? server->slots_free[--server->slots_free_count]
                                            : (uint32_t)server->slots_used++;
        call = server->calls[slot];
        if (call == NULL)
                call = server->calls[slot] = malloc(sizeof(*call));
        if (call == NULL) {
                server->slots_free[server->slots_free_count++] = slot;
                return NULL;
        }
        *call = (struct sim_call){.server = server, .slot = slot, .epoch = server->epoch};
        return call;
}

void sim_server_give_call(struct sim_server *server, struct sim_call *call) {
        heap_remove(&server->timers, call->slot);
        server->slots_free[server->slots_free_count++] = call->slot;
}

void sim_server_suspend(struct sim_server *server, struct sim_call *call, int64_t until_ns) {
        heap_set(&server->timers, call->slot, until_ns);
        MHD_suspend_connection(call->connection);
}

static void fire_timers(struct sim_server *server, int64_t now_ns) {
        struct heap_entry due;

        while (heap_peek(&server->timers, &due) && due.when <= now_ns) {
                heap_remove(&server->timers, due.id);
                sim_exchange_timer(server->calls[due.id]);
        }
}

/* ---- what the daemon calls ---- */

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_bytes, void **call) {
        (void)version;
        return sim_exchange_step(cls, connection, url, method, data, data_bytes, call) ? MHD_YES : MHD_NO;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **call,
                         enum MHD_RequestTerminationCode how) {
        (void)cls, (void)connection;
        if (*call != NULL)
                sim_exchange_end(*call, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
        *call = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what) {
        struct sim_server *server = cls;

        (void)connection, (void)socket_context;
        if (what == MHD_CONNECTION_NOTIFY_STARTED) {
                server->stats.connections_accepted++;
                server->stats.connections_open++;
        } else {
                server->stats.connections_open--;
        }
}

/* ---- opening ---- */

static struct error *listen_at(const struct sim_server_options *options, int *out_fd, uint16_t *out_port) {
        const char *address = options->address == NULL ? "127.0.0.1" : options->address;
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(options->port)};
        socklen_t name_bytes = sizeof(name);
        struct error *error = NULL;
        int fd, one = 1;

        if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
                return error_new(ERROR_USAGE, "\"%s\" is no IPv4 address", address);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_errno(errno, "cannot make a socket");
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0 || listen(fd, LISTEN_BACKLOG) != 0)
                error = errno == EADDRINUSE
                                ? error_new(ERROR_BUSY, "port %u of %s is in use", options->port, address)
                                : error_errno(errno, "cannot listen on port %u of %s", options->port,
                                              address);
        else if (getsockname(fd, (struct sockaddr *)&name, &name_bytes) != 0)
                error = error_errno(errno, "cannot learn the port");
        if (error != NULL) {
                (void)close(fd);
                return error;
        }
        *out_fd = fd;
        *out_port = ntohs(name.sin_port);
        return NULL;
}

static struct error *start_daemon(struct sim_server *server) {
        const struct sim_server_options *options = &server->options;
        bool tls = options->tls_certificate != NULL;
        unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | (tls ? MHD_USE_TLS : 0u);
        struct MHD_OptionItem items[3] = {{MHD_OPTION_END, 0, NULL}};
        const union MHD_DaemonInfo *info;
        struct error *error;
        int fd = -1;

        /* The struct takes pointers to bytes that the daemon only reads. */
        if (tls) {
                items[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0,
                                                   (void *)(uintptr_t)options->tls_certificate};
                items[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0,
                                                   (void *)(uintptr_t)options->tls_key};
                items[2] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
        }
        error = listen_at(options, &fd, &server->port);
        if (error != NULL)
                return error;
        server->daemon = MHD_start_daemon(
                flags, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, fd,
                MHD_OPTION_CONNECTION_LIMIT, options->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                CONNECTION_MEMORY_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
        if (server->daemon == NULL) {
                (void)close(fd);
                return error_new(ERROR_INPUT,
                                 tls ? "the HTTPS server does not start: is the certificate with its key "
                                       "in PEM format?"
                                     : "the HTTP server does not start");
        }
        info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        CHECK(info != NULL);
        server->epoll_fd = info->epoll_fd;
        return NULL;
}

struct error *sim_server_open(const struct sim_server_options *options, struct sim_faults *faults,
                              struct sim_server **out_server) {
        struct sim_server *server = calloc(1, sizeof(*server));
        struct error *error;

        if (server == NULL)
                return error_new(ERROR_MEMORY, "no memory for the simulator");
        server->options = *options;
        server->slots_max = options->connections_max;
        server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        server->calls = calloc(server->slots_max, sizeof(struct sim_call *));
        server->slots_free = calloc(server->slots_max, sizeof(*server->slots_free));
        sim_limits_init(&server->limits, options->limits);
        if (server->stop_fd < 0 || server->calls == NULL || server->slots_free == NULL ||
            !heap_init(&server->timers, server->slots_max) || !sim_identities_init(&server->identities)) {
                sim_server_close(server);
                return error_new(ERROR_MEMORY, "no memory for the simulator");
        }
        error = start_daemon(server);
        if (error != NULL) {
                sim_server_close(server);
                return error;
        }
        server->faults = *faults;
        sim_faults_init(faults);
        *out_server = server;
        return NULL;
}

uint16_t sim_server_port(const struct sim_server *server) {
        return server->port;
}

/* ---- running ---- */

/* When timers are to be looked at next: INT64_MAX is never. */
static int64_t next_timer_ns(const struct sim_server *server, int64_t fired_ns) {
        struct heap_entry next;

        if (!heap_peek(&server->timers, &next))
                return INT64_MAX;
        if (server->timers.count >= TICK_FROM_SUSPENDED && next.when < fired_ns + TICK_NS)
                return fired_ns + TICK_NS;
        return next.when;
}

static int wait_ms(const struct sim_server *server, int64_t timer_ns, int64_t now_ns) {
        MHD_UNSIGNED_LONG_LONG daemon_ms;
        int64_t ms = WAIT_MAX_MS;

        if (MHD_get_timeout(server->daemon, &daemon_ms) == MHD_YES && daemon_ms < WAIT_MAX_MS)
                ms = (int64_t)daemon_ms;
        if (timer_ns <= now_ns)
                return 0;
        if (timer_ns - now_ns < ms * NS_PER_MS)
                ms = (timer_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
        return (int)ms;
}

struct error *sim_server_run(struct sim_server *server) {
        struct pollfd fds[2] = {{.fd = server->epoll_fd, .events = POLLIN},
                                {.fd = server->stop_fd, .events = POLLIN}};
        int64_t now_ns = clock_now_ns(), fired_ns = 0;

        for (;;) {
                int64_t timer_ns = next_timer_ns(server, fired_ns);

                if (poll(fds, 2, wait_ms(server, timer_ns, now_ns)) < 0 && errno != EINTR)
                        return error_errno(errno, "cannot wait for requests");
                if ((fds[1].revents & POLLIN) != 0)
                        return NULL;
                now_ns = clock_now_ns();
                if (timer_ns <= now_ns) {
                        fire_timers(server, now_ns);
                        fired_ns = now_ns;
                }
                if (MHD_run(server->daemon) != MHD_YES)
                        return error_new(ERROR_NETWORK, "the HTTP server stopped");
        }
}

void sim_server_stop(struct sim_server *server) {
        uint64_t one = 1;
        ssize_t written = write(server->stop_fd, &one, sizeof(one));

        (void)written;
}

/* The daemon may not be stopped while a connection is suspended. */
static void abort_suspended(struct sim_server *server) {
        struct heap_entry next;

        server->stopping = true;
        while (heap_pop(&server->timers, &next)) {
                server->calls[next.id]->state = SIM_CALL_ABORTED;
                MHD_resume_connection(server->calls[next.id]->connection);
        }
        (void)MHD_run(server->daemon);
}

struct sim_server *sim_server_close(struct sim_server *server) {
        if (server == NULL)
                return NULL;
        if (server->daemon != NULL) {
                abort_suspended(server);
                MHD_stop_daemon(server->daemon);
        }
        for (size_t i = 0; server->calls != NULL && i < server->slots_used; i++)
                free(server->calls[i]);
        free(server->calls);
        free(server->slots_free);
        heap_deinit(&server->timers);
        sim_identities_deinit(&server->identities);
        sim_faults_deinit(&server->faults);
        if (server->stop_fd >= 0)
                (void)close(server->stop_fd);
        free(server);
        return NULL;
}
