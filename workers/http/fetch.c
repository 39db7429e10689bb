/*
 * Jobs wait in a queue of ours until fewer than fetches_max are on the way; all of those share one lane.
 * Redirects are followed here and not by libcurl, so that each step passes the same checks as the first. A
 * forbidden address is refused when the socket is opened, and, for a connection that is used again, right
 * before the request.
 */
#include "workers/http/fetch.h"

#include "broker/base/check.h"
#include "broker/base/list.h"
#include "broker/base/time.h"
#include "workers/http/audio_input.h"
#include "workers/http/ca_file.h"
#include "workers/http/file_url.h"
#include "workers/http/lane.h"
#include "workers/http/ssrf.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REDIRECTS_MAX = 3, URL_BYTES_MAX = 8192, HEADERS_BYTES_MAX = 64 * 1024 };

struct job {
        struct list link; /* waiting, running or done */
        struct fetch *fetch;
        char *url;
        void *easy; /* while it runs */
        int64_t deadline_ns;
        uint32_t redirects;
        size_t headers_bytes;
        bool forbidden, too_large, no_memory;
        struct fetched fetched;
        char error[CURL_ERROR_SIZE];
};

struct fetch {
        struct fetch_options options;
        char *ca_file, *file_root;
        int root_fd; /* -1: no files */
        struct lanes lanes;
        struct lane lane;
        bool lane_open, more;
        struct list waiting, running, done;
        uint32_t running_count;
};

/* --- callbacks of libcurl ------------------------------------------------------------------------------- */

static bool address_allowed(const struct fetch *fetch, const struct sockaddr *address) {
        enum address_kind kind = address_kind(address);
        if (kind == ADDRESS_FORBIDDEN)
                return false;
        return fetch->options.allow_private_addresses || (kind == ADDRESS_PUBLIC && !address_own(address));
}

static curl_socket_t on_socket_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address) {
        struct job *job = userdata;
        if (purpose != CURLSOCKTYPE_IPCXN || !address_allowed(job->fetch, &address->addr)) {
                job->forbidden = true;
                return CURL_SOCKET_BAD;
        }
        return lane_socket_open(&job->fetch->lanes, address->family, address->socktype, address->protocol);
}

static int on_socket_close(void *userdata, curl_socket_t fd) {
        return lane_socket_close(userdata, fd);
}

static int on_request(void *userdata, char *remote, char *local, int remote_port, int local_port) {
        struct job *job = userdata;
        (void)local;
        (void)remote_port;
        (void)local_port;
        enum address_kind kind = address_kind_text(remote);
        if (kind == ADDRESS_PUBLIC ||
            (kind == ADDRESS_PRIVATE && job->fetch->options.allow_private_addresses))
                return CURL_PREREQFUNC_OK;
        job->forbidden = true;
        return CURL_PREREQFUNC_ABORT;
}

static size_t on_header(char *line, size_t one, size_t size, void *userdata) {
        struct job *job = userdata;
        (void)line;
        (void)one;
        job->headers_bytes += size;
        return job->headers_bytes <= HEADERS_BYTES_MAX ? size : 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *userdata) {
        struct job *job = userdata;
        (void)one;
        if (size > job->fetched.content.size_max - job->fetched.content.size) {
                job->too_large = true;
                return 0;
        }
        buffer_append(&job->fetched.content, data, size);
        job->no_memory = job->fetched.content.failed;
        return job->no_memory ? 0 : size;
}

/* --- jobs ----------------------------------------------------------------------------------------------- */

static void job_free(struct job *job) {
        list_unlink(&job->link);
        if (job->easy != NULL) {
                lane_remove(&job->fetch->lane, job->easy);
                curl_easy_cleanup(job->easy);
                job->fetch->running_count--;
        }
        buffer_deinit(&job->fetched.content);
        free(job->url);
        free(job);
}

/* http or https as allowed, no user information, nothing odd. NULL: fine; else why not. */
static const char *url_refused(const struct fetch *fetch, const char *url) {
        char *scheme = NULL, *user = NULL, *password = NULL;
        const char *why = "the URL is malformed";
        CURLU *parsed = curl_url();
        for (const char *c = url; *c != '\0'; c++)
                if ((unsigned char)*c <= ' ' || *c == 0x7f)
                        goto out;
        if (parsed == NULL || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
                goto out;
        if (curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK)
                why = "the URL has user information";
        else if (strcmp(scheme, "https") == 0)
                why = fetch->options.allow_https ? NULL : "https: is not allowed for inputs";
        else if (strcmp(scheme, "http") == 0)
                why = fetch->options.allow_http ? NULL : "http: is not allowed for inputs";
        else
                why = "this kind of URL is not allowed for inputs";
out:
        curl_free(scheme);
        curl_free(user);
        curl_free(password);
        curl_url_cleanup(parsed);
        return why;
}

static void easy_callbacks(struct job *job, CURL *easy) {
        curl_easy_setopt(easy, CURLOPT_PRIVATE, job);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, job->error);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, job);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, job);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket_open);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, job);
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, &job->fetch->lanes);
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, job);
}

/* False: no memory. The address in CURLOPT_PROXY etc. as in reference reliability_performance.md A7. */
static bool job_easy(struct job *job, int64_t now_ns) {
        const struct fetch_options *options = &job->fetch->options;
        CURL *easy = curl_easy_init();
        if (easy == NULL)
                return false;
        easy_callbacks(job, easy);
        bool made = curl_easy_setopt(easy, CURLOPT_URL, job->url) == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_USERAGENT, "batchferry/" BATCHFERRY_VERSION) == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
                    curl_easy_setopt(easy, CURLOPT_CAINFO, job->fetch->ca_file) == CURLE_OK;
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
        curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)options->bytes_max);
        int64_t left_ms = (job->deadline_ns - now_ns) / NS_PER_MS,
                connect_ms = options->connect_timeout_ns / NS_PER_MS;
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(left_ms > 0 ? left_ms : 1));
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms > 0 ? connect_ms : 1));
        job->easy = easy;
        if (made)
                return true;
        curl_easy_cleanup(easy);
        job->easy = NULL;
        return false;
}

static void job_done(struct job *job) {
        if (job->fetched.outcome != FETCH_OK)
                buffer_deinit(&job->fetched.content);
        list_unlink(&job->link);
        list_append(&job->fetch->done, &job->link);
}

static void job_run(struct job *job) {
        struct fetch *fetch = job->fetch;
        int64_t now_ns = clock_now_ns();
        list_unlink(&job->link);
        list_append(&fetch->running, &job->link);
        job->error[0] = '\0';
        job->headers_bytes = 0;
        buffer_deinit(&job->fetched.content);
        buffer_init(&job->fetched.content, (size_t)fetch->options.bytes_max);
        if (job_easy(job, now_ns)) {
                fetch->running_count++;
                if (lane_add(&fetch->lane, job->easy))
                        return; /* it may be done already, or even freed from here on: not touched again */
                fetch->running_count--;
                curl_easy_cleanup(job->easy);
                job->easy = NULL;
        }
        fetched_fail(&job->fetched, FETCH_FAILED, "no memory to fetch the input");
        job_done(job);
}

/* True: the next step is in job->url. */
static bool job_redirect(struct job *job) {
        char *next = NULL;
        curl_easy_getinfo(job->easy, CURLINFO_REDIRECT_URL, &next);
        const char *why = "a redirect to nowhere";
        if (next != NULL && job->redirects == REDIRECTS_MAX)
                why = "too many redirects";
        else if (next != NULL && strlen(next) > URL_BYTES_MAX)
                why = "a redirect to a URL that is too long";
        else if (next != NULL)
                why = url_refused(job->fetch, next);
        char *copy = why == NULL ? strdup(next) : NULL;
        if (copy == NULL) {
                fetched_fail(&job->fetched, why ? FETCH_UNAVAILABLE : FETCH_FAILED, "%s",
                             why ? why : "no memory");
                return false;
        }
        free(job->url);
        job->url = copy;
        job->redirects++;
        return true;
}

/* 408, 425 and 429 are the client errors that pass by waiting (RFC 9110, 8470, 6585). */
static void job_answered(struct job *job, long status) {
        char *type = NULL;
        bool passes = status >= 500 || status == 408 || status == 425 || status == 429;
        if (status != 200) {
                fetched_fail(&job->fetched, passes ? FETCH_FAILED : FETCH_UNAVAILABLE, "the server says %ld",
                             status);
                return;
        }
        curl_easy_getinfo(job->easy, CURLINFO_CONTENT_TYPE, &type);
        job->fetched.outcome = FETCH_OK;
        const char *path = strstr(job->url, "://");
        path = path != NULL ? strchr(path + 3, '/') : NULL;
        fetched_name(&job->fetched, bytes_of(path));
        fetched_type(&job->fetched, bytes_of(type));
}

static void job_failed(struct job *job, CURLcode code) {
        struct fetched *fetched = &job->fetched;
        bool final = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT ||
                     code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_SSL_CACERT_BADFILE;
        if (job->too_large || code == CURLE_FILESIZE_EXCEEDED)
                fetched_fail(fetched, FETCH_TOO_LARGE, "the input has more than %lld bytes",
                             (long long)job->fetch->options.bytes_max);
        else if (job->forbidden)
                fetched_fail(fetched, FETCH_UNAVAILABLE, "the address of this URL is not allowed for inputs");
        else if (job->headers_bytes > HEADERS_BYTES_MAX)
                fetched_fail(fetched, FETCH_FAILED, "the server sent too many headers");
        else if (job->no_memory)
                fetched_fail(fetched, FETCH_FAILED, "no memory for the input");
        else
                fetched_fail(fetched, final ? FETCH_UNAVAILABLE : FETCH_FAILED, "%.190s",
                             job->error[0] ? job->error : curl_easy_strerror(code));
}

static void on_done(void *userdata, struct lane *lane, void *easy, int code) {
        struct fetch *fetch = userdata;
        char *private = NULL;
        long status = 0;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        struct job *job = (struct job *)(void *)private;
        bool redirect = code == CURLE_OK &&
                        (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
        bool again = redirect && job_redirect(job);
        if (code != CURLE_OK)
                job_failed(job, (CURLcode)code);
        else if (!redirect)
                job_answered(job, status);
        lane_remove(lane, easy);
        curl_easy_cleanup(easy);
        job->easy = NULL;
        fetch->running_count--;
        if (!again) {
                job_done(job);
                return;
        }
        list_unlink(&job->link); /* goes on at the end of this turn, ahead of those that wait */
        list_prepend(&fetch->waiting, &job->link);
}

static void jobs_run(struct fetch *fetch) {
        while (!list_empty(&fetch->waiting) && fetch->running_count < fetch->options.fetches_max) {
                struct job *job = LIST_ENTRY(fetch->waiting.next, struct job, link);
                if (clock_now_ns() < job->deadline_ns) {
                        job_run(job);
                        continue;
                }
                fetched_fail(&job->fetched, FETCH_FAILED, "no time left to fetch the input");
                job_done(job);
        }
}

/* --- the interface -------------------------------------------------------------------------------------- */

/* RFC 3986 section 3.1; the length of "scheme:", 0 when it starts with none. */
static size_t scheme_size(struct bytes url) {
        size_t i = 0;
        while (i < url.size && ((url.data[i] | 0x20) >= 'a') && ((url.data[i] | 0x20) <= 'z'))
                i++;
        return i > 0 && i < url.size && url.data[i] == ':' ? i + 1 : 0;
}

static bool scheme_is(struct bytes url, size_t size, const char *scheme) {
        return bytes_equal_nocase((struct bytes){url.data, size}, scheme);
}

/* NULL: on its way. */
static const char *fetch_remote(struct fetch *fetch, uint64_t tag, struct bytes url) {
        if (url.size > URL_BYTES_MAX || memchr(url.data, '\0', url.size) != NULL)
                return "the URL is malformed";
        struct job *job = calloc(1, sizeof *job);
        if (job == NULL || (job->url = bytes_dup(url)) == NULL) {
                free(job);
                return "no memory to fetch the input";
        }
        const char *why = url_refused(fetch, job->url);
        if (why != NULL) {
                free(job->url);
                free(job);
                return why;
        }
        job->fetch = fetch;
        job->fetched = (struct fetched){.tag = tag, .file_fd = -1};
        int64_t now_ns = clock_now_ns(), timeout_ns = fetch->options.timeout_ns;
        job->deadline_ns = timeout_ns < INT64_MAX - now_ns ? now_ns + timeout_ns : INT64_MAX;
        list_append(&fetch->waiting, &job->link);
        jobs_run(fetch);
        return NULL;
}

/* Opened at the first file: URL, so that runs without files need no directory. NULL when it is open. */
static const char *fetch_root(struct fetch *fetch) {
        if (!fetch->options.allow_file || fetch->file_root == NULL)
                return "files are not allowed for inputs (fetch.allow)";
        if (fetch->root_fd < 0)
                fetch->root_fd = open(fetch->file_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fetch->root_fd < 0 ? "the directory for files (fetch.file_root) cannot be opened" : NULL;
}

bool fetch_start(struct fetch *fetch, uint64_t tag, struct bytes url, struct fetched *out_fetched) {
        struct fetched fetched = {.outcome = FETCH_OK, .file_fd = -1};
        size_t scheme = scheme_size(url);
        const char *why = NULL;
        if (url.size == 0) {
                why = "the URL is empty";
        } else if (scheme_is(url, scheme, "data:")) {
                data_url_read(url, fetch->options.bytes_max, &fetched);
        } else if (scheme == 0 || scheme_is(url, scheme, "file:")) {
                why = fetch_root(fetch);
                if (why == NULL)
                        file_url_open(url, fetch->root_fd, fetch->file_root, fetch->options.bytes_max,
                                      &fetched);
        } else {
                why = fetch_remote(fetch, tag, url);
                if (why == NULL)
                        return false;
        }
        if (why != NULL)
                fetched_fail(&fetched, FETCH_UNAVAILABLE, "%s", why);
        fetched.tag = tag;
        *out_fetched = fetched;
        return true;
}

int64_t fetch_audio_ms(struct fetch *fetch, struct bytes url) {
        size_t scheme = scheme_size(url);
        if (scheme_is(url, scheme, "data:"))
                return audio_of_data_url_ms(url);
        if (url.size == 0 || (scheme > 0 && !scheme_is(url, scheme, "file:")) || fetch_root(fetch) != NULL)
                return -1;
        struct fetched fetched;
        file_url_open(url, fetch->root_fd, fetch->file_root, fetch->options.bytes_max, &fetched);
        int64_t ms = audio_of_fetched_ms(&fetched);
        if (fetched.file_fd >= 0)
                close(fetched.file_fd);
        return ms;
}

/* A job that is done already is still forgotten: nobody waits for it. */
void fetch_cancel(struct fetch *fetch, uint64_t tag) {
        struct list *lists[] = {&fetch->waiting, &fetch->running, &fetch->done};
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
                struct list *next;
                for (struct list *link = lists[i]->next; link != lists[i]; link = next) {
                        struct job *job = LIST_ENTRY(link, struct job, link);
                        next = link->next;
                        if (job->fetched.tag == tag)
                                job_free(job);
                }
        }
        jobs_run(fetch);
}

int fetch_fd(const struct fetch *fetch) {
        return fetch->lanes.epoll_fd;
}

int64_t fetch_wake_ns(const struct fetch *fetch) {
        bool due = fetch->more || !list_empty(&fetch->done);
        return due ? 0 : lanes_wake_ns(&fetch->lanes);
}

size_t fetch_poll(struct fetch *fetch, struct fetched *out_fetched, size_t max) {
        fetch->more = lanes_turn(&fetch->lanes, clock_now_ns());
        jobs_run(fetch);
        size_t count = 0;
        while (count < max && !list_empty(&fetch->done)) {
                struct job *job = LIST_ENTRY(fetch->done.next, struct job, link);
                // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): job_free() unlinks, so this is another one
                out_fetched[count++] = job->fetched;
                job->fetched.content = (struct buffer){0};
                job_free(job);
        }
        return count;
}

static struct error *fetch_lane(struct fetch *fetch) {
        struct lane_options options = {.connections_max = fetch->options.fetches_max};
        struct error *error = ca_file_find(NULL, &fetch->ca_file);
        if (error == NULL)
                error = lane_init(&fetch->lane, &fetch->lanes, &options);
        fetch->lane_open = error == NULL;
        return error;
}

struct error *fetch_open(const struct fetch_options *options, struct fetch **out_fetch) {
        if (options->fetches_max == 0 || options->bytes_max < 0)
                return error_new(ERROR_USAGE, "a fetcher needs room for one input at least");
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return error_new(ERROR_MEMORY, "cannot initialise libcurl");
        struct fetch *fetch = calloc(1, sizeof *fetch);
        if (fetch == NULL) {
                curl_global_cleanup();
                return error_new(ERROR_MEMORY, "no memory for the fetcher");
        }
        fetch->options = *options;
        fetch->root_fd = -1;
        list_init(&fetch->waiting);
        list_init(&fetch->running);
        list_init(&fetch->done);
        struct error *error = lanes_init(&fetch->lanes, 1, (struct lane_events){.done = on_done}, fetch);
        if (error == NULL)
                error = fetch_lane(fetch);
        if (error == NULL && options->file_root != NULL) {
                fetch->file_root = strdup(options->file_root);
                if (fetch->file_root == NULL)
                        error = error_new(ERROR_MEMORY, "no memory for the fetcher");
        }
        if (error != NULL) {
                fetch_close(fetch);
                return error;
        }
        *out_fetch = fetch;
        return NULL;
}

struct fetch *fetch_close(struct fetch *fetch) {
        if (fetch == NULL)
                return NULL;
        struct list *lists[] = {&fetch->waiting, &fetch->running, &fetch->done};
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
                while (!list_empty(lists[i]))
                        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it unlinks, so the next is another one
                        job_free(LIST_ENTRY(lists[i]->next, struct job, link));
        if (fetch->lane_open)
                lane_deinit(&fetch->lane);
        lanes_deinit(&fetch->lanes);
        if (fetch->root_fd >= 0)
                close(fetch->root_fd);
        free(fetch->ca_file);
        free(fetch->file_root);
        free(fetch);
        curl_global_cleanup();
        return NULL;
}
