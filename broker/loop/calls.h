#pragma once
/*
 * The calls of one shard: from a CALL command to an answer. Builds the request in the endpoint's dialect,
 * fetches the file that it names first where there is one, gives it to the HTTP client, and reads what comes
 * back. By the engine's slot; one thread.
 */
#include "broker/base/error.h"
#include "broker/core/engine.h"
#include "broker/loop/reply.h"
#include "workers/http/fetch.h"
#include "workers/http/http.h"
#include "workers/providers/dialect.h"

struct calls;

struct calls_options {
        const struct catalog *catalog;
        const struct dialect *const *dialects; /* per provider */
        const char *const *keys;               /* per provider; NULL: none is sent */
        struct http_options http;
        struct fetch_options fetch;
        uint32_t slots; /* the engine's jobs_max */
        size_t response_max;
};

struct called {
        struct handle handle;
        struct answer answer;
};

struct error *calls_open(const struct calls_options *options, struct calls **out_calls) MUST_USE;
/* Ends all calls without reports. NULL gives NULL. */
struct calls *calls_close(struct calls *calls);

/*
 * From here on that catalog, with the same indexes. Calls under way end as they began; URLs and keys that are
 * others are used from the next call on.
 */
void calls_follow(struct calls *calls, const struct catalog *catalog, const struct dialect *const *dialects,
                  const char *const *keys);
/* Finds out how long the audio of a job plays, where that can be told before it is fetched. */
void calls_measure(struct calls *calls, struct job_spec *job);
/* Starts the call of a COMMAND_CALL. What fails at once comes out of calls_poll() like everything else. */
void calls_start(struct calls *calls, const struct command *command);
/* Finished calls, at most `max`. The reply stays until calls_take_reply() or the slot's next call. */
size_t calls_poll(struct calls *calls, struct called *out_called, size_t max);
/* Hands the last reply of a slot over; zeroed when there was none. */
void calls_take_reply(struct calls *calls, uint32_t slot, struct reply *out_reply);
/* Forgets the slot's reply. */
void calls_drop(struct calls *calls, uint32_t slot);

int calls_http_fd(const struct calls *calls);
int calls_fetch_fd(const struct calls *calls);
int64_t calls_wake_ns(const struct calls *calls);
uint32_t calls_in_flight(const struct calls *calls);
size_t calls_reply_bytes(const struct calls *calls); /* held in replies */
