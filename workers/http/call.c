#include "workers/http/call.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/time.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
        /* libcurl allocates it per transfer; with 16 KB jemalloc makes two pages more of it resident */
        RECEIVE_BYTES = 12 * 1024,
        RECEIVE_WIDE_BYTES = 64 * 1024,
        UPLOAD_BYTES =
                16 * 1024, /* libcurl's minimum; its default of 64 KB is allocated for each TLS request */
        UPLOAD_WIDE_BYTES = 128 * 1024,
        BODY_WIDE_BYTES = 64 * 1024,   /* requests from here on get the wide buffers */
        HEADERS_RESERVE = 1023,        /* what is kept of most answers */
        BODY_RESERVE_MAX = 256 * 1024, /* what a Content-Length alone makes us allocate */
        CONNECTION_LIFE_S = 900,       /* certificates are looked at when connecting only */
        CONNECTION_IDLE_S = 50,        /* below the 60 s after which common load balancers hang up */
        WINDOWS = 8,                   /* the speed limit is looked at so many times within its period */
};

struct part_reader {
        struct bytes data;
        int fd; /* -1: data */
        int64_t size, position;
};

/* Beginnings of names. */
#define NAME(text)                                                                                           \
        { text, sizeof(text) - 1 }
static const struct bytes headers_kept[] = {
        NAME("retry-after"),
        NAME("x-ratelimit"),
        NAME("ratelimit"),
        NAME("anthropic-ratelimit"),
        NAME("x-should-retry"),
        NAME("x-request-id"),
        NAME("request-id"),
        NAME("apim-request-id"),
        NAME("content-type"),
        NAME("date"),
        NAME("openai-processing-ms"),
};

/* --- what comes in -------------------------------------------------------------------------------------- */

static bool header_kept(const char *line, size_t size) {
        for (size_t i = 0; i < sizeof headers_kept / sizeof *headers_kept; i++) {
                struct bytes prefix = headers_kept[i];
                if (size > prefix.size && (line[0] | 0x20) == prefix.data[0] &&
                    strncasecmp(line, prefix.data, prefix.size) == 0)
                        return true;
        }
        return false;
}

static void header_keep(struct call *call, const char *line, size_t size) {
        if (call->headers.capacity == 0)
                (void)buffer_reserve(&call->headers, size > HEADERS_RESERVE ? size : HEADERS_RESERVE);
        buffer_append(&call->headers, line, size);
}

static size_t on_header(char *line, size_t one, size_t size, void *userdata) {
        struct call *call = userdata;
        (void)one;
        call->headers_read += size;
        if (call->headers_read > CALL_HEADERS_READ_MAX) {
                call->flooded = true;
                return 0;
        }
        if (size >= 5 && memcmp(line, "HTTP/", 5) == 0) /* the real answer after a 1xx */
                buffer_clear(&call->headers);
        else if (!call->in_body && header_kept(line, size))
                header_keep(call, line, size);
        return size;
}

static bool body_room(struct call *call, size_t size) {
        if (size > call->response_max - call->body.size) {
                call->too_large = true;
                return false;
        }
        if (call->in_body)
                return true;
        call->in_body = true;
        curl_off_t length = -1;
        curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        if (length > 0 && (uint64_t)length > call->response_max) {
                call->too_large = true;
                return false;
        }
        if (length > 0)
                (void)buffer_reserve(&call->body,
                                     length < BODY_RESERVE_MAX ? (size_t)length : (size_t)BODY_RESERVE_MAX);
        return true;
}

static size_t on_body(char *data, size_t one, size_t size, void *userdata) {
        struct call *call = userdata;
        (void)one;
        if (size == 0)
                return 0;
        if (!body_room(call, size))
                return 0;
        buffer_append(&call->body, data, size);
        if (!call->body.failed)
                return size;
        call->no_memory = true;
        return 0;
}

/* --- connections ---------------------------------------------------------------------------------------- */

static bool request_left(const struct call *call) {
        long bytes = 0;
        if (call->requests == 0)
                return false;
        curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &bytes);
        return bytes > 0;
}

static curl_socket_t on_socket_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address) {
        struct call *call = userdata;
        (void)purpose;
        if (request_left(call)) /* libcurl is about to repeat the request: do not even connect */
                return CURL_SOCKET_BAD;
        call->resolved = true;
        return lane_socket_open(call->setup->lanes, address->family, address->socktype, address->protocol);
}

static int on_socket_close(void *userdata, curl_socket_t fd) {
        return lane_socket_close(userdata, fd);
}

static int on_request(void *userdata, char *remote, char *local, int remote_port, int local_port) {
        struct call *call = userdata;
        (void)remote;
        (void)local;
        (void)remote_port;
        (void)local_port;
        if (request_left(call))
                return CURL_PREREQFUNC_ABORT;
        call->requests++;
        call->resolved = true;
        call->window_start_ns = clock_now_ns();
        return CURL_PREREQFUNC_OK;
}

/* --- what goes out -------------------------------------------------------------------------------------- */

static size_t on_part_read(char *out, size_t one, size_t size, void *userdata) {
        struct part_reader *reader = userdata;
        size_t left = (size_t)(reader->size - reader->position), want = one * size;
        if (want > left)
                want = left;
        if (want == 0)
                return 0;
        if (reader->fd >= 0) {
                ssize_t got = pread(reader->fd, out, want, (off_t)reader->position);
                if (got <= 0) /* an error, or the file became shorter */
                        return CURL_READFUNC_ABORT;
                want = (size_t)got;
        } else {
                memcpy(out, reader->data.data + reader->position, want);
        }
        reader->position += (int64_t)want;
        return want;
}

static int on_part_seek(void *userdata, curl_off_t offset, int origin) {
        struct part_reader *reader = userdata;
        if (origin != SEEK_SET || offset < 0 || offset > reader->size)
                return CURL_SEEKFUNC_FAIL;
        reader->position = offset;
        return CURL_SEEKFUNC_OK;
}

static bool part_add(curl_mime *form, struct part_reader *reader, const struct http_part *part) {
        *reader = (struct part_reader){.fd = -1, .data = part->value, .size = (int64_t)part->value.size};
        if (part->filename != NULL && part->file_fd >= 0) {
                reader->fd = part->file_fd;
                reader->size = part->file_bytes;
        }
        char *name = bytes_dup(part->name);
        curl_mimepart *added = curl_mime_addpart(form);
        bool made = name != NULL && added != NULL && curl_mime_name(added, name) == CURLE_OK &&
                    curl_mime_data_cb(added, reader->size, on_part_read, on_part_seek, NULL, reader) ==
                            CURLE_OK &&
                    (part->filename == NULL || curl_mime_filename(added, part->filename) == CURLE_OK) &&
                    (part->content_type == NULL || curl_mime_type(added, part->content_type) == CURLE_OK);
        free(name);
        return made;
}

static bool header_clean(const char *line) {
        for (; *line != '\0'; line++)
                if ((unsigned char)*line < ' ' || *line == 0x7f)
                        return false;
        return true;
}

/* The call's own lines, with the target's shared list behind them. */
static bool call_headers(struct call *call, const struct http_call *given, struct curl_slist *shared) {
        struct curl_slist *last = NULL;
        for (uint32_t i = 0; i < given->headers_count; i++) {
                if (!header_clean(given->headers[i]))
                        continue;
                struct curl_slist *longer = curl_slist_append(call->own_headers, given->headers[i]);
                if (longer == NULL)
                        return false;
                call->own_headers = longer;
        }
        if (call->own_headers == NULL)
                return true;
        for (last = call->own_headers; last->next != NULL; last = last->next)
                ;
        last->next = shared;
        return curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->own_headers) == CURLE_OK;
}

/* The shared list stays; the handle is left with it. */
static void call_headers_free(struct call *call) {
        if (call->own_headers == NULL)
                return;
        curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->target->json_headers);
        for (struct curl_slist *at = call->own_headers; at != NULL; at = at->next)
                if (at->next == call->target->json_headers || at->next == call->target->form_headers)
                        at->next = NULL;
        curl_slist_free_all(call->own_headers);
        call->own_headers = NULL;
}

static bool call_form(struct call *call, const struct http_call *given) {
        call->form = curl_mime_init(call->easy);
        call->readers = calloc(given->parts_count, sizeof *call->readers);
        if (call->form == NULL || call->readers == NULL)
                return false;
        for (uint32_t i = 0; i < given->parts_count; i++)
                if (!part_add(call->form, &call->readers[i], &given->parts[i]))
                        return false;
        call->formed = true;
        curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->target->form_headers);
        return call_headers(call, given, call->target->form_headers) &&
               curl_easy_setopt(call->easy, CURLOPT_MIMEPOST, call->form) == CURLE_OK;
}

static void call_buffers(struct call *call, bool wide) {
        if (call->wide == wide)
                return;
        call->wide = wide;
        curl_easy_setopt(call->easy, CURLOPT_BUFFERSIZE, wide ? (long)RECEIVE_WIDE_BYTES : RECEIVE_BYTES);
        curl_easy_setopt(call->easy, CURLOPT_UPLOAD_BUFFERSIZE,
                         wide ? (long)UPLOAD_WIDE_BYTES : UPLOAD_BYTES);
}

static bool call_target(struct call *call, const struct target *target) {
        if (call->target == target)
                return true;
        call->target = NULL;
        if (curl_easy_setopt(call->easy, CURLOPT_URL, target->url) != CURLE_OK)
                return false;
        curl_easy_setopt(call->easy, CURLOPT_CURLU, target->parsed);
        curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, target->json_headers);
        call->target = target;
        return true;
}

static void easy_callbacks(struct call *call) {
        CURL *easy = call->easy;
        curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket_open);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, call->setup->lanes);
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
}

/* Everything that is the same for each call. Sources: libcurl-security(3), reference
 * reliability_performance.md A7 and B3. */
static bool easy_make(struct call *call) {
        const struct call_setup *setup = call->setup;
        CURL *easy = call->easy = curl_easy_init();
        if (easy == NULL)
                return false;
        easy_callbacks(call);
        bool made = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https") == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_CAINFO, setup->ca_file) == CURLE_OK;
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* else libcurl parses the bundle for each connection */
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                         setup->http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_PIPEWAIT, setup->http2 ? 1L : 0L);
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 0L);
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"); /* else libcurl asks the environment for each request */
        curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for the thread of a slow name server */
        curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)CONNECTION_LIFE_S);
        curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)CONNECTION_IDLE_S);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(setup->connect_timeout_ns / NS_PER_MS));
        curl_easy_setopt(easy, CURLOPT_SHARE, setup->share);
        call->wide = true;
        call_buffers(call, false);
        return made;
}

bool call_prepare(struct call *call, const struct target *target, const struct http_call *given,
                  int64_t now_ns) {
        if (call->easy == NULL && !easy_make(call))
                return false;
        if (!call_target(call, target))
                return false;
        call->tag = given->tag;
        call->resolved = call->too_large = call->no_memory = call->flooded = call->in_body = false;
        call->requests = 0;
        call->headers_read = 0;
        call->response_max = given->response_max;
        buffer_init(&call->headers, CALL_HEADERS_MAX);
        buffer_init(&call->body, given->response_max);
        call->started_ns = call->window_start_ns = now_ns;
        call->stalled_ns = 0;
        call->window_bytes = 0;
        call->deadline_ns = given->timeout_ns < INT64_MAX - now_ns ? now_ns + given->timeout_ns : INT64_MAX;
        call->status = 0;
        call->error[0] = '\0';
        call_buffers(call, given->parts_count > 0 || given->body.size >= BODY_WIDE_BYTES);
        if (given->parts_count > 0)
                return call_form(call, given);
        if (call->formed) { /* the handle has carried a form before */
                curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, target->json_headers);
                call->formed = false;
        }
        if (given->headers_count > 0 && !call_headers(call, given, target->json_headers))
                return false;
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)given->body.size);
        return curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, given->body.size ? given->body.data : "") ==
               CURLE_OK;
}

/* --- limits --------------------------------------------------------------------------------------------- */

static uint64_t call_bytes(const struct call *call) {
        curl_off_t up = 0, down = 0;
        long request = 0;
        curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &up);
        curl_easy_getinfo(call->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
        curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &request);
        return (uint64_t)up + (uint64_t)down + (uint64_t)request + call->headers_read;
}

static int64_t window_ns(const struct call *call) {
        return call->setup->low_speed_ns / WINDOWS;
}

/* A window with less than 1 byte/s starts a stall, one with more ends it. True: stalled for too long. */
static bool call_stalled(struct call *call, int64_t now_ns) {
        int64_t passed_ns = now_ns - call->window_start_ns;
        bool ending = call->stalled_ns && now_ns - call->stalled_ns >= call->setup->low_speed_ns;
        if (passed_ns < window_ns(call) && !ending)
                return false;
        uint64_t bytes = call_bytes(call), want = (uint64_t)(passed_ns / NS_PER_S);
        bool slow = bytes - call->window_bytes < (want ? want : 1);
        if (!slow)
                call->stalled_ns = 0;
        else if (call->stalled_ns == 0)
                call->stalled_ns = call->window_start_ns;
        call->window_start_ns = now_ns;
        call->window_bytes = bytes;
        return call->stalled_ns && now_ns - call->stalled_ns >= call->setup->low_speed_ns;
}

int64_t call_check_first_ns(const struct call *call) {
        int64_t next_ns = min64(call->deadline_ns, call->started_ns + call->setup->connect_timeout_ns);
        if (call->setup->low_speed_ns > 0)
                next_ns = min64(next_ns, call->started_ns + window_ns(call));
        return next_ns;
}

bool call_check(struct call *call, int64_t now_ns, int64_t *out_next_ns) {
        const struct call_setup *setup = call->setup;
        int64_t connect_ns = call->started_ns + setup->connect_timeout_ns;
        const char *why = NULL;
        int64_t limit_ns = call->deadline_ns - call->started_ns;
        if (now_ns >= call->deadline_ns) {
                why = "no answer within";
        } else if (call->requests == 0 && now_ns >= connect_ns) {
                why = "no connection within";
                limit_ns = setup->connect_timeout_ns;
        } else if (call->requests > 0 && setup->low_speed_ns > 0 && call_stalled(call, now_ns)) {
                why = "less than 1 byte/s for";
                limit_ns = setup->low_speed_ns;
        }
        if (why != NULL) {
                snprintf(call->error, sizeof call->error, "%s %.1f s", why, (double)limit_ns / NS_PER_S);
                return true;
        }
        int64_t next_ns = call->deadline_ns;
        if (call->requests == 0)
                next_ns = min64(next_ns, connect_ns);
        if (setup->low_speed_ns > 0)
                next_ns = min64(next_ns, (call->requests ? call->window_start_ns : now_ns) + window_ns(call));
        if (setup->low_speed_ns > 0 && call->stalled_ns)
                next_ns = min64(next_ns, call->stalled_ns + setup->low_speed_ns);
        *out_next_ns = next_ns > now_ns ? next_ns : now_ns + 1;
        return false;
}

/* --- the end -------------------------------------------------------------------------------------------- */

static bool code_untrusted(CURLcode code) {
        return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_ISSUER_ERROR ||
               code == CURLE_SSL_PINNEDPUBKEYNOTMATCH || code == CURLE_SSL_INVALIDCERTSTATUS ||
               code == CURLE_SSL_CACERT_BADFILE;
}

static void call_finish(struct call *call, int64_t now_ns) {
        long status = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        call->status = (int32_t)status;
        call->latency_ns = now_ns - call->started_ns;
}

void call_conclude(struct call *call, int result, int64_t now_ns) {
        CURLcode code = (CURLcode)result;
        call_finish(call, now_ns);
        if (code == CURLE_OK) {
                call->outcome = HTTP_ANSWERED;
                call->error[0] = '\0';
                return;
        }
        bool left = request_left(call);
        if (call->too_large)
                call->outcome = HTTP_TOO_LARGE;
        else if (left)
                call->outcome = HTTP_UNKNOWN;
        else
                call->outcome = code_untrusted(code) ? HTTP_UNTRUSTED : HTTP_NOT_SENT;
        const char *why = NULL;
        if (call->too_large)
                why = "the answer is larger than allowed";
        else if (call->no_memory)
                why = "no memory for the answer";
        else if (call->flooded)
                why = "the answer has too many headers";
        else if (left && (code == CURLE_ABORTED_BY_CALLBACK || code == CURLE_COULDNT_CONNECT))
                why = "the connection ended before an answer";
        else if (call->error[0] == '\0')
                why = curl_easy_strerror(code);
        if (why != NULL)
                snprintf(call->error, sizeof call->error, "%s", why);
}

void call_conclude_stopped(struct call *call, int64_t now_ns) {
        call_finish(call, now_ns);
        call->outcome = request_left(call) ? HTTP_UNKNOWN : HTTP_NOT_SENT;
}

void call_unprepare(struct call *call) {
        call_headers_free(call);
        curl_mime_free(call->form);
        call->form = NULL;
        free(call->readers);
        call->readers = NULL;
}

void call_deinit(struct call *call) {
        call_unprepare(call);
        curl_easy_cleanup(call->easy);
        call->easy = NULL;
        buffer_deinit(&call->headers);
        buffer_deinit(&call->body);
}
