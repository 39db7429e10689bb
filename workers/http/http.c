/*
 * Calls, and which lane each goes to. Lanes belong to a group: one origin, quick or slow calls. A call takes
 * the first lane of its group with room, so that few calls share few lanes and find warm connections; when
 * all are full another lane is opened. A lane without calls is closed after a while, or earlier when its
 * place is needed.
 *
 * A lane that has no calls starts with one alone, and holds others back until that one is through the name
 * look-up (with HTTP/2: is connected), because libcurl would otherwise start a resolver thread, or a
 * connection, for each of them at once. On a warm connection that takes no time at all.
 *
 * A call slot moves FREE -> (HELD ->) RUNNING -> DONE -> FREE. Slots, heap and map are sized once in
 * http_open().
 */
#include "workers/http/http.h"

#include "broker/base/check.h"
#include "broker/base/heap.h"
#include "broker/base/list.h"
#include "broker/base/map.h"
#include "broker/base/time.h"
#include "workers/http/ca_file.h"
#include "workers/http/call.h"
#include "workers/http/lane.h"
#include "workers/http/target.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        /*
         * libcurl looks at the connections of a lane one by one for each call, and a lane takes 30 KB itself:
         * the first lanes of a group are small, those that make thousands of calls are not.
         */
        LANE_CALLS_FIRST = 16,
        LANES_FIRST = 16,
        LANE_CALLS = 64,
        LANE_STREAMS = 100,      /* HTTP/2: what servers commonly allow on one connection */
        LANES_SPARE = 1024,      /* lanes beyond calls_max / LANE_CALLS_FIRST: groups with few calls each */
        CONNECTIONS_SPARE = 128, /* idle ones beyond calls_max; the process needs descriptors for all */
        TARGETS_MAX = 65536,     /* keeps a run-away configuration from eating the memory */
};
#define LANE_IDLE_NS (60 * NS_PER_S)

struct group {
        const char *origin; /* its first target's */
        bool slow, https, literal;
        struct call_lane **lanes; /* NULL: that place is free */
        uint64_t *room;           /* a bit per place: open and not full */
        uint32_t words;
};

struct call_lane {
        struct lane lane;
        struct group *group;
        struct list link; /* in http.idle while it has no calls */
        struct list held;
        struct call *pioneer; /* the one that the others wait for */
        int64_t idle_since_ns;
        uint32_t place, calls;
        bool warm, releasing;
};

struct target_entry {
        struct target target;
        struct group *quick, *slow;
};

struct http {
        struct call_setup setup;
        char *ca_file;
        struct lanes lanes;
        struct call *calls;
        uint32_t calls_max, in_flight;
        struct list free, done, idle; /* calls, calls, lanes */
        struct heap checks;           /* call slot -> when to look at its limits */
        struct map tags;              /* tag -> call slot */
        struct target_entry **targets;
        uint32_t targets_count, targets_room;
        struct group **groups;
        uint32_t groups_count;
        bool more; /* epoll had more than one batch */
};

static struct key128 tag_key(uint64_t tag) {
        return (struct key128){.lo = tag};
}

/* --- lanes ---------------------------------------------------------------------------------------------- */

static uint32_t lane_calls_max(const struct http *http, const struct group *group, uint32_t place) {
        if (http->setup.http2 && group->https)
                return LANE_STREAMS;
        return place < LANES_FIRST ? LANE_CALLS_FIRST : LANE_CALLS;
}

static void call_lane_room(struct call_lane *lane, bool room) {
        uint64_t bit = UINT64_C(1) << (lane->place % 64);
        if (room && !lane->lane.failed)
                lane->group->room[lane->place / 64] |= bit;
        else
                lane->group->room[lane->place / 64] &= ~bit;
}

static void call_lane_close(struct call_lane *lane) {
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a closed lane is not met again, list_unlink() below
        CHECK(lane->calls == 0);
        call_lane_room(lane, false);
        lane->group->lanes[lane->place] = NULL;
        list_unlink(&lane->link);
        lane_deinit(&lane->lane);
        free(lane);
}

static bool group_grow(struct group *group) {
        uint32_t words = group->words ? group->words * 2 : 1;
        struct call_lane **lanes = realloc(group->lanes, words * 64 * sizeof *lanes);
        if (lanes == NULL)
                return false;
        memset(lanes + group->words * 64, 0, (words - group->words) * 64 * sizeof *lanes);
        group->lanes = lanes;
        uint64_t *room = realloc(group->room, words * sizeof *room);
        if (room == NULL)
                return false;
        memset(room + group->words, 0, (words - group->words) * sizeof *room);
        group->room = room;
        group->words = words;
        return true;
}

/*
 * Before a lane is opened: idle ones, which are of other groups, give way when there are no more places or
 * too many connections. (An endpoint that turns slow leaves all its quick lanes behind.)
 */
static void lanes_make_room(struct http *http) {
        while (!list_empty(&http->idle)) {
                bool fits = http->lanes.sockets_open + LANE_CALLS <= http->calls_max + CONNECTIONS_SPARE;
                if (fits && http->lanes.ids_free_count > 0)
                        return;
                call_lane_close(LIST_ENTRY(http->idle.next, struct call_lane, link));
        }
}

static struct error *call_lane_open(struct http *http, struct group *group, struct call_lane **out_lane) {
        uint32_t place = 0;
        while (place < group->words * 64 && group->lanes[place] != NULL)
                place++;
        struct call_lane *lane = NULL;
        if ((place == group->words * 64 && !group_grow(group)) || (lane = calloc(1, sizeof *lane)) == NULL)
                return error_new(ERROR_MEMORY, "no memory for an HTTP lane");
        lanes_make_room(http);
        uint32_t calls = lane_calls_max(http, group, place);
        struct lane_options options = {
                .connections_max = calls,
                .multiplex = http->setup.http2 && group->https,
                .streams_max = LANE_STREAMS,
        };
        struct error *error = lane_init(&lane->lane, &http->lanes, &options);
        if (error != NULL) {
                free(lane);
                return error;
        }
        lane->group = group;
        lane->place = place;
        list_init(&lane->held);
        group->lanes[place] = lane;
        *out_lane = lane;
        return NULL;
}

static struct error *group_choose(struct http *http, struct group *group, struct call_lane **out_lane) {
        for (uint32_t i = 0; i < group->words; i++) {
                if (group->room[i] == 0)
                        continue;
                *out_lane = group->lanes[i * 64 + (uint32_t)__builtin_ctzll(group->room[i])];
                return NULL;
        }
        return call_lane_open(http, group, out_lane);
}

static void call_lane_enter(struct http *http, struct call_lane *lane) {
        if (lane->calls++ == 0) {
                list_unlink(&lane->link);
                lane->warm = lane->group->literal && !(http->setup.http2 && lane->group->https);
        }
        call_lane_room(lane, lane->calls < lane_calls_max(http, lane->group, lane->place));
}

static void call_lane_leave(struct http *http, struct call_lane *lane) {
        CHECK(lane->calls > 0);
        if (--lane->calls == 0) {
                lane->idle_since_ns = clock_now_ns();
                list_append(&http->idle, &lane->link);
        }
        call_lane_room(lane, true);
}

static void lanes_close_idle(struct http *http, int64_t now_ns) {
        while (!list_empty(&http->idle)) {
                struct call_lane *lane = LIST_ENTRY(http->idle.next, struct call_lane, link);
                // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): closed lanes are not in the list any more
                if (!lane->lane.failed && now_ns - lane->idle_since_ns < LANE_IDLE_NS)
                        break;
                call_lane_close(lane);
        }
}

/* --- ends of calls -------------------------------------------------------------------------------------- */

/* The call has its outcome: out of its lane, to those that are to be reported. */
static void call_done(struct http *http, struct call *call) {
        struct call_lane *lane = call->lane;
        if (call->state == CALL_RUNNING)
                lane_remove(&lane->lane, call->easy);
        list_unlink(&call->link);
        call_unprepare(call);
        heap_remove(&http->checks, call->slot);
        map_remove(&http->tags, tag_key(call->tag));
        call->state = CALL_DONE;
        call->lane = NULL;
        list_append(&http->done, &call->link);
        if (lane->pioneer == call)
                lane->pioneer = NULL;
        call_lane_leave(http, lane);
}

/* The one ahead did not get as far as a connection: those behind it fail for the same reason. */
static void held_fail(struct http *http, struct call_lane *lane, const struct call *first, int64_t now_ns) {
        while (!list_empty(&lane->held)) {
                struct call *call = LIST_ENTRY(lane->held.next, struct call, link);
                call->outcome = first->outcome;
                call->latency_ns = now_ns - call->started_ns;
                memcpy(call->error, first->error, sizeof call->error);
                call_done(http, call);
        }
}

static void on_done(void *userdata, struct lane *base, void *easy, int code) {
        struct http *http = userdata;
        struct call_lane *lane = LIST_ENTRY(base, struct call_lane, lane);
        char *private = NULL;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
        struct call *call = (struct call *)(void *)private;
        int64_t now_ns = clock_now_ns();
        bool blocked = lane->pioneer == call && !call->resolved;
        call_conclude(call, code, now_ns);
        call_done(http, call);
        if (blocked && call->outcome != HTTP_ANSWERED)
                held_fail(http, lane, call, now_ns);
}

/* Ended by us, not by libcurl: a limit or a cancellation; call->error says why. */
static void call_stop(struct http *http, struct call *call) {
        int64_t now_ns = clock_now_ns();
        if (call->state == CALL_RUNNING) {
                call_conclude_stopped(call, now_ns);
        } else {
                call->outcome = HTTP_NOT_SENT;
                call->latency_ns = now_ns - call->started_ns;
        }
        struct call_lane *lane = call->lane;
        call_done(http, call);
        if (lane->calls > 0)
                http->lanes.events.ran(http, &lane->lane);
}

/* --- starts of calls ------------------------------------------------------------------------------------ */

static bool call_run(struct call_lane *lane, struct call *call) {
        list_unlink(&call->link);
        call->state = CALL_RUNNING;
        if (!lane->warm)
                lane->pioneer = call;
        if (lane_add(&lane->lane, call->easy))
                return true;
        call->state = CALL_HELD;
        if (lane->pioneer == call)
                lane->pioneer = NULL;
        return false;
}

/* After each run of libcurl: lets those go that wait behind the first of a cold lane. */
static void on_ran(void *userdata, struct lane *base) {
        struct http *http = userdata;
        struct call_lane *lane = LIST_ENTRY(base, struct call_lane, lane);
        struct call *pioneer = lane->pioneer;
        if (lane->warm || lane->releasing)
                return;
        if (pioneer != NULL) {
                bool connected = pioneer->requests > 0;
                if (!connected && (!pioneer->resolved || (http->setup.http2 && lane->group->https)))
                        return;
                lane->warm = true;
                lane->pioneer = NULL;
        }
        lane->releasing = true;
        while (!list_empty(&lane->held) && (lane->warm || lane->pioneer == NULL)) {
                struct call *call = LIST_ENTRY(lane->held.next, struct call, link);
                if (call_run(lane, call))
                        continue;
                snprintf(call->error, sizeof call->error, "no memory to start the call");
                call->outcome = HTTP_NOT_SENT;
                call_done(http, call);
        }
        lane->releasing = false;
}

struct error *http_start(struct http *http, const struct http_call *given) {
        CHECK(given->target < http->targets_count);
        uint32_t other;
        if (list_empty(&http->free))
                return error_new(ERROR_BUSY, "%u HTTP calls are in flight already", http->calls_max);
        if (map_get(&http->tags, tag_key(given->tag), &other))
                return error_new(ERROR_BUSY, "a call with this tag is in flight");
        struct target_entry *entry = http->targets[given->target];
        struct call_lane *lane = NULL;
        struct error *error = group_choose(http, given->slow ? entry->slow : entry->quick, &lane);
        if (error != NULL)
                return error;
        CHECK(lane != NULL);
        struct call *call = LIST_ENTRY(http->free.next, struct call, link);
        bool prepared = call_prepare(call, &entry->target, given, clock_now_ns());
        if (!prepared || !map_put(&http->tags, tag_key(given->tag), call->slot)) {
                call_unprepare(call);
                if (lane->calls == 0)
                        call_lane_close(lane);
                return error_new(ERROR_MEMORY, "no memory for an HTTP call");
        }
        list_unlink(&call->link);
        http->in_flight++;
        call->lane = lane;
        call_lane_enter(http, lane);
        heap_set(&http->checks, call->slot, call_check_first_ns(call));
        call->state = CALL_HELD;
        if (!lane->warm && (lane->pioneer != NULL || !list_empty(&lane->held))) {
                list_append(&lane->held, &call->link);
        } else if (!call_run(lane, call)) {
                snprintf(call->error, sizeof call->error, "no memory to start the call");
                call->outcome = HTTP_NOT_SENT;
                call_done(http, call);
        }
        return NULL;
}

void http_cancel(struct http *http, uint64_t tag) {
        uint32_t slot;
        if (!map_get(&http->tags, tag_key(tag), &slot))
                return;
        struct call *call = &http->calls[slot];
        snprintf(call->error, sizeof call->error, "cancelled");
        call_stop(http, call);
}

/* --- the turn ------------------------------------------------------------------------------------------- */

static void calls_check(struct http *http, int64_t now_ns) {
        struct heap_entry entry;
        for (uint32_t i = 0; i < http->calls_max; i++) {
                if (!heap_peek(&http->checks, &entry) || entry.when > now_ns)
                        return;
                struct call *call = &http->calls[entry.id];
                int64_t next_ns = 0;
                if (call_check(call, now_ns, &next_ns))
                        call_stop(http, call);
                else
                        heap_set(&http->checks, entry.id, next_ns);
        }
}

static void call_report(struct http *http, struct call *call, struct http_done *done) {
        done->tag = call->tag;
        done->outcome = call->outcome;
        done->status = call->status;
        done->headers = call->headers;
        done->body = call->body;
        done->latency_ns = call->latency_ns;
        done->message[0] = '\0'; /* the rest of it is not touched: answers are many */
        if (call->error[0] != '\0')
                snprintf(done->message, sizeof done->message, "%.199s", call->error);
        call->headers = call->body = (struct buffer){0};
        call->state = CALL_FREE;
        list_unlink(&call->link);
        list_prepend(&http->free, &call->link); /* the warmest memory first */
        http->in_flight--;
}

size_t http_poll(struct http *http, struct http_done *out_done, size_t max) {
        http->more = lanes_turn(&http->lanes, clock_now_ns());
        int64_t now_ns = clock_now_ns();
        calls_check(http, now_ns);
        lanes_close_idle(http, now_ns);
        size_t count = 0;
        while (count < max && !list_empty(&http->done))
                call_report(http, LIST_ENTRY(http->done.next, struct call, link), &out_done[count++]);
        return count;
}

int http_fd(const struct http *http) {
        return http->lanes.epoll_fd;
}

int64_t http_wake_ns(const struct http *http) {
        struct heap_entry entry;
        if (http->more || !list_empty(&http->done))
                return 0;
        int64_t lanes_ns = lanes_wake_ns(&http->lanes);
        return heap_peek(&http->checks, &entry) && entry.when < lanes_ns ? entry.when : lanes_ns;
}

uint32_t http_in_flight(const struct http *http) {
        return http->in_flight;
}

/* --- targets -------------------------------------------------------------------------------------------- */

static struct group *group_find(struct http *http, const struct target *target, bool slow) {
        for (uint32_t i = 0; i < http->groups_count; i++) {
                struct group *group = http->groups[i];
                if (group->slow == slow && strcmp(group->origin, target->origin) == 0)
                        return group;
        }
        struct group **groups = realloc(http->groups, (http->groups_count + 1) * sizeof *groups);
        if (groups == NULL)
                return NULL;
        http->groups = groups;
        struct group *group = calloc(1, sizeof *group);
        if (group == NULL)
                return NULL;
        *group = (struct group){
                .origin = target->origin, .slow = slow, .https = target->https, .literal = target->literal};
        http->groups[http->groups_count++] = group;
        return group;
}

static bool targets_room(struct http *http) {
        if (http->targets_count < http->targets_room)
                return true;
        uint32_t room = http->targets_room ? http->targets_room * 2 : 16;
        struct target_entry **targets = realloc(http->targets, room * sizeof *targets);
        if (targets == NULL)
                return false;
        http->targets = targets;
        http->targets_room = room;
        return true;
}

struct error *http_add_target(struct http *http, const struct http_target *given, uint32_t *out_index) {
        if (http->targets_count == TARGETS_MAX)
                return error_new(ERROR_USAGE, "more than %d HTTP targets", TARGETS_MAX);
        struct target_entry *entry = calloc(1, sizeof *entry);
        if (entry == NULL || !targets_room(http)) {
                free(entry);
                return error_new(ERROR_MEMORY, "no memory for an HTTP target");
        }
        struct error *error = target_init(&entry->target, given);
        if (error != NULL) {
                free(entry);
                return error;
        }
        http->targets[http->targets_count] = entry; /* from here on groups may borrow its origin */
        *out_index = http->targets_count++;
        entry->quick = group_find(http, &entry->target, false);
        entry->slow = group_find(http, &entry->target, true);
        if (entry->quick == NULL || entry->slow == NULL)
                return error_new(ERROR_MEMORY, "no memory for an HTTP target");
        return NULL;
}

/* --- open and close ------------------------------------------------------------------------------------- */

static struct error *http_pools(struct http *http, uint32_t calls_max) {
        http->calls = calloc(calls_max, sizeof *http->calls);
        http->setup.share = curl_share_init();
        if (http->calls == NULL || http->setup.share == NULL || !heap_init(&http->checks, calls_max) ||
            !map_init(&http->tags, calls_max))
                return error_new(ERROR_MEMORY, "no memory for %u HTTP calls", calls_max);
        http->calls_max = calls_max;
        for (uint32_t i = 0; i < calls_max; i++) {
                http->calls[i].slot = i;
                http->calls[i].setup = &http->setup;
                list_append(&http->free, &http->calls[i].link);
        }
        /* Lanes have addresses and TLS sessions in common; one thread, so no locks. */
        if (curl_share_setopt(http->setup.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) != CURLSHE_OK ||
            curl_share_setopt(http->setup.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK)
                return error_new(ERROR_MEMORY, "no memory for the HTTP client");
        return NULL;
}

struct error *http_open(const struct http_options *options, struct http **out_http) {
        if (options->calls_max == 0)
                return error_new(ERROR_USAGE, "an HTTP client needs room for one call at least");
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return error_new(ERROR_MEMORY, "cannot initialise libcurl");
        struct http *http = calloc(1, sizeof *http);
        if (http == NULL) {
                curl_global_cleanup();
                return error_new(ERROR_MEMORY, "no memory for the HTTP client");
        }
        list_init(&http->free);
        list_init(&http->done);
        list_init(&http->idle);
        http->setup = (struct call_setup){
                .lanes = &http->lanes,
                .http2 = options->http2,
                .connect_timeout_ns = options->connect_timeout_ns,
                .low_speed_ns = options->low_speed_ns,
        };
        struct lane_events events = {.done = on_done, .ran = on_ran};
        struct error *error =
                lanes_init(&http->lanes, options->calls_max / LANE_CALLS_FIRST + LANES_SPARE, events, http);
        if (error == NULL)
                error = ca_file_find(options->ca_file, &http->ca_file);
        http->setup.ca_file = http->ca_file;
        if (error == NULL)
                error = http_pools(http, options->calls_max);
        if (error != NULL) {
                http_close(http);
                return error;
        }
        *out_http = http;
        return NULL;
}

static void group_close(struct group *group) {
        for (uint32_t i = 0; i < group->words * 64; i++)
                if (group->lanes[i] != NULL)
                        call_lane_close(group->lanes[i]);
        free(group->lanes);
        free(group->room);
        free(group);
}

struct http *http_close(struct http *http) {
        if (http == NULL)
                return NULL;
        for (uint32_t i = 0; i < http->calls_max; i++) {
                struct call *call = &http->calls[i];
                if (call->state == CALL_RUNNING || call->state == CALL_HELD)
                        call_done(http, call);
        }
        for (uint32_t i = 0; i < http->groups_count; i++)
                group_close(http->groups[i]);
        for (uint32_t i = 0; i < http->calls_max; i++)
                call_deinit(&http->calls[i]);
        for (uint32_t i = 0; i < http->targets_count; i++) {
                target_deinit(&http->targets[i]->target);
                free(http->targets[i]);
        }
        lanes_deinit(&http->lanes);
        curl_share_cleanup(http->setup.share);
        heap_deinit(&http->checks);
        map_deinit(&http->tags);
        free(http->calls);
        free(http->groups);
        free(http->targets);
        free(http->ca_file);
        free(http);
        curl_global_cleanup();
        return NULL;
}
