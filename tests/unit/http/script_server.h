#pragma once
/*
 * A scripted HTTP/1.1 server on a raw socket, for tests: one thread, and the path of a request says how it is
 * treated. Counts what it has seen, so that a test can tell how often a request really arrived. Included by
 * one .c file per test program.
 *
 *   /ok                 200 and {}
 *   /echo               200 and the request's body
 *   /hold               answered when `hold` of them wait, all at once
 *   /never              read, never answered
 *   /stall              status line and headers, half of the body, then silence
 *   /half               half of the announced body, then the end of the connection
 *   /rst                read, then a reset
 *   /trap-rst /trap-fin the first request of a connection is answered; a later one is read wholly, and then
 *                       the connection is reset or ended
 *   /leave              answered, and then the connection ends without notice
 *   /big /big-length    64 KB in chunks; a Content-Length of 1 GB
 *   /headers            100 Continue with a header, then 200 with many
 *   /flood              headers without end
 *   /STATUS             that status, for three digits; /302 with Location: `location`
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SERVER_CONNECTIONS_MAX = 512, SERVER_REQUEST_MAX = 1 << 20 };

struct server_connection {
        int fd;
        char *data;
        size_t size;
        uint32_t requests;
        bool held, silent;
};

struct server {
        int listener, stop_fds[2];
        int port;
        pthread_t thread;
        struct server_connection connections[SERVER_CONNECTIONS_MAX];
        uint32_t connections_count;
        atomic_uint hold, accepted, requests, ended;
        atomic_bool reset_on_accept;
        char location[256];
        char last_head[4096];
};

static void server_send(struct server_connection *connection, const char *data, size_t size) {
        while (size > 0) {
                ssize_t sent = send(connection->fd, data, size, MSG_NOSIGNAL);
                if (sent <= 0)
                        return;
                data += sent;
                size -= (size_t)sent;
        }
}

static void server_text(struct server_connection *connection, const char *text) {
        server_send(connection, text, strlen(text));
}

static void server_answer(struct server_connection *connection, int status, const char *more,
                          const char *body, size_t size) {
        char head[1024];
        snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", status, size, more);
        server_text(connection, head);
        server_send(connection, body, size);
}

static void server_end(struct server *server, struct server_connection *connection, bool reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        if (reset)
                setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(connection->fd);
        free(connection->data);
        *connection = server->connections[--server->connections_count];
        atomic_fetch_add(&server->ended, 1);
}

static void server_release(struct server *server) {
        uint32_t held = 0;
        for (uint32_t i = 0; i < server->connections_count; i++)
                held += server->connections[i].held;
        if (held < server->hold)
                return;
        for (uint32_t i = 0; i < server->connections_count; i++) {
                if (server->connections[i].held)
                        server_answer(&server->connections[i], 200, "", "{}", 2);
                server->connections[i].held = false;
        }
}

static void server_many_headers(struct server_connection *connection) {
        server_text(connection, "HTTP/1.1 100 Continue\r\nX-Request-Id: early\r\n\r\n");
        server_answer(connection, 200,
                      "X-Request-ID: late\r\nretry-AFTER: 7\r\nX-RateLimit-Remaining-Tokens: 5\r\n"
                      "anthropic-ratelimit-x: 1\r\nSet-Cookie: no\r\nServer: no\r\nContent-Type: "
                      "application/json\r\n",
                      "{}", 2);
}

static void server_big(struct server_connection *connection) {
        static char chunk[4096];
        memset(chunk, 'x', sizeof chunk);
        server_text(connection, "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 16; i++) {
                server_text(connection, "1000\r\n");
                server_send(connection, chunk, sizeof chunk);
                server_text(connection, "\r\n");
        }
        server_text(connection, "0\r\n\r\n");
}

static void server_flood(struct server_connection *connection) {
        static char line[2048];
        memset(line, 'x', sizeof line);
        memcpy(line, "X-Flood: ", 9);
        memcpy(line + sizeof line - 2, "\r\n", 2);
        server_text(connection, "HTTP/1.1 200 X\r\n");
        for (int i = 0; i < 512; i++)
                server_send(connection, line, sizeof line);
}

/* True: the connection goes on. */
static bool server_treat(struct server *server, struct server_connection *connection, const char *path,
                         const char *body, size_t size) {
        char location[512];
        int status = path[0] == '/' ? atoi(path + 1) : 0;
        if (strcmp(path, "/ok") == 0) {
                server_answer(connection, 200, "Content-Type: application/json\r\n", "{}", 2);
        } else if (strncmp(path, "/echo", 5) == 0) {
                server_answer(connection, 200, "Content-Type: audio/x-test; q=1\r\n", body, size);
        } else if (strcmp(path, "/hold") == 0) {
                connection->held = true;
                server_release(server);
        } else if (strcmp(path, "/never") == 0) {
                connection->silent = true;
        } else if (strcmp(path, "/stall") == 0) {
                server_text(connection, "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf");
        } else if (strcmp(path, "/half") == 0) {
                server_text(connection, "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf");
                return server_end(server, connection, false), false;
        } else if (strcmp(path, "/rst") == 0) {
                return server_end(server, connection, true), false;
        } else if (strncmp(path, "/trap-", 6) == 0 && connection->requests > 1) {
                return server_end(server, connection, strcmp(path, "/trap-rst") == 0), false;
        } else if (strncmp(path, "/trap-", 6) == 0) {
                server_answer(connection, 200, "", "{}", 2);
        } else if (strcmp(path, "/leave") == 0) {
                server_answer(connection, 200, "", "{}", 2);
                return server_end(server, connection, false), false;
        } else if (strcmp(path, "/headers") == 0) {
                server_many_headers(connection);
        } else if (strcmp(path, "/big") == 0) {
                server_big(connection);
        } else if (strcmp(path, "/big-length") == 0) {
                server_text(connection, "HTTP/1.1 200 X\r\nContent-Length: 1000000000\r\n\r\nx");
        } else if (strcmp(path, "/flood") == 0) {
                server_flood(connection);
        } else if (status >= 100 && status <= 999) {
                snprintf(location, sizeof location, "Location: %s\r\n", server->location);
                server_answer(connection, status, status / 100 == 3 ? location : "", "{}",
                              status == 204 ? 0 : 2);
        } else {
                server_answer(connection, 404, "", "{}", 2);
        }
        return true;
}

/* Treats one whole request when there is one. False: the connection is gone, or there is none yet. */
static bool server_request(struct server *server, struct server_connection *connection) {
        char *end = memmem(connection->data, connection->size, "\r\n\r\n", 4);
        if (end == NULL)
                return false;
        size_t head = (size_t)(end - connection->data) + 4, body = 0;
        *end = '\0';
        const char *length = strcasestr(connection->data, "\r\nContent-Length:");
        if (length != NULL)
                body = strtoull(length + 17, NULL, 10);
        *end = '\r';
        if (connection->size < head + body)
                return false;
        char path[512] = "";
        if (sscanf(connection->data, "%*s %511s", path) != 1)
                path[0] = '\0';
        snprintf(server->last_head, sizeof server->last_head, "%.*s", (int)(head < 4000 ? head : 4000),
                 connection->data);
        connection->requests++;
        atomic_fetch_add(&server->requests, 1);
        if (!server_treat(server, connection, path, connection->data + head, body))
                return false;
        connection->size -= head + body;
        memmove(connection->data, connection->data + head + body, connection->size);
        return true;
}

static void server_readable(struct server *server, struct server_connection *connection) {
        ssize_t got = recv(connection->fd, connection->data + connection->size,
                           SERVER_REQUEST_MAX - connection->size, 0);
        if (got <= 0) {
                server_end(server, connection, false);
                return;
        }
        connection->size += (size_t)got;
        while (server_request(server, connection))
                ;
}

static void server_accept(struct server *server) {
        int fd = accept(server->listener, NULL, NULL);
        if (fd < 0)
                return;
        atomic_fetch_add(&server->accepted, 1);
        struct server_connection *connection = &server->connections[server->connections_count++];
        *connection = (struct server_connection){.fd = fd, .data = malloc(SERVER_REQUEST_MAX + 1)};
        if (server->reset_on_accept || server->connections_count == SERVER_CONNECTIONS_MAX)
                server_end(server, connection, true);
}

static void *server_main(void *userdata) {
        struct server *server = userdata;
        static struct pollfd polls[SERVER_CONNECTIONS_MAX + 2];
        for (;;) {
                polls[0] = (struct pollfd){.fd = server->stop_fds[0], .events = POLLIN};
                polls[1] = (struct pollfd){.fd = server->listener, .events = POLLIN};
                uint32_t count = server->connections_count;
                for (uint32_t i = 0; i < count; i++)
                        polls[i + 2] = (struct pollfd){.fd = server->connections[i].fd, .events = POLLIN};
                poll(polls, count + 2, -1);
                if (polls[0].revents)
                        return NULL;
                /* From the end: one that goes is replaced by the last, which was treated before. */
                for (uint32_t i = count; i-- > 0;)
                        if (polls[i + 2].revents)
                                server_readable(server, &server->connections[i]);
                if (polls[1].revents)
                        server_accept(server);
        }
}

static struct server *server_start(void) {
        struct server *server = calloc(1, sizeof *server);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(server->listener, (struct sockaddr *)&address, size) != 0 ||
            listen(server->listener, SERVER_CONNECTIONS_MAX) != 0 || pipe(server->stop_fds) != 0 ||
            getsockname(server->listener, (struct sockaddr *)&address, &size) != 0)
                abort();
        server->port = ntohs(address.sin_port);
        if (pthread_create(&server->thread, NULL, server_main, server) != 0)
                abort();
        return server;
}

static void server_stop(struct server *server) {
        if (write(server->stop_fds[1], "", 1) != 1)
                abort();
        pthread_join(server->thread, NULL);
        while (server->connections_count > 0)
                server_end(server, &server->connections[0], false);
        close(server->listener);
        close(server->stop_fds[0]);
        close(server->stop_fds[1]);
        free(server);
}
