#include "broker/loop/calls.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "workers/http/audio_input.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NO_TARGET    UINT32_MAX
#define NAMED_TARGET (UINT32_MAX - 1) /* the URL names the model: see named_target */
#define URL_MAX      8192
/* An endpoint that takes longer than that is kept apart from quick ones in the HTTP client. */
#define SLOW_NS (2 * NS_PER_S)

enum call_step { CALL_NONE, CALL_FETCHING, CALL_SENT, CALL_DONE };

/* One per slot of the engine. */
struct call {
        enum call_step step;
        struct handle handle;
        const struct job_spec *job;
        uint32_t endpoint;
        uint8_t model;
        /* with which it was sent: another catalog may follow before the answer */
        const struct dialect *dialect;
        const char *key;
        int64_t timeout_ns;
        struct buffer body; /* of the request, while it is under way */
        struct http_part *parts;
        struct fetched file; /* file_fd -1 when there is none */
        int64_t audio_ms;    /* of that file; -1: not known */
        struct reply reply;
};

/* Of an endpoint that serves every model, in a dialect whose URL names the model. */
struct named_target {
        uint32_t endpoint, target;
        enum kind kind;
        char *model;
};

enum { NAMED_TARGETS_MAX = 1024 }; /* searched one by one, and kept until the end */

struct calls {
        struct calls_options options;
        struct http *http;
        struct fetch *fetch;
        struct call *slots;
        uint32_t *targets; /* [endpoint][kind] -> index, NO_TARGET or NAMED_TARGET */
        struct named_target *named;
        size_t named_count;
        int64_t *latency_ns;    /* per endpoint, smoothed: which calls are slow */
        bool *slow;             /* per endpoint */
        struct request request; /* scratch */
        struct buffer trace;    /* scratch */
        struct http_done *done; /* scratch */
        struct called *at_once; /* calls that ended before they were sent */
        size_t at_once_count;
        uint32_t in_flight;
        size_t reply_bytes;
};

enum {
        POLL_MAX = 256,
        KEY_BYTES_MIN = 8, /* shorter ones are words */
        TRACE_BYTES_MAX = 2048,
};

struct calls *calls_close(struct calls *calls) {
        if (!calls)
                return NULL;
        http_close(calls->http);
        fetch_close(calls->fetch);
        for (uint32_t i = 0; calls->slots && i < calls->options.slots; i++) {
                struct call *call = &calls->slots[i];
                reply_deinit(&call->reply);
                buffer_deinit(&call->body);
                buffer_deinit(&call->file.content);
                if (call->file.file_fd > 0)
                        close(call->file.file_fd);
                free(call->parts);
        }
        buffer_deinit(&calls->request.body);
        buffer_deinit(&calls->trace);
        free(calls->slots);
        free(calls->targets);
        for (size_t i = 0; i < calls->named_count; i++)
                free(calls->named[i].model);
        free(calls->named);
        free(calls->latency_ns);
        free(calls->slow);
        free(calls->done);
        free(calls->at_once);
        free(calls);
        return NULL;
}

static void forget_targets(struct calls *calls, size_t from, size_t to) {
        for (size_t i = from * KINDS_COUNT; i < to * KINDS_COUNT; i++)
                calls->targets[i] = NO_TARGET;
}

struct error *calls_open(const struct calls_options *options, struct calls **out_calls) {
        struct calls *calls = calloc(1, sizeof(*calls));
        if (!calls)
                return error_new(ERROR_MEMORY, "no memory for calls");
        calls->options = *options;
        size_t endpoints = CATALOG_ENDPOINTS_MAX; /* more may follow; what is not used is not touched */
        calls->slots = calloc(options->slots, sizeof(*calls->slots));
        calls->targets = calloc(endpoints * KINDS_COUNT + 1, sizeof(*calls->targets));
        calls->latency_ns = calloc(endpoints + 1, sizeof(*calls->latency_ns));
        calls->slow = calloc(endpoints + 1, sizeof(*calls->slow));
        calls->done = calloc(POLL_MAX, sizeof(*calls->done));
        calls->at_once = calloc(options->slots, sizeof(*calls->at_once));
        buffer_init(&calls->request.body, SIZE_MAX / 4);
        buffer_init(&calls->trace, TRACE_BYTES_MAX);
        if (!calls->slots || !calls->targets || !calls->latency_ns || !calls->slow || !calls->done ||
            !calls->at_once) {
                calls_close(calls);
                return error_new(ERROR_MEMORY, "no memory for calls");
        }
        forget_targets(calls, 0, options->catalog->endpoints_count);
        struct error *error = http_open(&options->http, &calls->http);
        if (!error)
                error = fetch_open(&options->fetch, &calls->fetch);
        if (error) {
                calls_close(calls);
                return error;
        }
        *out_calls = calls;
        return NULL;
}

static bool same_key(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

/* Another URL or key. */
static bool is_another_target(const struct calls *calls, uint32_t index, const struct catalog *catalog,
                              const struct dialect *const *dialects, const char *const *keys) {
        const struct endpoint *before = &calls->options.catalog->endpoints[index];
        const struct endpoint *now = &catalog->endpoints[index];
        uint32_t provider = before->provider;
        return strcmp(calls->options.catalog->providers[provider].base_url,
                      catalog->providers[provider].base_url) != 0 ||
               calls->options.dialects[provider] != dialects[provider] ||
               strcmp(before->upstream, now->upstream) != 0 ||
               !same_key(calls->options.keys[provider], keys[provider]);
}

static void forget_named(struct calls *calls, uint32_t endpoint) {
        size_t kept = 0;
        for (size_t i = 0; i < calls->named_count; i++) {
                if (calls->named[i].endpoint == endpoint)
                        free(calls->named[i].model);
                else
                        calls->named[kept++] = calls->named[i];
        }
        calls->named_count = kept;
}

void calls_follow(struct calls *calls, const struct catalog *catalog, const struct dialect *const *dialects,
                  const char *const *keys) {
        uint32_t known = calls->options.catalog->endpoints_count;
        for (uint32_t i = 0; i < known; i++) {
                if (!is_another_target(calls, i, catalog, dialects, keys))
                        continue;
                forget_targets(calls, i, i + 1);
                forget_named(calls, i);
        }
        forget_targets(calls, known, catalog->endpoints_count);
        calls->options.catalog = catalog;
        calls->options.dialects = dialects;
        calls->options.keys = keys;
}

static struct bytes upstream_model(const struct calls *calls, const struct call *call) {
        const struct endpoint *endpoint = &calls->options.catalog->endpoints[call->endpoint];
        if (strcmp(endpoint->model, "*") == 0)
                return call->job->demand.models[call->model];
        return bytes_of(endpoint->upstream);
}

/* Ends a call that was not sent. */
static void end_at_once(struct calls *calls, struct call *call, enum verdict verdict, enum failure failure,
                        const char *message) {
        struct called *called = &calls->at_once[calls->at_once_count++];
        called->handle = call->handle;
        answer_init(&called->answer);
        called->answer.verdict = verdict;
        called->answer.failure = failure;
        buffer_deinit(&call->body);
        size_t size = strnlen(message, sizeof(called->answer.message) - 1);
        memcpy(called->answer.message, message, size);
        called->answer.message[size] = '\0';
}

static struct error *make_target(struct calls *calls, const struct call *call, uint32_t *out_target) {
        const struct endpoint *endpoint = &calls->options.catalog->endpoints[call->endpoint];
        const struct provider *provider = &calls->options.catalog->providers[endpoint->provider];
        const struct dialect *dialect = calls->options.dialects[endpoint->provider];
        const char *key = calls->options.keys[endpoint->provider];
        struct buffer url, auth;
        buffer_init(&url, URL_MAX);
        buffer_init(&auth, URL_MAX);
        struct error *error = NULL;
        if (!dialect->url(provider, endpoint, call->job->demand.kind, upstream_model(calls, call), &url))
                error = error_new(ERROR_USAGE, "provider %s does not offer %s", provider->name,
                                  kind_facts[call->job->demand.kind].url);
        if (!error && key && *key)
                dialect->auth(bytes_of(key), &auth);
        buffer_append(&url, "", 1);
        buffer_append(&auth, "", 1);
        if (!error && (url.failed || auth.failed))
                error = error_new(ERROR_USAGE, "the URL or key of provider %s is too long", provider->name);
        if (!error) {
                const char *headers[] = {auth.data};
                struct http_target target = {
                        .url = url.data, .headers = headers, .headers_count = auth.size > 1 ? 1 : 0};
                error = http_add_target(calls->http, &target, out_target);
        }
        if (auth.data)
                explicit_bzero(auth.data, auth.size);
        buffer_deinit(&url);
        buffer_deinit(&auth);
        return error;
}

/* Whether another model there has another URL: two are asked for. */
static bool url_names_model(const struct calls *calls, const struct call *call) {
        const struct endpoint *endpoint = &calls->options.catalog->endpoints[call->endpoint];
        const struct provider *provider = &calls->options.catalog->providers[endpoint->provider];
        const struct dialect *dialect = calls->options.dialects[endpoint->provider];
        enum kind kind = call->job->demand.kind;
        struct buffer urls[2];
        buffer_init(&urls[0], URL_MAX);
        buffer_init(&urls[1], URL_MAX);
        bool names = strcmp(endpoint->model, "*") == 0 &&
                     dialect->url(provider, endpoint, kind, BYTES("a"), &urls[0]) &&
                     dialect->url(provider, endpoint, kind, BYTES("b"), &urls[1]) &&
                     !bytes_equal(buffer_view(&urls[0]), buffer_view(&urls[1]));
        buffer_deinit(&urls[0]);
        buffer_deinit(&urls[1]);
        return names;
}

static struct error *add_named_target(struct calls *calls, const struct call *call, struct bytes model,
                                      uint32_t *out_target) {
        if (calls->named_count == NAMED_TARGETS_MAX)
                return error_new(ERROR_USAGE, "more than %d models at endpoints that serve every model",
                                 NAMED_TARGETS_MAX);
        if (!calls->named)
                calls->named = calloc(NAMED_TARGETS_MAX, sizeof(*calls->named));
        char *copy = calls->named ? bytes_dup(model) : NULL;
        if (!copy)
                return error_new(ERROR_MEMORY, "no memory for an HTTP target");
        struct error *error = make_target(calls, call, out_target);
        if (error) {
                free(copy);
                return error;
        }
        calls->named[calls->named_count++] = (struct named_target){
                .endpoint = call->endpoint,
                .target = *out_target,
                .kind = call->job->demand.kind,
                .model = copy,
        };
        return NULL;
}

static struct error *named_target_for(struct calls *calls, const struct call *call, uint32_t *out_target) {
        struct bytes model = upstream_model(calls, call);
        for (size_t i = 0; i < calls->named_count; i++) {
                const struct named_target *named = &calls->named[i];
                if (named->endpoint == call->endpoint && named->kind == call->job->demand.kind &&
                    bytes_equal_string(model, named->model)) {
                        *out_target = named->target;
                        return NULL;
                }
        }
        return add_named_target(calls, call, model, out_target);
}

/* The URL and headers for an endpoint and kind, and model where the URL names it, are made once. */
static struct error *target_for(struct calls *calls, const struct call *call, uint32_t *out_target) {
        uint32_t *known = &calls->targets[call->endpoint * KINDS_COUNT + call->job->demand.kind];
        uint32_t target = *known;
        if (target == NO_TARGET && url_names_model(calls, call))
                target = *known = NAMED_TARGET;
        if (target == NAMED_TARGET)
                return named_target_for(calls, call, out_target);
        if (target == NO_TARGET) {
                struct error *error = make_target(calls, call, &target);
                if (error)
                        return error;
                *known = target;
        }
        *out_target = target;
        return NULL;
}

static void fill_part(const struct call *call, const struct request_part *from, struct http_part *to) {
        *to = (struct http_part){.name = from->name, .value = from->value, .file_fd = -1};
        if (!from->file)
                return;
        to->filename = call->file.filename;
        to->content_type = call->file.content_type;
        to->value = buffer_view(&call->file.content);
        to->file_fd = call->file.file_fd;
        to->file_bytes = call->file.file_bytes;
}

static bool fill_parts(struct calls *calls, struct call *call, struct http_call *out_call) {
        uint32_t count = calls->request.parts_count;
        free(call->parts);
        call->parts = calloc(count, sizeof(*call->parts));
        if (!call->parts)
                return false;
        for (uint32_t i = 0; i < count; i++)
                fill_part(call, &calls->request.parts[i], &call->parts[i]);
        out_call->parts = call->parts;
        out_call->parts_count = count;
        return true;
}

/* Slow above the mark, quick again only below half of it: each change costs a new set of connections. */
static bool is_slow(struct calls *calls, uint32_t endpoint) {
        int64_t mark_ns = calls->slow[endpoint] ? SLOW_NS / 2 : SLOW_NS;
        calls->slow[endpoint] = calls->latency_ns[endpoint] > mark_ns;
        return calls->slow[endpoint];
}

/* The trace context of the job goes on to the provider (W3C Trace Context). */
static uint32_t trace_headers(struct calls *calls, const struct job_spec *job, const char *out_headers[2]) {
        struct buffer *text = &calls->trace;
        buffer_clear(text);
        if (job->traceparent.size == 0)
                return 0;
        buffer_printf(text, "traceparent: %.*s", (int)job->traceparent.size, job->traceparent.data);
        buffer_append_char(text, '\0');
        size_t state = text->size;
        if (job->tracestate.size > 0)
                buffer_printf(text, "tracestate: %.*s", (int)job->tracestate.size, job->tracestate.data);
        buffer_append_char(text, '\0');
        if (text->failed)
                return 0; /* the call matters more */
        out_headers[0] = text->data;
        out_headers[1] = text->data + state;
        return job->tracestate.size > 0 ? 2 : 1;
}

static void send_call(struct calls *calls, struct call *call) {
        const struct endpoint *endpoint = &calls->options.catalog->endpoints[call->endpoint];
        const struct dialect *dialect = calls->options.dialects[endpoint->provider];
        call->dialect = dialect;
        call->key = calls->options.keys[endpoint->provider];
        struct http_call http_call = {
                .tag = call->handle.slot,
                .timeout_ns = call->timeout_ns,
                .response_max = calls->options.response_max,
                .slow = is_slow(calls, call->endpoint),
        };
        struct answer answer;
        answer_init(&answer);
        buffer_clear(&calls->request.body);
        calls->request.parts_count = 0;
        if (!dialect->request(call->job, upstream_model(calls, call), &calls->request, &answer)) {
                end_at_once(calls, call, answer.verdict, answer.failure, answer.message);
                return;
        }
        call->body = calls->request.body; /* parts point into it; the scratch starts anew */
        buffer_init(&calls->request.body, SIZE_MAX / 4);
        http_call.body = buffer_view(&call->body);
        if (calls->request.parts_count > 0 && !fill_parts(calls, call, &http_call)) {
                end_at_once(calls, call, VERDICT_INPUT_RETRY, FAILURE_INTERNAL, "no memory for the request");
                return;
        }
        const char *headers[2];
        http_call.headers = headers;
        http_call.headers_count = trace_headers(calls, call->job, headers);
        struct error *error = target_for(calls, call, &http_call.target);
        enum verdict verdict = error ? VERDICT_OTHER_MODEL : VERDICT_NOT_SENT;
        if (!error)
                error = http_start(calls->http, &http_call);
        if (error) {
                end_at_once(calls, call, verdict, FAILURE_NO_PROVIDER, error->message);
                error_free(error);
                return;
        }
        call->step = CALL_SENT;
}

static bool listens(const struct job_spec *job) {
        return kind_listens(job->demand.kind);
}

void calls_measure(struct calls *calls, struct job_spec *job) {
        if (listens(job) && job->failure == FAILURE_NONE && job->demand.audio_ms < 0)
                job->demand.audio_ms = fetch_audio_ms(calls->fetch, job->file_url);
}

static void file_arrived(struct calls *calls, struct call *call) {
        static const enum verdict verdicts[] = {
                [FETCH_OK] = VERDICT_OK,
                [FETCH_UNAVAILABLE] = VERDICT_INPUT,
                [FETCH_FAILED] = VERDICT_INPUT_RETRY,
                [FETCH_TOO_LARGE] = VERDICT_INPUT,
        };
        enum fetch_outcome outcome = call->file.outcome;
        if (listens(call->job))
                call->audio_ms = audio_of_fetched_ms(&call->file);
        if (outcome == FETCH_OK)
                send_call(calls, call);
        else
                end_at_once(calls, call, verdicts[outcome],
                            outcome == FETCH_TOO_LARGE ? FAILURE_INPUT_TOO_LARGE : FAILURE_INPUT_UNAVAILABLE,
                            call->file.message);
}

static void drop_file(struct call *call) {
        buffer_deinit(&call->file.content);
        if (call->file.file_fd > 0)
                close(call->file.file_fd);
        call->file.file_fd = -1;
        free(call->parts);
        call->parts = NULL;
}

void calls_start(struct calls *calls, const struct command *command) {
        struct call *call = &calls->slots[command->handle.slot];
        CHECK(call->step == CALL_NONE);
        calls_drop(calls, command->handle.slot);
        drop_file(call);
        call->handle = command->handle;
        call->job = command->job;
        call->endpoint = command->endpoint;
        call->model = command->model;
        call->timeout_ns = command->timeout_ns;
        call->audio_ms = -1;
        call->step = CALL_FETCHING;
        calls->in_flight++;
        if (kind_facts[call->job->demand.kind].request != REQUEST_MULTIPART || call->job->file_url.size == 0)
                send_call(calls, call);
        else if (fetch_start(calls->fetch, call->handle.slot, call->job->file_url, &call->file))
                file_arrived(calls, call);
}

/* Providers repeat keys in what they say. What is masked keeps its length, so JSON stays JSON. */
static void mask(struct buffer *text, const char *key) {
        size_t size = key ? strlen(key) : 0, from = 0;
        while (size >= KEY_BYTES_MIN && from < text->size) {
                char *found = memmem(text->data + from, text->size - from, key, size);
                if (!found)
                        return;
                memset(found, '*', size);
                from = (size_t)(found - text->data) + size;
        }
}

static void read_answer(struct calls *calls, struct call *call, struct http_done *done,
                        struct answer *out_answer) {
        const struct dialect *dialect = call->dialect;
        mask(&done->headers, call->key);
        if (done->status >= 400)
                mask(&done->body, call->key);
        call->reply = (struct reply){
                .dialect = dialect,
                .status = done->status,
                .headers = done->headers,
                .body = done->body,
                .now_unix_ms = clock_now_unix_ms(),
        };
        calls->reply_bytes += call->reply.headers.capacity + call->reply.body.capacity;
        struct response response = {.status = done->status,
                                    .headers = buffer_view(&done->headers),
                                    .body = buffer_view(&done->body),
                                    .now_unix_ms = call->reply.now_unix_ms};
        dialect->read(call->job, &response, out_answer);
        call->reply.is_json = out_answer->is_json;
}

static void read_failure(const struct http_done *done, struct answer *out_answer) {
        static const enum verdict verdicts[] = {
                [HTTP_ANSWERED] = VERDICT_OK,        [HTTP_NOT_SENT] = VERDICT_NOT_SENT,
                [HTTP_UNTRUSTED] = VERDICT_AUTH,     [HTTP_UNKNOWN] = VERDICT_UNKNOWN,
                [HTTP_TOO_LARGE] = VERDICT_UNUSABLE,
        };
        out_answer->verdict = verdicts[done->outcome];
        out_answer->failure = FAILURE_PROVIDER_ERROR;
        memcpy(out_answer->message, done->message, sizeof(out_answer->message) - 1);
        out_answer->message[sizeof(out_answer->message) - 1] = '\0';
}
_Static_assert(sizeof(((struct http_done *)0)->message) >= ANSWER_MESSAGE_MAX, "messages are copied");

static void finish(struct calls *calls, struct http_done *done, struct called *out_called) {
        struct call *call = &calls->slots[done->tag];
        out_called->handle = call->handle;
        answer_init(&out_called->answer);
        if (done->outcome == HTTP_ANSWERED) {
                read_answer(calls, call, done, &out_called->answer);
        } else {
                read_failure(done, &out_called->answer);
                buffer_deinit(&done->headers);
                buffer_deinit(&done->body);
        }
        struct usage *usage = &out_called->answer.usage;
        if (out_called->answer.verdict == VERDICT_OK && usage->audio_ms < 0 && call->audio_ms >= 0)
                usage->audio_ms = call->audio_ms; /* what the provider does not say, the file did */
        out_called->answer.latency_ns = done->latency_ns;
        int64_t *latency_ns = &calls->latency_ns[call->endpoint];
        *latency_ns += (done->latency_ns - *latency_ns) / 8;
        buffer_deinit(&call->body);
        drop_file(call);
        call->step = CALL_NONE;
}

static void poll_fetches(struct calls *calls) {
        struct fetched fetched;
        while (fetch_poll(calls->fetch, &fetched, 1) == 1) {
                struct call *call = &calls->slots[fetched.tag];
                call->file = fetched;
                file_arrived(calls, call);
        }
}

static size_t take_at_once(struct calls *calls, struct called *out_called, size_t max) {
        size_t count = 0;
        while (calls->at_once_count > 0 && count < max) {
                out_called[count] = calls->at_once[--calls->at_once_count];
                struct call *call = &calls->slots[out_called[count].handle.slot];
                drop_file(call);
                call->step = CALL_NONE;
                count++;
        }
        return count;
}

size_t calls_poll(struct calls *calls, struct called *out_called, size_t max) {
        poll_fetches(calls);
        size_t count = take_at_once(calls, out_called, max);
        size_t wanted = max - count < POLL_MAX ? max - count : POLL_MAX;
        size_t done = wanted ? http_poll(calls->http, calls->done, wanted) : 0;
        for (size_t i = 0; i < done; i++)
                finish(calls, &calls->done[i], &out_called[count++]);
        calls->in_flight -= (uint32_t)count;
        return count;
}

void calls_take_reply(struct calls *calls, uint32_t slot, struct reply *out_reply) {
        struct reply *reply = &calls->slots[slot].reply;
        calls->reply_bytes -= reply->headers.capacity + reply->body.capacity;
        *out_reply = *reply;
        *reply = (struct reply){0};
}

void calls_drop(struct calls *calls, uint32_t slot) {
        struct reply reply;
        calls_take_reply(calls, slot, &reply);
        reply_deinit(&reply);
}

int calls_http_fd(const struct calls *calls) {
        return http_fd(calls->http);
}

int calls_fetch_fd(const struct calls *calls) {
        return fetch_fd(calls->fetch);
}

int64_t calls_wake_ns(const struct calls *calls) {
        if (calls->at_once_count > 0)
                return 0;
        int64_t http_ns = http_wake_ns(calls->http), fetch_ns = fetch_wake_ns(calls->fetch);
        return http_ns < fetch_ns ? http_ns : fetch_ns;
}

uint32_t calls_in_flight(const struct calls *calls) {
        return calls->in_flight;
}

size_t calls_reply_bytes(const struct calls *calls) {
        return calls->reply_bytes;
}
