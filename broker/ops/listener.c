/*
 * libmicrohttpd (0.9.75) with its internal thread and epoll. What it leaves to us:
 *  - its thread would take signals that are meant for others: all are blocked while it is started;
 *  - it does not tell "port in use" from other failures: the socket is made here;
 *  - MHD_stop_daemon() closes that socket; a MHD_start_daemon() that fails closes it or not, depending on how
 *    far it came (daemon.c). Then it stays open: closing it twice could close another thread's file;
 *  - a request with a body is answered before its body, after which the daemon closes the connection.
 */
#include "broker/ops/listener.h"

#include "broker/ops/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { URL_BYTES = 128, PORT_BYTES = 8 };

struct listener {
        struct MHD_Daemon *daemon;
        struct metrics *metrics;
        uint16_t port;
        char url[URL_BYTES];
};

/* ---- pages ---- */

struct page {
        unsigned status;
        const char *content_type;
        struct buffer body;
};

#define TEXT_PLAIN "text/plain; charset=utf-8"

static void make_metrics(struct listener *listener, const char *accept, struct page *page) {
        enum exposition_format format = exposition_negotiate(accept);
        struct process_metrics process;
        process_read(&process);
        page->content_type = exposition_content_type(format);
        metrics_expose(listener->metrics, format, clock_now_ns(), &process, &page->body);
}

static void make_healthz(struct listener *listener, const char *accept, struct page *page) {
        (void)accept;
        if (!metrics_healthy(listener->metrics, clock_now_ns(), &page->body))
                page->status = MHD_HTTP_SERVICE_UNAVAILABLE;
}

static void make_readyz(struct listener *listener, const char *accept, struct page *page) {
        (void)accept;
        if (!metrics_ready(listener->metrics, clock_now_ns(), &page->body))
                page->status = MHD_HTTP_SERVICE_UNAVAILABLE;
}

static const struct {
        const char *path;
        void (*make)(struct listener *listener, const char *accept, struct page *page);
} pages[] = {{"/metrics", make_metrics}, {"/healthz", make_healthz}, {"/readyz", make_readyz}};

static void make_page(struct listener *listener, const char *path, const char *method, const char *accept,
                      struct page *page) {
        *page = (struct page){.status = MHD_HTTP_OK, .content_type = TEXT_PLAIN};
        buffer_init(&page->body, LISTENER_PAGE_BYTES_MAX);
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
                page->status = MHD_HTTP_METHOD_NOT_ALLOWED;
                buffer_append_string(&page->body, "only GET and HEAD\n");
                return;
        }
        for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
                if (strcmp(path, pages[i].path) == 0) {
                        pages[i].make(listener, accept, page);
                        return;
                }
        page->status = MHD_HTTP_NOT_FOUND;
        buffer_append_string(&page->body, "there is nothing here; try /metrics, /healthz or /readyz\n");
}

/* A page that could not be made whole is not sent. */
static void mend_page(struct page *page) {
        if (!page->body.failed)
                return;
        page->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        page->content_type = TEXT_PLAIN;
        buffer_deinit(&page->body);
        buffer_init(&page->body, LISTENER_PAGE_BYTES_MAX);
        buffer_append_string(&page->body, "no memory for this page, or it is too large\n");
}

/* ---- what the daemon calls ---- */

static enum MHD_Result send_page(struct MHD_Connection *connection, struct page *page) {
        struct MHD_Response *response =
                page->body.failed ? NULL
                                  : MHD_create_response_from_buffer(page->body.size, page->body.data,
                                                                    MHD_RESPMEM_MUST_FREE);
        enum MHD_Result queued;
        if (response == NULL) {
                buffer_deinit(&page->body);
                return MHD_NO;
        }
        buffer_init(&page->body, 0); /* the response owns the memory now */
        (void)MHD_add_response_header(response, "Content-Type", page->content_type);
        (void)MHD_add_response_header(response, "Cache-Control", "no-store");
        (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        if (page->status == MHD_HTTP_METHOD_NOT_ALLOWED)
                (void)MHD_add_response_header(response, "Allow", "GET, HEAD");
        queued = MHD_queue_response(connection, page->status, response);
        MHD_destroy_response(response);
        return queued;
}

static const char *header_of(struct MHD_Connection *connection, const char *name) {
        return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Called with the headers, then with each piece of a body, then once more when all is there. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_bytes, void **request) {
        struct page page;
        const char *length = header_of(connection, "Content-Length");
        bool body = header_of(connection, "Transfer-Encoding") != NULL ||
                    (length != NULL && strcmp(length, "0") != 0);
        (void)version, (void)data, (void)data_bytes;
        if (*request == NULL && !body) {
                *request = cls;
                return MHD_YES;
        }
        make_page(cls, url, method, header_of(connection, "Accept"), &page);
        mend_page(&page);
        return send_page(connection, &page);
}

/* ---- opening ---- */

static struct error *bind_error(int code, const char *address, uint16_t port) {
        switch (code) {
        case EADDRINUSE:
                return error_new(ERROR_BUSY,
                                 "port %u of %s is in use: set listen.port to another one, or to 0 for any "
                                 "that is free",
                                 port, address);
        case EADDRNOTAVAIL:
                return error_new(ERROR_USAGE,
                                 "%s is no address of this machine: set listen.address to 127.0.0.1, or to "
                                 "0.0.0.0 for all that it has",
                                 address);
        case EACCES:
                return error_new(ERROR_USAGE,
                                 "port %u is not for this user: set listen.port to one above 1023", port);
        default:
                return error_errno(code, "cannot listen on port %u of %s", port, address);
        }
}

/* Numbers only: a name could stand for several addresses, and asking for it could take long. */
static struct error *resolve(const struct listener_options *options, struct addrinfo **out_list) {
        const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                       .ai_socktype = SOCK_STREAM,
                                       .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
        const char *address = strcmp(options->address, "localhost") == 0 ? "127.0.0.1" : options->address;
        char port[PORT_BYTES];
        (void)snprintf(port, sizeof(port), "%u", options->port);
        if (getaddrinfo(address, port, &hints, out_list) != 0)
                return error_new(
                        ERROR_USAGE,
                        "\"%s\" is no IP address: set listen.address to 127.0.0.1, or to 0.0.0.0 for "
                        "all that this machine has",
                        options->address);
        return NULL;
}

/* The port that was taken, and the address as it stands in a URL. */
static struct error *learn_name(int fd, struct listener *listener) {
        struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
        socklen_t name_bytes = sizeof(name);
        char host[INET6_ADDRSTRLEN + 32], port[PORT_BYTES];
        if (getsockname(fd, (struct sockaddr *)&name, &name_bytes) != 0)
                return error_errno(errno, "cannot learn the port");
        if (getnameinfo((struct sockaddr *)&name, name_bytes, host, sizeof(host), port, sizeof(port),
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
                return error_new(ERROR_IO, "cannot learn the port");
        listener->port = (uint16_t)strtoul(port, NULL, 10);
        (void)snprintf(listener->url, sizeof(listener->url),
                       name.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", host, port);
        return NULL;
}

static struct error *make_socket(const struct listener_options *options, struct listener *listener,
                                 int *out_fd) {
        struct addrinfo *list;
        struct error *error = resolve(options, &list);
        int fd, one = 1;
        if (error != NULL)
                return error;
        fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
                error = error_errno(errno, "cannot make a socket");
                freeaddrinfo(list);
                return error;
        }
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, LISTENER_CONNECTIONS_MAX) != 0)
                error = bind_error(errno, options->address, options->port);
        else
                error = learn_name(fd, listener);
        freeaddrinfo(list);
        if (error != NULL) {
                (void)close(fd);
                return error;
        }
        *out_fd = fd;
        return NULL;
}

struct error *listener_open(const struct listener_options *options, struct listener **out_listener) {
        struct listener *listener = calloc(1, sizeof(*listener));
        sigset_t all, before;
        struct error *error;
        int fd = -1;
        if (listener == NULL)
                return error_new(ERROR_MEMORY, "no memory for the HTTP endpoint");
        listener->metrics = options->metrics;
        error = make_socket(options, listener, &fd);
        if (error != NULL) {
                free(listener);
                return error;
        }
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        listener->daemon = MHD_start_daemon(
                MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, listener, MHD_OPTION_LISTEN_SOCKET,
                fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)LISTENER_CONNECTIONS_MAX,
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LISTENER_REQUEST_BYTES,
                MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)LISTENER_IDLE_S, MHD_OPTION_END);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (listener->daemon == NULL) {
                free(listener);
                return error_new(ERROR_IO, "the HTTP endpoint does not start");
        }
        *out_listener = listener;
        return NULL;
}

struct listener *listener_close(struct listener *listener) {
        if (listener == NULL)
                return NULL;
        MHD_stop_daemon(listener->daemon);
        free(listener);
        return NULL;
}

uint16_t listener_port(const struct listener *listener) {
        return listener->port;
}

const char *listener_url(const struct listener *listener) {
        return listener->url;
}
